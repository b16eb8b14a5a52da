"""The tutorials run from a clean folder and print what is stored in them; what is stored is fit to be read.

Texts are compared word by word and numbers to 1e-6 of themselves; errors below 1e-8 are of the size of rounding, which is
another one on another machine, and only have to stay that small.  Pictures are not compared.
"""

import importlib.metadata
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
CLOSE, ROUNDING = 1e-6, 1e-8
LARGEST = 300_000
"""Bytes of one notebook."""


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def text_of(cell):
    """What a cell printed and returned as text."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif "image/png" not in output.data:
            parts.append(output.data.get("text/plain", ""))
    return " ".join(ESCAPE.sub("", "".join(parts)).split())


def differences(stored, made):
    """How two texts differ: in their words, or in numbers by more than `CLOSE` of them."""
    words = [NUMBER.sub("#", text) for text in (stored, made)]
    if words[0] != words[1]:
        return [f"{words[0]!r} is stored, {words[1]!r} was made"]
    found = []
    for one, other in zip(NUMBER.finditer(stored), NUMBER.finditer(made), strict=True):
        a, b = float(one[0]), float(other[0])
        small = max(abs(a), abs(b)) < ROUNDING and stored[: one.start()].endswith(("± ", "(stderr) ± "))
        if not (small or abs(a - b) <= CLOSE * max(abs(a), abs(b)) or max(abs(a), abs(b)) < 1e-13):
            found.append(f"{stored[max(one.start() - 40, 0) : one.end()]!r} is stored, {other[0]} was made")
    return found


def test_there_are_tutorials():
    names = {path.stem for path in TUTORIALS}
    assert names >= {"own_target", "own_sampler", "schedule_from_losses", "audit_a_library", "read_the_ledger"}


LONGEST = "audit_a_library"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem == LONGEST), id=path.stem) for path in TUTORIALS],
)
def test_a_tutorial_prints_what_is_stored(path, tmp_path, monkeypatch):
    """From an empty folder, without kept curves; numbers do not depend on the machine's threads."""
    stored, fresh = read(path), read(path)
    setting = {"TRUERATE_CACHE": "off", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for name, value in {**setting, "PYTHONWARNINGS": "ignore:IProgress not found"}.items():
        monkeypatch.setenv(name, value)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(fresh, timeout=600, startup_timeout=300, kernel_name="python3", resources=place).execute()
    told = [(cell.source.splitlines()[0], text_of(cell), text_of(new)) for cell, new in _pairs(stored, fresh)]
    version = re.search(r"diffusers (\d\S+)", " ".join(text for _, text, _ in told))
    if version and version[1] != importlib.metadata.version("diffusers"):
        pytest.skip(f"it ran; what is stored is of diffusers {version[1]}, another version is installed")
    assert [(first, why) for first, text, new in told for why in differences(text, new)] == []


def _pairs(stored, fresh):
    return zip(code_cells(stored), code_cells(fresh), strict=True)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_what_is_stored_is_fit_to_be_read(path):
    notebook, text = read(path), path.read_text("utf-8")
    nbformat.validate(notebook)
    assert path.stat().st_size <= LARGEST
    assert 8 <= len(notebook.cells) <= 22
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    assert any(cell.outputs for cell in cells)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs), "no picture"
    for cell in cells:
        assert not cell.metadata, "times and other traces of a run"
        for output in cell.outputs:
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output
    assert notebook.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    for trace in ("Warning", "Traceback", "site-packages", str(ROOT), os.path.expanduser("~") + "/", "/tmp/", "/home/"):
        assert trace not in text, trace
    assert notebook.cells[0].source.startswith("# ")


def test_printing_cells_have_printed():
    """A cell whose last line prints or shows has something stored."""
    for path in TUTORIALS:
        for cell in code_cells(read(path)):
            last = cell.source.rstrip().splitlines()[-1]
            if last.startswith(("print(", "plt.show()", "kl.ladder")):
                assert cell.outputs, (path.stem, last)


def test_links_lead_somewhere():
    """Links of tutorials are to files of docs/."""
    for path in TUTORIALS:
        for cell in read(path).cells:
            if cell.cell_type == "markdown":
                for link in re.findall(r"\]\(([^)#]+)", cell.source):
                    assert link.startswith("https://") or (path.parent / link).exists(), (path.stem, link)


@pytest.mark.parametrize(
    ("stored", "made", "well"),
    [
        ("KL 1.2345678 ± 3e-15", "KL 1.2345679 ± 7e-16", True),
        ("KL 1.2345678 ± 3e-15", "KL 1.2345778 ± 3e-15", False),
        ("KL 7.0541e-09", "KL 7.0542e-09", False),
        ("KL 1.2 ± 0.01", "KL 1.2 ± 0.02", False),
        ("KL 1.2 ± 3e-15", "KL 1.2 ± 3e-05", False),
        ("verdict: refuted", "verdict: supported", False),
        ("slope -3.931 in [-4.08, -3.78]", "slope -3.931 in [-4.08, -3.78]", True),
        ("slope -3.931", "slope 3.931", False),
    ],
)
def test_texts_are_compared(stored, made, well):
    assert (differences(stored, made) == []) is well

"""What starting costs: no import of ours loads a library that only some of the work needs; Ctrl-C meanwhile is one line."""

import gc
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from verify.command import Command

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted(f"studies.{path.stem}" for path in (ROOT / "studies").glob("*.py") if path.stem != "__main__")
NEEDED_RARELY = (
    "matplotlib",
    "pandas",
    "statsmodels",
    "sklearn",
    "scipy.stats",
    "scipy.sparse.csgraph",
    "diffusers",
    "azula",
    "covertable",
    "dask",
    "distributed",
    "flint",
    "pytest",
)


def loaded(modules):
    """Which of NEEDED_RARELY a fresh interpreter holds after it has imported these modules."""
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += f"print(*[name for name in {NEEDED_RARELY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "modules",
    [
        ["targets"],
        ["verify", "verify.__main__", "verify.invariants", "verify.learn", "verify.audit.registry"],
        ["figures", "figures.__main__", "figures.load"],
        ["studies.__main__", *STUDIES],
    ],
    ids=lambda modules: modules[0],
)
def test_imports_load_nothing_that_is_rarely_needed(modules):
    assert loaded(modules) == set()


def test_the_check_sees_what_is_loaded():
    assert {"matplotlib", "pandas"} <= loaded(["figures.style", "pandas"])


def test_every_study_is_looked_at():
    assert {"studies.step_scaling", "studies.sampler_audit", "studies.loss_adaptive", "studies.rows"} <= set(STUDIES)


@pytest.mark.parametrize("module", ["studies.step_scaling", "verify"])
def test_an_interrupted_import_is_one_line(tmp_path, module):
    """Ctrl-C while torch is imported: a torch in its place interrupts."""
    (tmp_path / "torch.py").write_text(
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)\n"
    )
    code = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(
        code, capture_output=True, text=True, cwd=ROOT, check=False, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    )
    assert (done.stdout, done.stderr) == ("", "stopped\n")
    assert done.returncode == -signal.SIGINT


def test_an_error_on_import_keeps_its_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('broken installation')\n")
    code = [sys.executable, "-m", "studies.step_scaling", "--help"]
    done = subprocess.run(
        code, capture_output=True, text=True, cwd=ROOT, check=False, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    )
    assert "Traceback" in done.stderr
    assert "broken installation" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["figures", "--help"], 0, "usage: python -m figures [NAME ...]"),
        (["figures", "step_scalin"], 2, "error: figure = 'step_scalin': expected one of dimension_scaling, "),
        (["studies.step_scaling", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_commands_that_do_no_work(arguments, code, words):
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@dataclass(frozen=True)
class Nothing:
    """A command without options."""


def test_a_command_collects_garbage_while_it_works():
    """It does not while it imports; what was imported is out of the collector's sight, and what comes is in it."""
    seen = []
    command = Command(Nothing, "python -m tests", "", (("", "nothing"),))
    gc.disable()
    try:
        command.run(lambda _: seen.append((gc.isenabled(), gc.get_freeze_count() > 0)), [])
    finally:
        gc.unfreeze()
        gc.enable()
    assert seen == [(True, True)]
    command.run(lambda _: seen.append((gc.isenabled(), gc.get_freeze_count() > 0)), [])
    assert seen[1] == (True, False)

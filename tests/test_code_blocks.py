"""Every fenced block of the documentation runs, or is held against what it names; commands in code spans are too.

Python blocks of one page run in order in one namespace, in a process and a folder of their own; what a comment beside a print
quotes (up to each …) is what is printed.  Commands go through the real command line up to the point where work would start.
"""

import io
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import markdown_blocks
import pytest
from markdown_blocks import CommandLine, blocks, command_lines, spans

ROOT = Path(__file__).resolve().parent.parent
OWN_TESTS = {"docs/audit.md", "docs/claims.md"}
"""Generated; the reproductions in the audit have tests of their own."""
PAGES = sorted(
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if path.relative_to(ROOT).as_posix() not in OWN_TESTS
)
BLOCKS = [block for page in PAGES for block in blocks(page, ROOT)]
PYTHON, SHELL = ("python", "py"), ("sh", "bash", "shell", "console")
DATA = {"toml": tomllib.loads, "json": json.loads}

PREPARED = {
    "losses.csv": """
import numpy as np
levels = np.geomspace(0.01, 100.0, 60)
rows = [f"{level},{level / (1.0 + level)}" for level in levels]   # mean epsilon-loss of N(0, 1)
from pathlib import Path
Path("losses.csv").write_text("\\n".join(["snr,loss", *rows]) + "\\n")
""",
    "from my_package import my_sampler": """
from pathlib import Path
Path("my_package").mkdir()
Path("my_package/__init__.py").write_text('''
from verify.audit.order import as_sampler
from verify.samplers import heun


def my_sampler(denoiser, grid, start, generator):
    return as_sampler(heun)(denoiser, grid, start, generator)
''')
""",
    "(scheduler.": """
from diffusers import DDPMScheduler
scheduler = DDPMScheduler()
""",
    "from dask_jobqueue import SLURMCluster": """
import builtins, sys, types
class SLURMCluster:
    scheduler_address = "tcp://login:38415"
    def __init__(self, *, queue, cores, processes, memory, walltime, job_script_prologue): ...
    def scale(self, *, jobs): ...
sys.modules["dask_jobqueue"] = types.SimpleNamespace(SLURMCluster=SLURMCluster)
builtins.input = print
""",
}
"""What pages take for granted: where their Python contains the text, this runs first, in the same namespace."""

LONG = ("train(law",)
"""Blocks that contain one of these take their page to the long tests: networks are trained."""

STANDING_FOR = {"ID": "denoiser/mmse-gap", "NAME": "step_scaling"}
"""Words that stand for a name in code spans, with one of them."""

PROGRAMS = re.compile(r"(python -m (studies|verify|figures)\b|truerate (?!verify$)|make [a-z]+$)")
"""Code spans that are commands of ours."""


# ---- the tests -------------------------------------------------------------------------------------------


def apart(what, job, folder):
    """The answer of markdown_blocks.py run as a program, in an empty folder."""
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    place = folder / "here"
    place.mkdir()
    setting = {"PYTHONPATH": str(ROOT), "TRUERATE_CACHE": "off", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    strict = [f"-W{kind}" for kind in ("error", "ignore::DeprecationWarning", "ignore::RuntimeWarning:runpy")]
    command = [sys.executable, *strict, markdown_blocks.__file__, what, str(folder / "job.json")]
    done = subprocess.run(
        command, cwd=place, env={**os.environ, **setting}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "job.json.done").read_text("utf-8"))


def python_pages():
    for page in dict.fromkeys(block.page for block in BLOCKS if block.language in PYTHON):
        mine = [block for block in BLOCKS if block.page == page and block.language in PYTHON]
        long = any(word in block.text for block in mine for word in LONG)
        yield pytest.param(mine, id=page, marks=[pytest.mark.slow] if long else [])


def prepared(mine):
    text = "\n".join(block.text for block in mine)
    return [code for needed, code in PREPARED.items() if needed in text]


def quoted(block):
    """(line, text) of the comments beside prints that quote what is printed."""
    for token in tokenize.generate_tokens(io.StringIO(block.text).readline):
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("print("):
            text = token.string.lstrip("# ").strip()
            if "…" in text or re.match(r"Estimate\(|[-\d.]+$", text):
                yield block.line + token.start[0] - 1, text


def disagreement(quote, printed):
    """Why what was printed is not what is quoted: the parts before each … have to come in this order, the first one first."""
    printed, place = " ".join(printed.split()), 0
    parts = quote.split("…")
    if len(parts) == 1:
        return "" if printed == quote else f"{quote!r} is quoted, {printed!r} was printed"
    for number, part in enumerate(parts[:-1]):
        at = printed.find(part, place)
        if at < 0 or (number == 0 and at > 0):
            return f"{part!r} of {quote!r} is not in {printed!r} in its place"
        place = at + len(part)
    return ""


@pytest.mark.parametrize("mine", python_pages())
def test_python_runs(mine, tmp_path):
    job = {"page": mine[0].page, "blocks": [(block.line, block.text) for block in mine], "prepared": prepared(mine)}
    done = apart("run", job, tmp_path)
    for block in mine:
        for line, text in quoted(block):
            assert not disagreement(text, done["printed"][str(line)]), f"{block.page}:{line}"
    assert done["tests"] == sum(len(re.findall(r"^def test_", block.text, re.MULTILINE)) for block in mine)


@pytest.mark.parametrize("needed", PREPARED)
def test_nothing_is_prepared_that_no_page_needs(needed):
    assert any(needed in block.text for block in BLOCKS if block.language in PYTHON)


def ours(line: CommandLine):
    """[module or "truerate", arguments] of a command of this package, None of any other."""
    words = [word for word in line.words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    known = {**STANDING_FOR, "NAME": "diffusers"} if "--library" in words else STANDING_FOR
    words = [known.get(word, word) for word in words]
    if words[:1] == ["truerate"]:
        return ["truerate", words[1:]]
    if Path(words[0]).name.startswith("python") and words[1:2] == ["-m"] and words[2] != "pip":
        return [words[2], words[3:]]
    return None


LINES = [line for block in BLOCKS if block.language in SHELL for line in command_lines(block)]
SPANS = [line for page in PAGES for line in spans(page, ROOT, PROGRAMS)]


def test_commands_parse(tmp_path):
    """Every `truerate …` and `python -m …`, in blocks and in code spans: its module, options, studies and claims exist."""
    lines = [line for line in LINES + SPANS if ours(line)]
    assert lines
    wrong = apart("parse", {"lines": [ours(line) for line in lines]}, tmp_path)
    assert [f"{line}: {why}" for line, why in zip(lines, wrong, strict=True) if why] == []


def test_wrong_commands_are_seen(tmp_path):
    wrong = [
        ["studies.step_scaling", ["--presett", "full"]],
        ["studies.plan", ["step_scalin"]],
        ["verify", ["denoiser/mmse-gapp"]],
        ["figures", ["step_scalings"]],
        ["truerate", ["studies", "step_scaling", "--workers", "two"]],
        ["studies.sampler_audit", ["--library", "diffuser"]],
        ["truerate", ["measure"]],
    ]
    right = [["truerate", ["verify", "denoiser/mmse-gap"]], ["figures", []]]
    found = apart("parse", {"lines": wrong + right}, tmp_path)
    assert [bool(why) for why in found] == [True] * len(wrong) + [False] * len(right), found


def makefile_targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def extras():
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])


def fault(line: CommandLine):
    """What is wrong with a command that is not ours to parse; "" if nothing is, None where nobody knows."""
    words = [word for word in line.words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    program = Path(words[0]).name if words else "cd"
    if program == "make":
        missing = [word for word in words[1:] if word not in makefile_targets()]
        return f"no target {missing} in the Makefile" if missing or not words[1:] else ""
    if "pip" in words[:3] and "install" in words:
        named = [part for word in words for part in re.findall(r"(?:truerate|\.)\[([\w, -]+)\]", word)]
        missing = {extra.strip() for part in named for extra in part.split(",")} - extras()
        return f"no extra {sorted(missing)} in pyproject.toml" if missing else ""
    if program == "dask":
        return dask_fault(words)
    return "" if program in ("cd", "git", "source") else None


def dask_fault(words):
    import importlib

    import click

    main = importlib.import_module(f"distributed.cli.dask_{words[1]}").main
    try:
        main.make_context(f"dask {words[1]}", list(words[2:]))
    except click.ClickException as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("line", [line for line in LINES + SPANS if not ours(line)], ids=str)
def test_other_commands_exist(line):
    assert fault(line) == ""


@pytest.mark.parametrize(
    "line", ["make studdy", "pip install 'truerate[audits]'", "dask worker --nthreds 1", "rm -rf results"]
)
def test_wrong_other_commands_are_seen(line):
    assert fault(CommandLine("here", tuple(line.replace("'", "").split()))) != ""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_block_is_run_or_checked(block):
    if block.language in ("yaml", "yml"):
        yaml = pytest.importorskip("yaml")
        yaml.safe_load(block.text)
    elif block.language in DATA:
        DATA[block.language](block.text)
    else:
        assert block.language in (*PYTHON, *SHELL), f"a block of language {block.language!r}: neither run nor checked"
    assert block.text.strip()


@pytest.mark.parametrize(
    ("quote", "printed", "well"),
    [
        (
            "Estimate(0.684… ± 0.0047 (stderr) ± …, how",
            "Estimate(0.6841 ± 0.0047 (stderr) ± 0.003 (bias), QMC)\n",
            True,
        ),
        (
            "Estimate(0.684… ± 0.0047 (stderr) ± …, how",
            "Estimate(0.6851 ± 0.0047 (stderr) ± 0.003 (bias), QMC)\n",
            False,
        ),
        (
            "Estimate(0.684… ± 0.0047 (stderr) ± …, how",
            "Estimate(0.6841 ± 0.0048 (stderr) ± 0.003 (bias), QMC)\n",
            False,
        ),
        ("0.5", "0.5\n", True),
        ("0.5", "0.51\n", False),
    ],
)
def test_quotes_are_compared(quote, printed, well):
    assert (disagreement(quote, printed) == "") is well

"""What a guessing user types wrong is answered with the way out: one line, exit code 2, no traceback."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studies import console
from targets import ArgumentError

ROOT = Path(__file__).resolve().parent.parent


def truerate(*arguments, **environment):
    """The console script in a process of its own."""
    code = "import sys; from studies.console import main; sys.argv[0] = 'truerate'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, **environment},
    )


def module(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", name, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


# ---- commands: no process, no import of what they run ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dimension_scaling", "truerate studies dimension_scaling"),
        ("dimension-scaling --preset full", "truerate studies dimension_scaling --preset full"),
        ("dimensionscaling", "truerate studies dimension_scaling"),
        ("study step_scaling --seed 3", "truerate studies step_scaling --seed 3"),
        ("ledger", "truerate verify"),
        ("ledger --check", "truerate verify --check"),
        ("audit", "truerate studies sampler_audit"),
        ("veryfy denoiser/mmse-gap", "truerate verify denoiser/mmse-gap"),
        ("denoiser/mmse-gap", "truerate verify denoiser/mmse-gap"),
        ("figure step_scaling", "truerate figures step_scaling"),
        ("loss_adaptive losses.csv", "truerate loss-adaptive losses.csv"),
        ("lossadaptive losses.csv", "truerate loss-adaptive losses.csv"),
        ("row step_scaling", "truerate rows step_scaling"),
        ("reports", "truerate report"),
    ],
)
def test_a_wrong_command_is_answered_with_the_right_one(typed, meant, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["truerate", *typed.split()])
    with pytest.raises(SystemExit) as stop:
        console.main()
    assert stop.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: command = ")
    assert told.err.endswith(f"; did you mean: {meant}\n")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(("typed", "word"), [("frobnicate", "command"), ("--preset full verify", "option")])
def test_what_resembles_nothing_is_shown_the_help(typed, word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["truerate", *typed.split()])
    with pytest.raises(SystemExit) as stop:
        console.main()
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {word} = {typed.split()[0]!r}: expected ")
    assert told.endswith("; see truerate --help\n")
    assert "studies, verify, figures, plan, rows, loss-adaptive, report" in told


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("step-scalin", "did you mean: P step_scaling"),
        ("stepscaling --preset full", "did you mean: P step_scaling --preset full"),
        ("--preset full step_scaling", "did you mean: P step_scaling --preset full"),
        ("--fresh schedules", "did you mean: P schedules --fresh"),
        ("zzz", "expected one of dimension_scaling, "),
    ],
)
def test_a_wrong_study(typed, meant, capsys, monkeypatch):
    monkeypatch.setattr(console, "hand_over", lambda *_: pytest.fail("ran"))
    with pytest.raises(SystemExit) as stop:
        console.study_or_all("P", typed.split())
    assert stop.value.code == 2
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["", "--preset full", "--out schedules", "--json schedules --fresh"])
def test_no_name_means_all(typed):
    """A value that a study is called, too."""
    assert console.study_or_all("P", typed.split()) is False


# ---- values: the real parser and the real `main`, in this process ------------------------------------------------------


def answer(name, typed, folder, capsys):
    """(exit code, standard output, standard error) of a command line of a module."""
    words = [word.replace("FOLDER", str(folder)) for word in typed.split()]
    found = importlib.import_module(name)
    if name == "figures.__main__":
        try:
            code = found.main(words)
        except SystemExit as stop:
            code = stop.code
    else:
        with pytest.raises(SystemExit) as stopped:
            run(found, words)
        code = stopped.value.code
    told = capsys.readouterr()
    return code, told.out, told.err


def run(found, words):
    from studies import study

    if hasattr(found, "COMMAND"):
        found.COMMAND.run(found.main, words, failures=study.FAILURES)
    elif hasattr(found, "command"):
        found.command().run(found.main, words)
    else:
        study.described(found.Config, found.NAME, found.__doc__).run(found.main, words, failures=study.FAILURES)


VALUES = [
    ("studies.step_scaling", "--workers 0", "error: workers = 0: expected an integer >= 1"),
    ("studies.step_scaling", "--threads 0", "error: threads = 0: expected an integer >= 1"),
    ("studies.step_scaling", "--preset fast", "error: --preset = 'fast': expected one of quick, full; see "),
    ("studies.step_scaling", "--preset=ful", "expected one of quick, full; did you mean 'full'?; see "),
    ("studies.step_scaling", "--seed abc", "error: --seed = 'abc': expected an integer; see "),
    ("studies.step_scaling", "--seed -1", "error: seed = -1: expected an integer >= 0"),
    ("studies.step_scaling", "--sed 3", "error: unrecognized options: --sed, 3; did you mean --seed?; see "),
    ("studies.step_scaling", "--workers two", "error: --workers = 'two': expected an integer; see "),
    ("studies.step_scaling", "--workers", "error: missing: a value of --workers; see "),
    ("studies.step_scaling", "--scheduler foo", "error: scheduler = 'foo': expected the address of a running Dask"),
    ("studies.step_scaling", "--no-fresh", "--no-fresh"),
    ("studies.step_scaling", "--nonsense", "--help"),
    ("studies.step_scaling", "--device abacus", "error: device = 'abacus': expected auto, cpu"),
    ("studies.step_scaling", "--device cuda", "error: device = 'cuda': expected auto, cpu"),
    ("studies.step_scaling", "--out /proc/x", "error: out = '/proc/x': expected a folder that can be written"),
    ("studies.step_scaling", "--out FOLDER/file", "error: out = "),
    ("studies.step_scaling", "--json FOLDER --device cpu --out FOLDER", "expected a file that can be written"),
    (
        "studies.step_scaling",
        "--json /proc/x/y --device cpu --out FOLDER",
        "error: json = '/proc/x/y': expected a file",
    ),
    ("studies.step_scaling", "--stop-time 9", "error: "),
    (
        "studies.step_scaling",
        "--scheduler tcp://h:1 --workers 2",
        "error: workers = 2: expected none beside --scheduler",
    ),
    ("studies.sampler_audit", "--library difusers", "did you mean 'diffusers'"),
    ("studies.sampler_audit", "--docs --json FOLDER/a.json", "error: docs = True: expected neither"),
    ("studies.__main__", "--seed -1 --device cpu", "error: seed = -1"),
    ("studies.__main__", "--out /proc/x --device cpu", "error: out = '/proc/x'"),
    ("studies.__main__", "--out FOLDER --json FOLDER --device cpu", "error: json = "),
    ("studies.plan", "", "error: missing: NAME; see python -m studies.plan --help"),
    ("studies.rows", "step_scalling", "error: NAME = 'step_scalling': expected one of"),
    ("studies.plan", "step_scalin", "error: NAME = 'step_scalin': expected one of"),
    ("studies.plan", "step_scaling --workers 0", "error: workers = 0"),
    ("studies.plan", "step_scaling --json /proc/x", "error: json = '/proc/x'"),
    (
        "studies.rows",
        "step_scaling",
        "error: --to = None: expected a file that ends in .csv or .parquet, or --json FILE",
    ),
    ("studies.rows", "step_scaling --to FOLDER/a.xlsx", "a file that ends in .csv or .parquet"),
    ("studies.rows", "step_scaling --to FOLDER/a.csv --from FOLDER/none", "error: --from = "),
    ("studies.rows", "step_scaling --to FOLDER/no/a.csv", "a file in a folder that exists"),
    ("studies.loss_adaptive", "FOLDER/none.csv --prediction x0 --weighting sum", "none.csv"),
    ("studies.loss_adaptive", "FOLDER --prediction x0 --weighting sum", "error: "),
    ("studies.loss_adaptive", "FOLDER/file --prediction x0 --weighting sum", "error: "),
    ("studies.loss_adaptive", "FOLDER/file --prediction x0", "error: missing: --weighting {sum,mean}; see "),
    ("studies.loss_adaptive", "FOLDER/file --prediction eps --weighting sum", "epsilon"),
    (
        "studies.loss_adaptive",
        "FOLDER/good.csv --prediction x0 --weighting sum --steps 0",
        "error: steps = 0: expected",
    ),
    ("studies.loss_adaptive", "FOLDER/good.csv --prediction x0 --weighting sum --low 0", "error: (low, high) = "),
    ("studies.loss_adaptive", "FOLDER/good.csv --prediction x0 --weighting sum --json FOLDER", "error: json = "),
    ("studies.loss_adaptive", "FOLDER/good.csv --prediction x0 --weighting sum --out FOLDER/file", "error: out = "),
    ("verify.__main__", "denoiser/mmse-gaps", "did you mean denoiser/mmse-gap"),
    (
        "verify.__main__",
        "denoiser/mmse",
        "error: claim = 'denoiser/mmse': expected a whole id; so begin denoiser/mmse-gap",
    ),
    ("verify.__main__", "nope", "error: claim = 'nope': expected an id of python -m verify --list"),
    ("verify.__main__", "--study step_scalin", "error: study = 'step_scalin'"),
    ("verify.__main__", "denoiser/mmse-gap --docs", "error: docs = True: expected no claim"),
    ("verify.__main__", "--json FOLDER", "error: json = "),
    ("figures.__main__", "foo", "error: figure = 'foo': expected one of dimension_scaling, "),
    ("figures.__main__", "step-scalin", "did you mean step_scaling?"),
    ("figures.__main__", "--json FOLDER", "error: json = "),
    ("figures.__main__", "--jsn x", "error: unrecognized arguments: --jsn; see"),
    ("figures.__main__", "--from FOLDER/none", "expected a folder of studies, each with its rows.jsonl"),
]


@pytest.mark.parametrize(("name", "typed", "words"), VALUES, ids=[f"{name} {typed}" for name, typed, _ in VALUES])
def test_a_wrong_value_is_told_before_any_work(name, typed, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "file").write_text("")
    (tmp_path / "good.csv").write_text("snr,loss\n" + "".join(f"{10.0**i},{1 / (1 + 10.0**i)}\n" for i in range(-4, 5)))
    if "--device cuda" in typed:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has one")
    code, out, err = answer(name, typed, tmp_path, capsys)
    assert code == 2, err
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.rglob("*")} - {"file", "good.csv"} <= {"loss_adaptive", "step_scaling"}
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_equals_sign_is_as_good_as_a_space():
    from studies import step_scaling, study

    command = study.described(step_scaling.Config, "step_scaling", "")
    assert command.parse(["--preset=full", "--json=-"]) == command.parse(["--preset", "full", "--json", "-"])


def test_the_file_that_was_asked_about_is_not_left_behind(tmp_path):
    from verify.command import writable

    writable("json", tmp_path / "new" / "a.json")
    assert not (tmp_path / "new" / "a.json").exists()
    (tmp_path / "there").write_text("text")
    writable("json", tmp_path / "there")
    assert (tmp_path / "there").read_text() == "text"
    with pytest.raises(ArgumentError, match=r"json = '.*there/b': expected a file that can be written \(.+\)"):
        writable("json", tmp_path / "there" / "b")


# ---- the same in processes of their own --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("dimension_scaling",), 2, "did you mean: truerate studies dimension_scaling"),
        (("studies", "step-scaling", "--workers", "0"), 2, "error: workers = 0: expected an integer >= 1"),
        (("studies", "step_scaling", "--prest", "full"), 2, "truerate studies step_scaling --help"),
        (("verify", "nope"), 2, "error: claim = 'nope'"),
        (("figures", "foo"), 2, "error: figure = 'foo'"),
        (("plan",), 2, "truerate plan --help"),
    ],
)
def test_truerate_and_the_program_it_shows(arguments, code, words):
    done = truerate(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "python -m studies" not in done.stderr


def test_python_m_studies_name(tmp_path):
    done = module("studies", "step_scaling", "--out", str(tmp_path), "--sed", "1")
    assert done.returncode == 2
    assert "python -m studies step_scaling --help" in done.stderr

"""All studies in turn: every one is named, options reach each, one failure stops no other, Ctrl-C stops all."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from studies import __main__ as everything
from studies import study
from targets import ArgumentError

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Config(study.Config):
    """A study's own option beside the shared ones."""

    own: float = 3.0


@pytest.fixture
def calls(monkeypatch):
    """Three studies that write down how they were called; `errors` says what one of them raises."""
    seen, errors = [], {}

    def load(name):
        def run(config):
            seen.append((name, config))
            if name in errors:
                raise errors[name]

        return SimpleNamespace(Config=Config, main=run)

    monkeypatch.setattr(everything, "STUDIES", {name: f"question of {name}" for name in ("one", "two", "three")})
    monkeypatch.setattr(everything, "load", load)
    return SimpleNamespace(seen=seen, errors=errors)


def test_every_study_is_named_once():
    """Every module that runs the frame of a study, and nothing else."""
    found = {path.stem for path in (ROOT / "studies").glob("*.py") if "study.run(NAME" in path.read_text()}
    assert found == set(everything.STUDIES)


def test_options_reach_every_study_in_order(calls, tmp_path):
    assert everything.main(study.Config("full", "cpu", 7, tmp_path)) == 0
    assert calls.seen == [(name, Config("full", "cpu", 7, tmp_path)) for name in ("one", "two", "three")]


def test_one_failure_stops_no_other(calls, capsys):
    calls.errors["two"] = ValueError("[bold] went wrong")
    assert everything.main(study.Config(device="cpu")) == 1
    assert [name for name, _ in calls.seen] == ["one", "two", "three"]
    out = capsys.readouterr().out
    assert "finished: one, three" in out
    assert "failed: two: ValueError: [bold] went wrong" in out


def test_a_study_that_cannot_be_imported_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(everything, "STUDIES", {"no_such_study": "question"})
    assert everything.main(study.Config(device="cpu")) == 1
    assert "failed: no_such_study: ModuleNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize("stop", [study.InterruptedSweep("stopped at setting 2 of 3"), KeyboardInterrupt()])
def test_interruption_stops_all(calls, capsys, stop):
    calls.errors["two"] = stop
    assert everything.main(study.Config(device="cpu")) == 130
    assert [name for name, _ in calls.seen] == ["one", "two"]
    out = capsys.readouterr().out
    assert "stopped in two; finished: one; the same command goes on" in out
    assert str(stop) in out


@pytest.mark.parametrize(
    ("change", "message"), [({"seed": -1}, "seed = -1"), ({"device": "abacus"}, "device = 'abacus'")]
)
def test_bad_options_are_refused_before_the_first_study(calls, change, message):
    with pytest.raises(ArgumentError, match=message):
        everything.main(dataclasses.replace(study.Config(device="cpu"), **change))
    assert calls.seen == []


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "studies", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_help_names_every_study():
    found = run("--help")
    assert found.returncode == 0
    for word in (*everything.STUDIES, "--preset", "--device", "--seed", "--out"):
        assert word in found.stdout


def test_a_bad_option_is_one_line():
    found = run("--seed", "-1", "--device", "cpu")
    assert found.returncode == 2
    assert found.stderr.strip().splitlines()[-1] == "error: seed = -1: expected an integer >= 0"
    assert run("--preset", "slow").returncode == 2

"""Hints: what a wrong word meant, and where a word is out of place."""

import sys
from importlib import metadata

import pytest

from studies import console


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--preset full step_scaling --seed 3", "did you mean: P step_scaling --preset full --seed 3\n"),
        ("--fresh schedules --seed 3", "did you mean: P schedules --fresh --seed 3\n"),
    ],
)
def test_options_on_both_sides_of_a_study_stay(typed, meant, capsys):
    with pytest.raises(SystemExit):
        console.study_or_all("P", typed.split())
    assert capsys.readouterr().err.endswith(meant)


def test_a_command_with_a_slash_is_no_claim():
    assert console.nearest("truerate", ["verify/"]).endswith("; did you mean: truerate verify")


@pytest.mark.parametrize("typed", ["--version", "-V"])
def test_the_version_is_told_by_either_option(typed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["truerate", typed])
    console.main()
    assert capsys.readouterr().out == f"{console.version()}\n"


def test_words_that_mean_a_command():
    told = {word: console.nearest("truerate", [word, "x"]).rpartition("truerate ")[2] for word in console.MEANT}
    assert told == {
        "study": "studies x",
        "run": "studies x",
        "ledger": "verify x",
        "claims": "verify x",
        "claim": "verify x",
        "check": "verify --check x",
        "audit": "studies sampler_audit x",
        "figure": "figures x",
        "draw": "figures x",
        "plot": "figures x",
        "export": "rows x",
        "cost": "plan x",
        "grid": "loss-adaptive x",
    }


def test_half_a_name_of_a_study_is_enough(capsys):
    with pytest.raises(SystemExit):
        console.study_or_all("P", ["schedul", "--seed", "3"])
    assert capsys.readouterr().err.endswith("; did you mean: P schedules --seed 3\n")
    with pytest.raises(SystemExit):
        console.study_or_all("P", ["dimension"])
    assert capsys.readouterr().err.endswith("; did you mean: P dimension_scaling\n")


def test_the_version_of_what_is_not_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert console.version() == "truerate, not installed"


def test_what_the_examples_of_the_short_page_do_stands_in_one_column():
    lines = [line for line in console.page().splitlines() if "  # " in line]
    assert len(lines) == len(console.EXAMPLES)
    assert len({line.index("  # ") for line in lines}) == 1

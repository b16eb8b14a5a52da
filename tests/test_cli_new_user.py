"""What someone meets who has the package for the first time: an installed one, a fresh checkout, losses of their own."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from figures import __main__ as figures
from figures import command as ending
from figures.load import NoRowsError, latest, load
from studies import engine, loss_adaptive, plan, rows, sampler_audit
from targets import ArgumentError
from verify import Grid
from verify.claims.ledger import CLAIMS, TOLD, find

ROOT = Path(__file__).resolve().parent.parent


# ---- an installed package ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as a wheel of this tree unpacks it, with nothing of the checkout."""
    if find_spec("pip") is None or find_spec("setuptools") is None:
        pytest.skip("pip builds the wheel with the setuptools that is installed")
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("targets", "verify", "studies", "figures"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "rendered"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", place, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def truerate(installed, folder, *arguments):
    """(exit code, standard output, standard error) of the installed program, started in a folder of its own."""
    code = "import sys; from studies.console import main; sys.argv[0] = 'truerate'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_an_installed_package_has_rows_and_front_figures(installed):
    for folder, kinds in (("rows", ("*.jsonl", "ledger.json")), ("front", ("*.png", "*.svg", "*.pdf"))):
        for kind in kinds:
            here = {path.name for path in (ROOT / "figures" / folder).glob(kind)}
            assert {path.name for path in (installed / "figures" / folder).glob(kind)} == here
            assert here


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("figures filmstrip", "figures/front/filmstrip.png"),
        ("plan step_scaling --workers 2", "core time"),
        ("report --out report.html", "report.html  "),
        ("verify --study early_stopping --list", "early_stopping: "),
        ("rows step_scaling --to a.csv", "a.csv: "),
    ],
)
def test_commands_of_an_installed_package(installed, tmp_path, typed, words):
    code, out, err = truerate(installed, tmp_path, *typed.split())
    assert code == 0, err
    assert words in out
    assert str(ROOT) not in out


def test_figures_of_an_installed_package_are_beside_the_rows(tmp_path, monkeypatch):
    from figures import style

    before = style.RENDERED
    with ending.pictures(tmp_path / "rows.jsonl"):
        assert style.RENDERED == before
    monkeypatch.setattr(ending, "CHECKOUT", False)
    with ending.pictures(tmp_path / "rows.jsonl"):
        assert style.RENDERED == tmp_path / "figures"
    assert style.RENDERED == before


# ---- rows of a run, and the committed ones -----------------------------------------------------------------------------


def stored(folder: Path, *runs: tuple[str, str, str]) -> Path:
    """A row file with two rows of each (key, preset, time)."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "key": key,
            "row": row,
            "of": 2,
            "study": folder.name,
            "value": row,
            "setting": {"family": key, "preset": preset, "seed": 0},
            "provenance": {"code": "c", "time": time, "command": "c", "commit": "0" * 40},
        }
        for key, preset, time in runs
        for row in range(2)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "rows.jsonl"


def test_the_last_run_of_a_file(tmp_path):
    """A quick run after a full one is drawn alone, whatever the order of the lines."""
    path = stored(tmp_path / "s", ("b", "quick", "3"), ("a", "full", "1"), ("c", "quick", "2"))
    assert latest(path) == {"b", "c"}
    assert set(load(path, latest(path)).key) == {"b", "c"}
    assert latest(tmp_path / "none") == set()


def test_figures_of_a_run(tmp_path, monkeypatch, capsys):
    """`figures --from` draws those whose rows are there, from the last run alone."""
    seen = []

    def draw(path, keys):
        seen.append((path, keys))
        return [tmp_path / "a.png"]

    monkeypatch.setattr(figures, "drawer", lambda _: draw)
    path = stored(tmp_path / "step_scaling", ("a", "full", "1"), ("b", "quick", "2"))
    stored(tmp_path / "no_study", ("a", "full", "1"))
    assert figures.main(["--from", str(tmp_path)]) == 0
    assert seen == [(path, {"b"})]
    assert figures.main(["step_scaling", "--from", str(tmp_path)]) == 0
    assert len(seen) == 2
    assert capsys.readouterr().out == f"{tmp_path / 'a.png'}\n" * 2


def test_missing_rows_are_told_with_the_whole_way_out(tmp_path, capsys):
    stored(tmp_path / "schedules", ("a", "full", "1"))
    assert figures.main(["step_scaling", "--from", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith("; make them with python -m studies.step_scaling\n")
    words = r"studies\.s --preset full, then python -m studies\.publish s; or .* by python -m figures s --from results"
    with pytest.raises(NoRowsError, match=words):
        load(tmp_path / "s.jsonl")
    with pytest.raises(NoRowsError, match="make bench"):
        load(tmp_path / "benchmarks.jsonl")


def test_a_table_of_the_committed_rows(tmp_path, monkeypatch, capsys):
    """In a folder without results the committed rows are taken, and the answer says so; one's own come first."""
    monkeypatch.chdir(tmp_path)
    rows.main(rows.Options("filmstrip", Path("a.csv")))
    told = capsys.readouterr()
    assert told.err.startswith("no rows of filmstrip in results: these are the committed ones, ")
    assert told.err.count("\n") == 1
    beside = rows.Options("filmstrip", Path("b.csv"), ROOT / "figures" / "rows")
    rows.main(beside)
    assert capsys.readouterr().err == ""
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert len(pd.read_csv("a.csv")) == len(load(ROOT / "figures" / "rows" / "filmstrip.jsonl"))
    own = stored(tmp_path / "results" / "filmstrip", ("a", "quick", "1"))
    assert rows.source(dataclasses.replace(beside, folder=None)) == own.relative_to(tmp_path)
    with pytest.raises(ArgumentError, match=r"expected one of filmstrip$"):
        rows.main(rows.Options("step_scaling", Path("c.csv"), Path("results")))


# ---- losses of one's own -----------------------------------------------------------------------------------------------


SNR = np.geomspace(1e-4, 1e4, 9)


class TestLosses:
    """Wrong tables and options of loss-adaptive, each with what to do about it."""

    TABLES: ClassVar = {
        "sigma,loss": r"process = None: expected one of vp, ve, flow for the column sigma \(--process as an option\)",
        "timestep,loss": r"betas = None: expected the β table of the timesteps \(--betas as an option\)",
        "snr,loss,epoch": "stderr if known; remove: epoch",
        ",snr,loss": "columns '', snr, loss: .*; a column has no name \\(the first\\): to_csv\\(index=False\\)",
        "snr,sigma,loss": "remove all but one of: snr, sigma",
        "snr;loss": "separate columns by commas",
        "snr,train_loss": "rename train_loss to loss",
        "log_snr,loss": "did you mean 'logsnr'",
    }

    @pytest.mark.parametrize("names", TABLES)
    def test_columns(self, tmp_path, names):
        file = tmp_path / "losses.csv"
        mark = ";" if ";" in names else ","
        file.write_text(f"{names}\n" + "".join(f"{mark.join(['0.5'] * len(names.split(mark)))}\n" for _ in SNR))
        config = loss_adaptive.Config(file, "x0", "sum")
        with pytest.raises(ArgumentError, match=self.TABLES[names]):
            loss_adaptive.main(config)

    def test_options(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("losses.csv").write_text("snr,loss\n" + "".join(f"{snr},{1 / (1 + snr)}\n" for snr in SNR))
        config = loss_adaptive.Config(Path("losses.csv"), "x0", "sum")
        with pytest.raises(ArgumentError, match=r"--low = 10: expected --low < --high, which is 1$"):
            loss_adaptive.main(dataclasses.replace(config, low=10.0, high=1.0))
        with pytest.raises(ArgumentError, match=r"^losses = '\.': expected a CSV file: Is a directory$"):
            loss_adaptive.main(dataclasses.replace(config, losses=Path()))
        with pytest.raises(ArgumentError, match=r"for prediction=.score. \(--process as an option\)"):
            loss_adaptive.main(dataclasses.replace(config, prediction="score"))
        with pytest.raises(ArgumentError, match=r"or a file of numbers; did you mean 'linear'\?$"):
            loss_adaptive.betas_of("liner")
        with pytest.raises(ArgumentError, match=r"or a file of numbers; Is a directory$"):
            loss_adaptive.betas_of(".")


@pytest.mark.parametrize("scheduler", ["Euler", 3, {}, None, [[0.5, 0.4]]])
def test_what_is_no_scheduler(scheduler):
    with pytest.raises(
        ArgumentError, match=r"^scheduler = .*: expected an instance of a scheduler of diffusers, or its"
    ):
        Grid.log_snr(3, snr=(0.1, 10.0)).to_diffusers(scheduler)


@pytest.mark.parametrize("address", ["foo", "tcp://foo", "tcp://foo:port", "http//foo:1", "", "tcp://a:1/x"])
def test_what_is_no_address_is_refused_before_anything_is_asked_there(address):
    with pytest.raises(ArgumentError, match="expected the address of a running Dask scheduler, scheme://host:port"):
        engine.connected(address).__enter__()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tls://[::1]:8786", "head:8786", "inproc://10.0.0.1/7/1"])
def test_what_is_an_address(address):
    assert engine.ADDRESS.fullmatch(address)


# ---- names -------------------------------------------------------------------------------------------------------------


def test_a_part_of_a_claims_id_is_answered_with_those_that_begin_so():
    begin = [name for name in CLAIMS if name.startswith("denoiser")]
    with pytest.raises(ArgumentError, match="so begin") as error:
        find(["denoiser"])
    assert len(begin) > TOLD
    assert ", ".join(begin[:TOLD]) + f", … ({len(begin)} of them); see python -m verify --list" in str(error.value)
    assert begin[TOLD] not in str(error.value)


def test_a_part_of_a_samplers_name(monkeypatch):
    known = {"truerate": {"heun", "ddpm"}, "diffusers": {f"Heun{i}Scheduler" for i in range(20)} | {"PNDM"}}
    monkeypatch.setattr(sampler_audit.registry, "versions", lambda: dict.fromkeys(known, "1"))
    monkeypatch.setattr(sampler_audit.registry, "names", known.get)
    with pytest.raises(ArgumentError) as error:
        sampler_audit.near_names(None, "Heun")
    assert "docs/audit.md lists all; did you mean Heun0Scheduler, " in str(error.value)
    assert str(error.value).count(", ") == sampler_audit.TOLD - 1
    with pytest.raises(ArgumentError, match=r"of truerate; docs/audit.md lists all; did you mean heun\?$"):
        sampler_audit.near_names("truerate", "heu")
    sampler_audit.near_names(None, "heun")
    sampler_audit.near_names("truerate", "PNDM")  # the registry says whose it is


def test_a_plan_names_a_rest_only_where_there_is_one(capsys):
    measured, like = plan.Cost(3.0, 1.0, True), plan.Cost(1.0, 1.0, False)
    for costs, words in (
        ([measured], "(all of it measured on these settings)"),
        ([measured, like], "(75% of it measured on these settings, the rest by their like)"),
        ([], "core time  0.0 s\n"),
    ):
        missing = [({"family": "f", "dim": 1}, cost) for cost in costs]
        plan.show(plan.Plan(2, missing, [cost.seconds for cost in costs]), 2)
        assert words in capsys.readouterr().out

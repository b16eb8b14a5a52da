"""The schedule study: windows by their rule, regrets and sentences follow the rows, figures redraw from rows alone."""

import dataclasses
import json
from importlib import import_module

import numpy as np
import pytest
import torch

from figures import schedules as picture
from studies import schedule_verdicts, schedules, study
from studies.store import Store, frame, read_rows
from targets import ArgumentError, Discrete, GaussianMixture
from verify.in_use import SCHEDULES, schedule
from verify.span import span

CPU = torch.device("cpu")
GAUSSIAN, POINTS, NESTED, TAIL = "anisotropic Gaussian", "8 orthogonal points", "nested scales", "heavy tail"
WANTED = {
    GAUSSIAN: {"curve", "schedule", "marginal_optimal", "noisy"},
    POINTS: {"curve", "schedule", "noisy"},
    NESTED: {"curve", "schedule"},
    TAIL: {"noisy"},
}
SIZES = {"STEPS": {"quick": (4, 64)}, "NOISY": {"quick": (8,)}, "SHOWN": 8}


def small_settings():
    return [s for s in schedules.settings(schedules.Config()) if s["part"] in WANTED.get(s["family"], ())]


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SIZES.items():
            patch.setattr(schedules, name, value)
        for name, family in schedules.FAMILIES.items():
            patch.setitem(schedules.FAMILIES, name, dataclasses.replace(family, quick=True, seeds=(2, 20)))
        yield


@pytest.fixture(scope="module")
def store(_small, tmp_path_factory):
    """Every small setting, through disk."""
    out = Store(tmp_path_factory.mktemp("results"), schedules.NAME)
    study.sweep(out, small_settings(), lambda s: schedules.compute(s, CPU))
    return Store(out.path.parent.parent, schedules.NAME)


@pytest.fixture(scope="module")
def rows(store):
    return [row for setting in small_settings() for row in store.get(setting)]


def changed(rows, factor, **wanted):
    """Rows with these columns, their values times a factor."""
    hit = lambda row: all(row.get(column) == value for column, value in wanted.items())  # noqa: E731
    assert any(hit(row) for row in rows)
    return [{**row, "value": factor * row["value"]} if hit(row) else row for row in rows]


def sentence(rows, beginning):
    data = frame(rows)
    found = schedule_verdicts.sentences(data, schedule_verdicts.regrets(data))
    return next(s for s in found if s.startswith(beginning))


# ---- rows ---------------------------------------------------------------------------------------------------------------


def test_rows_are_complete_and_json(rows):
    """Every K of every schedule has its path KL, one grid is kept for the figure, and nothing is NaN or infinite."""
    json.dumps(rows, allow_nan=False)
    for family in (GAUSSIAN, POINTS, NESTED):
        for name in SCHEDULES:
            mine = [row for row in rows if (row["family"], row.get("schedule")) == (family, name)]
            paths = [row for row in mine if row.get("rung") == "path"]
            assert [row["steps"] for row in paths] == [4, 8, 64]
            assert all(row["value"] > 0 and row["stderr"] >= 0 and row["bias"] >= 0 for row in paths)
            (grid,) = [row["logsnr"] for row in mine if row["quantity"] == "grid"]
            assert len(grid) == 9
            np.testing.assert_allclose(np.exp([grid[0], grid[-1]]), span(schedules.law(family)), rtol=1e-12)


def test_marginals_where_they_are_exact(rows):
    """Both samplers, below the path KL; none where the marginal is sampled."""
    for family, exact in ((GAUSSIAN, True), (POINTS, False), (NESTED, False)):
        mine = [row for row in rows if row["family"] == family and row["quantity"] == "kl"]
        paths = {(row["schedule"], row["steps"]): row["value"] for row in mine if row["rung"] == "path"}
        marginals = [row for row in mine if row["rung"] == "marginal"]
        followed = set(paths) if exact else set()
        for sampler in ("ddpm", "ddim"):
            assert {(row["schedule"], row["steps"]) for row in marginals if row["sampler"] == sampler} == followed
        assert all(r["value"] < paths[r["schedule"], r["steps"]] for r in marginals if r["sampler"] == "ddpm")


def test_densities_far_from_the_truth_are_not_followed():
    (row,) = (
        row
        for row in schedules.compute(
            {"family": "curved mixture", "part": "schedule", "schedule": "uniform_sigma", "preset": "quick"}, CPU
        )
        if row["quantity"] == "kl" and row["steps"] == 4
    )
    assert row["rung"] == "path"
    assert row["value"] > schedules.COARSE


def test_no_schedule_is_below_the_optimum(rows):
    found = schedule_verdicts.regrets(frame(rows))
    assert len(found) == 3 * (3 * len(SCHEDULES)) + 2
    assert found.regret.min() >= -1e-9
    assert found[found.schedule == "log_snr"].regret.min() > 0.01


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_the_marginals_own_grid_is_below_all_others(rows, sampler):
    mine = [row for row in rows if row["family"] == GAUSSIAN and row.get("rung") == "marginal" and row["steps"] == 4]
    values = {row["schedule"]: row["value"] for row in mine if row["sampler"] == sampler}
    own = values.pop(f"marginal_optimal ({sampler})")
    assert len(values) >= 8
    assert all(own < value for value in values.values())


# ---- laws and windows ---------------------------------------------------------------------------------------------------


ATOMS = {"two points", POINTS, "64 orthogonal points", NESTED, TAIL, "rare bit", "Markov chain", "digits"}


@pytest.mark.parametrize("family", schedules.FAMILIES)
def test_the_rarest(family):
    """The least weight of an atom or component, by the laws' own weights; a chain's are products of its bits'."""
    target, rarest = schedules.law(family), schedules.FAMILIES[family].rarest
    if isinstance(target, (Discrete, GaussianMixture)):
        assert rarest == pytest.approx(float(target.components.weights.min()), rel=1e-12, abs=0)
    else:
        assert (rarest is None) == (family != "Markov chain")


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=[pytest.mark.slow] if f == "digits" else []) for f in schedules.FAMILIES]
)
def test_windows(family):
    """By a second reading of the rule; and every schedule hits both ends and is no better than the best grid."""
    target = schedules.law(family)
    ends = span(target)
    if family in ATOMS:
        whole = target.mutual_information(1e6 * ends[1])
        assert abs(float(whole.value) - float(target.entropy().value)) <= 4.0 * float(whole.stderr) + float(whole.bias)
        told = np.asarray(target.mutual_information(np.array(ends)).value) / float(whole.value)
        np.testing.assert_allclose([told[0], 1.0 - told[1]], 1e-3, rtol=1e-4)
    else:
        left = np.asarray(target.mmse(np.array(ends)).value) / target.total_variance
        np.testing.assert_allclose(left, [0.99, 1e-3], rtol=1e-4)
    cost = {}
    for name in SCHEDULES:
        grid = schedule(name, target, 3, ends)
        assert (grid.snr[0], grid.snr[-1], grid.steps) == (*ends, 3)
        cost[name] = float(np.asarray(target.mmse(grid.snr[:-1]).value) @ np.diff(grid.snr))
    assert all(value >= cost["optimal"] * (1.0 - 1e-9) for value in cost.values())


# ---- sentences ----------------------------------------------------------------------------------------------------------


def test_a_schedule_below_the_optimum_is_reported(rows):
    """Control: one path KL of the log-snr grid taken to half the least."""
    count = 3 * 3 * (len(SCHEDULES) - 1)
    ending = "(schedule, law, K)"
    assert sentence(rows, "path KL below") == f"path KL below the optimum's: 0 of {count} {ending}"
    data = schedule_verdicts.regrets(frame(rows))
    one = {"family": POINTS, "schedule": "log_snr", "steps": 8, "rung": "path"}
    (regret,) = schedule_verdicts.select(data, **one).regret
    low = changed(rows, 0.5 / (1.0 + regret), **one)
    assert sentence(low, "path KL below") == f"path KL below the optimum's: 1 of {count} {ending}, by up to 5.0e-01"


def test_median_regrets(rows):
    """Over laws and K; tripled costs make a regret of 1 a regret of 5."""
    fixed = [name for name in SCHEDULES if name not in ("optimal", "recursion", "sqrt_slope")]
    found = schedule_verdicts.regrets(frame(rows))
    for data, factor in ((rows, 1.0), (changed(rows, 3.0, schedule="cosine", rung="path"), 3.0)):
        said = sentence(data, "median regret over laws and K: ")
        for name in fixed:
            median = found[found.schedule == name].regret.median()
            median = factor * (1.0 + median) - 1.0 if name == "cosine" else median
            assert f"{name} {schedule_verdicts._percent(median)}" in said


def test_the_limit_is_a_quarter_of_the_squared_length(rows):
    """Extrapolated from K = 8 and 64 within 3%; twice the length is seen."""
    for factor in (1.0, 4.0):
        said = sentence(changed(rows, factor, quantity="quarter"), "optimum: ")
        limits = [float(part.split("(")[1].rstrip(")")) for part in said.split("extrapolated in 1/K: ")[1].split(", ")]
        np.testing.assert_allclose(limits, 1.0 / factor, rtol=0.03)


def test_path_against_marginal(rows):
    said = sentence(rows, "marginal KL of ddim on the path-optimal grid")
    over, back = (float(word.strip("()")) for word in said.split()[-2:])
    assert over > 1.05
    assert back > 1.05
    worse = changed(rows, 2.0, family=GAUSSIAN, schedule="optimal", sampler="ddim", rung="marginal", steps=4)
    found = sentence(worse, "marginal KL of ddim on the path-optimal grid")
    assert float(found.split()[-2]) == pytest.approx(2.0 * over, abs=0.02)


def test_sentences_where_no_marginal_was_followed(rows):
    """A path KL beyond `COARSE` leaves its marginal out, not the report; on the Gaussian that is every searched K."""
    kept = [row for row in rows if row.get("rung") != "marginal"]
    assert sentence(kept, "path KL below") == sentence(rows, "path KL below")


def test_noise_is_within_ten_per_cent_or_is_said_not_to_be(rows):
    """Held to 10%: laws without an atom rarer than 10,000 samples; a heavy tail is told apart."""
    said = sentence(rows, "loss-adaptive from noisy losses")
    assert said.endswith("2 seeds): within 10%")
    assert sentence(rows, "elsewhere: ").startswith(f"elsewhere: {TAIL} K = 8")
    for row in (row for row in rows if row["quantity"] == "regret"):
        assert -1e-9 <= row["low"] <= row["value"] <= row["high"]
        assert row["rarest"] == {GAUSSIAN: None, POINTS: 12_500.0, TAIL: pytest.approx(2293.8, abs=0.1)}[row["family"]]
    one = {"family": POINTS, "schedule": "optimal", "quantity": "regret"}
    (value,) = schedule_verdicts.select(frame(rows), **one).value
    for regret, ending in ((0.099, "seeds): within 10%"), (0.101, "seeds): NOT within 10%")):
        found = sentence(changed(rows, regret / value, **one), "loss-adaptive from noisy losses")
        assert f"median regret at most {regret:.1%} ({POINTS}, K = 8" in found
        assert found.endswith(ending)
    assert sentence(changed(rows, 1e3, **{**one, "family": TAIL}), "loss-adaptive from noisy losses") == said


# ---- the frame ----------------------------------------------------------------------------------------------------------


def test_report_and_figures(store, rows, tmp_path, monkeypatch, capsys):
    """The table names every schedule; pictures are drawn from the store alone."""
    schedule_verdicts.report(rows)
    text = capsys.readouterr().out
    for word in (*SCHEDULES, "at K = 64", "path KL below the optimum's: 0 of", "within 10%"):
        assert word in text
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    for name in ("law", "schedule"):
        monkeypatch.setattr(schedules, name, lambda *_: pytest.fail("computed for a figure"))
    written = picture.draw(store.path)
    assert {path.name for path in written} == {
        f"{schedules.NAME}{part}.{kind}"
        for part in ("", "_grids", "_regret", "_noise")
        for kind in ("png", "svg", "pdf")
    }
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings_name_every_part_once():
    found = [(s["family"], s["part"], s.get("schedule")) for s in schedules.settings(schedules.Config())]
    assert len(found) == len(set(found))
    for family in schedules.FAMILIES:
        assert [name for f, part, name in found if (f, part) == (family, "schedule")] == list(SCHEDULES)
    assert (schedules.DRAWN, "noisy", None) in found
    assert set(picture.ORDER) | {"recursion"} == set(SCHEDULES)


def test_sweep_resumes(store, rows):
    """What is on disk is not computed again, a part that is missing is."""
    again = study.sweep(store, small_settings(), lambda _: pytest.fail("computed twice"))
    assert again == rows
    computed = []
    setting = {**small_settings()[0], "seed": 1}
    study.sweep(store, [setting, *small_settings()], lambda s: computed.append(s) or [])
    assert computed == [setting]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 199}, "samples = 199: expected an integer >= 200"),
        ({"samples": 1e5}, "samples = 100000.0: expected an integer >= 200"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
    ],
)
def test_bad_settings(change, message, tmp_path):
    """Before any work: nothing is written."""
    out = tmp_path / "results"
    with pytest.raises(ArgumentError, match=message):
        schedules.main(dataclasses.replace(schedules.Config(out=out), **change))
    assert not out.exists()


# ---- committed rows -----------------------------------------------------------------------------------------------------


LONG = ("schedules", "score_error", "entropy_scaling", "early_stopping", "noise_step", "open_questions")


@pytest.mark.parametrize("name", [*LONG, "learned_score", "dimension_scaling", "step_scaling", "atlas", "filmstrip"])
def test_the_committed_rows_are_whole(name):
    """Every setting of the full preset with all its rows, by one code version, one commit and the one command."""
    path = picture.COMMITTED.with_name(f"{name}.jsonl")
    if not path.exists():
        pytest.skip(f"{path.name} is not committed yet")
    committed, module = read_rows(path), import_module(f"studies.{name}")
    assert len(committed) == len(path.read_text().splitlines())
    found = {}
    for row in committed:
        found.setdefault(row["key"], []).append(row)
    for mine in found.values():
        assert sorted(row["row"] for row in mine) == list(range(mine[0]["of"]))
    told = lambda settings: sorted(json.dumps(setting, sort_keys=True) for setting in settings)  # noqa: E731
    assert told(mine[0]["setting"] for mine in found.values()) == told(module.settings(module.Config(preset="full")))
    origins = {tuple(row["provenance"][word] for word in ("command", "code", "commit")) for row in committed}
    assert len(origins) == 1, origins
    assert origins.pop()[0].removesuffix(" --workers 2") == f"python -m studies.{name} --preset full"


def test_what_the_committed_rows_say():
    if not picture.COMMITTED.exists():
        pytest.skip(f"{picture.COMMITTED.name} is not committed yet")
    committed = read_rows(picture.COMMITTED)
    assert sentence(committed, "path KL below").startswith("path KL below the optimum's: 0 of ")
    assert ": within 10%" in sentence(committed, "loss-adaptive from noisy losses")

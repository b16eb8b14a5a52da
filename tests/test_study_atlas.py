"""The atlas: entries by a second computation, the order of the rungs on every committed row, slopes, budgets, pictures."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from figures import atlas as picture
from studies import atlas
from studies.step_verdicts import RUNGS
from studies.store import Store, read_rows
from targets import ArgumentError, NotAvailableError, get
from verify import Grid, kl, samplers
from verify.carry.moments import moments
from verify.in_use import SCHEDULES
from verify.oracle import Exact
from verify.span import span

CPU = torch.device("cpu")
GAUSSIAN, CURVED = "anisotropic Gaussian", "curved mixture"
ROUNDED = 5.1e-6
"""Relative error of six significant digits, with a little to spare."""


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Four and eight steps of every law."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "QUICK", 8)
        atlas.grid_of.cache_clear()
        yield


def small_settings():
    wanted = {(GAUSSIAN, name) for name in atlas.SCHEDULES} | {(CURVED, "log_snr")}
    return [s for s in atlas.settings(atlas.Config()) if (s["family"], s["schedule"]) in wanted]


@pytest.fixture(scope="module")
def rows(_small):
    return [row for setting in small_settings() for row in atlas.compute(setting, CPU)]


@pytest.fixture(scope="module")
def committed():
    return read_rows(picture.COMMITTED)


def measured(rows, **wanted):
    return [row for row in rows if row["quantity"] == "kl" and all(row[key] == v for key, v in wanted.items())]


def error(row):
    """What each value may be wrong by: four standard errors, its bias, and the rounding of the row."""
    value, stderr, bias = (np.array(row[name]) for name in ("value", "stderr", "bias"))
    return 4.0 * 1.06 * stderr + 1.06 * bias + ROUNDED * np.abs(value)


# ---- rows ---------------------------------------------------------------------------------------------------------------


def test_rows_are_plain_and_every_rung_is_accounted_for(rows):
    """Each sampler has a row or a reason for each rung; lists over K are as long as each other; nothing is NaN."""
    json.dumps(rows, allow_nan=False)
    for setting in small_settings():
        mine = [r for r in rows if (r["family"], r["schedule"]) == (setting["family"], setting["schedule"])]
        for rung, reference in RUNGS:
            here = [r for r in mine if (r["rung"], r["reference"]) == (rung, reference)]
            names = [r["sampler"] for r in here if r["quantity"] == "kl"]
            names += [name for r in here if r["quantity"] == "refused" for name in r["samplers"]]
            assert sorted(names) == sorted(samplers.names())
    for row in measured(rows):
        assert len({len(row[name]) for name in ("steps", "evaluations", *atlas.DIGITS)}) == 1
        assert set(row["steps"]) <= {4, 8}
        assert min(row["value"]) > 0.0


def test_all_share_window_and_stop(rows):
    for family in (GAUSSIAN, CURVED):
        window = span(atlas.law(family))
        for row in measured(rows, family=family):
            np.testing.assert_allclose((row["start"], row["stop"]), window, rtol=ROUNDED)
    setting = small_settings()[0]
    for sampler in samplers.names():
        made = atlas.tables(setting, sampler)
        assert list(made) == [4, 8]
        for table in made.values():
            assert table.snr[-1] == pytest.approx(span(atlas.law(setting["family"]))[1], rel=1e-12)


def test_evaluations_are_the_tables(rows):
    """One a step; two or three for methods of higher order; a multistep method's start-up costs what it costs."""
    known = {
        "ddpm": [4, 8],
        "predictor_corrector": [8, 16],
        "heun": [8, 16],
        "rk3": [12, 24],
        "exponential_ab3": [8, 12],
        "jain_zhang": [4, 8],
    }
    for sampler, counts in known.items():
        for row in measured(rows, family=GAUSSIAN, sampler=sampler, rung="marginal"):
            assert row["evaluations"] == counts


def entry(rows, schedule, sampler, rung, reference, steps, family=GAUSSIAN):
    (row,) = measured(rows, family=family, schedule=schedule, sampler=sampler, rung=rung, reference=reference)
    return row["value"][row["steps"].index(steps)]


def test_entries_by_hand(rows):
    """A handful recomputed from grid, table and divergence, without the study."""
    target = get("anisotropic_gaussian")
    window = span(target)
    grid = Grid.karras(8, snr=window)
    found = entry(rows, "karras", "jain_zhang", "chain", "flow+noise", 8)
    table = samplers.jain_zhang(grid.beyond())
    assert found == pytest.approx(float(kl.chain(target, table, reference="flow+noise").value), rel=ROUNDED)
    found = entry(rows, "optimal", "ddpm", "path", "reverse SDE", 4)
    best = Grid.optimal(target, steps=4, snr=window).snr
    left = np.asarray(target.mmse(best[:-1]).value)
    inside = np.asarray(target.mutual_information(np.array(window)).value)
    assert found == pytest.approx(0.5 * float(left @ np.diff(best)) - float(inside[1] - inside[0]), rel=ROUNDED)
    curved = get("curved_mixture")
    table = samplers.dpm_solver_2_ancestral(Grid.log_snr(4, snr=span(curved)))
    found = entry(rows, "log_snr", "dpm_solver_2_ancestral", "marginal", "none", 4, CURVED)
    assert found == pytest.approx(float(kl.marginal(curved, table).value), rel=ROUNDED)
    found = entry(rows, "log_snr", "dpm_solver_2_ancestral", "chain", "reverse", 4, CURVED)
    assert found == pytest.approx(float(kl.chain(curved, table).value), rel=ROUNDED)


def test_gaussian_marginals_are_those_of_the_moments(rows):
    """½ Σ [r − 1 − log r + (difference of means)²/v] with r the true over the sampled variance, on every schedule."""
    target = get("anisotropic_gaussian")
    compared = 0
    for row in measured(rows, family=GAUSSIAN, rung="marginal"):
        grid = SCHEDULES[row["schedule"]](target, 8, span(target))
        law = moments(
            samplers.get(row["sampler"])(grid.beyond() if row["sampler"].startswith("jain") else grid),
            Exact(target),
            "exact",
        )
        ratio = law.true_variance / law.variance
        by_hand = 0.5 * float((ratio - 1.0 - np.log(ratio) + (law.true_mean - law.mean) ** 2 / law.variance).sum())
        assert row["value"][row["steps"].index(8)] == pytest.approx(by_hand, rel=2e-5)
        compared += 1
    assert compared == len(atlas.SCHEDULES) * len(samplers.names())


def test_refusals_name_what_there_is(rows):
    why = {
        name: r["method"] for r in rows if r["quantity"] == "refused" for name in r["samplers"] if r["rung"] == "path"
    }
    assert "kl.marginal" in why["heun"]
    for row in (r for r in rows if r["quantity"] == "refused"):
        assert "available" in row["method"]


def test_left_out():
    """Flows at drawn points and laws that are not followed are refused at once, with the way to have them."""
    setting = {"seed": 0}
    for family, sampler, rung, reference in (
        ("digits", "ddim", "marginal", "none"),
        ("sphere, d = 100", "dpmpp_2m", "marginal", "none"),
        ("heavy tail", "ddpm", "marginal", "none"),
        ("heavy tail", "ddpm", "chain", "flow+noise"),
    ):
        table = samplers.get(sampler)(Grid.log_snr(4, snr=(0.1, 10.0)))
        with pytest.raises(NotAvailableError, match=r"left out here.*available: kl"):
            atlas._divergence(atlas.law(family), table, rung, reference, {**setting, "family": family})
    grid = Grid.log_snr(4, snr=(0.1, 10.0))
    assert not atlas.sampled(get("sphere", dim=100), samplers.ddim(grid))
    assert atlas.sampled(get("sphere", dim=100), samplers.dpmpp_2m(grid))
    assert not atlas.sampled(get("curved_mixture"), samplers.dpmpp_2m(grid))
    assert not atlas.sampled(get("low_rank_mixture"), samplers.ddpm(grid))


def test_slopes():
    steps, exact = [4, 8, 16], [0.0, 0.0, 0.0]
    assert atlas.last_slope(steps, [9.0, 8.0, 2.0], exact, exact) == -2.0
    assert atlas.last_slope(steps[:1], [9.0], exact, exact) is None
    assert atlas.last_slope(steps, [9.0, 8.0, 0.0], exact, exact) is None
    assert atlas.last_slope(steps, [9.0, 8.0, 2.0], [0.0, 0.0, 0.08], exact) == -2.0
    assert atlas.last_slope(steps, [9.0, 8.0, 2.0], [0.0, 0.0, 0.09], exact) is None
    assert atlas.last_slope(steps, [9.0, 8.0, 2.0], exact, [0.0, 0.0, 0.36]) is None


def test_cheapest(rows):
    """The least value within a budget by a plain search; rows of other rungs do not enter."""
    mine = measured(rows, family=GAUSSIAN)
    said = list(atlas.cheapest(mine))
    assert len(said) == 1  # ddpm spends 8 at most
    least = min(
        (value, row["sampler"], row["schedule"])
        for row in mine
        if row["rung"] == "marginal"
        for value, count in zip(row["value"], row["evaluations"], strict=True)
        if count <= 8
    )
    assert said[0].startswith(f"marginal KL within 8 evaluations: {least[1]} on {least[2]}, K = ")
    assert f": {least[0]:.3g};" in said[0]
    assert list(atlas.cheapest([row for row in mine if row["rung"] != "marginal"])) == []


# ---- frame --------------------------------------------------------------------------------------------------------------


def test_report_and_figures(rows, tmp_path, monkeypatch, capsys):
    """Tables name every sampler and rung; pictures are drawn from the store alone."""
    atlas.report(rows)
    text = capsys.readouterr().out
    for word in (*samplers.names(), "(reverse)", "(flow+noise)", f"{GAUSSIAN}: KL in nats", "within 8 evaluations"):
        assert word in text
    store = Store(tmp_path, atlas.NAME)
    for setting in small_settings():
        store.add(setting, atlas.compute(setting, CPU))
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    monkeypatch.setattr(atlas, "law", lambda _: pytest.fail("computed for a figure"))
    written = picture.draw(store.path)
    assert {path.stem for path in written} == {atlas.NAME, f"{atlas.NAME}_all"}
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings():
    """Every law and schedule once; the schedules are known; the quick preset has a part of the full one."""
    full = [(s["family"], s["schedule"]) for s in atlas.settings(atlas.Config(preset="full"))]
    assert full == [(family, name) for family in atlas.FAMILIES for name in atlas.SCHEDULES]
    assert set(atlas.SCHEDULES) <= set(SCHEDULES)
    quick = {(s["family"], s["schedule"]) for s in atlas.settings(atlas.Config())}
    assert set() < quick < set(full)


def test_bad_settings():
    with pytest.raises(ArgumentError, match="seed = -1: expected an integer >= 0"):
        atlas.check(dataclasses.replace(atlas.Config(), seed=-1))


# ---- committed rows -----------------------------------------------------------------------------------------------------


def test_the_committed_rows_are_whole(committed):
    """Every law and schedule of the full preset, all samplers accounted for on every rung."""
    wanted = {(family, name) for family in atlas.FAMILIES for name in atlas.SCHEDULES}
    found = {}
    for row in committed:
        assert row["setting"]["preset"] == "full"
        names = [row["sampler"]] if row["quantity"] == "kl" else row["samplers"]
        found.setdefault((row["family"], row["schedule"]), []).extend(
            (name, row["rung"], row["reference"]) for name in names
        )
    assert found.keys() == wanted
    for each in found.values():
        assert sorted(each) == sorted((name, *rung) for name in samplers.names() for rung in RUNGS)
    assert picture.COMMITTED.stat().st_size < 3e6


def test_data_processing_on_every_committed_row(committed):
    """path ≥ chain (reverse) ≥ marginal and chain (flow+noise) ≥ marginal, at every K where both are there."""
    above = {
        ("path", "reverse SDE"): [("chain", "reverse"), ("marginal", "none")],
        ("chain", "reverse"): [("marginal", "none")],
        ("chain", "flow+noise"): [("marginal", "none")],
    }
    each = {(r["family"], r["schedule"], r["sampler"], r["rung"], r["reference"]): r for r in measured(committed)}
    compared = 0
    for (*where, rung, reference), row in each.items():
        for lower in above.get((rung, reference), ()):
            other = each.get((*where, *lower))
            if other is None:
                continue
            high = dict(zip(row["steps"], zip(row["value"], error(row), strict=True), strict=True))
            low = dict(zip(other["steps"], zip(other["value"], error(other), strict=True), strict=True))
            for steps in high.keys() & low.keys():
                (upper, doubt), (value, more) = high[steps], low[steps]
                assert upper + doubt + more >= value, (*where, rung, reference, lower, steps)
                compared += 1
    assert compared > 1000


def test_the_optimal_schedule_is_best_for_ddpms_path(committed):
    """No schedule is below the one that minimises it, on any law, at any K."""
    for family in atlas.FAMILIES:
        (best,) = measured(committed, family=family, schedule="optimal", sampler="ddpm", rung="path")
        for row in measured(committed, family=family, sampler="ddpm", rung="path"):
            assert row["steps"] == best["steps"]
            assert (np.array(row["value"]) >= np.array(best["value"]) - error(row) - error(best)).all()


def test_committed_slopes_follow_their_rows(committed):
    """And no slope of a number with a small error is missing."""
    for row in measured(committed):
        run = math.log(row["steps"][-1] / row["steps"][-2]) if len(row["steps"]) > 1 else 0.0
        if row["slope"] is None:
            assert run == 0.0 or (error(row)[-2:] / row["value"][-2:]).sum() / run > 0.2
        else:
            assert row["slope"] == pytest.approx(math.log(row["value"][-1] / row["value"][-2]) / run, abs=1e-3)
    assert sum(row["slope"] is not None for row in measured(committed)) > 1000


def test_rows_say_what_kind_of_sampler_theirs_is(rows):
    kinds = {row["sampler"]: (row["stochastic"], row["order"]) for row in measured(rows)}
    assert {name: kinds[name] for name in ("ddpm", "ddim", "heun", "rk3")} == {
        "ddpm": (True, 1),
        "ddim": (False, 1),
        "heun": (False, 2),
        "rk3": (False, 3),
    }

"""The step study: slopes and statuses follow the rows, refusals keep their reason, figures redraw from rows alone."""

import dataclasses

import numpy as np
import pytest
import torch

from figures import step_scaling as picture
from studies import step_scaling as steps
from studies import step_verdicts, study
from studies.store import Store, frame, read_rows
from targets import ArgumentError

CPU = torch.device("cpu")
WANTED = (("curved mixture", "ddpm"), ("curved mixture", "heun"), ("curved mixture", "stochastic_ddim"))


def small_settings():
    return [s for s in steps.settings(steps.Config()) if (s["family"], s["sampler"]) in WANTED]


@pytest.fixture(scope="module")
def rows():
    return [row for setting in small_settings() for row in steps.compute(setting, CPU)]


def slope(rows, sampler, rung, reference):
    (found,) = [
        s for s in step_verdicts.slopes(frame(rows)) if (s.sampler, s.rung, s.reference) == (sampler, rung, reference)
    ]
    return found


def test_one_run_two_slopes(rows):
    """ddpm: path and reverse chain -1, flow+noise and marginal -2, from the same tables."""
    for rung, reference in step_verdicts.RUNGS:
        found = slope(rows, "ddpm", rung, reference)
        assert found.status == "supported", found
        assert found.rate == (-1.0 if rung == "path" or reference == "reverse" else -2.0)


def test_heun_has_the_marginal_only(rows):
    mine = [row for row in rows if row["sampler"] == "heun"]
    assert {row["rung"] for row in mine if row["quantity"] == "kl"} == {"marginal"}
    refused = {row["rung"]: row["method"] for row in mine if row["quantity"] == "refused"}
    assert set(refused) == {"path", "chain"}
    assert "kl.marginal" in refused["path"]
    assert slope(rows, "heun", "marginal", "none").status == "supported"
    assert {row["evaluations"] for row in mine if row["quantity"] == "kl"} == {32, 64, 128, 256}


def test_a_kernel_of_another_width_pays_at_every_step(rows):
    """Stochastic DDIM at eta = 1/2 against the reverse chain: rate +1, not -1; the marginal does not mind."""
    found = slope(rows, "stochastic_ddim", "chain", "reverse")
    assert found.rate == 1.0
    assert found.slope > 0.8
    assert slope(rows, "stochastic_ddim", "marginal", "none").status == "supported"


@pytest.mark.parametrize(("power", "status"), [(0.0, "supported"), (0.5, "refuted"), (-0.5, "refuted")])
def test_a_wrong_rate_is_refuted(rows, power, status):
    """Control: the marginal rows times K^power."""
    changed = [
        {**row, "value": row["value"] * row["steps"] ** power} if row["quantity"] == "kl" else row for row in rows
    ]
    assert slope(changed, "ddpm", "marginal", "none").status == status


def test_noise_makes_a_slope_undecided(rows):
    """Standard errors as large as the values: nothing is supported, nothing refuted."""
    noisy = [{**row, "stderr": row["value"]} if row["quantity"] == "kl" else row for row in rows]
    assert slope(noisy, "ddpm", "marginal", "none").status != "refuted"
    assert slope(noisy[:], "ddpm", "path", "reverse SDE").status != "refuted"


def test_report_and_figures(rows, tmp_path, monkeypatch, capsys):
    """Tables name every rung; pictures are drawn from the store alone."""
    step_verdicts.report(rows)
    text = capsys.readouterr().out
    for word in ("(reverse)", "(flow+noise)", "marginal", "path: rate supported"):
        assert word in text
    store = Store(tmp_path, steps.NAME)
    for setting in small_settings():
        store.add(setting, steps.compute(setting, CPU))
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    written = picture.draw(store.path)
    assert {path.stem for path in written} == {f"{steps.NAME}{end}" for end in ("", "_ladders", "_work")}
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings_name_every_sampler_once():
    found = [(s["family"], s["sampler"]) for s in steps.settings(steps.Config())]
    assert len(found) == len(set(found))
    assert {s for f, s in found if f == "curved mixture"} >= {"ddpm", "jain_zhang", "heun", "dpmpp_2m", "edm_churn"}


def test_sweep_resumes(tmp_path):
    """A setting that is on disk is not computed again."""
    store = Store(tmp_path, steps.NAME)
    setting = small_settings()[1]
    first = study.sweep(store, [setting], lambda s: steps.compute(s, CPU))
    again = study.sweep(Store(tmp_path, steps.NAME), [setting], lambda _: pytest.fail("computed twice"))
    assert [r["value"] for r in again] == [r["value"] for r in first]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_time": 5.0}, "start-time = 4.0: expected a time T > stop-time"),
        ({"stop_time": -1.0}, "stop-time = -1.0: expected a time δ > 0"),
        ({"start_time": np.nan}, "start-time = nan"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ArgumentError, match=message):
        steps.check(dataclasses.replace(steps.Config(), **change))


def test_the_committed_rows_are_whole():
    """Every family and sampler of the full preset, and no rate of theirs refuted."""
    committed = read_rows(picture.COMMITTED)
    assert {(row["family"], row["sampler"]) for row in committed} == {
        (s["family"], s["sampler"]) for s in steps.settings(steps.Config())
    }
    assert all(row["setting"]["preset"] == "full" for row in committed)
    found = step_verdicts.slopes(frame(committed))
    assert [s for s in found if s.status == "refuted"] == []
    assert sum(s.status == "supported" for s in found) > 150

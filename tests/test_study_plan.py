"""What a study would cost: measured seconds where there are any, their like elsewhere, wall time on n workers."""

import json
import math

import pytest

from studies import plan
from studies.console import STUDIES
from studies.engine import pace
from studies.plan import Cost, Options, Plan, _cost
from studies.store import Store
from targets import ArgumentError, NotAvailableError


def made(seconds: float, mib: float = 300.0) -> dict:
    return {"seconds": seconds, "peak_mib": mib, "pace": pace()}


@pytest.fixture
def study(monkeypatch, tmp_path):
    """step_scaling with five settings in place of its own, and no committed rows."""
    from studies import step_scaling

    settings = [{"family": "f", "dim": 2**i, "preset": "quick", "seed": 0} for i in range(5)]
    monkeypatch.setattr(step_scaling, "settings", lambda config: [{**one, "preset": config.preset} for one in settings])
    monkeypatch.setattr(plan, "COMMITTED", tmp_path / "committed")
    return settings


def test_wall_time_is_the_end_of_the_last_worker():
    found = Plan(4, [({}, Cost(s, 10.0, True)) for s in (3.0, 3.0, 2.0, 4.0)], [3.0, 3.0, 2.0, 4.0])
    assert found.core_seconds == 12.0
    assert found.wall_seconds(1) == 12.0
    assert found.wall_seconds(2) == 7.0  # 3 + 2 and 3 + 4
    assert found.wall_seconds(3) == 6.0  # 2 + 4
    assert found.wall_seconds(9) == 4.0
    assert (found.peak_mib, found.share_measured) == (10.0, 1.0)
    assert Plan(4, [], []).wall_seconds(3) == 0.0


def test_costs_are_those_of_the_same_setting_whatever_its_seed_and_the_newest_first(study, tmp_path):
    store = Store(tmp_path, "step_scaling")
    for seconds in (5.0, 7.0):
        store.add({**study[0], "seed": 3, "preset": "full"}, [{"value": 1.0}], made(seconds))
    found = plan.plan(Options("step_scaling", out=tmp_path))
    assert found.settings == len(found.missing) == 5
    (_, first), *others = found.missing
    assert first.seconds == pytest.approx(7.0)
    assert (first.peak_mib, first.measured) == (300.0, True)
    assert all(not cost.measured and cost.seconds == pytest.approx(7.0) for _, cost in others)
    assert found.share_measured == pytest.approx(0.2)


def test_finished_settings_cost_nothing_and_others_follow_the_power_law(study, tmp_path):
    store = Store(tmp_path, "step_scaling")
    for setting in study[:3]:
        store.add(
            {**setting, "preset": "full"}, [{"value": 1.0}], made(0.5 * setting["dim"] ** 1.5, 100.0 * setting["dim"])
        )
    found = plan.plan(Options("step_scaling", out=tmp_path))
    assert [setting["dim"] for setting, _ in found.missing] == [8, 16]
    assert [cost.seconds for _, cost in found.missing] == [pytest.approx(0.5 * d**1.5, rel=1e-3) for d in (8, 16)]
    assert found.peak_mib == 400.0
    assert found.share_measured == 0.0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "sampler_audit")) for name in STUDIES]
)
def test_a_fresh_clone_knows_what_every_study_costs(name, tmp_path):
    """The committed rows of the full preset were made by all of its settings, and say what each took."""
    found = plan.plan(Options(name, out=tmp_path))
    assert len(found.missing) == found.settings > 0
    assert 0.1 < found.core_seconds < 4 * 3600
    if name != "sampler_audit":  # its settings name the versions of the libraries that are installed
        assert found.share_measured == pytest.approx(1.0)


def test_a_gpus_rows_are_of_the_same_settings():
    known = [({"family": "f", "dim": 4, "seed": 0, "device": "cuda"}, Cost(2.0, 1.0, True))]
    assert _cost({"family": "f", "dim": 4, "seed": 0}, known).measured


def test_seconds_are_scaled_by_the_pace_of_the_machine():
    known = [({"family": "f", "dim": 4, "seed": 0}, Cost(2.0, 1.0, True))]
    assert _cost({"family": "f", "dim": 4, "seed": 9}, known).seconds == 2.0
    assert not _cost({"family": "g", "dim": 4, "seed": 9}, known).measured


def test_the_pace_of_a_row_counts(study, tmp_path):
    store = Store(tmp_path, "step_scaling")
    store.add({**study[1], "preset": "full"}, [{"value": 1.0}], {**made(6.0), "pace": 3.0 * pace()})
    found = plan.plan(Options("step_scaling", out=tmp_path))
    assert found.core_seconds == pytest.approx(4 * 2.0)


@pytest.mark.usefixtures("study")
def test_settings_that_belong_together_are_one_unit(tmp_path, monkeypatch):
    from studies import step_scaling

    monkeypatch.setattr(step_scaling, "together", lambda setting: setting["dim"] > 2, raising=False)
    Store(tmp_path, "step_scaling").add({"family": "other"}, [{"value": 1.0}], made(1.5))
    found = plan.plan(Options("step_scaling", out=tmp_path))
    assert found.units == [pytest.approx(3.0), pytest.approx(4.5)]


@pytest.mark.usefixtures("study")
def test_what_cannot_be_planned_is_refused(tmp_path):
    with pytest.raises(
        NotAvailableError, match=r"no row says what it took; python -m studies.step_scaling measures it"
    ):
        plan.plan(Options("step_scaling", out=tmp_path))
    with pytest.raises(ArgumentError, match="NAME = 'step_scalin'"):
        plan.plan(Options("step_scalin", out=tmp_path))
    with pytest.raises(ArgumentError, match="workers = 0"):
        plan.main(Options("step_scaling", workers=0))
    assert not (tmp_path / "step_scaling").exists()


def test_a_forged_cost_is_passed_over(study, tmp_path):
    store = Store(tmp_path, "step_scaling")
    for seconds, mib, speed in (("x", 1.0, 1.0), (1.0, None, 1.0), (1.0, 1.0, 0.0), (-1.0, 1.0, 1.0), (True, 1.0, 1.0)):
        store.add({**study[2], "seed": 7}, [{"value": 1.0}], {"seconds": seconds, "peak_mib": mib, "pace": speed})
    with store.path.open("a") as file:
        row = {"key": "k", "row": 0, "of": 1, "setting": 3, "provenance": {**made(1.0), "time": "2026"}}
        file.write(json.dumps(row) + "\n")
    with pytest.raises(NotAvailableError):
        plan.plan(Options("step_scaling", out=tmp_path))


def test_the_plan_as_a_table(study, tmp_path, capsys):
    Store(tmp_path, "step_scaling").add({**study[0], "preset": "full"}, [{"value": 1.0}], made(30.0, 512.0))
    plan.main(Options("step_scaling", workers=4, out=tmp_path, json=tmp_path / "plan.json"))
    out = capsys.readouterr().out
    for text in ("settings   5, of which 1 are finished", "512 MiB a worker, 2.0 GiB in all", "4 *", "longest"):
        assert text in out
    assert math.isclose(float(out.split("core time")[1].split()[0]), 2.0, rel_tol=0.05)
    found = json.loads((tmp_path / "plan.json").read_text())
    assert (found["study"], found["settings"], found["finished"], found["workers"]) == ("step_scaling", 5, 1, 4)
    assert math.isclose(found["core_seconds"], 120.0, rel_tol=0.05)
    assert math.isclose(found["wall_seconds"]["2"], 60.0, rel_tol=0.05)
    assert [one["setting"]["dim"] for one in found["missing"]] == [2, 4, 8, 16]

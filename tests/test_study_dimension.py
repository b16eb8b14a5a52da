"""The dimension study: verdicts follow the rows, rows survive interruption, figures redraw from rows alone."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from figures import dimension_scaling as picture
from studies import dimension_scaling as dimension
from studies import dimension_verdicts, study
from studies.store import Store, frame, read_rows
from verify import samplers

CPU = torch.device("cpu")
FAMILY = "random centres"


def small_settings():
    config = dimension.Config(steps=16)
    return [s for s in dimension.settings(config) if s["family"] == FAMILY and s["dim"] <= 32]


def rows_of(settings):
    return [row for setting in settings for row in dimension.compute(setting, CPU)]


@pytest.fixture(scope="module")
def rows():
    return rows_of(small_settings())


def verdict(rows):
    (found,) = dimension_verdicts.verdicts(frame(rows), 16)
    return found


def test_the_honest_rows_support_the_statement(rows):
    found = verdict(rows)
    assert found.status == "supported"
    assert found.margin > 2
    assert "path" in found.sentence
    assert "chain(reverse)" in found.sentence


def test_two_swapped_samplers_change_the_verdict(rows):
    """Control: ddpm's rows under ei_sde's name and the other way round."""
    other = {"ddpm": "ei_sde", "ei_sde": "ddpm"}
    kept = ("sampler", "rung", "reference", "bound", "steps", "dim")
    at = {(r["sampler"], r["dim"], r["steps"]): r for r in rows if r["quantity"] == "kl"}
    swapped = []
    for row in rows:
        if row["quantity"] == "kl" and row["sampler"] in other:
            source = at[other[row["sampler"]], row["dim"], row["steps"]]
            row = {**source, **{key: row[key] for key in kept}}
        swapped.append(row)
    assert verdict(swapped) != verdict(rows)
    assert verdict(swapped).status == "refuted"


@pytest.mark.parametrize("sampler", ["ddpm", "ei_sde", "jain_zhang"])
@pytest.mark.parametrize("part", ["state", "outputs", "noise"])
def test_one_percent_in_a_coefficient_changes_the_verdict(rows, monkeypatch, sampler, part):
    honest = samplers.BUILDERS[sampler]

    def mutated(grid):
        table = honest(grid)
        return dataclasses.replace(table, **{part: 1.01 * getattr(table, part)})

    monkeypatch.setitem(samplers.BUILDERS, sampler, mutated)
    found = verdict(rows_of(small_settings()))
    assert found.status != "supported"
    assert verdict(rows).status == "supported"


def test_simulation_confirms_the_closed_form(rows):
    """Three simulated chains at fixed seeds; false-alarm rate of four joint standard errors: 6e-5 each."""
    checked = dimension_verdicts.confirmations(frame(rows))
    assert len(checked) == 3
    assert checked.z.abs().max() < 4
    checked.loc[:, "closed"] = 1.2 * checked.closed
    assert dimension_verdicts.confirmations(checked).z.abs().max() > 4


def tiny(setting):
    return [{"family": "x", "dim": setting["dim"], "quantity": "kl", "value": float(setting["dim"])}] * 2


def test_a_rerun_computes_only_what_is_missing(tmp_path):
    settings = [{"family": "x", "dim": d} for d in (1, 2, 3)]
    asked = []

    def interrupted(setting):
        asked.append(setting["dim"])
        if setting["dim"] == 3 and len(asked) == 3:
            raise KeyboardInterrupt
        return tiny(setting)

    with pytest.raises(study.InterruptedSweep, match="setting 3 of 3"):
        study.sweep(Store(tmp_path, "t"), settings, interrupted)
    rows = study.sweep(Store(tmp_path, "t"), settings, interrupted)
    assert asked == [1, 2, 3, 3]
    assert [row["dim"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert {"commit", "code", "torch", "command"} <= rows[0]["provenance"].keys()


def test_a_torn_last_line_costs_its_own_setting_only(tmp_path):
    store = Store(tmp_path, "t")
    for d in (1, 2):
        store.add({"dim": d}, tiny({"dim": d}))
    text = store.path.read_text()
    store.path.write_text(text[: len(text) - 40])
    again = Store(tmp_path, "t")
    assert again.get({"dim": 1}) is not None
    assert again.get({"dim": 2}) is None
    again.add({"dim": 2}, tiny({"dim": 2}))
    assert Store(tmp_path, "t").get({"dim": 2}) is not None


def test_another_setting_has_another_key(tmp_path):
    store = Store(tmp_path, "t")
    assert store.key({"dim": 1, "seed": 0}) != store.key({"dim": 1, "seed": 1})
    assert store.key({"dim": 1, "seed": 0}) == store.key({"seed": 0, "dim": 1})


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"steps": 1}, "steps = 1: expected an integer >= 2"),
        ({"stop_time": 0.0}, "stop-time = 0.0"),
        ({"stop_time": 5.0}, "start-time = 4.0"),
        ({"epsilon2": -1.0}, "epsilon2 = -1.0"),
        ({"seed": -1}, "seed = -1"),
        ({"device": "abacus"}, "device = 'abacus'"),
    ],
)
def test_bad_settings_are_refused_before_any_work(tmp_path, change, fragment):
    with pytest.raises(study.ArgumentError, match=fragment):
        dimension.main(dataclasses.replace(dimension.Config(out=tmp_path), **change))
    assert not (tmp_path / dimension.NAME).exists()


def test_figures_redraw_from_rows_alone(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "rendered")
    monkeypatch.setattr(picture, "FRONT", (FAMILY,))
    store = Store(tmp_path, "t")
    store.add({"all": 1}, rows)
    paths = picture.draw(store.path)
    assert {p.suffix for p in paths} == {".png", ".svg", ".pdf"}
    assert all(p.stat().st_size > 5_000 for p in paths)
    assert "ddpm, path" in Path(paths[1]).read_text()


def test_the_committed_rows_are_whole():
    committed = read_rows(picture.COMMITTED)
    assert {row["family"] for row in committed} == set(dimension.FAMILIES)
    assert all(row["setting"]["preset"] == "full" for row in committed)
    assert all(v.status == "supported" for v in dimension_verdicts.verdicts(frame(committed), 64))
    assert json.dumps(committed[0])

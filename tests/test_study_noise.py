"""The study of the noise step: leading terms derived by hand, statuses that follow the rows, figures from rows."""

import dataclasses

import numpy as np
import pytest
import torch

from figures import noise_step as picture
from studies import noise_step as noise
from studies import noise_verdicts, study
from studies.store import Store
from targets import ArgumentError

CPU = torch.device("cpu")
WANTED = ("curved mixture", "anisotropic Gaussian", "two points")


def small_settings():
    """Two laws with the exact denoiser, one with imperfect ones too."""
    return [
        s
        for s in noise.settings(noise.Config())
        if s["family"] in WANTED and (s["oracle"] == "exact" or s["family"] == "anisotropic Gaussian")
    ]


@pytest.fixture(scope="module")
def rows():
    return [row for setting in small_settings() for row in noise.compute(setting, CPU)]


def changed(rows, factor, **where):
    """KL rows with these columns, their values times factor(row)."""
    return [
        {**row, "value": factor(row) * row["value"]}
        if row["quantity"] == "kl" and all(row[key] == value for key, value in where.items())
        else row
        for row in rows
    ]


def sentence(rows, word):
    (found,) = [text for text in noise_verdicts.sentences(rows) if word in text]
    return found


@pytest.mark.slow
def test_the_noise_step_is_not_needed_for_the_rate(rows):
    """Every ρ has slope −2 on the curved mixture and on the Gaussian, the flow alone included."""
    found = noise_verdicts.marginal_slopes(rows)
    assert len(found) == 3 * 5
    assert {s.status for s in found if s.family != "two points"} == {"supported"}
    assert all(-2.02 < s.slope < -1.8 for s in found)
    needed = noise_verdicts.needed(found)
    assert [needed[family] for family in WANTED[:2]] == ["refuted", "refuted"]
    assert "refuted on curved mixture, anisotropic Gaussian" in sentence(rows, "needed for a marginal")


@pytest.mark.parametrize(
    ("power", "status"),
    [(1.0, "supported"), (0.5, "supported"), (0.0, "refuted"), (-0.5, "refuted"), (0.02, "refuted")],
)
def test_another_rate_without_noise_changes_the_verdict(rows, power, status):
    """Control: exact powers of K at ρ = 0.  Slower than −2: the step is needed; −2 or faster: it is not."""
    slow = [
        {**row, "value": row["steps"] ** (power - 2.0)} if row["overshoot"] == 0.0 and row["quantity"] == "kl" else row
        for row in rows
    ]
    needed = noise_verdicts.needed(noise_verdicts.marginal_slopes(slow))
    assert {needed[family] for family in WANTED[:2]} == {status if power >= 0 else "undecided"}


def test_the_published_rate_has_to_hold_for_the_step_to_be_needed(rows):
    slow = changed(rows, lambda row: row["steps"] ** 0.7, rung="marginal", oracle="exact")
    assert set(noise_verdicts.needed(noise_verdicts.marginal_slopes(slow)).values()) == {"undecided"}


def test_flow_noise_has_its_leading_term(rows):
    """(1 + ρ)⁴/(16 ρ) within 5% after extrapolation, on each family and ρ; farther off as measured."""
    found = noise_verdicts.flow_noise_ratios(rows)
    assert len(found) == 3 * 3
    assert all(one.agrees for one in found)
    assert [one.overshoot for one in found if one.predicted > 2.2] == [1 / 32, 2.0] * 3
    assert max(abs(one.measured / one.predicted - 1.0) for one in found) > 0.1
    assert "supported, 9 of 9" in sentence(rows, "chain (flow+noise)")


@pytest.mark.parametrize("wrong", [1.1, 0.9])
def test_another_flow_noise_law_is_refuted(rows, wrong):
    """Control: a tenth more or less at every ρ but the published one."""
    other = changed(rows, lambda row: 1.0 if row["overshoot"] == 1.0 else wrong, reference="flow+noise")
    assert "refuted, 0 of 9" in sentence(other, "chain (flow+noise)")
    power = changed(rows, lambda row: 1.0 + row["overshoot"], reference="flow+noise")
    assert "refuted" in sentence(power, "chain (flow+noise)") or "undecided" in sentence(power, "chain (flow+noise)")


def test_the_reverse_chain_pays_for_another_noise(rows):
    """Half (1/ρ − 1 + log ρ) a step and dimension, and at ρ = 1 a slope of −1."""
    found = noise_verdicts.reverse_costs(rows)
    assert len(found) == 3 * 3
    assert all(one.agrees for one in found)
    half = next(one for one in found if (one.family, one.overshoot) == ("anisotropic Gaussian", 0.5))
    assert half.predicted == pytest.approx(0.5 * (1.0 - np.log(2.0)), rel=1e-12)
    assert half.extrapolated == pytest.approx(half.predicted, rel=0.03)
    assert "supported, 9 of 9" in sentence(rows, "at any other ρ")
    wrong = changed(rows, lambda _row: 1.1, reference="reverse")
    assert "refuted, 0 of 9" in sentence(wrong, "at any other ρ")


def test_extrapolation_is_exact_on_its_own_form():
    """c + b/K from two values of K, and aK + b + c/K from three."""
    steps = np.array([24.0, 56.0])
    assert noise_verdicts._extrapolated(steps, 3.0 + 7.0 / steps) == pytest.approx(3.0, rel=1e-13)
    made = [
        {
            "family": "x",
            "dim": 2,
            "oracle": "exact",
            "size": 0.0,
            "overshoot": 0.5,
            "rung": "chain",
            "reference": "reverse",
        }
        | {"steps": k, "quantity": "kl", "value": 2.0 * (0.25 * k + 3.0 + 8.0 / k)}
        for k in (16, 32, 64)
    ]
    (found,) = noise_verdicts.reverse_costs(made)
    assert found.extrapolated == pytest.approx(0.25, rel=1e-12)
    assert found.measured == pytest.approx(0.25 - 8.0 / (32 * 64), rel=1e-12)


def test_ratios_are_to_the_published_step(rows):
    found = noise_verdicts.ratios(rows)
    assert all(values[1.0] == 1.0 for values in found.values())
    at = {
        (row["family"], row["overshoot"]): row["value"]
        for row in rows
        if (row["rung"], row["steps"], row["oracle"], row["quantity"]) == ("marginal", 64, "exact", "kl")
    }
    for family, values in found.items():
        for rho, ratio in values.items():
            assert ratio == at[family, rho] / at[family, 1.0]
    assert "lowers it on 3 of 3 families and raises it on 0" in sentence(rows, "without noise over the published")
    turned = changed(rows, lambda row: 0.1 if row["overshoot"] == 0.0 else 1.0, rung="marginal")
    assert "lowers it on 0 of 3 families and raises it on 3" in sentence(turned, "without noise over the published")


def test_errors_are_not_damped(rows):
    """Five errors on the Gaussian: each raises the marginal KL more with noise than without, and by more the larger ρ."""
    found = noise_verdicts.rises(rows)
    assert len(found) == 5
    for line in found.values():
        assert list(line) == sorted(line)
        assert line[0.0] < line[0.5] < line[1.0] < line[2.0]
    assert "refuted" in sentence(rows, "damps the error")
    damped = changed(rows, lambda row: 100.0 if row["overshoot"] == 0.0 else 1.0, rung="marginal")
    assert "supported" in sentence([r for r in damped if r["size"] != 0.01], "damps the error")


def test_refusals_are_rows(rows):
    """Without noise no chain; a grid on which time would pass zero is refused with its K; the other rungs stay."""
    refused = [row for row in rows if row["quantity"] == "refused"]
    assert {(row["overshoot"], row["rung"]) for row in refused} == {(0.0, "chain")}
    assert all("infinite" in row["method"] for row in refused)
    setting = {**small_settings()[4], "preset": "full"}
    assert setting["overshoot"] == 2.0
    coarse = noise.compute(setting, CPU)
    (first, *_) = [row for row in coarse if row["quantity"] == "refused"]
    assert first["steps"] == 8
    assert "overshoot = 2.0: expected at most" in first["method"]
    assert {row["steps"] for row in coarse if row["rung"] == "marginal" and row["quantity"] == "kl"} == {
        16,
        32,
        64,
        128,
        256,
    }


def test_overshoot_names():
    assert [noise_verdicts.shown(rho) for rho in (0.0, 1 / 64, 1 / 3, 0.5, 1.0, 2.0, 0.3)] == [
        "0",
        "1/64",
        "1/3",
        "0.5",
        "1",
        "2",
        "0.3",
    ]


def test_report_and_figures(rows, tmp_path, monkeypatch, capsys):
    noise_verdicts.report(rows)
    text = capsys.readouterr().out
    for word in (
        "chain (flow+noise): KL in nats",
        "rise of the marginal KL",
        "refused: ρ = 0",
        "needed for a marginal",
    ):
        assert word in text
    store = Store(tmp_path, noise.NAME)
    for setting in small_settings():
        key = ("family", "oracle", "size", "overshoot")
        store.add(setting, [row for row in rows if all(row[k] == setting[k] for k in key)])
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    written = picture.draw(store.path)
    assert {path.stem for path in written} == {noise.NAME}
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings_name_every_overshoot_once():
    for preset in ("quick", "full"):
        found = [
            (s["family"], s["oracle"], s["size"], s["overshoot"]) for s in noise.settings(noise.Config(preset=preset))
        ]
        assert len(found) == len(set(found))
        assert {rho for *_, rho in found} == set(noise.OVERSHOOTS[preset]) >= {0.0, 0.5, 1.0, 2.0}
        assert {family for family, kind, *_ in found if kind == "scale"} == {
            "curved mixture",
            "two components",
            "anisotropic Gaussian",
        }


def test_sweep_resumes(tmp_path):
    """A setting that is on disk is not computed again."""
    store = Store(tmp_path, noise.NAME)
    setting = small_settings()[-1]
    first = study.sweep(store, [setting], lambda s: noise.compute(s, CPU))
    again = study.sweep(Store(tmp_path, noise.NAME), [setting], lambda _: pytest.fail("computed twice"))
    assert again == first


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
        noise.check(dataclasses.replace(noise.Config(), **change))

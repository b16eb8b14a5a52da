"""The early-stopping study: limits against integrals over the schedule, its verdicts, refusals, figures."""

import dataclasses
import itertools
import sys

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from figures import early_stopping as picture
from studies import early_stopping as early
from studies import early_verdicts as verdicts
from studies import study
from studies.store import Store, frame
from targets import ArgumentError, Discrete, Gaussian
from verify import Grid

CPU = torch.device("cpu")
T = early.Config().start_time
SPREAD = ((16, 0.01), (32, 0.03), (64, 0.02))
"""K, and the relative standard error of a row there."""
GAUSSIAN = {"null direction": np.array([1.5, 0.0]), "anisotropic Gaussian": np.geomspace(0.01, 4.0, 8)}
"""Families with closed forms, and their variances."""


def settings_of(*families):
    return [s for s in early.settings(early.Config()) if s["family"] in families]


@pytest.fixture(scope="module")
def rows():
    return [row for setting in settings_of(*GAUSSIAN) for row in early.compute(setting, CPU)]


def chosen(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def over_schedule(density, delta):
    """∫ density(t, w) dt/w over [δ, T], w = min(1, t)."""
    low, high = np.log([delta, T])
    cuts = np.union1d(np.linspace(low, high, 12), [0.0])
    pieces = [
        quad(lambda u: density(np.exp(u), min(1.0, np.exp(u))) / min(1.0, np.exp(u)) * np.exp(u), a, b, epsrel=1e-10)[0]
        for a, b in itertools.pairwise(cuts)
    ]
    return sum(pieces)


def flow_noise(t, w, variances):
    """w³ E‖ds/dt‖² along the flow: a step's error is 2h² ds/dt against noise 2h, h = c·w."""
    v = np.exp(-2 * t) * variances - np.expm1(-2 * t)
    return w**3 * (np.exp(-4 * t) * (1 - variances) ** 2 / v**3).sum()


def frozen_score(t, w, variances):
    """w² Σ 1/v²: half the quadratic variation 2/v² of the score, frozen over a step."""
    v = np.exp(-2 * t) * variances - np.expm1(-2 * t)
    return w**2 * (1 / v**2).sum()


def frozen_denoiser(t, w, variances):
    """¼ |mmse′(γ)| (dγ/dt)² w²."""
    snr = 1 / np.expm1(2 * t)
    rate = 2 * np.exp(2 * t) * snr**2
    return 0.25 * w**2 * rate**2 * (variances**2 / (1 + snr * variances) ** 2).sum()


@pytest.mark.parametrize("family", GAUSSIAN)
@pytest.mark.parametrize(
    ("sampler", "reference", "density"),
    [
        ("jain_zhang", "flow+noise", flow_noise),
        ("ei_sde", "reverse SDE", frozen_score),
        ("ddpm", "reverse SDE", frozen_denoiser),
    ],
)
def test_limits_are_integrals_over_the_schedule(rows, family, sampler, reference, density):
    """K^p·KL/Λ^p → ∫ density dt/min(1, t) at every δ, within 1e-3: these three integrals share nothing with the tables."""
    found = chosen(rows, family=family, sampler=sampler, reference=reference, quantity="limit")
    assert len(found) == len(early.STOPS["quick"])
    for row in found:
        wanted = over_schedule(lambda t, w: density(t, w, GAUSSIAN[family]), row["delta"])
        assert row["value"] / row["length"] ** row["order"] == pytest.approx(wanted, rel=1e-3)


def test_growths_are_those_of_directions():
    """The integrands at t → 0: 1/8 and ¼ a null direction, ¼ a smooth one, as the rungs declare."""
    declared = {(r.sampler, r.reference): (r.singular, r.smooth) for r in verdicts.RUNGS}
    for density, rung in (
        (flow_noise, ("jain_zhang", "flow+noise")),
        (frozen_score, ("ei_sde", "reverse SDE")),
        (frozen_denoiser, ("ddpm", "reverse SDE")),
    ):
        here = [density(1e-9, 1e-9, np.array([variance])) for variance in (0.0, 0.7)]
        assert here == pytest.approx(declared[rung], rel=1e-7, abs=1e-8)


@pytest.mark.parametrize(
    ("sampler", "rung", "reference", "variance", "cost"),
    [
        ("ddpm", "path", "reverse SDE", 1.0, lambda c: 0.5 * (np.expm1(c) - c)),
        ("ddpm", "path", "reverse SDE", 0.0, lambda c: 0.0 * c),
        ("ei_sde", "path", "reverse SDE", 0.0, lambda c: 0.5 * (c + np.expm1(-c))),
        ("jain_zhang", "chain", "flow+noise", 0.0, lambda c: np.exp(c) * (-np.expm1(-c)) ** 3 / 8),
    ],
)
def test_cost_of_a_step_near_zero(sampler, rung, reference, variance, cost):
    """Twelve steps of c = ½ from t = 1e-6: each costs what the study says, to the order of t."""
    grid = Grid.exponential_uniform(12, ou_time=(1e-6, 1e-6 * np.exp(-6.0)))
    found = early.divergence(Gaussian([0.0], [[variance]]), sampler, rung, reference, grid)
    assert float(found.value) == pytest.approx(12 * cost(0.5), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("family", [name for name in early.FAMILIES if name != "digits"])
def test_mmse_dimensions(family):
    """γ·mmse(γ) at γ = 1e8 is the declared number of smooth directions."""
    target = early.law(family, "cpu")
    assert 1e8 * float(target.mmse(1e8).value) == pytest.approx(early.FAMILIES[family].mmse_dimension, abs=1e-3)


def test_digits_are_atoms():
    assert isinstance(early.law("digits", "cpu"), Discrete)
    assert early.FAMILIES["digits"].mmse_dimension == 0


@pytest.mark.parametrize("start", [0.5, 1.0, 4.0])
def test_length_is_the_schedule_s(start):
    """Below t = 1 each step shortens time by the factor e^{−Λ/K}, and Λ = ∫ dt/min(1, t)."""
    grid = Grid.exponential_uniform(50, ou_time=(start, 1e-3))
    c = early.length(start, 1e-3) / 50
    assert np.log(grid.ou_time[-2] / grid.ou_time[-1]) == pytest.approx(c, rel=1e-6)
    assert early.length(start, 1e-3) == pytest.approx(quad(lambda t: 1 / min(1.0, t), 1e-3, start, points=[1.0])[0])


def test_steps_are_the_least(rows):
    """KL(K*) ≤ ε² < KL(K* − 1), where the KL is known for each K."""
    target = early.law("null direction", "cpu")
    for row in chosen(rows, family="null direction", quantity="steps"):
        assert not row["extrapolated"]
        at = [float(early._at(target, row, (T, row["delta"]), int(row["value"]) - less).value) for less in (0, 1)]
        assert at[0] <= early.Config().epsilon2 < at[1]


def test_steps_between_known_rows(rows):
    """The interpolant has the rows' own values, and is right within 1e-4 between them."""
    known = chosen(rows, family="null direction", sampler="jain_zhang", rung="marginal", quantity="kl", delta=1e-4)
    at = early.interpolated(known)
    for row in known:
        assert float(at(row["steps"]).value) == pytest.approx(row["value"], rel=1e-9)
    between = known[0]["steps"] * 3 // 2
    exact = float(early._at(early.law("null direction", "cpu"), known[0], (T, 1e-4), between).value)
    assert float(at(between).value) == pytest.approx(exact, rel=1e-4)
    level = float(at(between).value) * (1 + 1e-9)
    row = early._steps_row(early.law("null direction", "cpu"), known[0], (T, 1e-4), known, level)
    assert (row["value"], row["extrapolated"]) == (between, False)


def test_steps_between_rows_carry_their_errors():
    rows = [{"order": 1, "steps": k, "value": 1.0 / k, "stderr": s / k, "bias": 0.5 * s / k} for k, s in SPREAD]
    found = early.interpolated(rows)(24)
    assert float(found.value) == pytest.approx(1.0 / 24, rel=1e-12)
    assert (float(found.stderr), float(found.bias)) == pytest.approx((0.03 / 24, 0.015 / 24), rel=1e-9)


# ---- verdicts on these rows -----------------------------------------------------------------------------


def test_forms_of_the_study_s_rows(rows):
    """All seven rungs of both families have the predicted growth; with two samplers' rows exchanged they have not."""
    found = verdicts.growths(frame(rows))
    assert len(found) == 2 * len(verdicts.RUNGS)
    assert {g.form for g in found} == {"supported"}
    assert {g.theorem for g in found if g.rung.sampler == "jain_zhang" and g.rung.order == 2} == {"supported"}
    attained = [g for g in found if g.attained and g.rung.order == 2]
    assert [(g.family, g.rung.reference) for g in attained] == [("null direction", "flow+noise")]
    swap = {"ddpm": "ei_sde", "ei_sde": "ddpm"}
    swapped = [{**row, "sampler": swap.get(row["sampler"], row["sampler"])} for row in rows]
    paths = [g for g in verdicts.growths(frame(swapped)) if g.rung.rung == "path" and g.family != "null direction"]
    assert [g.form for g in paths] == ["refuted", "refuted"]


def test_sentences_name_what_they_speak_of(rows):
    data = frame(rows)
    said = verdicts.sentences(data, verdicts.growths(data))
    first = next(s for s in said if s.startswith("jain_zhang, chain (flow+noise), null direction"))
    for word in ("(singular)", "T = 4", "δ = 1e-08 … 0.01", "a = 1.50", "consistent, and attained"):
        assert word in first
    second = next(s for s in said if s.startswith("jain_zhang, chain (flow+noise), anisotropic Gaussian (smooth)"))
    assert "not attained (K²·KL/Λ² stays at 1.02" in second
    faster = [{**r, "value": r["value"] * r["length"] ** 2} if r["quantity"] == "limit" else r for r in rows]
    data = frame(faster)
    claims = [s for s in verdicts.sentences(data, verdicts.growths(data)) if "2508.16306" in s]
    assert len(claims) == 4
    assert all(s.endswith("refuted") for s in claims)


def test_stopping_and_starting(rows):
    """W2 falls like √δ where a direction is singular, like δ where none is; the prior costs the same at every δ."""
    said = verdicts.sentences(frame(rows), [])
    null, smooth = (next(s for s in said if s.startswith(f"stopping early, {family}")) for family in GAUSSIAN)
    assert "δ^0.50" in null
    assert "δ^1.00" in smooth
    start = [row["value"] for row in chosen(rows, family="null direction", quantity="initial")]
    assert len(start) == len(early.STOPS["quick"])
    assert start == pytest.approx([start[0]] * len(start), rel=1e-9)
    snr = 1 / np.expm1(2 * T)
    gap = GAUSSIAN["null direction"] - 1
    alpha2 = snr / (1 + snr)
    exact = 0.5 * (alpha2 * gap - np.log1p(alpha2 * gap)).sum() + 0.5 * alpha2 * 0.25
    assert start[0] == pytest.approx(exact, rel=1e-9)


# ---- the study as a whole ------------------------------------------------------------------------------


def test_refusals_are_rows():
    """On a codebook no flow is known: two rungs stay, five are refused with the reason."""
    setting = settings_of("codebook")[2]
    found = early.compute(setting, CPU)
    refused = chosen(found, quantity="refused")
    assert {(r["sampler"], r["reference"]) for r in refused} == {
        ("jain_zhang", "flow+noise"),
        ("jain_zhang", "none"),
        ("ei_sde", "none"),
        ("ddpm", "none"),
    }
    assert all("available" in row["method"] for row in refused)
    assert {row["rung"] for row in chosen(found, quantity="steps")} == {"path", "chain"}


def test_report_and_figures(rows, tmp_path, monkeypatch, capsys):
    refused = {**rows[-1], "quantity": "refused", "value": None, "method": "no map"}
    verdicts.report([*rows, refused])
    text = capsys.readouterr().out
    for word in ("K*(δ)", "not available: anisotropic Gaussian", "no map", "stopping early", "predicts best"):
        assert word in text
    store = Store(tmp_path, early.NAME)
    for setting in settings_of(*GAUSSIAN):
        store.add(setting, chosen(rows, family=setting["family"], delta=setting["delta"]))
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    written = picture.draw(store.path)
    assert {path.stem for path in written} == {early.NAME, f"{early.NAME}_growth"}
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings_name_every_stop_once():
    for preset in ("quick", "full"):
        found = [(s["family"], s["delta"]) for s in early.settings(early.Config(preset=preset))]
        assert len(found) == len(set(found))
        names = [name for name, family in early.FAMILIES.items() if preset in family.presets]
        assert len(found) == len(names) * len(early.STOPS[preset])


@pytest.mark.slow
def test_carried_rungs_have_the_form():
    """Two points and a sphere: flow+noise grows by 1/8, every marginal not at all."""
    laws = settings_of("two points", "sphere")
    found = verdicts.growths(frame([row for setting in laws for row in early.compute(setting, CPU)]))
    assert len(found) == 2 * len(verdicts.RUNGS)
    assert {g.form for g in found} == {"supported"}
    for growth in found:
        if growth.rung.reference == "flow+noise":
            assert growth.growth == pytest.approx(0.125, rel=0.02)
            assert growth.attained
        if growth.rung.rung == "marginal":
            assert growth.exponent < 1.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_time": 1.0}, "start-time = 1.0: expected a time T > 1"),
        ({"start_time": np.nan}, "start-time = nan"),
        ({"epsilon2": 0.0}, r"epsilon2 = 0.0: expected a number > 0"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ArgumentError, match=message):
        early.check(dataclasses.replace(early.Config(), **change))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--start-time", "0.01"], "error: start-time = 0.01"),
        (["--preset", "slow"], "error: --preset = 'slow': expected one of quick, full"),
        (["--stop-time", "1e-3"], "--stop-time"),
    ],
)
def test_bad_command_line(arguments, words, monkeypatch, capsys):
    """One line for a bad value, choice or name, before any work."""
    monkeypatch.setattr(sys, "argv", ["early_stopping", *arguments])
    with pytest.raises(SystemExit) as stop:
        study.command(early.main, early.Config, early.NAME, early.__doc__)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err

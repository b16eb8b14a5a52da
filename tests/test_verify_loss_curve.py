"""Loss curves read off training losses: against the truth, as a way to a grid, and the errors that they state."""

import re
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Target, get
from verify import Grid, kl, oracle, samplers
from verify.kl.discretisation import discretisation
from verify.loss_curve import LossCurve, _ratio, _refuse_rise
from verify.losses import Losses, read_losses, simulated_losses
from verify.span import span

LEVELS, SAMPLES = 100, 1000
"""A run's losses: 1e5 samples in all."""
STEPS = (8, 16, 32)
SMOOTH = (1e-3, 1e3)


def curve(table, **options) -> LossCurve:
    return LossCurve(read_losses(table, **cast("Any", {"prediction": "x0", "weighting": "sum"} | options)))


def window(target: Target) -> tuple[float, float]:
    """The whole range of a law on atoms, 1e-3 … 1e3 of a smooth one."""
    if not getattr(target.curve, "discrete", False) or target.dim > 4:
        return SMOOTH if target.dim <= 8 else (1e-3, 1e2)
    low, high = np.exp(target.curve.edges[[0, -1]]).tolist()
    return low, high


def simulated(target: Target, snr: tuple[float, float], seed: int, samples: int = SAMPLES) -> LossCurve:
    return curve(simulated_losses(oracle.Exact(target), np.geomspace(*snr, LEVELS), samples, seed=seed))


def noisy(seed: int, count: int = 60, scale: float = 0.05) -> Losses:
    """Random decreasing losses with Gaussian errors of known size."""
    rng = np.random.default_rng(seed)
    snr = np.exp(np.cumsum(rng.uniform(0.02, 0.4, count)) - 5.0)
    truth = sum(
        c * (v / (1.0 + snr * v)) ** p
        for c, v, p in zip(rng.random(4), 10.0 ** rng.uniform(-2, 2, 4), (1, 1, 2, 3), strict=True)
    )
    stderr = scale * truth * np.exp(0.3 * rng.standard_normal(count))
    loss = np.maximum(truth + stderr * rng.standard_normal(count), 0.0)
    return Losses(snr, loss, stderr, [f"row {i}" for i in range(count)])


# ---- the curve ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "curved_mixture", "anisotropic_gaussian", "two_points", "sphere"])
def test_exact_losses_give_the_curve_back(name):
    """mmse within 0.5% where it is not yet exponentially small, its slope within 5% away from the ends."""
    target, levels = get(name), np.geomspace(0.02, 12.0, 120)
    exact = np.asarray(target.mmse(levels).value)
    for table in ({"snr": levels, "loss": exact}, {"snr": levels, "loss": exact, "stderr": 1e-4 * exact}):
        found = curve(table)
        between = np.sqrt(levels[1:] * levels[:-1])
        np.testing.assert_allclose(found.mmse(between).value, target.mmse(between).value, rtol=5e-3)
        inner = between[5:-5]
        np.testing.assert_allclose(found.slope(inner).value, target.mmse_slope(inner).value, rtol=0.05)
        grid = Grid.log_snr(10, snr=found.reach)
        assert float(discretisation(found, grid)) == pytest.approx(float(discretisation(target, grid)), rel=0.01)


def test_exact_losses_give_the_best_grid():
    """Regret at 16 steps below 1e-3."""
    target, levels = get("curved_mixture"), np.geomspace(*SMOOTH, 120)
    table = {"snr": levels, "loss": target.mmse(levels).value}
    for rule, allowed in (("optimal", 1e-3), ("recursion", 1e-2), ("sqrt_slope", 1e-2)):
        grid = Grid.loss_adaptive(table, steps=16, prediction="x0", weighting="sum", rule=rule)
        best = float(discretisation(target, Grid.optimal(target, steps=16, snr=(grid.snr[0], grid.snr[-1]))))
        assert best * (1.0 - 1e-9) <= float(discretisation(target, grid)) < (1.0 + allowed) * best


@settings(derandomize=True, deadline=None, max_examples=30)
@example(seed=179, count=8, scale=1.0, errors=False)
@given(seed=st.integers(0, 10**6), count=st.integers(8, 120), scale=st.floats(1e-6, 1.0), errors=st.booleans())
def test_a_curve_always_falls_or_is_refused(seed, count, scale, errors):
    """No NaN, no infinity, no slope of the other sign, no error but ArgumentError, whatever the noise."""
    given_losses = noisy(seed, count, scale)
    if not errors:
        given_losses = Losses(given_losses.snr, given_losses.loss, None, given_losses.lines)
    try:
        found = LossCurve(given_losses)
    except ArgumentError as error:
        assert any(word in str(error) for word in ("rises", "zero", "smooth"))  # noqa: PT017
        return
    snr = np.geomspace(*found.reach, 300)
    mmse, slope = found.mmse_rows(snr), found.slope_rows(snr)
    for values in (mmse, slope, found.information_rows(snr)):
        assert np.isfinite(values).all()
        assert (values > 0).all()
    assert (np.diff(mmse[0]) <= 1e-6 * mmse[0, 0]).all()
    grid = Grid.optimal(found, steps=7, snr=found.reach)
    cost = discretisation(found, grid)
    assert 0 <= float(cost.value) < np.inf
    assert 0 <= float(cost.stderr) < np.inf
    assert float(cost.value) <= float(discretisation(found, Grid.log_snr(7, snr=found.reach)).value) * (1.0 + 1e-9)


@pytest.mark.parametrize("power", [1e-20, 1e-3, 1e20])
def test_units_do_not_matter(power):
    """Losses in other units and levels shifted: the same curve, scaled."""
    losses = noisy(4)
    found = LossCurve(losses)
    assert losses.stderr is not None
    scaled = LossCurve(Losses(losses.snr * 7.0, losses.loss * power, losses.stderr * power, losses.lines))
    snr = np.geomspace(*found.reach, 40)[1:-1]
    np.testing.assert_allclose(scaled.mmse(7.0 * snr).value, power * np.asarray(found.mmse(snr).value), rtol=1e-4)


@pytest.mark.parametrize("name", ["curved_mixture", "two_points", "orthogonal_points"])
def test_cost_of_a_grid_is_ddpms_path_kl(name):
    """Of a target: the path KL from the exact start, and its standard error."""
    grid = Grid.log_snr(12, snr=(1e-2, 30.0))
    found, path = discretisation(get(name), grid), kl.path(get(name), samplers.ddpm(grid))
    assert float(found.value) == pytest.approx(float(path.value), rel=1e-12, abs=0)
    assert float(found.stderr) == pytest.approx(float(path.stderr), rel=1e-9, abs=0)


# ---- the grid -----------------------------------------------------------------------------------------------------------


def regrets(target: Target, seeds: range) -> np.ndarray:
    """Excess of the true cost over the least, (seeds, K): of the grids read off 1e5 samples."""
    snr, out = window(target), []
    best = [float(discretisation(target, Grid.optimal(target, steps=k, snr=snr))) for k in STEPS]
    for seed in seeds:
        found = simulated(target, snr, seed)
        grids = [Grid.optimal(found, steps=k, snr=found.reach) for k in STEPS]
        out.append([float(discretisation(target, grid)) / least - 1.0 for grid, least in zip(grids, best, strict=True)])
    return np.array(out)


@pytest.mark.parametrize(
    "name", ["gaussian", *(pytest.param(name, marks=pytest.mark.slow) for name in ("curved_mixture", "sphere"))]
)
def test_regret_of_a_run(name):
    """At most 1% for smooth laws, 5 seeds; a grid that ignores the losses pays more than ten times that."""
    found = regrets(get(name), range(5))
    assert (np.median(found, 0) <= 0.01).all()
    assert found.min() > -1e-9
    best, plain = (build(get(name)) for build in (lambda t: Grid.optimal(t, steps=8, snr=SMOOTH), lambda _: LOG))
    assert float(discretisation(get(name), plain)) > 1.1 * float(discretisation(get(name), best))


LOG = Grid.log_snr(8, snr=SMOOTH)

WELL_SAMPLED = {
    "anisotropic_gaussian": {},
    "curved_mixture": {},
    "gaussian": {},
    "hypercube": {"dim": 3},
    "lattice": {},
    "low_rank_mixture": {},
    "random_centres": {},
    "rare_bit": {"p": 0.1},
    "scale_mixture": {},
    "sphere": {},
    "two_components": {},
    "two_points": {},
}
"""Laws none of whose atoms is rarer than 1e4 in 1e5."""


@pytest.mark.slow
@pytest.mark.parametrize("name", WELL_SAMPLED)
def test_regret_of_twenty_runs(name):
    """Median of 20 seeds at most 10% at 8, 16 and 32 steps."""
    found = regrets(get(name, **WELL_SAMPLED[name]), range(20))
    assert (np.median(found, 0) <= 0.1).all(), np.median(found, 0)
    assert found.min() > -1e-9


# ---- errors -------------------------------------------------------------------------------------------------------------


def scores(target: Target, snr: tuple[float, float], seeds: range, samples: int = SAMPLES) -> np.ndarray:
    """(predicted cost of a fixed grid − its cost) in stated standard errors, for each run."""
    grid = Grid.log_snr(16, snr=snr)
    truth, out = float(discretisation(target, grid)), []
    for seed in seeds:
        found = discretisation(simulated(target, snr, seed, samples), grid)
        out.append((float(found.value) - truth) / float(found.stderr))
    return np.array(out)


@pytest.mark.parametrize("name", ["gaussian", pytest.param("curved_mixture", marks=pytest.mark.slow)])
def test_stated_errors(name):
    """19 of 20 predictions within 4 standard errors, which are neither a tenth of the scatter nor ten times it."""
    found = scores(get(name), (1e-2, 1e2), range(20), samples=300)
    assert (np.abs(found) < 4.0).sum() >= 19
    assert 0.1 < found.std() < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_points", "anisotropic_gaussian", "sphere", "random_centres", "lattice"])
def test_stated_errors_of_other_laws(name):
    found = scores(get(name), window(get(name)), range(20))
    assert (np.abs(found) < 4.0).sum() >= 19


# ---- refusals -----------------------------------------------------------------------------------------------------------


def refused(losses: Losses) -> bool:
    try:
        _refuse_rise(losses, _ratio(losses))
    except ArgumentError as error:
        assert re.search("rises with snr by .* standard errors", str(error))  # noqa: PT017
        return True
    return False


def test_losses_far_into_a_tail_are_read():
    """Where a loss falls by many e-folds the curve is still the integral of its slope, and nothing is refused."""
    target = get("two_points")
    low, high = span(target)
    places = np.geomspace(low, high, 1000)
    for seed in (3, 4):
        found = simulated(target, (low, high), seed)
        defect = np.abs(found.over_steps(places).mmse[0] - found.mmse_rows(places)[0]).max()
        assert defect <= 1e-6 * float(found.measured.loss.max())


def test_losses_that_fall_are_not_refused():
    """0 of 200 runs of random decreasing losses with Gaussian errors; with a sudden rise by a half most are."""
    runs = [noisy(seed, scale=0.03) for seed in range(200)]
    assert not any(refused(losses) for losses in runs)
    half = np.where(np.arange(60) < 30, 1.0, 1.5)
    risen = [Losses(r.snr, r.loss * half * (r.loss[29] / r.loss[30]) ** (half > 1.0), r.stderr, r.lines) for r in runs]
    assert sum(refused(losses) for losses in risen) > 150


def test_losses_without_errors_that_fall_are_not_refused():
    """The same runs without a column stderr, which fall by six decades and more."""
    runs = [noisy(seed, scale=0.03) for seed in range(200)]
    assert not any(refused(Losses(losses.snr, losses.loss, None, losses.lines)) for losses in runs)


@pytest.mark.parametrize(("count", "seed"), [(8, 2), (9, 1)])
def test_a_few_levels_are_interpolated_as_well(count, seed):
    """mmse is the integral of the slope to 1e-6, however wide the intervals."""
    found = LossCurve(noisy(seed, count))
    snr = np.geomspace(*found.reach, 400)
    np.testing.assert_allclose(found.mmse_rows(snr)[0], found.over_steps(snr).mmse[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["curved_mixture", "gaussian", "two_points", "sphere"])
def test_a_loss_of_another_kind_is_refused(name):
    """The ε-loss given as x0-loss rises; the message names the lines, the rise and what to look at."""
    target, levels = get(name), np.geomspace(1e-2, 5.0, 60)
    frame = simulated_losses(oracle.Exact(target), levels, 500, seed=2)
    epsilon = frame.assign(loss=frame["loss"] * levels, stderr=frame["stderr"] * levels)
    curve(epsilon, prediction="epsilon")
    with pytest.raises(ArgumentError, match=r"from row \d+ \(snr .* the x0-loss rises .* is `prediction` what"):
        curve(epsilon)
    with pytest.raises(ArgumentError, match="rises"):
        curve(epsilon.drop(columns="stderr"))


def test_all_zero():
    with pytest.raises(ArgumentError, match=r"losses = 0.0: expected losses that are not all zero"):
        curve({"snr": np.geomspace(1.0, 9.0, 9), "loss": np.zeros(9)})

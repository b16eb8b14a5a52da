"""Rates: slopes and intervals of known power laws; rate constants, refinement and bounds of ddpm's path KL."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Estimate, get
from verify import Grid, bounds, kl, rates, samplers

STEPS = np.array([16.0, 32.0, 64.0, 128.0, 256.0])
LAWS = [get("two_points"), get("curved_mixture"), get("nested_scales", bits=3), get("gaussian"), get("lattice")]
CUBES = {dim: get("hypercube", dim=dim) for dim in (1, 3)}


def value(target, table) -> float:
    return float(kl.path(target, table).value)


# ---- fits ----------------------------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=40)
@given(slope=st.floats(-4.0, 3.0), scale=st.floats(-20.0, 20.0), base=st.floats(1.1, 3.0))
def test_exact_power_laws(slope, scale, base):
    """Every local slope, the slope and the interval's middle to 1e-9, on any geometric grid of x."""
    x = 7.0 * base ** np.arange(6)
    fit = rates.fit(x, 10.0**scale * x**slope)
    assert fit.slope == pytest.approx(slope, abs=1e-9)
    np.testing.assert_allclose(fit.local_slopes, slope, atol=1e-9)
    assert fit.window == (x[0], x[-1])
    assert not fit.excludes(slope)
    assert fit.excludes(slope + 1e-6)
    assert fit.excludes(slope - 1e-6)


def test_exact_rows_with_a_correction():
    """c/K² (1 + a/K): the last local slope, its interval's end near −2 (what is left is of order K⁻²); as Estimates too."""
    for a in (-3.0, 5.0):
        values = 3.0 / STEPS**2 * (1 + a / STEPS)
        fit = rates.fit(STEPS, [Estimate(v, 0.0, 0.0, "test") for v in values])
        assert fit.slope == pytest.approx(np.log2(values[-1] / values[-2]), rel=1e-12, abs=0)
        half = fit.interval[1] - fit.slope
        assert half == pytest.approx(fit.slope - fit.interval[0], rel=1e-12, abs=0)
        assert 2.0 * abs(fit.slope + 2.0) == pytest.approx(half, rel=0.15, abs=0)
        assert not fit.excludes(-2.0)
        assert fit.excludes(-2.2)
        assert fit.excludes(-1.8)
        assert rates.fit(STEPS, values).interval == fit.interval


def test_interval_covers_as_often_as_it_says():
    """2% noise on a power law, 2,000 draws: the 95% interval misses at most 5% of them.

    Fresh seeds would raise a false alarm in fewer than 1e-6 of runs: Student's quantile on known errors is conservative.
    """
    rng = np.random.default_rng(0)
    truth = 5.0 * STEPS**-1.5
    missed = 0
    for _ in range(2000):
        noisy = truth * (1 + 0.02 * rng.standard_normal(len(STEPS)))
        missed += rates.fit(STEPS, noisy, 0.02 * truth).excludes(-1.5)
    assert missed / 2000 <= 0.05


def test_interval_widens_with_unstated_scatter():
    """Errors stated ten times too small: the residuals take over and the interval still covers in most of 500 draws."""
    rng = np.random.default_rng(1)
    truth = 5.0 * STEPS**-1.0
    draws = [truth * (1 + 0.1 * rng.standard_normal(len(STEPS))) for _ in range(500)]
    missed = sum(rates.fit(STEPS, noisy, 0.01 * truth).excludes(-1.0) for noisy in draws)
    assert missed / 500 <= 0.10


def test_interval_excludes_a_wrong_slope():
    """The twin: slope −1 is excluded by data of slope −2 with 2% noise, every time in 200 draws."""
    rng = np.random.default_rng(2)
    truth = STEPS**-2.0
    for _ in range(200):
        noisy = truth * (1 + 0.02 * rng.standard_normal(len(STEPS)))
        assert rates.fit(STEPS, noisy, 0.02 * truth).excludes(-1.0)


def test_weights_follow_the_errors():
    """A point with an error a hundred times the others' hardly moves the slope."""
    values = STEPS**-1.0
    errors = 0.01 * values
    values[2] *= 3.0
    errors[2] *= 300.0
    assert rates.fit(STEPS, values, errors).slope == pytest.approx(-1.0, abs=0.01)


def test_estimates_with_errors_are_weighted():
    values = [Estimate(v, 0.02 * v, 0.0, "test") for v in STEPS**-1.0]
    plain = rates.fit(STEPS, STEPS**-1.0, 0.02 * STEPS**-1.0)
    assert rates.fit(STEPS, values).interval == plain.interval
    assert rates.fit(STEPS, values).slope == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "values", "stderr", "message"),
    [
        ([1.0, 2.0], [1.0, 1.0], None, r"x.shape = \(2,\): expected at least 3 values"),
        ([1.0, 3.0, 2.0], [1.0, 1.0, 1.0], None, r"x\[1:3\] = \[3.0, 2.0\]: expected strictly ascending"),
        ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0], None, "x = 0.0: expected positive values"),
        ([1.0, np.nan, 2.0], [1.0, 1.0, 1.0], None, "x = nan: expected finite values"),
        ([1.0, 2.0, 3.0], [1.0, 0.0, 1.0], None, "estimates = 0.0: expected positive finite values"),
        ([1.0, 2.0, 3.0], [1.0, -2.0, 1.0], None, "estimates = -2.0: expected positive finite values"),
        ([1.0, 2.0, 3.0], [1.0, np.inf, 1.0], None, "estimates = inf: expected positive finite values"),
        ([1.0, 2.0, 3.0], [1.0, 1.0], None, r"estimates.shape = \(2,\): expected one value and error for each x"),
        ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], np.ones(2), r"expected one value and error for each x, \(3,\)"),
        ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], np.array([0.1, np.nan, 0.1]), "nan: expected"),
        ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], np.array([0.1, -0.1, 0.1]), "-0.1: expected"),
        ([1.0, 2.0, 3.0], [], None, r"estimates.shape = \(0,\): expected one value and error for each x"),
    ],
)
def test_bad_input(x, values, stderr, message):
    with pytest.raises(ArgumentError, match=message):
        rates.fit(x, values, stderr)


# ---- ddpm: order, constants, bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "euler_maruyama"])
@pytest.mark.parametrize("target", ["two_points", "curved_mixture"])
def test_path_kl_has_slope_minus_one(name, target):
    """Exact rows, last doublings, ±0.05."""
    steps = (800, 1600, 3200)
    tables = [samplers.get(name)(Grid.exponential_uniform(k, ou_time=(3.0, 0.02))) for k in steps]
    fit = rates.fit(steps, [kl.path(get(target), table) for table in tables])
    assert fit.slope == pytest.approx(-1.0, abs=0.05)


@pytest.mark.parametrize("target", ["two_points", "curved_mixture", "gaussian", "lattice"])
def test_rate_constants_of_the_usual_grids(target):
    """K·KL → ¼∫|mmse′|/ρ for steps uniform in γ and in log γ; one Richardson extrapolation, 1e-4."""
    target, low, high = get(target), 0.05, 20.0
    ends = np.array([low, high])
    mmse, info = np.asarray(target.mmse(ends).value), np.asarray(target.mutual_information(ends).value)
    limits = {
        Grid.uniform_snr: (high - low) / 4 * (mmse[0] - mmse[1]),
        Grid.log_snr: np.log(high / low) / 4 * (2 * (info[1] - info[0]) + low * mmse[0] - high * mmse[1]),
    }
    for build, limit in limits.items():
        one, two = (steps * value(target, samplers.ddpm(build(steps, snr=(low, high)))) for steps in (500, 1000))
        assert 2 * two - one == pytest.approx(limit, rel=1e-4, abs=0)


grids = st.lists(st.floats(-7.0, 7.0), min_size=2, max_size=9, unique_by=lambda u: round(u, 2)).map(
    lambda logs: Grid.from_snr(np.exp(np.sort(logs)))
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(grid=grids, law=st.sampled_from(LAWS), extra=st.floats(0.01, 0.99), step=st.integers(0, 7))
def test_refining_never_raises_ddpm(grid, law, extra, step):
    k = step % grid.steps
    new = grid.snr[k] ** (1 - extra) * grid.snr[k + 1] ** extra
    fine = Grid.from_snr(np.insert(grid.snr, k + 1, new))
    assert value(law, samplers.ddpm(fine)) <= value(law, samplers.ddpm(grid)) * (1 + 1e-12)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(grid=grids, law=st.sampled_from(LAWS))
def test_frozen_denoiser_bound(grid, law):
    """Path KL of ddpm ≤ max h/γ times the information at the last level, on any grid."""
    table = samplers.ddpm(grid)
    bound = bounds.frozen_denoiser(table, float(law.mutual_information(grid.snr[-1]).value))
    assert 0 <= value(law, table) <= bound


@settings(derandomize=True, deadline=None, max_examples=40)
@given(steps=st.integers(1, 60), low=st.floats(1e-4, 0.5), width=st.floats(1.0, 5.0), dim=st.sampled_from([1, 3]))
def test_geometric_and_uniform_bounds_at_every_k(steps, low, width, dim):
    """κH with κ the geometric ratio less one, for a discrete law; (h/2)(mmse_0 − mmse_K) on a uniform grid."""
    target, high = CUBES[dim], low * 10**width
    kappa = (high / low) ** (1 / steps) - 1
    geometric = samplers.ddpm(Grid.log_snr(steps, snr=(low, high)))
    assert value(target, geometric) <= kappa * float(target.entropy().value)
    mmse = np.asarray(target.mmse(np.array([low, high])).value)
    uniform = samplers.ddpm(Grid.uniform_snr(steps, snr=(low, high)))
    assert value(target, uniform) <= (high - low) / steps / 2 * (mmse[0] - mmse[1]) * (1 + 1e-12)


def test_published_bounds_without_their_constants():
    """κ = max h/min(1, t) by hand; ei_sde's path KL over κ²dN + κdT stays below one on N(0, I), T = 4, δ = 1e-3."""
    for steps in (20, 80, 320):
        grid = Grid.exponential_uniform(steps, ou_time=(4.0, 1e-3))
        t = grid.ou_time
        kappa = max((t[k] - t[k + 1]) / min(1.0, t[k]) for k in range(steps))
        assert bounds.benton(grid, 3) == pytest.approx(3 * kappa**2 * steps + 3 * kappa * t[0], rel=1e-12, abs=0)
        assert bounds.jain_zhang(grid, 3) == pytest.approx(9 * kappa**3 * steps, rel=1e-12, abs=0)
        normal = get("gaussian", dim=3, variance=1.0, mean=0.0)
        assert 0.05 < value(normal, samplers.ei_sde(grid)) / bounds.benton(grid, 3) < 0.5

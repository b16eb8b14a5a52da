"""Grids: ends, order and defining formulas by a second expression, and the best grid of a Gaussian."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import Embedded, Gaussian, get
from verify import Grid, kl, samplers

SNR = (1e-3, 400.0)
TIMES = (5.0, 1e-3)

BY_SNR = {
    "uniform_snr": Grid.uniform_snr,
    "log_snr": Grid.log_snr,
    "cosine": Grid.cosine,
    "karras": Grid.karras,
    "uniform_sigma": Grid.uniform_sigma,
    "tangent": Grid.tangent,
    "linear_beta": Grid.linear_beta,
    "scaled_linear_beta": Grid.scaled_linear_beta,
}
BY_TIME = {"uniform_ou_time": Grid.uniform_ou_time, "exponential_uniform": Grid.exponential_uniform}

windows = st.tuples(st.floats(-9.0, 2.0), st.floats(0.2, 12.0)).map(lambda p: (10 ** p[0], 10 ** (p[0] + p[1])))
times = st.tuples(st.floats(-3.0, 0.9), st.floats(0.1, 4.0)).map(lambda p: (10 ** p[0], 10 ** (p[0] - p[1])))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(steps=st.integers(1, 120), window=windows, name=st.sampled_from(sorted(BY_SNR)))
def test_schedules_on_an_snr_window_hit_both_ends_exactly_and_ascend(steps, window, name):
    grid = BY_SNR[name](steps, snr=window)
    assert grid.steps == steps == len(grid.snr) - 1
    assert (grid.snr[0], grid.snr[-1]) == window
    assert (np.diff(grid.snr) > 0).all()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(steps=st.integers(1, 120), window=times, name=st.sampled_from(sorted(BY_TIME)))
def test_schedules_on_a_time_window_hit_both_ends_and_ascend(steps, window, name):
    grid = BY_TIME[name](steps, ou_time=window)
    np.testing.assert_allclose(-0.5 * np.log1p(-(grid.sigma[[0, -1]] ** 2)), window, rtol=1e-7)
    np.testing.assert_allclose(grid.ou_time[[0, -1]], window, rtol=4e-15)
    assert (np.diff(grid.snr) > 0).all()
    assert (np.diff(grid.ou_time) < 0).all()


def test_uniform_and_geometric_steps():
    """Equal differences and equal ratios."""
    h = np.diff(Grid.uniform_snr(50, snr=SNR).snr)
    np.testing.assert_allclose(h, (SNR[1] - SNR[0]) / 50, rtol=1e-12)
    ratio = np.diff(np.log(Grid.log_snr(50, snr=SNR).snr))
    np.testing.assert_allclose(ratio, np.log(SNR[1] / SNR[0]) / 50, rtol=1e-12)


def test_uniform_ou_time_against_alpha():
    """t_k = −log α_k falls by (T − δ)/K."""
    grid = Grid.uniform_ou_time(40, ou_time=TIMES)
    np.testing.assert_allclose(-np.log(grid.alpha), TIMES[0] - np.arange(41) * (TIMES[0] - TIMES[1]) / 40, atol=1e-14)


@pytest.mark.parametrize(("start", "stop"), [(5.0, 1e-3), (1.0, 1e-4), (0.6, 0.01), (4.0, 1.5)])
def test_exponential_uniform_steps(start, stop):
    """Ratio exactly e^{-c} below t = 1 and difference exactly c above, c from the integral of dt/min(1, t)."""
    steps = 37
    c = (max(start - 1.0, 0.0) - max(stop - 1.0, 0.0) + np.log(min(start, 1.0) / min(stop, 1.0))) / steps
    t = Grid.exponential_uniform(steps, ou_time=(start, stop)).ou_time
    above, below = t[1:] >= 1.0, t[:-1] <= 1.0
    np.testing.assert_allclose(-np.diff(t)[above], c, rtol=1e-11)
    np.testing.assert_allclose(t[1:][below] / t[:-1][below], np.exp(-c), rtol=1e-11)
    assert (~above & ~below).sum() <= 1
    assert above.sum() + below.sum() >= steps - 1


def test_cosine_against_nichol_and_dhariwal():
    """Levels at equal s satisfy ᾱ(s) = f(s)/f(0), f = cos²((s + o)/(1 + o) π/2), s found by bisection at the ends."""
    offset, steps = 0.008, 30
    f = lambda s: np.cos((s + offset) / (1 + offset) * np.pi / 2) ** 2  # noqa: E731
    grid = Grid.cosine(steps, snr=SNR, offset=offset)
    ends = []
    for wanted in SNR:
        low, high = 0.0, 1.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            kept = f(middle) / f(0.0)
            low, high = (middle, high) if kept > wanted / (1 + wanted) else (low, middle)
        ends.append(low)
    kept = f(np.linspace(ends[0], ends[1], steps + 1)) / f(0.0)
    np.testing.assert_allclose(grid.alpha**2, kept, rtol=1e-11)
    np.testing.assert_allclose(grid.sigma**2, 1 - kept, rtol=1e-11)


@pytest.mark.parametrize("steps", [1, 7, 50, 999])
def test_ddpm_linear_against_cumprod(steps):
    """ᾱ by cumprod of 1 − β; the chosen timesteps are spread from 999 to 0."""
    kept = np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))
    grid = Grid.ddpm_linear(steps)
    place = np.array([np.argmin(np.abs(kept - a2)) for a2 in grid.alpha**2])
    np.testing.assert_allclose(grid.alpha**2, kept[place], rtol=1e-12)
    np.testing.assert_allclose(grid.snr, kept[place] / (1 - kept[place]), rtol=1e-11)
    assert place[0] == 999
    assert place[-1] == 0
    gaps = -np.diff(place)
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras_against_sigma_formula(rho):
    """σ_i = (σ_max^{1/ρ} + i/K (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ in the ve process."""
    low, high = SNR[1] ** -0.5, SNR[0] ** -0.5
    i = np.arange(26) / 25
    sigma = (high ** (1 / rho) + i * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    np.testing.assert_allclose(Grid.karras(25, snr=SNR, rho=rho, process="ve").sigma, sigma, rtol=1e-12)


@pytest.mark.parametrize("name", [*BY_SNR, *BY_TIME, "ddpm_linear", "optimal"])
def test_processes_agree_on_snr(name):
    """The same snr values bit for bit, and α²/σ² of each process returns them."""

    def build(process):
        if name in BY_SNR:
            return BY_SNR[name](20, snr=SNR, process=process)
        if name in BY_TIME:
            return BY_TIME[name](20, ou_time=TIMES, process=process)
        if name == "ddpm_linear":
            return Grid.ddpm_linear(20, process=process)
        return Grid.optimal(Gaussian([0.0], [[0.3]]), steps=20, snr=SNR, process=process)

    grids = [build(process) for process in ("vp", "ve", "flow")]
    for grid in grids:
        assert (grid.snr == grids[0].snr).all()
        np.testing.assert_allclose((grid.alpha / grid.sigma) ** 2, grid.snr, rtol=1e-14)
        np.testing.assert_allclose([level.snr for level in grid.levels], grid.snr, rtol=1e-14)
    vp, ve, flow = grids
    np.testing.assert_allclose(vp.alpha**2 + vp.sigma**2, 1.0, rtol=1e-14)
    assert (ve.alpha == 1).all()
    np.testing.assert_allclose(flow.alpha + flow.sigma, 1.0, rtol=1e-14)


@pytest.mark.parametrize("variant", ["score", "z_score"])
@settings(derandomize=True, deadline=None, max_examples=20)
@given(steps=st.integers(1, 60), window=times)
def test_beyond_lets_jain_zhang_stop_at_the_last_level(variant, steps, window):
    """The stop equals the grid's last level bit for bit, with K steps; OU time falls by the last ratio again."""
    grid = Grid.exponential_uniform(steps, ou_time=window)
    further = grid.beyond()
    table = samplers.jain_zhang(further, variant)
    assert table.stop == grid.levels[-1]
    assert table.steps == steps
    t = further.ou_time
    assert t[-1] / t[-2] == pytest.approx(t[-2] / t[-3], rel=1e-9, abs=0)


def test_grids_are_read_only_and_do_not_share_memory():
    values = np.array([1.0, 2.0, 3.0])
    grid = Grid.from_snr(values)
    values[0] = 2.5
    assert grid.snr[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        grid.snr[0] = 0.5


# ---- the best grid of a Gaussian ------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100, 1000])
@pytest.mark.parametrize(("dim", "variance", "window"), [(1, 0.25, SNR), (5, 4.0, (1e-4, 1e3)), (2, 0.01, (0.5, 40.0))])
def test_optimal_closed_form_at_every_k(steps, dim, variance, window):
    """(dK/2)(e^{Λ/K} − 1 − Λ/K), null directions at no cost."""
    target = Gaussian(np.linspace(-1, 2, dim), variance * np.eye(dim))
    table = samplers.ddpm(Grid.optimal(target, steps=steps, snr=window))
    x = np.log((1 + window[1] * variance) / (1 + window[0] * variance)) / steps
    remainder = np.expm1(x) - x if x > 1e-2 else x**2 / 2 + x**3 / 6 + x**4 / 24 + x**5 / 120 + x**6 / 720
    assert kl.path(target, table).value == pytest.approx(dim * steps / 2 * remainder, rel=1e-10, abs=0)
    wide = Gaussian(np.zeros(dim + 2), np.diag([*np.full(dim, variance), 0.0, 0.0]))
    padded = samplers.ddpm(Grid.optimal(wide, steps=steps, snr=window))
    assert kl.path(wide, padded).value == pytest.approx(dim * steps / 2 * remainder, rel=1e-10, abs=0)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), steps=st.integers(2, 12), size=st.floats(1e-3, 0.5))
def test_no_perturbation_beats_the_optimal_grid(seed, steps, size):
    """Interior levels shaken at random: the path KL rises, by the second order of the shake."""
    target = Gaussian([0.3], [[0.7]])
    best = Grid.optimal(target, steps=steps, snr=SNR)
    gaps = np.diff(np.log(best.snr)) * np.exp(size * np.random.default_rng(seed).standard_normal(steps))
    logs = np.log(SNR[0]) + np.cumsum(gaps) * np.log(SNR[1] / SNR[0]) / gaps.sum()
    shaken = Grid.from_snr(np.concatenate([[SNR[0]], np.exp(logs[:-1]), [SNR[1]]]))
    low, high = (float(kl.path(target, samplers.ddpm(grid)).value) for grid in (best, shaken))
    assert low < high


@pytest.mark.parametrize("variance", [0.05, 0.7, 9.0])
def test_optimal_tends_to_a_quarter_of_the_squared_length(variance):
    """K·KL − S²/4 falls like Λ/(3K), S by quadrature of √(−mmse′)."""
    target = Gaussian(np.zeros(3), variance * np.eye(3))
    length = float(target.curve.discretisation_length(*SNR).value)
    ratio = np.log((1 + SNR[1] * variance) / (1 + SNR[0] * variance))
    for steps in (1000, 10000):
        value = float(kl.path(target, samplers.ddpm(Grid.optimal(target, steps=steps, snr=SNR))).value)
        assert steps * value / (length**2 / 4) - 1 == pytest.approx(ratio / (3 * steps), rel=0.01, abs=0)


@pytest.mark.parametrize("target", [get("two_points"), get("anisotropic_gaussian"), Embedded(get("gaussian"), 3)])
def test_optimal_knows_every_law(target):
    """Atoms, several variances, null directions: ten steps cost less than on log-snr."""
    best, plain = (Grid.optimal(target, steps=10, snr=SNR), Grid.log_snr(10, snr=SNR))
    costs = [float(kl.path(target, samplers.ddpm(grid)).value) for grid in (best, plain)]
    assert 0 < costs[0] < 0.99 * costs[1]

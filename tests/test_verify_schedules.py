"""Schedules in use and grids that read the law: β tables, formulas by second expressions, the bound they minimise."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Gaussian, Level, Target, get
from targets.channel import PROCESSES
from verify import Grid, kl, samplers
from verify.in_use import SCHEDULES, schedule
from verify.schedules import snr_of_betas

SNR = (1e-3, 400.0)
GAUSSIAN = Gaussian([0.5, -1.0], 0.6 * np.eye(2))


# ---- β tables -----------------------------------------------------------------------------------------------------------


def table(name: str, timesteps: int) -> np.ndarray:
    """β_n at n = 1 … N of a table whose rates are those of a thousand steps."""
    if name == "linear_beta":
        return np.linspace(0.1, 20.0, timesteps) / timesteps
    return np.linspace(math.sqrt(0.85), math.sqrt(12.0), timesteps) ** 2 / timesteps


@pytest.mark.parametrize("name", ["linear_beta", "scaled_linear_beta"])
def test_continuous_form_is_the_limit_of_the_table(name):
    """log ᾱ of the table by cumprod; levels at equal index: the difference halves as N doubles."""
    steps, worst = 12, []
    for timesteps in (2000, 4000, 8000):
        kept = np.cumprod(1.0 - table(name, timesteps))
        index = np.round(np.linspace(timesteps, timesteps // 10, steps + 1)).astype(int) - 1
        snr = kept[index] / (1.0 - kept[index])
        grid = getattr(Grid, name)(steps, snr=(snr[0], snr[-1]))
        worst.append(np.abs(np.log(grid.snr / snr)).max())
    assert worst[-1] < 5e-3
    np.testing.assert_allclose(np.array(worst[:-1]) / worst[1:], 2.0, rtol=0.1)
    other = {"linear_beta": Grid.scaled_linear_beta, "scaled_linear_beta": Grid.linear_beta}[name]
    assert np.abs(np.log(other(steps, snr=(snr[0], snr[-1])).snr / snr)).max() > 20.0 * worst[-1]


@pytest.mark.parametrize(("name", "root"), [("linear_beta", 1.0), ("scaled_linear_beta", 0.5)])
def test_beta_is_linear_in_the_index(name, root):
    """2 dt/ds = β by differences of a fine grid: its power 1 or ½ is a straight line that begins and ends at β_0, β_1."""
    first, last = 0.3, 9.0
    whole = (first + math.sqrt(first * last) + last) / 3.0 if root == 0.5 else 0.5 * (first + last)
    inside = 1e-4
    start = PROCESSES["vp"].snr(np.array(0.5 * whole))
    stop = PROCESSES["vp"].snr(np.array(0.5 * first * inside))
    grid = getattr(Grid, name)(4000, snr=(float(start), float(stop)), beta=(first, last))
    rates = (-2.0 * np.diff(grid.ou_time) * 4000 / (1.0 - inside)) ** root
    s = 1.0 - (1.0 - inside) * (np.arange(4000) + 0.5) / 4000
    np.testing.assert_allclose(rates, first**root + s * (last**root - first**root), rtol=1e-4)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 60), data=st.data())
def test_from_betas_takes_levels_of_the_table(seed, size, data):
    betas = np.random.default_rng(seed).uniform(1e-6, 0.3, size)
    steps = data.draw(st.integers(1, size - 1))
    kept = np.cumprod(1.0 - betas)
    grid = Grid.from_betas(steps, betas=betas)
    place = np.abs(kept[None] - grid.alpha[:, None] ** 2).argmin(1)
    np.testing.assert_allclose(grid.snr, (kept / (1.0 - kept))[place], rtol=1e-9)
    assert (place[0], place[-1]) == (size - 1, 0)
    assert np.ptp(np.diff(place)) <= 1
    np.testing.assert_allclose(snr_of_betas(betas), kept / (1.0 - kept), rtol=1e-9)


def test_ddpm_linear_is_its_table():
    np.testing.assert_array_equal(
        Grid.ddpm_linear(50).snr, Grid.from_betas(50, betas=np.linspace(1e-4, 0.02, 1000)).snr
    )


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        ([0.1, 1.0], "betas = 1.0: expected numbers strictly between 0 and 1"),
        ([0.1, 0.0], "betas = 0.0: expected numbers strictly"),
        ([0.1, float("nan")], "betas = nan: expected numbers strictly"),
        ([0.1], r"betas.shape = \(1,\): expected at least 2 values"),
        ([[0.1, 0.2]], r"betas.shape = \(1, 2\)"),
        ("linear", "betas = 'linear': expected numbers"),
    ],
)
def test_tables_that_are_refused(betas, message):
    with pytest.raises(ArgumentError, match=message):
        Grid.from_betas(1, betas=betas)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Grid.from_betas(2, betas=np.array([0.1, 0.2])), "steps = 2: expected fewer than the 2 levels"),
        (lambda: Grid.linear_beta(2, snr=SNR, beta=(2.0, 1.0)), r"beta = \(2.0, 1.0\): expected two numbers > 0"),
        (lambda: Grid.scaled_linear_beta(2, snr=SNR, beta=(0.0, 1.0)), "beta = 0.0: expected two numbers > 0"),
        (lambda: Grid.tangent(2, snr=SNR, variance=0.0), "variance = 0.0: expected a number > 0"),
        (lambda: schedule("karas", GAUSSIAN, 2, SNR), "schedule = 'karas': expected one of .*did you mean 'karras'"),
    ],
)
def test_schedules_that_are_refused(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


# ---- formulas by second expressions ------------------------------------------------------------


def test_uniform_sigma():
    sigma = Grid.uniform_sigma(30, snr=SNR, process="ve").sigma
    np.testing.assert_allclose(sigma, np.linspace(SNR[0] ** -0.5, SNR[1] ** -0.5, 31), rtol=1e-12)


@pytest.mark.parametrize("variance", [0.05, 1.0, 7.0])
def test_tangent_divides_an_arc(variance):
    """(√λ, σ) at equal angles: tan of the angle between neighbours by the difference formula."""
    slope = Grid.tangent(25, snr=SNR, variance=variance, process="ve").sigma / math.sqrt(variance)
    between = (slope[:-1] - slope[1:]) / (1.0 + slope[:-1] * slope[1:])
    np.testing.assert_allclose(between, between[0], rtol=1e-10)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    low=st.floats(-40.0, 40.0), width=st.floats(0.01, 30.0), offset=st.floats(-12.0, -0.01), steps=st.integers(2, 40)
)
def test_cosine_loses_no_digits(low, width, offset, steps):
    """Its definition in 150 digits, however far up or down the window lies."""
    snr, offset = (10**low, 10 ** (low + width)), 10**offset
    found = Grid.cosine(steps, snr=snr, offset=offset).snr
    with mpmath.workdps(150):
        clean = mpmath.cos(mpmath.mpf(offset) / (1 + mpmath.mpf(offset)) * mpmath.pi / 2)
        first, last = (mpmath.acos(clean * mpmath.sqrt(mpmath.mpf(g) / (1 + mpmath.mpf(g)))) for g in snr)
        kept = [(mpmath.cos(first + (last - first) * k / steps) / clean) ** 2 for k in range(steps + 1)]
        expected = [float(a / (1 - a)) for a in kept]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("steps", [3, 10, 40])
def test_tangent_is_ddims_best_grid_on_a_gaussian(steps):
    """Std ratio cos(Δθ)^K, so marginal KL ½(r² − 1 − log r²) a coordinate; moved levels do worse."""
    variance, dim = 0.6, 2
    grid = Grid.tangent(steps, snr=SNR, variance=variance)
    angle = math.atan((SNR[0] * variance) ** -0.5) - math.atan((SNR[1] * variance) ** -0.5)
    # DDIM keeps the mean and scales deviations from it; its law has the variance of p_K times r²
    square = math.cos(angle / steps) ** (2 * steps)
    expected = 0.5 * dim * (1.0 / square - 1.0 + math.log(square))
    found = float(kl.marginal(GAUSSIAN, samplers.ddim(grid)).value)
    assert found == pytest.approx(expected, rel=1e-8, abs=0)
    rng = np.random.default_rng(steps)
    for _ in range(10):
        moved = grid.snr.copy()
        moved[1:-1] *= np.exp(0.05 * rng.standard_normal(steps - 1) * np.diff(np.log(grid.snr))[1:])
        assert float(kl.marginal(GAUSSIAN, samplers.ddim(Grid.from_snr(moved))).value) > found


def test_rescaled_entropic_is_the_tangent_law_on_a_gaussian():
    for steps in (1, 7, 40):
        found = Grid.rescaled_entropic(GAUSSIAN, steps=steps, snr=SNR).snr
        np.testing.assert_allclose(found, Grid.tangent(steps, snr=SNR, variance=0.6).snr, rtol=1e-10)
        other = Grid.tangent(steps, snr=SNR, variance=1.0).snr
        assert steps == 1 or np.abs(found / other - 1.0).max() > 1e-2


LAWS = ["curved_mixture", "two_points", "anisotropic_gaussian", "orthogonal_points"]


@pytest.mark.parametrize("name", LAWS)
def test_entropic_steps_carry_equal_information(name):
    """By the mutual information at the levels."""
    target = get(name)
    levels = Grid.entropic(target, steps=17, snr=(1e-2, 50.0)).snr
    gained = np.diff(np.asarray(target.mutual_information(levels).value))
    np.testing.assert_allclose(gained, gained.mean(), rtol=max(1e-8, 2.0 * target.curve.bias))


@pytest.mark.parametrize("name", LAWS)
def test_sqrt_slope_steps_have_equal_length(name):
    """By the discretisation length of each step."""
    target = get(name)
    levels = Grid.sqrt_slope(target, steps=17, snr=(1e-2, 50.0)).snr
    lengths = [float(target.curve.discretisation_length(a, b).value) for a, b in pairwise(levels)]
    np.testing.assert_allclose(lengths, np.mean(lengths), rtol=1e-8)


@pytest.mark.parametrize("name", LAWS)
def test_align_your_steps(name):
    """Ten steps are the best grid; twenty and five are log-linear in its index."""
    ten = Grid.align_your_steps(get(name), steps=10, snr=SNR).snr
    np.testing.assert_allclose(ten, Grid.optimal(get(name), steps=10, snr=SNR).snr, rtol=1e-13)
    twenty = Grid.align_your_steps(get(name), steps=20, snr=SNR).snr
    np.testing.assert_allclose(twenty[::2], ten, rtol=1e-12)
    np.testing.assert_allclose(twenty[1::2], np.sqrt(ten[:-1] * ten[1:]), rtol=1e-12)
    np.testing.assert_allclose(Grid.align_your_steps(get(name), steps=5, snr=SNR).snr, ten[::2], rtol=1e-12)


def klub(target: Target, grid: Grid, draws: int, seed: int) -> tuple[float, float]:
    """½ Σ ∫ E‖m(γ) − m(γ_k)‖² dγ and its standard error: γ uniform in each step, Y_γ = γX + W_γ at both levels."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda: torch.randn((draws, target.dim), generator=generator, dtype=torch.float64)  # noqa: E731
    total, square = 0.0, 0.0
    for low, high in zip(grid.snr[:-1].tolist(), grid.snr[1:].tolist(), strict=True):
        clean = target.sample(draws, generator)
        early = low * clean + math.sqrt(low) * normal()
        # stratified in 16 slices of the step, all draws of a slice at one level
        parts = []
        for i in range(16):
            at = low + (high - low) * (i + float(torch.rand((), generator=generator, dtype=torch.float64))) / 16.0
            chosen = slice(i * draws // 16, (i + 1) * draws // 16)
            later = early[chosen] + (at - low) * clean[chosen] + math.sqrt(at - low) * normal()[chosen]
            means = [target.denoiser(y / g, Level.from_snr(g, "ve")) for y, g in ((later, at), (early[chosen], low))]
            parts.append((means[0] - means[1]).square().sum(-1))
        values = 0.5 * (high - low) * torch.cat(parts)
        total, square = total + float(values.mean()), square + float(values.var()) / len(values)
    return total, math.sqrt(square)


@pytest.mark.parametrize("name", LAWS)
def test_its_objective_is_the_path_kl(name):
    """The KLUB of Sabour et al. over joint draws of X and both states, within 4 standard errors (of less than 2%)."""
    target, grid = get(name), Grid.log_snr(6, snr=(0.05, 20.0))
    value, error = klub(target, grid, 8_000 if target.dim > 20 else 32_000, seed=len(name))
    exact = float(kl.path(target, samplers.ddpm(grid)).value)
    assert error < 0.02 * exact
    assert abs(value - exact) < 4.0 * error
    assert abs(value - 1.15 * exact) > 4.0 * error


# ---- all schedules ------------------------------------------------------------

windows = st.tuples(st.floats(-6.0, 16.0), st.floats(0.1, 6.0)).map(lambda p: (10 ** p[0], 10 ** (p[0] + p[1])))


@settings(derandomize=True, deadline=None, max_examples=50)
@example(steps=1, snr=(10000000.0, 31622776.60168379), name="align_your_steps", law="two_points")
@given(steps=st.integers(1, 90), snr=windows, name=st.sampled_from(sorted(SCHEDULES)), law=st.sampled_from(LAWS[:3]))
def test_every_schedule_hits_both_ends_and_ascends(steps, snr, name, law):
    grid = schedule(name, get(law), steps, snr)
    assert grid.steps == steps
    assert (grid.snr[0], grid.snr[-1]) == snr
    assert (np.diff(grid.snr) > 0).all()


@pytest.mark.parametrize("name", ["uniform_sigma", "tangent", "linear_beta", "scaled_linear_beta"])
def test_processes_agree(name):
    grids = [getattr(Grid, name)(20, snr=SNR, process=process) for process in ("vp", "ve", "flow")]
    for grid in grids:
        assert (grid.snr == grids[0].snr).all()
        np.testing.assert_allclose((grid.alpha / grid.sigma) ** 2, grid.snr, rtol=1e-14)


@pytest.mark.parametrize(
    "name", ["optimal", "recursion", "sqrt_slope", "entropic", "rescaled_entropic", "align_your_steps"]
)
def test_processes_agree_on_grids_of_a_law(name):
    grids = [getattr(Grid, name)(GAUSSIAN, steps=12, snr=SNR, process=process) for process in ("vp", "ve", "flow")]
    assert all((grid.snr == grids[0].snr).all() for grid in grids)
    assert [grid.process for grid in grids] == ["vp", "ve", "flow"]


@pytest.mark.parametrize("window", [(1e-4, 1e24), (1e-30, 1.0), (1e-30, 1e24)])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_extreme_windows(name, window):
    """No warning (warnings are errors here), both ends, ascending."""
    grid = schedule(name, GAUSSIAN, 10, window)
    assert (grid.snr[0], grid.snr[-1]) == window


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_point_has_every_schedule(name):
    assert schedule(name, Gaussian([2.0], [[0.0]]), 5, SNR).steps == 5

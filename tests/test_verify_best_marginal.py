"""Marginal-optimal grids: two closed forms on Gaussians at every K, and elsewhere no grid at hand that is better."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Gaussian, NotAvailableError, get
from verify import Grid, kl, samplers
from verify.kl.marginal import at_one_resolution

SNR = (0.02, 80.0)
LINE = get("curved_mixture")


def anything(value) -> Any:
    """`value` for a parameter whose type it does not have."""
    return value


def law(dim: int, variance: float) -> Gaussian:
    return Gaussian(np.linspace(-1.0, 0.7, dim), variance * np.eye(dim))


def angle(snr: np.ndarray, variance: float) -> np.ndarray:
    """θ with tan θ = 1/√(γλ)."""
    return np.arctan(1.0 / np.sqrt(variance * np.asarray(snr)))


def gap(ratio: float) -> float:
    """KL of N(0, v) from N(0, v·ratio), a coordinate."""
    return 0.5 * (1.0 / ratio - 1.0 + np.log(ratio))


def shortfall(b: np.ndarray) -> float:
    """r = Σ (b_k − b_{k+1})²/b_k / (1 − b_K): 1 − r is ddpm's sampled variance over the true one, b = 1/(1 + γλ)."""
    return float((np.diff(b) ** 2 / b[:-1]).sum() / (1.0 - b[-1]))


def best_for_ddpm(variance: float, steps: int, window: tuple[float, float] = SNR) -> np.ndarray:
    """b_k of the grid where ∂r/∂b_k = 0: ρ_{k−1} = (1 + ρ_k²)/2, ρ_k = b_{k+1}/b_k, with the right product."""
    first, last = 1.0 / (1.0 + variance * np.array(window))

    def ratios(smallest: float) -> np.ndarray:
        rho = [smallest]
        for _ in range(steps - 1):
            rho.append(0.5 * (1.0 + rho[-1] ** 2))
        return np.array(rho[::-1])

    low, high = 0.0, 1.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if ratios(middle).prod() < last / first else (low, middle)
    return first * np.concatenate([[1.0], np.cumprod(ratios(low))])


# ---- Gaussians -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "dim", "variance"),
    [(1, 1, 0.25), (2, 1, 4.0), (5, 3, 0.25), (16, 1, 0.25), pytest.param(64, 1, 0.7, marks=pytest.mark.slow)],
)
def test_ddim_has_equal_steps_of_the_angle(steps, dim, variance):
    """σ/α = √λ tan θ with θ linear; the sampled over the true standard deviation is Π cos Δθ."""
    found = kl.marginal_optimal(law(dim, variance), samplers.ddim, steps=steps, snr=SNR)
    first, last = angle(np.array(SNR), variance)
    theta = np.linspace(first, last, steps + 1)
    np.testing.assert_allclose(angle(found.grid.snr, variance), theta, atol=1e-5)
    best = dim * gap(np.cos(np.diff(theta)).prod() ** 2)
    assert float(found.value) == pytest.approx(best, rel=1e-8, abs=0)
    assert found.agreeing == len(found.starts)


@pytest.mark.parametrize(
    ("steps", "dim", "variance"),
    [(2, 1, 4.0), (5, 3, 0.25), (16, 1, 0.25), pytest.param(64, 1, 0.7, marks=pytest.mark.slow)],
)
def test_ddpm_follows_its_recursion(steps, dim, variance):
    """The stationary grid of r, a convex function of b: the global minimum at every K."""
    found = kl.marginal_optimal(law(dim, variance), samplers.ddpm, steps=steps, snr=SNR)
    b = best_for_ddpm(variance, steps)
    np.testing.assert_allclose(1.0 / (1.0 + variance * found.grid.snr), b, atol=1e-5)
    assert float(found.value) == pytest.approx(dim * gap(1.0 - shortfall(b)), rel=1e-8, abs=0)
    assert found.agreeing == len(found.starts) == 4


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 40), variance=st.floats(0.01, 50.0))
def test_what_is_minimised_is_the_closed_form(seed, steps, variance):
    """Both ratios on random grids, against the carried moments."""
    inner = np.sort(np.random.default_rng(seed).uniform(np.log(SNR[0]), np.log(SNR[1]), steps - 1))
    grid = Grid.from_snr(np.concatenate([SNR[:1], np.exp(inner), SNR[1:]]))
    b, theta = 1.0 / (1.0 + variance * grid.snr), angle(grid.snr, variance)
    ratios = {samplers.ddpm: 1.0 - shortfall(b), samplers.ddim: np.cos(np.diff(theta)).prod() ** 2}
    for sampler, ratio in ratios.items():
        value = at_one_resolution(law(2, variance), sampler(grid), "exact")
        assert value == pytest.approx(2 * gap(ratio), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_sine_of_the_angle_becomes_linear(variance):
    """√b_k departs from a line by c/K: halved by a doubling of K, far below the departure of the path's grid."""
    away = []
    for steps in (8, 16, 32, 64, 128, 256, 512):
        sine = np.sqrt(best_for_ddpm(variance, steps))
        away.append(np.abs(sine - np.linspace(sine[0], sine[-1], steps + 1)).max())
    np.testing.assert_allclose(np.array(away[:-1]) / away[1:], 2.0, rtol=0.12)
    np.testing.assert_allclose(np.array(away[-3:-1]) / away[-2:], 2.0, rtol=0.02)
    path = np.sqrt(1.0 / (1.0 + variance * Grid.optimal(law(1, variance), steps=512, snr=SNR).snr))
    assert np.abs(path - np.linspace(path[0], path[-1], 513)).max() > 50 * away[-1]


def test_three_different_grids():
    """Path KL of ddpm, marginal KL of ddpm, marginal KL of ddim: each grid is best by its own measure and by no other."""
    target, steps = law(1, 0.25), 12
    grids = {
        "path": Grid.optimal(target, steps=steps, snr=SNR),
        "ddpm": kl.marginal_optimal(target, samplers.ddpm, steps=steps, snr=SNR).grid,
        "ddim": kl.marginal_optimal(target, samplers.ddim, steps=steps, snr=SNR).grid,
    }
    measures = {
        "path": lambda grid: kl.path(target, samplers.ddpm(grid)),
        "ddpm": lambda grid: kl.marginal(target, samplers.ddpm(grid)),
        "ddim": lambda grid: kl.marginal(target, samplers.ddim(grid)),
    }
    for own, measure in measures.items():
        values = {name: float(measure(grid)) for name, grid in grids.items()}
        assert all(value > 1.02 * values[own] for name, value in values.items() if name != own), (own, values)


def test_the_grid_belongs_to_the_law_and_not_to_its_scaling():
    """ddpm's snr grid is the same in vp and ve, and for one coordinate or three; the KL is three times as large."""
    one = kl.marginal_optimal(law(1, 0.3), samplers.ddpm, steps=4, snr=SNR)
    for dim, process in ((1, "ve"), (3, "vp")):
        other = kl.marginal_optimal(law(dim, 0.3), samplers.ddpm, steps=4, snr=SNR, process=process)
        assert other.grid.process == process
        np.testing.assert_allclose(other.grid.snr, one.grid.snr, rtol=1e-4)
        assert float(other.value) == pytest.approx(dim * float(one.value), rel=1e-8, abs=0)


# ---- other laws ------------------------------------------------------------------------------------------------------


@lru_cache
def curved(steps: int, snr: tuple[float, float]) -> kl.MarginalOptimum:
    return kl.marginal_optimal(LINE, samplers.ddpm, steps=steps, snr=snr)


def shaped(integral: np.ndarray, u: np.ndarray, steps: int) -> Grid:
    """Equal parts of an integral known at log γ = u."""
    inner = np.interp(np.linspace(integral[0], integral[-1], steps + 1)[1:-1], integral, u)
    return Grid.from_snr(np.exp(np.concatenate([u[:1], inner, u[-1:]])))


@pytest.mark.parametrize("steps", [5, pytest.param(16, marks=pytest.mark.slow)])
def test_curved_mixture_beats_the_schedules(steps):
    """Below the log-snr, tangent, Karras and path-shaped (∫√(−mmse′)) grids, and the starts agree."""
    window = (0.1, 10.0) if steps == 5 else (0.01, 100.0)
    found = curved(steps, window)
    assert found.agreeing == len(found.starts) == 4
    u = np.linspace(np.log(window[0]), np.log(window[1]), 4001)
    weight = np.exp(u) * np.sqrt(np.asarray(LINE.curve.slope(np.exp(u)).value))
    variance = LINE.second_moment - float(LINE.mean[0]) ** 2
    others = {
        "log_snr": Grid.log_snr(steps, snr=window),
        "karras": Grid.karras(steps, snr=window),
        "tangent": shaped(-angle(np.exp(u), variance), u, steps),
        "path": shaped(np.concatenate([[0.0], np.cumsum(weight[1:] + weight[:-1])]), u, steps),
    }
    for name, grid in others.items():
        assert float(kl.marginal(LINE, samplers.ddpm(grid))) > 1.005 * float(found.value), name


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), size=st.floats(0.01, 0.5))
def test_no_perturbation_of_the_curved_mixtures_grid_is_better(seed, size):
    """Steps shaken at random: the marginal KL rises."""
    found = curved(5, (0.1, 10.0))
    logs = np.log(found.grid.snr)
    steps = np.diff(logs) * np.exp(size * np.random.default_rng(seed).standard_normal(5))
    inner = logs[0] + (logs[-1] - logs[0]) * (np.cumsum(steps) / steps.sum())[:-1]
    shaken = Grid.from_snr(np.concatenate([found.grid.snr[:1], np.exp(inner), found.grid.snr[-1:]]))
    assert float(kl.marginal(LINE, samplers.ddpm(shaken))) > float(found.value)


@pytest.mark.parametrize(("steps", "window"), [(3, (0.1, 5.0)), pytest.param(8, (0.01, 100.0), marks=pytest.mark.slow)])
def test_sphere_in_a_hundred_dimensions(steps, window):
    """By the radius; below the log-snr grid, and the starts agree."""
    target = get("sphere", dim=100)
    found = kl.marginal_optimal(target, samplers.ddpm, steps=steps, snr=window)
    plain = kl.marginal(target, samplers.ddpm(Grid.log_snr(steps, snr=window)))
    assert float(plain) > 1.1 * float(found.value)
    assert found.agreeing == len(found.starts)
    assert "radial" in found.value.method


def test_deterministic_tables_on_the_line_and_starts():
    """ddim from the prior: the result is reported by `kl.marginal` itself, with its bias."""
    found = kl.marginal_optimal(LINE, samplers.ddim, steps=3, snr=(0.05, 20.0), start="prior")
    again = kl.marginal(LINE, samplers.ddim(found.grid), start="prior")
    assert (found.value.value, found.value.bias) == (again.value, again.bias)
    assert repr(found) == f"MarginalOptimum(3 steps, {again!r}, {found.agreeing} of 4 starts agree)"
    plain = kl.marginal(LINE, samplers.ddim(Grid.log_snr(3, snr=(0.05, 20.0))), start="prior")
    assert float(found.value) < float(plain)


def test_jain_zhang_on_a_grid_with_one_level_more():
    """It stops at the window's end when given `grid.beyond()`, and is refused with that advice when it is not."""
    target = law(1, 0.25)
    found = kl.marginal_optimal(target, lambda grid: samplers.jain_zhang(grid.beyond()), steps=4, snr=SNR)
    plain = kl.marginal(target, samplers.jain_zhang(Grid.log_snr(4, snr=SNR).beyond()))
    assert float(found.value) < 0.7 * float(plain)
    with pytest.raises(ArgumentError, match=r"last snr of sampler\(grid\) = .*window's, 80; .*grid.beyond\(\)"):
        kl.marginal_optimal(target, samplers.jain_zhang, steps=4, snr=SNR)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, -3, 2.5, None, True])
def test_steps(steps):
    with pytest.raises(ArgumentError, match=r"steps = .*expected an integer >= 1"):
        kl.marginal_optimal(LINE, samplers.ddpm, steps=steps, snr=SNR)


@pytest.mark.parametrize("snr", [(2.0, 1.0), (0.0, 1.0), (1.0,), (1.0, 2.0, 3.0), (1.0, np.inf), "ab", None])
def test_window(snr):
    with pytest.raises(ArgumentError, match="snr"):
        kl.marginal_optimal(LINE, samplers.ddpm, steps=3, snr=snr)


def test_sampler():
    for wrong in ("ddpm", None, samplers.ddpm(Grid.log_snr(3, snr=SNR))):
        with pytest.raises(ArgumentError, match=r"(?s)sampler = .*: expected a function from Grid to Table"):
            kl.marginal_optimal(LINE, anything(wrong), steps=3, snr=SNR)
    with pytest.raises(ArgumentError, match=r"sampler\(grid\) = 7: expected a table"):
        kl.marginal_optimal(LINE, anything(lambda _: 7), steps=3, snr=SNR)
    with pytest.raises(ArgumentError, match=r"first snr of sampler\(grid\) = .*window's, 0.02"):
        kl.marginal_optimal(
            LINE, lambda grid: samplers.ddpm(Grid.from_snr(grid.snr[1:], grid.process)), steps=3, snr=SNR
        )


def test_other_arguments():
    with pytest.raises(ArgumentError, match="target = 'digits': expected a target"):
        kl.marginal_optimal(anything("digits"), samplers.ddpm, steps=3, snr=SNR)
    with pytest.raises(ArgumentError, match=r"start = 'priors'.*did you mean 'prior'"):
        kl.marginal_optimal(LINE, samplers.ddpm, steps=3, snr=SNR, start="priors")
    with pytest.raises(ArgumentError, match="process = 'vpp'"):
        kl.marginal_optimal(LINE, samplers.ddpm, steps=3, snr=SNR, process="vpp")
    with pytest.raises(ArgumentError, match=r"grid.process = 've': expected 'vp'"):
        kl.marginal_optimal(LINE, samplers.ei_sde, steps=3, snr=SNR, process="ve")


@pytest.mark.parametrize(
    ("name", "sampler"),
    [("digits", samplers.ddpm), ("codebook", samplers.ddim), ("curved_mixture", samplers.sde_dpmpp_2m)],
)
def test_sampled_marginals_are_refused_before_work_starts(name, sampler, monkeypatch):
    """Noise on a law of many dimensions, a sampled flow, a noisy multistep table."""
    monkeypatch.setattr("verify.kl.best_marginal.marginal", None)
    monkeypatch.setattr("verify.kl.best_marginal.at_one_resolution", None)
    with pytest.raises(NotAvailableError, match=r"marginal_optimal of .* on .*sampled or not available.*; available: "):
        kl.marginal_optimal(get(name), sampler, steps=3, snr=SNR)


def test_a_kl_at_its_own_error_is_refused():
    """A point mass is reproduced exactly on every grid."""
    with pytest.raises(NotAvailableError, match=r"at 3 steps the marginal KL can be as low as .*its own error"):
        kl.marginal_optimal(get("point_mass", point=[1.0]), samplers.ddpm, steps=3, snr=SNR)


@pytest.mark.parametrize("sampler", [samplers.dpmpp_2m, samplers.exponential_ab2])
def test_errors_that_cancel_are_refused(sampler):
    """The variance of a multistep method's last state is too large on some grids and too small on others."""
    with pytest.raises(NotAvailableError, match=r"opposite signs and cancel on some grids of 6 steps.*no best grid"):
        kl.marginal_optimal(law(1, 0.25), sampler, steps=6, snr=SNR)

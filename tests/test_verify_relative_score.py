"""The sampler that freezes the score relative to N(0, 1): its table, its path KL by other routes, the bound on it.

The equations for Gaussians and laws on the line are in test_verify_path.py, with those of the other discretisations.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.linalg import expm

from targets import ArgumentError, Gaussian, NotAvailableError, get
from verify import Grid, bounds, kl, samplers
from verify.carry.moments import moments
from verify.identities import point_mass_defect, translation_defect
from verify.kl.path import discretisation
from verify.oracle import ConstantBias, ErrorMoments, Exact, RandomField, ScaleError

TIMES = (1.0, 0.5, 0.2)


def ou_grid(*times: float) -> Grid:
    return Grid.from_snr(1.0 / np.expm1(2.0 * np.array(times)))


def table(*times: float):
    return samplers.relative_score(ou_grid(*times))


def path(target, built, **options) -> float:
    return float(kl.path(target, built, **options).value)


# ---- the table ---------------------------------------------------------------------------------------------------------


def test_it_solves_the_frozen_linear_sde():
    """dx = (−x + 2s̃) du + √2 dW with s̃ = s + x held: matrix exponential for the mean, quadrature for the variance."""
    built, t = table(3.0, 1.4, 0.9, 0.2), np.array([3.0, 1.4, 0.9, 0.2])
    for k, length in enumerate(-np.diff(t)):
        for x, m, coefficient in ((1.0, 0.0, built.state[k]), (0.0, 1.0, built.outputs[k, 0])):
            frozen = (built.alpha[k] * m - x) / built.sigma[k] ** 2 + x
            flow = expm(length * np.array([[-1.0, 2.0], [0.0, 0.0]]))
            assert coefficient == pytest.approx(flow[0] @ [x, frozen], rel=1e-12)
        variance = quad(lambda u: 2 * np.exp(-2 * u), 0.0, length, epsabs=0, epsrel=1e-13)[0]
        assert built.noise[k] ** 2 == pytest.approx(variance, rel=1e-12)
    assert discretisation(built) == "relative_score"


def test_it_keeps_the_standard_normal_and_no_point_mass():
    """N(0, I) → N(0, I) at any step; a point mass, and with it translation, only to second order."""
    built = table(3.0, 1.0, 0.2)
    law = moments(built, Exact(Gaussian([0.0, 0.0], np.eye(2))), "exact")
    np.testing.assert_allclose(law.variance, 1.0, rtol=1e-14)
    assert not built.method.identities
    assert point_mass_defect(built) > 0.1
    assert translation_defect(built) > 0.1
    fine = [translation_defect(table(1.0, 1.0 - h)) for h in (0.02, 0.01)]
    assert fine[0] / fine[1] == pytest.approx(4.0, rel=0.05)


def test_only_on_vp_grids():
    with pytest.raises(ArgumentError, match=r"grid\.process = 've': expected 'vp'"):
        samplers.relative_score(Grid.log_snr(3, snr=(0.1, 4.0), process="ve"))


# ---- path KL -----------------------------------------------------------------------------------------------------------


def gaussian_step(mu: float, lam: float, early: float, late: float) -> float:
    """∫ E|s̃_t − s̃_k|² dt by quadrature of exact covariances, s̃ = αμ + g(x − αμ), g = 1 − 1/v = α²(λ − 1)/v."""

    def integrand(t):
        v, v_k = 1 + np.exp(-2 * t) * (lam - 1), 1 + np.exp(-2 * early) * (lam - 1)
        g, g_k, rho = np.exp(-2 * t) * (lam - 1) / v, np.exp(-2 * early) * (lam - 1) / v_k, np.exp(t - early)
        drift = (np.exp(-t) - np.exp(-early)) * mu
        return drift**2 + v * (g - rho * g_k) ** 2 + (1 - rho**2) * g_k**2

    return quad(integrand, late, early, epsabs=0.0, epsrel=1e-12, limit=200)[0]


@pytest.mark.parametrize("times", [(5.0, 1e-3), (0.3, 0.299), (4.0, 3.999), (8.0, 7.0)])
@pytest.mark.parametrize("steps", [1, 7])
def test_near_and_at_the_invariant_law(times, steps):
    """N(0, 1): nothing, at any length of step.  Beside it the integral, though it is 1e-4 of ei_sde's path KL or less."""
    grid = Grid.uniform_ou_time(steps, ou_time=times)
    built = samplers.relative_score(grid)
    nothing = kl.path(Gaussian(np.zeros(3), np.eye(3)), built)
    assert abs(float(nothing.value)) <= float(nothing.bias) < 2e-11
    for mu, lam in ((0.0, 1.01), (0.02, 1.0), (0.0, 0.99), (2.0, 1.0)):
        expected = sum(gaussian_step(mu, lam, a, b) for a, b in pairwise(grid.ou_time))
        got = kl.path(Gaussian([mu], [[lam]]), built)
        assert abs(float(got.value) - expected) <= float(got.bias) + 1e-10 * expected
        assert got.bias < 4e-12


@pytest.mark.parametrize("name", ["curved_mixture", "sphere", "codebook", "anisotropic_gaussian"])
@pytest.mark.parametrize("times", [(4.0, 1.5, 0.9, 0.02), (0.31, 0.3), (1e-2, 5e-3, 1e-3)])
def test_against_the_frozen_score(name, times):
    """path(relative) − path(ei_sde) = Σ [A{½(e^{2Δ} − 1) − Δ} − 2g(e^Δ − 1 − Δ) − 2E(e^Δ + e^{−Δ} − 2)].

    A = (E‖X‖² − d)e^{−2t}, g = A − d = I − E, E = E‖s‖²: integrals over u of E‖x_t‖² and E⟨x, s⟩, taken as they come.
    """
    target, grid = get(name), ou_grid(*times)
    snr, t = grid.snr[:-1], grid.ou_time
    delta = -np.diff(t)
    fisher = (1 + snr) * (target.dim - snr * target.mmse(snr).value)
    square = (target.second_moment - target.dim) * np.exp(-2 * t[:-1])
    apart = square * (np.expm1(2 * delta) / 2 - delta) - 2 * (square - target.dim) * (np.expm1(delta) - delta)
    apart = apart - 2 * fisher * (np.expm1(delta) + np.expm1(-delta))
    one, other = (kl.path(target, build(grid)) for build in (samplers.relative_score, samplers.ei_sde))
    allowed = float(one.bias) + float(other.bias) if float(one.stderr) else 1e-12
    assert float(one.value) - float(other.value) == pytest.approx(apart.sum(), rel=1e-8, abs=allowed)


ORACLES = {
    "exact": Exact,
    "bias": lambda target: ConstantBias(target, np.linspace(0.4, -0.3, target.dim)),
    "scale": lambda target: ScaleError(target, 0.3),
    "field": lambda target: RandomField(target, lambda snr: 1.0 / (1.0 + snr), seed=3),
}
TARGETS = {"curved_mixture": get("curved_mixture"), "codebook": get("codebook", n=16, dim=6), "sphere": get("sphere")}


def simulated(target, oracle):
    return kl.simulated_path(target, table(*TIMES), n=60_000, generator=torch.Generator().manual_seed(5), oracle=oracle)


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("target", TARGETS)
def test_against_simulation(target, kind):
    """Girsanov's integral by draws, no mmse curve: 4 standard errors of 32 replicates (12 comparisons, 4e-4 each)."""
    target = TARGETS[target]
    oracle = ORACLES[kind](target)
    mean, got = simulated(target, oracle), kl.path(target, table(*TIMES), oracle=oracle)
    assert abs(float(got.value) - float(mean.value)) <= 4 * np.hypot(float(mean.stderr), float(got.stderr))


class WithoutCross(RandomField):
    """Declares no correlation with the state and the denoiser."""

    def moments(self, alpha, sigma):
        zero = np.zeros(len(alpha))
        return ErrorMoments(super().moments(alpha, sigma).square, zero, zero)


class SquareOnly(RandomField):
    """Declares E‖ε‖² alone."""

    def moments(self, alpha, sigma):
        return ErrorMoments(super().moments(alpha, sigma).square, None, None)


def test_simulation_needs_the_cross_terms():
    target = TARGETS["curved_mixture"]
    oracle = WithoutCross(target, lambda snr: 1.0 / (1.0 + snr), seed=3)
    mean = simulated(target, oracle)
    assert abs(path(target, table(*TIMES), oracle=oracle) - float(mean.value)) > 4 * float(mean.stderr)
    with pytest.raises(NotAvailableError, match=r"path KL of relative_score: .*reverse.*ddpm"):
        path(target, table(*TIMES), oracle=SquareOnly(target, lambda snr: 1.0 / (1.0 + snr), seed=3))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("times", [(4.0, 0.05), TIMES, (2.0, 1.9, 0.01)])
def test_chain_is_below_path(name, times):
    """Data processing; equal in the limit of no steps only."""
    target = TARGETS[name]
    assert 0 < float(kl.chain(target, table(*times)).value) < path(target, table(*times))


# ---- the bound ---------------------------------------------------------------------------------------------------------


def test_relative_fisher_on_gaussians():
    """N(μ, λ): α²μ² + v(1 − 1/v)², v = 1 + α²(λ − 1)."""
    mu, lam, snr = np.array([1.0, 0.0, -2.0]), np.array([0.3, 1.0, 0.0]), np.array([0.05, 1.0, 40.0])
    alpha2 = (snr / (1 + snr))[:, None]
    v = 1 + alpha2 * (lam - 1)
    expected = (alpha2 * mu**2 + v * (1 - 1 / v) ** 2).sum(1)
    np.testing.assert_allclose(bounds.relative_fisher(Gaussian(mu, np.diag(lam)), snr).value, expected, rtol=1e-11)


@pytest.mark.parametrize("name", TARGETS)
def test_relative_fisher_is_the_mean_square_of_the_relative_score(name):
    """By draws of the vp state, 4 standard errors (6e-5)."""
    target, grid = TARGETS[name], ou_grid(1.0, 0.4)
    at = grid.levels[1]
    x = target.sample(40_000, torch.Generator().manual_seed(2))
    x = at.alpha * x + at.sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    square = (target.score(x, at) + x).square().sum(-1)
    found = bounds.relative_fisher(target, grid.snr[1:])
    value, stderr = np.ravel(found.value), np.ravel(found.stderr)
    assert abs(float(square.mean()) - value[0]) <= 4 * np.hypot(float(square.std()) / 200.0, stderr[0])


@pytest.mark.parametrize("name", TARGETS)
def test_conforti_bound_at_every_k(name):
    """path ≤ h(I_K − I_0); of the order of half of it on equal fine steps, and by hand on three."""
    target = TARGETS[name]
    grid = ou_grid(2.0, 1.0, 0.7, 0.1)
    ends = np.asarray(bounds.relative_fisher(target, grid.snr[[0, -1]]).value)
    assert float(bounds.conforti(grid, target).value) == pytest.approx(1.0 * (ends[1] - ends[0]), rel=1e-9)
    for steps in (1, 2, 5, 20, 400):
        grid = Grid.uniform_ou_time(steps, ou_time=(2.0, 0.1))
        ratio = path(target, samplers.relative_score(grid)) / float(bounds.conforti(grid, target).value)
        assert 0 < ratio < 1
    assert ratio < 0.5

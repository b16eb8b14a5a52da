"""Posteriors, entropies and Gaussian curves against second paths that share only the law's parameters.

The second paths: 50-digit arithmetic on the definition of a mixture's posterior, differences of atoms summed
explicitly, enumeration of products, dense linear algebra, and scipy's adaptive quadrature.
"""

from __future__ import annotations

import math

import contracts
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from targets import Discrete, Embedded, Gaussian, GaussianMixture, Level, Rotated, Target, get

EPS = contracts.EPS
STEADY = settings(derandomize=True, deadline=None, max_examples=40)
EXTREME_SNR = (1e-8, 1e-3, 1.0, 1e4, 1e8, 1e12)

mpmath.mp.dps = 50

Parameters = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(weights, means, covariances); atoms have covariance zero."""


def posterior(parameters: Parameters, y: np.ndarray, at: Level) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """(log density, mean, covariance, score) at y by the definition, in 50 digits."""
    alpha, sigma, state = mpmath.mpf(at.alpha), mpmath.mpf(at.sigma), mpmath.matrix(y.tolist())
    dim = len(y)
    logs, means, within = [], [], []
    for w, mu, c in zip(*parameters, strict=True):
        mu, c = mpmath.matrix(mu.tolist()), mpmath.matrix(c.tolist())
        total = alpha**2 * c + sigma**2 * mpmath.eye(dim)
        inverse, apart = total**-1, state - alpha * mu
        quadratic = (apart.T * inverse * apart)[0]
        logs.append(mpmath.log(w) - (quadratic + mpmath.log(mpmath.det(total)) + dim * mpmath.log(2 * mpmath.pi)) / 2)
        means.append(mu + alpha * c * inverse * apart)
        within.append(c - alpha**2 * c * inverse * c)
    top = max(logs)
    shares = [mpmath.exp(v - top) for v in logs]
    norm = mpmath.fsum(shares)
    mean, covariance = mpmath.matrix(dim, 1), mpmath.matrix(dim, dim)
    for r, m in zip(shares, means, strict=True):
        mean += r / norm * m
    for r, m, c in zip(shares, means, within, strict=True):
        covariance += r / norm * (c + (m - mean) * (m - mean).T)
    score = (alpha * mean - state) / sigma**2
    return float(top + mpmath.log(norm)), as_array(mean)[:, 0], as_array(covariance), as_array(score)[:, 0]


def as_array(matrix) -> np.ndarray:
    return np.array(matrix.tolist(), dtype=np.float64)


def atoms(law: Discrete) -> Parameters:
    return law.weights.numpy(), law.atoms.numpy(), np.zeros((len(law.atoms), law.dim, law.dim))


def assert_posterior(law: Target, parameters: Parameters, y: Tensor, at: Level) -> None:
    """Relative 1e-9, plus what rounding of the inputs or of the stated formulas costs.

    log density: expanding ‖y − αa‖²/σ² costs eps‖y‖²/σ² (differences are used on the line, but then α·a is rounded).
    score: eps‖y‖/σ².  Covariance with unlike components: u_i = σ²P_i(c_i − y/α), squared and differenced, costs
    eps·max‖u_i‖²; with one shared covariance (atoms among them) nothing.
    """
    reach = float(y.norm()) + at.alpha * float(np.abs(parameters[1]).max())
    smallest = float(np.linalg.eigvalsh(parameters[2]).min())
    unlike = not np.array_equal(parameters[2], np.broadcast_to(parameters[2][0], parameters[2].shape))
    lever = reach / at.alpha / (1.0 + at.snr * max(smallest, 0.0))
    lost = 64 * EPS * lever**2 if unlike else 0.0
    log_density, mean, covariance, score = posterior(parameters, y.numpy(), at)
    state, probe = y[None], contracts.normal((1, law.dim), 3)
    expanded = 16 * EPS * reach**2 / (at.sigma**2 + at.alpha**2 * max(smallest, 0.0))
    assert abs(float(law.log_prob(state, at)) - log_density) <= 1e-9 * (1.0 + abs(log_density)) + expanded
    scale = math.sqrt(law.second_moment)
    assert np.abs(law.denoiser(state, at).numpy()[0] - mean).max() <= 1e-9 * np.abs(mean).max() + 16 * EPS * scale
    rounded = 16 * EPS * reach / at.sigma**2
    assert np.abs(law.score(state, at).numpy()[0] - score).max() <= 1e-9 * np.abs(score).max() + rounded
    trace = float(law.posterior_trace(state, at))
    assert abs(trace - np.trace(covariance)) <= 1e-7 * np.trace(covariance) + lost + 1e-300
    product = law.posterior_covariance_product(state, probe, at).numpy()[0]
    length = float(probe.norm())
    allowed = 1e-7 * np.linalg.norm(covariance) * length + lost * length + 1e-300
    assert np.linalg.norm(product - covariance @ probe.numpy()[0]) <= allowed


def numbers(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


W = np.array([0.5, 0.3, 0.2])
MEANS = 1.5 * numbers(3, 3, seed=1)
FULL = np.stack([0.05 * np.eye(3) + b @ b.T / 3.0 for b in numbers(3, 3, 3, seed=3)])
PLANAR = numbers(6, 2, seed=6) @ numbers(2, 3, seed=7) + 1.0
EYE = np.broadcast_to(np.eye(3), (3, 3, 3))

KNOWN: dict[str, tuple[Target, Parameters]] = {
    "gaussian": (Gaussian(MEANS[0], FULL[0]), (np.ones(1), MEANS[:1], FULL[:1])),
    "null_direction": (
        Gaussian(MEANS[0], np.diag([0.0, 1.0, 4.0])),
        (np.ones(1), MEANS[:1], np.diag([0.0, 1, 4])[None]),
    ),
    "full": (GaussianMixture(W, MEANS, FULL), (W, MEANS, FULL)),
    "isotropic": (GaussianMixture.isotropic(W, MEANS, W), (W, MEANS, W[:, None, None] * EYE)),
    "isotropic_shared": (GaussianMixture.isotropic(W, MEANS, 0.09), (W, MEANS, 0.09 * EYE)),
    "shared": (GaussianMixture.shared(W, MEANS, FULL[0]), (W, MEANS, np.broadcast_to(FULL[0], (3, 3, 3)))),
    "curved": (
        get("curved_mixture"),
        (W, np.array([[-1.0], [0.8], [2.5]]), np.array([0.04, 0.16, 0.01])[:, None, None]),
    ),
    "rotated": (
        Rotated(GaussianMixture.shared(W, MEANS, np.diag([0.1, 0.4, 0.9])), np.eye(3)[[1, 2, 0]]),
        (W, MEANS[:, [1, 2, 0]], np.broadcast_to(np.diag([0.4, 0.9, 0.1]), (3, 3, 3))),
    ),
    **{
        name: (target, atoms(target))
        for name, target in {
            "two_points": Discrete([[-1.0], [1.0]], [0.7, 0.3]),
            "rare_bit": Discrete([[0.0], [1.0]], [1.0 - 1e-6, 1e-6]),
            "codebook": Discrete(numbers(12, 3, seed=9), np.full(12, 1 / 12)),
            "planar": Discrete(PLANAR, np.full(6, 1 / 6)),
            "nested_scales": Discrete(np.array([0.0, 1, 32, 33, 1024, 1025])[:, None], np.full(6, 1 / 6)),
            "heavy_tail": Discrete(30.0 ** -np.arange(1.0, 6.0)[:, None], np.full(5, 0.2)),
        }.items()
    },
}


@pytest.mark.parametrize("snr", EXTREME_SNR)
@pytest.mark.parametrize("name", KNOWN)
def test_posterior_against_50_digits(name, snr):
    """Two typical states and one 15 standard deviations outside the support."""
    law, parameters = KNOWN[name]
    at = Level.from_snr(snr)
    typical = contracts.states(law, at, 2, seed=70)[1]
    far = at.alpha * (law.mean + 15.0 * math.sqrt(law.total_variance)) + 15.0 * at.sigma
    for y in (*typical, far):
        assert_posterior(law, parameters, y, at)


@st.composite
def random_parameters(draw: st.DrawFn, blurred: bool) -> Parameters:
    dim, count = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    w = rng.dirichlet(np.full(count, 0.5)) + 1e-12
    means = rng.standard_normal((count, dim)) * 10.0 ** draw(st.integers(-2, 2))
    roots = rng.standard_normal((count, dim, dim)) * blurred
    return w / w.sum(), means, roots @ roots.mT + 0.01 * blurred * np.eye(dim)


@STEADY
@given(random_parameters(blurred=False), st.floats(-6.0, 6.0), st.integers(0, 99))
def test_random_atoms(parameters, exponent, seed):
    law = Discrete(parameters[1], parameters[0])
    at = Level.from_snr(10.0**exponent)
    assert_posterior(law, atoms(law), contracts.states(law, at, 1, seed=seed)[1][0], at)


@STEADY
@given(random_parameters(blurred=True), st.floats(-6.0, 6.0), st.integers(0, 99))
def test_random_mixtures(parameters, exponent, seed):
    law = GaussianMixture(*parameters)
    at = Level.from_snr(10.0**exponent)
    assert_posterior(law, parameters, contracts.states(law, at, 1, seed=seed)[1][0], at)


@pytest.mark.parametrize("snr", EXTREME_SNR)
def test_a_thousand_dimensions_against_explicit_differences(snr):
    """Fifty atoms in R^1000 by a log-sum-exp over explicit differences; the posterior between the two nearest."""
    places, w = (
        torch.as_tensor(numbers(50, 1000, seed=20)),
        torch.as_tensor(np.random.default_rng(1).dirichlet(np.ones(50))),
    )
    law, at = Discrete(places.numpy(), w.numpy()), Level.from_snr(snr)
    draws = contracts.states(law, at, 3, seed=71)[1]
    middle = at.alpha * places[:2].mean(0) + 1e-3 * at.sigma**2 / at.alpha * (places[0] - places[1])
    for y in (*draws, middle, 15.0 * at.alpha * places[0] + 15.0 * at.sigma):
        logits = w.log() - 0.5 * ((y - at.alpha * places) / at.sigma).square().sum(1)
        share = logits.softmax(0)
        mean = share @ places
        spread = 0.5 * (share[:, None] * share * torch.cdist(places, places).square()).sum()
        log_density = float(logits.logsumexp(0)) - 500.0 * math.log(2.0 * math.pi * at.sigma**2)
        lost = 16 * EPS * float(y.norm()) * 40.0 * at.alpha / at.sigma**2
        assert abs(float(law.log_prob(y, at)) - log_density) <= 1e-10 * abs(log_density) + 40 * lost
        tie = min(1.0, lost) * float(places.norm(dim=1).max())
        assert float((law.denoiser(y, at) - mean).norm()) <= 1e-9 * float(mean.norm()) + tie
        allowed = 1e-8 * float(spread) + 4000.0 * min(1.0, lost)
        assert abs(float(law.posterior_trace(y, at)) - float(spread)) <= allowed


@pytest.mark.parametrize("snr", EXTREME_SNR)
def test_a_thousand_dimensions_of_gaussian_and_of_nothing(snr):
    """N(m, diag λ) in R^1000 by its scalar formulas, and three dimensions embedded in a thousand."""
    variances, at = np.geomspace(1e-4, 1e4, 1000), Level.from_snr(snr)
    centre = numbers(1000, seed=21)
    law = Gaussian(centre, np.diag(variances))
    y = at.alpha * centre + 15.0 * np.sqrt(at.alpha**2 * variances + at.sigma**2)
    total = at.alpha**2 * variances + at.sigma**2
    state = torch.as_tensor(y)
    np.testing.assert_allclose(law.denoiser(state, at), centre + at.alpha * variances / total * (y - at.alpha * centre))
    expected = -0.5 * (1000 * 225.0 + np.log(2 * math.pi * total).sum())
    assert float(law.log_prob(state, at)) == pytest.approx(expected, rel=1e-9)
    assert float(law.posterior_trace(state, at)) == pytest.approx((variances * at.sigma**2 / total).sum(), rel=1e-12)
    core, parameters = KNOWN["full"]
    padded = torch.cat(
        [torch.as_tensor(at.alpha * MEANS[0] + at.sigma), torch.full((997,), 2.0 * at.sigma, dtype=torch.float64)]
    )
    noise = -0.5 * 997 * (4.0 + math.log(2 * math.pi * at.sigma**2))
    log_density, mean, _, _ = posterior(parameters, padded[:3].numpy(), at)
    wide = Embedded(core, 1000)
    assert float(wide.log_prob(padded, at)) == pytest.approx(log_density + noise, rel=1e-9)
    denoised = wide.denoiser(padded, at)
    np.testing.assert_allclose(denoised[:3], mean, rtol=1e-8, atol=1e-12)
    assert not bool(denoised[3:].any())


@pytest.mark.parametrize("snr", [0.0, 1e-8, 0.3, 40.0, 1e12])
def test_gaussian_curve_by_dense_linear_algebra(snr):
    """mmse = tr C(1 + γC)⁻¹, −mmse′ = its squared Frobenius norm, I = ½ log det(1 + γC)."""
    law, c = Gaussian(MEANS[0], FULL[0]), FULL[0]
    conditional = np.linalg.solve(np.eye(3) + snr * c, c)
    assert law.mmse(snr).value == pytest.approx(np.trace(conditional), rel=1e-12)
    assert law.mmse_slope(snr).value == pytest.approx((conditional**2).sum(), rel=1e-12)
    information = 0.5 * np.log1p(snr * np.linalg.eigvalsh(c)).sum()
    assert law.mutual_information(snr).value == pytest.approx(information, rel=1e-12, abs=1e-300)

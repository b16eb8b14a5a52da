"""Mixtures of low-rank components against the same laws written with full covariances, and in 10,000 dimensions."""

from __future__ import annotations

import copy
import math

import contracts
import contracts_curve
import numpy as np
import pytest
import torch
from contracts import normal
from test_targets_contract import AT_A_STATE, OF_THE_CURVE
from torch.utils._python_dispatch import TorchDispatchMode

from targets import ArgumentError, Gaussian, GaussianMixture, Level, NotAvailableError
from targets.lowrank import LowRank

RNG = np.random.default_rng(11)
W = np.array([0.5, 0.3, 0.2])
MEANS = 1.5 * RNG.standard_normal((3, 5))
FACTORS = RNG.standard_normal((3, 5, 2))
NOISES = {"common": 0.1, "unlike": np.array([0.05, 0.3, 0.1]), "one_zero": np.array([0.05, 0.0, 0.1]), "none": 0.0}
SNR = (1e-3, 0.1, 1.0, 20.0, 1e3)


def full_covariances(factors: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    own = np.broadcast_to(noise, len(factors))[:, None, None] * np.eye(factors.shape[1])
    return factors @ factors.transpose(0, 2, 1) + own


def pair(noise: str, factors: np.ndarray = FACTORS) -> tuple[GaussianMixture, GaussianMixture]:
    """(the low-rank law, the same law with full covariances)."""
    full = GaussianMixture(W, MEANS, full_covariances(factors, NOISES[noise]))
    return GaussianMixture.low_rank(W, MEANS, factors, NOISES[noise]), full


LAWS = {
    "unlike": pair("unlike")[0],
    "one_zero": pair("one_zero")[0],
    "few_directions": GaussianMixture.low_rank(W[1:] / 0.5, MEANS[1:], FACTORS[1:, :, :1], 0.1),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("check", [*AT_A_STATE, *OF_THE_CURVE], ids=lambda f: f.__name__)
def test_the_contract(check, name):
    check(LAWS[name])


def test_a_mutated_twin_fails():
    """A posterior mean whose pull along the factors is 1% off is no gradient of the log density."""

    class Bent(LowRank):
        def _bend(self, at):
            return 1.01 * super()._bend(at)

    twin = copy.copy(LAWS["unlike"])
    twin.components = Bent(*(torch.as_tensor(value) for value in (W, MEANS, FACTORS, NOISES["unlike"])))
    contracts.must_fail(contracts.score_is_the_gradient_of_log_prob, twin)


# ---- the same law with full covariances --------------------------------------------------------------


@pytest.mark.parametrize("noise", NOISES)
def test_every_function_of_a_state_is_the_full_mixtures(noise):
    low, full = pair(noise)
    for at in map(Level.from_snr, SNR):
        y = torch.cat([contracts.states(full, at, 20)[1], contracts.probed_states(full, at)])
        v = normal(tuple(y.shape), 3)
        for method in ("log_prob", "denoiser", "score", "posterior_trace"):
            expected = getattr(full, method)(y, at)
            floor = 1e-10 * float(expected.abs().mean())
            contracts.assert_close(getattr(low, method)(y, at), expected, 1e-10, floor)
        expected = full.posterior_covariance_product(y, v, at)
        floor = 1e-10 * expected.norm(dim=1).mean()
        contracts.assert_close(low.posterior_covariance_product(y, v, at), expected, 1e-10, floor)


@pytest.mark.parametrize("noise", NOISES)
def test_moments_fourier_and_rank_are_the_full_mixtures(noise):
    low, full = pair(noise)
    frequency = normal((6, 5), 4)
    for got, expected in zip(low.fourier(frequency), full.fourier(frequency), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(low.components.covariance(), full.components.covariance(), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(low.components.means, full.components.means)
    assert low.total_variance == pytest.approx(full.total_variance, rel=1e-13)
    assert low.rank == full.rank == 5
    assert repr(low) == "GaussianMixture(components=3, dim=5, low rank)"


@pytest.mark.parametrize("noise", ["unlike", "none"])
def test_draws_of_each_component_have_its_covariance(noise):
    """z ↦ draw − mean is C^{1/2}: its square, column by column, is the component's covariance."""
    parts = pair(noise)[0].components
    covariances = torch.as_tensor(full_covariances(FACTORS, NOISES[noise]))
    for i, covariance in enumerate(covariances):
        root = parts.draw(torch.full((5,), i), torch.eye(5, dtype=torch.float64)) - parts.means[i]
        torch.testing.assert_close(root.mT @ root, covariance, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("noise", ["common", "unlike"])
def test_curve_and_entropy_are_the_full_mixtures(noise):
    """Two samplings of the same curves agree within 5 combined errors."""
    low, full = pair(noise)
    snr = np.geomspace(1e-3, 1e4, 15)
    for got, expected in (
        (low.mmse(snr), full.mmse(snr)),
        (low.mmse_slope(snr), full.mmse_slope(snr)),
        (low.mutual_information(snr), full.mutual_information(snr)),
        (low.differential_entropy(), full.differential_entropy()),
    ):
        error = 5.0 * np.hypot(got.stderr, expected.stderr) + np.abs(got.bias) + np.abs(expected.bias)
        assert (np.abs(np.asarray(got.value) - expected.value) <= error).all()


def test_wide_and_deficient_factors_are_reduced():
    """r > d, and repeated columns: the covariance is all that counts; singular components have no entropy."""
    wide = np.random.default_rng(5).standard_normal((3, 5, 9))
    flat = np.repeat(FACTORS[:, :, :1], 7, axis=2)
    y, at = normal((8, 5), 6), Level.from_snr(3.0)
    for factors in (wide, flat, 0.0 * wide):
        low, full = pair("unlike", factors)
        contracts.assert_close(low.denoiser(y, at), full.denoiser(y, at), 1e-10)
        contracts.assert_close(low.log_prob(y, at), full.log_prob(y, at), 1e-10)
    assert np.isfinite(GaussianMixture.low_rank(W, MEANS, wide, 0.0).differential_entropy().value)
    for law in (pair("none")[0], pair("one_zero")[0], GaussianMixture.low_rank(W, MEANS, flat, 0.0)):
        with pytest.raises(NotAvailableError, match="singular component"):
            law.differential_entropy()


# ---- laws with a closed form -------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.1, 0.0])
def test_one_component_is_a_gaussian(noise):
    low = GaussianMixture.low_rank([0.0, 1.0], MEANS[:2], FACTORS[:2], noise)
    gaussian = Gaussian(MEANS[1], full_covariances(FACTORS, noise)[1])
    snr = np.geomspace(1e-6, 1e8, 29)
    for method in ("mmse", "mmse_slope", "mutual_information"):
        got, expected = getattr(low, method)(snr), getattr(gaussian, method)(snr)
        np.testing.assert_allclose(got.value, expected.value, rtol=1e-12)
        assert (got.stderr == 0).all()
    assert low.rank == gaussian.rank == (5 if noise else 2)
    if noise:
        assert low.differential_entropy().value == pytest.approx(gaussian.differential_entropy().value, rel=1e-10)


def test_common_covariance_keeps_its_digits_at_every_snr():
    """Equal components at distance zero: Cov[X given y] is the Gaussian's, without a trace of cancellation."""
    low = GaussianMixture.low_rank([0.3, 0.7], MEANS[[0, 0]], FACTORS[[0, 0]], 0.1)
    gaussian = Gaussian(MEANS[0], full_covariances(FACTORS, 0.1)[0])
    for at in map(Level.from_snr, (1e-12, 1e-6, 1.0, 1e6, 1e12)):
        y = contracts.states(gaussian, at, 4)[1]
        contracts.assert_close(low.posterior_trace(y, at), gaussian.posterior_trace(y, at), 1e-12)


def test_the_line_is_the_isotropic_mixture():
    """d = 1: variances F² + n, and the curve by quadrature."""
    low = GaussianMixture.low_rank(W, MEANS[:, :1], FACTORS[:, :1], NOISES["unlike"])
    variances = (FACTORS[:, 0] ** 2).sum(-1) + NOISES["unlike"]
    line = GaussianMixture.isotropic(W, MEANS[:, :1], variances)
    y, at, snr = normal((9, 1), 7), Level.from_snr(2.0), np.geomspace(1e-3, 1e3, 13)
    contracts.assert_close(low.denoiser(y, at), line.denoiser(y, at), 1e-13)
    np.testing.assert_allclose(low.mmse(snr).value, line.mmse(snr).value, rtol=1e-12)
    assert low.mmse(1.0).stderr == 0.0
    assert low.differential_entropy().value == pytest.approx(line.differential_entropy().value, rel=1e-12)


def test_common_noise_around_a_line_is_exact():
    """Centres and factors along one direction, the same noise everywhere: the line's curve and a Gaussian's."""
    direction = np.array([2.0, -1.0, 2.0]) / 3.0
    low = GaussianMixture.low_rank(W, np.outer([0.0, 1.0, 3.0], direction), [[[a] for a in direction]] * 3, 0.2)
    line = GaussianMixture.isotropic(W, [[0.0], [1.0], [3.0]], 1.2)
    snr = np.geomspace(1e-3, 1e3, 13)
    np.testing.assert_allclose(low.mmse(snr).value, line.mmse(snr).value + 2 * 0.2 / (1 + 0.2 * snr), rtol=1e-9)
    assert low.mmse(1.0).stderr == 0.0


def test_components_without_width_are_atoms():
    """No noise and no factors: the curve is the discrete law's, blurred by nothing."""
    low = GaussianMixture.low_rank(W, MEANS, np.zeros((3, 5, 1)), 0.0)
    atoms = GaussianMixture.isotropic(W, MEANS, 0.0)
    assert low.rank == atoms.rank == 2
    got, expected = low.mmse(1.0), atoms.mmse(1.0)
    assert abs(got.value - expected.value) <= 5.0 * np.hypot(got.stderr, expected.stderr) + got.bias + expected.bias


# ---- many dimensions ---------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Records the most elements that any tensor made under it holds in memory."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for item in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(item, torch.Tensor):
                self.elements = max(self.elements, item.untyped_storage().nbytes() // item.element_size())
        return out


def test_ten_thousand_dimensions():
    """Finite, and nothing larger than the components themselves: no (dim, dim), no (batch, components, dim)."""
    count, dim, rank, batch = 8, 10_000, 4, 16
    rng = np.random.default_rng(1)
    means, factors = rng.standard_normal((count, dim)) / 10.0, rng.standard_normal((count, dim, rank)) / 10.0
    with Largest() as made:
        law = GaussianMixture.low_rank(np.full(count, 1 / count), means, factors, np.linspace(0.5, 1.0, count))
        x = law.sample(batch, torch.Generator().manual_seed(0))
        for at in map(Level.from_snr, (1e-4, 1e-2, 1.0, 1e4)):
            y = at.alpha * x + at.sigma * normal((batch, dim), 1)
            answers = (law.log_prob(y, at), law.score(y, at), law.posterior_trace(y, at))
            product = law.posterior_covariance_product(y, normal((batch, dim), 2), at)
            assert all(bool(torch.isfinite(answer).all()) for answer in (*answers, product))
            assert bool((answers[2] > 0).all())
        assert bool(torch.isfinite(torch.view_as_real(law.fourier(x / dim)[1])).all())
        assert law.rank == dim
    assert made.elements <= count * (rank + 1) * dim


def test_entropy_in_ten_thousand_dimensions():
    """Common noise: the curve is sampled in the 39 directions that matter.

    The components are 20 standard deviations apart: h(X) = Σ w_i h(N(μ_i, C_i)) + log 8, the overlap being e^{-50}.
    """
    rng = np.random.default_rng(2)
    means, factors = rng.standard_normal((8, 10_000)) / 10.0, rng.standard_normal((8, 10_000, 4)) / 10.0
    law = GaussianMixture.low_rank(np.full(8, 1 / 8), means, factors, 0.5)
    assert isinstance(law.components, LowRank)
    assert law.components.core().dim == 39
    contracts_curve.curve_starts_at_the_variance(law)
    stated = law.differential_entropy()
    within = 0.5 * (2.0 * math.pi * math.e * law.components.variances).log().sum(1)
    assert stated.value == pytest.approx(float(within.mean()) + math.log(8.0), abs=0.1)


def test_entropy_of_separated_sampled_mixtures_is_that_of_their_components():
    """Σ w_i h(N(μ_i, C_i)) + H(w) within the stated error, in many dimensions, where a wrong tail adds up."""
    far = np.stack([np.zeros(40), np.full(40, 2.2)])
    law = GaussianMixture.isotropic([0.5, 0.5], far, [0.5, 1.0])
    low = GaussianMixture.low_rank([0.5, 0.5], far, np.zeros((2, 40, 1)), [0.5, 1.0])
    exact = 20.0 * math.log(2.0 * math.pi * math.e) + 10.0 * math.log(0.5) + math.log(2.0)
    for stated in (law.differential_entropy(), low.differential_entropy()):
        assert abs(stated.value - exact) <= 4.0 * stated.stderr + abs(stated.bias)


# ---- arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((W[:2], MEANS, FACTORS, 0.1), r"sum of weights"),
        ((W, MEANS[:2], FACTORS, 0.1), r"means\.shape = \(2, 5\): expected shape \(3, ≥ 1\)"),
        ((W, MEANS, FACTORS[:2], 0.1), r"factors\.shape = \(2, 5, 2\): expected shape \(3, 5, ≥ 1\)"),
        ((W, MEANS, FACTORS[:, :4], 0.1), r"factors\.shape = \(3, 4, 2\)"),
        ((W, MEANS, FACTORS[:, :, :0], 0.1), r"factors\.shape = \(3, 5, 0\)"),
        ((W, MEANS, FACTORS[0], 0.1), r"factors\.shape = \(5, 2\)"),
        ((W, MEANS, np.full_like(FACTORS, math.nan), 0.1), r"factors = nan: expected finite numbers"),
        ((W, MEANS, "F", 0.1), r"factors = 'F'"),
        ((W, MEANS, FACTORS, -0.1), r"noise = -0\.1: expected non-negative variances"),
        ((W, MEANS, FACTORS, [0.1, -0.2, 0.1]), r"noise = -0\.2: expected non-negative variances"),
        ((W, MEANS, FACTORS, [0.1, 0.1]), r"noise\.shape = \(2,\): expected shape \(3\)"),
        ((W, MEANS, FACTORS, math.inf), r"noise = inf: expected finite numbers"),
        ((W, MEANS, FACTORS, None), r"noise = "),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        GaussianMixture.low_rank(*arguments)

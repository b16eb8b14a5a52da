"""What every implementation of an abstraction has to hold: one function a property, raising AssertionError.

The functions take any `Target`; test_targets_contract.py applies them to every law, and to mutated twins that
must fail.  Statistical properties compare at 4 or 5 combined standard errors: a correct law fails one comparison
with probability 6e-5 or 6e-7 over seeds; all seeds are fixed, so a run is deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from targets import ArgumentError, Level, Target

torch.set_num_threads(1)  # one thread a worker: reproducible, and workers do not fight over cores

EPS = torch.finfo(torch.float64).eps
FLOAT32_SNR = (1e-2, 1.0, 1e2, 1e4, 1e6, 1e8)


def must_fail(check: Callable[..., None], *arguments: Any) -> None:
    """The property rejects this (mutated) object."""
    with pytest.raises(AssertionError):
        check(*arguments)


def unit_snr(law: Target) -> float:
    """The snr at which signal and noise are alike: rank over total variance."""
    return law.rank / law.total_variance if law.total_variance > 0 else 1.0


def levels(law: Target, multiples: tuple[float, ...] = (1e-3, 0.5, 20.0)) -> list[Level]:
    """VP levels around the law's own unit of snr."""
    return [Level.from_snr(m * unit_snr(law)) for m in multiples]


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def states(law: Target, at: Level, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(n draws of X, their noisy states αX + σZ)."""
    x = law.sample(n, torch.Generator().manual_seed(seed))
    return x, at.alpha * x + at.sigma * normal(tuple(x.shape), seed + 1)


def probed_states(law: Target, at: Level) -> Tensor:
    """Five typical states, and one that is 15 standard deviations outside the support in every coordinate."""
    y = states(law, at, 5)[1]
    far = at.alpha * (law.mean + 15.0 * math.sqrt(law.total_variance / law.dim)) + 15.0 * at.sigma
    return torch.cat([y, far[None]])


def assert_close(actual: Tensor, expected: Tensor, rel: float, floor: float | Tensor = 0.0) -> None:
    """Every row is finite and within rel·‖expected row‖ + floor."""
    assert actual.shape == expected.shape
    assert bool(torch.isfinite(actual).all()), actual
    actual, expected = actual.reshape(len(actual), -1), expected.reshape(len(expected), -1)
    error, allowed = (actual - expected).norm(dim=1), rel * expected.norm(dim=1) + floor
    assert bool((error <= allowed).all()), (error, allowed)


def gradient(law: Target, y: Tensor, at: Level) -> Tensor:
    y = y.clone().requires_grad_(True)
    return torch.autograd.grad(law.log_prob(y, at).sum(), y)[0]


# ---- at one state ------------------------------------------------------------------------------------


def score_is_the_gradient_of_log_prob(law: Target) -> None:
    """Score against autograd: 1e-10, and the rounding of αm − y, eps‖y‖/σ², which no Tweedie score can avoid."""
    for at in levels(law):
        y = probed_states(law, at)
        assert_close(law.score(y, at), gradient(law, y, at), 1e-10, 16 * EPS * y.norm(dim=1) / at.sigma**2)


def denoiser_follows_tweedie(law: Target) -> None:
    """m = (y + σ²∇log p)/α with the gradient by autograd."""
    for at in levels(law):
        y = probed_states(law, at)
        tweedie = (y + at.sigma**2 * gradient(law, y, at)) / at.alpha
        assert_close(law.denoiser(y, at), tweedie, 1e-10, 64 * EPS * y.norm(dim=1) / at.alpha)


def only_snr_matters(law: Target) -> None:
    """(α, σ, y) and (cα, cσ, cy) have one posterior, and densities that differ by c^dim."""
    c = 3.0
    for at in levels(law):
        y, scaled = probed_states(law, at), Level(c * at.alpha, c * at.sigma)
        spread = 1e-12 * math.sqrt(law.second_moment)
        assert_close(law.denoiser(c * y, scaled), law.denoiser(y, at), 1e-9, spread)
        shifted = law.log_prob(c * y, scaled) + law.dim * math.log(c)
        assert_close(shifted[:, None], law.log_prob(y, at)[:, None], 1e-9, 1e-9)


def posterior_covariance_is_symmetric(law: Target) -> None:
    """<u, Cov v> = <v, Cov u>, to 1e-9 of the size of both products and one epsilon of the prior's."""
    for at in levels(law):
        y = probed_states(law, at)
        u, v = normal(tuple(y.shape), 2), normal(tuple(y.shape), 3)
        to_u, to_v = law.posterior_covariance_product(y, u, at), law.posterior_covariance_product(y, v, at)
        size = u.norm(dim=1) * to_v.norm(dim=1) + v.norm(dim=1) * to_u.norm(dim=1)
        floor = EPS * law.total_variance * u.norm(dim=1) * v.norm(dim=1)
        assert bool((((u * to_v).sum(1) - (v * to_u).sum(1)).abs() <= 1e-9 * size + floor).all())


def posterior_covariance_is_not_negative(law: Target) -> None:
    """<v, Cov v> >= 0, and the trace too."""
    for at in levels(law):
        y = probed_states(law, at)
        v = normal(tuple(y.shape), 4)
        assert bool(((v * law.posterior_covariance_product(y, v, at)).sum(1) >= 0).all())
        assert bool((law.posterior_trace(y, at) >= 0).all())


def posterior_covariance_is_the_jacobian(law: Target) -> None:
    """Cov v = (σ²/α) J v, J the Jacobian of the denoiser by autograd; its own rounding is 64 eps·E‖X − E X‖²."""
    for at in levels(law):
        y = probed_states(law, at).requires_grad_(True)
        v = normal(tuple(y.shape), 5)
        denoised = law.denoiser(y, at)
        moved = torch.autograd.grad(denoised, y, v)[0] if denoised.requires_grad else torch.zeros_like(v)
        product = law.posterior_covariance_product(y.detach(), v, at)
        assert_close(product, at.sigma**2 / at.alpha * moved, 1e-8, 64 * EPS * law.total_variance * v.norm(dim=1))


def posterior_trace_is_the_trace(law: Target) -> None:
    """tr Cov against the sum over basis vectors of <e_i, Cov e_i>."""
    basis = torch.eye(law.dim, dtype=torch.float64)
    for at in levels(law):
        for y in probed_states(law, at)[3:]:
            product = law.posterior_covariance_product(y.expand(law.dim, -1).contiguous(), basis, at)
            assert_close(law.posterior_trace(y[None], at)[:, None], product.diagonal().sum()[None, None], 1e-8)


def batch_shape_does_not_matter(law: Target) -> None:
    """Leading dimensions are free, none included, and an empty batch gives empty answers."""
    at = levels(law)[1]
    y = states(law, at, 6)[1]
    v = normal((6, law.dim), 6)
    functions = (
        law.log_prob,
        law.denoiser,
        law.score,
        law.posterior_trace,
        lambda state, level: law.posterior_covariance_product(state, v.reshape(state.shape), level),
    )
    for function in functions:
        flat = function(y, at)
        square = function(y.reshape(2, 3, law.dim), at)
        assert square.shape == (2, 3, *flat.shape[1:])
        assert_close(square.reshape(flat.shape), flat, 1e-12)
    for function in functions[:4]:
        assert_close(function(y[0], at)[None], function(y, at)[:1], 1e-9)
        assert function(y[:0], at).shape == function(y, at)[:0].shape


def rows_do_not_see_each_other(law: Target) -> None:
    """A state's answer does not change with the other states of its batch, a NaN among them included."""
    at = levels(law)[1]
    y = states(law, at, 4)[1]
    other = torch.cat([y[:2], 50.0 + states(law, at, 3, seed=9)[1], torch.full_like(y[:1], math.nan)])
    scale = 1e-12 * math.sqrt(law.second_moment)
    for function in (law.log_prob, law.denoiser, law.posterior_trace):
        assert_close(function(other, at)[:2], function(y, at)[:2], 1e-9, scale)
    assert bool(torch.isnan(law.log_prob(other, at)[-1]))
    assert law.rank == 0 or bool(torch.isnan(law.denoiser(other, at)[-1]).any())


def float32_is_close_or_refused(law: Target) -> None:
    """float32 in, float32 out, within 2e-3 (nats; root mean square of X; σ·score) of float64, or ArgumentError.

    At unit snr it must answer.  The score may be off by 8 eps‖y‖/σ², the rounding of αm − y.
    """
    small = law.to(dtype=torch.float32)
    eps = torch.finfo(torch.float32).eps
    rms = math.sqrt(law.second_moment)
    assert small.sample(2, torch.Generator().manual_seed(0)).dtype == torch.float32
    for k, at in enumerate([*levels(law, (1.0,)), *(Level.from_snr(s) for s in FLOAT32_SNR)]):
        single = states(law, at, 16, seed=20 + k)[1].to(torch.float32)
        y = single.to(torch.float64)
        size = y.norm(dim=1)
        checks = (
            (lambda t, s, at=at: t.log_prob(s, at), 2e-3, 1e-5),
            (lambda t, s, at=at: t.denoiser(s, at), 2e-3 * rms, 0.0),
            (lambda t, s, at=at: t.score(s, at), 2e-3 / at.sigma + 8 * eps * size / at.sigma**2, 1e-5),
            (lambda t, s, at=at: t.posterior_trace(s, at), 2e-3 * law.total_variance, 1e-3),
        )
        for function, floor, rel in checks:
            try:
                got = function(small, single)
            except ArgumentError:
                assert k > 0, "refused at unit snr"
                continue
            assert got.dtype == torch.float32
            assert_close(got.to(torch.float64), function(law, y), rel, floor)


# ---- the law against its own samples -----------------------------------------------------------------


def samples_have_the_moments(law: Target, n: int = 4096) -> None:
    """Sample mean and total variance within 5 standard errors."""
    x = law.sample(n, torch.Generator().manual_seed(11))
    tiny = 1e-12 * (1.0 + math.sqrt(law.second_moment))
    deviation = x.std(0) / math.sqrt(n)
    assert bool(((x.mean(0) - law.mean).abs() <= 5.0 * deviation + tiny).all())
    squares = (x - law.mean).square().sum(1)
    error = 5.0 * float(squares.std()) / math.sqrt(n) + tiny**2
    assert abs(float(squares.mean()) - law.total_variance) <= error


def fourier_matches_samples(law: Target, n: int = 4096) -> None:
    """E e^{iω·X} and E X e^{iω·X} within 5 standard errors of their sample means."""
    frequency = normal((3, law.dim), 12) * math.sqrt(unit_snr(law) / max(law.rank, 1))
    x = law.sample(n, torch.Generator().manual_seed(13))
    chi, mean = law.fourier(frequency)
    for row, w in enumerate(frequency):
        wave = torch.exp(1j * (x @ w))
        for terms, value in ((wave[:, None], chi[row : row + 1]), (x * wave[:, None], mean[row])):
            for part in (torch.real, torch.imag):
                sampled = part(terms)
                allowed = 5.0 * sampled.std(0) / math.sqrt(n) + 1e-11 * (1.0 + math.sqrt(law.second_moment))
                assert bool(((sampled.mean(0) - part(value)).abs() <= allowed).all())


def fourier_mean_is_the_gradient(law: Target) -> None:
    """E X e^{iω·X} = −i ∇_ω E e^{iω·X}, by autograd."""
    frequency = (normal((3, law.dim), 14) * math.sqrt(unit_snr(law) / max(law.rank, 1))).requires_grad_(True)
    chi, mean = law.fourier(frequency)
    (of_real,) = torch.autograd.grad(chi.real.sum(), frequency, retain_graph=True)
    (of_imag,) = torch.autograd.grad(chi.imag.sum(), frequency)
    floor = 1e-12 * math.sqrt(law.second_moment)
    assert_close(mean.real.detach(), of_imag, 1e-9, floor)
    assert_close(-mean.imag.detach(), of_real, 1e-9, floor)

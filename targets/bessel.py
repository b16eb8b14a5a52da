"""Modified Bessel functions of one real order: their logarithm and their ratio, for any size of order and argument.

    L(κ)  =  log[ Γ(ν+1) (2/κ)^ν I_ν(κ) ] − κ  =  log 0F1(; ν+1; κ²/4) − κ,      L(0) = 0
    A(κ)  =  I_{ν+1}(κ) / I_ν(κ),               L′ = A − 1,    A′ = 1 − A² − (2ν+1) A/κ

Two methods (and ν = −½, where A = tanh κ).  For ν, κ < SWITCH: the power series of 0F1, all terms positive.  Elsewhere
Debye's expansion (DLMF 10.41.3) with Q = √(ν²+κ²), p = ν/Q and its Stirling part taken out exactly,

    L  =  −κν(1 + ν/(Q+κ))/(Q+ν) − ν log(1 + w/2) − ½ log(1 + w) + log Σ u_k(p)/ν^k − log Σ u_k(1)/ν^k,  w = Q/ν − 1

(at small ν, where Stirling's series is of no use, with log Γ itself), and for the ratio the solution of its Riccati
equation in powers of 1/μ, with μ = ν + ½, Q = √(μ²+κ²), t = μ/Q:

    A  =  κ(1+ε)/(μ+Q),    1 − A²  =  2μ/(μ+Q) − κ²ε(2+ε)/(μ+Q)²,    ε = Σ ε_k(t)/μ^k
    ε_k  =  −½[ t²(δ_k1 + ε_{k−1} − (1−t²) ε′_{k−1}) + (1−t) Σ_i ε_i ε_{k−i} ]

At ν = ½ (the sphere in R³) L = log[(1 − e^{−2κ})/2κ] in closed form.  At one ν both sums are polynomials in 1/Q, made once
and economised (Lanczos): rewritten in Chebyshev polynomials over the values that 1/Q takes, whose negligible end is cut.
Nothing of size κ or ν is subtracted from its like.

Tensors and numpy arrays are taken alike and answered in kind; on the CPU the work is numpy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.polynomial import polynomial
from torch import Tensor

from targets.arguments import real, refuse
from targets.debye import SWITCH, debye, riccati

SERIES_TERMS = 64
"""At κ = SWITCH the next term of the power series is below 1e-19 of the sum, for every ν > −½."""

HUGE = 1e150
"""Arguments whose squares are floats."""

Array = TypeVar("Array", Tensor, np.ndarray)


class Ratio(NamedTuple, Generic[Array]):
    """A = I_{ν+1}/I_ν and its companions at each κ, all in the shape of κ."""

    value: Array
    """A(κ)."""
    complement: Array
    """1 − A², with relative accuracy."""
    quotient: Array
    """A/κ, which is 1/(2ν+2) at κ = 0."""
    slope: Array
    """A′(κ), relative error 1e-11 (1e-15 where ν or κ exceeds SWITCH)."""


def log_bessel(nu: float, kappa: Array) -> Array:
    """L(κ) = log[Γ(ν+1) (2/κ)^ν I_ν(κ)] − κ for scalar ν ≥ −½ and κ ≥ 0 of any shape, float64, in the kind of κ.

    Error below 1e-14·max(1, |L|); a tensor's answer is differentiable in κ to any order.
    Raises `ArgumentError` for another ν or a κ that is not a float64 tensor or array.
    """
    nu = _order(nu, kappa)
    return _answered(nu, kappa, _log, (lambda k: _log_slope(bessel_terms(nu, k)),))[0]


def bessel_ratio(nu: float, kappa: Array) -> Array:
    """A(κ) = I_{ν+1}(κ)/I_ν(κ), relative error 1e-13; arguments and errors as for `log_bessel`."""
    return bessel_terms(nu, kappa).value


def one_minus_square(nu: float, kappa: Array) -> Array:
    """1 − A(κ)², relative error 1e-12 for ν = −½ and ν ≥ 0; arguments and errors as for `log_bessel`."""
    return bessel_terms(nu, kappa).complement


def bessel_terms(nu: float, kappa: Array) -> Ratio[Array]:
    """A, 1 − A², A/κ and A′, differentiable in κ to any order (at κ = 0: once); arguments and errors as for `log_bessel`."""
    nu = _order(nu, kappa)
    slopes = tuple(lambda k, part=part: _ratio_slopes(nu, k)[part] for part in range(4))
    return Ratio(*_answered(nu, kappa, _terms, slopes))


def characteristic(nu: float, x: Tensor) -> Tensor:
    """0F1(; ν+1; −x²/4) = Γ(ν+1) (2/x)^ν J_ν(x), absolute error 1e-14, differentiable in x ≥ 0.

    It is E e^{ixU} where U is a coordinate of a uniform direction in R^{2ν+2}; arguments and errors as for `log_bessel`.
    """
    nu = _order(nu, x)
    flat = x.detach().reshape(-1)
    value = torch.as_tensor(_wave(nu, flat.cpu().numpy())).to(x.device)
    return _differentiable(x, value, lambda at: -at / (2.0 * nu + 2.0) * characteristic(nu + 1.0, at))


# ---- arguments and derivatives -----------------------------------------------------------------------


def _order(nu: float, kappa: Tensor | np.ndarray) -> float:
    if not isinstance(kappa, (Tensor, np.ndarray)) or kappa.dtype not in (torch.float64, np.float64):
        refuse("kappa", getattr(kappa, "dtype", kappa), "a float64 tensor or array")
    return real("nu", nu, "a finite number >= -1/2", low=math.nextafter(-0.5, -1.0))


Slope = Callable[[Tensor], Tensor]


def _answered(nu: float, kappa: Any, method: Callable[..., tuple[Any, ...]], slopes: tuple[Slope, ...]) -> list[Any]:
    """The values of `method` at κ, in the shape and kind of κ, with derivatives where κ asks for them."""
    if isinstance(kappa, np.ndarray):
        return [value.reshape(kappa.shape) for value in method(nu, kappa.reshape(-1))]
    flat = kappa.detach().reshape(-1)
    if flat.is_cpu:
        values = [torch.from_numpy(value) for value in method(nu, flat.numpy())]
    else:
        values = list(method(nu, flat))
    return [_differentiable(kappa, value, slope) for value, slope in zip(values, slopes, strict=True)]


class _Known(torch.autograd.Function):
    """A function of κ whose values are known, and whose derivative is another such function."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, value: Tensor, slope: Slope) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(kappa)
        ctx.slope = slope
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        return grad * ctx.slope(*ctx.saved_tensors), None, None


def _differentiable(kappa: Tensor, value: Tensor, slope: Slope) -> Tensor:
    value = value.reshape(kappa.shape)
    wanted = kappa.requires_grad and torch.is_grad_enabled()
    return _Known.apply(kappa, value, slope) if wanted else value  # type: ignore[return-value]


def _log_slope(terms: Ratio[Tensor]) -> Tensor:
    """A − 1."""
    return -terms.complement / (1.0 + terms.value)


def _ratio_slopes(nu: float, kappa: Tensor) -> tuple[Tensor, ...]:
    """Derivatives of A, 1 − A², A/κ and A′."""
    terms = bessel_terms(nu, kappa)
    bend = (terms.slope - terms.quotient) / torch.where(kappa > 0, kappa, 1.0)
    twice = -2.0 * terms.value * terms.slope
    return terms.slope, twice, bend, twice - (2.0 * nu + 1.0) * bend


# ---- the two methods, for flat arrays of either kind -------------------------------------------------


def _log(nu: float, kappa: Any) -> tuple[Any, ...]:
    xp = _library(kappa)
    if nu == -0.5:
        return (xp.log1p(xp.exp(-2.0 * kappa)) - math.log(2.0),)
    if nu == 0.5:
        safe = xp.where(kappa > 0, kappa, 1.0)
        return (xp.where(kappa > 0, xp.log(-xp.expm1(-2.0 * safe) / (2.0 * safe)), 0.0),)
    return _choose(nu, kappa, _log_series, _log_debye)


def _terms(nu: float, kappa: Any) -> tuple[Any, ...]:
    if nu == -0.5:
        xp = _library(kappa)
        decay, value, safe = xp.exp(-2.0 * kappa), xp.tanh(kappa), xp.where(kappa > 0, kappa, 1.0)
        square = 4.0 * decay / (1.0 + decay) ** 2
        return value, square, xp.where(kappa > 0, value / safe, 1.0), square
    return _choose(nu, kappa, _ratio_series, _ratio_riccati)


def _choose(nu: float, kappa: Any, small: Callable[..., Any], large: Callable[..., Any]) -> tuple[Any, ...]:
    """`small` where ν, κ < SWITCH, `large` elsewhere."""
    if nu >= SWITCH or not len(kappa):
        return large(nu, kappa)
    low = kappa < SWITCH
    if not low.any():
        return large(nu, kappa)
    if low.all():
        return small(nu, kappa)
    out = []
    for inside, outside in zip(small(nu, kappa[low]), large(nu, kappa[~low]), strict=True):
        joined = _library(kappa).empty_like(kappa)
        joined[low], joined[~low] = inside, outside
        out.append(joined)
    return tuple(out)


def _log_series(nu: float, kappa: Any) -> tuple[Any, ...]:
    return (_library(kappa).log(_summed(nu + 1.0, (kappa / SWITCH) ** 2)) - kappa,)


def _ratio_series(nu: float, kappa: Any) -> tuple[Any, ...]:
    x = (kappa / SWITCH) ** 2
    quotient = _summed(nu + 2.0, x) / (2.0 * (nu + 1.0) * _summed(nu + 1.0, x))
    value = kappa * quotient
    complement = (1.0 - value) * (1.0 + value)
    return value, complement, quotient, complement - (2.0 * nu + 1.0) * quotient


def _log_debye(nu: float, kappa: Any) -> tuple[Any, ...]:
    xp, root = _library(kappa), _root(kappa, nu)
    log_sum = xp.log1p(_horner(debye(nu), 2.0 * max(nu, SWITCH) / root - 1.0))
    if nu < SWITCH:
        power = nu * nu / (root + kappa) - nu * xp.log(0.5 * (root + nu)) + math.lgamma(nu + 1.0)
        return (power - 0.5 * xp.log(2.0 * math.pi * root) + log_sum,)
    share = kappa / (root + nu)
    excess = kappa / nu * share
    linear = share * (nu + nu * nu / (root + kappa))
    stirling = math.log1p(float(_horner(debye(nu), np.ones(1))[0]))
    return (-linear - nu * xp.log1p(0.5 * excess) - 0.5 * xp.log1p(excess) + (log_sum - stirling),)


def _ratio_riccati(nu: float, kappa: Any) -> tuple[Any, ...]:
    mu = nu + 0.5
    root = _root(kappa, mu)
    s = max(mu, SWITCH) / root
    sums, square = riccati(mu), s * s
    epsilon, moved = (square * _horner(part, 2.0 * s - 1.0) for part in sums)
    share, total = 1.0 + epsilon, mu + root
    start = kappa / total
    complement = 2.0 * mu / total - start * start * epsilon * (1.0 + share)
    slope = (mu * share / total - start * (kappa / root) * moved) / root
    return start * share, complement, share / total, slope


def _library(kappa: Any) -> Any:
    return np if isinstance(kappa, np.ndarray) else torch


def _root(kappa: Any, nu: float) -> Any:
    """√(ν²+κ²)."""
    if isinstance(kappa, np.ndarray) and kappa.max(initial=0.0) < HUGE:
        return np.sqrt(kappa * kappa + nu * nu)
    return np.hypot(kappa, nu) if isinstance(kappa, np.ndarray) else torch.hypot(kappa, torch.full_like(kappa, nu))


def _summed(b: float, x: Any) -> Any:
    """0F1(; b; κ²/4), x = (κ/SWITCH)², to as many terms as the largest x asks for (on the CPU, where asking is free)."""
    terms = _series(b)
    if isinstance(x, np.ndarray):
        sizes = terms * float(x.max(initial=0.0)) ** np.arange(SERIES_TERMS)
        terms = terms[: int((sizes > 1e-19 * sizes.sum()).sum())]
    return _horner(terms, x)


def _horner(coefficients: np.ndarray, x: Any) -> Any:
    out = _library(x).full_like(x, float(coefficients[-1]))
    for c in coefficients[-2::-1].tolist():
        out *= x
        out += c
    return out


@lru_cache(maxsize=64)
def _series(b: float) -> np.ndarray:
    """0F1(; b; κ²/4) in powers of (κ/SWITCH)²."""
    k = np.arange(1, SERIES_TERMS)
    return np.append(1.0, np.cumprod((0.5 * SWITCH) ** 2 / (k * (b + k - 1.0))))


# ---- imaginary argument ------------------------------------------------------------------------------


def _wave(nu: float, x: np.ndarray) -> np.ndarray:
    """0F1(; ν+1; −x²/4) at flat x.

    ν < SWITCH: the alternating series where its terms fall from the start, Bessel's J elsewhere.  Otherwise the
    trapezoid rule for ∫ cos(x sin φ) cos^{2ν}φ dφ, whose weight is a Gaussian of variance 1/(2ν+2) to the eye; beyond
    twelve of its inverse widths the integral is below 1e-20 and the answer zero.
    """
    from scipy import special

    if nu >= SWITCH:
        width = (2.0 * nu + 2.0) ** -0.5
        angle = 0.3 * width * np.arange(34)
        weight = np.exp(nu * np.log1p(-(np.sin(angle) ** 2)))
        weight[0] *= 0.5
        value = np.cos(np.outer(np.minimum(x, 12.0 / width), np.sin(angle))) @ (weight / weight.sum())
        return np.where(x * width > 12.0, 0.0, value)
    k = np.arange(1, 24)
    coefficients = np.append(1.0, np.cumprod(-(nu + 1.0) / (k * (nu + k))))
    falling = x * x <= 4.0 * (nu + 1.0)
    series = polynomial.polyval(np.where(falling, 0.25 * x * x / (nu + 1.0), 0.0), coefficients)
    safe = np.where(falling, 1.0, x)
    return np.where(falling, series, np.exp(special.gammaln(nu + 1.0) + nu * np.log(2.0 / safe)) * special.jv(nu, safe))

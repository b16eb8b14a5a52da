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

At ν = ½ (the sphere in R³) L = log[(1 − e^{−2κ})/2κ] in closed form.  At one ν both sums are polynomials in 1/Q, made once;
nothing of size κ or ν is subtracted from its like.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import polynomial
from scipy import special
from torch import Tensor

from targets.arguments import real, refuse

SWITCH = 40.0
"""Order and argument below which the power series is summed."""

SERIES_TERMS = 64
"""At κ = SWITCH the next term of the power series is below 1e-19 of the sum, for every ν > −½."""

DEBYE_TERMS = 16
"""Powers of 1/Q in Debye's expansion and the ratio's: at Q = SWITCH the next is below 1e-17."""


class Ratio(NamedTuple):
    """A = I_{ν+1}/I_ν and its companions at each κ, all in the shape of κ."""

    value: Tensor
    """A(κ)."""
    complement: Tensor
    """1 − A², with relative accuracy."""
    quotient: Tensor
    """A/κ, which is 1/(2ν+2) at κ = 0."""
    slope: Tensor
    """A′(κ), relative error 1e-11 (1e-15 where ν or κ exceeds SWITCH)."""


def log_bessel(nu: float, kappa: Tensor) -> Tensor:
    """L(κ) = log[Γ(ν+1) (2/κ)^ν I_ν(κ)] − κ for scalar ν ≥ −½ and κ ≥ 0 of any shape, float64.

    Error below 1e-14·max(1, |L|); differentiable in κ to any order.
    Raises `ArgumentError` for another ν or a κ that is not a float64 tensor.
    """
    nu = _order(nu, kappa)
    flat = kappa.detach().reshape(-1)
    if nu == -0.5:
        value = torch.log1p(torch.exp(-2.0 * flat)) - math.log(2.0)
    elif nu == 0.5:
        value = torch.log(-torch.expm1(-2.0 * flat) / (2.0 * flat)).where(flat > 0, 0.0)
    else:
        (value,) = _choose(nu, flat, _log_series, _log_debye)
    return _differentiable(kappa, value, lambda k: _log_slope(bessel_terms(nu, k)))


def bessel_ratio(nu: float, kappa: Tensor) -> Tensor:
    """A(κ) = I_{ν+1}(κ)/I_ν(κ), relative error 1e-13; arguments and errors as for `log_bessel`."""
    return bessel_terms(nu, kappa).value


def one_minus_square(nu: float, kappa: Tensor) -> Tensor:
    """1 − A(κ)², relative error 1e-12 for ν = −½ and ν ≥ 0; arguments and errors as for `log_bessel`."""
    return bessel_terms(nu, kappa).complement


def bessel_terms(nu: float, kappa: Tensor) -> Ratio:
    """A, 1 − A², A/κ and A′, differentiable in κ to any order (at κ = 0: once); arguments and errors as for `log_bessel`."""
    nu = _order(nu, kappa)
    flat = kappa.detach().reshape(-1)
    terms = _terms(nu, flat)
    slopes = [lambda k, part=part: _ratio_slopes(nu, k)[part] for part in range(len(terms))]
    return Ratio(*(_differentiable(kappa, term, slope) for term, slope in zip(terms, slopes, strict=True)))


def characteristic(nu: float, x: Tensor) -> Tensor:
    """0F1(; ν+1; −x²/4) = Γ(ν+1) (2/x)^ν J_ν(x), absolute error 1e-14, differentiable in x ≥ 0.

    It is E e^{ixU} where U is a coordinate of a uniform direction in R^{2ν+2}; arguments and errors as for `log_bessel`.
    """
    nu = _order(nu, x)
    flat = x.detach().reshape(-1)
    value = torch.as_tensor(_wave(nu, flat.cpu().numpy())).to(x.device)
    return _differentiable(x, value, lambda at: -at / (2.0 * nu + 2.0) * characteristic(nu + 1.0, at))


# ---- arguments and derivatives -----------------------------------------------------------------------


def _order(nu: float, kappa: Tensor) -> float:
    if not isinstance(kappa, Tensor) or kappa.dtype != torch.float64:
        refuse("kappa", getattr(kappa, "dtype", kappa), "a float64 tensor")
    return real("nu", nu, "a finite number >= -1/2", low=math.nextafter(-0.5, -1.0))


class _Known(torch.autograd.Function):
    """A function of κ whose values are known, and whose derivative is another such function."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, value: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(kappa)
        ctx.slope = slope
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        return grad * ctx.slope(*ctx.saved_tensors), None, None


def _differentiable(kappa: Tensor, value: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
    value = value.reshape(kappa.shape)
    wanted = kappa.requires_grad and torch.is_grad_enabled()
    return _Known.apply(kappa, value, slope) if wanted else value  # type: ignore[return-value]


def _log_slope(terms: Ratio) -> Tensor:
    """A − 1."""
    return -terms.complement / (1.0 + terms.value)


def _ratio_slopes(nu: float, kappa: Tensor) -> tuple[Tensor, ...]:
    """Derivatives of A, 1 − A², A/κ and A′."""
    terms = bessel_terms(nu, kappa)
    bend = (terms.slope - terms.quotient) / torch.where(kappa > 0, kappa, 1.0)
    twice = -2.0 * terms.value * terms.slope
    return terms.slope, twice, bend, twice - (2.0 * nu + 1.0) * bend


# ---- the two methods ---------------------------------------------------------------------------------


def _terms(nu: float, kappa: Tensor) -> Ratio:
    if nu == -0.5:
        decay = torch.exp(-2.0 * kappa)
        value, square = torch.tanh(kappa), 4.0 * decay / (1.0 + decay).square()
        return Ratio(value, square, torch.where(kappa > 0, value / kappa, 1.0 + 0.0 * kappa), square)
    return Ratio(*_choose(nu, kappa, _ratio_series, _ratio_riccati))


def _choose(nu: float, kappa: Tensor, small: Callable[..., Any], large: Callable[..., Any]) -> tuple[Tensor, ...]:
    """`small` where ν, κ < SWITCH, `large` elsewhere; kappa is flat."""
    if nu >= SWITCH:
        return large(nu, kappa)
    low = kappa < SWITCH
    (inside,), (outside,) = low.nonzero(as_tuple=True), (~low).nonzero(as_tuple=True)
    if not len(inside):
        return large(nu, kappa)
    if not len(outside):
        return small(nu, kappa)
    pairs = zip(small(nu, kappa[inside]), large(nu, kappa[outside]), strict=True)
    return tuple(torch.empty_like(kappa).index_copy(0, inside, a).index_copy(0, outside, b) for a, b in pairs)


def _log_series(nu: float, kappa: Tensor) -> tuple[Tensor, ...]:
    return (_horner(_series(nu + 1.0), (kappa / SWITCH).square()).log() - kappa,)


def _ratio_series(nu: float, kappa: Tensor) -> tuple[Tensor, ...]:
    x = (kappa / SWITCH).square()
    quotient = _horner(_series(nu + 2.0), x) / (2.0 * (nu + 1.0) * _horner(_series(nu + 1.0), x))
    value = kappa * quotient
    complement = (1.0 - value) * (1.0 + value)
    return value, complement, quotient, complement - (2.0 * nu + 1.0) * quotient


def _log_debye(nu: float, kappa: Tensor) -> tuple[Tensor, ...]:
    root = torch.hypot(kappa, torch.full_like(kappa, nu))
    log_sum = _horner(_debye(nu), max(nu, SWITCH) / root).log()
    if nu < SWITCH:
        power = nu * nu / (root + kappa) - nu * (0.5 * (root + nu)).log() + math.lgamma(nu + 1.0)
        return (power - 0.5 * (2.0 * math.pi * root).log() + log_sum,)
    excess = (kappa / nu) * (kappa / (root + nu))
    linear = kappa / (root + nu) * (nu + nu * nu / (root + kappa))
    stirling = math.log(math.fsum(_debye(nu)))
    return (-linear - nu * torch.log1p(0.5 * excess) - 0.5 * torch.log1p(excess) + (log_sum - stirling),)


def _ratio_riccati(nu: float, kappa: Tensor) -> tuple[Tensor, ...]:
    mu = nu + 0.5
    root = torch.hypot(kappa, torch.full_like(kappa, mu))
    s = max(mu, SWITCH) / root
    coefficients = _riccati(mu)
    epsilon = _horner(coefficients, s)
    moved = s * _horner(polynomial.polyder(coefficients), s)  # −Q dε/dQ
    share, total = 1.0 + epsilon, mu + root
    start = kappa / total
    complement = 2.0 * mu / total - start.square() * epsilon * (1.0 + share)
    slope = (mu * share / total - start * (kappa / root) * moved) / root
    return start * share, complement, share / total, slope


def _horner(coefficients: np.ndarray, x: Tensor) -> Tensor:
    out = torch.full_like(x, float(coefficients[-1]))
    for c in coefficients[-2::-1].tolist():
        out.mul_(x).add_(c)
    return out


# ---- polynomials -------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _series(b: float) -> np.ndarray:
    """0F1(; b; κ²/4) in powers of (κ/SWITCH)²."""
    k = np.arange(1, SERIES_TERMS)
    return np.append(1.0, np.cumprod((0.5 * SWITCH) ** 2 / (k * (b + k - 1.0))))


@lru_cache(maxsize=64)
def _debye(nu: float) -> np.ndarray:
    """Σ_k u_k(p)/ν^k in powers of max(ν, SWITCH)/Q."""
    return _in_powers_of_root(_debye_polynomials(), nu)


@lru_cache(maxsize=64)
def _riccati(mu: float) -> np.ndarray:
    """Σ_k ε_k(t)/μ^k in powers of max(μ, SWITCH)/Q."""
    return _in_powers_of_root(_riccati_polynomials(), mu)


def _in_powers_of_root(polynomials: tuple[np.ndarray, ...], nu: float) -> np.ndarray:
    """Σ_k f_k(ν/Q)/ν^k, f_k of order at least k, as a polynomial in s = max(ν, SWITCH)/Q <= 1; negligible ends cut."""
    scale = max(nu, SWITCH)
    total = np.zeros(1)
    for k, f in enumerate(polynomials):
        powers = np.arange(k, len(f))
        part = f[k:] * (nu / scale) ** (powers - k) * scale**-k
        if k and np.abs(part).sum() < 1e-19:
            break
        total = polynomial.polyadd(total, np.concatenate([np.zeros(k), part]))
    kept = np.cumsum(np.abs(total[::-1]))[::-1] > 1e-19
    return total[: max(1, int(kept.sum()))]


@lru_cache(maxsize=1)
def _debye_polynomials() -> tuple[np.ndarray, ...]:
    """u_0 … (DLMF 10.41.9): u_{k+1} = ½p²(1−p²)u_k′ + ⅛∫_0^p (1−5t²) u_k dt."""
    u: list[np.ndarray] = [np.ones(1)]
    for _ in range(DEBYE_TERMS):
        moved = polynomial.polymul([0.0, 0.0, 0.5, 0.0, -0.5], polynomial.polyder(u[-1]))
        u.append(polynomial.polyadd(moved, polynomial.polyint(polynomial.polymul([0.125, 0.0, -0.625], u[-1]))))
    return tuple(u)


@lru_cache(maxsize=1)
def _riccati_polynomials() -> tuple[np.ndarray, ...]:
    """ε_0 = 0, ε_1, … as in the module's formula."""
    epsilon: list[np.ndarray] = [np.zeros(1)]
    for k in range(1, DEBYE_TERMS + 1):
        previous = epsilon[-1]
        own = polynomial.polysub(previous, polynomial.polymul([1.0, 0.0, -1.0], polynomial.polyder(previous)))
        own = polynomial.polymul([0.0, 0.0, 1.0], polynomial.polyadd([float(k == 1)], own))
        for i in range(1, k):
            crossed = polynomial.polymul(epsilon[i], epsilon[k - i])
            own = polynomial.polyadd(own, polynomial.polymul([1.0, -1.0], crossed))
        epsilon.append(-0.5 * own)
    return tuple(epsilon)


# ---- imaginary argument ------------------------------------------------------------------------------


def _wave(nu: float, x: np.ndarray) -> np.ndarray:
    """0F1(; ν+1; −x²/4) at flat x.

    ν < SWITCH: the alternating series where its terms fall from the start, Bessel's J elsewhere.  Otherwise the
    trapezoid rule for ∫ cos(x sin φ) cos^{2ν}φ dφ, whose weight is a Gaussian of variance 1/(2ν+2) to the eye; beyond
    twelve of its inverse widths the integral is below 1e-20 and the answer zero.
    """
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

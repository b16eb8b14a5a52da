"""Constants of the law X = ±1 (probability ½ each), enclosed by ball arithmetic: the true value lies inside, provably.

With V = 1 − tanh²(√γ x) = sech²(√γ x) the posterior variance at x = √γ X + Z, whose density is φ(x) e^{−γ/2} cosh(√γ x),
and G_q(w) = E sech^q(wZ):

    mmse(γ) = E V = 1 − E tanh(γ + √γ Z) = E sech²(γ + √γ Z) = e^{−γ/2} G_1(√γ)
    −mmse′(γ) = E V² =                     E sech⁴(γ + √γ Z) = e^{−γ/2} G_3(√γ) =: D(γ)            (Guo et al. 2011)
    S = ∫_0^∞ √D dγ

K · (least path KL of ddpm over K steps on [γ_0, γ_K]) tends to S²/4 as K → ∞, and then γ_0 → 0 and γ_K → ∞.

**Inner integral.**  G_q is an integral of a meromorphic function over [−R, R], which `acb.integral` encloses with the radius
of w carried along (Johansson 2018; at a pole a ball becomes non-finite by itself); what is left out lies in [0, e^{−R²/2}],
since sech ≤ 1 and P(|Z| > R) = erfc(R/√2) ≤ e^{−R²/2}.

**Outer integral.**  With γ = e^u, S = ∫ f(u) du over the whole line, f(u) = e^u √D(e^u), by the trapezoidal rule of step h:

- D is analytic off (−∞, 0] but not at 0, where its Taylor series diverges (E Z^{2n} outgrows every radius).
- |D(γ)| ≤ e^{−Re γ/2} for Re γ > 0: w = √γ has |arg w| ≤ π/4, so wx = p + iq has |q| ≤ |p|, and
  |cosh(p + iq)|² = sinh² p + cos² q ≥ p² + 1 − q² ≥ 1.
- D has no zero there: √(2πγ) e^{γ/2} D(γ) = F(1/γ), F(s) = ∫ e^{−sy²/2} sech³ y dy = ∫_0^∞ e^{−sv} g(v) dv with
  g(v) = 2 sech³(√(2v))/√(2v), a product of completely monotone functions: 1/√v, and sech(√(2v)) = Π_k 1/(1 + 8v/((2k−1)π)²).
  So g is a mixture of e^{−tv}, t ≥ 0 (Bernstein), F(s) a mixture of 1/(s + t), and Re F > 0 where Re s > 0.
- Hence √D is analytic for Re γ > 0, f in |Im u| < π/2, and ∫ |f(x + ib)| dx ≤ ∫ e^x exp(−¼ e^x cos b) dx = 4/cos b.
  For every a < π/2 the rule errs by at most (8/cos a)/(e^{2πa/h} − 1)  (Trefethen and Weideman 2014, theorem 5.1).
- On the axis 0 ≤ f(u) ≤ e^u exp(−e^u/4), falling where e^u ≥ 4.  The terms left out, n < m and n > M, lie in
  [0, h e^{mh}/(e^h − 1)] and [0, 4 exp(−e^{Mh}/4)].

All of it is added as balls.  Needs the package python-flint: pip install "truerate[certified]".
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from targets.arguments import NotAvailableError, real, refuse

if TYPE_CHECKING:
    from flint import acb, arb

PRECISION = 96
"""Bits of the midpoints: the balls come out near 1e-26, and the enclosures lose what a float cannot hold."""

REACH = 12.0
"""R, where the inner integral is cut."""

STEP = 0.125
"""h, the step of the outer rule in u = log γ."""

STRIP = 1.4
"""a < π/2, half the width of the strip in which the error of the outer rule is bounded."""

LOW, HIGH = -64.0, 5.5
"""Outer window in u = log γ, widened to multiples of the step; e^HIGH > 4."""


@dataclass(frozen=True)
class Enclosure:
    """The true value lies in [middle − radius, middle + radius]: proved, where an `Estimate` states an expectation.

    `middle` is the float nearest to the middle of the ball that was computed.  `radius` is rounded up: it covers that ball,
    and so the rounding of `middle` too, which is most of it.  Nats, as mmse is.
    Raises `ArgumentError` if a field is not finite or the radius is negative.
    """

    middle: float
    radius: float

    def __post_init__(self) -> None:
        real("middle", self.middle, "a finite number")
        if real("radius", self.radius, "a finite number >= 0") < 0.0:
            refuse("radius", self.radius, "a finite number >= 0")

    def contains(self, value: float) -> bool:
        """|value − middle| ≤ radius, compared without rounding; False for nan and infinities."""
        if not math.isfinite(value):
            return False
        return abs(Fraction(float(value)) - Fraction(float(self.middle))) <= Fraction(float(self.radius))


def two_points_mmse(snr: float) -> Enclosure:
    """mmse(γ) = 1 − E tanh(γ + √γ Z) of X = ±1, in [0, 1], at the binary number that the float `snr` = γ ≥ 0 is.

    The radius is below 1e-15.  Beyond γ ≈ 1480, where mmse is below every float, the middle is 0.
    Raises `ArgumentError` for a negative or non-finite snr, `NotAvailableError` without python-flint.

    >>> two_points_mmse(1.0).middle
    0.44959950920667285
    """
    at = real("snr", snr, "a finite number >= 0")
    if at < 0.0:
        refuse("snr", snr, "a finite number >= 0")
    flint = _flint()
    with flint.ctx.workprec(PRECISION):
        return _rounded(_average(flint.arb(at), 2))


def two_points_length() -> Enclosure:
    """S = ∫_0^∞ √(−mmse′(γ)) dγ of X = ±1: the discretisation length of one fair bit, with a radius below 1e-15.

    Raises `NotAvailableError` without python-flint.

    >>> two_points_length().middle
    2.4584056634763045
    """
    flint = _flint()
    with flint.ctx.workprec(PRECISION):
        return _rounded(_length())


def two_points_limit() -> Enclosure:
    """S²/4 of X = ±1: the limit of K times the least path KL of ddpm, nats per fair bit, with a radius below 1e-15.

    Raises `NotAvailableError` without python-flint.

    >>> two_points_limit().middle
    1.5109396015530925
    """
    flint = _flint()
    with flint.ctx.workprec(PRECISION):
        return _rounded(_length() ** 2 / 4)


def _average(snr: arb, order: int) -> arb:
    """E sech^order(γ + √γ Z) = e^{−γ/2} E sech^{order−1}(√γ Z): mmse for order 2, −mmse′ for order 4."""
    flint = _flint()
    width, power = flint.acb(snr.sqrt()), order - 1

    def integrand(x: acb, _: bool) -> acb:
        return (-x * x / 2).exp() * (width * x).sech() ** power

    half = flint.acb.integral(integrand, 0, flint.arb(REACH)).real
    beyond = flint.arb(0).union((-(flint.arb(REACH) ** 2) / 2).exp())
    return (-snr / 2).exp() * ((2 / flint.arb.pi()).sqrt() * half + beyond)


def _length(step: float = STEP) -> arb:
    """S by the trapezoidal rule of this step in u = log γ, with its error and both tails as balls."""
    arb = _flint().arb
    first, last, h = math.floor(LOW / step), math.ceil(HIGH / step), arb(step)
    total = arb(0)
    for n in range(first, last + 1):
        snr = (n * h).exp()
        total += snr * _average(snr, 4).sqrt()
    below = h * (first * h).exp() / (h.exp() - 1)
    above = 4 * (-(last * h).exp() / 4).exp()
    rule = 8 / arb(STRIP).cos() / ((2 * arb.pi() * arb(STRIP) / h).exp() - 1)
    return h * total + arb(0).union(below) + arb(0).union(above) + (-rule).union(rule)


def _rounded(ball: arb) -> Enclosure:
    """The ball in floats, radius outward: conversion rounds to nearest, and the next float is above."""
    middle = float(ball)
    return Enclosure(middle, math.nextafter(float((ball - middle).abs_upper()), math.inf))


def _flint() -> Any:
    """The module flint (python-flint)."""
    try:
        return importlib.import_module("flint")
    except ImportError as missing:
        message = 'enclosures by ball arithmetic need python-flint: pip install "truerate[certified]"'
        raise NotAvailableError(
            f"{message}; targets.get('two_points').curve has the same numbers as estimates"
        ) from missing

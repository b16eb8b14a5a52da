"""Certified constants: every step of the proof tried where it is tight, and the library's floats inside the balls.

Nothing is random here.  Controls: another integrand, and balls without the terms that were proved, miss the value.
"""

import math
import sys
from fractions import Fraction
from typing import Any

import flint
import mpmath
import numpy as np
import pytest
from flint import arb

from targets import ArgumentError, NotAvailableError, get
from verify import certified
from verify.certified import Enclosure

BIT = get("two_points")
SNRS = (0.1, 1.0, 10.0)
WIDE = 1e-12
S = "2.458405663476304625568579"
X = np.linspace(-40.0, 40.0, 8_001)
SECTOR = [r * np.exp(1j * t) for r in (1e-3, 0.1, 1.0, 5.0, 30.0, 300.0) for t in np.pi * np.array([0, 0.2, 0.4, 0.49])]


def slope(snr: complex) -> complex:
    """−mmse′(γ) = e^{−γ/2} E sech³(√γ Z) for Re γ > 0, by 8,001 points."""
    density = np.exp(-0.5 * X**2) / np.sqrt(2.0 * np.pi)
    wx = np.sqrt(snr) * X
    shrunk = np.where(wx.real < 0, wx, -wx)
    sech = 2.0 * np.exp(shrunk) / (1.0 + np.exp(2.0 * shrunk))
    return complex(np.exp(-snr / 2.0) * np.sum(density * sech**3) * (X[1] - X[0]))


def gap(ball: arb) -> float:
    """Distance of the middle of a ball from S."""
    return abs(float(ball.mid() - arb(S)))


def rational(exact: arb) -> Fraction:
    """The number that a ball of radius 0 is."""
    mantissa, exponent = (int(part) for part in exact.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


# ---- the values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [0.0, 1e-30, 0.01, *SNRS, 20.0])
def test_mmse_holds_the_quadrature_and_proves_its_stated_error(snr):
    ball, float_value = certified.two_points_mmse(snr), BIT.mmse(snr)
    assert ball.radius <= 1e-15
    assert Enclosure(ball.middle, WIDE).contains(float(float_value))
    assert abs(float(float_value) - ball.middle) + ball.radius <= float(float_value.error)


def test_length_holds_the_quadrature_and_proves_its_stated_error():
    ball, length = certified.two_points_length(), BIT.curve.discretisation_length()
    assert ball.radius <= 1e-15
    assert Enclosure(ball.middle, WIDE).contains(float(length))
    assert abs(float(length) - ball.middle) + ball.radius <= float(length.error)


def test_limit_is_a_quarter_of_the_squared_length():
    ball, length = certified.two_points_limit(), certified.two_points_length()
    assert ball.radius <= 1e-15
    assert Enclosure(ball.middle, WIDE).contains(float(BIT.curve.discretisation_length()) ** 2 / 4.0)
    low, high = ((Fraction(length.middle) + sign * Fraction(length.radius)) ** 2 / 4 for sign in (-1, 1))
    assert abs(Fraction(ball.middle) - (low + high) / 2) <= Fraction(ball.radius) + (high - low) / 2


@pytest.mark.parametrize("snr", SNRS)
def test_mmse_and_its_slope_are_those_of_the_channel(snr):
    """1 − E tanh(γ + √γ Z), and minus its derivative by finite differences, at 20 digits without flint."""
    with mpmath.workdps(32):
        points = [mpmath.mpf(k) / 24 for k in range(-288, 289)]

        def mmse(at: Any) -> Any:
            return sum(mpmath.npdf(z) * (1 - mpmath.tanh(at + mpmath.sqrt(at) * z)) for z in points) / 24

        value, derivative = mmse(mpmath.mpf(snr)), mpmath.diff(mmse, mpmath.mpf(snr), h=mpmath.mpf(10) ** -10)
        with flint.ctx.workprec(certified.PRECISION):
            for order, expected in ((2, value), (4, -derivative)):
                ball = certified._average(arb(snr), order)
                wanted = arb(mpmath.nstr(expected, 30), "1e-18" if order == 4 else "1e-24")
                assert ball.overlaps(wanted)
                assert not certified._average(arb(snr), order - 1).overlaps(wanted)
    assert certified.two_points_mmse(snr).contains(float(value))


def test_length_agrees_with_a_quadrature_of_another_kind():
    """∫ 2w √D(w²) dw by Gauss–Legendre panels over w, and D by plain sums: no exponential substitution."""
    x, weights = np.polynomial.legendre.leggauss(24)
    edges = np.concatenate([[0.0], np.geomspace(1e-3, 13.0, 20)])
    half = np.diff(edges)[:, None] / 2
    w, dw = (edges[:-1, None] + half * (1 + x)).ravel(), (half * weights).ravel()
    total = sum(2 * a * math.sqrt(slope(a * a).real) * b for a, b in zip(w, dw, strict=True))
    assert Enclosure(certified.two_points_length().middle, WIDE).contains(total)


# ---- the proof -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", SECTOR)
def test_the_slope_in_the_half_plane_is_bounded_and_has_no_zero(snr):
    value = slope(snr)
    assert abs(value) <= math.exp(-snr.real / 2) * (1 + 1e-12)
    assert (np.sqrt(2 * np.pi * snr) * np.exp(snr / 2) * value).real > 0


@pytest.mark.parametrize("step", [0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
def test_the_outer_rule_errs_by_no_more_than_was_proved(step):
    with flint.ctx.workprec(certified.PRECISION):
        fine, coarse = certified._length(), certified._length(step)
        assert gap(fine) < 1e-20
        assert float(fine.rad()) < 1e-20
        assert coarse.contains(fine)
        if step >= 1.0:
            assert gap(coarse) > 1e3 * float(fine.rad())
        if step >= 2.0:
            assert float(coarse.rad()) < 300 * gap(coarse)


@pytest.mark.parametrize(("low", "high"), [(-64.0, 1.5), (-64.0, 3.0), (-3.0, 5.5), (-8.0, 5.5), (-6.0, 2.0)])
def test_cutting_the_outer_window_costs_no_more_than_was_proved(monkeypatch, low, high):
    with flint.ctx.workprec(certified.PRECISION):
        monkeypatch.setattr(certified, "LOW", low)
        monkeypatch.setattr(certified, "HIGH", high)
        cut = certified._length()
        assert cut.contains(arb(S))
        assert gap(cut) > 1e-10
        if low == -8.0:
            upper = cut.upper() - arb(S)
            assert 0 < upper < 2 * math.exp(2 * low)


def test_a_cut_sum_has_every_term_of_its_window(monkeypatch):
    """The lower end counts the terms left out as nothing: h Σ e^u √D(e^u) over −2 ≤ u ≤ 1.5, plain sums (30-bit radii)."""
    with flint.ctx.workprec(certified.PRECISION):
        monkeypatch.setattr(certified, "LOW", -2.0)
        monkeypatch.setattr(certified, "HIGH", 1.5)
        lower = float(certified._length().lower())
    snr = np.exp(certified.STEP * np.arange(-16, 13))
    assert lower == pytest.approx(certified.STEP * sum(g * math.sqrt(slope(g).real) for g in snr), abs=1e-8)


@pytest.mark.parametrize("reach", [0.25, 1.0, 2.0, 5.0])
def test_cutting_the_inner_integral_costs_no_more_than_was_proved(monkeypatch, reach):
    with flint.ctx.workprec(certified.PRECISION):
        whole = [certified._average(arb(snr), order) for snr in (1e-6, *SNRS) for order in (2, 4)]
        monkeypatch.setattr(certified, "REACH", reach)
        cut = [certified._average(arb(snr), order) for snr in (1e-6, *SNRS) for order in (2, 4)]
    assert all(short.contains(full) for short, full in zip(cut, whole, strict=True))
    assert all(float(short.rad()) > 1e3 * float(full.rad()) for short, full in zip(cut, whole, strict=True))


def test_another_integrand_is_outside(monkeypatch):
    average = certified._average
    monkeypatch.setattr(certified, "_average", lambda snr, order: average(snr, order - 1))
    assert not Enclosure(certified.two_points_length().middle, 0.05).contains(float(S))
    assert not Enclosure(certified.two_points_mmse(1.0).middle, 0.05).contains(float(BIT.mmse(1.0)))


def test_precision_is_only_borrowed():
    before = flint.ctx.prec
    certified.two_points_limit()
    assert flint.ctx.prec == before != certified.PRECISION


# ---- floats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "1/3", "-2/7", "1e-320", "1e-400", "123456789012345678901234567890", "0"])
@pytest.mark.parametrize("radius", ["0", "1e-30", "1e-3"])
def test_rounding_is_outward(value, radius):
    with flint.ctx.workprec(certified.PRECISION):
        exact = arb(flint.fmpq(*map(int, value.split("/")))) if "/" in value else arb(value)
        ball = arb(exact, arb(radius))
        rounded = certified._rounded(ball)
        for sign in (-1, 1):
            end = rational(ball.mid()) + sign * rational(ball.rad())
            assert abs(end - Fraction(rounded.middle)) <= Fraction(rounded.radius)
    assert rounded.radius <= 1.001 * float(radius) + 1.12e-16 * abs(rounded.middle) + 1e-323


def test_contains_compares_without_rounding():
    ball = Enclosure(1.0, 2.0**-60)
    assert ball.contains(1.0)
    assert not ball.contains(math.nextafter(1.0, 2.0))
    assert Enclosure(1.0, 2.0**-52).contains(math.nextafter(1.0, 2.0))
    assert not Enclosure(0.0, 5e-324).contains(1e-323)
    assert not Enclosure(1.0, 1.0).contains(-1e-20)
    assert not any(ball.contains(value) for value in (math.nan, math.inf, -math.inf))


@pytest.mark.parametrize("snr", [1e3, 1480.0, 1e6, 1e300, sys.float_info.max, 5e-324])
def test_any_finite_snr_is_enclosed(snr):
    ball = certified.two_points_mmse(snr)
    assert ball.radius <= 1e-15
    if snr >= 1e3:
        assert 0.0 <= ball.middle <= math.exp(-snr / 2) + 5e-324
    assert ball.contains(1.0) == (snr < 1.0)


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [-1e-300, -1.0, math.nan, math.inf, -math.inf, "much", None, [1.0, 2.0]])
def test_a_bad_snr_is_refused_before_the_package_is_asked_for(monkeypatch, snr):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ArgumentError, match=r"snr = .*: expected a finite number >= 0"):
        certified.two_points_mmse(snr)


@pytest.mark.parametrize(("field", "value"), [("middle", math.nan), ("middle", math.inf), ("radius", -1e-300)])
def test_a_ball_that_is_none_is_refused(field, value):
    with pytest.raises(ArgumentError, match=rf"{field} = {value}: expected a finite number"):
        Enclosure(**{"middle": 0.0, "radius": 0.0, field: value})


@pytest.mark.parametrize(
    "constant", [lambda: certified.two_points_mmse(1.0), certified.two_points_length, certified.two_points_limit]
)
def test_without_the_package_the_error_names_it(monkeypatch, constant):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(NotAvailableError, match=r'python-flint: pip install "truerate\[certified\]"'):
        constant()

"""Bessel functions against seventy digits, across every change of method, with derivatives to second order."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from targets import ArgumentError
from targets.bessel import SWITCH, bessel_ratio, bessel_terms, characteristic, log_bessel, one_minus_square

ORDERS = (-0.5, 0.0, 0.5, 1.0, 9.5, 39.5, 40.0, 49.0, 499.0, 5000.0)
ARGUMENTS = (1e-8, 1e-3, 0.7, 5.0, 20.0, SWITCH - 1e-3, SWITCH, SWITCH + 1e-3, 70.0, 300.0, 3e3, 1e4, 1e12)


@cache
def exact(nu: float, kappa: float) -> list[Any]:
    """[log 0F1 − κ, A, 1 − A², A/κ, A′] in 70 digits."""
    with mpmath.workdps(70):
        order, k = mpmath.mpf(nu), mpmath.mpf(kappa)
        if nu == -0.5:
            decay = mpmath.exp(-2 * k)
            square = 4 * decay / (1 + decay) ** 2
            return [mpmath.log((1 + decay) / 2), mpmath.tanh(k), square, mpmath.tanh(k) / k, square]
        first, second = (mpmath.besseli(v, k, maxterms=10**6) for v in (order, order + 1))
        value = second / first
        square = 1 - value**2
        log = mpmath.log(first) + mpmath.loggamma(order + 1) + order * mpmath.log(2 / k) - k
        return [log, value, square, value / k, square - (2 * order + 1) * value / k]


def assert_bessel(nu: float, results: list[torch.Tensor], tolerances: tuple[float, ...]) -> None:
    for i, kappa in enumerate(ARGUMENTS):
        for result, truth, tolerance in zip(results, exact(nu, kappa), tolerances, strict=True):
            got = float(result[i])
            assert abs(got - truth) <= tolerance * abs(truth) + 1e-300, (nu, kappa, got, float(truth))


@pytest.mark.parametrize("nu", ORDERS)
def test_bessel_functions_against_seventy_digits(nu):
    """Relative errors: L, A and A/κ 5e-15, 1 − A² 2e-13, A′ 1e-11; L is absolute where it is small."""
    kappa = torch.tensor(ARGUMENTS, dtype=torch.float64)
    terms = bessel_terms(nu, kappa)
    log = log_bessel(nu, kappa)
    for i, k in enumerate(ARGUMENTS):
        truth = exact(nu, k)[0]
        assert abs(float(log[i]) - truth) <= 5e-15 * max(1.0, abs(truth))
    assert_bessel(nu, [log, *terms], (1.0, 5e-15, 2e-13, 5e-15, 1e-11))
    assert torch.equal(bessel_ratio(nu, kappa), terms.value)
    assert torch.equal(one_minus_square(nu, kappa), terms.complement)
    with pytest.raises(AssertionError):
        assert_bessel(nu, [log, *(term * (1 + 1e-10) for term in terms)], (1.0, 5e-15, 2e-13, 5e-15, 1e-11))


@pytest.mark.parametrize("nu", ORDERS)
def test_bessel_functions_at_zero_and_in_any_shape(nu):
    kappa = torch.tensor([[0.0, 1.0, 3.0], [50.0, 0.0, 41.0]], dtype=torch.float64)
    at_zero = [float(x[0, 0]) for x in (log_bessel(nu, kappa), *bessel_terms(nu, kappa))]
    np.testing.assert_allclose(at_zero, [0.0, 0.0, 1.0, 0.5 / (nu + 1.0), 0.5 / (nu + 1.0)], rtol=1e-13, atol=0.0)
    for function in (log_bessel, bessel_ratio, one_minus_square, characteristic):
        assert function(nu, kappa).shape == (2, 3)
        torch.testing.assert_close(function(nu, kappa[1, 2]), function(nu, kappa)[1, 2], rtol=1e-12, atol=1e-15)
        assert function(nu, kappa[:0]).shape == (0, 3)


@pytest.mark.parametrize("nu", ORDERS)
def test_bessel_gradients(nu):
    kappa = torch.tensor([0.2, 3.0, 30.0, 45.0, 200.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: log_bessel(nu, k), kappa, atol=1e-8, rtol=1e-5)
    for part in range(4):
        assert torch.autograd.gradcheck(lambda k, part=part: bessel_terms(nu, k)[part], kappa, atol=1e-8, rtol=1e-5)
    assert torch.autograd.gradcheck(lambda k: characteristic(nu, k), kappa, atol=1e-8, rtol=1e-5)
    for function in (log_bessel, bessel_ratio, one_minus_square, characteristic):
        assert torch.autograd.gradgradcheck(lambda k, f=function: f(nu, k), kappa, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("nu", ORDERS)
def test_characteristic_function_of_a_direction(nu):
    """Absolute error 2e-14, on both sides of every change of method."""
    edge = math.sqrt(4.0 * (nu + 1.0))
    x = np.array([0.0, 1e-8, 0.5, 0.9, 0.999 * edge, 1.001 * edge, 3.0 * edge, 5.9 * edge, 9.0 * edge])
    with mpmath.workdps(80):
        truth = [float(mpmath.hyp0f1(mpmath.mpf(nu) + 1, -(mpmath.mpf(float(v)) ** 2) / 4)) for v in x]
    np.testing.assert_allclose(characteristic(nu, torch.from_numpy(x)).numpy(), truth, rtol=0.0, atol=2e-14)


@pytest.mark.parametrize("function", [log_bessel, bessel_ratio, one_minus_square, bessel_terms, characteristic])
def test_bessel_functions_refuse_bad_arguments(function):
    for nu in (-0.6, math.nan, "one"):
        with pytest.raises(ArgumentError, match=r"nu = .*expected a finite number >= -1/2"):
            function(nu, torch.ones(2, dtype=torch.float64))
    for kappa in (torch.ones(2), 1.0):
        with pytest.raises(ArgumentError, match=r"kappa = .*expected a float64 tensor"):
            function(0.5, kappa)

"""What every law's mmse curve has to hold: one function a property, raising AssertionError (see contracts.py).

Statistical properties compare at 4 combined standard errors: a correct law fails one comparison with probability
6e-5 over seeds; all seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from contracts import EPS, normal, states
from torch import Tensor

from targets import Level, Target


def informative_levels(law: Target) -> list[Level]:
    """VP levels at which 95%, 50% and 10% of the variance are left."""
    snr = np.exp(np.linspace(law.curve.edges[0], law.curve.edges[-1], 400))
    left = np.asarray(law.mmse(snr).value) / max(law.total_variance, 1e-300)
    return [Level.from_snr(float(snr[np.argmin(np.abs(left - share))])) for share in (0.95, 0.5, 0.1)]


def curve_is_a_curve(law: Target) -> None:
    """mmse falls, its slope is not negative, I rises and ½mmse at both ends of a step brackets ΔI/Δγ (concavity)."""
    snr = np.exp(np.linspace(law.curve.edges[0] - 3.0, law.curve.edges[-1] + 1.0, 80))
    mmse, slope, info = (f(snr) for f in (law.mmse, law.mmse_slope, law.mutual_information))
    for estimate in (mmse, slope, info):
        assert np.shape(estimate.value) == np.shape(estimate.stderr) == np.shape(estimate.bias) == snr.shape
        assert np.isfinite(estimate.value).all()
        assert (np.asarray(estimate.value) >= 0).all()
    values, gain, width = np.asarray(mmse.value), np.diff(np.asarray(info.value)), np.diff(snr)
    assert (np.diff(values) <= 0).all()
    slack = 1e-9 * 0.5 * values[:-1] * width + 64 * EPS * np.asarray(info.value)[1:]
    assert (gain >= 0.5 * values[1:] * width - slack).all()
    assert (gain <= 0.5 * values[:-1] * width + slack).all()


def curve_starts_at_the_variance(law: Target) -> None:
    """mmse(0) = tr Cov X, I(0) = 0: 1e-12 where deterministic, the stated error and 1e-4 where sampled.

    At small snr a replicate's error is skewed (one state in many carries it), so that the jackknife over 16 of them
    undercovers: 8 of its own standard errors were seen, 3e-5 of the variance.
    """
    start = law.mmse(0.0)
    rel = 1e-4 if start.stderr > 0 else 1e-12
    assert abs(start.value - law.total_variance) <= start.error + rel * law.total_variance
    assert law.mutual_information(0.0).value == 0.0


def curve_is_consistent(law: Target) -> None:
    """I′ = ½mmse and mmse′ = −slope by central differences of relative width 1e-4.

    A sampled curve may differ by the interpolation error that it states (its bias).
    """
    h, snr = 1e-4, np.array([at.snr for at in informative_levels(law)])
    rtol = 1e-5 + law.curve.bias

    def difference(function: Callable[[Any], Any]) -> np.ndarray:
        return (function(snr * (1 + h)).value - function(snr * (1 - h)).value) / (2 * h * snr)

    np.testing.assert_allclose(difference(law.mutual_information), 0.5 * law.mmse(snr).value, rtol=rtol)
    np.testing.assert_allclose(-difference(law.mmse), law.mmse_slope(snr).value, rtol=10 * rtol)


def information_ends_at_the_entropy(law: Target) -> None:
    """I(∞) = H(X) (I-MMSE): 1e-9 where the curve is deterministic, 4 standard errors where it is sampled."""
    end = law.mutual_information(1e3 * float(np.exp(law.curve.edges[-1])))
    exact = float(law.entropy().value)
    assert abs(end.value - exact) <= max(end.error, 1e-9 * exact)
    assert end.stderr > 0 or abs(end.value - exact) <= 1e-9 * exact


def draws(law: Target) -> int:
    """Monte Carlo draws: many on the line, where rare events decide and cost little."""
    return 2048 if law.dim > 4 else 16384


def _within(sampled: Tensor, value: Any, rel: float = 1e-9) -> None:
    """The mean of `sampled` and an Estimate agree within 4 combined standard errors and the stated bias."""
    stderr = math.hypot(float(sampled.std()) / math.sqrt(len(sampled)), float(value.stderr))
    assert abs(float(sampled.mean()) - value.value) <= 4.0 * stderr + abs(value.bias) + rel * value.value


def mmse_is_the_mean_posterior_trace(law: Target, n: int | None = None) -> None:
    """mmse(γ) against the plain Monte Carlo mean of tr Cov[X given y]."""
    for k, at in enumerate(informative_levels(law)):
        _within(law.posterior_trace(states(law, at, n or draws(law), seed=30 + 2 * k)[1], at), law.mmse(at.snr))


def mmse_is_the_mean_squared_residual(law: Target, n: int | None = None) -> None:
    """mmse(γ) against the plain Monte Carlo mean of ‖X − m‖²: sampler, denoiser and curve at once."""
    for k, at in enumerate(informative_levels(law)):
        x, y = states(law, at, n or draws(law), seed=40 + 2 * k)
        _within((x - law.denoiser(y, at)).square().sum(1), law.mmse(at.snr))


def slope_is_the_mean_squared_product(law: Target, n: int | None = None) -> None:
    """−mmse′(γ) against the mean of ‖Cov[X given y] v‖², v standard normal: no derivative is taken."""
    for k, at in enumerate(informative_levels(law)):
        y = states(law, at, n or draws(law), seed=50 + 2 * k)[1]
        product = law.posterior_covariance_product(y, normal(tuple(y.shape), 60 + k), at)
        _within(product.square().sum(1), law.mmse_slope(at.snr))

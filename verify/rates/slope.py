"""Slope of log value against log x, with a 95% interval.

Exact rows (no standard error): the local slopes between neighbours are numbers without noise, and the slope is the last of
them.  On x^p (1 + c/x^q) the local slope at m is p + D(m) with D ∝ m^{-q} to first order, so that of two neighbours at a
ratio ρ the last is away from p by

    D = −Δ/(ρ^q − 1),      Δ = its change since the one before.

The interval reaches twice that distance to both sides, with q read off the last two changes (1/4 ≤ q ≤ 1), or q = 1/2 where
three points leave only one change.

Noisy rows: weighted least squares of log value on log x with weights w = (value/stderr)²,

    slope = Σ w(u − ū)v / Σ w(u − ū)²,      variance = 1/Σ w(u − ū)².

The stated errors are taken at their word, with the normal quantile, unless the residuals contradict them (χ² beyond its
quantile at 1e-3): then the variance is scaled to the scatter of the residuals, and the quantile is Student's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from targets import Estimate
from verify.rates.points import Values, as_errors, points

CONTRADICTED = 1e-3
"""Probability with which right errors are taken for wrong."""

SLOWEST = 0.25
"""Smallest power q of a correction that the bracket of exact rows allows for."""

MARGIN = 2.0
"""Half-width of the bracket of exact rows over the distance to the extrapolated slope."""


@dataclass(frozen=True, eq=False)
class RateFit:
    """`slope` of log value against log x, its 95% `interval`, the `local_slopes` between neighbours, the `window`.

    `exact`: the rows had no standard error, and the interval is a bracket of the limit.
    """

    slope: float
    interval: tuple[float, float]
    local_slopes: np.ndarray
    window: tuple[float, float]
    exact: bool = False

    def excludes(self, value: float) -> bool:
        """`value` lies outside the interval."""
        return not self.interval[0] <= value <= self.interval[1]


def fit(
    x: Sequence[float] | np.ndarray, estimates: Sequence[Estimate] | np.ndarray, stderr: np.ndarray | None = None
) -> RateFit:
    """Slope of log estimate against log x over all points given; choose the window by what is passed.

    x: strictly ascending, at least three values.  estimates: `Estimate`s, or positive values with their `stderr`.  The
    deterministic errors of `Estimate`s (`bias`) widen the interval by the most that they can move the slope.
    Exact rows: the bracket holds x^p (1 + c/x^q) from q = 1/4 on (three points: q = 1/2) once the correction is below a half.
    Noisy rows: the interval covers the slope of a power law in 95% of draws where the relative errors are right and the noise
    is log-normal (measured: 94 to 95.5% for 3 to 10 points and errors of 1 to 20%); 93 to 96.5% with normal noise or with
    errors stated relative to the truth, of which those of 20% are the worst.
    ArgumentError: too few points, x not ascending, values not positive.
    """
    places, values = points(x, estimates, stderr)
    u, v = np.log(places), values.log
    local = np.diff(v) / np.diff(u)
    slope, interval = _exact(u, local, values) if values.exact else _weighted(u, v, values)
    return RateFit(slope, interval, local, (float(places[0]), float(places[-1])), values.exact)


def _exact(u: np.ndarray, local: np.ndarray, values: Values) -> tuple[float, tuple[float, float]]:
    """The last local slope and its bracket, at least ±1e-9; a bias moves the slope and, times the factor, its change."""
    middle = 0.5 * (u[1:] + u[:-1])
    gap, change = np.diff(middle), np.diff(local)
    last, previous = np.zeros_like(u), np.zeros_like(u)
    last[-2:] = np.array([-1.0, 1.0]) / (u[-1] - u[-2])
    previous[-3:-1] = np.array([-1.0, 1.0]) / (u[-2] - u[-3])
    power, size = 0.5, abs(change[-1])
    if len(change) > 1 and change[-1] * change[-2] > 0:
        power = _power(gap[-2], gap[-1], change[-2] / change[-1])
    elif len(change) > 1:
        size = max(size, abs(change[-2]))
    factor = MARGIN / np.expm1(power * gap[-1])
    low, high = values.shifts(last)
    half = max(factor * (size + max(np.abs(values.shifts(last - previous)))), 1e-9)
    return float(local[-1]), (float(local[-1] + low - half), float(local[-1] + high + half))


def _power(before: float, after: float, ratio: float) -> float:
    """q in [SLOWEST, 1] for which changes of m^{-q} over two gaps of log m stand in this ratio."""
    from scipy.optimize import root_scalar

    def off(power: float) -> float:
        return float(np.expm1(power * before) / -np.expm1(-power * after)) - ratio

    if off(SLOWEST) >= 0:
        return SLOWEST
    return 1.0 if off(1.0) <= 0 else root_scalar(off, bracket=(SLOWEST, 1.0), method="brentq").root


def _weighted(u: np.ndarray, v: np.ndarray, values: Values) -> tuple[float, tuple[float, float]]:
    from scipy.special import chdtri, ndtri, stdtrit

    weight = 1.0 / as_errors(values.relative) ** 2
    centre = (weight * u).sum() / weight.sum()
    spread = (weight * (u - centre) ** 2).sum()
    coefficients = weight * (u - centre) / spread
    slope = float(coefficients @ v)
    residual = v - (weight * v).sum() / weight.sum() - slope * (u - centre)
    squares, freedom = float((weight * residual**2).sum()), len(u) - 2
    half = float(ndtri(0.975) / np.sqrt(spread))
    if squares > chdtri(freedom, CONTRADICTED):
        half = float(stdtrit(freedom, 0.975) * np.sqrt(squares / freedom / spread))
    low, high = values.shifts(coefficients)
    return slope, (slope + low - half, slope + high + half)

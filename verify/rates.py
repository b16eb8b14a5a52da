"""Rates: log–log slopes with intervals.

Exact rows (no standard error): the local slopes between neighbours are numbers without noise; the slope is the last of
them and the interval reaches twice as far as its Richardson extrapolation, in both directions.
Noisy rows: weighted least squares of log value on log x with weights 1/(stderr/value)², and Student's interval, widened
by the residual scatter where that exceeds the stated errors: conservative where the stated errors are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from targets import Estimate
from targets.arguments import ascending, real, refuse


@dataclass(frozen=True, eq=False)
class RateFit:
    """`slope` of log value against log x, its 95% `interval`, the `local_slopes` between neighbours, the `window`."""

    slope: float
    interval: tuple[float, float]
    local_slopes: np.ndarray
    window: tuple[float, float]

    def excludes(self, value: float) -> bool:
        """`value` lies outside the interval."""
        return not self.interval[0] <= value <= self.interval[1]


def fit(
    x: Sequence[float] | np.ndarray, estimates: Sequence[Estimate] | np.ndarray, stderr: np.ndarray | None = None
) -> RateFit:
    """Slope of log estimate against log x over all points given; choose the window by what is passed.

    x: strictly ascending, at least three values.  estimates: `Estimate`s, or positive values with their `stderr`.
    """
    places = ascending("x", x, minimum_length=3)
    if not isinstance(estimates, (Sequence, np.ndarray)):
        refuse("estimates", estimates, "a sequence of estimates or of positive values")
    if stderr is None and len(estimates) and isinstance(estimates[0], Estimate):
        values = np.array([float(e.value) for e in estimates])
        errors = np.array([float(e.stderr) for e in estimates])
    else:
        values = np.asarray(estimates, dtype=np.float64)
        errors = np.zeros_like(values) if stderr is None else np.asarray(stderr, dtype=np.float64)
    if values.shape != places.shape or errors.shape != places.shape:
        refuse("estimates.shape", values.shape, f"one value and error for each x, {places.shape}")
    if not (np.isfinite(values) & (values > 0)).all():
        refuse("estimates", float(values[~(np.isfinite(values) & (values > 0))][0]), "positive finite values")
    if not (np.isfinite(errors) & (errors >= 0)).all():
        refuse("stderr", float(errors[~(np.isfinite(errors) & (errors >= 0))][0]), "finite standard errors >= 0")
    u, v = np.log(places), np.log(values)
    local = np.diff(v) / np.diff(u)
    relative = errors / values
    slope, interval = _exact(u, local) if (relative < 1e-12).all() else _weighted(u, v, relative)
    return RateFit(slope, interval, local, (float(places[0]), float(places[-1])))


def _exact(u: np.ndarray, local: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The last local slope; half-width: twice its distance from the extrapolation of the last two in 1/x, at least 1e-9."""
    middle = 0.5 * (u[1:] + u[:-1])
    ratio = np.exp(middle[-1] - middle[-2])
    extrapolated = local[-1] + (local[-1] - local[-2]) / (ratio - 1.0)
    half = max(2.0 * abs(extrapolated - local[-1]), 1e-9)
    return float(local[-1]), (float(local[-1] - half), float(local[-1] + half))


def _weighted(u: np.ndarray, v: np.ndarray, relative: np.ndarray) -> tuple[float, tuple[float, float]]:
    relative = np.maximum(relative, 1e-3 * relative.max())
    weight = 1.0 / relative**2
    centre = (weight * u).sum() / weight.sum()
    spread = (weight * (u - centre) ** 2).sum()
    slope = float((weight * (u - centre) * v).sum() / spread)
    residual = v - (weight * v).sum() / weight.sum() - slope * (u - centre)
    freedom = len(u) - 2
    scatter = max(1.0, float((weight * residual**2).sum() / freedom))
    half = float(student.ppf(0.975, freedom) * np.sqrt(scatter / spread))
    return slope, (slope - half, slope + half)


@dataclass(frozen=True)
class StepsToReach:
    """The least K with KL(K) ≤ level: `steps`, its `stderr` (random part of the KL) and, where `extrapolated`, its `bias`."""

    steps: float
    stderr: float
    bias: float
    extrapolated: bool


def steps_to_reach(
    divergence: Callable[[int], Estimate],
    level: float,
    *,
    order: int = 1,
    exact_up_to: int = 100_000,
    limit_at: int = 4096,
) -> StepsToReach:
    """The least K at which divergence(K) ≤ level, for a divergence that falls like K^{-order}.

    Found exactly (divergence(K) ≤ level < divergence(K − 1)) up to `exact_up_to`; beyond, from the limit c of
    K^order·divergence: with c(K) = c + O(1/K) and L = `limit_at`, c ≈ 2c(L) − c(L/2), and the change from
    2c(L/2) − c(L/4) is its error.
    """
    level = real("level", level, "a number > 0", low=0.0)
    known: dict[int, Estimate] = {}

    def at(steps: int) -> float:
        if steps not in known:
            known[steps] = divergence(steps)
        return float(known[steps].value)

    steps = 64
    for _ in range(40):
        proposed = max(1, math.ceil(steps * (at(steps) / level) ** (1.0 / order)))
        if proposed > exact_up_to:
            return _beyond(at, known, level, order, limit_at)
        if abs(proposed - steps) <= 1:
            break
        steps = proposed
    steps = max(1, proposed)
    while at(steps) > level:
        steps += 1
    while steps > 1 and at(steps - 1) <= level:
        steps -= 1
    relative = float(known[steps].stderr) / at(steps)
    return StepsToReach(steps, steps * relative / order, 0.0, extrapolated=False)


def _beyond(
    at: Callable[[int], float], known: dict[int, Estimate], level: float, order: int, last: int
) -> StepsToReach:
    scaled = [at(steps) * float(steps) ** order for steps in (last // 4, last // 2, last)]
    limit, before = 2.0 * scaled[2] - scaled[1], 2.0 * scaled[1] - scaled[0]
    steps = (limit / level) ** (1.0 / order)
    relative = float(known[last].stderr) / at(last)
    return StepsToReach(steps, steps * relative / order, steps * abs(limit - before) / limit / order, extrapolated=True)

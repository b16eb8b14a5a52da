"""Asymptotic window: the points at which a power law has set in and has not yet ended.

A line through log value against log x holds for a run of points if every local slope in it is the slope of the line within
tolerance · max(1, |slope|) and the errors of the local slope; on noisy rows a fitted parabola's slope may change by twice
that tolerance and two standard errors from the first point of the run to the last.

1. Last points whose own error reaches half their value are dropped.
2. The values end on a plateau if, past some run x^{−p} (twice as steep as the last one), they never fall below its
   continuation and their excess over it, once it stands out, has slope zero: an additive constant, be it rounding, the
   start or a quadrature.  Then the window is the longest such run.
3. Otherwise the window is the longest run that reaches the last point left, unless it is leaving a power law: its local
   slope changes more with every step.

A bend between two powers leaves the second, a power law plus a constant leaves the power law, and a curve that is still
bending at the last point leaves nothing.  A sequence that converges to a constant with corrections (never steeper than
x^{−1/2}) has slope zero as its power law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from targets import Estimate
from targets.arguments import real
from verify.rates.points import Values, as_errors, points

SPAN = np.log(2.0)
"""A run reaches over a doubling of x at least: every curve is straight over less."""

FLAT = 0.25
"""Largest size of a slope that is taken for zero, and at most 0.15 of the steeper run's."""

STEEP = 0.5
"""A fall faster than this power is a power law of its own, not a correction to a constant."""

EXCESS = 0.3
"""Part of the continuation that an excess over it always counts from; ten times the run's own residual if that is less."""


@dataclass(frozen=True, eq=False)
class Window:
    """Points start … stop − 1 lie in the asymptotic range; `start == stop` where that cannot be decided, for a `reason`.

    `before` counts the points cut at the start, `plateau` says why the last ones were cut (None: they were not).
    """

    start: int
    stop: int
    before: int
    plateau: str | None
    reason: str | None


@dataclass(frozen=True, eq=False)
class _Run:
    """A line that holds for the points start … stop − 1, over `span` of log x, and its largest `residual` there."""

    start: int
    stop: int
    slope: float
    constant: float
    span: float
    residual: float


def asymptotic(
    x: Sequence[float] | np.ndarray,
    estimates: Sequence[Estimate] | np.ndarray,
    stderr: np.ndarray | None = None,
    *,
    tolerance: float = 0.02,
) -> Window:
    """The points that follow one power law, to be passed to `fit`: x[start:stop].

    x: strictly ascending, at least three.  estimates: `Estimate`s, or positive values with their `stderr`.
    tolerance: in (0, 1).  A window has at least three points and a doubling of x.
    The errors of a local slope are three standard errors and its bias.
    Of exact rows of sums and harmonic sums of two powers, 1% had a window whose slope was off by more than 5%, most of them
    where the second power hardly shows.  Noise hides a bend: rows that a line fits within their errors are one window.
    ArgumentError: too few points, x not ascending, values not positive, tolerance outside (0, 1).
    """
    tolerance = real("tolerance", tolerance, "a number in (0, 1)", low=0.0, high=1.0)
    places, values = points(x, estimates, stderr)
    curve = _Curve(np.log(places), values, tolerance)
    heard = np.flatnonzero(values.bias + values.stderr < 0.5 * values.values)
    stop = int(heard[-1]) + 1 if len(heard) else 0
    silent = f"below its own error from x = {places[stop]:g} on" if stop < len(places) else None
    last = curve.longest(stop)
    if last is not None and curve.leaves(last):
        last = None
    least = 2.0 * abs(last.slope) if last is not None else 0.0
    earlier = (curve.longest(end) for end in range(3, stop))
    steeper = [run for run in earlier if run and abs(run.slope) > least and curve.floor(run, stop) is not None]
    if steeper:
        run = max(steeper, key=lambda run: run.span)
        return _window(run, "; ".join(filter(None, (f"plateau at {curve.floor(run, stop):.3g}", silent))))
    if last is not None and (abs(last.slope) > FLAT or not curve.falls(last.start + 1)):
        return _window(last, silent)
    if last is not None:
        flat = f"plateau at {np.exp(last.constant + last.slope * curve.u[stop - 1]):.3g}"
        return Window(
            stop, stop, 0, "; ".join(filter(None, (flat, silent))), "a plateau before any power law has set in"
        )
    reason = "fewer than three points above their own error" if stop < 3 else "the local slopes still change at the end"
    return Window(stop, stop, 0, silent, reason)


def _window(run: _Run, plateau: str | None) -> Window:
    return Window(run.start, run.stop, run.start, plateau, None)


class _Curve:
    """log value against u = log x, the errors of its local slopes, and the lines that hold for runs of it."""

    def __init__(self, u: np.ndarray, values: Values, tolerance: float) -> None:
        self.u, self.v, self.values, self.tolerance = u, values.log, values, tolerance
        random, fixed = values.relative, values.bias / values.values
        self.local = np.diff(self.v) / np.diff(u)
        self.error = (3.0 * np.hypot(random[1:], random[:-1]) + fixed[1:] + fixed[:-1]) / np.diff(u)
        self.weight = np.ones(len(u)) if values.exact else 1.0 / as_errors(random) ** 2

    def longest(self, stop: int) -> _Run | None:
        """The longest run that ends before `stop`."""
        runs = (self._run(start, stop) for start in range(stop - 2))
        return next((run for run in runs if run is not None), None)

    def _run(self, start: int, stop: int) -> _Run | None:
        u, v, weight = self.u[start:stop], self.v[start:stop], self.weight[start:stop]
        span = float(u[-1] - u[0])
        if span < SPAN * (1.0 - 1e-9):
            return None
        centre, height = np.average(u, weights=weight), np.average(v, weights=weight)
        slope = float((weight * (u - centre) * v).sum() / (weight * (u - centre) ** 2).sum())
        allowed = self.tolerance * max(1.0, abs(slope))
        off = np.abs(self.local[start : stop - 1] - slope) - self.error[start : stop - 1]
        if (off > allowed).any():
            return None
        residual = np.abs(v - height - slope * (u - centre))
        if not self.values.exact and self._bends(start, stop, 2.0 * allowed):
            return None
        return _Run(start, stop, slope, float(height - slope * centre), span, float(residual.max()))

    def _bends(self, start: int, stop: int, allowed: float) -> bool:
        """The slope of a fitted parabola changes over the run by more than is allowed, two standard errors and the bias."""
        u = self.u[start:stop] - self.u[start]
        root = np.sqrt(self.weight[start:stop])
        drift = 2.0 * u[-1] * np.linalg.pinv(np.vander(u, 3) * root[:, None])[0] * root
        error = 2.0 * float(np.linalg.norm(drift / root))
        fixed = np.abs(drift) @ (self.values.bias / self.values.values)[start:stop]
        return bool(abs(drift @ self.v[start:stop]) > allowed + error + fixed)

    def leaves(self, run: _Run) -> bool:
        """The local slope changes ever more towards the end of the run, by half the tolerance in its last step at least."""
        change = np.diff(self.local[: run.stop - 1])[-2:]
        error = (self.error[1:] + self.error[:-1])[: run.stop - 2][-2:]
        moved = abs(change[-1]) - error[-1]
        grows = len(change) > 1 and moved > abs(change[0]) + error[0]
        return bool(grows and moved > 0.5 * self.tolerance * max(1.0, abs(run.slope)))

    def floor(self, run: _Run, stop: int) -> float | None:
        """The constant that the points from the run to `stop` are in excess of its continuation by, if they are."""
        after = slice(run.stop, stop)
        u, v, relative = self.u[after], self.values.values[after], self.values.relative[after]
        continued = np.exp(run.constant + run.slope * u)
        excess, noise = v - continued, 3.0 * self.values.stderr[after] + self.values.bias[after]
        least = min(EXCESS, max(10.0 * run.residual, 1e-9))
        above = excess > least * continued + noise
        steep = run.slope < -max(FLAT, 5.0 * self.tolerance)
        if not steep or above.sum() < 2 or not above[-1] or (v + noise < (1.0 - EXCESS) * continued).any():
            return None
        slope, error = _trend(u[above], np.log(excess[above]), (relative * v)[above] / excess[above])
        if abs(slope) > min(min(FLAT, 0.15 * -run.slope) + 2.0 * error, 0.5 * -run.slope):
            return None
        return float(np.median(excess[above][-3:]))

    def falls(self, stop: int) -> bool:
        """Some local slope before point `stop` is steeper than a correction to a constant, beyond its error."""
        return bool((self.local[: stop - 1] + self.error[: stop - 1] < -STEEP).any())


def _trend(u: np.ndarray, v: np.ndarray, stderr: np.ndarray) -> tuple[float, float]:
    """Slope of v against u with its standard error: from the stated errors, or from the scatter where that is more."""
    centred = u - u.mean()
    spread = float(centred @ centred)
    slope = float(centred @ v) / spread
    residual = v - v.mean() - slope * centred
    scatter = float(residual @ residual) / max(len(u) - 2, 1) / spread
    return slope, float(np.sqrt(max(scatter, ((centred * stderr) ** 2).sum() / spread**2)))

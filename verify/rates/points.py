"""Measured points of a curve, as every rule here reads them.

A point is a place x, a value, the standard error of its random part and a bound on its deterministic error.  On the scale of
log value the random part is stderr/value and a shift of at most b moves the logarithm by log(1 − b/v) to log(1 + b/v).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from targets import Estimate
from targets.arguments import ascending, refuse

ROUNDING = 1e-12
"""Standard errors below this part of the value are rounding: the row is exact."""

SMALLEST = 1e-3
"""Smallest error of a noisy row as a part of the largest one, so that no point outweighs all others."""


def as_errors(stderr: np.ndarray) -> np.ndarray:
    """Standard errors to weigh with: all ones where none is positive, otherwise at least `SMALLEST` of the largest."""
    largest = stderr.max()
    return np.maximum(stderr, SMALLEST * largest) if largest > 0 else np.ones_like(stderr)


@dataclass(frozen=True, eq=False)
class Values:
    """`values` with `stderr` and `bias`: three arrays of one length; the logarithm's errors where values are positive."""

    values: np.ndarray
    stderr: np.ndarray
    bias: np.ndarray

    @property
    def log(self) -> np.ndarray:
        """log value."""
        return np.log(self.values)

    @property
    def relative(self) -> np.ndarray:
        """Standard error of log value to first order."""
        return self.stderr / self.values

    @property
    def exact(self) -> bool:
        """No standard error beyond rounding."""
        return bool((self.stderr <= ROUNDING * np.abs(self.values).max()).all() and (self.stderr < self._small).all())

    @property
    def _small(self) -> np.ndarray:
        return np.where(self.values == 0.0, np.inf, ROUNDING * np.abs(self.values))

    def shifts(self, coefficients: np.ndarray) -> tuple[float, float]:
        """Least and greatest change of Σ_i c_i log v_i when each value moves by at most its bias (infinite if to zero)."""
        part = self.bias / self.values
        up = np.log1p(part)
        down = np.where(part < 1.0, np.log1p(-np.minimum(part, 1.0 - 1e-16)), -np.inf)
        used = np.flatnonzero(coefficients)
        c, up, down = coefficients[used], up[used], down[used]
        return float(np.minimum(c * up, c * down).sum()), float(np.maximum(c * up, c * down).sum())


def values_of(estimates: Any, stderr: Any, count: int | None, *, positive: bool = True) -> Values:
    """`Estimate`s, or numbers with their `stderr` (given, it replaces that of the estimates).

    count: how many there have to be (None: any number).  ArgumentError: another number of them, values that are not finite
    (and > 0 if `positive`), errors that are not finite and >= 0.
    """
    if not isinstance(estimates, (Sequence, np.ndarray)) or isinstance(estimates, str):
        refuse("estimates", estimates, "a sequence of estimates or of positive values")
    values = _floats("estimates", estimates)
    errors = [(e.stderr, abs(e.bias)) if isinstance(e, Estimate) else (0.0, 0.0) for e in estimates]
    random, fixed = (_floats(f"estimates.{n}", [e[i] for e in errors]) for i, n in enumerate(("stderr", "bias")))
    if stderr is not None:
        random = _floats("stderr", stderr)
    shape = values.shape[:1] if count is None else (count,)
    if values.shape != shape or random.shape != shape:
        given = values.shape if values.shape != shape else random.shape
        refuse("estimates.shape", given, f"one value and error for each x, {shape}")
    good = np.isfinite(values) & ((values > 0) | (not positive))
    if not good.all():
        refuse("estimates", float(values[~good][0]), f"{'positive ' if positive else ''}finite values")
    for name, error in (("stderr", random), ("bias", fixed)):
        bad = ~(np.isfinite(error) & (error >= 0))
        if bad.any():
            refuse(name, float(error[bad][0]), "finite standard errors >= 0" if name == "stderr" else "finite biases")
    return Values(values, random, fixed)


def points(
    x: Any, estimates: Any, stderr: Any, *, at_least: int = 3, positive: bool = True
) -> tuple[np.ndarray, Values]:
    """x, strictly ascending and positive, with the value at each; ArgumentError for fewer than `at_least`."""
    places = ascending("x", x, minimum_length=at_least)
    return places, values_of(estimates, stderr, len(places), positive=positive)


def _floats(name: str, given: Any) -> np.ndarray:
    try:
        return np.array([float(entry) for entry in given], dtype=np.float64)
    except (TypeError, ValueError):
        refuse(name, given, "real numbers, or estimates of them")

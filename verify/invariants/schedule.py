"""Checks of a schedule: where K + 1 levels go on a window of snr.

    γ_0 < γ_1 < … < γ_K,      γ_0 and γ_K the window's ends to the last bit,      max_k log(γ_{k+1}/γ_k) = O(1/K)

The last one is what every rate in K takes for granted: a schedule that leaves one step as it was while K grows has an error
that does not fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from targets.arguments import refuse
from verify.audit.limits import TimeLimitError
from verify.grid import Grid
from verify.invariants.check import Broken, Check, limit, named, parametrized, raised, run_all
from verify.invariants.sources import untouched

Schedule = Callable[..., Any]
"""schedule(steps, snr=(low, high)) -> a Grid, or ascending snr values (steps + 1,)."""

WINDOWS = {
    "ordinary": (0.01, 100.0),
    "extreme": (1e-8, 1e8),
    "narrow": (2.0, 2.0002),
    "low": (1e-8, 1e-3),
    "high": (1e3, 1e8),
}
"""snr windows (γ_0, γ_K)."""

MILD = (0.5, 8.0)
"""The window on which refinement is measured: schedules that are even in snr or in σ are near their limit here."""

FINE = (512, 1024)
"""K before and after a doubling."""

HALVES = (0.45, 0.55)
"""What the largest log step may be multiplied by when K doubles.

A smooth schedule multiplies it by ½(1 + O(1/K)); one that leaves a step behind by 1, one whose steps crowd at an end by more
than this too.
"""


@dataclass(frozen=True)
class Drawn:
    """A schedule, called."""

    schedule: Schedule
    seconds: float

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            refuse("schedule", self.schedule, "a callable (steps, snr=(low, high)) -> levels, e.g. Grid.log_snr")
        limit(self.seconds)

    def __call__(self, steps: int, window: tuple[float, float]) -> np.ndarray:
        """The snr values, after a look at their type and number.  Raises `Broken`."""
        where = f"{steps} step{'s' * (steps > 1)}, snr {window[0]:g} to {window[1]:g}"
        try:
            made = self.schedule(steps, snr=window)
            values = np.asarray(made.snr if isinstance(made, Grid) else made, dtype=np.float64)
        except TimeLimitError:
            raise
        except Exception as error:
            raise Broken(f"{raised(error)} ({where})") from error
        if values.shape != (steps + 1,):
            raise Broken(f"returned {values.shape} levels: expected {(steps + 1,)} ({where})")
        if not np.isfinite(values).all():
            raise Broken(f"level {int(np.argmin(np.isfinite(values)))} is {values[~np.isfinite(values)][0]} ({where})")
        return values


def ascending(drawn: Drawn) -> None:
    """Positive and strictly ascending, on every window at K = 1, 2, 3, 10, 100."""
    for window in WINDOWS.values():
        for steps in (1, 2, 3, 10, 100):
            values = drawn(steps, window)
            where = f"{steps} steps, snr {window[0]:g} to {window[1]:g}"
            if not values[0] > 0.0:
                raise Broken(f"level 0 has snr {values[0]}: expected positive values ({where})")
            gaps = np.diff(values)
            if not (gaps > 0.0).all():
                k = int(np.argmin(gaps > 0.0))
                raise Broken(
                    f"levels {k} and {k + 1} have snr {values[k]:.17g} and {values[k + 1]:.17g}, not ascending ({where})"
                )


def ends(drawn: Drawn) -> None:
    """The first and last level are the window's ends to the last bit."""
    for window in WINDOWS.values():
        for steps in (1, 2, 10, 100):
            values = drawn(steps, window)
            for name, got, wanted in (("first", values[0], window[0]), ("last", values[-1], window[1])):
                if got != wanted:
                    off = f"off by {abs(got / wanted - 1.0):.3g} of it"
                    raise Broken(
                        f"the {name} level has snr {got:.17g}, {off}: expected {wanted:g} exactly (K = {steps})"
                    )


def one_step(drawn: Drawn) -> None:
    """K = 1 is the window itself."""
    for window in WINDOWS.values():
        drawn(1, window)


def deterministic(drawn: Drawn) -> None:
    """Two calls give the same bits, and no global generator is advanced."""
    with untouched():
        first, again = drawn(17, WINDOWS["ordinary"]), drawn(17, WINDOWS["ordinary"])
    if not np.array_equal(first, again):
        raise Broken(f"two calls differ by up to {np.abs(first - again).max():.3g}")


def refinement(drawn: Drawn) -> None:
    """The largest step of log γ halves when K doubles."""
    largest = [float(np.diff(np.log(drawn(steps, MILD))).max()) for steps in FINE]
    ratio = largest[1] / largest[0]
    if not HALVES[0] <= ratio <= HALVES[1]:
        raise Broken(
            f"the largest step of log snr is {largest[0]:.3g} at K = {FINE[0]} and {largest[1]:.3g} at K = {FINE[1]}: "
            f"expected half of it, got {ratio:.3g} times; steps do not fall like 1/K and no rate in K is reached"
        )


CHECKS: dict[str, Callable[[Drawn], None]] = {
    "one_step": one_step,
    "ascending": ascending,
    "ends": ends,
    "deterministic": deterministic,
    "refinement": refinement,
}
"""Checks of every schedule."""


def schedule_checks(schedule: Schedule, *, seconds: float = 30.0) -> list[Check]:
    """The checks of a schedule; arguments as in `check_schedule`."""
    drawn = Drawn(schedule, seconds)
    return [Check(name, named(schedule), partial(body, drawn), seconds) for name, body in CHECKS.items()]


def check_schedule(schedule: Schedule, *, seconds: float = 30.0) -> None:
    """Holds a schedule against what every grid has to be.

    schedule: called as schedule(steps, snr=(low, high)); a Grid or ascending snr values (steps + 1,) come back.
    seconds: limit on each check.
    Raises `InvariantError` with every check that failed; ArgumentError where `schedule` cannot be called.

    >>> check_schedule(Grid.log_snr)
    """
    run_all(schedule_checks(schedule, seconds=seconds))


def parametrize_with_schedule_checks(schedules: Iterable[Schedule], *, seconds: float = 30.0) -> Any:
    """A pytest mark: one test for each schedule and check, handed over as `check`."""
    if callable(schedules) or isinstance(schedules, str):
        refuse("schedules", schedules, "a list of schedules")
    return parametrized(check for schedule in schedules for check in schedule_checks(schedule, seconds=seconds))

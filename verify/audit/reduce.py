"""From a configuration that fails to the smallest one that fails in the same way.

The number of steps goes to the most usual one that shows it.  Each factor goes back to its default if the same failure stays,
in two passes; then pairs of factors, which may only make sense together; then single ones again; at last at more steps.

Where only more than 100 steps show the failure, and a run takes a second, the factors are first halved, then each is
tried once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

from verify.audit.options import Case, Factor, compatible

USUAL = (20, 10, 50, 5, 4, 3, 2, 1, 100)
"""Numbers of steps by how usual they are."""

LARGEST = 100
"""More steps than this are not gone to in order to save an option."""

Alike = Callable[[Case], bool]
"""Whether a configuration fails in the way in question."""


def reduce(case: Case, alike: Alike, factors: Sequence[Factor] = ()) -> Case:
    """The smallest configuration reached from `case`; `case` itself is taken to fail.

    Options of one of the `factors` go together; an option of none goes alone.
    """
    began, case = case.steps, at_usual(case, alike)
    if case.steps > LARGEST:
        case = _halved(case, factors, alike)
    for size in (1, 1, 2, 1) if case.steps <= LARGEST else (1,):
        for chosen in combinations(_parts(case, factors), size):
            case = _without(case, chosen, (case.steps,), alike)
    for part in _parts(case, factors):  # an option may only have brought the failure down to fewer steps
        case = _without(case, (part,), [steps for steps in (50, began) if case.steps < steps <= LARGEST], alike)
    return at_usual(case, alike)


def at_usual(case: Case, alike: Alike) -> Case:
    """The same options at the most usual number of steps that shows the failure."""
    place = USUAL.index(case.steps) if case.steps in USUAL else len(USUAL)
    for steps in USUAL[:place]:
        if alike(Case(case.options, steps)):
            return Case(case.options, steps)
    return case


def _halved(case: Case, factors: Sequence[Factor], alike: Alike) -> Case:
    """One half of the factors' options, then half of that, for as long as a half fails in this way by itself."""
    parts = _parts(case, factors)
    middle = len(parts) // 2
    for half in (parts[:middle], parts[middle:]) if middle else ():
        options = _left(case, half)
        if compatible(options) and alike(Case(options, case.steps)):
            return _halved(Case(options, case.steps), factors, alike)
    return case


def _parts(case: Case, factors: Sequence[Factor]) -> list[tuple[str, ...]]:
    """Keys of the case's options by the factor that they belong to."""
    owner = {key: factor.name for factor in factors for level in factor.levels for key in level}
    grouped: dict[str, list[str]] = {}
    for key in case.options:
        grouped.setdefault(owner.get(key, key), []).append(key)
    return [tuple(keys) for keys in grouped.values()]


def _without(case: Case, parts: Iterable[tuple[str, ...]], steps: Iterable[int], alike: Alike) -> Case:
    """With some options at their defaults, at the first of the numbers of steps that shows the failure; else as it was."""
    left = _left(case, parts)
    if len(left) == len(case.options) or not compatible(left):
        return case
    return next((smaller for smaller in (Case(left, count) for count in steps) if alike(smaller)), case)


def _left(case: Case, parts: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """The options without those of `parts`."""
    gone = {key for part in parts for key in part}
    return {key: value for key, value in case.options.items() if key not in gone}

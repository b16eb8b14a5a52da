"""A covering array of a class's options: few configurations in which every pair of option values meets.

A class with factors F_1, …, F_n and numbers of steps K has ∏|F_i| configurations.  Most faults need one or two values to
come together, so that an array of about max |F_i||F_j| configurations that holds every pair (F_i = a, F_j = b) finds them.

At a large K, where a run takes a second, max |F_i| configurations hold every pair (F_i = a, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from targets import NotAvailableError
from targets.arguments import integer, refuse
from verify.audit.options import Case, Factor, compatible, factors

STEPS: dict[str, tuple[int, ...]] = {
    "quick": (1, 2, 20, 50),
    "full": (1, 2, 3, 4, 5, 7, 10, 14, 15, 20, 50, 100),
}
"""Numbers of steps by preset, but for the longest (see options.longest)."""

USUAL = 20
"""The number of steps at which every pair of option values is met."""


@dataclass(frozen=True)
class Barred:
    """What a class refuses: these options together, at one K or at all (None), with those in `plain` at their defaults."""

    options: Mapping[str, Any]
    steps: int | None = None
    plain: tuple[str, ...] = ()

    def bars(self, case: Case) -> bool:
        """Whether a configuration is refused."""
        held = case.holds(Case(self.options, case.steps)) and self.steps in (None, case.steps)
        return held and not any(key in case.options for key in self.plain)


Rule = Callable[[Case], bool]
"""Whether options may stand together at K steps."""

Constraint = tuple[tuple[int, ...], Callable[[Sequence[int]], bool]]
"""Indices of the factors that are read, and whether their levels may stand together."""


def cases(cls: type, steps: Sequence[int], forbidden: Iterable[Barred] = ()) -> list[Case]:
    """Configurations in which every compatible pair of option values, and of option value and K, occurs; deterministic.

    The class's defaults come first, once at each K; then each option value alone at the usual K = 20, or at the largest K
    where 20 is none of `steps`, so that no fault hides behind another's; then pairs of option values at that K; then an
    array with K as one more factor.  `forbidden`: what the class refuses, which
    stays out of the arrays, so that no other pair is covered in a refused row alone.

    ArgumentError: no steps, or K < 1.  NotAvailableError: covertable is not installed.
    """
    if not steps:
        refuse("steps", steps, "at least one number of steps")
    steps = [integer("steps", count, 1) for count in steps]
    barred = list(forbidden)
    plain = [case for case in (Case({}, count) for count in steps) if not any(what.bars(case) for what in barred)]
    every = factors(cls)
    if not every:
        return plain
    sizes = [len(factor.levels) for factor in every]
    usual = USUAL if USUAL in steps else max(steps)
    fixed = _covering([*sizes, 1], _constraints(every, [usual], barred))
    varied = _covering([*sizes, len(steps)], _constraints(every, steps, barred)) if len(steps) > 1 else []
    alone = [Case(level, usual) for factor in every for level in factor.levels[1:]]
    made = [case for case in alone if compatible(case.options) and not any(what.bars(case) for what in barred)]
    made += [Case(merged(every, row[:-1]), usual) for row in fixed]
    made += [Case(merged(every, row[:-1]), steps[row[-1]]) for row in varied]
    return plain + [case for i, case in enumerate(made) if case.options and case not in made[:i]]


def values_once(cls: type, steps: int, forbidden: Iterable[Barred] = ()) -> list[Case]:
    """Few configurations at K = `steps` in which every option value occurs that is not `forbidden`; deterministic.

    ArgumentError: K < 1.  NotAvailableError: covertable is not installed.
    """
    steps, every = integer("steps", steps, 1), factors(cls)
    if not every:
        return []
    rows = _covering([len(factor.levels) for factor in every], _constraints(every, [steps], list(forbidden)), 1)
    made = [Case(merged(every, row), steps) for row in rows]
    return [case for i, case in enumerate(made) if case.options and case not in made[:i]]


def merged(every: Sequence[Factor], row: Sequence[int]) -> dict[str, Any]:
    """Keyword arguments of one level of each factor."""
    return {key: value for factor, level in zip(every, row, strict=True) for key, value in factor.levels[level].items()}


def _constraints(every: Sequence[Factor], steps: Sequence[int], barred: Sequence[Barred]) -> list[Constraint]:
    """Pairs of (indices of the factors read, whether their levels may stand together)."""
    owner = {key: i for i, factor in enumerate(every) for level in factor.levels for key in level}
    last = len(every)

    def admits(reads: Iterable[int], rule: Rule) -> Constraint:
        reads = tuple(sorted(set(reads)))

        def check(row: Sequence[int]) -> bool:
            chosen = dict(zip(reads, row, strict=True))
            options = {key: v for i in reads if i != last for key, v in every[i].levels[chosen[i]].items()}
            return rule(Case(options, steps[chosen[last]] if last in chosen else steps[0]))

        return reads, check

    made = []
    if {"prediction_type", "use_flow_sigmas"} <= owner.keys():
        made.append(admits((owner["prediction_type"], owner["use_flow_sigmas"]), lambda case: compatible(case.options)))
    for what in barred:
        keys = {*what.options, *what.plain}
        if keys and keys <= owner.keys():
            reads = [owner[key] for key in keys] + ([last] if what.steps is not None else [])
            made.append(admits(reads, lambda case, what=what: not what.bars(case)))
    return made


def _covering(sizes: Sequence[int], constraints: Sequence[Constraint], strength: int = 2) -> list[list[int]]:
    """Rows of level indices in which every pair, or with strength 1 every level, that the constraints admit occurs."""
    try:
        from covertable import criteria, make
    except ImportError:
        raise NotAvailableError("covering arrays need covertable: pip install 'truerate[audit]'") from None
    if len(sizes) == 1:
        return [[level] for level in range(sizes[0])]
    names = [f"f{i}" for i in range(len(sizes))]
    rules = [
        {
            "operator": "fn",
            "requires": [names[i] for i in reads],
            "evaluate": lambda row, reads=reads, check=check: check([row[names[i]] for i in reads]),
        }
        for reads, check in constraints
    ]
    levels = {name: list(range(size)) for name, size in zip(names, sizes, strict=True)}
    rows: list[Any] = make(levels, strength=strength, constraints=rules, criterion=criteria.simple)
    return [[row[name] for name in names] for row in rows]

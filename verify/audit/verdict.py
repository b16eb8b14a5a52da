"""What a measured order says of a declared one.

    conforms               on every law, on eased or uniform grids, the order is at least the declared one, less a tolerance,
                           and either its interval reaches no more than half an order below, or the last two doublings of K
                           both say so; on uniform grids, where a wrong first step shows, it is at least min(declared, 2),
                           less a tolerance; and where the same method is here, the states are the same
    below declared order   on some law it is less, and the interval of the fit leaves the declared order out; or it is less by
                           more than half an order and falling further as K grows, on uniform grids too (a plateau)
    differs                the order is there, but not the states of the same method
    undecided              none of these, or no order could be read on one of the laws
    no order declared      nothing was promised; the measured orders stand by themselves
    fails                  it raises, does not end, or returns what is no state
    not testable           it cannot be driven by an exact score, or no rate can be read off on any law

The order of the method is the one on eased grids, where a starter of lower order does not show; one step of first order at
the start leaves order 2 on uniform grids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("conforms", "below declared order", "differs", "undecided", "no order declared", "fails", "not testable")
TOLERANCES = {1: 0.05, 2: 0.1, 3: 0.2}
"""How far below the declared order a correct method may measure, by that order."""

STARTED = 2.0
"""Order that a first step of first order leaves."""

SAME = 1e-9
"""States of one method differ by no more than this, relative."""

VAGUE = 0.5
"""An interval that reaches further than this below the declared order decides nothing."""


@dataclass(frozen=True)
class Measured:
    """An order measured on one law: the estimate, its interval, and the orders between neighbouring K."""

    law: str
    order: float
    interval: tuple[float, float]
    local: tuple[float, ...] = ()

    def reaches(self, declared: float) -> bool:
        """Whether the declared order, less the tolerance, is there and not by chance."""
        least = declared - tolerance(declared)
        steady = len(self.local) > 1 and min(self.local[-2:]) >= least
        return self.order >= least and (self.interval[0] >= declared - VAGUE or steady)

    def below(self, declared: float) -> bool:
        """Whether the declared order is out of its reach."""
        falling = len(self.local) > 1 and self.local[-1] < self.local[-2]
        return self.order < declared and (self.interval[1] < declared or (falling and self.order < declared - VAGUE))


@dataclass(frozen=True)
class Verdict:
    """One of `KINDS`, and the sentence that says why."""

    kind: str
    text: str


def tolerance(order: float) -> float:
    """How far below `order` a correct method may measure: 0.05, 0.1, 0.2 for orders 1, 2, 3, and 0.3 beyond."""
    return next((slack for whole, slack in TOLERANCES.items() if order <= whole), 0.3)


def judge(
    declared: float | None,
    measured: Sequence[Measured],
    uniform: Sequence[Measured] = (),
    *,
    unread: Sequence[str] = (),
    gap: float | None = None,
) -> Verdict:
    """The verdict on a declared order.

    measured: on eased grids, law by law.  uniform: the same on uniform grids.  unread: laws on which no order could be read.
    gap: largest distance to our table of the same method, None where there is none.
    """
    if not measured:
        return Verdict("not testable", "no rate could be read off on any law")
    numbers = ", ".join(f"{one.order:.2f} ({one.law})" for one in measured)
    if declared is None:
        return Verdict("no order declared", f"measured {numbers}")
    start = min(declared, STARTED)
    late = [one for one in uniform if one.order < start - tolerance(start)]
    there = {one.law for one in (*measured, *uniform) if one.reaches(declared)}
    missed = [(one, declared, "") for one in measured if one.law not in there]
    missed += [(one, start, " on uniform grids") for one in late]
    if missed:
        flat = {one.law for one in late} if uniform else {one.law for one in measured}
        below = [
            (one, p, where) for one, p, where in missed if one.below(p) and (one.interval[1] < p or one.law in flat)
        ]
        worst, least, where = below[0] if below else min(missed, key=lambda entry: entry[0].order)
        low, high = worst.interval
        said = (
            f"declared {declared:g}, measured {worst.order:.2f}, interval {low:.2f} to {high:.2f} ({worst.law}{where})"
        )
        said += "" if not where else f", where at least {least:g} is left by a start of first order"
        return Verdict("below declared order" if below else "undecided", f"{said}; all: {numbers}")
    if gap is not None and gap > SAME:
        return Verdict("differs", f"measured {numbers}, but up to {gap:.1e} from our table of the same method")
    if unread:
        return Verdict(
            "undecided", f"declared {declared:g}, measured {numbers}; none could be read on {', '.join(unread)}"
        )
    return Verdict("conforms", f"declared {declared:g}, measured {numbers}")

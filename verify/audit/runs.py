"""What is known of one class's configurations, and which of them are run.

Each configuration is run once.  What makes the class refuse is taken out of the arrays of covering.py, so that all that is
left is covered.  At the class's largest K a run takes a second and more: there the defaults are run and the few rows in which
each option value occurs, and what already fails at fewer steps, two options or more together, stays out, so that it hides
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from verify.audit.covering import Barred, cases, values_once
from verify.audit.options import Case, Factor, factors
from verify.audit.outcome import FEWEST, Outcome, observe
from verify.audit.reduce import LARGEST, at_usual, reduce

Found = tuple[Case, Outcome, list[Case]]
"""A smallest configuration, its outcome, and the configurations that fail as it does."""


class Runs:
    """Outcomes of one class's configurations, each run once.

    `rows`: how many of the array at a large K are run; all where None.
    """

    def __init__(self, cls: type, seconds: float, needed: dict[str, Any], rows: int | None = None) -> None:
        self.cls, self.seconds, self.needed, self.rows = cls, seconds, needed, rows
        self.factors = factors(cls)
        self.known: dict[str, Outcome] = {}
        self.barred: list[Barred] = []

    def outcome(self, case: Case) -> Outcome:
        """What the class does under a configuration, with the options that it cannot do without."""
        key = key_of(case)
        if key not in self.known:
            self.known[key] = observe(self.cls, Case({**self.needed, **case.options}, case.steps), self.seconds)
        return self.known[key]

    def alike(self, outcome: Outcome, case: Case) -> bool:
        """Whether a configuration fails as `outcome` does."""
        return self.outcome(case).alike(outcome)

    def known_as(self, case: Case, smallest: Iterable[Found]) -> Case | None:
        """The smaller configuration already found whose failure this is: it fails alike at the same K too."""
        outcome = self.outcome(case)
        for known, as_known, _ in smallest:
            held = as_known.alike(outcome) and case.holds(known, any_steps=True)
            if held and self.alike(outcome, Case(known.options, case.steps)):
                return known
        return None

    def least(self, case: Case) -> Case:
        """The smallest configuration that fails as this one does; after a time limit nothing is tried again.

        Where `rows` are counted, what only more than `LARGEST` steps show keeps its options, as it would take too long.
        """
        outcome = self.outcome(case)
        if outcome.kind == "time limit":
            return case
        least = at_usual(case, lambda smaller: self.alike(outcome, smaller))
        if least.steps > LARGEST and self.rows is not None:
            return least
        return reduce(case, lambda smaller: self.alike(outcome, smaller), self.factors)

    def planned(self, steps: Sequence[int], most: int | None) -> list[Case]:
        """A covering array of what the class does not refuse, of which the first `most` rows are to be run."""
        return self._admitted(lambda: cases(self.cls, steps, self.barred), most)

    def long(self, steps: int, failing: Iterable[Case]) -> list[Case]:
        """Configurations at a large K: the defaults and, of the array of option values, the first `rows`, or all.

        With `rows` the defaults come only after a failure in these.  `failing`: the smallest configurations that are known to
        fail at fewer steps; a value that fails by itself has a row of its own.
        """
        plain, rows = Case({}, steps), self.rows
        if rows is None and self.outcome(plain).kind == "refused":
            return [plain]
        usual = [case.options for case in failing if case.options and case.steps >= FEWEST]
        before, self.barred = self.barred, [*self.barred, *map(Barred, usual)]
        made = self._admitted(lambda: values_once(self.cls, steps, self.barred), rows)[:rows]
        self.barred = before
        if rows is not None:
            return [plain, *made] if any(self.outcome(case).failed for case in made) else made
        levels = [level for factor in self.factors for level in factor.levels]
        alone = [Case(level, steps) for level in levels if level in usual]
        return [plain, *made, *(case for case in alone if not any(what.bars(case) for what in before))]

    def share(self, tried: Sequence[Case]) -> float:
        """Part of all option values, the defaults among them, that occur in these configurations."""
        met = {(factor.name, repr(_level(factor, case))) for factor in self.factors for case in tried}
        return len(met) / max(1, sum(len(factor.levels) for factor in self.factors))

    def _admitted(self, make: Callable[[], list[Case]], most: int | None) -> list[Case]:
        """The array, made anew until none of its first `most` rows is refused."""
        for _ in range(6):
            rows = make()
            refused = [case for case in rows[:most] if self.outcome(case).kind == "refused"]
            if not refused:
                return rows
            for case in refused:
                if not any(what.bars(case) for what in self.barred):
                    self.barred.append(self._cause(case))
        return rows

    def _cause(self, case: Case) -> Barred:
        """The options, and the K and the defaults where they matter, that are enough to be refused."""
        sign = self.outcome(case).sign

        def refused(options: Mapping[str, Any], steps: int) -> bool:
            outcome = self.outcome(Case(options, steps))
            return outcome.kind == "refused" and outcome.sign == sign

        least = reduce(case, lambda smaller: refused(smaller.options, smaller.steps), self.factors)
        everywhere = least.steps != case.steps or all(refused(least.options, count) for count in (2, 10))
        lifting = [
            level
            for factor in self.factors
            for level in factor.levels[1:]
            if not level.keys() & least.options.keys() and not refused({**least.options, **level}, least.steps)
        ]
        others = [
            level for factor in self.factors for level in factor.levels[1:] if not level.keys() & least.options.keys()
        ]
        some = lifting if len(lifting) < len(others) else []
        return Barred(
            least.options, None if everywhere else case.steps, tuple({key for level in some for key in level})
        )


def key_of(case: Case) -> str:
    """A name for a configuration, whatever the order of its options."""
    return repr((sorted(case.options.items()), case.steps))


def _level(factor: Factor, case: Case) -> Mapping[str, Any]:
    """The options of a factor that a configuration sets."""
    keys = {key for level in factor.levels for key in level}
    return {key: case.options[key] for key in sorted(keys & case.options.keys())}

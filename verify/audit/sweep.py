"""What fails in a library's classes as they are shipped, over a covering array of their options.

Each class of the library is run on the configurations of covering.py and judged by outcome.py; each failure is reduced to its
smallest configuration by reduce.py, and equal ones are merged.  A configuration that the class refuses is no failure: what
makes it refused is taken out of the array, so that all that is left is covered.

The array's rows are run in its order up to a fixed number, so that a sweep finds the same at any speed of the machine; how
many there were is said.

A configuration counts under a smaller one of the same failure where that one, at the same number of steps, fails too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from targets import NotAvailableError
from targets.arguments import one_of, real, refuse
from verify.audit.covering import STEPS, Barred, cases
from verify.audit.options import Case, factors
from verify.audit.outcome import Outcome, observe
from verify.audit.reduce import reduce
from verify.audit.reproduction import reproduction

SECONDS = {"quick": 10.0, "full": 20.0}
"""Time limit of one run, by preset."""

CONFIGURATIONS = {"quick": 36, "full": 72}
"""How many configurations of a class are tried, the first of its array, by preset."""

SLOW = {
    "CosineDPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
}
"""Classes of which a third as many are tried: twenty steps take them ten times as long as others."""

LONGEST = 100
"""At more steps than this a class is run with its defaults alone."""

Progress = Callable[[str, int, int], None]
"""Called before each class with its name, its number and how many there are."""


@dataclass(frozen=True)
class Swept:
    """What a sweep did with one class, failures or none.

    `planned`: configurations of the covering array; `tried`: how many of them, the first, were run; `counts`: how many of
    those ended in each kind of outcome (see outcome.py), so that a class that refused all is told from one without fault.
    """

    name: str
    planned: int
    tried: int
    failures: tuple[Failure, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """One way in which a class fails.

    `options`, `steps`: the smallest configuration that shows it.  `kind`: one of outcome.FAILURES.  `count`: how many of the
    `runs` configurations of the class showed it, `seen_at` their numbers of steps.  `reproduction`: code.
    """

    library: str
    name: str
    options: Mapping[str, Any]
    steps: int
    kind: str
    message: str
    reproduction: str
    count: int = 1
    runs: int = 1
    seen_at: tuple[int, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "options": dict(self.options), "seen_at": list(self.seen_at)}


def sweep(
    library: str = "diffusers",
    names: Iterable[str | type] | None = None,
    preset: str = "quick",
    seconds: float | None = None,
    progress: Progress | None = None,
) -> list[Swept]:
    """What fails in each of a library's classes, or of those named; a class itself may stand for its name.

    `preset`: "quick" or "full", which numbers of steps and how many configurations; `seconds`: limit of one run.  One class
    never stops the others.

    ArgumentError: unknown library, preset or class (with the nearest name), seconds that are no positive number.
    NotAvailableError: the library or covertable is not installed.
    """
    one_of("library", library, ("diffusers",))
    preset = one_of("preset", preset, STEPS)
    limit = SECONDS[preset] if seconds is None else real("seconds", seconds, "a number > 0", low=0.0)
    chosen = _chosen(names)
    swept: list[Swept] = []
    for number, (cls, needed) in enumerate(chosen):
        if progress is not None:
            progress(cls.__name__, number, len(chosen))
        try:
            most = CONFIGURATIONS[preset] // (3 if cls.__name__ in SLOW else 1)
            swept.append(sweep_class(cls, STEPS[preset], limit, most, needed, library))
        except NotAvailableError:
            raise
        except Exception as raised:
            message = f"the sweep of the class stopped: {type(raised).__name__}: {raised}"
            swept.append(Swept(cls.__name__, 0, 0, (Failure(library, cls.__name__, {}, 0, "exception", message, ""),)))
    return swept


def sweep_class(
    cls: type,
    steps: Sequence[int],
    seconds: float,
    most: int | None = None,
    needed: Mapping[str, Any] | None = None,
    library: str = "diffusers",
) -> Swept:
    """What fails in one class; nothing where it is not known what its network should say.

    `most`: how many configurations are tried, see `CONFIGURATIONS`; all where None.  `needed`: options that it cannot do
    without.
    """
    runs = _Runs(cls, seconds, dict(needed or {}))
    plain = [Case({}, count) for count in sorted(steps)]
    if all(kind in ("refused", "not drivable") for kind in [runs.outcome(case).kind for case in plain]):
        return _swept(library, runs, plain, plain, [])
    brief = [case.steps for case in plain if case.steps <= LONGEST]
    planned = _distinct([*plain, *runs.planned(brief or [min(steps)], most)])
    tried = planned[:most]
    smallest: dict[str, tuple[Case, Outcome, list[Case]]] = {}
    for case in sorted((case for case in tried if runs.outcome(case).failed), key=_plainness):
        found = runs.known_as(case, smallest.values()) or runs.least(case)
        key = f"{_key(found)} {runs.outcome(found).kind} {runs.outcome(found).sign}"
        smallest.setdefault(key, (found, runs.outcome(found), []))[2].append(case)
    return _swept(library, runs, planned, tried, list(smallest.values()))


class _Runs:
    """Outcomes of one class's configurations, each run once."""

    def __init__(self, cls: type, seconds: float, needed: dict[str, Any]) -> None:
        self.cls, self.seconds, self.needed = cls, seconds, needed
        self.factors = factors(cls)
        self.known: dict[str, Outcome] = {}

    def outcome(self, case: Case) -> Outcome:
        key = _key(case)
        if key not in self.known:
            self.known[key] = observe(self.cls, Case({**self.needed, **case.options}, case.steps), self.seconds)
        return self.known[key]

    def alike(self, outcome: Outcome, case: Case) -> bool:
        """Whether a configuration fails as `outcome` does."""
        return self.outcome(case).alike(outcome)

    def known_as(self, case: Case, smallest: Iterable[tuple[Case, Outcome, list[Case]]]) -> Case | None:
        """The smaller configuration already found whose failure this is: it fails alike at the same K too."""
        outcome = self.outcome(case)
        for known, as_known, _ in smallest:
            held = as_known.alike(outcome) and case.holds(known, any_steps=True)
            if held and self.alike(outcome, Case(known.options, case.steps)):
                return known
        return None

    def least(self, case: Case) -> Case:
        """The smallest configuration that fails as this one does; after a time limit nothing is tried again."""
        outcome = self.outcome(case)
        if outcome.kind == "time limit":
            return case
        return reduce(case, lambda smaller: self.alike(outcome, smaller), self.factors)

    def planned(self, steps: Sequence[int], most: int | None) -> list[Case]:
        """A covering array of what the class does not refuse, of which the first `most` rows are to be run."""
        barred: list[Barred] = []
        for _ in range(6):
            rows = cases(self.cls, steps, barred)
            refused = [case for case in rows[:most] if self.outcome(case).kind == "refused"]
            if not refused:
                return rows
            for case in refused:
                if not any(what.bars(case) for what in barred):
                    barred.append(self._cause(case))
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


def _swept(
    library: str,
    runs: _Runs,
    planned: Sequence[Case],
    tried: Sequence[Case],
    found: Sequence[tuple[Case, Outcome, list[Case]]],
) -> Swept:
    failures = tuple(_failure(library, runs, *entry, len(tried)) for entry in found)
    counts = Counter(runs.outcome(case).kind for case in tried)
    return Swept(runs.cls.__name__, len(planned), len(tried), failures, dict(counts))


def _failure(library: str, runs: _Runs, case: Case, outcome: Outcome, members: Sequence[Case], tried: int) -> Failure:
    try:
        code = reproduction(runs.cls, Case({**runs.needed, **case.options}, case.steps), outcome)
    except Exception as raised:
        code = f"# none: {type(raised).__name__}: {raised}\n"
    at = tuple(sorted({member.steps for member in members}))
    name = runs.cls.__name__
    return Failure(
        library, name, case.options, case.steps, outcome.kind, outcome.message, code, len(members), tried, at
    )


def sweepable() -> list[str]:
    """The classes that are swept where none is named."""
    return [cls.__name__ for cls, _ in _chosen(None)]


def _chosen(names: Iterable[str | type] | None) -> list[tuple[type, Mapping[str, Any]]]:
    """The classes, with the options that each cannot do without."""
    from verify.audit.diffusers.inspect import NEEDED, classes, version

    if version() is None:
        raise NotAvailableError("library = 'diffusers': not installed; pip install diffusers")
    every = classes()
    if names is None:
        return [(cls, NEEDED.get(name, {})) for name, cls in sorted(every.items()) if _sweepable(cls)]
    if isinstance(names, (str, type)):
        refuse("names", names, "a list of names of classes")
    chosen = [one if isinstance(one, type) else every[one_of("names", one, sorted(every))] for one in names]
    return [(cls, NEEDED.get(cls.__name__, {})) for cls in chosen]


def _sweepable(cls: type) -> bool:
    """Whether it is driven from its signature alone, in either direction of time."""
    from verify.audit.diffusers.inspect import REASONS, signature_reason

    return signature_reason(cls) is None and cls.__name__ not in REASONS


def _plainness(case: Case) -> tuple[bool, int]:
    """Defaults first, then few steps."""
    return bool(case.options), case.steps


def _distinct(rows: Sequence[Case]) -> list[Case]:
    return list({_key(case): case for case in rows}.values())


def _key(case: Case) -> str:
    return repr((sorted(case.options.items()), case.steps))

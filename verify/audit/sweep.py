"""What fails in a library's classes as they are shipped, over a covering array of their options.

Each class of the library is run on the configurations of covering.py and judged by outcome.py; each failure is reduced to its
smallest configuration by reduce.py, and equal ones are merged.  A configuration that the class refuses is no failure.

The array's rows are run in its order up to a fixed number, so that a sweep finds the same at any speed of the machine; how
many there were is said.  At the class's largest K, 1,000 for most, and where its defaults fail there at one step less too,
every option value is run (preset full) or a stated part of them (quick); see runs.py.

A configuration counts under a smaller one of the same failure where that one, at the same number of steps, fails too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from targets import NotAvailableError
from targets.arguments import one_of, real, refuse
from verify.audit.covering import STEPS
from verify.audit.options import Case, longest
from verify.audit.outcome import Outcome
from verify.audit.reduce import LARGEST
from verify.audit.reproduction import reproduction
from verify.audit.runs import Found, Runs, key_of

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

ENDLESS = {"CosineDPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "LMSDiscreteScheduler"}
"""Classes that need ten seconds and more for a thousand steps: preset full runs their defaults there, quick nothing."""

ROWS: dict[str, int | None] = {"quick": 1, "full": None}
"""How many rows of the array at more than `LARGEST` steps are run, by preset; all where None."""

Progress = Callable[[str, int, int], None]
"""Called before each class with its name, its number and how many there are."""


@dataclass(frozen=True)
class Swept:
    """What a sweep did with one class, failures or none.

    `planned`: configurations of the covering array; `tried`: how many of them, the first, were run; `counts`: how many of
    those ended in each kind of outcome (see outcome.py), so that a class that refused all is told from one without fault;
    `long`: part of the class's option values that were run at each K above `LARGEST`.
    """

    name: str
    planned: int
    tried: int
    failures: tuple[Failure, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    long: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """One way in which a class fails.

    `options`, `steps`: the smallest configuration that shows it; where preset quick found it at more than `LARGEST` steps
    alone, the one that was run.  `kind`: one of outcome.FAILURES.  `count`: how many of the
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
            rows = 0 if cls.__name__ in ENDLESS else ROWS[preset]
            steps = (*STEPS[preset], *_last(cls, preset))
            swept.append(sweep_class(cls, steps, limit, most, needed, library, rows))
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
    rows: int | None = None,
) -> Swept:
    """What fails in one class; nothing where it is not known what its network should say.

    `most`: how many configurations of at most `LARGEST` steps are tried, see `CONFIGURATIONS`; all where None.  `rows`: how
    many of the short array at the largest K above `LARGEST`, and, if the defaults fail there, at the others, where the
    defaults alone are run otherwise; all where None.  `needed`: options that it cannot do without.
    """
    runs = Runs(cls, seconds, dict(needed or {}), rows)
    steps = sorted(set(steps))
    short, long = [count for count in steps if count <= LARGEST], [count for count in steps if count > LARGEST]
    plain = [Case({}, count) for count in short or steps]
    if all(runs.outcome(case).kind in ("refused", "not drivable") for case in plain):
        return _swept(runs, library, plain, plain, [])
    planned = _distinct([*plain, *runs.planned(short or [min(steps)], most)])
    tried = planned[:most]
    found = _sorted_out(runs, tried)
    for count in reversed(long):
        several = rows != 0 and (count == long[-1] or runs.outcome(Case({}, long[-1])).failed)
        more = runs.long(count, [case for case, _, _ in found]) if several else [Case({}, count)]
        planned, tried = [*planned, *more], [*tried, *more]
    return _swept(runs, library, planned, tried, _sorted_out(runs, tried))


def _sorted_out(runs: Runs, tried: Sequence[Case]) -> list[Found]:
    """The failures among the configurations that were run, each by its smallest."""
    smallest: dict[str, Found] = {}
    for case in sorted((case for case in tried if runs.outcome(case).failed), key=_plainness):
        found = runs.known_as(case, smallest.values()) or runs.least(case)
        key = f"{key_of(found)} {runs.outcome(found).kind} {runs.outcome(found).sign}"
        smallest.setdefault(key, (found, runs.outcome(found), []))[2].append(case)
    return list(smallest.values())


def _swept(runs: Runs, library: str, planned: Sequence[Case], tried: Sequence[Case], found: Sequence[Found]) -> Swept:
    failures = tuple(_failure(library, runs, *entry, len(tried)) for entry in found)
    counts = Counter(runs.outcome(case).kind for case in tried)
    long = sorted({case.steps for case in tried if case.steps > LARGEST})
    shares = {count: runs.share([case for case in tried if case.steps == count]) for count in long}
    return Swept(runs.cls.__name__, len(planned), len(tried), failures, dict(counts), shares)


def _failure(library: str, runs: Runs, case: Case, outcome: Outcome, members: Sequence[Case], tried: int) -> Failure:
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


def _last(cls: type, preset: str) -> tuple[int, ...]:
    """The largest K of a class, with one step less before it in preset full, and none in quick that takes for ever."""
    most = longest(cls)
    if preset == "quick":
        return () if cls.__name__ in ENDLESS else (most,)
    return (most - 1, most)


def _plainness(case: Case) -> tuple[bool, int]:
    """Defaults first, then few steps."""
    return bool(case.options), case.steps


def _distinct(rows: Sequence[Case]) -> list[Case]:
    return list({key_of(case): case for case in rows}.values())

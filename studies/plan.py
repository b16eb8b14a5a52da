"""What a study would cost before it is run: settings, core time, memory, and wall time on n workers.

Costs are measured ones.  Every row says how many CPU seconds its setting took, how much memory its process had, and how fast
the machine is; the rows in the folder and those committed with the code are asked, the newest first, and seconds are scaled
by the ratio of paces.  A setting that was never run is taken to cost what its like did, by the power law through those of
its family in dimension, and the plan says how much of it rests on that.  Wall time is the end of the last worker when units
are handed out in their order, each to the first that is free.
"""

from __future__ import annotations

import heapq
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from joblib import cpu_count
from rich.table import Table

from figures.load import rows as stored
from studies.console import STUDIES
from studies.engine import pace
from studies.store import Row, Store
from studies.study import FAILURES, Config, console
from targets import NotAvailableError
from targets.arguments import integer, one_of
from verify.command import Command, Json, writable, write_json
from verify.provenance import ROOT, provenance

COMMITTED = ROOT / "figures" / "rows"
SAME = ("seed", "device")
"""Fields that do not say what a setting is."""
ANY = (*SAME, "preset", "dim")
"""Fields in which a setting's like may differ from it."""


@dataclass(frozen=True)
class Options:
    """What to plan."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The study, such as dimension_scaling."""
    preset: Literal["quick", "full"] = "full"
    """The preset to plan."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Worker processes; if none, one for each core."""
    out: Path = Path("results")
    """Folder of rows: settings that are finished there cost nothing, and its costs are the first to be believed."""
    json: Json = None
    """Write the plan to this file; - is standard output, and the table goes to standard error."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a setting on this machine, peak memory of its process in MiB, and whether this setting was measured."""

    seconds: float
    peak_mib: float
    measured: bool


@dataclass(frozen=True)
class Plan:
    """Costs of the units that are still to be computed, in their order, and how many settings there are."""

    settings: int
    missing: list[tuple[Row, Cost]]
    units: list[float]

    @property
    def core_seconds(self) -> float:
        """CPU seconds in all."""
        return sum(cost.seconds for _, cost in self.missing)

    @property
    def peak_mib(self) -> float:
        """Largest memory of a worker."""
        return max((cost.peak_mib for _, cost in self.missing), default=0.0)

    @property
    def share_measured(self) -> float:
        """Share of the core time that was measured on the very settings."""
        return sum(cost.seconds for _, cost in self.missing if cost.measured) / max(self.core_seconds, 1e-300)

    def wall_seconds(self, workers: int) -> float:
        """End of the last of `workers` workers."""
        ends = [0.0] * workers
        for seconds in self.units:
            heapq.heapreplace(ends, ends[0] + seconds)
        return max(ends)


def plan(options: Options) -> Plan:
    """The plan of a study's preset.

    Raises `ArgumentError` for an unknown study, `NotAvailableError` where no cost of it was ever measured.
    """
    study: Any = importlib.import_module(f"studies.{one_of('NAME', options.name, list(STUDIES))}")
    config: Config = study.Config(preset=options.preset, out=options.out)
    known = list(measured(options.name, options.out))
    if not known:
        raise NotAvailableError(
            f"the cost of {options.name}: no row says what it took; python -m studies.{options.name} measures it"
        )
    settings = study.settings(config)
    here = options.out / options.name / "rows.jsonl"
    store = Store(options.out, options.name) if here.exists() else None
    missing = [(one, _cost(one, known)) for one in settings if store is None or store.get(one) is None]
    together = getattr(study, "together", None)
    units: dict[object, float] = {}
    for index, (setting, cost) in enumerate(missing):
        key = index if together is None else together(setting)
        units[key] = units.get(key, 0.0) + cost.seconds
    return Plan(len(settings), missing, list(units.values()))


def measured(name: str, folder: Path) -> Iterator[tuple[Row, Cost]]:
    """(setting, cost) of every setting whose rows say what it took, those to be believed first coming first."""
    for path in (folder / name / "rows.jsonl", COMMITTED / f"{name}.jsonl"):
        found = {}
        for row in stored(path):
            made, setting = row.get("provenance"), row.get("setting")
            if row["row"] == 0 and isinstance(setting, dict) and isinstance(made, dict) and _told(made):
                found[row["key"]] = (str(made.get("time")), setting, made)
        for _, setting, made in sorted(found.values(), key=lambda item: item[0], reverse=True):
            yield setting, Cost(made["seconds"] * pace() / made["pace"], made["peak_mib"], True)


def _told(made: Row) -> bool:
    """Whether what made a row says what it took."""
    numbers: list[Any] = [made.get(key) for key in ("seconds", "peak_mib", "pace")]
    return all(type(value) in (int, float) and 0 <= float(value) < math.inf for value in numbers) and made["pace"] > 0


def _cost(setting: Row, known: list[tuple[Row, Cost]]) -> Cost:
    """The cost measured on this setting whatever its seed and device, else by its like."""
    for one, cost in known:
        if _without(one, SAME) == _without(setting, SAME):
            return cost
    like = [(one, cost) for one, cost in known if _without(one, ANY) == _without(setting, ANY)]
    family = [(one, cost) for one, cost in known if one.get("family") == setting.get("family")]
    nearest = like or family or known
    return Cost(_by_dimension(setting, nearest), max(cost.peak_mib for _, cost in nearest), False)


def _by_dimension(setting: Row, like: list[tuple[Row, Cost]]) -> float:
    """Seconds by the power law in dimension through the measured ones, where they have two dimensions, else their median."""
    points = [(one["dim"], max(cost.seconds, 1e-3)) for one, cost in like if isinstance(one.get("dim"), int)]
    if not isinstance(setting.get("dim"), int) or len({dim for dim, _ in points}) < 2:
        return median(cost.seconds for _, cost in like)
    dims, seconds = np.log(np.array(points, dtype=np.float64)).T
    slope, level = np.polyfit(dims, seconds, 1)
    return math.exp(level + slope * math.log(setting["dim"]))


def _without(setting: Row, fields: tuple[str, ...]) -> Row:
    return {key: value for key, value in setting.items() if key not in fields}


def show(found: Plan, workers: int) -> None:
    """The plan as a table, with the wall time on fewer and more workers."""
    done = found.settings - len(found.missing)
    console.print(f"settings   {found.settings}, of which {done} are finished")
    console.print(f"core time  {duration(found.core_seconds)}{_basis(found)}")
    console.print(f"memory     {found.peak_mib:.0f} MiB a worker, {workers * found.peak_mib / 1024:.1f} GiB in all")
    console.print(f"longest    {duration(max(found.units, default=0.0))}: no number of workers takes less")
    table = Table("workers", "wall time", "cores busy")
    for count in _counts(workers):
        wall = found.wall_seconds(count)
        busy = found.core_seconds / (count * wall) if wall else 0.0
        mark = " *" if count == workers else ""
        table.add_row(f"{count}{mark}", duration(wall), f"{100 * busy:.0f}%")
    console.print(table)
    slow = sorted(found.missing, key=lambda item: -item[1].seconds)[:5]
    for setting, cost in slow:
        told = ", ".join(
            f"{key} {value}" for key, value in setting.items() if key in ("family", "dim", "part", "sampler")
        )
        console.print(f"  {duration(cost.seconds):>8}  {told}", markup=False)


def _basis(found: Plan) -> str:
    """What the core time rests on, in brackets."""
    if all(cost.measured for _, cost in found.missing):
        return " (all of it measured on these settings)" if found.missing else ""
    return f" ({math.floor(100 * found.share_measured)}% of it measured on these settings, the rest by their like)"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, two digits of each."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def as_json(name: str, found: Plan, workers: int) -> Row:
    """The plan: core and wall time in seconds, memory in MiB, the settings that are still to be computed with their costs."""
    return {
        "study": name,
        "provenance": provenance(),
        "settings": found.settings,
        "finished": found.settings - len(found.missing),
        "core_seconds": found.core_seconds,
        "share_measured": found.share_measured,
        "peak_mib": found.peak_mib,
        "workers": workers,
        "wall_seconds": {str(count): found.wall_seconds(count) for count in _counts(workers)},
        "missing": [
            {"setting": setting, "seconds": cost.seconds, "peak_mib": cost.peak_mib, "measured": cost.measured}
            for setting, cost in found.missing
        ],
    }


def _counts(workers: int) -> list[int]:
    return sorted({1, 2, 4, 8, 16, 32, 64, workers})


def main(options: Options) -> None:
    """Refuse what is wrong, then show the plan."""
    writable("json", options.json)
    workers = cpu_count() if options.workers is None else integer("workers", options.workers, 1)
    found = plan(options)
    show(found, workers)
    write_json(options.json, as_json(options.name, found, workers))


COMMAND = Command(
    Options,
    "python -m studies.plan",
    __doc__,
    (
        ("dimension_scaling", "the full preset on every core here"),
        ("step_scaling --preset full --workers 8", "on eight"),
        ("learned_score --json plan.json", "with every setting's cost, as a file"),
    ),
)

if __name__ == "__main__":
    COMMAND.run(main, failures=FAILURES)

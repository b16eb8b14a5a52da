"""The frame that every study shares: settings in, rows out, resumable, with the time that is left."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
import tyro
from joblib import cpu_count

from figures.command import pictures
from figures.load import NoRowsError
from studies.engine import Compute, Engine, connected, results
from studies.store import Row, StoppedSweepError, Store
from targets import ArgumentError
from targets.arguments import integer, refuse
from verify.command import Command, Json, console, writable, write_json
from verify.progress import progress
from verify.provenance import provenance

FAILURES = (NoRowsError, StoppedSweepError)
"""What ends a command of this package with exit code 1."""

TOLD = 20
"""Failures that a message lists."""


class InterruptedSweep(KeyboardInterrupt):
    """Ctrl-C during a sweep: what was finished is on disk."""


class FailedSettingsError(StoppedSweepError):
    """Settings that could not be computed; all others are done."""

    def __init__(self, store: Store, causes: list[tuple[str, str]], count: int) -> None:
        told = "".join(f"\n  {setting}: {cause}" for setting, cause in causes[:TOLD])
        told += f"\n  and {len(causes) - TOLD} more" if len(causes) > TOLD else ""
        super().__init__(
            f"{len(causes)} of {count} settings failed, and the report needs all of them:{told}\n"
            f"the rows of the others and each failure's trace are in {store.path}; the same command tries those again"
        )


@dataclass(frozen=True)
class Config:
    """What every study takes."""

    preset: Literal["quick", "full"] = "quick"
    """quick: two to three minutes; full: more of what the study varies, more sample points, ten to forty minutes."""
    device: str = "auto"
    """Where denoisers run: auto (a GPU if there is one), cpu, cuda, cuda:1, …"""
    seed: int = 0
    """Seed of whatever the study draws."""
    out: Path = Path("results")
    """Folder for rows; finished rows there are not computed again."""
    fresh: bool = False
    """Compute everything again; the rows that are there are moved to a file beside, not deleted."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Processes that share the settings; if none, one for each core, and one where denoisers run on a GPU."""
    threads: int = 1
    """Threads of each worker; with one, rows are the same to the bit whatever the number of workers."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Address of a running Dask scheduler that takes the settings instead, such as tcp://host:8786."""
    json: Json = None
    """Write the rows with what made them to this file; - is standard output, and all else goes to standard error."""

    def varied(self) -> Row:
        """What a setting holds of these options: all on which its rows depend."""
        where = ("out", "device", "fresh", "workers", "threads", "scheduler", "json")
        return {key: value for key, value in asdict(self).items() if key not in where}

    def place(self) -> str:
        """The device on which workers compute: on a cluster "auto" is the CPU, whatever this machine has."""
        if self.scheduler is None:
            return str(device(self.device))
        return "cpu" if self.device == "auto" else self.device

    def engine(self) -> Engine:
        """Where settings are computed.  Raises `ArgumentError` for what cannot be, before any work."""
        integer("threads", self.threads, 1)
        if self.scheduler is not None:
            if self.workers is not None:
                refuse("workers", self.workers, "none beside --scheduler: the cluster has its own")
            with connected(self.scheduler):
                return Engine(threads=self.threads, scheduler=self.scheduler)
        one = device(self.device).type != "cpu"
        return Engine(
            (1 if one else cpu_count()) if self.workers is None else integer("workers", self.workers, 1), self.threads
        )


def command(main: Callable[[Any], None], config: type[Config], name: str, question: str | None) -> None:
    """`python -m studies.NAME`: settings from the command line, errors in one line, Ctrl-C with what it left behind.

    Runs the `main` of the module under its own name, so that workers find what `__main__` would hide from them.
    """
    described(config, name, question).run(
        lambda chosen: getattr(_named(main.__module__), main.__name__)(chosen), failures=FAILURES
    )


def described(config: type[Config], name: str, question: str | None) -> Command:
    """The study's command line, help text and examples."""
    examples = (
        ("", f"the quick preset; rows go to results/{name}"),
        ("--preset full --workers 4", "the full one, on four processes; Ctrl-C keeps what is finished"),
        ("--seed 1 --json rows.json", "another seed, and the rows in one file"),
    )
    return Command(config, f"python -m studies.{name}", question, examples)


def _named(module: str) -> ModuleType:
    """The module; what runs as `__main__`, under the name by which others import it."""
    spec = sys.modules[module].__spec__
    return importlib.import_module(spec.name if spec else module)


def device(name: str) -> torch.device:
    """The device called `name`, checked to exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ArgumentError(f"device = {name!r}: expected auto, cpu or an available accelerator") from error
    return chosen


def folder(path: Path) -> None:
    """Refuse a folder for rows that cannot be made, before any work."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"out = {str(path)!r}: expected a folder that can be written ({error.strerror})") from error


def sweep(
    store: Store,
    settings: list[Row],
    compute: Compute,
    engine: Engine = Engine(),  # noqa: B008 - frozen
    together: Callable[[Row], object] | None = None,
) -> list[Row]:
    """The rows of every setting in their order, computing only what the store does not hold.

    Settings for which `together` gives the same are computed one after another in one place.  One that fails is recorded with
    its cause, and the others go on; rows are written by this process alone, as they arrive.
    Raises `FailedSettingsError` once all others are done, `StoppedSweepError` where the sweep cannot go on, and
    `InterruptedSweep` on Ctrl-C; what is finished is on disk each time.
    """
    units: dict[object, list[Row]] = {}
    missing = [setting for setting in settings if store.get(setting) is None]
    for setting in missing:
        units.setdefault(store.key(setting) if together is None else together(setting), []).append(setting)
    failed: list[tuple[str, str]] = []
    done = len(settings) - len(missing)
    arriving = results(engine, compute, list(units.values()))
    with progress(store.study, len(settings), done) as tell, closing(arriving):
        try:
            for item in chain.from_iterable(arriving):
                cause = item.cause
                try:
                    if item.rows is not None:
                        store.add(item.setting, item.rows, item.made)
                except ArgumentError as error:
                    cause = str(error)
                if cause:
                    store.fail(item.setting, cause, item.trace, item.made)
                    failed.append((_label(item.setting), cause))
                done += 1
                tell(done, _label(item.setting))
        except KeyboardInterrupt:
            raise InterruptedSweep(
                f"stopped at setting {done + 1} of {len(settings)}; finished rows are in {store.path}, "
                "and the same command goes on from there"
            ) from None
    if failed:
        raise FailedSettingsError(store, failed, len(settings))
    return [row for setting in settings for row in store.get(setting) or []]


def run(
    name: str,
    config: Config,
    settings: list[Row],
    compute: Callable[[Row, torch.device], list[Row]],
    report: Callable[[list[Row]], object],
    draw: Callable[..., list[Path]],
    together: Callable[[Row], object] | None = None,
    as_json: Callable[[list[Row]], object] | None = None,
) -> None:
    """Rows of every setting, the report on them and the figures drawn from them; `as_json`: what --json writes instead."""
    engine = config.engine()
    folder(config.out)
    writable("json", config.json)
    store = Store(config.out, name, fresh=config.fresh)
    place = config.place()
    if place != "cpu":
        settings = [{**setting, "device": place} for setting in settings]  # other random numbers: rows of their own
    rows = sweep(store, settings, partial(_placed, compute, place), engine, together)
    report(rows)
    with pictures(store.path):
        drawn = draw(store.path, keys={row["key"] for row in rows})
    console.print(f"\nrows    {store.path}\nfigures {', '.join(str(path) for path in drawn)}", soft_wrap=True)
    if config.json is not None:
        write_json(config.json, document(name, rows) if as_json is None else as_json(rows))


def document(name: str, rows: list[Row]) -> Row:
    """What `--json` writes: the study, what made the document, its rows with what made each."""
    return {"study": name, "provenance": provenance(), "rows": rows}


def _placed(compute: Callable[[Row, torch.device], list[Row]], name: str, setting: Row) -> list[Row]:
    """The setting's rows on the device that `name` means where they are computed."""
    return compute(setting, device(name))


def _label(setting: Row) -> str:
    """What a setting is called on the progress bar and in messages."""
    parts = [str(setting[key]) for key in ("family", "part", "sampler", "schedule", "oracle") if setting.get(key)]
    return ", ".join([*parts, *([f"d={setting['dim']}"] if setting.get("dim") else [])])

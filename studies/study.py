"""The frame that every study shares: settings in, rows out, resumable, with a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from studies.store import Row, Store
from targets import ArgumentError, NotAvailableError

console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)


class InterruptedSweep(KeyboardInterrupt):
    """Ctrl-C during a sweep: what was finished is on disk."""


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


def command(main: Callable[[Any], None], config: type[Config], name: str, question: str | None) -> None:
    """`python -m studies.NAME`: settings from the command line, errors in one line, Ctrl-C with what it left behind."""
    try:
        main(tyro.cli(config, prog=f"python -m studies.{name}", description=question))
    except (ArgumentError, NotAvailableError) as error:
        sys.exit(f"error: {error}")
    except InterruptedSweep as stop:
        console.print(f"\n{stop}")
        sys.exit(130)


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


def writable(name: str, path: Path) -> None:
    """Refuse a file that cannot be written, before any work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise ArgumentError(
            f"{name} = {str(path)!r}: expected a file that can be written ({error.strerror})"
        ) from error


def sweep(store: Store, settings: list[Row], compute: Callable[[Row], list[Row]]) -> list[Row]:
    """The rows of every setting, computing only what the store does not hold."""
    rows: list[Row] = []
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(store.study, total=len(settings))
        for done, setting in enumerate(settings):
            bar.update(task, description=f"{setting.get('family', '')} d={setting.get('dim', '')}")
            found = store.get(setting)
            if found is None:
                try:
                    store.add(setting, compute(setting))
                except KeyboardInterrupt:
                    raise InterruptedSweep(
                        f"stopped at setting {done + 1} of {len(settings)}; finished rows are in {store.path}, "
                        "and the same command goes on from there"
                    ) from None
                found = store.get(setting)
            rows += found or []
            bar.advance(task)
    return rows


def run(
    name: str,
    config: Config,
    settings: list[Row],
    compute: Callable[[Row, torch.device], list[Row]],
    report: Callable[[list[Row]], object],
    draw: Callable[..., list[Path]],
) -> None:
    """Rows of every setting, the report on them and the figures drawn from them."""
    place = device(config.device)
    folder(config.out)
    store = Store(config.out, name)
    rows = sweep(store, settings, lambda setting: compute(setting, place))
    report(rows)
    drawn = draw(store.path, keys={row["key"] for row in rows})
    console.print(f"\nrows    {store.path}\nfigures {', '.join(str(path) for path in drawn)}", soft_wrap=True)

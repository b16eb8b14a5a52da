"""How far work has come, on standard error: a bar on a terminal, elsewhere a line now and then.

With n of N pieces done, m of them before the start t₀, the time left is (t − t₀)·(N − n)/(n − m).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verify.command import plain

EVERY = 30.0
"""Seconds from one line to the next where there is no terminal."""


@contextmanager
def progress(name: str, total: int, done: int = 0, unit: str = "settings") -> Iterator[Callable[[int, str], None]]:
    """What is to be called with the number of pieces that are done, and the name of the last one."""
    if plain() or not sys.stderr.isatty():
        yield _lines(name, total, done, unit)
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    screen = Console(stderr=True, highlight=False)
    with Progress(*columns, console=screen, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(name, total=total, completed=done)
        yield lambda now, label: bar.update(task, completed=now, description=label)


def _lines(name: str, total: int, before: int, unit: str) -> Callable[[int, str], None]:
    began = last = time.monotonic()

    def tell(done: int, _: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY and before < done < total:
            last = now
            left = clock((now - began) * (total - done) / (done - before))
            print(f"{name}: {done} of {total} {unit}, {left} left", file=sys.stderr, flush=True)

    return tell


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any: 1:20, 2:03:00."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

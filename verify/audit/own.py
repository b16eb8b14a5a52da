"""Our own tables as audited samplers: the reference that the audit holds itself to.

Each builder of `verify.samplers.BUILDERS` with the order that its `Method` declares.  Jain and Zhang's two variants stop one
level early, so that they are built on the grid with one level more (`Grid.beyond`).  A builder with a `seed` is one draw of a
random method, whose order holds in mean square over seeds: none is declared for the draw.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable

from verify import samplers
from verify.audit.contract import Audited, Declared, Untestable
from verify.audit.order import as_sampler
from verify.grid import Grid
from verify.step import Table

LIBRARY = "truerate"
SMALL = Grid.log_snr(4, snr=(0.1, 10.0))
"""A grid to read a table's method and noise from."""

ONE_MORE = "built on the grid with one level more"
ONE_DRAW = "one draw of a random method; its order in mean square over seeds"


def version() -> str | None:
    """The installed version."""
    try:
        return importlib.metadata.version(LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        return "from the working tree"


def configurations() -> list[Audited | Untestable]:
    """Every builder, vp."""
    return [_audited(name, build) for name, build in samplers.BUILDERS.items()]


def _audited(name: str, build: Callable[[Grid], Table]) -> Audited:
    table = build(SMALL)
    short, drawn = table.steps < SMALL.steps, "seed" in inspect.signature(build).parameters
    notes = [ONE_MORE] * short + [f"{ONE_DRAW}: {table.method.order:g}"] * drawn
    reached = _one_level_more(build) if short else build
    return Audited(
        library=LIBRARY,
        name=name,
        options={},
        process="vp",
        stochastic=bool((table.noise > 0).any()),
        sampler=as_sampler(reached),
        declared=None if drawn else Declared(table.method.order, table.method.source),
        notes=tuple(notes),
    )


def _one_level_more(build: Callable[[Grid], Table]) -> Callable[[Grid], Table]:
    return lambda grid: build(grid.beyond())

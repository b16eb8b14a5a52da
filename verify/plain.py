"""Grids and tables as plain JSON and back, to the last bit.

    grid      {"process": …, "snr": [γ_0, …, γ_K]}
    table     {"method": {…}, "snr", "alpha", "sigma", "state", "outputs", "noise", "history", "stages": [{…}, …]}

as in grid.py and step.py.  Floats are written in the shortest form that reads back as the same float64.  What reading
refuses: see targets/documents.py; a table's snr has to be α²/σ² within 1e-9.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from targets.arguments import refuse
from targets.documents import Document, plain, read, short_text, write
from verify.grid import Grid
from verify.step import Method, StageArrays, Table

GRID, TABLE = "truerate grid", "truerate table"
MOST_STAGES = 64


def grid_to_json(grid: Grid) -> str:
    """The grid as a JSON document; raises `ArgumentError` for anything else.

    >>> grid_from_json(grid_to_json(Grid.log_snr(2, snr=(0.01, 100.0)))).snr
    array([1.e-02, 1.e+00, 1.e+02])
    """
    if not isinstance(grid, Grid):
        refuse("grid", grid, "a Grid")
    return write(GRID, {"process": grid.process, "snr": plain(grid.snr)})


def grid_from_json(text: str) -> Grid:
    """The grid of a document of `grid_to_json`; raises `ArgumentError`, naming the place, for anything else."""
    document = read(text, GRID)
    document.keys(["process", "snr"])
    return Grid(document.numbers("snr", (None,)), document.text("process"))


def table_to_json(table: Table) -> str:
    """The table as a JSON document, its method with it; raises `ArgumentError` for anything else."""
    if not isinstance(table, Table):
        refuse("table", table, "a Table, e.g. samplers.ddpm(grid)")
    method = {field.name: getattr(table.method, field.name) for field in fields(Method)}
    method |= {"identities": sorted(table.method.identities), "references": list(table.method.references)}
    arrays = {name: plain(getattr(table, name)) for name in ARRAYS}
    stages = [{name: plain(getattr(stage, name)) for name in STAGE} for stage in table.stages]
    return write(TABLE, {"method": method, **arrays, "stages": stages})


def table_from_json(text: str) -> Table:
    """The table of a document of `table_to_json`; raises `ArgumentError`, naming the place, for anything else."""
    document = read(text, TABLE)
    document.keys(["method", *ARRAYS, "stages"])
    method = _method(document.child("method"))
    snr = document.numbers("snr", (None,))
    count, children = len(snr) - 1, document.children("stages")
    snr = _positive(document, "snr", count + 1)
    if len(children) > MOST_STAGES:
        refuse("document.stages", len(children), f"at most {MOST_STAGES} stages")
    alpha, sigma = (_positive(document, name, count + 1) for name in ("alpha", "sigma"))
    with np.errstate(all="ignore"):
        gap = float(np.abs((alpha / sigma) ** 2 / snr - 1.0).max())
    if not gap <= 1e-9:
        refuse("|alpha²/sigma²/snr - 1| of the document", gap, "at most 1e-9: levels that fit together")
    depth = _columns(document, "history")
    return Table(
        method=method,
        snr=snr,
        alpha=alpha,
        sigma=sigma,
        stages=tuple(_stage(child, i, count) for i, child in enumerate(children)),
        state=document.numbers("state", (count,)),
        outputs=document.numbers("outputs", (count, len(children))),
        noise=document.numbers("noise", (count,)),
        history=document.numbers("history", (count, depth)),
    )


ARRAYS = ("snr", "alpha", "sigma", "state", "outputs", "noise", "history")
STAGE = ("alpha", "sigma", "state", "outputs")


def _method(document: Document) -> Method:
    document.keys([field.name for field in fields(Method)])
    return Method(
        name=document.text("name"),
        formula=document.text("formula"),
        source=document.text("source"),
        freezes=document.text("freezes"),
        order=_order(document),
        identities=frozenset(_names(document, "identities")),
        references=tuple(_names(document, "references")),
    )


def _order(document: Document) -> float:
    """An order as it was written: an integer stays one."""
    value = document.real("order")
    return document.items["order"] if isinstance(document.items["order"], int) else value


def _names(document: Document, key: str) -> list[str]:
    found: Any = document.items[key]
    if not isinstance(found, list) or len(found) > 64:
        refuse(f"{document.path}.{key}", found, "a short list of names")
    found = [short_text(f"{document.path}.{key}", name) for name in found]
    if len(set(found)) < len(found):
        refuse(f"{document.path}.{key}", found, "every name once")
    return found


def _columns(document: Document, key: str) -> int:
    """How long the first row of a list of lists is: zero is allowed there."""
    rows: Any = document.items[key]
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], list):
        refuse(f"{document.path}.{key}", rows, "a list of lists of numbers, one a step")
    return len(rows[0])


def _positive(document: Document, key: str, count: int) -> np.ndarray:
    values = document.numbers(key, (count,))
    if (values <= 0).any():
        refuse(f"{document.path}.{key}", float(values.min()), "positive numbers")
    return values


def _stage(document: Document, index: int, count: int) -> StageArrays:
    document.keys(STAGE)
    return StageArrays(
        alpha=_positive(document, "alpha", count),
        sigma=_positive(document, "sigma", count),
        state=document.numbers("state", (count,)),
        outputs=document.numbers("outputs", (count, index)),
    )

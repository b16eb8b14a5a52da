"""Curves of the atlas as compact arrays: KL against steps for every target, sampler, schedule and rung that was computed.

A curve is [target, sampler, schedule, rung, steps, evaluations, values, errors]: the first six are places in the lists beside
it, values carry five digits, an error is four standard errors plus |bias|, to two.  A row of `samplers` without values says
why there are none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from figures.report.data import Row, number, text


def atlas(rows: list[Row]) -> dict[str, Any]:
    """Lists of names, curves, and [target, sampler, schedule, rung, reason] of what was refused."""
    targets, samplers, schedules, rungs, steps, evaluations, reasons = (Index() for _ in range(7))
    curves, refused = [], []
    for row in rows:
        law = text(row.get("target")) or text(row.get("family"))
        if not law or not all(isinstance(row.get(name), str) for name in ("schedule", "rung")):
            continue
        named = [row.get("sampler")] if "sampler" in row else row.get("samplers")
        listed = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
        points = _points(row) if "sampler" in row else None
        for name in listed:
            place = [
                targets.at(law, {"name": text(row.get("family")) or law, "dim": number(row.get("dim"))}),
                samplers.at(name),
                schedules.at(row["schedule"]),
                rungs.at(_rung(row)),
            ]
            if points is None:
                refused.append([*place, reasons.at(text(row.get("method")) or "no value in its row")])
            else:
                at, asked, values, errors = points
                curves.append([*place, steps.at(tuple(at)), evaluations.at(tuple(asked)), values, errors])
    return {
        "targets": targets.listed("id"),
        "samplers": list(samplers.places),
        "schedules": list(schedules.places),
        "rungs": list(rungs.places),
        "steps": list(steps.places),
        "evaluations": list(evaluations.places),
        "reasons": list(reasons.places),
        "curves": curves,
        "refused": refused,
    }


COLUMNS = ("steps", "evaluations", "value", "stderr", "bias")
"""Lists of one length in a row: its points."""


class Index:
    """Distinct things in the order in which they came, each with what was told of it first."""

    def __init__(self) -> None:
        self.places: dict[Any, int] = {}
        self.told: list[dict[str, Any]] = []

    def at(self, name: Any, told: dict[str, Any] | None = None) -> int:
        """The place of `name`."""
        if name not in self.places:
            self.places[name] = len(self.places)
            self.told.append(told or {})
        return self.places[name]

    def listed(self, key: str) -> list[dict[str, Any]]:
        """Every name under `key`, with what was told of it."""
        return [{key: name, **told} for name, told in zip(self.places, self.told, strict=True)]


def _rung(row: Row) -> str:
    reference = text(row.get("reference"))
    return row["rung"] if reference in ("", "none") else f"{row['rung']} ({reference})"


def _points(row: Row) -> tuple[list[int], list[int], list[float], list[float]] | None:
    """Steps, evaluations, values and errors of the points that are whole; None where there are none."""
    columns = [column for name in COLUMNS if isinstance(column := row.get(name), list)]
    if len(columns) < len(COLUMNS) or len({len(column) for column in columns}) != 1:
        return None
    whole = [[x for x in map(number, point) if x is not None] for point in zip(*columns, strict=True)]
    kept = sorted(point for point in whole if len(point) == len(COLUMNS) and min(point[:2]) >= 1)
    if not kept:
        return None
    steps, asked, values, stderrs, biases = zip(*kept, strict=True)
    errors = [4 * abs(stderr) + abs(bias) for stderr, bias in zip(stderrs, biases, strict=True)]
    return [int(k) for k in steps], [int(n) for n in asked], _short(values, 5), _short(errors, 2)


def _short(values: Iterable[float], digits: int) -> list[float]:
    return [float(f"{value:.{digits - 1}e}") for value in values]

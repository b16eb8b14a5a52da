"""From the rows of a ladder to slopes: each rung of each sampler against the rate that the theory gives it.

    path                              −1    discretised reverse SDEs
    chain against the reverse chain   −1    one Gaussian kernel a step with the true one's variance to first order
                                      +1    one of another variance: every step costs the same however small it is
    chain against flow+noise          −2    first-order flow; −2 p for a flow of order p
    marginal                          −2 p  weak or flow order p

A slope is supported within its tolerance; undecided where the rows are too few, noisy, or not yet asymptotic (their
extrapolation reaches the rate, or the last doubling took the local slope nearer to it); refuted otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich import box
from rich.table import Table

from studies.dimension_verdicts import select
from studies.store import Row, frame
from studies.study import console
from verify.rates import fit

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["supported", "refuted", "undecided"]
RUNGS = (("path", "reverse SDE"), ("chain", "reverse"), ("chain", "flow+noise"), ("marginal", "none"))
"""(rung, reference) from the highest to the lowest."""

TOLERANCE = 0.05
"""Largest distance from the rate, for each unit of the rate."""

WINDOW = 4
"""Last values of K that decide: three doublings."""


@dataclass(frozen=True)
class Slope:
    """The last local slope of a rung in K, its rate and what the rows say."""

    family: str
    sampler: str
    rung: str
    reference: str
    rate: float
    slope: float
    local: tuple[float, ...]
    status: Status


def rate(rung: str, reference: str, order: float, noise_ratio: float) -> float:
    """The power of K with which the rung is to fall; `noise_ratio`: the limit of added variance over the true kernel's."""
    if reference == "reverse":
        return -1.0 if abs(noise_ratio - 1.0) < 0.25 else 1.0
    return -1.0 if rung == "path" else -2.0 * order


def slopes(rows: pd.DataFrame) -> list[Slope]:
    """One slope a family, sampler and rung that has at least three values of K."""
    out = []
    kept = select(rows, quantity="kl")
    for _, group in kept.groupby(["family", "sampler", "rung", "reference"], sort=False):
        last = group.sort_values("steps").tail(WINDOW)
        if len(last) >= 3:
            out.append(_slope(last))
    return out


def _slope(last: pd.DataFrame) -> Slope:
    row, ratio = last.iloc[-1], last.noise_ratio.to_numpy(float)
    expected = rate(row.rung, row.reference, float(row.order), 2.0 * ratio[-1] - ratio[-2])
    values, stderr = last.value.to_numpy(float), last.stderr.to_numpy(float)
    found = fit(last.steps.to_numpy(float), values, stderr)
    measured = found.slope
    allowed = TOLERANCE * abs(expected)
    if abs(measured - expected) <= allowed and (stderr.max() == 0 or found.interval[0] < expected < found.interval[1]):
        status: Status = "supported"
    elif (
        len(last) < WINDOW
        or found.interval[0] - allowed <= expected <= found.interval[1] + allowed
        or _approaching(found.local_slopes, expected)
    ):
        status = "undecided"
    else:
        status = "refuted"
    where = (row.family, row.sampler, row.rung, row.reference)
    return Slope(*where, expected, measured, tuple(found.local_slopes), status)


def _approaching(local: np.ndarray, expected: float) -> bool:
    """The last doubling took the local slope a tenth or more nearer to the rate (a correction of order 1/K takes it half)."""
    distance = np.abs(local - expected)
    return bool(distance[-1] <= 0.9 * distance[-2])


def report(rows: list[Row]) -> None:
    """The ladder of every family at its largest K, the slopes, and the sentences that follow from them."""
    data = frame(rows)
    found = slopes(data)
    for family in dict.fromkeys(data.family):
        console.print(_sheet(data, family, [s for s in found if s.family == family]))
    console.print("slopes in K over the last doublings; * not within the tolerance of the rate, ! refuted\n")
    for sentence in sentences(found):
        console.print(sentence)


def sentences(found: list[Slope]) -> list[str]:
    """What the slopes say, rung by rung, with counts of what is not supported."""
    out = []
    for rung, reference in RUNGS:
        chosen = [s for s in found if (s.rung, s.reference) == (rung, reference)]
        if not chosen:
            continue
        name = rung if rung in ("path", "marginal") else f"{rung} ({reference})"
        counts = {status: sum(s.status == status for s in chosen) for status in ("supported", "undecided", "refuted")}
        refuted = [
            f"{s.sampler} on {s.family} ({s.slope:+.2f}, rate {s.rate:+.0f})" for s in chosen if s.status == "refuted"
        ]
        tail = f"; refuted: {', '.join(refuted)}" if refuted else ""
        out.append(
            f"{name}: rate supported {counts['supported']} times, undecided {counts['undecided']} (not yet asymptotic, or "
            f"noise), refuted {counts['refuted']}{tail}"
        )
    return out


def _sheet(data: pd.DataFrame, family: str, found: list[Slope]) -> Table:
    rows = select(data, family=family)
    largest = int(rows.steps.max())
    sheet = Table(box=box.SIMPLE_HEAD, title=f"{family}: KL in nats at K = {largest}, slope in K")
    sheet.add_column("sampler")
    for rung, reference in RUNGS:
        sheet.add_column(rung if rung in ("path", "marginal") else f"{rung}\n({reference})", justify="right")
    for sampler in dict.fromkeys(rows.sampler):
        cells = [_cell(rows, found, str(sampler), rung, reference, largest) for rung, reference in RUNGS]
        sheet.add_row(str(sampler), *cells)
    return sheet


def _cell(rows: pd.DataFrame, found: list[Slope], sampler: str, rung: str, reference: str, largest: int) -> str:
    at = select(rows, sampler=sampler, rung=rung, reference=reference, quantity="kl", steps=largest)
    if not len(at):
        return "-"
    row = at.iloc[0]
    error = f" ±{row.stderr:.1g}" if row.stderr > 0 else ""
    slope = next((s for s in found if (s.sampler, s.rung, s.reference) == (sampler, rung, reference)), None)
    mark = {"supported": "", "undecided": "*", "refuted": "!"}
    return f"{row.value:.3g}{error}" + (f"  {slope.slope:+.2f}{mark[slope.status]}" if slope else "")

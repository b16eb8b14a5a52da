"""From the rows of studies.score_error to sentences: whether parts add up, which average decides, what memory costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.table import Table

from studies.store import Row
from studies.study import console

AVERAGES = {
    "ou_weighted": "step-weighted in OU time, Σ(t_k − t_{k+1})E‖ŝ−s‖² (2308.03686, 2508.16306)",
    "mean_weighted": "unweighted mean over steps, times T − δ (2409.18959)",
    "snr_weighted": "½Σh_k E‖m̂−m‖² in snr (the equality)",
}

CONSTANT = 1.1
"""Largest over smallest ratio up to which a ratio is called constant."""

RESOLVED = 0.25
"""Largest doubt of a ratio (4 standard errors of the cross term over the square part) with which it is judged."""

NEGLIGIBLE = 1e-9
"""Errors that cost less, in nats, are no errors: clipping a law inside the bounds."""


@dataclass(frozen=True)
class Range:
    """Least and greatest ratio of the rise of path KL to an average, over the families, kinds and sizes of one K."""

    sampler: str
    average: str
    steps: int
    least: float
    greatest: float
    count: int


def rise(row: Row) -> float:
    """What the error adds to path KL, nats."""
    return row["square"] + row["cross"]


def priced(rows: list[Row]) -> list[Row]:
    """Rows with an error that costs something, where the ratio of the rise to an average is resolved.

    Square part and average are one sum over the same draws, so that the ratio's doubt is the cross term's.
    """
    return [
        row
        for row in rows
        if row["oracle"] != "exact"
        and row["steps"]
        and row["snr_weighted"] > NEGLIGIBLE
        and 4.0 * row["cross_stderr"] <= RESOLVED * row["square"]
    ]


def scores(rows: list[Row]) -> np.ndarray:
    """z = (measured − path)/(joint standard error) of every row that was simulated."""
    kept = [row for row in rows if "measured" in row]
    return np.array([(r["measured"] - r["path"]) / math.hypot(r["measured_stderr"], r["path_stderr"]) for r in kept])


def ranges(rows: list[Row]) -> list[Range]:
    """One range a sampler, average and K."""
    kept, out = priced(rows), []
    for sampler, steps in sorted({(row["sampler"], row["steps"]) for row in kept}):
        group = [row for row in kept if (row["sampler"], row["steps"]) == (sampler, steps)]
        for name in AVERAGES:
            ratio = [rise(row) / row[name] for row in group]
            out.append(Range(sampler, name, steps, min(ratio), max(ratio), len(ratio)))
    return out


def report(rows: list[Row]) -> None:
    """A table a family at the largest K at which both samplers were simulated, what was left out, the findings in words."""
    for family in dict.fromkeys(row["family"] for row in rows):
        console.print(_sheet([row for row in rows if row["family"] == family and row["steps"]]))
    for text in dict.fromkeys(
        f"left out: {r['oracle']} on {r['family']}: {r['refused']}" for r in rows if not r["steps"]
    ):
        console.print(text)
    refused = [row for row in rows if row["steps"] and row["refused"]]
    for family in dict.fromkeys(row["family"] for row in refused):
        mine = [row for row in refused if row["family"] == family]
        kinds = ", ".join(dict.fromkeys(row["oracle"] for row in mine))
        console.print(f"marginal KL not available: {family} ({kinds}): {mine[-1]['refused']}")
    console.print()
    for sentence in sentences(rows):
        console.print(sentence)


def sentences(rows: list[Row]) -> list[str]:
    """Additivity, the three averages, memorisation."""
    return [_additive(rows), *_averages(ranges(rows)), *_memorised(priced(rows))]


def _additive(rows: list[Row]) -> str:
    z = scores(rows)
    largest, beyond = float(np.abs(z).max()), int((np.abs(z) > 2.0).sum())
    return (
        f"parts against simulation: {len(z)} comparisons, largest |z| {largest:.2f}, mean z {z.mean():+.2f}, mean z² "
        f"{(z**2).mean():.2f}, {beyond} beyond 2 (expected about {0.05 * len(z):.0f}); the sum of parts is "
        + ("supported" if largest <= 4.5 else "refuted")
    )


def _averages(found: list[Range]) -> list[str]:
    out = []
    for name, words in AVERAGES.items():
        for sampler in dict.fromkeys(line.sampler for line in found):
            lines = [line for line in found if (line.sampler, line.average) == (sampler, name)]
            least, greatest = min(line.least for line in lines), max(line.greatest for line in lines)
            widest = max(line.greatest / line.least for line in lines) if least > 0 else math.inf
            if greatest <= CONSTANT * least:
                verdict = "constant"
            elif widest <= CONSTANT:
                verdict = f"the same for every law and error on one grid (within a factor {widest:.3g}), but not over K"
            else:
                verdict = "not constant"
            ends = "; ".join(f"K = {line.steps}: {line.least:.3g} … {line.greatest:.3g}" for line in lines)
            count = sum(line.count for line in lines)
            out.append(
                f"{sampler}, rise of path KL over {words}: {verdict}, {least:.3g} … {greatest:.3g} over {count} rows ({ends})"
            )
    return out


def _memorised(rows: list[Row]) -> list[str]:
    kept, out = [row for row in rows if row["oracle"] == "empirical"], []
    for family, sampler in dict.fromkeys((row["family"], row["sampler"]) for row in kept):
        mine = [row for row in kept if (row["family"], row["sampler"]) == (family, sampler)]
        steps = max(row["steps"] for row in mine)
        last = sorted((row for row in mine if row["steps"] == steps), key=lambda row: row["size"])
        if len(last) > 1:
            series = ", ".join(f"n = {row['size']:.0f}: {rise(row):.3g}" for row in last)
            out.append(f"memorisation, {family}, {sampler}, K = {steps}, rise of path KL in nats: {series}")
    return out


def _sheet(rows: list[Row]) -> Table:
    simulated = [row for row in rows if "measured" in row]
    steps = min(max(r["steps"] for r in simulated if r["sampler"] == s) for s in {r["sampler"] for r in simulated})
    sheet = Table(box=box.SIMPLE_HEAD, title=f"{rows[0]['family']}: nats at K = {steps}")
    for column in ("error", "sampler", "start", "freezing", "error²", "cross", "path", "measured", "z", "marginal"):
        sheet.add_column(column, justify="left" if column in ("error", "sampler") else "right")
    for row in rows:
        if row["steps"] == steps:
            sheet.add_row(*_cells(row))
    return sheet


def _cells(row: Row) -> list[str]:
    label = row["oracle"] if row["oracle"] == "exact" else f"{row['oracle']} {row['size']:g}"
    parts = [f"{row[name]:.3g}" for name in ("initialisation", "discretisation", "square", "cross", "path")]
    measured, z = "-", "-"
    if "measured" in row:
        measured, z = f"{row['measured']:.3g} ±{row['measured_stderr']:.1g}", f"{scores([row])[0]:+.1f}"
    return [label, row["sampler"], *parts, measured, z, f"{row['marginal']:.3g}" if "marginal" in row else "-"]

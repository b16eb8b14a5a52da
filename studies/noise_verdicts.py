"""From the rows of studies.noise_step to sentences: the rate of the marginal, its ratio to ρ = 1, both chains, errors.

A statement is supported on a family, refuted on it, or left undecided where the rows are not yet asymptotic.
"""

from __future__ import annotations

import math
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
RUNGS = (("marginal", "none"), ("chain", "flow+noise"), ("chain", "reverse"))
"""(rung, reference) of the rows."""

RATE = -2.0
TOLERANCE = 0.05
"""Largest distance of an extrapolated slope in K from `RATE` that counts as the rate."""

STRAY = 0.25
"""Largest distance of the last local slope from `RATE` with which an extrapolation counts."""

AGREES = 0.05
"""Largest relative distance of an extrapolated number from its leading term."""

ALIKE = 1.01
"""Two divergences nearer than this factor are called alike."""


@dataclass(frozen=True)
class Slope:
    """Last local slope of the marginal KL in K on a family at one ρ, and whether it is −2."""

    family: str
    overshoot: float
    slope: float
    status: Status


@dataclass(frozen=True)
class Leading:
    """A measured number, extrapolated in 1/K from its last doubling, beside its leading term."""

    family: str
    overshoot: float
    measured: float
    extrapolated: float
    predicted: float

    @property
    def agrees(self) -> bool:
        """The extrapolation is within `AGREES` of the leading term."""
        return abs(self.extrapolated / self.predicted - 1.0) <= AGREES


def exact_rows(rows: list[Row], rung: str, reference: str) -> pd.DataFrame:
    """The KL rows of one rung with the exact denoiser, by K."""
    chosen = select(frame(rows), quantity="kl", oracle="exact", rung=rung, reference=reference)
    return chosen.sort_values(by="steps", kind="stable")


def marginal_slopes(rows: list[Row]) -> list[Slope]:
    """One slope a family and ρ with at least three values of K."""
    out = []
    for _, group in exact_rows(rows, "marginal", "none").groupby(["family", "overshoot"], sort=False):
        if len(group) >= 3:
            first = group.iloc[0]
            slope, status = rate_status(group.steps.to_numpy(float), group.value.to_numpy(float))
            out.append(Slope(str(first.family), float(first.overshoot), slope, status))
    return out


def rate_status(steps: np.ndarray, values: np.ndarray) -> tuple[float, Status]:
    """(last local slope, status of −2).

    Local slopes s(K) = s + O(1/K) are extrapolated from the last two: supported within `TOLERANCE` of −2, undecided where
    the fit's interval reaches −2 or the last doubling came nearer to it, refuted otherwise.
    """
    found = fit(steps, values)
    middle = np.sqrt(steps[1:] * steps[:-1])[-2:]
    limit = _extrapolated(middle, found.local_slopes[-2:])
    distance = np.abs(found.local_slopes - RATE)
    if abs(limit - RATE) <= TOLERANCE and distance[-1] <= STRAY:
        return found.slope, "supported"
    near = found.interval[0] - TOLERANCE <= RATE <= found.interval[1] + TOLERANCE
    return found.slope, "undecided" if near or distance[-1] <= 0.9 * distance[-2] else "refuted"


def needed(found: list[Slope]) -> dict[str, Status]:
    """For each family: is the noise step needed for a marginal that falls like K⁻²?"""
    out: dict[str, Status] = {}
    for family in dict.fromkeys(slope.family for slope in found):
        at = {slope.overshoot: slope for slope in found if slope.family == family}
        without, published = at.get(0.0), at.get(1.0)
        if without is None or published is None:
            continue
        slower = without.status == "refuted" and without.slope > RATE and published.status == "supported"
        out[family] = "refuted" if without.status == "supported" else "supported" if slower else "undecided"
    return out


def ratios(rows: list[Row]) -> dict[str, dict[float, float]]:
    """Marginal KL over the one at ρ = 1, at the largest K: family → ρ → ratio."""
    out: dict[str, dict[float, float]] = {}
    for family, group in exact_rows(rows, "marginal", "none").groupby("family", sort=False):
        last = select(group, steps=group.steps.max()).sort_values(by="overshoot")
        values = dict(zip(last.overshoot.astype(float), last.value.astype(float), strict=True))
        if 1.0 in values:
            out[str(family)] = {overshoot: value / values[1.0] for overshoot, value in values.items()}
    return out


def flow_noise_ratios(rows: list[Row]) -> list[Leading]:
    """Chain(flow+noise) over the one at ρ = 1, beside (1 + ρ)⁴/(16 ρ)."""
    out = []
    for family, group in exact_rows(rows, "chain", "flow+noise").groupby("family", sort=False):
        sheet = group.pivot_table(index="steps", columns="overshoot", values="value").dropna().tail(2)
        if 1.0 not in sheet or len(sheet) < 2:
            continue
        for overshoot in [float(column) for column in sheet.columns if column != 1.0]:
            ratio = (sheet[overshoot] / sheet[1.0]).to_numpy(float)
            predicted = (1.0 + overshoot) ** 4 / (16.0 * overshoot)
            out.append(
                Leading(str(family), overshoot, ratio[-1], _extrapolated(sheet.index.to_numpy(float), ratio), predicted)
            )
    return out


def reverse_costs(rows: list[Row]) -> list[Leading]:
    """Increments of chain(reverse) in K, a dimension, at ρ ≠ 1, beside ½(1/ρ − 1 + log ρ); from the last three K.

    KL = aK + b + c/K + … has the increment a − O(1/K²) a step between neighbouring K.
    """
    out = []
    kept = exact_rows(rows, "chain", "reverse")
    for _, group in kept[kept.overshoot != 1.0].groupby(["family", "overshoot"], sort=False):
        last = group.tail(3)
        if len(last) < 3:
            continue
        steps, value, rho = last.steps.to_numpy(float), last.value.to_numpy(float), float(last.overshoot.iloc[0])
        each = np.diff(value) / np.diff(steps) / float(last.dim.iloc[0])
        predicted = 0.5 * (1.0 / rho - 1.0 + math.log(rho))
        limit = _extrapolated(steps[1:] * steps[:-1], each)
        out.append(Leading(str(last.family.iloc[0]), rho, float(each[-1]), limit, predicted))
    return out


def _extrapolated(steps: np.ndarray, values: np.ndarray) -> float:
    """The limit of c + b/K through two values."""
    first, last = steps
    return float((last * values[1] - first * values[0]) / (last - first))


def rises(rows: list[Row]) -> dict[tuple[str, str, float], dict[float, float]]:
    """(family, kind, size) → ρ → what the error adds to the marginal KL at the largest K, nats."""
    kept = [row for row in rows if row["quantity"] == "kl" and row["rung"] == "marginal"]
    exact = {(r["family"], r["overshoot"], r["steps"]): r["value"] for r in kept if r["oracle"] == "exact"}
    out: dict[tuple[str, str, float], dict[float, float]] = {}
    for row in sorted((r for r in kept if r["oracle"] != "exact"), key=lambda r: r["steps"]):
        at = (row["family"], row["overshoot"], row["steps"])
        if at in exact:
            line = out.setdefault((row["family"], row["oracle"], row["size"]), {})
            line[row["overshoot"]] = row["value"] - exact[at]
    return out


def sentences(rows: list[Row]) -> list[str]:
    """Rate, ratio, both chains, errors."""
    return [
        *_rate_sentences(marginal_slopes(rows)),
        *_ratio_sentences(rows),
        *_flow_noise_sentences(flow_noise_ratios(rows)),
        *_reverse_sentences(rows),
        *_error_sentences(rises(rows)),
    ]


def shown(overshoot: float) -> str:
    """ρ as a short number or fraction."""
    inverse = 1.0 / overshoot if overshoot else 1.0
    return (
        f"1/{inverse:.0f}"
        if overshoot < 0.5 and overshoot and abs(inverse - round(inverse)) < 1e-9
        else f"{overshoot:g}"
    )


def _rate_sentences(found: list[Slope]) -> list[str]:
    out = []
    for overshoot in sorted({slope.overshoot for slope in found}):
        mine = [slope for slope in found if slope.overshoot == overshoot]
        values = [slope.slope for slope in mine]
        statuses = [slope.status for slope in mine]
        counts = ", ".join(f"{status} on {statuses.count(status)}" for status in dict.fromkeys(sorted(statuses)))
        out.append(
            f"marginal KL at ρ = {shown(overshoot)}: slope in K {min(values):.2f} … {max(values):.2f} over {len(mine)} "
            f"families; the rate −2 is {counts}"
        )
    verdicts = needed(found)
    if verdicts:
        groups = {
            status: [f for f, s in verdicts.items() if s == status] for status in ("supported", "refuted", "undecided")
        }
        tail = "; ".join(f"{status} on {', '.join(names)}" for status, names in groups.items() if names)
        out.append(f"'the noise step is needed for a marginal KL that falls like K⁻²': {tail}")
    return out


def _ratio_sentences(rows: list[Row]) -> list[str]:
    found = {family: values for family, values in ratios(rows).items() if 0.0 in values}
    if not found:
        return []
    lines = ", ".join(f"{family} {values[0.0]:.3g}" for family, values in found.items())
    worse = [family for family, values in found.items() if values[0.0] > ALIKE]
    better = [family for family, values in found.items() if values[0.0] < 1.0 / ALIKE]
    best = ", ".join(f"{family} {shown(min(values, key=lambda rho: values[rho]))}" for family, values in found.items())
    return [
        f"marginal KL without noise over the published one, at the largest K: {lines}; the noise step lowers it on "
        f"{len(worse)} of {len(found)} families and raises it on {len(better)}",
        f"ρ of least marginal KL among those measured: {best}",
    ]


def _flow_noise_sentences(found: list[Leading]) -> list[str]:
    if not found:
        return []
    least = min(found, key=lambda one: one.overshoot)
    agree = sum(one.agrees for one in found)
    worst = max(found, key=lambda one: abs(one.extrapolated / one.predicted - 1.0))
    status = "supported" if agree == len(found) else "refuted" if agree == 0 else "undecided"
    return [
        f"chain (flow+noise) over the published one is (1 + ρ)⁴/(16 ρ) to leading order: {status}, {agree} of "
        f"{len(found)} extrapolations within {AGREES:.0%} (farthest: {worst.family} at ρ = {shown(worst.overshoot)}, "
        f"{worst.extrapolated:.3g} against {worst.predicted:.3g}); at ρ = {shown(least.overshoot)} it is "
        f"{least.measured:.3g} times the published one's on {least.family}, and without noise there is no chain KL: "
        "what grows without bound as ρ falls is this bound, not the marginal"
    ]


def _reverse_sentences(rows: list[Row]) -> list[str]:
    found = reverse_costs(rows)
    published = exact_rows(rows, "chain", "reverse")
    falls = [
        float(np.diff(np.log(last.value.to_numpy(float)))[0] / np.diff(np.log(last.steps.to_numpy(float)))[0])
        for _, group in published[published.overshoot == 1.0].groupby("family", sort=False)
        if len(last := group.tail(2)) == 2
    ]
    out = []
    if falls:
        out.append(f"chain (reverse) at ρ = 1: slope in K {min(falls):.2f} … {max(falls):.2f}")
    if found:
        agree = sum(one.agrees for one in found)
        status = "supported" if agree == len(found) else "refuted" if agree == 0 else "undecided"
        worst = max(found, key=lambda one: abs(one.extrapolated / one.predicted - 1.0))
        out.append(
            f"chain (reverse) at any other ρ grows like K(d/2)(1/ρ − 1 + log ρ): {status}, {agree} of {len(found)} "
            f"increments within {AGREES:.0%} (farthest: {worst.family} at ρ = {shown(worst.overshoot)}, "
            f"{worst.extrapolated:.3g} against {worst.predicted:.3g} a step and dimension)"
        )
    return out


def _error_sentences(found: dict[tuple[str, str, float], dict[float, float]]) -> list[str]:
    kept = {where: at for where, at in found.items() if 0.0 in at and 1.0 in at and at[0.0] > 0.0}
    if not kept:
        return []
    damped = [where for where, at in kept.items() if at[1.0] < at[0.0] / ALIKE]
    raised = [where for where, at in kept.items() if at[1.0] > at[0.0] * ALIKE]
    status = "refuted" if len(raised) == len(kept) else "supported" if len(damped) == len(kept) else "undecided"
    factors = [at[1.0] / at[0.0] for at in kept.values()]
    return [
        f"'the noise step damps the error of a denoiser': {status} for these kinds of error; at ρ = 1 the marginal KL rises "
        f"by {min(factors):.3g} … {max(factors):.3g} times what it rises by without noise ({len(raised)} of {len(kept)} "
        "raised)",
    ]


def report(rows: list[Row]) -> None:
    """A table a rung at the largest K, one of the errors, what was refused, the findings in words."""
    for rung, reference in RUNGS:
        data, lines = exact_rows(rows, rung, reference), {}
        for family, group in data.groupby("family", sort=False):
            last = select(group, steps=group.steps.max())
            lines[f"{family}, K = {group.steps.max()}"] = dict(zip(last.overshoot, last.value, strict=True))
        name = rung if rung == "marginal" else f"{rung} ({reference})"
        console.print(_sheet(f"{name}: KL in nats at the largest K", lines))
    raised = {f"{kind} {size:g} on {family}": line for (family, kind, size), line in rises(rows).items()}
    console.print(_sheet("rise of the marginal KL by an error of the denoiser: nats at the largest K", raised))
    refused = [row for row in rows if row["quantity"] == "refused"]
    for text in dict.fromkeys(
        f"refused: ρ = {shown(r['overshoot'])}, K = {r['steps']}: {r['method']}" for r in refused
    ):
        console.print(text)
    console.print()
    for sentence in sentences(rows):
        console.print(sentence)


def _sheet(title: str, lines: dict[str, dict[float, float]]) -> Table:
    """A line of numbers a label, a column a ρ."""
    overshoots = sorted({overshoot for line in lines.values() for overshoot in line})
    sheet = Table("", box=box.SIMPLE_HEAD, title=title)
    for overshoot in overshoots:
        sheet.add_column(f"ρ = {shown(overshoot)}", justify="right")
    for label, line in lines.items():
        sheet.add_row(label, *[f"{line[rho]:.4g}" if rho in line else "-" for rho in overshoots])
    return sheet

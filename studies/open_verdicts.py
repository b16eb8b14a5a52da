"""From the rows of studies.open_questions to evidence: exponents of K* in d, ratios without noise, winners at equal cost.

Numbers on some laws settle no question about all laws: every answer's status is "open", with the sentences that bear on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.table import Table

from studies.dimension_verdicts import select
from studies.noise_verdicts import rate_status
from studies.store import Row, frame
from studies.study import console
from verify.rates import RateFit, fit

if TYPE_CHECKING:
    import pandas as pd

RUNGS = (
    ("jain_zhang", "chain", "flow+noise"),
    ("jain_zhang", "marginal", "none"),
    ("jain_zhang", "chain", "reverse"),
    ("ddpm", "path", "reverse SDE"),
    ("ddpm", "marginal", "none"),
    ("ei_sde", "path", "reverse SDE"),
    ("ei_sde", "marginal", "none"),
)
"""(sampler, rung, reference) of every K*."""

FLOWS = ("jain_zhang", "flow alone", "ddim", "heun")
"""The noisy sampler, the same without its noise, and two methods for the flow."""

SAMPLERS = {
    "jain_zhang": "flow and noise",
    "ddpm": "reverse SDE",
    "ei_sde": "reverse SDE",
    "euler_maruyama": "reverse SDE",
    "predictor_corrector": "predictor–corrector",
    "ddim": "ODE",
    "heun": "ODE",
    "dpmpp_2m": "ODE",
}
"""Samplers compared at equal evaluations, and their kind."""

QUESTIONS = {
    1: "Can K go below d/ε (2508.16306: K of order d/ε, times a log, for KL ≤ ε²)?",
    2: "Does the rate extend to the ODE without the noise step?",
    3: "Is the sampler better in practice at equal evaluations?",
}

RESOLVED = 0.5
"""Largest doubt of a KL, in units of its value, with which it enters a ratio or a ranking."""


@dataclass(frozen=True)
class Answer:
    """What the rows say on one question."""

    question: int
    status: Literal["open"]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Growth:
    """K* of one rung on one family: its exponent in d, and K* over d/ε at the largest d."""

    family: str
    sampler: str
    rung: str
    reference: str
    rate: RateFit
    dims: tuple[int, int]
    over: float

    @property
    def name(self) -> str:
        """Sampler, rung and, of a chain, its reference."""
        return f"{self.sampler}, {self.rung}" + (f" ({self.reference})" if self.rung == "chain" else "")

    @property
    def below(self) -> bool:
        """The exponent's interval lies below 1."""
        return self.rate.interval[1] < 1.0


@dataclass(frozen=True)
class Place:
    """A sampler at one budget on one family: the least KL over both grids, its error, the grid."""

    sampler: str
    value: float
    error: float
    grid: str


def growths(rows: list[Row]) -> list[Growth]:
    """One exponent a family and rung with at least three dimensions."""
    data = frame([row for row in rows if row["question"] == 1 and row["quantity"] == "steps"])
    out = []
    for family in [] if data.empty else dict.fromkeys(data.family):
        for sampler, rung, reference in RUNGS:
            mine = select(data, family=family, sampler=sampler, rung=rung, reference=reference).sort_values(by="dim")
            if len(mine) < 3:
                continue
            dims, steps = mine.dim.to_numpy(float), mine.crossing.to_numpy(float)
            over = steps[-1] / dims[-1] * float(mine.epsilon2.iloc[-1]) ** 0.5
            rate = fit(dims, steps, mine.stderr.to_numpy(float))
            ends = (int(dims[0]), int(dims[-1]))
            out.append(Growth(str(family), sampler, rung, reference, rate, ends, over))
    return out


def rate_of(rows: pd.DataFrame) -> str:
    """Last slope of KL in K and whether it is −2, over the resolved rows."""
    kept = resolved(rows).sort_values(by="steps")
    if len(kept) < 3:
        return "too few K"
    slope, status = rate_status(kept.steps.to_numpy(float), kept.value.to_numpy(float))
    return f"{slope:.2f} (−2 {status})"


def resolved(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose error is at most `RESOLVED` of their value."""
    import pandas as pd

    error = 4.0 * rows.stderr.to_numpy(float) + rows.bias.to_numpy(float)
    return pd.DataFrame(rows[error <= RESOLVED * rows.value.to_numpy(float)])


def places(rows: list[Row]) -> dict[tuple[str, int], list[Place]]:
    """(family, budget) → every sampler's better grid, least KL first."""
    out: dict[tuple[str, int], list[Place]] = {}
    for row in rows:
        if row["question"] == 3 and row["quantity"] == "kl":
            line = out.setdefault((row["family"], row["budget"]), [])
            line.append(Place(row["sampler"], row["value"], 4.0 * row["stderr"] + row["bias"], row["grid"]))
    for where, line in out.items():
        best: dict[str, Place] = {}
        for place in sorted(line, key=lambda one: one.value):
            best.setdefault(place.sampler, place)
        out[where] = list(best.values())
    return out


def winner(line: list[Place]) -> str | None:
    """The sampler whose KL is least beyond the errors of the first two, else None."""
    first, second = line[0], line[1]
    return first.sampler if first.value + first.error < second.value - second.error else None


def answers(rows: list[Row]) -> list[Answer]:
    """The three questions with what the rows say on them."""
    evidence = {1: _on_steps(growths(rows)), 2: _on_flows(rows), 3: _on_costs(places(rows))}
    return [Answer(question, "open", tuple(texts)) for question, texts in evidence.items()]


def _on_steps(found: list[Growth]) -> list[str]:
    out = []
    for family in dict.fromkeys(one.family for one in found):
        mine = [one for one in found if one.family == family]
        low, high = mine[0].dims
        parts = [
            f"{one.name} d^{one.rate.slope + 0.0:.2f} [{one.rate.interval[0]:.2f}, {one.rate.interval[1]:.2f}], K* = "
            f"{one.over:.3g} d/ε at the largest d"
            for one in mine
        ]
        out.append(f"{family}, d = {low} … {high}: K* grows as " + "; ".join(parts))
    for name in dict.fromkeys(one.name for one in found):
        mine = [one for one in found if one.name == name]
        slower, fewer = [o.family for o in mine if o.below], [o.family for o in mine if o.over < 1.0]
        out.append(
            f"{name}: K* grows more slowly than d on {len(slower)} of {len(mine)} families"
            + (f" ({', '.join(slower)})" if slower else "")
            + f" and is below d/ε at the largest d on {len(fewer)}"
        )
    return out


def _on_flows(rows: list[Row]) -> list[str]:
    data = frame([row for row in rows if row["question"] == 2])
    out = []
    for family in [] if data.empty else dict.fromkeys(data.family):
        mine = select(data, family=family, quantity="kl")
        noisy, alone = select(mine, sampler="jain_zhang"), select(mine, sampler="flow alone")
        both = sorted(set(resolved(noisy).steps) & set(resolved(alone).steps)) if len(noisy) and len(alone) else []
        if both:
            ratio = float(select(alone, steps=both[-1]).value.iloc[0] / select(noisy, steps=both[-1]).value.iloc[0])
            text = (
                f"at K = {both[-1]} the marginal KL without noise is {ratio:.3g} times the one with it; slopes in K "
                f"{rate_of(noisy)} with it, {rate_of(alone)} without"
            )
        else:
            refused = select(data, family=family, quantity="refused")
            why = f" ({refused.iloc[0].sampler} refused: {refused.iloc[0].method})" if len(refused) else ""
            text = f"with and without noise cannot be compared{why}; {_alone(mine)}"
        out.append(f"{family}: {text}")
    return out


def _alone(rows: pd.DataFrame) -> str:
    """What the deterministic samplers gave, and whether it is resolved."""
    parts = []
    for sampler in dict.fromkeys(rows.sampler):
        last = select(rows, sampler=sampler).sort_values(by="steps").tail(1)
        row = last.iloc[0]
        shown = f"{row.value:.2g} ± {4.0 * row.stderr + row.bias:.1g}"
        parts.append(f"{sampler} {shown} at K = {int(row.steps)}" + ("" if len(resolved(last)) else " (not resolved)"))
    return ", ".join(parts) or "nothing was measured"


def _on_costs(found: dict[tuple[str, int], list[Place]]) -> list[str]:
    out = []
    for (family, budget), line in found.items():
        if len(line) < 2:
            continue
        rank = next((i + 1 for i, place in enumerate(line) if place.sampler == "jain_zhang"), None)
        first = winner(line)
        head = f"{first} wins" if first else f"{line[0].sampler} and {line[1].sampler} are not told apart"
        out.append(
            f"{family}, {budget} evaluations: {head} with {line[0].value:.3g} nats on {line[0].grid}; jain_zhang "
            + (f"{line[rank - 1].value:.3g} nats, place {rank} of {len(line)}" if rank else "is not available")
        )
    return out + [_against(found, kind) for kind in ("reverse SDE", "predictor–corrector", "ODE")]


def _against(found: dict[tuple[str, int], list[Place]], kind: str) -> str:
    """How often jain_zhang is beyond errors below the best sampler of a kind, and above it."""
    below, above, factors = 0, 0, []
    for line in found.values():
        at = {place.sampler: place for place in line}
        others = [place for place in line if SAMPLERS[place.sampler] == kind]
        if "jain_zhang" not in at or not others:
            continue
        mine, best = at["jain_zhang"], min(others, key=lambda place: place.value)
        below += mine.value + mine.error < best.value - best.error
        above += mine.value - mine.error > best.value + best.error
        factors.append(mine.value / best.value)
    if not factors:
        return f"against the best {kind}: nothing was measured"
    return (
        f"against the best {kind} at equal evaluations: jain_zhang's marginal KL is lower in {below} and higher in {above} "
        f"of {len(factors)} comparisons ({min(factors):.3g} … {max(factors):.3g} times)"
    )


def report(rows: list[Row]) -> None:
    """A table of exponents, one of costs, and the evidence on each question."""
    console.print(_steps_sheet(rows))
    console.print(_costs_sheet(places(rows)))
    for answer in answers(rows):
        console.print(f"\n{answer.question}. {QUESTIONS[answer.question]}  status: {answer.status}; evidence:")
        for text in answer.evidence:
            console.print(f"   {text}", soft_wrap=True)


def _steps_sheet(rows: list[Row]) -> Table:
    data = frame([row for row in rows if row["question"] == 1 and row["quantity"] == "steps"])
    sheet = Table("", box=box.SIMPLE_HEAD, title="K*: least K with KL ≤ ε², by dimension; * by the limit of Kᵖ KL")
    for _ in range(4):
        sheet.add_column("", justify="right")
    for family in [] if data.empty else dict.fromkeys(data.family):
        mine = select(data, family=family)
        dims = sorted(set(mine.dim))
        count = min(4, len(dims))
        shown = [dims[round(i * (len(dims) - 1) / max(count - 1, 1))] for i in range(count)]
        sheet.add_row(f"[bold]{family}, d = {', '.join(str(dim) for dim in shown)}[/bold]")
        for sampler, rung, reference in RUNGS:
            line = select(mine, sampler=sampler, rung=rung, reference=reference)
            cells = [select(line, dim=dim) for dim in shown]
            if len(line):
                sheet.add_row(f"  {sampler}, {rung} ({reference})", *[_steps(cell) for cell in cells])
    return sheet


def _steps(cell: pd.DataFrame) -> str:
    if not len(cell):
        return "-"
    return f"{cell.value.iloc[0]:.4g}{'*' if cell.extrapolated.iloc[0] else ''}"


def _costs_sheet(found: dict[tuple[str, int], list[Place]]) -> Table:
    sheet = Table(
        "evaluations", box=box.SIMPLE_HEAD, title="marginal KL in nats at equal evaluations, better of two grids"
    )
    for sampler in SAMPLERS:
        sheet.add_column(sampler.replace("_", "_\n", 1) if len(sampler) > 10 else sampler, justify="right")
    for (family, budget), line in found.items():
        at = {place.sampler: place for place in line}
        cells = [f"{at[name].value:.2g}" if name in at else "-" for name in SAMPLERS]
        sheet.add_row(f"{family}: {budget}", *cells)
    return sheet

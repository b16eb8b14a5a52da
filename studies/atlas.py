"""What every sampler costs on every schedule, on every rung that is available exactly, at the same window and stop.

For a law, a schedule and K steps a sampler is a table, and a table has up to four divergences:

    marginal  ≤  chain (reverse), chain (flow+noise),        chain (reverse)  ≤  path

each a row with lists over K.  The local slope of a row is log(KL_2/KL_1)/log(K_2/K_1) over its last two K.

Windows: from the law's own mmse curve (`verify.span`), shared by all schedules; every sampler starts from the true law there
and stops at the window's end.  Left out are marginals whose flow could only be sampled, but for one law of few dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from rich import box
from rich.table import Table as Sheet

from studies import study
from studies.dimension_scaling import numbers
from studies.step_verdicts import RUNGS
from studies.store import Row
from studies.study import console
from targets import NotAvailableError, Product, Target, get
from targets.arguments import integer
from verify import Grid, kl, samplers
from verify.in_use import schedule
from verify.kl.marginal import carrier, parts_of
from verify.oracle import Exact
from verify.span import span
from verify.step import Table

NAME = "atlas"
SCHEDULES = (
    "optimal",
    "entropic",
    "log_snr",
    "karras",
    "cosine",
    "linear_beta",
    "exponential_uniform",
)
"""Of those that `verify.in_use` knows: two that read the law, five that do not."""
COMMON = "log_snr"
"""The schedule on which samplers are set side by side."""
STEPS = (4, 8, 16, 32, 64, 128, 256)
"""Up to `Family.most`, in the quick preset up to `QUICK`."""
QUICK = 32
BUDGETS = (8, 16, 32, 64, 128, 256)
"""Evaluations of the denoiser for which the report names the cheapest marginal."""
SHOWN = 3
"""Pairs of sampler and schedule that the report names for a budget."""


@dataclass(frozen=True)
class Config(study.Config):
    """Path, chain and marginal KL of every sampler on every schedule, from 4 steps up."""


@dataclass(frozen=True)
class Family:
    """A law; `quick`: in the quick preset; `most`: its largest K.

    `points`: draws for flows that are sampled, if any; `followed`: flow+noise and marginals are computed at all.
    """

    build: Callable[[], Target]
    quick: bool = False
    most: int = 32
    points: int | None = None
    followed: bool = True


def bits_and_gaussian() -> Product:
    """Eight bits and the eight axes of the anisotropic Gaussian, independent: half of it discrete, half not."""
    return Product([get("two_points")] * 8 + [get("anisotropic_gaussian")])


FAMILIES = {
    "curved mixture": Family(lambda: get("curved_mixture"), quick=True, most=64),
    "two points": Family(lambda: get("two_points"), quick=True, most=64),
    "anisotropic Gaussian": Family(lambda: get("anisotropic_gaussian"), quick=True, most=256),
    "heavy tail": Family(lambda: get("heavy_tail", n=4), most=256, followed=False),
    "low-rank mixture": Family(lambda: get("low_rank_mixture"), most=256),
    "digits": Family(lambda: get("digits"), most=256),
    "sphere, d = 100": Family(lambda: get("sphere", dim=100)),
    "sphere, d = 3": Family(lambda: get("sphere", dim=3), points=1024),
    "rare bit": Family(lambda: get("rare_bit", p=1e-2)),
    "bits and Gaussian": Family(bits_and_gaussian),
}

law = lru_cache(maxsize=None)(lambda family: FAMILIES[family].build())


def settings(config: Config) -> list[Row]:
    """One setting a family and schedule: all samplers, rungs and K share its curve and its grids."""
    return [
        {"family": name, "schedule": each, "dim": law(name).dim, **config.varied()}
        for name, family in FAMILIES.items()
        if family.quick or config.preset == "full"
        for each in SCHEDULES
    ]


def tables(setting: Row, sampler: str) -> dict[int, Table]:
    """K -> the sampler's table on the grid of K steps, all of them from the window's first level to its last."""
    most = QUICK if setting["preset"] == "quick" else FAMILIES[setting["family"]].most
    grids = [grid_of(setting["family"], setting["schedule"], steps) for steps in STEPS if steps <= most]
    build, further = samplers.get(sampler), sampler.startswith("jain_zhang")
    return {grid.steps: build(grid.beyond() if further else grid) for grid in grids}


@lru_cache(maxsize=len(STEPS))
def grid_of(family: str, name: str, steps: int) -> Grid:
    """The named schedule on the family's window."""
    return schedule(name, law(family), steps, span(law(family)))


def compute(setting: Row, place: torch.device) -> list[Row]:
    """A row for every sampler and rung with the K where it is available, and one for every reason why it never is."""
    target = law(setting["family"])
    target = target if place.type == "cpu" else target.to(device=place)
    base = {"family": setting["family"], "dim": target.dim, "schedule": setting["schedule"]}
    rows: list[Row] = []
    refused: dict[tuple[str, str, str], list[str]] = {}
    for sampler in samplers.names():
        made = tables(setting, sampler)
        for rung, reference in RUNGS:
            found, reason = _measured(target, made, rung, reference, setting)
            if found is None:
                refused.setdefault((rung, reference, reason), []).append(sampler)
            else:
                first = next(iter(made.values()))
                said = {"sampler": sampler, "stochastic": bool(first.noise.any()), "order": first.method.order}
                rows.append({**base, **said, "rung": rung, "reference": reference, **_ends(first), **found})
    for (rung, reference, reason), names in refused.items():
        why = {"quantity": "refused", "samplers": names, "method": reason}
        rows.append({**base, "rung": rung, "reference": reference, **why})
    return rows


def _ends(table: Table) -> Row:
    """The window, in snr."""
    return {"start": _rounded(float(table.snr[0]), 6), "stop": _rounded(float(table.snr[-1]), 6)}


def _measured(
    target: Target, made: dict[int, Table], rung: str, reference: str, setting: Row
) -> tuple[Row | None, str]:
    """(lists over the K at which the rung is available, ""), or (None, the reason at the largest K)."""
    kept, reason = [], ""
    for count, table in made.items():
        try:
            kept.append((count, table.evaluations, _divergence(target, table, rung, reference, setting)))
        except NotAvailableError as refusal:
            reason = str(refusal).replace(f" of {table.method.name}", "", 1)
    if not kept:
        return None, reason
    lists = {name: [_rounded(row[name], digits) for *_, row in kept] for name, digits in DIGITS.items()}
    steps = [count for count, *_ in kept]
    counted = {"quantity": "kl", "steps": steps, "evaluations": [evaluations for _, evaluations, _ in kept]}
    return {**counted, **lists, "method": kept[-1][2]["method"], "slope": last_slope(steps, **lists)}, ""


DIGITS = {"value": 6, "stderr": 2, "bias": 2}
"""Significant digits that a row keeps."""
DOUBT = 0.25
"""Error of a slope from which it is none."""


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def last_slope(steps: list[int], value: list[float], stderr: list[float], bias: list[float]) -> float | None:
    """log(KL_2/KL_1)/log(K_2/K_1) over the last two K; None with fewer, and where errors move it by more than `DOUBT`."""
    if len(steps) < 2 or min(value[-2:]) <= 0.0:
        return None
    run = np.log(steps[-1] / steps[-2])
    doubt = sum((4.0 * stderr[i] + bias[i]) / value[i] for i in (-2, -1)) / run
    return round(float(np.log(value[-1] / value[-2]) / run), 4) if doubt <= DOUBT else None


def _divergence(target: Target, table: Table, rung: str, reference: str, setting: Row) -> Row:
    family = FAMILIES[setting["family"]]
    if not family.followed and (rung == "marginal" or reference == "flow+noise"):
        raise NotAvailableError(f"{rung} KL: left out here, on this law it takes minutes; available: kl.{rung}")
    if rung == "path":
        return numbers(kl.path(target, table))
    if rung == "chain":
        return numbers(kl.chain(target, table, reference=reference))
    if family.points is None and sampled(target, table):
        raise NotAvailableError(
            "marginal KL: left out here, its flow is known at drawn points only; available: kl.marginal(points=...)"
        )
    return numbers(kl.marginal(target, table, points=family.points or 8, seed=setting["seed"]))


def sampled(target: Target, table: Table) -> bool:
    """Whether the marginal of a table without noise can only be had from flows at drawn points."""
    parts = parts_of(target, Exact(target))
    return not table.noise.any() and any(carrier(part, table, own) is None for part, _, own in parts)


# ---- report ----------------------------------------------------------------------------------------------


def report(rows: list[Row]) -> None:
    """Last slopes of every sampler on the common schedule, law by law, and the cheapest marginals at each budget."""
    found = [row for row in rows if row["quantity"] == "kl"]
    for family in dict.fromkeys(row["family"] for row in found):
        mine = [row for row in found if row["family"] == family]
        console.print(_slopes(family, [row for row in mine if row["schedule"] == COMMON]))
        for line in cheapest(mine):
            console.print(line)
    console.print(f"\nslopes: log KL against log K over the last two K on {COMMON}; not yet the limit as K grows")


def _slopes(family: str, rows: list[Row]) -> Sheet:
    sheet = Sheet(box=box.SIMPLE_HEAD, title=f"{family}: KL in nats at the largest K on {COMMON}, last slope in K")
    sheet.add_column("sampler")
    for rung, reference in RUNGS:
        sheet.add_column(rung if rung in ("path", "marginal") else f"{rung}\n({reference})", justify="right")
    cells = {(row["sampler"], row["rung"], row["reference"]): _cell(row) for row in rows}
    for sampler in dict.fromkeys(row["sampler"] for row in rows):
        sheet.add_row(sampler, *(cells.get((sampler, *rung), "-") for rung in RUNGS))
    return sheet


def _cell(row: Row) -> str:
    error = f" ±{row['stderr'][-1]:.1g}" if row["stderr"][-1] > 0 else ""
    slope = "" if row["slope"] is None else f"  {row['slope']:+.2f}"
    return f"{row['value'][-1]:.3g}{error}{slope}"


def cheapest(rows: list[Row]) -> Iterator[str]:
    """For every budget that all samplers can spend the least marginal KLs of one law, over samplers and schedules."""
    marginal = [row for row in rows if row["rung"] == "marginal"]
    shared = min((row["evaluations"][-1] for row in marginal), default=0)
    for budget in [budget for budget in BUDGETS if budget <= shared]:
        best: list[tuple[float, str]] = []
        for row in marginal:
            within = [i for i, count in enumerate(row["evaluations"]) if count <= budget]
            if within:
                at = min(within, key=lambda i: row["value"][i])
                error = 4.0 * row["stderr"][at] + row["bias"][at]
                doubt = f" ± {error:.1g}" if error > 1e-3 * row["value"][at] else ""
                where = f"{row['sampler']} on {row['schedule']}, K = {row['steps'][at]}"
                best.append((row["value"][at], f"{where}: {row['value'][at]:.3g}{doubt}"))
        if best:
            shown = "; ".join(text for _, text in sorted(best)[:SHOWN])
            yield f"marginal KL within {budget} evaluations: {shown}"


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables, draw its figures."""
    check(config)
    from figures.atlas import draw

    study.run(NAME, config, settings(config), compute, report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

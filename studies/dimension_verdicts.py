"""From rows to slopes, tables and one sentence of verdict for each family that is no identity.

A family's statement: the frozen denoiser's path KL keeps to κ I(γ_K), which knows no dimension, while the frozen score's
grows linearly in d; each rung falls like K⁻¹.  Every part is checked on the rows; the verdict is supported only if all
parts hold, refuted if one is contradicted beyond its errors, undecided if the rows cannot tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich import box
from rich.table import Table

from studies.store import Row, frame
from studies.study import console
from verify.rates import RateFit, fit

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["supported", "refuted", "undecided"]
RUNGS = (
    ("ddpm", "path", "reverse SDE"),
    ("ei_sde", "path", "reverse SDE"),
    ("jain_zhang", "chain", "reverse"),
    ("jain_zhang", "chain", "flow+noise"),
    ("ddpm", "marginal", "none"),
    ("ei_sde", "marginal", "none"),
    ("jain_zhang", "marginal", "none"),
)
"""(sampler, rung, reference) of every KL row."""

K_TOLERANCE = 0.02
"""Largest distance of the measured slope in K from −1 at K = 4096 … 8192."""


@dataclass(frozen=True)
class Verdict:
    """What the rows of a family say, and how far from the edge (margin < 1: beyond it)."""

    family: str
    status: Status
    sentence: str
    margin: float


def select(rows: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows whose columns have these values."""
    import pandas as pd

    keep = np.ones(len(rows), dtype=bool)
    for column, value in wanted.items():
        keep &= (rows[column] == value).to_numpy()
    return pd.DataFrame(rows[keep])


def kl_rows(rows: pd.DataFrame, family: str, sampler: str, reference: str) -> pd.DataFrame:
    """The KL rows of one rung, by dimension and K."""
    chosen = select(rows, family=family, sampler=sampler, reference=reference, quantity="kl")
    return chosen.sort_values(by=["dim", "steps"])


def dimension_slope(rows: pd.DataFrame, steps: int) -> RateFit | None:
    """Slope of log KL in log d at fixed K: exact rows by local slopes, noisy rows by weighted regression."""
    at = select(rows, steps=steps)
    if len(at) < 3:
        return None
    return fit(at.dim.to_numpy(float), at.value.to_numpy(float), at.stderr.to_numpy(float))


def step_slope(rows: pd.DataFrame) -> float:
    """The slope in K between the two largest K, the worst over dimensions (farthest from −1)."""
    slopes = []
    for _, group in rows.groupby("dim"):
        last = group.tail(2)
        slopes.append(np.diff(np.log(last.value)).item() / np.diff(np.log(last.steps)).item())
    return max(slopes, key=lambda s: abs(s + 1.0))


def verdicts(rows: pd.DataFrame, steps: int) -> list[Verdict]:
    """One verdict for each non-identity family."""
    families = rows[~rows.identity.astype(bool)].family.unique()
    return [_verdict(rows, family, steps) for family in families]


def _verdict(rows: pd.DataFrame, family: str, steps: int) -> Verdict:
    refused = select(rows, family=family, quantity="refused")
    denoiser, score = kl_rows(rows, family, "ddpm", "reverse SDE"), kl_rows(rows, family, "ei_sde", "reverse SDE")
    flow = kl_rows(rows, family, "jain_zhang", "reverse")
    if len(refused) or min(map(len, (denoiser, score, flow))) < 3:
        why = refused.iloc[0].method if len(refused) else "too few dimensions were measured"
        return Verdict(family, "undecided", f"{family}: undecided: {why}", float("nan"))
    ratio = denoiser.value / denoiser.bound
    worst = ratio.max()
    doubt = ((4 * denoiser.stderr + denoiser.bias) / denoiser.bound)[ratio.idxmax()]
    grows_denoiser, grows_score = dimension_slope(denoiser, steps), dimension_slope(score, steps)
    if grows_denoiser is None or grows_score is None:
        return Verdict(family, "undecided", f"{family}: undecided: a slope needs three dimensions", float("nan"))
    falls = {name: step_slope(r) for name, r in (("ddpm", denoiser), ("ei_sde", score), ("jain_zhang", flow))}
    linear = abs(grows_score.slope - 1.0) <= 0.1
    first_order = {name: abs(slope + 1.0) <= K_TOLERANCE for name, slope in falls.items()}
    within = worst + doubt <= 1.0
    status: Status = "supported" if within and linear and all(first_order.values()) else "refuted"
    if not within and worst - doubt <= 1.0:
        status = "undecided"
    dims = f"d = {denoiser.dim.min()}…{denoiser.dim.max()}"
    failed = [name for name, good in first_order.items() if not good]
    sentence = (
        f"{family}: {status} on {dims}: frozen denoiser (ddpm, path) at most {worst:.2f} of its bound kappa*I at every "
        f"d and K{'' if within else ' (violated)'}, growing as d^{_shown(grows_denoiser)}; frozen score (ei_sde, path) "
        f"growing as d^{_shown(grows_score)}, {'linear as' if linear else 'not linear as'} 2308.03686 allows; slopes in K "
        + ", ".join(f"{name} {slope:.3f}" for name, slope in falls.items())
        + (f" (not -1: {', '.join(failed)})" if failed else "")
        + "; jain_zhang is measured on chain(reverse), where 2508.16306 claims nothing."
    )
    return Verdict(family, status, sentence, float(1.0 / worst))


def _shown(rate: RateFit) -> str:
    return f"{rate.slope + 0.0:.2f}±{0.5 * (rate.interval[1] - rate.interval[0]):.2f}"


def confirmations(rows: pd.DataFrame) -> pd.DataFrame:
    """Simulated rows with their distance from the closed form in joint standard errors."""
    if "closed" not in rows:
        return rows.iloc[:0]
    simulated = select(rows, quantity="simulated")
    simulated["z"] = (simulated.value - simulated.closed) / np.hypot(simulated.stderr, simulated.closed_stderr)
    return simulated


def report(rows: list[Row], epsilon2: float, steps: int) -> list[Verdict]:
    """Print the table, the confirmations and the verdicts."""
    data = frame(rows)
    console.print(_summary(data, epsilon2, steps))
    checked = confirmations(data)
    if len(checked):
        console.print(
            f"confirmed unreduced: {len(checked)} simulated chain KLs in up to {checked.dim.max()} dimensions, "
            f"largest distance {checked.z.abs().max():.1f} joint standard errors"
            + ("" if checked.z.abs().max() <= 4 else " - MORE THAN 4: do not trust the rows")
        )
    found = verdicts(data, steps)
    console.print("\nverdicts (families marked = reduce to one core and earn none)")
    for verdict in found:
        console.print(f"  {verdict.sentence}", soft_wrap=True)
    return found


def _summary(data: pd.DataFrame, epsilon2: float, steps: int) -> Table:
    table = Table(
        title=f"KL at K = {steps} and least K with KL <= {epsilon2:g} nats, at the least and the largest dimension",
        caption="= identity, earns no verdict;  ± four standard errors plus bias;  * by the limit of K^p KL",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("sampler, rung (reference)", no_wrap=True)
    for column in ("KL, least d", "KL, largest d", "KL/bound", "slope in d (95%)", "K*, least d", "K*, largest d"):
        table.add_column(column, justify="right")
    for family in data.family.unique():
        mine = select(data, family=family)
        mark = "= " if bool(mine.identity.iloc[0]) else ""
        table.add_row(f"[bold]{mark}{family}, d = {mine.dim.min()} … {mine.dim.max()}[/bold]")
        for sampler, rung, reference in RUNGS:
            at = select(kl_rows(mine, family, sampler, reference), steps=steps)
            if not len(at):
                continue
            reach = select(mine, quantity="steps", sampler=sampler, reference=reference).sort_values(by="dim")
            rate = dimension_slope(at, steps)
            table.add_row(
                f"  {sampler}, {rung} ({reference})",
                _number(at.iloc[0]),
                _number(at.iloc[-1]),
                _ratio(at),
                _shown(rate) if rate else "-",
                *(_reached(reach.iloc[place]) if len(reach) else "-" for place in (0, -1)),
            )
        table.add_section()
    return table


def _number(row: pd.Series) -> str:
    error = 4 * row.stderr + row.bias
    return f"{row.value:.4g}" + (f"±{error:.1g}" if error > 1e-6 * row.value else "")


def _ratio(at: pd.DataFrame) -> str:
    ratios = (at.value / at.bound.astype(float)).dropna()
    return f"{ratios.max():.2g}" if len(ratios) else "-"


def _reached(row: pd.Series) -> str:
    return f"{row.value:.4g}{'*' if row.extrapolated else ''}"

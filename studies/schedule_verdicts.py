"""From the rows of the schedule study to sentences: regret of each schedule, the limit S²/4, and what noise costs.

Regret is KL/KL(best) − 1 on the same law, window, sampler, rung and K.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from studies.dimension_verdicts import select
from studies.store import Row, frame
from studies.study import console

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = 10_000
"""p·n of the rarest atom or component from which a noisy loss is held to 10% regret."""


def regrets(rows: pd.DataFrame) -> pd.DataFrame:
    """ddpm's path KL of every schedule over that of the optimum, less one: column `regret`."""
    paths = select(rows, quantity="kl", rung="path")
    best = select(paths, schedule="optimal")[["family", "steps", "value"]]
    joined = paths.merge(best, on=["family", "steps"], suffixes=("", "_best"))
    return joined.assign(regret=joined.value.astype(float) / joined.value_best.astype(float) - 1.0)


def report(rows: list[Row]) -> None:
    """Regret of every schedule at the largest K, then the sentences."""
    data = frame(rows)
    found = regrets(data)
    for steps in sorted(set(found.steps))[-1:]:
        console.print(_sheet(found, int(steps)))
    for sentence in sentences(data, found):
        console.print(sentence)


def sentences(data: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """What the rows say."""
    import pandas as pd

    others = pd.DataFrame(found[(found.schedule != "optimal") & ~found.schedule.str.startswith("marginal_optimal")])
    below = others[others.regret < -1e-9]
    out = [
        f"path KL below the optimum's: {len(below)} of {len(others)} (schedule, law, K)"
        + (f", by up to {-below.regret.min():.1e}" if len(below) else "")
    ]
    fixed = pd.DataFrame(others[~others.schedule.isin(["recursion", "sqrt_slope"])])
    middle = fixed.groupby("schedule").regret.agg(["median", "max"]).sort_values("median")
    out.append(
        "median regret over laws and K: "
        + ", ".join(f"{name} {_percent(row['median'])}" for name, row in middle.iterrows())
    )
    return [*out, *_limits(data, found), *_marginals(data), *_noise(data)]


def _limits(data: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """K·KL of the optimum at the largest K over S²/4, and its extrapolation from the two largest K."""
    import pandas as pd

    best = pd.DataFrame(found[found.schedule == "optimal"])
    parts = []
    for family, group in best.groupby("family", sort=False):
        quarter = float(select(data, family=family, quantity="quarter").value.iloc[0])
        last = group.sort_values("steps").tail(2)
        steps, value = last.steps.to_numpy(float), last.value.to_numpy(float)
        scaled = steps * value
        limit = (steps[1] * scaled[1] - steps[0] * scaled[0]) / (steps[1] - steps[0])
        parts.append(f"{family} {scaled[1] / quarter:.3f} ({limit / quarter:.3f})")
    return [f"optimum: K KL / (S^2/4) at the largest K, and extrapolated in 1/K: {', '.join(parts)}"]


def _marginals(data: pd.DataFrame) -> list[str]:
    """How far the path-optimal grid is from the best grid for the marginal, and the other way round."""
    rows = select(data, quantity="kl")
    out = []
    for sampler in ("ddpm", "ddim"):
        parts = []
        chosen = select(rows, schedule=f"marginal_optimal ({sampler})")
        for family, steps in dict.fromkeys(zip(chosen.family, chosen.steps, strict=True)):
            group = select(chosen, family=family, steps=steps)
            optimal = select(rows, family=family, steps=steps, schedule="optimal")
            costs = [_value(each, sampler, "marginal") for each in (optimal, group)]
            paths = [_value(each, "ddpm", "path") for each in (group, optimal)]
            if np.isfinite([*costs, *paths]).all():
                parts.append(f"{family} K = {int(steps)} {costs[0] / costs[1]:.2f} ({paths[0] / paths[1]:.2f})")
        if parts:
            out.append(
                f"marginal KL of {sampler} on the path-optimal grid over its least (path KL of its own best grid over the "
                f"least): {', '.join(parts)}"
            )
    return out


def _value(rows: pd.DataFrame, sampler: str, rung: str) -> float:
    """The one value there; NaN where it was refused or not followed."""
    values = select(rows, sampler=sampler, rung=rung, quantity="kl").value
    return float(values.iloc[0]) if len(values) else math.nan


def _noise(data: pd.DataFrame) -> list[str]:
    """Regret of grids read off a noisy loss: where it is required to stay below 10%, and elsewhere."""
    noisy = select(data, quantity="regret", schedule="optimal")
    if not len(noisy):
        return []
    rarest = noisy.rarest.astype(float)
    held = noisy[((rarest >= REQUIRED) | rarest.isna()) & (noisy.family != "drawn at random") & (noisy.steps <= 32)]
    if not len(held):
        return []
    worst = held.loc[held.value.idxmax()]
    out = [
        f"loss-adaptive from noisy losses, no atom rarer than {REQUIRED} samples, K <= 32: median regret at most "
        f"{worst.value:.1%} ({worst.family}, K = {int(worst.steps)}; {int(worst.seeds)} seeds): "
        + ("within 10%" if worst.value <= 0.1 else "NOT within 10%")
    ]
    rest = noisy.drop(held.index)
    parts = [
        f"{row['family']} K = {int(row['steps'])} {_percent(row['value'])} ± {_percent(row['stderr'])}"
        for row in rest.to_dict("records")
    ]
    return [*out, "elsewhere: " + ", ".join(parts)]


def _sheet(found: pd.DataFrame, steps: int) -> Table:
    rows = select(found, steps=steps)
    families = list(dict.fromkeys(rows.family))
    sheet = Table(box=box.SIMPLE_HEAD, title=f"ddpm's path KL over the least, less one, at K = {steps}")
    sheet.add_column("schedule")
    for family in families:
        sheet.add_column(str(family), justify="right", overflow="fold")
    order = rows.groupby("schedule").regret.median().sort_values()
    for name in order.index:
        cells = [select(rows, schedule=name, family=family) for family in families]
        sheet.add_row(str(name), *[_percent(cell.regret.iloc[0]) if len(cell) else "-" for cell in cells])
    return sheet


def _percent(value: float) -> str:
    return (
        f"{value:.1%}" if value < 0.1 else f"{value:.0%}" if value < 10.0 else f"x{1.0 + value:.0e}".replace("e+0", "e")
    )

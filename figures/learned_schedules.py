"""Regret of the grid read off a network's own training losses, and of schedules in use, against K."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_panels import NAME, Group, groups, panels, part, save, title

BEST = {"value": "optimal", "network": "network_optimal"}
"""Whose path KL, and the grid that is best for it."""
PRICED = {"value": "exact denoiser", "network": "the network itself"}
SHOWN = ("loss_adaptive", "log_snr", "karras", "cosine", "linear_beta", "entropic")
LEAST = 1e-3
"""Regrets below this are drawn there."""
TOLERATED = 0.1


def schedules(rows: pd.DataFrame) -> list[Path]:
    """Path KL of ddpm over that of the best grid, less one: of the exact denoiser, and of the network itself."""
    found = part(rows, "schedule")
    chosen = groups(found)
    if not chosen:
        return []
    columns = 2 if len(chosen) == 1 else 4
    words = f"regret: path KL of ddpm over that of the best grid, less 1; drawn at {LEAST:g} where below; dotted: 10%"
    figure, axes = panels(2 * len(chosen), title=words, columns=columns, height=3.7)
    for index, axis in enumerate(axes):
        _regret(axis, part(found, "schedule", chosen[index // 2]), chosen[index // 2], list(BEST)[index % 2])
    return save(figure, rows, f"{NAME}_schedules")


def _regret(axis: Axes, rows: pd.DataFrame, group: Group, column: str) -> None:
    best = pd.DataFrame(rows[rows.schedule == BEST[column]]).set_index("steps")[column].astype(float)
    ends = []
    for index, name in enumerate(SHOWN):
        series = pd.DataFrame(rows[rows.schedule == name]).sort_values("steps")
        if not len(series):
            continue
        regret = np.maximum(series[column].to_numpy(float) / best.reindex(series.steps).to_numpy() - 1.0, LEAST)
        looks = style.cycle(index)
        if name == "loss_adaptive":
            looks |= {"linewidth": 2.6, "markersize": 5.5}
        axis.plot(series.steps, regret, **looks)  # type: ignore[arg-type]
        ends.append((float(series.steps.iloc[-1]), float(regret[-1]), name, str(looks["color"])))
    axis.axhline(TOLERATED, color="0.4", linestyle=":", linewidth=1.0, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel="regret", title=f"{title(group)}\n{PRICED[column]}")
    style.plain_ticks(axis, sorted({int(steps) for steps in rows.steps}))
    if ends:
        style.labels_at_ends(axis, ends)

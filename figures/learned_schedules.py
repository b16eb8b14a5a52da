"""Regret of the grid read off a network's own training losses, and of schedules in use, against K."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_panels import ERRORS, NAME, Group, doubt, groups, panels, part, save

BEST = {"value": "optimal", "network": "network_optimal"}
"""Whose path KL, and the grid that is best for it."""
RATIOS = {"value": "ratio", "network": "network_ratio"}
"""Path KL of the loss-adaptive grid over that of another, by paired draws."""
PRICED = {"value": "exact denoiser", "network": "the network"}
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
    figure, axes = panels(2 * len(chosen), title=f"{words}\n{ERRORS}", columns=columns, height=1.85)
    for index, axis in enumerate(axes):
        _regret(axis, part(found, "schedule", chosen[index // 2]), chosen[index // 2], list(BEST)[index % 2])
        axis.set_ylabel("regret" if index % columns == 0 else "")
        axis.set_xlabel("steps K" if index + columns >= len(axes) else "")
    style.shared_legend(figure, axes, columns=6)
    return save(figure, rows, f"{NAME}_schedules")


def _regret(axis: Axes, rows: pd.DataFrame, group: Group, column: str) -> None:
    """C/C* − 1; its error is that of the paired ratios (C'/C* and C'/C, C' the loss-adaptive grid's cost)."""
    axis.set(xscale="log", yscale="log")
    best = pd.DataFrame(rows[rows.schedule == BEST[column]]).set_index("steps")
    ratio = RATIOS[column]
    for index, name in enumerate(SHOWN):
        series = pd.DataFrame(rows[rows.schedule == name]).sort_values("steps")
        if not len(series):
            continue
        beside = pd.DataFrame(best.reindex(series.steps))
        over = series[column].to_numpy(float) / beside[column].to_numpy(float)
        looks = {**style.cycle(index), "label": name, "markersize": 2.8}
        if name == "loss_adaptive":
            looks |= {"linewidth": 2.4, "markersize": 4.5}
        slack = sum(doubt(each, ratio) / each[ratio].to_numpy(float) for each in (series, beside))
        style.line(axis, series.steps, np.maximum(over - 1.0, LEAST), over * slack, looks)
    axis.axhline(TOLERATED, color="0.4", linestyle=":", linewidth=1.0, zorder=0)
    values = np.maximum(rows[column].to_numpy(float) / best[column].reindex(rows.steps).to_numpy(float) - 1.0, LEAST)
    style.hold(axis, values[rows.schedule.isin(SHOWN)])
    axis.set_title(f"{group[0]}\nd = {group[1]:,}; {PRICED[column]}", fontsize=7)
    style.plain_ticks(axis, sorted({int(steps) for steps in rows.steps})[::-2][::-1])

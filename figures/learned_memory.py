"""A network trained on n points, between the denoiser of the points and that of the law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_panels import ERRORS, NAME, PER_EFOLD, Group, doubt, groups, part, save, title

DISTANCES: dict[str, dict[str, Any]] = {
    "to_law": {"color": "#0072B2", "marker": "s", "linestyle": "-", "label": "network to the law's denoiser"},
    "to_points": {"color": "#D55E00", "marker": "^", "linestyle": "--", "label": "network to that of the n points"},
    "apart": {"color": "#000000", "marker": "o", "linestyle": ":", "label": "law's to that of the points"},
}


def memory(rows: pd.DataFrame) -> list[Path]:
    """A row a law: the three distances in nats against n, then by level for every n."""
    totals, levels = part(rows, "memory"), part(rows, "memory_level")
    chosen = groups(totals)
    if not chosen:
        return []
    counts = {group: sorted({int(n) for n in part(totals, "memory", group).points}) for group in chosen}
    columns = 1 + max(map(len, counts.values()))
    figure, axes = style.canvas(3.3 * columns, 3.5 * len(chosen) + 0.6, len(chosen), columns)
    figure.suptitle(
        f"squared distances of denoisers along the law's own noised draws; {ERRORS}", fontsize=8.5, x=0.01, ha="left"
    )
    for line, group in zip(axes, chosen, strict=True):
        _totals(line[0], part(totals, "memory", group), counts[group], group)
        mine = part(levels, "memory_level", group)
        for axis, count in zip(line[1:], counts[group], strict=False):
            _levels(axis, pd.DataFrame(mine[mine.points == count]), count)
        for axis in line[2 : 1 + len(counts[group])]:
            axis.sharey(line[1])
        for axis in line[1 + len(counts[group]) :]:
            axis.set_visible(False)
        line[1].set_ylabel(PER_EFOLD)
    style.shared_legend(figure, axes.flat)
    return save(figure, rows, f"{NAME}_memory")


def _totals(axis: Axes, rows: pd.DataFrame, counts: list[int], group: Group) -> None:
    """Up to each level, the last of them in full colour."""
    for left in sorted(set(rows.left)):
        last = left == rows.left.min()
        for name, looks in DISTANCES.items():
            mine = pd.DataFrame(rows[(rows.distance == name) & (rows.left == left)]).sort_values("points")
            shown = {**looks, "capsize": 2, "elinewidth": 0.8, "markersize": 4, "alpha": 1.0 if last else 0.3}
            shown["label"] = looks["label"] if last else "_"
            axis.errorbar(mine.points, mine.value, yerr=doubt(mine), **shown)
    shares = ", ".join(f"{100.0 * left:g}%" for left in sorted(set(rows.left), reverse=True))
    axis.set(xscale="log", yscale="log", xlabel="training points n", ylabel="½∫E‖·‖²dγ, nats")
    axis.set_title(f"{title(group)}\nuntil {shares} of the variance left (last dark)", fontsize=8)
    style.plain_ticks(axis, counts)


def _levels(axis: Axes, rows: pd.DataFrame, count: int) -> None:
    rows = rows.assign(logsnr=rows.logsnr.astype(float)).sort_values("logsnr")
    weight = 0.5 * np.exp(rows.logsnr.to_numpy(float))
    for name, looks in DISTANCES.items():
        value, slack = weight * rows[name].to_numpy(float), weight * doubt(rows, name)
        axis.plot(rows.logsnr, value, **{**looks, "marker": "None"})
        low = np.maximum(value - slack, 1e-3 * value)
        axis.fill_between(rows.logsnr, low, value + slack, color=looks["color"], alpha=0.2, linewidth=0)
    axis.set(yscale="log", xlabel="log snr", title=f"n = {count:,}")

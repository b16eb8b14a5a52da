"""A network trained on n points, between the denoiser of the points and that of the law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_panels import ERRORS, NAME, PER_EFOLD, Group, doubt, groups, part, save

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
    figure, axes = style.canvas(style.WIDTH, 2.2 * len(chosen) + 0.6, len(chosen), columns)
    shares = ", ".join(f"{100.0 * left:g}%" for left in sorted(set(totals.left), reverse=True))
    words = f"squared distances of denoisers along the law's own noised draws; {ERRORS}"
    words += f"\nleft column: up to the snr at which {shares} of the variance is left, the last dark"
    figure.suptitle(words, fontsize=7, x=0.01, ha="left")
    for line, group in zip(axes, chosen, strict=True):
        _totals(line[0], part(totals, "memory", group), counts[group], group)
        mine = part(levels, "memory_level", group)
        for axis, count in zip(line[1:], counts[group], strict=False):
            _levels(axis, pd.DataFrame(mine[mine.points == count]), count)
        for axis in line[2 : 1 + len(counts[group])]:
            axis.sharey(line[1])
            axis.tick_params(labelleft=False)
        for axis in line[1 + len(counts[group]) :]:
            axis.set_visible(False)
        line[1].set_ylabel(PER_EFOLD.replace(": ", ":\n"))
    style.shared_legend(figure, axes.flat)
    return save(figure, rows, f"{NAME}_memory")


def _totals(axis: Axes, rows: pd.DataFrame, counts: list[int], group: Group) -> None:
    """Up to each level, the last of them in full colour."""
    axis.set(xscale="log", yscale="log", xlabel="training points n", ylabel="½∫E‖·‖²dγ, nats")
    for left in sorted(set(rows.left)):
        last = left == rows.left.min()
        for name, looks in DISTANCES.items():
            mine = pd.DataFrame(rows[(rows.distance == name) & (rows.left == left)]).sort_values("points")
            shown = {**looks, "alpha": 1.0 if last else 0.3, "label": looks["label"] if last else "_"}
            axis.errorbar(mine.points, mine.value, yerr=doubt(mine), elinewidth=0.7, **shown)
    axis.set_title(f"{group[0]},\nd = {group[1]:,}")
    style.plain_ticks(axis, counts)


def _levels(axis: Axes, rows: pd.DataFrame, count: int) -> None:
    axis.set(yscale="log", xlabel="log snr", title=f"n = {count:,}")
    rows = rows.assign(logsnr=rows.logsnr.astype(float)).sort_values("logsnr")
    weight = 0.5 * np.exp(rows.logsnr.to_numpy(float))
    for name, looks in DISTANCES.items():
        value, slack = weight * rows[name].to_numpy(float), weight * doubt(rows, name)
        style.line(axis, rows.logsnr, value, slack, {**looks, "marker": "None"})

"""A trained network's loss over the mmse: what the excess is, level by level; then rungs, reach, schedules and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_memory import memory
from figures.learned_panels import ERRORS, NAME, PER_EFOLD, Group, doubt, groups, legend, panels, part, save, title
from figures.learned_rungs import marginals, reach, rungs
from figures.learned_schedules import schedules
from figures.load import load

COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
WORDS = f"{ERRORS}; loss − mmse is drawn where it is larger than its bar"


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Losses by level (front page: every law in its largest dimension), rungs, marginals, reach, schedules, memory."""
    rows = load(path, keys)
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    every = groups(part(rows, "level"))
    front = [group for group in every if group[1] == max(dim for family, dim in every if family == group[0])]
    first = _losses(rows, front, NAME, folder) + _losses(rows, every, f"{NAME}_levels")
    return first + rungs(rows) + marginals(rows) + reach(rows) + schedules(rows) + memory(rows)


def _losses(rows: pd.DataFrame, chosen: list[Group], name: str, folder: Path | None = None) -> list[Path]:
    if not chosen:
        return []
    figure, axes = panels(len(chosen), title=WORDS, height=2.35)
    for index, (axis, group) in enumerate(zip(axes, chosen, strict=True)):
        axis.set(xlabel="log snr", yscale="log", title="\n".join([title(group), *_floor(part(rows, "floor", group))]))
        axis.set_ylabel(PER_EFOLD if index % 3 == 0 else "")
        _log(axis, part(rows, "log", group))
        _levels(axis, part(rows, "level", group))
    legend(figure, axes)
    return save(figure, rows, name, folder)


def _floor(rows: pd.DataFrame) -> list[str]:
    """½ ∫ E‖m̂ − m‖² dγ, the area under the error, in words."""
    found = zip(rows.value.astype(float), doubt(rows), strict=True)
    places = [(value, slack, max(0, 1 - int(np.floor(np.log10(slack)))) if slack else 3) for value, slack in found]
    return [f"floor {value:,.{place}f} ± {slack:,.{place}f} nats" for value, slack, place in places]


def _log(axis: Axes, rows: pd.DataFrame) -> None:
    """The training run's own losses: a dot a band."""
    for logsnr, loss in zip(rows.logsnr, rows.loss, strict=True):
        looks: dict[str, Any] = {"color": "#E69F00", "marker": ".", "linestyle": "none", "markersize": 2, "zorder": 2.2}
        scaled = 0.5 * np.exp(logsnr) * np.array(loss)
        axis.plot(logsnr, scaled, label="loss in training,\nby band", **looks)


def _levels(axis: Axes, rows: pd.DataFrame) -> None:
    """mmse, loss, their difference, and the error that the difference should be."""
    rows = rows.assign(logsnr=rows.logsnr.astype(float)).sort_values("logsnr")
    weight = 0.5 * np.exp(rows.logsnr.to_numpy(float))
    mmse, loss, error = (weight * rows[name].to_numpy(float) for name in ("mmse", "loss", "error"))
    axis.plot(rows.logsnr, mmse, color="#000000", linewidth=0.9, zorder=2.6, label="mmse of the law")
    looks = {"color": "#0072B2", "linewidth": 2.2, "label": "loss of the network"}
    style.line(axis, rows.logsnr, loss, weight * doubt(rows, "loss"), looks)
    looks = {"color": "#009E73", "linestyle": "--", "linewidth": 0.9, "label": "error before training\n(linear)"}
    style.line(axis, rows.logsnr, weight * rows.linear, weight * doubt(rows, "linear"), looks)
    looks = {"color": "#D55E00", "linewidth": 1.2, "label": "error of the network,\nmeasured"}
    style.line(axis, rows.logsnr, error, weight * doubt(rows, "error"), looks)
    slack = doubt(rows, "excess")
    seen = rows.excess.to_numpy(float) > slack
    looks = {"color": "#CC79A7", "marker": "o", "markersize": 2.5, "markerfacecolor": "white", "label": "loss − mmse"}
    looks |= {"markeredgewidth": 0.7, "elinewidth": 0.6, "capsize": 0.0}
    excess = (weight * rows.excess.to_numpy(float))[seen]
    style.points(axis, rows.logsnr[seen], excess, (weight * slack)[seen], looks)
    axis.set_ylim(0.5 * float(min(error.min(), mmse.min())), 2.0 * float(loss.max()))

"""A trained network's loss over the mmse: what the excess is, level by level; then rungs, reach, schedules and memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_memory import memory
from figures.learned_panels import ERRORS, NAME, PER_EFOLD, doubt, groups, panels, part, save, title
from figures.learned_rungs import marginals, reach, rungs
from figures.learned_schedules import schedules
from figures.load import load

COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Losses by level (front page), rungs, marginals, steps to the floor, schedules, memory; those that have rows."""
    rows = load(path, keys)
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return _losses(rows, folder) + rungs(rows) + marginals(rows) + reach(rows) + schedules(rows) + memory(rows)


def _losses(rows: pd.DataFrame, folder: Path) -> list[Path]:
    chosen = groups(part(rows, "level"))
    if not chosen:
        return []
    figure, axes = panels(len(chosen), title=f"{ERRORS}; loss − mmse is drawn where it is larger than its bar")
    for axis, group in zip(axes, chosen, strict=True):
        _log(axis, part(rows, "log", group))
        _levels(axis, part(rows, "level", group))
        axis.set(xlabel="log snr", ylabel=PER_EFOLD, yscale="log", title=title(group))
    style.shared_legend(figure, axes)
    return save(figure, rows, NAME, folder)


def _log(axis: Axes, rows: pd.DataFrame) -> None:
    """The training run's own losses: a dot a band."""
    for logsnr, loss in zip(rows.logsnr, rows.loss, strict=True):
        scaled = 0.5 * np.exp(logsnr) * np.array(loss)
        looks = {"color": "#E69F00", "marker": ".", "linestyle": "none", "markersize": 2.5, "zorder": 2.2}
        axis.plot(logsnr, scaled, label="loss in training, by band", **looks)


def _levels(axis: Axes, rows: pd.DataFrame) -> None:
    """mmse, loss, their difference, and the error that the difference should be."""
    rows = rows.assign(logsnr=rows.logsnr.astype(float)).sort_values("logsnr")
    weight = 0.5 * np.exp(rows.logsnr.to_numpy(float))
    axis.plot(rows.logsnr, weight * rows.mmse, color="#000000", linewidth=0.9, zorder=2.6, label="mmse of the law")
    loss = weight * rows.loss.to_numpy(float)
    axis.plot(rows.logsnr, loss, color="#0072B2", linewidth=2.4, label="loss of the network")
    _band(axis, rows.logsnr, loss, weight * doubt(rows, "loss"), "#0072B2")
    error = weight * rows.error.to_numpy(float)
    axis.plot(
        rows.logsnr, weight * rows.linear, "--", color="#009E73", linewidth=0.9, label="error before training (linear)"
    )
    axis.plot(rows.logsnr, error, color="#D55E00", linewidth=1.2, label="error of the network, measured")
    _band(axis, rows.logsnr, error, weight * doubt(rows, "error"), "#D55E00")
    slack = doubt(rows, "excess")
    seen = rows.excess.to_numpy(float) > slack
    looks = {"color": "#CC79A7", "marker": "o", "markersize": 3, "markerfacecolor": "white", "linestyle": "none"}
    excess = (weight * rows.excess.to_numpy(float))[seen]
    axis.errorbar(rows.logsnr[seen], excess, yerr=(weight * slack)[seen], elinewidth=0.7, label="loss − mmse", **looks)
    least = float(min(error.min(), (weight * rows.mmse).min()))
    axis.set_ylim(0.5 * least, 2.0 * float(loss.max()))


def _band(axis: Axes, logsnr: pd.Series, value: np.ndarray, slack: np.ndarray, color: str) -> None:
    axis.fill_between(logsnr, np.maximum(value - slack, 1e-3 * value), value + slack, color=color, alpha=0.25, lw=0)

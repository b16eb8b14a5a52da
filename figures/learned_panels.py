"""The panels of the learned-score figures: one a law and dimension, errors as 4 standard errors and the bias.

A law in many dimensions is drawn in the smallest and the largest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style

NAME = "learned_score"
COLUMNS = 3
"""Panels a row."""
PER_EFOLD = "nats per e-fold of snr: ½ γ E‖·‖²"
ERRORS = "bars and bands: 4 standard errors and the bias"

Group = tuple[str, int]
"""A law and its dimension."""


def part(rows: pd.DataFrame, quantity: str, group: Group | None = None) -> pd.DataFrame:
    """The rows of one quantity, those of one law and dimension where they are given."""
    keep = rows.quantity == quantity
    if group is not None:
        keep &= (rows.family == group[0]) & (rows.dim == group[1])
    return pd.DataFrame(rows[keep])


def groups(rows: pd.DataFrame) -> list[Group]:
    """Every law, in its smallest and its largest dimension."""
    out = []
    for family in dict.fromkeys(rows.family):
        dims = rows.dim[rows.family == family].astype(int)
        out += [(str(family), dim) for dim in sorted({int(dims.min()), int(dims.max())})]
    return out


def title(group: Group) -> str:
    """As it stands over a panel."""
    return f"{group[0]}, d = {group[1]:,}"


def panels(count: int, *, title: str, columns: int = COLUMNS, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, `columns` a row, under a title, and those of its panels that are used."""
    columns = min(count, columns)
    lines = int(np.ceil(count / columns))
    figure, axes = style.canvas(style.WIDTH, height * lines + 0.5, lines, columns)
    figure.suptitle(title, fontsize=7, x=0.01, ha="left")
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend in the place of the panel that is not used, or below all of them."""
    free = [axis for axis in figure.axes if not axis.get_visible()]
    if not free:
        style.shared_legend(figure, axes)
        return
    shown: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    free[0].set_visible(True)
    free[0].set_axis_off()
    free[0].legend(shown.values(), shown.keys(), loc="center left", borderaxespad=0.0, labelspacing=0.9)


def doubt(rows: pd.DataFrame, name: str = "") -> np.ndarray:
    """4 standard errors and the bias of the column value, or of one that is named."""
    stderr, bias = (f"{name}_stderr", f"{name}_bias") if name else ("stderr", "bias")
    slack = rows[bias].to_numpy(float) if bias in rows else 0.0
    return 4.0 * rows[stderr].to_numpy(float) + np.nan_to_num(slack)


def save(figure: Figure, rows: pd.DataFrame, name: str, folder: Path | None = None) -> list[Path]:
    """Write a figure with the command and commit of the last of its rows."""
    origin: dict[str, Any] = rows.provenance.iloc[-1]
    return style.save(figure, folder or style.RENDERED, name, origin["command"], origin["commit"][:12])

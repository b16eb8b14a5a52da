"""KL and steps against dimension, one panel a family, from the rows of studies.dimension_scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "dimension_scaling"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
GROUPS = {"a": "product (identity)", "b": "embedding (identity)", "c": "no product"}
BOUND = {"color": "0.45", "linewidth": 1.0, "linestyle": (0, (1, 1.5)), "label": "κ I(γ_K), ddpm's bound"}
PAGE = 6
"""Panels of a page."""
FRONT = ("digits in R^D", "digits, leading components", "sphere, radius 2√d")


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """The front page's figure; KL(d) and K*(d) for every family, on pages of `PAGE`."""
    rows = load(path, keys)
    families = list(dict.fromkeys(rows.family))
    front = [family for family in FRONT if family in families]
    written = _page(rows, front, NAME, "kl", style.FRONT if path == COMMITTED else style.RENDERED)
    for quantity in ("kl", "steps"):
        for number, start in enumerate(range(0, len(families), PAGE), 1):
            name = f"{NAME}_{quantity}" + (f"_{number}" if number > 1 else "")
            written += _page(rows, families[start : start + PAGE], name, quantity, style.RENDERED)
    return written


def _page(rows: pd.DataFrame, chosen: list[str], name: str, quantity: str, folder: Path) -> list[Path]:
    """Three panels a row; the front page names its lines in the last panel, the others have a legend."""
    origin = rows.provenance.iloc[-1]
    height = int(np.ceil(len(chosen) / 3))
    figure, axes = style.canvas(style.WIDTH, 2.5 * height, height, 3)
    for axis, family in zip(axes.flat, chosen, strict=False):
        named = name == NAME and family == chosen[-1]
        _panel(axis, pd.DataFrame(rows[rows.family == family]), family, quantity, named=named)
    for axis in axes.flat[len(chosen) :]:
        axis.set_visible(False)
    if name != NAME:
        style.shared_legend(figure, axes.flat[: len(chosen)])
    return style.save(figure, folder, name, origin["command"], origin["commit"][:12])


def _panel(axis: Axes, rows: pd.DataFrame, family: str, quantity: str, *, named: bool) -> None:
    """Lines with bands; at their ends the last slopes, with the names of the lines where there is no legend."""
    group = rows.group.iloc[0]
    kept = pd.DataFrame(rows[rows.quantity == quantity])
    if quantity == "kl":
        kept = pd.DataFrame(kept[kept.steps == kept.steps.min()])
    axis.set(xscale="log", yscale="log", xlabel="ambient dimension D" if group == "b" else "dimension d")
    ends = []
    for (sampler, reference), looks in style.SERIES.items():
        series = pd.DataFrame(kept[(kept.sampler == sampler) & (kept.reference == reference)]).sort_values("dim")
        if not len(series):
            continue
        style.line(axis, series.dim, series.value, style.error(series), looks)
        text = style.slope_text(series.dim, series.value)
        text = f"{looks['label']}  {text}" if named else text
        ends.append((float(series.dim.iloc[-1]), float(series.value.iloc[-1]), text, str(looks["color"])))
        if quantity == "kl" and (sampler, reference) == ("ddpm", "reverse SDE"):
            axis.plot(series.dim, series.bound.astype(float), **BOUND)  # type: ignore[arg-type]
            if named:
                ends.append((float(series.dim.iloc[-1]), float(series.bound.iloc[-1]), str(BOUND["label"]), "0.35"))
        if quantity == "steps" and series.extrapolated.astype(bool).any():
            far = series[series.extrapolated.astype(bool)]
            axis.plot(
                far.dim, far.value.astype(float), ls="", marker="o", ms=7, mfc="none", mec="0.5", label="extrapolated"
            )
    axis.set_ylabel(f"KL, nats (K = {int(kept.steps.iloc[0])})" if quantity == "kl" else "K*: steps to reach ε²")
    axis.set_title(f"{family}\n({group}) {GROUPS[group]}")
    style.plain_ticks(axis, sorted(set(kept.dim)), 5)
    style.labels_at_ends(axis, ends)

"""The ladder against K: one run, several rungs, two slopes; and every sampler's marginal KL against what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "step_scaling"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
LADDER = (
    ("curved mixture", "ddpm"),
    ("curved mixture", "jain_zhang"),
    ("sphere, d = 1000", "ddpm"),
    ("sphere, d = 1000", "jain_zhang"),
)
"""The front figure: two samplers on one line and in a thousand dimensions."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Three figures: the front page's ladder, the ladder of every noisy sampler, work against precision."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    rows = pd.DataFrame(rows[rows.quantity == "kl"])
    front = [pair for pair in LADDER if len(_chosen(rows, *pair))]
    noisy = [
        (str(family), str(sampler))
        for family, group in rows.groupby("family", sort=False)
        for sampler in dict.fromkeys(group.sampler)
        if len(_chosen(rows, str(family), str(sampler))) > len(_chosen(rows, str(family), str(sampler), "marginal"))
    ]
    written = []
    for name, chosen, columns in ((NAME, front, 4), (f"{NAME}_ladders", noisy, 5)):
        height = int(np.ceil(len(chosen) / columns))
        figure, axes = style.canvas(2.9 * columns, 3.3 * height, height, columns)
        for axis, (family, sampler) in zip(axes.flat, chosen, strict=False):
            _ladder(axis, _chosen(rows, family, sampler), family, sampler)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        style.shared_legend(figure, axes.flat[: len(chosen)])
        folder = style.FRONT if path == COMMITTED and name == NAME else style.RENDERED
        written += style.save(figure, folder, name, origin["command"], origin["commit"][:12])
    return written + _work(rows, origin)


def _chosen(rows: pd.DataFrame, family: str, sampler: str, rung: str | None = None) -> pd.DataFrame:
    keep = (rows.family == family) & (rows.sampler == sampler)
    return pd.DataFrame(rows[keep if rung is None else keep & (rows.rung == rung)])


def _ladder(axis: Axes, rows: pd.DataFrame, family: str, sampler: str) -> None:
    for (rung, reference), looks in style.RUNGS.items():
        series = pd.DataFrame(rows[(rows.rung == rung) & (rows.reference == reference)]).sort_values("steps")
        if not len(series):
            continue
        value, error = series.value.astype(float), 4 * series.stderr.astype(float) + series.bias.astype(float)
        axis.errorbar(series.steps, value, yerr=error, capsize=2, **looks)  # type: ignore[arg-type]
        style.end_slope(axis, series.steps.to_numpy(float), value.to_numpy(), looks["color"])
    axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel="KL, nats")
    axis.set_title(f"{sampler}\n{family}")
    style.plain_ticks(axis, sorted(set(rows.steps)))


def _work(rows: pd.DataFrame, origin: dict[str, str]) -> list[Path]:
    """Marginal KL against denoiser evaluations, one panel a family, every sampler labelled at its line's end."""
    marginal = pd.DataFrame(rows[rows.rung == "marginal"])
    families, names = list(dict.fromkeys(marginal.family)), list(dict.fromkeys(marginal.sampler))
    columns = 3
    height = int(np.ceil(len(families) / columns))
    figure, axes = style.canvas(5.2 * columns, 4.4 * height, height, columns)
    for axis, family in zip(axes.flat, families, strict=False):
        group = marginal[marginal.family == family]
        ends = []
        for sampler in dict.fromkeys(group.sampler):
            series = pd.DataFrame(group[group.sampler == sampler]).sort_values("evaluations")
            looks = style.cycle(names.index(sampler))
            value, error = series.value.astype(float), 4 * series.stderr.astype(float) + series.bias.astype(float)
            axis.errorbar(series.evaluations, value, yerr=error, capsize=2, **looks)  # type: ignore[arg-type]
            ends.append((float(series.evaluations.iloc[-1]), float(value.iloc[-1]), str(sampler), looks["color"]))
        axis.set(xscale="log", yscale="log", xlabel="denoiser evaluations", ylabel="marginal KL, nats", title=family)
        style.labels_at_ends(axis, ends)
    for axis in axes.flat[len(families) :]:
        axis.set_visible(False)
    return style.save(figure, style.RENDERED, f"{NAME}_work", origin["command"], origin["commit"][:12])

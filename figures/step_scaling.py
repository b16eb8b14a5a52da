"""The ladder against K: one run, several rungs, two slopes; and every sampler's marginal KL against what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
PANELS, FAMILIES = 20, 6
"""At most, on a page: ladders, and families of work against precision."""
SHORT = {"chain, against the reverse chain": "chain (reverse)", "chain, against flow+noise": "chain (flow+noise)"}


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """The front page's ladder, pages of the ladders of every noisy sampler, pages of work against precision."""
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
    for name, chosen in [(NAME, front), *_pages(f"{NAME}_ladders", noisy, PANELS)]:
        columns = 2 if name == NAME else 4
        height = int(np.ceil(len(chosen) / columns))
        figure, axes = style.canvas(style.WIDTH, (2.6 if name == NAME else 1.75) * height, height, columns)
        for axis, (family, sampler) in zip(axes.flat, chosen, strict=False):
            _ladder(axis, _chosen(rows, family, sampler), family, sampler, named=name == NAME)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        if name != NAME:
            style.shared_legend(figure, axes.flat[: len(chosen)])
        folder = style.FRONT if path == COMMITTED and name == NAME else style.RENDERED
        written += style.save(figure, folder, name, origin["command"], origin["commit"][:12])
    return written + _work(rows, origin)


def _pages(name: str, chosen: list[Any], most: int) -> list[tuple[str, list[Any]]]:
    """(name of the file, what is on it) for each page: the first has the plain name, the others a number."""
    starts = range(0, len(chosen), most)
    return [(name if not i else f"{name}_{i // most + 1}", chosen[i : i + most]) for i in starts]


def _chosen(rows: pd.DataFrame, family: str, sampler: str, rung: str | None = None) -> pd.DataFrame:
    keep = (rows.family == family) & (rows.sampler == sampler)
    return pd.DataFrame(rows[keep if rung is None else keep & (rows.rung == rung)])


def _ladder(axis: Axes, rows: pd.DataFrame, family: str, sampler: str, *, named: bool) -> None:
    """Every rung of one run with its band; names and last slopes at the ends, and triangles, where there is room."""
    axis.set(xscale="log", yscale="log")
    drawn: list[tuple[pd.DataFrame, dict[str, Any], str]] = []
    for (rung, reference), looks in style.RUNGS.items():
        series = pd.DataFrame(rows[(rows.rung == rung) & (rows.reference == reference)]).sort_values("steps")
        if len(series):
            style.line(axis, series.steps, series.value, style.error(series), looks)
            drawn.append((series, looks, SHORT.get(looks["label"], looks["label"])))
    style.hold(axis, rows.value)
    axis.set_title(f"{sampler}: {family}" if named else f"{sampler}\n{family}", fontsize=8 if named else 6.5)
    if named:
        axis.set(xlabel="steps K", ylabel="KL, nats")
    style.plain_ticks(axis, sorted({int(steps) for steps in rows.steps}), 8 if named else 4)
    ends = []
    for series, looks, label in drawn:
        triangle = named and (label == "marginal" or label == drawn[0][2])
        if triangle:
            above, color = label != "marginal", str(looks["color"])
            style.slope_triangle(axis, series.steps, series.value, color, style.error(series), above=above)
        text = style.slope_text(series.steps, series.value, style.error(series))
        text = label if triangle else f"{label}  K^{text}" if named and text else text
        ends.append((float(series.steps.iloc[-1]), float(series.value.iloc[-1]), text, str(looks["color"])))
    style.labels_at_ends(axis, ends, 6.5 if named else 6.0)


def _work(rows: pd.DataFrame, origin: dict[str, str]) -> list[Path]:
    """Marginal KL against denoiser evaluations, one panel a family, every sampler labelled at its line's end."""
    marginal = pd.DataFrame(rows[rows.rung == "marginal"])
    families, names = list(dict.fromkeys(marginal.family)), list(dict.fromkeys(marginal.sampler))
    written = []
    for page, chosen in _pages(f"{NAME}_work", families, FAMILIES):
        height = int(np.ceil(len(chosen) / 2))
        figure, axes = style.canvas(style.WIDTH, 2.95 * height, height, 2)
        for axis, family in zip(axes.flat, chosen, strict=False):
            group = pd.DataFrame(marginal[marginal.family == family])
            axis.set(
                xscale="log", yscale="log", xlabel="denoiser evaluations", ylabel="marginal KL, nats", title=family
            )
            ends = []
            for sampler in dict.fromkeys(group.sampler):
                series = pd.DataFrame(group[group.sampler == sampler]).sort_values("evaluations")
                looks = style.cycle(names.index(sampler))
                style.line(axis, series.evaluations, series.value, style.error(series), looks)
                end = (float(series.evaluations.iloc[-1]), float(series.value.iloc[-1]))
                ends.append((*end, str(sampler), str(looks["color"])))
            style.hold(axis, group.value)
            style.labels_at_ends(axis, ends, 6.0)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        written += style.save(figure, style.RENDERED, page, origin["command"], origin["commit"][:12])
    return written

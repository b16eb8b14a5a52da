"""How steps grow as δ → 0, which directions make them grow, and what stopping at δ costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "early_stopping"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
FRONT = ("two points", "null direction", "sphere", "curved mixture")
"""The families of the front figure."""

GROWTH = (
    ("jain_zhang", "chain", "flow+noise"),
    ("jain_zhang", "marginal", "none"),
    ("ei_sde", "path", "reverse SDE"),
    ("ddpm", "path", "reverse SDE"),
)
"""The rungs whose growth is drawn."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Two figures: K*(δ) of every rung; the growth of four rungs with log(1/δ) and the cost of stopping."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return _steps(rows, folder, origin) + _growth(rows, origin)


def _steps(rows: pd.DataFrame, folder: Path, origin: dict[str, str]) -> list[Path]:
    steps = pd.DataFrame(rows[rows.quantity == "steps"])
    families = [name for name in FRONT if (steps.family == name).any()]
    height = int(np.ceil(len(families) / 2))
    figure, axes = style.canvas(style.WIDTH, 2.9 * height, height, 2, sharey=True)
    for axis in axes.flat[len(families) :]:
        axis.set_visible(False)
    for axis, family in zip(axes.flat, families, strict=False):
        _panel(axis, pd.DataFrame(steps[steps.family == family]))
    figure.draw_without_rendering()
    for axis, family in zip(axes.flat, families, strict=False):
        style.labels_at_ends(axis, _ends(pd.DataFrame(steps[steps.family == family])), 6.0)
    for axis in axes[:, 0]:
        axis.set_ylabel("K*: steps to reach ε²")
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    """One family's lines."""
    axis.set(xscale="log", yscale="log", xlabel="Λ = T − 1 + log(1/δ)")
    for (sampler, reference), looks in style.SERIES.items():
        series = _series(rows, sampler, reference)
        if len(series):
            axis.plot(series.length.to_numpy(float), series.value.to_numpy(float), **looks)  # type: ignore[arg-type]
    _guides(axis, rows)
    axis.set_title(f"{rows.family.iloc[0]}: {_directions(rows)}\nnumbers: last slopes in Λ")
    length = sorted({float(value) for value in rows.length})
    ticks = [tick for tick in (2, 3, 5, 7, 10, 15, 20, 30, 40) if length[0] <= tick <= 1.05 * length[-1]]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()


def _ends(rows: pd.DataFrame) -> list[tuple[float, float, str, str]]:
    """Each line's name with the slope over its last two points."""
    ends = []
    for (sampler, reference), looks in style.SERIES.items():
        series = _series(rows, sampler, reference)
        if len(series):
            text = f"{looks['label']}  {style.slope_text(series.length, series.value)}"
            ends.append((float(series.length.iloc[-1]), float(series.value.iloc[-1]), text, str(looks["color"])))
    return ends


def _series(rows: pd.DataFrame, sampler: str, reference: str) -> pd.DataFrame:
    return pd.DataFrame(rows[(rows.sampler == sampler) & (rows.reference == reference)]).sort_values("length")


def _directions(rows: pd.DataFrame) -> str:
    """How many directions are singular and how many are smooth."""
    smooth = int(rows.mmse_dimension.iloc[0])
    return f"{int(rows.dim.iloc[0]) - smooth} singular, {smooth} smooth"


def _guides(axis: Axes, rows: pd.DataFrame) -> None:
    """Lines of slope 1, 3/2 and 2 from one corner."""
    length = np.array([float(rows.length.min()), float(rows.length.max())])
    for power, name in ((1.0, "1"), (1.5, "3/2"), (2.0, "2")):
        line = 0.3 * (length / length[0]) ** power
        axis.plot(length, line, color="0.6", linewidth=0.8, linestyle="-", zorder=0)
        end = (float(length[1]), float(line[1]))
        axis.annotate(name, end, xytext=(2, 0), textcoords="offset points", fontsize=6, color="0.4", va="center")


def _growth(rows: pd.DataFrame, origin: dict[str, str]) -> list[Path]:
    limits, families = pd.DataFrame(rows[rows.quantity == "limit"]), list(dict.fromkeys(rows.family))
    figure, axes = style.canvas(style.WIDTH, 6.6, 3, 2)
    for axis, (sampler, rung, reference) in zip(axes.flat, GROWTH, strict=False):
        chosen = limits[(limits.sampler == sampler) & (limits.rung == rung) & (limits.reference == reference)]
        for family in dict.fromkeys(chosen.family):
            series = pd.DataFrame(chosen[chosen.family == family]).sort_values("length")
            order = int(series.order.iloc[0])
            scale = (series.dim * series.length**order).to_numpy(float)
            value, error = series.value.to_numpy(float) / scale, style.error(series) / scale
            looks = style.cycle(families.index(family))
            style.line(axis, -np.log10(series.delta.astype(float)), value, error, looks, label=family)
        power = "" if rung == "path" else "²"
        axis.set(xlabel="log₁₀ 1/δ", ylabel=f"limit of K{power}·KL/(dΛ{power})")
        axis.set_ylim(bottom=0.0)
        axis.set_title(f"{sampler}, {rung}" + (f" ({reference})" if rung == "chain" else ""))
    _slopes(axes.flat[4], limits, families)
    _costs(axes.flat[5], pd.DataFrame(rows[rows.quantity == "early"]), families)
    style.shared_legend(figure, axes.flat)
    return style.save(figure, style.RENDERED, f"{NAME}_growth", origin["command"], origin["commit"][:12])


def _slopes(axis: Axes, limits: pd.DataFrame, families: list[str]) -> None:
    """B of the chain against flow+noise for each singular direction, between neighbouring δ."""
    chosen = limits[limits.reference == "flow+noise"]
    for family in dict.fromkeys(chosen.family):
        series = pd.DataFrame(chosen[chosen.family == family]).sort_values("length")
        ratio = (series.value / series.length**2).to_numpy(float)
        grown = -np.log(series.delta.to_numpy(float))
        middle = 0.5 * (grown[1:] + grown[:-1]) / np.log(10.0)
        axis.plot(middle, np.diff(ratio) / np.diff(grown), label=family, **style.cycle(families.index(family)))  # type: ignore[arg-type]
    axis.axhline(0.125, color="0.4", linewidth=0.8, zorder=0)
    axis.annotate("1/8", (4.2, 0.125), xytext=(0, -9), textcoords="offset points", fontsize=7, color="0.4")
    axis.set(xlabel="log₁₀ 1/δ", ylabel="Δ(K²·KL/Λ²)/Δ log(1/δ)", title="jain_zhang, chain (flow+noise): growth")


def _costs(axis: Axes, early: pd.DataFrame, families: list[str]) -> None:
    """W2 between x_δ and X, or H(X given x_δ) where it is above its error."""
    shown = pd.DataFrame(early[early.value > 4.0 * early.stderr + early.bias])
    for family in dict.fromkeys(shown.family):
        series = pd.DataFrame(shown[shown.family == family]).sort_values("delta")
        axis.plot(series.delta, series.value, label=family, **style.cycle(families.index(family)))  # type: ignore[arg-type]
    axis.set(xscale="log", yscale="log", xlabel="δ", ylabel="W2, or H(X given x_δ), nats")
    axis.set_title("what stopping at δ costs")
    axis.set_ylim(bottom=max(axis.get_ylim()[0], 1e-9))
    axis.invert_xaxis()
    axis.minorticks_off()

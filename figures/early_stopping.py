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
    figure, axes = style.canvas(3.4 * len(families), 4.8, 1, len(families), sharey=True)
    ends = [_panel(axis, pd.DataFrame(steps[steps.family == f])) for axis, f in zip(axes[0], families, strict=True)]
    for axis, found in zip(axes[0], ends, strict=True):
        style.labels_at_ends(axis, found)
        low, last = axis.get_xlim()[0], max(end[0] for end in found)
        axis.set_xlim(low, last * (last / low) ** 0.25)
    axes[0, 0].set_ylabel("K*: steps to reach ε²   (numbers: last slopes)")
    style.shared_legend(figure, axes.flat)
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _panel(axis: Axes, rows: pd.DataFrame) -> list[tuple[float, float, str, str]]:
    """One family's lines; the ends that are to be labelled, with the slope over the last two points."""
    ends = []
    for (sampler, reference), looks in style.SERIES.items():
        series = pd.DataFrame(rows[(rows.sampler == sampler) & (rows.reference == reference)]).sort_values("length")
        if not len(series):
            continue
        x, y = series.length.to_numpy(float), series.value.to_numpy(float)
        axis.plot(x, y, **looks)  # type: ignore[arg-type]
        if len(x) > 1:
            slope = np.diff(np.log(y[-2:])) / np.diff(np.log(x[-2:]))
            ends.append((float(x[-1]), float(y[-1]), f"{slope.item():.2f}", str(looks["color"])))
    _guides(axis, rows)
    axis.set(xscale="log", yscale="log", xlabel="Λ = T − 1 + log(1/δ)")
    axis.set_title(f"{rows.family.iloc[0]}\n{_directions(rows)}")
    length = sorted({float(value) for value in rows.length})
    ticks = [tick for tick in (2, 3, 5, 7, 10, 15, 20, 30, 40) if length[0] <= tick <= 1.05 * length[-1]]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    return ends


def _directions(rows: pd.DataFrame) -> str:
    """How many directions are singular and how many are smooth."""
    smooth = int(rows.mmse_dimension.iloc[0])
    return f"{int(rows.dim.iloc[0]) - smooth} singular, {smooth} smooth"


def _guides(axis: Axes, rows: pd.DataFrame) -> None:
    """Lines of slope 1, 3/2 and 2 from one corner."""
    length = np.array([float(rows.length.min()), float(rows.length.max())])
    for power, name in ((1.0, "1"), (1.5, "3/2"), (2.0, "2")):
        line = 2.0 * (length / length[0]) ** power
        axis.plot(length, line, color="0.6", linewidth=0.8, linestyle="-", zorder=0)
        middle = (length.prod() ** 0.5, line.prod() ** 0.5)
        axis.annotate(name, middle, xytext=(0, 2), textcoords="offset points", fontsize=7, color="0.4", ha="right")


def _growth(rows: pd.DataFrame, origin: dict[str, str]) -> list[Path]:
    limits, families = pd.DataFrame(rows[rows.quantity == "limit"]), list(dict.fromkeys(rows.family))
    figure, axes = style.canvas(12.5, 7.2, 2, 3)
    for axis, (sampler, rung, reference) in zip(axes.flat, GROWTH, strict=False):
        chosen = limits[(limits.sampler == sampler) & (limits.rung == rung) & (limits.reference == reference)]
        for family in dict.fromkeys(chosen.family):
            series = pd.DataFrame(chosen[chosen.family == family]).sort_values("length")
            order = int(series.order.iloc[0])
            scale = series.dim * series.length.to_numpy(float) ** order
            value, error = series.value / scale, (4.0 * series.stderr + series.bias) / scale
            axis.errorbar(
                -np.log10(series.delta),
                value,
                yerr=error,
                label=family,
                capsize=2,
                **style.cycle(families.index(family)),
            )  # type: ignore[arg-type]
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
    axis.set(xlabel="log₁₀ 1/δ", ylabel="B = Δ(K²·KL/Λ²)/Δ log(1/δ)", title="jain_zhang, chain (flow+noise): growth")


def _costs(axis: Axes, early: pd.DataFrame, families: list[str]) -> None:
    """W2 between x_δ and X, or H(X given x_δ) where it is above its error."""
    shown = pd.DataFrame(early[early.value > 4.0 * early.stderr + early.bias])
    for family in dict.fromkeys(shown.family):
        series = pd.DataFrame(shown[shown.family == family]).sort_values("delta")
        axis.plot(series.delta, series.value, label=family, **style.cycle(families.index(family)))  # type: ignore[arg-type]
    axis.set(xscale="log", yscale="log", xlabel="δ", ylabel="W2, or H(X given x_δ) in nats (atoms)")
    axis.set_title("what stopping at δ costs")
    axis.set_ylim(bottom=max(axis.get_ylim()[0], 1e-9))
    axis.invert_xaxis()
    axis.minorticks_off()

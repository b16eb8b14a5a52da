"""The one place for looks: readable in grey and by colour-blind people, labels beside lines, every file with its origin."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RENDERED = Path(__file__).resolve().parent / "rendered"
FRONT = Path(__file__).resolve().parent / "front"
"""The committed figures, redrawn only from committed rows."""

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.92",
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "svg.hashsalt": "truerate",
    "svg.fonttype": "none",
}

HOLLOW = {"markerfacecolor": "white", "linewidth": 0.9}
"""Marginal rungs: the sampler's own looks, with empty markers."""

# Okabe and Ito's palette, ordered so that the lightness differs too; marker and dash repeat the distinction in grey.
SERIES = {
    ("ddpm", "reverse SDE"): {"color": "#000000", "marker": "o", "linestyle": "-", "label": "ddpm, path"},
    ("ei_sde", "reverse SDE"): {"color": "#0072B2", "marker": "s", "linestyle": "--", "label": "ei_sde, path"},
    ("jain_zhang", "reverse"): {
        "color": "#D55E00",
        "marker": "^",
        "linestyle": "-.",
        "label": "jain_zhang, chain (reverse)",
    },
    ("jain_zhang", "flow+noise"): {
        "color": "#CC79A7",
        "marker": "v",
        "linestyle": ":",
        "label": "jain_zhang, chain (flow+noise)",
    },
    ("ddpm", "none"): {"color": "#000000", "marker": "o", "linestyle": "-", "label": "ddpm, marginal", **HOLLOW},
    ("ei_sde", "none"): {"color": "#0072B2", "marker": "s", "linestyle": "--", "label": "ei_sde, marginal", **HOLLOW},
    ("jain_zhang", "none"): {
        "color": "#D55E00",
        "marker": "^",
        "linestyle": "-.",
        "label": "jain_zhang, marginal",
        **HOLLOW,
    },
}

RUNGS = {
    ("path", "reverse SDE"): {"color": "#000000", "marker": "o", "linestyle": "-", "label": "path"},
    ("chain", "reverse"): {
        "color": "#D55E00",
        "marker": "^",
        "linestyle": "-.",
        "label": "chain, against the reverse chain",
    },
    ("chain", "flow+noise"): {
        "color": "#CC79A7",
        "marker": "v",
        "linestyle": ":",
        "label": "chain, against flow+noise",
    },
    ("marginal", "none"): {"color": "#0072B2", "marker": "s", "linestyle": "--", "label": "marginal"},
}
PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS, DASHES = "osv^Dx", ("-", "--", ":", "-.")


def cycle(index: int) -> dict[str, str | float]:
    """Colour, marker and dash of the index-th of many lines: no two of the first 84 agree in all three."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
        "linewidth": 1.2,
        "markersize": 3.5,
    }


def canvas(width: float, height: float, rows: int, columns: int, **kwargs: object):  # noqa: ANN201
    """A figure with its grid of axes, independent of any display."""
    mpl.rcParams.update(SETTINGS)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)  # type: ignore[arg-type]


def save(figure: Figure, folder: Path, name: str, command: str, commit: str) -> list[Path]:
    """PNG and SVG in `folder`, with the command and commit that made them in the metadata."""
    folder.mkdir(exist_ok=True)
    origin = f"{command} @ {commit}"
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    figure.savefig(paths[0], dpi=160, metadata={"Description": origin})
    figure.set_layout_engine("none")  # what was laid out for the first file stays where it is for the second
    figure.savefig(paths[1], metadata={"Description": origin, "Date": None})
    return paths


def shared_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend below the panels for what any of them shows."""
    shown = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=min(len(shown), 4), frameon=False, fontsize=8.5
    )


def end_slope(axis: Axes, x: np.ndarray, y: np.ndarray, color: str) -> None:
    """The slope over the last two points, written at the line's end."""
    if len(x) < 2:
        return
    slope = np.diff(np.log(y[-2:])) / np.diff(np.log(x[-2:]))
    place = {"xy": (x[-1], y[-1]), "textcoords": "offset points", "xytext": (4, 3)}
    axis.annotate(f"{slope.item():.2f}".replace("-0.00", "0.00"), fontsize=7.5, color=color, **place)


def plain_ticks(axis: Axes, values: list[int]) -> None:
    """Plain numbers at the values themselves where a decade is too coarse, as many as fit."""
    if values[-1] >= 1000 * values[0]:
        return
    least = (values[-1] / values[0]) ** (1 / 7)
    shown = [values[-1]]
    for value in reversed(values):
        if value * least <= shown[-1]:
            shown.append(value)
    axis.set_xticks(shown, [str(value) for value in shown])
    axis.minorticks_off()


def labels_at_ends(axis: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """(x, y, text, colour) written right of the lines' ends, in the order of y, spread so that none covers another."""
    low, high = np.log(axis.get_ylim())
    gap = 0.045 * (high - low)
    right = max(x for x, _, _, _ in ends)
    left = axis.get_xlim()[0]
    axis.set_xlim(left, right * (right / left) ** 0.4)
    height = -np.inf
    for x, y, text, color in sorted(ends, key=lambda end: end[1]):
        height = max(height + gap, float(np.log(y)))
        axis.annotate(
            text,
            (x, y),
            xytext=(right * (right / left) ** 0.06, np.exp(height)),
            fontsize=7,
            color=color,
            va="center",
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.4, "shrinkA": 0, "shrinkB": 2},
        )

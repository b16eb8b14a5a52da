"""The one place for looks: readable in grey and by colour-blind people, every file with the command and commit behind it.

Colour, marker and dash say the same thing three times.  Numbers with errors have bands or bars of `error`; a fitted power is
a triangle under its line with the exponent beside it; lines are named at their ends rather than in a legend.  Figures are
`WIDTH` inches wide, a text's width, so that what is printed is as large as what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

RENDERED = Path(__file__).resolve().parent / "rendered"
FRONT = Path(__file__).resolve().parent / "front"
"""The committed figures, redrawn only from committed rows."""

WIDTH = 7.2
"""Inches: the text of a page."""

SETTINGS: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "axes.grid": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "errorbar.capsize": 1.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "mathtext.fontset": "dejavusans",
    "svg.hashsalt": "truerate",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
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
    }


def canvas(width: float, height: float, rows: int, columns: int, **kwargs: object):  # noqa: ANN201
    """A figure with its grid of axes, independent of any display."""
    mpl.rcParams.update(SETTINGS)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)  # type: ignore[arg-type]


def rows_of(width: float, height: float, counts: list[int]) -> tuple[Figure, list[list[Axes]]]:
    """A figure of rows of panels, the i-th of counts[i] panels whose widths are no other row's."""
    figure, axes = canvas(width, height, len(counts), 1)
    spec = axes[0, 0].get_gridspec()
    for axis in axes.flat:
        axis.remove()
    lines = [spec[place, 0].subgridspec(1, count) for place, count in enumerate(counts)]
    return figure, [[figure.add_subplot(line[0, column]) for column in range(line.ncols)] for line in lines]


def save(figure: Figure, folder: Path, name: str, command: str, commit: str) -> list[Path]:
    """PNG, SVG and PDF in `folder`, with the command and commit that made the rows in the metadata."""
    folder.mkdir(exist_ok=True)
    origin = f"{command} @ {commit}"
    png, svg, pdf = (folder / f"{name}.{kind}" for kind in ("png", "svg", "pdf"))
    figure.savefig(png, dpi=240, metadata={"Description": origin})
    figure.set_layout_engine("none")  # what was laid out for the first file stays where it is for the others
    figure.savefig(svg, metadata={"Description": origin, "Date": None})
    figure.savefig(pdf, metadata={"Title": name, "Subject": origin, "CreationDate": None})
    return [png, svg, pdf]


def error(rows: pd.DataFrame) -> np.ndarray:
    """What a number may be wrong by: four standard errors and its deterministic error."""
    return 4.0 * rows.stderr.to_numpy(float) + np.abs(rows.bias.to_numpy(float))


def line(axis: Axes, x: Any, y: Any, error: Any, looks: dict[str, Any], *, label: str | None = None) -> None:
    """A line with its band, y ± error; where the band is wider than the marker it is seen."""
    x, y, error = (np.asarray(values, float) for values in (x, y, error))
    shown = {key: value for key, value in looks.items() if key != "label"}
    axis.plot(x, y, label=looks.get("label", label), **shown)
    low = np.maximum(y - error, y * 1e-3) if axis.get_yscale() == "log" else y - error
    axis.fill_between(x, low, y + error, color=looks["color"], alpha=0.18, linewidth=0)


def hold(axis: Axes, values: Any, room: float = 1.7) -> None:
    """Limits of a logarithmic panel that hold the values; a band may run out of it."""
    values = np.asarray(values, float)
    values = values[values > 0]
    if len(values):
        axis.set_ylim(values.min() / room, values.max() * room)


def points(axis: Axes, x: Any, y: Any, error: Any, looks: dict[str, Any]) -> None:
    """Markers with bars of y ± error, for numbers that no line should join."""
    axis.errorbar(x, y, yerr=error, **{**looks, "linestyle": "none"})


def shared_legend(figure: Figure, axes: Iterable[Axes], columns: int = 4) -> None:
    """One legend below the panels for what any of them shows: where lines are too close to be named at their ends."""
    shown = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    if shown:
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(len(shown), columns))


def slope_text(x: Any, y: Any, error: Any = 0.0) -> str:
    """s = log(y₂/y₁)/log(x₂/x₁) over the last two points, with its error (e₁/y₁ + e₂/y₂)/log(x₂/x₁) where that shows.

    The error has one digit, and the slope ends where the error does.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 2 or not (y[-2:] > 0).all():
        return ""
    run = np.log(x[-1] / x[-2])
    slope = np.log(y[-1] / y[-2]) / run
    doubt = (np.broadcast_to(np.asarray(error, float), y.shape)[-2:] / y[-2:]).sum() / run
    seen = doubt >= 0.005
    digits = max(0, -int(f"{doubt:.0e}".split("e")[1])) if seen else 2
    text = f"{round(slope, digits) + 0.0:.{digits}f}" + (f" ± {doubt:.{digits}f}" if seen else "")
    return text.replace("-", "\N{MINUS SIGN}")


def slope_triangle(axis: Axes, x: Any, y: Any, color: str, error: Any = 0.0, *, above: bool = False) -> None:
    """The power of the last two points as a triangle under (or above) their line, with `slope_text` beside it."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 2 or not (y[-2:] > 0).all():
        return
    run = np.log(x[-1] / x[-2])
    slope = np.log(y[-1] / y[-2]) / run
    low, high = np.log(axis.get_ylim())
    shift = np.exp((1 if above else -1) * 0.035 * (high - low))
    first, last = x[-2] * np.exp(0.15 * run), x[-1] * np.exp(-0.15 * run)
    start, end = y[-2] * (first / x[-2]) ** slope * shift, y[-2] * (last / x[-2]) ** slope * shift
    corner = (first, end) if (slope < 0) != above else (last, start)
    axis.fill(
        [first, last, corner[0]], [start, end, corner[1]], facecolor="none", edgecolor=color, linewidth=0.6, zorder=3
    )
    text = slope_text(x, y, error)
    how: dict[str, Any] = {"textcoords": "offset points", "fontsize": 6, "color": color}
    if above:
        place = (np.sqrt(first * last), max(start, end))
        axis.annotate(text, place, xytext=(0, 1.5), ha="center", va="bottom", **how)
        return
    left = corner[0] == first
    place = (corner[0], np.sqrt(start * end))
    axis.annotate(text, place, xytext=(-2 if left else 2, 0), ha="right" if left else "left", va="center", **how)


def plain_ticks(axis: Axes, values: list[int], count: int = 8) -> None:
    """Plain numbers at the values themselves where a decade is too coarse, at most `count` ≥ 2 of them."""
    if values[-1] >= 1000 * values[0]:
        return
    least = (values[-1] / values[0]) ** (1 / (count - 1))
    shown = [values[-1]]
    for value in reversed(values):
        if value * least <= shown[-1] * (1 + 1e-9):
            shown.append(value)
    axis.set_xticks(shown, [str(value) for value in shown])
    axis.minorticks_off()


def round_ticks(axis: Axes, which: Literal["x", "y"] = "y") -> None:
    """Round plain numbers on a logarithmic axis of few decades; where there are more than two, only powers of ten."""
    low, high = axis.get_ylim() if which == "y" else axis.get_xlim()
    subs = (1.0, 2.0, 3.0, 5.0, 7.0) if high < 30.0 * low else (1.0, 2.0, 5.0) if high < 100.0 * low else (1.0,)
    locator = MaxNLocator(5) if high < 3.0 * low else LogLocator(subs=subs)
    ticks = [float(value) for value in locator.tick_values(low, high) if low <= value <= high]
    getattr(axis, f"set_{which}ticks")(ticks, [f"{value:g}" for value in ticks])
    getattr(axis, f"{which}axis").minorticks_off()


def labels_at_ends(axis: Axes, ends: list[tuple[float, float, str, str]], size: float = 6.5) -> None:
    """(x, y, text, colour) written right of the panel at the lines' ends, in the order of y, none over another.

    To be called when the limits of the panel are final.
    """
    if not ends:
        return
    forward = axis.transScale.transform
    low, high = (float(forward((1.0, limit))[1]) for limit in axis.get_ylim())
    height = axis.get_position().height * axis.figure.get_figheight() * 72.0  # type: ignore[union-attr]
    gap = 1.45 * size / max(height, 1.0)
    ends = sorted(ends, key=lambda end: end[1])
    wanted = [(float(forward((1.0, end[1]))[1]) - low) / (high - low) for end in ends]
    for (x, y, text, color), place in zip(ends, spread(wanted, gap), strict=True):
        axis.annotate(
            text,
            (x, y),
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=size,
            color=color,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "lw": 0.4,
                "relpos": (0.0, 0.5),
                "shrinkA": 0,
                "shrinkB": 2,
                "alpha": 0.6,
            },
        )


def spread(wanted: list[float], gap: float) -> list[float]:
    """The places in [0, 1] nearest to the wanted ones, ascending, no two nearer than `gap`; too many run out above.

    Least squares by pooling neighbours; with bounds, what that gives, cut off.
    """
    blocks: list[tuple[float, int]] = []  # mean of what the first of a block wants, how many
    for index, place in enumerate(wanted):
        mean, count = place - index * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    most = max(0.0, 1.0 - (len(wanted) - 1) * gap)
    flat = [min(max(mean, 0.0), most) for mean, count in blocks for _ in range(count)]
    return [mean + index * gap for index, mean in enumerate(flat)]

"""The one place for looks: readable in grey and by colour-blind people, labels beside lines, every file with its origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
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
    figure.savefig(paths[1], metadata={"Description": origin, "Date": None})
    return paths

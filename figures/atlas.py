"""Work against precision, one panel a law: the lowest rung that its samplers have, against evaluations, on one schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "atlas"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
SCHEDULE = "log_snr"
NAMED = 5
"""Samplers of a panel that are drawn in colour and named: the cheapest where the shortest line of the panel ends."""
MUTED = {"color": "0.72", "linewidth": 0.7, "linestyle": "-", "zorder": 1}
LOWEST = (("marginal", "none"), ("chain", "reverse"), ("path", "reverse SDE"))
"""Rungs from the lowest on; a panel shows the first that any of its samplers has."""
TICKS = {2**n for n in range(1, 11)}


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Two figures: every law with its cheapest samplers named (front page), and every sampler of every law named."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    rows = pd.DataFrame(rows[(rows.quantity == "kl") & (rows.schedule == SCHEDULE)])
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    written = _panels(rows, 3, 1.9, NAMED, folder, NAME, origin)
    return written + _panels(rows, 2, 2.6, len(set(rows.sampler)), style.RENDERED, f"{NAME}_all", origin)


def _panels(
    rows: pd.DataFrame, columns: int, height: float, named: int, folder: Path, name: str, origin: dict[str, str]
) -> list[Path]:
    families = list(dict.fromkeys(rows.family))
    looks: dict[str, dict[str, str | float]] = {}
    columns = min(columns, len(families))
    lines = int(np.ceil(len(families) / columns))
    figure, axes = style.canvas(style.WIDTH, height * lines + 0.1, lines, columns)
    ends = {}
    for index, (axis, family) in enumerate(zip(axes.flat, families, strict=False)):
        ends[axis] = _panel(axis, pd.DataFrame(rows[rows.family == family]), family, looks, named)
        if index % columns == 0:
            axis.set_ylabel("KL, nats")
        if index + columns >= len(families):
            axis.set_xlabel("denoiser evaluations")
    for axis in axes.flat[len(families) :]:
        axis.set_visible(False)
    figure.draw_without_rendering()
    for axis, found in ends.items():
        style.labels_at_ends(axis, found, size=5.5)
    return style.save(figure, folder, name, origin["command"], origin["commit"][:12])


def _panel(
    axis: Axes, rows: pd.DataFrame, family: str, looks: dict[str, dict[str, str | float]], named: int
) -> list[tuple[float, float, str, str]]:
    """Draws one law; the ends of the lines that are to be named.  `looks`: of the samplers named so far, in all panels."""
    rung, reference = next(pair for pair in LOWEST if ((rows.rung == pair[0]) & (rows.reference == pair[1])).any())
    lines = [row for _, row in rows[(rows.rung == rung) & (rows.reference == reference)].iterrows()]
    shared = min(row.evaluations[-1] for row in lines)
    best = {row.sampler for row in sorted(lines, key=lambda row: _within(row, shared))[:named]}
    axis.set(xscale="log", yscale="log")
    ends = []
    for row in lines:
        x, y = np.array(row.evaluations, float), np.array(row.value, float)
        if row.sampler not in best:
            axis.plot(x, y, **MUTED)  # type: ignore[arg-type]
            continue
        own = looks.setdefault(row.sampler, style.cycle(len(looks)))
        style.line(axis, x, y, 4.0 * np.array(row.stderr) + np.array(row.bias), {**own, "markersize": 2.4})
        ends.append((x[-1], y[-1], row.sampler, str(own["color"])))
    words = rung if rung != "chain" else f"{rung} ({reference})"
    axis.set_title(f"{family}\n{words} KL")
    style.plain_ticks(axis, sorted({count for row in lines for count in row.evaluations if count in TICKS}), 4)
    return ends


def _within(row: pd.Series, budget: int) -> float:
    """The least value within so many evaluations; infinite where the line begins beyond."""
    return min(
        (value for count, value in zip(row.evaluations, row.value, strict=True) if count <= budget), default=np.inf
    )

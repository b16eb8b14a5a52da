"""Work and precision of every audited sampler: marginal KL on a Gaussian against denoiser evaluations.

Samplers whose points coincide are one line.  Lines that this project's methods are on are named at their ends, with how many
other samplers coincide and the last slope, and coloured by the order that it shows, p where KL falls as evaluations^−2p; the
other lines are grey: docs/audit.md has their numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "sampler_audit"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
SAME = 1e-3
"""Lines whose KL agree to this relative difference are one line."""

FLOOR = 1e-16
"""KL below is rounding."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Deterministic samplers on the left, stochastic ones on the right."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    figure, axes = style.canvas(style.WIDTH, 5.4, 1, 2)
    points = pd.DataFrame(rows[rows.quantity == "kl"]) if "evaluations" in rows else pd.DataFrame()
    for axis, stochastic, title in ((axes[0, 0], False, "deterministic"), (axes[0, 1], True, "stochastic")):
        mine = pd.DataFrame(points[points.stochastic == stochastic]) if len(points) else points
        axis.set_title(f"{title} samplers, marginal KL\nanisotropic Gaussian, d = 3; log-uniform snr, 0.02 to 200")
        _panel(axis, mine)
    axes[0, 0].set_ylabel("marginal KL, nats")
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _panel(axis: Axes, points: pd.DataFrame) -> None:
    axis.set(xscale="log", yscale="log", xlabel="denoiser evaluations")
    if not len(points):
        axis.text(0.5, 0.5, "none measured", transform=axis.transAxes, ha="center")
        return
    groups = sorted(merged(points), key=lambda group: -group[2][-1])
    ends = []
    for number, (names, x, y) in enumerate(groups):
        ours = [name.removeprefix("truerate: ") for name in names if name.startswith("truerate: ")]
        if not ours:
            axis.plot(x, y, color="0.8", linewidth=0.6, zorder=1)
            continue
        slope = style.slope_text(x, y)
        color = style.PALETTE[_order(x, y) % len(style.PALETTE)]
        axis.plot(x, y, color=color, marker=style.MARKERS[number % len(style.MARKERS)], markersize=2.8)
        more = f" (+{len(names) - 1})" if len(names) > 1 else ""
        ends.append((float(x[-1]), float(y[-1]), f"{ours[0]}{more}  {slope}", color))
    style.labels_at_ends(axis, ends, 6.0)


def _order(x: np.ndarray, y: np.ndarray) -> int:
    """Half the last slope of KL, the order of the law's error, as the nearest whole number."""
    if len(x) < 2 or y[-1] <= 10.0 * FLOOR:
        return 0
    return max(0, round(-0.5 * float(np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2]))))


def merged(points: pd.DataFrame) -> list[tuple[list[str], np.ndarray, np.ndarray]]:
    """(names, evaluations, KL) of every distinct line."""
    groups: list[tuple[list[str], np.ndarray, np.ndarray]] = []
    named = points.library + ": " + points.label
    for name, mine in points.groupby(named, sort=False):
        x, y = mine.evaluations.to_numpy(float), np.maximum(mine.value.to_numpy(float), FLOOR)
        for names, known, values in groups:
            if len(known) == len(x) and (known == x).all() and np.allclose(values, y, rtol=SAME, atol=10 * FLOOR):
                names.append(str(name))
                break
        else:
            groups.append(([str(name)], x, y))
    return groups

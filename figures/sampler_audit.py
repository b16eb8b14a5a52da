"""Work and precision of every audited sampler: marginal KL on a Gaussian against denoiser evaluations.

Samplers whose points coincide are one line.  Lines of this project's methods, and of more than one sampler, are numbered at
their ends and named beside in the order of the ends; the others are grey: docs/audit.md has their numbers.
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
    figure, axes = style.canvas(13.5, 8.4, 1, 2, sharey=True)
    points = pd.DataFrame(rows[rows.quantity == "kl"]) if "evaluations" in rows else pd.DataFrame()
    for axis, stochastic, title in ((axes[0, 0], False, "deterministic"), (axes[0, 1], True, "stochastic")):
        mine = pd.DataFrame(points[points.stochastic == stochastic]) if len(points) else points
        _panel(axis, mine)
        axis.set_title(
            f"{title} samplers: marginal KL, nats\n(anisotropic Gaussian, d = 3; uniform log-snr, 0.02 to 200)"
        )
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _panel(axis: Axes, points: pd.DataFrame) -> None:
    axis.set(xscale="log", yscale="log", xlabel="denoiser evaluations")
    if not len(points):
        axis.text(0.5, 0.5, "none measured", transform=axis.transAxes, ha="center")
        return
    groups = sorted(merged(points), key=lambda group: -group[2][-1])
    named = [group for group in groups if _shared(group[0])]
    for _, x, y in (group for group in groups if not _shared(group[0])):
        axis.plot(x, y, color="0.75", linewidth=0.7, zorder=1)
    for number, (names, x, y) in enumerate(named, start=1):
        look = style.cycle(number - 1)
        axis.plot(x, y, label=f"{number}  {_label(names)}", **look)  # type: ignore[arg-type]
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
        axis.annotate(str(number), (float(x[-1]), float(y[-1])), fontsize=5.5, color=str(look["color"]), **place)  # type: ignore[arg-type]
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=5.8, frameon=False, handlelength=3.2)


def _shared(names: list[str]) -> bool:
    return len(names) > 1 or names[0].startswith("truerate: ")


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


def _label(names: list[str]) -> str:
    ours = [name.removeprefix("truerate: ") for name in names if name.startswith("truerate: ")]
    first = ours[0] if ours else names[0].split(": ", 1)[1]
    first = first if len(first) <= 40 else first[:37] + "…"
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"

"""Particles over exact densities: one row a sampler, one column a level, from the noisiest to the last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "filmstrip"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
FALLS = (-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0)
"""Nats below the largest log density at which shades change."""
SHADES = ("0.95", "0.91", "0.86", "0.80", "0.73", "0.65")
DOT = "#0072B2"


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """The strip; its row labels quote the marginal KL."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    densities = pd.DataFrame(rows[rows.quantity == "density"]).sort_values("index")
    particles = pd.DataFrame(rows[rows.quantity == "particles"])
    samplers = list(dict.fromkeys(particles.sampler))
    columns = len(densities)
    side = style.WIDTH / columns
    figure, axes = style.canvas(style.WIDTH, len(samplers) * side * 0.98 + 0.22, len(samplers), columns)
    for row, sampler in zip(axes, samplers, strict=True):
        for axis, (_, density) in zip(row, densities.iterrows(), strict=True):
            mine = particles[(particles.sampler == sampler) & (particles["index"] == density["index"])]
            _panel(axis, density, np.array(mine.points.iloc[0]))
        row[0].set_ylabel(_label(rows, sampler), fontsize=6.5)
    for axis, (_, density) in zip(axes[0], densities.iterrows(), strict=True):
        axis.set_title(f"snr {_plain(float(density.snr))}", loc="center")
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _panel(axis: Axes, density: pd.Series, points: np.ndarray) -> None:
    x, y, values = (np.array(density[name]) for name in ("x", "y", "log_density"))
    axis.contourf(x, y, values - values.max(), levels=FALLS, colors=SHADES)
    axis.plot(*points.T, ".", color=DOT, markersize=1.3, markeredgewidth=0, alpha=0.8)
    axis.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xticks=[], yticks=[], aspect="equal")
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set(visible=True, color="0.75", linewidth=0.5)


def _label(rows: pd.DataFrame, sampler: str) -> str:
    """The sampler, its steps and its lowest rung."""
    chosen = rows[(rows.quantity == "kl") & (rows.sampler == sampler) & (rows.rung == "marginal")].iloc[0]
    error = 4.0 * chosen.stderr + chosen.bias
    doubt = f" ± {error:.1g}" if error > 0.005 * chosen.value else ""
    return f"{sampler}, {int(chosen.steps)} steps\nmarginal KL {chosen.value:.2g}{doubt} nats"


def _plain(value: float) -> str:
    """Two digits without an exponent."""
    return f"{float(f'{value:.1e}'):.10g}"

"""Where each schedule puts its steps, under the law's mmse curve; what that costs; and what a noisy loss makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "schedules"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
FRONT = ("curved mixture", "nested scales", "64 orthogonal points", "digits")
"""The front figure's laws."""

ORDER = (
    "optimal",
    "sqrt_slope",
    "align_your_steps",
    "entropic",
    "rescaled_entropic",
    "log_snr",
    "karras",
    "tangent",
    "cosine",
    "linear_beta",
    "scaled_linear_beta",
    "exponential_uniform",
    "uniform_ou_time",
    "uniform_sigma",
    "uniform_snr",
)


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Three figures: grids under curves (front page), regret against K, regret of noisy losses."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    families = list(dict.fromkeys(rows[rows.quantity == "curve"].family))
    written = []
    for name, chosen in ((NAME, [f for f in FRONT if f in families]), (f"{NAME}_grids", families)):
        if not chosen:
            continue
        columns = 2 if name == NAME else 3
        height = int(np.ceil(len(chosen) / columns))
        figure, axes = style.canvas(5.6 * columns, 4.3 * height, height, columns)
        for axis, family in zip(axes.flat, chosen, strict=False):
            grids(axis, pd.DataFrame(rows[rows.family == family]), family)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        style.shared_legend(figure, axes.flat[: len(chosen)])
        folder = style.FRONT if path == COMMITTED and name == NAME else style.RENDERED
        written += style.save(figure, folder, name, origin["command"], origin["commit"][:12])
    return written + _regret(rows, families, origin) + _noise(rows, origin)


def grids(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """Ticks on log γ, one line a schedule, under the loss (line) and the density √(−ℓ′) of the best grid (area)."""
    curve = rows[rows.quantity == "curve"].iloc[0]
    logsnr, density = np.array(curve.logsnr), np.array(curve.density)
    axis.fill_between(
        logsnr, 0.0, density / density.max(), color="0.88", linewidth=0, label="√(−dℓ/dγ) in log snr, to scale"
    )
    axis.plot(logsnr, curve.mmse, color="#0072B2", label="loss ℓ over its largest value (mmse for a law)")
    grids = pd.DataFrame(rows[rows.quantity == "grid"]).set_index("schedule")
    steps = int(grids.steps.iloc[0])
    paths = rows[(rows.quantity == "kl") & (rows.rung == "path") & (rows.steps == steps)]
    at = pd.DataFrame(paths).set_index("schedule").value.astype(float)
    shown = [name for name in ORDER if name in grids.index]
    for line, name in enumerate(shown):
        height = -0.12 - 0.11 * line
        color = "#D55E00" if name == "optimal" else "#000000"
        axis.plot(grids.logsnr[name], np.full(steps + 1, height), "|", color=color, markersize=5.5, markeredgewidth=0.9)
        over = at[name] / at["optimal"]
        words = f"{at[name]:.3g} nats" if name == "optimal" else f"×{over:.2f}" if over < 10.0 else f"×{over:.3g}"
        axis.annotate(words, (1.01, height), xycoords=("axes fraction", "data"), va="center", fontsize=7, color=color)
    axis.set_yticks([1.0, 0.0, *(-0.12 - 0.11 * i for i in range(len(shown)))], ["1", "0", *shown], fontsize=7)
    axis.set(xlabel="log snr", ylim=(-0.16 - 0.11 * len(shown), 1.05))
    axis.grid(visible=False)
    axis.set_title(f"{family}, {steps} steps")


def _regret(rows: pd.DataFrame, families: list[str], origin: dict[str, str]) -> list[Path]:
    """Path KL over the least, less one, against K."""
    paths = pd.DataFrame(rows[(rows.quantity == "kl") & (rows.rung == "path")])
    columns = 3
    height = int(np.ceil(len(families) / columns))
    figure, axes = style.canvas(5.2 * columns, 4.4 * height, height, columns)
    for axis, family in zip(axes.flat, families, strict=False):
        group = pd.DataFrame(paths[paths.family == family])
        best = pd.DataFrame(group[group.schedule == "optimal"]).set_index("steps").value.astype(float)
        ends = []
        for index, name in enumerate(ORDER[1:]):
            series = pd.DataFrame(group[group.schedule == name]).sort_values("steps")
            if not len(series):
                continue
            regret = series.value.to_numpy(float) / best.reindex(series.steps).to_numpy() - 1.0
            looks = style.cycle(index)
            axis.plot(series.steps, np.maximum(regret, 1e-6), **looks)  # type: ignore[arg-type]
            ends.append((float(series.steps.iloc[-1]), max(float(regret[-1]), 1e-6), name, looks["color"]))
        axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel="path KL / least path KL − 1", title=family)
        style.plain_ticks(axis, sorted({int(steps) for steps in group.steps}))
        if ends:
            style.labels_at_ends(axis, ends)
    for axis in axes.flat[len(families) :]:
        axis.set_visible(False)
    return style.save(figure, style.RENDERED, f"{NAME}_regret", origin["command"], origin["commit"][:12])


def _noise(rows: pd.DataFrame, origin: dict[str, str]) -> list[Path]:
    """Regret of the loss-adaptive grid: median over seeds with quartiles, one panel a K, one line a rule."""
    noisy = pd.DataFrame(rows[rows.quantity == "regret"])
    steps = sorted(set(noisy.steps))
    figure, axes = style.canvas(3.6 * len(steps), 4.2, 1, len(steps), sharey=True)
    families = list(dict.fromkeys(noisy.family))
    for axis, count in zip(axes.flat, steps, strict=True):
        for index, rule in enumerate(dict.fromkeys(noisy.schedule)):
            chosen = pd.DataFrame(noisy[(noisy.schedule == rule) & (noisy.steps == count)])
            series = chosen.set_index("family").reindex(families)
            value, looks = series.value.astype(float), style.cycle(index)
            spread = [value - series.low.astype(float), series.high.astype(float) - value]
            place = np.arange(len(families)) + 0.22 * (index - 1)
            kept = {"color": looks["color"], "marker": looks["marker"], "linestyle": "none", "markersize": 4}
            axis.errorbar(np.maximum(value, 1e-5), place, xerr=spread, capsize=2, label=rule, **kept)  # type: ignore[arg-type]
        axis.axvline(0.1, color="0.4", linestyle=":", linewidth=1.0)
        axis.set(xscale="log", xlabel="regret (median, quartiles)", title=f"K = {int(count)}", xlim=(1e-5, None))
        axis.set_yticks(range(len(families)), families)
    axes.flat[0].invert_yaxis()
    style.shared_legend(figure, axes.flat)
    return style.save(figure, style.RENDERED, f"{NAME}_noise", origin["command"], origin["commit"][:12])

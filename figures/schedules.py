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
PAGE = 6
"""Laws on a page, at most."""
LEAST = 1e-6
"""Least regret that is shown."""

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
    pages = [(NAME, [family for family in FRONT if family in families]), *_pages(f"{NAME}_grids", families)]
    for name, chosen in pages:
        if not chosen:
            continue
        height = int(np.ceil(len(chosen) / 2))
        figure, axes = style.canvas(style.WIDTH, 2.9 * height + 0.2, height, 2)
        for axis, family in zip(axes.flat, chosen, strict=False):
            grids(axis, pd.DataFrame(rows[rows.family == family]), family)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        style.shared_legend(figure, axes.flat[: len(chosen)])
        folder = style.FRONT if path == COMMITTED and name == NAME else style.RENDERED
        written += style.save(figure, folder, name, origin["command"], origin["commit"][:12])
    return written + _regret(rows, families, origin) + _noise(rows, origin)


def _pages(name: str, families: list[str]) -> list[tuple[str, list[str]]]:
    """(name of the file, what is on it) for each page: the first has the plain name, the others a number."""
    starts = range(0, len(families), PAGE)
    return [(name if not i else f"{name}_{i // PAGE + 1}", families[i : i + PAGE]) for i in starts]


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
        looks = {"color": color, "markersize": 4.0, "markeredgewidth": 0.8, "rasterized": True}
        axis.plot(grids.logsnr[name], np.full(steps + 1, height), "|", **looks)
        over = at[name] / at["optimal"]
        words = (
            f"{at[name]:.3g} nats"
            if name == "optimal"
            else f"×{over:.2f}"
            if over < 10.0
            else f"×{over:.3g}"
            if over < 1e3
            else f"×{_power(over)}"
        )
        axis.annotate(words, (1.01, height), xycoords=("axes fraction", "data"), va="center", fontsize=6, color=color)
    axis.set_yticks([1.0, 0.0, *(-0.12 - 0.11 * i for i in range(len(shown)))], ["1", "0", *shown], fontsize=6)
    axis.set(xlabel="log snr", ylim=(-0.16 - 0.11 * len(shown), 1.05))
    axis.grid(visible=False)
    axis.set_title(f"{family}, {steps} steps\n(right: path KL, over the least)")


RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power(value: float) -> str:
    """Two digits and a power of ten."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}·10{str(int(exponent)).translate(RAISED)}"


def _regret(rows: pd.DataFrame, families: list[str], origin: dict[str, str]) -> list[Path]:
    """Path KL over the least, less one, against K."""
    paths = pd.DataFrame(rows[(rows.quantity == "kl") & (rows.rung == "path")])
    written = []
    for name, chosen in _pages(f"{NAME}_regret", families):
        height = int(np.ceil(len(chosen) / 2))
        figure, axes = style.canvas(style.WIDTH, 2.9 * height, height, 2)
        ends = {}
        for axis, family in zip(axes.flat, chosen, strict=False):
            ends[axis] = _regrets(axis, pd.DataFrame(paths[paths.family == family]), family)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        figure.draw_without_rendering()
        for axis, found in ends.items():
            style.labels_at_ends(axis, found, 6.0)
        written += style.save(figure, style.RENDERED, name, origin["command"], origin["commit"][:12])
    return written


def _regrets(axis: Axes, group: pd.DataFrame, family: str) -> list[tuple[float, float, str, str]]:
    """One law's lines; their ends."""
    best = pd.DataFrame(group[group.schedule == "optimal"]).set_index("steps").value.astype(float)
    axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel="path KL / least path KL − 1", title=family)
    ends = []
    for index, name in enumerate(ORDER[1:]):
        series = pd.DataFrame(group[group.schedule == name]).sort_values("steps")
        if not len(series):
            continue
        regret = np.maximum(series.value.to_numpy(float) / best.reindex(series.steps).to_numpy() - 1.0, LEAST)
        looks = style.cycle(index)
        axis.plot(series.steps, regret, **looks)  # type: ignore[arg-type]
        ends.append((float(series.steps.iloc[-1]), float(regret[-1]), name, str(looks["color"])))
    style.plain_ticks(axis, sorted({int(steps) for steps in group.steps}))
    return ends


def _noise(rows: pd.DataFrame, origin: dict[str, str]) -> list[Path]:
    """Regret of the loss-adaptive grid: median over seeds with quartiles, one panel a K, one line a rule."""
    noisy = pd.DataFrame(rows[rows.quantity == "regret"])
    steps = sorted(set(noisy.steps))
    figure, axes = style.canvas(style.WIDTH, 4.2, 1, len(steps), sharey=True)
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
        axis.set(xscale="log", xlabel="regret (median, quartiles)", title=f"K = {int(count)}", xlim=(6e-6, None))
        axis.set_yticks(range(len(families)), families)
    axes.flat[0].invert_yaxis()
    style.shared_legend(figure, axes.flat)
    return style.save(figure, style.RENDERED, f"{NAME}_noise", origin["command"], origin["commit"][:12])

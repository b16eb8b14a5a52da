"""Three open questions: steps against dimension, marginal KL with and without the noise step, KL at equal evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "open_questions"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
FLOWS = {
    "jain_zhang": "jain_zhang (ρ = 1)",
    "flow alone": "the same without noise (ρ = 0)",
    "ddim": "ddim",
    "heun": "heun",
}
GUIDE = {"color": "0.45", "linewidth": 1.0, "linestyle": (0, (1, 1.5)), "zorder": 1.5}


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Three figures, one a question; a question without rows has none."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    written = []
    for question, quantity, name, panel, words in (
        (1, "steps", NAME, _steps, "steps to a given KL by rung; numbers: last slopes in d; dotted: d/ε"),
        (2, "kl", f"{NAME}_flow", _flow, "marginal KL; numbers: last slopes in K"),
        (3, "kl", f"{NAME}_cost", _cost, "marginal KL at equal evaluations, each sampler on the better of two grids"),
    ):
        mine = pd.DataFrame(rows[(rows.question == question) & (rows.quantity == quantity)])
        families = [str(family) for family in dict.fromkeys(mine.family)]
        if not families:
            continue
        lines = int(np.ceil(len(families) / 3))
        figure, axes = style.canvas(style.WIDTH, 2.3 * lines + 0.8, lines, 3)
        for axis, family in zip(axes.flat, families, strict=False):
            panel(axis, pd.DataFrame(mine[mine.family == family]), family)
        for axis in axes.flat[len(families) :]:
            axis.set_visible(False)
        figure.suptitle(f"{words}; {_window(mine)}bands: 4 standard errors and the bias", fontsize=7, x=0.01, ha="left")
        if question != 3:
            style.shared_legend(figure, axes.flat[: len(families)])
        place = folder if name == NAME else style.RENDERED
        written += style.save(figure, place, name, origin["command"], origin["commit"][:12])
    return written


def _window(rows: pd.DataFrame) -> str:
    setting = rows.setting.iloc[-1]
    return f"OU time {setting['start_time']:g} to {setting['stop_time']:g}; " if "start_time" in setting else ""


def _line(axis: Axes, x: pd.Series, y: pd.Series, rows: pd.DataFrame, looks: dict[str, Any]) -> None:
    style.line(axis, x.astype(float), y.astype(float), style.error(rows), looks)


def _end(x: pd.Series, y: pd.Series, rows: pd.DataFrame, color: str) -> tuple[float, float, str, str]:
    """The last point, labelled with the slope over the last two."""
    text = style.slope_text(x.astype(float), y.astype(float), style.error(rows))
    return float(x.iloc[-1]), float(y.iloc[-1]), text, color


def _steps(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """K* against d for every rung, with its last slope, beside d/ε."""
    epsilon = float(rows.epsilon2.iloc[0]) ** 0.5
    axis.set(xscale="log", yscale="log", xlabel="dimension d", ylabel=f"K*: steps to KL ≤ {epsilon**2:g}", title=family)
    ends = []
    for (sampler, reference), looks in style.SERIES.items():
        mine = pd.DataFrame(rows[(rows.sampler == sampler) & (rows.reference == reference)]).sort_values("dim")
        if len(mine):
            _line(axis, mine.dim, mine.crossing, mine, looks)
            ends.append(_end(mine.dim, mine.crossing, mine, looks["color"]))
    dims = np.array(sorted(set(rows.dim)), dtype=float)
    axis.plot(dims, dims / epsilon, label="d/ε", **GUIDE)  # type: ignore[arg-type]
    style.hold(axis, [*rows.crossing.astype(float), *(dims / epsilon)])
    style.labels_at_ends(axis, ends)
    style.plain_ticks(axis, [int(dim) for dim in (dims if len(dims) < 7 else dims[::-2][::-1])])


def _flow(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """Marginal KL against K."""
    axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel="marginal KL, nats", title=family)
    ends = []
    for index, (sampler, label) in enumerate(FLOWS.items()):
        mine = pd.DataFrame(rows[rows.sampler == sampler]).sort_values("steps")
        if len(mine):
            looks = style.cycle(index)
            _line(axis, mine.steps, mine.value, mine, {**looks, "label": label})
            ends.append(_end(mine.steps, mine.value, mine, str(looks["color"])))
    style.hold(axis, rows.value)
    style.labels_at_ends(axis, ends)
    style.plain_ticks(axis, [int(steps) for steps in sorted(set(rows.steps))])


def _cost(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """Marginal KL against evaluations, the better of both grids, every sampler labelled at its line's end."""
    axis.set(xscale="log", yscale="log", xlabel="denoiser evaluations", ylabel="marginal KL, nats", title=family)
    ends, shown = [], []
    for index, sampler in enumerate(dict.fromkeys(rows.sampler)):
        mine = pd.DataFrame(rows[rows.sampler == sampler])
        best = pd.DataFrame(mine.loc[mine.groupby("budget").value.idxmin()]).sort_values("budget")
        looks = style.cycle(index) | ({"markerfacecolor": "white"} if index >= len(style.PALETTE) else {})
        _line(axis, best.budget, best.value, best, looks)
        ends.append((float(best.budget.iloc[-1]), float(best.value.iloc[-1]), str(sampler), str(looks["color"])))
        shown += list(best.value)
    style.hold(axis, shown)
    style.labels_at_ends(axis, ends, 6.0)
    style.plain_ticks(axis, [int(budget) for budget in sorted(set(rows.budget))])

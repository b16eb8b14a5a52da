"""Three open questions: steps against dimension, marginal KL with and without the noise step, KL at equal evaluations."""

from __future__ import annotations

from pathlib import Path

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


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Three figures, one a question; a question without rows has none."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    written = []
    for question, quantity, name, panel in (
        (1, "steps", NAME, _steps),
        (2, "kl", f"{NAME}_flow", _flow),
        (3, "kl", f"{NAME}_cost", _cost),
    ):
        mine = pd.DataFrame(rows[(rows.question == question) & (rows.quantity == quantity)])
        families = [str(family) for family in dict.fromkeys(mine.family)]
        if not families:
            continue
        height = int(np.ceil(len(families) / 3))
        figure, axes = style.canvas(12.0, 3.6 * height + 0.4, height, 3)
        for axis, family in zip(axes.flat, families, strict=False):
            panel(axis, pd.DataFrame(mine[mine.family == family]), family)
        for axis in axes.flat[len(families) :]:
            axis.set_visible(False)
        if question != 3:
            style.shared_legend(figure, axes.flat[: len(families)])
        place = folder if name == NAME else style.RENDERED
        written += style.save(figure, place, name, origin["command"], origin["commit"][:12])
    return written


def _error(rows: pd.DataFrame) -> np.ndarray:
    return 4.0 * rows.stderr.to_numpy(float) + rows.bias.to_numpy(float)


def _end(x: np.ndarray, y: np.ndarray, color: str) -> tuple[float, float, str, str]:
    """The last point, labelled with the slope over the last two."""
    slope = np.diff(np.log(y[-2:])) / np.diff(np.log(x[-2:])) if len(x) > 1 else [np.nan]
    return float(x[-1]), float(y[-1]), f"{float(slope[0]):.2f}".replace("-0.00", "0.00"), color


def _steps(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """K* against d for every rung, with its last slope, beside d/ε."""
    ends = []
    for (sampler, reference), looks in style.SERIES.items():
        mine = pd.DataFrame(rows[(rows.sampler == sampler) & (rows.reference == reference)]).sort_values("dim")
        if len(mine):
            axis.errorbar(mine.dim, mine.crossing.astype(float), yerr=_error(mine), capsize=2, **looks)  # type: ignore[arg-type]
            ends.append(_end(mine.dim.to_numpy(float), mine.crossing.to_numpy(float), looks["color"]))
    dims = np.array(sorted(set(rows.dim)), dtype=float)
    epsilon = float(rows.epsilon2.iloc[0]) ** 0.5
    axis.plot(dims, dims / epsilon, color="0.55", linewidth=1, linestyle=(0, (1, 1.5)), label="d/ε")
    axis.set(xscale="log", yscale="log", xlabel="dimension d", ylabel=f"K*: steps to KL ≤ {epsilon**2:g}", title=family)
    style.labels_at_ends(axis, ends)
    style.plain_ticks(axis, [int(dim) for dim in dims])


def _flow(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """Marginal KL against K; lower error bars that reach zero end at a tenth of the value."""
    ends = []
    for index, (sampler, label) in enumerate(FLOWS.items()):
        mine = pd.DataFrame(rows[rows.sampler == sampler]).sort_values("steps")
        if not len(mine):
            continue
        value, error, looks = mine.value.to_numpy(float), _error(mine), style.cycle(index)
        down = np.minimum(error, 0.9 * value)
        axis.errorbar(mine.steps, value, yerr=[down, error], capsize=2, label=label, **looks)  # type: ignore[arg-type]
        ends.append(_end(mine.steps.to_numpy(float), value, str(looks["color"])))
    axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel="marginal KL, nats", title=family)
    style.labels_at_ends(axis, ends)
    style.plain_ticks(axis, [int(steps) for steps in sorted(set(rows.steps))])


def _cost(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    """Marginal KL against evaluations, the better of both grids, every sampler labelled at its line's end."""
    ends = []
    for index, sampler in enumerate(dict.fromkeys(rows.sampler)):
        mine = pd.DataFrame(rows[rows.sampler == sampler])
        best = mine.loc[mine.groupby("budget").value.idxmin()].sort_values("budget")
        value, error, looks = best.value.to_numpy(float), _error(best), style.cycle(index)
        down = np.minimum(error, 0.9 * value)
        axis.errorbar(best.budget, value, yerr=[down, error], capsize=2, **looks)  # type: ignore[arg-type]
        ends.append((float(best.budget.iloc[-1]), float(value[-1]), str(sampler), str(looks["color"])))
    axis.set(xscale="log", yscale="log", xlabel="denoiser evaluations", ylabel="marginal KL, nats", title=family)
    style.labels_at_ends(axis, ends)
    style.plain_ticks(axis, [int(budget) for budget in sorted(set(rows.budget))])

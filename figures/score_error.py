"""What an imperfect denoiser costs, over three averages of its error; checks by simulation, the marginal, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "score_error"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
AVERAGES = {
    "ou_weighted": "step-weighted mean in OU time",
    "mean_weighted": "unweighted mean over steps",
    "snr_weighted": "½ step-weighted sum in snr",
}
FAMILIES = ("curved mixture", "digits")
"""Whose memorisation is drawn."""

NEGLIGIBLE = 1e-9
"""Nats below which an error is none."""

RESOLVED = 0.25
"""Largest doubt of a ratio that is drawn: 4 standard errors of the cross term over the square part."""

UNITY = {"color": "0.4", "linewidth": 0.8, "zorder": 0}


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Two figures: the rise of path KL over each average of the error; simulation, the marginal KL and memorisation."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    setting = rows.setting.iloc[-1]
    window = f"OU time {setting['start_time']:g} to {setting['stop_time']:g}" if "start_time" in setting else ""
    rows = pd.DataFrame(rows[rows.steps > 0])
    rows["rise"] = rows.square + rows.cross
    kinds = [str(kind) for kind in dict.fromkeys(rows.oracle) if kind != "exact"]
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return _averages(rows, kinds, folder, origin, window) + _checks(rows, kinds, origin)


def _looks(kinds: list[str], kind: str) -> dict[str, Any]:
    """One kind of error's colour and marker; hollow where the colours begin again."""
    bars = {"linestyle": "none", "markersize": 3.0, "elinewidth": 0.6, "capsize": 0.0}
    if kind not in kinds:
        return {"color": "0.45", "marker": "P", **bars}
    index = kinds.index(kind)
    hollow = {"markerfacecolor": "white", "markeredgewidth": 0.8} if index >= len(style.PALETTE) else {}
    return {**style.cycle(index), **bars, **hollow}


def _averages(rows: pd.DataFrame, kinds: list[str], folder: Path, origin: dict[str, str], window: str) -> list[Path]:
    priced = rows[(rows.oracle != "exact") & (rows.snr_weighted > NEGLIGIBLE)]
    priced = pd.DataFrame(priced[4.0 * priced.cross_stderr <= RESOLVED * priced.square])
    samplers = list(dict.fromkeys(priced.sampler))
    height = 2.3 * len(samplers) + 0.7
    figure, axes = style.canvas(style.WIDTH, height, len(samplers), len(AVERAGES), sharey="row", sharex=True)
    for line, sampler in zip(axes, samplers, strict=True):
        for axis, (average, words) in zip(line, AVERAGES.items(), strict=True):
            _ratios(axis, pd.DataFrame(priced[priced.sampler == sampler]), average, kinds, f"{sampler}: {words}")
        line[0].set_ylabel(f"rise of {sampler}'s path KL ÷ average")
    for axis in axes[-1]:
        axis.set_xlabel("steps K")
    figure.suptitle(
        f"path KL against the reverse SDE, {window}; a point: one law, kind and size of error; bars: 4 standard errors",
        fontsize=7,
        x=0.01,
        ha="left",
    )
    style.shared_legend(figure, axes.flat)
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _ratios(axis: Axes, rows: pd.DataFrame, average: str, kinds: list[str], title: str) -> None:
    for place, kind in enumerate(kinds):
        mine = pd.DataFrame(rows[rows.oracle == kind])
        mine = mine.assign(ratio=mine.rise / mine[average], doubt=4.0 * mine.cross_stderr / mine[average])
        mine = mine.assign(seen=[f"{ratio:.3g}" for ratio in mine.ratio]).sort_values("doubt", ascending=False)
        mine = mine.drop_duplicates(["steps", "seen"])  # of points on one another, the one with the longest bar
        aside = 1.055 ** (place - 0.5 * (len(kinds) - 1))
        looks = {**_looks(kinds, kind), "label": kind}
        style.points(axis, mine.steps * aside, mine.ratio, mine.doubt.where(mine.doubt > 0.0), looks)
    axis.axhline(1.0, **UNITY)
    ratio = rows.rise / rows[average]
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=0.1) if (rows.cross != 0).any() else axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: _number(value))
    style.plain_ticks(axis, sorted(set(rows.steps)))
    axis.set_title(f"{title}\nratios {_number(ratio.min())} … {_number(ratio.max())}", fontsize=7.5)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _checks(rows: pd.DataFrame, kinds: list[str], origin: dict[str, str]) -> list[Path]:
    figure, axes = style.canvas(style.WIDTH, 3.0, 1, 3)
    simulation, marginal, memory = axes[0]
    for kind in [*kinds, "exact"]:
        mine = rows[(rows.oracle == kind) & rows.measured.notna()]
        doubt = 4.0 * np.hypot(mine.measured_stderr, mine.path_stderr) / mine.path
        looks = {**_looks(kinds, kind), "label": kind}
        style.points(simulation, mine.path, mine.measured / mine.path, doubt, looks)
        known = rows[(rows.oracle == kind) & rows.marginal.notna()]
        style.points(marginal, known.path, known.marginal, known.marginal_bias, looks)
    simulation.axhline(1.0, **UNITY)
    simulation.set(xscale="log", xlabel="path KL by its parts, nats", ylabel="simulated ÷ sum of parts")
    simulation.set_title("path KL against simulation\nbars: 4 standard errors")
    marginal.set(xscale="log", yscale="log", xlabel="path KL, nats", ylabel="marginal KL, nats")
    low, high = marginal.get_xlim()
    marginal.plot([low, high], [low, high], **UNITY)
    marginal.set_xlim(low, high)
    marginal.set_title("marginal KL against path KL\nline: equal")
    _memory(memory, pd.DataFrame(rows[rows.oracle == "empirical"]))
    style.shared_legend(figure, [simulation], columns=5)
    return style.save(figure, style.RENDERED, f"{NAME}_checks", origin["command"], origin["commit"][:12])


def _memory(axis: Axes, rows: pd.DataFrame) -> None:
    """Rise of path KL when the denoiser is that of n training points."""
    axis.set(xscale="log", yscale="log", xlabel="training points n", ylabel="rise of path KL, nats")
    ends, index = [], 0
    for family in FAMILIES:
        for sampler in dict.fromkeys(rows.sampler):
            mine = rows[(rows.family == family) & (rows.sampler == sampler)]
            last = pd.DataFrame(mine[mine.steps == mine.steps.max()]).sort_values(by="size")
            looks, index = style.cycle(index), index + 1
            if not len(last):
                continue
            style.line(axis, last["size"], last.rise, 4.0 * (last.square_stderr + last.cross_stderr), looks)
            at = last.iloc[-1]
            ends.append((float(at["size"]), float(at.rise), f"{family}, {sampler}", str(looks["color"])))
    axis.set_title(f"memorisation, path KL\nK = {int(rows.steps.max()):,}" if len(rows) else "memorisation")
    style.labels_at_ends(axis, ends)

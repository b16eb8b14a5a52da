"""What an imperfect denoiser costs, over three averages of its error; checks by simulation, memory, the marginal."""

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
    "ou_weighted": "step-weighted in OU time",
    "mean_weighted": "unweighted mean over steps",
    "snr_weighted": "½ step-weighted in snr",
}
FAMILIES = ("curved mixture", "digits")
"""Whose memorisation is drawn."""

NEGLIGIBLE = 1e-9
"""Nats below which an error is none."""

RESOLVED = 0.25
"""Largest doubt of a ratio that is drawn: 4 standard errors of the cross term over the square part."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Two figures: the rise of path KL over each average of the error; simulation, memorisation and the marginal KL."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    rows = pd.DataFrame(rows[rows.steps > 0])
    rows["rise"] = rows.square + rows.cross
    kinds = [str(kind) for kind in dict.fromkeys(rows.oracle) if kind != "exact"]
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return _averages(rows, kinds, folder, origin) + _checks(rows, kinds, origin)


def _looks(kinds: list[str], kind: str) -> dict[str, Any]:
    """One kind of error's colour and marker."""
    chosen = style.cycle(kinds.index(kind) if kind in kinds else len(kinds))
    return {"color": chosen["color"], "marker": chosen["marker"], "linestyle": "none", "markersize": 3.5}


def _averages(rows: pd.DataFrame, kinds: list[str], folder: Path, origin: dict[str, str]) -> list[Path]:
    priced = rows[(rows.oracle != "exact") & (rows.snr_weighted > NEGLIGIBLE)]
    priced = pd.DataFrame(priced[4.0 * priced.cross_stderr <= RESOLVED * priced.square])
    samplers = list(dict.fromkeys(priced.sampler))
    figure, axes = style.canvas(
        10.5, 3.0 * len(samplers) + 0.5, len(samplers), len(AVERAGES), sharey="row", sharex=True
    )
    for line, sampler in zip(axes, samplers, strict=True):
        for axis, (average, words) in zip(line, AVERAGES.items(), strict=True):
            _ratios(axis, pd.DataFrame(priced[priced.sampler == sampler]), average, kinds, f"{sampler}: {words}")
        line[0].set_ylabel("rise of path KL ÷ average")
    for axis in axes[-1]:
        axis.set_xlabel("steps K")
    style.shared_legend(figure, axes.flat)
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _ratios(axis: Axes, rows: pd.DataFrame, average: str, kinds: list[str], title: str) -> None:
    for place, kind in enumerate(kinds):
        mine = rows[rows.oracle == kind]
        ratio = mine.rise / mine[average]
        error = 4.0 * mine.cross_stderr / mine[average]
        aside = 1.045 ** (place - 0.5 * (len(kinds) - 1))
        axis.errorbar(mine.steps * aside, ratio, yerr=error, label=kind, elinewidth=0.7, **_looks(kinds, kind))
    axis.axhline(1.0, color="0.4", linewidth=0.8, zorder=0)
    ratio = rows.rise / rows[average]
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=0.1) if (rows.cross != 0).any() else axis.set_yscale("log")
    style.plain_ticks(axis, sorted(set(rows.steps)))
    axis.set_title(f"{title}\nfrom {ratio.min():.3g} to {ratio.max():.3g}")


def _checks(rows: pd.DataFrame, kinds: list[str], origin: dict[str, str]) -> list[Path]:
    figure, axes = style.canvas(10.5, 3.8, 1, 3)
    simulation, memory, marginal = axes[0]
    for kind in [*kinds, "exact"]:
        mine = rows[(rows.oracle == kind) & rows.measured.notna()]
        error = 4.0 * np.hypot(mine.measured_stderr, mine.path_stderr) / mine.path
        looks = _looks(kinds, kind)
        simulation.errorbar(mine.path, mine.measured / mine.path, yerr=error, label=kind, elinewidth=0.6, **looks)  # type: ignore[arg-type]
        known = rows[(rows.oracle == kind) & rows.marginal.notna()]
        marginal.errorbar(known.path, known.marginal, yerr=known.marginal_bias, elinewidth=0.6, **looks)  # type: ignore[arg-type]
    simulation.axhline(1.0, color="0.4", linewidth=0.8, zorder=0)
    simulation.set(xscale="log", xlabel="path KL by its parts, nats", ylabel="simulated ÷ sum of parts")
    simulation.set_title("parts against simulation\n(bars: 4 standard errors)")
    _memory(memory, pd.DataFrame(rows[rows.oracle == "empirical"]))
    marginal.set(xscale="log", yscale="log", xlabel="path KL, nats", ylabel="marginal KL, nats")
    low, high = marginal.get_xlim()
    marginal.plot([low, high], [low, high], color="0.4", linewidth=0.8, zorder=0)
    marginal.set_xlim(low, high)
    marginal.set_title("what a user sees of it\n(line: marginal = path)")
    style.shared_legend(figure, [simulation])
    return style.save(figure, style.RENDERED, f"{NAME}_checks", origin["command"], origin["commit"][:12])


def _memory(axis: Axes, rows: pd.DataFrame) -> None:
    index = 0
    for family in FAMILIES:
        for sampler in dict.fromkeys(rows.sampler):
            mine = rows[(rows.family == family) & (rows.sampler == sampler)]
            last = pd.DataFrame(mine[mine.steps == mine.steps.max()]).sort_values(by="size")
            looks, index = style.cycle(index), index + 1
            if not len(last):
                continue
            error = 4.0 * (last.square_stderr + last.cross_stderr)
            axis.errorbar(last["size"], last.rise, yerr=error, capsize=2, **looks)  # type: ignore[arg-type]
            first = sampler == "ddpm"
            beside = {"xytext": (5, 4), "ha": "left"} if first else {"xytext": (-5, -10), "ha": "right"}
            at = last.iloc[0 if family == "digits" else min(len(last) - 1, 1 if first else 2)]
            axis.annotate(
                f"{family}, {sampler}",
                (float(at["size"]), float(at.rise)),
                textcoords="offset points",
                fontsize=7,
                color=str(looks["color"]),
                **beside,
            )
    axis.set(xscale="log", yscale="log", xlabel="training points n", ylabel="rise of path KL, nats")
    axis.set_title("memorisation\n(largest K)")

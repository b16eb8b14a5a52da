"""Path, chain and marginal KL of a learned score against K, and the steps at which it meets its floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from figures import style
from figures.learned_panels import ERRORS, NAME, Group, doubt, groups, panels, part, save, title

LOOKS: dict[tuple[str, str, str], dict[str, Any]] = {
    ("ddpm", "path", "terms"): {"color": "#000000", "linestyle": "-", "label": "ddpm, path, by its terms"},
    ("ddpm", "path", "losses"): {
        "color": "#E69F00",
        "marker": "D",
        "linestyle": "none",
        "label": "ddpm, path, by losses alone",
    },
    ("ei_sde", "path", "terms"): {"color": "#0072B2", "marker": "s", "linestyle": "--", "label": "ei_sde, path"},
    ("ei_sde", "chain", "reverse"): {
        "color": "#56B4E9",
        "marker": "x",
        "linestyle": ":",
        "label": "ei_sde, chain (reverse)",
    },
    ("jain_zhang", "chain", "reverse"): {
        "color": "#D55E00",
        "marker": "^",
        "linestyle": "-.",
        "label": "jain_zhang, chain (reverse)",
    },
}
"""(sampler, rung, reference) of path and chain rows."""

NONE = 1e-12
"""Nats that stand for a value that errors have carried below zero; only its bar is seen."""
REACHED = {
    ("ddpm", "log_snr"): "frozen denoiser",
    ("ei_sde", "log_snr"): "frozen score",
    ("ddpm", "optimal"): "frozen denoiser, best grid",
}
"""(sampler, schedule) of reach rows."""


def rungs(rows: pd.DataFrame) -> list[Path]:
    """Path and chain KL against K over the band of the floor, the exact denoiser's as thin lines."""
    kept = _of_rung(rows, marginal=False)
    chosen = groups(kept)
    if not chosen:
        return []
    figure, axes = panels(len(chosen), title=f"learned score; thin: the exact denoiser in its place; {ERRORS}")
    for axis, group in zip(axes, chosen, strict=True):
        mine = part(kept, "kl", group)
        _floor(axis, part(rows, "floor", group))
        for (sampler, rung, reference), looks in LOOKS.items():
            series = mine[(mine.sampler == sampler) & (mine.rung == rung) & (mine.reference == reference)]
            _against_steps(axis, pd.DataFrame(series), looks, exact=reference != "losses")
        _frame(axis, mine, part(rows, "floor", group), "KL, nats", title(group))
    style.shared_legend(figure, axes)
    return save(figure, rows, f"{NAME}_rungs")


def marginals(rows: pd.DataFrame) -> list[Path]:
    """Marginal KL against K where it is known, the exact denoiser's as thin lines; where it is taken stands in the title."""
    kept = _of_rung(rows, marginal=True)
    chosen = groups(kept)
    if not chosen:
        return []
    figure, axes = panels(len(chosen), title=f"marginal KL; thin: the exact denoiser in its place; {ERRORS}")
    for axis, group in zip(axes, chosen, strict=True):
        mine = part(kept, "kl", group)
        for index, sampler in enumerate(dict.fromkeys(mine.sampler)):
            looks = {**style.cycle(index), "label": f"{sampler}, marginal", "markerfacecolor": "white"}
            _against_steps(axis, pd.DataFrame(mine[mine.sampler == sampler]), looks)
        stop = f"\nat log snr {float(mine.stop.iloc[0]):.3g}" if "stop" in mine else ""
        _frame(axis, mine, mine.iloc[:0], "marginal KL, nats", title(group) + stop)
    style.shared_legend(figure, axes)
    return save(figure, rows, f"{NAME}_marginal")


def _of_rung(rows: pd.DataFrame, *, marginal: bool) -> pd.DataFrame:
    """The marginal rows, or those of paths and chains."""
    found = part(rows, "kl")
    return pd.DataFrame(found[(found.rung == "marginal") == marginal]) if len(found) else found


def _against_steps(axis: Axes, rows: pd.DataFrame, looks: dict[str, Any], *, exact: bool = True) -> None:
    if not len(rows):
        return
    rows = rows.sort_values("steps")
    value, slack = rows.value.to_numpy(float), doubt(rows)
    shown = np.maximum(value, NONE)
    bars = np.stack([np.minimum(slack, (1.0 - 1e-3) * shown), np.maximum(value + slack - shown, 0.0)])
    axis.errorbar(rows.steps, shown, yerr=bars, **{"markersize": 4, "linewidth": 1.2, "elinewidth": 0.8, **looks})
    if exact:
        style_of = {"color": looks["color"], "linestyle": looks["linestyle"], "linewidth": 0.5}
        axis.plot(rows.steps, rows.exact.astype(float), **style_of)


def _floor(axis: Axes, rows: pd.DataFrame) -> None:
    """½ ∫ E‖m̂ − m‖² dγ with its errors: a band across the panel."""
    for value, slack in zip(rows.value.to_numpy(float), doubt(rows), strict=True):
        axis.axhspan(
            max(value - slack, 1e-3 * value), value + slack, color="0.8", zorder=0, label="floor ½∫E‖m̂ − m‖²dγ"
        )
        axis.axhline(value, color="0.5", linewidth=0.8, zorder=0)


def _frame(axis: Axes, rows: pd.DataFrame, floor: pd.DataFrame, ylabel: str, words: str) -> None:
    """Axes that hold the values; a bar may run out of the panel, a value that is not positive stands below it."""
    values = np.append(rows[["value", "exact"]].to_numpy(float), floor.value.to_numpy(float))
    values = values[values > 0.0]
    axis.set(xscale="log", yscale="log", xlabel="steps K", ylabel=ylabel, title=words)
    axis.set_ylim(0.5 * float(values.min()), 2.0 * float(values.max()))
    style.plain_ticks(axis, sorted({int(steps) for steps in rows.steps}))


def reach(rows: pd.DataFrame) -> list[Path]:
    """K* against d, a panel for each law in more than one dimension; a row of dots for each law in one."""
    found = part(rows, "reach")
    dims = {str(family): sorted(set(found.dim[found.family == family])) for family in dict.fromkeys(found.family)}
    several, single = [name for name in dims if len(dims[name]) > 1], [name for name in dims if len(dims[name]) == 1]
    if not dims:
        return []
    words = "steps K* from which freezing costs less than the network's floor; uniform in log snr, or the best grid"
    figure, axes = panels(len(several) + bool(single), title=f"{words}\n{ERRORS}", height=3.8)
    for axis, family in zip(axes, several, strict=False):
        _growth(axis, pd.DataFrame(found[found.family == family]), family)
    if single:
        _dots(axes[-1], found, [(name, int(dims[name][0])) for name in single])
    style.shared_legend(figure, axes)
    return save(figure, rows, f"{NAME}_reach")


def _growth(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    for index, ((sampler, schedule), words) in enumerate(REACHED.items()):
        mine = pd.DataFrame(rows[(rows.sampler == sampler) & (rows.schedule == schedule)]).sort_values("dim")
        looks: dict[str, Any] = {**style.cycle(index), "capsize": 2, "label": words}
        axis.errorbar(mine.dim, mine.value, yerr=doubt(mine), **looks)
    axis.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="K*", title=family)
    axis.set_xticks(sorted(set(rows.dim)), [f"{dim:,}" for dim in sorted(set(rows.dim))])
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def _dots(axis: Axes, rows: pd.DataFrame, chosen: list[Group]) -> None:
    names = [family for family, _ in chosen]
    for index, ((sampler, schedule), words) in enumerate(REACHED.items()):
        mine = rows[(rows.sampler == sampler) & (rows.schedule == schedule) & rows.family.isin(names)]
        mine = pd.DataFrame(mine).set_index("family").reindex(names)
        looks: dict[str, Any] = {**style.cycle(index), "linestyle": "none", "capsize": 2, "label": words}
        axis.errorbar(mine.value, np.arange(len(chosen)) + 0.15 * (index - 1), xerr=doubt(mine), **looks)
    axis.set(xscale="log", xlabel="K*", ylim=(len(chosen) - 0.5, -0.5))
    axis.set_yticks(range(len(chosen)), [title(group) for group in chosen])

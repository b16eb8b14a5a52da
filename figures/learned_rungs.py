"""Path, chain and marginal KL of a learned score against K, and the steps at which it meets its floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.learned_panels import ERRORS, NAME, Group, doubt, groups, legend, panels, part, save, title

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
THIN = 0.5
"""Width of the exact denoiser's lines, in points."""
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
        axis.set(xscale="log", yscale="log")
        _floor(axis, part(rows, "floor", group))
        for (sampler, rung, reference), looks in LOOKS.items():
            series = mine[(mine.sampler == sampler) & (mine.rung == rung) & (mine.reference == reference)]
            _against_steps(axis, pd.DataFrame(series), looks, exact=reference != "losses")
        _frame(axis, mine, part(rows, "floor", group), "KL, nats", title(group))
    legend(figure, axes)
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
        axis.set(xscale="log", yscale="log")
        ends = []
        for index, sampler in enumerate(dict.fromkeys(mine.sampler)):
            series = pd.DataFrame(mine[mine.sampler == sampler]).sort_values("steps")
            looks = {**style.cycle(index), "label": f"{sampler}, marginal", "markerfacecolor": "white"}
            _against_steps(axis, series, looks)
            last = series.iloc[-1]
            ends.append((float(last.steps), float(last.value), str(sampler), str(looks["color"])))
        stop = f"\nat log snr {float(mine.stop.iloc[0]):.3g}" if "stop" in mine else ""
        _frame(axis, mine, mine.iloc[:0], "marginal KL, nats", title(group) + stop)
        style.labels_at_ends(axis, ends)
    return save(figure, rows, f"{NAME}_marginal")


def _of_rung(rows: pd.DataFrame, *, marginal: bool) -> pd.DataFrame:
    """The marginal rows, or those of paths and chains."""
    found = part(rows, "kl")
    return pd.DataFrame(found[(found.rung == "marginal") == marginal]) if len(found) else found


def _against_steps(axis: Axes, rows: pd.DataFrame, looks: dict[str, Any], *, exact: bool = True) -> None:
    """A line with its band, or markers with bars where there is no line; thin, the exact denoiser's."""
    if not len(rows):
        return
    rows = rows.sort_values("steps")
    value, slack = rows.value.to_numpy(float), doubt(rows)
    shown = np.maximum(value, NONE)
    low, high = np.maximum(value - slack, 1e-3 * shown), np.maximum(value + slack, shown)
    if looks["linestyle"] == "none":
        axis.errorbar(rows.steps, shown, yerr=np.stack([shown - low, high - shown]), elinewidth=0.7, **looks)
    else:
        axis.plot(rows.steps, shown, **looks)
        axis.fill_between(rows.steps, low, high, color=looks["color"], alpha=0.18, linewidth=0)
    if exact:
        style_of = {"color": looks["color"], "linestyle": looks["linestyle"], "linewidth": THIN}
        axis.plot(rows.steps, rows.exact.astype(float), **style_of)


def _floor(axis: Axes, rows: pd.DataFrame) -> None:
    """½ ∫ E‖m̂ − m‖² dγ with its errors: a band across the panel."""
    for value, slack in zip(rows.value.to_numpy(float), doubt(rows), strict=True):
        low = max(value - slack, 1e-3 * value)
        axis.axhspan(low, value + slack, color="0.8", zorder=0, label="floor ½∫E‖m̂ − m‖²dγ")
        axis.axhline(value, color="0.5", linewidth=0.8, zorder=0)


def _frame(axis: Axes, rows: pd.DataFrame, floor: pd.DataFrame, ylabel: str, words: str) -> None:
    """Axes that hold the values; a bar may run out of the panel, a value that is not positive stands below it."""
    axis.set(xlabel="steps K", ylabel=ylabel, title=words)
    style.hold(axis, np.append(rows[["value", "exact"]].to_numpy(float), floor.value.to_numpy(float)), 2.0)
    style.plain_ticks(axis, sorted({int(steps) for steps in rows.steps}))


def reach(rows: pd.DataFrame) -> list[Path]:
    """K* against d, a panel for each law in more than one dimension; a row of dots for each law in one."""
    found = part(rows, "reach")
    dims = {str(family): sorted(set(found.dim[found.family == family])) for family in dict.fromkeys(found.family)}
    several, single = [name for name in dims if len(dims[name]) > 1], [name for name in dims if len(dims[name]) == 1]
    if not dims:
        return []
    words = "steps K* from which freezing costs less than the network's floor; uniform in log snr, or the best grid"
    figure, axes = panels(len(several) + bool(single), title=f"{words}\n{ERRORS}; numbers: last slopes in d", columns=2)
    for axis, family in zip(axes, several, strict=False):
        _growth(axis, pd.DataFrame(found[found.family == family]), family)
    if single:
        _dots(axes[-1], found, [(name, int(dims[name][0])) for name in single])
    style.shared_legend(figure, axes)
    return save(figure, rows, f"{NAME}_reach")


def _growth(axis: Axes, rows: pd.DataFrame, family: str) -> None:
    axis.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="K*", title=family)
    ends = []
    for index, ((sampler, schedule), words) in enumerate(REACHED.items()):
        mine = pd.DataFrame(rows[(rows.sampler == sampler) & (rows.schedule == schedule)]).sort_values("dim")
        if not len(mine):
            continue
        looks: dict[str, Any] = {**style.cycle(index), "label": words}
        style.line(axis, mine.dim, mine.value, doubt(mine), looks)
        text = style.slope_text(mine.dim, mine.value, doubt(mine))
        ends.append((float(mine.dim.iloc[-1]), float(mine.value.iloc[-1]), text, looks["color"]))
    axis.set_xticks(sorted(set(rows.dim)), [f"{dim:,}" for dim in sorted(set(rows.dim))])
    style.hold(axis, rows.value, 1.3)
    axis.minorticks_off()
    style.round_ticks(axis)
    style.labels_at_ends(axis, ends)


def _dots(axis: Axes, rows: pd.DataFrame, chosen: list[Group]) -> None:
    names = [family for family, _ in chosen]
    axis.set(xscale="log", xlabel="K*", ylim=(len(chosen) - 0.5, -0.5), title="in one dimension only")
    for index, ((sampler, schedule), words) in enumerate(REACHED.items()):
        mine = rows[(rows.sampler == sampler) & (rows.schedule == schedule) & rows.family.isin(names)]
        mine = pd.DataFrame(mine).set_index("family").reindex(names)
        looks: dict[str, Any] = {**style.cycle(index), "linestyle": "none", "elinewidth": 0.7, "label": words}
        axis.errorbar(mine.value, np.arange(len(chosen)) + 0.15 * (index - 1), xerr=doubt(mine), **looks)
    axis.set_yticks(range(len(chosen)), [title(group) for group in chosen])
    style.round_ticks(axis, "x")

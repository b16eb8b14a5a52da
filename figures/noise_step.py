"""The role of the noise step at a fixed net step: marginal, both chains and what an error adds, against K and against ρ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "noise_step"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
LINES = ("curved mixture", "sphere, d = 30")
"""The families whose marginal KL is drawn against K."""
RHO = "ρ: noise step ÷ next interval"
UNITY = {"color": "0.6", "linewidth": 0.8, "zorder": 0}


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """One figure: above, KL against K with a line for each ρ; below, KL against ρ with a line for each law."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    setting = rows.setting.iloc[-1]
    rows = pd.DataFrame(rows[rows.quantity == "kl"])
    families = [str(family) for family in dict.fromkeys(rows.family)]
    exact = pd.DataFrame(rows[rows.oracle == "exact"])
    figure, ((first, second, reverse), (relative, flow, errors)) = style.rows_of(style.WIDTH, 5.6, [3, 3])
    chosen = [family for family in LINES if family in families] or families
    rhos = sorted(set(exact.overshoot))
    for axis, family in ((first, chosen[0]), (second, chosen[-1])):
        _against_steps(axis, _of(exact, "marginal", "none", family), rhos, f"marginal KL\n{family}", 2)
    words = f"chain KL, reverse\n{chosen[0]}"
    _against_steps(reverse, _of(exact, "chain", "reverse", chosen[0]), rhos, words)
    _ratios(relative, _of(exact, "marginal", "none"), families)
    relative.set(yscale="log", xlabel=RHO, ylabel="KL ÷ the one at ρ = 1", title="marginal KL\nevery law, largest K")
    style.round_ticks(relative)
    flow.set(xscale="log", yscale="log", xlabel=RHO, ylabel="KL ÷ the one at ρ = 1")
    _ratios(flow, _of(exact, "chain", "flow+noise"), families, lines=False)
    rho = np.geomspace(0.8 * min(_positive(exact)), 2.4, 200)
    flow.plot(rho, (1 + rho) ** 4 / (16 * rho), color="0.5", linewidth=1, zorder=1.5)
    style.round_ticks(flow)
    flow.set_title("chain KL, flow+noise\nline: (1 + ρ)⁴/(16 ρ), leading term")
    _errors(errors, rows, families)
    if "start_time" in setting:
        window = f"jain_zhang with noise step ρ, OU time {setting['start_time']:g} to {setting['stop_time']:g}"
        words = f"{window}; numbers at the ends: last slopes of KL in K"
        figure.suptitle(words, fontsize=7, x=0.01, ha="left")
    style.shared_legend(figure, [relative])
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _positive(rows: pd.DataFrame) -> list[float]:
    return [float(rho) for rho in rows.overshoot if rho > 0]


def _of(rows: pd.DataFrame, rung: str, reference: str, family: str | None = None) -> pd.DataFrame:
    keep = (rows.rung == rung) & (rows.reference == reference)
    return pd.DataFrame(rows[keep if family is None else keep & (rows.family == family)])


def _name(rho: float) -> str:
    inverse = 1.0 / rho if rho else 1.0
    return f"1/{inverse:.0f}" if 0.0 < rho < 0.5 and abs(inverse - round(inverse)) < 1e-9 else f"{rho:g}"


def _looks(families: list[str], family: str) -> dict[str, Any]:
    """A law's looks; markers are hollow where the colours begin again."""
    index = families.index(family)
    return style.cycle(index) | ({"markerfacecolor": "white"} if index >= len(style.PALETTE) else {})


def _against_steps(axis: Axes, rows: pd.DataFrame, rhos: list[float], title: str, power: int = 0) -> None:
    """K^power · KL against K, a line for each ρ, at its end the last slope of KL (and ρ)."""
    axis.set(xscale="log", yscale="log", xlabel="steps K", title=title)
    axis.set_ylabel(f"K{'⁰¹²'[power]} × KL, nats" if power else "KL, nats")
    ends = []
    for index, rho in enumerate(rhos):
        mine = pd.DataFrame(rows[rows.overshoot == rho]).sort_values("steps")
        if not len(mine):
            continue
        looks = style.cycle(index) | ({"markerfacecolor": "white"} if index >= len(style.PALETTE) else {})
        weight = mine.steps.to_numpy(float) ** power
        scaled, doubt = weight * mine.value.to_numpy(float), weight * style.error(mine)
        style.line(axis, mine.steps, scaled, doubt, looks)
        slope = style.slope_text(mine.steps, mine.value, style.error(mine))
        words = f"ρ = {_name(float(rho))}"
        text = f"{words}   {slope}"
        ends.append((float(mine.steps.iloc[-1]), float(scaled[-1]), text, str(looks["color"])))
    style.plain_ticks(axis, sorted(set(rows.steps))[::-2][::-1])
    if power:
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * (high / low) ** 0.12)  # labels are spread upwards
        style.round_ticks(axis)
    style.labels_at_ends(axis, ends, 6.0)


def _ratios(axis: Axes, rows: pd.DataFrame, families: list[str], lines: bool = True) -> None:
    """KL over the one at ρ = 1, at each family's largest K."""
    for family in families:
        mine = rows[rows.family == family]
        last = pd.DataFrame(mine[mine.steps == mine.steps.max()]).sort_values("overshoot")
        base = pd.DataFrame(last[last.overshoot == 1.0])
        if not len(base):
            continue
        looks = {**_looks(families, family), "label": family}
        one, doubt = base.value.to_numpy(float)[0], style.error(base)[0]
        ratio = last.value.to_numpy(float) / one
        error = style.error(last) / one + np.where(last.overshoot == 1.0, 0.0, ratio * doubt / one)
        (style.line if lines else style.points)(axis, last.overshoot, ratio, error, looks)
    axis.axhline(1.0, **UNITY)


def _errors(axis: Axes, rows: pd.DataFrame, families: list[str]) -> None:
    """What an error adds to the marginal KL, over what it adds without noise; laws by their looks of the other panels."""
    marginal = _of(rows, "marginal", "none")
    index = ["family", "overshoot", "steps"]
    exact = marginal[marginal.oracle == "exact"].set_index(index)
    wrong = pd.DataFrame(marginal[marginal.oracle != "exact"])
    for _, group in wrong.groupby(["family", "oracle", "size"], sort=False):
        family = str(group.family.iloc[0])
        last = pd.DataFrame(group[group.steps == group.steps.max()]).sort_values("overshoot")
        at = [(family, rho, steps) for rho, steps in zip(last.overshoot, last.steps, strict=True)]
        beside = pd.DataFrame(exact.reindex(at))
        rise = last.value.to_numpy(float) - beside.value.to_numpy(float)
        doubt = (style.error(last) + style.error(beside)) / rise[0]
        style.line(axis, last.overshoot, rise / rise[0], doubt, {**_looks(families, family), "markersize": 2.5})
    axis.axhline(1.0, **UNITY)
    axis.set(xlabel=RHO, ylabel="rise ÷ the one at ρ = 0")
    axis.set_title("marginal KL, rise by an error\neach kind and size, largest K")

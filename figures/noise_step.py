"""The role of the noise step at a fixed net step: marginal, both chains and what an error adds, against K and against ρ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "noise_step"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
LINES = ("curved mixture", "sphere, d = 30")
"""The families whose marginal KL is drawn against K."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """One figure of six panels."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    rows = pd.DataFrame(rows[rows.quantity == "kl"])
    families = [str(family) for family in dict.fromkeys(rows.family)]
    exact = pd.DataFrame(rows[rows.oracle == "exact"])
    figure, axes = style.canvas(11.0, 7.6, 2, 3)
    first, second, relative, flow, reverse, errors = axes.flat
    chosen = [family for family in LINES if family in families] or families
    rhos = sorted(set(exact.overshoot))
    for axis, family in ((first, chosen[0]), (second, chosen[-1])):
        _against_steps(axis, _of(exact, "marginal", "none", family), rhos, f"K² × marginal KL\n{family}", 2)
    _ratios(relative, _of(exact, "marginal", "none"), families)
    _ratios(flow, _of(exact, "chain", "flow+noise"), families, lines=False)
    flow.set(xscale="log", yscale="log", xlabel="ρ: noise step over the next interval", ylabel="KL ÷ the one at ρ = 1")
    rho = np.geomspace(0.8 * min(_positive(exact)), 2.4, 200)
    flow.plot(rho, (1 + rho) ** 4 / (16 * rho), color="0.5", linewidth=1, zorder=1.5)
    _plain_values(flow)
    flow.set_title("chain KL, flow+noise\n(line: (1 + ρ)⁴/(16 ρ), the leading term)")
    relative.set(xlabel="ρ: noise step over the next interval", ylabel="KL ÷ the one at ρ = 1")
    relative.set_title("marginal KL\n(largest K)")
    _against_steps(reverse, _of(exact, "chain", "reverse", chosen[0]), rhos, f"chain KL, reverse\n{chosen[0]}")
    _errors(errors, rows, families)
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


def _against_steps(axis: Axes, rows: pd.DataFrame, rhos: list[float], title: str, power: int = 0) -> None:
    """K^power · KL against K, a line for each ρ, labelled at its end with the last slope of KL."""
    ends = []
    for index, rho in enumerate(rhos):
        mine = pd.DataFrame(rows[rows.overshoot == rho]).sort_values("steps")
        looks, value = style.cycle(index), mine.value.to_numpy(float)
        if not len(mine):
            continue
        scaled = value * mine.steps.to_numpy(float) ** power
        axis.plot(mine.steps, scaled, **looks)  # type: ignore[arg-type]
        slope = (
            np.diff(np.log(value[-2:])) / np.diff(np.log(mine.steps.to_numpy(float)[-2:]))
            if len(mine) > 1
            else [np.nan]
        )
        text = f"ρ = {_name(float(rho))}  ({float(slope[0]):+.2f})"
        ends.append((float(mine.steps.iloc[-1]), float(scaled[-1]), text, str(looks["color"])))
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="steps K (in brackets: last slope)",
        ylabel="K² KL, nats" if power else "KL, nats",
        title=title,
    )
    style.labels_at_ends(axis, ends)
    style.plain_ticks(axis, sorted(set(rows.steps)))
    if power:
        _plain_values(axis)


def _plain_values(axis: Axes) -> None:
    """Plain numbers on a logarithmic axis of less than a decade."""
    low, high = axis.get_ylim()
    ticks = [float(f"{value:.2g}") for value in np.geomspace(1.05 * low, 0.95 * high, 5)]
    axis.set_yticks(ticks, [f"{value:g}" for value in ticks])
    axis.minorticks_off()


def _ratios(axis: Axes, rows: pd.DataFrame, families: list[str], lines: bool = True) -> None:
    """KL over the one at ρ = 1, at each family's largest K."""
    for index, family in enumerate(families):
        mine = rows[rows.family == family]
        last = pd.DataFrame(mine[mine.steps == mine.steps.max()]).sort_values("overshoot")
        base = last[last.overshoot == 1.0].value.to_numpy(float)
        if len(base):
            looks = style.cycle(index) | ({} if lines else {"linestyle": "none"})
            axis.plot(last.overshoot, last.value.astype(float) / base[0], label=family, **looks)  # type: ignore[arg-type]
    axis.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)


def _errors(axis: Axes, rows: pd.DataFrame, families: list[str]) -> None:
    """What an error adds to the marginal KL, over what it adds without noise; families by their looks of the other panels."""
    marginal = _of(rows, "marginal", "none")
    exact = marginal[marginal.oracle == "exact"].set_index(["family", "overshoot", "steps"]).value
    wrong = pd.DataFrame(marginal[marginal.oracle != "exact"])
    for _, group in wrong.groupby(["family", "oracle", "size"], sort=False):
        family = str(group.family.iloc[0])
        last = pd.DataFrame(group[group.steps == group.steps.max()]).sort_values("overshoot")
        at = [(family, rho, steps) for rho, steps in zip(last.overshoot, last.steps, strict=True)]
        rise = last.value.to_numpy(float) - exact.reindex(at).to_numpy(float)
        axis.plot(last.overshoot, rise / rise[0], **style.cycle(families.index(family)))  # type: ignore[arg-type]
    axis.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
    axis.set(xlabel="ρ: noise step over the next interval", ylabel="rise ÷ the one at ρ = 0")
    axis.set_title("rise of marginal KL by a denoiser's error\n(each kind and size; largest K)")

"""K times path KL against the entropy of the law: its limit by family, grids in use, and what is left of three bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures import style
from figures.load import load

NAME = "entropy_scaling"
COMMITTED = Path(__file__).resolve().parent / "rows" / f"{NAME}.jsonl"
SHOWN = 0.05
"""Least entropy in nats of the laws in the first two panels: rarer bits are in the third."""
CEILING = 1e4
"""Largest K·KL and ratio shown."""
BOUNDED = ("nested scales", "orthogonal points", "rare bits", "heavy tails")
"""The third panel's families."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """One figure of three panels."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    laws = pd.DataFrame(rows[rows.quantity == "law"]).sort_values("size", kind="stable")
    families = [str(family) for family in dict.fromkeys(rows.family)]
    figure, axes = style.canvas(15.0, 5.2, 1, 3)
    limits, grids, ratios = axes[0]
    _limits(limits, laws, families)
    _grids(grids, pd.DataFrame(rows[rows.quantity == "kl"]), laws, families)
    _ratios(ratios, laws, families)
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _looks(families: list[str], family: str) -> dict[str, Any]:
    return dict(style.cycle(families.index(family)))


def _limits(axis: Axes, laws: pd.DataFrame, families: list[str]) -> None:
    """S²/4 against H, each family's name and its last slope at its end."""
    axis.set(xscale="log", yscale="log", xlabel="entropy H, nats", ylabel="S²/4 = limit of K·path KL, nats")
    ends = []
    for family in families:
        mine = pd.DataFrame(laws[(laws.family == family) & (laws.entropy >= SHOWN)]).sort_values(by="entropy")
        if not len(mine):
            continue
        x, y, looks = mine.entropy.to_numpy(float), mine.quarter.to_numpy(float), _looks(families, family)
        axis.errorbar(x, y, yerr=4.0 * mine.quarter_stderr.to_numpy(float), elinewidth=0.7, **looks)
        last = laws[laws.family == family].tail(2)
        slope = np.diff(np.log(last.quarter.to_numpy(float))) / np.diff(np.log(last.entropy.to_numpy(float)))
        product = " (identity)" if bool(mine.identity.iloc[0]) else ""
        ends.append((float(x[-1]), float(y[-1]), f"{family}{product} {slope.sum():.2f}", looks["color"]))
    axis.set_ylim(None, 2.5 * float(axis.get_ylim()[1]))
    style.labels_at_ends(axis, ends)
    axis.set_title("limit on the best grids, all γ\n(numbers: slope in H at the last sizes)")


def _grids(axis: Axes, paths: pd.DataFrame, laws: pd.DataFrame, families: list[str]) -> None:
    """K·KL at the largest K: the best grid (filled), the geometric one (hollow), c·min(1, t) (tick), joined for each law."""
    steps = int(paths.steps.max())
    known = laws.set_index(["family", "size"]).entropy
    last = pd.DataFrame(paths[paths.steps == steps])
    last["entropy"] = [known[where] for where in zip(last.family, last["size"], strict=True)]
    last = last[last.entropy >= SHOWN]
    for family in families:
        mine = (
            pd.DataFrame(last[last.family == family]).pivot_table(index="entropy", columns="schedule", values="value")
            * steps
        )
        looks = {**_looks(families, family), "linestyle": "none"}
        axis.vlines(
            mine.index, mine.optimal, np.minimum(mine.log_snr, 10 * CEILING), color=looks["color"], linewidth=0.5
        )
        axis.plot(mine.index, mine.optimal, label=family, **looks)
        axis.plot(mine.index, mine.log_snr, **{**looks, "markerfacecolor": "white"})
        axis.plot(mine.index, mine.exponential_uniform, **{**looks, "marker": "_", "markersize": 6})
    axis.set(xscale="log", yscale="log", xlabel="entropy H, nats", ylabel="K·path KL, nats")
    top = float(axis.get_ylim()[1])
    axis.set_ylim(None, min(top, CEILING))
    axis.legend(fontsize=7, frameon=False, loc="upper left")
    axis.set_title(
        f"grids of K = {steps} steps on the window: best (filled),\ngeometric (hollow), c·min(1, t) in OU time (dash)"
    )


def _ratios(axis: Axes, laws: pd.DataFrame, families: list[str]) -> None:
    """S²/4 over H² (solid), H_½² (dashed) and the bound by pairs (dotted), against size over the family's least."""
    ends = []
    for family in BOUNDED:
        mine = pd.DataFrame(laws[laws.family == family])
        if not len(mine):
            continue
        x = (mine["size"] / mine["size"].min()).to_numpy(float)
        y = mine.quarter.to_numpy(float)
        bound = 2.0 * np.exp(2.0 * mine.log_pairs.to_numpy(float))
        lines = {
            "H²": mine.entropy.to_numpy(float) ** 2,
            "$H_{1/2}^2$": mine.half_entropy.to_numpy(float) ** 2,
            "pairs": bound,
        }
        if family in ("nested scales", "orthogonal points"):
            del lines["$H_{1/2}^2$"]
        for (word, below), dash in zip(lines.items(), ("-", "--", ":") if len(lines) > 2 else ("-", ":"), strict=True):
            looks = {**_looks(families, family), "linestyle": dash}
            ratio = y / below
            kept = ratio <= CEILING
            axis.plot(x[kept], ratio[kept], **looks)
            ends.append(
                (
                    float(x[kept][-1]),
                    float(ratio[kept][-1]),
                    f"{family.removesuffix(' points')}, {word}",
                    looks["color"],
                )
            )
    axis.axhline(1.0, color="0.4", linewidth=0.8, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="size over the family's least", ylabel="S²/4 over …")
    style.labels_at_ends(axis, ends)
    axis.set_title("over H² (solid), $H_{1/2}^2$ (dashed): still rising;\nover the bound by pairs (dotted): at most 1")

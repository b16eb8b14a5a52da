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
"""Least entropy in nats of the laws in the first two panels: rarer bits are in the others."""
CEILING = 1e4
"""Largest K·KL and ratio shown."""
BOUNDED = ("nested scales", "orthogonal points", "rare bits", "heavy tails")
"""The families of the last two panels."""


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """One figure of four panels: the limit, grids in use, the refuted bounds, the surviving one."""
    rows = load(path, keys)
    origin = rows.provenance.iloc[-1]
    laws = pd.DataFrame(rows[rows.quantity == "law"]).sort_values("size", kind="stable")
    families = [str(family) for family in dict.fromkeys(rows.family)]
    figure, axes = style.canvas(style.WIDTH, 6.4, 2, 2)
    _limits(axes[0, 0], laws, families)
    _grids(axes[0, 1], pd.DataFrame(rows[rows.quantity == "kl"]), laws, families)
    _ratios(axes[1, 0], laws, families, surviving=False)
    _ratios(axes[1, 1], laws, families, surviving=True)
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, NAME, origin["command"], origin["commit"][:12])


def _looks(families: list[str], family: str) -> dict[str, Any]:
    return dict(style.cycle(families.index(family)))


def _limits(axis: Axes, laws: pd.DataFrame, families: list[str]) -> None:
    """S²/4 against H, each family's name and its slope over the last factor of two in H at its end."""
    axis.set(xscale="log", yscale="log", xlabel="entropy H, nats", ylabel="S²/4 = limit of K·path KL, nats")
    ends = []
    for family in families:
        mine = pd.DataFrame(laws[(laws.family == family) & (laws.entropy >= SHOWN)]).sort_values(by="entropy")
        if not len(mine):
            continue
        x, y, looks = mine.entropy.to_numpy(float), mine.quarter.to_numpy(float), _looks(families, family)
        style.line(axis, x, y, _error(mine), looks)
        last = _over_a_factor_of_two(pd.DataFrame(laws[laws.family == family]))
        slope = style.slope_text(last.entropy, last.quarter, _error(last))
        product = " (identity)" if bool(mine.identity.iloc[0]) else ""
        ends.append((float(x[-1]), float(y[-1]), f"{family}{product}  {slope}", str(looks["color"])))
    style.labels_at_ends(axis, ends, 6.0)
    axis.set_title("best grids, K → ∞, all snr\n(numbers: slopes in H over a factor ≥ 2)")


def _over_a_factor_of_two(mine: pd.DataFrame) -> pd.DataFrame:
    """The last law of a family, and the one before it that is nearest in size among those with H at least twice or half."""
    apart = np.abs(np.log(mine.entropy / mine.entropy.iloc[-1])) >= np.log(2.0) - 1e-9
    before = mine[apart].tail(1) if apart.any() else mine.head(1)
    return pd.DataFrame(pd.concat([before, mine.tail(1)]))


def _error(laws: pd.DataFrame) -> np.ndarray:
    return 4.0 * laws.quarter_stderr.to_numpy(float) + np.abs(laws.quarter_bias.to_numpy(float))


def _grids(axis: Axes, paths: pd.DataFrame, laws: pd.DataFrame, families: list[str]) -> None:
    """K·KL at the largest K: the best grid (filled), the geometric one (hollow), c·min(1, t) (tick), joined for each law."""
    steps = int(paths.steps.max())
    known = laws.set_index(["family", "size"]).entropy
    last = pd.DataFrame(paths[paths.steps == steps])
    last["entropy"] = [known[where] for where in zip(last.family, last["size"], strict=True)]
    last = pd.DataFrame(last[last.entropy >= SHOWN])
    axis.set(xscale="log", yscale="log", xlabel="entropy H, nats", ylabel="K·path KL, nats")
    ends = []
    for family in families:
        table = pd.DataFrame(last[last.family == family])
        mine = table.pivot_table(index="entropy", columns="schedule", values="value") * steps
        if not len(mine):
            continue
        looks = {**_looks(families, family), "linestyle": "none"}
        axis.vlines(mine.index, mine.optimal, mine.log_snr, color=looks["color"], linewidth=0.4)
        axis.plot(mine.index, mine.optimal, **looks)
        axis.plot(mine.index, mine.log_snr, **{**looks, "markerfacecolor": "white"})
        axis.plot(mine.index, mine.exponential_uniform, **{**looks, "marker": "_", "markersize": 4})
        ends.append((float(mine.index[-1]), float(mine.optimal.iloc[-1]), family, str(looks["color"])))
    axis.set_ylim(None, min(float(axis.get_ylim()[1]), CEILING))
    style.labels_at_ends(axis, ends, 6.0)
    axis.set_title(f"grids of K = {steps} steps: best (filled),\ngeometric (hollow), c·min(1, t) (dash)")


def _ratios(axis: Axes, laws: pd.DataFrame, families: list[str], *, surviving: bool) -> None:
    """S²/4 over H² (solid) and H_½² (dashed), or over the bound by pairs, against size over the family's least."""
    axis.set(xscale="log", yscale="log", xlabel="size over the family's least")
    ends = []
    for family in BOUNDED:
        mine = pd.DataFrame(laws[laws.family == family])
        if not len(mine):
            continue
        x = (mine["size"] / mine["size"].min()).to_numpy(float)
        below = {"pairs": 2.0 * np.exp(2.0 * mine.log_pairs.to_numpy(float))}
        if not surviving:
            below = {"H²": mine.entropy.to_numpy(float) ** 2, "$H_{1/2}^2$": mine.half_entropy.to_numpy(float) ** 2}
        if not surviving and family in ("nested scales", "orthogonal points"):
            del below["$H_{1/2}^2$"]  # equiprobable points: the same number
        for word, bound in below.items():
            looks = {**_looks(families, family), "linestyle": "-" if word != "$H_{1/2}^2$" else "--"}
            ratio = mine.quarter.to_numpy(float) / bound
            kept = ratio <= CEILING
            style.line(axis, x[kept], ratio[kept], (_error(mine) / bound)[kept], looks)
            text = family if surviving else f"{family}, {word}"
            ends.append((float(x[kept][-1]), float(ratio[kept][-1]), text, str(looks["color"])))
    axis.axhline(1.0, color="0.4", linewidth=0.8, zorder=0)
    axis.set_ylabel("S²/4 over 2(Σ (pᵢpⱼ)^¼)²" if surviving else "S²/4 over H² or $H_{1/2}^2$")
    style.labels_at_ends(axis, ends, 6.0)
    axis.set_title(
        "over the bound by pairs of points:\nat most 1 where it holds"
        if surviving
        else "over H² (solid) and $H_{1/2}^2$ (dashed):\nlevel where it is a bound up to a constant"
    )

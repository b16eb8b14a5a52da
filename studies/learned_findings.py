"""From the rows of studies.learned_score to findings: two routes to one number, floors, growth, schedules, memory.

Errors are 4 standard errors and the bias throughout.  Two floors or path KLs of one network are measured on the same draws
and taken as if on different ones, which makes the error of their ratio too large rather than too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from studies.store import Row
from targets import Estimate

Group = tuple[str, int]
"""A law and its dimension."""

AGREED = 4.0
"""Standard errors up to which the two routes to one path KL agree."""
TOLERATED = 1.1
"""Path KL over that of the best grid up to which a grid is within 10% of it."""
FEWEST = 8
"""Steps from which schedules are judged."""
RATIO = {"value": "ratio", "network": "network_ratio"}
"""The columns that hold the loss-adaptive grid's path KL over that of a row's grid."""
BEST = {"value": "optimal", "network": "network_optimal"}
"""Whose path KL is compared (the exact denoiser's, the network's own), and the grid that is best for it."""
REACHED = {
    "K*, frozen denoiser": ("ddpm", "log_snr"),
    "K*, frozen score": ("ei_sde", "log_snr"),
    "K*, best grid": ("ddpm", "optimal"),
}
"""(sampler, schedule) of reach rows."""


def chosen(rows: Iterable[Row], group: Group | None = None, **wanted: object) -> list[Row]:
    """The rows in which these columns have these values."""
    if group is not None:
        wanted |= {"family": group[0], "dim": group[1]}
    return [row for row in rows if all(key in row and row[key] == value for key, value in wanted.items())]


def groups(rows: Iterable[Row]) -> list[Group]:
    """Every law and dimension, in the order of the rows."""
    return list(dict.fromkeys((row["family"], row["dim"]) for row in rows))


def estimate(row: Row, column: str = "value") -> Estimate:
    """A column of a row with its errors."""
    stderr, bias = ("stderr", "bias") if column == "value" else (f"{column}_stderr", f"{column}_bias")
    return Estimate(row[column], row[stderr], row[bias], row.get("method", ""))


def doubt(found: Estimate) -> float:
    """4 standard errors and the bias."""
    return 4.0 * float(found.stderr) + float(found.bias)


def ratio(above: Estimate, below: Estimate) -> tuple[float, float]:
    """A ratio and its error, to first order."""
    found = float(above.value) / float(below.value)
    relative = [(float(e.stderr / e.value), float(e.bias / e.value)) for e in (above, below)]
    return found, found * (4.0 * math.hypot(*(s for s, _ in relative)) + sum(b for _, b in relative))


@dataclass(frozen=True)
class Routes:
    """Path KL by its terms and by the losses alone: how many were compared, the largest z and where it is."""

    comparisons: int
    networks: int
    largest: float
    where: tuple[str, int, int]
    """Family, dimension, K."""

    @property
    def agreed(self) -> bool:
        """No two further apart than 4 standard errors."""
        return self.largest < AGREED


def routes(rows: list[Row]) -> Routes | None:
    """|terms − losses| less the biases, over the standard error of their difference, of every pair; None without pairs."""
    kept, scores = chosen(rows, quantity="kl", sampler="ddpm", rung="path"), {}
    for group in groups(kept):
        terms, losses = ({row["steps"]: row for row in chosen(kept, group, reference=r)} for r in ("terms", "losses"))
        for steps in sorted(terms.keys() & losses.keys()):
            one, other = terms[steps], losses[steps]
            apart, spread = abs(one["value"] - other["value"]) - one["bias"] - other["bias"], other["gap_stderr"]
            scores[*group, steps] = 0.0 if apart <= 0.0 else apart / spread if spread else math.inf
    if not scores:
        return None
    where = max(scores, key=lambda key: scores[key])
    return Routes(len(scores), len({key[:2] for key in scores}), scores[where], where)


@dataclass(frozen=True)
class Floor:
    """½ ∫ E‖m̂ − m‖² dγ of a network and of the linear one that it starts from, and K* on each row of REACHED."""

    group: Group
    floor: Estimate
    linear: Estimate
    reached: dict[str, Estimate]

    @property
    def ratio(self) -> tuple[float, float]:
        """The network's over the linear denoiser's, and its error."""
        return ratio(self.floor, self.linear)

    @property
    def side(self) -> Literal["below", "above", "not told apart from"]:
        """Where the network's floor lies, seen from the linear denoiser's."""
        value, error = self.ratio
        return "below" if value + error < 1.0 else "above" if value - error > 1.0 else "not told apart from"


def floors(rows: list[Row]) -> list[Floor]:
    """One a network."""
    out = []
    for group in groups(chosen(rows, quantity="floor")):
        (floor,), (linear,) = (chosen(rows, group, quantity=name) for name in ("floor", "linear_floor"))
        found = {
            name: estimate(row)
            for name, (sampler, schedule) in REACHED.items()
            for row in chosen(rows, group, quantity="reach", sampler=sampler, schedule=schedule)
        }
        out.append(Floor(group, estimate(floor), estimate(linear), found))
    return out


@dataclass(frozen=True)
class Growth:
    """log(v₂/v₁)/log(d₂/d₁) of a quantity between the smallest and the largest dimension, and its error."""

    family: str
    what: str
    dims: tuple[int, int]
    exponent: float
    doubt: float

    @property
    def like(self) -> str:
        """What the exponent is consistent with."""
        held = [name for power, name in ((0.0, "no growth"), (1.0, "d")) if abs(self.exponent - power) <= self.doubt]
        return {0: "neither with no growth nor with d", 1: f"with {''.join(held)}", 2: "with both no growth and d"}[
            len(held)
        ]


def growths(found: list[Floor]) -> list[Growth]:
    """Of the floor and every K* of each law in two dimensions or more."""
    out = []
    for family in dict.fromkeys(each.group[0] for each in found):
        mine = sorted((each for each in found if each.group[0] == family), key=lambda each: each.group[1])
        if len(mine) < 2:
            continue
        first, last = mine[0], mine[-1]
        dims = first.group[1], last.group[1]
        length = math.log(dims[1] / dims[0])
        pairs = {"floor": (first.floor, last.floor)}
        pairs |= {name: (first.reached[name], last.reached[name]) for name in REACHED if name in first.reached}
        for what, (one, other) in pairs.items():
            value, error = ratio(other, one)
            out.append(Growth(family, what, dims, math.log(value) / length, error / value / length))
    return out


@dataclass(frozen=True)
class Compared:
    """Path KL of the loss-adaptive grid over that of another schedule's at one K, and its error."""

    other: str
    steps: int
    ratio: float
    doubt: float

    @property
    def side(self) -> Literal["below", "above", "tied"]:
        """Where the loss-adaptive grid's path KL lies, beyond the errors."""
        return "below" if self.ratio + self.doubt < 1.0 else "above" if self.ratio - self.doubt > 1.0 else "tied"


@dataclass(frozen=True)
class Pricing:
    """The loss-adaptive grid of one network beside the best grid and the others, by the path KL of one denoiser."""

    group: Group
    column: str
    best: tuple[Compared, ...]
    others: tuple[Compared, ...]

    @property
    def worst(self) -> Compared:
        """The largest ratio to the best grid."""
        return max(self.best, key=lambda each: each.ratio)

    @property
    def within(self) -> Literal["within 10%", "not within 10%", "not settled by the errors"]:
        """Of the best grid, at every K."""
        if any(each.ratio - each.doubt > TOLERATED for each in self.best):
            return "not within 10%"
        held = all(each.ratio + each.doubt <= TOLERATED for each in self.best)
        return "within 10%" if held else "not settled by the errors"


def pricings(rows: list[Row]) -> list[Pricing]:
    """One a network and a denoiser priced, at K ≥ 8, where neither grid was refused."""
    out = []
    kept = [row for row in chosen(rows, quantity="schedule") if row["steps"] >= FEWEST]
    for group in groups(kept):
        for column, best in BEST.items():
            mine = chosen(kept, group)
            if not {"loss_adaptive", best} <= {row["schedule"] for row in mine}:
                continue
            found = [(row["schedule"], row["steps"], estimate(row, RATIO[column])) for row in mine]
            compared = [
                Compared(name, steps, float(ratio.value), doubt(ratio))
                for name, steps, ratio in found
                if name not in ("loss_adaptive", *(set(BEST.values()) - {best}))
            ]
            top, rest = ([each for each in compared if (each.other == best) is at] for at in (True, False))
            out.append(Pricing(group, column, tuple(top), tuple(rest)))
    return out


@dataclass(frozen=True)
class Memory:
    """A network trained on n points, up to the level where a share `left` of the variance is left.

    share: its distance from the law's denoiser over that between the two denoisers; lead: how much farther it is from that
    of the points, over the same.
    """

    group: Group
    points: int
    left: float
    share: Estimate
    lead: Estimate

    @property
    def nearer(self) -> Literal["law", "points", "neither"]:
        """Whose denoiser is nearer, beyond the errors."""
        value, error = float(self.lead.value), doubt(self.lead)
        return "law" if value > error else "points" if value < -error else "neither"


def memories(rows: list[Row]) -> list[Memory]:
    """One a law, n and share of the variance left, the largest share first."""
    out, kept = [], chosen(rows, quantity="memory")
    for group in groups(kept):
        mine = {(row["points"], row["left"], row["distance"]): estimate(row) for row in chosen(kept, group)}
        for points, left in sorted({key[:2] for key in mine}, key=lambda key: (key[0], -key[1])):
            out.append(Memory(group, points, left, *(mine[points, left, name] for name in ("share", "lead"))))
    return out

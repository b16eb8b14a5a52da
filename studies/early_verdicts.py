"""From the rows of studies.early_stopping to sentences: how steps grow as δ → 0, and which directions make them grow.

K^p·KL → c, and with Λ the length of the grid r = c/Λ^p is what the grid's own length leaves unexplained.  Steps to a small ε²
are (c/ε²)^{1/p} = Λ (r/ε²)^{1/p}.  Between neighbouring δ r grows by B = Δr/Δ log(1/δ), an exponent s = Δ log r/Δ log Λ:

    s ≤ 1/10        within its doubt, r saturates: steps like Λ^a,  a = 1 + s/p
    otherwise       r adds up what every δ costs: B ∝ Λ^β gives r ∝ Λ^{1+β},  a = 1 + (1 + β)/p  (β = 0, p = 2: log^{3/2})

A second way asks which of Λ, Λ^{3/2}, Λ² predicts the steps at the smallest δ from those at larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich import box
from rich.table import Table

from studies.dimension_verdicts import select
from studies.store import Row, frame
from studies.study import console
from targets import Estimate
from verify import rates
from verify.rates.choice import UNDECIDED

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class Rung:
    """(sampler, rung, reference); `order` p of K^{-p}; `smooth`, `singular`: B for each direction of that kind."""

    sampler: str
    rung: str
    reference: str
    order: int
    smooth: float = 0.0
    singular: float = 0.0

    @property
    def name(self) -> str:
        """Sampler and rung, with the reference of a chain."""
        return f"{self.sampler}, {self.rung}" + (f" ({self.reference})" if self.rung == "chain" else "")


RUNGS = (
    Rung("jain_zhang", "chain", "flow+noise", 2, singular=1 / 8),
    Rung("jain_zhang", "marginal", "none", 2),
    Rung("jain_zhang", "chain", "reverse", 1, smooth=1 / 4),
    Rung("ei_sde", "path", "reverse SDE", 1, singular=1 / 4),
    Rung("ei_sde", "marginal", "none", 2),
    Rung("ddpm", "path", "reverse SDE", 1, smooth=1 / 4),
    Rung("ddpm", "marginal", "none", 2),
)

SHAPES = {
    "log": lambda length: length,
    "log^{3/2}": lambda length: length**1.5,
    "log^2": lambda length: length**2,
}
"""Steps against Λ = T − 1 + log(1/δ)."""

CLAIM = 1.5
"""Exponent of log(1/δ) in the steps of 2508.16306."""

TOLERANCE = 0.06
"""Largest distance of an exponent from the claim, and of B from its prediction in units of ¼ (or of itself)."""

TELLING = 0.25
"""Largest doubt of an exponent that is judged: half the distance from log^{3/2} to log²."""

SATURATED = 0.1
"""Largest exponent s of a ratio that is called constant."""

LARGEST = 1e-2
"""Larger δ do not enter the fits: there the law is not yet seen as directions."""


@dataclass(frozen=True)
class Growth:
    """How the steps of one rung on one family grow as δ → 0.

    `exponent` ± `doubt`: a, from the smallest δ; `local`: exponents of Λ between neighbours, not extrapolated; `shape`,
    `errors`: the choice by prediction; `growth` ± `growth_doubt`: B, beside the `predicted` one; `ratio`: the last r.
    """

    family: str
    singular: bool
    rung: Rung
    window: tuple[float, float]
    local: tuple[float, ...]
    saturated: bool
    exponent: float
    doubt: float
    shape: str
    errors: dict[str, float]
    growth: float
    growth_doubt: float
    predicted: float
    ratio: float

    @property
    def theorem(self) -> Status:
        """Steps ∝ log^a with a ≤ 3/2: refuted by an exponent beyond it and its doubt, undecided where both ways disagree."""
        if self.exponent - self.doubt > CLAIM + TOLERANCE:
            return "refuted"
        if self.exponent > CLAIM + TOLERANCE or self.doubt > TELLING or self.shape == "log^2":
            return "undecided"
        return "supported"

    @property
    def attained(self) -> bool:
        """The exponent is 3/2, and no other shape predicts better."""
        near = abs(self.exponent - CLAIM) <= TOLERANCE and self.doubt <= TELLING
        return near and self.shape in ("log^{3/2}", UNDECIDED)

    @property
    def form(self) -> Status:
        """B is what its directions predict, within the tolerance; undecided where the doubt is larger than that."""
        off, allowed = abs(self.growth - self.predicted), TOLERANCE * max(0.25, self.predicted)
        if off > allowed + self.growth_doubt:
            return "refuted"
        return "supported" if off <= allowed and self.growth_doubt <= allowed else "undecided"


def growths(data: pd.DataFrame) -> list[Growth]:
    """One a family and rung that has limits at four values of δ ≤ LARGEST."""
    import pandas as pd

    out = []
    limits = select(data, quantity="limit")
    for family in dict.fromkeys(limits.family):
        for rung in RUNGS:
            mine = select(limits, family=family, sampler=rung.sampler, rung=rung.rung, reference=rung.reference)
            mine = pd.DataFrame(mine[mine.delta <= LARGEST * (1 + 1e-9)]).sort_values("length")
            if len(mine) >= 4:
                out.append(_growth(mine, rung))
    return out


def _growth(rows: pd.DataFrame, rung: Rung) -> Growth:
    """Errors of one rung at neighbouring δ are those of one curve and one extrapolation: they move together."""
    length, grown = rows.length.to_numpy(float), -np.log(rows.delta.to_numpy(float))
    value, stderr, bias = (rows[name].to_numpy(float) for name in ("value", "stderr", "bias"))
    order = rung.order
    ratio, error = value / length**order, (4.0 * stderr + bias) / length**order
    slopes, slack = np.diff(ratio) / np.diff(grown), np.abs(np.diff(error)) / np.diff(grown)
    exponent, doubt, saturated = _exponent(length, ratio, slopes, slack, order)
    steps = [_root(*one, order) for one in zip(value, stderr, bias, strict=True)]
    chosen = rates.choose(length, steps, SHAPES)
    smooth = int(rows.mmse_dimension.iloc[0])
    singular = int(rows.dim.iloc[0]) - smooth
    return Growth(
        family=str(rows.family.iloc[0]),
        singular=singular > 0,
        rung=rung,
        window=(float(rows.delta.iloc[-1]), float(rows.delta.iloc[0])),
        local=tuple(np.diff(np.log(value)) / np.diff(np.log(length)) / order),
        saturated=saturated,
        exponent=exponent,
        doubt=doubt,
        shape=chosen.best,
        errors=chosen.errors,
        growth=float(slopes[-1]),
        growth_doubt=float(slack[-1]),
        predicted=smooth * rung.smooth + singular * rung.singular,
        ratio=float(ratio[-1]),
    )


def _exponent(
    length: np.ndarray, ratio: np.ndarray, slopes: np.ndarray, slack: np.ndarray, order: int
) -> tuple[float, float, bool]:
    """(a, its doubt, r saturates) from the last two growths B; see the module's text."""
    middle = 0.5 * (length[1:] + length[:-1])
    share = middle[-1] / (0.5 * (ratio[-1] + ratio[-2]))
    tail, spread = float(slopes[-1] * share), float(slack[-1] * share)
    if tail - spread <= SATURATED or min(slopes[-2:]) <= 0.0:
        return 1.0 + tail / order, spread / order, tail <= SATURATED
    gap = np.log(middle[-1] / middle[-2])
    beta = float(np.log(slopes[-1] / slopes[-2]) / gap)
    spread = float((slack[-2:] / slopes[-2:]).sum() / gap)
    return 1.0 + max(0.0, 1.0 + beta) / order, spread / order, False


def _root(value: float, stderr: float, bias: float, order: int) -> Estimate:
    """value^{1/p} with its errors to first order."""
    root = value ** (1.0 / order)
    return Estimate(root, root * stderr / value / order, root * bias / value / order, "steps at ε² = 1")


def report(rows: list[Row]) -> None:
    """A table a family, what is not available and why, the findings in words."""
    data = frame(rows)
    found = growths(data)
    for family in dict.fromkeys(data.family):
        console.print(_sheet(select(data, family=family), [g for g in found if g.family == family]))
    refused = select(data, quantity="refused")
    for _, group in refused.groupby(["family", "rung", "reference"], sort=False):
        first = group.iloc[0]
        stops = ", ".join(f"{delta:g}" for delta in sorted(set(group.delta), reverse=True))
        names = ", ".join(dict.fromkeys(group.sampler))
        console.print(f"not available: {first.family}, {first.rung} ({names}), δ = {stops}: {first.method}")
    console.print()
    for sentence in sentences(data, found):
        console.print(sentence)


def sentences(data: pd.DataFrame, found: list[Growth]) -> list[str]:
    """The claim on each family, the form of every rung, what stopping and starting cost."""
    claim = [_claim(g, data) for g in found if g.rung.sampler == "jain_zhang" and g.rung.order == 2]
    return [*claim, *_forms(found), *_costs(data)]


def _claim(found: Growth, data: pd.DataFrame) -> str:
    kind = "singular" if found.singular else "smooth"
    start = select(data, family=found.family).start_time.iloc[0]
    errors = ", ".join(f"{name} {error:.2g}" for name, error in found.errors.items())
    answer = found.theorem
    if answer == "supported":
        tail = "and attained" if found.attained else "not attained"
        answer = f"consistent, {tail}" + (f" (K²·KL/Λ² stays at {found.ratio:.4g})" if found.saturated else "")
    return (
        f"{found.rung.name}, {found.family} ({kind}), T = {start:g}, δ = {found.window[0]:g} … {found.window[1]:g}: steps "
        f"like log^a(1/δ), a = {found.exponent:.2f} ± {found.doubt:.1g} (between neighbours {found.local[0]:.2f} … "
        f"{found.local[-1]:.2f}; best prediction {found.shape}, rms log errors: {errors}); a ≤ 3/2 (2508.16306): {answer}"
    )


def _forms(found: list[Growth]) -> list[str]:
    out = []
    for rung in RUNGS:
        mine = [g for g in found if g.rung == rung]
        if not mine:
            continue
        words = [
            f"{w:g} × {kind} directions" for w, kind in ((rung.smooth, "smooth"), (rung.singular, "singular")) if w
        ]
        power = "²" if rung.order == 2 else ""
        counts = {s: sum(g.form == s for g in mine) for s in ("supported", "undecided", "refuted")}
        each = ", ".join(f"{g.family} {_signed(g.growth)} ({g.predicted:g})" for g in mine)
        out.append(
            f"{rung.name}: K{power}·KL/Λ{power} → A + B log(1/δ), B = {words[0] if words else 0}: supported "
            f"{counts['supported']}, undecided {counts['undecided']}, refuted {counts['refuted']}; "
            f"measured (predicted): {each}"
        )
    return out


def _signed(value: float) -> str:
    """Four decimals, without a sign before zero."""
    return f"{value:.4f}".replace("-0.0000", "0.0000")


def _costs(data: pd.DataFrame) -> list[str]:
    out = []
    early, initial = select(data, quantity="early"), select(data, quantity="initial")
    for family in dict.fromkeys(early.family):
        mine = select(early, family=family).sort_values("delta", ascending=False)
        value, delta = mine.value.to_numpy(float), mine.delta.to_numpy(float)
        start = select(initial, family=family).iloc[0]
        ends = ", ".join(_cost(mine.iloc[i]) for i in (0, -1))
        if str(mine.method.iloc[0]).startswith("W2"):
            power = np.diff(np.log(value[-2:])).item() / np.diff(np.log(delta[-2:])).item()
            ends += f", like δ^{power:.2f}"
        out.append(
            f"stopping early, {family}: {mine.method.iloc[0]} = {ends}; the prior at T = {start.start_time:g} would add "
            f"{start.value:.3g} nats once, at every δ"
        )
    return out


def _cost(row: pd.Series) -> str:
    """The cost at one δ, or the error that it is below."""
    error = 4.0 * float(row.stderr) + float(row.bias)
    shown = f"{row.value:.3g}" if row.value > error else f"0 within {error:.1g}"
    return f"{shown} at δ = {row.delta:g}"


def _sheet(data: pd.DataFrame, found: list[Growth]) -> Table:
    row = data.iloc[0]
    smooth = int(row.mmse_dimension)
    singular = int(row.dim) - smooth
    sheet = Table(
        box=box.SIMPLE_HEAD, title=f"{row.family}: steps K*(δ); {singular} singular, {smooth} smooth directions"
    )
    sheet.add_column("rung")
    stops = sorted(set(data.delta), reverse=True)
    for column in (*(f"δ={delta:g}" for delta in stops), "exponent", "predicts best", "B", "predicted"):
        sheet.add_column(column, justify="right")
    for growth in found:
        rung = growth.rung
        mine = select(data, sampler=rung.sampler, rung=rung.rung, reference=rung.reference, quantity="steps")
        known = dict(zip(mine.delta, mine.value, strict=True))
        cells = [f"{known[delta]:.0f}" if delta in known else "-" for delta in stops]
        exponent = f"{growth.exponent:.2f} ±{growth.doubt:.1g}"
        mark = {"supported": "", "undecided": "*", "refuted": "!"}[growth.form]
        sheet.add_row(
            rung.name, *cells, exponent, growth.shape, f"{_signed(growth.growth)}{mark}", f"{growth.predicted:g}"
        )
    return sheet

"""A claim, the rows that decide it, and the verdict computed from them.

A row holds one measured number against the interval [low, high] that the claim allows it.  With e the number's error (four
standard errors plus its deterministic error) the row is

    supported   if the whole of value ± e lies in the interval,
    refuted     if none of it does,
    undecided   otherwise.

A claim speaks of all its rows: one refuted row refutes it, else one undecided row leaves it undecided.  Margin: the distance
of the value to the nearest edge, positive inside, in units of half the interval (of the bound where there is but one).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from targets import Estimate
from targets.arguments import one_of, refuse
from verify.rates import RateFit

NORMAL = 1.959964
"""Standard errors in the half-width of a 95% interval."""

Status = Literal["supported", "refuted", "undecided", "open"]

BASES = {
    "identity": "an equality that holds for every law, re-derived here",
    "transcribed": "the authors' statement, held in transcription only",
    "our derivation": "proved here",
    "to leading order": "derived here to leading order, the rest not bounded",
    "measured here": "our statement, measured and not proved",
    "our plain reading": "our reading, more definite than the source, and not its theorem",
    "open question": "asked by the authors, not answered by them",
}
"""On what a claim's wording rests."""

RUNGS = ("path", "chain", "marginal", "local", "curve", "several")
"""path, chain and marginal KL; one step of a chain; the mmse curve alone; several, named in the rows."""


@dataclass(frozen=True)
class Row:
    """One number: `quantity` of `family` on `window`, `measured`, and the interval [low, high] that the claim allows."""

    family: str
    window: str
    quantity: str
    measured: Estimate
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        numbers = (float(self.measured.value), float(self.measured.error))
        if not all(map(math.isfinite, numbers)):
            refuse(f"measured {self.quantity} of {self.family}", numbers, "a finite value with a finite error")
        if not self.low <= self.high or not math.isfinite(max(self.low, -self.high)):
            refuse(f"(low, high) of {self.quantity}", (self.low, self.high), "low <= high, at least one of them finite")

    @property
    def unit(self) -> float:
        """Half the interval; the bound's own size where one side is open; 1 where that is zero."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return 0.5 * (self.high - self.low) or abs(self.high) or 1.0
        return abs(self.high if math.isfinite(self.high) else self.low) or 1.0

    @property
    def margin(self) -> float:
        """Distance to the nearest edge in units of `unit`, negative outside."""
        value = float(self.measured.value)
        return min(value - self.low, self.high - value) / self.unit

    @property
    def doubt(self) -> float:
        """The measured number's error in units of `unit`."""
        return float(self.measured.error) / self.unit

    @property
    def status(self) -> Status:
        """Supported, refuted or undecided."""
        if self.margin >= self.doubt:
            return "supported"
        return "refuted" if self.margin < -self.doubt else "undecided"


def near(
    family: str, window: str, quantity: str, measured: Estimate | float, predicted: float, tolerance: float
) -> Row:
    """|measured − predicted| ≤ tolerance."""
    return Row(family, window, quantity, estimate(measured), predicted - tolerance, predicted + tolerance)


def at_most(family: str, window: str, quantity: str, measured: Estimate | float, bound: float) -> Row:
    """measured ≤ bound."""
    return Row(family, window, quantity, estimate(measured), high=bound)


def at_least(family: str, window: str, quantity: str, measured: Estimate | float, bound: float) -> Row:
    """measured ≥ bound."""
    return Row(family, window, quantity, estimate(measured), low=bound)


def estimate(value: Estimate | float) -> Estimate:
    """A number without an error of its own is exact."""
    return value if isinstance(value, Estimate) else Estimate.exact(float(value))


def from_fit(found: RateFit) -> Estimate:
    """A measured slope: the bracket of exact rows is its bias, the 95% interval of noisy ones 1.96 standard errors."""
    half = max(found.interval[1] - found.slope, found.slope - found.interval[0])
    return Estimate(found.slope, 0.0, half, "last local slope") if found.exact else from_interval(found.slope, half)


def from_interval(value: float, half: float) -> Estimate:
    """A fitted exponent from the half-width of its 95% interval."""
    return Estimate(value, half / NORMAL, 0.0, "log-log regression")


def ratio(over: Estimate, under: Estimate | float) -> Estimate:
    """over/under, errors added relatively."""
    under = estimate(under)
    value, base = float(over.value), float(under.value)
    stderr = math.hypot(float(over.stderr), value / base * float(under.stderr)) / abs(base)
    bias = (abs(float(over.bias)) + abs(value / base * float(under.bias))) / abs(base)
    return Estimate(value / base, stderr, bias, over.method)


def paired(over: Estimate, under: Estimate | float) -> Estimate:
    """over/under for two functionals of one curve, related on every curve: its sampling error is common and drops out."""
    whole = ratio(over, under)
    return Estimate(whole.value, 0.0, whole.bias, f"{whole.method}; one curve in both")


def scaled(found: Estimate, factor: float) -> Estimate:
    """factor·found."""
    value, stderr, bias = (factor * float(part) for part in (found.value, found.stderr, found.bias))
    return Estimate(value, stderr, bias, found.method)


def total(*parts: Estimate) -> Estimate:
    """Σ parts, errors added as if independent."""
    stderr = math.hypot(*(float(part.stderr) for part in parts))
    bias = sum(abs(float(part.bias)) for part in parts)
    return Estimate(sum(float(part.value) for part in parts), stderr, bias, parts[-1].method)


def difference(one: Estimate, other: Estimate | float) -> Estimate:
    """one − other, errors added as if independent."""
    other = estimate(other)
    stderr = math.hypot(float(one.stderr), float(other.stderr))
    bias = abs(float(one.bias)) + abs(float(other.bias))
    return Estimate(float(one.value) - float(other.value), stderr, bias, one.method)


Check = Callable[..., list[Row]]
"""check(full, tolerance, **subject) -> rows; what a control changes are keywords of the subject with honest defaults."""


@dataclass(frozen=True)
class Control:
    """The same check on a changed subject: `what` was changed, in words, and the keywords with which the check is called."""

    what: str
    change: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.change:
            refuse(f"control {self.what!r}", dict(self.change), "at least one keyword of the check that is changed")
        object.__setattr__(self, "change", MappingProxyType(dict(self.change)))


@dataclass(frozen=True)
class Claim:
    """What a source says, how it is checked, and what the check must not pass.

    `predicted` in words, `tolerance` the number that the check uses for it (0: none).  `control`: has to be refuted.
    `contrast`: has to be supported; for claims that are refuted, so that the check is seen to pass where it should.
    `reference`: what the divergence is taken against.  `study`: shows the same at length.
    `formula`: LaTeX, without dollars, of what the check compares, in the symbols of notation.py.
    """

    id: str
    source: str
    statement: str
    rung: str
    families: tuple[str, ...]
    predicted: str
    tolerance: float
    check: Check = field(repr=False)
    control: Control = field(repr=False)
    basis: str
    window: str
    formula: str
    reference: str = "none needed"
    contrast: Control | None = field(default=None, repr=False)
    study: str | None = None

    def __post_init__(self) -> None:
        one_of("rung", self.rung, RUNGS)
        one_of("basis", self.basis, BASES)
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            refuse(f"tolerance of {self.id}", self.tolerance, "a finite number >= 0")
        if not self.formula.strip() or "$" in self.formula:
            refuse(f"formula of {self.id}", self.formula, "LaTeX, not empty, without dollar signs")

    @property
    def open(self) -> bool:
        """A question: its rows are evidence, and the verdict stays open."""
        return self.basis == "open question"


@dataclass(frozen=True)
class Verdict:
    """`status` from `rows`, with the row that decides it.  For a question, `leaning` is what the rows would say."""

    status: Status
    rows: tuple[Row, ...]
    deciding: Row
    leaning: Status

    @property
    def margin(self) -> float:
        """Of the deciding row."""
        return self.deciding.margin

    @property
    def evidence(self) -> str:
        """The deciding row in a line."""
        row = self.deciding
        found = f"{float(row.measured.value):.4g}"
        if float(row.measured.error) > 1e-3 * abs(float(row.measured.value)):
            found += f" ± {float(row.measured.error):.1g}"
        return f"{row.quantity} = {found}, allowed {_interval(row)} ({row.family}; {row.window})"


def judge(rows: list[Row], *, question: bool = False) -> Verdict:
    """The verdict on all rows: refuted by one, else undecided by one, else supported."""
    if not rows:
        refuse("rows", rows, "at least one row to judge")
    found = {row.status for row in rows}
    leaning: Status = next(s for s in ("refuted", "undecided", "supported") if s in found)
    deciding = min((r for r in rows if r.status == leaning), key=lambda r: r.margin - r.doubt)
    return Verdict("open" if question else leaning, tuple(rows), deciding, leaning)


def _interval(row: Row) -> str:
    if math.isinf(row.low):
        return f"≤ {row.high:.4g}"
    if math.isinf(row.high):
        return f"≥ {row.low:.4g}"
    return f"{row.low:.4g} to {row.high:.4g}"

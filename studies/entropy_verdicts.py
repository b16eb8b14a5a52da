"""From the rows of the entropy study to sentences: exponents of S²/4 in H, what is left of a universal constant, two bounds.

exponent       slope of log S²/4 in log H over the last sizes of a family, against the one that is known where one is, and
               which of √H, H and H², fitted on the first sizes, predicts the last
constant       S²/(4H²) and S²/(4H_½²) against the family's size.  A bound C·H²/K with one C for all laws is refuted where
               the ratio is beyond that of one fair bit, which every C has to cover, and rises at each of the last sizes, by
               more than its errors and with a local slope that does not fall: then no C holds.  It is supported where the
               ratio keeps to that of a fair bit or has stopped rising, undecided where it rises slower and slower.
pair bound     S²/4 ≤ 2 (Σ_{i≠j} (p_i p_j)^{1/4})²
geometric grid path KL ≤ κ I(γ_K) at every K

Identities (products) are in the tables and earn no verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich import box
from rich.table import Table

from studies.dimension_verdicts import select
from studies.store import Row, frame
from studies.study import console
from targets import Estimate
from verify.rates import RateFit, choose, fit

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["supported", "refuted", "undecided", "measured"]
EXPONENTS = {"orthogonal points": 0.5, "nested scales": 2.0, "longer chains": 1.0}
"""Known powers of H with which S²/4 grows."""

ENTROPIES = {"entropy": "H", "half_entropy": "H_1/2"}
READING = "our plain reading of 2601.21943"
RUNG = "path KL, reverse SDE, frozen denoiser"
WHOLE = f"{RUNG}, best grids as K → ∞, all γ"
WINDOWED = f"{RUNG}, windows without the first and last thousandth of information"

FAIR_BIT = (2.4584056634763 / math.log(4.0)) ** 2
"""S²/(4H²) of two equiprobable points."""
ROUNDING = 1e-9
"""Relative, of that number."""

SHORT = {"sqrt_slope": "√slope", "exponential_uniform": "c·min(1,t)"}
"""Headings."""

WINDOW = 4
"""Last sizes that decide a slope."""
TOLERANCE = 0.1
"""Largest distance of an exponent from the known one."""
RESOLVED = 0.2
"""Largest half-width of an exponent's interval with which the powers ½, 1 and 2 are told apart."""
STEADY = 0.9
"""Least ratio of the last local slope to the one before for a rise that is not slowing down."""
FLAT = 0.02
"""Largest local slope of a ratio that counts as no rise."""


@dataclass(frozen=True)
class Verdict:
    """What the rows say of a claim on a family.

    margin: of an exponent the tolerance over its distance, of a constant the last ratio over a fair bit's, of a bound what
    it is over the largest value.
    """

    family: str
    claim: str
    status: Status
    sentence: str
    margin: float


def laws(data: pd.DataFrame, family: str | None = None) -> pd.DataFrame:
    """The rows of the laws that are no identities, or of one family by size."""
    import pandas as pd

    rows = select(data, quantity="law")
    if family is None:
        return pd.DataFrame(rows[~rows.identity.astype(bool)])
    return select(rows, family=family).sort_values("size", kind="stable")


def verdicts(data: pd.DataFrame) -> list[Verdict]:
    """Every family's exponent and its two constants, then the two bounds over all families."""
    families = list(dict.fromkeys(laws(data).family))
    scaling = [each for name in families for each in _scaling(laws(data, str(name)), str(name))]
    return [*scaling, _pairs(laws(data)), _geometric(select(data, quantity="kl", identity=False))]


def _scaling(rows: pd.DataFrame, family: str) -> list[Verdict]:
    if len(rows) < 3:
        text = f"{family}: undecided: fewer than three sizes"
        return [Verdict(family, claim, "undecided", text, math.nan) for claim in ("exponent", *ENTROPIES)]
    return [_exponent(rows, family), *(_constant(rows, family, entropy) for entropy in ENTROPIES)]


def exponent(x: np.ndarray, y: list[Estimate]) -> RateFit:
    """Slope of log y in log x over the last sizes; x may fall with size, which leaves a slope as it is."""
    places, values = x[-WINDOW:], y[-WINDOW:]
    if places[-1] > places[0]:
        return fit(places, values)
    found = fit(1.0 / places, values)
    low, high = found.interval
    return RateFit(-found.slope, (-high, -low), -found.local_slopes, (float(places[-1]), float(places[0])))


def power(x: np.ndarray, y: list[Estimate]) -> str:
    """Which of √x, x and x² predicts the last sizes from the first."""
    sign = 1.0 if x[-1] > x[0] else -1.0
    shapes = {"√H": 0.5, "H": 1.0, "H²": 2.0}
    found = choose(x**sign, y, {name: lambda z, p=p: z ** (sign * p) for name, p in shapes.items()})
    return f"{found.best} ({', '.join(f'{name} errs by {error:.2g}' for name, error in found.errors.items())})"


def estimates(rows: pd.DataFrame, column: str, scale: np.ndarray | float = 1.0) -> list[Estimate]:
    """A column with its two errors, each row times its scale."""
    errors = ("stderr", "bias") if column == "value" else (f"{column}_stderr", f"{column}_bias")
    table = rows[[column, *errors]].to_numpy(float).T * scale
    return [Estimate(float(v), float(s), float(b), "row") for v, s, b in table.T]


def _exponent(rows: pd.DataFrame, family: str) -> Verdict:
    entropy, quarters = rows.entropy.to_numpy(float), estimates(rows, "quarter")
    found = exponent(entropy, quarters)
    low, high = found.interval
    half, distance, known = 0.5 * (high - low), math.nan, EXPONENTS.get(family)
    expected = "" if known is None else f" (known: {known:g})"
    status: Status = "measured"
    if known is not None:
        distance = abs(found.slope - known)
        if distance <= TOLERANCE and half <= RESOLVED:
            status = "supported"
        elif low - TOLERANCE <= known <= high + TOLERANCE:
            status = "undecided"
        else:
            status = "refuted"
    local = ", ".join(f"{slope:.2f}" for slope in found.local_slopes)
    spread = f"± {half:.2g}" if half <= 1.0 else "and not settled"
    text = (
        f"{family}, {_sizes(rows)}: exponent of S²/4 in H ({WHOLE}): {status}{expected}, "
        f"{found.slope:.2f} {spread}, local slopes {local}; of √H, H and H² the first sizes foretell the last by: "
        + power(entropy, quarters)
    )
    return Verdict(family, "exponent", status, text, TOLERANCE / distance if distance else math.inf)


def _constant(rows: pd.DataFrame, family: str, entropy: str) -> Verdict:
    """Whether S²/4 over the entropy's square keeps rising with the family's size, beyond what a fair bit needs."""
    ratios = estimates(rows, "quarter", rows[entropy].to_numpy(float) ** -2.0)
    ratio, doubt = _values(ratios)
    size = rows["size"].to_numpy(float)
    found = exponent(size, ratios)
    local, relative = found.local_slopes, (doubt / ratio)[-WINDOW:]
    unsure = np.hypot(relative[1:], relative[:-1]) / np.diff(np.log(size[-WINDOW:]))
    largest = int(np.argmax(ratio))
    status: Status = "supported"
    if (ratio - doubt <= FAIR_BIT * (1.0 + ROUNDING)).all():
        words = "consistent with it: nowhere more than a fair bit needs"
    elif local[-1] <= FLAT + unsure[-1] and found.slope <= FLAT:
        words = "consistent with it: the ratio has stopped rising"
    elif (local > unsure + FLAT).all() and local[-1] >= STEADY * local[-2] and largest == len(ratio) - 1:
        status, shown = "refuted", ", ".join(f"{slope:.2f}" for slope in local)
        words = f"no C will do: the ratio rises at each of the last sizes and no slower (local slopes in size {shown})"
    else:
        status, words = "undecided", "the ratio is beyond a fair bit's, and whether it stops rising is open"
    name = ENTROPIES[entropy]
    text = (
        f"{family}, {_sizes(rows)}: KL ≤ C·{name}²/K with one C ({READING}; {WHOLE}): {status}, {words}; S²/(4 {name}²) from "
        f"{_number(ratio[0])} to {_number(ratio[-1])}, C at least {_number(ratio[largest])} (size {size[largest]:g})"
    )
    return Verdict(family, entropy, status, text, float(ratio[-1] / FAIR_BIT))


def _pairs(rows: pd.DataFrame) -> Verdict:
    shares = estimates(rows, "quarter", 0.5 * np.exp(-2.0 * rows.log_pairs.to_numpy(float)))
    return _bounded(rows, "pair bound", shares, f"S²/4 ≤ 2 (Σ_i≠j (p_i p_j)^1/4)² on all {len(rows)} laws ({WHOLE})")


def _geometric(rows: pd.DataFrame) -> Verdict:
    rows = select(rows, schedule="log_snr")
    count = len(rows[["family", "size"]].drop_duplicates())
    text = (
        f"path KL ≤ κ I(γ_K) on geometric grids ({WINDOWED}) at every K from {int(rows.steps.min())} to "
        f"{int(rows.steps.max())} of all {count} laws"
    )
    return _bounded(rows, "geometric grid", estimates(rows, "value", 1.0 / rows.bound.to_numpy(float)), text)


def _bounded(rows: pd.DataFrame, claim: str, shares: list[Estimate], text: str) -> Verdict:
    """Whether every share of a bound is at most one, its errors allowed."""
    share, doubt = _values(shares)
    beyond, near = share - doubt > 1.0, share + doubt > 1.0
    status: Status = "refuted" if beyond.any() else "undecided" if near.any() else "supported"
    worst = rows.iloc[int(np.argmax(share))]
    at = f", K = {int(worst.steps)}" if worst.quantity == "kl" else ""
    broken = f"; broken by {', '.join(dict.fromkeys(rows.family[beyond]))}" if beyond.any() else ""
    text = f"{text}: {status}, at most {share.max():.3g} of it ({worst.family}, size {worst['size']:g}{at}){broken}"
    return Verdict("all", claim, status, text, float(1.0 / share.max()))


def closure(data: pd.DataFrame) -> str:
    """Information told in the end against entropy, which shares nothing with the curve."""
    rows = select(data, quantity="law")
    gap = (rows.information - rows.entropy).abs()
    sampled = rows.information_stderr > 0
    z = (gap / rows.information_stderr)[sampled].max()
    exact = (gap / rows.entropy)[~sampled].max()
    return (
        f"I(∞) against H, which shares nothing with the curve: {len(rows)} laws, within {exact:.1e} of H where nothing is "
        f"random, largest |z| {z:.1f} where the curve is sampled"
    )


def grids(data: pd.DataFrame) -> pd.DataFrame:
    """A row a family and schedule: exponent in H of K·KL at the largest K, its extreme multiples of S²/4 of the window."""
    import pandas as pd

    steps, out = int(select(data, quantity="kl").steps.max()), []
    paths = select(data, quantity="kl", steps=steps)
    for family, name in dict.fromkeys(zip(paths.family, paths.schedule, strict=True)):
        rows, mine = laws(data, family), select(paths, family=family, schedule=name).sort_values("size", kind="stable")
        over = steps * mine.value.to_numpy(float) / rows.windowed.to_numpy(float)
        slope = exponent(rows.entropy.to_numpy(float), estimates(mine, "value")).slope if len(mine) >= 3 else math.nan
        ends = {"least": float(over.min()), "largest": float(over.max())}
        out.append({"family": family, "schedule": name, "steps": steps, "exponent": slope, **ends})
    return pd.DataFrame(out)


def report(rows: list[Row]) -> list[Verdict]:
    """The tables of laws and of what grids cost, the check of the curves, the verdicts."""
    data = frame(rows)
    console.print(_sheet(data))
    console.print(_costs(grids(data)))
    console.print(closure(data))
    found = verdicts(data)
    console.print("\nverdicts (families marked = are identities and earn none)")
    for verdict in found:
        console.print(f"  {verdict.sentence}", soft_wrap=True)
    return found


def _sheet(data: pd.DataFrame) -> Table:
    paths = select(data, quantity="kl")
    steps, names = int(paths.steps.max()), list(dict.fromkeys(paths.schedule))
    title = (
        f"S²/4 over all γ (nats), over three bounds on it, and of the window; K·path KL on the window at K = {steps}"
    )
    sheet = _table(title, ["size", "H", "H_1/2", "S²/4", "/ H²", "/ H_1/2²", "/ pairs", "window", *names])
    for family, group in select(data, quantity="law").groupby("family", sort=False):
        mark = "= " if bool(group.identity.iloc[0]) else ""
        sheet.add_row(f"[bold]{mark}{family}[/bold]")
        for row in group.to_dict("records"):
            at = select(paths, family=family, size=row["size"], steps=steps)
            cells = [row["size"], row["entropy"], row["half_entropy"], row["quarter"]]
            cells += [row["quarter"] / row[entropy] ** 2 for entropy in ENTROPIES]
            cells += [0.5 * row["quarter"] * math.exp(-2.0 * row["log_pairs"]), row["windowed"], *(steps * at.value)]
            sheet.add_row(*map(_number, cells))
    return sheet


def _costs(found: pd.DataFrame) -> Table:
    title = f"exponent in H of K·KL at K = {int(found.steps.max())} (its multiples of S²/4 of the window); {WINDOWED}"
    sheet = _table(title, ["family", *dict.fromkeys(found.schedule)])
    for family, group in found.groupby("family", sort=False):
        rows = group.to_dict("records")
        cells = [f"{row['exponent']:.2f} ({_number(row['least'])} … {_number(row['largest'])})" for row in rows]
        sheet.add_row(str(family), *cells)
    return sheet


def _table(title: str, columns: list[str]) -> Table:
    sheet = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0), expand=False
    )
    for index, column in enumerate(columns):
        sheet.add_column(SHORT.get(column, column), justify="right" if index else "left", no_wrap=True)
    return sheet


def _values(found: list[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    """(values, four standard errors and the bias)."""
    return np.array([float(e.value) for e in found]), np.array([float(e.error) for e in found])


def _sizes(rows: pd.DataFrame) -> str:
    return f"{rows['size'].iloc[0]:g} … {rows['size'].iloc[-1]:g} {rows.unit.iloc[0]}"


def _number(value: float) -> str:
    """Three digits, or two and a power of ten."""
    if 1e-3 <= value < 1e5:
        return f"{value:.3g}" if value < 1e3 else f"{value:.0f}"
    return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")

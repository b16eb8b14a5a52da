"""Numbers as readers see them: a value with its error, and where it lies in the interval that a claim allows.

The bar is drawn in units u of half the interval (of the bound's own size where one side is open), measured from its centre
(from the bound): linear for |u| ≤ 1, sign(u)·(1 + log10|u|) beyond, so that every interval has one place and one width.
"""

from __future__ import annotations

import math
from decimal import Decimal

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
WIDTH, UNIT = 96.0, 16.0
"""Of a bar, and of half an interval in it."""


def plain(value: float, digits: int = 4) -> str:
    """A number with so many significant digits, as 1.2 × 10⁻⁷ outside 10⁻³ … 10⁵."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -3 <= power < 5:
        return f"{value:.{max(digits - 1 - power, 0)}f}".replace("-", "−")
    return f"{_trimmed(mantissa)} × 10{str(power).translate(RAISED)}".replace("-", "−")


def brief(value: float, digits: int = 2) -> str:
    """`plain` without zeros at the end."""
    shown = plain(value, digits)
    return _trimmed(shown) if "×" not in shown else shown


def measured(value: float, error: float) -> str:
    """value ± error: the error with two digits, the value to the same place, at most five significant digits of it."""
    if error == 0:
        return plain(value, 5)
    largest = max(abs(value), error)
    power = math.floor(math.log10(largest))
    scale = 0 if -3 <= power < 5 else power
    places = scale + 1 - int(f"{error:.1e}".split("e")[1])
    most = 4 - (power - scale)
    if places > most:
        return f"{plain(value, 5)} ± {plain(error, 1)}"
    places = max(places, 0)
    head, tail = (f"{Decimal(number).scaleb(-scale):.{places}f}" for number in (value, error))
    text = f"{head} ± {tail}" if scale == 0 else f"({head} ± {tail}) × 10{str(scale).translate(RAISED)}"
    return text.replace("-", "−")


def allowed(low: float | None, high: float | None) -> str:
    """The interval in words; None is an open side."""
    if low is None:
        return "any" if high is None else f"≤ {brief(high, 4)}"
    if high is None:
        return f"≥ {brief(low, 4)}"
    return f"{brief(low, 4)} to {brief(high, 4)}"


def bar(value: float, error: float, low: float | None, high: float | None) -> str:
    """An SVG, 96 by 14: the allowed interval as a band, the value as a dot, its error as a line."""
    if low is not None and high is not None:
        centre, unit = 0.5 * (low + high), 0.5 * (high - low)
        band = (-1.0, 1.0) if unit else (-0.06, 0.06)
        unit = unit or abs(high) or 1.0
    else:
        centre = (low if high is None else high) or 0.0
        unit = abs(centre) or 1.0
        band = (-3.0, 0.0) if low is None else (0.0, 3.0)
    left, right = (0.5 * WIDTH + UNIT * edge for edge in band)
    ends = [_place((number - centre) / unit) for number in (value - error, value, value + error)]
    return (
        f'<svg class="bar" viewBox="0 0 96 14" width="96" height="14" aria-hidden="true" focusable="false">'
        f'<path class="band" d="M{left:.1f} 2H{right:.1f}V12H{left:.1f}z"/>'
        f'<path class="whisker" d="M{ends[0]:.1f} 7H{ends[2]:.1f}"/><circle cx="{ends[1]:.1f}" cy="7" r="2.6"/></svg>'
    )


def _place(u: float) -> float:
    """Where u is drawn; what lies beyond the bar's ends is drawn at them."""
    size = abs(u) if abs(u) <= 1 else 1 + math.log10(min(abs(u), 1e9))
    return 0.5 * WIDTH + math.copysign(min(size * UNIT, 0.5 * WIDTH - 3.0), u)


def _trimmed(mantissa: str) -> str:
    return mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa

"""Benchmarks as the page shows them: ratios of times measured side by side, and exponents of cost against size."""

from __future__ import annotations

from dataclasses import dataclass

from figures.report.data import Row, number, text
from figures.report.numbers import plain


@dataclass(frozen=True)
class Cost:
    """One benchmark: a ratio to a rival with its limit, or seconds that grow with size by an exponent."""

    name: str
    kind: str
    against: str
    shown: str
    value: float
    limit: float | None
    sizes: str

    @property
    def over(self) -> bool:
        """Whether the ratio passes the number to reach."""
        return self.limit is not None and self.value > self.limit


def costs(rows: list[Row]) -> list[Cost]:
    """The rows of `make bench`."""
    return [cost for row in rows if (cost := _cost(row)) is not None]


def _cost(row: Row) -> Cost | None:
    kind, sizes = text(row.get("quantity")), row.get("sizes")
    value = number(row.get({"ratio": "ratio", "growth": "last_exponent"}.get(kind, "best")))
    if value is None:
        return None
    name = text(row.get("name")).removeprefix("test_").replace("_", " ")
    shown = plain(value, 3) + (" s" if kind == "time" else "")
    told = ", ".join(text(size) for size in sizes) if isinstance(sizes, list) else text(sizes)
    return Cost(name, kind, text(row.get("against")), shown, value, number(row.get("limit")), told)

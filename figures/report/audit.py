"""The audit as the page shows it: one line a configuration with its declared and measured order, and every way to fail.

Rows of part "order" measure one configuration: its order on each law, on grids whose first steps are short (`eased`) and on
uniform ones, the KL at rising evaluations, and a verdict.  The order shown is the lowest over the laws.  `failure` rows are
smallest configurations that break as shipped; `swept` rows say over how many configurations of a class they were sought.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from figures.report.data import Row, number, text

BUDGET = 32
"""Denoiser evaluations of the KL column."""

MARKS = {
    "fails": "✗",
    "below declared order": "✗",
    "differs": "✗",
    "undecided": "?",
    "not testable": "○",
    "no order declared": "·",
    "conforms": "✓",
}
TONES = {"✗": "refuted", "?": "undecided", "○": "open", "·": "quiet", "✓": "supported"}


@dataclass(frozen=True)
class Line:
    """One configuration; `order` with its interval, `overall` with the start-up, KL at `evaluations`."""

    library: str
    label: str
    verdict: str
    mark: str
    tone: str
    why: str
    source: str
    declared: float | None
    order: float | None
    interval: str
    overall: float | None
    kl: float | None
    evaluations: int


@dataclass(frozen=True)
class Failure:
    """The smallest configuration that shows a failure, and the lines that reproduce it."""

    library: str
    sampler: str
    kind: str
    options: str
    steps: str
    seen: str
    method: str
    code: str


@dataclass(frozen=True)
class Audit:
    """Configurations, failures, what cannot be tested, versions, and how much was tried."""

    lines: list[Line]
    failures: list[Failure]
    untestable: list[tuple[str, str, str]]
    versions: dict[str, str]
    counts: dict[str, int]
    kinds: dict[str, int]
    tried: int
    planned: int
    classes: int


def audit(rows: list[Row]) -> Audit:
    """The rows of `studies.sampler_audit`, grouped."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.get("part") == "order":
            grouped.setdefault((text(row.get("library")), text(row.get("label"))), []).append(row)
    lines = [line for key, mine in grouped.items() if (line := _line(*key, mine)) is not None]
    failures = [_failure(row) for row in rows if row.get("quantity") == "failure"]
    swept = [row for row in rows if row.get("quantity") == "swept"]
    told = Counter(line.verdict for line in lines)
    return Audit(
        lines,
        failures,
        [
            (text(row.get("library")), text(row.get("sampler")), text(row.get("method")))
            for row in rows
            if row.get("quantity") == "untestable"
        ],
        {text(row.get("library")): text(row.get("version")) for row in rows},
        {word: told[word] for word in reversed(MARKS) if told[word]}
        | {w: n for w, n in told.items() if w not in MARKS},
        dict(Counter(failure.kind for failure in failures).most_common()),
        sum(int(number(row.get("tried")) or 0) for row in swept),
        sum(int(number(row.get("planned")) or 0) for row in swept),
        len(swept),
    )


def _line(library: str, label: str, rows: list[Row]) -> Line | None:
    verdict = next((row for row in rows if row.get("quantity") == "verdict"), None)
    if verdict is None:
        return None
    word = text(verdict.get("verdict"))
    mark = MARKS.get(word, "?")
    eased, overall = _lowest(rows, "eased"), _lowest(rows, "uniform")
    kept = [row for row in rows if row.get("quantity") == "kl" and (number(row.get("evaluations")) or 1e9) <= BUDGET]
    last = kept[-1] if kept else {}
    low, high = number(eased.get("low")), number(eased.get("high"))
    return Line(
        library,
        label,
        word,
        mark,
        TONES[mark],
        text(verdict.get("method")),
        text(verdict.get("source")),
        number(verdict.get("declared")),
        number(eased.get("value")),
        "" if low is None or high is None else f"{low:.2f} to {high:.2f}".replace("-", "−"),
        number(overall.get("value")),
        number(last.get("value")),
        int(number(last.get("evaluations")) or 0),
    )


def _lowest(rows: list[Row], grid: str) -> Row:
    found = [
        r for r in rows if r.get("quantity") == "order" and r.get("grid") == grid and number(r.get("value")) is not None
    ]
    return min(found, key=lambda row: row["value"]) if found else {}


def _failure(row: Row) -> Failure:
    options = row.get("options")
    inside = ", ".join(f"{k}={v!r}" for k, v in options.items()) if isinstance(options, dict) else text(options)
    return Failure(
        text(row.get("library")),
        text(row.get("sampler")),
        text(row.get("kind")),
        inside or "defaults",
        text(row.get("steps")),
        f"{text(row.get('count'))} of {text(row.get('runs'))}",
        text(row.get("method")),
        text(row.get("reproduction")),
    )

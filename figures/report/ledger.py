"""The claims of the ledger as the page shows them: verdict, every row with its error and its interval, control, contrast."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from figures.report.data import ReportError, number, slug, text
from figures.report.formulas import mathml
from figures.report.numbers import allowed, bar, brief, measured

MARKS = {"refuted": "✗", "undecided": "?", "open": "○", "supported": "✓"}
"""Verdicts, worst first, each with the sign that stands beside its word."""

PAPER = re.compile(r"\b\d{4}\.\d{5}\b")


@dataclass(frozen=True)
class Line:
    """One measured number against what the claim allows it."""

    family: str
    window: str
    quantity: str
    method: str
    shown: str
    allowed: str
    status: str
    margin: str
    bar: str


@dataclass(frozen=True)
class Part:
    """Rows with what they come to: the claim's own, or those of its control or contrast (`what` was changed)."""

    what: str
    leaning: str
    evidence: str
    counts: dict[str, int]
    lines: list[Line]


@dataclass(frozen=True)
class Claim:
    """A claim with everything that its row opens to; `formula` is MathML, `figures` are names of figure files."""

    id: str
    anchor: str
    source: str
    papers: tuple[str, ...]
    statement: str
    formula: str | None
    basis: str
    rung: str
    reference: str
    families: tuple[str, ...]
    window: str
    predicted: str
    tolerance: float
    status: str
    margin: float
    own: Part
    control: Part
    contrast: Part | None
    fault: str
    expected: str
    study: str
    figures: tuple[str, ...]
    command: str


def symbols(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each symbol of the formulas means: MathML and words; none where the document has none."""
    told = document.get("symbols")
    pairs = told.items() if isinstance(told, dict) else ()
    drawn = ((mathml(str(latex), "inline"), str(meaning).replace("`", "")) for latex, meaning in pairs)
    return [(formula, meaning) for formula, meaning in drawn if formula]


def claims(document: Mapping[str, Any]) -> list[Claim]:
    """Every claim of the document in its order.  Raises `ReportError` naming the first that is not what verify writes."""
    out: list[Claim] = []
    seen: Counter[str] = Counter()
    for index, entry in enumerate(document["claims"]):
        try:
            anchor = f"claim-{slug(str(entry['id']))}"
            seen[anchor] += 1
            out.append(_claim(entry, anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor]}"))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            told = f"claims[{index}]: {type(error).__name__}: {error}"
            raise ReportError(f"ledger: {told}; expected what python -m verify --json FILE writes") from error
    return out


def counts(found: list[Claim]) -> dict[str, int]:
    """Claims by verdict."""
    told = Counter(claim.status for claim in found)
    return {word: told[word] for word in ("supported", "refuted", "undecided", "open") if told[word]}


def papers(found: list[Claim]) -> dict[str, int]:
    """How many claims name each paper, most of them first."""
    told = Counter(paper for claim in found for paper in claim.papers)
    return dict(sorted(told.items(), key=lambda item: (-item[1], item[0])))


def _claim(entry: Mapping[str, Any], anchor: str) -> Claim:
    verdict = entry["verdict"]
    formula, contrast = entry.get("formula"), entry.get("contrast")
    source = text(entry["source"])
    return Claim(
        id=text(entry["id"]),
        anchor=anchor,
        source=source,
        papers=tuple(dict.fromkeys(PAPER.findall(source))) or ("none",),
        statement=text(entry["statement"]),
        formula=mathml(formula) if isinstance(formula, str) else None,
        basis=text(entry["basis"]),
        rung=text(entry["rung"]),
        reference=text(entry["reference"]),
        families=tuple(text(family) for family in entry["families"]),
        window=text(entry["window"]),
        predicted=text(entry["predicted"]),
        tolerance=_finite(entry["tolerance"]),
        status=_status(verdict["status"]),
        margin=_finite(verdict["margin"]),
        own=_part("", verdict),
        control=_part(text(entry["control"]["what"]), entry["control"]),
        contrast=_part(text(contrast["what"]), contrast) if contrast else None,
        fault=text(entry.get("fault")),
        expected=text(entry.get("expected")),
        study=text(entry.get("study")),
        figures=tuple(PurePosixPath(text(path)).stem for path in entry.get("figures") or ()),
        command=text(entry["command"]),
    )


def _part(what: str, verdict: Mapping[str, Any]) -> Part:
    order = list(MARKS)
    told = sorted(verdict["rows"], key=lambda row: (order.index(_status(row["status"])), _finite(row["margin"])))
    lines = [_line(row) for row in told]
    number_of = Counter(line.status for line in lines)
    found = {word: number_of[word] for word in order if number_of[word]}
    return Part(what, _status(verdict["leaning"]), text(verdict["evidence"]), found, lines)


def _line(row: Mapping[str, Any]) -> Line:
    value, low, high = _finite(row["value"]), _edge(row["low"]), _edge(row["high"])
    error = _finite(4.0 * abs(_finite(row["stderr"])) + abs(_finite(row["bias"])))
    return Line(
        family=text(row["family"]),
        window=text(row["window"]),
        quantity=text(row["quantity"]),
        method=text(row["method"]),
        shown=measured(value, error),
        allowed=allowed(low, high),
        status=_status(row["status"]),
        margin=brief(_finite(row["margin"])),
        bar=bar(value, error, low, high),
    )


def _status(word: Any) -> str:
    if word not in MARKS:
        raise ValueError(f"{word!r:.60} is none of {', '.join(MARKS)}")
    return word


def _finite(value: Any) -> float:
    found = number(value)
    if found is None:
        raise ValueError(f"{value!r:.60} is no finite number")
    return found


def _edge(value: Any) -> float | None:
    return None if value is None else _finite(value)

"""The ledger in three forms: a table on the terminal, JSON, and docs/claims.md."""

from __future__ import annotations

import math
import time
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table as Sheet
from rich.text import Text

from targets import ArgumentError
from verify.claims.claim import BASES, Control, Row, Verdict
from verify.claims.ledger import Entry
from verify.claims.notation import READING, SYMBOLS
from verify.claims.stored import Stored, stored
from verify.provenance import ROOT, provenance

MARKS = {"supported": "✓", "refuted": "✗", "undecided": "?", "open": "○"}
STYLES = {"supported": "green", "refuted": "red", "undecided": "yellow", "open": "cyan"}


def table(entries: list[Entry]) -> Sheet:
    """One line a claim: verdict, rung and reference, what decides it, margin, control."""
    sheet = Sheet(box=box.SIMPLE_HEAD, show_edge=False)
    sheet.add_column("claim", no_wrap=True)
    sheet.add_column("verdict")
    sheet.add_column("rung (reference)", max_width=24)
    sheet.add_column("decided by", overflow="fold", ratio=1)
    sheet.add_column("margin", justify="right")
    sheet.add_column("control", overflow="fold")
    for entry in entries:
        claim, verdict = entry.claim, entry.verdict
        word = f"{MARKS[verdict.status]} {verdict.status}"
        if verdict.status == "open":
            word += f" (rows: {verdict.leaning})"
        sheet.add_row(
            claim.id,
            Text(word, style=STYLES[verdict.status]),
            claim.rung if claim.reference == "none needed" else f"{claim.rung} ({claim.reference})",
            verdict.evidence,
            f"{verdict.margin:+.2g}",
            "FAULT" if entry.fault else entry.control.leaning,
        )
    return sheet


def summary(entries: list[Entry]) -> Group:
    """Counts, faults, and verdicts that are not the ones on record."""
    counts = {word: sum(entry.verdict.status == word for entry in entries) for word in MARKS}
    lines = [
        ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        + f"; {len(entries)} claim{'s' * (len(entries) != 1)}"
    ]
    lines += [f"fault of the ledger, {entry.claim.id}: {entry.fault}" for entry in entries if entry.fault]
    lines += [
        f"changed, {entry.claim.id}: on record {entry.expected or 'nothing'}, now {entry.verdict.status}"
        for entry in entries
        if entry.changed
    ]
    return Group(*(Text(line) for line in lines))


def as_json(entries: list[Entry], preset: str) -> dict[str, Any]:
    """Everything: claims, verdicts with all rows, controls, the formulas' symbols, and what made them when."""
    made = {**provenance(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    return {
        "preset": preset,
        "provenance": made,
        "symbols": dict(SYMBOLS),
        "claims": [_entry(entry) for entry in entries],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    claim = entry.claim
    origin = _stored(claim.study)
    return {
        "id": claim.id,
        "source": claim.source,
        "statement": claim.statement,
        "formula": claim.formula,
        "basis": claim.basis,
        "rung": claim.rung,
        "reference": claim.reference,
        "families": list(claim.families),
        "window": claim.window,
        "predicted": claim.predicted,
        "tolerance": claim.tolerance,
        "verdict": _verdict(entry.verdict),
        "control": {"what": claim.control.what, **_verdict(entry.control)},
        "contrast": _changed(claim.contrast, entry.contrast),
        "fault": entry.fault or None,
        "expected": entry.expected,
        "seconds": round(entry.seconds, 2),
        "study": claim.study,
        "figures": [path.relative_to(ROOT).as_posix() for path in origin.figures] if origin else [],
        "command": f"python -m verify {claim.id}",
    }


def _changed(control: Control | None, verdict: Verdict | None) -> dict[str, Any] | None:
    return {"what": control.what, **_verdict(verdict)} if control and verdict else None


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "leaning": verdict.leaning,
        "margin": verdict.margin,
        "evidence": verdict.evidence,
        "rows": [_row(row) for row in verdict.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "family": row.family,
        "window": row.window,
        "quantity": row.quantity,
        "value": float(row.measured.value),
        "stderr": float(row.measured.stderr),
        "bias": float(abs(row.measured.bias)),
        "method": row.measured.method,
        "low": None if math.isinf(row.low) else row.low,
        "high": None if math.isinf(row.high) else row.high,
        "status": row.status,
        "margin": row.margin,
    }


def as_markdown(entries: list[Entry], preset: str) -> str:
    """docs/claims.md: a table on top, then a section a claim."""
    origin = provenance()
    lines = [
        "# Claims and verdicts",
        "",
        f"Made by `python -m verify --preset {preset} --docs`, code {origin['code']}; do not edit by hand.",
        "",
        "A claim is *supported* if every measured number, with its error (four standard errors plus deterministic error),",
        "lies in the interval that the claim allows, *refuted* if one lies outside beyond its error, else *undecided*; a",
        "question stays *open*.  Margin: distance to the edge in units of half the interval, or of the bound; negative",
        "outside.  Each control is the same check on a wrong table or target, and has to be refuted.",
        "",
        "| claim | verdict | rung (reference) | decided by | margin |",
        "| --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        claim, verdict = entry.claim, entry.verdict
        rung = claim.rung if claim.reference == "none needed" else f"{claim.rung} ({claim.reference})"
        link = f"[{claim.id}](#{_anchor(claim.id)})"
        lines.append(f"| {link} | {verdict.status} | {rung} | {_cell(verdict.evidence)} | {verdict.margin:+.2g} |")
    lines += ["", "## Symbols", "", *READING, "", "| symbol | meaning |", "| --- | --- |"]
    lines += [f"| ${latex}$ | {_cell(meaning)} |" for latex, meaning in SYMBOLS]
    for entry in entries:
        lines += _section(entry)
    return "\n".join(lines) + "\n"


def _section(entry: Entry) -> list[str]:
    claim, verdict = entry.claim, entry.verdict
    counts = {word: sum(row.status == word for row in verdict.rows) for word in ("supported", "refuted", "undecided")}
    rows = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    lines = [
        "",
        f"## {claim.id}",
        "",
        f"> {claim.statement}",
        "",
        "$$",
        claim.formula,
        "$$",
        "",
        f"- **Verdict: {verdict.status}.** {verdict.evidence}.",
        f"- Source: {claim.source}. Wording: {BASES[claim.basis]}.",
        f"- Rung: {claim.rung}; reference: {claim.reference}; window: {claim.window}.",
        f"- Families: {', '.join(claim.families)}.",
        f"- Predicted: {claim.predicted} (tolerance {claim.tolerance:g}). Rows: {rows}.",
        f"- Control: {claim.control.what}: {entry.control.leaning}; {entry.control.evidence}.",
    ]
    if claim.contrast and entry.contrast:
        lines.append(f"- Contrast: {claim.contrast.what}: {entry.contrast.leaning}; {entry.contrast.evidence}.")
    if claim.study:
        origin = _stored(claim.study)
        shown = f" ({origin.rows} rows, `{origin.command}`)" if origin else ""
        pictures = (
            " ".join(f"[{p.stem}](../{p.relative_to(ROOT).as_posix()})" for p in origin.figures) if origin else ""
        )
        lines.append(f"- At length: `python -m studies.{claim.study}`{shown} {pictures}".rstrip())
    return [*lines, f"- Again: `python -m verify {claim.id}`"]


def _stored(study: str | None) -> Stored | None:
    try:
        return stored(study) if study else None
    except ArgumentError:
        return None


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum() or c in "-_ ").replace(" ", "-")

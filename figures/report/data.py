"""What a report is made from: the ledger's JSON and the row files, read as text that nobody vouches for.

Rows of the audit, the benchmarks and the atlas are kept; of every other file only who made it, when and from what.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.load import NoRowsError, rows

FIGURES = Path(__file__).resolve().parent.parent
ROWS = FIGURES / "rows"
FRONT = FIGURES / "front"
LEDGER = ROWS / "ledger.json"
KEPT = ("sampler_audit", "benchmarks", "atlas")
LARGEST = 2**27
"""Bytes of the largest ledger that is read."""

Row = dict[str, Any]


class ReportError(ValueError):
    """What a report needs is missing or is not what it should be; the message names the file and what makes it."""


@dataclass(frozen=True)
class Origin:
    """What made the rows of one file: distinct commands, commits, versions of code and torch, first and last day."""

    name: str
    count: int
    commands: tuple[str, ...]
    commits: tuple[str, ...]
    codes: tuple[str, ...]
    torch: tuple[str, ...]
    first: str
    last: str

    @property
    def anchor(self) -> str:
        """Of its line in the table of row files."""
        return f"rows-{slug(self.name)}"


@dataclass(frozen=True)
class Inputs:
    """The ledger as it was written, origins by the name of their file, and the rows that are kept."""

    ledger: dict[str, Any]
    origins: dict[str, Origin]
    rows: dict[str, list[Row]]


def read(folder: Path = ROWS, ledger: Path | None = None) -> Inputs:
    """Everything under `folder`, and the ledger (`folder`/ledger.json unless named).

    Raises `ReportError` where the ledger or the atlas is missing, and for a ledger that is none; `NoRowsError` for row
    files that cannot be read.
    """
    document = _ledger(ledger or folder / LEDGER.name)
    origins, kept = {}, {}
    for path in sorted(folder.glob("*.jsonl")):
        found = list(rows(path))
        if found:
            origins[path.stem] = origin(path.stem, found)
        if path.stem in KEPT:
            kept[path.stem] = found
    if not kept.get("atlas"):
        raise ReportError(f"atlas: no rows in {folder / 'atlas.jsonl'}; make them with python -m studies.atlas")
    return Inputs(document, origins, {name: kept.get(name, []) for name in KEPT})


def origin(name: str, found: Iterable[Row]) -> Origin:
    """The provenance of rows, told once."""
    each = [row["provenance"] if isinstance(row.get("provenance"), dict) else {} for row in found]
    days = sorted(day for made in each if re.fullmatch(r"\d{4}-\d\d-\d\d", day := str(made.get("time", ""))[:10]))
    commits = tuple(commit[:12] for commit in _distinct(each, "commit"))
    texts = (_distinct(each, "command"), commits, _distinct(each, "code"), _distinct(each, "torch"))
    return Origin(name, len(each), *texts, days[0] if days else "", days[-1] if days else "")


def slug(text: str) -> str:
    """Letters, digits and hyphens, at most sixty: what an anchor may hold."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "x"


def text(value: Any) -> str:
    """Text as it is, anything else as JSON; nothing for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _distinct(each: list[dict[str, Any]], field: str) -> tuple[str, ...]:
    return tuple(sorted({text(made[field]) for made in each if made.get(field)}))


def _ledger(path: Path) -> dict[str, Any]:
    made = f"python -m verify --preset full --json {path}"
    if not path.is_file():
        raise ReportError(f"ledger: no file {path}; make it with {made}")
    if path.stat().st_size > LARGEST:
        raise ReportError(f"ledger: {path} has {path.stat().st_size} bytes; at most {LARGEST} are read")
    try:
        document = json.loads(path.read_text("utf-8"), parse_constant=_refused)
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"ledger: {path} is no JSON ({error}); make it with {made}") from error
    if not isinstance(document, dict) or not isinstance(document.get("claims"), list) or not document["claims"]:
        raise ReportError(f"ledger: {path} holds no claims; make it with {made}")
    return document


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number")


__all__ = ["FRONT", "LEDGER", "ROWS", "Inputs", "NoRowsError", "Origin", "ReportError", "Row", "origin", "read", "slug"]

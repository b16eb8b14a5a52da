"""Rows of studies, read as files: what shows a claim at length, and whether the present code made it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targets import ArgumentError
from targets.arguments import one_of
from verify.provenance import ROOT, code_version

COMMITTED = ROOT / "figures" / "rows"
FIGURES = ROOT / "figures" / "front"


@dataclass(frozen=True)
class Stored:
    """The rows of one study: how many, the command, commit and code version that made them, and the pictures of them."""

    study: str
    rows: int
    command: str
    commit: str
    code: str
    figures: tuple[Path, ...]

    @property
    def current(self) -> bool:
        """Made by the present code."""
        return self.code == code_version()

    @property
    def origin(self) -> str:
        """One line: the command and commit, and a warning where the code has changed since."""
        line = f"{self.rows} rows, {self.command} @ {self.commit[:12]}"
        if self.current:
            return line
        return (
            f"{line}; made by code {self.code}, the present code is {code_version()}: what the study shows is from these "
            "rows, and nothing is to be done unless numbers that it measures have changed; then run the command again to "
            "renew them"
        )


def names() -> list[str]:
    """Studies with committed rows."""
    return sorted(path.stem for path in COMMITTED.glob("*.jsonl"))


def stored(study: str) -> Stored:
    """The committed rows of a study.

    Raises `ArgumentError` for a study without rows, naming the command that makes them, and for rows without provenance.
    """
    path = COMMITTED / f"{study}.jsonl"
    if not path.exists() and not (ROOT / "studies" / f"{study}.py").exists():
        one_of("study", study, names())
    rows = _read(path) if path.exists() else []
    if not rows:
        raise ArgumentError(f"study = {study!r}: no rows in {path}; make them with {_maker(study)}")
    origin = rows[-1].get("provenance")
    if not isinstance(origin, dict) or not {"command", "commit", "code"} <= origin.keys():
        raise ArgumentError(f"study = {study!r}: rows in {path} do not say what made them; expected provenance")
    pictures = tuple(sorted(p for p in FIGURES.glob(f"{study}*.png")))
    return Stored(study, len(rows), origin["command"], origin["commit"], origin["code"], pictures)


def _maker(study: str) -> str:
    return f"python -m studies.{study} --preset full, then python -m studies.publish {study}"


def _read(path: Path) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ArgumentError(f"{path}, line {number}: expected a row as JSON, found {line[:40]!r}") from error
    return found

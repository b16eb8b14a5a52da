"""Row files, read for drawing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


class NoRowsError(ValueError):
    """A row file that is missing, or holds none of the rows asked for."""


def load(path: Path, keys: set[str] | None = None) -> pd.DataFrame:
    """The rows of a file, those with the given keys where keys are given.

    Raises `NoRowsError`, naming the command that makes them, where there are none.
    """
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # a line torn by an interruption; its setting is computed again
    found = pd.DataFrame([row for row in rows if keys is None or row["key"] in keys])
    if not len(found):
        study = path.stem if path.stem != "rows" else path.parent.name
        raise NoRowsError(f"rows of {study!r}: none in {path}; make them with python -m studies.{study}")
    return found

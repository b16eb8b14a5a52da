"""Rows on disk: JSON lines, appended a setting at a time, keyed by study, setting and code version.

A setting's rows are written in one call and synced, so an interrupted run loses nothing but the setting that was under
way; a torn last line is dropped on reading, and a rerun computes what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

from verify.provenance import code_version, provenance

Row = dict[str, Any]


class Store:
    """The rows of one study in `folder`/rows.jsonl."""

    def __init__(self, folder: Path, study: str) -> None:
        self.study = study
        self.path = folder / study / "rows.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found: dict[str, dict[int, Row]] = {}
        for row in read_rows(self.path):
            found.setdefault(row["key"], {})[row["row"]] = row
        self._rows = {
            key: [rows[i] for i in sorted(rows)] for key, rows in found.items() if len(rows) == rows[min(rows)]["of"]
        }

    def key(self, setting: Row) -> str:
        """Content address of a setting under the present code."""
        text = json.dumps({"study": self.study, "setting": setting, "code": code_version()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def get(self, setting: Row) -> list[Row] | None:
        """The setting's rows where they are complete, else None."""
        return self._rows.get(self.key(setting))

    def add(self, setting: Row, rows: list[Row]) -> None:
        """Append a setting's rows: one write, flushed to disk."""
        key = self.key(setting)
        stamp = {**provenance(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        full = [
            {"key": key, "row": i, "of": len(rows), "study": self.study, **row, "setting": setting, "provenance": stamp}
            for i, row in enumerate(rows)
        ]
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in full)
        with self.path.open("ab") as file:
            if file.tell() and not self._ends_with_newline():
                text = "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        self._rows[key] = full

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def read_rows(path: Path) -> list[Row]:
    """Every whole row of a JSON-lines file; a torn or foreign line is passed over."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and {"key", "row", "of"} <= row.keys():
            rows.append(row)
    return rows


def frame(rows: list[Row]) -> pd.DataFrame:
    """Rows as a table, without their provenance."""
    return pd.DataFrame(
        [{k: v for k, v in row.items() if k not in ("provenance", "setting", "key", "row", "of")} for row in rows]
    )

"""Rows on disk: JSON lines, appended a setting at a time, keyed by study, setting and code version.

A setting's rows are written in one call under a lock and synced, so an interrupted run loses nothing but the settings that
were under way, and two runs may share a folder; a torn last line is passed over on reading, and a rerun computes what is
missing.  A setting that failed leaves a record with its cause, which no reader takes for a row, and is tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from figures.load import again
from figures.load import rows as whole_rows
from targets.arguments import refuse
from verify.provenance import code_version, provenance

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

ADDRESS = {"key", "row", "of", "study", "setting", "provenance"}
"""Fields that the store gives a row."""


class StoppedSweepError(RuntimeError):
    """A sweep that cannot go on: what was finished is on disk."""


class Store:
    """The rows of one study in `folder`/rows.jsonl."""

    def __init__(self, folder: Path, study: str, *, fresh: bool = False) -> None:
        self.study = study
        self.path = folder / study / "rows.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path.with_suffix(".lock"))
        if fresh:
            self._aside()
        found: dict[str, dict[int, Row]] = {}
        for row in whole_rows(self.path):
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

    def add(self, setting: Row, rows: list[Row], made: Row | None = None) -> None:
        """Append a setting's rows, with what made them beside the provenance of this process: one write, synced.

        Raises `ArgumentError` for rows that could not be read again, and `StoppedSweepError` where the disk takes no more;
        what was there before is as it was.
        """
        key, stamp = self.key(setting), self._stamp(made)
        full = [
            {"key": key, "row": i, "of": len(rows), "study": self.study, **row, "setting": setting, "provenance": stamp}
            for i, row in enumerate(rows)
        ]
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in full]
        for row, line in zip(rows, lines, strict=True):
            if ADDRESS & row.keys() or not again(line):
                refuse("row", row, f"fields other than {', '.join(sorted(ADDRESS))}, and values that can be read again")
        self._append("".join(lines))
        self._rows[key] = full

    def fail(self, setting: Row, cause: str, trace: str, made: Row | None = None) -> None:
        """Append the record of a setting that failed: its cause in a line, and where in the code it arose."""
        record = {"key": self.key(setting), "study": self.study, "failed": cause, "trace": trace, "setting": setting}
        self._append(json.dumps({**record, "provenance": self._stamp(made)}) + "\n")

    def _stamp(self, made: Row | None) -> Row:
        return {**provenance(), **(made or {}), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}

    def _append(self, text: str) -> None:
        try:
            with self._lock, self.path.open("ab", buffering=0) as file:
                before = file.seek(0, os.SEEK_END)
                rest = memoryview(("" if self._ends_whole() else "\n").encode() + text.encode())
                try:
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(before)
                    raise
        except OSError as error:
            raise StoppedSweepError(
                f"{self.path} takes no more rows ({error.strerror}); the rows that were finished are there, "
                "and the same command goes on from them"
            ) from error

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _aside(self) -> None:
        """Move the rows to a file of their own; they are not deleted."""
        with self._lock:
            if self.path.exists():
                stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
                taken = len(list(self.path.parent.glob(f"rows.{stamp}*.jsonl")))
                os.replace(self.path, self.path.with_name(f"rows.{stamp}{f'-{taken}' if taken else ''}.jsonl"))


def read_rows(path: Path) -> list[Row]:
    """Every whole row of a row file; a torn or foreign line is passed over."""
    return list(whole_rows(path))


def frame(rows: list[Row]) -> pd.DataFrame:
    """Rows as a table, without their provenance."""
    import pandas as pd

    return pd.DataFrame(
        [{k: v for k, v in row.items() if k not in ("provenance", "setting", "key", "row", "of")} for row in rows]
    )

"""Row files: JSON lines that are trusted in nothing, read for drawing and for going on.

Nothing in a file is run, and all sizes are bounded: of the file, of a line, of an object, of a name and of the table.  Memory
is at most some forty times the size of the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2**29
"""Bytes of the largest file that is read."""
LONGEST = 2**22
"""Bytes of the longest line that is read."""
DEEPEST = 32
"""Objects and lists inside one another."""
FIELDS = 1000
"""Fields of an object, and columns of a table."""
CELLS = 2**26
"""Rows times columns of a table."""
NAME = 200
"""Characters of the longest name of a field."""
DIGITS = 300
"""Of the longest integer: a float can hold it."""

ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class NoRowsError(ValueError):
    """A row file that is missing, is none, or holds none of the rows asked for."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The whole rows of a file, in its order; none where there is no file.

    A row has a key (text) and is number `row` of `of` under it.  Lines that are torn or foreign, and the records of settings
    that failed, are passed over: their settings are computed again.  Foreign is what no study writes: numbers that no float
    holds, a name twice in one object, text that is no UTF-8, and whatever is beyond the bounds of this module.

    Raises `NoRowsError` for a folder or a device, a file that cannot be read, and one of more than `LARGEST` bytes.
    """
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise NoRowsError(f"rows: {path} is no file")
        if path.stat().st_size > LARGEST:
            raise NoRowsError(f"rows: {path} has {path.stat().st_size} bytes; at most {LARGEST} are read")
        with path.open("rb") as file:
            for line in _lines(file):
                row = _parsed(line)
                if row is not None and _whole(row):
                    yield row
    except OSError as error:
        raise NoRowsError(f"rows: {path} cannot be read ({error.strerror})") from error


def load(path: Path, keys: set[str] | None = None) -> pd.DataFrame:
    """The rows of a file, those with the given keys where keys are given; of a row that is there twice, the later.

    Raises `NoRowsError`, naming the command that makes them, where there are none; and for more fields than a table has.
    """
    import pandas as pd

    each = {(row["key"], row["row"]): row for row in rows(path) if keys is None or row["key"] in keys}
    found = list(each.values())
    if not found:
        study = path.stem if path.stem != "rows" else path.parent.name
        raise NoRowsError(f"rows of {study!r}: none in {path}; make them with {_maker(study, path.stem != 'rows')}")
    if not fits(found):
        raise NoRowsError(f"rows: {path} is no table of at most {FIELDS} columns and {CELLS} cells")
    return pd.DataFrame(found)


def latest(path: Path) -> set[str]:
    """Keys of the rows that the last run wrote: those whose code, preset, seed and device are those of the newest row."""
    runs: dict[tuple[str, ...], set[str]] = {}
    newest = ("", ("",))
    for row in rows(path):
        made, setting = row.get("provenance"), row.get("setting")
        if isinstance(made, dict) and isinstance(setting, dict):
            run = (str(made.get("code")), *(str(setting.get(key)) for key in ("preset", "seed", "device")))
            runs.setdefault(run, set()).add(row["key"])
            newest = max(newest, (str(made.get("time")), run), key=lambda item: item[0])
    return runs.get(newest[1], set())


def _maker(study: str, committed: bool) -> str:
    """The commands that make the rows: the committed ones, which are those of a full run, or any."""
    if study == "benchmarks":
        return "make bench, then python -m figures.benchmarks results/benchmarks.json"
    if not committed:
        return f"python -m studies.{study}"
    return (
        f"python -m studies.{study} --preset full, then python -m studies.publish {study}; or draw what a run left in the "
        f"folder results by python -m figures {study} --from results"
    )


def again(line: str) -> bool:
    """Whether a line that is to be written will be read as a row again."""
    row = _parsed(line.encode())
    return len(line) < LONGEST and row is not None and _whole(row)


def fits(found: Collection[dict[str, Any]]) -> bool:
    """Whether the rows make a table within the bounds: every name that a row has is a column."""
    names: set[str] = set()
    for row in found:
        names |= row.keys()
        if len(names) > FIELDS:
            return False
    return len(found) * len(names) <= CELLS


def _lines(file: Any) -> Iterator[bytes]:
    """Every line of at most `LONGEST` bytes."""
    while line := file.readline(LONGEST):
        if line.endswith(b"\n") or len(line) < LONGEST:
            yield line
        else:
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass


def _parsed(line: bytes) -> Any:
    try:
        text = line.decode("utf-8-sig")
        row = json.loads(
            text, parse_constant=_refused, parse_float=_real, parse_int=_integer, object_pairs_hook=_object
        )
        if ESCAPED_HALF.search(text):
            json.dumps(row, ensure_ascii=False).encode()  # half a character cannot be written again
    except (ValueError, RecursionError):
        return None
    return row if _shallow(row) else None


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of a row")


def _real(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refused(text)


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"{len(text)} digits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or len(pairs) > FIELDS or any(len(name) > NAME for name in found):
        raise ValueError("a name twice, or too many or too long ones")
    return found


def _shallow(row: Any) -> bool:
    level = [row] if isinstance(row, dict) else []
    for _ in range(DEEPEST):
        inside = [item.values() if isinstance(item, dict) else item for item in level]
        level = [value for values in inside for value in values if isinstance(value, (dict, list))]
        if not level:
            return True
    return False


def _whole(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        return False
    index, count = row.get("row"), row.get("of")
    return type(index) is int and type(count) is int and 0 <= index < count

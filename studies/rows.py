"""The rows of a study as one table: a DataFrame, a CSV file, a Parquet file; or as they are, in one JSON document.

The rows are those of FOLDER/NAME/rows.jsonl, as studies write them, or of FOLDER/NAME.jsonl, as those beside the figures are.
FOLDER is `results` unless told otherwise; where that has no rows of the study, those committed with the code are taken.

In a table nested fields become columns with dots (setting.family, provenance.commit); a column has one type whatever rows
lack: integers and booleans with gaps stay what they are, numbers of both kinds are floats, lists are JSON text, and so are a
column of several kinds and one of integers beyond 64 bits.  Only the rows of complete settings are taken; of a setting that
was computed under several versions of the code, those of each (column provenance.code).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from figures.load import CELLS, FIELDS, NAME, NoRowsError, fits
from studies.store import Row, StoppedSweepError, read_rows
from targets import ArgumentError
from targets.arguments import one_of, refuse
from verify.command import Command, Json, console, writable, write_json
from verify.provenance import ROOT, provenance

if TYPE_CHECKING:
    import pandas as pd

KINDS = (".csv", ".parquet")

RESULTS = Path("results")
"""Where studies write their rows unless told otherwise."""
COMMITTED = ROOT / "figures" / "rows"


@dataclass(frozen=True)
class Options:
    """What to export, and where to."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The study, such as step_scaling."""
    to: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The table to write: .csv or .parquet."""
    folder: Annotated[Path | None, tyro.conf.arg(name="from", metavar="FOLDER")] = None
    """Where the studies' rows are; if none, results, and after it the committed rows."""
    force: bool = False
    """Write over a table that is there."""
    json: Json = None
    """Write the rows as they are, with what made each, to this file; - is standard output."""


def frame(path: Path | str) -> pd.DataFrame:
    """The rows of a rows.jsonl file (or of the folder that holds it), one column a field, in the order of the file.

    Raises `ArgumentError` where there is no such file or no whole row in it, where it is beyond the bounds of figures/load.py
    (columns are fields there), and where a row has two fields of one name.
    """
    import pandas as pd

    file = Path(path)
    file = file / "rows.jsonl" if file.is_dir() else file
    rows = complete_rows(file)
    flat = [_flat(row) for row in rows]
    if not fits(flat):
        refuse("path", str(file), f"rows that make a table of at most {FIELDS} columns and {CELLS} cells")
    names = list(dict.fromkeys(name for row in flat for name in row))
    return pd.DataFrame({name: _column([row.get(name) for row in flat]) for name in names})


def complete_rows(file: Path) -> list[Row]:
    """The rows of every setting that the file holds whole.  Raises `ArgumentError` where there are none."""
    if not file.is_file():
        refuse("path", str(file), "a rows.jsonl file, or a folder with one")
    try:
        rows = _complete(read_rows(file))
    except NoRowsError as error:
        raise ArgumentError(f"path = {str(file)!r}: expected a rows.jsonl file: {error}") from error
    if not rows:
        refuse("path", str(file), "a file with the rows of at least one finished setting")
    return rows


def export(options: Options) -> pd.DataFrame:
    """Write the study's rows to the file; the table that was written.

    Raises `ArgumentError` for an unknown study (suggesting the nearest), another kind of file, a file that is there already,
    a folder that is not, and Parquet without pyarrow, with the command that installs it.
    """
    suffix = options.to.suffix.lower() if options.to else ""
    if options.to is None or suffix not in KINDS:
        refuse("--to", str(options.to), f"a file that ends in {' or '.join(KINDS)}")
    if options.to.exists() and not options.force:
        refuse("--to", str(options.to), "a file that is not there yet; --force writes over it")
    if not options.to.parent.is_dir():
        refuse("--to", str(options.to), f"a file in a folder that exists, which {options.to.parent} does not")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ArgumentError(
            f"--to = {options.to}: Parquet needs pyarrow; install it by: pip install 'truerate[parquet]'"
        )
    table = frame(source(options))
    part = options.to.with_name(options.to.name + ".part")
    try:
        if suffix == ".csv":
            table.to_csv(part, index=False)
        else:
            table.to_parquet(part, index=False, engine="pyarrow")
        os.replace(part, options.to)
    except OSError as error:
        refuse("--to", str(options.to), f"a file that can be written ({error.strerror})")
    return table


def source(options: Options) -> Path:
    """The study's file of rows.

    Raises `ArgumentError` for a folder without any, and for a study that it has no rows of, suggesting the nearest.
    """
    if options.folder is not None:
        found = _files(options.folder)
        if not found:
            wanted = f"a folder of studies, each with its rows.jsonl; python -m studies.{options.name} writes one"
            refuse("--from", str(options.folder), wanted)
    else:
        found = _files(COMMITTED) | _files(RESULTS)
    return found[one_of("NAME", options.name, sorted(found))]


def _files(folder: Path) -> dict[str, Path]:
    """The row files in a folder, by study: a study's own folder comes before a file beside it."""
    beside = {path.stem: path for path in folder.glob("*.jsonl") if path.stem != "rows"}
    return {name: path for name, path in (beside | _folders(folder)).items() if name.isidentifier()}


def _folders(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path for path in folder.glob("*/rows.jsonl")}


def _complete(rows: list[Row]) -> list[Row]:
    """Without the rows of settings that were stopped half way, and without repetitions."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        found.setdefault(row["key"], {})[row["row"]] = row
    return [row for same in found.values() for row in same.values() if len(same) == row["of"]]


def _flat(row: Row, prefix: str = "") -> Row:
    """Nested objects as fields with dots."""
    flat: Row = {}
    for key, value in row.items():
        name = sys.intern(prefix + key)
        inside = _flat(value, name + ".") if isinstance(value, dict) else {name: value}
        if len(name) > NAME or len(flat) + len(inside) > FIELDS or flat.keys() & inside.keys():
            refuse("field of a row", name, f"at most {FIELDS} names of at most {NAME} characters, each once")
        flat |= inside
    return flat


def _column(values: list[Any]) -> pd.Series:
    """One column of one type; None where a row lacks the field."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {float}:
        return pd.Series(values, dtype="float64")
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if None in values else "bool")
    if kinds == {int, float}:
        return pd.Series([None if value is None else float(value) for value in values], dtype="float64")
    if kinds == {str}:
        return pd.Series(values, dtype="string")
    return pd.Series([None if value is None else json.dumps(value) for value in values], dtype="string")


def main(options: Options) -> None:
    """Write the table, the JSON document, or both."""
    file = source(options)
    if options.to is None and options.json is None:
        refuse("--to", None, f"a file that ends in {' or '.join(KINDS)}, or --json FILE")
    writable("json", options.json)
    if options.to is not None:
        table = export(options)
        console.print(f"{options.to}: {len(table)} rows, {len(table.columns)} columns", markup=False, soft_wrap=True)
    if options.json is not None:
        rows = complete_rows(file)
        write_json(options.json, {"study": options.name, "provenance": provenance(), "rows": rows})
    if file.parent == COMMITTED and options.folder is None:
        print(f"no rows of {options.name} in {RESULTS}: these are the committed ones, {file}", file=sys.stderr)


COMMAND = Command(
    Options,
    "python -m studies.rows",
    __doc__,
    (
        ("step_scaling --to rows.csv", "one line a row, one column a field"),
        ("step_scaling --from results --to rows.parquet --force", "writes over a file that is there"),
        ("step_scaling --json rows.json", "the rows as they are"),
    ),
)

if __name__ == "__main__":
    COMMAND.run(main, failures=(NoRowsError, StoppedSweepError))

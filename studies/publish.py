"""Put the rows of a study's full preset beside the figures, where pictures, pages and plans read them.

The rows are those of the code version that ran last, all of its settings and in their order, so that the file is the same
whatever the number of workers; of what made a row it keeps `MADE`.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from studies.console import STUDIES
from studies.rows import complete_rows
from studies.store import Row
from targets.arguments import one_of, refuse
from verify.command import Command, console
from verify.provenance import ROOT

MADE = ("command", "commit", "code", "torch", "time", "seconds", "peak_mib", "pace", "threads")
"""Fields of a row's provenance that are kept."""


@dataclass(frozen=True)
class Options:
    """What to publish, and from where."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The study, such as step_scaling."""
    folder: Annotated[Path, tyro.conf.arg(name="from")] = Path("results")
    """Where the studies' folders are."""
    to: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = ROOT / "figures" / "rows"
    """Where the file is written."""


def published(name: str, folder: Path) -> list[Row]:
    """The rows to be published.  Raises `ArgumentError` for an unknown study, and where a setting is missing."""
    study: Any = importlib.import_module(f"studies.{one_of('NAME', name, list(STUDIES))}")
    wanted = [_text(setting) for setting in study.settings(study.Config(preset="full"))]
    rows = complete_rows(folder / name / "rows.jsonl")
    newest = max(rows, key=lambda row: row["provenance"]["time"])["provenance"]["code"]
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["provenance"]["code"] == newest:
            found.setdefault(_text(row["setting"]), []).append(row)
    missing = [setting for setting in wanted if setting not in found]
    if missing:
        refuse(
            "rows",
            f"{len(wanted) - len(missing)} of {len(wanted)} settings by code {newest}",
            f"all of them, such as {missing[0]}; python -m studies.{name} --preset full computes what is missing",
        )
    return [
        {**row, "provenance": {key: row["provenance"][key] for key in MADE if key in row["provenance"]}}
        for setting in wanted
        for row in sorted(found[setting], key=lambda row: row["row"])
    ]


def _text(setting: Row) -> str:
    return json.dumps(setting, sort_keys=True)


def main(options: Options) -> None:
    """Write the file and say what is in it."""
    rows = published(options.name, options.folder)
    file = options.to / f"{options.name}.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows), "utf-8")
    made = rows[-1]["provenance"]
    console.print(f"{file}: {len(rows)} rows, {made['command']} @ {made['commit'][:12]}", markup=False, soft_wrap=True)


COMMAND = Command(
    Options,
    "python -m studies.publish",
    __doc__,
    (("step_scaling", "after python -m studies.step_scaling --preset full"),),
)

if __name__ == "__main__":
    COMMAND.run(main)

"""Redraw every figure from the committed rows, or those that are named; or draw what a run left in its folder."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from figures.command import EXIT_CODES, Parser, ended, pictures, program
from figures.load import NoRowsError, latest

FIGURES = (
    "dimension_scaling",
    "early_stopping",
    "step_scaling",
    "schedules",
    "score_error",
    "noise_step",
    "open_questions",
    "entropy_scaling",
    "learned_score",
    "sampler_audit",
    "atlas",
    "filmstrip",
    "benchmarks",
)
"""The modules that draw, in the order in which they do."""

ENDING = """\
NAME: {names}

examples:
  {program}                             # all of them
  {program} step_scaling schedules      # two of them
  {program} step_scaling --from results # what python -m studies.step_scaling left there
  {program} step_scaling --json -       # the files that were drawn, as a JSON list

{codes}"""


def drawer(name: str) -> Callable[..., list[Path]]:
    """What draws the figures of that name: from its committed rows, or from a file and the keys of rows in it."""
    return importlib.import_module(f"figures.{name}").draw


def parser() -> argparse.ArgumentParser:
    """The command line."""
    typed = program("python -m figures")
    found = Parser(
        prog=typed,
        usage=f"{typed} [NAME ...] [--from FOLDER] [--json FILE]",
        description=__doc__,
        epilog=ENDING.format(program=typed, codes=EXIT_CODES, names=", ".join(FIGURES)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument("names", metavar="NAME", nargs="*", help="a figure; all of them if none is given")
    found.add_argument(
        "--from",
        metavar="FOLDER",
        dest="folder",
        type=Path,
        help="draw the rows of the last run in FOLDER/NAME/rows.jsonl, as studies write them; without it the committed ones",
    )
    found.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the list of files drawn to this file; - is standard output, and their names go to standard error",
    )
    return found


def there(folder: Path) -> list[str]:
    """The figures whose rows a folder of studies holds."""
    return [name for name in FIGURES if (folder / name / "rows.jsonl").is_file()]


def drawn(name: str, folder: Path | None) -> list[Path]:
    """Draw the figures of that name: from the committed rows, or from the last run in the folder; the files written."""
    if folder is None:
        return drawer(name)()
    rows = folder / name / "rows.jsonl"
    with pictures(rows):
        return drawer(name)(rows, latest(rows))


def refused(names: Sequence[str], file: Path | None, folder: Path | None = None) -> str:
    """Why the figures cannot be drawn or the file cannot be written; nothing where all is well."""
    for name in names:
        if name not in FIGURES:
            near = difflib.get_close_matches(name.replace("-", "_"), FIGURES, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"figure = {name!r}: expected one of {', '.join(FIGURES)}{hint}"
    if folder is not None and not there(folder):
        return f"from = {str(folder)!r}: expected a folder of studies, each with its rows.jsonl; python -m studies writes one"
    if file is not None and file != Path("-"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            before = file.exists()
            file.open("a", encoding="utf-8").close()
            if not before:
                file.unlink()
        except OSError as error:
            return f"json = {str(file)!r}: expected a file that can be written ({error.strerror})"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Draw the named figures, or all; the exit code: 1 where one of them has no rows, 2 for a wrong name or file."""
    options = parser().parse_args(list(arguments))
    if why := refused(options.names, options.json, options.folder):
        print(f"error: {why}", file=sys.stderr)
        return 2
    files: list[str] = []
    code = 0
    for name in options.names or (FIGURES if options.folder is None else there(options.folder)):
        try:
            for path in drawn(name, options.folder):
                print(path, file=sys.stderr if options.json == Path("-") else sys.stdout)
                files.append(str(path))
        except NoRowsError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 1
    if options.json is not None:
        text = json.dumps(files, indent=1) + "\n"
        if options.json == Path("-"):
            print(text, end="")
        else:
            options.json.write_text(text, "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(ended(lambda: main(sys.argv[1:])))

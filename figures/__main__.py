"""Redraw every figure from the committed rows, or those that are named."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from figures.command import EXIT_CODES, ended, program
from figures.load import NoRowsError

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
  {program} step_scaling --json -       # the files that were drawn, as a JSON list

{codes}"""


def drawer(name: str) -> Callable[[], list[Path]]:
    """What redraws the figures of that name from its committed rows."""
    return importlib.import_module(f"figures.{name}").draw


def parser() -> argparse.ArgumentParser:
    """The command line."""
    typed = program("python -m figures")
    found = argparse.ArgumentParser(
        prog=typed,
        usage=f"{typed} [NAME ...] [--json FILE]",
        description=__doc__,
        epilog=ENDING.format(program=typed, codes=EXIT_CODES, names=", ".join(FIGURES)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument("names", metavar="NAME", nargs="*", help="a figure; all of them if none is given")
    found.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the list of files drawn to this file; - is standard output, and their names go to standard error",
    )
    return found


def refused(names: Sequence[str], file: Path | None) -> str:
    """Why the figures cannot be drawn or the file cannot be written; nothing where all is well."""
    for name in names:
        if name not in FIGURES:
            near = difflib.get_close_matches(name.replace("-", "_"), FIGURES, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"figure = {name!r}: expected one of {', '.join(FIGURES)}{hint}"
    if file is not None and file != Path("-"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            there = file.exists()
            file.open("a", encoding="utf-8").close()
            if not there:
                file.unlink()
        except OSError as error:
            return f"json = {str(file)!r}: expected a file that can be written ({error.strerror})"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Draw the named figures, or all; the exit code: 1 where one of them has no rows, 2 for a wrong name or file."""
    options = parser().parse_args(list(arguments))
    if why := refused(options.names, options.json):
        print(f"error: {why}", file=sys.stderr)
        return 2
    drawn: list[str] = []
    code = 0
    for name in options.names or FIGURES:
        try:
            for path in drawer(name)():
                print(path, file=sys.stderr if options.json == Path("-") else sys.stdout)
                drawn.append(str(path))
        except NoRowsError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 1
    if options.json is not None:
        text = json.dumps(drawn, indent=1) + "\n"
        if options.json == Path("-"):
            print(text, end="")
        else:
            options.json.write_text(text, "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(ended(lambda: main(sys.argv[1:])))

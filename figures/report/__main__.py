"""Write the report, one HTML file that needs no network: the ledger, the studies, the audit and an explorer of the atlas."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from figures.command import EXIT_CODES, Parser, ended, program
from figures.report.build import page
from figures.report.data import FRONT, ROWS, ReportError, read

ENDING = """\
examples:
  {program}                              # results/report.html
  {program} --out report.html            # another file
  {program} --ledger ledger.json         # with the ledger that python -m verify --json wrote

{codes}"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    typed = program("python -m figures.report")
    found = Parser(
        prog=typed,
        description=__doc__,
        epilog=ENDING.format(program=typed, codes=EXIT_CODES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument(
        "--out", metavar="FILE", type=Path, default=Path("results/report.html"), help="the file to write"
    )
    found.add_argument("--rows", metavar="FOLDER", type=Path, default=ROWS, help="where the row files are")
    found.add_argument(
        "--ledger", metavar="FILE", type=Path, help="what python -m verify --json wrote, if not beside the rows"
    )
    found.add_argument("--front", metavar="FOLDER", type=Path, default=FRONT, help="where the figures are")
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the file and say where it is; the exit code: 2 for an input that is missing or not what it should be."""
    chosen = parser().parse_args(list(arguments))
    try:
        written = page(read(chosen.rows, chosen.ledger), chosen.front).encode("utf-8", "replace")
        try:
            chosen.out.parent.mkdir(parents=True, exist_ok=True)
            chosen.out.write_bytes(written)
        except OSError as error:
            raise ReportError(
                f"out = {str(chosen.out)!r}: expected a file that can be written ({error.strerror})"
            ) from error
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{chosen.out}  {len(written) / 1e6:.1f} MB")
    return 0


def run(arguments: Sequence[str] | None = None) -> int:
    """The command: what `main` says, and what `ended` does where it says nothing."""
    return ended(lambda: main(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(run())

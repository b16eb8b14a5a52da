"""How the commands of this package end: an exit code and at most one line, never a traceback."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from figures.load import NoRowsError

CHECKOUT = (Path(__file__).resolve().parent.parent / "pyproject.toml").is_file()
"""Whether this is a checkout, not an installed package."""

EXIT_CODES = "exit codes: 0 done; 1 the answer is no, or the work failed; 2 a wrong command or input; 130 interrupted"


class Parser(argparse.ArgumentParser):
    """A command line whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


@contextmanager
def pictures(rows: Path) -> Iterator[None]:
    """Figures of rows that are not the committed ones go to figures/rendered of a checkout, else beside their file `rows`."""
    from figures import style

    before = style.RENDERED
    if not CHECKOUT:
        style.RENDERED = rows.parent / "figures"
    try:
        yield
    finally:
        style.RENDERED = before


def program(start: str) -> str:
    """What was typed to start this process: PROGRAM of the main module where another command handed over, else `start`."""
    return getattr(sys.modules["__main__"], "PROGRAM", start)


def ended(main: Callable[[], int]) -> int:
    """The exit code of `main`, also for missing rows, Ctrl-C, a full disk and a closed pipe."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 141
    except (OSError, NoRowsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130

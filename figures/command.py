"""How the commands of this package end: an exit code and at most one line, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from figures.load import NoRowsError

EXIT_CODES = "exit codes: 0 done; 1 the answer is no, or the work failed; 2 a wrong command or input; 130 interrupted"


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

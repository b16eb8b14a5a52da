"""What all commands have in common: parsing, help with examples, exit codes, errors in one line, JSON, closed pipes.

Exit codes are 0 (done), 1 (the answer is no, or the work failed), 2 (a wrong command or a wrong input), 130 (interrupted) and
141 (the reader of standard output has gone).  Where NO_COLOR is set, on a dumb terminal and where standard output is none, no
escape sequence is written.  With `--json -` standard output is the JSON alone, worker processes included: whatever else is
printed goes to standard error.
"""

from __future__ import annotations

import difflib
import gc
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import tyro
from rich.console import Console

from targets import ArgumentError, NotAvailableError
from targets.arguments import refuse

DONE, NO, WRONG, INTERRUPTED, CLOSED = 0, 1, 2, 130, 141
"""Exit codes."""

EXIT_CODES = "exit codes: 0 done; 1 the answer is no, or the work failed; 2 a wrong command or input; 130 interrupted"
"""The line that ends every help text."""

STANDARD_OUTPUT = Path("-")
"""What `--json -` asks for."""

Json = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
"""The option `--json` of a command's `Config`, by this name."""

_answers: ContextVar[TextIO | None] = ContextVar("standard output while everything else goes to standard error")


def plain() -> bool:
    """Whether NO_COLOR or TERM asks for text without escape sequences."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")


class Screen(Console):
    """Standard output as rich writes it: as wide as the terminal, or 160 columns; plain where that is asked for."""

    def __init__(self) -> None:
        self.adapt()

    def adapt(self) -> None:
        """Look again at what standard output is."""
        width = None if sys.stdout.isatty() else 160
        super().__init__(highlight=False, width=width, force_terminal=False if plain() else None)

    def on_broken_pipe(self) -> None:
        """End quietly."""
        _gone()


console = Screen()
"""What all commands print to."""


@dataclass(frozen=True)
class Command:
    """A command: what its options are, how it is started, what it does, and examples as (arguments, what they do)."""

    config: type
    start: str
    about: str | None
    examples: tuple[tuple[str, str], ...]

    @property
    def program(self) -> str:
        """How this process was started: PROGRAM of the main module where another command handed over, else `start`."""
        return getattr(sys.modules["__main__"], "PROGRAM", self.start)

    def parse(self, arguments: Sequence[str] | None = None) -> Any:
        """The options; help ends with the examples.

        Exits with code 2 for what is no command line of this command, saying why in one line.
        """
        given = sys.argv[1:] if arguments is None else list(arguments)
        helped = bool({"-h", "--help"} & set(given))
        tyro._experimental_options["utf8_boxes"] = helped
        tyro._experimental_options["ansi_codes"] = helped and not plain() and sys.stderr.isatty()
        flags, said = (tyro.conf.FlagCreatePairsOff,), io.StringIO()
        try:
            with redirect_stderr(said):
                return tyro.cli(self.config, prog=self.program, description=self.about, args=given, config=flags)
        except SystemExit as stop:
            if stop.code:
                print(f"error: {one_line(said.getvalue())}; see {self.program} --help", file=sys.stderr)
            elif helped:
                print(self.ending())
            raise

    def ending(self) -> str:
        """The end of the help text."""
        lines = [(f"{self.program} {arguments}".rstrip(), what) for arguments, what in self.examples]
        width = max(len(line) for line, _ in lines)
        told = "\n".join(f"  {line:<{width}}  # {what}" for line, what in lines)
        return f"\nexamples:\n{told}\n\n{EXIT_CODES}"

    def run(
        self,
        main: Callable[[Any], int | None],
        arguments: Sequence[str] | None = None,
        failures: tuple[type[Exception], ...] = (),
    ) -> None:
        """Parse, call `main` with the options, and exit with its code, or return where that is 0.

        `ArgumentError` is told in one line, exit code 2; `NotAvailableError`, `OSError` and what is among `failures` so too,
        exit code 1; Ctrl-C with what it left behind, exit code 130.
        """
        if not gc.isenabled():  # since the start: what was imported stays, and need never be looked at
            gc.freeze()
            gc.enable()
        code: int = NO
        try:
            try:
                chosen = self.parse(arguments)
                with _set_aside(getattr(chosen, "json", None)):
                    code = main(chosen) or DONE
            finally:
                _flushed()
        except BrokenPipeError:
            _gone()
        except ArgumentError as error:
            code = _told(error, WRONG)
        except (NotAvailableError, OSError, *failures) as error:
            code = _told(error, NO)
        except KeyboardInterrupt as stop:
            print(f"\n{stop}" if str(stop) else "stopped", file=sys.stderr)
            code = INTERRUPTED
        if code:
            sys.exit(code)


EXPECTED = {"INT": "an integer", "FLOAT": "a number", "PATH": "a path"}
"""What the parser calls the kinds of values, and what the kinds are."""


def one_line(box: str) -> str:
    """What the parser's box says, without title and help: `NAME = VALUE: expected …`, what is missing, or what is unknown.

    The box is in ASCII: a title, the message, and help on the options it is about, with lines of dashes between.
    """
    parts = [[line for line in part.splitlines() if line.strip()] for part in re.split(r"(?m)^ *-{3,} *$", box)[1:]]
    said, *helped = parts or [[]]
    first = " ".join(line.strip() for line in said)
    if first.startswith("Missing from"):
        names = [line.strip() for line in said if re.match(r" {6}\S", line)]
        return f"missing: {', '.join(names)}"
    if wrong := re.match(r"Missing value for argument '(.*)'", first):
        return f"missing: a value of {wrong[1]}"
    if wrong := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", first):
        value, name, known = wrong[1], wrong[2], re.findall(r"'([^']*)'", wrong[3])
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{name} = {value!r}: expected one of {', '.join(known)}{hint}"
    if wrong := re.match(r"Error parsing (\S+): .*?(?:from \['|: ')(.*?)'(?:\]|$)", first):
        kind = next((line.split()[-1] for part in helped for line in part if line.split()[0] == wrong[1]), "")
        return f"{wrong[1]} = {wrong[2]!r}: expected {EXPECTED.get(kind, kind or 'another value')}"
    near = [line for part in helped if re.match("(?i) *(perhaps|arguments similar)", " ".join(part)) for line in part]
    meant = [found[1] for line in near if (found := re.match(r" *(--[\w-]+)", line))]
    first = first[:1].lower() + first[1:].rstrip(".")
    return f"{first}; did you mean {' or '.join(dict.fromkeys(meant))}?" if meant else first or "a wrong command line"


def writable(name: str, path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work; none, and `-`, are well."""
    if path is None or path == STANDARD_OUTPUT:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        path.open("a", encoding="utf-8").close()
        if not there:
            path.unlink()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        refuse(name, str(path), f"a file that can be written ({why})")


def write_json(path: Path | None, value: object) -> None:
    """Write the value to the file, or to standard output for `-`; nothing for none."""
    if path is None:
        return
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    if path != STANDARD_OUTPUT:
        path.write_text(text, "utf-8")
        return
    out = _answers.get(None) or sys.stdout
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        _gone()


@contextmanager
def _set_aside(path: Path | None) -> Iterator[None]:
    """For `--json -`, standard output kept for the JSON: this process and its workers print to standard error."""
    if path != STANDARD_OUTPUT:
        yield
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        token = _answers.set(out)
        os.dup2(2, 1)
        console.adapt()
        try:
            yield
        finally:
            _flushed()
            os.dup2(out.fileno(), 1)
            _answers.reset(token)
            console.adapt()


def _told(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _flushed() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _gone()


def _gone() -> NoReturn:
    """Nobody reads standard output any more: what is still to be written there goes nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(CLOSED)

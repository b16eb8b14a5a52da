"""Every study in turn, with the options that all of them take: `python -m studies --preset full`; or one, by its name first.

Each study goes on from the rows that it finds, so that the same command continues what was stopped.  A study that fails
does not stop the others: its error is repeated at the end, and the exit code is 1.  Ctrl-C stops all, exit code 130.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.console import STUDIES, study_or_all

if TYPE_CHECKING:
    from studies import study
    from verify.command import Command


def load(name: str) -> Any:
    """The study's module: its `Config` and `main`."""
    return importlib.import_module(f"studies.{name}")


def main(config: study.Config) -> int:
    """Run them all with the same options; the exit code."""
    from studies import study
    from targets.arguments import integer
    from verify.command import writable, write_json
    from verify.provenance import code_version

    integer("seed", config.seed, 0)
    config.engine()
    study.folder(config.out)
    writable("json", config.json)
    for name in STUDIES:  # all of them now: code that is edited later has no part in the rows
        with suppress(Exception):
            load(name)
    code_version()
    with tempfile.TemporaryDirectory() as folder:
        code, documents, failed = _in_turn(config, Path(folder))
    if config.json is not None:
        write_json(config.json, {"studies": documents, "failed": failed})
    return code


def _in_turn(config: study.Config, folder: Path) -> tuple[int, list[Any], dict[str, str]]:
    """Run them one after another: the exit code, what each writes as JSON (by way of the folder), and what failed why."""
    from studies import study
    from targets import ArgumentError, NotAvailableError

    console = study.console
    documents: list[Any] = []
    failed: dict[str, str] = {}
    done: list[str] = []
    for name in STUDIES:
        console.print(f"\n[bold]{name}[/bold]: {STUDIES[name]}\n")
        began = time.monotonic()
        file = folder / f"{name}.json" if config.json is not None else None
        try:
            module = load(name)
            module.main(module.Config(**vars(replace(config, json=file))))
        except KeyboardInterrupt as stop:
            console.print(f"\n{stop}" if str(stop) else "")
            console.print(
                f"stopped in {name}; finished: {', '.join(done) or 'none'}; the same command goes on from there"
            )
            return 130, documents, failed
        except Exception as error:  # whatever went wrong in one study, the others are independent of it
            if not isinstance(error, (ArgumentError, NotAvailableError, *study.FAILURES)):
                traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            done.append(name)
            if file is not None and file.exists():
                documents.append(json.loads(file.read_text("utf-8")))
            console.print(f"\n{name} took {time.monotonic() - began:.0f} s")
    console.print(f"\nfinished: {', '.join(done) or 'none'}")
    for name, error in failed.items():
        console.print(f"failed: {name}: {error}", markup=False)
    return (1 if failed else 0), documents, failed


def description() -> str:
    """The help text: what runs, and in which order."""
    lines = "\n".join(f"  {name}: {question}" for name, question in STUDIES.items())
    return (
        "Every study in turn, with the options that all of them take; or one, whose name comes before its options.\n\n"
        f"{lines}"
    )


def command() -> Command:
    """The command line of all studies in turn."""
    from studies import study
    from verify.command import Command

    examples = (
        ("", "all, quick presets; goes on where it was stopped"),
        ("--preset full --workers 4", "all at length, on four processes"),
        ("step_scaling --preset full", "one of them; step_scaling --help states its own options"),
    )
    return Command(study.Config, "python -m studies", description(), examples)


if __name__ == "__main__" and not study_or_all(globals().get("PROGRAM", "python -m studies"), sys.argv[1:]):
    command().run(main)

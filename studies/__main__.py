"""Every study in turn, with the options that all of them take: `python -m studies --preset full`.

Each study goes on from the rows that it finds, so that the same command continues what was stopped.  A study that fails
does not stop the others: its error is repeated at the end, and the exit code is 1.  Ctrl-C stops all, exit code 130.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

import tyro

from studies import study
from studies.study import console
from targets import ArgumentError
from targets.arguments import integer
from verify.provenance import code_version

STUDIES = {
    "dimension_scaling": "how the KL of three samplers grows with dimension",
    "step_scaling": "how every rung falls with the number of steps",
    "schedules": "what schedules in use cost over the best grid",
    "score_error": "what an imperfect denoiser costs",
    "entropy_scaling": "how the least path KL grows with entropy",
    "early_stopping": "what stopping before the data costs",
    "noise_step": "what the noise step of arXiv 2508.16306 is for",
    "open_questions": "three questions that arXiv 2508.16306 leaves open",
    "learned_score": "what a trained network costs, whose error is known exactly",
    "sampler_audit": "whether other libraries' samplers converge at the order that they declare",
}
"""Each study with its question, in the order in which they run."""


def load(name: str) -> Any:
    """The study's module: its `Config` and `main`."""
    return importlib.import_module(f"studies.{name}")


def main(config: study.Config) -> int:
    """Run them all with the same options; the exit code."""
    integer("seed", config.seed, 0)
    config.engine()
    for name in STUDIES:  # all of them now: code that is edited later has no part in the rows
        with suppress(Exception):
            load(name)
    code_version()
    failed: dict[str, str] = {}
    done: list[str] = []
    for name in STUDIES:
        console.print(f"\n[bold]{name}[/bold]: {STUDIES[name]}\n")
        began = time.monotonic()
        try:
            module = load(name)
            module.main(module.Config(**vars(config)))
        except KeyboardInterrupt as stop:
            console.print(f"\n{stop}" if str(stop) else "")
            console.print(
                f"stopped in {name}; finished: {', '.join(done) or 'none'}; the same command goes on from there"
            )
            return 130
        except Exception as error:  # whatever went wrong in one study, the others are independent of it
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            done.append(name)
            console.print(f"\n{name} took {time.monotonic() - began:.0f} s")
    console.print(f"\nfinished: {', '.join(done) or 'none'}")
    for name, error in failed.items():
        console.print(f"failed: {name}: {error}", markup=False)
    return 1 if failed else 0


def description() -> str:
    """The help text: what runs, and in which order."""
    lines = "\n".join(f"  {name}: {question}" for name, question in STUDIES.items())
    return f"Every study in turn, with the options that all of them take.\n\n{lines}"


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(study.Config, prog="python -m studies", description=description())))
    except ArgumentError as error:
        sys.exit(f"error: {error}")

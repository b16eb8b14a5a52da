"""Redraw every figure from the committed rows: `python -m figures`, or one with `python -m figures NAME`."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

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
    "benchmarks",
)
"""The modules that draw, in the order in which they do."""


def drawer(name: str) -> Callable[[], list[Path]]:
    """What redraws the figures of that name from its committed rows."""
    return importlib.import_module(f"figures.{name}").draw


def main(names: list[str]) -> None:
    """Draw the named figures, or all."""
    if {"-h", "--help"} & set(names):
        print(f"usage: python -m figures [NAME ...]\n\n{__doc__}\n\nNAME: {', '.join(FIGURES)}")
        return
    for name in names:
        if name not in FIGURES:
            near = difflib.get_close_matches(name, FIGURES, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            sys.exit(f"error: figure = {name!r}: expected one of {', '.join(FIGURES)}{hint}")
    for name in names or FIGURES:
        try:
            for path in drawer(name)():
                print(path)
        except NoRowsError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])

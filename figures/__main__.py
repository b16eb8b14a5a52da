"""Redraw every figure from the committed rows: `python -m figures`, or one with `python -m figures NAME`."""

from __future__ import annotations

import difflib
import sys

from figures import (
    dimension_scaling,
    early_stopping,
    entropy_scaling,
    learned_score,
    noise_step,
    open_questions,
    sampler_audit,
    schedules,
    score_error,
    step_scaling,
)
from figures.load import NoRowsError

DRAWERS = {
    study.NAME: study.draw
    for study in (
        dimension_scaling,
        early_stopping,
        step_scaling,
        schedules,
        score_error,
        noise_step,
        open_questions,
        entropy_scaling,
        learned_score,
        sampler_audit,
    )
}


def main(names: list[str]) -> None:
    """Draw the named figures, or all."""
    for name in names:
        if name not in DRAWERS:
            near = difflib.get_close_matches(name, DRAWERS, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            sys.exit(f"error: figure = {name!r}: expected one of {', '.join(DRAWERS)}{hint}")
    for name in names or DRAWERS:
        try:
            for path in DRAWERS[name]():
                print(path)
        except NoRowsError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])

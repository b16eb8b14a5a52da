"""One step of a table without its noise, for any state that can be added and scaled.

Particles hand in a batch of states, the density and radial carriers a state with its derivative, the flow carrier a state
with its Jacobian, the moments carrier coefficients of a linear form: the arithmetic of a step is written here and only here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from targets import Level
from verify.step import Step


class Linear(Protocol):
    """What can be added to its like and multiplied by a number."""

    def __add__(self, other: Any, /) -> Any:
        """The sum."""

    def __rmul__(self, factor: float, /) -> Any:
        """The multiple."""


State = TypeVar("State", bound=Linear)


def advance(
    step: Step, state: State, ask: Callable[[State, Level], State], past: list[State]
) -> tuple[State, list[State]]:
    """(mean of the next state, answers to hand to the next step).

    `past` holds the first stage's answers of earlier steps, the latest first; it is returned with this step's in front,
    as long as the table's history reaches.
    """
    answers: list[State | None] = []
    for stage in step.stages:
        answers.append(ask(_combined(stage.state, state, stage.outputs, answers), stage.level) if stage.asked else None)
    after = _combined(step.state, state, (*step.outputs, *step.history), [*answers, *past])
    reach = len(step.history)
    kept = [answers[0] if answers and answers[0] is not None else 0.0 * state, *past][:reach] if reach else []
    return after, kept


def _combined(scale: float, state: State, weights: tuple[float, ...], parts: list) -> State:  # type: ignore[type-arg]
    out = state if scale == 1.0 else scale * state
    for weight, part in zip(weights, parts, strict=False):
        if weight:
            out = out + weight * part
    return out

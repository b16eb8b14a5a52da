"""One step of a table without its noise, for any state that can be added and scaled.

Particles hand in a batch of states, the density and radial carriers a state with its derivative, the flow carrier a state
with its Jacobian.  Only the moments carrier, which composes all steps of a linear law at once, writes it as matrices.
Sums are taken from the left.  Tensors may be summed into given ones (`Buffers`), with one rounding a term where the processor
multiplies and adds at once, two otherwise: within 1e-15 of the terms' size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from targets import Level
from verify.step import Step


class Linear(Protocol):
    """What can be added to its like and multiplied by a number."""

    def __add__(self, other: Any, /) -> Any:
        """The sum."""

    def __rmul__(self, factor: float, /) -> Any:
        """The multiple."""


State = TypeVar("State", bound=Linear)


class Buffers:
    """Tensors shaped like the batch of states (n, dim) that steps write into, by name; each is made at its first use.

    Stage i writes the state at which it asks to tensor i, which no other stage does: an answer that is a view of that state
    stays what it was until the step is done.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._made: dict[int | str, Tensor] = {}

    def __getitem__(self, name: int | str) -> Tensor:
        if name not in self._made:
            self._made[name] = torch.empty_like(self._like)
        return self._made[name]


def advance(
    step: Step,
    state: State,
    ask: Callable[[State, Level], State],
    past: list[State],
    buffers: Buffers | None = None,
    out: Tensor | None = None,
) -> tuple[State, list[State]]:
    """(mean of the next state, answers to hand to the next step).

    `past` holds the first stage's answers of earlier steps, the latest first; it is returned with this step's in front,
    as long as the table's history reaches.  With `buffers` and `out`, which are apart from `state` and all of `past`, the
    mean is written to `out`; where it is the state itself, that is returned and `out` is left alone.
    """
    answers: list[State | None] = []
    for i, stage in enumerate(step.stages):
        if not stage.asked:
            answers.append(None)
            continue
        if stage.state == 1.0 and not any(stage.outputs):
            answers.append(ask(state, stage.level))
            continue
        place = None if buffers is None else buffers[i]
        answers.append(ask(_combined(stage.state, state, stage.outputs, answers, place), stage.level))
    weights, parts = step.outputs, answers
    if reach := len(step.history):
        weights, parts = (*weights, *step.history), [*answers, *past]
    after = _combined(step.state, state, weights, parts, out)
    kept = [answers[0] if answers and answers[0] is not None else 0.0 * state, *past][:reach] if reach else []
    return after, kept


def _combined(
    scale: float, state: State, weights: Sequence[float], parts: Sequence[State | None], out: Tensor | None
) -> State:
    """scale·state + Σ weight·part, written to `out` if there is one and anything to compute."""
    total: Any = state
    if scale != 1.0:
        total = scale * total if out is None else torch.mul(total, scale, out=out)
    for weight, part in zip(weights, parts, strict=False):
        if weight:
            total = total + weight * part if out is None else torch.add(total, part, alpha=weight, out=out)  # type: ignore
    return total

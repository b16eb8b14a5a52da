"""The library's own sampling loop with an exact network in the network's place.

    for t in scheduler.timesteps:
        shown = scheduler.scale_model_input(state, t)
        state = scheduler.step(network(shown), t, state, generator=generator)

is what every pipeline of diffusers does.  Here `network` computes E[X given shown] at the level that the scheduler itself
stands at (see conventions.py), says it in the scheduler's prediction type, and every call is noted.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from targets import Level
from targets.arguments import refuse
from verify.audit.contract import Denoiser
from verify.audit.diffusers.conventions import Convention, Pair, level, read
from verify.audit.draws import seeded

SILENT = 50
"""Above every level that the library logs at."""


@dataclass(frozen=True)
class Trace:
    """What a run did: last states (n, dim), the levels at which the network was asked in order, the pair (α, σ) of the last
    states (σ may be 0), the process of the states; with `keep`, the states (n, dim) in which each call found the loop.
    """

    states: Tensor
    levels: tuple[Level, ...]
    last: Pair
    process: str
    visited: tuple[Tensor, ...] = ()

    @property
    def calls(self) -> int:
        """Evaluations of the network, which is the number of calls of `step`."""
        return len(self.levels)


def run(
    scheduler: Any,
    denoiser: Denoiser,
    start: Tensor,
    generator: torch.Generator,
    *,
    stop: int | None = None,
    step_options: Mapping[str, Any] | None = None,
    keep: bool = False,
) -> Trace:
    """Runs a scheduler whose timesteps are set, from `start` (n, dim), over all its timesteps or the first `stop`.

    `denoiser(y, Level)` is given float64 rows.  `step_options` are handed to every `step` (eta, s_churn, order).  The states
    have the process that `Trace.process` names and keep the dtype of `start`; rows become (n, dim, 1, 1) for the library.
    All random numbers come from `generator`.

    ArgumentError: start is no matrix.  NotDrivableError: a scheduler that is not understood.  LevelError: tables without a
    level.  What the library raises is passed on.
    """
    if not isinstance(start, Tensor) or start.ndim != 2 or not len(start):
        refuse("start.shape", tuple(getattr(start, "shape", ())), "rows (n, dim)")
    with quiet(), seeded(generator), torch.no_grad():
        convention = read(scheduler)
        state = start.reshape(*start.shape, 1, 1)
        times = _loop_times(scheduler)[:stop]
        step = _Step(scheduler, times, len(start), generator, dict(step_options or {}))
        levels, visited = [], []
        for k, t in enumerate(times):
            levels.append(level(convention.asked(scheduler, t)))
            if keep:
                visited.append(state.reshape(start.shape).clone())
            state = step(_answer(scheduler, convention, denoiser, state, t), k, state)
        last = convention.reached(scheduler, times[-1]) if levels else (math.nan, math.nan)
        return Trace(state.reshape(start.shape), tuple(levels), last, convention.process, tuple(visited))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's log and its warnings of what will be removed."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", module="torchsde")
            yield
    finally:
        logging.set_verbosity(before)


class _Step:
    """The scheduler's `step`, given by name what its signature asks for beyond output, timestep and state."""

    def __init__(
        self, scheduler: Any, times: Tensor, rows: int, generator: torch.Generator, options: dict[str, Any]
    ) -> None:
        self.scheduler, self.times, self.rows, self.options = scheduler, times, rows, options
        self.takes = inspect.signature(scheduler.step).parameters
        if "generator" in self.takes:
            self.options["generator"] = generator
        self.answers: tuple[Any, ...] = ()

    def __call__(self, output: Tensor, k: int, state: Tensor) -> Tensor:
        t = self.times[k]
        given = dict(self.options)
        if "old_pred_original_sample" in self.takes:
            given["old_pred_original_sample"] = self.answers[1] if k else None
        if "timestep_back" in self.takes:
            given["timestep_back"] = self.times[k - 1] if k else None
        if "prev_timestep" in self.takes:
            following = _loop_times(self.scheduler)[k + 1 : k + 2]
            given["prev_timestep"] = following[0] if len(following) else None
        if hasattr(self.scheduler, "_alpha_cumprod"):
            t = t.expand(self.rows)
        self.answers = self.scheduler.step(model_output=output, timestep=t, sample=state, return_dict=False, **given)
        return self.answers[0]


def _loop_times(scheduler: Any) -> Any:
    """The timesteps at which the network is asked: without the last where the class lists the end of the last step too."""
    times = scheduler.timesteps
    steps = getattr(scheduler, "num_inference_steps", None)
    once = getattr(scheduler, "order", 1) == 1
    ends_listed = once and steps is not None and len(times) == steps + 1 and not hasattr(scheduler, "alphas_cumprod")
    return times[:-1] if ends_listed or hasattr(scheduler, "_alpha_cumprod") else times


def _answer(scheduler: Any, convention: Convention, denoiser: Denoiser, state: Tensor, t: Any) -> Tensor:
    """What the exact network says of the state: shape and dtype of the state."""
    shown = scheduler.scale_model_input(state, t) if hasattr(scheduler, "scale_model_input") else state
    pair = convention.asked(scheduler, t)
    rows, wide = len(state), torch.float64
    y, x = shown.reshape(rows, -1).to(wide), state.reshape(rows, -1).to(wide)
    mean = y / pair[0] if pair[1] == 0.0 else denoiser(y, level(pair)).to(wide)
    return convention.answer(scheduler, y, x, mean, pair).to(state.dtype).reshape(state.shape)

"""Two classes of diffusers whose `step` is not the usual one, driven over a grid as their own pipelines do.

KarrasVeScheduler is handed its noise levels by its pipeline, with σ̂ = (1 + c) ς, c = min(s_churn/K, √2 − 1):

    x̂ = add_noise_to_input(x, ς),   x′ = step(output at σ̂),   x′ = step_correct(output at ς′),   output = (m − x)/ς

ScoreSdeVeScheduler predicts with the score, and its pipeline corrects before every prediction:

    x′ = x + (ς² − ς′²) score + √(ς² − ς′²) z

The corrector sizes its moves by norms over the batch, so that rows interact; it is left out (correct_steps = 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from targets import Level
from targets.arguments import refuse
from verify.audit.contract import Denoiser
from verify.audit.diffusers.loop import quiet
from verify.audit.draws import seeded
from verify.audit.precision import double
from verify.grid import Grid


@dataclass(frozen=True)
class KarrasVe:
    """KarrasVeScheduler on ve grids; `options` go to its constructor."""

    cls: type
    options: Mapping[str, Any]
    precise: bool = True

    def __call__(self, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        """(n, dim) states at the last level."""
        return _driven(self, denoiser, grid, start, generator)

    def _steps(self, denoiser: Denoiser, grid: Grid, x: Tensor, generator: torch.Generator) -> Tensor:
        scheduler = self.cls(**self.options)
        scheduler.num_inference_steps = grid.steps
        sigmas = torch.tensor(grid.sigma).to(x.dtype)

        def output(state: Tensor, sigma: Any) -> Tensor:
            return ((_mean(denoiser, state, sigma) - state) / sigma).to(state.dtype)

        for sigma, ahead in pairwise(sigmas):
            raised, high = scheduler.add_noise_to_input(x, sigma, generator=generator)
            x, slope = scheduler.step(output(raised, high), high, ahead, raised, return_dict=False)
            given = (output(x, ahead), high, ahead, raised, x, slope)
            x, _slope = scheduler.step_correct(*given, return_dict=False)
        return x


@dataclass(frozen=True)
class ScoreSdeVe:
    """ScoreSdeVeScheduler's predictor on ve grids; `options` go to its constructor."""

    cls: type
    options: Mapping[str, Any]
    precise: bool = True

    def __call__(self, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        """(n, dim) states at the last level."""
        return _driven(self, denoiser, grid, start, generator)

    def _steps(self, denoiser: Denoiser, grid: Grid, x: Tensor, generator: torch.Generator) -> Tensor:
        scheduler = self.cls(num_train_timesteps=grid.steps + 1, **{"correct_steps": 0, **self.options})
        scheduler.discrete_sigmas = torch.tensor(grid.sigma[::-1].copy()).to(x.dtype)
        for k in range(grid.steps):
            sigma = scheduler.discrete_sigmas[grid.steps - k]
            score = ((_mean(denoiser, x, sigma) - x) / sigma**2).to(x.dtype)
            time = (grid.steps - k + 0.5) / grid.steps
            x, _without_noise = scheduler.step_pred(score, time, x, generator=generator, return_dict=False)
        return x


def _driven(
    sampler: KarrasVe | ScoreSdeVe, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator
) -> Tensor:
    if grid.process != "ve":
        refuse("grid.process", grid.process, f"'ve', the process of the states of {sampler.cls.__name__}")
    with quiet(), seeded(generator), torch.no_grad():
        if not sampler.precise:
            return sampler._steps(denoiser, grid, start.to(torch.float32), generator).to(start.dtype)
        with double():
            return sampler._steps(denoiser, grid, start, generator)


def _mean(denoiser: Denoiser, state: Tensor, sigma: Any) -> Tensor:
    return denoiser(state.to(torch.float64), Level(1.0, float(sigma)))

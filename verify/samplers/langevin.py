"""Unadjusted Langevin steps at a fixed level, alone and as the corrector of a predictor–corrector sampler."""

from __future__ import annotations

import math

from targets import Level
from targets.arguments import integer, real, refuse
from verify.grid import Grid, on_grid
from verify.samplers.ddpm import ddpm
from verify.step import Method, Stage, Step, Table

LANGEVIN = Method(
    name="langevin",
    formula="x' = x + ε s(x) + √(2ε) z,  ε = size·σ²",
    source="Roberts & Tweedie 1996; Song et al. 2021, Algorithm 4",
    freezes="score",
    order=0,
    identities=frozenset({"translation", "gauge"}),
)
PREDICTOR_CORRECTOR = Method(
    name="predictor_corrector",
    formula="ddpm to the next level, then x' = x + ε s(x) + √(2ε) z there,  ε = size·(1 − γ/γ')·σ'²",
    source="Song et al. 2021, Algorithm 4, with a step that shrinks with the grid",
    freezes="denoiser, then score",
    order=1,
    identities=frozenset({"translation", "gauge"}),
)


def langevin(level: Level, steps: int, size: float = 0.1) -> Table:
    """`steps` Langevin steps at `level`, of ε = size·σ².

    They leave p_k invariant only as size → 0: on N(m, λ) the stationary variance is S/(1 − εS⁻¹/2), S = α²λ + σ².
    """
    if not isinstance(level, Level):
        refuse("level", level, "a Level, e.g. Level.from_snr(10.0)")
    size = real("size", size, "a number > 0", low=0.0)
    return Table.from_steps([_langevin(level, size)] * integer("steps", steps, 1), LANGEVIN)


@on_grid
def predictor_corrector(grid: Grid, size: float = 0.5) -> Table:
    """2K steps: ddpm's step to each level, then one Langevin step there of ε = size·(1 − γ/γ′)·σ′².

    ε shrinks with the grid.  At a fixed relative size, which is what is in use, the corrector's own bias stays as K grows.
    """
    size = real("size", size, "a number > 0", low=0.0)
    predictor = ddpm(grid)
    steps: list[Step] = []
    for k in range(grid.steps):
        gained = float((grid.snr[k + 1] - grid.snr[k]) / grid.snr[k + 1])
        steps += [predictor.step(k), _langevin(grid.levels[k + 1], size * gained)]
    return Table.from_steps(steps, PREDICTOR_CORRECTOR)


def _langevin(level: Level, size: float) -> Step:
    """x′ = (1 − size) x + size·α m̂ + √(2 size) σ z: the score written as (αm̂ − x)/σ²."""
    here = (Stage(level, 1.0, ()),)
    return Step(level, level, here, 1.0 - size, (size * level.alpha,), math.sqrt(2.0 * size) * level.sigma)

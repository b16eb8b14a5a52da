"""EDM's stochastic sampler: noise is added first, then a Heun step runs from the higher level (Karras et al. 2022)."""

from __future__ import annotations

import math

import numpy as np

from targets import Level
from targets.arguments import real
from targets.channel import PROCESSES
from verify.grid import Grid, on_grid
from verify.samplers.runge_kutta import HEUN, flow_steps
from verify.step import Method, Step, Table

EDM_CHURN = Method(
    name="edm_churn",
    formula="ς^ = (1 + c) ς, u^ = u + √(ς^² − ς²) z, then Heun from ς^ to ς';  c = min(churn/K, √2 − 1)",
    source="Karras et al. 2022, Algorithm 2 with S_noise = 1 at every level",
    freezes="nothing: second order along the flow",
    order=2,
    identities=frozenset({"point_mass", "translation", "gauge"}),
)


@on_grid
def edm_churn(grid: Grid, churn: float = 10.0) -> Table:
    """2K steps for the K of the grid: noise alone up to ς̂ = (1 + c)ς, then Heun's method from there to the next level.

    c = min(churn/K, √2 − 1), so that the noise added in all stays as the grid is refined.
    """
    churn = real("churn", churn, "a number > 0; for none use heun", low=0.0)
    rate = min(churn / grid.steps, math.sqrt(2.0) - 1.0)
    process = PROCESSES[grid.process]
    snr = grid.snr[:-1] / (1.0 + rate) ** 2
    raised = [Level(float(a), float(s)) for a, s in zip(process.alpha(snr), process.sigma(snr), strict=True)]
    steps: list[Step] = []
    for k, high in enumerate(raised):
        low, ahead = grid.levels[k], grid.levels[k + 1]
        added = low.sigma / low.alpha * math.sqrt(rate * (2.0 + rate)) * high.alpha
        steps.append(Step(low, high, (), high.alpha / low.alpha, (), added))
        pair = Grid(np.array([snr[k], grid.snr[k + 1]]), grid.process)
        one = np.ones(1)
        heun = flow_steps(HEUN, pair, pair.snr[1:], [0.0 * one, one], [[], [one]], [0.5 * one, 0.5 * one]).step(0)
        steps.append(Step(high, ahead, heun.stages, heun.state, heun.outputs, 0.0))
    return Table.from_steps(steps, EDM_CHURN)

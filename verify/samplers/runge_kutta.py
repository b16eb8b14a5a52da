"""Explicit Runge–Kutta methods for the probability flow in u = x/α and ς = σ/α:  du/dς = (u − m̂)/ς.

    u_i  =  u + Δ Σ_{j<i} a_ij k_j,    k_i = (u_i − m̂(u_i, ς + c_i Δ))/(ς + c_i Δ),    u′ = u + Δ Σ_i b_i k_i,   Δ = ς′ − ς

    method             c                       a                    b
    heun               0, 1                    1                    ½, ½                 Karras et al. 2022, Algorithm 1
    dpm_solver_2       0, 1/(1 + √(ς′/ς))      c                    0, 1                 Lu et al. 2022, r_1 = ½
    randomised         0, U(0, 1)              c                    0, 1                 Gupta, Cai & Chen 2024
    rk3 (a starter)    0, ⅓, ⅔                 ⅓;  0, ⅔             ¼, 0, ¾              Heun 1900

DPM-Solver-2's midpoint is the geometric mean √(ςς′): ς + cΔ with the c above.  All of them are exact on a point mass, where
(u − m)/ς is constant along the flow.
"""

from __future__ import annotations

import numpy as np

from targets.arguments import integer
from targets.channel import PROCESSES
from verify.grid import Grid, on_grid
from verify.step import Method, StageArrays, Table

FLOW_IDENTITIES = frozenset({"point_mass", "translation", "gauge", "constant_bias"})
SECOND = {"freezes": "nothing: second order along the flow", "order": 2, "identities": FLOW_IDENTITIES}

HEUN = Method(
    name="heun",
    formula="u' = u + Δ (k_1 + k_2)/2 in u = x/α, ς = σ/α",
    source="Karras et al. 2022, Algorithm 1",
    **SECOND,
)
DPM_SOLVER_2 = Method(
    name="dpm_solver_2",
    formula="u' = u + Δ k(√(ςς')) in u = x/α, ς = σ/α",
    source="Lu et al. 2022 (2206.00927), DPM-Solver-2 with r_1 = 1/2",
    **SECOND,
)
RANDOMISED = Method(
    name="randomised_midpoint",
    formula="u' = u + Δ k(ς + cΔ), c ~ U(0, 1) drawn once a step",
    source="Shen & Lee 2019; Gupta, Cai & Chen 2024 (2406.00924) for diffusion",
    freezes="nothing: unbiased in the midpoint",
    order=1.5,
    identities=FLOW_IDENTITIES,
)
RK3 = Method(
    name="rk3",
    formula="u' = u + Δ (k_1 + 3 k_3)/4",
    source="Heun 1900, third order",
    freezes="nothing: third order along the flow",
    order=3,
    identities=FLOW_IDENTITIES,
)


@on_grid
def heun(grid: Grid) -> Table:
    """Trapezoidal rule in σ/α after an Euler step: two evaluations, the second at the next level."""
    one = np.ones(grid.steps)
    return flow_steps(HEUN, grid, grid.snr[1:], [0.0 * one, one], [[], [one]], [0.5 * one, 0.5 * one])


@on_grid
def dpm_solver_2(grid: Grid) -> Table:
    """Midpoint rule in σ/α at the geometric mean of the two levels: two evaluations."""
    return midpoint(DPM_SOLVER_2, grid, grid.snr[1:])


@on_grid
def randomised_midpoint(grid: Grid, seed: int = 0) -> Table:
    """Midpoint rule in σ/α at a uniformly random point of each step, drawn from `seed` and shared by all chains.

    A table is one draw of the algorithm and every carrier takes it; the sampler's law is the mixture over seeds, whose KL
    is at most the mean of the draws' KL (convexity).  Its local error is unbiased, so that the error of the *mean* over
    seeds is of second order though a single draw's is of order 3/2.
    """
    place = np.random.default_rng(integer("seed", seed, 0)).uniform(size=grid.steps)
    one = np.ones(grid.steps)
    return flow_steps(RANDOMISED, grid, grid.snr[1:], [0.0 * one, place], [[], [place]], [0.0 * one, one])


@on_grid
def rk3(grid: Grid) -> Table:
    """Heun's third-order method in σ/α: three evaluations; the starter of exponential Adams–Bashforth 3."""
    one = np.ones(grid.steps)
    return flow_steps(
        RK3,
        grid,
        grid.snr[1:],
        [0.0 * one, one / 3.0, 2.0 * one / 3.0],
        [[], [one / 3.0], [0.0 * one, 2.0 * one / 3.0]],
        [0.25 * one, 0.0 * one, 0.75 * one],
    )


def midpoint(method: Method, grid: Grid, reached: np.ndarray, noise: np.ndarray | None = None) -> Table:
    """The midpoint rule from each level to the snr `reached`, at the geometric mean, then `noise` (in units of x/α)."""
    one = np.ones(grid.steps)
    place = one / (1.0 + np.sqrt(np.sqrt(grid.snr[:-1] / reached)))
    return flow_steps(method, grid, reached, [0.0 * one, place], [[], [place]], [0.0 * one, one], noise)


def flow_steps(
    method: Method,
    grid: Grid,
    reached: np.ndarray,
    nodes: list[np.ndarray],
    inner: list[list[np.ndarray]],
    weights: list[np.ndarray],
    noise: np.ndarray | None = None,
) -> Table:
    """Runge–Kutta steps from each level to the snr `reached`, written as coefficients of the state and the outputs.

    Each k_i is a linear form in (u, m̂_1, …, m̂_S), a row of shape (K, 1 + S); c, a and b may differ from step to step.
    The state is scaled by α at the level where the step ends, so that with `noise` > 0 the sum lives there.
    """
    steps, count = grid.steps, len(nodes)
    process = PROCESSES[grid.process]
    start = grid.snr[:-1] ** -0.5
    delta = np.expm1(0.5 * np.log(grid.snr[:-1] / reached)) * start
    unit = np.eye(1 + count)
    slopes: list[np.ndarray] = []
    stages = []
    for i, (place, row) in enumerate(zip(nodes, inner, strict=True)):
        at = start + place * delta
        form = np.broadcast_to(unit[0], (steps, 1 + count)).copy()
        for weight, slope in zip(row, slopes, strict=True):
            form += (weight * delta)[:, None] * slope
        slopes.append((form - unit[1 + i]) / at[:, None])
        snr = np.where(place == 0.0, grid.snr[:-1], np.where(place == 1.0, reached, at**-2.0))
        alpha = np.asarray(process.alpha(snr))
        scale = alpha / grid.alpha[:-1]
        stages.append(
            StageArrays(alpha, np.asarray(process.sigma(snr)), scale * form[:, 0], alpha[:, None] * form[:, 1 : 1 + i])
        )
    after = np.broadcast_to(unit[0], (steps, 1 + count)).copy()
    for weight, slope in zip(weights, slopes, strict=True):
        after += (weight * delta)[:, None] * slope
    ahead = grid.alpha[1:]
    return Table(
        method,
        grid.snr,
        grid.alpha,
        grid.sigma,
        tuple(stages),
        ahead / grid.alpha[:-1] * after[:, 0],
        ahead[:, None] * after[:, 1:],
        np.zeros(steps) if noise is None else ahead * noise,
    )

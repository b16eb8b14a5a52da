"""Euler–Maruyama for the reverse Ornstein–Uhlenbeck SDE."""

from __future__ import annotations

import numpy as np

from verify.grid import Grid, on_grid
from verify.step import Method, Table

EULER_MARUYAMA = Method(
    name="euler_maruyama",
    formula="x' = x + Δ(x + 2 s(x)) + √(2Δ) z,  Δ = t − t'",
    source="Maruyama 1955; Song et al. 2021, reverse-diffusion sampler",
    freezes="drift",
    order=1,
    references=("reverse", "flow+noise"),
)


def coefficients(
    ou_time: np.ndarray, alpha: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, s) with the score written as (αm − x)/σ²."""
    delta = -np.diff(ou_time)
    gain = 2.0 * delta / sigma[:-1] ** 2
    return 1.0 + delta - gain, gain * alpha[:-1], np.sqrt(2.0 * delta)


@on_grid
def euler_maruyama(grid: Grid) -> Table:
    """x′ = x + Δ(x + 2ŝ(x)) + √(2Δ) z on a vp grid."""
    return Table.one_stage(EULER_MARUYAMA, grid, *coefficients(grid.ou_time, grid.alpha, grid.sigma))

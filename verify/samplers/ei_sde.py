"""Exponential integrator of the reverse Ornstein–Uhlenbeck SDE with the frozen score."""

from __future__ import annotations

import numpy as np

from verify.grid import Grid, on_grid
from verify.step import Method, Table

EI_SDE = Method(
    name="ei_sde",
    formula="x' = e^Δ x + 2(e^Δ − 1) s(x) + √(e^2Δ − 1) z,  Δ = t − t'",
    source="Benton et al. 2308.03686 (reverse SDE, score held over a step)",
    freezes="score",
    order=1,
    identities=frozenset({"translation"}),
    references=("reverse", "flow+noise"),
)


def coefficients(
    ou_time: np.ndarray, alpha: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, s) with the score written as (αm − x)/σ²."""
    delta = -np.diff(ou_time)
    gain = 2.0 * np.expm1(delta) / sigma[:-1] ** 2
    return np.exp(delta) - gain, gain * alpha[:-1], np.sqrt(np.expm1(2.0 * delta))


@on_grid
def ei_sde(grid: Grid) -> Table:
    """x′ = e^Δ x + 2(e^Δ − 1) ŝ(x) + √(e^{2Δ} − 1) z on a vp grid."""
    return Table.one_stage(EI_SDE, grid, *coefficients(grid.ou_time, grid.alpha, grid.sigma))

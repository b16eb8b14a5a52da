"""Exponential integrator of the reverse Ornstein–Uhlenbeck SDE with the frozen relative score s̃ = ∇log(p_t/N(0, 1))."""

from __future__ import annotations

import numpy as np

from verify.grid import Grid, on_grid
from verify.step import Method, Table

RELATIVE_SCORE = Method(
    name="relative_score",
    formula="x' = e^{−Δ} x + 2(1 − e^{−Δ})(s(x) + x) + √(1 − e^{−2Δ}) z,  Δ = t − t'",
    source="Conforti, Durmus & Silveri 2308.12240 (reverse SDE −x + 2s̃, s̃ held over a step)",
    freezes="relative score",
    order=1,
    references=("reverse", "flow+noise"),
)


def coefficients(
    ou_time: np.ndarray, alpha: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, s) with the relative score written as s + x = γ(m/α − x), γ = α²/σ²."""
    delta = -np.diff(ou_time)
    gain = -2.0 * np.expm1(-delta) / sigma[:-1] ** 2
    return np.exp(-delta) - gain * alpha[:-1] ** 2, gain * alpha[:-1], np.sqrt(-np.expm1(-2.0 * delta))


@on_grid
def relative_score(grid: Grid) -> Table:
    """x′ = e^{−Δ} x + 2(1 − e^{−Δ})(ŝ(x) + x) + √(1 − e^{−2Δ}) z on a vp grid; N(0, 1) is kept exactly."""
    return Table.one_stage(RELATIVE_SCORE, grid, *coefficients(grid.ou_time, grid.alpha, grid.sigma))

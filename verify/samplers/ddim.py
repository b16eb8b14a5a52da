"""Probability flow with the frozen denoiser (DDIM, η = 0): Euler's method in σ/α."""

from __future__ import annotations

from verify.grid import Grid
from verify.step import Method, Table

DDIM = Method(
    name="ddim",
    formula="x' = (σ'/σ) x + (α' − α σ'/σ) m",
    source="Song, Meng & Ermon 2021, eq. 12 with η = 0",
    freezes="denoiser",
    order=1,
    identities=frozenset({"point_mass", "translation", "gauge", "constant_bias"}),
)


def ddim(grid: Grid) -> Table:
    """x′ = (σ′/σ) x + (α′ − α σ′/σ) m̂(x): deterministic, one evaluation."""
    ratio = grid.sigma[1:] / grid.sigma[:-1]
    return Table.one_stage(DDIM, grid, ratio, grid.alpha[1:] - grid.alpha[:-1] * ratio, 0.0)

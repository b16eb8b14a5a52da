"""Song, Meng and Ermon's family: probability flow with the frozen denoiser (η = 0) up to ancestral sampling (η = 1)."""

from __future__ import annotations

import math

import numpy as np

from targets.arguments import real
from verify.grid import Grid, on_grid
from verify.step import Method, Table

DDIM = Method(
    name="ddim",
    formula="x' = (σ'/σ) x + (α' − α σ'/σ) m",
    source="Song, Meng & Ermon 2021, eq. 12 with η = 0",
    freezes="denoiser",
    order=1,
    identities=frozenset({"point_mass", "translation", "gauge", "constant_bias"}),
)
STOCHASTIC = Method(
    name="stochastic_ddim",
    formula="x' = α' m + √(σ'² − s²) (x − α m)/σ + s z,  s = η σ'√(1 − γ/γ')",
    source="Song, Meng & Ermon 2021, eq. 12",
    freezes="denoiser",
    order=1,
    identities=frozenset({"point_mass", "translation", "gauge"}),
    references=("reverse", "flow+noise"),
)


@on_grid
def ddim(grid: Grid) -> Table:
    """x′ = (σ′/σ) x + (α′ − α σ′/σ) m̂(x): deterministic, one evaluation."""
    ratio = grid.sigma[1:] / grid.sigma[:-1]
    return Table.one_stage(DDIM, grid, ratio, grid.alpha[1:] - grid.alpha[:-1] * ratio, 0.0)


@on_grid
def stochastic_ddim(grid: Grid, eta: float = 0.5) -> Table:
    """x′ = α′ m̂ + √(σ′² − s²)(x − α m̂)/σ + s z with s = η σ′√(1 − γ/γ′), 0 < η ≤ 1.

    η = 1 is ddpm.  √(σ′² − s²) = σ′√(γ/γ′ + (1 − η²)(1 − γ/γ′)).  For η = 0 use `ddim`, which has no chain KL.
    """
    eta = real("eta", eta, "a number in (0, 1]; for eta = 0 use ddim", low=0.0, high=math.nextafter(1.0, 2.0))
    gained = np.diff(grid.snr) / grid.snr[1:]
    kept = np.sqrt(grid.snr[:-1] / grid.snr[1:] + (1.0 - eta**2) * gained)
    ratio = grid.sigma[1:] / grid.sigma[:-1] * kept
    noise = eta * grid.sigma[1:] * np.sqrt(gained)
    return Table.one_stage(STOCHASTIC, grid, ratio, grid.alpha[1:] - grid.alpha[:-1] * ratio, noise)

"""Ancestral DPM-Solver-2: a second-order flow step below the next level, then noise back up to it."""

from __future__ import annotations

import numpy as np

from verify.grid import Grid, on_grid
from verify.samplers.runge_kutta import midpoint
from verify.step import Method, Table

DPM_SOLVER_2_ANCESTRAL = Method(
    name="dpm_solver_2_ancestral",
    formula="DPM-Solver-2 from ς to ς'²/ς, then √(ς'² − ς'⁴/ς²) of noise, in u = x/α",
    source="Crowson 2022, k-diffusion sample_dpm_2_ancestral with η = 1",
    freezes="nothing: second order along the flow",
    order=2,
    identities=frozenset({"point_mass", "translation", "gauge", "constant_bias"}),
    references=("reverse", "flow+noise"),
)


@on_grid
def dpm_solver_2_ancestral(grid: Grid) -> Table:
    """Flow by the midpoint rule down to ς_down = ς′²/ς, i.e. snr γ′²/γ, then noise ς_up = ς′√(1 − γ/γ′).

    The split is the posterior's, ς_up² + ς_down² = ς′²; the flow part is second order, so the chain KL against flow+noise
    falls like K^{-4}.
    """
    up = np.sqrt(np.diff(grid.snr) / grid.snr[1:] / grid.snr[1:])
    return midpoint(DPM_SOLVER_2_ANCESTRAL, grid, grid.snr[1:] ** 2 / grid.snr[:-1], up)

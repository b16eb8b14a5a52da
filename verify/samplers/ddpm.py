"""Ancestral sampling with the frozen denoiser (DDPM with the posterior variance)."""

from __future__ import annotations

import numpy as np

from verify.grid import Grid, on_grid
from verify.step import Method, Table

DDPM = Method(
    name="ddpm",
    formula="x' = (α/α')(σ'/σ)² x + α'(1 − γ/γ') m(x) + σ'√(1 − γ/γ') z",
    source="Ho, Jain & Abbeel 2020, eq. 7; stochastic DDIM with η = 1",
    freezes="denoiser",
    order=1,
    identities=frozenset({"point_mass", "translation", "gauge", "constant_bias"}),
    references=("reverse", "flow+noise"),
)


def posterior(snr: np.ndarray, alpha: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, B, σ_q): the true next state given the present one and X is N(A x + B X, σ_q²).

    A = (α/α′)(σ′/σ)², B = α′(1 − γ/γ′), σ_q² = σ′²(1 − γ/γ′).  Written with γ′ − γ, never 1 − γ/γ′, which cancels.
    """
    gained = np.diff(snr) / snr[1:]
    a = alpha[:-1] / alpha[1:] * (sigma[1:] / sigma[:-1]) ** 2
    return a, alpha[1:] * gained, sigma[1:] * np.sqrt(gained)


@on_grid
def ddpm(grid: Grid) -> Table:
    """x′ = A x + B m̂(x) + σ_q z: the true reverse kernel with X replaced by the denoiser.

    The same law as Euler's method for dY = m dγ + dW, Y = γX + W_γ, so its chain KL against the reverse chain is its path
    KL.  The variance is the posterior's, σ_q²; the other one in circulation, σ′²-free β = 1 − (α/α′)², gives another
    sampler that does not reproduce a point mass.
    """
    return Table.one_stage(DDPM, grid, *posterior(grid.snr, grid.alpha, grid.sigma))

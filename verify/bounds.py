"""Bounds on KL divergences: formula, constants where they are known, assumptions.

Published bounds that are stated up to a universal constant are returned without it, for ratios and exponents only.
"""

from __future__ import annotations

import numpy as np

from targets import Estimate, Target
from verify.grid import Grid
from verify.step import Table


def frozen_denoiser(table: Table, information: float) -> float:
    """Discretisation part of ddpm's path KL ≤ κ I(γ_K), κ = max_k h_k/γ_k: no dimension in it.  Proved by us, any grid.

    ½ Σ h_k (M_k − M_{k+1}) ≤ ½ κ Σ γ_k (M_k − M_{k+1}) ≤ ½ κ ∫ γ D dγ ≤ κ I(γ_K); and I ≤ H for a discrete law.
    In the spirit of arXiv 2601.21943; its own constants are not in our sources.
    """
    return float((np.diff(table.snr) / table.snr[:-1]).max()) * information


def benton(grid: Grid, dim: int) -> float:
    """κ²dK + κdT, without its constant (Benton et al. 2308.03686), κ = max_k h_k/min(1, t_k) in OU time.

    Discretisation part, up to a universal constant, of the path KL of ei_sde when E‖X‖² is of order d.
    """
    kappa = _relative_step(grid)
    return kappa**2 * dim * grid.steps + kappa * dim * float(grid.ou_time[0])


def jain_zhang(grid: Grid, dim: int) -> float:
    """d²c³K, without its constant (arXiv 2508.16306, Theorem 3.1), c = max_k h_k/min(1, t_k) in OU time.

    Discretisation part, up to a universal constant, of the chain KL against flow+noise.
    """
    return dim**2 * _relative_step(grid) ** 3 * grid.steps


def relative_fisher(law: Target, snr: np.ndarray) -> Estimate:
    """I = E‖∇log(p/N(0, 1))‖² of the vp state at each snr, (K,): γ {d − (1 + γ) mmse(γ) + (E‖X‖² − d)/(1 + γ)}."""
    snr = np.asarray(snr, dtype=np.float64)
    mmse = law.mmse(snr)
    value = snr * (law.dim - (1.0 + snr) * mmse.value + (law.second_moment - law.dim) / (1.0 + snr))
    scale = snr * (1.0 + snr)
    return Estimate(value, scale * mmse.stderr, scale * np.abs(mmse.bias), f"mmse curve by {mmse.method}")


def conforti(grid: Grid, law: Target) -> Estimate:
    """h (I_K − I_0), h = max_k (t_k − t_{k+1}), I the relative Fisher information: no constant, any grid in OU time.

    Discretisation part of the path KL of relative_score (Conforti, Durmus & Silveri 2308.12240).  Proved by us: with
    s̃ = ∇log(p_t/N(0, 1)) and u = t_k − t, E[s̃_t given x_k] = e^u s̃_k gives E‖s̃_t − s̃_k‖² = I(t) − I_k − 2(e^u − 1)I_k
    ≤ I_{k+1} − I_k, I rising as t falls; the step is its integral over u.
    """
    ends = relative_fisher(law, grid.snr[[0, -1]])
    longest = float((-np.diff(grid.ou_time)).max())
    stderr, bias = float(np.hypot(*np.broadcast_to(ends.stderr, 2))), float(np.broadcast_to(ends.bias, 2).sum())
    return Estimate(longest * float(np.diff(ends.value)[0]), longest * stderr, longest * bias, ends.method)


def _relative_step(grid: Grid) -> float:
    times = grid.ou_time
    return float((-np.diff(times) / np.minimum(1.0, times[:-1])).max())

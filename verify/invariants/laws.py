"""The laws on which checks run: uncentred, anisotropic, curved; and starts from their exact law at a level.

    x = α_0 X + σ_0 Z,     m(y) = Σ_i r_i(y) [μ_i + α C_i (α² C_i + σ²)⁻¹ (y − α μ_i)]

Centred, isotropic or unit-variance laws would hide errors: a wrong sign of the mean, two coordinates exchanged, a step that
happens to be exact on N(0, 1).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from targets import Gaussian, GaussianMixture, Level, Target, get
from verify.audit.contract import Denoiser
from verify.grid import Grid
from verify.invariants.subject import DIM, ROWS, gaussians


def curved() -> GaussianMixture:
    """Two unlike components in R^DIM, neither centred nor aligned with each other."""
    tilt = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]])
    return GaussianMixture([0.65, 0.35], [[1.0, -0.5, 0.3], [-0.8, 0.4, 1.2]], [0.2 * tilt, np.diag([0.05, 0.4, 0.1])])


def line() -> Target:
    """Three unlike components on the line, uncentred."""
    return get("curved_mixture")


def skewed() -> Gaussian:
    """An uncentred Gaussian in the plane with variances 0.3 and 2, correlated."""
    return Gaussian([0.7, -0.9], [[0.6, 0.6], [0.6, 1.7]])


def denoiser_of(target: Target) -> Denoiser:
    """Its denoiser for states of any floating dtype and device: computed in float64, returned as asked."""

    def denoiser(y: Tensor, level: Level) -> Tensor:
        here = target if y.device == target.mean.device else target.to(device=y.device)
        return here.denoiser(y.to(torch.float64), level).to(y.dtype)

    return denoiser


def constant(value: Tensor) -> Denoiser:
    """The denoiser of the point mass at `value` (DIM,)."""

    def denoiser(y: Tensor, _level: Level) -> Tensor:
        return value.to(y).expand_as(y).clone()

    return denoiser


def moved(denoiser: Denoiser, shift: Tensor) -> Denoiser:
    """Of the law moved by `shift`: m(y − α·shift) + shift."""

    def translated(y: Tensor, level: Level) -> Tensor:
        return denoiser(y - level.alpha * shift, level) + shift

    return translated


def turned(denoiser: Denoiser, matrix: Tensor) -> Denoiser:
    """Of the law turned by the orthogonal `matrix`: R m(Rᵀ y), rows."""

    def rotated(y: Tensor, level: Level) -> Tensor:
        return denoiser(y @ matrix, level) @ matrix.T

    return rotated


def starts(grid: Grid, rows: int = ROWS) -> Tensor:
    """Fixed draws (rows, DIM) of the noised law `curved` at the first level."""
    level = grid.levels[0]
    clean = curved().sample(rows, torch.Generator().manual_seed(11))
    return level.alpha * clean + level.sigma * gaussians(rows, DIM, seed=12)

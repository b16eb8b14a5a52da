"""Principal directions of a law from draws of it: what a network's input layer starts from.

Directions come from one half of the draws and the variances along them from the other: those of the same draws would be
too large by up to (1 + √(d/n))² where the draws are fewer than the coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from targets import Target
from verify.oracle.sampled import stream

DRAWS = 2048
"""Draws in each half; a network sees no more directions than that."""


@dataclass(frozen=True, eq=False)
class Principal:
    """`mean` (d,), orthonormal directions as rows of `basis` (r, d), `variances` along them (r,), mean variance across.

    `widest`: the largest ‖X − mean‖ that was drawn.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    rest: float
    widest: float


def principal(target: Target, rank: int, seed: int) -> Principal:
    """The `rank` leading principal directions of 2,048 draws, float64 on the CPU."""
    draws = target.sample(2 * DRAWS, stream(seed, "principal directions", target)).cpu().double()
    mean = draws.mean(0)
    first, second = (draws - mean).split(DRAWS)
    if target.dim <= DRAWS:
        basis = torch.linalg.eigh(first.mT @ first).eigenvectors[:, -rank:].flip(1).mT
    else:
        weights = torch.linalg.eigh(first @ first.mT).eigenvectors[:, -rank:].flip(1)
        basis = torch.linalg.qr(first.mT @ weights).Q.mT
    variances = (second @ basis.mT).square().mean(0)
    across = float(second.square().sum(1).mean() - variances.sum())
    rest = max(across, 0.0) / max(target.dim - rank, 1)
    return Principal(mean, basis.contiguous(), variances, rest, float((draws - mean).norm(dim=1).max()))

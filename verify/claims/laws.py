"""The laws that claims are checked on: built once a process, so that each curve is computed once."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from targets import GaussianMixture, Target, get

QUICK, FULL = 64, 256
"""Points in each of 32 replicates where a curve is sampled."""


@cache
def law(name: str, full: bool = False, *, finer: int = 1, **parameters: Any) -> Target:
    """`get(name, **parameters)` with its curve sampled at `finer` times `QUICK` or `FULL` points (digits: a quarter)."""
    points = (FULL if full else QUICK) * finer
    return get(name, **parameters).refined(points // 4 if name == "digits" else points)


@cache
def plane_mixture() -> GaussianMixture:
    """Three components in the plane with unlike, tilted covariances: not Gaussian, no product in any coordinates."""
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
    spread = [torch.diag(torch.tensor(v, dtype=torch.float64)) for v in ([0.3, 0.05], [0.1, 0.4], [0.08, 0.15])]
    covariances = torch.stack([spread[0], turn @ spread[1] @ turn.T, turn.T @ spread[2] @ turn])
    return GaussianMixture([0.5, 0.3, 0.2], [[-1.0, 0.2], [0.9, 0.7], [0.4, -1.1]], covariances)

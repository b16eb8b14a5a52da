"""What the tests of the diffusers adapter share: starts, paired noise, the simplest denoiser."""

import torch

from verify.audit.draws import Draws

WINDOW = (0.02, 50.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def starts(law, grid, count, seed=1):
    level, draws = grid.levels[0], generator(seed)
    noise = torch.randn(count, law.dim, generator=draws, dtype=torch.float64)
    return level.alpha * law.sample(count, draws) + level.sigma * noise


def paired(rows, dim, *, twice=False, only=None):
    """Draws whose n-th variable is the n-th of a fixed list; `twice`: the library draws a step's noise two times."""
    noise = torch.randn(64, rows, dim, generator=generator(11), dtype=torch.float64)

    def supply(number, shape, dtype, _device):
        one = noise[(number + 1) // 2 if twice else number]
        return (one if only is None else one[only : only + 1]).reshape(shape).to(dtype)

    return Draws(supply)


def standard(y, at):
    """Denoiser of N(0, 1)."""
    return at.alpha * y / (at.alpha**2 + at.sigma**2)

"""Oracles whose error moments are means over draws of the true law, returned with their error.

    E‖ε‖², E⟨y, ε⟩, E⟨m, ε⟩,     y = αX + σZ,  ε = m̂(y) − m(y)

m is the exact denoiser, so that E⟨m, ε⟩ = E⟨X, ε⟩ is taken without the noise of X about m.  The same draws of X and Z serve
every level: sums over a grid's levels get their standard error from the same replicates.  The standard error is that of
what the draws see: an error that lives where a single draw rarely falls is missed with its error.
"""

from __future__ import annotations

import numpy as np
import torch

from targets import Level, Target
from targets.arguments import integer
from verify.oracle.base import ErrorMoments, Oracle

REPLICATES = 32

MOST_ENTRIES = 2**22
"""Entries of the states that are held at once; a replicate is never split."""


class SampledOracle(Oracle):
    """An oracle whose moments are means over 32 replicates of `points` draws each, from a stream of `seed`."""

    def __init__(self, target: Target, *, points: int, seed: int) -> None:
        super().__init__(target)
        self.points, self.seed = integer("points", points, 2), integer("seed", seed, 0)
        self._known: dict[Level, np.ndarray] = {}

    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        levels = [Level(float(a), float(s)) for a, s in zip(alpha, sigma, strict=True)]
        rows = np.stack([self._rows(level) for level in levels], axis=-1)
        return ErrorMoments(*rows, draws=REPLICATES * self.points)

    def _rows(self, at: Level) -> np.ndarray:
        """The three moments with every replicate and with each one left out: shape (3, 1 + REPLICATES)."""
        if at not in self._known:
            draws = stream(self.seed, "moments", self.target)
            counts = together(self.points * self.target.dim)
            self._known[at] = left_out([self._replicates(at, count, draws) for count in counts])
        return self._known[at]

    def _replicates(self, at: Level, count: int, draws: torch.Generator) -> np.ndarray:
        """Means of ‖ε‖², ⟨y, ε⟩ and ⟨m, ε⟩ over each of the next `count` replicates: shape (3, count)."""
        clean = self.target.sample(count * self.points, draws)
        noise = torch.randn(clean.shape, generator=draws, dtype=clean.dtype, device=clean.device)
        y = at.alpha * clean + at.sigma * noise
        exact = self.target.denoiser(y, at)
        error = self.error(y, exact, at)
        if error is None:
            return np.zeros((3, count))
        products = torch.stack([(other * error).sum(-1) for other in (error, y, exact)])
        return products.reshape(3, count, self.points).mean(-1).cpu().numpy()


def together(entries: int) -> list[int]:
    """How many replicates of so many entries each are drawn at once, until there are 32."""
    most = max(1, MOST_ENTRIES // entries)
    return [min(most, REPLICATES - done) for done in range(0, REPLICATES, most)]


def left_out(means: list[np.ndarray]) -> np.ndarray:
    """The mean of all replicates and with each one left out, (…, 33), from their means in pieces (…, count)."""
    every = np.concatenate(means, axis=-1)
    total = every.sum(-1, keepdims=True)
    return np.concatenate([total / REPLICATES, (total - every) / (REPLICATES - 1)], axis=-1)


def stream(seed: int, use: str, target: Target) -> torch.Generator:
    """A generator on the target's device whose numbers are shared with no other use of the same seed."""
    state = np.random.SeedSequence([seed, *use.encode()]).generate_state(1, np.uint64)[0]
    return torch.Generator(device=target.mean.device).manual_seed(int(state) >> 1)

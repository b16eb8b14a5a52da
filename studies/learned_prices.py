"""ddpm's path KL on a grid, of the exact denoiser and of a network, and its ratio to that of another grid.

Grids of one network are priced by one mmse curve and one error curve, so that ratios are taken replicate by replicate: their
errors are much smaller than those of the two prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studies.dimension_scaling import numbers
from studies.learned_laws import Learner
from studies.store import Row
from targets import Estimate
from verify import Grid, kl, samplers
from verify.kl.frozen import frozen_denoiser


@dataclass(frozen=True, eq=False)
class Price:
    """Path KL of the exact denoiser and what the network's error adds, with their replicates."""

    exact: Estimate
    added: Estimate
    exact_rows: np.ndarray
    added_rows: np.ndarray

    @classmethod
    def of(cls, learner: Learner, grid: Grid) -> Price:
        """The price of a grid, starting from the true law."""
        table = samplers.ddpm(grid)
        return cls(
            kl.path(learner.target, table),
            learner.error.cost(grid),
            frozen_denoiser(learner.target, table)[0].sum(1),
            learner.error.at(grid.snr[:-1]) @ (0.5 * np.diff(grid.snr)),
        )

    def columns(self, adaptive: Price | None) -> Row:
        """Both path KLs, and those of the loss-adaptive grid over them, where there is one."""
        own = {
            "network": float(self.exact.value) + float(self.added.value),
            "network_stderr": float(np.hypot(self.exact.stderr, self.added.stderr)),
            "network_bias": float(self.exact.bias + self.added.bias),
        }
        found: Row = {**numbers(self.exact), **own}
        if adaptive is None:
            return found
        for name, kept in (("ratio", 0.0), ("network_ratio", 1.0)):
            for suffix, value in adaptive._over(self, kept).items():
                found[name + suffix] = value
        return found

    def _over(self, other: Price, kept: float) -> dict[str, float]:
        """(exact + kept·added) of this grid over the same of another: the two sources of replicates in turn."""
        above, below = self.exact_rows[0] + kept * self.added_rows, other.exact_rows[0] + kept * other.added_rows
        network = Estimate.jackknife(above / below, 0.0, "") if kept else Estimate.exact(1.0)
        above, below = self.exact_rows + kept * self.added_rows[0], other.exact_rows + kept * other.added_rows[0]
        curve = Estimate.jackknife(above / below, 0.0, "")
        relative = sum(
            float(price.exact.bias + kept * price.added.bias) / float(price.exact.value + kept * price.added.value)
            for price in (self, other)
        )
        ratio, apart = float(curve.value), self is not other
        stderr = float(np.hypot(curve.stderr, network.stderr if kept else 0.0))
        return {"": ratio, "_stderr": stderr, "_bias": ratio * relative * apart}

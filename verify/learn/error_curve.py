"""E‖m̂ − m̂′‖² of two denoisers along the noise level, and what it costs in nats.

Measured at levels γ_i on draws of the true law, with replicates, and taken between them by monotone cubic interpolation of
its logarithm in log γ (Fritsch & Butland 1984).  With m̂′ the exact denoiser it is the excess of the loss over the mmse, and

    ½ Σ_k h_k E‖m̂(γ_k) − m(γ_k)‖²   →   ½ ∫ E‖m̂ − m‖² dγ          the floor

is what it adds to ddpm's path KL on a grid, and to that of every discretisation of the reverse SDE as K → ∞ (for the frozen
score Δ E‖ŝ − s‖² with dγ = −2γ(1 + γ) dt): no number of steps goes below it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from targets import ArgumentError, Estimate, Level
from targets.arguments import ascending, integer, real, refuse
from verify.grid import Grid
from verify.oracle import Exact, Oracle
from verify.oracle.sampled import REPLICATES, left_out, stream, together

LEAST = 9
"""Fewest levels between which an error is interpolated."""
EDGE = 1e-6
"""Relative distance beyond the measured levels that counts as rounding."""
NONE = 1e-300
"""What stands for no error at all, which has no logarithm."""
NODES = 1025
"""Places of the trapezoidal rule for the floor."""


class ErrorCurve:
    """E‖first − second‖² at levels `snr` (ascending), over 32 replicates of `points` draws of `first.target`.

    `second`: another oracle of the same target, the exact one if None.
    """

    def __init__(
        self, first: Oracle, second: Oracle | None = None, *, snr: np.ndarray, points: int = 128, seed: int = 2
    ) -> None:
        if not isinstance(first, Oracle):
            refuse("first", first, "an oracle, e.g. verify.learn.Learned(target, network)")
        self.first, self.second = first, Exact(first.target) if second is None else second
        if not isinstance(self.second, Oracle) or self.second.target is not first.target:
            raise ArgumentError(f"second = {second!r}: expected an oracle of the same target, {first.target!r}")
        self.snr = ascending("snr", snr, LEAST)
        self.points, self.seed = integer("points", points, 2), integer("seed", seed, 0)
        self.rows = np.stack([self._measured(value) for value in self.snr.tolist()], axis=-1)
        """Row 0 of all draws, rows 1..32 with one replicate left out: shape (33, levels)."""

    def measured(self) -> Estimate:
        """The error at the levels, with its standard error."""
        return Estimate.jackknife(self.rows, 0.0, f"{REPLICATES * self.points} draws")

    def at(self, snr: np.ndarray) -> np.ndarray:
        """The error at any γ between the measured ones: shape (33, n)."""
        return self._interpolated(np.asarray(snr, dtype=np.float64), 1)

    def floor(self) -> Estimate:
        """½ ∫ E‖first − second‖² dγ over the measured range, nats; bias: what every second level alone would change."""
        snr, weight = self._nodes()
        return self._sum(snr, weight, "floor")

    def floor_rows(self, high: float, every: int = 1) -> np.ndarray:
        """The same up to γ = `high`, with every replicate and with each one left out, shape (33,); from every n-th level.

        Curves of one target, seed and number of points share their draws: ratios of their rows have the errors of ratios.
        """
        snr, weight = self._nodes(real("high", high, "a level of the measured range", low=float(self.snr[0])))
        return self._interpolated(snr, integer("every", every, 1)) @ weight

    def reached(self, level: float) -> float:
        """The γ up to which ½ ∫ E‖first − second‖² dγ stays below `level` nats; at most the last measured one."""
        from scipy.integrate import cumulative_trapezoid

        level, (snr, _) = real("level", level, "a number of nats > 0", low=0.0), self._nodes()
        so_far = cumulative_trapezoid(0.5 * snr * self.at(snr)[0], np.log(snr), initial=0.0)
        return float(np.exp(np.interp(level, so_far, np.log(snr))))

    def cost(self, grid: Grid) -> Estimate:
        """½ Σ_k h_k E‖first − second‖²(γ_k) on a grid, nats."""
        if not isinstance(grid, Grid):
            refuse("grid", grid, "a Grid, e.g. Grid.log_snr(64, snr=(0.01, 100.0))")
        return self._sum(grid.snr[:-1], 0.5 * np.diff(grid.snr), "error on a grid")

    def _nodes(self, high: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Places up to `high` and the weights of ½ ∫ · dγ there."""
        top = float(self.snr[-1]) if high is None else high
        snr = np.geomspace(self.snr[0], top, NODES)
        snr[[0, -1]] = self.snr[0], top
        weight = 0.5 * np.gradient(np.log(snr)) * snr
        weight[[0, -1]] *= 0.5
        return snr, weight

    def _sum(self, snr: np.ndarray, weight: np.ndarray, what: str) -> Estimate:
        rows = self._interpolated(snr, 1) @ weight
        coarse = float(self._interpolated(snr, 2)[0] @ weight)
        return Estimate.jackknife(rows, abs(coarse - float(rows[0])), f"{what}, {REPLICATES * self.points} draws")

    def _interpolated(self, snr: np.ndarray, every: int) -> np.ndarray:
        from scipy.interpolate import PchipInterpolator

        low, high = self.snr[[0, -1]]
        if not (low * (1.0 - EDGE) <= snr.min() and snr.max() <= high * (1.0 + EDGE)):
            refuse(
                "snr",
                (float(snr.min()), float(snr.max())),
                f"levels between the measured ones, {low:.6g} to {high:.6g}",
            )
        chosen = np.unique(np.append(np.arange(0, len(self.snr), every), len(self.snr) - 1))
        knots = np.log(self.snr[chosen])
        curve = PchipInterpolator(knots, self._logarithms[:, chosen], axis=1)
        return np.exp(curve(np.clip(np.log(snr), knots[0], knots[-1])))

    @cached_property
    def _logarithms(self) -> np.ndarray:
        return np.log(np.maximum(self.rows, NONE))

    def _measured(self, snr: float) -> np.ndarray:
        target, at = self.first.target, Level.from_snr(snr, "ve")
        draws = stream(self.seed, "error curve", target)
        means = []
        for count in together(self.points * target.dim):
            clean = target.sample(count * self.points, draws)
            y = clean + at.sigma * torch.randn(clean.shape, generator=draws, dtype=clean.dtype, device=clean.device)
            apart = (self.first.denoiser(y, at) - self.second.denoiser(y, at)).square().sum(-1)
            means.append(apart.reshape(count, self.points).mean(1).cpu().numpy())
        return left_out(means)

"""The probability flow on a line or along a ray: the map that keeps ranks, T = F_half⁻¹ ∘ F_k, from logarithms of both tails.

Survival functions beside distribution functions, each through its logarithm, keep relative accuracy in both tails; the map
is taken backwards, from the flow's endpoint y to x = T⁻¹(y), because T all but jumps where p_half nearly vanishes between
components, and T⁻¹ is flat there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from targets import Level
from targets.quadrature import LineLaw, line_nodes
from targets.ray import Ray
from verify.carry.panels import NODES, PANEL, WEIGHTS, gauss

NEWTON_STEPS = 60
REACH = 14.0

Tails = tuple[np.ndarray, np.ndarray]
"""(log F, log(1 − F))."""


class Ranked(ABC):
    """A law on the line or the half line at one level (α, σ): its density, its tails, its size."""

    low: float
    high: float
    mean: float
    scale: float
    """Standard deviation."""
    narrowest: float

    @abstractmethod
    def log_density(self, x: np.ndarray) -> np.ndarray:
        """log density."""

    @abstractmethod
    def log_tails(self, x: np.ndarray) -> Tails:
        """(log F, log(1 − F)), both with full relative accuracy."""

    @abstractmethod
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights that resolve the law."""

    def quantile(self, tails: Tails, mass: np.ndarray) -> np.ndarray:
        """x with log F(x), log(1 − F(x)) = tails: bracketed Newton on the smaller tail's logarithm.

        Starts at Gaussian quantiles; stops when the mean square of the last change, weighted by `mass`, is 1e-20 of the
        narrowest width's square, after which one more quadratic step would change nothing.
        """
        lower, upper = tails
        left = lower < upper
        wanted = np.minimum(lower, upper)
        low, high = np.full_like(lower, self.low), np.full_like(lower, self.high)
        x = np.clip(self.mean + self.scale * np.where(left, ndtri_exp(wanted), -ndtri_exp(wanted)), low, high)
        for _ in range(NEWTON_STEPS):
            below, above = self.log_tails(x)
            tail = np.where(left, below, above)
            excess = np.where(left, tail - wanted, wanted - tail)
            low, high = np.where(excess < 0, x, low), np.where(excess > 0, x, high)
            proposed = x - excess * np.exp(np.clip(tail - self.log_density(x), -700.0, 700.0))
            slack = 1e-12 * (np.abs(x) + self.narrowest)
            inside = (proposed >= low - slack) & (proposed <= high + slack)
            before, x = x, np.where(excess == 0, x, np.where(inside, proposed, 0.5 * (low + high)))
            if mass @ (x - before) ** 2 <= 1e-20 * self.narrowest**2:
                break
        return x


class RankedMixture(Ranked):
    """A Gaussian mixture on the line seen at (α, σ)."""

    def __init__(self, law: LineLaw, alpha: float, sigma: float) -> None:
        self.weights, self.centres = law.weights, alpha * law.positions
        self.widths = np.sqrt(alpha**2 * law.variances + sigma**2)
        self.low, self.high = (self.centres - 40.0 * self.widths).min(), (self.centres + 40.0 * self.widths).max()
        self.mean = float(self.weights @ self.centres)
        self.scale = float(np.sqrt(self.weights @ (self.widths**2 + (self.centres - self.mean) ** 2)))
        self.narrowest = float(self.widths.min())

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _log_sum(np.log(self.weights / self.widths)[:, None] - 0.5 * self._z(x) ** 2) - 0.5 * np.log(2.0 * np.pi)

    def log_tails(self, x: np.ndarray) -> Tails:
        z, log_weights = self._z(x), np.log(self.weights)[:, None]
        return _log_sum(log_weights + log_ndtr(z)), _log_sum(log_weights + log_ndtr(-z))

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        unit = self.narrowest
        nodes, weights = line_nodes((self.centres - self.centres[0]) / unit, self.widths / unit)
        return nodes * unit + self.centres[0], weights * unit

    def _z(self, x: np.ndarray) -> np.ndarray:
        return (x - self.centres[:, None]) / self.widths[:, None]


class RankedRadius(Ranked):
    """The radius of a rotation-invariant law at (α, σ): tails by quadrature, panels of half a width and a part of one."""

    def __init__(self, law: Ray, alpha: float, sigma: float) -> None:
        self.law, self.at = law, Level(alpha, sigma)
        centres, widths = law.windows(self.at)
        self.low, self.high = max(0.0, (centres - REACH * widths).min()), float((centres + REACH * widths).max())
        self.narrowest = float(widths.min())
        self.edges = np.linspace(self.low, self.high, 2 + int((self.high - self.low) / self.narrowest))
        x, dx = self.nodes()
        mass = np.exp(self.log_density(x)) * dx
        self.mean = float(mass @ x / mass.sum())
        self.scale = float(np.sqrt(mass @ (x - self.mean) ** 2 / mass.sum()))
        panels = mass.reshape(-1, PANEL).sum(1)
        self.below = np.concatenate([[0.0], np.cumsum(panels)])
        self.above = np.concatenate([np.cumsum(panels[::-1])[::-1], [0.0]])

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return self.law.log_density(np.maximum(x, 1e-300), self.at)

    def log_tails(self, x: np.ndarray) -> Tails:
        panel = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.edges) - 2)
        to_left, to_right = self._between(self.edges[panel], x), self._between(x, self.edges[panel + 1])
        with np.errstate(divide="ignore"):
            return np.log(self.below[panel] + to_left), np.log(self.above[panel + 1] + to_right)

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        return gauss([self.edges])

    def _between(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """∫ of the density from `start` to `stop`, at most a panel apart."""
        half = 0.5 * (stop - start)[:, None]
        return (np.exp(self.log_density(start[:, None] + half * (1.0 + NODES))) * half) @ WEIGHTS


def ranked(law: LineLaw | Ray, alpha: float, sigma: float) -> Ranked:
    """The law at (α, σ), with its ranks."""
    return RankedMixture(law, alpha, sigma) if isinstance(law, LineLaw) else RankedRadius(law, alpha, sigma)


def flow_pairs(before: Ranked, after: Ranked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, T(x), probability) at quadrature nodes of T(x) ~ p_half, for the exact flow T from `before` to `after`."""
    y, dy = after.nodes()
    log_density = after.log_density(y)
    relevant = log_density > log_density.max() - 80.0
    y, mass = y[relevant], np.exp(log_density[relevant]) * dy[relevant]
    return before.quantile(after.log_tails(y), mass), y, mass


def _log_sum(terms: np.ndarray) -> np.ndarray:
    """log Σ exp over components (axis 0)."""
    highest = terms.max(0)
    return highest + np.log(np.exp(terms - highest).sum(0))

"""The probability flow on a line or along a ray: the map that keeps ranks, T = F_half⁻¹ ∘ F_k, from logarithms of both tails.

Survival functions beside distribution functions, each through its logarithm, keep relative accuracy in both tails; the map
is taken backwards, from the flow's endpoint y to x = T⁻¹(y), because T all but jumps where p_half nearly vanishes between
components, and T⁻¹ is flat there.  Newton's method starts from Heun's step of the flow backwards,

    x  =  α m̄ + (σ/τ)(y − α_half m̄),     m̄ the mean of the denoiser at y and at the point that it alone leads to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from targets import Level
from targets.quadrature import LineLaw, line_nodes
from targets.ray import Ray
from verify.carry.panels import NODES, PANEL, WEIGHTS, gauss

NEWTON_STEPS = 60
REACH = 14.0

STUCK = 1e-3
"""A Newton step of no length that leaves log F as wrong as this is rounding, of a density near its zero: bisect."""

TINY = 1e-300

TO_LEGENDRE = WEIGHTS[:, None] * np.polynomial.legendre.legvander(NODES, PANEL - 1) * (np.arange(PANEL) + 0.5)
"""Values at a panel's nodes to Legendre coefficients: c = values @ TO_LEGENDRE."""

Tails = tuple[np.ndarray, np.ndarray]
"""(log F, log(1 − F))."""


class Ranked(ABC):
    """A law on the line or the half line at one level (α, σ): its density, its tails, its size."""

    at: Level
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
    def tail(self, x: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(log F where `left`, else log(1 − F); log density) at each x, for Newton's method."""

    @abstractmethod
    def denoiser(self, x: np.ndarray) -> np.ndarray:
        """E[X given x], along the ray where the law has one."""

    @abstractmethod
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights that resolve the law."""

    def quantile(self, tails: Tails, mass: np.ndarray, guess: np.ndarray | None = None) -> np.ndarray:
        """x with log F(x), log(1 − F(x)) = tails: bracketed Newton on the smaller tail's logarithm.

        Starts at `guess`, else at Gaussian quantiles; stops when the mean square of the last change, weighted by `mass`, is
        1e-20 of the narrowest width's square, after which one more quadratic step would change nothing.
        """
        lower, upper = tails
        left = lower < upper
        wanted = np.minimum(lower, upper)
        low, high = np.full_like(lower, self.low), np.full_like(lower, self.high)
        x = np.clip(self._gaussian(wanted, left) if guess is None else guess, low, high)
        for _ in range(NEWTON_STEPS):
            tail, log_density = self.tail(x, left)
            excess = np.where(left, tail - wanted, wanted - tail)
            low, high = np.where(excess < 0, x, low), np.where(excess > 0, x, high)
            proposed = x - excess * np.exp(np.clip(tail - log_density, -700.0, 700.0))
            slack = 1e-12 * (np.abs(x) + self.narrowest)
            inside = (proposed >= low - slack) & (proposed <= high + slack)
            inside &= (np.abs(proposed - x) > slack) | (np.abs(excess) < STUCK)
            before, x = x, np.where(excess == 0, x, np.where(inside, proposed, 0.5 * (low + high)))
            if mass @ (x - before) ** 2 <= 1e-20 * self.narrowest**2:
                break
        return x

    def _gaussian(self, wanted: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Quantiles of the Gaussian of the same mean and variance."""
        from scipy.special import ndtri_exp

        normal = np.asarray(ndtri_exp(wanted))
        return self.mean + self.scale * np.where(left, normal, -normal)


class RankedMixture(Ranked):
    """A Gaussian mixture on the line seen at (α, σ)."""

    def __init__(self, law: LineLaw, alpha: float, sigma: float) -> None:
        self.law, self.at = law, Level(alpha, sigma)
        self.weights, self.centres = law.weights, alpha * law.positions
        self.widths = np.sqrt(alpha**2 * law.variances + sigma**2)
        self.low, self.high = (self.centres - 40.0 * self.widths).min(), (self.centres + 40.0 * self.widths).max()
        self.mean = float(self.weights @ self.centres)
        self.scale = float(np.sqrt(self.weights @ (self.widths**2 + (self.centres - self.mean) ** 2)))
        self.narrowest = float(self.widths.min())

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return _log_sum(np.log(self.weights / self.widths)[:, None] - 0.5 * self._z(x) ** 2) - 0.5 * np.log(2.0 * np.pi)

    def log_tails(self, x: np.ndarray) -> Tails:
        from scipy.special import log_ndtr

        z, log_weights = self._z(x), np.log(self.weights)[:, None]
        return _log_sum(log_weights + log_ndtr(z)), _log_sum(log_weights + log_ndtr(-z))

    def tail(self, x: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.special import log_ndtr

        z, log_weights = self._z(x), np.log(self.weights)[:, None]
        density = _log_sum(log_weights - np.log(self.widths)[:, None] - 0.5 * z**2) - 0.5 * np.log(2.0 * np.pi)
        return _log_sum(log_weights + log_ndtr(np.where(left, z, -z))), density

    def denoiser(self, x: np.ndarray) -> np.ndarray:
        return self.law.posterior(x, self.at)[0]

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        unit = self.narrowest
        nodes, weights = line_nodes((self.centres - self.centres[0]) / unit, self.widths / unit)
        return nodes * unit + self.centres[0], weights * unit

    def _z(self, x: np.ndarray) -> np.ndarray:
        return (x - self.centres[:, None]) / self.widths[:, None]


class RankedRadius(Ranked):
    """The radius of a rotation-invariant law at (α, σ): on panels of at most a width its density is a polynomial to rounding.

    With density Σ c_n P_n on a panel of half-width h, Legendre's P_n in t from −1 to 1,

        ∫ to the left of t  =  h (c_0 (1 + t) + Σ_{n≥1} c_n S_n),    to the right  h (c_0 (1 − t) − Σ_{n≥1} c_n S_n),

    S_n = (P_{n+1} − P_{n−1})/(2n + 1), which vanishes at both ends.
    """

    def __init__(self, law: Ray, alpha: float, sigma: float) -> None:
        self.law, self.at = law, Level(alpha, sigma)
        centres, widths = law.windows(self.at)
        self.low, self.high = max(0.0, (centres - REACH * widths).min()), float((centres + REACH * widths).max())
        self.narrowest = float(widths.min())
        self.edges = np.linspace(self.low, self.high, 2 + int((self.high - self.low) / self.narrowest))
        x, dx = self.nodes()
        density = np.exp(self.log_density(x))
        mass = density * dx
        self.mean = float(mass @ x / mass.sum())
        self.scale = float(np.sqrt(mass @ (x - self.mean) ** 2 / mass.sum()))
        panels = mass.reshape(-1, PANEL).sum(1)
        self.below = np.concatenate([[0.0], np.cumsum(panels)])
        self.above = np.concatenate([np.cumsum(panels[::-1])[::-1], [0.0]])
        self.coefficients = density.reshape(-1, PANEL) @ TO_LEGENDRE

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return self.law.log_density(np.maximum(x, 1e-300), self.at)

    def log_tails(self, x: np.ndarray) -> Tails:
        panel, t, half, coefficients, polynomials = self._placed(x)
        inner = half * self._inner(coefficients, polynomials)
        ends = half * coefficients[:, 0]
        with np.errstate(divide="ignore"):
            return (
                np.log(np.maximum(self.below[panel] + (ends * (1.0 + t) + inner), 0.0)),
                np.log(np.maximum(self.above[panel + 1] + (ends * (1.0 - t) - inner), 0.0)),
            )

    def tail(self, x: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        panel, t, half, coefficients, polynomials = self._placed(x)
        sign = np.where(left, 1.0, -1.0)
        part = half * (coefficients[:, 0] * (1.0 + sign * t) + sign * self._inner(coefficients, polynomials))
        whole = np.where(left, self.below[panel], self.above[panel + 1]) + part
        density = np.einsum("ij,ij->i", coefficients, polynomials[:, :PANEL])
        return np.log(np.maximum(whole, TINY)), np.log(np.maximum(density, TINY))

    def denoiser(self, x: np.ndarray) -> np.ndarray:
        return self.law.denoiser(x, self.at)[0]

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        return gauss([self.edges])

    def _placed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray, np.ndarray]:
        """(panel of each x, t there, half-width, coefficients of its panel (n, PANEL), P_0 … P_PANEL at t)."""
        panel = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.edges) - 2)
        half = 0.5 * (self.high - self.low) / (len(self.edges) - 1)
        t = np.clip((x - self.edges[panel]) / half - 1.0, -1.0, 1.0)
        return panel, t, half, self.coefficients[panel], np.polynomial.legendre.legvander(t, PANEL)

    @staticmethod
    def _inner(coefficients: np.ndarray, polynomials: np.ndarray) -> np.ndarray:
        """Σ_{n≥1} c_n S_n."""
        change = polynomials[:, 2:] - polynomials[:, :-2]
        return np.einsum("ij,ij,j->i", coefficients[:, 1:], change, 1.0 / (2.0 * np.arange(1, PANEL) + 1.0))


def ranked(law: LineLaw | Ray, alpha: float, sigma: float) -> Ranked:
    """The law at (α, σ), with its ranks."""
    return RankedMixture(law, alpha, sigma) if isinstance(law, LineLaw) else RankedRadius(law, alpha, sigma)


def flow_pairs(before: Ranked, after: Ranked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, T(x), probability) at quadrature nodes of T(x) ~ p_half, for the exact flow T from `before` to `after`."""
    y, dy = after.nodes()
    log_density = after.log_density(y)
    relevant = log_density > log_density.max() - 80.0
    y, mass = y[relevant], np.exp(log_density[relevant]) * dy[relevant]
    return before.quantile(after.log_tails(y), mass, _backwards(before, after, y)), y, mass


def _backwards(before: Ranked, after: Ranked, y: np.ndarray) -> np.ndarray:
    """About T⁻¹(y): one step of Heun's method."""

    def stepped(mean: np.ndarray) -> np.ndarray:
        return before.at.alpha * mean + before.at.sigma / after.at.sigma * (y - after.at.alpha * mean)

    mean = after.denoiser(y)
    first = np.clip(stepped(mean), before.low, before.high)
    return stepped(0.5 * (mean + before.denoiser(first)))


def _log_sum(terms: np.ndarray) -> np.ndarray:
    """log Σ exp over components (axis 0)."""
    highest = terms.max(0)
    return highest + np.log(np.exp(terms - highest).sum(0))

"""Where densities live: a line or a half line, the noise that blurs them, and what is known of a law carried there."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from targets import Level

REACH = 9.0
"""Standard deviations to which a density is followed on fine grids; coarse steps distort tails and get up to twice that."""

BLOCK = 2**14
"""Kernel values held at once: few enough for the cache."""

TINY = 1e-300


class Space(ABC):
    """A line or a half line with the true law on it, the kernel of added noise and a rule to place nodes."""

    per_kernel: float
    """Nodes to a standard deviation of the kernel at resolution 1."""
    per_law: float
    """Nodes to a standard deviation of the law's narrowest part at resolution 1."""
    bottom: float
    """Where the space begins."""

    @abstractmethod
    def answer(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(m̂, dm̂/dx) at the points x."""

    @abstractmethod
    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(centres, widths) of parts whose mixture the true law is, each with tails at most Gaussian."""

    @abstractmethod
    def log_density(self, x: np.ndarray, at: Level) -> np.ndarray:
        """log of the true density at x."""

    @abstractmethod
    def place(self, low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        """Ascending nodes and weights on the union of intervals, `spacing` apart on average."""

    @abstractmethod
    def centre(self, image: np.ndarray, noise: float) -> np.ndarray:
        """Where the kernel of an image sits: it has tails at most Gaussian of width `noise` about it, and increases."""

    @abstractmethod
    def kernel(self, x: np.ndarray, image: np.ndarray, noise: float) -> np.ndarray:
        """Density at x of the state whose mean is `image` (broadcast)."""


@dataclass(frozen=True, eq=False)
class Start:
    """The law of the first state: its density, windows (centres, widths)."""

    density: Callable[[np.ndarray], np.ndarray]
    centres: np.ndarray
    widths: np.ndarray


@dataclass(frozen=True, eq=False)
class Blurred:
    """Σ_i mass_i k(x; image_i, noise), images in the order of their kernels' centres."""

    space: Space
    images: np.ndarray
    masses: np.ndarray
    noise: float
    reach: float

    @cached_property
    def centres(self) -> np.ndarray:
        """Where the kernels of the images sit, ascending."""
        return self.space.centre(self.images, self.noise)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The density at ascending points x: each sums the images within its reach, in windows of one length a block."""
        first = np.searchsorted(self.centres, x - self.reach * self.noise)
        count = np.searchsorted(self.centres, x + self.reach * self.noise) - first
        widest = int(count.max(initial=0))
        images = np.concatenate([self.images, np.repeat(self.images[-1:], widest)])
        masses = np.concatenate([self.masses, np.zeros(widest)])
        out = np.zeros_like(x)
        rows = max(1, BLOCK // max(1, widest))
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            width = int(count[block].max())
            if width:
                near, heavy = (sliding_window_view(a, width)[first[block]] for a in (images, masses))
                out[block] = np.einsum("ij,ij->i", self.space.kernel(x[block, None], near, self.noise), heavy)
        return out

    def windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Intervals that hold all but a negligible part."""
        centres = self.centres[self.masses > 1e-20 * self.masses.max()]
        apart = np.flatnonzero(np.diff(centres) > 2.0 * REACH * self.noise)
        first, last = np.append(0, apart + 1), np.append(apart, len(centres) - 1)
        return centres[first] - REACH * self.noise, centres[last] + REACH * self.noise


@dataclass(frozen=True, eq=False)
class Carried:
    """Points of the last level in ascending order, log p and log q there, and weights: ∫ f dy = Σ weight_i f(y_i)."""

    points: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    weight: np.ndarray

    @property
    def defect(self) -> float:
        """The larger of |1 − ∫ p| and |1 − ∫ q|."""
        return max(abs(1.0 - float(self.weight @ np.exp(log))) for log in (self.log_p, self.log_q))

    @property
    def divergence(self) -> float:
        """KL(p ‖ q), nats."""
        return float(self.weight @ pointwise_kl(self.log_p, self.log_q))


def pointwise_kl(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """p log(p/q) − p + q ≥ 0, whose integral is KL(p ‖ q): where r = log(p/q) is small, q Σ_{n≥2} (n − 1) rⁿ/n!."""
    r, p, q = log_p - log_q, np.exp(log_p), np.exp(log_q)
    series = np.polynomial.polynomial.polyval(np.clip(r, -0.3, 0.3), SERIES)
    return np.where(np.abs(r) < 0.3, q * series, p * (r - 1.0) + q)


SERIES = [(n - 1.0) / math.factorial(n) if n > 1 else 0.0 for n in range(18)]


def log_of(density: np.ndarray) -> np.ndarray:
    """log, with what underflowed left at the least float."""
    return np.log(np.maximum(density, TINY))

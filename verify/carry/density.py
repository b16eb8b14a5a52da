"""The density of a table's last state on the line, stochastic and deterministic steps alike (see transport.py).

The kernel of a step is a Gaussian; nodes lie on one lattice, which sums a Gaussian of width w up to 2e^{-2π²w²/spacing²}.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from targets import Level, NotAvailableError, Target
from targets.laws import ComponentLaw
from targets.quadrature import LineLaw
from targets.shared import Shared
from verify.carry.panels import lattice
from verify.carry.space import Carried, Space, Start
from verify.carry.transport import RESOLUTIONS, carry, converged
from verify.oracle import Exact, Oracle
from verify.step import Table


class Line(Space):
    """The real line with the law of a one-dimensional target on it."""

    per_kernel = 1.4
    """The kernel's aliasing is 2e^{-2π²·1.4²} = 3e-17 of it."""
    per_law = 12.0
    """Two components of width w at distance g make the denoiser curve with poles πw²/g off the axis, where the density is
    e^{-g²/8w²} of its peak: the product of that and e^{-2π(πw²/g)·12/w} is below 1e-13 for every g."""

    bottom = -math.inf

    def __init__(self, oracle: Oracle) -> None:
        law = line_law(oracle.target)
        if law is None:
            raise NotAvailableError(f"density of {oracle.target!r}: laws with components on the line only")
        self.oracle, self.law = oracle, law

    def answer(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        mean, variance = self.law.posterior(x, at)
        slope = at.alpha / at.sigma**2 * variance
        if isinstance(self.oracle, Exact):
            return mean, slope
        y, denoised, product = (torch.from_numpy(a)[:, None].to(self.oracle.target.mean) for a in (x, mean, slope))
        error = self.oracle.error(y, denoised, at)
        if error is not None:
            mean = mean + error.expand(len(x), 1)[:, 0].cpu().numpy()
        bend = self.oracle.error_product(y, product, torch.ones_like(y), at)
        return mean, slope if bend is None else slope + bend[:, 0].cpu().numpy()

    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        return at.alpha * self.law.positions, np.sqrt(at.alpha**2 * self.law.variances + at.sigma**2)

    def log_density(self, x: np.ndarray, at: Level) -> np.ndarray:
        return self.law.log_density(x, at)

    def place(self, low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        return lattice(low, high, spacing)

    def centre(self, image: np.ndarray, noise: float) -> np.ndarray:
        return image

    def kernel(self, x: np.ndarray, image: np.ndarray, noise: float) -> np.ndarray:
        z = (x - image) * (math.sqrt(0.5) / noise)
        z *= -z
        return np.exp(z, out=z) * (1.0 / (noise * math.sqrt(2.0 * math.pi)))


def line_law(target: Target) -> LineLaw | None:
    """The components of a one-dimensional law, or None."""
    if not isinstance(target, ComponentLaw) or target.dim != 1:
        return None
    parts = target.components
    spread = parts.spread.expand(len(parts.weights)) if isinstance(parts, Shared) else parts.variances[:, 0]
    return LineLaw(*(a.cpu().numpy().astype(np.float64) for a in (parts.weights, parts.means[:, 0], spread)))


def density(
    table: Table, oracle: Oracle, start: str = "exact", resolutions: tuple[float, ...] = RESOLUTIONS
) -> tuple[Carried, Carried]:
    """The carried law at two resolutions, the finer one last."""
    space = Line(oracle)
    first = starting(space, table, start)
    return converged(lambda resolution: carry(space, table, first, resolution), resolutions, smooth=oracle.smooth)


def starting(space: Line, table: Table, start: str) -> Start:
    """The law of the first state."""
    level = table.start
    if start == "exact":
        return Start(lambda x: np.exp(space.log_density(x, level)), *space.windows(level))
    mean = 0.0 if start == "prior" else level.alpha * float(space.oracle.target.mean)
    width = table.first_width(start)
    return Start(lambda x: space.kernel(x, np.array(mean), width), np.array([mean]), np.array([width]))

"""The radius of a table's last state on rotation-invariant laws in R^d: exact on a half line, whatever d (see transport.py).

A step maps ρe to M(ρ)e and adds s·z, so that the next radius is s times a noncentral chi of d degrees of freedom with
noncentrality M/s.  With κ = ρ|M|/s², ν = d/2 − 1,

    k(ρ; M, s)  =  ρ^{d−1} e^{-(ρ−|M|)²/2s²} [Γ(ν+1)(2/κ)^ν I_ν(κ) e^{-κ}] / (2^{ν} Γ(d/2) s^d).

Directions stay uniform under p and q, so KL, total variation and W2 between radii are those between the laws in R^d.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from targets import Level, NotAvailableError
from targets.bessel import log_bessel
from targets.ray import Ray, ScaleMixtureRay, SphereRay, ray
from verify.carry.panels import equal, lattice
from verify.carry.space import Carried, Space, Start
from verify.carry.transport import RESOLUTIONS, carry, converged
from verify.oracle import Exact, Oracle
from verify.step import Table


def _halves(low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """The lattice of half-odd multiples of the spacing, which sums even functions on the half line as on the line."""
    x, dx = lattice(low, high, spacing, 0.5)
    return x[x > 0], dx[x > 0]


@dataclass(frozen=True)
class _Rule:
    """Nodes to a standard deviation of the kernel and of the law, and how they are placed."""

    per_kernel: float
    per_law: float
    place: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]


_GAUSS = _Rule(2.5, 8.0, equal)
"""Twenty Gauss nodes on panels of eight kernel widths: 1e-13 of it."""

_LATTICE = _Rule(1.4, 6.0, _halves)
"""The kernel's aliasing is 2e^{-2π²·1.4²} = 3e-17 of it.  The sphere's denoiser has its poles on the imaginary axis, at
ρ = ijσ²/αR with J_ν(j) = 0, j > π for ν >= ½, where the density is about e^{-g²/2} of its peak, g = αR/σ: the product of that
and e^{-2π·6j/g} is below 1e-15 for every g."""


def _smooth_at_zero(dim: int) -> bool:
    """Whether ρ^{dim−1} times an even function may be summed on a lattice about 0: even itself, or flat enough there."""
    return dim >= FLAT or dim in range(3, FLAT, 2)


FLAT = 16
"""Dimension from which the Euler-Maclaurin remainder at 0 is below 1e-15."""


class HalfLine(Space):
    """Radii of a rotation-invariant law in R^dim."""

    bottom = 0.0

    def __init__(self, law: Ray) -> None:
        self.law = law
        self.log_area = _log_chi_integral(law.dim)
        self.rule = _LATTICE if isinstance(law, SphereRay) and _smooth_at_zero(law.dim) else _GAUSS
        self.per_kernel, self.per_law = self.rule.per_kernel, self.rule.per_law

    def answer(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        mean, slope = self.law.denoiser(np.abs(x), at)
        return np.sign(x) * mean, slope

    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        return self.law.windows(at)

    def log_density(self, x: np.ndarray, at: Level) -> np.ndarray:
        return self.law.log_density(x, at)

    def place(self, low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        return self.rule.place(low, high, spacing)

    def centre(self, image: np.ndarray, noise: float) -> np.ndarray:
        return np.hypot(image, math.sqrt(self.law.dim - 0.5) * noise)

    def kernel(self, x: np.ndarray, image: np.ndarray, noise: float) -> np.ndarray:
        rho, mean = x / noise, np.abs(image) / noise
        log = (self.law.dim - 1) * np.log(rho) - 0.5 * (rho - mean) ** 2
        return np.exp(log + log_bessel(0.5 * self.law.dim - 1.0, rho * mean) - self.log_area) / noise


def _log_chi_integral(dim: int) -> float:
    """log ∫ ρ^{d−1} e^{-ρ²/2} dρ by the arithmetic of the kernel itself, whose rounding at large d then drops out of it."""
    rho, weight = equal(np.array([max(0.0, math.sqrt(dim) - 12.0)]), np.array([math.sqrt(dim) + 12.0]), 0.025)
    log = (dim - 1) * np.log(rho) - 0.5 * rho**2
    return float(log.max() + np.log(weight @ np.exp(log - log.max())))


def radial(
    table: Table, oracle: Oracle, start: str = "exact", resolutions: tuple[float, ...] = RESOLUTIONS
) -> tuple[Carried, Carried]:
    """The carried law of the radius at two resolutions, the finer one last."""
    law = ray(oracle.target)
    if law is None or not isinstance(oracle, Exact):
        raise NotAvailableError(f"radius of {oracle.target!r}: rotation-invariant laws with the exact denoiser only")
    level = table.start
    first = Start(lambda x: np.exp(law.log_density(x, level)), *law.windows(level))
    if start != "exact":
        noise, at = ScaleMixtureRay(law.dim, np.ones(1), np.zeros(1)), Level(1.0, table.first_width(start))
        first = Start(lambda x: np.exp(noise.log_density(x, at)), *noise.windows(at))
    return converged(lambda resolution: carry(HalfLine(law), table, first, resolution), resolutions)

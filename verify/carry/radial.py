"""The radius of a table's last state on rotation-invariant laws in R^d: exact on a half line, whatever d (see transport.py).

A step maps ρe to M(ρ)e and adds s·z, so that the next radius is s times a noncentral chi of d degrees of freedom with
noncentrality M/s.  With κ = ρ|M|/s², ν = d/2 − 1,

    k(ρ; M, s)  =  ρ^{d−1} e^{-(ρ−|M|)²/2s²} [Γ(ν+1)(2/κ)^ν I_ν(κ) e^{-κ}] / (2^{ν} Γ(d/2) s^d).

Directions stay uniform under p and q, so KL, total variation and W2 between radii are those between the laws in R^d.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from targets import Level, NotAvailableError
from targets.bessel import log_bessel
from targets.ray import Ray, ScaleMixtureRay, ray
from verify.carry.panels import equal
from verify.carry.space import Carried, Space, Start
from verify.carry.transport import RESOLUTIONS, carry, converged
from verify.oracle import Exact, Oracle
from verify.step import Table


class HalfLine(Space):
    """Radii of a rotation-invariant law in R^dim."""

    per_kernel = 2.5
    """Twenty Gauss nodes on panels of eight kernel widths: 1e-13 of it."""
    per_law = 8.0
    bottom = 0.0

    def __init__(self, law: Ray) -> None:
        self.law = law
        self.log_area = _log_chi_integral(law.dim)

    def answer(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        mean, slope = self.law.denoiser(np.abs(x), at)
        return np.sign(x) * mean, slope

    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        return self.law.windows(at)

    def log_density(self, x: np.ndarray, at: Level) -> np.ndarray:
        return self.law.log_density(x, at)

    def place(self, low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        return equal(low, high, spacing)

    def centre(self, image: np.ndarray, noise: float) -> np.ndarray:
        return np.hypot(image, math.sqrt(self.law.dim - 0.5) * noise)

    def kernel(self, x: np.ndarray, image: np.ndarray, noise: float) -> np.ndarray:
        rho, mean = x / noise, np.abs(image) / noise
        kappa = torch.from_numpy(rho * mean)
        log = (self.law.dim - 1) * np.log(rho) - 0.5 * (rho - mean) ** 2
        return np.exp(log + log_bessel(0.5 * self.law.dim - 1.0, kappa).numpy() - self.log_area) / noise


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

"""A rotation-invariant law seen along a ray: everything about it is a function of the state's length ρ = ‖αX + σZ‖.

The posterior mean at y = ρe, ‖e‖ = 1, is m(ρ)e, and a flow or a sampler that follows it moves along the ray, so an
exact computation in R^d is one in R.  The length itself has a density on (0, ∞); as a 1-Lipschitz function of
Gaussian noise it stays within a few noise widths of √(E ρ²), whatever d, and `windows` says where.

    sphere           m = R A(κ),  κ = αRρ/σ²                                       (see sphere.py)
    scale mixture    X ~ Σ w_i N(0, v_i 1):  τ_i = α²v_i + σ²,  r_i ∝ w_i τ_i^{−d/2} e^{−ρ²/2τ_i},
                     m = ρ Σ r_i αv_i/τ_i,   m′ = Σ r_i αv_i/τ_i + (σ²ρ²/α) Var_r(1/τ)

Responsibilities and 1/τ_i are taken relative to the likeliest component's, by differences of the v_i themselves, so that
both keep their relative accuracy where one component has almost all of the weight.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from targets.base import Target
from targets.bessel import bessel_terms, log_bessel
from targets.channel import Level
from targets.laws import ComponentLaw
from targets.shared import Shared
from targets.sphere import Sphere


class Ray(ABC):
    """The law of ρ = ‖αX + σZ‖ and the posterior mean along a ray, for X rotation-invariant in R^dim; numpy float64."""

    dim: int

    @abstractmethod
    def denoiser(self, radius: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(m, dm/dρ) at each ρ >= 0, in the shape of `radius`: E[X given y = ρe] = m(ρ)e for every unit vector e."""

    @abstractmethod
    def log_density(self, radius: np.ndarray, at: Level) -> np.ndarray:
        """log density of the length on (0, ∞), nats, in the shape of `radius`; includes the factor ρ^{dim−1}."""

    @abstractmethod
    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(centres, widths): the length's law is a mixture, each part within Gaussian tails of its width."""


class SphereRay(Ray):
    """X uniform on the sphere of the given radius."""

    def __init__(self, dim: int, radius: float) -> None:
        self.dim, self.radius = dim, radius

    def denoiser(self, radius: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        gain = at.alpha * self.radius / at.sigma**2
        terms = bessel_terms(0.5 * self.dim - 1.0, np.asarray(gain * _lengths(radius)))
        return self.radius * terms.value, self.radius * gain * terms.slope

    def log_density(self, radius: np.ndarray, at: Level) -> np.ndarray:
        rho = _lengths(radius)
        kappa = np.asarray(at.alpha * self.radius / at.sigma**2 * rho)
        off = (rho - at.alpha * self.radius) / at.sigma
        even = _log_chi(self.dim, rho / at.sigma) - math.log(at.sigma)
        return even - 0.5 * off**2 + log_bessel(0.5 * self.dim - 1.0, kappa)

    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        centre = math.hypot(at.alpha * self.radius, math.sqrt(self.dim - 0.5) * at.sigma)
        return np.array([centre]), np.array([at.sigma])


class ScaleMixtureRay(Ray):
    """X ~ Σ w_i N(0, v_i 1) with v_i >= 0; weights and variances of shape (m,)."""

    def __init__(self, dim: int, weights: np.ndarray, variances: np.ndarray) -> None:
        self.dim = dim
        self.variances, place = np.unique(variances, return_inverse=True)
        self.weights = np.bincount(place, weights=weights)

    def denoiser(self, radius: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        rho = _lengths(radius)
        flat = rho.ravel()
        tau = self._tau(at)
        share, top = self._shares(flat, at)
        share /= share.sum(1, keepdims=True)
        gain = share @ (at.alpha * self.variances / tau)
        apart = (
            at.alpha**2 * ((self.variances[:, None] - self.variances) / (tau * tau[:, None]))[top]
        )  # 1/τ_i − 1/τ_top
        spread = (share * apart**2).sum(1) - (share * apart).sum(1) ** 2
        slope = gain + at.sigma**2 / at.alpha * flat**2 * spread
        return (gain * flat).reshape(rho.shape), slope.reshape(rho.shape)

    def log_density(self, radius: np.ndarray, at: Level) -> np.ndarray:
        rho = _lengths(radius)
        flat = rho.ravel()
        share, top = self._shares(flat, at)
        width = np.sqrt(self._tau(at))[top]
        own = np.log(self.weights[top] / width) + _log_chi(self.dim, flat / width) - 0.5 * (flat / width) ** 2
        return (own + np.log(share.sum(1))).reshape(rho.shape)

    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        widths = np.sqrt(self._tau(at))
        return math.sqrt(self.dim - 0.5) * widths, widths

    def _tau(self, at: Level) -> np.ndarray:
        return at.alpha**2 * self.variances + at.sigma**2

    def _shares(self, flat: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(r_i/r_top, top) at each length, the likeliest component being `top`: shapes (n, m) and (n,)."""
        tau = self._tau(at)
        logs = np.log(self.weights) - 0.5 * self.dim * np.log(tau) - 0.5 * flat[:, None] ** 2 / tau
        top = logs.argmax(1)
        relative = at.alpha**2 * (self.variances - self.variances[:, None]) / tau[:, None]  # τ_i/τ_k − 1
        ratio = np.where(np.abs(relative) < 0.5, np.log1p(np.maximum(relative, -0.5)), np.log(tau / tau[:, None]))
        fixed = np.log(self.weights / self.weights[:, None]) - 0.5 * self.dim * ratio
        return np.exp(fixed[top] + 0.5 * flat[:, None] ** 2 * (relative / tau)[top]), top


def ray(target: Target) -> Ray | None:
    """The target along a ray, or None where its rotation invariance is not evident.

    Recognised: `Sphere`, and Gaussians, mixtures and discrete laws all of whose components have mean zero and a multiple
    of the identity as covariance (an atom at the origin among them).  A reduced-precision copy gives its float64 law's.
    """
    exact = target if target._double is None else target._double
    if isinstance(exact, Sphere):
        return SphereRay(exact.dim, exact.radius)
    if not isinstance(exact, ComponentLaw) or bool((exact.components.means != 0).any()):
        return None
    parts = exact.components
    variances = parts.spread.expand(len(parts.weights), -1) if isinstance(parts, Shared) else parts.variances
    if bool((variances != variances[:, :1]).any()):
        return None
    return ScaleMixtureRay(exact.dim, parts.weights.cpu().numpy(), variances[:, 0].cpu().numpy())


def _lengths(radius: np.ndarray) -> np.ndarray:
    return np.array(radius, dtype=np.float64, order="C")


def _log_chi(dim: int, length: np.ndarray) -> np.ndarray:
    """log of length^{dim−1} / (2^{dim/2−1} Γ(dim/2)): the chi density without its exponential."""
    power = (dim - 1) * np.log(length) if dim > 1 else np.zeros_like(length)
    return power - (0.5 * dim - 1.0) * math.log(2.0) - math.lgamma(0.5 * dim)

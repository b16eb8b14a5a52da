"""The uniform law on a sphere: the simplest curved set on which everything about diffusion is known exactly.

The state's direction and its length separate.  With d = dim, ν = d/2 − 1, A = I_{ν+1}/I_ν and κ = αR‖y‖/σ²,

    log p(y)  =  −(‖y‖ − αR)²/(2σ²) + log[Γ(ν+1) (2/κ)^ν I_ν(κ) e^{−κ}] − (d/2) log 2πσ²
    E[X|y]    =  R A(κ) y/‖y‖                                        (von Mises–Fisher's mean direction)
    Cov[X|y]  =  R² A′(κ) along y,   R² A(κ)/κ across,   R² (1 − A²) in all,    A′ = 1 − A² − (d−1) A/κ

and mmse and −mmse′ are integrals over the state's length alone.
"""

from __future__ import annotations

import math
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.arguments import NotAvailableError, integer, real
from targets.base import Target
from targets.bessel import bessel_terms, characteristic, log_bessel
from targets.channel import Level
from targets.curve import NODES, Curve, gauss_legendre
from targets.discrete import two_points
from targets.estimate import Estimate
from targets.tabulated import TabulatedCurve

REACH = 12.0
"""Half-width of the length's window in noise widths: ‖·‖ is 1-Lipschitz, so its tails are at most Gaussian."""


class Sphere(Target):
    """Uniform on {x in R^dim: ‖x‖ = radius}; in one dimension the two points ±radius.

    Raises `ArgumentError` for a dimension that is no integer >= 1 or a radius that is not positive.

    >>> Sphere(3, radius=2.0).total_variance
    4.0
    """

    def __init__(self, dim: int, radius: float = 1.0) -> None:
        self.dim = integer("dim", dim, 1)
        self.radius = real("radius", radius, "a finite number > 0", low=0.0)
        self._centre = torch.zeros(self.dim, dtype=torch.float64)

    @property
    def order(self) -> float:
        """ν = dim/2 − 1."""
        return 0.5 * self.dim - 1.0

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        return self._centre

    @property
    def total_variance(self) -> float:
        return self.radius**2

    @property
    def rank(self) -> int:
        return self.dim

    def entropy(self, order: float = 1.0) -> Estimate:
        """Refused: the law is continuous (in one dimension: two points)."""
        self._refuse(f"entropy(order={order})")

    def differential_entropy(self) -> Estimate:
        """Refused: a sphere has no density."""
        self._refuse("differential_entropy()")

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """Refused: no mixture."""
        self._refuse(f"latent_entropy(order={order})")

    def _refuse(self, quantity: str) -> NoReturn:
        other = "; as two points it is two_points(distance=2*radius)" if self.dim == 1 else ""
        raise NotAvailableError(f"{quantity} of {self!r}: not defined; use mutual_information(snr){other}")

    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        wave = self._flat("frequency", frequency).double()
        length = self.radius * torch.linalg.vector_norm(wave, dim=1)
        chi = characteristic(self.order, length).to(frequency.dtype)
        scale = self.radius**2 / self.dim * characteristic(self.order + 1.0, length)
        mean = (scale[:, None] * wave).to(frequency.dtype)
        return torch.complex(chi, torch.zeros_like(chi)), torch.complex(torch.zeros_like(mean), mean)

    def describe(self) -> str:
        return f"dim={self.dim}, radius={self.radius:g}"

    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        like = self._centre
        drawn = torch.randn(n, self.dim, generator=generator, dtype=like.dtype, device=like.device)
        return self.radius * drawn / torch.linalg.vector_norm(drawn, dim=1, keepdim=True)

    def _polar(self, y: Tensor, at: Level) -> tuple[Tensor, Tensor, Tensor]:
        """(y, ‖y‖, κ) in float64."""
        state = y.double()
        length = torch.linalg.vector_norm(state, dim=1)
        return state, length, at.alpha * self.radius / at.sigma**2 * length

    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        _, length, kappa = self._polar(y, at)
        off = ((length - at.alpha * self.radius) / at.sigma).square()
        normaliser = self.dim * (math.log(at.sigma) + 0.5 * math.log(2.0 * math.pi))
        return (log_bessel(self.order, kappa) - 0.5 * off - normaliser).to(y.dtype)

    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]:
        state, _, kappa = self._polar(y, at)
        gain = at.alpha * self.radius**2 / at.sigma**2 * bessel_terms(self.order, kappa).quotient
        return (gain[:, None] * state).to(y.dtype)

    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        return (self.radius**2 * bessel_terms(self.order, self._polar(y, at)[2]).complement).to(y.dtype)

    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]:
        state, length, kappa = self._polar(y, at)
        terms = bessel_terms(self.order, kappa)
        outward = state / torch.where(length > 0, length, 1.0)[:, None]
        direction = probe.double()
        along = outward * (outward * direction).sum(1, keepdim=True)
        product = terms.slope[:, None] * along + terms.quotient[:, None] * (direction - along)
        return (self.radius**2 * product).to(y.dtype)

    def _curve(self) -> Curve:
        if self.dim == 1:
            return two_points(2.0 * self.radius).curve
        square = self.radius**2
        return TabulatedCurve(
            self._points,
            1e-7 * self.dim / square,
            1e9 * self.dim / square,
            head=square**2 / self.dim,
            discrete=False,
            method="quadrature over the radius",
        )

    def _points(self, snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(E R²(1 − A²), E R⁴(A′² + (d−1)A²/κ²)) at each γ > 0: two arrays of shape (1, n).

        At level (√γ, 1) with μ = √γ R the length has density ∝ ρ^{d−1} exp(L(ρμ) − (ρ − μ)²/2), L = log_bessel.
        """
        shift = np.sqrt(snr) * self.radius
        middle = np.sqrt(shift**2 + self.dim - 0.5)
        low, high = np.maximum(middle - REACH, 0.0), middle + REACH
        cuts = low + (high - low) * np.linspace(0.0, 1.0, 25)[:, None]
        rho, weight = gauss_legendre(cuts[:-1].T, cuts[1:].T, NODES)
        rho, weight = rho.reshape(len(snr), -1), weight.reshape(len(snr), -1)
        kappa = rho * shift[:, None]
        logs = log_bessel(self.order, kappa) + (self.dim - 1) * np.log(rho / middle[:, None])
        logs -= 0.5 * (rho - shift[:, None]) ** 2
        share = weight * np.exp(logs - logs.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        terms = bessel_terms(self.order, kappa)
        square = terms.slope**2 + (self.dim - 1) * terms.quotient**2
        mmse = self.radius**2 * (share * terms.complement).sum(1)
        return mmse[None], self.radius**4 * (share * square).sum(1)[None]

"""Denoiser oracles: exact, and perturbed with declared error moments.

An oracle answers m̂(y) = m(y) + ε(y), m the exact denoiser.  What KL divergences need of ε are three moments under the
true law of y at each level:

    square         E‖ε‖²          enough for the path KL of the frozen denoiser
    with_state     E⟨y, ε⟩        needed, with the next one, by every other closed form
    with_denoiser  E⟨m, ε⟩ = E⟨X, ε⟩   (the tower rule)

The score error is e = (α/σ²) ε.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from targets import Level, NotAvailableError, Target
from targets.arguments import array, integer, real, refuse


@dataclass(frozen=True)
class ErrorMoments:
    """E‖ε‖², E⟨y, ε⟩ and E⟨m, ε⟩ at each level, arrays (K,); the last two are None where they are not known."""

    square: np.ndarray
    with_state: np.ndarray | None
    with_denoiser: np.ndarray | None

    def need_all(self, what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All three, or an error that says what is available with the first alone."""
        if self.with_state is None or self.with_denoiser is None:
            raise NotAvailableError(
                f"{what}: the oracle declares only E|error|^2, and E<state, error> and E<denoiser, error> enter too; "
                "available: kl.path and kl.chain(reference='reverse') of ddpm"
            )
        return self.square, self.with_state, self.with_denoiser


class Oracle(ABC):
    """A target's denoiser, possibly perturbed.  `evaluations` counts the rows that were asked for."""

    def __init__(self, target: Target) -> None:
        if not isinstance(target, Target):
            refuse("target", target, "a target")
        self.target = target
        self.evaluations = 0

    @abstractmethod
    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor | None:
        """ε(y), given the exact denoiser's answer; None stands for zero."""

    @abstractmethod
    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor | None:
        """(∂ε/∂y)·probe, given the exact denoiser's product; None stands for zero."""

    @abstractmethod
    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        """The declared error moments at levels (alpha, sigma), arrays (K,)."""

    def denoiser(self, y: Tensor, at: Level) -> Tensor:
        """m̂(y), shape of y."""
        self.evaluations += math.prod(y.shape[:-1])
        denoised = self.target.denoiser(y, at)
        error = self.error(y, denoised, at)
        return denoised if error is None else denoised + error

    def jacobian(self, y: Tensor, at: Level) -> Tensor:
        """∂m̂/∂y at rows (n, dim): (n, dim, dim), row j of a matrix the derivative of m̂_j; (α/σ²) Cov[X given y] if exact."""
        count, dim = y.shape
        matrix = self.target.posterior_covariance(y, at) * (at.alpha / at.sigma**2)
        unit = torch.eye(dim, dtype=y.dtype, device=y.device).repeat(count, 1)
        error = self.error_product(y.repeat_interleave(dim, 0), matrix.reshape(-1, dim), unit, at)
        return matrix if error is None else matrix + error.reshape(count, dim, dim).mT

    def score(self, y: Tensor, at: Level) -> Tensor:
        """ŝ(y) = (α m̂(y) − y)/σ²."""
        return (at.alpha * self.denoiser(y, at) - y) / at.sigma**2


class Exact(Oracle):
    """The denoiser itself."""

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> None:
        return None

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> None:
        return None

    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        zero = np.zeros(len(alpha))
        return ErrorMoments(zero, zero, zero)


class ConstantBias(Oracle):
    """ε = bias, a fixed vector (dim,): E‖ε‖² = ‖b‖², E⟨y, ε⟩ = α⟨E X, b⟩, E⟨m, ε⟩ = ⟨E X, b⟩."""

    def __init__(self, target: Target, bias: Any) -> None:
        super().__init__(target)
        self.bias = array("bias", bias, (target.dim,)).to(target.mean)

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return self.bias

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> None:
        return None

    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        one = np.ones(len(alpha))
        along = float(self.target.mean @ self.bias)
        return ErrorMoments(float(self.bias.square().sum()) * one, along * alpha, along * one)


class ScaleError(Oracle):
    """m̂ = (1 + c) m: E‖ε‖² = c² E‖m‖², E⟨y, ε⟩ = cα E‖X‖², E⟨m, ε⟩ = c E‖m‖², with E‖m‖² = E‖X‖² − mmse."""

    def __init__(self, target: Target, scale: float) -> None:
        super().__init__(target)
        self.scale = real("scale", scale, "a finite number")

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return self.scale * denoised

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        return self.scale * product

    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        energy = self.target.second_moment - np.asarray(self.target.mmse((alpha / sigma) ** 2).value)
        return ErrorMoments(self.scale**2 * energy, self.scale * alpha * self.target.second_moment, self.scale * energy)


class RandomField(Oracle):
    """A smooth random field with E‖ε‖² set at each noise level.

        ε(y) = A(γ) g(y),   g(y) = Σ_f v_f √2 cos(ω_f·y/scale + φ_f),   scale² = α² tr Cov X/d + σ²

    `size(γ)` gives E‖ε‖² (a float: the same at every level).  Directions v_f, frequencies ω_f ~ N(0, roughness²/d) and
    phases are drawn once from `seed`; all three moments follow exactly from the characteristic function of the target:
    for a noised state y = αX + σZ,  E e^{iω·y} = e^{-σ²‖ω‖²/2} χ(αω).
    """

    def __init__(
        self,
        target: Target,
        size: float | Callable[[float], float],
        *,
        seed: int,
        features: int = 16,
        roughness: float = 1.0,
    ) -> None:
        super().__init__(target)
        constant = None if callable(size) else real("size", size, "E|error|^2 >= 0", low=-5e-324)
        self.size: Callable[[float], float] = size if callable(size) else lambda _: constant  # type: ignore[return-value,assignment]
        features = integer("features", features, 1)
        generator = torch.Generator().manual_seed(integer("seed", seed, 0))
        shape = (features, target.dim)
        draw = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        spread = real("roughness", roughness, "a number > 0", low=0.0) / math.sqrt(target.dim)
        self.frequency = (draw[0] * spread).to(target.mean)
        self.direction = (draw[1] / math.sqrt(features * target.dim)).to(target.mean)
        self.phase = (2.0 * math.pi * torch.rand(features, generator=generator, dtype=torch.float64)).to(target.mean)
        self._known: dict[Level, tuple[float, float, float]] = {}

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        waves = math.sqrt(2.0) * torch.cos(y @ (self.frequency / self._scale(at)).mT + self.phase)
        return self._amplitude(at) * (waves @ self.direction)

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        omega = self.frequency / self._scale(at)
        waves = -math.sqrt(2.0) * torch.sin(y @ omega.mT + self.phase) * (probe @ omega.mT)
        return self._amplitude(at) * (waves @ self.direction)

    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        rows = []
        for a, s in zip(alpha, sigma, strict=True):
            level = Level(float(a), float(s))
            amplitude = self._amplitude(level)
            square, with_state, with_denoiser = self._field_moments(level)
            rows.append((amplitude**2 * square, amplitude * with_state, amplitude * with_denoiser))
        return ErrorMoments(*np.array(rows).T)

    def _scale(self, at: Level) -> float:
        return math.sqrt(at.alpha**2 * self.target.total_variance / self.target.dim + at.sigma**2)

    def _amplitude(self, at: Level) -> float:
        square = self._field_moments(at)[0]
        wanted = real(f"size(snr={at.snr})", self.size(at.snr), "E|error|^2 >= 0", low=-5e-324)
        return math.sqrt(wanted / square)

    def _field_moments(self, at: Level) -> tuple[float, float, float]:
        """(E‖g‖², E⟨y, g⟩, E⟨X, g⟩) at this level, exactly."""
        if at not in self._known:
            omega = self.frequency / self._scale(at)
            phase = torch.exp(1j * self.phase)
            chi, moment = self.target.fourier(at.alpha * omega)
            decay = torch.exp(-0.5 * at.sigma**2 * omega.square().sum(-1))
            wave, wave_mean = phase * decay * chi, (phase * decay)[:, None] * moment
            with_denoiser = math.sqrt(2.0) * float((wave_mean.real * self.direction).sum())
            noise = (1j * at.sigma**2 * omega * wave[:, None]).real
            with_state = at.alpha * with_denoiser + math.sqrt(2.0) * float((noise * self.direction).sum())
            gram = self.direction @ self.direction.mT
            square = float((gram * (self._product(omega, at, 1.0) + self._product(omega, at, -1.0))).sum())
            self._known[at] = (square, with_state, with_denoiser)
        return self._known[at]

    def _product(self, omega: Tensor, at: Level, sign: float) -> Tensor:
        """Re E e^{i[(ω_f ± ω_g)·y + φ_f ± φ_g]} for all pairs: the two halves of 2 cos cos."""
        pairs = (omega[:, None] + sign * omega[None]).flatten(0, 1)
        chi, _ = self.target.fourier(at.alpha * pairs)
        decay = torch.exp(-0.5 * at.sigma**2 * pairs.square().sum(-1))
        phase = torch.exp(1j * (self.phase[:, None] + sign * self.phase[None])).flatten()
        return (phase * decay * chi).real.reshape(len(omega), -1)

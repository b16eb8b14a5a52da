"""A smooth random error of a size that is set at each noise level, with exact moments on any target."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from targets import Level, Target
from targets.arguments import integer, real
from verify.oracle.base import ErrorMoments, Oracle


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

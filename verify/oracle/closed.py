"""Oracles whose error moments are closed forms: exact, off by a constant vector, off by a factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from targets import Level, Target
from targets.arguments import array, real
from verify.oracle.base import ErrorMoments, Oracle


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
    """m̂ = (1 + c) m: E‖ε‖² = c² E‖m‖², E⟨y, ε⟩ = cα E‖X‖², E⟨m, ε⟩ = c E‖m‖², with E‖m‖² = E‖X‖² − mmse.

    The rows of its moments are the replicates of the target's curve.
    """

    def __init__(self, target: Target, scale: float) -> None:
        super().__init__(target)
        self.scale = real("scale", scale, "a finite number")

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return self.scale * denoised

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        return self.scale * product

    def moments(self, alpha: np.ndarray, sigma: np.ndarray) -> ErrorMoments:
        energy = self.target.second_moment - self.target.curve.mmse_rows((alpha / sigma) ** 2)
        return ErrorMoments(self.scale**2 * energy, self.scale * alpha * self.target.second_moment, self.scale * energy)

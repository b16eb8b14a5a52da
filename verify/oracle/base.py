"""What an oracle is: a denoiser m̂(y) = m(y) + ε(y), m the exact one, with declared error moments.

What KL divergences need of ε are three moments under the true law of y at each level:

    square         E‖ε‖²          enough for the path KL of the frozen denoiser
    with_state     E⟨y, ε⟩        needed, with the next one, by every other closed form
    with_denoiser  E⟨m, ε⟩ = E⟨X, ε⟩   (the tower rule)

The score error is e = (α/σ²) ε.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from targets import Level, NotAvailableError, Target
from targets.arguments import refuse


@dataclass(frozen=True)
class ErrorMoments:
    """E‖ε‖², E⟨y, ε⟩ and E⟨m, ε⟩ at each level, arrays (rows, K); the last two are None where they are not known.

    Row 0 is the value, rows 1..R leave one random replicate out; one row, or an array (K,), where nothing is random.
    `draws` is the number of draws that made the rows; 0: they are the replicates of the target's own mmse curve.  Rows of
    the curve are added to the curve's row by row, rows of other draws are independent of them, and variances add.
    """

    square: np.ndarray
    with_state: np.ndarray | None
    with_denoiser: np.ndarray | None
    draws: int = 0

    def __post_init__(self) -> None:
        for name in ("square", "with_state", "with_denoiser"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, np.atleast_2d(value))

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

    smooth: bool = True
    """Whether m̂ has a derivative everywhere: quadratures converge slowly across a kink."""

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

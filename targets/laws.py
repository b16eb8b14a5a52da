"""What Gaussians, mixtures and discrete laws share: a target that delegates to its components."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.base import Target
from targets.channel import Level
from targets.components import pick
from targets.curve import Curve
from targets.information import component_curve
from targets.lowrank import LowRank
from targets.separate import Separate
from targets.shared import Shared


class ComponentLaw(Target):
    """A finite mixture of Gaussian components (possibly of zero width)."""

    components: Shared | Separate | LowRank

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        return self.components.mean

    @property
    def total_variance(self) -> float:
        return self.components.total_variance

    @property
    @abstractmethod
    def rank(self) -> int: ...

    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        return self.components.fourier(self._flat("frequency", frequency))

    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        weights = self.components.weights
        uniform = torch.rand(n, generator=generator, dtype=torch.float64, device=weights.device)
        noise = torch.randn(n, self.dim, generator=generator, dtype=weights.dtype, device=weights.device)
        return self.components.draw(pick(weights, uniform), noise)

    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        return self.components.log_prob(y, at)

    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]:
        return self.components.denoiser(y, at)

    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        return self.components.posterior_trace(y, at)

    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]:
        return self.components.posterior_product(y, probe, at)

    def _posterior_covariance(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim dim"]:
        if isinstance(self.components, Shared):
            return self.components.posterior_covariance(y, at)
        return super()._posterior_covariance(y, at)

    def _curve(self) -> Curve:
        return component_curve(self.components, self.points)

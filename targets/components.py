"""Attention over components: what every finite mixture of Gaussians has in common.

With responsibilities r_i(y) = P(component i given y), a mixture's denoiser is Σ_i r_i (linear function of y):
two matrix products with a softmax between them, which is attention with the state as query and the components
as keys and values.  `torch`'s fused kernel does it without ever holding the (batch, components) scores, and
nothing here holds a (batch, components, dim) array.

Two families: `Shared` (one covariance for all components; atoms are the covariance zero, and the quadratic
term of the exponent drops out of the softmax) and `Separate` (a covariance for each; see separate.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from targets.arguments import refuse
from targets.channel import Level

CHUNK_BYTES = 64 * 2**20
"""Largest (rows, components) array that is held at once where one is needed."""

FLOAT32_TOLERANCE = 1e-3
"""Largest absolute rounding error allowed in a log-responsibility when a caller asks for float32."""


class Components(ABC):
    """Weighted Gaussian components seen through the channel αX + σZ."""

    weights: Float[Tensor, " m"]
    mean: Float[Tensor, " d"]

    @property
    @abstractmethod
    def means(self) -> Float[Tensor, "m d"]:
        """Mean of each component."""

    @property
    @abstractmethod
    def total_variance(self) -> float:
        """tr Cov X."""

    @abstractmethod
    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov X."""

    @abstractmethod
    def draw(self, index: Tensor, noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The draw from component index[k] that the standard normal noise[k] gives."""

    @abstractmethod
    def log_prob(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        """log density of αX + σZ."""

    @abstractmethod
    def denoiser(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d"]:
        """E[X given y]."""

    @abstractmethod
    def posterior_trace(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        """tr Cov[X given y]."""

    @abstractmethod
    def posterior_product(
        self, y: Float[Tensor, "n d"], probe: Float[Tensor, "n d"], at: Level
    ) -> Float[Tensor, "n d"]:
        """Cov[X given y]·probe."""

    @abstractmethod
    def fourier(self, frequency: Float[Tensor, "f d"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f d"]]:
        """(E e^{iω·X}, E X e^{iω·X})."""


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float) -> Tensor:
    """softmax(scale·query·keysᵀ + bias)·values by the fused kernel; (n, k), (m, k), (m, k), (m,) -> (n, k)."""
    mask = bias.expand(1, 1, len(query), len(keys))
    out = scaled_dot_product_attention(query[None, None], keys[None, None], values[None, None], mask, scale=scale)
    return out[0, 0]


def pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Component indices by inversion of the weights' distribution function."""
    cumulative = weights.to(torch.float64).cumsum(0)
    return torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp_max(len(weights) - 1)


def by_rows(function: Callable[..., tuple[Tensor, ...]], components: int, *arrays: Tensor) -> tuple[Tensor, ...]:
    """`function` applied to blocks of rows small enough that (rows, components) stays within `CHUNK_BYTES`."""
    rows = max(1, CHUNK_BYTES // (8 * components))
    parts = [function(*block) for block in zip(*(a.split(rows) for a in arrays), strict=True)]
    return parts[0] if len(parts) == 1 else tuple(torch.cat(column) for column in zip(*parts, strict=True))


def check_rounding(y: Tensor, gain: Callable[[], Tensor]) -> None:
    """Refuse reduced precision where a log-responsibility, of size gain·‖y‖, could be off by `FLOAT32_TOLERANCE`."""
    if y.dtype == torch.float64 or y.numel() == 0:
        return
    error = torch.finfo(y.dtype).eps * float(torch.linalg.vector_norm(y.detach(), dim=-1).amax() * gain())
    if error > FLOAT32_TOLERANCE:
        refuse(
            "rounding error of a log-responsibility",
            error,
            f"at most {FLOAT32_TOLERANCE} in {y.dtype}; at this noise level use float64",
        )


def leave_top_out(responsibility: Float[Tensor, "n m"]) -> tuple[Tensor, Tensor]:
    """(responsibilities with each row's largest set to zero, index of the largest).

    Differences from the top component keep the posterior covariance accurate when it is exponentially small:
    the remaining weights are then tiny *and* exact, where 1 − r_top would have cancelled.
    """
    top = responsibility.argmax(-1)
    return responsibility.scatter(-1, top[:, None], 0.0), top

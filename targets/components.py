"""Attention over components: what every finite mixture of Gaussians has in common.

With responsibilities r_i(y) = P(component i given y), a mixture's denoiser is Σ_i r_i (linear function of y):
two matrix products with a softmax between them, which is attention with the state as query and the components
as keys and values.  `torch`'s fused kernel does it without ever holding the (batch, components) scores, whatever
their number, and nothing here holds a (batch, components, dim) array.

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

CHUNK_BYTES = {"cpu": 2 * 2**20, "cuda": 64 * 2**20}
"""Largest (rows, components) array that is held at once where one is needed.

Beyond some megabytes a processor's memory is handed back and asked for again, which costs more than small blocks do; a GPU
wants few large ones.
"""

LEAST_ROWS = 64
"""Rows of a block however many components there are: below them a matrix product waits for memory."""

CACHE_BYTES = 2**20
"""Largest (rows, components) array of scores that a processor's cache is taken to hold."""

FLOAT32_TOLERANCE = 1e-3
"""Largest absolute rounding error allowed in a log-responsibility when a caller asks for float32."""

DEVIATIONS = 6.0
"""How far a state is taken to be from its expected distance, in standard deviations of the widest direction.

A Lipschitz function of a Gaussian exceeds its mean by c standard deviations with probability at most e^{−c²/2}
(Borell; Tsirelson, Ibragimov & Sudakov): here 1.6e-8.
"""


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
    def magnitude(self, at: Level) -> float:
        """Size of the largest products that a log-responsibility is summed from, for states drawn from αX + σZ.

        It follows from the law and the level, with states within `DEVIATIONS`: nothing is read back from a device.
        """

    def check_rounding(self, at: Level) -> None:
        """Refuse reduced precision at levels where rounding would show in a log-responsibility.

        With ε the spacing of the dtype at one, the bound is ε·magnitude(at) <= `FLOAT32_TOLERANCE`.  Raises `ArgumentError`.
        """
        dtype = self.weights.dtype
        if dtype == torch.float64:
            return
        error = torch.finfo(dtype).eps * self.magnitude(at)
        if error > FLOAT32_TOLERANCE:
            refuse(
                "rounding error of a log-responsibility",
                error,
                f"at most {FLOAT32_TOLERANCE} in {dtype}; at this noise level use float64",
            )

    @abstractmethod
    def fourier(self, frequency: Float[Tensor, "f d"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f d"]]:
        """(E e^{iω·X}, E X e^{iω·X})."""


def held(query: Tensor, keys: Tensor) -> bool:
    """Whether the scores are few enough to be held in the cache; three plain kernels are then faster than the fused one."""
    return query.shape[0] * keys.shape[0] * query.element_size() <= CACHE_BYTES


def attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float) -> Tensor:
    """softmax(scale·query·keysᵀ + bias)·values; (n, k), (m, k), (m, v), (m,) -> (n, v)."""
    if held(query, keys):
        return torch.addmm(bias, query, keys.mT, alpha=scale).softmax(1) @ values
    mask = bias.expand(1, 1, len(query), len(keys))
    out = scaled_dot_product_attention(query[None, None], keys[None, None], values[None, None], mask, scale=scale)
    return out[0, 0]


def pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Component indices by inversion of the weights' distribution function."""
    cumulative = weights.to(torch.float64).cumsum(0)
    return torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp_max(len(weights) - 1)


def by_rows(
    function: Callable[..., tuple[Tensor, ...]], components: int, *arrays: Tensor, within: int | None = None
) -> tuple[Tensor, ...]:
    """`function` applied to blocks of rows small enough that (rows, components) stays within so many bytes.

    Unless told otherwise within `CHUNK_BYTES`, but at least `LEAST_ROWS` rows.
    """
    rows = rows_at_once(arrays[0], components) if within is None else max(1, within // (8 * components))
    if len(arrays[0]) <= rows:
        return function(*arrays)
    parts = [function(*block) for block in zip(*(a.split(rows) for a in arrays), strict=True)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def rows_at_once(like: Tensor, components: int) -> int:
    """Rows of a (rows, components) array that is held at once on the device of `like`."""
    return max(LEAST_ROWS, CHUNK_BYTES["cpu" if like.device.type == "cpu" else "cuda"] // (8 * components))


def leave_top_out(responsibility: Float[Tensor, "n m"]) -> tuple[Tensor, Tensor]:
    """(responsibilities with each row's largest set to zero, index of the largest).

    Differences from the top component keep the posterior covariance accurate when it is exponentially small:
    the remaining weights are then tiny *and* exact, where 1 − r_top would have cancelled.
    """
    top = responsibility.argmax(-1)
    return responsibility.scatter(-1, top[:, None], 0.0), top


def span(points: Float[Tensor, "m k"]) -> Float[Tensor, "k r"] | None:
    """Orthonormal basis of the span of `points` where projecting on it saves work, else None.

    Into and out of r directions costs r(m + k) products a row, all k of them mk: worth it below four fifths.
    """
    count, dim = points.shape
    if dim < 2 or count * dim * min(count, dim) > 2e9:
        return None
    _, values, right = torch.linalg.svd(points, full_matrices=False)
    rank = int((values > 1e-12 * values[0]).sum())
    return right[:rank].mT.contiguous() if rank * (count + dim) <= 0.8 * count * dim else None

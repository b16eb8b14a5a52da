"""Laws made of laws: independent products, rotations, and embeddings into a larger ambient space.

Each reduces every quantity to its parts, so a product of ten thousand equal factors, or sixty-four dimensions inside
ten thousand, costs what the part costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.arguments import NotAvailableError, array, integer, refuse
from targets.base import Target
from targets.channel import Level
from targets.curve import Curve, SumCurve
from targets.estimate import Estimate


class Product(Target):
    """X = (X_1, …, X_n) with independent factors, given in order; the same object repeated is evaluated as a batch."""

    def __init__(self, factors: Sequence[Target]) -> None:
        if not isinstance(factors, Sequence) or not factors:
            refuse("factors", factors, "a list of at least one target")
        for factor in factors:
            if not isinstance(factor, Target):
                refuse("factors", factor, "targets only")
        self.blocks = [(same[0], len(same)) for _, g in groupby(factors, key=id) if (same := list(g))]
        self.dim = sum(factor.dim * count for factor, count in self.blocks)

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        return torch.cat([factor.mean.repeat(count) for factor, count in self.blocks])

    @property
    def total_variance(self) -> float:
        return math.fsum(count * factor.total_variance for factor, count in self.blocks)

    @property
    def rank(self) -> int:
        return sum(count * factor.rank for factor, count in self.blocks)

    def entropy(self, order: float = 1.0) -> Estimate:
        """Σ of the factors' entropies (additive at every order); raises where a factor is continuous."""
        return self._add(lambda factor: factor.entropy(order))

    def differential_entropy(self) -> Estimate:
        """Σ of the factors' differential entropies; raises where a factor has none."""
        return self._add(lambda factor: factor.differential_entropy())

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """Σ of the factors' latent entropies."""
        return self._add(lambda factor: factor.latent_entropy(order))

    def _add(self, of) -> Estimate:  # noqa: ANN001
        parts = [(of(factor), count) for factor, count in self.blocks]
        return Estimate(
            math.fsum(count * float(part.value) for part, count in parts),
            math.sqrt(math.fsum((count * float(part.stderr)) ** 2 for part, count in parts)),
            math.fsum(count * abs(float(part.bias)) for part, count in parts),
            "sum over factors: " + parts[0][0].method,
        )

    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        chis, means = [], []
        for piece, factor, count in self._split(self._flat("frequency", frequency)):
            chi, mean = factor.fourier(piece)
            chis.append(chi.reshape(-1, count))
            means.append(mean.reshape(-1, count, factor.dim))
        chi = torch.cat(chis, 1)
        one = torch.ones_like(chi[:, :1])
        before = torch.cat([one, chi.cumprod(1)[:, :-1]], 1)
        after = torch.cat([one, chi.flip(1).cumprod(1)[:, :-1]], 1).flip(1)
        others = (before * after).split([count for _, count in self.blocks], 1)
        parts = [(mean * other[:, :, None]).flatten(1) for mean, other in zip(means, others, strict=True)]
        return chi.prod(1), torch.cat(parts, 1)

    def describe(self) -> str:
        return " x ".join(f"{factor!r}^{count}" if count > 1 else repr(factor) for factor, count in self.blocks)

    def _split(self, y: Tensor) -> list[tuple[Tensor, Target, int]]:
        """(rows of the factor's own dimension, factor, how many factors share the block)."""
        pieces = y.split([factor.dim * count for factor, count in self.blocks], 1)
        return [(p.reshape(-1, f.dim), f, c) for p, (f, c) in zip(pieces, self.blocks, strict=True)]

    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        drawn = [f._sample(n * count, generator).reshape(n, count * f.dim) for f, count in self.blocks]
        return torch.cat(drawn, 1)

    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        parts = [f._log_prob(piece, at).reshape(len(y), c).sum(1) for piece, f, c in self._split(y)]
        return torch.stack(parts).sum(0)

    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]:
        return torch.cat([f._denoiser(piece, at).reshape(len(y), c * f.dim) for piece, f, c in self._split(y)], 1)

    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        parts = [f._posterior_trace(piece, at).reshape(len(y), c).sum(1) for piece, f, c in self._split(y)]
        return torch.stack(parts).sum(0)

    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]:
        pairs = zip(self._split(y), self._split(probe), strict=True)
        return torch.cat(
            [f._posterior_product(p, v, at).reshape(len(y), c * f.dim) for (p, f, c), (v, _, _) in pairs], 1
        )

    def _curve(self) -> Curve:
        distinct = {id(factor): factor for factor, _ in self.blocks}
        counts = {key: sum(c for f, c in self.blocks if id(f) == key) for key in distinct}
        return SumCurve([(factor.curve, counts[key]) for key, factor in distinct.items()])


class Rotated(Target):
    """Q·X with Q orthogonal (d, d); information does not see the rotation."""

    def __init__(self, inner: Target, rotation: Any) -> None:
        if not isinstance(inner, Target):
            refuse("inner", inner, "a target")
        self.inner, self.dim = inner, inner.dim
        self.rotation = array("rotation", rotation, (inner.dim, inner.dim))
        identity = torch.eye(inner.dim, dtype=torch.float64)
        defect = float((self.rotation @ self.rotation.mT - identity).abs().max())
        if defect > 1e-10:
            refuse("|rotation rotationᵀ - 1|", defect, "an orthogonal matrix")

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        return self.rotation @ self.inner.mean

    @property
    def total_variance(self) -> float:
        return self.inner.total_variance

    @property
    def rank(self) -> int:
        return self.inner.rank

    def entropy(self, order: float = 1.0) -> Estimate:
        """The entropy of the law that is rotated."""
        return self.inner.entropy(order)

    def differential_entropy(self) -> Estimate:
        """A rotation leaves it unchanged."""
        return self.inner.differential_entropy()

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """A rotation leaves it unchanged."""
        return self.inner.latent_entropy(order)

    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        chi, mean = self.inner.fourier(self._flat("frequency", frequency) @ self.rotation)
        return chi, mean @ self.rotation.mT.to(mean.dtype)

    def describe(self) -> str:
        return repr(self.inner)

    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        return self.inner._sample(n, generator) @ self.rotation.mT

    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        return self.inner._log_prob(y @ self.rotation, at)

    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]:
        return self.inner._denoiser(y @ self.rotation, at) @ self.rotation.mT

    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        return self.inner._posterior_trace(y @ self.rotation, at)

    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]:
        return self.inner._posterior_product(y @ self.rotation, probe @ self.rotation, at) @ self.rotation.mT

    def _curve(self) -> Curve:
        return self.inner.curve


class Embedded(Target):
    """(X, 0, …, 0) in R^dim: the law on its first coordinates, nothing on the others."""

    def __init__(self, inner: Target, dim: int) -> None:
        if not isinstance(inner, Target):
            refuse("inner", inner, "a target")
        self.inner, self.dim = inner, integer("dim", dim, inner.dim)

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        return self._pad(self.inner.mean[None])[0]

    @property
    def total_variance(self) -> float:
        return self.inner.total_variance

    @property
    def rank(self) -> int:
        return self.inner.rank

    def entropy(self, order: float = 1.0) -> Estimate:
        """The entropy of the law that is embedded."""
        return self.inner.entropy(order)

    def differential_entropy(self) -> Estimate:
        """The law's own where nothing was added; otherwise there is no density."""
        if self.dim > self.inner.dim:
            raise NotAvailableError(
                f"differential_entropy() of {self!r}: it is -infinity; use that of the embedded law, `.inner`"
            )
        return self.inner.differential_entropy()

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """An embedding leaves it unchanged."""
        return self.inner.latent_entropy(order)

    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        chi, mean = self.inner.fourier(self._flat("frequency", frequency)[:, : self.inner.dim].contiguous())
        return chi, self._pad(mean)

    def describe(self) -> str:
        return f"{self.inner!r} in R^{self.dim}"

    def _pad(self, core: Tensor) -> Tensor:
        return torch.nn.functional.pad(core, (0, self.dim - self.inner.dim))

    def _core(self, y: Tensor) -> Tensor:
        return y[:, : self.inner.dim]

    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        return self._pad(self.inner._sample(n, generator))

    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        null = y[:, self.inner.dim :] / at.sigma
        noise = -0.5 * null.square().sum(1) - null.shape[1] * (math.log(at.sigma) + 0.5 * math.log(2 * math.pi))
        return self.inner._log_prob(self._core(y), at) + noise

    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]:
        return self._pad(self.inner._denoiser(self._core(y), at))

    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        return self.inner._posterior_trace(self._core(y), at)

    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]:
        return self._pad(self.inner._posterior_product(self._core(y), self._core(probe), at))

    def _curve(self) -> Curve:
        return self.inner.curve

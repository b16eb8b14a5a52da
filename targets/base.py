"""A target: a law on R^d whose denoiser, score and information are known.

For x = αX + σZ (a `Level`) the posterior mean m(x) = E[X given x] is the only thing a law has to know; the
score follows from it once and for all by Tweedie's formula, and the information of the channel from the
posterior covariance:

    ∇ log p(x)  =  (α m(x) − x) / σ²                          (Robbins 1956; Efron 2011, eq. 1.4)
    mmse(γ)     =  E tr Cov[X given x]                        total over coordinates
    −mmse′(γ)   =  E ‖Cov[X given x]‖_F²                      (Guo, Wu, Shamai & Verdú 2011, prop. 9)
    I(γ)        =  ½ ∫_0^γ mmse                               nats (Guo, Shamai & Verdú 2005, thm 1)

The public methods below check their input, flatten leading batch dimensions and are final; a law supplies
the underscored ones on arrays of shape (n, dim).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets import kept
from targets.arguments import integer, refuse
from targets.channel import Level
from targets.components import Components
from targets.estimate import Estimate
from targets.sampled import POINTS

if TYPE_CHECKING:
    from targets.curve import Curve

Law = TypeVar("Law", bound="Target")


class Target(ABC):
    """A law on R^dim.  Float64 torch in and out unless moved by `to`."""

    dim: int
    _double: Target | None = None
    """The float64 law that this one is a reduced-precision copy of: information is always computed from it."""
    points: int = POINTS
    """Points in each replicate where the mmse curve has to be sampled; `refined` sets another number."""

    # ---- what a law supplies -------------------------------------------------------------------------

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, " dim"]:
        """E X."""

    @property
    @abstractmethod
    def total_variance(self) -> float:
        """tr Cov X = mmse(0)."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Number of directions in which the law varies."""

    @abstractmethod
    def entropy(self, order: float = 1.0) -> Estimate:
        """Rényi entropy of a discrete law (order 1: Shannon), nats; a continuous law raises."""

    @abstractmethod
    def differential_entropy(self) -> Estimate:
        """h(X) = −E log density, nats; a law without a density raises."""

    @abstractmethod
    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """Rényi entropy of a mixture's component index, nats; other laws raise."""

    @abstractmethod
    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        """(E e^{iω·X}, E X e^{iω·X}) for each row ω of `frequency`."""

    @abstractmethod
    def describe(self) -> str:
        """One line: the family and its parameters."""

    @abstractmethod
    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]: ...

    @abstractmethod
    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]: ...

    @abstractmethod
    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]: ...

    @abstractmethod
    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]: ...

    @abstractmethod
    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]: ...

    @abstractmethod
    def _curve(self) -> Curve: ...

    # ---- what follows --------------------------------------------------------------------------------

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        """`n` independent draws of X."""
        n = integer("n", n, 1)
        if not isinstance(generator, torch.Generator):
            refuse("generator", generator, "a torch.Generator")
        if generator.device.type != self.mean.device.type:
            refuse("generator.device", generator.device.type, f"the target's device, {self.mean.device.type}")
        return self._sample(n, generator)

    def log_prob(self, y: Float[Tensor, "*b dim"], at: Level) -> Float[Tensor, "*b"]:
        """log density of αX + σZ at y, nats."""
        return self._log_prob(self._flat("y", y), _level(at)).reshape(y.shape[:-1])

    def denoiser(self, y: Float[Tensor, "*b dim"], at: Level) -> Float[Tensor, "*b dim"]:
        """m(y) = E[X given αX + σZ = y]."""
        denoised = self._denoiser(self._flat("y", y), _level(at))
        return denoised if y.ndim == 2 else denoised.reshape(y.shape)

    def score(self, y: Float[Tensor, "*b dim"], at: Level) -> Float[Tensor, "*b dim"]:
        """∇ log p(y) = (α m(y) − y)/σ² (Tweedie)."""
        return (_level(at).alpha * self.denoiser(y, at) - y) / _level(at).sigma ** 2

    def posterior_trace(self, y: Float[Tensor, "*b dim"], at: Level) -> Float[Tensor, "*b"]:
        """tr Cov[X given y], total over coordinates."""
        return self._posterior_trace(self._flat("y", y), _level(at)).reshape(y.shape[:-1])

    def posterior_covariance_product(
        self, y: Float[Tensor, "*b dim"], probe: Float[Tensor, "*b dim"], at: Level
    ) -> Float[Tensor, "*b dim"]:
        """Cov[X given y]·probe; its mean square over isotropic probes is ‖Cov[X given y]‖_F²."""
        if probe.shape != y.shape:
            refuse("probe.shape", tuple(probe.shape), f"the shape of y, {tuple(y.shape)}")
        return self._posterior_product(self._flat("y", y), self._flat("probe", probe), _level(at)).reshape(y.shape)

    def posterior_covariance(self, y: Float[Tensor, "*b dim"], at: Level) -> Float[Tensor, "*b dim dim"]:
        """Cov[X given y] as a matrix."""
        return self._posterior_covariance(self._flat("y", y), _level(at)).reshape(*y.shape, self.dim)

    def _posterior_covariance(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim dim"]:
        """By products with every basis vector, unless a law knows a shorter way."""
        unit = torch.eye(self.dim, dtype=y.dtype, device=y.device).repeat(len(y), 1)
        return self._posterior_product(y.repeat_interleave(self.dim, 0), unit, at).reshape(-1, self.dim, self.dim)

    @property
    def second_moment(self) -> float:
        """E‖X‖² = tr Cov X + ‖E X‖²."""
        return self.total_variance + float(self.mean.square().sum())

    @cached_property
    def curve(self) -> Curve:
        """The mmse curve of this law, computed once; one that takes long to compute is kept on disk (see kept.py)."""
        return kept.curve(self, self._curve) if self._double is None else self._double.curve

    def mmse(self, snr: float | np.ndarray) -> Estimate:
        """mmse(γ) = E‖X − m‖², total over coordinates, for γ ≥ 0 (scalar or array)."""
        return self.curve.mmse(snr)

    def mmse_slope(self, snr: float | np.ndarray) -> Estimate:
        """−mmse′(γ) = E‖Cov[X given x]‖_F², for γ ≥ 0 (scalar or array)."""
        return self.curve.slope(snr)

    def mutual_information(self, snr: float | np.ndarray) -> Estimate:
        """I(X; x) at snr γ ≥ 0 (scalar or array), nats."""
        return self.curve.mutual_information(snr)

    def to(self: Law, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Law:
        """The same law with its tensors on another device or in another dtype (float32 where speed is wanted)."""
        if self._double is not None and dtype == torch.float64:
            return self._double.to(device, dtype)  # type: ignore[return-value]
        moved = self._rebuilt(lambda item: item.to(device, dtype), device, dtype)
        if dtype is not None and dtype != torch.float64:
            moved._double = self if self._double is None else self._double
        return moved

    def refined(self: Law, points: int) -> Law:
        """The same law whose sampled curve takes `points` points (a power of two) in each replicate.

        The standard error falls a little faster than points^{-1/2}; deterministic curves do not change.
        """
        if integer("points", points, 2) & (points - 1):
            refuse("points", points, "a power of two")
        finer = self._rebuilt(lambda item: item.refined(points))
        finer.points = points
        vars(finer).pop("curve", None)
        return finer

    def _rebuilt(
        self: Law, change: Callable[[Target], Target], device: Any = None, dtype: torch.dtype | None = None
    ) -> Law:
        new = copy.copy(self)
        for key, item in vars(self).items():
            setattr(new, key, item if key in ("curve", "_double") else _rebuilt(item, change, device, dtype))
        return new

    def _flat(self, name: str, y: Tensor) -> Tensor:
        if not isinstance(y, Tensor):
            refuse(name, y, "a torch tensor")
        mean = self.mean
        if y.ndim < 1 or y.shape[-1] != self.dim:
            refuse(f"{name}.shape", tuple(y.shape), f"a last dimension of {self.dim}")
        if y.dtype != mean.dtype:
            refuse(f"{name}.dtype", y.dtype, f"the target's dtype, {mean.dtype}; move it with target.to(dtype=...)")
        if y.device != mean.device:
            refuse(
                f"{name}.device", y.device, f"the target's device, {mean.device}; move it with target.to(device=...)"
            )
        return y if y.ndim == 2 else y.reshape(-1, self.dim)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"


def _level(at: Level) -> Level:
    if not isinstance(at, Level):
        refuse("at", at, "a Level, e.g. Level(alpha, sigma) or Level.from_snr(snr)")
    return at if type(at.alpha) is type(at.sigma) is float else Level(float(at.alpha), float(at.sigma))


def _rebuilt(item: Any, change: Callable[[Target], Target], device: Any, dtype: torch.dtype | None) -> Any:
    """`item` with `change` applied to every target inside it and every tensor moved."""
    if isinstance(item, Target):
        return change(item)
    if isinstance(item, Components):
        new = copy.copy(item)
        for key, part in vars(item).items():
            setattr(new, key, _rebuilt(part, change, device, dtype))
        return new
    if isinstance(item, Tensor):
        return item.to(device=device, dtype=dtype if item.is_floating_point() else None)
    if isinstance(item, (list, tuple)):
        return type(item)(_rebuilt(part, change, device, dtype) for part in item)
    return item

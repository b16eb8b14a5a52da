"""A denoiser with the law that it is for: draws at which it is asked, and derivatives of what it answers.

draws         αX + σZ at LEVELS levels, the same X and Z at each
derivatives   ∂m̂/∂y by differentiation where the answer can be differentiated, else by central differences of step
              ε^{1/3} σ, ε the rounding of the dtype, whose error is of order ε^{2/3}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from targets import Level, Target
from targets.arguments import ascending, one_of, real, refuse
from targets.channel import PROCESSES
from verify.audit.contract import Denoiser
from verify.audit.limits import TimeLimitError
from verify.invariants.check import Broken, raised

LEVELS = 9
"""Levels, even in log snr, both ends of the window among them."""

DRAWS = 1024
"""Draws at each level."""

DIRECTIONS = 32
"""Directions of Jacobians: all of them up to so many dimensions, else random ones."""


@dataclass(frozen=True, eq=False)
class Model:
    """A denoiser with the law that it is for; its own score and log density, where it has them."""

    denoiser: Denoiser
    target: Target
    process: str
    snr: tuple[float, float]
    score: Callable[[Tensor, Level], Tensor] | None
    log_density: Callable[[Tensor, Level], Tensor] | None
    tolerance: float

    def __post_init__(self) -> None:
        for name in ("denoiser", "score", "log_density"):
            value = getattr(self, name)
            if not callable(value) and not (value is None and name != "denoiser"):
                refuse(name, value, "a callable (y, level)")
        if not isinstance(self.target, Target):
            refuse("target", self.target, "a target, e.g. targets.get('curved_mixture')")
        if not self.target.total_variance > 0.0:
            refuse("target", self.target, "a law that is no point mass: errors are measured against its spread")
        one_of("process", self.process, PROCESSES)
        if len(ascending("snr", self.snr)) != 2:
            refuse("snr", self.snr, "two values, (low, high)")
        real("tolerance", self.tolerance, "a number > 0", low=0.0)

    @property
    def spread(self) -> float:
        """√(tr Cov X)."""
        return self.target.total_variance**0.5

    @cached_property
    def levels(self) -> list[Level]:
        """LEVELS levels over the window."""
        return [Level.from_snr(float(snr), self.process) for snr in np.geomspace(*self.snr, LEVELS)]

    @cached_property
    def draws(self) -> list[tuple[Tensor, Tensor]]:
        """(X, αX + σZ) at each level, the same X and Z."""
        mean = self.target.mean
        source = torch.Generator(device=mean.device).manual_seed(5)
        clean = self.target.sample(DRAWS, source)
        noise = torch.randn(clean.shape, generator=source, dtype=mean.dtype, device=mean.device)
        return [(clean, level.alpha * clean + level.sigma * noise) for level in self.levels]

    @cached_property
    def best(self) -> list[Tensor]:
        """The law's own denoiser at the draws of each level."""
        return [self.target.denoiser(y, level) for level, (_, y) in zip(self.levels, self.draws, strict=True)]

    def ask(self, y: Tensor, level: Level) -> Tensor:
        """The model's answer.  Raises `Broken` where it raises, or returns another shape or numbers that are not finite."""
        return asked(self.denoiser, y, level, y.shape)


def asked(function: Callable[[Tensor, Level], Tensor], y: Tensor, level: Level, shape: torch.Size) -> Tensor:
    """function(y, level), looked at."""
    where = f"snr {level.snr:.3g}"
    try:
        out = function(y, level)
    except (TimeLimitError, Broken):
        raise
    except Exception as error:
        raise Broken(f"{raised(error)} (at {where})") from error
    if not isinstance(out, Tensor):
        raise Broken(f"returned {type(out).__name__} in place of a tensor (at {where})")
    if out.shape != shape:
        raise Broken(f"returned shape {tuple(out.shape)} for states of shape {tuple(y.shape)} (at {where})")
    if not bool(torch.isfinite(out).all()):
        raise Broken(f"returned {float(out[~torch.isfinite(out)][0])} (at {where})")
    return out


def _step(y: Tensor, level: Level) -> float:
    """Step of central differences: ε^{1/3} of the noise, ε the rounding of the dtype."""
    return torch.finfo(y.dtype).eps ** (1.0 / 3.0) * level.sigma


def gradient(log_density: Callable[[Tensor, Level], Tensor], y: Tensor, level: Level) -> Tensor:
    """∇ log density at rows: by differentiation where it can be differentiated, else by central differences."""
    with torch.enable_grad():
        states = y.detach().requires_grad_()
        value = asked(log_density, states, level, y.shape[:1])
        if value.requires_grad:
            return torch.autograd.grad(value.sum(), states)[0]
    step, (count, dim) = _step(y, level), y.shape
    shifts = step * torch.eye(dim, dtype=y.dtype, device=y.device).repeat(count, 1)
    around = y.repeat_interleave(dim, 0)
    up, down = (asked(log_density, states, level, states.shape[:1]) for states in (around + shifts, around - shifts))
    return ((up - down) / (2.0 * step)).reshape(count, dim)


def jacobians(model: Model, y: Tensor, level: Level) -> Tensor:
    """Vᵀ (∂m̂/∂y) V at rows, V all directions or DIRECTIONS random orthonormal ones: (n, k, k)."""
    count, dim = y.shape
    basis = torch.eye(dim, dtype=y.dtype, device=y.device)
    if dim > DIRECTIONS:
        source = torch.Generator(device=y.device).manual_seed(6)
        basis = torch.linalg.qr(torch.randn(dim, DIRECTIONS, generator=source, dtype=y.dtype, device=y.device))[0]
    along, around = basis.mT.repeat(count, 1), y.repeat_interleave(basis.shape[1], 0)
    with torch.enable_grad():
        states = around.detach().requires_grad_()
        answer = model.ask(states, level)
        if answer.requires_grad:
            rows = torch.autograd.grad((answer * along).sum(), states)[0]
            return rows.reshape(count, -1, dim) @ basis
    step = _step(y, level)
    up, down = model.ask(around + step * along, level), model.ask(around - step * along, level)
    columns = ((up - down) / (2.0 * step)).reshape(count, -1, dim) @ basis
    return columns.mT

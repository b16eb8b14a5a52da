"""The denoiser of another law, or of the same law at another level: a misjudged noise, memorised data, wrong weights.

    ε(y) = m_Q(y; α, σ′) − m(y; α, σ),     ∂m_Q/∂y = (α/σ′²) Cov_Q[X given y],     σ′ = σ e^{−shift/2}

At the true level (shift 0) the error is that of mismatched estimation, whose integral is a divergence in closed form:

    d/dγ KL(p_γ ‖ q_γ)  =  ½ E_p‖m − m_Q‖²                       (Verdú 2010, "Mismatched estimation and relative entropy")
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from targets import Discrete, GaussianMixture, Level, Target, from_samples
from targets.arguments import integer, real, refuse, weights
from targets.lowrank import LowRank
from targets.shared import Shared
from verify.oracle.sampled import SampledOracle, stream


class AnotherDenoiser(SampledOracle):
    """The denoiser of `model`, asked at the level whose log-snr is off by `shift` with α kept."""

    def __init__(self, target: Target, model: Target, shift: float, points: int, seed: int) -> None:
        super().__init__(target, points=points, seed=seed)
        self.model, self.shift = model, shift

    def believed(self, at: Level) -> Level:
        """(α, σ e^{−shift/2}): the level that the state is taken for."""
        return Level(at.alpha, at.sigma * math.exp(-0.5 * self.shift))

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return self.model.denoiser(y, self.believed(at)) - denoised

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        taken = self.believed(at)
        own = self.model.posterior_covariance_product(y, probe, taken)
        return taken.alpha / taken.sigma**2 * own - product


class WrongLevel(AnotherDenoiser):
    """The target's denoiser told a log-snr that is too large by `shift`: the state αX + σZ is taken for αX + σe^{−shift/2}Z.

    What a network does whose noise is mislabelled; the same for every process, as only the snr is misjudged.
    """

    def __init__(self, target: Target, shift: float, *, points: int = 128, seed: int = 0) -> None:
        super().__init__(target, target, real("shift", shift, "a finite number"), points, seed)


class Empirical(AnotherDenoiser):
    """Memorisation: the denoiser of `model`, the empirical law of `count` training points.

    Of a discrete target, `count` of its atoms without replacement, each set as likely as any other, with their weights
    renormalised (all of them: the exact denoiser); of any other law, `count` independent draws of equal weight.
    """

    def __init__(self, target: Target, count: int, *, seed: int, points: int = 128) -> None:
        count, seed = integer("count", count, 1), integer("seed", seed, 0)
        super().__init__(target, _training(target, count, seed), 0.0, points, seed)


class WrongWeights(AnotherDenoiser):
    """The denoiser of a mixture or discrete law with the target's components and other `weights` (m,), summing to one."""

    def __init__(self, target: Target, weights: Any, *, points: int = 128, seed: int = 0) -> None:
        if not isinstance(target, (GaussianMixture, Discrete)):
            refuse("target", target, "a GaussianMixture or a Discrete law, whose components have weights")
        super().__init__(target, _reweighted(target, weights), 0.0, points, seed)


def _training(target: Target, count: int, seed: int) -> Discrete:
    draws = stream(seed, "training points", target)
    if not isinstance(target, Discrete):
        return _like(target, from_samples(target.sample(count, draws).cpu()))
    if count > len(target.atoms):
        refuse("count", count, f"at most {len(target.atoms)}, the number of the target's atoms")
    order = torch.randperm(len(target.atoms), generator=draws, device=target.mean.device)[:count]
    chosen = target.weights[order].cpu().double()
    return _like(target, Discrete(target.atoms[order].cpu(), chosen / chosen.sum()))


def _reweighted(target: GaussianMixture | Discrete, value: Any) -> Target:
    """The target with other weights, its components in their order and structure."""
    parts = target.components
    own = weights("weights", value, len(parts.weights)).cpu()
    means = parts.means.cpu()
    if isinstance(target, Discrete):
        return _like(target, Discrete(target.atoms.cpu(), own))
    if isinstance(parts, Shared):
        turn = torch.eye(target.dim, dtype=means.dtype) if parts.rotation is None else parts.rotation.cpu()
        return _like(target, GaussianMixture.shared(own, means, (turn * parts.spread.cpu()) @ turn.mT))
    if isinstance(parts, LowRank):
        factors = parts.axes.cpu().reshape(len(own), -1, target.dim).mT * parts.squares.cpu().sqrt()[:, None]
        return _like(target, GaussianMixture.low_rank(own, means, factors, parts.noise.cpu()))
    spread = parts.variances.cpu()
    if parts.axes is not None:
        turn = parts.axes.cpu()
        return _like(target, GaussianMixture(own, means, (turn * spread[:, None]) @ turn.mT))
    build = GaussianMixture.isotropic if spread.shape[1] == 1 else GaussianMixture.diagonal
    return _like(target, build(own, means, spread[:, 0] if spread.shape[1] == 1 else spread))


def _like(target: Target, law: Any) -> Any:
    return law.to(target.mean.device, target.mean.dtype)

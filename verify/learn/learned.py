"""A trained network as an oracle like any other, its error moments measured on draws of the true law."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from targets import Level, Target
from targets.arguments import refuse
from verify.learn.architecture import Network
from verify.oracle.sampled import SampledOracle

EDGE = 1e-6
"""Distance in log γ from the trained range within which a level counts as inside: levels are rounded."""


class Learned(SampledOracle):
    """m̂ of a network.  Levels outside the range that it was trained on are refused: what it says there means nothing."""

    def __init__(self, target: Target, network: Network, *, points: int = 128, seed: int = 0) -> None:
        super().__init__(target, points=points, seed=seed)
        if not isinstance(network, Network):
            refuse("network", network, "a verify.learn.Network, e.g. train(target).network")
        if network.architecture.dim != target.dim:
            refuse("network.architecture.dim", network.architecture.dim, f"the target's dimension, {target.dim}")
        self.network = copy.deepcopy(network).to(target.mean.device, target.mean.dtype).requires_grad_(False)

    def denoiser(self, y: Tensor, at: Level) -> Tensor:
        """The network's own answer: the exact denoiser is not asked, so that losses are a second path to its error."""
        if y.ndim < 1 or y.shape[-1] != self.target.dim:
            refuse("y.shape", tuple(y.shape), f"a last dimension of {self.target.dim}")
        if y.dtype != self.target.mean.dtype:
            refuse("y.dtype", y.dtype, f"the target's dtype, {self.target.mean.dtype}")
        self.evaluations += math.prod(y.shape[:-1])
        return self._network(y.reshape(-1, y.shape[-1]), at).reshape(y.shape)

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return self._network(y.reshape(-1, y.shape[-1]), at).reshape(y.shape) - denoised

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        flat, along = y.reshape(-1, y.shape[-1]), probe.reshape(-1, y.shape[-1])
        moved = torch.func.jvp(lambda state: self._network(state, at), (flat,), (along,))[1]
        return moved.reshape(y.shape) - product

    def _network(self, y: Tensor, at: Level) -> Tensor:
        low, high = self.network.logsnr.tolist()
        if not low - EDGE <= at.logsnr <= high + EDGE:
            refuse("level", f"log snr {at.logsnr:.6g}", f"one in the trained range, {low:.6g} to {high:.6g}")
        snr = torch.full((len(y),), at.snr, dtype=y.dtype, device=y.device)
        return self.network(y / at.alpha, snr)

"""A residual network around the best linear denoiser, seen through the law's principal directions.

With x = y/α = X + Z/√γ, centre μ, principal directions A, B (r of them) of variances λ_i, v the mean variance across them:

    z    =  A (x − μ)                              (r,)      a low-rank input layer, where r < d
    F    =  MLP(√(γ/(1 + γλ)) z, log γ)            (r,)      its input has unit variance at every level
    m̂(x) =  μ + ρ (x − μ) + B {(s − ρ) z + √(λ/(1 + γλ)) F},     s_i = γλ_i/(1 + γλ_i),  ρ = γv/(1 + γv)

μ is a fixed centre, in float64, and a trained shift from it: training sees x − centre only, so that a law far from the
origin is learned as well as one around it.  This is the preconditioning of Karras et al. (2206.00364, eq. 7: c_skip, c_out,
c_in), one variance a direction in place of one for all.  F = 0 gives the best linear denoiser of a Gaussian with these
variances; the MLP learns what is left, in units of that denoiser's own error.  A, B and the shift are trained too: A = Bᵀ at
the start, where B, λ and the centre come from principal.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from targets.arguments import integer
from verify.learn.principal import Principal

FREQUENCIES = 8
"""Cosines of the noise level that the network is told, besides the level itself."""

FULL, LOW = 128, 64
"""Coordinates up to which a network sees all directions, and how many principal ones it sees of more by default."""


@dataclass(frozen=True)
class Architecture:
    """`rank` principal directions of R^`dim`, `blocks` residual blocks of `width`."""

    dim: int
    rank: int
    width: int
    blocks: int = 3

    def __post_init__(self) -> None:
        for name in ("dim", "rank", "width", "blocks"):
            object.__setattr__(self, name, integer(name, getattr(self, name), 1))
        integer("dim", self.dim, self.rank)

    @classmethod
    def sized(cls, dim: int) -> Architecture:
        """All directions of up to 128 coordinates, 64 of more, and four units a direction, at least 64 and at most 256."""
        rank = dim if integer("dim", dim, 1) <= FULL else LOW
        return cls(dim, rank, min(max(64, 4 * rank), 256))


class Block(nn.Module):
    """h + W_2 silu(W_1 norm(h) + E c), c the noise level's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.level = nn.Linear(1 + FREQUENCIES, width, bias=False)
        self.outer = nn.Linear(width, width)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """Hidden state (n, width), features (n, 1 + FREQUENCIES)."""
        return hidden + self.outer(nn.functional.silu(self.inner(self.norm(hidden)) + self.level(features)))


class Network(nn.Module):
    """m̂ of the formulas above, for levels between the two `logsnr`."""

    centre: Tensor
    spread: Tensor
    rest: Tensor
    logsnr: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        dim, rank, width = architecture.dim, architecture.rank, architecture.width
        self.shift = nn.Parameter(torch.zeros(dim))
        self.reading = nn.Parameter(torch.zeros(rank, dim))
        self.writing = nn.Parameter(torch.zeros(rank, dim))
        with torch.random.fork_rng(devices=[]):  # layers draw weights, from the global generator, that are overwritten
            self.inward = nn.Linear(rank, width)
            self.blocks = nn.ModuleList(Block(width) for _ in range(architecture.blocks))
            self.norm = nn.LayerNorm(width)
            self.outward = nn.Linear(width, rank)
        self.register_buffer("centre", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("spread", torch.zeros(rank))
        self.register_buffer("rest", torch.zeros(()))
        self.register_buffer("logsnr", torch.tensor([0.0, 1.0], dtype=torch.float64))

    def initialise(self, law: Principal, logsnr: tuple[float, float], generator: torch.Generator) -> None:
        """The best linear denoiser, and random inner weights: uniform within 1/√inputs, the outward layer zero."""
        with torch.no_grad():
            self.centre.copy_(law.mean)
            self.reading.copy_(law.basis)
            self.writing.copy_(law.basis)
            self.spread.copy_(law.variances)
            self.rest.fill_(law.rest)
            self.logsnr.copy_(torch.tensor(logsnr, dtype=torch.float64))
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.uniform_(-1.0, 1.0, generator=generator).div_(math.sqrt(layer.in_features))
                    if layer.bias is not None:
                        layer.bias.zero_()
            self.outward.weight.zero_()

    def forward(self, x: Tensor, snr: Tensor) -> Tensor:
        """m̂ at rows x = y/α (n, dim) and their γ (n,)."""
        return self.centre + self.centred(x - self.centre, snr)

    def centred(self, x: Tensor, snr: Tensor) -> Tensor:
        """m̂ − centre at rows x − centre."""
        gain = snr[:, None]
        across, filtered = gain * self.rest / (1.0 + gain * self.rest), 1.0 / (1.0 + gain * self.spread)
        moved = x - self.shift
        seen = moved @ self.reading.mT
        features = self._features(snr)
        hidden = self.inward((gain * filtered).sqrt() * seen)
        for block in self.blocks:
            hidden = block(hidden, features)
        learned = self.outward(nn.functional.silu(self.norm(hidden)))
        inside = (gain * self.spread * filtered - across) * seen + (self.spread * filtered).sqrt() * learned
        return self.shift + across * moved + inside @ self.writing

    def _features(self, snr: Tensor) -> Tensor:
        """The level's place τ in [0, 1] along log γ, and cos(πkτ), k = 1 … FREQUENCIES."""
        place = ((snr.log() - self.logsnr[0]) / (self.logsnr[1] - self.logsnr[0]))[:, None]
        waves = torch.arange(1, FREQUENCIES + 1, dtype=snr.dtype, device=snr.device)
        return torch.cat([2.0 * place - 1.0, torch.cos(math.pi * waves * place)], 1)

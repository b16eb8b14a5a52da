"""Chain KL against the reverse chain by simulation: a second path that shares only the target with the closed form.

A draw of the true chain is X, then x_K = α_K X + σ_K Z, then noise added level by level back to x_0.  Its density is known
from both ends, so for each draw

    log p(x_0, …, x_K) − log q(x_0, …, x_K)
      =  log p_K(x_K) − log p_0(x_0) + Σ_k [ log N(x_k; r_k x_{k+1}, v_k²) − log N(x_{k+1}; a x_k + b m̂(x_k), s²) ],

r_k = α_k/α_{k+1}, v_k² = σ_k² − r_k²σ_{k+1}².  It runs in the full dimension, uses no mmse curve, no I-MMSE identity and no
additivity, and its mean is the chain KL (start="exact").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from targets import Estimate, Level, NotAvailableError, Target
from targets.arguments import integer, refuse
from verify.kl.frozen import check_inputs
from verify.oracle import Oracle
from verify.step import Table


def simulated_chain(
    target: Target, table: Table, *, n: int, generator: torch.Generator, oracle: Oracle | None = None
) -> Estimate:
    """Mean log-ratio of `n` true chains with its standard error, nats; start="exact", one-evaluation tables with noise."""
    oracle = check_inputs(target, table, oracle)
    n = integer("n", n, 2)
    if not isinstance(generator, torch.Generator):
        refuse("generator", generator, "a torch.Generator")
    if not table.stochastic:
        raise NotAvailableError(
            f"simulated chain KL of {table.method.name}: a step without noise has a singular kernel, and the divergence is "
            "infinite; available: particles"
        )
    if table.multistep:
        raise NotAvailableError(f"simulated chain KL of {table.method.name}: one-step tables only; available: kl.chain")
    a, b, s = table.affine()
    levels = [Level(float(al), float(si)) for al, si in zip(table.alpha, table.sigma, strict=True)]
    clean = target.sample(n, generator)
    state = levels[-1].alpha * clean + levels[-1].sigma * _normal(clean, generator)
    ratio = target.log_prob(state, levels[-1])
    for k in reversed(range(table.steps)):
        here, ahead = levels[k], levels[k + 1]
        shrink = here.alpha / ahead.alpha
        spread = here.sigma * math.sqrt((table.snr[k + 1] - table.snr[k]) / table.snr[k + 1])
        noise = _normal(state, generator)
        before = shrink * state + spread * noise
        kick = (state - a[k] * before - b[k] * oracle.denoiser(before, here)) / s[k]
        scale = target.dim * math.log(s[k] / spread)
        ratio = ratio + 0.5 * (kick.square().sum(-1) - noise.square().sum(-1)) + scale
        state = before
    ratio = ratio - target.log_prob(state, levels[0])
    return Estimate(
        float(ratio.mean()), float(ratio.std() / math.sqrt(n)), 0.0, f"simulated chain against the reverse chain, n={n}"
    )


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)

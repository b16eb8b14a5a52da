"""Chain KL and path KL by simulation: second paths that share only the target with the closed forms.

chain.  A draw of the true chain is X, then x_K = α_K X + σ_K Z, then noise added level by level back to x_0.  Its density is
known from both ends, so for each draw

    log p(x_0, …, x_K) − log q(x_0, …, x_K)
      =  log p_K(x_K) − log q_0(x_0) + Σ_k [ log N(x_k; r_k x_{k+1}, v_k²) − log N(x_{k+1}; a x_k + b m̂(x_k), s²) ],

r_k = α_k/α_{k+1}, v_k² = σ_k² − r_k²σ_{k+1}².  Its mean is the chain KL against the reverse chain.

path.  Girsanov's integral of the squared difference of drifts, over draws of (x_t, x_k), x_k noised from x_t:

    ddpm              ½ ∫ E‖m(x_γ) − m̂(x_k)‖² dγ
    ei_sde            ∫ E‖s(x_t) − ŝ(x_k)‖² dt
    euler_maruyama    ∫ E‖s(x_t) − ŝ(x_k) + ½(x_t − x_k)‖² dt
    relative_score    ∫ E‖s(x_t) − ŝ(x_k) + x_t − x_k‖² dt

with t (or γ) at two antithetic places of each step, drawn afresh in each of 32 replicates: no quadrature error.

Both run in the full dimension and use no mmse curve, no I-MMSE identity, no error moments and no additivity.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from targets import Estimate, Level, NotAvailableError, Target
from targets.arguments import integer, one_of, refuse
from verify.carry.flow import first_log_density
from verify.kl.frozen import check_inputs
from verify.kl.path import FROZEN, discretisation
from verify.oracle import Oracle
from verify.step import STARTS, Table

STATE = {"ei_sde": 0.0, "euler_maruyama": 0.5, "relative_score": 1.0}
"""Multiple of the state that is frozen beside the score."""

REPLICATES = 32
"""Batches of a simulated path KL, whose spread is its standard error."""


def simulated_chain(
    target: Target,
    table: Table,
    *,
    n: int,
    generator: torch.Generator,
    start: str = "exact",
    oracle: Oracle | None = None,
) -> Estimate:
    """Mean log-ratio of `n` true chains with its standard error, nats; one-evaluation tables with noise."""
    oracle, n, start = _checked(target, table, oracle, n, 2, generator, start)
    if not table.stochastic:
        raise NotAvailableError(
            f"simulated chain KL of {table.method.name}: a step without noise has a singular kernel, and the divergence is "
            "infinite; available: particles"
        )
    if table.multistep:
        raise NotAvailableError(f"simulated chain KL of {table.method.name}: one-step tables only; available: kl.chain")
    a, b, s = table.affine()
    levels = _levels(table)
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
    ratio = ratio - first_log_density(table, oracle, state, start)
    return Estimate(
        float(ratio.mean()), float(ratio.std() / math.sqrt(n)), 0.0, f"simulated chain against the reverse chain, n={n}"
    )


def simulated_path(
    target: Target,
    table: Table,
    *,
    n: int,
    generator: torch.Generator,
    start: str = "exact",
    oracle: Oracle | None = None,
) -> Estimate:
    """Girsanov's integral over `n` draws a step (rounded up to 32 replicates) with its standard error, nats."""
    oracle, n, start = _checked(target, table, oracle, n, REPLICATES, generator, start)
    kind = discretisation(table)
    if kind is None:
        raise NotAvailableError(
            f"simulated path KL of {table.method.name}: the discretised reverse SDEs only ({', '.join(FROZEN)}); "
            "available: kl.simulated_chain"
        )
    size = -(-n // REPLICATES)
    sums = [_integral(table, oracle, kind, start, size, generator) for _ in range(REPLICATES)]
    mean, spread = float(np.mean(sums)), float(np.std(sums, ddof=1))
    method = f"simulated Girsanov integral, {REPLICATES} x {size} draws a step"
    return Estimate(mean, spread / math.sqrt(REPLICATES), 0.0, method)


def _integral(table: Table, oracle: Oracle, kind: str, start: str, size: int, generator: torch.Generator) -> float:
    """One replicate: the log-ratio of the first states, and each step at two antithetic places."""
    target, levels = oracle.target, _levels(table)
    clean = target.sample(size, generator)
    first = levels[0].alpha * clean + levels[0].sigma * _normal(clean, generator)
    total = (target.log_prob(first, levels[0]) - first_log_density(table, oracle, first, start)).mean()
    places = torch.rand(table.steps, generator=generator, dtype=torch.float64, device=clean.device).tolist()
    for k, place in enumerate(places):
        clean = target.sample(size, generator)
        for share in (place, 1.0 - place):
            now, length = _between(table, k, share, kind)
            x = now.alpha * clean + now.sigma * _normal(clean, generator)
            spread = levels[k].sigma * math.sqrt(1.0 - levels[k].snr / now.snr)
            x_k = levels[k].alpha / now.alpha * x + spread * _normal(clean, generator)
            if kind == "ddpm":
                apart = math.sqrt(0.5) * (target.denoiser(x, now) - oracle.denoiser(x_k, levels[k]))
            else:
                apart = target.score(x, now) - oracle.score(x_k, levels[k])
                apart = apart + STATE[kind] * (x - x_k)
            total = total + 0.5 * length * apart.square().sum(-1).mean()
    return float(total)


def _between(table: Table, k: int, share: float, kind: str) -> tuple[Level, float]:
    """The level at `share` of step k, and the step's length: in snr for ddpm, in OU time for the others."""
    if kind == "ddpm":
        length = float(table.snr[k + 1] - table.snr[k])
        return Level(1.0, float(table.snr[k] + share * length) ** -0.5), length
    early, late = (0.5 * math.log1p(1.0 / float(snr)) for snr in table.snr[k : k + 2])
    t = early - share * (early - late)
    return Level(math.exp(-t), math.sqrt(-math.expm1(-2.0 * t))), early - late


def _checked(
    target: Target, table: Table, oracle: Oracle | None, n: int, least: int, generator: torch.Generator, start: str
) -> tuple[Oracle, int, str]:
    oracle, n = check_inputs(target, table, oracle), integer("n", n, least)
    if not isinstance(generator, torch.Generator):
        refuse("generator", generator, "a torch.Generator")
    return oracle, n, one_of("start", start, STARTS)


def _levels(table: Table) -> list[Level]:
    return [Level(float(alpha), float(sigma)) for alpha, sigma in zip(table.alpha, table.sigma, strict=True)]


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)

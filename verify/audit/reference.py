"""The exact probability flow: where it takes first states by the last level of a grid, and first states to take.

In u = x/α, ς = σ/α and λ = −log ς = ½ log γ the flow is the same in every process,

    du/dλ  =  m(u, ς) − u,

and three paths lead to its endpoint, which share nothing but the law:

    Gaussian        x_K = α_K μ + √(S_K/S_0) (x_0 − α_0 μ) in the eigenbasis of Cov X,   S = α²λ_i + σ²
    on the line     x_K = F_K⁻¹(F_0(x_0)): the flow keeps ranks; the smaller of F and 1 − F through its logarithm
    any law         Dormand and Prince's method of order 8 on all states together, at two tolerances

The first two are exact to rounding.  Of the third the error is taken to be the distance between its two answers, which is
about that of the coarser one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from targets import Gaussian, Level, NotAvailableError, Target
from targets.arguments import array, integer, refuse
from targets.quadrature import LineLaw
from verify.carry.density import line_law
from verify.grid import Grid
from verify.kl.quantile import ranked

TOLERANCE = 1e-11
"""Relative tolerance of the integration; the absolute one is that part of the law's size."""

COARSER = 30.0
"""Ratio of the two tolerances of an integration."""

ROUNDING = 1e-14
"""Error of the two closed forms, relative to the size of u."""

RANKS = (0.001, 0.999)
"""Ranks between which first states are spread on the line."""

SEED = 20_26
"""Of the draws that are first states in more than one dimension."""


@dataclass(frozen=True, eq=False)
class Reference:
    """First states of a law and where the exact flow takes them, for every process: u = x/α at both ends, (n, dim) each.

    `snr`: the window.  `doubt`: root mean square error of `last`.  `size`: root mean square of ‖last‖.  Build with `of`.
    """

    target: Target
    snr: tuple[float, float]
    first: Tensor
    last: Tensor
    doubt: float

    @classmethod
    def of(cls, target: Target, *, snr: tuple[float, float], particles: int) -> Self:
        """`particles` first states of `target` (`reference_states`) and their images on the window (γ_0, γ_K)."""
        grid = Grid.log_snr(1, snr=snr, process="ve")
        first = reference_states(target, grid, particles)
        last, doubt = flow_with_error(target, first, grid)
        return cls(target, (float(grid.snr[0]), float(grid.snr[-1])), first, last, doubt)

    @cached_property
    def size(self) -> float:
        """√(mean ‖u_K‖²)."""
        return distance(self.last, torch.zeros_like(self.last))

    def error(self, states: Tensor, level: Level) -> float:
        """√(mean ‖x/α − u_K‖²) of states (n, dim) that a sampler brought from the first states to `level`."""
        return distance(states / level.alpha, self.last)


def exact_flow(target: Target, start: Tensor, grid: Grid) -> Tensor:
    """States (n, dim) at grid.levels[-1] of the probability flow that starts at `start` (n, dim) at grid.levels[0].

    Only the first and the last level of the grid enter.  Gaussians and laws on the line to rounding, others to about 1e-10 of
    the law's size: `flow_error` says how far.
    ArgumentError: a target that is not float64, states of another shape or not finite, something else than a grid.
    NotAvailableError: the integration did not reach the last level.
    """
    return flow_with_error(target, start, grid)[0]


def flow_with_error(target: Target, start: Tensor, grid: Grid) -> tuple[Tensor, float]:
    """(`exact_flow`, its root mean square error in units of u = x/α, a mean over the n states of ‖·‖²)."""
    start = _checked(target, start, grid)
    if isinstance(target, Gaussian):
        states = gaussian_flow(target, start, grid)
    elif (law := line_law(target)) is not None:
        states = line_flow(law, start, grid)
    else:
        fine, coarse = (integrated_flow(target, start, grid, TOLERANCE * ratio) for ratio in (1.0, COARSER))
        return fine, distance(fine, coarse) / grid.levels[-1].alpha
    return states, ROUNDING * distance(states, torch.zeros_like(states)) / grid.levels[-1].alpha


def reference_states(target: Target, grid: Grid, n: int) -> Tensor:
    """`n` first states (n, dim) at grid.levels[0], the same at every call.

    On the line the quantiles of the start law at equally spaced ranks from 0.001 to 0.999 (of a single state, its median);
    otherwise draws from the start law with a seed of their own.
    """
    n = integer("n", n, 1)
    _belongs(target, grid)
    level = grid.levels[0]
    if (law := line_law(target)) is not None:
        rank = np.linspace(*RANKS, n) if n > 1 else np.array([0.5])
        start = ranked(law, level.alpha, level.sigma).quantile((np.log(rank), np.log1p(-rank)), np.full(n, 1.0 / n))
        return torch.from_numpy(start)[:, None].to(target.mean)
    generator = torch.Generator(device=target.mean.device).manual_seed(SEED)
    clean = target.sample(n, generator)
    noise = torch.empty_like(clean).normal_(generator=generator)
    return level.alpha * clean + level.sigma * noise


def distance(one: Tensor, other: Tensor) -> float:
    """√(mean ‖x − y‖²) over rows (n, dim)."""
    return float((one - other).square().sum(-1).mean().sqrt())


# ---- the three paths -----------------------------------------------------------------------------------


def gaussian_flow(target: Gaussian, start: Tensor, grid: Grid) -> Tensor:
    """α_K μ + √(S_K/S_0)(x − α_0 μ) in the eigenbasis."""
    first, last = grid.levels[0], grid.levels[-1]
    variance, rotation = target.variances, target.components.rotation
    grown = (last.alpha**2 * variance + last.sigma**2) / (first.alpha**2 * variance + first.sigma**2)
    away = start - first.alpha * target.mean
    if rotation is None:
        return last.alpha * target.mean + grown.sqrt() * away
    return last.alpha * target.mean + (grown.sqrt() * (away @ rotation)) @ rotation.mT


def line_flow(law: LineLaw, start: Tensor, grid: Grid) -> Tensor:
    """F_K⁻¹(F_0(x)) of a law on the line."""
    before, after = (ranked(law, level.alpha, level.sigma) for level in (grid.levels[0], grid.levels[-1]))
    x = start[:, 0].cpu().numpy()
    end = after.quantile(before.log_tails(x), np.full(len(x), 1.0 / len(x)))
    return torch.from_numpy(end)[:, None].to(start)


def integrated_flow(target: Target, start: Tensor, grid: Grid, tolerance: float = TOLERANCE) -> Tensor:
    """du/dλ = m − u from the first level to the last, all states as one system; the absolute tolerance is per coordinate."""
    from scipy.integrate import solve_ivp

    first, last = grid.levels[0], grid.levels[-1]
    size = math.sqrt(target.second_moment / target.dim) or 1.0

    def slope(half_log_snr: float, u: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(u.reshape(start.shape)).to(start)
        return (target.denoiser(state, Level(1.0, math.exp(-half_log_snr))) - state).cpu().numpy().ravel()

    ends = (0.5 * first.logsnr, 0.5 * last.logsnr)
    run = solve_ivp(
        slope,
        ends,
        (start / first.alpha).cpu().numpy().ravel(),
        "DOP853",
        t_eval=ends[1:],
        rtol=tolerance,
        atol=tolerance * size,
    )
    if not run.success or not np.isfinite(run.y).all():
        raise NotAvailableError(f"exact flow on {target!r} from snr {first.snr:g} to {last.snr:g}: {run.message}")
    return last.alpha * torch.from_numpy(run.y[:, -1].reshape(start.shape)).to(start)


def _checked(target: Target, start: Tensor, grid: Grid) -> Tensor:
    _belongs(target, grid)
    return array("start", start, (None, target.dim)).to(target.mean)


def _belongs(target: Target, grid: Grid) -> None:
    if not isinstance(target, Target):
        refuse("target", target, "a target, e.g. targets.get('curved_mixture')")
    if target.mean.dtype != torch.float64:
        refuse(
            "target dtype", target.mean.dtype, "float64 for an exact flow; move it with target.to(dtype=torch.float64)"
        )
    if not isinstance(grid, Grid):
        refuse("grid", grid, "a Grid, e.g. Grid.log_snr(64, snr=(0.01, 100.0))")

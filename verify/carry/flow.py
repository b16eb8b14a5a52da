"""Log-density along a deterministic table, in any dimension: points moved with their Jacobians.

    log q(y)  =  log q_0(x) − log |det ∂y/∂x|,     y = M(x)

One-step tables multiply the determinants of their steps; a multistep table has none of its own, and the Jacobian of the
whole map is carried instead.  The denoiser's Jacobian is exact, (α/σ²) Cov[X given y].  With x drawn from the start law,
y is a draw from q, and

    KL(p ‖ q)  =  E_q[w log w − w + 1],     w = p/q,

whose terms are not negative: where w is near one, the error of a mean over n points is a few times n^{-1/2} of the value
itself, however small the value.  On coarse grids w has a heavy tail that few draws see; it enters the bias.  On the line the
same points and Jacobians are integrated by quadrature.  A map that folds is noticed at the points that are moved, and only
there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from targets import Estimate, Level, NotAvailableError
from verify.carry.advance import advance
from verify.carry.density import Line, starting
from verify.carry.particles import chunk_seed, first_state
from verify.carry.space import REACH, Carried, pointwise_kl
from verify.carry.transport import RESOLUTIONS, beginning, converged, finished
from verify.oracle import Oracle
from verify.step import Table

HEAVY = 1.0
"""Largest log p/q up to which the standard error of the mean is believed."""

MOST_ENTRIES = 2**27
"""Entries of all Jacobians together: one gibibyte."""


@dataclass(frozen=True, eq=False)
class Tangent:
    """A batch of states (n, d) with derivatives along d directions each (n, d, d): tangents[:, j] = ∂y/∂x_j."""

    value: Tensor
    tangents: Tensor

    def __add__(self, other: Tangent) -> Tangent:
        return Tangent(self.value + other.value, self.tangents + other.tangents)

    def __rmul__(self, factor: float) -> Tangent:
        return Tangent(factor * self.value, factor * self.tangents)


def flow(table: Table, oracle: Oracle, start: str = "exact", *, points: int, seed: int) -> Estimate:
    """KL(p ‖ q) at the last level from `points` draws of the start law, with its standard error."""
    deterministic(table)
    target = oracle.target
    if points * target.dim**2 > MOST_ENTRIES:
        raise NotAvailableError(
            f"flow of {table.method.name} on {target!r}: Jacobians of {points} points in {target.dim} dimensions are "
            f"too large; available: points={MOST_ENTRIES // target.dim**2} or fewer, one-step tables on "
            "rotation-invariant laws, particles"
        )
    generator = torch.Generator(device=target.mean.device).manual_seed(chunk_seed("flow", seed))
    x = first_state(table, oracle, points, generator, start)
    log_q = first_log_density(table, oracle, x, start)
    y, log_volume = moved(table, oracle, x)
    ratio = (target.log_prob(y, table.stop) - (log_q - log_volume)).cpu().numpy()
    with np.errstate(over="ignore"):
        terms = pointwise_kl(ratio, np.zeros_like(ratio))
    if not np.isfinite(terms).all():
        raise NotAvailableError(
            f"marginal KL of {table.method.name} by flow: p/q is beyond floats at {int((~np.isfinite(terms)).sum())} of "
            f"{points} points; take more steps"
        )
    if (seen := float(np.exp(ratio).mean())) < 0.5:
        raise NotAvailableError(
            f"marginal KL of {table.method.name} by flow: E_q[p/q] is {seen:.3g} instead of 1 over {points} points, so that "
            "most of the true mass lies where the sampler does not go; take more steps, or more points"
        )
    value, stderr = float(terms.mean()), float(terms.std(ddof=1)) / math.sqrt(points)
    rounding = 1e-14 * math.sqrt(table.steps * target.dim) * math.sqrt(2.0 * value)
    return Estimate(value, stderr, rounding + _tail(ratio, terms), f"flow with exact Jacobians, {points} points")


def _tail(ratio: np.ndarray, terms: np.ndarray) -> float:
    """What draws from q may have missed of p where p/q is large: two terms as large as the largest that was seen.

    Where the largest log w exceeds HEAVY, also the mass of p that was not seen, |1 − mean w| or twice the largest point's
    share of it, at the largest log w and two more.
    """
    largest = float(ratio.max())
    unseen = 2.0 * float(terms.max()) / len(terms)
    if largest <= HEAVY:
        return unseen
    missed = max(abs(1.0 - float(np.exp(ratio).mean())), 2.0 * math.exp(largest) / len(ratio))
    return max(unseen, missed * (2.0 + largest))


def line_flow(
    table: Table, oracle: Oracle, start: str = "exact", resolutions: tuple[float, ...] = RESOLUTIONS
) -> tuple[Carried, Carried]:
    """The same on the line by quadrature, at two resolutions, the finer one last."""
    deterministic(table)
    space = Line(oracle)
    front = beginning(space, starting(space, table, start), 2.0 * REACH)
    steps = [table.step(k) for k in range(table.steps)]
    return converged(lambda resolution: finished(space, table, steps, front, resolution), resolutions)


def deterministic(table: Table) -> None:
    """Refuse a table that adds noise."""
    if table.noise.any():
        raise NotAvailableError(
            f"flow of {table.method.name}: its steps add noise, and the density is no change of variables; available: "
            "density (on the line), radial, moments (Gaussian targets), particles"
        )


def moved(table: Table, oracle: Oracle, x: Tensor) -> tuple[Tensor, Tensor]:
    """(M(x), log det ∂M/∂x) for points (n, d); a Jacobian whose determinant is not positive is refused as a fold."""
    count, dim = x.shape
    unit = torch.eye(dim, dtype=x.dtype, device=x.device).expand(count, dim, dim)
    state, total = Tangent(x, unit), x.new_zeros(count)
    past: list[Tangent] = []

    def ask(at: Tangent, level: Level) -> Tangent:
        turned = at.tangents @ oracle.jacobian(at.value, level).mT
        return Tangent(oracle.denoiser(at.value, level), turned)

    for k in range(table.steps):
        step = table.step(k)
        state, past = advance(step, state, ask, past)
        if not table.multistep or k + 1 == table.steps:
            sign, size = torch.linalg.slogdet(state.tangents)
            if bool((sign <= 0).any()):
                raise NotAvailableError(
                    f"flow of {table.method.name}: the map to snr {step.stop.snr:.4g} folds at {int((sign <= 0).sum())} of "
                    f"{count} points (its Jacobian's determinant is not positive); take more steps there, or use particles"
                )
            total = total + size
            state = Tangent(state.value, unit)
    return state.value, total


def first_log_density(table: Table, oracle: Oracle, x: Tensor, start: str) -> Tensor:
    """log density of the first state at x (n, d), for the starts of `particles.run`: (n,)."""
    level = table.start
    if start == "exact":
        return oracle.target.log_prob(x, level)
    scale = table.first_width(start)
    centre = level.alpha * oracle.target.mean if start == "moment" else torch.zeros_like(oracle.target.mean)
    off = ((x - centre) / scale).square().sum(-1)
    return -0.5 * off - 0.5 * x.shape[1] * math.log(2.0 * math.pi * scale**2)

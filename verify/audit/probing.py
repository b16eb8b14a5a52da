"""Linear probing: the exact law of a sampler's last state on a Gaussian, without Monte Carlo.

With the exact denoiser of a Gaussian, which is affine, a sampler is an affine map of its first state and of every Gaussian
that it draws, whatever its code looks like:

    x_K  =  c + A x_0 + Σ_j B_j z_j,     x_0 ~ N(α_0 μ, S_0),  z_j ~ N(0, I),  S = α²Cov X + σ²

A batch of rows reads it off: one at the mean of the start without noise, d that move along the columns of √S_0, d for each
of the J draws.  A few rows of random numbers, in a batch of their own, have to come out as the sum of the others says.  Then

    mean  c + A α_0 μ,     covariance  A S_0 Aᵀ + Σ_j B_j B_jᵀ,

and the marginal KL is that of two Gaussians.  With 1 + ε_i the eigenvalues of the sampled covariance relative to the true
one, δ_i the shift of the mean along them in true standard deviations,

    KL  =  ½ Σ [r_i − log(1 + r_i)] + ½ Σ δ_i²/(1 + ε_i),     r_i = −ε_i/(1 + ε_i),

from the eigenvalues of the difference of the covariances, so that it keeps its digits however small it is: KL ≈ ¼ Σ ε_i².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from targets import Estimate, Gaussian, Level, NotAvailableError
from targets.arguments import refuse
from verify.audit.contract import Sampler
from verify.audit.draws import Draws
from verify.audit.order import ROUNDING, SINGLE, STEPS, WINDOW, OrderFit, fitted, last_states, refined, whole
from verify.grid import Grid
from verify.kl.frozen import log_remainder

LINEAR = 1e-9
"""Largest deviation of a random row from the sum of the basis rows, relative to the size of the rows."""

RANDOM_ROWS = 3

ENTRIES = 2**24
"""Numbers in all draws of one batch: more rows go into further batches."""

SEED = 7


@dataclass(frozen=True, eq=False)
class Law:
    """The Gaussian law of the last state: mean (d,), covariance (d, d); A (d, d) and B (J, d, d), the maps that make it.

    `noise[j]` is B_j: column i is the response to coordinate i of draw j.
    """

    mean: Tensor
    covariance: Tensor
    map: Tensor
    noise: Tensor

    @property
    def variables(self) -> int:
        """J, how many Gaussian vectors the sampler drew."""
        return len(self.noise)


def probe(sampler: Sampler, target: Gaussian, grid: Grid) -> Law:
    """The exact law of the sampler's last state from the exact start law at grid.levels[0].

    Every draw has to go through torch (see `draws`), one row of d numbers for each row of states.
    NotAvailableError: the sampler is not affine in its start and its draws (clipping, thresholds, decisions), couples rows,
    or draws something else than rows.  SamplerError: states that are not finite, of another shape or dtype.
    ArgumentError: a target that is no float64 Gaussian, something else than a grid.
    """
    if not isinstance(target, Gaussian) or target.mean.dtype != torch.float64:
        refuse("target", target, "a Gaussian in float64: with any other law a sampler is not linear")
    if not isinstance(grid, Grid):
        refuse("grid", grid, "a Grid, e.g. Grid.log_snr(64, snr=(0.01, 100.0))")
    first, dim = grid.levels[0], target.dim
    centre, root = first.alpha * target.mean, _root(target, first)
    count = _counted(sampler, target, grid, centre)
    rows = _Rows(dim, count)
    states = rows.run(lambda start: last_states(sampler, target, grid, start, SEED), centre, root)
    away = states - states[0]
    basis = away[1 : 1 + dim * (1 + count)].unflatten(0, (1 + count, dim))
    said = torch.einsum("rjk,jkd->rd", rows.random, basis)
    missed = float((away[-RANDOM_ROWS:] - said).abs().max())
    allowed = LINEAR * float(said.abs().max() + states[0].abs().max())
    if not missed <= allowed:
        raise NotAvailableError(
            f"law by probing at K = {grid.steps}: not linear, rows of random numbers end up to {missed:.3g} off the sum of "
            f"what their {count} draws and start do one by one (allowed {allowed:.3g}); does it clip, threshold or choose?"
        )
    maps = basis.mT
    covariance = torch.einsum("jab,jcb->ac", maps, maps)
    return Law(states[0], 0.5 * (covariance + covariance.mT), maps[0] @ torch.linalg.inv(root), maps[1:])


def gaussian_kl(law: Law, target: Gaussian, level: Level) -> Estimate:
    """KL(p ‖ q), nats: p the true law N(αμ, α²Cov X + σ²) at `level`, q the probed one.

    `bias`: what rounding of the covariances can do.  NotAvailableError: the sampled law is singular.
    """
    width, rotation = (level.alpha**2 * target.variances + level.sigma**2).sqrt(), target.components.rotation
    axes = torch.eye(target.dim, dtype=width.dtype, device=width.device) if rotation is None else rotation
    scaled = axes / width
    sampled = axes.mT @ law.covariance @ axes
    excess = (sampled - torch.diag(width**2)) / (width[:, None] * width)
    values, vectors = torch.linalg.eigh(excess)
    if not bool((values > -1.0).all()):
        raise NotAvailableError("marginal KL: infinite, the sampler's law is singular")
    shift = (vectors.mT @ (scaled.mT @ (law.mean - level.alpha * target.mean))).cpu().numpy()
    relative = values.cpu().numpy()
    value = 0.5 * float(log_remainder(relative / (1.0 + relative)).sum() + (shift**2 / (1.0 + relative)).sum())
    rounding = 16.0 * np.finfo(float).eps * np.sqrt(1.0 + law.variables)
    size = float(np.abs(relative).sum() + np.abs(shift) @ (1.0 + np.abs((scaled.mT @ law.mean).cpu().numpy())))
    return Estimate(value, 0.0, rounding * size + rounding**2 * target.dim, "linear probing, closed form")


def weak_order(
    sampler: Sampler,
    target: Gaussian,
    *,
    process: str = "vp",
    steps: Sequence[int] = STEPS,
    snr: tuple[float, float] = WINDOW,
    eased: bool = False,
    single: float = SINGLE,
) -> OrderFit:
    """Order p of a sampler's law on a Gaussian: KL ~ K^{-2p}, the errors of the fit being √KL.

    Arguments, grids and floors as in `order`, `single` as in `order_against`; deterministic samplers have a weak order too.
    NotAvailableError as `probe`, and for fewer than three points above the floor.
    """
    counts = whole(steps)
    errors = np.empty(len(counts))
    for i, k in enumerate(counts):
        grid = refined(k, snr=snr, process=process, eased=eased)
        errors[i] = float(gaussian_kl(probe(sampler, target, grid), target, grid.levels[-1]).value) ** 0.5
    return fitted(counts, errors, ROUNDING * np.sqrt(counts), single, eased=eased)


def _root(target: Gaussian, level: Level) -> Tensor:
    """A root R of the covariance at `level`, R Rᵀ = S."""
    width, rotation = (level.alpha**2 * target.variances + level.sigma**2).sqrt(), target.components.rotation
    return torch.diag(width) if rotation is None else rotation * width


def _counted(sampler: Sampler, target: Gaussian, grid: Grid, centre: Tensor) -> int:
    """J, from a run without noise."""
    draws = Draws(lambda _, shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device))
    with draws:
        last_states(sampler, target, grid, centre[None], SEED)
    return draws.count


class _Rows:
    """The rows of a probe: what each has of the start's basis (block 0) and of each draw's (blocks 1 … J).

    Row 0 has nothing, row 1 + jd + i has coordinate i of block j, the last rows have `random` (R, 1 + J, d).
    """

    def __init__(self, dim: int, count: int) -> None:
        self.dim, self.count = dim, count
        generator = torch.Generator().manual_seed(SEED)
        self.random = torch.randn(RANDOM_ROWS, 1 + count, dim, generator=generator, dtype=torch.float64)
        self.total = 1 + dim * (1 + count) + RANDOM_ROWS

    def block(self, j: int, first: int, stop: int) -> Tensor:
        """Rows first … stop − 1 of block j: (stop − first, d)."""
        out = torch.zeros(self.total, self.dim, dtype=torch.float64)
        out[1 + j * self.dim : 1 + (j + 1) * self.dim] = torch.eye(self.dim, dtype=torch.float64)
        out[-RANDOM_ROWS:] = self.random[:, j]
        return out[first:stop]

    def run(self, last: Callable[[Tensor], Tensor], centre: Tensor, root: Tensor) -> Tensor:
        """Last states of all rows, (total, d).

        The random rows are a batch of their own: rows that depend on what else is in their batch are noticed.
        """
        most, basis = max(1, ENTRIES // (self.dim * (1 + self.count))), self.total - RANDOM_ROWS
        out = []
        for first, stop in pairwise([*range(0, basis, most), basis, self.total]):
            draws = Draws(self._supply(first, stop))
            with draws:
                out.append(last(centre + self.block(0, first, stop) @ root.mT))
            if draws.count != self.count:
                raise NotAvailableError(
                    f"law by probing: {draws.count} draws with {stop - first} rows, {self.count} with one; the number of "
                    "draws must not depend on the states"
                )
        return torch.cat(out)

    def _supply(self, first: int, stop: int) -> Callable[..., Tensor]:
        def supply(j: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
            if not shape or shape[0] != stop - first or int(np.prod(shape)) != (stop - first) * self.dim:
                raise NotAvailableError(
                    f"law by probing: a draw of shape {shape} for {stop - first} rows in R^{self.dim}; expected one row of "
                    f"{self.dim} numbers for each state"
                )
            if j >= self.count:
                return torch.zeros(shape, dtype=dtype, device=device)
            return self.block(1 + j, first, stop).reshape(shape).to(dtype=dtype, device=device)

        return supply

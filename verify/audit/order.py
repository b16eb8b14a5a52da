"""Measured order of a sampler: how fast its last states approach the exact flow's as its grid is refined.

At each K of a doubling sequence the sampler runs on a grid of K steps over one window of log γ = a … b, and

    error(K)  =  √(mean ‖x_K − T(x_0)‖²)/α_K,      order  =  −d log error / d log K,

T the exact flow from first to last level and the mean over the first states.  Two grids tell the start from the method:

    uniform     log γ_k = a + (b − a) s,     s = k/K        every step is O(1/K)
    eased       log γ_k = a + (b − a) s²                    the first step is (b − a)/K², the k-th one (2k − 1)(b − a)/K²

A method of order p that takes its first step, of length h_0, with a method of order q makes an error O(h_0^{q+1}) there:
K^{-(q+1)} on the uniform grid, K^{-2(q+1)} on the eased one.  Hence, with one first step of order q = 1,

    measured on the uniform grid     min(p, 2)        overall, start-up included
    measured on the eased grid       min(p, 4)        the method's own

The lengths of neighbouring eased steps differ by 2(b − a)/K², so that the grid is smooth and a method keeps its
order on it.  Errors made at the end (a last step of lower order) show on both grids.

Rounding ends a power law: points below `ROUNDING`·√K of the law's size, or below ten times the reference's own error, are cut
off, and so are the last points where an error that fell has stopped falling below `SINGLE` of that size, the rounding of
tables in single precision.  A plateau above it is the sampler's own, and its order there is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from targets import NotAvailableError, Target
from targets.arguments import ascending, refuse
from verify import rates
from verify.audit.contract import Sampler
from verify.audit.reference import Reference
from verify.carry.advance import advance
from verify.grid import Grid
from verify.schedules import window
from verify.step import Table

STEPS = (16, 32, 64, 128, 256)
"""K of the runs, where none are given."""

WINDOW = (0.5, 50.0)
"""snr of the first and last level, where none are given: the flow bends from the first step on, so that a start shows."""

PARTICLES = 24
"""First states, where their number is not given."""

ROUNDING = 1e-12
"""Smallest error that is a method's, over the law's size and √K."""

SINGLE = 1e-5
"""A plateau below this part of the law's size is taken for rounding."""

STILL, SLOW = 0.5, 1.6
"""An error has stopped falling when its order is below this part of the best local order before, and below this order."""

APART = 10.0
"""A point has to stand above its floor by this factor: the floor then moves its square by 1%."""


class SamplerError(RuntimeError):
    """A sampler returned something else than finite float64 states (n, dim); the message names K and what came back."""


@dataclass(frozen=True, eq=False)
class OrderFit:
    """Measured `order` with its `interval`: the last local order, and a bracket of the limit (see `rates.fit`).

    `steps`, `errors`: every K that was run and the error there, in units of u = x/α (pathwise) or √KL (weak).
    `local`: orders between neighbours among the points kept.  `cut`: how many of the last points were at the floor.
    `eased`: which grids.
    """

    order: float
    interval: tuple[float, float]
    steps: tuple[int, ...]
    errors: np.ndarray
    local: np.ndarray
    cut: int
    eased: bool

    @property
    def kept(self) -> tuple[int, ...]:
        """The K that the order was read from."""
        return self.steps[: len(self.steps) - self.cut]


def order(
    sampler: Sampler,
    target: Target,
    *,
    process: str = "vp",
    steps: Sequence[int] = STEPS,
    snr: tuple[float, float] = WINDOW,
    eased: bool = False,
    particles: int = PARTICLES,
) -> OrderFit:
    """Pathwise order of a deterministic sampler under the exact denoiser of `target`.

    process: that of the sampler's states.  steps: at least three ascending K.  snr: the window (γ_0, γ_K).  particles: number
    of first states (`reference_states`).
    An error that does not fall is a result, order 0.
    SamplerError: states that are not finite, of another shape or dtype.  NotAvailableError: fewer than three points above the
    floor.  ArgumentError: steps or window that cannot be used.
    """
    return order_against(
        sampler, Reference.of(target, snr=snr, particles=particles), process=process, steps=steps, eased=eased
    )


def order_against(
    sampler: Sampler,
    reference: Reference,
    *,
    process: str = "vp",
    steps: Sequence[int] = STEPS,
    eased: bool = False,
    single: float = SINGLE,
) -> OrderFit:
    """`order` with a reference that is at hand, for many samplers on one law.

    single: part of the law's size below which a plateau is rounding; 0 for samplers in float64 throughout.
    """
    counts = whole(steps)
    grids = [refined(k, snr=reference.snr, process=process, eased=eased) for k in counts]
    first, last = grids[0].levels[0], grids[0].levels[-1]
    start = first.alpha * reference.first
    errors = np.array([reference.error(last_states(sampler, reference.target, grid, start), last) for grid in grids])
    floors = np.maximum(ROUNDING * reference.size * np.sqrt(counts), APART * reference.doubt)
    return fitted(counts, errors, floors, single * reference.size, eased=eased)


def refined(steps: int, *, snr: tuple[float, float], process: str, eased: bool) -> Grid:
    """K steps over a window: log γ = a + (b − a) s, or with s² if `eased`; s = k/K.  Both ends are hit exactly."""
    steps, low, high = window(steps, snr)
    place = (np.arange(steps + 1) / steps) ** (2 if eased else 1)
    values = low * np.exp(place * math.log(high / low))
    values[-1] = high
    return Grid.from_snr(values, process)


def startup(uniform: OrderFit, eased: OrderFit, tolerance: float) -> float | None:
    """The order that the start leaves of the method's: the uniform grid's, if it is below the eased one's by > `tolerance`.

    None where the start does not show.
    """
    return uniform.order if uniform.order < eased.order - tolerance else None


def as_sampler(build: Callable[[Grid], Table]) -> Sampler:
    """A table builder of ours as a sampler; each step with noise draws once.

    The sampler refuses (ArgumentError) a table that stops elsewhere than at the grid's last level.
    """

    def sampler(denoiser: Callable, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:  # type: ignore[type-arg]
        table = build(grid)
        if not math.isclose(table.stop.snr, grid.levels[-1].snr, rel_tol=1e-9):
            refuse(
                "table.stop.snr", table.stop.snr, f"the grid's last, {grid.levels[-1].snr}; build it on grid.beyond()"
            )
        x, past = start, []
        for k in range(table.steps):
            step = table.step(k)
            x, past = advance(step, x, denoiser, past)
            if step.noise > 0:
                x = x + step.noise * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x

    return sampler


def last_states(sampler: Sampler, target: Target, grid: Grid, start: Tensor, seed: int = 0) -> Tensor:
    """What the sampler returns from a copy of `start` under the exact denoiser, checked: finite float64 (n, dim)."""
    generator = torch.Generator(device=start.device).manual_seed(seed)
    with torch.no_grad():
        states = sampler(target.denoiser, grid, start.clone(), generator)
    where = f"K = {grid.steps}, process {grid.process!r}"
    if not isinstance(states, Tensor):
        raise SamplerError(
            f"{where}: {type(states).__name__} came back; expected a tensor of shape {tuple(start.shape)}"
        )
    if states.shape != start.shape:
        raise SamplerError(f"{where}: shape {tuple(states.shape)} came back; expected {tuple(start.shape)}")
    if states.dtype != start.dtype:
        raise SamplerError(f"{where}: {states.dtype} came back; expected {start.dtype}")
    wrong = ~torch.isfinite(states)
    if bool(wrong.any()):
        raise SamplerError(f"{where}: {int(wrong.sum())} of {states.numel()} numbers are {float(states[wrong][0])}")
    return states


def fitted(steps: Sequence[int], errors: np.ndarray, floors: np.ndarray, single: float, *, eased: bool) -> OrderFit:
    """The order from errors at each K: points at the floor cut off, then `rates.fit`.

    floors: rounding at each K.  single: the level below which a plateau is taken for rounding too.
    NotAvailableError: fewer than three points are left.
    """
    counts = tuple(int(k) for k in steps)
    stop = _above(np.asarray(counts, dtype=float), errors, floors, single)
    if stop < 3:
        shown = ", ".join(f"{e:.3g}" for e in errors)
        raise NotAvailableError(
            f"order: {stop} of {len(counts)} points stand above the floor, at least 3 are needed (errors {shown} at K = "
            f"{', '.join(map(str, counts))}); take fewer steps, or a law on which the sampler is not exact"
        )
    fit = rates.fit(np.asarray(counts[:stop], dtype=float), errors[:stop])
    low, high = fit.interval
    return OrderFit(-fit.slope, (-high, -low), counts, errors, -fit.local_slopes, len(counts) - stop, eased)


def _above(steps: np.ndarray, errors: np.ndarray, floors: np.ndarray, single: float) -> int:
    """How many of the first points stand above the floor."""
    heard = errors > floors
    stop = len(errors) if heard.all() else int(np.argmin(heard))
    log, u = np.log(errors[:stop]), np.log(steps[:stop])
    for k in range(1, stop - 1):
        best = max(-np.diff(log[: k + 1]) / np.diff(u[: k + 1]))
        rest = (log[k] - log[stop - 1]) / (u[stop - 1] - u[k])
        if best > STILL and rest < min(STILL * best, SLOW) and errors[k] < single:
            heard = errors[:stop] > APART * float(np.median(errors[k + 1 : stop]))
            return stop if heard.all() else int(np.argmin(heard))
    return stop


def whole(steps: Sequence[int]) -> tuple[int, ...]:
    """At least three strictly ascending whole numbers."""
    counts = ascending("steps", list(steps), minimum_length=3)
    if (counts != np.round(counts)).any():
        refuse("steps", steps, "whole numbers")
    return tuple(int(k) for k in counts)

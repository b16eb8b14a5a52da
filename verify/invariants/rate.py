"""The declared order, measured where the flow or the law is exact: pathwise error or √KL ~ K^{-p}, K = 16 … 256.

Steps alternate as 1 : 2 in log γ,

    log γ_k  =  a + (b − a)(k − ⅓[k odd])/K

so that a multistep method needs the right ratio of neighbouring steps: on even steps it may be upside down, on smoothly
growing ones the two differ by O(1/K).  Even steps, and the eased ones of `verify.audit.order`, tell the reason of a failure.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from targets import NotAvailableError
from verify.audit.contract import Denoiser, Sampler
from verify.audit.order import (
    APART,
    PARTICLES,
    ROUNDING,
    STEPS,
    WINDOW,
    OrderFit,
    SamplerError,
    last_states,
    order_against,
    refined,
)
from verify.audit.probing import gaussian_kl, probe, weak_order
from verify.audit.reference import Reference
from verify.grid import Grid
from verify.invariants.check import Broken
from verify.invariants.laws import line, skewed
from verify.invariants.subject import Subject

IRREGULAR = 0.3
"""Local orders that rise and fall by more than this are no power law's."""

LESS = 0.5
"""How much the slope through irregular errors may lie below the declared order, besides the allowance."""

NEAR = 1e3
"""A first error within this factor of the floor is a method that rounding alone parts from the exact flow."""

NONE = 0.3
"""An order below this is that of an error that does not fall."""

WEAK_STEPS = (16, 32, 64, 128)
"""K where the law is probed, whose cost grows like K²."""

FEW_STEPS = (16, 32, 64)
"""K that tell the reason of a failure."""


def allowance(declared: float) -> float:
    """How far below the declared order p a correct method may measure: 0.05, 0.1, 0.2 for p = 1, 2, 3, and 0.4 at most."""
    return min(0.05 * 2.0 ** (max(declared, 1.0) - 1.0), 0.4)


def order_reached(subject: Subject) -> None:
    """The declared order, on a curved law on the line (deterministic) or on a Gaussian in the plane (marginal KL)."""
    steps = WEAK_STEPS if subject.stochastic else STEPS
    jumpy = alternating(subject.sampler)
    try:
        measured = _measured(subject, jumpy, steps)
    except NotAvailableError:
        if at_rounding(subject, jumpy, steps):
            return
        raise
    if not below(measured, subject.order) or measured.errors[0] <= NEAR * _floors(subject, steps)[0]:
        return
    found = _found(subject, measured)
    try:
        even = _measured(subject, subject.sampler, steps)
    except NotAvailableError as error:
        raise Broken(f"{found}On even steps not measurable: {error}") from error
    if irregular(measured) or irregular(even):
        overall = 0.5 * (_overall(measured) + _overall(even))
        if overall >= subject.order - LESS - allowance(subject.order):
            return
        local = ", ".join(f"{order:.2f}" for order in (*measured.local, *even.local))
        raise Broken(
            f"{found}Errors are irregular: local orders {local}, overall {overall:.3f} (allowed "
            f"{LESS + allowance(subject.order):.2g} less), so that the reason cannot be told more closely"
        )
    raise Broken(found + _reason(subject, even))


def _found(subject: Subject, measured: OrderFit) -> str:
    """What was declared, what was measured, and on which grids."""
    law = "marginal KL like K^-2p, √KL of its law" if subject.stochastic else "distance to the exact flow"
    shown = ", ".join(
        f"{error:.3g} at K = {steps}" for steps, error in zip(measured.steps, measured.errors, strict=True)
    )
    low, high = measured.interval
    return (
        f"declared of order {subject.order:g}, measured {measured.order:.3f} (interval {low:.3f} to {high:.3f}; "
        f"{subject.order - allowance(subject.order):.3g} would have passed): {law} {shown}, on {subject.process} grids of "
        f"snr {WINDOW[0]:g} to {WINDOW[1]:g} whose steps in log snr alternate as 1 : 2.  "
    )


def at_rounding(subject: Subject, sampler: Sampler, steps: tuple[int, ...]) -> bool:
    """Too few points stand above the floor because the method is so good.

    Its first error is within `NEAR` of the floor, or the first doubling has the declared order; an error below the floor is
    taken to be there, which can only lower that order.
    """
    errors, floors = _errors(subject, sampler, steps[:2]), _floors(subject, steps[:2])
    if errors[0] <= NEAR * floors[0]:
        return True
    fall = np.log(errors[0] / max(errors[1], floors[1])) / np.log(steps[1] / steps[0])
    return bool(fall >= subject.order - allowance(subject.order))


def below(measured: OrderFit, declared: float) -> bool:
    """The last local order is below the declared one by more than the allowance."""
    return measured.order < declared - allowance(declared)


def irregular(measured: OrderFit) -> bool:
    """Local orders both rise and fall: errors are no power law, as with steps of random length.

    Then the slope through all points, the mean of two families of grids, may lie below the declared order by `LESS` and the
    allowance: a method of an order less is found all the same.
    """
    change = np.diff(measured.local)
    return bool(change.max(initial=0.0) > IRREGULAR and change.min(initial=0.0) < -IRREGULAR)


def _overall(measured: OrderFit) -> float:
    """Slope through all points that were kept."""
    return -float(np.polyfit(np.log(measured.kept), np.log(measured.errors[: len(measured.kept)]), 1)[0])


def alternating(sampler: Sampler) -> Sampler:
    """The sampler on grids whose steps, two by two, are as 1 : 2: every second level is moved back by a third of a step."""

    def moved(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        log = np.log(grid.snr)
        values = grid.snr.copy()
        values[1:-1:2] = np.exp((2.0 * log[1:-1:2] + log[:-2:2]) / 3.0)
        return sampler(denoiser, Grid(values, grid.process), start, generator)

    return moved


def _measured(subject: Subject, sampler: Sampler, steps: tuple[int, ...], eased: bool = False) -> OrderFit:
    if subject.stochastic:
        return weak_order(sampler, skewed(), process=subject.process, steps=steps, eased=eased)
    return order_against(sampler, _exact(), process=subject.process, steps=steps, eased=eased)


def _errors(subject: Subject, sampler: Sampler, steps: tuple[int, ...]) -> np.ndarray:
    """The errors that `_measured` is fitted to."""
    grids = [refined(k, snr=WINDOW, process=subject.process, eased=False) for k in steps]
    if subject.stochastic:
        laws = [(probe(sampler, skewed(), grid), grid.levels[-1]) for grid in grids]
        return np.array([max(float(gaussian_kl(law, skewed(), last).value), 0.0) ** 0.5 for law, last in laws])
    exact = _exact()
    start = grids[0].levels[0].alpha * exact.first
    return np.array([exact.error(last_states(sampler, exact.target, grid, start), grid.levels[-1]) for grid in grids])


def _floors(subject: Subject, steps: tuple[int, ...]) -> np.ndarray:
    """What rounding does to them."""
    rounding = ROUNDING * np.sqrt(steps)
    return rounding if subject.stochastic else np.maximum(rounding * _exact().size, APART * _exact().doubt)


@cache
def _exact() -> Reference:
    return Reference.of(line(), snr=WINDOW, particles=PARTICLES)


def _reason(subject: Subject, even: OrderFit) -> str:
    """What even steps and short first steps say, and what that usually means."""
    if not below(even, subject.order):
        return (
            f"On even steps {even.order:.3f}: the lengths of neighbouring steps are mixed up, "
            "as with their ratio upside down or taken for 1 in a multistep formula"
        )
    try:
        short = _measured(subject, subject.sampler, FEW_STEPS, eased=True)
    except (NotAvailableError, SamplerError) as error:
        return f"On even steps {even.order:.3f}; with short first steps not measurable: {error}"
    if not below(short, subject.order):
        return (
            f"On even steps {even.order:.3f}, with short first steps {short.order:.3f}: the start-up is of too low an order, "
            "the method itself is not; declare the lower order, or take the first steps with a better method"
        )
    both = f"On even steps {even.order:.3f}, with short first ones {short.order:.3f}: neither start-up nor step ratios"
    if max(even.order, short.order) < NONE:
        return (
            f"{both}; the error stays as steps are refined: usually the last level is not the grid's, the denoiser is asked "
            "at another level than the state's, or the size of the noise is wrong"
        )
    return (
        f"{both}; usually a coefficient of the formula is wrong, or taken at the wrong level, so that the first term it does "
        f"not match is of order {round(even.order) + 1} in the step; or the declaration is too high"
    )

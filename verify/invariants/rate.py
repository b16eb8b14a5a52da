"""The declared order, measured where the flow or the law is exact: pathwise error or √KL ~ K^{-p}, K = 16 … 256.

Steps alternate as 1 : 2 in log γ,

    log γ_k  =  a + (b − a)(k − ⅓[k odd])/K

so that a multistep method needs the right ratio of neighbouring steps: on even steps it may be upside down, on smoothly
growing ones the two differ by O(1/K).  Even steps, and the eased ones of `verify.audit.order`, tell the reason of a failure.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from targets import NotAvailableError
from verify.audit.contract import Denoiser, Sampler
from verify.audit.order import STEPS, OrderFit, SamplerError, order
from verify.audit.probing import weak_order
from verify.grid import Grid
from verify.invariants.check import Broken
from verify.invariants.laws import line, skewed
from verify.invariants.subject import Subject

IRREGULAR = 0.3
"""Local orders that rise and fall by more than this are no power law's."""

WEAK_STEPS = (16, 32, 64, 128)
"""K where the law is probed, whose cost grows like K²."""

FEW_STEPS = (16, 32, 64)
"""K that tell the reason of a failure."""


def allowance(declared: float) -> float:
    """How far a correct method's measured order may lie below the declared one: 0.05, 0.1, 0.2 at order 1, 2, 3."""
    return 0.05 * 2.0 ** (declared - 1.0)


def order_reached(subject: Subject) -> None:
    """The declared order, on a curved law on the line (deterministic) or on a Gaussian in the plane (marginal KL)."""
    steps = WEAK_STEPS if subject.stochastic else STEPS
    measured = _measured(subject, alternating(subject.sampler), steps)
    if not below(measured, subject.order):
        return
    even = _measured(subject, subject.sampler, steps)
    if irregular(measured) or irregular(even):
        if 0.5 * (_overall(measured) + _overall(even)) >= subject.order / 3.0:
            return
    shown = ", ".join(
        f"{error:.3g} at K = {steps}" for steps, error in zip(measured.steps, measured.errors, strict=True)
    )
    what = "√KL of its law" if subject.stochastic else "distance to the exact flow"
    raise Broken(
        f"declared of order {subject.order:g}, measured {measured.order:.3f} (allowed {allowance(subject.order):.2g} less): "
        f"{what} {shown}; {_reason(subject, even)}"
    )


def below(measured: OrderFit, declared: float) -> bool:
    """The last local order is below the declared one by more than the allowance."""
    return measured.order < declared - allowance(declared)


def irregular(measured: OrderFit) -> bool:
    """Local orders both rise and fall: errors are no power law, as with steps of random length.

    Then a slope through all points of two families of grids has to be a third of the declared order at least; a correct
    method whose errors are random by a factor e either way misses that once in 400.
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
    return order(sampler, line(), process=subject.process, steps=steps, eased=eased)


def _reason(subject: Subject, even: OrderFit) -> str:
    """What even steps and short first steps say."""
    if not below(even, subject.order):
        return f"with even steps {even.order:.3f}, so that the lengths of neighbouring steps are mixed up"
    try:
        short = _measured(subject, subject.sampler, FEW_STEPS, eased=True)
    except (NotAvailableError, SamplerError) as error:
        return f"with even steps {even.order:.3f}; with short first steps not measurable: {error}"
    if not below(short, subject.order):
        return f"with short first steps {short.order:.3f}, so that the start-up is of too low an order"
    return f"with even steps {even.order:.3f} and short first ones {short.order:.3f}: neither start-up nor step ratios"

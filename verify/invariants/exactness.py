"""What is known exactly: the point mass, the response to a constant error, and the counterpart that is here.

The point mass at c has the denoiser c, and its exact flow shrinks x − αc like σ:

    deterministic      x_K − α_K c  =  (σ_K/σ_0)(x_0 − α_0 c)                     for every start
    stochastic         x_0 ~ N(α_0 c, σ_0²)  gives  x_K ~ N(α_K c, σ_K²)          covariance by linear probing

A denoiser that answers c + e instead moves the mean to α_K(c + f e); "constant_bias" says that f depends on γ_0 and γ_K only.
"""

from __future__ import annotations

import numpy as np
import torch

from targets import Gaussian
from verify.audit.order import as_sampler
from verify.audit.probing import probe
from verify.grid import Grid
from verify.invariants.check import ROUNDING, Broken, near, single
from verify.invariants.laws import constant, curved, denoiser_of, skewed, starts
from verify.invariants.subject import DIM, ROWS, Subject, gaussians, silence, steps_of

CENTRE = torch.tensor([1.5, -0.7, 0.4], dtype=torch.float64)
"""Where the point mass sits."""

AGREEMENT = 1e-10
"""Largest relative difference from the counterpart that a sampler claims to agree with."""


def point_mass(subject: Subject) -> None:
    """A point mass is reproduced: mean, and spread about it."""
    for steps in (1, 5, 40):
        grid = subject.grid(steps)
        if subject.stochastic:
            _point_mass_law(subject, grid)
        else:
            _point_mass_flow(subject, grid)


def _point_mass_flow(subject: Subject, grid: Grid) -> None:
    first, last = grid.levels[0], grid.levels[-1]
    away = first.sigma * torch.cat([torch.zeros(1, DIM, dtype=torch.float64), gaussians(ROWS - 1, DIM, seed=31)])
    left = subject.run(constant(CENTRE), grid, first.alpha * CENTRE + away) - last.alpha * CENTRE
    off = float(left[0].abs().max() / (last.alpha * CENTRE.abs().max()))
    if not off <= ROUNDING:
        raise Broken(
            f"a point mass at c is not reproduced: from α_0 c the state should go to α_K c, and misses it by {off:.3g} of "
            f"it; the coefficients of state and denoiser do not add up ({steps_of(grid)}){single(off)}"
        )
    shrunk = float((left[1:] * away[1:]).sum() / away[1:].square().sum())
    wanted = last.sigma / first.sigma
    message = (
        f"a point mass at c is not reproduced: state − αc should shrink by {wanted:.7f}, shrank by {shrunk:.7f}; a "
        f"coefficient of the state or of the denoiser is wrong ({steps_of(grid)}){single(abs(shrunk / wanted - 1.0))}"
    )
    near(left[1:], wanted * away[1:], message)


def _point_mass_law(subject: Subject, grid: Grid) -> None:
    last = grid.levels[-1]
    centre = CENTRE[:2]
    law = probe(subject.sampler, Gaussian(centre, torch.zeros(2, 2)), grid)
    mean, covariance = torch.as_tensor(law.mean), torch.as_tensor(law.covariance)
    near(
        mean,
        last.alpha * centre,
        "a point mass at c is not reproduced: the mean should be α_K c; the coefficients of state and denoiser do not "
        f"add up ({steps_of(grid)})",
    )
    near(
        covariance,
        last.sigma**2 * torch.eye(2, dtype=torch.float64),
        "a point mass at c is not reproduced: the covariance about it should be σ_K²·1; a coefficient of the noise or "
        f"of the state is wrong ({steps_of(grid)})",
    )


def constant_bias(subject: Subject) -> None:
    """f of a denoiser that is off by a constant vector is the same on grids of 1, 3 and 6 steps with the same ends."""
    error = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    found: dict[int, float] = {}
    for steps in (1, 3, 6):
        grid = subject.grid(steps)
        first, last = grid.levels[0], grid.levels[-1]
        start = (first.alpha * CENTRE).expand(ROWS, DIM).clone()
        exact, biased = (subject.run(constant(c), grid, start.clone(), silence)[0] for c in (CENTRE, CENTRE + error))
        found[grid.steps] = float((biased - exact) @ error / (last.alpha * error @ error))
    values = np.array(list(found.values()))
    if not np.ptp(values) <= ROUNDING:
        shown = ", ".join(f"{value:.9g} at K = {steps}" for steps, value in found.items())
        raise Broken(
            f"a denoiser off by a constant e moves the mean by α_K f e with f that depends on the steps: {shown}; declared "
            f"to depend on the first and last level only{single(float(np.ptp(values)))}"
        )


def counterpart(subject: Subject) -> None:
    """The same states as the counterpart's (deterministic), or the same law on a Gaussian (stochastic), on the same grids."""
    assert subject.like is not None
    for steps in (1, 2, 7):
        grid = subject.grid(steps)
        name = f"differs from its counterpart ({steps_of(grid)})"
        if subject.stochastic:
            one, other = (probe(s, skewed(), grid) for s in (subject.sampler, as_sampler(subject.like)))
            near(torch.as_tensor(one.mean), torch.as_tensor(other.mean), f"mean {name}", AGREEMENT)
            near(torch.as_tensor(one.covariance), torch.as_tensor(other.covariance), f"covariance {name}", AGREEMENT)
            continue
        start, denoiser = starts(grid), denoiser_of(curved())
        one, other = (subject.run(denoiser, grid, start.clone()), as_sampler(subject.like))
        near(one, other(denoiser, grid, start.clone(), torch.Generator()), f"state {name}", AGREEMENT)

"""Samplers commute with what the channel commutes with: turning, moving, and rescaling the state.

    rotation       m_R(y) = R m(Rᵀ y),  x_0 → R x_0,  z → R z          gives  R x_K       (permutations of coordinates too)
    translation    m_c(y) = m(y − αc) + c,  x_0 → x_0 + α_0 c          gives  x_K + α_K c
    gauge          the same γ_k in another process, x_0 → (α_0′/α_0) x_0    gives  (α_K′/α_K) x_K

Rotation holds for whatever is a vector formula; translation and gauge are declared.  On a curved law, noise given.
"""

from __future__ import annotations

import torch

from targets.channel import PROCESSES
from verify.invariants.check import Broken, near
from verify.invariants.laws import curved, denoiser_of, moved, starts, turned
from verify.invariants.subject import DIM, Subject, gaussians, noise

STEPS = 5
"""Steps of the grids of these checks."""


def permutation(subject: Subject) -> None:
    """Coordinates in another order."""
    _turned(subject, torch.eye(DIM, dtype=torch.float64)[[2, 0, 1]], "coordinates are not treated alike")


def rotation(subject: Subject) -> None:
    """A rotation of the law, of the start and of the noise rotates the result."""
    matrix = torch.linalg.qr(gaussians(DIM, DIM, seed=21))[0]
    _turned(
        subject, matrix, "not equivariant under rotations, as if coordinates were clipped, rounded or scaled one by one"
    )


def _turned(subject: Subject, matrix: torch.Tensor, meaning: str) -> None:
    grid = subject.grid(STEPS)
    start, denoiser = starts(grid), denoiser_of(curved())
    plain = subject.run(denoiser, grid, start.clone(), noise())
    after = subject.run(turned(denoiser, matrix), grid, start @ matrix.T, noise(matrix=matrix))
    near(after, plain @ matrix.T, meaning)


def translation(subject: Subject) -> None:
    """Moving the law by c moves the samples by α_K c."""
    grid = subject.grid(STEPS)
    start, denoiser = starts(grid), denoiser_of(curved())
    shift = torch.tensor([3.0, -1.5, 0.75], dtype=torch.float64)
    first, last = grid.levels[0], grid.levels[-1]
    plain = subject.run(denoiser, grid, start.clone(), noise())
    after = subject.run(moved(denoiser, shift), grid, start + first.alpha * shift, noise())
    near(
        after - plain,
        (last.alpha * shift).expand_as(plain),
        "translating the law by c does not translate the samples by α_K c; coefficients of state and denoiser do not add up",
    )


def gauge(subject: Subject) -> None:
    """The same snr grid in another process gives the same states up to their scale."""
    grid = subject.grid(STEPS)
    start, denoiser = starts(grid), denoiser_of(curved())
    plain = subject.run(denoiser, grid, start.clone(), noise()) / grid.levels[-1].alpha
    for process in sorted(set(PROCESSES) - {subject.process}):
        other = subject.grid(STEPS, process=process)
        scale = other.levels[0].alpha / grid.levels[0].alpha
        try:
            after = subject.run(denoiser, other, scale * start, noise())
        except Broken as error:
            raise Broken(f"declared free of the process, but on a grid of {process!r}: {error}") from error
        near(
            after / other.levels[-1].alpha,
            plain,
            f"x/α differs between {subject.process!r} and {process!r} on one snr grid",
        )

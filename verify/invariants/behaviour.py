"""What every sampler keeps, whatever its mathematics: types, inputs, rows apart, one source of randomness, its levels.

A sampler is a function of (denoiser, grid, start, generator) that treats rows alike and apart: row i of the result depends on
row i of the start and of the noise only.
"""

from __future__ import annotations

import numpy as np
import torch

from verify.invariants.check import ROUNDING, Broken, near
from verify.invariants.laws import curved, denoiser_of, starts
from verify.invariants.sources import untouched
from verify.invariants.subject import ROWS, WINDOW, Recorded, Subject, noise, silence, steps_of

STEPS = 6
"""Steps of the grids of these checks."""

EXTREME = (1e-8, 1e8)
"""snr window whose ends are noise alone and data alone, to eight digits."""

RAISED = 2.0
"""Samplers that add noise before a step may ask below the first snr by this factor; it is Karras et al.'s bound (√2)²."""


def output(subject: Subject) -> None:
    """A finite tensor of states of the start's shape comes back, for one row and for several."""
    grid = subject.grid(STEPS)
    for rows in (1, ROWS):
        subject.run(denoiser_of(curved()), grid, starts(grid, rows))


def types(subject: Subject) -> None:
    """dtype and device of the start are those of the result and of every state that the denoiser is asked about."""
    grid = subject.grid(STEPS)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        for dtype in (torch.float64, torch.float32):
            asked = Recorded(denoiser_of(curved()))
            out = subject.run(asked, grid, starts(grid).to(device=device, dtype=dtype))
            if out.dtype != dtype:
                raise Broken(f"states of {dtype} in, {out.dtype} out: the caller's precision is not kept")
            if out.device.type != device:
                raise Broken(f"states on {device} in, on {out.device} out")
            for y in asked.states:
                if y.dtype != dtype:
                    raise Broken(f"the denoiser was asked about states of {y.dtype} though the start is {dtype}")


def inputs(subject: Subject) -> None:
    """Start and grid are not written to."""
    grid = subject.grid(STEPS)
    start = starts(grid)
    parts = {"start": start, "grid.snr": grid.snr, "grid.alpha": grid.alpha, "grid.sigma": grid.sigma}
    before = {name: _copy(part) for name, part in parts.items()}
    subject.run(denoiser_of(curved()), grid, start)
    for name, value in before.items():
        after = _copy(parts[name])
        if not np.array_equal(after, value):
            raise Broken(f"{name} was written to: changed by up to {np.abs(after - value).max():.3g}")


def _copy(part: torch.Tensor | np.ndarray) -> np.ndarray:
    return part.detach().cpu().numpy().copy() if isinstance(part, torch.Tensor) else part.copy()


def generator(subject: Subject) -> None:
    """The generator decides the result: same seed, same bits; another seed, other states just where it is stochastic.

    No global generator (torch, numpy) is advanced, and a deterministic sampler leaves its generator alone.
    """
    grid = subject.grid(STEPS)
    start, denoiser = starts(grid), denoiser_of(curved())

    def seeded(seed: int) -> tuple[torch.Tensor, bool]:
        source = torch.Generator().manual_seed(seed)
        before = source.get_state()
        out = subject.run(denoiser, grid, start.clone(), generator=source)
        return out, not torch.equal(before, source.get_state())

    with untouched():
        (first, drew), (again, _), (other, _) = seeded(1), seeded(1), seeded(2)
    if not torch.equal(first, again):
        raise Broken(f"two runs with one seed differ by up to {float((first - again).abs().max()):.3g}")
    apart = float((first - other).abs().max())
    if subject.stochastic and apart == 0.0:
        raise Broken("declared stochastic, but two seeds give the same states to the last bit: no noise is drawn")
    if not subject.stochastic and apart != 0.0:
        raise Broken(f"declared deterministic, but two seeds give states that differ by up to {apart:.3g}")
    if not subject.stochastic and drew:
        raise Broken("declared deterministic, but it draws from the generator")


def rows_apart(subject: Subject) -> None:
    """Four of the rows alone, in another order and with the same noise, end where they end among all."""
    grid = subject.grid(STEPS)
    start, denoiser = starts(grid), denoiser_of(curved())
    chosen = torch.tensor([5, 0, 3, 6])
    whole = subject.run(denoiser, grid, start.clone(), noise())
    some = subject.run(denoiser, grid, start[chosen].clone(), noise(rows=chosen))
    near(some, whole[chosen], "a row's result depends on which other rows are in the batch")


def levels(subject: Subject) -> None:
    """It asks inside its grid, first at its first level about the start itself, and as often at every K.

    States are compared in u = x/α, which no change of process scales.  Without noise; a stochastic sampler may ask at up to
    RAISED times less snr than the first level, if it raises the noise before it steps.  At least K questions in K steps, and
    from 6 to 12 steps as many more as from 12 to 18.
    """
    asked: dict[int, int] = {}
    for steps in (6, 12, 18):
        grid = subject.grid(steps)
        start, record = starts(grid), Recorded(denoiser_of(curved()))
        subject.run(record, grid, start.clone(), silence)
        asked[grid.steps] = len(record.levels)
        if not record.levels:
            raise Broken(f"the denoiser was never asked ({steps_of(grid)})")
        snr = np.array([level.snr for level in record.levels])
        first, last = grid.snr[0], grid.snr[-1]
        least = first / RAISED if subject.stochastic else first
        for k, value in enumerate(snr):
            if not least * (1 - ROUNDING) <= value <= last * (1 + ROUNDING):
                raise Broken(f"question {k} is at snr {value:.6g}, outside the grid's {first:.6g} to {last:.6g}")
        if abs(snr[0] / first - 1.0) > (RAISED - 1.0 if subject.stochastic else ROUNDING):
            raise Broken(f"the first question is at snr {snr[0]:.6g}: expected the first level, {first:.6g}")
        about = record.states[0] / record.levels[0].alpha
        near(about, start / grid.levels[0].alpha, "the first question is not about the start, in units of x/α")
        if len(snr) < grid.steps:
            raise Broken(f"{len(snr)} questions in {grid.steps} steps: a step was left out")
    if len(asked) == 3:
        (_, few), (_, more), (_, most) = sorted(asked.items())
        if most - more != more - few:
            raise Broken(
                f"questions at K = {', '.join(map(str, asked))}: {few}, {more}, {most}; expected equal differences"
            )


def extremes(subject: Subject) -> None:
    """Finite between snr 1e-8 and 1e8, from above as from below, in eight steps and in as few as it takes."""
    for steps in (8, subject.least):
        for window in (EXTREME, (EXTREME[0], 1.0), (1.0, EXTREME[1])):
            grid = subject.grid(steps, window)
            subject.run(denoiser_of(curved()), grid, starts(grid))


def one_step(subject: Subject) -> None:
    """As few steps as it declares to take, K = `least`, down to one."""
    for window in (WINDOW, (1.0, 1.1)):
        grid = subject.grid(subject.least, window)
        subject.run(denoiser_of(curved()), grid, starts(grid))

"""Particles: a table applied to a batch of states, in logical chunks of 4,096 chains.

Chunk c draws from a generator of its own, seeded by (seed, c): results do not depend on the device's memory, on how many
chunks run together or on whether the run was resumed, and recording the trajectory draws nothing.  A step draws once, and
allocates nothing beside the denoiser's answer: states alternate between the result and one buffer, or go straight to their
place in the trajectory.  No number is read back from the device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from targets import Level, NotAvailableError
from targets.arguments import integer, one_of, refuse
from verify.carry.advance import Buffers, advance
from verify.oracle import Oracle
from verify.step import STARTS, Step, Table

CHAINS = 4096
"""Chains in a logical chunk."""

_STEPS: WeakKeyDictionary[Table, tuple[Step, ...]] = WeakKeyDictionary()


def run(
    table: Table,
    oracle: Oracle,
    n: int,
    *,
    seed: int,
    start: str = "exact",
    trajectory: bool = False,
    progress: bool = False,
) -> Tensor:
    """`n` final states (n, dim) of the table under the oracle; with `trajectory` all K + 1 states (K + 1, n, dim).

    Device and dtype are the target's (`target.to(device=..., dtype=...)`); float32 is refused by the target where its
    rounding would show on states of the law, not on those of a sampler that diverges.
    start: "exact" (p_0), "moment" (N(α_0 E X, σ_0²)) or "prior" (N(0, 1) in vp, N(0, σ_0²) otherwise).
    Nothing is recorded for differentiation.
    """
    seed, start = integer("seed", seed, 0), one_of("start", start, STARTS)
    check_parts(table, oracle)
    n = integer("n", n, 1)
    shape = (table.steps + 1, n, oracle.target.dim) if trajectory else (n, oracle.target.dim)
    out = states(oracle, shape)
    steps = steps_of(table)
    chunks = range(0, n, CHAINS)
    with torch.no_grad(), _bar(len(chunks) * len(steps), shown=progress) as tick:
        for c, first in enumerate(chunks):
            rows = out[..., first : min(first + CHAINS, n), :]
            generator = chunk_generator(oracle, seed, c)
            state = first_state(table, oracle, rows.shape[-2], generator, start)
            if trajectory:
                places = rows[0].copy_(state), *rows[1:]
            else:  # the last state falls into its place in the result
                even = len(steps) % 2 == 0
                pair = (rows.copy_(state), state) if even else (state, rows)
                places = (*(pair[k % 2] for k in range(len(steps) + 1)),)
            buffers = Buffers(state)
            ask = lasting(oracle) if table.multistep else oracle.denoiser
            draw, past = partial(_normal, buffers, generator), []
            for step, here, ahead in zip(steps, places[:-1], places[1:], strict=True):
                past = move(step, here, ask, past, buffers, draw, ahead)
                tick(1)
    return out


def steps_of(table: Table) -> tuple[Step, ...]:
    """The table's steps as numbers, made once as long as the table lives."""
    if table not in _STEPS:
        _STEPS[table] = tuple(table.step(k) for k in range(table.steps))
    return _STEPS[table]


def check_parts(table: Table, oracle: Oracle) -> None:
    """Refuse what is no table or no oracle."""
    if not isinstance(table, Table):
        refuse(
            "table",
            table,
            "a table: build one with verify.samplers, or with Table.from_steps (of a function: verify.audit.order)",
        )
    if not isinstance(oracle, Oracle):
        refuse("oracle", oracle, "an oracle, e.g. verify.oracle.Exact(target)")


def states(oracle: Oracle, shape: tuple[int, ...]) -> Tensor:
    """An empty tensor of this shape, with device and dtype of the oracle's target."""
    mean = oracle.target.mean
    try:
        return torch.empty(shape, dtype=mean.dtype, device=mean.device)
    except RuntimeError as error:
        size = math.prod(shape) * mean.element_size() / 2**30
        raise NotAvailableError(
            f"{size:.1f} GiB for states of shape {shape}: lower n, or drop the trajectory"
        ) from error


def move(
    step: Step,
    state: Tensor,
    ask: Callable[[Tensor, Level], Tensor],
    past: list[Tensor],
    buffers: Buffers,
    draw: Callable[[], Tensor],
    out: Tensor,
) -> list[Tensor]:
    """Writes the next state to `out` and returns the answers to hand on; `draw()` is the step's Gaussian, asked for once."""
    mean, past = advance(step, state, ask, past, buffers, out)
    if step.noise > 0:
        torch.add(mean, draw(), alpha=step.noise, out=out)
    elif mean is not out:
        out.copy_(mean)
    return past


def _normal(buffers: Buffers, generator: torch.Generator) -> Tensor:
    return buffers["noise"].normal_(generator=generator)


def lasting(oracle: Oracle) -> Callable[[Tensor, Level], Tensor]:
    """The oracle's denoiser, its answers copied where they are views of the state, which later steps write over."""

    def ask(state: Tensor, at: Level) -> Tensor:
        answer = oracle.denoiser(state, at)
        shared = answer.untyped_storage().data_ptr() == state.untyped_storage().data_ptr()
        return answer.clone() if shared else answer

    return ask


def chunk_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable: the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def chunk_generator(oracle: Oracle, seed: int, chunk: int) -> torch.Generator:
    """The generator of a chunk, on the device of the oracle's target."""
    device = oracle.target.mean.device
    return torch.Generator(device=device).manual_seed(chunk_seed("particles", seed, chunk))


def first_state(table: Table, oracle: Oracle, count: int, generator: torch.Generator, start: str) -> Tensor:
    """`count` draws of the first state, (count, dim)."""
    level, target = table.start, oracle.target
    noise = torch.empty(count, target.dim, dtype=target.mean.dtype, device=target.mean.device)
    if start == "exact":
        clean = level.alpha * target.sample(count, generator)
    else:
        clean = (level.alpha if start == "moment" else 0.0) * target.mean
    return torch.add(clean, noise.normal_(generator=generator), alpha=table.first_width(start), out=noise)


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[callable]:  # type: ignore[valid-type]
    """A progress bar over chunk-steps, or nothing."""
    if not shown:
        yield lambda _: None
        return
    with Progress(transient=True) as bar:
        task: TaskID = bar.add_task("particles", total=total)
        yield lambda amount: bar.advance(task, amount)

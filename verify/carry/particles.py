"""Particles: a table applied to a batch of states, in logical chunks of 4,096 chains.

Chunk c draws from a generator of its own, seeded by (seed, c): results do not depend on the device's memory, on how many
chunks run together or on whether the run was resumed, and recording the trajectory draws nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from targets import NotAvailableError
from targets.arguments import integer, one_of, refuse
from verify.carry.advance import advance
from verify.oracle import Oracle
from verify.step import STARTS, Step, Table

CHAINS = 4096
"""Chains in a logical chunk."""


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
    rounding would show.  start: "exact" (p_0), "moment" (N(α_0 E X, σ_0²)) or "prior" (N(0, 1) in vp, N(0, σ_0²) otherwise).
    """
    n, seed = integer("n", n, 1), integer("seed", seed, 0)
    start = one_of("start", start, STARTS)
    if not isinstance(table, Table):
        refuse("table", table, "a table: build one with verify.samplers, e.g. samplers.ddpm(grid)")
    if not isinstance(oracle, Oracle):
        refuse("oracle", oracle, "an oracle, e.g. verify.oracle.Exact(target)")
    mean = oracle.target.mean
    shape = (table.steps + 1, n, oracle.target.dim) if trajectory else (n, oracle.target.dim)
    try:
        out = torch.empty(shape, dtype=mean.dtype, device=mean.device)
    except RuntimeError as error:
        size = math.prod(shape) * mean.element_size() / 2**30
        raise NotAvailableError(
            f"{size:.1f} GiB for states of shape {shape}: lower n, or drop the trajectory"
        ) from error
    steps = [table.step(k) for k in range(table.steps)]
    chunks = range(0, n, CHAINS)
    with _bar(len(chunks) * len(steps), shown=progress) as tick:
        for c, first in enumerate(chunks):
            block = slice(first, min(first + CHAINS, n))
            for k, state in enumerate(
                _chunk(steps, table, oracle, block.stop - first, _generator(seed, c, mean), start)
            ):
                if trajectory:
                    out[k, block] = state
                elif k == len(steps):
                    out[block] = state
                tick(int(k > 0))
    return out


def chunk_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable: the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _generator(seed: int, chunk: int, like: Tensor) -> torch.Generator:
    return torch.Generator(device=like.device).manual_seed(chunk_seed("particles", seed, chunk))


def _chunk(
    steps: list[Step], table: Table, oracle: Oracle, count: int, generator: torch.Generator, start: str
) -> Iterator[Tensor]:
    x = first_state(table, oracle, count, generator, start)
    noise = torch.empty_like(x)
    past: list[Tensor] = []
    yield x
    for step in steps:
        x, past = advance(step, x, oracle.denoiser, past)
        if step.noise > 0:
            x = x.add(noise.normal_(generator=generator), alpha=step.noise)
        yield x


def first_state(table: Table, oracle: Oracle, count: int, generator: torch.Generator, start: str) -> Tensor:
    """`count` draws of the first state, (count, dim)."""
    level, target = table.start, oracle.target
    if start == "exact":
        clean = level.alpha * target.sample(count, generator)
    else:
        clean = (level.alpha if start == "moment" else 0.0) * target.mean.expand(count, -1)
    noise = torch.empty_like(clean).normal_(generator=generator)
    return torch.add(clean, noise, alpha=table.first_width(start))


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[callable]:  # type: ignore[valid-type]
    """A progress bar over chunk-steps, or nothing."""
    if not shown:
        yield lambda _: None
        return
    with Progress(transient=True) as bar:
        task: TaskID = bar.add_task("particles", total=total)
        yield lambda amount: bar.advance(task, amount)

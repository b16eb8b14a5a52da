"""Several tables and several seeds in one batch: the denoiser is asked once a step for all of them.

    result[i, j]  =  run(tables[i], oracle, n, seed=seeds[j])

Every table draws from generators of its own, those of (seed, chunk) as in `run`, and a step is the same arithmetic on the
same numbers; only the denoiser sees all rows at once, and a matrix product rounds differently in a batch of another size.
So results agree to rounding, not to the bit.

It pays where n is small and a call costs more than its rows: most at a single chain, little at 64, nothing at a thousand.
Seeds gain more than tables, whose steps are still taken one table at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from targets import NotAvailableError
from targets.arguments import integer, one_of, refuse
from verify.carry.advance import Buffers
from verify.carry.particles import CHAINS, check_parts, chunk_generator, first_state, lasting, move, states, steps_of
from verify.oracle import Oracle
from verify.step import STARTS, Table


def run_together(
    tables: Sequence[Table], oracle: Oracle, n: int, *, seeds: Sequence[int], start: str = "exact"
) -> Tensor:
    """`n` final states of every table under every seed, (tables, seeds, n, dim); n, seeds and start as for `run`.

    One table may be any.  Several have to visit the same levels and ask once a step, at their state, as one-step and
    multistep methods on one grid do; NotAvailableError otherwise.  A chunk's rows are held at once for all tables and seeds.
    """
    if not isinstance(tables, Sequence) or not tables:
        refuse("tables", tables, "a list of at least one table")
    for table in tables:
        check_parts(table, oracle)
    if not isinstance(seeds, Sequence) or not seeds:
        refuse("seeds", seeds, "a list of at least one integer >= 0")
    seeds = [integer("seeds", seed, 0) for seed in seeds]
    n, start = integer("n", n, 1), one_of("start", start, STARTS)
    _check_levels(tables)
    out = states(oracle, (len(tables), len(seeds), n, oracle.target.dim))
    with torch.no_grad():
        for c, first in enumerate(range(0, n, CHAINS)):
            rows = out[:, :, first : min(first + CHAINS, n)]
            generators = [[chunk_generator(oracle, seed, c) for seed in seeds] for _ in tables]
            count = rows.shape[2]
            begun = [
                torch.stack([first_state(table, oracle, count, generator, start) for generator in own])
                for table, own in zip(tables, generators, strict=True)
            ]
            rows.copy_(_moved(tables, oracle, torch.stack(begun), generators))
    return out


def _moved(tables: Sequence[Table], oracle: Oracle, x: Tensor, generators: list[list[torch.Generator]]) -> Tensor:
    """The last states from the first, (tables, seeds, rows, dim)."""
    spare = torch.empty_like(x)
    buffers = Buffers(x[0])
    draws = [_draw(buffers, own) for own in generators]
    pasts: list[list[Tensor]] = [[] for _ in tables]
    ask = lasting(oracle) if any(table.multistep for table in tables) else oracle.denoiser
    for steps in zip(*(steps_of(table) for table in tables), strict=True):
        asks = [ask]
        if len(tables) > 1:
            asked = any(step.stages[0].asked for step in steps)
            answers = ask(x, steps[0].stages[0].level) if asked else x
            asks = [lambda *_, own=own: own for own in answers]
        for i, step in enumerate(steps):
            pasts[i] = move(step, x[i], asks[i], pasts[i], buffers, draws[i], spare[i])
        x, spare = spare, x
    return x


def _draw(buffers: Buffers, generators: list[torch.Generator]) -> Callable[[], Tensor]:
    """Draws the noise (seeds, rows, dim), each seed's part from its own generator."""

    def draw() -> Tensor:
        noise = buffers["noise"]
        for part, generator in zip(noise, generators, strict=True):
            part.normal_(generator=generator)
        return noise

    return draw


def _check_levels(tables: Sequence[Table]) -> None:
    first = tables[0]
    for i, table in enumerate(tables if len(tables) > 1 else ()):
        same = np.array_equal(table.alpha, first.alpha) and np.array_equal(table.sigma, first.sigma)
        if not (same and table.one_evaluation):
            raise NotAvailableError(
                f"tables[{i}], {table.method.name}: it does not ask once a step at the levels that tables[0], "
                f"{first.method.name}, visits; available: particles.run, a table at a time"
            )

"""Tables with one coefficient wrong, for controls: what a bug in a sampler looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from verify.grid import Grid
from verify.step import Table

Build = Callable[[Grid], Table]


def off(build: Build, *, state: float = 1.0, outputs: float = 1.0, noise: float = 1.0) -> Build:
    """The builder whose coefficients of the state, of the denoiser's answers and of the noise are multiplied so."""

    def built(grid: Grid) -> Table:
        table = build(grid)
        return replace(table, state=table.state * state, outputs=table.outputs * outputs, noise=table.noise * noise)

    return built


def thinned(build: Build, every: int) -> Build:
    """The builder on every `every`-th level of its grid: `every` times fewer steps than asked for, on the same window."""

    def built(grid: Grid) -> Table:
        return build(Grid.from_snr(np.unique(np.append(grid.snr[::every], grid.snr[-1])), grid.process))

    return built

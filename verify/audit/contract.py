"""What an audited sampler is: a denoiser, a grid, first states and a generator go in, last states come out.

    sampler(denoiser, grid, start, generator) -> (n, dim)

    denoiser    m̂(y, level), rows (n, dim) at the level (α, σ) at which they are asked
    grid        K + 1 levels of the sampler's own process ("vp", "ve" or "flow"); K steps are taken
    start       (n, dim) states at the first level
    generator   the only source of randomness; a deterministic sampler leaves it alone
    returned    (n, dim) states at the last level, in the same process

Anything callable in this way can be measured: a table of ours, another library's class behind an adapter, a function in
a test file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from targets import Level, NotAvailableError
from targets.channel import process as find_process
from verify.grid import Grid

Denoiser = Callable[[Tensor, Level], Tensor]
"""m̂(y, level): rows (n, dim) in, rows (n, dim) out."""


class Sampler(Protocol):
    """From first states at the first level of a grid to states at its last level."""

    def __call__(self, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator, /) -> Tensor:
        """(n, dim) states at the last level."""
        ...


class NotDrivableError(NotAvailableError):
    """A class or a configuration that cannot be driven by an exact score; the message is the reason."""


@dataclass(frozen=True)
class Declared:
    """The order that a class or its documentation promises, and where it says so.

    `order` p: a deterministic sampler's states are within O(K^{-p}) of the exact flow's, a stochastic one's marginal KL
    falls like K^{-2p}.
    """

    order: float
    source: str


@dataclass(frozen=True)
class Audited:
    """One configuration of one sampler: what it is called, how it is run, what it promises.

    `process`: that of its states.  `declared`: None where nothing is promised.  `counterpart`: our builder of the same
    method, given the grid; None where there is none.  `least`: the fewest steps that it can take.  `most`: beyond so many
    steps it draws too many variables to be probed.  `native`: the sampler in the library's own precision, where that is not
    float64.
    """

    library: str
    name: str
    options: Mapping[str, Any]
    process: str
    stochastic: bool
    sampler: Sampler
    declared: Declared | None = None
    counterpart: Callable[[Grid], Any] | None = None
    least: int = 1
    most: int = 1000
    native: Sampler | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        find_process(self.process)

    @property
    def label(self) -> str:
        """Name with the options that are not the class's defaults."""
        inside = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({inside})" if inside else self.name


@dataclass(frozen=True)
class Untestable:
    """A class or configuration of a library that is not measured, and why."""

    library: str
    name: str
    reason: str

"""A sampler with what its author declares of it, and runs of it whose result is looked at before anything is concluded.

    sampler(denoiser, grid, start, generator) -> (n, dim)          the contract of verify.audit.contract

In a check the Gaussians that a sampler draws through torch are given: variable number j is one fixed array for all runs,
turned or cut to rows where a check says so, so that two runs differ by what the check changes and by nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from targets import ArgumentError, Level
from targets.arguments import integer, one_of, real, refuse
from targets.channel import PROCESSES
from verify.audit.contract import Denoiser, Sampler
from verify.audit.draws import Draws, Supply
from verify.audit.limits import TimeLimitError
from verify.grid import Grid
from verify.invariants.check import Broken, limit, named, raised
from verify.step import IDENTITIES, Table

ROWS, DIM = 7, 3
"""Rows and dimension of the batches in checks: unlike each other, so that an axis is known by its length."""

WINDOW = (0.05, 30.0)
"""snr of the grids of checks, unless a check says otherwise."""

AS_SAMPLER = "a builder of tables (grid -> table) becomes a sampler by verify.audit.order.as_sampler(builder)"


@dataclass(frozen=True)
class Subject:
    """A sampler and its declaration, checked.

    order: p with states within O(K^{-p}) of the exact flow's, or marginal KL O(K^{-2p}) where stochastic.
    process: of the grids it is given.  identities: names among `verify.step.IDENTITIES`.  least: fewest steps it takes.
    like: a builder of our tables that it claims to agree with.
    """

    sampler: Sampler
    order: float
    stochastic: bool
    process: str = "vp"
    identities: Collection[str] = field(default_factory=frozenset)
    least: int = 1
    like: Callable[[Grid], Table] | None = None
    seconds: float = 30.0

    def __post_init__(self) -> None:
        _check_signature(self.sampler)
        real(
            "order",
            self.order,
            "a number in (0, 6]: higher orders cannot be told from rounding",
            low=0.0,
            high=6.000001,
        )
        if not isinstance(self.stochastic, (bool, np.bool_)):
            refuse("stochastic", self.stochastic, "True (it draws random numbers) or False")
        one_of("process", self.process, PROCESSES)
        if isinstance(self.identities, str):
            refuse("identities", self.identities, f"a collection of names among {', '.join(IDENTITIES)}")
        for identity in self.identities:
            one_of("identities", identity, IDENTITIES)
        integer("least", self.least, 1)
        if self.like is not None and not callable(self.like):
            refuse("like", self.like, "a builder from a grid to a table, e.g. verify.samplers.ddim")
        limit(self.seconds)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return named(self.sampler)

    def grid(self, steps: int, snr: tuple[float, float] = WINDOW, process: str | None = None) -> Grid:
        """An uneven grid of at least `least` steps: log γ = log γ_0 + (s + 0.08 sin 2πs)·log(γ_K/γ_0), s = k/K."""
        part = np.linspace(0.0, 1.0, max(steps, self.least) + 1)
        part = part + 0.08 * np.sin(2.0 * np.pi * part)
        levels = snr[0] * np.exp(part * np.log(snr[1] / snr[0]))
        levels[[0, -1]] = snr
        return Grid(levels, process or self.process)

    def run(
        self,
        denoiser: Denoiser,
        grid: Grid,
        start: Tensor,
        supply: Supply | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Its last states; with `supply` in place of its Gaussians.

        Raises `Broken` where it raises, returns no tensor, one of another shape, or numbers that are not finite.
        """
        generator = torch.Generator(device=start.device).manual_seed(0) if generator is None else generator
        try:
            if supply is None:
                out = self.sampler(denoiser, grid, start, generator)
            else:
                with Draws(supply):
                    out = self.sampler(denoiser, grid, start, generator)
        except (TimeLimitError, Broken):
            raise
        except Exception as error:
            raise Broken(f"{raised(error)} ({steps_of(grid)})") from error
        if not isinstance(out, Tensor):
            hint = f"; {AS_SAMPLER}" if isinstance(out, Table) else ""
            raise Broken(f"returned {type(out).__name__} in place of a tensor of states{hint}")
        if out.shape != start.shape:
            raise Broken(f"returned shape {tuple(out.shape)} for states of shape {tuple(start.shape)}")
        if not bool(torch.isfinite(out).all()):
            bad = float(out[~torch.isfinite(out)][0])
            raise Broken(
                f"returned {bad} in {int((~torch.isfinite(out)).sum())} of {out.numel()} entries ({steps_of(grid)})"
            )
        return out.detach()


def _check_signature(sampler: object) -> None:
    """Refuse what cannot be called with (denoiser, grid, start, generator), telling a builder of tables how it can."""
    wanted = "a callable (denoiser, grid, start, generator) -> states"
    if not callable(sampler):
        refuse("sampler", sampler, wanted)
    try:
        signature = inspect.signature(sampler)
    except ValueError:  # a callable without a signature: the checks tell
        return
    four, one = _takes(signature, 4), _takes(signature, 1)
    if four is not None:
        hint = f"; {AS_SAMPLER}" if one is None else ""
        raise ArgumentError(f"sampler = {named(sampler)}{signature}: expected {wanted} ({four}){hint}")


def _takes(signature: inspect.Signature, count: int) -> str | None:
    """Why it does not take so many arguments by position; None where it does."""
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        return str(error)
    return None


def steps_of(grid: Grid) -> str:
    """Steps and window in words."""
    return f"{grid.steps} step{'s' * (grid.steps > 1)}, snr {grid.snr[0]:.3g} to {grid.snr[-1]:.3g}, {grid.process}"


def gaussians(*shape: int, seed: int) -> Tensor:
    """Fixed standard Gaussians (shape), float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def silence(_number: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """No noise: every Gaussian is zero."""
    return torch.zeros(shape, dtype=dtype, device=device)


def noise(rows: Tensor | None = None, matrix: Tensor | None = None) -> Supply:
    """The same Gaussians for each variable in every run of `ROWS` rows.

    rows: the run has these rows only (any axis as long as they are is cut).  matrix (DIM, DIM): last axes of length DIM are
    multiplied by it.
    """
    count = ROWS if rows is None else len(rows)

    def supply(number: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        axis = shape.index(count) if count in shape else None
        full = list(shape)
        if axis is not None:
            full[axis] = ROWS
        value = gaussians(*full, seed=1000 + number)
        if axis is not None and rows is not None:
            value = value.index_select(axis, rows)
        if matrix is not None and shape and shape[-1] == DIM:
            value = value @ matrix.T
        return value.to(dtype=dtype, device=device)

    return supply


@dataclass
class Recorded:
    """A denoiser that remembers at which levels and states it was asked."""

    inner: Denoiser
    levels: list[Level] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)

    def __call__(self, y: Tensor, level: Level) -> Tensor:
        """The inner denoiser's answer."""
        if not isinstance(level, Level):
            raise Broken(f"asked the denoiser at {level!r}: expected a Level(alpha, sigma)")
        self.levels.append(level)
        self.states.append(y.detach().clone())
        return self.inner(y, level)

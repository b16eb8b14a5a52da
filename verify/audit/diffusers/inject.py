"""A class of diffusers as a sampler of the audit's contract: on any grid, in float64.

The levels of the grid take the place of the training steps, one training step a level, so that the library's own
`set_timesteps` selects every one of them and its own code steps from each to the next:

    β_j = 1 − ᾱ_j/ᾱ_{j−1},   ᾱ = γ/(1 + γ),   j counted from the last level to the first

Classes without such a table get the σ of their n-th level replaced by the grid's n-th, wherever in its tables the class
repeats it.  A few levels more follow the grid's last one, further down by its last step, and the loop is stopped on reaching
the last level: what a class does differently in its final steps, to σ = 0 above all, is left out of an order of convergence.
Clipping and thresholding are off.

Within `double` all of it is float64, and Brownian paths are drawn at the times asked for (brownian.py).  The native form has
the library's own float32 tables and trees: its distance to the other is the library's rounding.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from targets.arguments import refuse
from verify.audit.contract import Denoiser, NotDrivableError
from verify.audit.diffusers.brownian import paths
from verify.audit.diffusers.conventions import read
from verify.audit.diffusers.loop import Trace, quiet, run
from verify.audit.precision import double
from verify.grid import Grid

BEYOND = 3
"""Levels that the tables go on after the grid's last: the longest final phase of any class, and one."""

SINGLE = 1e-2
"""How far, relatively, a level may be off in the library's own tables: float32 of 1 − ᾱ at ᾱ near 1."""

OFF = {"clip_sample": False, "thresholding": False, "clip_denoised": False}
"""What would make a sampler of an unbounded law wrong on purpose."""


@dataclass(frozen=True)
class Injected:
    """`sampler(denoiser, grid, start, generator)` around one class with these options.

    `options` go to the constructor, `step_options` to every step.  `precise`: float64 throughout; otherwise the library's own
    precision, with the states float32.
    """

    cls: type
    options: Mapping[str, Any]
    step_options: Mapping[str, Any]
    precise: bool = True

    @property
    def __name__(self) -> str:
        """The class's name, for messages."""
        return self.cls.__name__

    def __call__(self, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        """(n, dim) states at the last level; ArgumentError: a grid of another process than the class's."""
        return self.trace(denoiser, grid, start, generator).states.to(start.dtype)

    def trace(
        self, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator, keep: bool = False
    ) -> Trace:
        """The run with the levels it asked at; see loop.run."""
        if not self.precise:
            return self._run(denoiser, grid, start.to(torch.float32), generator, keep)
        modules = _modules(self.cls)
        with double(*modules), paths(*modules):
            return self._run(denoiser, grid, start, generator, keep)

    def _run(self, denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator, keep: bool) -> Trace:
        with quiet():
            scheduler, stop = inject(self.cls, grid, self.options)
        return run(scheduler, denoiser, start, generator, stop=stop, step_options=self.step_options, keep=keep)


def sampler(cls: type, step_options: Mapping[str, Any] | None = None, **options: Any) -> Injected:
    """The class with these constructor options as a sampler of the contract, in float64."""
    return Injected(cls, options, dict(step_options or {}))


def native(cls: type, step_options: Mapping[str, Any] | None = None, **options: Any) -> Injected:
    """The same in the library's own precision."""
    return Injected(cls, options, dict(step_options or {}), precise=False)


def process(cls: type, **options: Any) -> str:
    """Process of the class's states with these options, read off a scheduler of it."""
    with quiet():
        scheduler = _made(cls, options, 16, np.linspace(0.9, 0.1, 16))
        scheduler.set_timesteps(8)
        return read(scheduler).process


def inject(cls: type, grid: Grid, options: Mapping[str, Any]) -> tuple[Any, int]:
    """(scheduler whose timesteps visit the grid's levels in order, number of calls of `step` that lead to the last).

    NotDrivableError: the class cannot be made to visit them.
    """
    snr = _continued(grid)
    halves = _takes_half_steps(cls, options)
    table = _with_halves(snr) if halves else snr
    cumulative = (table / (1.0 + table))[::-1].copy()
    scheduler = _made(cls, options, len(table), cumulative)
    if hasattr(scheduler, "alphas_cumprod"):
        _overwrite_cumulative(scheduler, cumulative)
    flow = bool(getattr(scheduler.config, "use_flow_sigmas", False))
    if hasattr(scheduler, "_alpha_cumprod"):
        stop = _set_cosine(scheduler, grid)
    elif hasattr(scheduler, "alphas_cumprod") and not flow:
        stop = _set_trained(scheduler, snr, grid.steps, 2 if halves else 1)
    elif hasattr(scheduler, "sigmas"):
        stop = _set_sigmas(scheduler, snr, grid.steps)
    elif hasattr(scheduler, "alphas") and hasattr(scheduler, "betas"):
        stop = _set_angles(scheduler, snr, grid.steps)
    else:
        raise NotDrivableError("keeps no table of levels that a grid could be put into")
    found = read(scheduler).process
    if found != grid.process:
        refuse("grid.process", grid.process, f"{found!r}, the process of the states of {cls.__name__}")
    return scheduler, stop


# ---- making one -----------------------------------------------------------------------------------------


def _made(cls: type, options: Mapping[str, Any], steps: int, cumulative: np.ndarray) -> Any:
    """The class with a training step a level, as far as its constructor takes that."""
    takes = inspect.signature(cls.__init__).parameters
    betas = 1.0 - cumulative / np.append(1.0, cumulative[:-1])
    if "beta_schedule" not in takes:
        betas = np.append(np.sqrt(1.0 - cumulative)[::-1], 0.0)
    sigma = np.sqrt((1.0 - cumulative) / cumulative)
    ends = {"sigma_min": float(sigma.min()), "sigma_max": float(sigma.max())}
    wanted = {
        "num_train_timesteps": steps,
        "original_inference_steps": steps,
        "trained_betas": betas,
        **{name: end for name, end in ends.items() if _is_number(takes, name)},
        **OFF,
        **options,
    }
    return cls(**{name: value for name, value in wanted.items() if name in takes})


def _is_number(takes: Mapping[str, inspect.Parameter], name: str) -> bool:
    return name in takes and isinstance(takes[name].default, (int, float))


def _overwrite_cumulative(scheduler: Any, cumulative: np.ndarray) -> None:
    """ᾱ and all that the constructor derived from it: exact, also where the class changes or ignores trained betas."""
    value = torch.tensor(cumulative, dtype=torch.float64).to(torch.as_tensor(scheduler.alphas_cumprod).dtype)
    before = torch.cat([value.new_ones(1), value[:-1]])
    derived = {
        "alphas_cumprod": value,
        "alphas": value / before,
        "betas": 1.0 - value / before,
        "alpha_t": value.sqrt(),
        "sigma_t": (1.0 - value).sqrt(),
        "lambda_t": 0.5 * (value.log() - (1.0 - value).log()),
    }
    for name, table in derived.items():
        if hasattr(scheduler, name):
            setattr(scheduler, name, table)


# ---- putting the levels in ------------------------------------------------------------------------------


def _set_trained(scheduler: Any, snr: np.ndarray, steps: int, ratio: int) -> int:
    """Every training step selected by the class's own set_timesteps, `ratio` training steps a level."""
    wanted = ratio * np.arange(len(snr) - 1, len(snr) - 2 - steps, -1)
    for count in (len(snr) - 1, len(snr)):
        scheduler.set_timesteps(count)
        times = np.asarray(torch.as_tensor(scheduler.timesteps), dtype=np.float64)
        whole = times[np.isin(times, wanted)]
        if (
            times[0] == wanted[0]
            and (np.unique(whole)[::-1].tolist() == wanted.tolist())
            and _levels_kept(scheduler, snr)
        ):
            return int(np.flatnonzero(times == wanted[-1])[-1])
    raise NotDrivableError("its set_timesteps cannot be made to select every training step")


def _levels_kept(scheduler: Any, snr: np.ndarray) -> bool:
    """Whether the distinct sigmas, if there are any, are those of the levels, noisiest first and once each."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is None:
        return True
    distinct = np.unique(sigmas.numpy())[::-1].copy()
    count = min(len(distinct), len(snr) - 1)
    calls = len(scheduler.timesteps)
    once = calls in (count, count + 1) or getattr(scheduler, "order", 1) > 1
    slack = 1e-5 if sigmas.dtype == torch.float64 else SINGLE
    return once and bool(np.allclose(distinct[:count], snr[:count] ** -0.5, rtol=slack, atol=0.0))


def _set_sigmas(scheduler: Any, snr: np.ndarray, steps: int) -> int:
    """The n-th largest sigma of the class replaced by the n-th level's, and its timestep with it."""
    for count in (len(snr), len(snr) - 1, len(snr) + 1):
        scheduler.set_timesteps(count)
        native = torch.as_tensor(scheduler.sigmas, dtype=torch.float64).numpy()
        distinct = np.unique(native[native > 0.0])[::-1].copy()
        if len(distinct) == len(snr):
            break
    else:
        raise NotDrivableError(f"its set_timesteps gives {len(distinct)} levels where {len(snr)} were asked for")
    flow = read(scheduler).process == "flow"
    levels = 1.0 / (1.0 + np.sqrt(snr)) if flow else snr**-0.5
    times = torch.as_tensor(scheduler.timesteps)
    new_times = _times_of(scheduler, distinct, levels)
    old_times = _times_of(scheduler, distinct, distinct)
    rank = {float(value): k for k, value in enumerate(distinct)}
    sigmas = np.array([levels[rank[v]] if v > 0.0 else 0.0 for v in native.tolist()])
    if len(times) == len(distinct):
        which = np.arange(len(times))
    else:
        which = np.array([int(np.argmin(np.abs(old_times - t))) for t in times.double().tolist()])
    scheduler.sigmas = torch.tensor(sigmas, dtype=torch.float64).to(scheduler.sigmas.dtype)
    scheduler.timesteps = torch.tensor(new_times[which], dtype=torch.float64).to(times.dtype)
    return int(np.flatnonzero(which == steps)[-1])


def _times_of(scheduler: Any, distinct: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """The class's timesteps of these sigmas, by the rule that gives its own timesteps from its own sigmas."""
    times = torch.as_tensor(scheduler.timesteps)
    if not times.is_floating_point():
        return np.arange(len(sigmas), 0, -1).astype(np.float64)
    wide = torch.tensor(sigmas, dtype=torch.float64)
    rules = [
        lambda s: s * getattr(scheduler.config, "num_train_timesteps", 1000),
        lambda s: 1.0 - s,
        lambda s: scheduler.precondition_noise(s) if hasattr(scheduler, "precondition_noise") else s,
        lambda s: torch.as_tensor(scheduler.sigma_to_t(s.numpy())) if hasattr(scheduler, "sigma_to_t") else s,
    ]
    own = torch.tensor(distinct, dtype=torch.float64)
    ends = times.double()[:2]
    for rule in rules:
        if torch.allclose(rule(own)[: len(ends)].double(), ends, rtol=1e-4, atol=1e-6):
            return rule(wide).double().numpy()
    raise NotDrivableError("its timesteps are no known function of its sigmas")


def _set_angles(scheduler: Any, snr: np.ndarray, steps: int) -> int:
    """alphas and betas by position, ending in (1, 0)."""
    scheduler.set_timesteps(len(snr))
    root = np.sqrt(1.0 + snr)
    dtype = scheduler.betas.dtype
    scheduler.alphas = torch.tensor(np.append(np.sqrt(snr) / root, 1.0), dtype=torch.float64).to(dtype)
    scheduler.betas = torch.tensor(np.append(1.0 / root, 0.0), dtype=torch.float64).to(dtype)
    if len(scheduler.timesteps) != len(snr):
        raise NotDrivableError(f"its set_timesteps gives {len(scheduler.timesteps)} steps for {len(snr)} levels")
    return steps


def _set_cosine(scheduler: Any, grid: Grid) -> int:
    """Continuous time t with ᾱ(t) = cos²(½π (t + s)/(1 + s))/ᾱ_0, solved for t at every level."""
    cumulative = grid.snr / (1.0 + grid.snr)
    offset, first = float(scheduler.s), float(scheduler._init_alpha_cumprod)
    scaled = np.arccos(np.sqrt(np.minimum(cumulative * first, 1.0))) * 2.0 / np.pi * (1.0 + offset) - offset
    reached = scheduler._alpha_cumprod(torch.tensor(scaled), torch.device("cpu")).double().numpy()
    if not np.allclose(reached, cumulative, rtol=1e-4, atol=0.0):
        refuse(
            "grid.snr", [grid.snr[0], grid.snr[-1]], "levels between the ends at which the class clamps, 1e-4 to 1e4"
        )
    scheduler.set_timesteps(timesteps=torch.tensor(scaled).to(torch.get_default_dtype()))
    return grid.steps


# ---- levels ---------------------------------------------------------------------------------------------


def _continued(grid: Grid) -> np.ndarray:
    """The grid's snr and BEYOND levels after it, apart by its last ratio (at most e^{1/2})."""
    ratio = min(float(grid.snr[-1] / grid.snr[-2]), float(np.exp(0.5)))
    return np.append(grid.snr, grid.snr[-1] * ratio ** np.arange(1.0, BEYOND + 1.0))


def _with_halves(snr: np.ndarray) -> np.ndarray:
    """Before every level one at the geometric mean with its forerunner; the first one's forerunner is extrapolated."""
    roots = np.sqrt(snr)
    ahead = np.append(roots[0] ** 2 / roots[1], roots[:-1])
    return np.stack([ahead * roots, snr], axis=1).ravel()


def _takes_half_steps(cls: type, options: Mapping[str, Any]) -> bool:
    """Whether the class has a Runge-Kutta start between its timesteps (pseudo Runge-Kutta of PNDM)."""
    return hasattr(cls, "step_prk") and not options.get("skip_prk_steps", False)


def _modules(cls: type) -> list[Any]:
    """The modules in which the class and the scheduler classes that it names are defined."""
    own = sys.modules[cls.__module__]
    named = [value for value in vars(own).values() if inspect.isclass(value) and hasattr(value, "set_timesteps")]
    return list({sys.modules[c.__module__].__name__: sys.modules[c.__module__] for c in [cls, *named]}.values())

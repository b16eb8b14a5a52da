"""Noise levels as diffusers and k-diffusion write them, to and from snr γ.

    k-diffusion      σ/α = γ^{-1/2}, falling, usually with a final 0
    diffusers        sigmas γ^{-1/2} too; timesteps n = 0 … N − 1 of a table ᾱ_n, γ_n = ᾱ_n/(1 − ᾱ_n), and fractions of n
                     between its levels, linear in log γ
    flow matching    sigmas s = 1/(1 + γ^{1/2}) of x = (1 − s)X + sZ; timesteps N·s
                     a class of `shift` a turns the s it is given into a·s/(1 + (a − 1)·s)

Sources: set_timesteps and _sigma_to_t of EulerDiscreteScheduler and FlowMatchEulerDiscreteScheduler (diffusers 0.42.1);
get_sigmas_karras and append_zero of k_diffusion.sampling.  Nothing is imported from either.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from targets import ArgumentError
from targets.arguments import real, refuse
from targets.channel import PROCESSES

SLACK = 1e-6
"""How far, in log γ, a level may be outside a table: tables are float32."""

DISTORTING = (
    "use_dynamic_shifting",
    "shift_terminal",
    "invert_sigmas",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
)
"""Options under which a flow-matching class does not run the sigmas that it is given."""


@dataclass(frozen=True, eq=False)
class DiffusersGrid:
    """A grid in diffusers' terms, noisiest level first.

    sigmas: what set_timesteps(sigmas=...) takes, with or without a final 0.  timesteps (K + 1,): where each level lies among
    the training timesteps, fractional.
    """

    sigmas: np.ndarray
    timesteps: np.ndarray

    def rounded(self) -> list[int]:
        """The timesteps as integers, for set_timesteps(timesteps=...); raises `ArgumentError` where two become one.

        The levels that a scheduler then visits are those of its table and not the grid's.
        """
        nearest = np.rint(self.timesteps).astype(int)
        distinct = len(np.unique(nearest))
        if distinct < len(nearest):
            k = int(np.argmax(np.diff(nearest) == 0))
            refuse(
                f"timesteps[{k}:{k + 2}]",
                self.timesteps[k : k + 2].tolist(),
                f"timesteps that differ when rounded: these {len(nearest)} levels fall on {distinct}, so take fewer than "
                f"{distinct} steps, or give a scheduler that takes them the sigmas, which are not rounded",
            )
        return nearest.tolist()


def k_sigmas(snr: np.ndarray, final_zero: bool = True) -> np.ndarray:
    """γ^{-1/2} of each level, falling; with a final 0 unless told otherwise."""
    sigmas = 1.0 / np.sqrt(snr)
    return np.append(sigmas, 0.0) if final_zero else sigmas


def to_diffusers(snr: np.ndarray, scheduler: Any, final_zero: bool | None = None) -> DiffusersGrid:
    """The levels in the terms of a scheduler of diffusers, or of a table ᾱ (N,) such as its `alphas_cumprod`.

    `final_zero`: whether sigmas end with 0; None: as set_timesteps(sigmas=...) of the class wants them, with it where there
    is a table and without it for flow matching, which appends it.  Raises `ArgumentError` for a level outside the table
    (naming the window), for a class, and for a scheduler whose sigmas are of another kind or would be changed by its options.
    """
    if inspect.isclass(scheduler):
        name = scheduler.__name__
        refuse("scheduler", scheduler, f"a scheduler and not its class: {name}() or {name}.from_config(...)")
    table, config = getattr(scheduler, "alphas_cumprod", None), getattr(scheduler, "config", {})
    if table is None and "shift" in config:
        return _to_flow(snr, scheduler, config, bool(final_zero))
    if table is None and hasattr(scheduler, "set_timesteps"):
        refuse(
            "scheduler",
            type(scheduler).__name__,
            "a scheduler with alphas_cumprod, or of flow matching; else grid.k_sigmas()",
        )
    if config and config.get("use_flow_sigmas"):
        refuse(
            "scheduler.config.use_flow_sigmas", True, "False: sigmas are then neither those of the table nor the grid's"
        )
    log_snr = np.log(_snr_of(_table(scheduler) if table is None else table))
    wanted = np.log(snr)
    if wanted[0] < log_snr[-1] - SLACK or wanted[-1] > log_snr[0] + SLACK:
        refuse(
            "grid.snr",
            (float(snr[0]), float(snr[-1])),
            f"levels within the training table, snr from {np.exp(log_snr[-1]):.8g} to {np.exp(log_snr[0]):.8g} "
            f"(sigmas from {np.exp(-0.5 * log_snr[-1]):.8g} to {np.exp(-0.5 * log_snr[0]):.8g})",
        )
    timesteps = np.interp(-wanted, -log_snr, np.arange(len(log_snr), dtype=np.float64))
    return DiffusersGrid(k_sigmas(snr, final_zero is not False), timesteps)


def _to_flow(snr: np.ndarray, scheduler: Any, config: Any, final_zero: bool) -> DiffusersGrid:
    for option in DISTORTING:
        if config.get(option):
            refuse(f"scheduler.config.{option}", config[option], "an option that is off, so that sigmas stay as given")
    flow = PROCESSES["flow"].sigma(snr)
    shift = real("scheduler.shift", getattr(scheduler, "shift", config["shift"]), "a number > 0", low=0.0)
    sigmas = flow / (shift - (shift - 1.0) * flow)
    return DiffusersGrid(np.append(sigmas, 0.0) if final_zero else sigmas, flow * config["num_train_timesteps"])


def _table(scheduler: Any) -> np.ndarray:
    """What stands for a scheduler, as numbers in one dimension; ArgumentError, saying what could be, where it is none."""
    try:
        return _numbers("scheduler", scheduler)
    except ArgumentError:
        refuse(
            "scheduler", scheduler, "an instance of a scheduler of diffusers, or its table ᾱ, scheduler.alphas_cumprod"
        )


def snr_of_sigmas(sigmas: Any, process: str) -> np.ndarray:
    """γ of falling sigmas without their final 0: σ/α, or flow matching's s in (0, 1) where the process is "flow"."""
    values = _numbers("sigmas", sigmas)
    values = values[:-1] if len(values) and values[-1] == 0 else values
    top = 1.0 if process == "flow" else np.inf
    if len(values) < 2 or not ((values > 0) & (values < top)).all() or (np.diff(values) >= 0).any():
        refuse(
            "sigmas",
            values.tolist(),
            f"two or more strictly falling numbers in (0, {top:g}), and possibly a 0 after them",
        )
    return PROCESSES["flow" if process == "flow" else "ve"].snr(values)


def snr_of_timesteps(alphas_cumprod: Any, timesteps: Any) -> np.ndarray:
    """γ at falling timesteps of a table ᾱ (N,), in between linear in log γ."""
    levels, steps = _snr_of(alphas_cumprod), _numbers("timesteps", timesteps)
    last = len(levels) - 1
    if len(steps) < 2 or (np.diff(steps) >= 0).any() or steps[-1] < 0 or steps[0] > last:
        refuse("timesteps", steps.tolist(), f"two or more strictly falling timesteps from 0 to {last}")
    below = np.minimum(np.floor(steps).astype(int), last - 1)
    share = steps - below
    between = np.exp((1.0 - share) * np.log(levels[below]) + share * np.log(levels[below + 1]))
    return np.where(share == 0.0, levels[below], np.where(share == 1.0, levels[below + 1], between))


def _snr_of(alphas_cumprod: Any) -> np.ndarray:
    """γ_n of the table, without the levels of no signal at all at its end."""
    table = _numbers("alphas_cumprod", alphas_cumprod)
    table = table[: np.flatnonzero(table)[-1] + 1] if table.any() else table
    if len(table) < 2 or not ((table > 0) & (table < 1)).all() or (np.diff(table) >= 0).any():
        refuse("alphas_cumprod", table.tolist(), "two or more strictly falling numbers in (0, 1)")
    return table / (1.0 - table)


def _numbers(name: str, values: Any) -> np.ndarray:
    """A finite float64 array of one dimension."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(name, values, "numbers")
    if array.ndim != 1 or not np.isfinite(array).all():
        refuse(name, values, "finite numbers in one dimension")
    return array

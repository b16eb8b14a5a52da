"""Our table of the same method, for the configurations of diffusers that have one.

By formula: Euler's method in σ/α and DPM-Solver(++) and DEIS of order 1 are ddim, with the posterior's noise ddpm; the
multistep solvers of order 2 are dpmpp_2m with midpoints and exponential_ab2 with "heun"; Heun and KDPM2 are our Runge–Kutta
tables.  Methods on ε, predictor-correctors, Adams–Bashforth on ε and single-step solvers of order 2 have no table here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from verify import samplers
from verify.grid import Grid


def counterpart(cls: type, options: Mapping[str, Any], stochastic: bool) -> Callable[[Grid], Any] | None:
    """The builder that is the same method by its formulas, or None."""

    def get(name: str, otherwise: Any = None) -> Any:
        return options.get(name, default(cls, name) if default(cls, name) is not None else otherwise)

    name = cls.__name__
    if get("stochastic_sampling") or get("s_churn", 0.0) > 0.0 or "predictor_order" in taken(cls):
        return None
    if "multistep_uni_p_bh_update" in dir(cls):
        return samplers.ddim if get("scheduler_type") == "euler" else None
    if "solver_order" in taken(cls):
        return _dpm_solver(cls, get, stochastic)
    if name == "CogVideoXDPMScheduler":
        return samplers.sde_dpmpp_2m
    if "eta" in options or "eta" in taken_in_step(cls):
        return _by_eta(cls, get("eta", 0.0), stochastic)
    if "variance_type" in taken(cls) or "_alpha_cumprod" in dir(cls):
        return samplers.ddpm if get("variance_type", "fixed_small") in ("fixed_small", "fixed_small_log") else None
    if "get_lms_coefficient" in dir(cls):
        return samplers.ddim if get("order", 4) == 1 else None
    return NAMED.get(name)


NAMED: dict[str, Callable[[Grid], Any]] = {
    "EDMEulerScheduler": samplers.ddim,
    "EulerDiscreteScheduler": samplers.ddim,
    "FlowMapEulerDiscreteScheduler": samplers.ddim,
    "FlowMatchEulerDiscreteScheduler": samplers.ddim,
    "MiniMaxH3Scheduler": samplers.ddim,
    "EulerAncestralDiscreteScheduler": samplers.ddpm,
    "HeunDiscreteScheduler": samplers.heun,
    "KDPM2DiscreteScheduler": samplers.dpm_solver_2,
    "KDPM2AncestralDiscreteScheduler": samplers.dpm_solver_2_ancestral,
}
"""Classes without an option that changes the method."""


def _dpm_solver(cls: type, get: Callable[..., Any], stochastic: bool) -> Callable[[Grid], Any] | None:
    order, solver, algorithm = get("solver_order"), get("solver_type"), get("algorithm_type", "")
    if algorithm == "sde-dpmsolver":
        return None
    if order == 1:
        return samplers.ddpm if stochastic else samplers.ddim
    if order != 2 or hasattr(cls, "singlestep_dpm_solver_update") or algorithm in ("deis", "dpmsolver"):
        return None
    if solver == "midpoint":
        return samplers.sde_dpmpp_2m if stochastic else samplers.dpmpp_2m
    return None if stochastic else samplers.exponential_ab2


def _by_eta(cls: type, eta: float, stochastic: bool) -> Callable[[Grid], Any] | None:
    if not stochastic:
        return samplers.ddim
    if not hasattr(cls, "_get_variance") or "original_inference_steps" in taken(cls):
        return None
    return samplers.ddpm if eta == 1.0 else partial(samplers.stochastic_ddim, eta=eta)


def taken(cls: type) -> Mapping[str, Any]:
    """Parameters of the constructor."""
    return _parameters(cls, "__init__")


def taken_in_step(cls: type) -> Mapping[str, Any]:
    """Parameters of step."""
    return _parameters(cls, "step")


@cache
def _parameters(cls: type, method: str) -> Mapping[str, Any]:
    return inspect.signature(getattr(cls, method)).parameters


def default(cls: type, name: str) -> Any:
    """Default of a parameter of the constructor or of step; None where there is no such parameter."""
    for takes in (taken(cls), taken_in_step(cls)):
        if name in takes:
            return takes[name].default
    return None

"""Samplers of k-diffusion (Crowson), driven with injected noise levels.

k-diffusion works in X + σZ, asks model(x, σ) for the denoised state and takes descending `sigmas`; all its samplers stop at
any last σ > 0 (the shorter last step is taken only where σ is 0).  Every function sample_* of k_diffusion.sampling with the
signature (model, x, sigmas, …) is driven on the grid's σ in float64.

`sample_dpm_fast` takes two ends and a number of evaluations n and spaces its own levels with torch.linspace, in float32; that
one call is answered with the grid's own −log σ.  Its steps are of order 3 but for the last one or two, which n mod 3 decides.

Where the library draws from a Brownian tree, which is exact to a tolerance of 1e-6 in σ only, the same sampler is driven with
an exact path of our own too (`noise_sampler="exact path"`): W in the time that the sampler itself names, σ.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from verify import samplers
from verify.audit import loading
from verify.audit.contract import Audited, Declared, Denoiser, Sampler, Untestable
from verify.audit.draws import seeded
from verify.audit.models import Model, ve
from verify.grid import Grid

LIBRARY, PACKAGE = "k-diffusion", "k_diffusion"
UNUSED = ("torchvision.transforms.functional", "PIL.Image", "safetensors", "torchdiffeq")
"""What the sampling module's imports ask for and no sampler uses."""

TREE_STEPS = 32
"""A Brownian tree draws some seventeen variables a step: with more steps they are too many to be probed one by one."""

EXACT = "exact path"
VALUES: dict[str, tuple[Any, ...]] = {"eta": (1.0, 0.0), "s_churn": (0.0, 10.0), "order": (1, 2, 3, 4)}
"""Options that a function may have, and the values that are audited; of other options the default is."""

PHRASES = (
    (r"\((\d)[MS]\)", None),
    (r"second-order", 2),
    (r"DPM-Solver-(\d)", None),
    (r"Heun", 2),
    (r"Euler", 1),
)
"""What a docstring says of the order; None: the digit found."""

COUNTERPARTS: dict[tuple[str, tuple[tuple[str, Any], ...]], Callable[[Grid], Any]] = {
    ("sample_euler", (("s_churn", 0.0),)): samplers.ddim,
    ("sample_euler_ancestral", (("eta", 1.0),)): samplers.ddpm,
    ("sample_euler_ancestral", (("eta", 0.0),)): samplers.ddim,
    ("sample_heun", (("s_churn", 0.0),)): samplers.heun,
    ("sample_heun", (("s_churn", 10.0),)): partial(samplers.edm_churn, churn=10.0),
    ("sample_dpm_2", (("s_churn", 0.0),)): samplers.dpm_solver_2,
    ("sample_dpm_2_ancestral", (("eta", 1.0),)): samplers.dpm_solver_2_ancestral,
    ("sample_dpm_2_ancestral", (("eta", 0.0),)): samplers.dpm_solver_2,
    ("sample_lms", (("order", 1),)): samplers.ddim,
    ("sample_dpmpp_2m", ()): samplers.dpmpp_2m,
    ("sample_dpmpp_2m_sde", (("eta", 0.0), ("solver_type", "midpoint"))): samplers.dpmpp_2m,
    ("sample_dpmpp_2m_sde", (("eta", 0.0), ("solver_type", "heun"))): samplers.exponential_ab2,
    (
        "sample_dpmpp_2m_sde",
        (("eta", 1.0), ("noise_sampler", EXACT), ("solver_type", "midpoint")),
    ): samplers.sde_dpmpp_2m,
}
"""By function and options, defaults included: our table of the same method."""


def version() -> str | None:
    """The installed version, None where there is none."""
    return loading.version(LIBRARY, PACKAGE)


def configurations() -> list[Audited | Untestable]:
    """Every function sample_* of k_diffusion.sampling, each option's values in every combination."""
    module = loading.load(LIBRARY, "k_diffusion.sampling", UNUSED)
    functions = [f for name, f in inspect.getmembers(module, inspect.isfunction) if name.startswith("sample_")]
    return [item for function in functions for item in _of_function(function)]


def sampler(function: Callable[..., Any], options: Mapping[str, Any]) -> Sampler:
    """A function of k_diffusion.sampling with these options as an audited sampler on ve grids."""

    def run(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        sigmas = torch.tensor(grid.sigma, dtype=torch.float64, device=start.device)
        given = dict(options)
        if given.get("noise_sampler") == EXACT:
            given["noise_sampler"] = _Path(start, generator)
        with seeded(generator), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Should have t[ab]", category=UserWarning
            )  # the tree rounds its ends
            return function(Model(denoiser, "x0", ve()), start, sigmas, **given, disable=True)

    return run


def fast_sampler(
    function: Callable[..., Any], rest: int, options: Mapping[str, Any], *, inject: bool = True
) -> Sampler:
    """sample_dpm_fast with n = 3(K − 1) + rest evaluations, hence K steps; on its own levels unless `inject`."""

    def run(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        ends, n = (float(grid.sigma[-1]), float(grid.sigma[0])), 3 * (grid.steps - 1) + rest
        times = -torch.tensor(grid.sigma, dtype=torch.float64, device=start.device).log()
        with seeded(generator), _Spaced(times) if inject else nullcontext():
            return function(Model(denoiser, "x0", ve()), start, *ends, n, **options, disable=True)

    return run


class _Path:
    """Increments of a Brownian motion over σ, normalised: noise_sampler(σ, σ′) = (W(σ′) − W(σ))/√|σ′ − σ|.

    A sampler asks forwards; of two intervals with one beginning the longer goes on where the shorter ended.
    """

    def __init__(self, like: Tensor, generator: torch.Generator) -> None:
        self.like, self.generator = like, generator
        self.begin, self.end, self.walked = -1.0, -1.0, torch.zeros_like(like)

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        begin, end = float(sigma), float(sigma_next)
        if begin != self.begin:
            self.begin, self.end, self.walked = begin, begin, torch.zeros_like(self.like)
        fresh = torch.randn(self.like.shape, generator=self.generator, dtype=self.like.dtype, device=self.like.device)
        self.walked = self.walked + abs(self.end - end) ** 0.5 * fresh
        self.end = end
        return self.walked / abs(begin - end) ** 0.5


class _Spaced(TorchFunctionMode):
    """torch.linspace answers with `times`, where it is asked for as many; a tensor without dtype is float64."""

    def __init__(self, times: Tensor) -> None:
        super().__init__()
        self.times = times

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # type: ignore[type-arg]
        """The call itself, or the times."""
        kwargs = kwargs or {}
        if func is torch.linspace and args[2] == len(self.times):
            return self.times
        if func is torch.tensor and "dtype" not in kwargs:
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)


def _of_function(function: Callable[..., Any]) -> list[Audited | Untestable]:
    """A function in each of its configurations, or the reason why there is none."""
    name, parameters = function.__name__, inspect.signature(function).parameters
    needed = [k for k, p in parameters.items() if p.default is p.empty]
    source = inspect.getsource(function)
    if "rtol" in parameters:
        return [Untestable(LIBRARY, name, "chooses its steps by a tolerance: there is no K to refine")]
    if needed == ["model", "x", "sigma_min", "sigma_max", "n"]:
        return [_fast(function, rest, eta) for eta in VALUES["eta"] for rest in (2, 1, 0)]
    if needed != ["model", "x", "sigmas"]:
        return [Untestable(LIBRARY, name, f"its arguments ({', '.join(needed)}) are not those of a sampler")]
    values = {k: v for k, v in VALUES.items() if k in parameters}
    if chosen := re.search(r"solver_type not in (\{[^}]*\})", source):
        values["solver_type"] = tuple(sorted(ast.literal_eval(chosen[1]), reverse=True))
    if "BrownianTree" in source:
        values["noise_sampler"] = (None, EXACT)
    combined = [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]
    kept = [c for c in combined if not (c.get("eta") == 0.0 and c.get("noise_sampler"))]
    return [_audited(function, {k: v for k, v in c.items() if v is not None}) for c in kept]


def _audited(function: Callable[..., Any], options: dict[str, Any]) -> Audited:
    parameters = inspect.signature(function).parameters
    tree = "BrownianTree" in inspect.getsource(function) and options.get("eta") and "noise_sampler" not in options
    return Audited(
        library=LIBRARY,
        name=function.__name__,
        options={k: v for k, v in options.items() if v != parameters[k].default},
        process="ve",
        stochastic=bool(options.get("eta") or options.get("s_churn")),
        sampler=sampler(function, options),
        declared=_declared(function, options),
        counterpart=COUNTERPARTS.get((function.__name__, tuple(sorted(options.items())))),
        most=TREE_STEPS if tree else 1000,
        notes=("noise from a Brownian tree, exact to 1e-6 in sigma",) if tree else (),
    )


def _fast(function: Callable[..., Any], rest: int, eta: float) -> Audited:
    default = inspect.signature(function).parameters["eta"].default
    last = ("2 and 1", "1", "2")[rest]
    return Audited(
        library=LIBRARY,
        name=function.__name__,
        options={"n": f"3(K - 1) + {rest}", **({} if eta == default else {"eta": eta})},
        process="ve",
        stochastic=bool(eta),
        sampler=fast_sampler(function, rest, {"eta": eta}),
        native=fast_sampler(function, rest, {"eta": eta}, inject=False),
        least=2 if rest == 0 else 1,
        notes=(
            f"steps of order 3, but for the end: order {last}",
            "levels injected; natively it spaces its own, in float32",
        ),
    )


def _declared(function: Callable[..., Any], options: Mapping[str, Any]) -> Declared | None:
    """From the parameter `order`, or from what the docstring says; beyond 2 that is the rule's without noise."""
    if "order" in options:
        return Declared(options["order"], "parameter order")
    text = inspect.getdoc(function) or ""
    for pattern, order in PHRASES:
        if found := re.search(pattern, text):
            said = order or int(found[1])
            return None if said > 2 and options.get("eta") else Declared(said, f"docstring: {text.strip()}")
    return None

"""Solvers of flow_matching (Lipman et al. 2024), driven by the exact velocity on injected times.

With t from noise to data, X_t = tX + (1 − t)Z and the velocity is E[X − Z given X_t].  `ODESolver` hands it to torchdiffeq's
odeint with the times of the grid, t = 1 − σ; every method that torchdiffeq steps on those times is driven, and the ones that
choose their own are not.  `RiemannianODESolver` on the Euclidean manifold is a second implementation of three of them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from verify import samplers
from verify.audit import loading
from verify.audit.contract import Audited, Declared, Denoiser, Sampler, Untestable
from verify.audit.models import Model, schedule
from verify.grid import Grid

LIBRARY, PACKAGE = "flow-matching", "flow_matching"
UNEQUAL = "its coefficients are those of equal steps in t, whatever the times"
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}
"""Of the Riemannian solver, whose methods carry no number: the orders that these names have had since Kutta 1901."""

TO_DATA = schedule(lambda t: (t, 1.0 - t))
"""X_t = tX + (1 − t)Z."""


def version() -> str | None:
    """The installed version, None where there is none."""
    return loading.version(LIBRARY, PACKAGE)


def configurations() -> list[Audited | Untestable]:
    """Every solver of flow_matching.solver, with each of its methods."""
    module = loading.load(LIBRARY, "flow_matching.solver")
    solvers = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if issubclass(cls, module.Solver)]
    out: list[Audited | Untestable] = []
    for cls in solvers:
        parameters = list(inspect.signature(cls).parameters)
        if cls is module.Solver or cls is getattr(module, "ModelWrapper", None):
            continue
        if parameters == ["velocity_model"]:
            out += _methods(cls)
        elif parameters == ["manifold", "velocity_model"]:
            out += _riemannian(cls)
        else:
            out.append(Untestable(LIBRARY, cls.__name__, f"takes {', '.join(parameters)}: no velocity field on R^d"))
    return out


def sampler(build: Callable[[Any], Any], method: str) -> Sampler:
    """A solver, built from a velocity field, with a method as an audited sampler on flow grids."""

    def run(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
        network = Model(denoiser, "velocity", TO_DATA)
        times = torch.tensor(grid.alpha, dtype=torch.float64, device=start.device)
        solver = build(lambda x, t: -network(x, t))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Functional iteration did not converge")
            return solver.sample(x_init=start, step_size=None, method=method, time_grid=times)

    return run


def _methods(cls: type) -> list[Audited | Untestable]:
    """ODESolver with every method of torchdiffeq, each class of it under its first name."""
    solvers = importlib.import_module("torchdiffeq._impl.odeint").SOLVERS
    fixed = importlib.import_module("torchdiffeq._impl.solvers").FixedGridODESolver
    first = {solver: method for method, solver in reversed(solvers.items())}
    out: list[Audited | Untestable] = []
    for solver, method in reversed(first.items()):
        if not issubclass(solver, fixed):
            reason = "chooses its steps by a tolerance: there is no K to refine"
            out.append(Untestable(LIBRARY, f"{cls.__name__}.{method}", reason))
            continue
        order = getattr(solver, "order", None)
        out.append(
            Audited(
                library=LIBRARY,
                name=cls.__name__,
                options={"method": method},
                process="flow",
                stochastic=False,
                sampler=sampler(cls, method),
                declared=order and Declared(order, f"torchdiffeq {solver.__name__}.order"),
                counterpart=samplers.ddim if method == "euler" else None,
                notes=(UNEQUAL,) if "adams" in method else (),
            )
        )
    return out


def _riemannian(cls: type) -> list[Audited | Untestable]:
    """RiemannianODESolver on R^d with each method that it names."""
    flat = importlib.import_module("flow_matching.utils.manifolds").Euclidean()
    table = re.search(r"step_fns = \{(.*?)\}", inspect.getsource(cls), re.DOTALL)
    methods = re.findall(r'"(\w+)":', table[1]) if table else []
    return [
        Audited(
            library=LIBRARY,
            name=cls.__name__,
            options={"method": method},
            process="flow",
            stochastic=False,
            sampler=sampler(lambda field: cls(flat, field), method),
            declared=Declared(ORDERS[method], "name of the method") if method in ORDERS else None,
            counterpart=samplers.ddim if method == "euler" else None,
            notes=("on the Euclidean manifold",),
        )
        for method in methods
    ]

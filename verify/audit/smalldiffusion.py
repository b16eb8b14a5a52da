"""The sampler of smalldiffusion (Yuan), driven with injected noise levels.

One function, `samples(model, sigmas, gam, mu, xt)`, on states X + σZ with the noise ε̂ predicted:

    x′ = x − (σ − s)(gam ε̂ + (1 − gam) ε̂_prev) + √(σ′² − s²) z,      σ′ = σ^mu s^{1 − mu}

so that gam = 1, mu = 0 is DDIM, mu = ½ with s = σ′²/σ DDPM, and gam = 2 the accelerated variant of Permenter & Yuan
(2306.04848).  The variants, their names and their parameters are read off the comment above the function.
"""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from verify import samplers
from verify.audit import loading
from verify.audit.contract import Audited, Declared, Denoiser, NotDrivableError, Sampler, Untestable
from verify.audit.models import Model, ve
from verify.grid import Grid

LIBRARY, PACKAGE = "smalldiffusion", "smalldiffusion"
UNUSED = ("accelerate",)
"""Imported for training."""

COUNTERPARTS: dict[tuple[float, float], Callable[[Grid], Any]] = {(1.0, 0.0): samplers.ddim, (1.0, 0.5): samplers.ddpm}
"""By (gam, mu): our table of the same method."""

DECLARED = {
    "DDIM": Declared(1, "comment: DDIM; Song, Meng & Ermon 2021, sec. 4.3: Euler's method for the probability flow"),
    "DDPM": Declared(
        1, "comment: DDPM; Song et al. 2021 (2011.13456), App. E: ancestral sampling discretises the reverse SDE"
    ),
}
"""Orders of the variants that are named after a method."""


def version() -> str | None:
    """The installed version, None where there is none."""
    return loading.version(LIBRARY, PACKAGE)


def configurations() -> list[Audited | Untestable]:
    """`samples` with the parameters of every variant that the module names."""
    module = loading.load(LIBRARY, "smalldiffusion.diffusion", UNUSED)
    known = ["model", "sigmas", "gam", "mu", "xt"]
    if not set(known) <= set(inspect.signature(module.samples).parameters):
        return [Untestable(LIBRARY, "samples", f"expected the arguments {', '.join(known)}")]
    found = re.findall(r"#\s+(\w+)\s*:\s*gam=([\d.]+), mu=([\d.]+)", inspect.getsource(module))
    return [_audited(module, name, float(gam), float(mu)) for name, gam, mu in found]


def sampler(module: ModuleType, gam: float, mu: float) -> Sampler:
    """`samples` with these parameters as an audited sampler on ve grids."""

    def run(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        sigmas = torch.tensor(grid.sigma, dtype=torch.float64, device=start.device)
        network = _Network(denoiser, start, generator)
        states = module.samples(
            network, sigmas, gam=gam, mu=mu, xt=start, accelerator=SimpleNamespace(device=start.device)
        )
        last = deque(states, maxlen=1)
        if not last:
            raise NotDrivableError("it yielded no state")
        return last[0]

    return run


class _Network(Model):
    """The two questions that `samples` asks a model."""

    def __init__(self, denoiser: Denoiser, like: Tensor, generator: torch.Generator) -> None:
        super().__init__(denoiser, "epsilon", ve())
        self.like, self.generator = like, generator

    def predict_eps_cfg(self, x: Tensor, sigma: Tensor, *_: Any) -> Tensor:
        """E[Z given x]."""
        return self(x, sigma)

    def rand_input(self, count: int) -> Tensor:
        """Standard Gaussians, `count` rows."""
        shape = (count, *self.like.shape[1:])
        return torch.randn(shape, generator=self.generator, dtype=self.like.dtype, device=self.like.device)


def _audited(module: ModuleType, name: str, gam: float, mu: float) -> Audited:
    return Audited(
        library=LIBRARY,
        name="samples",
        options={"gam": gam, "mu": mu},
        process="ve",
        stochastic=mu > 0,
        sampler=sampler(module, gam, mu),
        declared=DECLARED.get(name),
        counterpart=COUNTERPARTS.get((gam, mu)),
        notes=(f"called {name} by the library",),
    )

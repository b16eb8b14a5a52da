"""Samplers of azula (Rozet et al.), driven level by level.

azula writes a state as x_t = α_t X + σ_t Z for any schedule t -> (α, σ), and its samplers see the schedule and the mean
of the denoiser alone.  So the grid itself becomes the schedule: time t = 1 − k/K is level k, and between levels log γ is
linear in t.  Each sampler class found in azula.sample and azula.guidance is subclassed with `timesteps` that visit these
K + 1 times in float64; nothing else of it is changed.  All take states of any process; they are audited in vp.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from targets import Level
from verify import samplers
from verify.audit import loading
from verify.audit.contract import Audited, Declared, Denoiser, NotDrivableError, Sampler, Untestable
from verify.audit.draws import seeded
from verify.grid import Grid

LIBRARY, PACKAGE = "azula", "azula"
VALUES: dict[str, tuple[Any, ...]] = {"order": (1, 2, 3), "eta": (0.0, 1.0)}
"""Options that a class may have, and the values that are audited; of other options the default is."""

PAPERS = {
    "DDPMSampler": Declared(1, "Song et al. 2021 (2011.13456), App. E: ancestral sampling discretises the reverse SDE"),
    "ItoSampler": Declared(1, "class docstring: drift held over a step, Gaussian integral exact"),
}
"""Where the class names no order."""

COUNTERPARTS: dict[tuple[str, tuple[tuple[str, Any], ...]], Callable[[Grid], Any]] = {
    ("DDPMSampler", ()): samplers.ddpm,
    ("DDIMSampler", (("eta", 0.0),)): samplers.ddim,
    ("DDIMSampler", (("eta", 1.0),)): samplers.ddpm,
    ("EulerSampler", ()): samplers.ddim,
    ("HeunSampler", ()): samplers.heun,
    ("ItoSampler", (("eta", 0.0),)): samplers.ddim,
    ("zABSampler", (("order", 1),)): samplers.ddim,
    ("vABSampler", (("order", 1),)): samplers.ddim,
    ("zEABSampler", (("order", 1),)): samplers.ddim,
    ("xEABSampler", (("order", 1),)): samplers.ddim,
    ("xEABSampler", (("order", 2),)): samplers.exponential_ab2,
}
"""By class and options, defaults included: our table of the same method."""

NOTES = {
    "PCSampler": "corrector steps of a fixed relative size delta: their own bias stays as K grows",
    "REABSampler": "integral of the basis by a trapezoidal rule of 257 points a step",
}


def version() -> str | None:
    """The installed version, None where there is none."""
    return loading.version(LIBRARY, PACKAGE)


def configurations() -> list[Audited | Untestable]:
    """Every subclass of azula's Sampler, each option's values in every combination."""
    module = loading.load(LIBRARY, "azula.sample")
    classes = {cls.__name__: cls for part in (module, _guidance()) for cls in _classes(part, module.Sampler)}
    return [item for cls in classes.values() for item in _of_class(cls, module.Sampler)]


def sampler(cls: type, options: Mapping[str, Any]) -> Sampler:
    """A sampler class of azula with these options as an audited sampler, in the process of the grid that it is given."""

    def run(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        times = torch.linspace(1.0, 0.0, grid.steps + 1, dtype=torch.float64, device=start.device)
        visiting = type(cls.__name__, (cls,), {"timesteps": property(lambda _: times)})
        driven = visiting(_network(denoiser, grid), **options, silent=True, dtype=torch.float64)
        with seeded(generator):
            return driven(start)

    return run


def _network(denoiser: Denoiser, grid: Grid) -> Any:
    """azula's Denoiser around ours, with the grid for a schedule."""
    library = loading.load(LIBRARY, "azula.denoise")
    clock = _Clock(grid)

    class Network(library.Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = clock

        def forward(self, x_t: Tensor, t: Tensor, **_: Any) -> Any:
            return library.DiracPosterior(mean=denoiser(x_t, clock.level(float(t))))

    return Network()


class _Clock:
    """Time 1 − k/K is level k of the grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        levels = [self.level(float(time)) for time in t.reshape(-1)]
        alpha, sigma = (torch.tensor(values, dtype=torch.float64, device=t.device) for values in _transposed(levels))
        return alpha.reshape(t.shape), sigma.reshape(t.shape)

    def level(self, t: float) -> Level:
        """The level at a time in [0, 1]."""
        place = (1.0 - t) * self.grid.steps
        nearest = round(place)
        if abs(place - nearest) < 1e-9 * self.grid.steps and 0 <= nearest <= self.grid.steps:
            return self.grid.levels[nearest]
        if not 0.0 <= place <= self.grid.steps:
            raise NotDrivableError(f"asked at time {t:g}, outside the grid's levels (times 0 to 1)")
        k = math.floor(place)
        before, after = (self.grid.levels[i].logsnr for i in (k, k + 1))
        return Level.from_snr(math.exp(before + (place - k) * (after - before)), self.grid.process)


def _transposed(levels: list[Level]) -> tuple[list[float], list[float]]:
    return [level.alpha for level in levels], [level.sigma for level in levels]


def _guidance() -> ModuleType | None:
    """azula's guided samplers; some versions have none."""
    try:
        return loading.load(LIBRARY, "azula.guidance")
    except NotImplementedError:
        return None


def _classes(module: ModuleType | None, base: type) -> list[type]:
    if module is None:
        return []
    return [cls for _, cls in inspect.getmembers(module, inspect.isclass) if issubclass(cls, base) and cls is not base]


def _of_class(cls: type, base: type) -> list[Audited | Untestable]:
    """A class in each of its configurations, or the reason why there is none."""
    common = set(inspect.signature(base).parameters)
    own = {
        k: p for k, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD and k not in common
    }
    required = [k for k, p in own.items() if p.default is p.empty]
    if required != ["denoiser"]:
        extra = ", ".join(k for k in required if k != "denoiser")
        return [
            Untestable(LIBRARY, cls.__name__, f"samples a posterior: needs {extra}, which an exact prior score lacks")
        ]
    varied = [k for k in own if k in VALUES]
    out: list[Audited | Untestable] = []
    for values in itertools.product(*[VALUES[k] for k in varied]):
        options = dict(zip(varied, values, strict=True))
        out.append(
            Audited(
                library=LIBRARY,
                name=cls.__name__,
                options={k: v for k, v in options.items() if v != own[k].default},
                process="vp",
                stochastic=_draws(cls) and options.get("eta") != 0.0,
                sampler=sampler(cls, options),
                declared=_declared(cls, options),
                counterpart=COUNTERPARTS.get((cls.__name__, tuple(sorted(options.items())))),
                notes=(NOTES[cls.__name__],) if cls.__name__ in NOTES else (),
            )
        )
    return out


def _draws(cls: type) -> bool:
    """The class's own code draws Gaussians."""
    return "randn" in inspect.getsource(cls)


def _declared(cls: type, options: Mapping[str, Any]) -> Declared | None:
    """From the parameter `order`; from "(2nd order)" in the docstring; from an equivalence stated there; from a paper."""
    text = inspect.getdoc(cls) or ""
    if "order" in options:
        return Declared(options["order"], "parameter order")
    if found := re.search(r"\((\d)\w\w order\)", text):
        return Declared(int(found[1]), f"class docstring: {found[0]}")
    stated = r"eta = (\d)`,\s*:class:`\w+` is equivalent to :class:`(\w+)`"
    for eta, other in re.findall(stated, text):
        if options.get("eta") == float(eta):
            return Declared(1, f"class docstring: equivalent to {other}, first order")
    return PAPERS.get(cls.__name__)

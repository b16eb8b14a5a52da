"""Every configuration of diffusers whose order is worth measuring.

A class is taken with its defaults and with every value of the options that make another method of it: orders, algorithm
and solver types, what is predicted inside, variance types, η, churn.  The values are those that the installed class knows
(`options.factors`).  Options that only choose levels or what the network says make the same method on other levels and stay
at their defaults, except that the solvers that also know flow matching are taken there once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from targets import Level
from verify import samplers
from verify.audit.contract import Audited, NotDrivableError, Untestable
from verify.audit.diffusers.counterparts import counterpart, default, taken
from verify.audit.diffusers.declared import declared, promised
from verify.audit.diffusers.inject import Injected, process
from verify.audit.diffusers.inspect import LIBRARY, OWN_LOOPS, Found, listing
from verify.audit.diffusers.loop import quiet
from verify.audit.options import STEPPING, factors
from verify.grid import Grid

METHOD = (
    "solver_order",
    "predictor_order",
    "corrector_order",
    "algorithm_type",
    "solver_type",
    "predict_x0",
    "variance_type",
    "skip_prk_steps",
    "scheduler_type",
    "stochastic_sampling",
    "eta",
    "s_churn",
    "order",
)
"""Options of constructor and step that make another method of a class."""

FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
CHURN = 10.0
"""Karras et al.'s S_churn, so that noise is added in every step at the K of a measurement."""

DRIVEN = "clipping and thresholding off; float64 throughout; stopped before its last steps to sigma = 0"
BLOCKS = "steps come in blocks of solver_order: take K in multiples of it, or the last block is of lower order"

Setting = dict[str, Any]


@dataclass(frozen=True)
class Tau:
    """SA-Solver's τ, the same at every timestep."""

    value: float

    def __call__(self, timestep: Any) -> float:
        """τ."""
        return self.value

    def __repr__(self) -> str:
        return f"tau = {self.value:g}"


def configurations() -> list[Audited | Untestable]:
    """Every configuration of every class that can be driven, and every class that cannot with the reason."""
    found: list[Audited | Untestable] = []
    for row in listing():
        if row.name in OWN_LOOPS:
            found.extend(_with_own_loop(row))
        elif row.cls is None or row.reason is not None:
            found.append(Untestable(LIBRARY, row.name, str(row.reason)))
        else:
            found.extend(of_class(row))
    return found


def of_class(row: Found) -> list[Audited | Untestable]:
    """The configurations of one drivable class, the defaults first.

    What the class refuses is listed once, not with every further option; and so is an option that changes nothing.
    """
    assert row.cls is not None
    found: list[Audited | Untestable] = []
    refused: list[Setting] = []
    seen: dict[bytes, str] = {}
    for setting in settings(row.cls):
        if any(less.items() <= setting.items() for less in refused):
            continue
        one, trial = _audited(row.cls, {**row.needed, **setting})
        if isinstance(one, Untestable):
            refused.append(setting)
        elif trial in seen:
            one = Untestable(LIBRARY, row.name, f"{_shown(setting)}: the same states to the last bit as {seen[trial]}")
        elif trial:
            seen[trial] = f"with {_shown(setting)}"
        found.append(one)
    return found


def _with_own_loop(row: Found) -> list[Audited | Untestable]:
    """The two classes of own_loops.py, whose noise parameters are those of the constructor."""
    assert row.cls is not None
    churned = {"s_churn": CHURN, "s_noise": 1.0, "s_min": 0.0, "s_max": float("inf")}
    kinds: dict[str, list[tuple[Setting, bool, Any]]] = {
        "KarrasVeScheduler": [
            ({}, True, None),
            ({"s_churn": 0.0}, False, samplers.heun),
            (churned, True, partial(samplers.edm_churn, churn=CHURN)),
        ],
        "ScoreSdeVeScheduler": [({"correct_steps": 0}, True, None)],
    }
    drive = OWN_LOOPS[row.name]
    return [
        Audited(
            library=LIBRARY,
            name=row.name,
            options=options,
            process="ve",
            stochastic=stochastic,
            sampler=drive(row.cls, options),
            declared=promised(row.cls),
            counterpart=build,
            native=drive(row.cls, options, precise=False),
            notes=("driven as by its own pipeline, with the levels of the grid",),
        )
        for options, stochastic, build in kinds[row.name]
    ]


def settings(cls: type) -> Iterator[Setting]:
    """Options that are not at their defaults, each making another method."""
    levels = {one.name: one.levels for one in factors(cls) if one.name in METHOD}
    if "s_churn" in levels:
        levels["s_churn"] = ({}, {"s_churn": CHURN})
    if "tau_func" in taken(cls):
        levels["tau_func"] = tuple({"tau_func": Tau(tau)} for tau in (0.0, 1.0))
    for chosen in itertools.product(*levels.values()):
        setting = {name: value for level in chosen for name, value in level.items()}
        if _distinct(cls, setting):
            yield setting
    if "use_flow_sigmas" in taken(cls) and not default(cls, "use_flow_sigmas"):
        yield {**FLOW, **({"tau_func": Tau(0.0)} if "tau_func" in taken(cls) else {})}


def _distinct(cls: type, setting: Setting) -> bool:
    """Whether the options make a method that fewer of them would not."""
    value = {name: setting.get(name, default(cls, name)) for name in METHOD}
    if "scheduler_type" in setting and len(setting) > 1:
        return False
    if any(name in setting and value[name] not in allowed for name, allowed in _documented(cls).items()):
        return False
    if value["predictor_order"] is not None and value["predictor_order"] != value["corrector_order"]:
        return False
    if "solver_type" not in setting or value["solver_type"] not in ("midpoint", "heun"):
        return True
    return value["solver_order"] == 2 or (value["solver_order"] == 3 and hasattr(cls, "singlestep_dpm_solver_update"))


def _audited(cls: type, setting: Setting) -> tuple[Audited | Untestable, bytes]:
    """One configuration, and what it gave on trial: whether noise enters is seen, not declared."""
    in_step = {name: setting[name] for name in STEPPING if name in setting and name not in taken(cls)}
    options = {name: value for name, value in setting.items() if name not in in_step}
    try:
        options = _accepted(cls, options)
        kind = process(cls, **options)
        sampler = Injected(cls, options, in_step)
        stochastic, trial = _tried(sampler, kind)
    except NotDrivableError as error:
        return Untestable(LIBRARY, cls.__name__, f"{_shown(setting)}: {error}"), b""
    except (ValueError, NotImplementedError) as error:
        said = str(error) or type(error).__name__
        return Untestable(LIBRARY, cls.__name__, f"{_shown(setting)}: refused, {said}"), b""
    audited = Audited(
        library=LIBRARY,
        name=cls.__name__,
        options={**options, **in_step},
        process=kind,
        stochastic=stochastic,
        sampler=sampler,
        declared=declared(cls, options, in_step),
        counterpart=counterpart(cls, {**options, **in_step}, stochastic),
        native=Injected(cls, options, in_step, precise=False),
        notes=(DRIVEN, BLOCKS) if hasattr(cls, "singlestep_dpm_solver_update") else (DRIVEN,),
    )
    return audited, trial


def _accepted(cls: type, options: Setting) -> Setting:
    """The options, with the final σ of the tables where the class refuses its default of 0 for the algorithm."""
    with quiet():
        try:
            cls(**options)
        except ValueError:
            changed = {**options, "final_sigmas_type": "sigma_min"}
            if "final_sigmas_type" not in taken(cls):
                raise
            cls(**changed)
            return changed
    return options


def _tried(sampler: Injected, kind: str) -> tuple[bool, bytes]:
    """(whether two seeds give two results, a key of the first) over six steps under the score of N(0, 1).

    A run that breaks off, or ends in states that are not finite, is for the measurement to report: ("sde" in its name, b"").
    """
    grid = Grid.log_snr(6, snr=(0.1, 20.0), process=kind)
    start = torch.full((1, 1), 0.5, dtype=torch.float64)
    runs = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        before = generator.get_state()
        try:
            runs.append(sampler(_standard, grid, start, generator))
        except (NotDrivableError, ValueError, NotImplementedError):
            raise
        except Exception:
            return "sde" in str(sampler.options.get("algorithm_type", "")), b""
        if torch.equal(before, generator.get_state()):
            break
    if not bool(runs[0].isfinite().all()):
        return len(runs) > 1, b""
    return not torch.equal(runs[0], runs[-1]), kind.encode() + runs[0].numpy().tobytes()


def _standard(y: torch.Tensor, at: Level) -> torch.Tensor:
    """Denoiser of N(0, 1)."""
    return at.alpha * y / (at.alpha**2 + at.sigma**2)


def _documented(cls: type) -> dict[str, list[int]]:
    """Orders that the documentation lists, by parameter, where it lists them."""
    text = " ".join((cls.__doc__ or "").split())
    listed = re.findall(r"(\w+_order) \(`int`[^)]*\): The [\w ]+ which can be ((?:[`'\d]+(?: or )?)+)", text)
    return {name: [int(value) for value in re.findall(r"\d", values)] for name, values in listed}


def _shown(setting: Setting) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in setting.items()) or "defaults"

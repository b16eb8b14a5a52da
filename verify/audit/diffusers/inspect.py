"""What the installed diffusers has: every scheduler class, and of each whether an exact score can drive it.

Nothing is listed by hand.  A class is what a module `scheduling_*` of diffusers.schedulers defines with `set_timesteps`, the
deprecated ones included; it is driven if its signatures ask for nothing but output, timestep and state, if its state is
continuous, if it runs from noise to data, and if it then gets through a trial.  Otherwise the reason is given in its terms.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from verify.audit import loading
from verify.audit.contract import NotDrivableError
from verify.audit.diffusers.inject import process, sampler
from verify.audit.diffusers.loop import quiet
from verify.audit.diffusers.own_loops import KarrasVe, ScoreSdeVe
from verify.grid import Grid

LIBRARY = PACKAGE = "diffusers"

SUPPLIED = {"self", "model_output", "timestep", "sample", "old_pred_original_sample", "timestep_back"}
"""Arguments of `step` that the loop hands over."""

NEEDED: dict[str, dict[str, Any]] = {"HeliosScheduler": {"stages": 1}}
"""Options without which a class only works inside its own pipeline: several image sizes in one run."""

REASONS = {
    "ConsistencyDecoderScheduler": "a decoder's two fixed steps; there are no others to take",
    "HeliosDMDScheduler": "distilled: it renoises with tensors and tables that its own pipeline supplies to every step",
    "PiflowScheduler": "its network says n_grid predictions a channel, a distilled policy that no exact score defines",
    "SCMScheduler": "a consistency model's sampler: every state but the first is fresh noise around a prediction",
    "ScoreSdeVpScheduler": "no step: step_pred takes steps of 1/len(timesteps) whatever the timesteps are, so that no "
    "grid can be put in",
}
"""Where the signature alone would not say enough."""

OWN_LOOPS: dict[str, type] = {"KarrasVeScheduler": KarrasVe, "ScoreSdeVeScheduler": ScoreSdeVe}
"""Classes with a step of their own, and what drives them."""


@dataclass(frozen=True)
class Found:
    """A class of the installed version: `reason` why it cannot be driven, or None; options without which it cannot be."""

    name: str
    cls: type | None
    reason: str | None
    process: str | None = None
    needed: Mapping[str, Any] = field(default_factory=dict)


def version() -> str | None:
    """The installed version, None where there is none."""
    return loading.version(LIBRARY, PACKAGE)


def names() -> set[str]:
    """What `listing` can hold, as its files are written: names of classes and of modules, with nothing imported."""
    spec = importlib.util.find_spec(PACKAGE)
    found: set[str] = set()
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in Path(folder, "schedulers").rglob("scheduling_*.py"):
            found |= set(re.findall(r"^class (\w*Scheduler)\b", file.read_text("utf-8"), re.MULTILINE))
            found.add(".".join((PACKAGE, *file.relative_to(folder).with_suffix("").parts)))
    return found


def classes() -> dict[str, type]:
    """Every scheduler class of the installed version by name; NotAvailableError: not installed."""
    return {found.__name__: found for _, found in _defined() if isinstance(found, type)}


def listing() -> list[Found]:
    """Every scheduler class, alphabetically, each with its process or the reason why it cannot be driven."""
    rows = []
    for name, found in _defined():
        rows.append(look(found) if isinstance(found, type) else Found(name, None, f"does not import: {found}"))
    return sorted(rows, key=lambda row: row.name)


def look(cls: type) -> Found:
    """One class; whatever it raises on trial is the reason, and leaves here as text."""
    name = cls.__name__
    needed = NEEDED.get(name, {})
    if name in OWN_LOOPS:
        return Found(name, cls, None, "ve")
    try:
        reason = signature_reason(cls) or REASONS.get(name) or _direction_reason(cls, needed)
        if reason is None:
            reason = _trial_reason(cls, needed)
        return Found(name, cls, reason, process(cls, **needed) if reason is None else None, needed)
    except NotDrivableError as error:
        return Found(name, cls, REASONS.get(name) or str(error))
    except Exception as error:
        return Found(name, cls, REASONS.get(name) or _raised(error))


# ---- reasons --------------------------------------------------------------------------------------------


def signature_reason(cls: type) -> str | None:
    """Why the constructor's and the step's signatures rule it out."""
    if not hasattr(cls, "step"):
        return REASONS.get(cls.__name__) or "has no step(model_output, timestep, sample)"
    takes = inspect.signature(cls.step).parameters  # type: ignore[attr-defined]
    sample = takes.get("sample")
    if sample is not None and "LongTensor" in str(sample.annotation):
        return "its states are tokens (sample: torch.LongTensor), not noised by a Gaussian"
    asks = [name for name, one in takes.items() if _required(one) and name not in SUPPLIED]
    if asks:
        return REASONS.get(cls.__name__) or f"step asks for {', '.join(asks)}, which only its own pipeline has"
    if "model_output" not in takes or sample is None:
        return f"step takes {', '.join(list(takes)[1:])} instead of model_output, timestep, sample"
    asks = [
        name for name, one in inspect.signature(cls.__init__).parameters.items() if _required(one) and name != "self"
    ]
    return f"its constructor asks for {', '.join(asks)}, which its own pipeline chooses" if asks else None


def _required(one: inspect.Parameter) -> bool:
    return one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)


def _direction_reason(cls: type, needed: Mapping[str, Any]) -> str | None:
    """Whether its own timesteps go from data to noise."""
    with quiet():
        scheduler = cls(**needed)
        scheduler.set_timesteps(8)
        table = getattr(scheduler, "sigmas", None)
        times = torch.as_tensor(scheduler.timesteps, dtype=torch.float64)
        if table is None and hasattr(scheduler, "alphas_cumprod"):
            table = 1.0 - scheduler.alphas_cumprod[times.long().clamp(max=len(scheduler.alphas_cumprod) - 1)]
    if table is not None and float(table[-2]) > float(table[0]):
        return "runs from data to noise: it inverts a sampler and is none"
    return None


def _trial_reason(cls: type, needed: Mapping[str, Any]) -> str | None:
    """What goes wrong when it is driven over four steps with the score of N(0, 1)."""
    grid = Grid.log_snr(4, snr=(0.1, 10.0), process=process(cls, **needed))
    generator = torch.Generator().manual_seed(0)
    first = grid.levels[0]
    start = (first.alpha**2 + first.sigma**2) ** 0.5 * torch.tensor([[-1.0], [0.5]], dtype=torch.float64)
    try:
        states = sampler(cls, **needed)(
            lambda y, at: at.alpha * y / (at.alpha**2 + at.sigma**2), grid, start, generator
        )
    except NotDrivableError as error:
        return str(error)
    except Exception as error:
        return _raised(error)
    return (
        None if bool(torch.isfinite(states).all()) else "its states are not finite on a trial with the score of N(0, 1)"
    )


def _raised(error: Exception) -> str:
    return f"a trial raised {type(error).__name__}: {str(error)[:200]}"


# ---- finding --------------------------------------------------------------------------------------------


def _defined() -> Iterator[tuple[str, type | Exception]]:
    """(name, class) of every class, (module, exception) of a module that does not import."""
    package = loading.load(LIBRARY, "diffusers.schedulers")
    with quiet():
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.rpartition(".")[2].startswith("scheduling_"):
                continue
            try:
                inside = vars(importlib.import_module(module.name))
            except Exception as error:
                yield module.name, error
                continue
            for name, value in list(inside.items()):
                if inspect.isclass(value) and value.__module__ == module.name and hasattr(value, "set_timesteps"):
                    yield name, value

"""What a scheduler of diffusers holds its state to be, and what it wants to be told.

States and tables come in these forms, and which one an object uses is read off the object:

    sigmas, input scaled          state X + ςZ;      the network sees c·state, c = (ς² + d²)^{-1/2}, d = sigma_data or 1
    sigmas, α(σ) = (1 + σ²)^{-½}  state αX + σαZ     DPM-Solver, UniPC, DEIS, SA-Solver
    sigmas, α(σ) = 1 − σ          state (1 − σ)X + σZ   flow matching; with inverted sigmas σX + (1 − σ)Z
    alphas_cumprod                state √ᾱ X + √(1 − ᾱ) Z, ᾱ looked up at the integer timestep
    alphas, betas                 state αX + βZ, looked up by position
    cosine, trigonometric         ᾱ or the angle computed from the timestep

The level of a call of the network is read from these tables at the scheduler's own position.  A timestep that was rounded
for the network's sake is never taken for the level.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from targets import Level
from verify.audit.contract import NotDrivableError
from verify.audit.models import SAYS

TINY = 1e-150
"""What stands for α = 0 or σ = 0 in a Level."""

PREDICTIONS = {
    "epsilon": "epsilon",
    "sample": "x0",
    "original_sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "velocity",
}
"""prediction_type of the library -> what the network says (verify.audit.models.SAYS)."""

Pair = tuple[float, float]
"""(α, σ), either may be 0."""


class LevelError(RuntimeError):
    """The scheduler's tables hold no level: α or σ is negative, infinite or not a number."""


@dataclass(frozen=True)
class Convention:
    """How one scheduler is spoken to.

    `process`: that of its states.  `asked(scheduler, t)`: (α, σ) of what the network is shown when the loop stands at
    timestep t.  `reached(scheduler, t)`: (α, σ) of the state after a step that was taken at t.
    `answer(scheduler, shown, state, mean, pair)`: what a perfect network says there, rows of float64.
    """

    process: str
    asked: Callable[[Any, Any], Pair]
    reached: Callable[[Any, Any], Pair]
    answer: Callable[[Any, Tensor, Tensor, Tensor, Pair], Tensor]


def read(scheduler: Any) -> Convention:
    """The convention of a scheduler whose timesteps are set.

    NotDrivableError: no known table of levels, or a prediction type that no network says.
    """
    if getattr(scheduler, "sigmas", None) is not None:
        if _scales_input(scheduler):
            return Convention("ve", _asked_scaled, lambda s, _t: (1.0, _sigma_after(s)), _scaled_answer(scheduler))
        process = _process_of_sigmas(scheduler)
        pair = _PAIRS[process]
        answer = _says(scheduler, "velocity" if process == "flow" else None)
        if process == "flow" and getattr(scheduler.config, "invert_sigmas", False):
            pair, answer = lambda sigma: (sigma, 1.0 - sigma), _negated(answer)
        elif process == "flow" and _falls_towards_noise(scheduler):
            answer = _negated(answer)
        return Convention(process, lambda s, t: pair(_sigma(s, t)), lambda s, _t: pair(_sigma_after(s)), answer)
    if hasattr(scheduler, "alphas_cumprod"):
        return Convention("vp", _asked_cumulative, _reached_cumulative, _says(scheduler))
    if hasattr(scheduler, "_alpha_cumprod"):
        return Convention("vp", _asked_cosine, _reached_cosine, _says(scheduler, "epsilon"))
    if getattr(scheduler.config, "prediction_type", None) == "trigflow":
        return Convention("vp", _asked_angle, _reached_angle, _angle_answer)
    if hasattr(scheduler, "alphas") and hasattr(scheduler, "betas") and hasattr(scheduler, "step_index"):
        return Convention("vp", _asked_position, _reached_position, _says(scheduler, "v"))
    raise NotDrivableError("keeps no table of levels that is known here (sigmas, alphas_cumprod, alphas and betas)")


def level(pair: Pair) -> Level:
    """The pair as a Level; a zero becomes TINY.  LevelError: negative, infinite or not a number."""
    if not all(math.isfinite(value) and value >= 0.0 for value in pair):
        raise LevelError(f"the scheduler's tables hold alpha = {pair[0]:g}, sigma = {pair[1]:g}")
    return Level(max(pair[0], TINY), max(pair[1], TINY))


def position(scheduler: Any, t: Any) -> int:
    """The scheduler's position in its tables as it stands at timestep t."""
    if scheduler.step_index is not None:
        return int(scheduler.step_index)
    if getattr(scheduler, "begin_index", None) is not None:
        return int(scheduler.begin_index)
    find = getattr(scheduler, "index_for_timestep", None)
    return int(find(t) or 0) if find is not None else 0


# ---- tables of sigmas -----------------------------------------------------------------------------------

_PAIRS: dict[str, Callable[[float], Pair]] = {
    "vp": lambda sigma: (1.0 / math.hypot(1.0, sigma), sigma / math.hypot(1.0, sigma)),
    "ve": lambda sigma: (1.0, sigma),
    "flow": lambda sigma: (1.0 - sigma, sigma),
}


def _scales_input(scheduler: Any) -> bool:
    """Whether the network is shown a multiple of the state: asked of a copy, which is then thrown away."""
    if not hasattr(scheduler, "scale_model_input"):
        return False
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    trial = copy.deepcopy(scheduler)
    return bool((trial.scale_model_input(one, scheduler.timesteps[0]) != one).any())


def _process_of_sigmas(scheduler: Any) -> str:
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
        alpha = float(scheduler._sigma_to_alpha_sigma_t(torch.tensor(0.5, dtype=torch.float64))[0])
        for process, pair in _PAIRS.items():
            if abs(alpha - pair(0.5)[0]) < 1e-6:
                return process
        raise NotDrivableError(f"its signal scale at sigma = 0.5 is {alpha:g}, that of no known process")
    if hasattr(scheduler, "alphas_cumprod"):
        raise NotDrivableError("keeps sigmas and alphas_cumprod but does not scale the network's input")
    return "flow"


def _falls_towards_noise(scheduler: Any) -> bool:
    """Timesteps that rise while sigmas fall: time runs from noise to data, and so does the velocity."""
    times = torch.as_tensor(scheduler.timesteps, dtype=torch.float64)
    return len(times) > 1 and bool(times[-1] > times[0]) and bool(scheduler.sigmas[0] > scheduler.sigmas[-1])


def _sigma(scheduler: Any, t: Any) -> float:
    """σ at which the network is asked: the midpoint's where a two-stage method is at its second stage."""
    k = position(scheduler, t)
    if getattr(scheduler, "state_in_first_order", True):
        return float(scheduler.sigmas[k])
    if getattr(scheduler, "mid_point_sigma", None) is not None:
        return float(scheduler.mid_point_sigma)
    if hasattr(scheduler, "sigmas_interpol"):
        one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        shown = float(scheduler.scale_model_input(one, t))
        near = [float(scheduler.sigmas_interpol[k]), float(scheduler.sigmas_interpol[k - 1])]
        return min(near, key=lambda sigma: abs(1.0 / math.hypot(1.0, sigma) - shown))
    return float(scheduler.sigmas[k])


def _sigma_after(scheduler: Any) -> float:
    return float(scheduler.sigmas[min(int(scheduler.step_index), len(scheduler.sigmas) - 1)])


def _data_scale(scheduler: Any) -> float:
    return float(getattr(scheduler.config, "sigma_data", 1.0))


def _asked_scaled(scheduler: Any, t: Any) -> Pair:
    sigma = _sigma(scheduler, t)
    root = math.hypot(sigma, _data_scale(scheduler))
    return 1.0 / root, sigma / root


def _scaled_answer(scheduler: Any) -> Callable[[Any, Tensor, Tensor, Tensor, Pair], Tensor]:
    """epsilon, x0 or v; or the network inside a preconditioner c_skip·state + c_out·F."""
    if hasattr(scheduler, "precondition_outputs"):
        return _preconditioned(lambda s, sigma: _affine(s.precondition_outputs, sigma))
    if hasattr(scheduler, "get_scalings_for_boundary_condition"):
        return _preconditioned(lambda s, sigma: s.get_scalings_for_boundary_condition(sigma))
    return _says(scheduler)


def _affine(precondition: Callable[..., Tensor], sigma: Tensor) -> tuple[Tensor, Tensor]:
    one, zero = torch.ones_like(sigma), torch.zeros_like(sigma)
    return precondition(one, zero, sigma), precondition(zero, one, sigma)


def _preconditioned(scalings: Callable[[Any, Tensor], tuple[Any, Any]]) -> Callable[..., Tensor]:
    def answer(scheduler: Any, _shown: Tensor, state: Tensor, mean: Tensor, pair: Pair) -> Tensor:
        skip, out = scalings(scheduler, torch.tensor(pair[1] / pair[0], dtype=torch.float64))
        return torch.zeros_like(mean) if float(out) == 0.0 else (mean - float(skip) * state) / float(out)

    return answer


# ---- other tables ---------------------------------------------------------------------------------------


def _split(cumulative: Any) -> Pair:
    value = float(cumulative)
    return math.sqrt(max(value, 0.0)), math.sqrt(max(1.0 - value, 0.0))


def _asked_cumulative(scheduler: Any, t: Any) -> Pair:
    return _split(scheduler.alphas_cumprod[int(t)])


def _reached_cumulative(scheduler: Any, t: Any) -> Pair:
    before = (
        int(scheduler.previous_timestep(t)) if hasattr(scheduler, "previous_timestep") else _step_down(scheduler, t)
    )
    final = getattr(scheduler, "final_alpha_cumprod", 1.0)
    return _split(scheduler.alphas_cumprod[before] if before >= 0 else final)


def _step_down(scheduler: Any, t: Any) -> int:
    """The timestep a step earlier; pseudo Runge-Kutta goes by half steps and comes back, its shorter start by whole ones."""
    ratio = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    done = getattr(scheduler, "counter", 0) - 1
    if hasattr(scheduler, "prk_timesteps") and done < len(scheduler.prk_timesteps):
        return int(t) - (0 if done % 2 else ratio // 2)
    return int(t) - (0 if done == 1 and hasattr(scheduler, "plms_timesteps") else ratio)


def _asked_cosine(scheduler: Any, t: Any) -> Pair:
    return _split(scheduler._alpha_cumprod(torch.as_tensor(t).reshape(1), torch.device("cpu")))


def _reached_cosine(scheduler: Any, t: Any) -> Pair:
    return _asked_cosine(scheduler, scheduler.previous_timestep(torch.as_tensor(t).reshape(1)))


def _angle(scheduler: Any, k: int) -> Pair:
    angle = float(scheduler.timesteps[k])
    return math.cos(angle), math.sin(angle) * _data_scale(scheduler)


def _asked_angle(scheduler: Any, t: Any) -> Pair:
    return _angle(scheduler, position(scheduler, t))


def _reached_angle(scheduler: Any, _t: Any) -> Pair:
    return _angle(scheduler, min(int(scheduler.step_index), len(scheduler.timesteps) - 1))


def _angle_answer(scheduler: Any, _shown: Tensor, state: Tensor, mean: Tensor, pair: Pair) -> Tensor:
    sine = pair[1] / _data_scale(scheduler)
    return torch.zeros_like(mean) if sine == 0.0 else (pair[0] * state - mean) / sine


def _asked_position(scheduler: Any, t: Any) -> Pair:
    k = position(scheduler, t)
    return float(scheduler.alphas[k]), float(scheduler.betas[k])


def _reached_position(scheduler: Any, _t: Any) -> Pair:
    k = min(int(scheduler.step_index), len(scheduler.betas) - 1)
    return float(scheduler.alphas[k]), float(scheduler.betas[k])


# ---- what the network says ------------------------------------------------------------------------------


def _says(scheduler: Any, otherwise: str | None = None) -> Callable[..., Tensor]:
    """The class's prediction type; `otherwise` where it has none."""
    kind = getattr(scheduler.config, "prediction_type", None)
    if kind is None and otherwise is None:
        raise NotDrivableError("has no prediction_type, so that it is not known what its network should say")
    if kind is not None and kind not in PREDICTIONS:
        raise NotDrivableError(f"prediction_type {kind!r} is none of {', '.join(PREDICTIONS)}")
    said = otherwise if kind is None else PREDICTIONS[kind]
    assert said is not None
    says = SAYS[said]

    def answer(_scheduler: Any, shown: Tensor, _state: Tensor, mean: Tensor, pair: Pair) -> Tensor:
        if pair[1] == 0.0:
            return _without_noise(said, mean)
        return says(shown, mean, level(pair))

    return answer


def _without_noise(said: str, mean: Tensor) -> Tensor:
    """At σ = 0 the state says nothing of the noise, whose mean is 0."""
    return {"epsilon": 0.0 * mean, "x0": mean, "v": 0.0 * mean, "velocity": -mean}[said]


def _negated(answer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *given: -answer(*given)

"""A failure as a few lines of plain code, to be pasted into a report.

Exceptions and infinite numbers need no model: its output is zero.  Wrong steps are printed.  Inaccurate results come with the
closed-form model of N(m, diag(v)): at the level (α, σ)

    x0 = m + α v/(α² v + σ²) (y − α m),   eps = (y − α x0)/σ,   v = (α eps − σ x0)/√(α² + σ²),   velocity = eps − x0,

and print what the exact flow, or the exact law, gives beside what came out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from verify.audit.gaussian_run import MEAN, VARIANCE, Pair
from verify.audit.options import Case, parameters
from verify.audit.outcome import Outcome, arguments, build, expected_calls

LEVELS = {
    "ve": "[(1.0, s) for s in scheduler.sigmas[:-1].tolist()]",
    "vp": "[(1 / (1 + s * s) ** 0.5, s / (1 + s * s) ** 0.5) for s in scheduler.sigmas[:-1].tolist()]",
    "flow": "[(1 - s, s) for s in scheduler.sigmas[:-1].tolist()]",
    "table": "[(a**0.5, (1 - a) ** 0.5) for a in scheduler.alphas_cumprod[scheduler.timesteps.long()].tolist()]",
}
"""Ways in which the levels of a scheduler can be written."""

SAYS = {
    "epsilon": "eps",
    "sample": "x0",
    "original_sample": "x0",
    "v_prediction": "(a * eps - s * x0) / (a * a + s * s) ** 0.5",
    "flow_prediction": "eps - x0",
}


def reproduction(cls: type, case: Case, outcome: Outcome) -> str:
    """Lines of Python that show the failure with nothing but the library and torch."""
    lines = _head(cls, case)
    if outcome.kind == "wrong steps":
        lines += _steps(cls, case, outcome)
    elif outcome.kind == "inaccurate":
        lines += _accuracy(cls, case, outcome.seen)
    elif outcome.kind != "exception" or outcome.seen.get("in") == "step":
        lines += _loop(cls, case)
    if outcome.kind in ("exception", "time limit", "wrong shape"):
        lines.append(f"# {outcome.message}")
    return "\n".join(lines) + "\n"


def _head(cls: type, case: Case) -> list[str]:
    """The imports, the object, its timesteps."""
    name = cls.__name__
    top = cls.__module__.partition(".")[0]
    package = top if getattr(sys.modules.get(top), name, None) is cls else cls.__module__
    built, set_to, _ = arguments(cls, case.options)
    return [
        "import torch",
        f"from {package} import {name}",
        "",
        f"scheduler = {name}({_call(built)})",
        f"scheduler.set_timesteps({_call({'': case.steps, **set_to})})",
    ]


def _call(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" if key else repr(value) for key, value in given.items())


def _step(cls: type, case: Case, output: str) -> list[str]:
    """The body of the loop, indented."""
    rest = {key: value for key, value in arguments(cls, case.options)[2].items()}
    more = f", {_call(rest)}" if rest else ""
    if "old_pred_original_sample" in parameters(cls, "step"):
        back = "scheduler.timesteps[k - 1] if k else None"
        return [f"    x, old = scheduler.step({output}, old if k else None, t, {back}, x{more}, return_dict=False)"]
    return [f"    x = scheduler.step({output}, t, x{more}, return_dict=False)[0]"]


def _loop(cls: type, case: Case) -> list[str]:
    scale = " * scheduler.init_noise_sigma" if _has(cls, "init_noise_sigma") else ""
    shown = ["    scheduler.scale_model_input(x, t)"] if hasattr(cls, "scale_model_input") else []
    return [
        f"x = torch.randn(1, 3, 8, 8){scale}",
        "for k, t in enumerate(scheduler.timesteps):",
        *shown,
        *_step(cls, case, "torch.zeros_like(x)"),
        "print('finite: expected True, got', bool(x.isfinite().all()))",
    ]


def _has(cls: type, name: str) -> bool:
    try:
        return hasattr(cls, name) or hasattr(cls(), name)
    except Exception:  # somebody's constructor may raise anything; what cannot be built has nothing
        return False


def _steps(cls: type, case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with the levels, printed from the scheduler's own tables."""
    if outcome.sign == "count":
        calls = f"len(scheduler.timesteps{_ends(cls, case, outcome)})"
        return [f"print('evaluations: expected {expected_calls(cls, case)}, got', {calls})"]
    scheduler = build(cls, case)
    asked: list[Pair] = list(outcome.seen["asked"])
    levels = _expression(scheduler, asked, outcome.seen["process"])
    if outcome.sign.startswith("last"):
        return [*_end(scheduler, outcome.sign), f"# {outcome.message}"]
    order = 1 if "skip_prk_steps" in parameters(cls, "__init__") else int(getattr(cls, "order", 1))
    return [
        f"levels = {levels}",
        f"noise = [s / a if a else float('inf') for a, s in levels][::{order}]"
        if order > 1
        else "noise = [s / a for a, s in levels]",
        "print('falling throughout: expected True, got', all(b < a for a, b in zip(noise, noise[1:])))",
        f"# {outcome.message}",
    ]


def _end(scheduler: Any, sign: str) -> list[str]:
    """Prints the two ends of the last step; where another level was promised, the one that the loop ends at."""
    if getattr(scheduler, "sigmas", None) is not None:
        if sign == "last level" and len(scheduler.sigmas) > len(scheduler.timesteps):
            return [
                "print('timesteps:', len(scheduler.timesteps), 'sigmas:', len(scheduler.sigmas))",
                "print('last level: expected 0, got', float(scheduler.sigmas[len(scheduler.timesteps)]))",
            ]
        return ["print('sigmas at the ends of the last step:', scheduler.sigmas[-2:].tolist())"]
    if not hasattr(scheduler, "final_alpha_cumprod"):
        return []
    return [
        "t = int(scheduler.timesteps[-1])",
        "before = t - scheduler.config.num_train_timesteps // scheduler.num_inference_steps",
        "end = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod",
        "print('alphas_cumprod at the ends of the last step:', float(scheduler.alphas_cumprod[t]), float(end))",
    ]


def _ends(cls: type, case: Case, outcome: Outcome) -> str:
    """Without the timesteps at which no network is asked."""
    extra = len(build(cls, case).timesteps) - len(outcome.seen["asked"])
    return f"[:-{extra}]" if extra > 0 else ""


def _expression(scheduler: Any, asked: list[Pair], process: str) -> str:
    """An expression for the levels that agrees with those that were seen; else the numbers."""
    for name in dict.fromkeys((process, *LEVELS)):
        try:
            found = eval(LEVELS[name], {"scheduler": scheduler})
        except Exception:  # not a way in which this class tells its levels; the next one is tried
            continue
        same = len(found) == len(asked) and all(
            math.isclose(x, y, rel_tol=1e-4, abs_tol=1e-6)
            for a, b in zip(found, asked, strict=True)
            for x, y in zip(a, b, strict=True)
        )
        if same:
            return LEVELS[name]
    return "[" + ", ".join(f"({alpha:.8g}, {sigma:.8g})" for alpha, sigma in asked) + "]"


def _accuracy(cls: type, case: Case, seen: Mapping[str, Any]) -> list[str]:
    """The exact model of a Gaussian in a dozen lines."""
    scheduler = build(cls, case)
    says = getattr(scheduler.config, "prediction_type", None) or "flow_prediction"
    inverted = bool(getattr(scheduler.config, "invert_sigmas", False))
    bare = ["scheduler.precondition_outputs = lambda y, output, sigma: output  # the model below says x0"]
    preconditioned = hasattr(cls, "precondition_outputs")
    last, noisy = seen["last"], seen["stochastic"]
    rows = "torch.randn(20000, 2, 1, 1)" if noisy else "torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)"
    output = "x0" if preconditioned else ("-(" + SAYS[says] + ")" if inverted else SAYS[says])
    wanted = "last_a * mean + (last_a**2 * variance + last_s**2).sqrt() * torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)"
    ending = (
        [
            "print('mean: expected', (last_a * mean).flatten().tolist(), 'got', x.mean(0).flatten().tolist())",
            "std = (last_a**2 * variance + last_s**2).sqrt()",
            "print('std: expected', std.flatten().tolist(), 'got', x.std(0).flatten().tolist())",
        ]
        if noisy
        else [
            f"print('expected', ({wanted}).flatten().tolist())",
            "print('got', x.flatten().tolist())",
        ]
    )
    shown = ["    scheduler.scale_model_input(x, t)"] if hasattr(cls, "scale_model_input") else []
    return [
        *(bare if preconditioned else []),
        f"mean, variance = torch.tensor([{list(MEAN)}, {list(VARIANCE)}]).reshape(2, 1, 2, 1, 1)",
        f"levels = {_expression(scheduler, list(seen['asked']), seen['process'])}",
        f"(a, s), (last_a, last_s) = levels[0], ({last[0]:.8g}, {last[1]:.8g})",
        f"x = a * mean + (a**2 * variance + s**2) ** 0.5 * {rows}",
        "for k, (t, (a, s)) in enumerate(zip(scheduler.timesteps, levels)):",
        *shown,
        "    x0 = mean + a * variance / (a**2 * variance + s**2) * (x - a * mean)  # E[data given x], exactly",
        "    eps = (x - a * x0) / s",
        *_step(cls, case, output),
        *ending,
        f"# error {seen['error']:.3g}, Euler's method on the same levels {seen['euler']:.3g}",
    ]

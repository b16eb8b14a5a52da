"""What a class does under one configuration, as its library ships it.

The class sets its own timesteps in its own float32 tables and runs to its own last level, with the exact network of a
Gaussian (gaussian_run.py).  The outcomes:

    ok
    refused        a `raise` statement of the library with a message: in the constructor, in set_timesteps, or in the first
                   step if it says that a value is not supported
    exception      any other, and any in step
    not finite     an infinite number or none in the states, or in the levels that the tables hold
    wrong shape    other rows came back than went in
    wrong steps    not the evaluations that K steps ask for; levels that repeat or turn back; a last level that is not below
                   the one before, or not zero where zero was asked for (from data to noise only the evaluations count)
    inaccurate     K ≥ 20, and the distance from the exact flow (with noise: from the exact law) is more than 3 times that
                   of Euler's method (with noise: of ancestral sampling) on the levels that the class visited, plus a floor
    unstable       the same at K < 500, but with 5 K steps it is 5 times nearer or near enough: too few for a right method
    time limit     still running, and no step ended of late, or more of them than were asked for
    unfinished     still running, slowly

A sampler that makes every state but the first anew, from its prediction and fresh noise, promises the data's law at no K,
exact denoiser or not (consistency models; flow matching with stochastic sampling): nothing is said of its accuracy.

An exception's or a fault's `sign` names where it happened, so that two configurations can be said to fail alike.
"""

from __future__ import annotations

import functools
import linecache
import math
import re
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from verify.audit.contract import NotDrivableError
from verify.audit.gaussian_run import Kept, Pair, error, euler, probe
from verify.audit.limits import TimeLimitError, within
from verify.audit.options import Case, parameters, switched_off

FAILURES = ("exception", "not finite", "wrong shape", "wrong steps", "inaccurate", "time limit")
"""The kinds of outcome that are failures."""

WORSE = 3.0
"""How many times worse than Euler's method is inaccurate."""

FLOOR = 0.005
"""Distance, in the data's units, that float32 tables and states may cost by themselves."""

RECOVERY = 5
"""Times as many steps, and times nearer with them: the mark of a method that was unstable."""

ENOUGH = 500
"""Steps that are not too few for a right method."""

RENOISED = 0.5
"""A state of which each step keeps less than this part of what ancestral sampling keeps is made anew."""

FEWEST = 20
"""Below this number of steps nothing is said of accuracy."""

SAME = 1e-6
"""Levels that differ by less, relatively, are one level in float32."""

UNSUPPORTED = re.compile("NotImplemented|not (yet )?(implemented|supported)|must be one of")
"""Messages of a refusal."""

FENCES = {"MiniMaxH3Scheduler"}
"""Classes whose documentation counts the end of the last step as one of the K points: K − 1 evaluations."""


@dataclass(frozen=True)
class Outcome:
    """One of ok, unstable, refused, not drivable, unfinished and `FAILURES`, with its message.

    `sign`: where it happened.  `seen`: levels, errors and the like, for a reproduction.
    """

    kind: str
    message: str = ""
    sign: str = ""
    seen: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def failed(self) -> bool:
        """Whether this is a failure."""
        return self.kind in FAILURES

    def alike(self, other: Outcome) -> bool:
        """The same kind of failure at the same place."""
        return (self.kind, self.sign) == (other.kind, other.sign)


def arguments(cls: type, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Options as keyword arguments of the constructor, of set_timesteps and of step."""
    constructor, setting = parameters(cls, "__init__"), parameters(cls, "set_timesteps")
    built = {**switched_off(cls), **{key: value for key, value in options.items() if key in constructor}}
    set_to = {key: value for key, value in options.items() if key not in constructor and key in setting}
    rest = {key: value for key, value in options.items() if key not in constructor and key not in setting}
    return built, set_to, rest


def build(cls: type, case: Case) -> Any:
    """The class's object with its timesteps set."""
    built, set_to, _rest = arguments(cls, case.options)
    scheduler = cls(**built)
    scheduler.set_timesteps(case.steps, **set_to)
    return scheduler


def observe(cls: type, case: Case, seconds: float = 20.0) -> Outcome:
    """Runs one configuration, and one that is inaccurate with more steps too; raises nothing but KeyboardInterrupt."""
    outcome = _observe(cls, case, seconds)
    if outcome.kind != "inaccurate" or case.steps >= ENOUGH:
        return outcome
    more = RECOVERY * case.steps
    then = _observe(cls, Case(case.options, more), seconds).seen
    if "error" not in then:
        return outcome
    message = f"{outcome.message}; with {more} steps {then['error']:.3g} and {then['euler']:.3g}"
    near = then["error"] <= max(outcome.seen["error"] / RECOVERY, _allowed(then["euler"]))
    kind = "unstable" if near and math.isfinite(then["error"]) else "inaccurate"
    return Outcome(kind, message, outcome.sign, outcome.seen)


def _observe(cls: type, case: Case, seconds: float) -> Outcome:
    from verify.audit.diffusers.conventions import LevelError
    from verify.audit.diffusers.loop import quiet

    state: dict[str, Any] = {}
    try:
        with within(seconds), quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is found in the states
            return _run(cls, case, state)
    except KeyboardInterrupt:
        raise
    except TimeLimitError as raised:
        slow = 0 < state.get("calls", 0) <= expected_calls(cls, case) and time.monotonic() - state["at"] < seconds / 4
        return Outcome("unfinished" if slow else "time limit", f"{raised}, {state.get('calls', 0)} steps taken")
    except NotDrivableError as raised:
        return Outcome("not drivable", str(raised))
    except LevelError as raised:
        return Outcome("not finite", str(raised), "levels")
    except _ShapeError as raised:
        return Outcome("wrong shape", str(raised))
    except BaseException as raised:
        early = "built" not in state or (state.get("calls", 0) == 0 and UNSUPPORTED.search(_said(raised)))
        if early and _deliberate(raised):
            return Outcome("refused", _said(raised), _place(raised))
        return Outcome("exception", _said(raised), _place(raised), {"in": "step" if "built" in state else "setting"})


class _ShapeError(RuntimeError):
    """Other rows came back than went in."""


def _run(cls: type, case: Case, state: dict[str, Any]) -> Outcome:
    from verify.audit.diffusers.loop import run

    state["built"] = build(cls, case)
    waiting = [state["built"]]
    given = arguments(cls, case.options)[2]
    generator = torch.Generator().manual_seed(0)

    def once(start: Tensor) -> Tensor:
        scheduler = waiting.pop() if waiting else build(cls, case)
        _watch(scheduler, state)
        kept = Kept()
        trace = run(scheduler, lambda y, at: kept(y, at.alpha, at.sigma), start, generator, step_options=given)
        state.update(trace=trace, kept=kept.most)
        return trace.states

    scale = float(getattr(state["built"], "init_noise_sigma", 1.0))
    law = probe(once, scale=scale, draws=2 * case.steps if "generator" in parameters(cls, "step") else 0)
    trace = state["trace"]
    asked: list[Pair] = [(at.alpha, at.sigma) for at in trace.levels]
    if trace.process == "ve":
        asked = [(1.0, sigma / alpha) for alpha, sigma in asked]
    seen = {"asked": asked, "last": trace.last, "process": trace.process, "stochastic": law.stochastic}
    if not law.finite:
        return Outcome("not finite", "the last states are not finite", "states", seen)
    wrong = _steps(cls, case, asked, trace.last)
    if wrong is not None:
        return Outcome("wrong steps", wrong[1], wrong[0], seen)
    renoised = law.stochastic and state["kept"] is not None and state["kept"] < RENOISED
    if case.steps < FEWEST or renoised or inverts(cls):
        return Outcome("ok", seen=seen)
    levels = sorted({*asked, trace.last}, key=noisiness, reverse=True)
    ours = error(law, asked[0], trace.last)
    others = error(euler(levels, stochastic=law.stochastic), levels[0], levels[-1])
    seen |= {"error": ours, "euler": others}
    if ours > _allowed(others) or not math.isfinite(ours):
        what, method = ("law", "ancestral sampling") if law.stochastic else ("flow", "Euler's method")
        message = f"{ours:.3g} from the exact {what}; {method} on the same levels: {others:.3g}"
        return Outcome("inaccurate", message, "", seen)
    return Outcome("ok", seen=seen)


def _allowed(euler: float) -> float:
    """The distance up to which nothing is called inaccurate."""
    return WORSE * euler + FLOOR


def _watch(scheduler: Any, state: dict[str, Any]) -> None:
    """Has `step` note when it ended, and refuse rows of another shape than it was given."""
    inner = scheduler.step
    state |= {"calls": 0, "at": time.monotonic()}

    @functools.wraps(inner)
    def step(*args: Any, **kwargs: Any) -> Any:
        out = inner(*args, **kwargs)
        given = kwargs["sample"]
        if out[0].shape != given.shape:
            raise _ShapeError(f"step returned states of shape {tuple(out[0].shape)} for {tuple(given.shape)}")
        state["calls"] += 1
        state["at"] = time.monotonic()
        return out

    scheduler.step = step


def noisiness(pair: Pair) -> float:
    """σ/α; infinite where the signal vanishes, for which the loop writes a tiny α."""
    return pair[1] / pair[0] if pair[0] > 1e-100 else math.inf


@functools.cache
def inverts(cls: type) -> bool:
    """Whether the class's defaults go from data to noise."""
    from verify.audit.diffusers.loop import quiet, run

    try:
        with quiet():
            trace = run(build(cls, Case({}, 10)), lambda y, _: y, torch.ones(1, 2), torch.Generator().manual_seed(0))
    except Exception:  # what breaks off by default is judged configuration by configuration
        return False
    return trace.levels[-1].snr < trace.levels[0].snr


def expected_calls(cls: type, case: Case) -> int:
    """Evaluations that K steps ask for: order·K − (order − 1), as a method of two stages ends with a step of one.

    A pseudo linear multistep class evaluates once more, or nine times more with its Runge–Kutta start (Liu et al. 2022).
    """
    if cls.__name__ in FENCES:
        return case.steps - 1
    skips = parameters(cls, "__init__").get("skip_prk_steps")
    if skips is not None:
        return case.steps + (min(1, case.steps - 1) if case.options.get("skip_prk_steps", skips.default) else 9)
    order = int(getattr(cls, "order", 1))
    return order * case.steps - (order - 1)


def _steps(cls: type, case: Case, asked: list[Pair], last: Pair) -> tuple[str, str] | None:
    """(which rule, what happened) where the steps are not those that were asked for."""
    expected = expected_calls(cls, case)
    if len(asked) != expected:
        return "count", f"{len(asked)} evaluations, {expected} expected"
    if not all(math.isfinite(value) for value in last):
        return "last level", f"the last level is alpha = {last[0]:g}, sigma = {last[1]:g}"
    if inverts(cls):
        return None
    noise, end = [noisiness(pair) for pair in asked], noisiness(last)
    if "skip_prk_steps" in parameters(cls, "__init__"):
        if len(set(noise)) < case.steps:
            return "repeated", f"{len(set(noise))} different levels, {case.steps} expected"
    else:
        for k, (before, after) in enumerate(pairwise(noise[:: int(getattr(cls, "order", 1))])):
            if math.isclose(after, before, rel_tol=SAME):
                return "repeated", f"steps {k} and {k + 1} start at the same level, sigma/alpha = {before:g}"
            if after > before:
                return "not monotone", f"step {k} goes from sigma/alpha = {before:g} up to {after:g}"
    if math.isclose(end, noise[-1], rel_tol=SAME):
        return "last step empty", f"the last step starts and ends at sigma/alpha = {end:g}"
    if end > noise[-1]:
        return "last step rises", f"the last step goes from sigma/alpha = {noise[-1]:g} up to {end:g}"
    if end > 0 and _promises_zero(cls, case):
        return "last level", f"the last level is sigma/alpha = {end:g}, zero expected"
    return None


def _promises_zero(cls: type, case: Case) -> bool:
    """Whether the options say that the last level is free of noise."""
    for name, value in (("final_sigmas_type", "zero"), ("set_alpha_to_one", True)):
        parameter = parameters(cls, "__init__").get(name)
        if parameter is not None:
            return case.options.get(name, parameter.default) == value
    return False


# ---- where an exception comes from -------------------------------------------------------------------------


def _deliberate(raised: BaseException) -> bool:
    """Whether a raise statement with a message made it."""
    frames = traceback.extract_tb(raised.__traceback__)
    if not frames or not str(raised).strip():
        return False
    return linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip().startswith("raise ")


def _said(raised: BaseException) -> str:
    return f"{type(raised).__name__}: {' '.join(str(raised).split())[:300]}"


def _place(raised: BaseException) -> str:
    """Type, file, function and line of the innermost frame that is no part of torch or numpy."""
    frames = traceback.extract_tb(raised.__traceback__)
    own = [frame for frame in frames if not any(part in frame.filename for part in ("/torch/", "/numpy/"))] or frames
    where = f"{own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].name}:{own[-1].lineno}" if own else ""
    return f"{type(raised).__name__} {where}"

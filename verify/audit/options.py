"""The options of a class as factors, each with a few levels, read off its signatures.

    bool                    off and on
    Literal[...]            its values; those for which a network has to learn a variance are left out
    str                     the values that the class compares the parameter with
    use_…_sigmas            one factor, as at most one of them may be on
    number or list          values by the parameter's name (`NUMBERS`), e.g. 1, 2, 3 for solver_order
    clipping, thresholding  off

Constructor, set_timesteps and step are read.  The first level of each factor is the class's default.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from targets.arguments import refuse

NUMBERS: dict[str, tuple[Any, ...]] = {
    "solver_order": (1, 2, 3),
    "predictor_order": (1, 2, 3, 4),
    "corrector_order": (1, 2, 3, 4),
    "steps_offset": (0, 1),
    "shift": (1.0, 3.0),
    "flow_shift": (1.0, 3.0),
    "shift_terminal": (0.1,),
    "snr_shift_scale": (1.0, 3.0),
    "lambda_min_clipped": (-5.1,),
    "sigma_min": (0.03,),
    "sigma_max": (14.6,),
    "disable_corrector": ([0],),
}
"""Values of constructor parameters that are neither switches nor names, as they occur in published configurations."""

STEPPING: dict[str, tuple[Any, ...]] = {"eta": (0.0, 0.5, 1.0), "order": (1, 2, 3, 4), "s_churn": (0.0, 1.0)}
"""Values of parameters of step."""

BETAS = ({"beta_start": 0.0001, "beta_end": 0.02}, {"beta_start": 0.00085, "beta_end": 0.012})
"""Ends of the β schedule in use: those of DDPM and those of latent diffusion."""

OFF = ("clip_sample", "clip_denoised", "thresholding")
"""Switches that cut the state: an exact denoiser needs none, and they hide what a step does."""

MU = 1.15
"""Exponent of a dynamic time shift."""

LONGEST = 1000
"""Training steps of a class that names no number of them."""

FLAG = re.compile(r"use_\w+_(sigmas|lambdas)")


@dataclass(frozen=True)
class Factor:
    """Options that are set together: each level is a set of keyword arguments, the first one the class's default."""

    name: str
    levels: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Case:
    """One configuration: what is not at its default, and the number of steps K."""

    options: Mapping[str, Any]
    steps: int

    def holds(self, other: Case, *, any_steps: bool = False) -> bool:
        """Whether every option of `other` is set here to the same value, at the same K unless `any_steps`."""
        same = all(key in self.options and self.options[key] == value for key, value in other.options.items())
        return same and (any_steps or self.steps == other.steps)


@functools.cache
def factors(cls: type) -> tuple[Factor, ...]:
    """The factors of a class, each with at least two levels, in the order of its signature.

    ArgumentError: not a class.
    """
    if not inspect.isclass(cls):
        refuse("cls", cls, "a class")
    constructor, setting, stepping = (parameters(cls, name) for name in ("__init__", "set_timesteps", "step"))
    found = {
        "sigmas": _switches(constructor),
        "betas": _betas(constructor),
        "dynamic shift": _dynamic(cls, constructor, setting),
    }
    taken = {key for levels in found.values() for level in levels for key in level} | {"time_shift_type", *OFF}
    for name, parameter in constructor.items():
        if name not in taken:
            found[name] = [{name: value} for value in _values(cls, parameter)]
    for name in (name for name in STEPPING if name in stepping and name not in constructor):
        found[name] = [{name: value} for value in _distinct((stepping[name].default, *STEPPING[name]))]
    return tuple(Factor(name, tuple([{}, *levels[1:]])) for name, levels in found.items() if len(levels) > 1)


def longest(cls: type) -> int:
    """The number of training steps that the class's constructor takes for granted; 1000 where it names none.

    More steps than these repeat time steps.
    """
    steps = parameters(cls, "__init__").get("num_train_timesteps")
    return steps.default if steps is not None and type(steps.default) is int else LONGEST


def switched_off(cls: type) -> dict[str, Any]:
    """The switches of `OFF` that are on by default, off."""
    constructor = parameters(cls, "__init__")
    return dict.fromkeys((name for name in OFF if name in constructor and constructor[name].default), False)


@functools.cache
def parameters(cls: type, method: str) -> dict[str, inspect.Parameter]:
    """Parameters of a method by name, without self; none where the class has no such method."""
    function = getattr(cls, method, None)
    if function is None:
        return {}
    try:
        signature = inspect.signature(inspect.unwrap(function), eval_str=True)
    except Exception:  # an annotation that names what is not there: the text of it will do
        signature = inspect.signature(inspect.unwrap(function))
    return {name: parameter for name, parameter in list(signature.parameters.items())[1:]}


def compatible(options: Mapping[str, Any]) -> bool:
    """Whether what the model says and the states' process go together: a velocity with flow states, v with α² + σ² = 1."""
    says, flow = options.get("prediction_type"), options.get("use_flow_sigmas", False)
    return not (says == "flow_prediction" and not flow) and not (says == "v_prediction" and flow)


# ---- levels of one factor ----------------------------------------------------------------------------------


def _switches(constructor: Mapping[str, inspect.Parameter]) -> list[dict[str, Any]]:
    """No flag that replaces the noise levels, or one."""
    flags = [name for name, parameter in constructor.items() if FLAG.fullmatch(name) and parameter.default is False]
    return [{}, *({flag: True} for flag in flags)]


def _betas(constructor: Mapping[str, inspect.Parameter]) -> list[dict[str, Any]]:
    """The ends of the β schedule that are not the default."""
    if not {"beta_start", "beta_end"} <= constructor.keys():
        return [{}]
    default = {name: constructor[name].default for name in ("beta_start", "beta_end")}
    return [{}, *(ends for ends in BETAS if ends != default)]


def _dynamic(
    cls: type, constructor: Mapping[str, inspect.Parameter], setting: Mapping[str, inspect.Parameter]
) -> list[dict[str, Any]]:
    """No dynamic time shift, or one of each type, with its exponent."""
    if "use_dynamic_shifting" not in constructor:
        return [{}]
    on: dict[str, Any] = {"use_dynamic_shifting": True}
    if "mu" in setting:
        on["mu"] = MU
    if "time_shift_type" not in constructor:
        return [{}, on]
    _default, *rest = _values(cls, constructor["time_shift_type"]) or [None]
    return [{}, on, *({**on, "time_shift_type": value} for value in rest)]


def _values(cls: type, parameter: inspect.Parameter) -> list[Any]:
    """Values of one parameter, the default first; empty where none but the default is known."""
    default = parameter.default
    if default is inspect.Parameter.empty:
        return []
    if parameter.name in NUMBERS:
        return _distinct((default, *NUMBERS[parameter.name]))
    if isinstance(default, bool):
        return [default, not default]
    named = _literals(parameter.annotation)
    if not named and isinstance(default, str):
        named = compared(cls, parameter.name)
    return _distinct((default, *(value for value in named if not str(value).startswith("learned"))))


def _literals(annotation: Any) -> list[Any]:
    """The values of a Literal type, inside a union too."""
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [value for inner in typing.get_args(annotation) if inner is not annotation for value in _literals(inner)]


def compared(cls: type, name: str) -> list[str]:
    """Strings that the class's source compares a parameter with, as `name`, self.name or self.config.name.

    Where the source checks the parameter with `not in`, that list alone.
    """
    equal: list[str] = []
    checked: list[str] = []
    for node in (node for tree in _sources(cls) for node in ast.walk(tree) if isinstance(node, ast.Compare)):
        left = node.left
        called = left.id if isinstance(left, ast.Name) else left.attr if isinstance(left, ast.Attribute) else None
        if called != name or len(node.ops) != 1:
            continue
        strings = [leaf.value for leaf in ast.walk(node.comparators[0]) if isinstance(leaf, ast.Constant)]
        target = checked if isinstance(node.ops[0], ast.NotIn) else equal
        target += [value for value in strings if isinstance(value, str)]
    return _distinct(checked or equal)


@functools.cache
def _sources(cls: type) -> list[ast.AST]:
    """Syntax trees of a class and of those that it derives from, where there is source."""
    trees: list[ast.AST] = []
    for base in cls.__mro__[:-1]:
        try:
            trees.append(ast.parse(textwrap.dedent(inspect.getsource(base))))
        except (OSError, TypeError, SyntaxError):
            continue
    return trees


def _distinct(values: Iterable[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept

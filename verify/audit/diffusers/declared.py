"""The order that a class of diffusers promises, and where: in its parameters, its documentation, or the method it names.

A rule is a few words and an order.  The words are looked for in the installed class's own documentation; a rule whose words
are not there does not apply, and a class that no rule applies to has promised nothing.

    solver_order, predictor_order, order     the parameter's own value; for UniPC the documentation says one more
    a method's name                          the order of that method in the paper that introduced it
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from verify.audit.contract import Declared

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """`words` of the documentation, the order by the options, and the paper where the documentation only names a method."""

    words: str
    order: Callable[[Options], float]
    paper: str = ""


def _named(name: str, more: int = 0) -> Callable[[Options], float]:
    return lambda options: options[name] + more


def _always(order: float) -> Callable[[Options], float]:
    return lambda _options: order


RULES = (
    Rule("effective order of accuracy is `solver_order + 1`", _named("solver_order", 1)),
    Rule("The DPMSolver order", _named("solver_order")),
    Rule("The DEIS order", _named("solver_order")),
    Rule("The order of the linear multistep method", _named("order")),
    Rule("fourth-order", _always(4.0)),
    Rule(
        "pseudo numerical methods",
        _always(2.0),
        "Liu et al. 2022 (2202.09778), sec. 3.3: pseudo numerical methods are second-order convergent",
    ),
    Rule("DPMSolver2", _always(2.0), "Lu et al. 2022 (2206.00927): DPM-Solver-2 is of second order"),
    Rule(
        "stochastic sampler from the [Elucidating",
        _always(2.0),
        "Karras et al. 2022 (2206.00364), Algorithm 2: stochastic sampler with second-order correction",
    ),
    Rule(
        "stochastic scheduler tailored to variance-expanding models",
        _always(2.0),
        "Karras et al. 2022 (2206.00364), Algorithm 2: stochastic sampler with second-order correction",
    ),
    Rule(
        "variance exploding stochastic differential equation",
        _always(1.0),
        "Song et al. 2021 (2011.13456), App. E: the reverse diffusion predictor discretises the reverse SDE",
    ),
    Rule("Heun", _always(2.0), "Karras et al. 2022 (2206.00364), Algorithm 1: Heun's second-order method"),
    Rule("Euler", _always(1.0), "Euler's method"),
    Rule(
        "enoising diffusion implicit models",
        _always(1.0),
        "Song, Meng & Ermon 2021 (2010.02502), sec. 4.3: Euler's method for the probability flow",
    ),
    Rule(
        "non-Markovian guidance",
        _always(1.0),
        "Song, Meng & Ermon 2021 (2010.02502), sec. 4.3: Euler's method for the probability flow",
    ),
    Rule(
        "denoising score matching",
        _always(1.0),
        "Song et al. 2021 (2011.13456), App. E: ancestral sampling discretises the reverse SDE",
    ),
    Rule("DDPM", _always(1.0), "Song et al. 2021 (2011.13456), App. E: ancestral sampling discretises the reverse SDE"),
)
"""The first whose words are there applies."""

SA_SOLVER = "Xue et al. 2023 (2309.05019), Theorem 5.1: error O(τ h + h^s)"


def declared(cls: type, options: Options, step_options: Options) -> Declared | None:
    """What the class promises with these options (constructor's and step's), or None.

    A sampler of a consistency model, which puts fresh noise around a prediction in every step, promises no order in the
    number of its steps, whatever its documentation was copied from.
    """
    values = {**_defaults(cls.__init__), **_defaults(cls.step), **options, **step_options}  # type: ignore[attr-defined]
    if "original_inference_steps" in values or values.get("stochastic_sampling"):
        return None
    if "predictor_order" in values:
        return _sa_solver(values)
    by_words = promised(cls, values)
    if by_words is not None:
        return by_words
    if "solver_order" in values and values.get("scheduler_type") != "euler":
        return Declared(float(values["solver_order"]), "parameter solver_order")
    if values.get("scheduler_type") == "euler":
        return Declared(1.0, "parameter scheduler_type='euler'")
    return None


def promised(cls: type, values: Options | None = None) -> Declared | None:
    """What the documentation's words promise, with these values of the parameters; None where it has none of the words."""
    text = _documentation(cls)
    for rule in RULES:
        if _flat(rule.words) in text:
            where = f"documentation of {cls.__name__}: {rule.words!r}"
            return Declared(float(rule.order(values or {})), f"{where}; {rule.paper}" if rule.paper else where)
    return None


def _sa_solver(values: Options) -> Declared:
    """With τ = 0 the order of the parameters; with noise the theorem's first order."""
    order = min(values["predictor_order"] + 1, values["corrector_order"])
    tau = values["tau_func"]
    if tau is not None and tau(0) == 0:
        return Declared(float(order), "parameters predictor_order and corrector_order (tau = 0)")
    return Declared(1.0, f"{SA_SOLVER}, first order with tau > 0")


def _documentation(cls: type) -> str:
    """The class's own text and that of its step, in one line; nothing that was inherited."""
    own = inspect.cleandoc(cls.__doc__ or "")
    step = inspect.getdoc(getattr(cls, "step", None)) or ""
    return _flat(own + " " + "".join(line for line in step.splitlines(keepends=True) if "linear multistep" in line))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}

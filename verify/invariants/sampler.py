"""Checks of a sampler against what its author declares of it.

output, types, inputs, generator, rows_apart      it is a function of its arguments, rows apart
levels, one_step, extremes                        it asks where its grid says, in one step and at the ends of the range
permutation, rotation                             vector formulas
point_mass, translation, gauge, constant_bias     where declared
order                                             on targets whose flow or law is exact
counterpart                                       where it claims to be a method that is here
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from targets.arguments import refuse
from verify.audit.contract import Sampler
from verify.grid import Grid
from verify.invariants import behaviour, exactness, rate, symmetry
from verify.invariants.check import Check, parametrized, run_all
from verify.invariants.subject import Subject
from verify.step import Table

ALWAYS: dict[str, Callable[[Subject], None]] = {
    "output": behaviour.output,
    "types": behaviour.types,
    "inputs": behaviour.inputs,
    "generator": behaviour.generator,
    "rows_apart": behaviour.rows_apart,
    "levels": behaviour.levels,
    "one_step": behaviour.one_step,
    "extremes": behaviour.extremes,
    "permutation": symmetry.permutation,
    "rotation": symmetry.rotation,
    "order": rate.order_reached,
}
"""Checks of every sampler."""

DECLARED: dict[str, Callable[[Subject], None]] = {
    "point_mass": exactness.point_mass,
    "translation": symmetry.translation,
    "gauge": symmetry.gauge,
    "constant_bias": exactness.constant_bias,
}
"""Checks of identities that a sampler declares, by their names in `verify.step.IDENTITIES`."""


def sampler_checks(
    sampler: Sampler,
    *,
    order: float,
    stochastic: bool,
    process: str = "vp",
    identities: Collection[str] = frozenset(),
    least: int = 1,
    like: Callable[[Grid], Table] | None = None,
    seconds: float = 30.0,
) -> list[Check]:
    """The checks that apply to a sampler; arguments as in `check_sampler`."""
    subject = Subject(sampler, order, stochastic, process, frozenset_of(identities), least, like, seconds)
    chosen = ALWAYS | {name: check for name, check in DECLARED.items() if name in subject.identities}
    if like is not None:
        chosen["counterpart"] = exactness.counterpart
    return [Check(name, subject.name, partial(body, subject), seconds) for name, body in chosen.items()]


def check_sampler(
    sampler: Sampler,
    *,
    order: float,
    stochastic: bool,
    process: str = "vp",
    identities: Collection[str] = frozenset(),
    least: int = 1,
    like: Callable[[Grid], Table] | None = None,
    seconds: float = 30.0,
) -> None:
    """Holds a sampler against its declaration, under exact denoisers.

    sampler: (denoiser, grid, start, generator) -> states at the grid's last level (`verify.audit.contract`).
    order: p of states within O(K^{-p}) of the exact flow's; of marginal KL O(K^{-2p}) where stochastic.
    stochastic: whether it draws from the generator.  process: of its states, "vp", "ve" or "flow".
    identities: names among point_mass, translation, gauge, constant_bias (`verify.step.IDENTITIES`).
    least: fewest steps that it takes.  like: one of our table builders with which it should agree to 1e-10.
    seconds: limit on each check.

    Raises `InvariantError` with every check that failed; ArgumentError for a declaration that makes no sense.  All draws are
    fixed: nothing is left to chance.

    >>> from verify.audit.order import as_sampler
    >>> from verify.samplers import ddim
    >>> check_sampler(as_sampler(ddim), order=1, stochastic=False, identities={"point_mass", "gauge"}, like=ddim)
    """
    run_all(
        sampler_checks(
            sampler,
            order=order,
            stochastic=stochastic,
            process=process,
            identities=identities,
            least=least,
            like=like,
            seconds=seconds,
        )
    )


def parametrize_with_sampler_checks(samplers: Iterable[Sampler], **declared: Any) -> Any:
    """A pytest mark: one test for each sampler and check.  `declared` as in `check_sampler`, the same for all samplers.

    @parametrize_with_sampler_checks([my_sampler], order=2, stochastic=False)
    def test_my_sampler(check):
        check()
    """
    if callable(samplers) or isinstance(samplers, str):
        refuse("samplers", samplers, "a list of samplers")
    return parametrized(check for sampler in samplers for check in sampler_checks(sampler, **declared))


def frozenset_of(names: Collection[str]) -> Collection[str]:
    """The names as a set; a single string stays one, to be refused as such."""
    return names if isinstance(names, str) else frozenset(names)

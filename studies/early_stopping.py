"""What stopping at OU time δ costs, and how many steps it takes as δ → 0, rung by rung.

Claim: arXiv 2508.16306 reaches KL ≤ ε² with K = Θ(d log^{3/2}(1/δ)/ε) steps.  Its bound is d²c³K on a grid of steps
h = c·min(1, t); that grid has the length Λ = ∫_δ^T dt/min(1, t) = T − 1 + log(1/δ) (T ≥ 1) and c = Λ/K, so that the claim is
K²·KL ∝ Λ³ on the rung it bounds: the chain against flow+noise, and with it the marginal.

Form: c is the same at every step, and a step at t → 0 sees the law as N singular and D smooth directions, D = lim γ·mmse(γ)
(the MMSE dimension, Wu and Verdú 2011) and N = d − D.  A rung that adds up its steps' costs there, b·c^{p+1} for each, has

    K^p·KL  →  Λ^p (A + B log(1/δ)),        p = 1: path, chain against reverse;  p = 2: chain against flow+noise, marginal

                                     a step at t → 0 costs
    ddpm, path                       ½(e^c − 1 − c) a smooth direction              B = D/4
    jain_zhang, chain (reverse)      to leading order the same                      B = D/4
    ei_sde, path                     ½(c − 1 + e^{−c}) a singular direction         B = N/4
    jain_zhang, chain (flow+noise)   e^c (1 − e^{−c})³/8 a singular direction       B = N/8
    any marginal                     contracted away by the steps after it          B = 0

Steps to a small ε² thus grow like Λ^{1 + 1/p} where B > 0, and like Λ where B = 0.  Rows give every limit; verdicts compare.

Singular families: two points, a rare bit, a Gaussian with a null direction, a sphere, a codebook, the handwritten digits.
Smooth ones: a curved mixture, an anisotropic Gaussian.  Exact start, steps up to δ; stopping at δ costs what x_δ leaves
unknown of X, or the distance W2 of the two, and stands apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil, log

import numpy as np
import torch

from studies import early_verdicts, study
from studies.dimension_scaling import divergence, numbers, table_of
from studies.early_verdicts import RUNGS
from studies.store import Row
from targets import Estimate, Gaussian, NotAvailableError, Target, get
from targets.arguments import integer, real
from verify import Grid, kl, rates
from verify.kl.ladder import early_stopping

NAME = "early_stopping"
STOPS = {
    "quick": (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8),
    "full": (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8),
}
CLOSED = (1 / 64, 1 / 128, 1 / 256)
"""c = Λ/K of rungs that are sums over a curve, or closed forms."""

CARRIED = {"quick": (1 / 2, 1 / 4, 1 / 8), "full": (1 / 4, 1 / 8, 1 / 16)}
"""The same of rungs that are integrated step by step: flow+noise and the marginal of what is no Gaussian.

With the same c at every δ the limits K → ∞ are extrapolated alike, and what they miss all but drops out of their growth.
"""


@dataclass(frozen=True)
class Config(study.Config):
    """Cost of stopping at δ and steps it takes, δ = 1e-1 … 1e-8; h = c·min(1, t) in OU time from T, exact start."""

    start_time: float = 4.0
    """T: OU time at which sampling starts, from the true law there."""
    epsilon2: float = 1e-2
    """ε²: K*(δ) is the least K with KL ≤ ε² nats on the stated rung."""


@dataclass(frozen=True)
class Family:
    """A law and its MMSE dimension D = lim γ·mmse(γ); singular: D < d."""

    build: Callable[[], Target]
    mmse_dimension: int
    presets: tuple[str, ...] = ("quick", "full")


def null_direction() -> Gaussian:
    """N((½, 0), diag(3/2, 0)): a line in the plane."""
    return Gaussian([0.5, 0.0], [[1.5, 0.0], [0.0, 0.0]])


FAMILIES = {
    "two points": Family(lambda: get("two_points", p=0.3), 0),
    "rare bit": Family(lambda: get("rare_bit", p=1e-3), 0, ("full",)),
    "null direction": Family(null_direction, 1),
    "sphere": Family(lambda: get("sphere", dim=3), 2),
    "codebook": Family(lambda: get("codebook", dim=8), 0),
    "digits": Family(lambda: get("digits"), 0, ("full",)),
    "curved mixture": Family(lambda: get("curved_mixture"), 1),
    "anisotropic Gaussian": Family(lambda: get("anisotropic_gaussian", dim=8), 8),
}


@cache
def law(family: str, place: str) -> Target:
    """One object a family and device, so that its curve is computed once for all δ."""
    target = FAMILIES[family].build()
    return target if place == "cpu" else target.to(device=torch.device(place))


def length(start: float, stop: float) -> float:
    """Λ = ∫_δ^T dt/min(1, t): T − 1 + log(1/δ) for T ≥ 1 ≥ δ; the grid's steps are c·min(1, t) with c = Λ/K."""
    above, below = (t - 1.0 if t > 1.0 else log(t) for t in (start, stop))
    return above - below


def settings(config: Config) -> list[Row]:
    """One setting a family and δ."""
    shared = {k: v for k, v in config.varied().items() if k != "seed"}
    return [
        {"family": name, "dim": law(name, "cpu").dim, "delta": delta, **shared}
        for name, family in FAMILIES.items()
        if config.preset in family.presets
        for delta in STOPS[config.preset]
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """What stopping costs, what the prior would, and KL, its limit and K*(δ) on every rung."""
    family, preset = FAMILIES[setting["family"]], setting["preset"]
    target, window = law(setting["family"], str(place)), (setting["start_time"], setting["delta"])
    base = {
        "family": setting["family"],
        "dim": target.dim,
        "mmse_dimension": family.mmse_dimension,
        "delta": setting["delta"],
        "length": length(*window),
        "start_time": setting["start_time"],
    }
    rows = _ends(target, base, window)
    for rung in RUNGS:
        carried = rung.order == 2 and not isinstance(target, Gaussian)
        mine = {**base, "sampler": rung.sampler, "rung": rung.rung, "reference": rung.reference, "order": rung.order}
        sizes = tuple(ceil(base["length"] / c) for c in (CARRIED[preset] if carried else CLOSED))
        known: list[Row] = []
        try:
            known = _limit_rows(target, mine, window, sizes)
            steps = [_steps_row(target, mine, window, known if carried else [], setting["epsilon2"])]
        except NotAvailableError as refusal:
            reason = f"K*: {refusal}" if known else str(refusal)
            steps = [{**mine, "quantity": "refused", "value": None, "method": reason}]
        rows += [*known, *steps]
    return rows


def _ends(target: Target, base: Row, window: tuple[float, float]) -> list[Row]:
    """Rows of what the two ends cost: stopping at δ, and starting from N(0, 1) instead of the true law at T."""
    table = table_of("ddpm", Grid.exponential_uniform(2, ou_time=window))
    none = {"sampler": "-", "rung": "-", "reference": "-", "order": 0}
    stop = [
        {**base, **none, "quantity": "early", **numbers(cost), "method": name}
        for name, cost in early_stopping(target, table).items()
    ]
    start = Estimate.jackknife(kl.initial(target, table, "prior"), 0.0, "KL(p_T ‖ N(0, 1))")
    return [*stop, {**base, **none, "quantity": "initial", **numbers(start)}]


def _at(target: Target, rung: Row, window: tuple[float, float], steps: int) -> Estimate:
    grid = Grid.exponential_uniform(steps, ou_time=window)
    return divergence(target, rung["sampler"], rung["rung"], rung["reference"], grid)


def _limit_rows(target: Target, base: Row, window: tuple[float, float], sizes: tuple[int, ...]) -> list[Row]:
    """KL at each K, and the limit of K^p·KL."""
    found = [_at(target, base, window, steps) for steps in sizes]
    scaled = [_times(one, float(steps) ** base["order"]) for one, steps in zip(found, sizes, strict=True)]
    limit = rates.limit(sizes, scaled, order=1.0)
    return [
        *({**base, "quantity": "kl", "steps": k, **numbers(one)} for k, one in zip(sizes, found, strict=True)),
        {**base, "quantity": "limit", **numbers(limit), "method": f"limit of K^{base['order']}·KL"},
    ]


def _steps_row(target: Target, base: Row, window: tuple[float, float], known: list[Row], epsilon2: float) -> Row:
    """K*: exactly, or between the `known` KL rows where they are given and begin above ε²."""
    order, between = base["order"], [row for row in known if row["quantity"] == "kl"]
    if between and between[0]["value"] > epsilon2:
        reach = rates.steps_to_reach(interpolated(between), epsilon2, order=order)
        beyond, method = reach.steps > between[-1]["steps"], "K^p·KL as a parabola in 1/K"
    else:
        reach = rates.steps_to_reach(lambda steps: _at(target, base, window, steps), epsilon2, order=order)
        beyond, method = reach.extrapolated, "limit of K^p·KL" if reach.extrapolated else "least K with KL <= ε²"
    return {
        **base,
        "quantity": "steps",
        "value": float(reach.steps),
        "stderr": float(reach.stderr),
        "bias": float(reach.bias),
        "extrapolated": bool(beyond),
        "method": method,
    }


def interpolated(rows: list[Row]) -> Callable[[int], Estimate]:
    """K ↦ KL where K^p·KL is the polynomial in 1/K through these rows; exact for a sum of as many powers 1/K, 1/K², …

    Its relative errors are the largest of the rows', which share one curve.
    """
    order, sizes = rows[0]["order"], np.array([float(row["steps"]) for row in rows])
    scaled = sizes**order * np.array([row["value"] for row in rows])
    curve = np.polynomial.Polynomial.fit(1.0 / sizes, scaled, len(rows) - 1)
    stderr, bias = (max(float(row[error]) / float(row["value"]) for row in rows) for error in ("stderr", "bias"))

    def at(steps: int) -> Estimate:
        value = float(curve(1.0 / steps)) / float(steps) ** order
        return Estimate(value, abs(value) * stderr, abs(value) * bias, "interpolated")

    return at


def _times(estimate: Estimate, factor: float) -> Estimate:
    value, stderr, bias = (float(one) * factor for one in (estimate.value, estimate.stderr, estimate.bias))
    return Estimate(value, stderr, bias, estimate.method)


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    real("start-time", config.start_time, "a time T > 1: above, steps of OU time are equal", low=1.0)
    real("epsilon2", config.epsilon2, "a number > 0", low=0.0)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and verdicts, draw its figures."""
    check(config)
    from figures.early_stopping import draw

    study.run(NAME, config, settings(config), compute, early_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

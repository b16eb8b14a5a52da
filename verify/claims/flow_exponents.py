"""Checks of the exponents of K, c, d, log(1/δ) and the overshoot in the KL of a flow step followed by noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise

import numpy as np

from targets import Estimate, Gaussian, Target
from targets.sphere import Sphere
from verify.bounds import jain_zhang as bound
from verify.claims.claim import Row, at_most, difference, near, ratio
from verify.claims.flow_rungs import (
    WINDOW,
    Window,
    divergence,
    exponent,
    in_steps,
    jain_zhang,
    length,
    locals_of,
    overshooting,
    shown,
    steepest,
    table,
    weighted,
)
from verify.claims.laws import law
from verify.claims.mutate import Build
from verify.grid import Grid
from verify.rates import limit

STEPS = (16, 24, 36, 54)
"""K at which local slopes are taken; their limit has errors of order c² = 0.02."""

LAWS: dict[str, Callable[[], Target]] = {
    "curved mixture": lambda: law("curved_mixture"),
    "two points": lambda: law("two_points"),
    "sphere, d = 3": lambda: law("sphere", dim=3),
    "sphere, d = 30": lambda: law("sphere", dim=30),
    "scale mixture, d = 3": lambda: law("scale_mixture", dim=3),
    "anisotropic Gaussian, d = 3": lambda: law("anisotropic_gaussian", dim=3),
    "anisotropic Gaussian, d = 8": lambda: law("anisotropic_gaussian", dim=8),
    "Gaussian with one null direction": partial(Gaussian, [0.5, 0.0, 1.0], np.diag([0.25, 0.0, 1.0])),
}


@cache
def sphere(dim: int, share: float) -> Sphere:
    """Radius share·√d.  At share 1 it is close to N(0, I), on which the published step is exact."""
    return Sphere(dim, share * dim**0.5)


IN_DIMENSION: dict[str, Callable[[int], Target]] = {
    "spheres of radius ½√d": lambda dim: sphere(dim, 0.5),
    "spheres of radius √d": lambda dim: sphere(dim, 1.0),
    "spheres of radius 2√d": lambda dim: sphere(dim, 2.0),
    "spheres of radius d^1.5": lambda dim: sphere(dim, float(dim)),
    "scale mixtures": lambda dim: law("scale_mixture", dim=dim),
}
"""Rotation-invariant laws that are no products, by d."""

SPHERES = ("spheres of radius ½√d", "spheres of radius 2√d")

QUICK_CHAIN = ("curved mixture", "sphere, d = 3", "anisotropic Gaussian, d = 8")
QUICK = ("curved mixture", "sphere, d = 3", "sphere, d = 30", "anisotropic Gaussian, d = 8")


def cost(steps_each: float) -> float:
    """g(c) = e^c (1 − e^{-c})³/8: chain KL (flow+noise) of one step from t to te^{-c}, a null direction, as t → 0."""
    return float(np.exp(steps_each) * (-np.expm1(-steps_each)) ** 3 / 8.0)


def resting(steps_each: float) -> float:
    """½(1/u − 1 + log u), u = (1 − e^{-c})/(1 − e^{-c} cosh²c): marginal KL of a null direction after many such steps."""
    wide = -np.expm1(-steps_each) / (1.0 - np.exp(-steps_each) * np.cosh(steps_each) ** 2)
    return float(0.5 * (1.0 / wide - 1.0 + np.log(wide)))


def check_steps(
    full: bool, tolerance: float, *, rung: str, order: int, families: Sequence[str] = (), build: Build = jain_zhang
) -> list[Row]:
    """Exponent of K on one rung, near −order."""
    quick = QUICK_CHAIN if rung == "flow+noise" else QUICK
    chosen = families or ((*QUICK, "scale mixture, d = 3") if full else quick)
    quantity = f"exponent of K, {_named(rung)}"
    return [
        near(name, shown(WINDOW, STEPS), quantity, in_steps(LAWS[name](), build, rung, STEPS), -order, tolerance)
        for name in chosen
        if not (rung == "reverse" and name.startswith("scale"))
    ]


def check_step_cost(
    full: bool, tolerance: float, *, families: Sequence[str] = (), build: Build = jain_zhang
) -> list[Row]:
    """What the steps of a decade of δ add to the chain KL over their number times g(c); its exponent of c as c → 0."""
    chosen = families or (
        ("two points", "sphere, d = 3", "sphere, d = 30") if full else ("two points", "sphere, d = 3")
    )
    rows = []
    for name in chosen:
        counts = (6, 9, 12, 16) if name == "two points" or full else (6,)
        costs = []
        for count in counts:
            each, head = float(np.log(10.0)) / count, 4
            windows = [(1.0 + head * each, 10.0**-m) for m in (3, 4)]
            first, last = (
                divergence(LAWS[name](), table(build, head + m * count, w), "flow+noise")
                for m, w in zip((3, 4), windows, strict=True)
            )
            error = float(np.hypot(float(first.error), float(last.error)))
            costs.append(Estimate((float(last.value) - float(first.value)) / count, 0.0, error / count, last.method))
            where = f"OU time {windows[0][0]:.3g} to 1e-3 and on to 1e-4, {count} steps a decade"
            rows.append(near(name, where, "chain KL of one step ÷ g(c)", ratio(costs[-1], cost(each)), 1.0, tolerance))
        if len(counts) > 1:
            power = exponent(counts, costs)
            window = f"{counts[0]} to {counts[-1]} steps a decade"
            rows.append(
                near(name, window, "exponent of steps a decade in the cost of one", power, -3.0, 5.0 * tolerance)
            )
    return rows


def check_dimension(
    full: bool, tolerance: float, *, families: Sequence[str] = (), build: Build = jain_zhang
) -> list[Row]:
    """Largest local exponent of d, chain (flow+noise) and marginal, on rotation-invariant laws that are no products.

    At radius d^1.5 the chain alone: there the marginal of a wrong table lies beyond floats.
    """
    steps = 32 if full else 16
    more = {"scale mixtures": (3, 10, 30, 100, 300), "spheres of radius d^1.5": (3, 30, 300)}
    rows = []
    for name in families or (*SPHERES, "scale mixtures", "spheres of radius d^1.5"):
        least = (3, 30) if name == "scale mixtures" else (3, 30, 300)
        dims = more.get(name, (3, 10, 30, 100, 300, 1000)) if full else least
        for rung in ("flow+noise",) if name.endswith("1.5") else ("flow+noise", "marginal"):
            found = [divergence(IN_DIMENSION[name](dim), table(build, steps), rung) for dim in dims]
            window = f"{shown(WINDOW, steps)}, d = {dims[0]} to {dims[-1]}"
            quantity = f"largest local exponent of d, {_named(rung)}"
            rows.append(at_most(name, window, quantity, steepest(dims, found), 2.0 + tolerance))
    return rows


def check_bounded(
    full: bool, tolerance: float, *, axes: Sequence[str] = ("K", "d", "1/δ"), build: Build = jain_zhang
) -> list[Row]:
    """Chain KL ÷ d²c³K: at most one everywhere, and its exponent at the far end of each axis at most zero."""

    def over(target: Target, steps: int, window: Window) -> Estimate:
        limit = bound(Grid.exponential_uniform(steps, ou_time=window), target.dim)
        return ratio(divergence(target, table(build, steps, window), "flow+noise"), limit)

    rows = []

    def judged(name: str, where: str, axis: str, found: list[Estimate], power: Estimate) -> None:
        largest = max(found, key=lambda e: float(e.value))
        rows.append(at_most(name, where, "chain KL (flow+noise) ÷ d²c³K, largest", largest, 1.0))
        rows.append(at_most(name, where, f"exponent of {axis} in that ratio", power, tolerance))

    for name in ("curved mixture", "sphere, d = 3", "anisotropic Gaussian, d = 8") if "K" in axes else ():
        found = [over(LAWS[name](), steps, WINDOW) for steps in STEPS]
        judged(name, shown(WINDOW, STEPS), "K", found, exponent(STEPS, found))
    for name in ("two points", "anisotropic Gaussian, d = 3") if "1/δ" in axes else ():
        stops = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6) if full else (1e-2, 1e-3, 1e-4)
        found = [over(LAWS[name](), 48, (WINDOW[0], stop)) for stop in stops]
        power = locals_of([1.0 / stop for stop in stops], found)[1][-1]
        judged(name, f"OU time 4 to {stops[0]:g} … {stops[-1]:g}, K = 48", "1/δ", found, power)
    for name in SPHERES if "d" in axes else ():
        dims = (3, 10, 30, 100, 300, 1000) if full else (3, 30, 300)
        found = [over(IN_DIMENSION[name](dim), 16, WINDOW) for dim in dims]
        judged(name, f"{shown(WINDOW, 16)}, d = 3 to {dims[-1]}", "d", found, locals_of(dims, found)[1][-1])
    return rows


def check_logarithm(
    full: bool,
    tolerance: float,
    *,
    rung: str = "flow+noise",
    families: Sequence[str] = ("Gaussian with one null direction", "two points"),
    schedule: Callable[..., Grid] = Grid.exponential_uniform,
    build: Build = jain_zhang,
) -> list[Row]:
    """8 Δ(lim K²·KL/ℓ²)/Δℓ between neighbouring δ, near the codimension 1; the limit in 1/K from three K."""
    rows = []
    for name in families:
        closed = name.startswith("Gaussian")
        decades = (3, 5, 7, 9, 11) if closed else (3, 4, 5, 6, 7) if full else (3, 4)
        steps = (256, 384, 576) if closed else (96, 144, 216) if full else (48, 72, 108)
        lengths, found = [], []
        for decade in decades:
            window = (WINDOW[0], 10.0**-decade)
            lengths.append(length(window))
            scaled = [
                weighted(divergence(LAWS[name](), build(schedule(k, ou_time=window)), rung), (k / lengths[-1]) ** 2)
                for k in steps
            ]
            found.append(limit(steps, scaled))
        for less, more in pairwise(range(len(decades))):
            gained = difference(found[more], found[less])
            rise = weighted(gained, 8.0 / (lengths[more] - lengths[less]))
            where = f"OU time 4 to 1e-{decades[less]} and 1e-{decades[more]}, K = {steps[0]} to {steps[-1]}"
            rows.append(near(name, where, f"8 Δ(lim K²·KL/ℓ²)/Δℓ, {_named(rung)}", rise, 1.0, tolerance))
    return rows


def check_noise_step(
    full: bool,
    tolerance: float,
    *,
    overshoots: Sequence[float | None] = (0.0, 0.5, 1.0, 2.0),
    families: Sequence[str] = ("curved mixture", "sphere, d = 3", "anisotropic Gaussian, d = 8"),
    rung: str = "marginal",
    order: int = 2,
    build: Build = jain_zhang,
) -> list[Row]:
    """Exponent of K at each overshoot (None: `build` as it is), near −order."""
    rows, ladder = [], (24, 36, 54, 81) if full else STEPS
    for name in families:
        for share in overshoots:
            made = build if share is None else overshooting(share)
            power = in_steps(LAWS[name](), made, rung, ladder)
            quantity = f"exponent of K, {_named(rung)}" + ("" if share is None else f", overshoot {share:g}")
            rows.append(near(name, shown(WINDOW, ladder), quantity, power, -order, tolerance))
    return rows


def check_overshoot(full: bool, tolerance: float, *, rung: str = "flow+noise") -> list[Row]:
    """Exponent of 1/ρ as the overshoot ρ → 0, near 1."""
    inverse = (16, 32, 64, 128)
    rows = []
    for name in ("curved mixture", "sphere, d = 3", "anisotropic Gaussian, d = 8") if full else QUICK_CHAIN[::2]:
        found = [divergence(LAWS[name](), table(overshooting(1.0 / x), 24), rung) for x in inverse]
        where = f"{shown(WINDOW, 24)}, overshoot 1/16 to 1/128"
        rows.append(near(name, where, f"exponent of 1/ρ, {_named(rung)}", exponent(inverse, found), 1.0, tolerance))
    return rows


def _named(rung: str) -> str:
    return "marginal KL" if rung == "marginal" else f"chain KL ({rung})"

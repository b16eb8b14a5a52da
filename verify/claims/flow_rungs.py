"""KL of a table on one rung, and the exponent with which it follows K, d, log(1/δ) or the step ratio.

Schedule of arXiv 2508.16306: h = c·min(1, t) in OU time from T to δ, so that c K tends to ℓ = log(1/δ) + T − 1 as K grows.
The local exponents of a divergence c_0 x^p (1 + a/x + b/x² + …) between neighbours are p + a′/x + …: the exponent is their
limit in 1/x, with the error that `rates.limit` gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from targets import Estimate, Target
from verify import kl, rates, samplers
from verify.claims.mutate import Build
from verify.grid import Grid
from verify.step import Table

Window = tuple[float, float]
"""(T, δ): OU times of the first and the last level."""

WINDOW: Window = (4.0, 1e-2)

RUNG_OF = {"flow+noise": "chain", "reverse": "chain", "path": "path", "marginal": "marginal"}
"""Measured quantity -> rung of the claim; the two chains are named by their reference."""


FORMULA_OF = {
    "flow+noise": r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}",
    "reverse": r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{rev}}",
    "marginal": r"\mathrm{KL}_{\mathrm{marg}}",
}
"""Measured quantity -> its symbol in formulas of claims."""


def jain_zhang(grid: Grid, overshoot: float = 1.0) -> Table:
    """The table that stops at the grid's last level after grid.steps steps."""
    return samplers.jain_zhang(grid.beyond(), overshoot=overshoot)


def overshooting(overshoot: float) -> Build:
    """Jain and Zhang's step with another share of noise and the same net step; 0 is the flow alone."""
    return partial(jain_zhang, overshoot=overshoot)


def table(build: Build, steps: int, window: Window = WINDOW) -> Table:
    """K steps on h = c·min(1, t)."""
    return build(Grid.exponential_uniform(steps, ou_time=window))


def divergence(target: Target, steps: Table, rung: str, start: str = "exact") -> Estimate:
    """KL in nats on "flow+noise", "reverse" (chains), "path" or "marginal"."""
    if rung == "marginal":
        return kl.marginal(target, steps, start=start)
    if rung == "path":
        return kl.path(target, steps, start=start)
    return kl.chain(target, steps, reference=rung, start=start)


def in_steps(target: Target, build: Build, rung: str, ladder: Sequence[int], window: Window = WINDOW) -> Estimate:
    """Exponent of K in the divergence as K → ∞."""
    return exponent(ladder, [divergence(target, table(build, steps, window), rung) for steps in ladder])


def locals_of(x: Sequence[float], estimates: Sequence[Estimate]) -> tuple[np.ndarray, list[Estimate]]:
    """(middles, local exponents between neighbours), the estimates' errors propagated."""
    places = np.log(np.asarray(x, dtype=np.float64))
    values = np.array([float(e.value) for e in estimates])
    stderr = np.array([float(e.stderr) for e in estimates]) / values
    bias = np.array([abs(float(e.bias)) for e in estimates]) / values
    gap, slope = np.diff(places), np.diff(np.log(values)) / np.diff(places)
    noise, doubt = np.hypot(stderr[1:], stderr[:-1]) / gap, (bias[1:] + bias[:-1]) / gap
    slopes = [
        Estimate(*row, "local exponent") for row in zip(slope.tolist(), noise.tolist(), doubt.tolist(), strict=True)
    ]
    return np.exp(0.5 * (places[1:] + places[:-1])), slopes


def exponent(x: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    """Limit of the local exponents as x → ∞; at least four points."""
    return rates.limit(*locals_of(x, estimates))


def steepest(x: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    """The largest local exponent."""
    return max(locals_of(x, estimates)[1], key=lambda e: float(e.value) + float(e.error))


def weighted(measured: Estimate, factor: float) -> Estimate:
    """factor·measured, factor > 0."""
    value, stderr, bias = (factor * float(v) for v in (measured.value, measured.stderr, measured.bias))
    return Estimate(value, stderr, bias, measured.method)


def reach_exponent(dims: Sequence[int], at: Callable[[int, int], Estimate], level: float, order: int) -> Estimate:
    """Exponent of K*(d) between the two largest d, K* the least K with divergence(d, K) ≤ level.

    Its error: that K* is an integer, its standard error, and where it is extrapolated that error.
    """
    reached = [rates.steps_to_reach(partial(at, dim), level, order=order, exact_up_to=10_000) for dim in dims]
    steps = [
        Estimate(r.steps, r.stderr, r.bias + (0.0 if r.extrapolated else 1.0), "least K with KL <= level")
        for r in reached
    ]
    return locals_of(dims, steps)[1][-1]


def shown(window: Window, steps: Sequence[int] | int) -> str:
    """The window of a row in words."""
    count = f"{steps}" if isinstance(steps, int) else f"{min(steps)} to {max(steps)}"
    return f"OU time {window[0]:g} to {window[1]:g}, K = {count}"


def length(window: Window) -> float:
    """ℓ = log(1/δ) + T − 1, the number of steps of size c is ℓ/c."""
    return math.log(1.0 / window[1]) + window[0] - 1.0

"""Steps to reach a level: the least K with KL(K) ≤ ε².

Found exactly (KL(K) ≤ level < KL(K − 1)) while K is affordable.  Beyond that, from the limit c of K^p·KL: with
c(K) = c + O(1/K), c ≈ 2c(L) − c(L/2) and K = (c/level)^{1/p}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from targets import Estimate
from targets.arguments import real


@dataclass(frozen=True)
class StepsToReach:
    """The least K with KL(K) ≤ level: `steps`, and its `stderr` and `bias` from those of the KL.

    With K^p·KL constant, a relative error e of the KL is one of e/p of K.  Where `extrapolated`, `bias` holds the error of
    the limit as well, and the biases of the two KL in it are added at their worst.
    """

    steps: float
    stderr: float
    bias: float
    extrapolated: bool


def steps_to_reach(
    divergence: Callable[[int], Estimate],
    level: float,
    *,
    order: int = 1,
    exact_up_to: int = 100_000,
    limit_at: int = 4096,
) -> StepsToReach:
    """The least K at which divergence(K) ≤ level, for a divergence that falls like K^{-order}.

    Found exactly (divergence(K) ≤ level < divergence(K − 1)) up to `exact_up_to`; beyond, from the limit c of
    K^order·divergence: with c(K) = c + O(1/K) and L = `limit_at`, c ≈ 2c(L) − c(L/2), and the change from
    2c(L/2) − c(L/4) is its error.
    """
    level = real("level", level, "a number > 0", low=0.0)
    known: dict[int, Estimate] = {}

    def at(steps: int) -> float:
        if steps not in known:
            known[steps] = divergence(steps)
        return float(known[steps].value)

    steps = 64
    for _ in range(40):
        proposed = max(1, math.ceil(steps * (at(steps) / level) ** (1.0 / order)))
        if proposed > exact_up_to:
            return _beyond(at, known, level, order, limit_at)
        if abs(proposed - steps) <= 1:
            break
        steps = proposed
    steps = max(1, proposed)
    while at(steps) > level:
        steps += 1
    while steps > 1 and at(steps - 1) <= level:
        steps -= 1
    stderr, bias = (steps * abs(float(error)) / at(steps) / order for error in (known[steps].stderr, known[steps].bias))
    return StepsToReach(steps, stderr, bias, extrapolated=False)


def _beyond(
    at: Callable[[int], float], known: dict[int, Estimate], level: float, order: int, last: int
) -> StepsToReach:
    ladder = (last // 4, last // 2, last)
    scaled = [at(steps) * float(steps) ** order for steps in ladder]
    limit, before = 2.0 * scaled[2] - scaled[1], 2.0 * scaled[1] - scaled[0]
    steps = (limit / level) ** (1.0 / order)
    stderr = float(known[last].stderr) / at(last)
    _, half, whole = (abs(float(known[steps].bias)) * float(steps) ** order for steps in ladder)
    bias = (abs(limit - before) + 2.0 * whole + half) / limit
    return StepsToReach(steps, steps * stderr / order, steps * bias / order, extrapolated=True)

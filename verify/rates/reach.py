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
    """The least K with KL(K) ≤ level: `steps`, its `stderr` (random part of the KL) and, where `extrapolated`, its `bias`."""

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
    relative = float(known[steps].stderr) / at(steps)
    return StepsToReach(steps, steps * relative / order, 0.0, extrapolated=False)


def _beyond(
    at: Callable[[int], float], known: dict[int, Estimate], level: float, order: int, last: int
) -> StepsToReach:
    scaled = [at(steps) * float(steps) ** order for steps in (last // 4, last // 2, last)]
    limit, before = 2.0 * scaled[2] - scaled[1], 2.0 * scaled[1] - scaled[0]
    steps = (limit / level) ** (1.0 / order)
    relative = float(known[last].stderr) / at(last)
    return StepsToReach(steps, steps * relative / order, steps * abs(limit - before) / limit / order, extrapolated=True)

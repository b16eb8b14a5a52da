"""The window of noise levels over which a law is told, from its own mmse curve.

For laws on atoms from a thousandth of all information told to all but a thousandth, from 99% to 0.1% of the variance left for
the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from targets import NotAvailableError, Target
from targets.arguments import refuse

BEYOND = 10.0
"""e-folds of snr beyond a curve's own range between which a window's ends are sought."""


def span(target: Target) -> tuple[float, float]:
    """(γ_0, γ_K) of a law by the rule above; a law without variance has none and raises `ArgumentError`."""
    if not isinstance(target, Target):
        refuse("target", target, "a target")
    if target.total_variance <= 0.0:
        refuse("target", target, "a law that varies: a point mass is told at no noise level")
    edges, curve = target.curve.edges, target.curve
    try:
        target.entropy()
    except NotAvailableError:
        left = lambda u: float(curve.mmse(np.exp(u)).value) / target.total_variance  # noqa: E731
        return _crossing(lambda u: 0.99 - left(u), edges), _crossing(lambda u: 1e-3 - left(u), edges)
    whole = float(curve.mutual_information(np.exp(edges[-1] + BEYOND)).value)
    told = lambda u: float(curve.mutual_information(np.exp(u)).value) / whole  # noqa: E731
    return _crossing(lambda u: told(u) - 1e-3, edges), _crossing(lambda u: told(u) - 0.999, edges)


def _crossing(excess: Callable[[float], float], edges: np.ndarray) -> float:
    from scipy.optimize import root_scalar

    return math.exp(root_scalar(excess, bracket=(edges[0] - BEYOND, edges[-1] + BEYOND), xtol=1e-6).root)

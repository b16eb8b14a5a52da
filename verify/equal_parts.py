"""Grids at equal parts of an integral over γ: the densities that read the law.

weight         ∫ weight dγ over each step is the same
sqrt_slope     √D, D = −mmse′: the density of the best grid as K → ∞ (K·path KL → S²/4)
information    mmse: equal information, the entropic time of Stancevic et al. (2504.13612, Theorem 5.1)
rescaled       mmse/√γ: their rescaled entropy ∫ σ dH with σ = γ^{-1/2}; on N(m, λ·1) the tangent law
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from targets.curve import Curve, gauss_legendre

WEIGHTS: dict[str, Callable[[Curve, np.ndarray], np.ndarray]] = {
    "sqrt_slope": lambda curve, snr: np.sqrt(curve.slope_rows(snr)[0]),
    "information": lambda curve, snr: curve.mmse_rows(snr)[0],
    "rescaled": lambda curve, snr: curve.mmse_rows(snr)[0] / np.sqrt(snr),
}

PANEL = 0.05
"""Widest panel of log γ on which a weight is taken for a polynomial."""


def equal_parts(curve: Curve, steps: int, low: float, high: float, *, weight: str) -> np.ndarray:
    """γ_0 = low, …, γ_K = high with ∫ weight dγ equal between neighbours: shape (K + 1,).

    The integral is known at the panels' ends by Gauss–Legendre and between them as the integral of the polynomial through
    the panel's nodes, which is inverted by bisection.  A weight that vanishes throughout gives equal parts of log γ.
    """
    ends = [np.log(low), *curve.edges[(curve.edges > np.log(low)) & (curve.edges < np.log(high))], np.log(high)]
    cuts = np.unique(np.concatenate([np.linspace(a, b, int(np.ceil((b - a) / PANEL)) + 1) for a, b in pairwise(ends)]))
    u, w = gauss_legendre(cuts[:-1], cuts[1:], 8)
    values = WEIGHTS[weight](curve, np.exp(u.ravel())).reshape(u.shape) * np.exp(u)
    reached = np.concatenate([[0.0], np.cumsum((values * w).sum(1))])
    if not reached[-1] > 0:
        return np.geomspace(low, high, steps + 1)
    wanted = np.linspace(0.0, reached[-1], steps + 1)[1:-1]
    panel = np.clip(np.searchsorted(reached, wanted, side="right") - 1, 0, len(cuts) - 2)
    x, _ = np.polynomial.legendre.leggauss(8)
    primitive = np.polynomial.legendre.legint(
        np.linalg.solve(np.polynomial.legendre.legvander(x, 7), values.T), lbnd=-1
    )
    coefficients = primitive[:, panel] * (0.5 * np.diff(cuts))[panel]
    left, right = -np.ones(len(wanted)), np.ones(len(wanted))
    for _ in range(54):
        middle = 0.5 * (left + right)
        short = reached[panel] + np.polynomial.legendre.legval(middle, coefficients, tensor=False) < wanted
        left, right = np.where(short, middle, left), np.where(short, right, middle)
    inner = np.exp(cuts[panel] + (0.5 + 0.25 * (left + right)) * np.diff(cuts)[panel])
    return np.concatenate([[low], inner, [high]])

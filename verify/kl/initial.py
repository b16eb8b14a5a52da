"""KL at the first level: KL(p_0 ‖ q_0) for the starts in use.

    exact    q_0 = p_0                                                             0
    moment   N(α_0 E X, σ_0²)        ½ ∫_0^{γ_0} (mmse(0) − mmse) dγ               one frozen step on [0, γ_0]
    prior    N(0, 1) in vp, N(0, σ_0²) in ve and flow

With C = Cov X, μ = E X, γ = γ_0 and q = γ/(1 + γ), the vp prior costs

    moment + ½ α_0²‖μ‖² − ½ γq tr C + (d/2)(−log(1 − q) − q),

written so that nothing larger than γ² cancels; the other priors cost moment + ½ γ‖μ‖².
"""

from __future__ import annotations

import numpy as np

from targets import Target
from targets.arguments import one_of, refuse
from verify.kl.frozen import log_remainder
from verify.step import STARTS, Table


def initial(target: Target, table: Table, start: str) -> np.ndarray:
    """KL(p_0 ‖ q_0) in nats: shape (rows,), one row a replicate of the target's curve."""
    start = one_of("start", start, STARTS)
    if start == "exact":
        return np.zeros(1)
    snr = float(table.snr[0])
    moment = 0.5 * _gap(target, snr)
    if start == "moment":
        return moment
    mean_square = float(target.mean.square().sum())
    if table.first_width(start) != float(table.sigma[0]):
        q = snr / (1.0 + snr)
        entropy_gap = float(log_remainder(np.asarray(q)))
        return moment + 0.5 * q * mean_square - 0.5 * snr * q * target.total_variance + 0.5 * target.dim * entropy_gap
    return moment + 0.5 * snr * mean_square


def rounding(target: Target, table: Table, start: str) -> float:
    """Rounding left in `initial`: terms of order γ_0² cancel for the vp prior (down to γ_0⁴ on ±1)."""
    if start != "prior":
        return 0.0
    snr = float(table.snr[0])
    return 1e-15 * min(snr, snr**2) * (target.second_moment + target.dim)


def _gap(target: Target, snr: float) -> np.ndarray:
    """∫_0^γ (mmse(0) − mmse) = ∫_0^γ (γ − s) D(s) ds, from a geometric ladder below γ: rows."""
    if not snr > 0:
        refuse("snr", snr, "a number > 0")
    bottom = snr * 1e-8
    quadrature = target.curve.over_steps(np.array([bottom, snr]))
    head = (snr * bottom - 0.5 * bottom**2) * target.curve.slope_rows(np.zeros(1))[:, 0]
    return quadrature.sum(snr - quadrature.snr)[:, 0] + head

"""Identities that a table keeps or breaks, checked by algebra on its coefficients before anything is run.

With a denoiser that always answers c, a step keeps the point mass at c if its mean goes from α_k c to α_{k+1} c and its
variance from σ_k² to σ_{k+1}²; history counts like any other output.
"""

from __future__ import annotations

import numpy as np

from verify.step import Table


def point_mass_defect(table: Table) -> float:
    """Largest relative failure to carry δ(c) seen at level k to δ(c) seen at level k + 1.

    state·α_k + Σ outputs + Σ history = α_{k+1} and state²σ_k² + noise² = σ_{k+1}².
    """
    variance = (table.state * table.sigma[:-1]) ** 2 + table.noise**2
    return max(_mean_defect(table), float(np.abs(variance / table.sigma[1:] ** 2 - 1.0).max()))


def translation_defect(table: Table) -> float:
    """Largest relative failure of a shift c of the target to shift every stage and state by α·c."""
    worst = _mean_defect(table)
    for stage, asked in zip(table.stages, table.asked.T, strict=True):
        inside = np.abs((stage.state * table.alpha[:-1] + stage.outputs.sum(1)) / stage.alpha - 1.0)
        worst = max(worst, float(inside[asked].max(initial=0.0)))
    return worst


def _mean_defect(table: Table) -> float:
    pull = table.outputs.sum(1) + table.history.sum(1)
    return float(np.abs((table.state * table.alpha[:-1] + pull) / table.alpha[1:] - 1.0).max())


def constant_bias_response(table: Table) -> float:
    """f with E x_K = α_K (c + f ε) on the point mass at c, when every denoiser output is off by ε.

    1 − f = Π_k (state α_k/α_{k+1}); it is γ_0/γ_K for a frozen denoiser and √(γ_0/γ_K) for its probability flow.
    """
    return float(1.0 - np.prod(table.state * table.alpha[:-1] / table.alpha[1:]))


def gauge_free(table: Table) -> np.ndarray:
    """Coefficients in units in which the signal scale is one: equal in every process for methods defined on snr."""
    scale = table.alpha[1:]
    columns = [
        table.state * table.alpha[:-1] / scale,
        table.noise / scale,
        *(table.outputs / scale[:, None]).T,
        *(table.history / scale[:, None]).T,
    ]
    for stage in table.stages:
        inner = [stage.state * table.alpha[:-1], stage.sigma, *stage.outputs.T]
        columns += [column / stage.alpha for column in inner]
    return np.stack(columns)

"""Joint exponents: log value = constant + Σ_f exponent_f · log factor_f + error, by regression.

Weights are (value/stderr)² where errors are given, equal otherwise.  The covariance is the robust HC3 one,

    V = (XᵀWX)⁻¹ Xᵀ W diag(e_i²/(1 − ℓ_i)²) W X (XᵀWX)⁻¹,      ℓ_i = leverage of row i,

so that rows may scatter unequally (MacKinnon and White 1985), and the intervals are Student's with n − k degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from targets import Estimate
from targets.arguments import refuse
from verify.rates.points import ROUNDING, Values, as_errors, values_of

COLLINEAR = 1e-8
"""Smallest singular value of the factors' centred and scaled logarithms that still counts as independent."""


@dataclass(frozen=True, eq=False)
class JointFit:
    """`exponents` with 95% `intervals`, the `constant` (log value at factors 1), the rms `residual` of log value."""

    exponents: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    constant: float
    residual: float


def joint(
    estimates: Sequence[Estimate] | np.ndarray,
    stderr: np.ndarray | None = None,
    **factors: Sequence[float] | np.ndarray,
) -> JointFit:
    """Exponents of a product of powers, for rows in which several factors change.

    estimates: `Estimate`s, or positive values with their `stderr`.  factors: positive numbers, one for each row, by name.
    The deterministic errors of `Estimate`s widen the intervals by the most that they can move an exponent.
    They cover 95 to 97% from 12 rows of two factors on where errors are independent, and more on fewer rows (98% on 8, 99%
    on 6).
    ArgumentError: fewer than two rows more than coefficients, a factor that is constant or a product of powers of the others
    (they are named), a row that alone decides an exponent, values not positive.
    """
    import statsmodels.api as sm

    if not factors:
        refuse("factors", {}, "at least one factor, by name")
    values = values_of(estimates, stderr, None)
    count = len(values.values)
    if count < len(factors) + 3:
        refuse(
            "estimates.shape", (count,), f"at least {len(factors) + 3} rows for {len(factors)} factors and a constant"
        )
    logs = np.stack([_log(name, given, count) for name, given in factors.items()], 1)
    _independent(logs, tuple(factors))
    weight: Any = np.ones(count) if values.exact else 1.0 / as_errors(values.relative) ** 2
    design = sm.add_constant(logs, has_constant="add")
    _shared(design, weight)
    fitted: Any = sm.WLS(values.log, design, weights=weight).fit(cov_type="HC3", use_t=True)
    coefficients = np.linalg.pinv(design * np.sqrt(weight)[:, None]) * np.sqrt(weight)
    ends = fitted.conf_int(alpha=0.05)
    intervals = {n: _widened(ends[i], values, coefficients[i]) for i, n in enumerate(factors, start=1)}
    exponents = {name: float(fitted.params[i]) for i, name in enumerate(factors, start=1)}
    residual = float(np.sqrt(np.mean((values.log - design @ fitted.params) ** 2)))
    return JointFit(exponents, intervals, float(fitted.params[0]), residual)


def _widened(ends: np.ndarray, values: Values, coefficients: np.ndarray) -> tuple[float, float]:
    """The interval, longer by what the values' bias can do and at least by rounding."""
    low, high = values.shifts(coefficients)
    rounding = ROUNDING * float(np.abs(coefficients) @ np.maximum(1.0, np.abs(values.log)))
    return float(ends[0]) + low - rounding, float(ends[1]) + high + rounding


def _log(name: str, given: Any, count: int) -> np.ndarray:
    try:
        factor = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(name, given, "numbers")
    if factor.shape != (count,):
        refuse(f"{name}.shape", factor.shape, f"one number for each row, {(count,)}")
    bad = ~(np.isfinite(factor) & (factor > 0))
    if bad.any():
        refuse(name, float(factor[bad][0]), "positive finite numbers")
    return np.log(factor)


def _independent(logs: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuse a constant factor, and factors of which a product of powers is constant."""
    centred = logs - logs.mean(0)
    size = np.linalg.norm(centred, axis=0)
    for name, column, still in zip(names, logs.T, size <= COLLINEAR, strict=True):
        if still:
            refuse(name, np.exp(column[0]), "a factor that changes between rows")
    _, singular, directions = np.linalg.svd(centred / size, full_matrices=False)
    if singular[-1] <= COLLINEAR:
        tied = [name for name, part in zip(names, directions[-1], strict=True) if abs(part) > 1e-6]
        refuse("factors", tied, "factors none of which is a product of powers of the others")


def _shared(design: np.ndarray, weight: np.ndarray) -> None:
    """Refuse a row of leverage one, whose residual is zero whatever its value."""
    leverage = (np.linalg.qr(design * np.sqrt(weight)[:, None])[0] ** 2).sum(1)
    if leverage.max() > 1.0 - COLLINEAR:
        refuse(
            "leverage of row", int(leverage.argmax()), "no row that alone decides an exponent; give more rows like it"
        )

"""Limit of a sequence with a known order of approach.

With h = x^{-p} the values are c + a h + b h² + …, and c is sought.  Both rules below are linear, ĉ = Σ_i c_i v_i.

Exact rows: the parabola through the last three points, at h = 0 (Richardson twice),

    c_i = Π_{j≠i} h_j/(h_j − h_i).

Noisy rows: weighted least squares of the value on 1, h, h² with weights 1/stderr².
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from targets import Estimate
from targets.arguments import real
from verify.rates.points import Values, as_errors, points
from verify.rates.slope import CONTRADICTED


def limit(
    x: Sequence[float] | np.ndarray,
    estimates: Sequence[Estimate] | np.ndarray,
    *,
    order: float = 1.0,
    stderr: np.ndarray | None = None,
) -> Estimate:
    """c = lim of the value as x → ∞, where the value is c + a x^{−order} + b x^{−2 order} + …; in units of the value.

    x: strictly ascending, at least three; values of any sign.  order: p > 0 of the leading correction, taken as known: with
    a wrong one the errors are too small.
    Exact rows: `bias` is twice the change since the extrapolation from three points one earlier (of three points, from two).
    Noisy rows: `stderr` is propagated, and scaled by the scatter where the residuals contradict it (χ² beyond its quantile at
    1e-3); c ± 1.96 stderr covers 95%.  `bias` is what dropping the term in h² changes, beyond two standard errors of that
    change.  That term costs noise: on doublings of x the standard error of c is 3.6, 1.7, 0.8 and 0.44 times that of one
    value for 3, 4, 6 and 10 points.
    Errors in proportion to what was measured give the low values weight: c is then low by about twice the square of the
    relative error, which at 5% is a quarter of the standard error of ten points; at 20% it is all of it and 84% are covered.
    The estimates' own bias is added at its worst.  ArgumentError: too few points, x not ascending, order not positive.
    """
    order = real("order", order, "a number > 0", low=0.0)
    places, values = points(x, estimates, stderr, positive=False)
    h = (places / places[-1]) ** -order
    return _exact(h, values) if values.exact else _weighted(h, values)


def _at_zero(h: np.ndarray) -> np.ndarray:
    """c_i with Σ c_i f(h_i) = f(0) for polynomials f of degree below the number of points."""
    ratio = h[None, :] / np.where(np.eye(len(h), dtype=bool), 1.0, h[None, :] - h[:, None])
    return np.where(np.eye(len(h), dtype=bool), 1.0, ratio).prod(1)


def _exact(h: np.ndarray, values: Values) -> Estimate:
    last, v = _at_zero(h[-3:]), values.values
    found = float(last @ v[-3:])
    before = float(_at_zero(h[-4:-1]) @ v[-4:-1]) if len(h) > 3 else float(_at_zero(h[-2:]) @ v[-2:])
    own = float(np.abs(last) @ (values.bias[-3:] + 4.0 * np.finfo(float).eps * np.abs(v[-3:])))
    return Estimate(found, 0.0, 2.0 * abs(found - before) + own, "Richardson extrapolation of the last three points")


def _weighted(h: np.ndarray, values: Values) -> Estimate:
    from scipy.special import chdtri

    errors, v = as_errors(values.stderr), values.values
    design = np.vander(h, 3, increasing=True) / errors[:, None]
    curved, straight = (np.linalg.pinv(design[:, :size]) / errors for size in (3, 2))
    found, change = float(curved[0] @ v), float((curved[0] - straight[0]) @ v)
    stderr, own = (float(np.linalg.norm(row * errors)) for row in (curved[0], curved[0] - straight[0]))
    squares, freedom = float(np.sum((v / errors - design @ (curved @ v)) ** 2)), len(h) - 3
    scatter = np.sqrt(squares / freedom) if freedom and squares > chdtri(freedom, CONTRADICTED) else 1.0
    bias = max(0.0, abs(change) - 2.0 * scatter * own) + float(np.abs(curved[0]) @ values.bias)
    return Estimate(found, float(scatter * stderr), bias, f"least squares on x^-p and x^-2p, {len(h)} points")

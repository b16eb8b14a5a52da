"""Smooth decreasing regression: a curve with a positive slope of every size, through noisy values.

With u = log γ and cubic B-splines B_j, the logarithm of the slope is a spline and the loss its integral from above,

    g(u) = log(γD) = Σ_j θ_j B_j(u),      ℓ(γ) = e^c + ∫_u^{u_M} e^g du,

so that ℓ falls and D = −ℓ′ > 0 whatever the coefficients.  They minimise

    Σ_i (y_i − ℓ(γ_i))²/v_i  +  λ Σ_j (θ_{j+1} − 2θ_j + θ_{j−1})²,

which leaves power laws of γ unpenalised, by Levenberg and Marquardt's method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targets.curve import gauss_legendre

END = 0.01
"""Weight of (c − θ_J)², which holds an undetermined ℓ(γ_M) to the size of γD there, as a power law would."""


@dataclass(frozen=True, eq=False)
class DecreasingSpline:
    """B-splines on equal intervals between `breaks`, and the quadrature of e^g between levels u_1 < … < u_M."""

    levels: np.ndarray
    breaks: np.ndarray
    knots: np.ndarray
    basis: np.ndarray
    weight: np.ndarray
    starts: np.ndarray

    @classmethod
    def on(cls, levels: np.ndarray, intervals: int) -> DecreasingSpline:
        """For ascending levels u = log γ."""
        from scipy.interpolate import BSpline

        breaks = np.linspace(levels[0], levels[-1], intervals + 1)
        beyond = (breaks[1] - breaks[0]) * np.arange(1, 4)
        knots = np.concatenate([breaks[0] - beyond[::-1], breaks, breaks[-1] + beyond])
        cuts = np.union1d(levels, breaks)
        u, w = gauss_legendre(cuts[:-1], cuts[1:], 5)
        between = np.clip(np.searchsorted(levels, u.ravel(), side="right") - 1, 0, len(levels) - 2)
        starts = np.searchsorted(between, np.arange(len(levels) - 1))
        basis = BSpline.design_matrix(u.ravel(), knots, 3).toarray()
        return cls(levels, breaks, knots, basis, w.ravel(), starts)

    def log_slope(self, fits: np.ndarray, u: np.ndarray) -> np.ndarray:
        """g at u for each fit (rows, J + 1): shape (rows, n)."""
        from scipy.interpolate import BSpline

        inside = np.clip(u, self.breaks[0], self.breaks[-1])
        return fits[:, :-1] @ BSpline.design_matrix(inside, self.knots, 3).toarray().T

    def rates(self, fit: np.ndarray) -> np.ndarray:
        """Derivatives of ℓ at the levels with respect to (θ, c): (M, J + 1); as Σ B_j = 1 their sum is ℓ itself."""
        growth = self.weight * np.exp(self.basis @ fit[:-1])
        parts = np.add.reduceat(growth[:, None] * self.basis, self.starts, axis=0)
        out = np.full((len(self.levels), len(fit)), np.exp(fit[-1]))
        out[-1, :-1] = 0.0
        out[:-1, :-1] = np.cumsum(parts[::-1], axis=0)[::-1]
        return out

    def straight(self, loss: np.ndarray) -> np.ndarray:
        """(θ, c) to start from: one slope γD throughout."""
        floor = 1e-3 * float(loss.max())
        fall = max(float(loss[0] - loss[-1]), floor) / (self.levels[-1] - self.levels[0])
        return np.append(np.full(self.basis.shape[1], np.log(fall)), np.log(max(float(loss[-1]), floor)))

    def fit(
        self, loss: np.ndarray, ratio: np.ndarray, penalty: float, start: np.ndarray, keep: np.ndarray | slice
    ) -> tuple[np.ndarray, float]:
        """(θ, c) from the levels `keep` and its cross-validation score M·RSS/(M − 1.4 edf)²; v_i = ratio_i ℓ(γ_i)."""
        held = self._held(penalty)
        fit, rates, damping = start, self.rates(start), 1e-3
        for _ in range(80):
            predicted = rates.sum(1)
            precision = 1.0 / (ratio * np.maximum(predicted, 1e-100 * predicted[0]))[keep]
            curvature = (rates[keep].T * precision) @ rates[keep]
            gradient = rates[keep].T @ (precision * (loss - predicted)[keep]) - held @ fit

            def total(fit: np.ndarray, rates: np.ndarray, precision: np.ndarray = precision) -> float:
                return float(precision @ (loss - rates.sum(1))[keep] ** 2 + fit @ held @ fit)

            now, whole = total(fit, rates), curvature + held
            while True:
                step = np.linalg.solve(whole + damping * np.diag(np.diag(whole)), gradient)
                step *= min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-300))
                trial = self.rates(fit + step)
                if total(fit + step, trial) <= now or damping > 1e8:
                    break
                damping *= 10.0
            fit, rates, damping = fit + step, trial, max(0.1 * damping, 1e-9)
            if np.abs(step).max() < 1e-5:
                break
        residual = precision * (loss - rates.sum(1))[keep] ** 2
        count, freedom = len(residual), float(np.trace(np.linalg.solve(whole, curvature)))
        return fit, count * float(residual.sum()) / max(count - 1.4 * freedom, 1e-3 * count) ** 2

    def _held(self, penalty: float) -> np.ndarray:
        """The quadratic form of the penalties on (θ, c), with a trace of all coefficients so that none is undetermined."""
        size = self.basis.shape[1]
        second = np.diff(np.eye(size), 2, axis=0)
        out = 1e-9 * np.eye(size + 1)
        out[:-1, :-1] += penalty * second.T @ second
        out[-2:, -2:] += END * np.array([[1.0, -1.0], [-1.0, 1.0]])
        return out

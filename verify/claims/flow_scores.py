"""Checks of two identities of the score s of z_t = e^t x_t: its evolution, and the decay of its size.

    A.9     ∂_t s = e^{2t} (Δs + 2(∇s)ᵀs)
    A.11    d/dt E‖s‖² = −2e^{2t} E‖∇s‖_F²

The left sides know the score alone, at different times; the right sides are posterior covariances at one time.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import torch

from targets import Discrete, Estimate, GaussianMixture, Sphere, Target
from targets.separate import Separate
from verify.claims.claim import Row, at_most, near
from verify.claims.flow_numerics import channel, derivative, nodes, score, score_gradient_square
from verify.claims.laws import law, plane_mixture

DRAWS = 48
"""States at which an identity is looked at."""

SAMPLED = 0.02
"""Relative difference allowed to expectations over draws, with their standard error inside it."""

FAMILIES = {"plane mixture": plane_mixture(), "5 points, d = 3": law("codebook", n=5, dim=3)}
"""Non-Gaussian, no product, of more than one dimension, and small enough for a lattice."""


def check_score_evolution(full: bool, tolerance: float, *, tilt: float = 0.0) -> list[Row]:
    """A.9 at draws of z_t: ∂_t s by differences of the score in t, the right side from posterior covariances."""
    rows = []
    for family, target in (FAMILIES | {"sphere, d = 3": law("sphere", dim=3)}).items():
        other = tilted(target, tilt)
        for time in (0.1, 0.3, 0.5, 1.0, 1.5) if full else (0.1, 0.5, 1.5):
            z = draws(target, time, DRAWS)
            fine, rough = (_residual(target, other, z, time, gap) for gap in (1.0, 1.5))
            off_by = Estimate(fine, 0.0, abs(fine - rough), "eighth-order differences, two spacings")
            quantity = f"largest |∂_t s − e^2t(Δs + 2(∇s)ᵀs)| ÷ rms ∂_t s at {DRAWS} states"
            rows.append(at_most(family, f"OU time {time:g}", quantity, off_by, tolerance))
    return rows


def _residual(target: Target, other: Target, states: np.ndarray, time: float, spread: float) -> float:
    """Largest |left − right| ÷ rms left, differences in t and z `spread` times as far apart as usual."""
    left = derivative(partial(_score_at, target, states), time, 0.005 * spread * min(1.0, time))
    right = _evolved(other, states, time, spread)
    return float(np.abs(left - right).max() / math.sqrt(float((left**2).sum(1).mean())))


def _score_at(target: Target, states: np.ndarray, time: float) -> np.ndarray:
    return score(target, states, time)


def _evolved(target: Target, states: np.ndarray, time: float, spread: float) -> np.ndarray:
    """e^{2t}(Δs + 2(∇s)ᵀs): Δs = ∇ tr C/τ² by differences in z, (∇s)ᵀs = (Cs/τ − s)/τ."""
    at = channel(time)
    tau, gap = at.sigma**2, 0.01 * spread * at.sigma
    own = score(target, states, time)
    product = target.posterior_covariance_product(torch.from_numpy(states), torch.from_numpy(own), at).numpy()
    laplacian = np.empty_like(states)
    for i, unit in enumerate(np.eye(target.dim)):

        def trace(h: float, unit: np.ndarray = unit) -> np.ndarray:
            return target.posterior_trace(torch.from_numpy(states + h * unit), at).numpy()

        laplacian[:, i] = derivative(trace, 0.0, gap) / tau**2
    return math.exp(2.0 * time) * (laplacian + 2.0 * (product / tau - own) / tau)


def check_score_decay(full: bool, tolerance: float, *, tilt: float = 0.0) -> list[Row]:
    """A.11: d/dt E‖s‖² by differences of an integral over z, −2e^{2t} E‖∇s‖_F² from posterior covariances."""
    rows = []
    for family, target in FAMILIES.items():
        other = tilted(target, tilt)
        for time in (0.5, 1.0, 1.5) if full else (0.5,):
            fine, rough = (_decay(target, time, spacing) / _shrinkage(other, time, spacing) for spacing in (0.5, 0.6))
            measured = Estimate(fine, 0.0, abs(fine - rough), "lattice quadrature, two spacings in z and t")
            quantity = "d/dt E‖s‖² ÷ −2e^2t E‖∇s‖_F², lattice quadrature"
            rows.append(near(family, f"OU time {time:g}", quantity, measured, 1.0, tolerance))
    target = law("codebook", n=64, dim=8)
    quantity = "d/dt E‖s‖² ÷ −2e^2t E‖∇s‖_F², the same draws at all times"
    measured = _simulated_decay(target, tilted(target, tilt), 0.4, 2**17 if full else 2**15)
    rows.append(near("64 points, d = 8", "OU time 0.4", quantity, measured, 1.0, SAMPLED))
    return rows


@cache
def _decay(target: Target, time: float, spacing: float) -> float:
    """d/dt E‖s‖² by a lattice and differences in t in proportion to its spacing."""
    return float(derivative(partial(_mean_square, target, spacing), time, 0.02 * spacing * min(1.0, time)))


def _shrinkage(target: Target, time: float, spacing: float) -> float:
    """−2e^{2t} E‖∇s‖_F²."""
    at = nodes(target, time, spacing)
    return -2.0 * math.exp(2.0 * time) * at.mean(score_gradient_square(target, at.states, time))


def _mean_square(target: Target, spacing: float, time: float) -> float:
    at = nodes(target, time, spacing)
    return at.mean((score(target, at.states, time) ** 2).sum(1))


def _simulated_decay(target: Target, other: Target, time: float, count: int) -> Estimate:
    """Ratio of the means of d/dt ‖s(t, X + √τ Z)‖² at fixed (X, Z) and of −2e^{2t}‖∇s‖_F²; stderr by linearising."""
    left = _simulated_slopes(target, time, count)
    right = -2.0 * math.exp(2.0 * time) * score_gradient_square(other, draws(other, time, count), time)
    value = float(left.mean() / right.mean())
    spread = float((left - value * right).std(ddof=1) / abs(right.mean()))
    return Estimate(value, spread / math.sqrt(count), 1e-9, f"{count} draws, common at all times")


@cache
def _simulated_slopes(target: Target, time: float, count: int) -> np.ndarray:
    def square(t: float) -> np.ndarray:
        return (score(target, draws(target, t, count), t) ** 2).sum(1)

    return derivative(square, time, 0.01 * time)


def draws(target: Target, time: float, count: int) -> np.ndarray:
    """z_t = X + √τ Z for draws (X, Z) that are the same at every t: (count, dim)."""
    generator = torch.Generator().manual_seed(0)
    clean = target.sample(count, generator)
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    return (clean + channel(time).sigma * noise).numpy()


def tilted(target: Target, tilt: float) -> Target:
    """The law with weights w_i ∝ w_i e^{tilt·i}; a sphere with its radius stretched by 1 + tilt."""
    if tilt == 0.0:
        return target
    if isinstance(target, Sphere):
        return Sphere(target.dim, target.radius * (1.0 + tilt))
    assert isinstance(target, (Discrete, GaussianMixture))
    weights = target.components.weights
    weights = weights * torch.exp(tilt * torch.arange(len(weights), dtype=weights.dtype))
    weights = weights / weights.sum()
    if isinstance(target, Discrete):
        return Discrete(target.atoms, weights)
    parts = target.components
    assert isinstance(parts, Separate)
    assert parts.axes is not None
    return GaussianMixture(weights, parts.means, parts.axes * parts.variances[:, None] @ parts.axes.mT)

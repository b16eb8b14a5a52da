"""Chain KL against the exact probability flow followed by the sampler's own noise.

A step N(a x + b m̂(x), s²) from level k to k + 1 leaves room for the flow to reach the level (α_{k+1}, τ),
τ² = σ_{k+1}² − s², before the noise s leads back.  With T the exact flow map between the two, the KL of the step is

    E‖T(x) − a x − b m(x)‖² / (2s²),     x ~ p_k                          (Jain & Zhang 2508.16306, Lemma A.1)

and T is known exactly for Gaussians (x − αμ scales with the standard deviation along each axis) and on the line (the
quantile map F_half⁻¹ ∘ F_k).
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.special import log_ndtr, ndtri_exp

from targets import Embedded, Estimate, Gaussian, Level, NotAvailableError, Product, Rotated, Target
from targets.laws import ComponentLaw
from targets.quadrature import line_nodes
from targets.separate import Separate
from verify.step import Table

NEWTON_STEPS = 60

_KNOWN: WeakKeyDictionary[Target, dict[bytes, np.ndarray]] = WeakKeyDictionary()
"""Errors along the line by law and table: products of one factor ask for the same map at every dimension."""


def flow_noise(target: Target, table: Table, first: np.ndarray) -> Estimate:
    """The divergence with the exact denoiser, where the flow is known exactly; other targets are refused."""
    a, b, s = table.affine()
    room = table.sigma[1:] ** 2 - s**2
    if (room <= 0).any():
        k = int(np.argmax(room <= 0))
        raise NotAvailableError(
            f"chain KL (flow+noise) of {table.method.name}: step {k} adds noise {s[k]:.6g}, no less than the level's own "
            f"{table.sigma[k + 1]:.6g}, so no flow precedes it; available: reference='reverse'"
        )
    errors, doubt = _errors(target, table, a, b, np.sqrt(room))
    rows = first + (errors / (2.0 * s**2)).sum()
    return Estimate.jackknife(rows, doubt * abs(rows[0]), "chain against flow+noise, exact flow map")


def _errors(target: Target, table: Table, a: np.ndarray, b: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, float]:
    """(E‖T(x) − a x − b m(x)‖² at each step, relative doubt); products and embeddings by their parts."""
    if isinstance(target, Gaussian):
        return _gaussian(target, table, a, b, half), 1e-13
    if isinstance(target, ComponentLaw) and target.dim == 1:
        known = _KNOWN.setdefault(target, {})
        key = np.concatenate([table.snr, table.alpha, a, b, half]).tobytes()
        if key not in known:
            known[key] = _line(target, table, a, b, half)
        return known[key], 1e-9
    if isinstance(target, Product):
        parts = [(_errors(factor, table, a, b, half), count) for factor, count in target.blocks]
        return sum((count * part for (part, _), count in parts), np.zeros(table.steps)), max(d for (_, d), _ in parts)
    if isinstance(target, Rotated):
        return _errors(target.inner, table, a, b, half)
    if isinstance(target, Embedded):
        inner, doubt = _errors(target.inner, table, a, b, half)
        null = _gaussian(Gaussian([0.0], [[0.0]]), table, a, b, half)
        return inner + (target.dim - target.inner.dim) * null, doubt
    raise NotAvailableError(
        f"chain KL (flow+noise) on {target!r}: the exact flow is available for Gaussians, on the line, and for products, "
        "rotations and embeddings of those; available here: reference='reverse'"
    )


def _gaussian(target: Gaussian, table: Table, a: np.ndarray, b: np.ndarray, half: np.ndarray) -> np.ndarray:
    """E‖T(x) − a x − b m(x)‖² at each step, summed over the eigen-directions."""
    rotation = target.components.rotation
    mean = target.mean if rotation is None else target.mean @ rotation
    variance, place = np.unique(target.variances.cpu().numpy(), return_inverse=True)
    square = np.bincount(place, weights=mean.square().cpu().numpy())[:, None]
    count, variance = np.bincount(place)[:, None], variance[:, None]
    alpha, ahead = table.alpha[:-1], table.alpha[1:]
    total = alpha**2 * variance + table.sigma[:-1] ** 2
    stretch = np.sqrt((ahead**2 * variance + half**2) / total)
    slope_error = stretch - a - b * alpha * variance / total
    mean_error = a * alpha + b - ahead
    return (count * slope_error**2 * total + square * mean_error**2).sum(0)


def _line(target: ComponentLaw, table: Table, a: np.ndarray, b: np.ndarray, half: np.ndarray) -> np.ndarray:
    """The same on the line, by quadrature over the flow's endpoint y ~ p_half, with x = T⁻¹(y) = F_k⁻¹(F_half(y)).

    Over y, not x: T all but jumps where p_half nearly vanishes between components, and T⁻¹ is flat there.
    """
    parts = target.components
    weights, centres = parts.weights.cpu().numpy(), parts.means.cpu().numpy()[:, 0]
    spread = parts.variances[:, 0] if isinstance(parts, Separate) else parts.spread.expand(len(weights))
    spread = spread.cpu().numpy()
    out = np.empty(table.steps)
    for k in range(table.steps):
        level = Level(float(table.alpha[k]), float(table.sigma[k]))
        widths = np.sqrt(level.alpha**2 * spread + level.sigma**2)
        after = np.sqrt(table.alpha[k + 1] ** 2 * spread + half[k] ** 2)
        ahead, unit = table.alpha[k + 1] * centres, after.min()
        nodes, weight = line_nodes((ahead - ahead[0]) / unit, after / unit)
        y, dy = nodes * unit + ahead[0], weight * unit
        log_density = _log_density(y, weights, ahead, after)
        relevant = log_density > log_density.max() - 80.0
        y, mass = y[relevant], np.exp(log_density[relevant]) * dy[relevant]
        x = _quantile(_log_tails(y, weights, ahead, after), mass, weights, level.alpha * centres, widths)
        denoised = target.denoiser(torch.as_tensor(x)[:, None].to(target.mean), level)[:, 0].cpu().numpy()
        out[k] = mass @ (y - a[k] * x - b[k] * denoised) ** 2
    return out


def _log_sum(terms: np.ndarray) -> np.ndarray:
    """log Σ exp over components (axis 0)."""
    highest = terms.max(0)
    return highest + np.log(np.exp(terms - highest).sum(0))


def _log_tails(
    x: np.ndarray, weights: np.ndarray, centres: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(log F, log(1 − F)) of a Gaussian mixture, both with full relative accuracy."""
    z = (x - centres[:, None]) / widths[:, None]
    log_weights = np.log(weights)[:, None]
    return _log_sum(log_weights + log_ndtr(z)), _log_sum(log_weights + log_ndtr(-z))


def _log_density(x: np.ndarray, weights: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """log density of a Gaussian mixture on the line."""
    z = (x - centres[:, None]) / widths[:, None]
    return _log_sum(np.log(weights / widths)[:, None] - 0.5 * z**2) - 0.5 * np.log(2.0 * np.pi)


def _quantile(
    tails: tuple[np.ndarray, np.ndarray], mass: np.ndarray, weights: np.ndarray, centres: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """x with log F(x), log(1 − F(x)) = tails: bracketed Newton on the smaller tail's logarithm, from Gaussian quantiles.

    Stops when the mean square of the last change is 1e-20 of the squared width, after which one more quadratic step would
    change nothing.
    """
    lower, upper = tails
    left = lower < upper
    mean = float(weights @ centres)
    scale = float(np.sqrt(weights @ (widths**2 + (centres - mean) ** 2)))
    low = np.full_like(lower, (centres - 40.0 * widths).min())
    high = np.full_like(lower, (centres + 40.0 * widths).max())
    x = np.clip(
        mean + scale * np.where(left, ndtri_exp(np.minimum(lower, upper)), -ndtri_exp(np.minimum(lower, upper))),
        low,
        high,
    )
    wanted = np.where(left, lower, upper)
    for _ in range(NEWTON_STEPS):
        below, above = _log_tails(x, weights, centres, widths)
        tail = np.where(left, below, above)
        excess = np.where(left, tail - wanted, wanted - tail)
        low, high = np.where(excess < 0, x, low), np.where(excess > 0, x, high)
        slope = tail - _log_density(x, weights, centres, widths)
        proposed = x - excess * np.exp(np.clip(slope, -700.0, 700.0))
        slack = 1e-12 * (np.abs(x) + widths.min())
        inside = (proposed >= low - slack) & (proposed <= high + slack)
        before, x = x, np.where(excess == 0, x, np.where(inside, proposed, 0.5 * (low + high)))
        if mass @ (x - before) ** 2 <= 1e-20 * widths.min() ** 2:
            break
    return x

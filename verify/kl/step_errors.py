"""E‖R(x) − M(x)‖² under the true law of each step's state: how far a step's mean M is from a reference's R.

    reference     R(x)                                              with M it gives the KL of a step of noise s:
    flow+noise    T(x), the exact probability flow to (α′, τ),      E‖T − M‖²/2s²      τ² = σ′² − s²
    reverse       A x + B m(x), the true reverse kernel's mean      a part of it (chain.py)

Known on Gaussians (both maps are linear), on the line and along a ray, hence on products of those.  M may ask the denoiser
several times; multistep tables have no map of the state alone.
"""

from __future__ import annotations

from functools import partial
from weakref import WeakKeyDictionary

import numpy as np

from targets import Gaussian, NotAvailableError, Target
from targets.quadrature import LineLaw
from targets.ray import Ray, ray
from verify.carry.advance import advance
from verify.carry.density import Line, line_law
from verify.carry.radial import HalfLine
from verify.carry.space import Space
from verify.kl.blocks import blocks
from verify.kl.quantile import flow_pairs, ranked
from verify.oracle import Exact
from verify.samplers.ddpm import posterior
from verify.step import Table

_KNOWN: WeakKeyDictionary[Target, dict[bytes, np.ndarray]] = WeakKeyDictionary()
"""Errors by part and table: products of one factor ask for the same map at every dimension."""


def step_errors(target: Target, table: Table, half: np.ndarray | None) -> tuple[np.ndarray, float]:
    """(E‖R − M‖² at each step, relative doubt); `half`: the flow's τ (K,), or None for the reverse kernel's mean."""
    parts = [(_part(part, table, half), count) for part, count in blocks(target)]
    return sum((count * error for (error, _), count in parts), np.zeros(table.steps)), max(d for (_, d), _ in parts)


def _part(target: Target, table: Table, half: np.ndarray | None) -> tuple[np.ndarray, float]:
    if isinstance(target, Gaussian):
        return _gaussian(target, table, half), 1e-13
    line = line_law(target)
    law, space = (line, Line(Exact(target))) if line is not None else _along_a_ray(target)
    key = table.key + (b"" if half is None else half.tobytes())
    known = _KNOWN.setdefault(target, {})
    if key not in known:
        known[key] = _integrated(law, space, table, half)
    return known[key], 1e-9


def _along_a_ray(target: Target) -> tuple[Ray, Space]:
    law = ray(target)
    if law is None:
        raise NotAvailableError(
            f"the map of a step on {target!r}: the exact flow, and the mean of a step of several evaluations, are available "
            "for Gaussians, on the line, for rotation-invariant laws, and for products, rotations and embeddings of those; "
            "available here: kl.chain(reference='reverse') of tables of one evaluation, particles"
        )
    return law, HalfLine(law)


def _gaussian(target: Gaussian, table: Table, half: np.ndarray | None) -> np.ndarray:
    """Summed over eigen-directions: squared error of the slope times the variance, and of the mean."""
    rotation = target.components.rotation
    mean = target.mean if rotation is None else target.mean @ rotation
    variance, place = np.unique(target.variances.cpu().numpy(), return_inverse=True)
    square = np.bincount(place, weights=mean.square().cpu().numpy())[:, None]
    count, variance = np.bincount(place)[:, None], variance[:, None]
    alpha, ahead = table.alpha[:-1], table.alpha[1:]
    total = alpha**2 * variance + table.sigma[:-1] ** 2
    slope, centre = _linear_map(table, variance)
    if half is None:
        a, b, _ = posterior(table.snr, table.alpha, table.sigma)
        wanted = a + b * alpha * variance / total
    else:
        wanted = np.sqrt((ahead**2 * variance + half**2) / total)
    return (count * (wanted - slope) ** 2 * total + square * (ahead - centre) ** 2).sum(0)


def _linear_map(table: Table, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slope, image of αμ in units of μ) of every step's mean, for each λ: arrays (n, K)."""
    answers: list[tuple[np.ndarray, np.ndarray]] = []
    for stage in table.stages:
        slope = np.broadcast_to(stage.state, (len(variance), table.steps))
        centre = slope * table.alpha[:-1]
        for j, (part, middle) in enumerate(answers):
            slope, centre = slope + stage.outputs[:, j] * part, centre + stage.outputs[:, j] * middle
        gain = stage.alpha * variance / (stage.alpha**2 * variance + stage.sigma**2)
        answers.append((gain * slope, 1.0 + gain * (centre - stage.alpha)))
    slope, centre = table.state, table.state * table.alpha[:-1]
    for j, (part, middle) in enumerate(answers):
        slope, centre = slope + table.outputs[:, j] * part, centre + table.outputs[:, j] * middle
    return slope, centre


def _integrated(law: LineLaw | Ray, space: Space, table: Table, half: np.ndarray | None) -> np.ndarray:
    """The same by quadrature on the line or the half line, step by step."""
    at = partial(ranked, law)
    a, b, _ = posterior(table.snr, table.alpha, table.sigma)
    out = np.empty(table.steps)
    for k in range(table.steps):
        step = table.step(k)
        before = at(step.start.alpha, step.start.sigma)
        if half is None:
            x, dx = before.nodes()
            mass = np.exp(before.log_density(x)) * dx
            wanted = a[k] * x + b[k] * space.answer(x, step.start)[0]
        else:
            x, wanted, mass = flow_pairs(before, at(step.stop.alpha, float(half[k])))
        image, _ = advance(step, x, lambda y, level: space.answer(y, level)[0], [])
        out[k] = mass @ (wanted - image) ** 2
    return out

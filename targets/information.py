"""The mmse curve of a finite mixture: deterministic wherever the law reduces to one dimension, otherwise sampled.

one component                                  closed form
centres on a line, one covariance              quadrature of the scalar law, blurred
any law on the line                            quadrature
low rank, common noise                         the law on the span of centres and factors, plus the noise across it
one isotropic covariance on the centres' span  sampled discrete law of the centres, blurred
everything else                                sampled
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from targets.components import Components, pick
from targets.curve import BlurredCurve, Curve, GaussianCurve, SumCurve
from targets.lowrank import LowRank
from targets.quadrature import LineLaw
from targets.sampled import sampled_curve
from targets.separate import Separate
from targets.shared import Shared
from targets.tabulated import TabulatedCurve


def component_curve(components: Components, points: int) -> Curve:
    """The mmse curve of a mixture, by the simplest exact route (see the table above)."""
    if isinstance(components, Separate):
        if components.dim == 1:
            return _line_curve(components.weights, components.centres[:, 0], components.variances[:, 0])
        return _sampled_separate(components, points)
    if isinstance(components, LowRank):
        return _low_rank_curve(components, points)
    assert isinstance(components, Shared)
    spread = components.spread.cpu().numpy()
    if len(components.weights) == 1 or components.rank == 0:
        return GaussianCurve(spread)
    inside = components.spread if components.index is None else components.spread[components.index]
    along = inside.cpu().numpy()
    if components.rank == 1:
        inner = _line_curve(components.weights, components.centres[:, 0], torch.zeros_like(components.centres[:, 0]))
        return BlurredCurve(inner, np.ones(1), along[:1], spread)
    line = _on_a_line(components.centres)
    if line is not None:
        positions, direction = line
        inner = _line_curve(components.weights, positions, torch.zeros_like(positions))
        return BlurredCurve(inner, direction.cpu().numpy() ** 2, along, spread)
    if bool((inside == inside[0]).all()):
        cap = 1.0 / float(along[0]) if along[0] > 0 else np.inf
        inner = _sampled_atoms(components.weights, components.centres, cap, points)
        return BlurredCurve(inner, np.ones(1), along[:1], spread)
    outside = np.delete(spread, components.index.cpu().numpy()) if components.index is not None else np.zeros(0)
    core = Separate(components.weights, components.centres, inside.expand(len(components.weights), -1))
    return SumCurve([(GaussianCurve(outside), 1), (_sampled_separate(core, points), 1)])


def _low_rank_curve(components: LowRank, points: int) -> Curve:
    """One component: closed form.  Common noise: the span of centres and factors apart from the rest of the space."""
    if len(components.weights) == 1:
        return GaussianCurve(components.variances[0].cpu().numpy())
    core = components.core()
    if core.dim == 1:
        inner = _line_curve(core.weights, core.centres[:, 0], core.variances[:, 0])
    else:
        inner = _sampled_separate(core, points, components.variances)
    outside = components.noise[0].cpu().expand(components.dim - core.dim).numpy()
    return SumCurve([(GaussianCurve(outside), 1), (inner, 1)]) if (outside > 0).any() else inner


def _line_curve(weights: Tensor, positions: Tensor, variances: Tensor) -> TabulatedCurve:
    law = LineLaw(*(a.cpu().numpy().astype(np.float64) for a in (weights, positions, variances)))
    low, high = law.range()
    return TabulatedCurve(law.points, low, high, head=law.variance**2, discrete=law.discrete, method="1-D quadrature")


def _on_a_line(centres: Float[Tensor, "m r"]) -> tuple[Tensor, Tensor] | None:
    """(positions, unit direction) where all centres are collinear to rounding, else None."""
    _, values, right = torch.linalg.svd(centres, full_matrices=False)
    if values[1] > 1e-13 * values[0]:
        return None
    return centres @ right[0], right[0]


def _sampled(
    components: Components,
    dim: int,
    low: float,
    high: float,
    head: float,
    points: int,
    *,
    least_rate: float | None = None,
) -> TabulatedCurve:
    weights = components.weights

    def draw(u: np.ndarray, z: np.ndarray) -> Tensor:
        index = pick(weights, torch.as_tensor(u, device=weights.device))
        return components.draw(index, torch.as_tensor(z).to(weights))

    return sampled_curve(
        components.posterior_trace,
        draw,
        dim,
        low,
        high,
        head=head,
        discrete=least_rate is not None,
        points=points,
        least_rate=least_rate or 0.0,
    )


def _sampled_atoms(weights: Tensor, atoms: Float[Tensor, "m r"], cap: float, points: int) -> TabulatedCurve:
    """Discrete law in several dimensions: from 1e-2 of its largest atom to its nearest neighbours' scale."""
    _, scales, axes = torch.linalg.svd(atoms * weights.sqrt()[:, None], full_matrices=False)
    kept = scales > 1e-12 * scales[0]
    atoms, principal = atoms @ axes[kept].mT, scales[kept].square()
    gaps = torch.cat([_nearest(block, atoms) for block in atoms.split(1024)])
    order = gaps.argsort()
    reached = weights[order].cumsum(0)
    typical = float(gaps[order][torch.searchsorted(reached, torch.as_tensor(0.01).to(reached))])
    low, high = 1e-2 / float(atoms.square().sum(-1).max()), 8.0 * 14.0 / typical**2
    core = Shared(weights, atoms, torch.zeros_like(atoms[0]))
    high = max(min(high, cap), 10.0 * low)
    return _sampled(
        core, atoms.shape[1], low, high, float(principal.square().sum()), points, least_rate=typical**2 / 8.0
    )


def _nearest(block: Tensor, atoms: Tensor) -> Tensor:
    """Distance of each row of `block` to its nearest other atom."""
    distance = torch.cdist(block, atoms, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.masked_fill(distance == 0, torch.inf).amin(-1)


def _sampled_separate(components: Separate | LowRank, points: int, variances: Tensor | None = None) -> Curve:
    """Mixture with unlike covariances: from 1e-2 of its largest variance to 1e3 of its smallest (or of `variances`)."""
    if not bool((components.variances > 0).any()):
        return component_curve(Shared(components.weights, components.means, torch.zeros_like(components.mean)), points)
    low_rank = isinstance(components, LowRank)
    principal = components.principal if low_rank else torch.linalg.eigvalsh(components.covariance())
    variances = components.variances if variances is None else variances
    positive = variances[variances > 1e-12 * variances.max()]
    low, high = 1e-2 / float(principal[-1]), 1e3 / float(positive.min())
    return _sampled(components, components.dim, low, high, float(principal.square().sum()), points)

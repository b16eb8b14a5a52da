"""Independent parts of a law: what products, rotations and embeddings reduce to before any work.

Samplers with the exact denoiser act on each part alone (their coefficients are numbers, and all starts are isotropic), so
that every divergence here is the sum over parts.  A mixture whose centres do not span the space is its law on the span and
a Gaussian across it; a number made of parts is an identity in the number of equal parts.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch

from targets import Discrete, Embedded, Gaussian, GaussianMixture, Product, Rotated, Target
from targets.laws import ComponentLaw
from targets.shared import Shared

Blocks = list[tuple[Target, int]]

_KNOWN: WeakKeyDictionary[ComponentLaw, Blocks | None] = WeakKeyDictionary()
"""None: the law is its own only part."""


def blocks(target: Target) -> Blocks:
    """[(part, how often)] up to a rotation; a law that is no product of smaller ones is its own only part."""
    if isinstance(target, Product):
        return [(part, count * times) for factor, times in target.blocks for part, count in blocks(factor)]
    if isinstance(target, Rotated):
        return blocks(target.inner)
    if isinstance(target, Embedded):
        return _counted(blocks(target.inner), Gaussian([0.0], [[0.0]]), target.dim - target.inner.dim)
    if isinstance(target, ComponentLaw) and not isinstance(target, Gaussian) and isinstance(target.components, Shared):
        if target not in _KNOWN:
            home = target.mean.device
            parts = _reduced(target if home.type == "cpu" else target.to(device="cpu"))
            if parts is not None and home.type != "cpu":
                parts = [(part.to(device=home), count) for part, count in parts]
            _KNOWN[target] = parts
        return _KNOWN[target] or [(target, 1)]
    return [(target, 1)]


def _counted(parts: Blocks, part: Target, count: int) -> Blocks:
    return [*parts, (part, count)] if count else parts


def _reduced(target: ComponentLaw) -> Blocks | None:
    """Components of one covariance: their law on the centres' span (isotropic) or varying axes, Gaussians elsewhere."""
    parts = target.components
    assert isinstance(parts, Shared)
    means, spread = parts.means, parts.spread
    if parts.rotation is not None:
        means = means @ parts.rotation
    apart = means - means[0]
    if parts.isotropic:
        _, scales, axes = torch.linalg.svd(apart, full_matrices=False)
        basis = axes[scales > 1e-13 * means.abs().max()]
        if len(basis) == target.dim:
            return None
        across = means[0] - (means[0] @ basis.mT) @ basis
        centre = float(torch.linalg.vector_norm(across))
        variance = float(spread[0])
        outside: Blocks = [(Gaussian([centre if centre > 1e-15 * float(means.abs().max()) else 0.0], [[variance]]), 1)]
        outside = _counted(outside, Gaussian([0.0], [[variance]]), target.dim - len(basis) - 1)
        inside, own = means @ basis.mT, spread[: len(basis)]
    else:
        varying = apart.abs().amax(0) > 1e-13 * means.abs().max()
        if bool(varying.all()):
            return None
        outside = [(Gaussian(means[0, ~varying], torch.diag(spread[~varying])), 1)]
        inside, own = means[:, varying], spread[varying]
    if not inside.shape[1]:
        return outside
    if bool((own == 0).all()):
        core: Target = Discrete(inside, parts.weights)
    else:
        core = GaussianMixture.shared(parts.weights, inside, torch.diag(own))
    return [(core, 1), *outside]

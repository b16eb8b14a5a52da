"""Laws on finitely many points, and the families that the theory speaks of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from targets.arguments import ArgumentError, NotAvailableError, array, integer, real, refuse, weights
from targets.compose import Product
from targets.entropies import renyi
from targets.estimate import Estimate
from targets.laws import ComponentLaw
from targets.shared import Shared


class Discrete(ComponentLaw):
    """Σ_i w_i δ(a_i): atoms (n, d) with weights (n,) summing to one.

    Repeated atoms are merged (their weights add), atoms of weight zero are dropped; constant coordinates and, where
    it pays, directions outside the atoms' span are reduced before any work (`rank` reports what is left).
    Raises `ArgumentError` for wrong shapes, weights or non-finite numbers.

    >>> Discrete([[-1.0], [1.0]], [0.5, 0.5]).entropy().value
    np.float64(0.6931471805599453)
    """

    components: Shared

    def __init__(self, atoms: Any, weights: Any) -> None:
        points = array("atoms", atoms, (None, None))
        probabilities = _weights(weights, len(points))
        if not bool((probabilities > 0).all()):
            points, probabilities = points[probabilities > 0], probabilities[probabilities > 0]
        self.dim = points.shape[1]
        unique, place = torch.unique(points, dim=0, return_inverse=True)
        del points
        merged = torch.zeros(len(unique), dtype=torch.float64).index_add(0, place, probabilities)
        self.atoms = unique
        self.components = Shared(merged, unique, torch.zeros(self.dim, dtype=torch.float64))

    @property
    def weights(self) -> torch.Tensor:
        """Probabilities of the (merged) atoms."""
        return self.components.weights

    @property
    def rank(self) -> int:
        if self.components.rank == 0:
            return 0
        return int(torch.linalg.matrix_rank(self.components.centres, rtol=1e-12))

    def entropy(self, order: float = 1.0) -> Estimate:
        """Rényi entropy of the given order, nats."""
        return renyi(self.weights, order)

    def differential_entropy(self) -> Estimate:
        """A discrete law has no density."""
        raise NotAvailableError("differential_entropy() of a discrete law: it is -infinity; use entropy()")

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """Each atom is a component: the entropy itself."""
        return self.entropy(order)

    def describe(self) -> str:
        return f"atoms={len(self.atoms)}, dim={self.dim}, rank={self.rank}"


def _weights(value: Any, count: int) -> torch.Tensor:
    return weights("weights", value, count)


def point_mass(point: Any) -> Discrete:
    """δ(point), point of shape (d,)."""
    place = array("point", point, (None,))
    return Discrete(place[None], [1.0])


def two_points(distance: float = 2.0, p: float = 0.5) -> Discrete:
    """±distance/2 on the line; the right one has probability p."""
    half = 0.5 * real("distance", distance, "a number > 0", low=0.0)
    p = real("p", p, "a probability strictly between 0 and 1", low=0.0, high=1.0)
    return Discrete([[-half], [half]], [1.0 - p, p])


def rare_bit(p: float = 0.01) -> Discrete:
    """P(1) = p on {0, 1}."""
    p = real("p", p, "a probability strictly between 0 and 1", low=0.0, high=1.0)
    return Discrete([[0.0], [1.0]], [1.0 - p, p])


def lattice(n: int = 8, spacing: float = 1.0) -> Discrete:
    """n equiprobable, equally spaced points on the line, centred."""
    n = integer("n", n, 2)
    spacing = real("spacing", spacing, "a number > 0", low=0.0)
    places = spacing * (np.arange(n) - 0.5 * (n - 1))
    return Discrete(places[:, None], np.full(n, 1.0 / n))


def hypercube(dim: int = 4, distance: float = 2.0) -> Product:
    """The 2^dim corners ±distance/2, equiprobable: a product of bits, never enumerated."""
    return Product([two_points(distance)] * integer("dim", dim, 1))


def orthogonal_points(n: int = 64, radius: float = 1.0) -> Discrete:
    """n equiprobable points radius·e_i in R^n."""
    n = integer("n", n, 2)
    radius = real("radius", radius, "a number > 0", low=0.0)
    return Discrete(radius * torch.eye(n, dtype=torch.float64), np.full(n, 1.0 / n))


def codebook(n: int = 64, dim: int = 8, zipf: float = 1.0, seed: int = 0) -> Discrete:
    """n points drawn once from N(0, 1) in R^dim, with Zipf weights p_i ∝ i^{-zipf} (zipf = 0: equiprobable)."""
    n, dim, seed = integer("n", n, 1), integer("dim", dim, 1), integer("seed", seed, 0)
    zipf = real("zipf", zipf, "a finite number >= 0", low=-1e-300)
    w = np.arange(1, n + 1, dtype=np.float64) ** -zipf
    return Discrete(np.random.default_rng(seed).standard_normal((n, dim)), w / w.sum())


def nested_scales(bits: int = 4, base: int = 32) -> Discrete:
    """Σ_{j=1..bits} b_j base^{-j} with fair bits b_j, in units of the smallest scale, base^{-bits}.

    In those units the atoms are integers, Σ_j b_j base^{bits − j}: held exactly as long as base^{bits−1} < 2^53.
    """
    bits, base = integer("bits", bits, 1), integer("base", base, 2)
    if bits > 12 or (bits - 1) * math.log2(base) > 52:
        refuse("(bits, base)", (bits, base), "bits <= 12 and base^(bits-1) < 2^53, so that atoms are exact")
    scales = np.array([float(base**j) for j in range(bits)])
    corners = (np.arange(2**bits)[:, None] >> np.arange(bits)) & 1
    return Discrete((corners @ scales)[:, None], np.full(2**bits, 0.5**bits))


def heavy_tail(n: int = 8, exponent: float = 1.5, base: float = 30.0) -> Discrete:
    """p_i ∝ i^{-exponent} at x_i = base^{-i}, i = 1..n: the entropy stays bounded while the scales multiply."""
    n = integer("n", n, 2)
    base = real("base", base, "a number > 1", low=1.0)
    exponent = real("exponent", exponent, "a finite number >= 0", low=-1e-300)
    if n * math.log10(base) > 70:
        refuse(
            "n", n, f"at most {int(70 / math.log10(base))} at base {base}: the smallest scale squared must be a float"
        )
    i = np.arange(1, n + 1, dtype=np.float64)
    w = i**-exponent
    return Discrete((base**-i)[:, None], w / w.sum())


def from_samples(samples: Any) -> Discrete:
    """The empirical law of rows (n, d): weights by multiplicity."""
    points = array("samples", samples, (None, None))
    if len(points) < 1:
        raise ArgumentError("samples: expected at least one row")
    return Discrete(points, np.full(len(points), 1.0 / len(points)))

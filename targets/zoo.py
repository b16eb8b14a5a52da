"""Named targets: `get(name, **parameters)` and `names()`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from targets import discrete, markov, real
from targets.arguments import integer, one_of, refuse
from targets.arguments import real as number
from targets.base import Target
from targets.gaussian import Gaussian
from targets.mixture import GaussianMixture
from targets.sphere import Sphere


def gaussian(dim: int = 1, variance: float = 0.25, mean: float = 0.5) -> Gaussian:
    """N(mean, variance) in every coordinate: neither centred nor of unit variance, both of which are degenerate."""
    dim = integer("dim", dim, 1)
    variance = number("variance", variance, "a number > 0", low=0.0)
    return Gaussian(np.full(dim, number("mean", mean, "a finite number")), variance * np.eye(dim))


def anisotropic_gaussian(dim: int = 8, smallest: float = 0.01, largest: float = 4.0) -> Gaussian:
    """Uncentred Gaussian with variances spread geometrically over [smallest, largest]."""
    dim = integer("dim", dim, 1)
    low = number("smallest", smallest, "a number > 0", low=0.0)
    high = number("largest", largest, "a number > 0", low=0.0)
    return Gaussian(np.linspace(-1.0, 1.0, dim), np.diag(np.geomspace(low, high, dim)))


def curved_mixture() -> GaussianMixture:
    """Three unlike components on the line, uncentred: the standard curved 1-D law of the studies."""
    return GaussianMixture.isotropic([0.5, 0.3, 0.2], [[-1.0], [0.8], [2.5]], [0.04, 0.16, 0.01])


def two_components(separation: float = 2.0, variance: float = 0.09, p: float = 0.3, dim: int = 1) -> GaussianMixture:
    """(1 − p) N(0, v) + p N(separation·e_1, v): one covariance, so one dimension decides it."""
    dim = integer("dim", dim, 1)
    p = number("p", p, "a probability strictly between 0 and 1", low=0.0, high=1.0)
    means = np.zeros((2, dim))
    means[1, 0] = number("separation", separation, "a finite number")
    return GaussianMixture.isotropic([1.0 - p, p], means, float(number("variance", variance, "a number > 0", low=0.0)))


def random_centres(components: int = 32, dim: int = 8, variance: float = 0.05, seed: int = 0) -> GaussianMixture:
    """Equiprobable components of one variance around centres drawn once from N(0, 1)."""
    components, dim = integer("components", components, 1), integer("dim", dim, 1)
    centres = np.random.default_rng(integer("seed", seed, 0)).standard_normal((components, dim))
    variance = number("variance", variance, "a number > 0", low=0.0)
    return GaussianMixture.isotropic(np.full(components, 1.0 / components), centres, variance)


def sphere(dim: int = 3, spread: float = 1.0) -> Sphere:
    """Uniform on the sphere of radius spread·√dim in R^dim: variance spread² in every coordinate, and no product.

    At spread 1 it is near N(0, 1) in high dimension, on which steps that freeze the score along the flow are exact.
    """
    spread = number("spread", spread, "a number > 0", low=0.0)
    return Sphere(dim, spread * math.sqrt(integer("dim", dim, 1)))


def scale_mixture(dim: int = 3, narrow: float = 0.1, wide: float = 1.0, p: float = 0.3) -> GaussianMixture:
    """(1 − p) N(0, narrow) + p N(0, wide) in R^dim: rotation-invariant, and no product."""
    dim = integer("dim", dim, 1)
    p = number("p", p, "a probability strictly between 0 and 1", low=0.0, high=1.0)
    spread = [number(n, v, "a number > 0", low=0.0) for n, v in (("narrow", narrow), ("wide", wide))]
    return GaussianMixture.isotropic([1.0 - p, p], np.zeros((2, dim)), spread)


def low_rank_mixture(
    components: int = 4, dim: int = 100, rank: int = 2, noise: float = 0.01, seed: int = 0
) -> GaussianMixture:
    """Equiprobable components around random centres, each spread along `rank` random directions, in R^dim."""
    components, dim = integer("components", components, 1), integer("dim", dim, 1)
    rng = np.random.default_rng(integer("seed", seed, 0))
    centres = rng.standard_normal((components, dim))
    factors = rng.standard_normal((components, dim, integer("rank", rank, 1))) / np.sqrt(rank)
    return GaussianMixture.low_rank(
        np.full(components, 1.0 / components), centres, factors, number("noise", noise, "a number > 0", low=0.0)
    )


ZOO: dict[str, Callable[..., Target]] = {
    "anisotropic_gaussian": anisotropic_gaussian,
    "bit_chain": markov.bit_chain,
    "codebook": discrete.codebook,
    "curved_mixture": curved_mixture,
    "digits": real.digits,
    "digits_mixture": real.digits_mixture,
    "fixed_entropy_chain": markov.fixed_entropy_chain,
    "gaussian": gaussian,
    "heavy_tail": discrete.heavy_tail,
    "hypercube": discrete.hypercube,
    "lattice": discrete.lattice,
    "low_rank_mixture": low_rank_mixture,
    "nested_scales": discrete.nested_scales,
    "orthogonal_points": discrete.orthogonal_points,
    "point_mass": discrete.point_mass,
    "random_centres": random_centres,
    "rare_bit": discrete.rare_bit,
    "scale_mixture": scale_mixture,
    "sphere": sphere,
    "two_components": two_components,
    "two_points": discrete.two_points,
}


def names() -> tuple[str, ...]:
    """Every name that `get` knows."""
    return tuple(ZOO)


def get(name: str, **parameters: Any) -> Target:
    """The named target; parameters as in its builder's signature.

    Raises `ArgumentError` for an unknown name (suggesting the nearest) or an unknown parameter.

    >>> get("two_points").curve.discretisation_length().value.round(5)
    np.float64(2.45841)
    """
    builder = ZOO[one_of("name", name, ZOO)]
    known = inspect.signature(builder).parameters
    for parameter in parameters:
        if parameter not in known:
            refuse(f"parameter of {name!r}", parameter, f"one of {', '.join(known) or 'none'}")
    missing = [key for key, item in known.items() if item.default is inspect.Parameter.empty and key not in parameters]
    if missing:
        refuse(f"parameters of {name!r}", tuple(parameters), f"a value for {', '.join(missing)} too")
    return builder(**parameters)

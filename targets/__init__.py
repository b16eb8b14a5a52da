"""Laws on R^d whose denoiser, score, entropy and mmse curve are known in closed form or to a stated error."""

from targets.arguments import ArgumentError, NotAvailableError
from targets.base import Target
from targets.channel import Level, process
from targets.compose import Embedded, Product, Rotated
from targets.discrete import Discrete, from_samples, point_mass
from targets.estimate import Estimate
from targets.gaussian import Gaussian
from targets.interchange import from_frame, from_scipy, from_torch
from targets.markov import MarkovChain
from targets.mixture import GaussianMixture
from targets.plain import from_json, to_json
from targets.real import from_sklearn
from targets.sphere import Sphere
from targets.zoo import get, names

__all__ = [
    "ArgumentError",
    "Discrete",
    "Embedded",
    "Estimate",
    "Gaussian",
    "GaussianMixture",
    "Level",
    "MarkovChain",
    "NotAvailableError",
    "Product",
    "Rotated",
    "Sphere",
    "Target",
    "from_frame",
    "from_json",
    "from_samples",
    "from_scipy",
    "from_sklearn",
    "from_torch",
    "get",
    "names",
    "point_mass",
    "process",
    "to_json",
]

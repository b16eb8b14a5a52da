"""Real data as exact targets: scikit-learn's handwritten digits, and any mixture that scikit-learn fitted."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from targets.arguments import integer, refuse
from targets.discrete import Discrete, from_samples
from targets.mixture import GaussianMixture

PIXELS, IMAGES = 64, 1797


@lru_cache(maxsize=1)
def _images() -> np.ndarray:
    """The 1,797 images as rows of 64 pixels in [0, 1]."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits(return_X_y=True)[0]) / 16.0


def digits(components: int = PIXELS, images: int = IMAGES) -> Discrete:
    """The 1,797 handwritten digits (8 × 8 pixels in [0, 1]) as atoms, weights by multiplicity.

    components < 64: projected on the leading principal components of all images, which keeps all atoms distinct and so
    leaves the entropy log 1797 unchanged.  With all 64, the constant pixels are reduced inside (`rank` is 61).
    images < 1797: the first that many in one fixed random order, so that smaller sets lie within larger ones.
    """
    components, images = integer("components", components, 1), integer("images", images, 1)
    if components > PIXELS:
        refuse("components", components, f"at most {PIXELS}")
    if images > IMAGES:
        refuse("images", images, f"at most {IMAGES}")
    points = _images()
    if components < PIXELS:
        centred = points - points.mean(0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        points = centred @ axes[:components].T
    return from_samples(points[np.random.default_rng(0).permutation(IMAGES)[:images]] if images < IMAGES else points)


def digits_mixture(components: int = 10, covariance: str = "full", regularisation: float = 1e-3) -> GaussianMixture:
    """A Gaussian mixture fitted to the digits (EM with a fixed seed); covariance: full, tied, diag or spherical."""
    from sklearn.mixture import GaussianMixture as FittedMixture

    components = integer("components", components, 1)
    if covariance not in _CONVERT:
        refuse("covariance", covariance, f"one of {', '.join(_CONVERT)}")
    model = FittedMixture(components, covariance_type=covariance, reg_covar=regularisation, random_state=0)
    return from_sklearn(model.fit(_images()))


_CONVERT = {
    "full": GaussianMixture,
    "tied": GaussianMixture.shared,
    "diag": GaussianMixture.diagonal,
    "spherical": GaussianMixture.isotropic,
}


def from_sklearn(model: Any) -> GaussianMixture:
    """The law of a fitted scikit-learn mixture of any covariance type; a `BayesianGaussianMixture`'s at its posterior mean.

    The posterior means that scikit-learn keeps are those of the weights and the centres, and the covariance is the inverse of
    the mean precision.  Raises `ArgumentError` for a model that was not fitted or is no mixture.
    """
    from sklearn.mixture import BayesianGaussianMixture
    from sklearn.mixture import GaussianMixture as FittedMixture

    if not isinstance(model, (FittedMixture, BayesianGaussianMixture)):
        refuse("model", model, "a fitted scikit-learn mixture, GaussianMixture or BayesianGaussianMixture")
    if not hasattr(model, "weights_"):
        refuse("model", model, "a fitted mixture; call model.fit(data) first")
    weights = np.asarray(model.weights_, dtype=np.float64)
    return _CONVERT[model.covariance_type](weights / weights.sum(), model.means_, model.covariances_)

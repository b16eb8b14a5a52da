"""The laws on which samplers are audited, and where the exact flow takes their first states."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from targets import Gaussian, Target, from_sklearn, get
from verify.audit.order import WINDOW
from verify.audit.reference import Reference


@cache
def gaussian() -> Gaussian:
    """An anisotropic Gaussian away from the origin, d = 3."""
    return Gaussian([0.5, -1.0, 2.0], [[0.05, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 3.0]])


@cache
def digits() -> Target:
    """A mixture of twelve Gaussians fitted to the handwritten digits, pixels over 16, d = 64."""
    from sklearn.datasets import load_digits
    from sklearn.mixture import GaussianMixture as Fitted

    pixels = load_digits(return_X_y=True)[0] / 16.0
    return from_sklearn(Fitted(12, covariance_type="spherical", random_state=0, reg_covar=1e-3).fit(pixels))


LAWS: dict[str, Callable[[], Target]] = {
    "curved mixture": cache(lambda: get("curved_mixture")),
    "anisotropic Gaussian": gaussian,
    "digits mixture, d = 64": digits,
}
QUICK_LAWS = ("curved mixture", "anisotropic Gaussian")


@cache
def reference(name: str) -> Reference:
    """First states of a law and where the exact flow takes them, once for all samplers."""
    return Reference.of(LAWS[name](), snr=WINDOW, particles=24)


def laws(preset: str) -> dict[str, Target]:
    """The laws on which a preset measures."""
    return {name: build() for name, build in LAWS.items() if preset == "full" or name in QUICK_LAWS}

"""The Gaussian N(m, C), in the eigenbasis of C: every quantity in closed form."""

from __future__ import annotations

import math
from typing import Any

import torch

from targets.arguments import NotAvailableError, array, covariances
from targets.estimate import Estimate
from targets.laws import ComponentLaw
from targets.shared import Shared


class Gaussian(ComponentLaw):
    """N(mean, covariance) on R^d; the covariance may be singular.

    mean: (d,).  covariance: (d, d), symmetric positive semi-definite.
    Raises `ArgumentError` for other shapes, non-finite numbers or a covariance that is not positive semi-definite.

    >>> Gaussian([0.0, 1.0], [[1.0, 0.0], [0.0, 4.0]]).mmse(0.0).value
    np.float64(5.0)
    """

    components: Shared

    def __init__(self, mean: Any, covariance: Any) -> None:
        centre = array("mean", mean, (None,))
        matrix = covariances("covariance", covariance, (len(centre), len(centre)))
        self.dim = len(centre)
        if bool((matrix == torch.diag(matrix.diag())).all()):
            self.variances, rotation = matrix.diag().clone(), None
        else:
            self.variances, rotation = torch.linalg.eigh(matrix)
            self.variances[self.variances < 1e-14 * self.variances.max()] = 0.0
        self.components = Shared(torch.ones(1, dtype=centre.dtype), centre[None], self.variances, rotation)

    @property
    def rank(self) -> int:
        return int((self.variances > 0).sum())

    def entropy(self, order: float = 1.0) -> Estimate:
        """A Gaussian has no entropy of a discrete law."""
        raise NotAvailableError(
            f"entropy(order={order}) of a Gaussian: the law is continuous; use differential_entropy()"
        )

    def differential_entropy(self) -> Estimate:
        """h(X) = ½ Σ log(2πe λ), nats; a singular covariance raises (the density does not exist)."""
        if self.rank < self.dim:
            raise NotAvailableError(
                f"differential_entropy() of a Gaussian of rank {self.rank} in R^{self.dim}: it is -infinity; "
                "use mutual_information(snr)"
            )
        return Estimate.exact(float(0.5 * (2.0 * math.pi * math.e * self.variances).log().sum()))

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """A Gaussian is one component: zero."""
        return Estimate.exact(0.0)

    def describe(self) -> str:
        return f"dim={self.dim}, rank={self.rank}"

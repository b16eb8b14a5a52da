"""Gaussian mixtures: isotropic, diagonal, full, shared or low-rank covariances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from targets.arguments import NotAvailableError, array, covariances, refuse, variances, weights
from targets.entropies import renyi
from targets.estimate import Estimate
from targets.laws import ComponentLaw
from targets.lowrank import LowRank
from targets.separate import Separate
from targets.shared import Shared


class GaussianMixture(ComponentLaw):
    """Σ_i w_i N(μ_i, C_i) with a full covariance for each component; simpler structures have constructors below.

    weights: (m,), summing to one.  means: (m, d).  covariances: (m, d, d).
    Covariances are covariances and variances are variances, never standard deviations; any may be singular.
    Raises `ArgumentError` for wrong shapes, weights, or covariances that are not positive semi-definite.
    """

    def __init__(self, weights: Any, means: Any, covariances: Any) -> None:
        w, mu = _centres(weights, means)
        self._set(w, mu, _check_covariances(covariances, (*mu.shape, mu.shape[1])), "full")

    @classmethod
    def isotropic(cls, weights: Any, means: Any, variances: Any) -> GaussianMixture:
        """C_i = v_i·1: one float for all components, or (m,)."""
        w, mu = _centres(weights, means)
        if np.ndim(variances) == 0:
            shared = _check_variances([variances], (1,)).expand(mu.shape[1]).clone()
            return cls._make(w, mu, shared, "isotropic, shared")
        return cls._make(w, mu, _check_variances(variances, (len(w),)), "isotropic")

    @classmethod
    def diagonal(cls, weights: Any, means: Any, variances: Any) -> GaussianMixture:
        """C_i = diag(v_i): (m, d)."""
        w, mu = _centres(weights, means)
        return cls._make(w, mu, _check_variances(variances, tuple(mu.shape)), "diagonal")

    @classmethod
    def shared(cls, weights: Any, means: Any, covariance: Any) -> GaussianMixture:
        """One covariance (d, d) for all components."""
        w, mu = _centres(weights, means)
        matrix = _check_covariances(covariance, (mu.shape[1], mu.shape[1]), "covariance")
        law = cls._make(w, mu, matrix.diag().clone(), "shared")
        if not bool((matrix == torch.diag(matrix.diag())).all()):
            spread, rotation = torch.linalg.eigh(matrix)
            law.components = Shared(w, mu, spread.clamp_min(0.0), rotation)
        return law

    @classmethod
    def low_rank(cls, weights: Any, means: Any, factors: Any, noise: Any) -> GaussianMixture:
        """C_i = F_i F_iᵀ + n_i·1: factors (m, d, r), any r; noise one variance for all components, or (m,); zero allowed.

        No d × d matrix is formed, and every method costs O(m·r·d) a state: mixtures of factor analysers.
        """
        w, mu = _centres(weights, means)
        count, dim = mu.shape
        loadings = array("factors", factors, (count, dim, None))
        if np.ndim(noise) == 0:
            own = _check_variances([noise], (1,), "noise").expand(count).clone()
        else:
            own = _check_variances(noise, (count,), "noise")
        law = cls._make(w, mu, own if dim > 1 else own + loadings.square().sum((1, 2)), "low rank")
        if dim > 1:
            law.components = LowRank(w, mu, loadings, own)
        return law

    @classmethod
    def _make(cls, w: Tensor, mu: Tensor, spread: Tensor, structure: str) -> GaussianMixture:
        law = cls.__new__(cls)
        law._set(w, mu, spread, structure)
        return law

    def _set(self, w: Tensor, mu: Tensor, spread: Tensor, structure: str) -> None:
        self.dim, self.structure = mu.shape[1], structure
        one_for_all = structure in ("isotropic, shared", "shared")
        self.components = Shared(w, mu, spread) if one_for_all else Separate(w, mu, spread)

    @property
    def rank(self) -> int:
        if isinstance(self.components, LowRank):
            return self.components.rank
        covariance = self.components.covariance()
        return int(torch.linalg.matrix_rank(covariance, hermitian=True))

    def entropy(self, order: float = 1.0) -> Estimate:
        """A mixture of Gaussians is continuous: refused, naming the entropies it has."""
        raise NotAvailableError(
            f"entropy(order={order}) of a Gaussian mixture: the law is continuous; use differential_entropy(), "
            "or latent_entropy() for the entropy of the component"
        )

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """Rényi entropy of the component index, nats: H(weights)."""
        return renyi(self.components.weights, order)

    def differential_entropy(self) -> Estimate:
        """h(X) = −E log p(X), nats, from the information curve.

        h(X) = I(γ) + (d/2) log(2πe/γ) − (γ/2)(d/γ − mmse(γ)) + O(γ⁻²) as γ → ∞, the third term being the Fisher
        information of X over 2γ (de Bruijn).  γ is 1e7 over the smallest variance where the curve is deterministic, and
        1e3 over it, where its points end, where it is sampled.  Raises where a component is singular (h = −∞).
        """
        components = self.components
        smallest = float(components.spread.min() if isinstance(components, Shared) else components.variances.min())
        if smallest <= 0:
            raise NotAvailableError("differential_entropy() of a mixture with a singular component: it is -infinity")
        curve = self.curve
        sampled = len(curve.mmse_rows(np.ones(1))) > 1
        snr = np.array([(1e3 if sampled else 1e7) / smallest])
        fisher = snr * (self.dim - snr * curve.mmse_rows(snr))
        log_term = 0.5 * self.dim * np.log(2.0 * math.pi * math.e / snr)
        rows = (curve.information_rows(snr) + log_term - 0.5 * fisher / snr)[:, 0]
        scale = abs(curve.information_rows(snr)[0, 0]) + abs(log_term[0])
        return Estimate.jackknife(rows, curve.bias * scale, curve.method)

    def describe(self) -> str:
        return f"components={len(self.components.weights)}, dim={self.dim}, {self.structure}"


def _centres(w: Any, mu: Any) -> tuple[Tensor, Tensor]:
    probabilities = weights("weights", w, None)
    return probabilities, array("means", mu, (len(probabilities), None))


def _check_variances(value: Any, shape: tuple[int, ...], name: str = "variances") -> Tensor:
    return variances(name, value, shape)


def _check_covariances(value: Any, shape: tuple[int, ...], name: str = "covariances") -> Tensor:
    if np.ndim(value) != len(shape):
        refuse(f"{name}.ndim", np.ndim(value), f"{len(shape)} dimensions, shape {shape}")
    return covariances(name, value, shape)

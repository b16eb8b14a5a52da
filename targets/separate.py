"""Mixture components with a covariance of their own: scalar, diagonal or full, by one formula.

With P_i = (α²C_i + σ²)⁻¹, y′ = y − α·offset, c_i the centred centres and ⊗ the product that the structure needs,

    log r_i  =  log w_i + ½ log det P_i − ½ y′P_i y′ + α y′·P_i c_i − ½ α² c_i P_i c_i + const
    E[X|y]   =  offset + Σ_i r_i (σ²P_i c_i)  +  (Σ_i r_i αC_i P_i) y′
    Cov[X|y] =  Σ_i r_i σ²C_i P_i  +  Cov_r(u),      u_i = σ²P_i (c_i − y′/α)

    structure   matrix stored as   y ⊗ y′             M·y
    scalar      (m, 1)             Σ_j y_j y′_j       M y
    diagonal    (m, d)             y_j y′_j           M_j y_j
    full        (m, d·d)           y_j y′_k           Σ_k M_jk y_k

so that y′P_i y′ = (y′ ⊗ y′)·vec P_i, and keys [−½P_i, αP_i c_i] meet queries [y′ ⊗ y′, y′] in one attention.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.channel import Level
from targets.components import Components, attend, by_rows, check_rounding


class Separate(Components):
    """m components N(centre_i, C_i) with C_i scalar (m,), diagonal (m, d) or full (m, d, d)."""

    def __init__(self, weights: Tensor, centres: Tensor, covariances: Tensor) -> None:
        keep = weights > 0
        self.weights, covariances = weights[keep], covariances[keep]
        self.mean = self.offset = self.weights @ centres[keep]
        self.centres = centres[keep] - self.offset
        self.log_weights = self.weights.log()
        self.full = covariances.ndim == 3
        if self.full:
            self.variances, self.axes = torch.linalg.eigh(covariances)
            self.variances = self.variances.clamp_min(0.0)
        else:
            self.variances, self.axes = covariances.reshape(len(covariances), -1), None

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        return self.centres.shape[1]

    @property
    def repeats(self) -> int:
        """How many coordinates one stored variance stands for."""
        return self.dim // self.variances.shape[1]

    @property
    def means(self) -> Float[Tensor, "m d"]:
        return self.offset + self.centres

    @property
    def total_variance(self) -> float:
        within = self.repeats * self.variances.sum(-1)
        return float(self.weights @ (within + self.centres.square().sum(-1)))

    def draw(self, index: Tensor, noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        scaled = self.variances[index].sqrt() * noise
        if self.axes is not None:
            order = index.argsort(stable=True)
            counts = torch.bincount(index, minlength=len(self.weights)).tolist()
            turned = [block @ axes.mT for block, axes in zip(scaled[order].split(counts), self.axes, strict=True)]
            scaled = torch.empty_like(scaled).index_copy(0, order, torch.cat(turned))
        return self.offset + self.centres[index] + scaled

    def log_prob(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        precision, bias = self._precision(at), self._bias(at)

        def rows(block: Tensor) -> tuple[Tensor]:
            state = block - at.alpha * self.offset
            return (torch.logsumexp(self._logits(state, precision, bias, at), -1),)

        return by_rows(rows, len(self.weights), y)[0] - 0.5 * self.dim * math.log(2 * math.pi)

    def denoiser(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d"]:
        precision, bias = self._precision(at), self._bias(at)
        state = y - at.alpha * self.offset
        check_rounding(state, lambda: precision.abs().amax() * state.detach().abs().amax())
        gain = self._stored(at.alpha * self.variances / (at.alpha**2 * self.variances + at.sigma**2))
        own = self._apply(precision, self.centres)
        if self.dim == 1:
            (out,) = by_rows(
                lambda b: (
                    self._logits(b, precision, bias, at).softmax(-1) @ torch.cat([gain, at.sigma**2 * own], -1),
                ),
                len(self.weights),
                state,
            )
            return out[:, :1] * state + out[:, 1:] + self.offset
        keys = torch.cat([-0.5 * precision, at.alpha * own], -1)
        values = torch.cat([gain, at.sigma**2 * own], -1)

        def rows(block: Tensor) -> tuple[Tensor]:
            out = attend(torch.cat([self._pair(block, block), block], -1), keys, values, bias, 1.0)
            width = precision.shape[1]
            return (self._apply(out[:, :width], block) + out[:, width:],)

        return by_rows(rows, max(keys.shape[1], 1), state)[0] + self.offset

    def posterior_trace(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        precision, bias = self._precision(at), self._bias(at)
        shrink = at.sigma**2 * precision
        own = self._apply(shrink, self.centres)
        ratio = at.sigma**2 / (at.alpha**2 * self.variances + at.sigma**2)
        spread, shrink_square = self.repeats * (self.variances * ratio).sum(-1), self._stored(ratio.square())
        crossed, own_square = self._apply(shrink, own), own.square().sum(-1)

        def rows(state: Tensor) -> tuple[Tensor]:
            r = self._logits(state, precision, bias, at).softmax(-1)
            back = state / at.alpha
            mean = r @ own - self._apply(r @ shrink, back)
            lengths = own_square - 2 * back @ crossed.mT + self._pair(back, back) @ shrink_square.mT
            return (r @ spread + (r * lengths).sum(-1) - mean.square().sum(-1),)

        return by_rows(rows, max(len(self.weights), precision.shape[1]), y - at.alpha * self.offset)[0]

    def posterior_product(
        self, y: Float[Tensor, "n d"], probe: Float[Tensor, "n d"], at: Level
    ) -> Float[Tensor, "n d"]:
        precision, bias = self._precision(at), self._bias(at)
        shrink = at.sigma**2 * precision
        own = self._apply(shrink, self.centres)
        within = self._stored(at.sigma**2 * self.variances / (at.alpha**2 * self.variances + at.sigma**2))

        def rows(state: Tensor, direction: Tensor) -> tuple[Tensor]:
            r = self._logits(state, precision, bias, at).softmax(-1)
            back = state / at.alpha
            mean = r @ own - self._apply(r @ shrink, back)
            along = r * (direction @ own.mT - self._pair(direction, back) @ shrink.mT)
            between = along @ own - self._apply(along @ shrink, back) - mean * (mean * direction).sum(-1, keepdim=True)
            return (between + self._apply(r @ within, direction),)

        return by_rows(rows, max(len(self.weights), precision.shape[1]), y - at.alpha * self.offset, probe)[0]

    def fourier(self, frequency: Float[Tensor, "f d"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f d"]]:
        covariance = self._stored(self.variances)
        decay = torch.exp(-0.5 * self._pair(frequency, frequency) @ covariance.mT)
        terms = torch.exp(1j * (frequency @ self.centres.mT)) * (decay * self.weights)
        terms = terms * torch.exp(1j * (frequency @ self.offset))[:, None]
        chi = terms.sum(-1)
        mixed = terms @ covariance.to(terms.dtype)
        blur = 1j * self._apply(mixed, frequency.to(terms.dtype))
        return chi, terms @ self.centres.to(terms.dtype) + self.offset * chi[:, None] + blur

    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov X = Σ_i w_i (C_i + c_i c_iᵀ)."""
        within = self.weights @ self._stored(self.variances)
        if self.full:
            matrix = within.reshape(self.dim, self.dim)
        else:
            matrix = torch.diag(within.expand(self.dim))
        return matrix + (self.centres * self.weights[:, None]).mT @ self.centres

    # ---- the three structures ------------------------------------------------------------------------

    def _stored(self, values: Float[Tensor, "m v"]) -> Tensor:
        """Matrices with these eigenvalues, in the structure's storage."""
        if self.axes is None:
            return values
        return ((self.axes * values[:, None, :]) @ self.axes.mT).flatten(1)

    def _pair(self, a: Tensor, b: Tensor) -> Tensor:
        if self.full:
            return (a[:, :, None] * b[:, None, :]).flatten(1)
        return a * b if self.variances.shape[1] == self.dim else (a * b).sum(-1, keepdim=True)

    def _apply(self, matrix: Tensor, v: Tensor) -> Tensor:
        """matrix_k·v_k for each row k."""
        if self.full:
            return (matrix.unflatten(1, (self.dim, self.dim)) @ v[:, :, None])[:, :, 0]
        return matrix * v

    def _precision(self, at: Level) -> Tensor:
        return self._stored(1.0 / (at.alpha**2 * self.variances + at.sigma**2))

    def _bias(self, at: Level) -> Float[Tensor, " m"]:
        total = at.alpha**2 * self.variances + at.sigma**2
        own = (self._apply(self._stored(1.0 / total), self.centres) * self.centres).sum(-1)
        return self.log_weights - 0.5 * self.repeats * total.log().sum(-1) - 0.5 * at.alpha**2 * own

    def _logits(self, state: Tensor, precision: Tensor, bias: Tensor, at: Level) -> Float[Tensor, "n m"]:
        """log w_i − ½ log det(α²C_i + σ²) − ½ (y′ − αc_i) P_i (y′ − αc_i)."""
        check_rounding(state, lambda: precision.abs().amax() * state.detach().abs().amax())
        if self.dim == 1:
            apart = state - at.alpha * self.centres[:, 0]
            return self.log_weights + 0.5 * precision[:, 0].log() - 0.5 * precision[:, 0] * apart.square()
        linear = at.alpha * self._apply(precision, self.centres)
        return bias + state @ linear.mT - 0.5 * self._pair(state, state) @ precision.mT

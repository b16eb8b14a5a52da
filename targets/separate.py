"""Mixture components with a covariance of their own: scalar, diagonal or full, by one formula.

With P_i = (α²C_i + σ²)⁻¹, y′ = y − α·offset, c_i the centred centres and ⊗ the product that the structure needs,

    log r_i  =  log w_i + ½ log det P_i − ½ y′P_i y′ + α y′·P_i c_i − ½ α² c_i P_i c_i + const
    E[X|y]   =  offset + Σ_i r_i (σ²P_i c_i)  +  (Σ_i r_i αC_i P_i) y′
    Cov[X|y] =  Σ_i r_i σ²C_i P_i  +  Cov_r(u),      u_i = σ²P_i (c_i − y′/α)

    structure   matrix stored as   y ⊗ y′                         M·y
    scalar      (m, 1)             Σ_j y_j y′_j                   M y
    diagonal    (m, d)             y_j y′_j                       M_j y_j
    full        (m, d(d+1)/2)      ½(y_j y′_k + y_k y′_j)         Σ_k M_jk y_k

so that y′P_i y′ = (y′ ⊗ y′)·vec P_i, entries off the diagonal counted twice, and keys [−½P_i, αP_i c_i] meet queries
[y′ ⊗ y′, y′] in one attention.  Full covariances that commute are diagonal in one basis, and are treated there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.channel import Level
from targets.components import CACHE_BYTES, DEVIATIONS, Components, attend, by_rows


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

    @cached_property
    def turned(self) -> tuple[Tensor, Separate] | None:
        """(Q, the components of Qᵀ·X) where one orthonormal Q makes all covariances diagonal to rounding, else None.

        Q holds the eigenvectors of a combination of the C_i, after one Newton step Q(1 + E) on all of them together,
        E_jk = −Σ_i D_i,jk (D_i,jj − D_i,kk) / Σ_i (D_i,jj − D_i,kk)² for D_i = QᵀC_iQ.  What is left off the diagonals has to
        be of the size that eigenvectors of each C_i leave.
        """
        if not self.full or self.dim == 1:
            return None
        matrices, eps = self._unpacked(self._stored(self.variances)), torch.finfo(self.weights.dtype).eps
        scale = self.variances.amax(-1).clamp_min(torch.finfo(self.weights.dtype).tiny)
        signs = torch.arange(1, len(scale) + 1, dtype=scale.dtype, device=scale.device).square().cos()
        basis = torch.linalg.eigh(torch.einsum("m,mjk->jk", signs / scale, matrices)).eigenvectors
        inside = basis.mT @ (matrices / scale[:, None, None]) @ basis
        variances = inside.diagonal(dim1=1, dim2=2)
        gaps = variances[:, :, None] - variances[:, None, :]
        step = -(inside * gaps).sum(0) / gaps.square().sum(0).clamp_min(eps)
        basis = torch.linalg.qr(basis + basis @ step).Q
        inside = basis.mT @ matrices @ basis
        variances = inside.diagonal(dim1=1, dim2=2).clamp_min(0.0)
        left = (inside - torch.diag_embed(variances)).abs().amax((1, 2))
        if bool((left > 8 * self.dim * eps * scale).any()):
            return None
        return basis, Separate(self.weights, self.means @ basis, variances)

    def log_prob(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        if self.turned is not None:
            basis, inner = self.turned
            return inner.log_prob(y @ basis, at)
        _, _, _, logits = self._exponent(at)

        def rows(block: Tensor) -> tuple[Tensor]:
            return (torch.logsumexp(logits(self._centred(block, at)), -1),)

        return by_rows(rows, len(self.weights), y)[0] - 0.5 * self.dim * math.log(2 * math.pi)

    def denoiser(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d"]:
        if self.turned is not None:
            basis, inner = self.turned
            return inner.denoiser(y @ basis, at) @ basis.mT
        precision, own, bias, logits = self._exponent(at)
        gain = self._stored(at.alpha * self.variances / (at.alpha**2 * self.variances + at.sigma**2))
        pull, state = at.sigma**2 * own, self._centred(y, at)
        values = torch.cat([gain, pull], -1)
        if self.dim == 1:

            def rows(block: Tensor) -> tuple[Tensor]:
                out = logits(block).softmax(-1) @ values
                return (out[:, :1] * block + out[:, 1:],)

            return by_rows(rows, len(pull), state)[0] + self.offset
        keys = torch.cat([-0.5 * self._counted(precision), at.alpha * own], -1)

        def attended(block: Tensor) -> tuple[Tensor]:
            out = attend(torch.cat([self._pair(block, block), block], -1), keys, values, bias, 1.0)
            return (self._apply(out[:, : -self.dim], block) + out[:, -self.dim :],)

        if self.full:  # the matrices applied are the largest arrays
            return by_rows(attended, max(len(pull), self.dim**2), state, within=CACHE_BYTES // 2)[0] + self.offset
        return by_rows(attended, keys.shape[1], state)[0] + self.offset

    def posterior_trace(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        if self.turned is not None:
            basis, inner = self.turned
            return inner.posterior_trace(y @ basis, at)
        precision, own, _, logits = self._exponent(at)
        shrink, own = at.sigma**2 * precision, at.sigma**2 * own
        ratio = at.sigma**2 / (at.alpha**2 * self.variances + at.sigma**2)
        spread, shrink_square = self.repeats * (self.variances * ratio).sum(-1), self._stored(ratio.square())
        crossed, own_square = self._apply(shrink, own), own.square().sum(-1)

        def rows(state: Tensor) -> tuple[Tensor]:
            r = logits(state).softmax(-1)
            back = state / at.alpha
            mean = r @ own - self._blended(r, shrink, back)
            lengths = own_square - 2 * back @ crossed.mT + self._pair(back, back) @ self._counted(shrink_square).mT
            return (r @ spread + (r * lengths).sum(-1) - mean.square().sum(-1),)

        return by_rows(rows, max(len(self.weights), precision.shape[1]), self._centred(y, at))[0]

    def posterior_product(
        self, y: Float[Tensor, "n d"], probe: Float[Tensor, "n d"], at: Level
    ) -> Float[Tensor, "n d"]:
        if self.turned is not None:
            basis, inner = self.turned
            return inner.posterior_product(y @ basis, probe @ basis, at) @ basis.mT
        precision, own, _, logits = self._exponent(at)
        shrink, own = at.sigma**2 * precision, at.sigma**2 * own
        within = self._stored(at.sigma**2 * self.variances / (at.alpha**2 * self.variances + at.sigma**2))

        def rows(state: Tensor, direction: Tensor) -> tuple[Tensor]:
            r = logits(state).softmax(-1)
            back = state / at.alpha
            mean = r @ own - self._blended(r, shrink, back)
            along = r * (direction @ own.mT - self._pair(direction, back) @ self._counted(shrink).mT)
            between = along @ own - self._blended(along, shrink, back) - mean * (mean * direction).sum(-1, keepdim=True)
            return (between + self._blended(r, within, direction),)

        return by_rows(rows, max(len(self.weights), precision.shape[1]), self._centred(y, at), probe)[0]

    def fourier(self, frequency: Float[Tensor, "f d"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f d"]]:
        covariance = self._stored(self.variances)
        decay = torch.exp(-0.5 * self._pair(frequency, frequency) @ self._counted(covariance).mT)
        terms = torch.exp(1j * (frequency @ self.centres.mT)) * (decay * self.weights)
        terms = terms * torch.exp(1j * (frequency @ self.offset))[:, None]
        chi = terms.sum(-1)
        blur = 1j * self._blended(terms, covariance.to(terms.dtype), frequency.to(terms.dtype))
        return chi, terms @ self.centres.to(terms.dtype) + self.offset * chi[:, None] + blur

    @cached_property
    def _extent(self) -> tuple[float, float, float, float]:
        """max |c_i|, max |c_ij|, least and largest variance."""
        farthest, widest = self.centres.square().sum(-1).amax().sqrt(), self.centres.abs().amax()
        return float(farthest), float(widest), float(self.variances.amin()), float(self.variances.amax())

    def magnitude(self, at: Level) -> float:
        """max |y′|·max |y′_j|/S_min, with |y′| <= α|c| + √S_max(√d + `DEVIATIONS`) and √(2 log d) for √d in y′_j."""
        farthest, widest, least, largest = self._extent
        deviation = math.sqrt(at.alpha**2 * largest + at.sigma**2)
        length = at.alpha * farthest + deviation * (math.sqrt(self.dim) + DEVIATIONS)
        entry = at.alpha * widest + deviation * (math.sqrt(2 * math.log(self.dim)) + DEVIATIONS)
        return length * entry / (at.alpha**2 * least + at.sigma**2)

    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov X = Σ_i w_i (C_i + c_i c_iᵀ)."""
        within = self.weights @ self._stored(self.variances)
        if self.full:
            matrix = self._unpacked(within[None])[0]
        else:
            matrix = torch.diag(within.expand(self.dim))
        return matrix + (self.centres * self.weights[:, None]).mT @ self.centres

    # ---- the three structures ------------------------------------------------------------------------

    def _stored(self, values: Float[Tensor, "m v"]) -> Tensor:
        """Matrices with these eigenvalues, in the structure's storage."""
        if self.axes is None:
            return values
        rows, columns, _ = self._packing
        return ((self.axes * values[:, None, :]) @ self.axes.mT)[:, rows, columns]

    @cached_property
    def _packing(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and columns of the packed entries of a symmetric matrix, and where each entry of the matrix is packed."""
        rows, columns = torch.triu_indices(self.dim, self.dim, device=self.weights.device)
        place = torch.empty(self.dim, self.dim, dtype=rows.dtype, device=rows.device)
        place[rows, columns] = place[columns, rows] = torch.arange(len(rows), device=rows.device)
        return rows, columns, place

    def _unpacked(self, matrix: Tensor) -> Tensor:
        return matrix[:, self._packing[2]]

    def _pair(self, a: Tensor, b: Tensor) -> Tensor:
        """a ⊗ b; full: a column a pair, where rows are gathered as they lie in memory."""
        if not self.full:
            return a * b if self.variances.shape[1] == self.dim else (a * b).sum(-1, keepdim=True)
        rows, columns, _ = self._packing
        first, second = a.mT.contiguous(), b.mT.contiguous()
        if a is b:
            return (first[rows] * first[columns]).mT
        return (0.5 * (first[rows] * second[columns] + first[columns] * second[rows])).mT

    def _counted(self, matrix: Tensor) -> Tensor:
        """What a ⊗ b is multiplied with: packed entries off the diagonal count twice."""
        return matrix * torch.where(self._packing[0] == self._packing[1], 1.0, 2.0).to(matrix) if self.full else matrix

    def _apply(self, matrix: Tensor, v: Tensor) -> Tensor:
        """matrix_k·v_k for each row k."""
        return (matrix.mT.contiguous()[self._packing[2]] * v.mT).sum(1).mT if self.full else matrix * v

    def _blended(self, r: Tensor, matrix: Tensor, v: Tensor) -> Tensor:
        """(Σ_i r_ki matrix_i)·v_k for each row k."""
        return self._apply((matrix.mT @ r.mT).mT if self.full else r @ matrix, v)

    # ---- the exponent --------------------------------------------------------------------------------

    def _centred(self, y: Tensor, at: Level) -> Tensor:
        return torch.sub(y, self.offset, alpha=at.alpha)

    def _exponent(self, at: Level) -> tuple[Tensor, Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """(P_i, P_i c_i, b_i = log w_i − ½ log det(α²C_i + σ²) − ½α² c_i P_i c_i, the logits of states).

        The logits are b_i + α y′·P_i c_i − ½ y′P_i y′, on the line by differences.
        """
        self.check_rounding(at)
        total = at.alpha**2 * self.variances + at.sigma**2
        precision = self._stored(total.reciprocal())
        own = self._apply(precision, self.centres)
        constant = torch.sub(self.log_weights, total.log().sum(-1), alpha=0.5 * self.repeats)
        bias = torch.sub(constant, (own * self.centres).sum(-1), alpha=0.5 * at.alpha**2)
        half = -0.5 * self._counted(precision)

        def logits(state: Tensor) -> Tensor:
            if self.dim == 1:
                apart = torch.sub(state, self.centres.mT, alpha=at.alpha)
                return torch.addcmul(constant, apart.square(), half.mT)
            linear = torch.addmm(bias, state, own.mT, alpha=at.alpha)
            return torch.addmm(linear, self._pair(state, state), half.mT)

        return precision, own, bias, logits

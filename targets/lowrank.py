"""Mixture components with a covariance of low rank plus isotropic noise: C_i = F_i F_iᵀ + n_i·1.

With the thin singular value decomposition F_i = U_i diag(s_i) V_iᵀ, c_i the centred centres, y′ = y − α·offset,

    τ_i  = α²n_i + σ²                  channel variance across U_i;  τ_i + α²s_ij² along u_ij
    e_i  = y′ − αc_i,                  w_ij = u_ij·e_i = u_ij·y′ − α u_ij·c_i
    g_ij = α²s_ij²/(τ_i + α²s_ij²),    b_ij = σ²s_ij²/(τ_i (τ_i + α²s_ij²))

the inverse and the determinant of α²C_i + σ² are explicit (Woodbury), and the component's posterior with them:

    log r_i  =  log w_i − ½(|e_i|² − Σ_j g_ij w_ij²)/τ_i − ½(d − r) log τ_i − ½ Σ_j log(τ_i + α²s_ij²) + const
    u_i      =  (σ²/τ_i) c_i + (αn_i/τ_i) y′ + α Σ_j b_ij w_ij u_ij                E[X − offset | y, i]
    E[X|y]   =  offset + Σ_i r_i u_i
    Cov[X|y] =  Σ_i r_i {(σ²n_i/τ_i)·1 + σ² Σ_j b_ij u_ij u_ijᵀ}  +  Cov_r(u)

The state meets the components in the products y′·c_i, y′·u_ij and back: O(m(1 + r)d) a row, and no d × d matrix
anywhere but in `covariance`.  A common multiple of y′ drops out of Cov_r(u): there u_i is taken less (αn̄/τ̄) y′, n̄ the
mean noise, with (αn_i/τ_i − αn̄/τ̄) written as ασ²(n_i − n̄)/(τ_i τ̄), so that nothing cancels as γ → ∞.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.channel import Level
from targets.components import DEVIATIONS, Components, by_rows


class LowRank(Components):
    """m components N(centre_i, F_i F_iᵀ + n_i·1): centres (m, d), factors F (m, d, r), noise n (m,), r any."""

    def __init__(self, weights: Tensor, centres: Tensor, factors: Tensor, noise: Tensor) -> None:
        keep = weights > 0
        self.weights, self.noise = weights[keep], noise[keep]
        self.mean = self.offset = self.weights @ centres[keep]
        self.centres = centres[keep] - self.offset
        self.log_weights = self.weights.log()
        left, scales, _ = torch.linalg.svd(factors[keep], full_matrices=False)
        negligible = max(factors.shape[1:]) * torch.finfo(scales.dtype).eps * scales.amax(-1, keepdim=True)
        self.squares = torch.where(scales > negligible, scales, 0.0).square()
        self.axes = left.mT.flatten(0, 1).contiguous()
        """The u_ij as rows, (m·r, d)."""
        self.along = (left.mT @ self.centres[:, :, None])[:, :, 0]
        self.lengths = self.centres.square().sum(-1)
        """u_ij·c_i, (m, r), and |c_i|², (m,)."""

    @property
    def dim(self) -> int:
        """Dimension of the state."""
        return self.centres.shape[1]

    @property
    def means(self) -> Float[Tensor, "m d"]:
        return self.offset + self.centres

    @property
    def variances(self) -> Float[Tensor, "m d"]:
        """Eigenvalues of each component's covariance: n_i + s_ij², and n_i in the other directions."""
        noise = self.noise[:, None]
        return torch.cat([noise + self.squares, noise.expand(-1, self.dim - self.squares.shape[1])], 1)

    @property
    def total_variance(self) -> float:
        within = self.dim * self.noise + self.squares.sum(-1)
        return float(self.weights @ (within + self.lengths))

    @property
    def principal(self) -> Float[Tensor, " d"]:
        """Eigenvalues of Cov X, ascending, from the singular values of its square root: no d × d matrix."""
        values = torch.linalg.svdvals(self._root()).square()
        spread = torch.cat([values, values.new_zeros(self.dim - len(values))])
        return (spread + self.weights @ self.noise).flip(0)

    @property
    def rank(self) -> int:
        """Number of directions in which X varies (to the rounding of its largest variance)."""
        principal = self.principal
        return int((principal > self.dim * torch.finfo(principal.dtype).eps * principal[-1]).sum())

    def covariance(self) -> Float[Tensor, "d d"]:
        """Cov X = Σ_i w_i (n_i + F_i F_iᵀ + c_i c_iᵀ)."""
        root = self._root()
        return torch.diag((self.weights @ self.noise).expand(self.dim)) + root.mT @ root

    def core(self) -> LowRank:
        """The law in the span of all centred centres and factors, where that is a proper subspace and n is common.

        Across it X is then N(0, n·1) independently.  Otherwise the object itself.
        """
        if bool((self.noise != self.noise[0]).any()):
            return self
        _, values, basis = torch.linalg.svd(self._root(), full_matrices=False)
        count = max(1, int((values > 1e-12 * values[0]).sum()))
        if count == self.dim:
            return self
        inside = basis[:count].mT
        factors = (self.axes @ inside).unflatten(0, self.squares.shape) * self.squares.sqrt()[:, :, None]
        return LowRank(self.weights, self.centres @ inside, factors.mT, self.noise)

    def draw(self, index: Tensor, noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """C_i^{1/2} z = √n_i z + Σ_j (√(n_i + s_ij²) − √n_i)(u_ij·z) u_ij."""
        wide = self.noise.sqrt()
        extra = (self.noise[:, None] + self.squares).sqrt() - wide[:, None]

        def rows(chosen: Tensor, z: Tensor) -> tuple[Tensor]:
            own = z.new_zeros(len(z), len(self.weights)).scatter(1, chosen[:, None], 1.0)
            turned = (own[:, :, None] * extra * self._project(z)).flatten(1) @ self.axes
            return (turned + wide[chosen, None] * z + self.centres[chosen],)

        return self.offset + self._by_rows(rows, index, noise)

    def log_prob(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        def rows(block: Tensor) -> tuple[Tensor]:
            return (torch.logsumexp(self._logits(block - at.alpha * self.offset, at)[0], -1),)

        return self._by_rows(rows, y) - 0.5 * self.dim * math.log(2 * math.pi)

    def denoiser(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d"]:
        gain = at.alpha * self.noise / self._total(at)

        def rows(block: Tensor) -> tuple[Tensor]:
            state = block - at.alpha * self.offset
            logits, apart, _ = self._logits(state, at)
            r = logits.softmax(-1)
            mean = self._blend(r, at.alpha * r[:, :, None] * self._bend(at) * apart, gain, state, at)
            return (mean + self.offset,)

        return self._by_rows(rows, y)

    def posterior_trace(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        """Σ_i r_i (tr own_i + |u_i|²) − |Σ_i r_i u_i|², with |u_i|² expanded in c_i, y′ and the w_ij."""
        total, bend, gain = self._total(at), self._bend(at), self._excess_gain(at)
        pull, shrink = at.alpha * bend, at.sigma**2 / total
        own = at.sigma**2 * (self.dim * self.noise / total + bend.sum(-1))

        def rows(block: Tensor) -> tuple[Tensor]:
            state = block - at.alpha * self.offset
            logits, apart, cross = self._logits(state, at)
            r = logits.softmax(-1)
            axial = pull * apart
            mean = self._blend(r, r[:, :, None] * axial, gain, state, at)
            outside = gain * (gain * _square(state)[:, None] + 2 * shrink * cross) + shrink**2 * self.lengths
            others = gain[:, None] * (apart + at.alpha * self.along) + shrink[:, None] * self.along
            inside = (axial * (axial + 2 * others)).sum(-1)
            between = (r * (outside + inside)).sum(-1) - _square(mean)
            return (r @ own + between.clamp_min(0.0),)

        return self._by_rows(rows, y)

    def posterior_product(
        self, y: Float[Tensor, "n d"], probe: Float[Tensor, "n d"], at: Level
    ) -> Float[Tensor, "n d"]:
        """Cov_r(u)v = Σ_i a_i u_i with a_i = r_i (ζ_i − Σ_k r_k ζ_k), ζ_i = u_i·v taken from the top component's."""
        total, bend, gain = self._total(at), self._bend(at), self._excess_gain(at)
        pull = at.alpha * bend

        def rows(block: Tensor, v: Tensor) -> tuple[Tensor]:
            state = block - at.alpha * self.offset
            logits, apart, _ = self._logits(state, at)
            r, top = logits.softmax(-1), logits.argmax(-1)
            axial, turned = pull * apart, self._project(v)
            to = at.sigma**2 / total * (v @ self.centres.mT) + (axial * turned).sum(-1)
            to = to + gain * (state * v).sum(-1, keepdim=True)
            to = to - to.gather(-1, top[:, None])
            a = r * (to - (r * to).sum(-1, keepdim=True))
            inside = a[:, :, None] * axial + at.sigma**2 * r[:, :, None] * bend * turned
            within = at.sigma**2 * (r @ (self.noise / total))
            return (self._blend(a, inside, gain, state, at) + within[:, None] * v,)

        return self._by_rows(rows, y, probe)

    @cached_property
    def _extent(self) -> tuple[float, float, float]:
        """max |c_i|, the least noise and the largest variance."""
        squares = self.squares.amax() if self.squares.numel() else 0.0
        return float(self.lengths.amax().sqrt()), float(self.noise.amin()), float(self.noise.amax() + squares)

    def magnitude(self, at: Level) -> float:
        """max |y′|·(max |y′_j| + max |w_ij| + α max |c_i|)/τ_min.

        |y′| <= α|c| + √S(√d + `DEVIATIONS`), S the largest variance of the channel; √(2 log k) for √d in the largest of k
        numbers y′_j and w_ij, the mean of the latter being at most 2α|c|.
        """
        farthest, least, largest = self._extent
        deviation, reach = math.sqrt(at.alpha**2 * largest + at.sigma**2), at.alpha * farthest
        length = reach + deviation * (math.sqrt(self.dim) + DEVIATIONS)
        entries = (math.sqrt(2 * math.log(max(1, k))) + DEVIATIONS for k in (self.dim, self.squares.numel()))
        return length * (4 * reach + deviation * sum(entries)) / (at.alpha**2 * least + at.sigma**2)

    def fourier(self, frequency: Float[Tensor, "f d"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f d"]]:
        turned = self._project(frequency)
        spread = _square(frequency)[:, None] * self.noise + (self.squares * turned.square()).sum(-1)
        terms = torch.exp(1j * (frequency @ self.centres.mT)) * (torch.exp(-0.5 * spread) * self.weights)
        terms = terms * torch.exp(1j * (frequency @ self.offset))[:, None]
        chi, kind = terms.sum(-1), terms.dtype
        blur = (terms[:, :, None] * self.squares * turned).flatten(1) @ self.axes.to(kind)
        blur = blur + (terms @ self.noise.to(kind))[:, None] * frequency
        return chi, terms @ self.centres.to(kind) + self.offset * chi[:, None] + 1j * blur

    # ---- the products --------------------------------------------------------------------------------

    def _root(self) -> Float[Tensor, "k d"]:
        """Rows √w_i s_ij u_ij and √w_i c_i: Cov X = Σ_i w_i n_i + rootᵀ·root."""
        scale = self.weights.sqrt()[:, None]
        return torch.cat([(scale * self.squares.sqrt()).flatten()[:, None] * self.axes, scale * self.centres])

    def _by_rows(self, function, *arrays: Tensor) -> Tensor:  # noqa: ANN001
        return by_rows(function, self.squares.numel(), *arrays)[0]

    def _project(self, v: Float[Tensor, "n d"]) -> Float[Tensor, "n m r"]:
        """u_ij·v."""
        return (v @ self.axes.mT).unflatten(1, self.squares.shape)

    def _blend(self, a: Tensor, inside: Tensor, gain: Tensor, state: Tensor, at: Level) -> Float[Tensor, "n d"]:
        """Σ_i a_i {(σ²/τ_i) c_i + gain_i y′} + Σ_ij inside_ij u_ij; inside = a_i αb_ij w_ij makes it Σ_i a_i u_i.

        a: (n, m).  inside: (n, m, r).  gain: (m,).  state: (n, d).
        """
        out = torch.addmm((a * (at.sigma**2 / self._total(at))) @ self.centres, inside.flatten(1), self.axes)
        return out + (a @ gain)[:, None] * state

    def _total(self, at: Level) -> Float[Tensor, " m"]:
        """τ_i."""
        return at.alpha**2 * self.noise + at.sigma**2

    def _excess_gain(self, at: Level) -> Float[Tensor, " m"]:
        """αn_i/τ_i − αn̄/τ̄, exactly zero where the noise is common."""
        mean = self._mean_noise
        average = at.alpha**2 * mean + at.sigma**2
        return at.alpha * at.sigma**2 * (self.noise - mean) / (self._total(at) * average)

    @cached_property
    def _mean_noise(self) -> Tensor:
        """n̄, equal to every n_i to the last bit where they are equal."""
        return self.noise[0] if bool((self.noise == self.noise[0]).all()) else self.weights @ self.noise

    def _bend(self, at: Level) -> Float[Tensor, "m r"]:
        """b_ij."""
        total = self._total(at)[:, None]
        return at.sigma**2 * self.squares / (total * (total + at.alpha**2 * self.squares))

    def _logits(self, state: Tensor, at: Level) -> tuple[Tensor, Tensor, Tensor]:
        """(log w_i + log N(y′; αc_i, α²C_i + σ²) + (d/2) log 2π, w_ij, y′·c_i): (n, m), (n, m, r), (n, m)."""
        total = self._total(at)
        along_total = total[:, None] + at.alpha**2 * self.squares
        cross = state @ self.centres.mT
        apart = self._project(state) - at.alpha * self.along
        self.check_rounding(at)
        across = self.dim - self.squares.shape[1]
        bias = self.log_weights - 0.5 * (across * total.log() + along_total.log().sum(-1))
        bias = bias - 0.5 * at.alpha**2 * self.lengths / total
        explained = (at.alpha**2 * self.squares / along_total * apart.square()).sum(-1)
        return bias + (at.alpha * cross + 0.5 * (explained - _square(state)[:, None])) / total, apart, cross


def _square(v: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    return (v * v).sum(-1)

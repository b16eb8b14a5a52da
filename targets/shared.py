"""Mixture components that share one covariance; atoms are the covariance zero.

With S = α²λ + σ² along each axis (λ the shared variances), c_i the centred centres and y′ = y − α·offset:

    log r_i  =  log w_i + α y′·S⁻¹c_i − ½α² c_i·S⁻¹c_i + const
    E[X|y]   =  offset + (αλ/S) y′ + (σ²/S) Σ_i r_i c_i
    Cov[X|y] =  diag(λσ²/S) + (σ²/S) Cov_r(c) (σ²/S)

The quadratic term of the exponent is the same for all components and drops out of the softmax.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.channel import Level
from targets.components import Components, attend, by_rows, check_rounding, leave_top_out


class Shared(Components):
    """m centres and one covariance, diagonal in the orthonormal `rotation` (None: the coordinate axes).

    The offset is the mean, but zero along a single varying coordinate: there centring would round away the small gaps
    of a law with many scales, and differences are affordable.  Coordinates in which the centres do not vary, and
    directions outside their span where that saves work (isotropic covariance only), never enter the products.
    """

    def __init__(self, weights: Tensor, centres: Tensor, spread: Tensor, rotation: Tensor | None = None) -> None:
        keep = weights > 0
        weights, centres = weights[keep], centres[keep]
        self.weights, self.spread, self.rotation = weights, spread, rotation
        self.mean = self.offset = weights @ centres
        self.isotropic = bool((spread == spread[0]).all())
        from_first = centres - centres[0]
        if rotation is not None:
            from_first = from_first @ rotation
            from_first[from_first.abs() < 1e-13 * from_first.abs().max()] = 0.0
        varying = from_first.abs().amax(0) > 0
        reduced = from_first[:, varying]
        self.index = None if bool(varying.all()) else varying.nonzero()[:, 0]
        self.basis = _span(reduced) if self.isotropic else None
        if self.basis is not None:
            reduced = reduced @ self.basis
        if rotation is None and int(varying.sum()) == 1:
            self.offset = torch.where(varying, torch.zeros_like(self.mean), self.mean)
            self.centres = centres[:, varying]
        else:
            self.centres = reduced - weights @ reduced
        self.log_weights = weights.log()
        untouched = rotation is None and self.basis is None and self.index is None and self.rank > 1
        near = bool(self.offset.square().sum() <= 100.0 * self.total_variance)
        self.direct = untouched and near and self.isotropic
        """Nothing to turn, reduce or centre: the state itself is the query."""

    @property
    def rank(self) -> int:
        """Dimension of the span of the centred centres, as far as it was reduced."""
        return self.centres.shape[1]

    @property
    def means(self) -> Float[Tensor, "m d"]:
        return self.offset + self._turn_back(self._lift(self.centres))

    @property
    def total_variance(self) -> float:
        centred = self.centres - self.weights @ self.centres
        return float(self.spread.sum() + self.weights @ centred.square().sum(-1))

    def covariance(self) -> Float[Tensor, "d d"]:
        lifted = self._turn_back(self._lift(self.centres - self.weights @ self.centres))
        axes = self._turn_back(torch.diag(self.spread.sqrt()))
        return axes.mT @ axes + (lifted * self.weights[:, None]).mT @ lifted

    def draw(self, index: Tensor, noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.offset + self._turn_back(self._lift(self.centres[index]) + self.spread.sqrt() * noise)

    def log_prob(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        total = at.alpha**2 * self.spread + at.sigma**2
        inside = self._inside(total)

        def rows(block: Tensor) -> tuple[Tensor]:
            state = self._centred(block, at)
            z = self._reduce(state)
            outside = (state.square() / total).sum(-1) - (z.square() / inside).sum(-1)
            normaliser = 0.5 * (torch.log(2 * math.pi * total)).sum()
            logits = self._logits(z, at, inside)
            top = logits.argmax(-1)
            near = (z - at.alpha * self.centres[top]).square() / inside  # by differences: exact where it decides
            others = torch.logsumexp(logits - logits.gather(-1, top[:, None]), -1)
            return (self.log_weights[top] - 0.5 * near.sum(-1) + others - 0.5 * outside - normaliser,)

        return by_rows(rows, len(self.weights), y)[0]

    def denoiser(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d"]:
        total = at.alpha**2 * self.spread + at.sigma**2
        inside = self._inside(total)
        shrink, gain = at.sigma**2 / inside, at.alpha * self.spread / total
        if self.direct:
            return self._attend_directly(y, at, inside, float(shrink[0]), float(gain[0]))
        state = self._centred(y, at)
        plain = self.rotation is None and self.basis is None and self.index is None
        values = self.centres * shrink + self.offset if plain else self.centres * shrink
        if len(self.weights) == 1 or self.rank == 0:
            between = values[0].expand(len(y), -1)
        elif self.rank == 1:
            z = self._reduce(state)
            (between,) = by_rows(lambda b: (self._logits(b, at, inside).softmax(-1) @ values,), len(self.weights), z)
        else:
            z = self._reduce(state)
            check_rounding(z, lambda: self._gain(z, at, inside))
            bias = self._bias(at, inside)
            if self.isotropic:
                between = attend(z, self.centres, values, bias, at.alpha / float(inside[0]))
            else:
                between = attend(z * (at.alpha / inside), self.centres, values, bias, 1.0)
        if plain:
            return torch.addcmul(between, state, gain)
        return self.offset + self._turn_back(torch.addcmul(self._lift(between), state, gain))

    def _attend_directly(self, y: Tensor, at: Level, inside: Tensor, shrink: float, gain: float) -> Tensor:
        """The denoiser without a pass over the batch beside the attention: the offset goes into bias and values."""
        check_rounding(y, lambda: self._gain(y, at, inside))
        pull = at.alpha / float(inside[0])
        bias = self._bias(at, inside) - pull * at.alpha * (self.centres @ self.offset)
        values = self.centres * shrink + self.offset * (1.0 - gain * at.alpha)
        between = attend(y, self.centres, values, bias, pull)
        if gain == 0:
            return between
        return torch.add(between, y, alpha=gain) if between.requires_grad else between.add_(y, alpha=gain)

    def posterior_trace(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        within, inside, centres = self._posterior_parts(at)
        if len(self.weights) == 1 or self.rank == 0:
            return within.sum().expand(len(y))
        square = centres.square().sum(-1)

        def rows(z: Tensor) -> tuple[Tensor]:
            rest, top = leave_top_out(self._logits(z, at, inside).softmax(-1))
            best = centres[top]
            if self.rank == 1:
                apart = centres[:, 0] - best
                return ((rest * apart.square()).sum(-1) - (rest * apart).sum(-1).square(),)
            mass, moment = rest.sum(-1), rest @ centres
            shift = moment - mass[:, None] * best
            return (rest @ square + mass * square[top] - 2 * (moment * best).sum(-1) - shift.square().sum(-1),)

        return within.sum() + by_rows(rows, len(self.weights), self._reduce(self._centred(y, at)))[0]

    def posterior_product(
        self, y: Float[Tensor, "n d"], probe: Float[Tensor, "n d"], at: Level
    ) -> Float[Tensor, "n d"]:
        within, inside, centres = self._posterior_parts(at)
        direction = self._turn(probe)
        if len(self.weights) == 1 or self.rank == 0:
            return self._turn_back(within * direction)

        def rows(z: Tensor, p: Tensor) -> tuple[Tensor]:
            rest, top = leave_top_out(self._logits(z, at, inside).softmax(-1))
            best = centres[top]
            if self.rank == 1:
                apart = centres[:, 0] - best
                variance = (rest * apart.square()).sum(-1) - (rest * apart).sum(-1).square()
                return (variance[:, None] * p,)
            shift = rest @ centres - rest.sum(-1, keepdim=True) * best
            along = rest * (p @ centres.mT - (p * best).sum(-1, keepdim=True))
            product = along @ centres - along.sum(-1, keepdim=True) * best
            return (product - shift * (shift * p).sum(-1, keepdim=True),)

        (product,) = by_rows(rows, len(self.weights), self._reduce(self._centred(y, at)), self._reduce(direction))
        return self._turn_back(torch.addcmul(self._lift(product), direction, within))

    def posterior_covariance(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d d"]:
        """Cov[X|y] in full: responsibilities times c_i c_iᵀ, a block of components at a time."""
        within, inside, centres = self._posterior_parts(at)
        matrix = torch.diag(within).expand(len(y), -1, -1)
        if len(self.weights) > 1 and self.rank:
            logits = self._logits(self._reduce(self._centred(y, at)), at, inside)
            rest, top = leave_top_out(logits.softmax(-1))
            best, count = centres[top], self.rank
            square = rest.new_zeros(len(y), count * count)
            for part, own in zip(rest.split(512, -1), centres.split(512), strict=True):
                square.addmm_(part, (own[:, :, None] * own[:, None, :]).flatten(1))
            moment, mass = rest @ centres, rest.sum(-1)[:, None]
            shift, crossed = moment - mass * best, moment - 0.5 * mass * best
            core = square.unflatten(1, (count, count)) - shift[:, :, None] * shift[:, None, :]
            core = core - crossed[:, :, None] * best[:, None, :] - best[:, :, None] * crossed[:, None, :]
            lifted = self._lift(core.flatten(0, 1)).unflatten(0, (len(y), count)).mT
            matrix = matrix + self._lift(lifted.flatten(0, 1)).unflatten(0, (len(y), -1))
        return matrix if self.rotation is None else self.rotation @ matrix @ self.rotation.mT

    def _posterior_parts(self, at: Level) -> tuple[Tensor, Tensor, Tensor]:
        """(posterior variances within a component, channel variances on the reduced axes, centres scaled by σ²/S)."""
        total = at.alpha**2 * self.spread + at.sigma**2
        inside = self._inside(total)
        return self.spread * at.sigma**2 / total, inside, self.centres * (at.sigma**2 / inside)

    def fourier(self, frequency: Float[Tensor, "f d"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f d"]]:
        turned = self._turn(frequency)
        phase = torch.exp(1j * (self._reduce(turned) @ self.centres.mT)) * self.weights
        common = torch.exp(1j * (frequency @ self.offset) - 0.5 * turned.square() @ self.spread)
        chi = phase.sum(-1) * common
        mean = self._turn_back(self._lift((phase @ self.centres.to(phase.dtype)) * common[:, None]))
        blur = self._turn_back(turned * self.spread) * (1j * chi[:, None])
        return chi, mean + blur + self.offset * chi[:, None]

    # ---- coordinates ---------------------------------------------------------------------------------

    def _inside(self, total: Tensor) -> Tensor:
        """The channel variance along the reduced coordinates."""
        if self.basis is not None:
            return total[: self.rank]
        return total if self.index is None else total[self.index]

    def _turn(self, v: Tensor) -> Tensor:
        return v if self.rotation is None else v @ self.rotation

    def _turn_back(self, v: Tensor) -> Tensor:
        return v if self.rotation is None else v @ self.rotation.mT.to(v.dtype)

    def _centred(self, y: Tensor, at: Level) -> Tensor:
        return self._turn(y - at.alpha * self.offset)

    def _reduce(self, state: Tensor) -> Tensor:
        state = state if self.index is None else state[:, self.index]
        return state if self.basis is None else state @ self.basis

    def _lift(self, z: Tensor) -> Tensor:
        z = z if self.basis is None else z @ self.basis.mT.to(z.dtype)
        if self.index is None:
            return z
        return z.new_zeros(len(z), len(self.spread)).index_copy(-1, self.index, z)

    def _logits(self, z: Tensor, at: Level, inside: Tensor) -> Float[Tensor, "n m"]:
        """log w_i − ½ (z − αc_i)·S⁻¹(z − αc_i); by differences in one dimension, where they are affordable."""
        check_rounding(z, lambda: self._gain(z, at, inside))
        if self.rank == 1:
            return self.log_weights - 0.5 * (z - at.alpha * self.centres[:, 0]).square() / inside
        cross = torch.addmm(self._bias(at, inside), z * (at.alpha / inside), self.centres.mT)
        return cross - 0.5 * (z.square() / inside).sum(-1, keepdim=True)

    def _bias(self, at: Level, inside: Tensor) -> Float[Tensor, " m"]:
        """log w_i − ½ α² c_i·S⁻¹c_i."""
        return self.log_weights - 0.5 * at.alpha**2 * (self.centres.square() / inside).sum(-1)

    def _gain(self, z: Tensor, at: Level, inside: Tensor) -> Tensor:
        """Largest factor by which a rounding of the state enters a log-responsibility."""
        reach = at.alpha * (self.centres / inside).square().sum(-1).amax().sqrt()
        return reach if self.rank > 1 else reach + z.detach().abs().amax() / inside.amin()


def _span(points: Float[Tensor, "m k"]) -> Float[Tensor, "k r"] | None:
    """Orthonormal basis of the span of `points` where projecting on it saves work, else None.

    Into and out of r directions costs r(m + k) products a row, all k of them mk: worth it below four fifths.
    """
    count, dim = points.shape
    if dim < 2 or count * dim * min(count, dim) > 2e9:
        return None
    _, values, right = torch.linalg.svd(points, full_matrices=False)
    rank = int((values > 1e-12 * values[0]).sum())
    return right[:rank].mT.contiguous() if rank * (count + dim) <= 0.8 * count * dim else None

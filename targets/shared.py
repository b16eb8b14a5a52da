"""Mixture components that share one covariance; atoms are the covariance zero.

With S = α²λ + σ² along each axis (λ the shared variances), c_i the centred centres and y′ = y − α·offset:

    log r_i  =  log w_i + α y′·S⁻¹c_i − ½α² c_i·S⁻¹c_i + const
    E[X|y]   =  offset + (αλ/S) y′ + (σ²/S) Σ_i r_i c_i
    Cov[X|y] =  diag(λσ²/S) + (σ²/S) Cov_r(c) (σ²/S)

The quadratic term of the exponent is the same for all components and drops out of the softmax.  Where λ is the same along
all axes, S is one number, and the lengths |c_i|² are all that the exponent needs of the components beside the product y′·c_i.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.channel import Level
from targets.components import DEVIATIONS, Components, attend, by_rows, held, leave_top_out, rows_at_once, span


class Shared(Components):
    """m centres and one covariance, diagonal in the orthonormal `rotation` (None: the coordinate axes).

    The offset is the mean, but zero along a single varying coordinate: there centring would round away the small gaps
    of a law with many scales, and differences are affordable.  Coordinates in which the centres do not vary, and
    directions outside their span where that saves work (isotropic covariance only), never enter the products.
    """

    def __init__(self, weights: Tensor, centres: Tensor, spread: Tensor, rotation: Tensor | None = None) -> None:
        keep = weights > 0
        if not bool(keep.all()):
            weights, centres = weights[keep], centres[keep]
        self.weights, self.spread, self.rotation = weights, spread, rotation
        self.mean = self.offset = weights @ centres
        self.isotropic = bool((spread == spread[0]).all())
        if rotation is None:
            varying = (centres != centres[0]).any(0)
            reduced = centres - centres[0] if bool(varying.all()) else centres[:, varying] - centres[0, varying]
        else:
            reduced = (centres - centres[0]) @ rotation
            reduced[reduced.abs() < 1e-13 * reduced.abs().max()] = 0.0
            varying = (reduced != 0).any(0)
            reduced = reduced[:, varying]
        self.index = None if bool(varying.all()) else varying.nonzero()[:, 0]
        self.basis = span(reduced) if self.isotropic else None
        if self.basis is not None:
            reduced = reduced @ self.basis
        if rotation is None and int(varying.sum()) == 1:
            self.offset = torch.where(varying, torch.zeros_like(self.mean), self.mean)
            self.centres = centres[:, varying]
        else:
            self.centres = reduced.sub_(weights @ reduced)
        self.log_weights = weights.log()
        untouched = rotation is None and self.basis is None and self.index is None and self.rank > 1
        near = bool(self.offset.square().sum() <= 100.0 * self.total_variance)
        self.direct = untouched and near and self.isotropic
        """Nothing to turn, reduce or centre: the state itself is the query."""

    @property
    def rank(self) -> int:
        """Dimension of the span of the centred centres, as far as it was reduced."""
        return self.centres.shape[1]

    @cached_property
    def width(self) -> float | None:
        """The variance along the reduced coordinates where that is one number, else None."""
        inside = self._inside(self.spread)
        return float(inside[0]) if len(inside) and bool((inside == inside[0]).all()) else None

    @cached_property
    def half_squares(self) -> Float[Tensor, " m"]:
        """½|c_i|²."""
        return 0.5 * torch.linalg.vector_norm(self.centres, dim=-1).square()

    @cached_property
    def half_shifted(self) -> Float[Tensor, " m"]:
        """½|c_i + offset|² − ½|offset|²: what takes the place of ½|c_i|² where the state itself is the query."""
        return self.half_squares + self.centres @ self.offset

    @cached_property
    def _extent(self) -> tuple[float, float, float]:
        """max |c_i|, the part of |offset| that queries contain, and the least variance along the reduced coordinates."""
        farthest, shift = (2.0 * self.half_squares).amax().sqrt(), self.offset.norm() if self.direct else 0.0
        return float(farthest), float(shift), float(self._inside(self.spread).amin()) if self.rank else 0.0

    @property
    def means(self) -> Float[Tensor, "m d"]:
        return self.offset + self._turn_back(self._lift(self.centres))

    @property
    def total_variance(self) -> float:
        mean = self.weights @ self.centres
        blocks = self.centres.split(rows_at_once(mean, max(1, self.rank)))
        squares = [(block - mean).square().sum(-1) for block in blocks]
        return float(self.spread.sum() + self.weights @ torch.cat(squares))

    def covariance(self) -> Float[Tensor, "d d"]:
        lifted = self._turn_back(self._lift(self.centres - self.weights @ self.centres))
        axes = self._turn_back(torch.diag(self.spread.sqrt()))
        return axes.mT @ axes + (lifted * self.weights[:, None]).mT @ lifted

    def draw(self, index: Tensor, noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.offset + self._turn_back(self._lift(self.centres[index]) + self.spread.sqrt() * noise)

    def log_prob(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, " n"]:
        total, inside = self._channel(at)
        normaliser = 0.5 * torch.log(2 * math.pi * (at.alpha**2 * self.spread + at.sigma**2)).sum()

        def rows(block: Tensor) -> tuple[Tensor]:
            state = self._centred(block, at)
            z = self._reduce(state)
            outside = (state.square() / total).sum(-1) - (z.square() / inside).sum(-1)
            logits = self._logits(z, at, inside)
            top = logits.argmax(-1)
            near = (z - at.alpha * self.centres[top]).square() / inside  # by differences: exact where it decides
            others = torch.logsumexp(logits - logits.gather(-1, top[:, None]), -1)
            return (self.log_weights[top] - 0.5 * near.sum(-1) + others - 0.5 * outside - normaliser,)

        return by_rows(rows, len(self.weights), y)[0]

    def denoiser(self, y: Float[Tensor, "n d"], at: Level) -> Float[Tensor, "n d"]:
        total, inside = self._channel(at)
        state = y if self.direct else self._centred(y, at)
        if isinstance(total, float) and self.basis is None and self.index is None and self.rotation is None:
            return self._isotropic(state, y, at, total)
        gain, shrink = at.alpha * self.spread / total, at.sigma**2 / inside
        if self.rank == 0:
            return self.offset + self._turn_back(gain * state)
        inner = self._blend(self._reduce(state), at, inside, self.half_squares, lambda v: v * shrink)
        return self.offset + self._turn_back(_added(self._lift(inner), state, gain))

    def _isotropic(self, z: Tensor, y: Tensor, at: Level, total: float) -> Tensor:
        """(σ²/S)(Σ_i r_i c_i + offset) + (αλ/S) y, for queries z, which is the formula above where λ is one number."""
        self.check_rounding(at)
        half, shrink = self.half_shifted if self.direct else self.half_squares, at.sigma**2 / total
        width = self.width or 0.0
        if self.rank == 1 or held(z, self.centres):
            ratio = at.alpha * width / at.sigma**2

            def rows(z: Tensor, y: Tensor) -> tuple[Tensor]:
                responsibility = self._scores(z, at, total, half).softmax(1)
                onto = torch.add(self.offset, y, alpha=ratio)
                return (torch.addmm(onto, responsibility, self.centres, beta=shrink, alpha=shrink),)

            return by_rows(rows, len(self.weights), z, y)[0]
        base = self.offset * shrink
        mean = self._blend(z, at, total, half, lambda v: torch.add(base, v, alpha=shrink))
        return _added(mean, y, at.alpha * width / total)

    def _blend(
        self, z: Tensor, at: Level, inside: float | Tensor, half: Tensor, image: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Σ_i r_i image(c_i), the affine image taken of the components or of their means, whichever are fewer."""
        self.check_rounding(at)
        few = z.shape[0] < self.centres.shape[0]
        values = self.centres if few else image(self.centres)
        if self.rank == 1:
            (mean,) = by_rows(lambda b: (self._scores(b, at, inside, half).softmax(1) @ values,), len(values), z)
        else:
            query, scale = self._query(z, at, inside)
            mean = attend(query, self.centres, values, self._bias(at, inside, half), scale)
        return image(mean) if few else mean

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

    def _posterior_parts(self, at: Level) -> tuple[Tensor, float | Tensor, Tensor]:
        """(posterior variances within a component, channel variances on the reduced axes, centres scaled by σ²/S)."""
        total, inside = self._channel(at)
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

    def _inside(self, variances: Tensor) -> Tensor:
        """The variances along the reduced coordinates."""
        if self.basis is not None:
            return variances[: self.rank]
        return variances if self.index is None else variances[self.index]

    def _channel(self, at: Level) -> tuple[float | Tensor, float | Tensor]:
        """S along all coordinates and along the reduced ones, as one number where it is one."""
        if self.width is None:
            total = at.alpha**2 * self.spread + at.sigma**2
            return total, self._inside(total)
        inside = at.alpha**2 * self.width + at.sigma**2
        return inside if self.isotropic else at.alpha**2 * self.spread + at.sigma**2, inside

    def _turn(self, v: Tensor) -> Tensor:
        return v if self.rotation is None else v @ self.rotation

    def _turn_back(self, v: Tensor) -> Tensor:
        return v if self.rotation is None else v @ self.rotation.mT.to(v.dtype)

    def _centred(self, y: Tensor, at: Level) -> Tensor:
        return self._turn(torch.sub(y, self.offset, alpha=at.alpha))

    def _reduce(self, state: Tensor) -> Tensor:
        state = state if self.index is None else state[:, self.index]
        return state if self.basis is None else state @ self.basis

    def _lift(self, z: Tensor) -> Tensor:
        z = z if self.basis is None else z @ self.basis.mT.to(z.dtype)
        if self.index is None:
            return z
        return z.new_zeros(len(z), len(self.spread)).index_copy(-1, self.index, z)

    def _logits(self, z: Tensor, at: Level, inside: float | Tensor) -> Float[Tensor, "n m"]:
        """log w_i − ½ (z − αc_i)·S⁻¹(z − αc_i)."""
        self.check_rounding(at)
        scores = self._scores(z, at, inside, self.half_squares)
        return scores if self.rank == 1 else scores - 0.5 * (z.square() / inside).sum(-1, keepdim=True)

    def _scores(self, z: Tensor, at: Level, inside: float | Tensor, half: Tensor) -> Float[Tensor, "n m"]:
        """log r_i, but for a number common to all i; by differences in one dimension, where they are affordable."""
        if self.rank == 1:
            assert isinstance(inside, float)
            apart = torch.sub(z, self.centres.mT, alpha=at.alpha)
            return torch.addcmul(self.log_weights, apart, apart, value=-0.5 / inside)
        query, scale = self._query(z, at, inside)
        return torch.addmm(self._bias(at, inside, half), query, self.centres.mT, alpha=scale)

    def _query(self, z: Tensor, at: Level, inside: float | Tensor) -> tuple[Tensor, float]:
        """αS⁻¹z as a tensor and a factor."""
        return (z, at.alpha / inside) if isinstance(inside, float) else (z * (at.alpha / inside), 1.0)

    def _bias(self, at: Level, inside: float | Tensor, half: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        """log w_i − ½ α² c_i·S⁻¹c_i; `half` holds ½ c_i·c_i."""
        if isinstance(inside, Tensor):
            return torch.sub(self.log_weights, self.centres.square() @ inside.reciprocal(), alpha=0.5 * at.alpha**2)
        return torch.sub(self.log_weights, half, alpha=at.alpha**2 / inside)

    def magnitude(self, at: Level) -> float:
        """p·q, with q = max_i α|c_i|/√S for the components and p = q + √r + `DEVIATIONS` for the query.

        Where the state itself is the query, p has α|offset|/√S too; on the line, differences make it p·(p + q).
        """
        farthest, shift, least = self._extent
        unit = at.alpha / math.sqrt(at.alpha**2 * least + at.sigma**2)
        q, p = unit * farthest, unit * (farthest + shift) + math.sqrt(self.rank) + DEVIATIONS
        return p * (p + q) if self.rank == 1 else p * q


def _added(mean: Tensor, state: Tensor, factor: float | Tensor) -> Tensor:
    """mean + factor·state, in place where no gradient is asked for."""
    if mean.requires_grad or state.requires_grad:
        return mean + factor * state
    return mean.addcmul_(state, factor) if isinstance(factor, Tensor) else mean.add_(state, alpha=factor)

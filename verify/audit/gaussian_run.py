"""One run on a Gaussian gives a sampler's whole output law, and what Euler's method would have given on its levels.

Target N(m, diag(v)) on R².  The exact denoiser acts on each coordinate by itself and is affine,

    m̂(y) = m + α v/(α² v + σ²) (y − α m),

so a sampler that cuts nothing maps its start x and its noise z_j affinely, a coordinate at a time:

    out = A x + Σ_j B_j z_j + c.

Row 0 of one batch starts at 0 and is given no noise: c.  Row 1 starts at s in both coordinates: A.  Row 2 + j starts at 0
and is given z_j = 1: B_j.  From the exact law of the first level follow mean A α_0 m + c and variance
A²(α_0² v + σ_0²) + Σ_j B_j² of what comes out, without sampling.  Without noise A keeps its sign, so that the error

    e² = Σ_i (mean − α_K m)² + (±√variance − √(α_K² v + σ_K²))²

is the mean square distance of the states to the exact flow's, and with noise the squared W2 distance of the laws.

The same rows show what a step keeps of its state beside the prediction.  In y' = α' m̂ + q (y − α m̂) + w z the factor q is
that of the difference of two rows, and ancestral sampling has q = α σ'²/(α' σ²).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from verify.audit.draws import Draws

MEAN = (0.6, -0.4)
VARIANCE = (0.25, 1.44)
"""Mean and variances of the target: uncentred, anisotropic, of the size of data."""

Pair = tuple[float, float]
"""(α, σ), with σ = 0 or α = 0 admitted."""

Runner = Callable[[Tensor], Tensor]
"""Start rows (n, 2) in, last rows (n, 2) out, all random numbers drawn through torch."""


def denoise(y: Tensor, alpha: float, sigma: float) -> Tensor:
    """m̂ at the level (α, σ): rows (n, 2) in and out; the mean at α = 0."""
    mean, variance = y.new_tensor(MEAN), y.new_tensor(VARIANCE)
    return mean + alpha * variance / (alpha**2 * variance + sigma**2) * (y - alpha * mean)


class Kept:
    """`denoise` that notes the most that is kept of a state from one call to the next, in units of ancestral sampling.

    `most`: max_k |Δy' − α' Δm̂| (α' σ²/(α σ'²)) / |Δy − α Δm̂|, Δ the difference of that row from row 0 in which the
    denominator is largest; none before two calls.  Steps of which ancestral sampling itself keeps less than a fifth, levels
    without signal and differences below 1e-4 say nothing.
    """

    def __init__(self) -> None:
        self.most: float | None = None
        self.before: tuple[Tensor, Tensor, float, float] | None = None

    def __call__(self, y: Tensor, alpha: float, sigma: float) -> Tensor:
        """m̂ at the level (α, σ)."""
        answer = denoise(y, alpha, sigma)
        if self.before is not None and self.before[2] > 1e-100:
            was, said, from_alpha, from_sigma = self.before
            held = (was - was[0]) - from_alpha * (said - said[0])
            left = (y - y[0]) - alpha * (said - said[0])
            row, column = divmod(int(held.abs().argmax()), y.shape[1])
            ancestral = from_alpha * sigma**2 / (alpha * from_sigma**2)
            if held[row, column].abs() > 1e-4 and ancestral > 0.2:
                share = float((left[row, column] / held[row, column]).abs()) / ancestral
                self.most = share if self.most is None else max(self.most, share)
        self.before = (y, answer, alpha, sigma)
        return answer


@dataclass(frozen=True)
class Law:
    """Output as an affine map of start and noise, a coordinate at a time: gain (2,), noise (J, 2), offset (2,)."""

    gain: np.ndarray
    noise: np.ndarray
    offset: np.ndarray

    @property
    def stochastic(self) -> bool:
        """Whether any noise reaches the output."""
        return bool(len(self.noise)) and bool(np.abs(self.noise).max() > 0)

    @property
    def finite(self) -> bool:
        """No entry is infinite or not a number."""
        return bool(np.isfinite(self.gain).all() and np.isfinite(self.noise).all() and np.isfinite(self.offset).all())


def probe(run: Runner, *, scale: float, draws: int, dtype: torch.dtype = torch.float32) -> Law:
    """The output law of `run`; `scale`: size of the start s; `draws`: how many noise draws are expected.

    More draws than expected make for a second run with more rows.  ValueError: output of another shape than the start.
    """
    while True:
        start = torch.zeros(2 + draws, 2, dtype=dtype)
        start[1] = scale

        def supply(number: int, shape: tuple[int, ...], as_dtype: torch.dtype, device: torch.device) -> Tensor:
            value = torch.zeros(shape, dtype=as_dtype, device=device)
            if 2 + number < shape[0]:
                value[2 + number] = 1.0
            return value

        with Draws(supply) as seen:
            out = run(start)
        if not isinstance(out, Tensor) or out.shape != start.shape:
            raise ValueError(
                f"states of shape {tuple(getattr(out, 'shape', ()))} came back, {tuple(start.shape)} went in"
            )
        if seen.count <= draws:
            break
        draws = seen.count
    rows = out.detach().to(torch.float64).cpu().numpy()
    offset = rows[0]
    return Law((rows[1] - offset) / scale, rows[2 : 2 + seen.count] - offset, offset)


def error(law: Law, first: Pair, last: Pair) -> float:
    """e, in units of α_K: the distance from the exact law at the last level when started from the exact one at the first."""
    mean, variance = np.array(MEAN), np.array(VARIANCE)
    begun = first[0] ** 2 * variance + first[1] ** 2
    middle = law.gain * first[0] * mean + law.offset
    spread = law.gain * np.sqrt(begun)
    if law.stochastic:
        spread = np.sqrt(spread**2 + (law.noise**2).sum(0))
    wanted = np.sqrt(last[0] ** 2 * variance + last[1] ** 2)
    return math.sqrt(((middle - last[0] * mean) ** 2 + (spread - wanted) ** 2).sum()) / last[0]


def euler(levels: Sequence[Pair], *, stochastic: bool) -> Law:
    """What Euler's method makes of the levels (α_0, σ_0) … (α_K, σ_K): the probability flow in σ/α, or ancestral sampling.

    x' = (s/σ_k) x + (α_{k+1} − α_k s/σ_k) m̂ + w z; without noise s = σ_{k+1} and w = 0, with it
    w² = σ_{k+1}²(1 − γ_k/γ_{k+1}) and s² = σ_{k+1}² − w².  All noise is given as one row of the same variance.
    """
    mean, variance = np.array(MEAN), np.array(VARIANCE)
    gain, offset, spread = np.ones(2), np.zeros(2), np.zeros(2)
    for (alpha, sigma), (then, left) in pairwise(levels):
        kept = (alpha * left / (then * sigma)) ** 2
        drift = left * math.sqrt(min(kept, 1.0)) if stochastic else left
        width = math.sqrt(max(left**2 - drift**2, 0.0))
        pull = alpha * variance / (alpha**2 * variance + sigma**2)
        toward = then - alpha * drift / sigma
        factor = drift / sigma + toward * pull
        gain, offset = factor * gain, factor * offset + toward * (1.0 - pull * alpha) * mean
        spread = np.hypot(factor * spread, width)
    return Law(gain, spread[None], offset)

"""Moments: the exact law of a table's last state on a Gaussian target, which is Gaussian again, in any dimension.

In the eigenbasis of Cov X the directions do not see each other and the denoiser is linear,

    m(y) = s y + (1 − α s) μ,     s = αλ/(α²λ + σ²),

so that the mean of the state and of the answers that a multistep method remembers is linear in (μ, b), b a constant error
of the denoiser, and their covariance obeys C′ = T C Tᵀ + noise² e_1e_1ᵀ.  Directions of equal λ are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from targets import Gaussian, NotAvailableError
from verify.oracle import ConstantBias, Exact, Oracle, ScaleError
from verify.step import Table

MOST_ENTRIES = 2**21
"""Coefficients of steps held at once."""


@dataclass(frozen=True, eq=False)
class Moments:
    """True and sampled law of the last state in the eigenbasis: variances (d,) and means (d,), true and sampled."""

    true_variance: np.ndarray
    variance: np.ndarray
    true_mean: np.ndarray
    mean: np.ndarray


def moments(table: Table, oracle: Oracle, start: str = "exact") -> Moments:
    """The law of the last state, oracle's target Gaussian; oracles that are no affine function of the state are refused."""
    target = oracle.target
    if not isinstance(target, Gaussian):
        raise NotAvailableError(
            f"moments of {target!r}: exact on Gaussian targets only; use the density or flow carrier"
        )
    gain, bias = _affine_error(oracle)
    rotation = target.components.rotation
    centre, shift = target.mean, bias
    if rotation is not None:
        centre, shift = centre @ rotation, shift @ rotation
    centre, shift = centre.cpu().numpy(), shift.cpu().numpy()
    variances, place = np.unique(target.variances.cpu().numpy(), return_inverse=True)
    spread, loads = _propagated(table, variances, gain, start)
    stop = table.stop
    return Moments(
        (stop.alpha**2 * variances + stop.sigma**2)[place],
        spread[place],
        stop.alpha * centre,
        loads[place, 0] * centre + loads[place, 1] * shift,
    )


def _affine_error(oracle: Oracle) -> tuple[float, torch.Tensor]:
    """(c, b) of m̂ = (1 + c) m + b."""
    zero = torch.zeros_like(oracle.target.mean)
    if isinstance(oracle, Exact):
        return 0.0, zero
    if isinstance(oracle, ConstantBias):
        return 0.0, oracle.bias
    if isinstance(oracle, ScaleError):
        return oracle.scale, zero
    raise NotAvailableError(
        f"moments with {type(oracle).__name__}: the sampled law is Gaussian only if the denoiser is affine; available: the "
        "density carrier for one-dimensional targets"
    )


def _propagated(table: Table, variances: np.ndarray, gain: float, start: str) -> tuple[np.ndarray, np.ndarray]:
    """(variance (n,), coefficients (n, 2) of the mean on μ and b) of the last state, for each λ.

    Steps are affine maps of (x, earlier answers), and follow one another in pairs: blocks of steps are made at once and
    halved until one map is left, which also keeps the rounding at log K.
    """
    count, size = len(variances), table.history.shape[1] + 1
    first = table.start
    covariance = np.zeros((count, size, size))
    mean = np.zeros((count, size, 2))
    covariance[:, 0, 0] = table.first_width(start) ** 2 + (start == "exact") * first.alpha**2 * variances
    mean[:, 0, 0] = 0.0 if start == "prior" else first.alpha
    block = max(1, MOST_ENTRIES // (count * (size + 2) ** 2))
    for begin in range(0, table.steps, block):
        steps = slice(begin, min(begin + block, table.steps))
        linear, constant = _maps(table, steps, variances, gain)
        noise = np.zeros((*linear.shape[:2], size, size))
        noise[:, :, 0, 0] = table.noise[steps, None] ** 2
        linear, constant, noise = _composed(linear, constant, noise)
        covariance = linear @ covariance @ linear.transpose(0, 2, 1) + noise
        mean = linear @ mean + constant
    return covariance[:, 0, 0], mean[:, 0]


def _composed(linear: np.ndarray, constant: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, ...]:
    """(T, c, N) of all maps (k, n, ...) one after the other: x → T x + c, covariance C → T C Tᵀ + N."""
    while len(linear) > 1:
        odd = len(linear) % 2
        (t, c, s), (u, d, r) = ([a[i : len(a) - odd : 2] for a in (linear, constant, noise)] for i in (0, 1))
        pairs = u @ t, u @ c + d, u @ s @ u.transpose(0, 1, 3, 2) + r
        linear, constant, noise = (
            np.concatenate([new, old[-1:]]) if odd else new
            for new, old in zip(pairs, (linear, constant, noise), strict=True)
        )
    return linear[0], constant[0], noise[0]


def _maps(table: Table, steps: slice, variances: np.ndarray, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each step as a map of (x, earlier answers): linear (k, n, 1 + p, 1 + p), on (μ, b) (k, n, 1 + p, 2).

    Every quantity of a step is a row of coefficients on (x, earlier answers, μ, b).
    """
    depth = table.history.shape[1]
    unit = np.eye(depth + 3)
    after = table.state[steps, None, None] * unit[0]
    answers: list[np.ndarray] = []
    for i, stage in enumerate(table.stages):
        state = stage.state[steps, None, None] * unit[0]
        for j, answer in enumerate(answers):
            state = state + stage.outputs[steps, j, None, None] * answer
        alpha, sigma = stage.alpha[steps, None], stage.sigma[steps, None]
        total = alpha**2 * variances + sigma**2
        slope, rest = (alpha * variances / total)[:, :, None], (sigma**2 / total)[:, :, None]
        answers.append((1.0 + gain) * (slope * state + rest * unit[depth + 1]) + unit[depth + 2])
        after = after + table.outputs[steps, i, None, None] * answers[i]
    for j in range(depth):
        after = after + table.history[steps, j, None, None] * unit[1 + j]
    shape = (len(table.state[steps]), len(variances), depth + 3)
    rows = [after]
    if depth:
        kept = answers[0] * table.asked[steps, 0, None, None]
        rows += [kept, *(unit[1 + j] for j in range(depth - 1))]
    whole = np.stack([np.broadcast_to(row, shape) for row in rows], axis=2)
    return whole[..., : depth + 1], whole[..., depth + 1 :]

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

from targets import Gaussian, Level, NotAvailableError
from verify.carry.advance import advance
from verify.oracle import ConstantBias, Exact, Oracle, ScaleError
from verify.step import Table


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

    Every quantity of a step is a row of coefficients on (x, earlier answers, μ, b): shape (n, 1 + p + 2).
    """
    count, depth = len(variances), table.history.shape[1]
    unit = np.broadcast_to(np.eye(depth + 3)[:, None], (depth + 3, count, depth + 3))
    first = table.start
    covariance = np.zeros((count, depth + 1, depth + 1))
    mean = np.zeros((count, depth + 1, 2))
    covariance[:, 0, 0] = table.first_width(start) ** 2 + (start == "exact") * first.alpha**2 * variances
    mean[:, 0, 0] = 0.0 if start == "prior" else first.alpha

    def ask(state: np.ndarray, level: Level) -> np.ndarray:
        total = level.alpha**2 * variances + level.sigma**2
        slope, rest = level.alpha * variances / total, level.sigma**2 / total
        exact = slope[:, None] * state + rest[:, None] * unit[depth + 1]
        return (1.0 + gain) * exact + unit[depth + 2]

    for k in range(table.steps):
        step = table.step(k)
        after, answers = advance(step, unit[0], ask, list(unit[1 : depth + 1]))
        rows = np.stack([after, *answers], axis=1)
        linear, constant = rows[:, :, : depth + 1], rows[:, :, depth + 1 :]
        covariance = linear @ covariance @ linear.transpose(0, 2, 1)
        covariance[:, 0, 0] += step.noise**2
        mean = linear @ mean + constant
    return covariance[:, 0, 0], mean[:, 0]

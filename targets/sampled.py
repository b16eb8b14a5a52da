"""mmse of any law by Rao–Blackwellised randomised quasi-Monte Carlo.

    mmse(γ)  =  E tr Cov[X given y]        the posterior variance itself, not a squared residual

R independently scrambled Sobol nets (Owen 1995) drive X and the noise; every γ uses the same points, so each replicate
is a smooth function of γ and may be differentiated: −mmse′ from the interpolant has about half the standard error of
E‖Cov[X given y]·v‖² with random probes v, at half the cost (the probes remain as an independent check).
Row 0 of the result is the mean of all replicates, row r the mean without replicate r (jackknife).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from targets.arguments import integer
from targets.channel import Level
from targets.estimate import Estimate
from targets.tabulated import TabulatedCurve

PosteriorTrace = Callable[[Tensor, Level], Tensor]
"""(y, level) -> tr Cov[X given y]."""

REPLICATES = 16
POINTS = 128
"""Points in each replicate (a power of two)."""

MAX_SOBOL = 21201


def normal_net(count: int, dim: int, seed: int) -> np.ndarray:
    """`count` scrambled quasi-random standard normal points in R^dim (plain pseudo-random beyond Sobol's range)."""
    from scipy.special import ndtri

    rng = np.random.default_rng(seed)
    if dim > MAX_SOBOL:
        return rng.standard_normal((count, dim))
    from scipy.stats import qmc  # here, because it takes longer to import than all else that laws need

    uniform = qmc.Sobol(dim, scramble=True, rng=rng).random(count)
    return ndtri(np.clip(uniform, 1e-16, 1.0 - 1e-16))


def sampled_curve(
    posterior_trace: PosteriorTrace,
    draw: Callable[[np.ndarray, np.ndarray], Tensor],
    dim: int,
    low: float,
    high: float,
    *,
    head: float,
    discrete: bool,
    points: int,
    replicates: int = REPLICATES,
    seed: int = 0,
    least_rate: float = 0.0,
    panel: float = 1.0,
    degree: int = 8,
) -> TabulatedCurve:
    """The mmse curve on [low, high], with a standard error, of the law in R^dim that has this posterior.

    `draw(u, z)` turns a uniform number and dim normals per point into a draw of X, monotone in u where that helps.
    """
    from scipy.special import ndtr

    points, replicates = integer("points", points, 2), integer("replicates", replicates, 4)
    clean, noise = [], []
    for r in range(replicates):
        net = normal_net(points, 2 * dim + 1, seed * replicates + r)
        clean.append(draw(ndtr(net[:, 0]), net[:, 1 : dim + 1]))
        noise.append(net[:, dim + 1 :])
    x = torch.cat(clean)
    z = torch.as_tensor(np.concatenate(noise)).to(x)

    def evaluate(snr: np.ndarray) -> np.ndarray:
        columns = []
        for g in snr:
            level = Level(1.0, float(g**-0.5))
            trace = posterior_trace(x + level.sigma * z, level)
            columns.append(trace.reshape(replicates, points).mean(-1).cpu().numpy())
        means = np.stack(columns, -1)
        total = means.sum(0)
        return np.concatenate([total[None] / replicates, (total - means) / (replicates - 1)])

    return TabulatedCurve(
        lambda snr: (evaluate(snr), None),
        low,
        _reached(evaluate, low, high),
        head=head,
        discrete=discrete,
        method=f"Rao-Blackwellised QMC, {replicates} x {points} points",
        degree=degree,
        panel=panel,
        tolerance=None,
        least_rate=least_rate,
    )


def _reached(evaluate: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    """The largest γ up to `high` at which mmse is still sampled within a quarter: beyond it the points see too few
    states between atoms, and the curve continues by its analytic tail.
    """
    for snr in np.geomspace(high, low, 2 * int(np.ceil(np.log(high / low)))):
        estimate = Estimate.jackknife(evaluate(np.array([snr]))[:, 0], 0.0, "")
        if estimate.value > 0 and estimate.stderr < estimate.value / 4.0:
            return float(snr)
    return high

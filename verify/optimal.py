"""Best grids: the global minimum over γ_1 < … < γ_{K−1} of the left Riemann sum of a decreasing loss.

    F  =  ½ Σ_k h_k ℓ(γ_k),     h_k = γ_{k+1} − γ_k,     γ_0 and γ_K given

With ℓ = mmse, F is the path KL of ddpm plus the information ΔI of the window, which no grid changes.

1. On N nodes x_0 < … < x_{N−1} the minimum is exact by dynamic programming over the number of steps,

       V_k(j)  =  min_{i ≤ j}  V_{k−1}(i) + (x_j − x_i) ℓ(x_i).

   (x_j − x_i)ℓ(x_i) satisfies Monge's inequality c(i, j) + c(i′, j′) ≤ c(i, j′) + c(i′, j), i ≤ i′ ≤ j ≤ j′, because
   (x_j′ − x_j)(ℓ(x_i) − ℓ(x_i′)) ≥ 0; so the best i never falls as j grows, and each layer takes O(N log N) by divide and
   conquer.  Nothing is assumed of ℓ but that it decreases: nested scales, whose curve is not convex, are no exception.

2. Between nodes the minimum is stationary, ∂F/∂γ_k = 0, which is the three-term relation

       γ_{k+1}  =  γ_k + (ℓ(γ_{k−1}) − ℓ(γ_k)) / D(γ_k),     D = −ℓ′;

   Newton's method with the tridiagonal Hessian solves it from the best nodes, and F never rises.
"""

from __future__ import annotations

import numpy as np

from targets.curve import Curve
from verify.equal_parts import equal_parts

NEAR = 1.05
"""Cost over the best one so far up to which another start is made stationary too."""

PASSED_STEPS = 128
"""Largest number of steps for which the recursion, whose every step waits for the one before, is another start."""

COINCIDENT = 1e-10
"""Share of the window's log γ below which two levels are one."""

EXACT_STEPS = 1024
"""Largest number of steps for which every step is planned on nodes; beyond it a grid of K/2ⁿ steps is refined."""


def optimal(curve: Curve, steps: int, low: float, high: float) -> np.ndarray:
    """γ_0 … γ_K of the best K-step grid on [low, high] for the loss ℓ = mmse of `curve`: shape (K + 1,).

    Global on the nodes (at least 2,048, and 4 a step), then stationary to rounding.  Nodes tell stationary grids apart whose
    costs differ by 1e-4 or more; of closer ones the better is taken among the plan's and, up to 128 steps, the recursion's.
    Beyond 1,024 steps the starts are the best grid of K/2ⁿ steps, refined in its own index, and equal parts of ∫√D.
    """
    halved = steps
    while halved > EXACT_STEPS:
        halved = (halved + 1) // 2
    levels = _planned(curve, halved, low, high)
    if steps <= PASSED_STEPS:
        starts = [levels, recursion(curve, steps, low, high)]
    elif halved == steps:
        starts = [levels]
    else:
        index = np.linspace(0.0, halved, steps + 1)
        refined = np.exp(np.interp(index, np.arange(halved + 1), np.log(levels)))
        refined[[0, -1]] = low, high
        starts = [refined, _distinct(equal_parts(curve, steps, low, high, weight="sqrt_slope"), steps)]
    found = _stationary(curve, starts[0])
    limit = NEAR * _cost(curve, found)[0]
    others = [_stationary(curve, start) for start in starts[1:] if _cost(curve, start)[0] < limit]
    return min([found, *others], key=lambda levels: _cost(curve, levels)[0])


def recursion(curve: Curve, steps: int, low: float, high: float) -> np.ndarray:
    """γ_0 … γ_K by one pass of the three-term relation, its first step such that γ_K = high: shape (K + 1,).

    The first step is found by repeated division of its bracket, all trials of a round in one batch.  Where the curve is
    not convex several first steps may do; the pass then gives one stationary grid, not always the best.
    """
    if steps == 1:
        return np.array([low, high])
    bracket = np.log(high / low) * np.array([1e-12, 1.0])
    fractions, chosen = np.linspace(0.0, 1.0, 64), None
    for _ in range(9):
        trials = bracket[0] * (bracket[1] / bracket[0]) ** fractions
        paths = _passes(curve, low * np.exp(trials), steps, low, high)
        beyond = np.flatnonzero(paths[-1] >= high)
        last = beyond[0] if len(beyond) else len(trials) - 1
        chosen = paths[:, max(last - 1, 0)]
        bracket = trials[[max(last - 1, 0), last]]
    assert chosen is not None
    levels = np.append(chosen[:-1], high)
    return _distinct(levels, steps)


def _passes(curve: Curve, first: np.ndarray, steps: int, low: float, high: float) -> np.ndarray:
    """The three-term relation from (low, first) for all trials at once, stopped at `high`: shape (K + 1, trials)."""
    levels = np.full((steps + 1, len(first)), low)
    levels[1] = np.minimum(first, high)
    before = np.broadcast_to(curve.mmse_rows(levels[0, :1])[0], first.shape)
    for k in range(1, steps):
        here = levels[k]
        loss, slope = curve.mmse_rows(here)[0], curve.slope_rows(here)[0]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            step = np.maximum(before - loss, 0.0) / slope
        levels[k + 1] = np.where(here < high, np.minimum(here + np.nan_to_num(step, nan=0.0), high), high)
        before = loss
    return levels


def _planned(curve: Curve, steps: int, low: float, high: float) -> np.ndarray:
    """The best grid on nodes: half of them at equal parts of ∫√D dγ, where many steps go, half at equal parts of log γ."""
    half = max(1024, 2 * steps)
    nodes = np.union1d(equal_parts(curve, half, low, high, weight="sqrt_slope"), np.geomspace(low, high, half + 1))
    nodes[[0, -1]] = low, high
    loss = np.minimum.accumulate(curve.mmse_rows(nodes)[0])
    return _distinct(nodes[best_nodes(nodes, loss, steps)], steps)


def best_nodes(nodes: np.ndarray, loss: np.ndarray, steps: int) -> np.ndarray:
    """Indices 0 = i_0 ≤ i_1 ≤ … ≤ i_K = N − 1 that minimise Σ (x_{i_{k+1}} − x_{i_k}) ℓ(x_{i_k}); ℓ must not rise."""
    size = len(nodes)
    value = (nodes - nodes[0]) * loss[0]
    choices = np.zeros((steps, size), dtype=np.int32)
    for k in range(1, steps):
        choices[k] = _row_minima(value - nodes * loss, nodes, loss)
        best = choices[k]
        value = value[best] + (nodes - nodes[best]) * loss[best]
    path = np.empty(steps + 1, dtype=np.int64)
    path[steps] = size - 1
    for k in range(steps - 1, -1, -1):
        path[k] = choices[k][path[k + 1]]
    return path


def _row_minima(intercept: np.ndarray, nodes: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """argmin over i ≤ j of intercept_i + x_j ℓ_i for every j: they rise with j, so each halving bounds the next one."""
    size = len(nodes)
    chosen = np.zeros(size + 2, dtype=np.int64)
    chosen[-1] = size - 1
    stride = 1 << (size.bit_length() - 1)
    while stride:
        row = np.arange(stride, size + 1, 2 * stride)
        first = chosen[row - stride]
        last = np.minimum(chosen[np.minimum(row + stride, size + 1)], row - 1)
        length = last - first + 1
        start = np.cumsum(length) - length
        column = np.arange(length.sum()) + np.repeat(first - start, length)
        trial = intercept[column] + np.repeat(nodes[row - 1], length) * loss[column]
        least = np.flatnonzero(trial == np.repeat(np.minimum.reduceat(trial, start), length))
        chosen[row] = column[least[np.searchsorted(least, start)]]
        stride //= 2
    return chosen[1:-1]


def _distinct(levels: np.ndarray, steps: int) -> np.ndarray:
    """`steps` steps: where fewer suffice (a loss that is flat somewhere) the widest ones are halved in log γ.

    Levels that only rounding tells apart are one.
    """
    levels = np.unique(levels)
    apart = np.diff(np.log(levels)) > COINCIDENT * np.log(levels[-1] / levels[0])
    kept = np.append(apart[:-1], True)
    kept[-2:-1] &= apart[-1]
    levels = np.append(levels[0], levels[1:][kept])
    while len(levels) < steps + 1:
        k = int(np.argmax(np.diff(np.log(levels))))
        levels = np.insert(levels, k + 1, np.sqrt(levels[k]) * np.sqrt(levels[k + 1]))
    return levels


def _cost(curve: Curve, levels: np.ndarray) -> tuple[float, np.ndarray]:
    """(F − ½ ∫ ℓ = ½ Σ ∫ (γ_{k+1} − γ) D, the fall of ℓ over each step), both as integrals of D: nothing cancels."""
    quadrature = curve.over_steps(levels)
    excess = quadrature.sum(0.5 * (levels[quadrature.step + 1] - quadrature.snr))[0]
    return float(excess.sum()), quadrature.sum(1.0)[0]


def _stationary(curve: Curve, levels: np.ndarray) -> np.ndarray:
    """Newton's method on F from `levels`, each step shortened until order is kept and F does not rise."""
    best, fall = _cost(curve, levels)
    for _ in range(60):
        direction = _newton(curve, levels, fall)
        if direction is None:
            return levels
        closing = -np.diff(np.concatenate([[0.0], direction, [0.0]])) / np.diff(levels)
        length = min(1.0, 0.9 / max(float(closing.max()), 1e-300))
        for _ in range(30):
            trial = levels.copy()
            trial[1:-1] += length * direction
            if (np.diff(trial) > 0).all():
                found, fallen = _cost(curve, trial)
                if found < best:
                    break
            length *= 0.5
        else:
            return levels
        small = length == 1.0 and best - found < 1e-15 * best
        levels, best, fall = trial, found, fallen
        if small:
            return levels
    return levels


def _newton(curve: Curve, levels: np.ndarray, fall: np.ndarray) -> np.ndarray | None:
    """Newton's step for γ_1 … γ_{K−1}, in units that make the Hessian's diagonal about one; None where D vanishes.

    2 ∂F/∂γ_k = ℓ_{k−1} − ℓ_k − h_k D_k;  2 ∂²F: diagonal 2 D_k − h_k D_k′, beside it −D_k.  Where the Hessian is not
    positive, its diagonal is raised until it is.
    """
    from scipy.linalg import solveh_banded

    inner = levels[1:-1]
    if not len(inner):
        return None
    slope = curve.slope_rows(inner)[0]
    if not (slope > 0).all():
        return None
    nudge = 1e-4
    bent = np.log(curve.slope_rows(inner * np.exp(nudge))[0] / curve.slope_rows(inner * np.exp(-nudge))[0]) / (
        2 * nudge
    )
    step = np.diff(levels)[1:]
    unit = np.sqrt(slope)
    gradient = (fall[:-1] - step * slope) / unit
    diagonal = 2.0 - step / inner * bent
    beside = -unit[:-1] / unit[1:]
    raised = 0.0
    while True:
        try:
            bands = np.stack([np.append(0.0, beside), np.maximum(diagonal, 0.0) + raised])[-len(inner) :]
            return -solveh_banded(bands, gradient) / unit
        except np.linalg.LinAlgError:
            raised = max(2.0 * raised, 1e-3)

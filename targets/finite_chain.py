"""A finite Markov chain by itself: its stationary law, the entropy of its paths, the covariance along them.

Float64 throughout; `transition` (a, a) is row-stochastic, P(next = t given s) = transition[s, t].
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from targets.arguments import refuse
from targets.estimate import Estimate

EPS = float(np.finfo(np.float64).eps)


def closed_class(transition: Float[Tensor, "a a"]) -> Tensor:
    """Indices of the states that are visited for ever; raises `ArgumentError` for a chain with several such classes."""
    from scipy.sparse.csgraph import connected_components

    possible = transition.numpy() > 0
    count, label = connected_components(possible, directed=True, connection="strong")
    leaves = possible & (label[:, None] != label)
    closed = np.setdiff1d(np.arange(count), label[leaves.any(1)])
    if len(closed) > 1:
        refuse("closed classes of transition", len(closed), "one closed class, so that the stationary law is unique")
    return torch.from_numpy(np.flatnonzero(label == closed[0]))


def stationary_law(transition: Float[Tensor, "a a"]) -> Float[Tensor, " a"]:
    """π = πP of an irreducible chain, each entry to relative rounding (Grassmann, Taksar & Heyman 1985).

    States are left out one by one (censored chains) without a subtraction.
    """
    matrix = transition.numpy().copy()
    for k in range(len(matrix) - 1, 0, -1):
        matrix[:k, k] /= matrix[k, :k].sum()
        matrix[:k, :k] += np.outer(matrix[:k, k], matrix[k, :k])
    weights = np.ones(len(matrix))
    for k in range(1, len(matrix)):
        weights[k] = weights[:k] @ matrix[:k, k]
    return torch.from_numpy(weights / weights.sum())


def path_entropy(start: Float[Tensor, " a"], transition: Float[Tensor, "a a"], length: int, order: float) -> Estimate:
    """Rényi entropy of s_1, …, s_length, nats; `start` is the stationary law.

    Order 1 by the chain rule, H(π) + (length − 1) Σ_s π_s H(P_s).  Otherwise log Σ p^a = log Σ_s π_s^a h(s) with
    h ← P^a h (powers of entries), length − 1 times from h = 1; log h is held as the log of the P-mean of P^{a−1} h,
    which keeps its relative accuracy near a = 1.  Order ∞: the same with the maximum.  Orders within 1e-8 of one are
    Shannon's, as in entropies.py.  Raises `ArgumentError` for a negative or undefined order.
    """
    if math.isnan(order) or order < 0:
        refuse("order", order, "an order >= 0 (1 is Shannon's)")
    if abs(order - 1.0) < 1e-8:
        rate = start @ torch.special.entr(transition).sum(1)
        return Estimate.exact(float(torch.special.entr(start).sum() + (length - 1) * rate))
    log_h = torch.zeros_like(start)
    for _ in range(length - 1):
        log_h = _log_power_sum(transition, log_h, order)
    scale = 1.0 - order if order < math.inf else -1.0
    value = float(_log_power_sum(start, log_h, order)) / scale
    return Estimate(value, 0.0, (16 + length) * EPS * abs(value), "closed form")


def _log_power_sum(p: Tensor, log_h: Tensor, order: float) -> Tensor:
    """log Σ p^order h over the last dimension (order ∞: log max p h), to relative accuracy where it is near zero."""
    if order == math.inf:
        return (p.log() + log_h).amax(-1)
    terms = torch.where(p > 0, (order - 1.0) * p.log() + log_h, -torch.inf)
    top = terms.amax(-1, keepdim=True)
    less = (p * torch.expm1(terms - top)).sum(-1)
    far = (p * torch.exp(terms - top)).sum(-1).log()
    return top[..., 0] + torch.where(less > -0.5, torch.log1p(less), far)


def squared_covariance(values: Tensor, transition: Tensor, stationary: Tensor, length: int) -> float:
    """‖Cov X‖_F² = Σ_ij c(|i − j|)² along X = (v_{s_1}, …), with c(k) = Σ_s π_s v_s (P^k v)_s, v centred."""
    ahead = values - stationary @ values
    weighted = stationary * ahead
    total = 0.0
    for k in range(length):
        total += (length - k) * (2.0 if k else 1.0) * float(weighted @ ahead) ** 2
        ahead = transition @ ahead
    return total


def covariance_rank(values: Tensor, transition: Tensor, length: int) -> int:
    """Rank of Cov X: the length, but for a deterministic cycle at most the number of its frequencies.

    Cov X is the Toeplitz matrix of the chain's spectral measure, which has finitely many points only if v_s is a
    function of the cyclic class of s; as the values are distinct, only if the chain is one cycle.
    """
    if bool(((transition > 0) & (transition < 1)).any()):
        return length
    cycle, following = [0], transition.argmax(1).tolist()
    while following[cycle[-1]] != 0:
        cycle.append(following[cycle[-1]])
    amplitude = torch.fft.fft(values[cycle] - values.mean())[1:].abs()
    return min(length, int((amplitude > 1e-12 * (values.max() - values.min())).sum()))

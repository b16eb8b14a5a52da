"""Rényi entropies of a finite probability vector, nats.

Where one weight m exceeds ½, 1 − m may be far below the rounding of m.  With rest = Σ of the other weights, m = 1 − rest is
read from them: log m = log1p(−rest), and the entropy keeps its relative accuracy as rest → 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from targets.arguments import refuse
from targets.estimate import Estimate


def renyi(weights: Tensor, order: float = 1.0) -> Estimate:
    """H_a = log(Σ p^a)/(1 − a); a = 1: Shannon −Σ p log p; a = 0: log of the support; a = ∞: −log max p.

    Near a = 1 the quotient is 0/0; with l = log p it is evaluated as −log(1 + Σ p·expm1((a−1)l))/(a−1), whose terms are
    of one sign.  Elsewhere, with m = max p, as (a log m + log(1 + Σ_{others} (p/m)^a))/(1 − a).
    Raises `ArgumentError` for a negative or undefined order.
    """
    if math.isnan(order) or order < 0:
        refuse("order", order, "an order >= 0 (1 is Shannon's)")
    p = weights[weights > 0].to(torch.float64).sort().values
    if order == 0:
        return Estimate.exact(math.log(len(p)))
    others, most = p[:-1], p[-1]
    log_most = torch.log1p(-others.sum()) if float(most) > 0.5 else most.log()
    if order == math.inf:
        return Estimate.exact(-float(log_most))
    logs = torch.cat([others.log(), log_most[None]])
    if order == 1.0:
        return Estimate.exact(-float((p * logs).sum()))
    if abs(order - 1.0) < 0.1:
        return Estimate.exact(-float(torch.log1p((p * torch.expm1((order - 1.0) * logs)).sum())) / (order - 1.0))
    return Estimate.exact(float(order * log_most + torch.log1p(((others / most) ** order).sum())) / (1.0 - order))

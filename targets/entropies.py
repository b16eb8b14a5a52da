"""Rényi entropies of a finite probability vector, nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from targets.arguments import refuse
from targets.estimate import Estimate


def renyi(weights: Tensor, order: float = 1.0) -> Estimate:
    """H_a = log(Σ p^a)/(1 − a); a = 1: Shannon −Σ p log p; a = 0: log of the support; a = ∞: −log max p.

    Near a = 1 the quotient is 0/0; with l = log p it is evaluated as −log(1 + Σ p·expm1((a−1)l))/(a−1), and within
    1e-8 of one by Shannon's formula.  Raises `ArgumentError` for a negative or undefined order.
    """
    if math.isnan(order) or order < 0:
        refuse("order", order, "an order >= 0 (1 is Shannon's)")
    p = weights[weights > 0].to(torch.float64)
    logs = p.log()
    if order == math.inf:
        return Estimate.exact(float(-logs.max()))
    if order == 0:
        return Estimate.exact(math.log(len(p)))
    if abs(order - 1.0) < 1e-8:
        return Estimate.exact(float(-(p * logs).sum()))
    if abs(order - 1.0) < 0.1:
        return Estimate.exact(float(-torch.log1p((p * torch.expm1((order - 1.0) * logs)).sum()) / (order - 1.0)))
    return Estimate.exact(float(torch.logsumexp(order * logs, 0) / (1.0 - order)))

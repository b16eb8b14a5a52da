"""Kullback–Leibler divergences of a table from the truth, in nats: `path`, `chain`, `initial`.

Three rungs, never to be confused: marginal ≤ chain (against a named reference), and chain("reverse") ≤ path.
"""

from verify.kl.chain import chain
from verify.kl.initial import STARTS, initial
from verify.kl.path import path

__all__ = ["STARTS", "chain", "initial", "path"]

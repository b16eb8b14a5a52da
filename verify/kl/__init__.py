"""Kullback–Leibler divergences of a table from the truth, in nats: `path`, `chain`, `initial`, `simulated_chain`.

Three rungs, never to be confused: marginal ≤ chain (against a named reference), and chain("reverse") ≤ path.
"""

from verify.kl.chain import chain
from verify.kl.initial import initial
from verify.kl.path import path
from verify.kl.simulated import simulated_chain

__all__ = ["chain", "initial", "path", "simulated_chain"]

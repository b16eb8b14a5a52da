"""Divergences of a table's law from the truth, in nats: `path`, `chain`, `marginal`, all of them by `ladder`.

marginal ≤ chain (against a named reference), and chain("reverse") ≤ path: three rungs, never to be confused.  `initial` is
the part that the start costs, `simulated_chain` a second way to the chain rung; `total_variation` and `wasserstein` are
distances between the last laws.
"""

from verify.kl.chain import chain
from verify.kl.distances import total_variation, wasserstein
from verify.kl.initial import initial
from verify.kl.ladder import ladder
from verify.kl.marginal import marginal
from verify.kl.path import path
from verify.kl.simulated import simulated_chain

__all__ = ["chain", "initial", "ladder", "marginal", "path", "simulated_chain", "total_variation", "wasserstein"]

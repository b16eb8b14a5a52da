"""Divergences of a table's law from the truth, in nats: `path`, `chain`, `marginal`, all of them by `ladder`.

marginal ≤ chain (against a named reference), and chain("reverse") ≤ path: three rungs, never to be confused.  `initial` is
the part that the start costs, `parts` all that path is the sum of; `simulated_chain` and `simulated_path` are second ways to
those rungs that share only the target with the closed forms; `total_variation` and `wasserstein` are
distances between the last laws; `marginal_optimal` is the grid on which a sampler's marginal is least.
"""

from verify.kl.best_marginal import MarginalOptimum, marginal_optimal
from verify.kl.chain import chain
from verify.kl.discretisation import discretisation
from verify.kl.distances import total_variation, wasserstein
from verify.kl.initial import initial
from verify.kl.ladder import ladder
from verify.kl.marginal import marginal
from verify.kl.path import parts, path
from verify.kl.simulated import simulated_chain, simulated_path

__all__ = [
    "MarginalOptimum",
    "chain",
    "discretisation",
    "initial",
    "ladder",
    "marginal",
    "marginal_optimal",
    "parts",
    "path",
    "simulated_chain",
    "simulated_path",
    "total_variation",
    "wasserstein",
]

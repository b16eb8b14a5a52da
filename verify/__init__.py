"""From an oracle to a verdict: grids, samplers as tables, their KL divergences, and measured rates."""

from targets import Estimate
from verify import bounds, certified, kl, oracle, rates, samplers
from verify.grid import Grid
from verify.step import Stage, Step, Table

__all__ = ["Estimate", "Grid", "Stage", "Step", "Table", "bounds", "certified", "kl", "oracle", "rates", "samplers"]

"""From an oracle to a verdict: grids, samplers as tables, their KL divergences, and measured rates."""

from verify import starting as starting  # before torch

# isort: split
from targets import Estimate
from verify import bounds, certified, kl, oracle, rates, samplers
from verify.grid import Grid
from verify.plain import grid_from_json, grid_to_json, table_from_json, table_to_json
from verify.step import Stage, Step, Table

__all__ = [
    "Estimate",
    "Grid",
    "Stage",
    "Step",
    "Table",
    "bounds",
    "certified",
    "grid_from_json",
    "grid_to_json",
    "kl",
    "oracle",
    "rates",
    "samplers",
    "table_from_json",
    "table_to_json",
]

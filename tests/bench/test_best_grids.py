"""The best grids' times at the sizes that the product promises, one line each; run alone, nothing else on the machine."""

from functools import lru_cache

import numpy as np
import pytest

from targets import Target, get
from verify import Grid
from verify.equal_parts import equal_parts
from verify.loss_curve import LossCurve
from verify.losses import read_losses, simulated_losses
from verify.optimal import best_nodes
from verify.oracle import Exact
from verify.span import span

LAWS = ("curved_mixture", "nested_scales", "digits")
LIMIT = 3.0
"""Seconds for a thousand steps."""


@lru_cache
def known(name: str) -> tuple[Target, tuple[float, float]]:
    """A law and its window, its curve already there."""
    target = get(name)
    return target, span(target)


def seconds(benchmark) -> float:
    return benchmark.stats.stats.min


@pytest.mark.parametrize("steps", [64, 1000])
@pytest.mark.parametrize("name", LAWS)
def test_optimal(benchmark, name, steps):
    """The whole of `Grid.optimal`: limit 3 s at K = 1,000."""
    target, snr = known(name)
    grid = benchmark.pedantic(lambda: Grid.optimal(target, steps=steps, snr=snr), rounds=3)
    print(f"\noptimal {name} K={steps}: {seconds(benchmark):.2f} s, limit {LIMIT:g} s")
    assert grid.steps == steps
    assert seconds(benchmark) < LIMIT


@pytest.mark.parametrize("steps", [64, 1000])
@pytest.mark.parametrize("name", LAWS)
def test_dynamic_programme(benchmark, name, steps):
    """Its share: the same nodes and losses, planning alone."""
    target, (low, high) = known(name)
    half = max(1024, 2 * steps)
    dense = equal_parts(target.curve, half, low, high, weight="sqrt_slope")
    nodes = np.union1d(dense, np.geomspace(low, high, half + 1)[1:-1])
    loss = np.minimum.accumulate(np.asarray(target.mmse(nodes).value))
    path = benchmark.pedantic(lambda: best_nodes(nodes, loss, steps), rounds=3)
    print(f"\ndynamic programme {name} K={steps}: {seconds(benchmark):.2f} s on {len(nodes)} nodes")
    assert (path[0], path[-1]) == (0, len(nodes) - 1)


@pytest.mark.parametrize("name", LAWS)
def test_loss_curve(benchmark, name):
    """A curve through 100 losses of 1,000 samples each, with its 17 fits."""
    target, snr = known(name)
    log = simulated_losses(Exact(target), np.geomspace(*snr, 100), 1000, seed=0)
    losses = read_losses(log, prediction="x0", weighting="sum")
    curve = benchmark.pedantic(lambda: LossCurve(losses), rounds=3)
    print(f"\nloss curve {name}: {seconds(benchmark):.2f} s for {len(losses.snr)} losses")
    assert curve.reach == pytest.approx(snr)

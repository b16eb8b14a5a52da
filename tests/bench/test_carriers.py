"""The exact carriers' times at the sizes that the product promises, one line each; run alone, nothing else on the machine."""

import time

import pytest

from targets import get
from verify import Grid, kl, samplers
from verify.carry.density import density
from verify.oracle import Exact


def seconds(work):
    start = time.perf_counter()
    out = work()
    return time.perf_counter() - start, out


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "ddim", "heun"])
def test_density(benchmark, name):
    """K = 1,000 on the curved mixture down to δ = 1e-3, both resolutions: limit 2 s for tables with noise."""
    law = get("curved_mixture")
    table = samplers.get(name)(Grid.exponential_uniform(1000, ou_time=(4.0, 1e-3)))
    coarse, fine = benchmark.pedantic(lambda: density(table, Exact(law)), rounds=1)
    difference = abs(coarse.divergence / fine.divergence - 1.0)
    print(f"\ndensity {name}: relative difference of the resolutions {difference:.1e}, |1 - int q| {fine.defect:.1e}")
    assert difference < 1e-7
    assert fine.defect < 1e-10


@pytest.mark.parametrize("dim", [3, 1000, 10_000])
def test_radial(benchmark, dim):
    """Sphere, ddpm, K = 200: limit 10 s at d = 1,000."""
    table = samplers.ddpm(Grid.exponential_uniform(200, ou_time=(4.0, 1e-2)))
    estimate = benchmark.pedantic(lambda: kl.marginal(get("sphere", dim=dim), table), rounds=1)
    print(f"\nradial d={dim}: {estimate}")


def test_flow(benchmark):
    """The 1,797 digits as atoms in d = 64, ddim with K = 32, 256 points: limit 3 minutes."""
    table = samplers.ddim(Grid.exponential_uniform(32, ou_time=(4.0, 1e-2)))
    estimate = benchmark.pedantic(lambda: kl.marginal(get("digits"), table, points=256), rounds=1)
    print(f"\nflow: {estimate}")


@pytest.mark.parametrize("name", ["ddpm", "heun", "exponential_ab3"])
def test_moments(benchmark, name):
    """K = 1,000 on an anisotropic Gaussian in 512 dimensions."""
    table = samplers.get(name)(Grid.exponential_uniform(1000, ou_time=(4.0, 1e-3)))
    law = get("anisotropic_gaussian", dim=512)
    estimate = benchmark.pedantic(lambda: kl.marginal(law, table), rounds=1)
    print(f"\nmoments {name}: {estimate}")

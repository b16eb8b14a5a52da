"""The denoiser against its own two matrix products, and against autograd: ratios measured side by side in one run."""

import subprocess
import sys
import time
from statistics import median

import pytest
import torch

from targets import GaussianMixture, Level, get
from verify import Grid, kl, samplers


def side_by_side(first, second, rounds=15):
    """Median of the ratio of times, the two run in turn."""
    first()
    second()
    ratios = []
    for _ in range(rounds):
        times = []
        for work in (first, second):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return median(ratios)


def mixture(components, dim, dtype):
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(components, dim, generator=generator, dtype=torch.float64)
    law = GaussianMixture.isotropic(torch.full((components,), 1.0 / components), means, 0.5)
    return law.to(dtype=dtype), torch.randn(4096, dim, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("dim", [64, 1024])
def test_denoiser_against_its_matrix_products(benchmark, dim, dtype):
    """Limit: 1.3 times the two products alone at batch 4,096 x 512 components."""
    law, y = mixture(512, dim, dtype)
    keys = law.components.means
    transposed, scores, out = keys.mT.contiguous(), y.new_empty(4096, 512), torch.empty_like(y)
    level = Level.from_snr(1.0)

    def products():
        torch.mm(y, transposed, out=scores)
        torch.mm(scores, keys, out=out)

    ratio = side_by_side(lambda: law.denoiser(y, level), products)
    benchmark.extra_info["ratio to its matrix products"] = round(ratio, 3)
    benchmark(law.denoiser, y, level)
    print(f"\ndim {dim} {dtype}: {ratio:.2f} times its two matrix products")


def test_denoiser_against_autograd(benchmark):
    """At least 100 times faster than the gradient of torch.distributions' mixture at 4,096 x 512 x 64."""
    law, y = mixture(512, 64, torch.float64)
    level = Level.from_snr(1.0)
    centres = law.components.means
    scale = (level.alpha**2 * 0.5 + level.sigma**2) ** 0.5
    dist = torch.distributions
    parts = dist.Independent(dist.Normal(level.alpha * centres, torch.full_like(centres, scale)), 1)
    rival = dist.MixtureSameFamily(dist.Categorical(law.components.weights), parts)

    def autograd():
        state = y.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(rival.log_prob(state).sum(), state)
        return gradient

    torch.testing.assert_close(autograd(), law.score(y, level), rtol=1e-9, atol=1e-11)
    ratio = side_by_side(autograd, lambda: law.score(y, level), rounds=5)
    benchmark.extra_info["times faster than autograd"] = round(ratio, 1)
    benchmark(law.score, y, level)
    print(f"\nscore: {ratio:.0f} times faster than autograd through MixtureSameFamily")


PEAK = """
import resource, torch
from targets import Level, get
law = get("digits")
y = torch.randn(65536, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
law.denoiser(y[:64], Level.from_snr(1.0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
law.denoiser(y, Level.from_snr(1.0))
law.posterior_trace(y, Level.from_snr(1.0))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def test_peak_memory(benchmark):
    """At most 1 GiB above the inputs at batch 65,536 x 1,797 atoms x 64."""
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    peak = float(run.stdout)
    benchmark.extra_info["GiB above the inputs"] = round(peak, 3)
    law, level = get("digits"), Level.from_snr(1.0)
    y = torch.randn(4096, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    benchmark(law.denoiser, y, level)
    print(f"\npeak {peak:.2f} GiB above the inputs")
    assert peak <= 1.0


@pytest.mark.parametrize("name", ["curved_mixture", "codebook", "random_centres", "digits"])
@pytest.mark.parametrize("rung", ["path", "chain"])
def test_divergence_of_ten_thousand_steps(benchmark, name, rung):
    """At most 50 ms once the curve is cached."""
    target = get(name)
    grid = Grid.exponential_uniform(10_000, ou_time=(4.0, 1e-3))
    table = samplers.ddpm(grid) if rung == "path" else samplers.jain_zhang(grid.beyond())
    measure = kl.path if rung == "path" else kl.chain
    measure(target, table)
    benchmark(measure, target, table)

"""The particle loop on a GPU: the CPU's law, and no step that waits for the device; skipped, visibly, where there is none."""

import math

import pytest
import torch

from targets import Gaussian, GaussianMixture
from verify import Grid, samplers
from verify.carry import particles
from verify.carry.moments import moments
from verify.carry.together import run_together
from verify.oracle import Exact
from verify.samplers import BUILDERS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

GRID = Grid.log_snr(9, snr=(0.02, 60.0))


@pytest.fixture
def no_waiting():
    """Whatever waits for the device raises."""
    before = torch.cuda.get_sync_debug_mode()
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode(before)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpmpp_2m", "exponential_ab3", "stochastic_ddim"])
def test_moments_on_a_gaussian(name):
    """Mean and variance against the exact law, 4.5 standard errors each: 6 numbers a method, 2e-4 false alarms in all."""
    law, table, n = Gaussian([0.5, -1.0, 2.0], [[0.25, 0, 0], [0, 3.0, 0], [0, 0, 1.0]]), BUILDERS[name](GRID), 200_000
    wanted = moments(table, Exact(law))
    states = particles.run(table, Exact(law.to(device="cuda")), n, seed=1)
    assert states.device.type == "cuda"
    found = states.cpu()
    off = (found.mean(0) - torch.from_numpy(wanted.mean)).abs() / torch.from_numpy(wanted.variance / n).sqrt()
    spread = (found.var(0) / torch.from_numpy(wanted.variance) - 1.0).abs() / math.sqrt(2 / (n - 1))
    assert float(off.max()) <= 4.5
    assert float(spread.max()) <= 4.5


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_loop_waits_for_nothing(name, no_waiting):
    """With a denoiser that only computes; an answer that was read back would raise."""

    class Shrunk(Exact):
        def denoiser(self, y, at):
            return 0.5 * y

    oracle, table = Shrunk(Gaussian([0.5, -1.0], [[1.0, 0.0], [0.0, 2.0]]).to(device="cuda")), BUILDERS[name](GRID)
    particles.run(table, oracle, 5000, seed=0, start="prior")  # whatever is set up once
    torch.cuda.synchronize()
    no_waiting()
    particles.run(table, oracle, 5000, seed=0, start="prior")
    particles.run(table, oracle, 5000, seed=0, start="prior", trajectory=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_nor_does_a_mixture(dtype, no_waiting):
    means = torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law = GaussianMixture.isotropic(torch.full((64,), 1 / 64), means, 0.5).to(device="cuda", dtype=dtype)
    tables = [samplers.ddpm(GRID), samplers.get("dpmpp_2m")(GRID)]
    for table in tables:
        particles.run(table, Exact(law), 512, seed=0, start="prior")
    run_together(tables, Exact(law), 512, seeds=[0, 1], start="prior")
    torch.cuda.synchronize()
    no_waiting()
    for table in tables:
        particles.run(table, Exact(law), 512, seed=0, start="prior")
    run_together(tables, Exact(law), 512, seeds=[0, 1], start="prior")

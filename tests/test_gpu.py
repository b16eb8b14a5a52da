"""The same numbers on a GPU; skipped, visibly, where there is none."""

import pytest
import torch

from targets import get
from verify import Grid, kl, samplers
from verify.carry import flow, particles
from verify.oracle import Exact

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("name", ["curved_mixture", "codebook", "digits"])
def test_denoiser_agrees_with_the_cpu(name):
    target = get(name)
    level = samplers.ddpm(Grid.log_snr(4, snr=(0.1, 10.0))).start
    y = torch.randn(512, target.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    there = target.to(device="cuda").denoiser(y.cuda(), level).cpu()
    torch.testing.assert_close(there, target.denoiser(y, level), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["codebook", "random_centres"])
def test_curve_and_path_agree_with_the_cpu(name):
    table = samplers.ddpm(Grid.log_snr(16, snr=(0.1, 100.0)))
    here, there = get(name), get(name).to(device="cuda")
    assert kl.path(there, table).value == pytest.approx(kl.path(here, table).value, rel=1e-8)


@pytest.mark.parametrize("name", ["gaussian", "curved_mixture", "two_components", "sphere"])
def test_exact_marginals_agree_with_the_cpu(name):
    table = samplers.ddpm(Grid.log_snr(16, snr=(0.1, 20.0)))
    target = get(name, dim=3) if name == "two_components" else get(name)
    expected = kl.marginal(target, table).value
    assert kl.marginal(target.to(device="cuda"), table).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["heun", "dpmpp_2m"])
def test_flow_agrees_with_the_cpu_point_by_point(name):
    table, target = samplers.get(name)(Grid.log_snr(8, snr=(0.1, 20.0))), get("codebook")
    x = torch.randn(64, target.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    here = flow.moved(table, Exact(target), x)
    there = flow.moved(table, Exact(target.to(device="cuda")), x.cuda())
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-9, atol=1e-9)


def test_particles_stay_on_the_device():
    target = get("codebook").to(device="cuda")
    states = particles.run(samplers.ddpm(Grid.log_snr(8, snr=(0.1, 100.0))), Exact(target), 100, seed=0)
    assert states.device.type == "cuda"
    assert torch.isfinite(states).all()

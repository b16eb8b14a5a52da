"""Linear probing of other libraries' stochastic samplers reproduces the moments carrier; their states our tables'."""

import pytest
import torch

from targets import Gaussian
from verify import samplers
from verify.audit import registry
from verify.audit.contract import Audited
from verify.audit.order import refined
from verify.audit.probing import probe
from verify.carry.moments import moments
from verify.oracle import Exact

LAW = Gaussian([0.5, -1.0, 2.0], [[0.05, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 3.0]])

CASES = [
    ("diffusers", "DDPMScheduler", {}, samplers.ddpm),
    ("diffusers", "DDIMScheduler", {"eta": 0.5}, lambda grid: samplers.stochastic_ddim(grid, eta=0.5)),
    ("diffusers", "EulerAncestralDiscreteScheduler", {}, samplers.ddpm),
    ("diffusers", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, samplers.sde_dpmpp_2m),
    ("azula", "DDPMSampler", {}, samplers.ddpm),
    ("k-diffusion", "sample_euler_ancestral", {}, samplers.ddpm),
    ("k-diffusion", "sample_dpm_2_ancestral", {}, samplers.dpm_solver_2_ancestral),
    ("k-diffusion", "sample_dpmpp_2m_sde", {"noise_sampler": "exact path"}, samplers.sde_dpmpp_2m),
]


def named(library: str, name: str, options: dict) -> Audited:
    if registry.adapter(library).version() is None:
        pytest.skip(f"{library} is not installed")
    for item in registry.samplers(library, name):
        if isinstance(item, Audited) and dict(item.options) == options:
            return item
    raise AssertionError(f"{library}: {name} with {options} is not among the configurations")


@pytest.mark.parametrize(("library", "name", "options", "build"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
@pytest.mark.parametrize("eased", [False, True], ids=["uniform", "eased"])
def test_probed_laws_are_the_moments_carriers(library, name, options, build, eased):
    audited = named(library, name, options)
    grid = refined(20, snr=(0.02, 200.0), process=audited.process, eased=eased)
    law, known = probe(audited.sampler, LAW, grid), moments(build(grid), Exact(LAW))
    torch.testing.assert_close(law.covariance, torch.diag(torch.from_numpy(known.variance)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(law.mean, torch.from_numpy(known.mean), rtol=1e-9, atol=1e-9)


def test_a_brownian_tree_rounds_its_times():
    """Its increments are exact to 1e-6 in sigma: on this grid that is 3e-7 of the variances, and not 1e-9."""
    audited = named("k-diffusion", "sample_dpmpp_2m_sde", {})
    grid = refined(20, snr=(0.02, 200.0), process="ve", eased=False)
    law, known = probe(audited.sampler, LAW, grid), moments(samplers.sde_dpmpp_2m(grid), Exact(LAW))
    gap = float((law.covariance.diagonal() / torch.from_numpy(known.variance) - 1.0).abs().max())
    assert 1e-9 < gap < 1e-6

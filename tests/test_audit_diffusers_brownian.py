"""Brownian paths in the place of the library's trees: their law, their order, their scope."""

import math

import pytest
import torch

from targets import Gaussian
from verify import samplers
from verify.audit.contract import NotDrivableError
from verify.audit.diffusers import brownian, inspect
from verify.audit.diffusers.inject import sampler
from verify.audit.draws import seeded
from verify.audit.order import as_sampler
from verify.audit.probing import probe
from verify.grid import Grid

pytest.importorskip("diffusers")
WINDOW = (0.02, 50.0)


def test_a_path_adds_up_and_draws_once_a_time():
    path = brownian.Path(torch.zeros(20000, 1, dtype=torch.float64), 0.1, 10.0)
    with seeded(torch.Generator().manual_seed(0)):
        half, whole, rest = path(4.0, 2.0), path(4.0, 1.0), path(2.0, 1.0)
    assert torch.allclose(whole * 3**0.5, half * 2**0.5 + rest, rtol=1e-12)
    assert len(path.times) == 3
    for one in (half, whole, rest):
        assert abs(float(one.std()) - 1.0) < 5 / math.sqrt(2 * 20000)  # five standard errors
    assert abs(float((half * rest).mean())) < 5 / math.sqrt(20000)
    with pytest.raises(NotDrivableError, match="not in order"):
        path(4.0, 3.0)


def test_the_library_asks_its_own_tree_outside():
    from diffusers.schedulers import scheduling_dpmsolver_sde as module

    tree = module.BrownianTreeNoiseSampler
    with brownian.paths(module):
        assert module.BrownianTreeNoiseSampler is brownian.Path
    assert module.BrownianTreeNoiseSampler is tree


def test_probing_reads_the_law_of_a_sampler_on_a_brownian_path():
    law = Gaussian([0.7, -0.4], [[0.5, 0.2], [0.2, 2.0]])
    grid = Grid.log_snr(4, snr=WINDOW, process="ve")
    theirs = probe(sampler(inspect.classes()["CosineDPMSolverMultistepScheduler"]), law, grid)
    ours = probe(as_sampler(samplers.sde_dpmpp_2m), law, grid)
    assert torch.allclose(theirs.covariance, ours.covariance, rtol=1e-11)
    assert torch.allclose(theirs.mean, ours.mean, rtol=1e-11)

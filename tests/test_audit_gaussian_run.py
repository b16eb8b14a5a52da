"""The law of one run on a Gaussian, Euler's method on its levels, and what a step keeps of its state."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from verify import Grid, samplers
from verify.audit.gaussian_run import MEAN, VARIANCE, Kept, denoise, error, euler, probe
from verify.audit.order import as_sampler

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("covertable")


@pytest.mark.parametrize(("build", "noisy"), [(samplers.ddim, False), (samplers.ddpm, True)])
@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
def test_euler_is_our_table(build, noisy, process):
    """The recursion for Euler's method and the probed law of our own tables agree to rounding."""
    grid = Grid.log_snr(12, snr=(0.02, 300.0), process=process)
    generator = torch.Generator().manual_seed(1)

    def run(start):
        return as_sampler(build)(lambda y, at: denoise(y, at.alpha, at.sigma), grid, start, generator)

    law = probe(run, scale=2.0, draws=3, dtype=torch.float64)
    pairs = [(level.alpha, level.sigma) for level in grid.levels]
    ours = euler(pairs, stochastic=noisy)
    assert law.stochastic == noisy
    assert np.allclose(law.gain, ours.gain, rtol=1e-12)
    assert np.allclose(law.offset, ours.offset, rtol=1e-11, atol=1e-13)
    assert np.allclose((law.noise**2).sum(0), (ours.noise**2).sum(0), rtol=1e-12)
    assert error(law, pairs[0], pairs[-1]) == pytest.approx(error(ours, pairs[0], pairs[-1]), rel=1e-9)


def test_error_is_the_distance_to_the_exact_flow():
    """Zero for the exact map; for ddim on a fine grid its first-order error; by hand for a shifted one."""
    first, last = (0.1, 0.9), (1.0, 0.05)
    variance = np.array(VARIANCE)
    gain = np.sqrt((last[0] ** 2 * variance + last[1] ** 2) / (first[0] ** 2 * variance + first[1] ** 2))

    def exact(start):
        return torch.from_numpy(gain) * (start - first[0] * torch.tensor(MEAN)) + torch.tensor(MEAN)

    law = probe(exact, scale=1.0, draws=0, dtype=torch.float64)
    assert error(law, first, last) < 1e-7
    moved = probe(lambda start: exact(start) + torch.tensor([0.03, 0.04]), scale=1.0, draws=0, dtype=torch.float64)
    assert error(moved, first, last) == pytest.approx(0.05, rel=1e-5)
    turned = probe(lambda start: -exact(start), scale=1.0, draws=0, dtype=torch.float64)
    assert error(turned, first, last) > 2.0
    noise = [np.exp(np.linspace(np.log(9.0), np.log(0.05), k + 1)) for k in (50, 100)]
    halves = [error(euler([(1.0, s) for s in row], stochastic=False), (1.0, 9.0), (1.0, 0.05)) for row in noise]
    assert halves[0] / halves[1] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
def test_what_is_kept_of_a_state(process):
    """Ancestral sampling keeps its own part, the flow σ'/σ, a renoised state nothing: each at every step."""
    grid = Grid.log_snr(12, snr=(0.02, 300.0), process=process)

    def most(build):
        kept = Kept()

        def run(start):
            generator = torch.Generator().manual_seed(1)
            return as_sampler(build)(lambda y, at: kept(y, at.alpha, at.sigma), grid, start, generator)

        probe(run, scale=2.0, draws=12, dtype=torch.float64)
        return kept.most

    def renoise():
        kept, state = Kept(), torch.zeros(len(grid.levels) + 1, 2, dtype=torch.float64)
        state[1] = 3.0
        for k, (at, then) in enumerate(pairwise(grid.levels)):
            state = then.alpha * kept(state, at.alpha, at.sigma)
            state[2 + k] += then.sigma
        assert kept.most is not None
        return kept.most

    ratio = max(then.snr / at.snr for at, then in pairwise(grid.levels[:-1]))
    assert most(samplers.ddpm) == pytest.approx(1.0, rel=1e-9)
    assert most(samplers.ddim) == pytest.approx(math.sqrt(ratio), rel=1e-9)
    assert renoise() < 1e-9
    assert Kept().most is None


def test_probe_asks_again_when_more_is_drawn():
    """A sampler that draws more than expected is probed with more rows; another shape is refused."""

    def many(start):
        for _ in range(7):
            start = 0.5 * start + torch.randn_like(start)
        return start

    law = probe(many, scale=1.0, draws=2, dtype=torch.float64)
    assert len(law.noise) == 7
    assert np.allclose((law.noise**2).sum(0), sum(0.25**j for j in range(7)))
    with pytest.raises(ValueError, match="shape"):
        probe(lambda start: start[:, :1], scale=1.0, draws=0)

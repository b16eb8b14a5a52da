"""Particles: moments against an exact recursion on Gaussians, reproducibility bit for bit, stages against a plain loop.

Every statistical check allows 4 standard errors (6e-5 false alarms each at fresh seeds; about 700 comparisons here, so
4% for the file if seeds were redrawn; they are fixed).
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from targets import Gaussian, Level, get, point_mass
from verify import Grid, Stage, Step, Table, samplers
from verify.carry import particles
from verify.oracle import ConstantBias, Exact, ScaleError
from verify.samplers import BUILDERS

CHAINS = 20_000
GRID = Grid.log_snr(9, snr=(0.02, 60.0))
TARGET = Gaussian([0.5, -1.0, 2.0], np.diag([0.25, 3.0, 0.0]))
STARTS = ("exact", "moment", "prior")


def first_law(level: Level, start: str) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance) of q_0 on TARGET's axes, vp."""
    mean, variance = TARGET.mean.numpy(), TARGET.variances.numpy()
    if start == "exact":
        return level.alpha * mean, level.alpha**2 * variance + level.sigma**2
    if start == "moment":
        return level.alpha * mean, np.full(3, level.sigma**2)
    return np.zeros(3), np.ones(3)


def recursion(table: Table, start: str, scale: float = 1.0, bias: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Exact final (mean, variance): m(x) = μ + g(x − αμ), g = αλ/(α²λ + σ²), is linear; m̂ = scale·m + bias.

    Every state and answer is a row of coefficients on (x_0 − E x_0, z_1, …, z_K, 1), one row an axis.
    """
    mu, lam = TARGET.mean.numpy(), TARGET.variances.numpy()
    mean, variance = first_law(table.start, start)
    x = np.zeros((3, table.steps + 2))
    x[:, 0], x[:, -1] = 1.0, mean
    first: list[np.ndarray] = []
    for k in range(table.steps):
        answers: list[np.ndarray] = []
        for stage in table.stages:
            alpha, sigma = stage.alpha[k], stage.sigma[k]
            gain = alpha * lam / (alpha**2 * lam + sigma**2)
            asked_at = stage.state[k] * x + sum(w * m for w, m in zip(stage.outputs[k], answers, strict=True))
            answers.append(scale * gain[:, None] * asked_at)
            answers[-1][:, -1] += scale * (1.0 - gain * alpha) * mu + bias
        x = table.state[k] * x + sum(w * m for w, m in zip(table.outputs[k], answers, strict=True))
        x = x + sum(table.history[k, j] * first[k - 1 - j] for j in range(min(k, table.history.shape[1])))
        x[:, 1 + k] += table.noise[k]
        first.append(answers[0])
    return x[:, -1], variance * x[:, 0] ** 2 + (x[:, 1:-1] ** 2).sum(1)


def agree(x: torch.Tensor, mean: np.ndarray, variance: np.ndarray) -> bool:
    """Sample mean and variance of every coordinate within 4 standard errors."""
    off = np.abs(x.mean(0).numpy() - mean) <= 4 * np.sqrt(variance / len(x))
    spread = np.abs(x.var(0).numpy() / variance - 1.0) <= 4 * math.sqrt(2 / (len(x) - 1))
    return bool(off.all() and spread.all())


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_moments_on_a_gaussian(name, start):
    """Against the exact recursion; an anisotropic, uncentred target with a null direction."""
    table = BUILDERS[name](GRID)
    x = particles.run(table, Exact(TARGET), CHAINS, seed=1, start=start)
    assert agree(x, *recursion(table, start))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_moments_with_a_wrong_denoiser(name):
    """The same with m̂ = 1.2 m and with m̂ = m + 0.3."""
    table = BUILDERS[name](GRID)
    scaled = particles.run(table, ScaleError(TARGET, 0.2), CHAINS, seed=2)
    assert agree(scaled, *recursion(table, "exact", scale=1.2))
    biased = particles.run(table, ConstantBias(TARGET, np.full(3, 0.3)), CHAINS, seed=3)
    assert agree(biased, *recursion(table, "exact", bias=0.3))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_moment_check_sees_a_wrong_table(name):
    """The twin: 5% on the denoiser's coefficient."""
    table = BUILDERS[name](GRID)
    wrong = replace(table, outputs=table.outputs * 1.05)
    assert not agree(particles.run(wrong, Exact(TARGET), CHAINS, seed=1), *recursion(table, "exact"))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
def test_first_states(process, start):
    """q_0 = p_0, N(α_0 E X, σ_0²), and N(0, 1) in vp or N(0, σ_0²) in ve and flow."""
    table = samplers.ddpm(Grid.log_snr(2, snr=(0.3, 1.0), process=process))
    x = particles.run(table, Exact(TARGET), CHAINS, seed=4, start=start, trajectory=True)[0]
    mean, variance = first_law(table.start, start)
    if start == "prior" and process != "vp":
        variance = np.full(3, table.start.sigma**2)
    assert agree(x, mean, variance)


def test_first_states_of_two_points_are_a_mixture():
    """E x⁴ of α·(±1) + σZ is α⁴ + 6α²σ² + 3σ⁴, which a Gaussian start misses by 2α⁴."""
    table = samplers.ddpm(Grid.log_snr(2, snr=(2.0, 8.0)))
    a, s = table.start.alpha, table.start.sigma
    for start, wanted in (("exact", a**4 + 6 * a**2 * s**2 + 3 * s**4), ("prior", 3.0), ("moment", 3 * s**4)):
        fourth = particles.run(table, Exact(get("two_points")), CHAINS, seed=5, start=start, trajectory=True)[0] ** 4
        assert abs(float(fourth.mean()) - wanted) <= 4 * float(fourth.std()) / CHAINS**0.5


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_reproducible_to_the_bit(name):
    """Same seed: same bits, with or without the trajectory; another seed: another sample."""
    table, target = BUILDERS[name](GRID), get("curved_mixture")
    one = particles.run(table, Exact(target), 5000, seed=7)
    two = particles.run(table, Exact(target), 5000, seed=7)
    path = particles.run(table, Exact(target), 5000, seed=7, trajectory=True)
    assert torch.equal(one, two)
    assert torch.equal(one, path[-1])
    assert path.shape == (table.steps + 1, 5000, 1)
    assert not torch.equal(one, particles.run(table, Exact(target), 5000, seed=8))


def test_global_seeds_are_neither_read_nor_moved():
    table, oracle = samplers.ddpm(GRID), Exact(TARGET)
    before = torch.random.get_rng_state()
    one = particles.run(table, oracle, 100, seed=7)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert torch.equal(one, particles.run(table, oracle, 100, seed=7))
    torch.random.set_rng_state(before)


@pytest.mark.parametrize("start", STARTS)
def test_chunks_do_not_see_each_other(start):
    """The first 4,096 of 5,000 are those of 4,096, bit for bit; the rest are not copies of them."""
    table, oracle = samplers.ddpm(GRID), Exact(get("curved_mixture"))
    many = particles.run(table, oracle, 5000, seed=9, start=start)
    assert torch.equal(many[: particles.CHAINS], particles.run(table, oracle, particles.CHAINS, seed=9, start=start))
    assert not torch.equal(many[particles.CHAINS :], many[: 5000 - particles.CHAINS])
    assert len(torch.unique(many)) == 5000


# ---- stages ---------------------------------------------------------------------------------------------


def heun(grid: Grid, noise: float = 0.0) -> Table:
    """Heun's method in u = σ/α on x/α by hand: D = (x/α − m)/u at both ends of the step."""
    steps = []
    for here, ahead in zip(grid.levels[:-1], grid.levels[1:], strict=True):
        u, v = here.sigma / here.alpha, ahead.sigma / ahead.alpha
        h, scale = v - u, ahead.alpha
        # predictor z + h (z − m)/u with z = x/α; corrector z + h/2 [(z − m)/u + (z_p − m_p)/v]
        on_x, on_m = (1 + h / u) / here.alpha, -h / u
        first = Stage(here, 1.0, ())
        second = Stage(ahead, scale * on_x, (scale * on_m,))
        state = scale * ((1 + h / (2 * u)) / here.alpha + h / (2 * v) * on_x)
        outputs = (scale * (-h / (2 * u) + h / (2 * v) * on_m), -scale * h / (2 * v))
        steps.append(Step(here, ahead, (first, second), state, outputs, noise))
    return Table.from_steps(steps)


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
def test_two_stages_against_a_plain_loop(process):
    """Heun in σ/α carried by the table = the textbook loop on z = x/α, 1e-12."""
    grid = Grid.karras(6, snr=(0.05, 50.0), process=process)
    target = get("curved_mixture")
    path = particles.run(heun(grid), Exact(target), 300, seed=3, trajectory=True)
    z = path[0] / grid.alpha[0]
    for k in range(grid.steps):
        here, ahead = grid.levels[k], grid.levels[k + 1]
        u, v = here.sigma / here.alpha, ahead.sigma / ahead.alpha
        slope = (z - target.denoiser(here.alpha * z, here)) / u
        guess = z + (v - u) * slope
        z = z + 0.5 * (v - u) * (slope + (guess - target.denoiser(ahead.alpha * guess, ahead)) / v)
        torch.testing.assert_close(path[k + 1], ahead.alpha * z, rtol=1e-12, atol=1e-12)


def test_two_stages_count_two_evaluations_and_draw_noise_once():
    """2nK rows; with noise, x′ − (x′ without noise) in one step is noise·N(0, 1)."""
    grid = Grid.karras(1, snr=(0.5, 5.0))
    oracle = Exact(get("curved_mixture"))
    quiet = particles.run(heun(grid), oracle, CHAINS, seed=3)
    assert oracle.evaluations == 2 * CHAINS
    added = (particles.run(heun(grid, 0.3), oracle, CHAINS, seed=3) - quiet) / 0.3
    assert abs(float(added.mean())) <= 4 / CHAINS**0.5
    assert abs(float(added.var()) - 1.0) <= 4 * math.sqrt(2 / CHAINS)


def test_heun_has_the_order_that_its_stages_buy():
    """Twice the steps: about a quarter of the error against 512 steps (ddim: half), the same first states."""

    def final(build, steps):
        grid = Grid.karras(steps, snr=(0.05, 50.0), process="ve")
        return particles.run(build(grid), Exact(TARGET), 64, seed=0)

    reference = final(heun, 512)
    for build, factor in ((heun, 4.0), (samplers.ddim, 2.0)):
        errors = [float((final(build, steps) - reference).abs().mean()) for steps in (32, 64)]
        assert errors[0] / errors[1] == pytest.approx(factor, rel=0.15, abs=0)


# ---- point masses and float32 ---------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_point_mass_is_reproduced(name, process):
    """Law αc + σZ at the end; for ddim the same Z that came in, to rounding."""
    target = point_mass([1.5, -4.0])
    table = BUILDERS[name](Grid.karras(7, snr=(0.01, 1e4), process=process))
    path = particles.run(table, Exact(target), CHAINS, seed=6, trajectory=True)
    first, last = ((path[k] - table.alpha[k] * target.mean) / table.sigma[k] for k in (0, -1))
    assert bool((last.mean(0).abs() <= 4 / CHAINS**0.5).all())
    assert bool(((last.var(0) - 1.0).abs() <= 4 * math.sqrt(2 / CHAINS)).all())
    if name == "ddim":
        torch.testing.assert_close(first, last, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_float32_target_stays_float32(name):
    """Device and dtype are the target's; moments still agree with the float64 recursion."""
    table = BUILDERS[name](GRID)
    x = particles.run(table, Exact(TARGET.to(dtype=torch.float32)), CHAINS, seed=1)
    assert x.dtype == torch.float32
    assert agree(x.double(), *recursion(table, "exact"))

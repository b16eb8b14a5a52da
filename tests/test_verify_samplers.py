"""Samplers by another route: the published algorithm, run literally on a nonlinear denoiser, takes the steps of the table.

Most are written in u = x/α and ς = σ/α, where the processes agree; a table's states are α u.  Multistep methods are in
test_verify_multistep.py.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from targets import Gaussian, Level
from targets.channel import PROCESSES
from verify import Grid, Table, samplers
from verify.carry.advance import advance
from verify.carry.moments import moments
from verify.identities import gauge_free, point_mass_defect, translation_defect
from verify.oracle import Exact
from verify.samplers.langevin import LANGEVIN

EXACT = 1e-12
POINTS = np.linspace(-2.5, 3.0, 12)
GRIDS = {
    "log_snr": lambda process="vp": Grid.log_snr(6, snr=(0.05, 9.0), process=process),
    "karras": lambda process="vp": Grid.karras(5, snr=(0.02, 30.0), process=process),
    "uniform_snr": lambda process="vp": Grid.uniform_snr(4, snr=(0.3, 6.0), process=process),
}

everywhere = [
    pytest.mark.parametrize("grid", GRIDS),
    pytest.mark.parametrize("process", ["vp", "ve", "flow"]),
]


def on_every_grid(test):
    for mark in everywhere:
        test = mark(test)
    return test


def answer(u: np.ndarray, noise: float) -> np.ndarray:
    """A nonlinear denoiser of u = x/α at ς = σ/α."""
    return np.tanh(u / (noise**2 + 0.2) + 0.3) + 0.1 * u / (1.0 + noise**2)


def ask(x: np.ndarray, level: Level) -> np.ndarray:
    return answer(x / level.alpha, level.sigma / level.alpha)


def shocks(count: int) -> np.ndarray:
    """The z of every step, one a start point."""
    return np.random.default_rng(3).standard_normal((count, len(POINTS)))


def states(table: Table, x: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Every state of the table from x, with z for its Gaussians."""
    out, past = [x], []
    for k in range(table.steps):
        step = table.step(k)
        mean, past = advance(step, out[-1], ask, past)
        out.append(mean + step.noise * z[k])
    return out


def ratios(table: Table) -> np.ndarray:
    """ς at every level visited."""
    return table.sigma / table.alpha


def agrees(table: Table, literal: Iterator[np.ndarray], z: np.ndarray | None = None) -> None:
    """The table's states over α are those that the literal algorithm yields, from u = POINTS on, at every level."""
    got = states(table, table.alpha[0] * POINTS, shocks(table.steps) if z is None else z)
    wanted = list(literal)
    assert len(wanted) == table.steps
    for k, (state, u) in enumerate(zip(got[1:], wanted, strict=True)):
        np.testing.assert_allclose(state / table.alpha[k + 1], u, rtol=EXACT, atol=EXACT, err_msg=f"step {k}")


def slope(u: np.ndarray, noise: float) -> np.ndarray:
    """du/dς of the probability flow."""
    return (u - answer(u, noise)) / noise


# ---- Runge–Kutta ---------------------------------------------------------------------------------------------------


def edm_deterministic(t: np.ndarray) -> Iterator[np.ndarray]:
    """Karras et al. 2022, Algorithm 1."""
    x = POINTS
    for i in range(len(t) - 1):
        d = (x - answer(x, t[i])) / t[i]
        ahead = x + (t[i + 1] - t[i]) * d
        d_ahead = (ahead - answer(ahead, t[i + 1])) / t[i + 1]
        x = x + (t[i + 1] - t[i]) * (0.5 * d + 0.5 * d_ahead)
        yield x


def edm_stochastic(t: np.ndarray, churn: float, z: np.ndarray) -> Iterator[np.ndarray]:
    """Karras et al. 2022, Algorithm 2 with S_tmin = 0, S_tmax = ∞, S_noise = 1: after the noise, and after the step."""
    x, count = POINTS, len(t) - 1
    for i in range(count):
        raised = t[i] + min(churn / count, math.sqrt(2.0) - 1.0) * t[i]
        x = x + math.sqrt(raised**2 - t[i] ** 2) * z[2 * i]
        yield x
        d = (x - answer(x, raised)) / raised
        ahead = x + (t[i + 1] - raised) * d
        x = x + (t[i + 1] - raised) * (0.5 * d + 0.5 * (ahead - answer(ahead, t[i + 1])) / t[i + 1])
        yield x


def runge_kutta_3(t: np.ndarray) -> Iterator[np.ndarray]:
    """Heun's third-order method for du/dς."""
    u = POINTS
    for start, h in zip(t, np.diff(t), strict=False):
        one = slope(u, start)
        two = slope(u + h / 3 * one, start + h / 3)
        three = slope(u + 2 * h / 3 * two, start + 2 * h / 3)
        u = u + h / 4 * (one + 3 * three)
        yield u


def random_midpoint(t: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """One draw of the place a step, from the generator of that seed."""
    u = POINTS
    for start, h, c in zip(t, np.diff(t), np.random.default_rng(seed).uniform(size=len(t) - 1), strict=False):
        u = u + h * slope(u + c * h * slope(u, start), start + c * h)
        yield u


@on_every_grid
def test_heun(grid, process):
    table = samplers.heun(GRIDS[grid](process))
    agrees(table, edm_deterministic(ratios(table)))


@on_every_grid
def test_rk3(grid, process):
    table = samplers.rk3(GRIDS[grid](process))
    agrees(table, runge_kutta_3(ratios(table)))


@on_every_grid
@pytest.mark.parametrize("seed", [0, 5])
def test_randomised_midpoint(grid, process, seed):
    table = samplers.randomised_midpoint(GRIDS[grid](process), seed)
    agrees(table, random_midpoint(ratios(table), seed))


@on_every_grid
@pytest.mark.parametrize("churn", [0.4, 10.0])
def test_edm_churn(grid, process, churn):
    """Below and at the cap of √2 − 1."""
    grid = GRIDS[grid](process)
    table = samplers.edm_churn(grid, churn)
    z = shocks(table.steps)
    agrees(table, edm_stochastic(grid.sigma / grid.alpha, churn, z), z)
    np.testing.assert_allclose(table.snr[::2], grid.snr, rtol=1e-14)


@on_every_grid
def test_dpm_solver_2(grid, process):
    """Lu et al. 2022, Algorithm 1 with r_1 = ½, in x, λ and the noise prediction ε = (x − α m)/σ."""
    grid = GRIDS[grid](process)

    def epsilon(x: np.ndarray, level: Level) -> np.ndarray:
        return (x - level.alpha * ask(x, level)) / level.sigma

    def literal() -> Iterator[np.ndarray]:
        x = grid.alpha[0] * POINTS
        for here, ahead in zip(grid.levels[:-1], grid.levels[1:], strict=True):
            lam = [math.log(level.alpha / level.sigma) for level in (here, ahead)]
            h, middle = lam[1] - lam[0], np.array(math.exp(2.0 * (lam[0] + 0.5 * (lam[1] - lam[0]))))
            half = Level(float(PROCESSES[process].alpha(middle)), float(PROCESSES[process].sigma(middle)))
            u = half.alpha / here.alpha * x - half.sigma * math.expm1(0.5 * h) * epsilon(x, here)
            x = ahead.alpha / here.alpha * x - ahead.sigma * math.expm1(h) * epsilon(u, half)
            yield x / ahead.alpha

    agrees(samplers.dpm_solver_2(grid), literal())


def get_ancestral_step(sigma_from: float, sigma_to: float, eta: float = 1.0) -> tuple[float, float]:
    """k-diffusion's."""
    up = min(sigma_to, eta * (sigma_to**2 * (sigma_from**2 - sigma_to**2) / sigma_from**2) ** 0.5)
    return (sigma_to**2 - up**2) ** 0.5, up


@on_every_grid
def test_dpm_solver_2_ancestral(grid, process):
    """k-diffusion's sample_dpm_2_ancestral."""
    table = samplers.dpm_solver_2_ancestral(GRIDS[grid](process))
    z, sigmas = shocks(table.steps), ratios(table)

    def literal() -> Iterator[np.ndarray]:
        x = POINTS
        for i in range(table.steps):
            down, up = get_ancestral_step(sigmas[i], sigmas[i + 1])
            d = (x - answer(x, sigmas[i])) / sigmas[i]
            middle = math.exp(0.5 * (math.log(sigmas[i]) + math.log(down)))
            x_2 = x + d * (middle - sigmas[i])
            d_2 = (x_2 - answer(x_2, middle)) / middle
            x = x + d_2 * (down - sigmas[i]) + z[i] * up
            yield x

    agrees(table, literal(), z)


# ---- stochastic DDIM, Langevin, predictor–corrector ------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("eta", [0.1, 0.5, 1.0])
def test_stochastic_ddim(grid, eta):
    """Song, Meng & Ermon, eq. 12 and 16, in ᾱ = α²."""
    table = samplers.stochastic_ddim(GRIDS[grid](), eta)
    bar, z = table.alpha**2, shocks(table.steps)

    def literal() -> Iterator[np.ndarray]:
        x = table.alpha[0] * POINTS
        for k in range(table.steps):
            clean = ask(x, Level(float(table.alpha[k]), float(table.sigma[k])))
            epsilon = (x - math.sqrt(bar[k]) * clean) / math.sqrt(1 - bar[k])
            noise = eta * math.sqrt((1 - bar[k + 1]) / (1 - bar[k])) * math.sqrt(1 - bar[k] / bar[k + 1])
            x = math.sqrt(bar[k + 1]) * clean + math.sqrt(1 - bar[k + 1] - noise**2) * epsilon + noise * z[k]
            yield x / table.alpha[k + 1]

    agrees(table, literal(), z)


@on_every_grid
def test_stochastic_ddim_lies_between_ddim_and_ddpm(grid, process):
    """η = 1 is ddpm to rounding; as η → 0 the coefficients go to ddim's like η², the noise like η."""
    grid = GRIDS[grid](process)
    one, ddpm, ddim = samplers.stochastic_ddim(grid, 1.0), samplers.ddpm(grid), samplers.ddim(grid)
    for part in ("state", "outputs", "noise"):
        np.testing.assert_allclose(getattr(one, part), getattr(ddpm, part), rtol=1e-13)
    for eta in (1e-2, 1e-4):
        near = samplers.stochastic_ddim(grid, eta)
        for part in ("state", "outputs"):
            np.testing.assert_allclose(getattr(near, part), getattr(ddim, part), rtol=0, atol=4 * eta**2)
        np.testing.assert_allclose(near.noise, eta * ddpm.noise, rtol=1e-14)


LEVELS = {"vp": Level(0.6, 0.8), "ve": Level(1.0, 1.7), "flow": Level(0.3, 0.7)}


def langevin_step(x: np.ndarray, level: Level, step: float, z: np.ndarray) -> np.ndarray:
    score = (level.alpha * ask(x, level) - x) / level.sigma**2
    return x + step * score + math.sqrt(2.0 * step) * z


@pytest.mark.parametrize("process", LEVELS)
@pytest.mark.parametrize("size", [0.02, 0.1, 1.5])
def test_langevin(process, size):
    """x + ε s(x) + √(2ε) z with the score of the level; size > 1, where the state's coefficient is negative, too."""
    level, z = LEVELS[process], shocks(3)
    table = samplers.langevin(level, 3, size)
    x = level.alpha * POINTS
    for got, shock in zip(states(table, x, z)[1:], z, strict=True):
        x = langevin_step(x, level, size * level.sigma**2, shock)
        np.testing.assert_allclose(got, x, rtol=EXACT, atol=EXACT)
    assert table.start == table.stop == level
    assert (table.steps, table.evaluations) == (3, 3)


def test_langevin_keeps_what_it_declares():
    """Translation, and the same scale-free coefficients at one snr in two processes; a point mass grows."""
    table = samplers.langevin(Level(0.6, 0.8), 2)
    assert table.method is LANGEVIN
    assert {"translation", "gauge"} == LANGEVIN.identities
    assert translation_defect(table) < 1e-15
    np.testing.assert_allclose(gauge_free(table), gauge_free(samplers.langevin(Level(1.0, 0.8 / 0.6), 2)), rtol=1e-14)
    assert point_mass_defect(table) == pytest.approx(0.1**2, rel=1e-12, abs=0)


@pytest.mark.parametrize("size", [0.05, 0.1, 0.8])
@pytest.mark.parametrize("process", LEVELS)
def test_stationary_law_of_langevin(process, size):
    """On N(μ, λ): mean α μ and variance S/(1 − εS⁻¹/2), S = α²λ + σ², from exact moments after many steps."""
    level, lam = LEVELS[process], np.array([0.3, 2.0])
    target = Gaussian([0.5, -1.0], np.diag(lam))
    law = moments(samplers.langevin(level, 4000, size), Exact(target), "prior")
    total, step = level.alpha**2 * lam + level.sigma**2, size * level.sigma**2
    np.testing.assert_allclose(law.variance, total / (1.0 - step / total / 2.0), rtol=1e-10)
    np.testing.assert_allclose(law.mean, level.alpha * target.mean.numpy(), rtol=1e-10)


@on_every_grid
@pytest.mark.parametrize("size", [0.5, 0.05])
def test_predictor_corrector(grid, process, size):
    """ddpm's step to each level, then one Langevin step there of ε = size·(1 − γ/γ′)·σ′²."""
    grid = GRIDS[grid](process)
    table, predictor = samplers.predictor_corrector(grid, size), samplers.ddpm(grid)
    z = shocks(2 * grid.steps)

    def literal() -> Iterator[np.ndarray]:
        x = grid.alpha[0] * POINTS
        for k in range(grid.steps):
            ahead = grid.levels[k + 1]
            x = advance(predictor.step(k), x, ask, [])[0] + predictor.noise[k] * z[2 * k]
            yield x / ahead.alpha
            x = langevin_step(x, ahead, size * (1 - grid.snr[k] / grid.snr[k + 1]) * ahead.sigma**2, z[2 * k + 1])
            yield x / ahead.alpha

    agrees(table, literal(), z)
    assert table.stop == grid.levels[-1]

"""Planted bugs: copies of our tables with one symbol changed; every one runs and returns states that look like samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from verify import Grid, Table, samplers
from verify.samplers.ancestral import DPM_SOLVER_2_ANCESTRAL
from verify.samplers.churn import EDM_CHURN
from verify.samplers.ddim import DDIM, STOCHASTIC
from verify.samplers.ddpm import DDPM
from verify.samplers.multistep import DPMPP_2M, EXPONENTIAL_AB2, EXPONENTIAL_AB3, SDE_DPMPP_2M, weighted_powers
from verify.samplers.runge_kutta import DPM_SOLVER_2, HEUN, RK3, flow_steps
from verify.step import Method

Build = Callable[[Grid], Table]


@dataclass(frozen=True)
class Bug:
    """A builder with one symbol changed; the check that has to be among those that fail."""

    method: Method
    build: Build
    caught: str


BUGS: dict[str, Bug] = {}


def planted(method: Method, caught: str) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        BUGS[build.__name__] = Bug(method, build, caught)
        return build

    return register


def parts(grid: Grid) -> tuple[np.ndarray, ...]:
    """α, α′, σ, σ′, 1 − γ/γ′."""
    return grid.alpha[:-1], grid.alpha[1:], grid.sigma[:-1], grid.sigma[1:], np.diff(grid.snr) / grid.snr[1:]


def half_steps(grid: Grid) -> np.ndarray:
    """h = ½ log(γ′/γ)."""
    return 0.5 * np.log(grid.snr[1:] / grid.snr[:-1])


# ---- frozen denoiser -------------------------------------------------------------------------------------------------


@planted(DDIM, "point_mass")
def ddim_sign(grid):
    """α′ + ασ′/σ for α′ − ασ′/σ."""
    alpha, ahead, sigma, after, _ = parts(grid)
    return Table.one_stage(DDIM, grid, after / sigma, ahead + alpha * after / sigma, 0.0)


@planted(DDIM, "translation")
def ddim_wrong_alpha(grid):
    """α′σ′/σ for ασ′/σ."""
    _, ahead, sigma, after, _ = parts(grid)
    return Table.one_stage(DDIM, grid, after / sigma, ahead - ahead * after / sigma, 0.0)


@planted(DDIM, "point_mass")
def ddim_inverted_ratio(grid):
    """σ/σ′ for σ′/σ."""
    alpha, ahead, sigma, after, _ = parts(grid)
    return Table.one_stage(DDIM, grid, sigma / after, ahead - alpha * sigma / after, 0.0)


@planted(DDIM, "translation")
def ddim_level_before(grid):
    """The denoiser is told level k − 1 for level k."""
    table = samplers.ddim(grid)
    (stage,) = table.stages
    late = replace(
        stage, alpha=np.append(stage.alpha[0], stage.alpha[:-1]), sigma=np.append(stage.sigma[0], stage.sigma[:-1])
    )
    return replace(table, stages=(late,))


@planted(DDIM, "levels")
def ddim_every_second_level(grid):
    """range(0, K, 2) for range(0, K)."""
    return samplers.ddim(Grid(np.unique(np.append(grid.snr[::2], grid.snr[-1])), grid.process))


@planted(DDPM, "point_mass")
def ddpm_no_root(grid):
    """σ′(1 − γ/γ′) for σ′√(1 − γ/γ′)."""
    alpha, ahead, sigma, after, gained = parts(grid)
    return Table.one_stage(DDPM, grid, alpha / ahead * (after / sigma) ** 2, ahead * gained, after * gained)


@planted(DDPM, "point_mass")
def ddpm_sigma_of_here(grid):
    """σ√(1 − γ/γ′) for σ′√(1 − γ/γ′)."""
    alpha, ahead, sigma, after, gained = parts(grid)
    return Table.one_stage(DDPM, grid, alpha / ahead * (after / sigma) ** 2, ahead * gained, sigma * np.sqrt(gained))


@planted(DDPM, "point_mass")
def ddpm_forward_variance(grid):
    """√(1 − (α/α′)²), the forward β, for the posterior's."""
    alpha, ahead, sigma, after, gained = parts(grid)
    noise = np.sqrt(np.abs(1.0 - (alpha / ahead) ** 2)) + (grid.process != "vp") * after
    return Table.one_stage(DDPM, grid, alpha / ahead * (after / sigma) ** 2, ahead * gained, noise)


@planted(DDPM, "translation")
def ddpm_alpha_of_here(grid):
    """α(1 − γ/γ′) for α′(1 − γ/γ′)."""
    alpha, ahead, sigma, after, gained = parts(grid)
    return Table.one_stage(DDPM, grid, alpha / ahead * (after / sigma) ** 2, alpha * gained, after * np.sqrt(gained))


@planted(DDPM, "point_mass")
def ddpm_no_square(grid):
    """σ′/σ for (σ′/σ)²."""
    alpha, ahead, sigma, after, gained = parts(grid)
    return Table.one_stage(DDPM, grid, alpha / ahead * (after / sigma), ahead * gained, after * np.sqrt(gained))


@planted(STOCHASTIC, "point_mass")
def stochastic_ddim_no_square(grid, eta=0.5):
    """1 − η for 1 − η²."""
    alpha, ahead, sigma, after, gained = parts(grid)
    ratio = after / sigma * np.sqrt(grid.snr[:-1] / grid.snr[1:] + (1.0 - eta) * gained)
    return Table.one_stage(STOCHASTIC, grid, ratio, ahead - alpha * ratio, eta * after * np.sqrt(gained))


# ---- Runge–Kutta -----------------------------------------------------------------------------------------------------


def tableau(method, grid, nodes, inner, weights):
    one = np.ones(grid.steps)
    return flow_steps(
        method,
        grid,
        grid.snr[1:],
        [c * one for c in nodes],
        [[a * one for a in row] for row in inner],
        [b * one for b in weights],
    )


@planted(HEUN, "point_mass")
def heun_weight_of_one(grid):
    """1, ½ for ½, ½."""
    return tableau(HEUN, grid, [0, 1], [[], [1]], [1, 0.5])


@planted(HEUN, "order")
def heun_uneven_weights(grid):
    """¼ for ½ in the first weight, the second its complement: exact on a point mass, of first order."""
    return tableau(HEUN, grid, [0, 1], [[], [1]], [0.25, 0.75])


@planted(HEUN, "translation")
def heun_second_level(grid):
    """The second evaluation is told the level of the first."""
    table = samplers.heun(grid)
    first, second = table.stages
    return replace(table, stages=(first, replace(second, alpha=first.alpha, sigma=first.sigma)))


@planted(DPM_SOLVER_2, "point_mass")
def dpm_solver_2_half_way(grid):
    """c/2 for c in the predictor of the midpoint."""
    place = 1.0 / (1.0 + (grid.snr[:-1] / grid.snr[1:]) ** 0.25)
    return tableau(DPM_SOLVER_2, grid, [0.0, place], [[], [place / 2]], [0, 1])


@planted(DPM_SOLVER_2, "order")
def dpm_solver_2_midpoint(grid):
    """ς + cΔ with c = 1/(2 + √(ς′/ς)) for 1/(1 + √(ς′/ς))."""
    place = 1.0 / (2.0 + (grid.snr[:-1] / grid.snr[1:]) ** 0.25)
    return tableau(DPM_SOLVER_2, grid, [0.0, place], [[], [place]], [0, 1])


@planted(RK3, "order")
def rk3_inner(grid):
    """⅓, ⅓ for 0, ⅔ in the third stage."""
    third = 1.0 / 3.0
    return tableau(RK3, grid, [0, third, 2 * third], [[], [third], [third, third]], [0.25, 0, 0.75])


@planted(DPM_SOLVER_2_ANCESTRAL, "point_mass")
def ancestral_without_the_way_down(grid):
    """The flow runs to ς′ for ς_down, and the noise comes on top."""
    up = np.sqrt(np.diff(grid.snr) / grid.snr[1:] / grid.snr[1:])
    place = 1.0 / (1.0 + (grid.snr[:-1] / grid.snr[1:]) ** 0.25)
    one = np.ones(grid.steps)
    return flow_steps(DPM_SOLVER_2_ANCESTRAL, grid, grid.snr[1:], [0 * one, place], [[], [place]], [0 * one, one], up)


@planted(EDM_CHURN, "point_mass")
def churn_no_root(grid, churn=10.0):
    """c(2 + c) for √(c(2 + c))."""
    rate = min(churn / grid.steps, math.sqrt(2.0) - 1.0)
    table = samplers.edm_churn(grid, churn)
    noise = table.noise.copy()
    noise[::2] *= math.sqrt(rate * (2.0 + rate))
    return replace(table, noise=noise)


# ---- multistep -------------------------------------------------------------------------------------------------------


def multistep(method, grid, scale, weights, noise=0.0):
    now, *earlier = (grid.alpha[1:] * w for w in weights)
    return Table.one_stage(method, grid, scale, now, noise, np.stack(earlier, axis=1))


def two_step(method, grid, gain, lean, scale=None, noise=0.0):
    lean = np.append(0.0, lean)
    ratio = grid.sigma[1:] / grid.sigma[:-1] if scale is None else scale
    return multistep(method, grid, ratio, [gain + lean, -lean], noise)


@planted(DPMPP_2M, "order")
def dpmpp_2m_without_the_half(grid):
    """1/r for 1/(2r)."""
    h = half_steps(grid)
    gain = -np.expm1(-h)
    return two_step(DPMPP_2M, grid, gain, gain[1:] * h[1:] / h[:-1])


@planted(DPMPP_2M, "order")
def dpmpp_2m_equal_steps(grid):
    """½ for 1/(2r): right on grids even in log snr, and of first order on others."""
    gain = -np.expm1(-half_steps(grid))
    return two_step(DPMPP_2M, grid, gain, gain[1:] * 0.5)


@planted(DPMPP_2M, "order")
def dpmpp_2m_sign(grid):
    """m̂_prev − m̂ for m̂ − m̂_prev."""
    h = half_steps(grid)
    gain = -np.expm1(-h)
    return two_step(DPMPP_2M, grid, gain, -gain[1:] * 0.5 * h[1:] / h[:-1])


@planted(EXPONENTIAL_AB2, "order")
def ab2_power(grid):
    """p_0 for p_1/h in the slope's weight."""
    h = half_steps(grid)
    p0, _ = weighted_powers(h, 2)
    return two_step(EXPONENTIAL_AB2, grid, p0, p0[1:] * h[1:] / h[:-1])


@planted(EXPONENTIAL_AB3, "order")
def ab3_history(grid):
    """p_1 b for p_1 a in the weight of the oldest answer, p_1 a for p_1 b in the middle one: a and b exchanged."""
    table = samplers.exponential_ab3(grid)
    if grid.steps <= 2:
        return table
    h = half_steps(grid)
    p0, p1, p2 = (p[2:] for p in weighted_powers(h, 3))
    a, b = h[1:-1], h[1:-1] + h[:-2]
    now = p0 + (p1 * (a + b) + p2) / (a * b)
    last, before = -(p1 * a + p2) / (a * (b - a)), (p1 * b + p2) / (b * (b - a))
    weights = [np.concatenate([[0.0, 0.0], w]) for w in (now + (p0 - now - last - before), last, before)]
    later = multistep(EXPONENTIAL_AB3, grid, grid.sigma[1:] / grid.sigma[:-1], weights)
    return Table.from_steps(
        [table.step(k) for k in range(2)] + [later.step(k) for k in range(2, grid.steps)], EXPONENTIAL_AB3
    )


@planted(SDE_DPMPP_2M, "point_mass")
def sde_dpmpp_2m_exponent(grid):
    """√(1 − e^{−h}) for √(1 − e^{−2h}) in the noise."""
    h = half_steps(grid)
    gain = -np.expm1(-2.0 * h)
    scale, noise = grid.sigma[1:] / grid.sigma[:-1] * np.exp(-h), grid.sigma[1:] * np.sqrt(-np.expm1(-h))
    return two_step(SDE_DPMPP_2M, grid, gain, gain[1:] * 0.5 * h[1:] / h[:-1], scale, noise)


@planted(SDE_DPMPP_2M, "order")
def sde_dpmpp_2m_no_correction(grid):
    """0 for 1/(2r): the first-order method under the second-order one's name."""
    h = half_steps(grid)
    scale, noise = grid.sigma[1:] / grid.sigma[:-1] * np.exp(-h), grid.sigma[1:] * np.sqrt(-np.expm1(-2.0 * h))
    return two_step(SDE_DPMPP_2M, grid, -np.expm1(-2.0 * h), 0.0 * h[1:], scale, noise)

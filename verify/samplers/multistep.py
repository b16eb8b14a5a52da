"""Multistep methods on the denoiser in λ = ½ log γ:  u′ = e^{-h} u + ∫_0^h e^{-(h−s)} m̂(λ + s) ds,  u = x/α, h = λ′ − λ.

m̂ along the step is extrapolated from what earlier steps were answered:

    dpmpp_2m           m̂(midpoint) by a line through the last two, held over the step        Lu et al. 2022b (2211.01095)
    sde_dpmpp_2m       the same with h → 2h in the exponentials and posterior noise           Lu et al. 2022b
    exponential_ab2    the line itself, integrated exactly                                    Hochbruck & Ostermann 2010
    exponential_ab3    the parabola through the last three, integrated exactly                the same

Starters: one step of ddim (of ddpm with noise) for the first three; two steps of `rk3` for exponential_ab3, because an error
of order h² or h³ made at the start would stay visible in the order of the whole.
"""

from __future__ import annotations

import math

import numpy as np

from verify.grid import Grid, on_grid
from verify.samplers.runge_kutta import rk3
from verify.step import Method, Table

IDENTITIES = frozenset({"point_mass", "translation", "gauge"})
FLOW = IDENTITIES | {"constant_bias"}

DPMPP_2M = Method(
    name="dpmpp_2m",
    formula="x' = (σ'/σ) x + α'(1 − e^-h)[m + (m − m_prev)/(2r)],  r = h_prev/h;  starter ddim",
    source="Lu et al. 2022b (2211.01095), Algorithm 2",
    freezes="nothing: extrapolated denoiser",
    order=2,
    identities=FLOW,
)
SDE_DPMPP_2M = Method(
    name="sde_dpmpp_2m",
    formula="x' = (σ'/σ)e^-h x + α'(1 − e^-2h)[m + (m − m_prev)/(2r)] + σ'√(1 − e^-2h) z;  starter ddpm",
    source="Lu et al. 2022b (2211.01095), SDE-DPM-Solver++(2M)",
    freezes="nothing: extrapolated denoiser",
    order=2,
    identities=FLOW,
    references=("reverse",),
)
EXPONENTIAL_AB2 = Method(
    name="exponential_ab2",
    formula="u' = e^-h u + ∫ e^-(h-s) (line through m, m_prev) ds;  starter ddim",
    source="Hochbruck & Ostermann 2010, sec. 2.5; Zhang & Chen 2022 (DEIS)",
    freezes="nothing: extrapolated denoiser",
    order=2,
    identities=FLOW,
)
EXPONENTIAL_AB3 = Method(
    name="exponential_ab3",
    formula="u' = e^-h u + ∫ e^-(h-s) (parabola through the last three m) ds;  starter rk3, two steps",
    source="Hochbruck & Ostermann 2010, sec. 2.5; Zhang & Chen 2022 (DEIS)",
    freezes="nothing: extrapolated denoiser",
    order=3,
    identities=FLOW,
)


@on_grid
def dpmpp_2m(grid: Grid) -> Table:
    """DPM-Solver++(2M): 1/(2r) of the last difference on top of the frozen denoiser, r = h_{k−1}/h_k."""
    return _two_step(DPMPP_2M, grid, -np.expm1(-_steps(grid)))


@on_grid
def exponential_ab2(grid: Grid) -> Table:
    """Exponential Adams–Bashforth 2: with p_n = ∫_0^h e^{-(h−s)} sⁿ ds, p_0 m̂ + p_1 (m̂ − m̂_prev)/h_{k−1}."""
    h = _steps(grid)
    p0, p1 = weighted_powers(h, 2)
    lean = np.append(0.0, p1[1:] / h[:-1])
    return _assembled(EXPONENTIAL_AB2, grid, grid.sigma[1:] / grid.sigma[:-1], [p0 + lean, -lean], 0.0)


@on_grid
def exponential_ab3(grid: Grid) -> Table:
    """Exponential Adams–Bashforth 3 with two steps of `rk3` before it (a grid of one or two steps is all starter).

    Lagrange weights on the nodes 0, −a, −b, a = h_{k−1}, b = h_{k−1} + h_{k−2}.
    """
    starter = rk3(grid)
    if grid.steps <= 2:
        return Table.from_steps([starter.step(k) for k in range(grid.steps)], EXPONENTIAL_AB3)
    h = _steps(grid)
    p0, p1, p2 = (p[2:] for p in weighted_powers(h, 3))
    a, b = h[1:-1], h[1:-1] + h[:-2]
    now = p0 + (p1 * (a + b) + p2) / (a * b)
    last = -(p1 * b + p2) / (a * (b - a))
    before = (p1 * a + p2) / (b * (b - a))
    weights = [np.concatenate([[0.0, 0.0], w]) for w in (now, last, before)]
    later = _assembled(EXPONENTIAL_AB3, grid, grid.sigma[1:] / grid.sigma[:-1], weights, 0.0)
    steps = [starter.step(k) for k in range(2)] + [later.step(k) for k in range(2, grid.steps)]
    return Table.from_steps(steps, EXPONENTIAL_AB3)


@on_grid
def sde_dpmpp_2m(grid: Grid) -> Table:
    """SDE-DPM-Solver++(2M) in its midpoint form: ddpm with the same extrapolation.

    Weakly of second order: its extrapolation restores, one step late, the covariance of denoiser and noise; measured on
    Gaussians, where the marginal KL falls like K^{-4}.
    """
    h = _steps(grid)
    noise = grid.sigma[1:] * np.sqrt(-np.expm1(-2.0 * h))
    scale = grid.sigma[1:] / grid.sigma[:-1] * np.exp(-h)
    return _two_step(SDE_DPMPP_2M, grid, -np.expm1(-2.0 * h), scale, noise)


def weighted_powers(h: np.ndarray, count: int) -> list[np.ndarray]:
    """p_n = ∫_0^h e^{-(h−s)} sⁿ ds for n < count: p_0 = 1 − e^{-h}, p_n = hⁿ − n p_{n−1}; by series below h = 1.

    p_n = Σ_j (−1)^j n!/(n + 1 + j)! h^{n+1+j}, where the recursion would lose n + 1 times the digits of h.
    """
    out = [-np.expm1(-h)]
    for n in range(1, count):
        series = sum((-1.0) ** j * math.factorial(n) / math.factorial(n + 1 + j) * h ** (n + 1 + j) for j in range(20))
        out.append(np.where(h < 1.0, series, h**n - n * out[-1]))
    return out


def _steps(grid: Grid) -> np.ndarray:
    """h_k = ½ log(γ_{k+1}/γ_k)."""
    return 0.5 * np.log1p(np.diff(grid.snr) / grid.snr[:-1])


def _two_step(
    method: Method, grid: Grid, gain: np.ndarray, scale: np.ndarray | None = None, noise: np.ndarray | float = 0.0
) -> Table:
    """gain·[m̂ + (m̂ − m̂_prev)/(2r)]."""
    h = _steps(grid)
    lean = np.append(0.0, gain[1:] * 0.5 * h[1:] / h[:-1])
    scale = grid.sigma[1:] / grid.sigma[:-1] if scale is None else scale
    return _assembled(method, grid, scale, [gain + lean, -lean], noise)


def _assembled(
    method: Method, grid: Grid, scale: np.ndarray, weights: list[np.ndarray], noise: np.ndarray | float
) -> Table:
    """x′ = scale·x + α′ Σ_j weights_j m̂[k − j] + noise·z."""
    now, *earlier = (grid.alpha[1:] * w for w in weights)
    return Table.one_stage(method, grid, scale, now, noise, np.stack(earlier, axis=1))

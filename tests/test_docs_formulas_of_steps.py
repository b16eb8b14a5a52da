"""Both sides of the formulas on the mathematics pages: chain, marginal, schedules, score error, rates."""

import math

import numpy as np
import pytest
import torch
from pages import states
from scipy import integrate
from test_docs_formulas import CURVED, GRID, close, integral, kernel

from targets import Gaussian, Level, get
from verify import Grid, bounds, kl, rates, samplers
from verify.claims.claim import Row, estimate
from verify.losses import read_losses
from verify.oracle import ConstantBias, ScaleError

LAMBDA, MEAN = 2.5, 0.7
NORMAL = Gaussian([MEAN], [[LAMBDA]])
ANISOTROPIC = get("anisotropic_gaussian", dim=3)


def mmse(law, gamma):
    """The law's curve, as numbers."""
    return np.asarray(law.mmse(gamma).value)


def reverse_steps(law, table, error=None):
    """The page's KL of a step against the reverse chain, (K,)."""
    a, b, s, al, si, g = kernel(table)
    known, d, second = mmse(law, g[:-1]), law.dim, law.second_moment
    big_a, big_b = al[:-1] * si[1:] ** 2 / (al[1:] * si[:-1] ** 2), al[1:] * (1 - g[:-1] / g[1:])
    q2 = si[1:] ** 2 * (1 - g[:-1] / g[1:])
    c, f = big_a - a, big_b - b
    state = al[:-1] ** 2 * second + d * si[:-1] ** 2
    apart = c**2 * state + 2 * c * f * al[:-1] * second + f**2 * (second - known)
    gained = np.diff(np.asarray(law.mutual_information(g).value))
    value = -gained + d / 2 * (np.log(s**2 / q2) - 1) + (d * q2 + big_b**2 * known + apart) / (2 * s**2)
    if error is not None:
        square, with_x, with_m = error
        value = value + (b**2 * square - 2 * b * (c * with_x + f * with_m)) / (2 * s**2)
    return value


@pytest.mark.parametrize("sampler", ["ddpm", "ei_sde", "euler_maruyama", "jain_zhang", "relative_score"])
@pytest.mark.parametrize("law", [CURVED, ANISOTROPIC], ids=["curved mixture", "Gaussian"])
def test_chain_against_the_reverse_chain(law, sampler):
    states(
        "chain",
        r"\mathrm{KL}_k = -\Delta I_k + \frac d2\Bigl(\log\frac{s^2}{\sigma_q^2} - 1\Bigr) + \frac{d\,\sigma_q^2 + B^2",
    )
    states("chain", r"+ B^2\,\mathrm{mmse}(\gamma_k) + \mathbb{E}\lVert(A - a)x + (B - b)m\rVert^2}{2s^2}")
    table = samplers.get(sampler)(GRID)
    close(float(kl.chain(law, table).value), reverse_steps(law, table).sum(), 1e-8)


def test_errors_of_the_denoiser_in_a_chain():
    states(
        "score_error",
        r"\frac{b^2\,\mathbb{E}\lVert\varepsilon\rVert^2 - 2b\,\bigl(c\,\mathbb{E}\langle x, \varepsilon\rangle + f\,",
    )
    states(
        "score_error",
        r"c^2\bigl(\mathbb{E}\lVert X\rVert^2 - \mathrm{mmse}\bigr), \qquad \mathbb{E}\langle x, \varepsilon\rangle = c",
    )
    table, c = samplers.jain_zhang(GRID), 0.2
    al, g, second = table.alpha[:-1], table.snr[:-1], CURVED.second_moment
    size = second - mmse(CURVED, g)
    steps = reverse_steps(CURVED, table, (c**2 * size, c * al * second, c * size))
    close(float(kl.chain(CURVED, table, oracle=ScaleError(CURVED, c)).value), steps.sum(), 1e-8)


def test_the_ladder():
    states(
        "rungs",
        r"\mathrm{KL}(p_K\,\Vert\,q_K) \le \mathrm{KL}(p_{0\ldots K}\,\Vert\,q_{0\ldots K}) \le \mathrm{KL}(P\,\Vert\,Q)",
    )
    for sampler in ("ddpm", "ei_sde"):
        table = samplers.get(sampler)(GRID)
        marginal, chain, path = (float(rung(CURVED, table).value) for rung in (kl.marginal, kl.chain, kl.path))
        assert 0 < marginal < chain <= path * (1 + 1e-9)


def test_least_kernel_against_the_reverse_chain():
    states("chain", r"\frac{h_k^2}{4}\Bigl(D(\gamma_k) - \frac{\mathrm{mmse}(\gamma_k)^2}{d}\Bigr)")
    law, gamma, h = ANISOTROPIC, 1.3, 2e-3
    known, d = float(law.mmse(gamma).value), law.dim
    frozen = 0.5 * h * known - float(law.mutual_information(gamma + h).value - law.mutual_information(gamma).value)
    rho = np.linspace(0.98, 1.02, 40001)  # σ_q²/s²
    least = (frozen + d / 2 * (rho - 1 - np.log(rho)) + 0.5 * h * known * (rho - 1)).min()
    close(least, h**2 / 4 * (float(law.mmse_slope(gamma).value) - known**2 / d), 0.01)


def test_increments_of_the_denoiser():
    states("chain", r"\mathbb{E}\lVert m_k - m_{k-j}\rVert^2 = \mathrm{mmse}(\gamma_{k-j}) - \mathrm{mmse}(\gamma_k)")
    g0, g1, generator = 0.7, 2.4, torch.Generator().manual_seed(3)
    x = CURVED.sample(200_000, generator)
    noise = torch.randn(2, *x.shape, dtype=x.dtype, generator=generator)
    path = [g0 * x + math.sqrt(g0) * noise[0], g1 * x + math.sqrt(g0) * noise[0] + math.sqrt(g1 - g0) * noise[1]]
    early, late = (
        CURVED.denoiser(y * Level.from_snr(g).alpha / g, Level.from_snr(g)) for y, g in zip(path, (g0, g1), strict=True)
    )
    square = (late - early).square().sum(1)
    expected, error = float(mmse(CURVED, g0) - mmse(CURVED, g1)), float(square.std()) / math.sqrt(len(square))
    assert abs(float(square.mean()) - expected) < 4.5 * error < 0.02 * expected  # false alarm below 1e-5


def test_chain_against_flow_and_noise():
    states("chain", r"\mathrm{KL}_k = \frac{\mathbb{E}\lVert T(x) - M(x)\rVert^2}{2s^2}")
    states("chain", r"\frac{(1 + \rho)^4}{16\rho}")
    centred = Gaussian([0.0], [[LAMBDA]])
    table = samplers.jain_zhang(GRID)
    a, b, s, al, si, _ = kernel(table)
    spread = np.sqrt(al**2 * LAMBDA + si**2)
    flow = np.sqrt(al[1:] ** 2 * LAMBDA + si[1:] ** 2 - s**2) / spread[:-1]
    mean = a + b * al[:-1] * LAMBDA / spread[:-1] ** 2
    value = ((flow - mean) ** 2 * spread[:-1] ** 2 / (2 * s**2)).sum()
    close(float(kl.chain(centred, table, reference="flow+noise").value), value, 1e-8)
    fine = Grid.uniform_ou_time(4000, ou_time=(1.0, 0.3))
    at = {
        rho: float(kl.chain(centred, samplers.jain_zhang(fine, overshoot=rho), reference="flow+noise").value)
        for rho in (0.25, 1.0, 2.0)
    }
    for rho in (0.25, 2.0):
        close(at[rho] / at[1.0], (1 + rho) ** 4 / (16 * rho), 2e-3)


def test_marginal_on_gaussians():
    states(
        "marginal",
        r"\frac12\sum_i\bigl(r_i - \log(1 + r_i)\bigr) + \frac12\sum_i\frac{(\mu_i - \hat\mu_i)^2}{\hat v_i}",
    )
    states("marginal", r"W_2^2 = \sum_i\bigl(\sqrt{v_i} - \sqrt{\hat v_i}\bigr)^2 + \lVert\mu - \hat\mu\rVert^2")
    states("marginal", r"\frac{\hat v}{v} = 1 - \frac{1}{1 - b_K}\sum_k\frac{(b_k - b_{k+1})^2}{b_k}")
    states("marginal", r"\sqrt{\hat v/v} = \prod_k\cos\Delta\theta_k")
    g = GRID.snr
    b, theta = 1 / (1 + g * LAMBDA), np.arctan(1 / np.sqrt(g * LAMBDA))
    true = GRID.alpha[-1] ** 2 * LAMBDA + GRID.sigma[-1] ** 2
    for sampler, share in (
        ("ddpm", 1 - ((b[:-1] - b[1:]) ** 2 / b[:-1]).sum() / (1 - b[-1])),
        ("ddim", np.prod(np.cos(np.diff(theta))) ** 2),
    ):
        table, r = samplers.get(sampler)(GRID), 1 / share - 1
        close(float(kl.marginal(NORMAL, table).value), 0.5 * (r - math.log1p(r)), 1e-8)
        close(float(kl.wasserstein(NORMAL, table).value), math.sqrt(true) * (1 - math.sqrt(share)), 1e-8)


def test_small_divergences_are_quadratic():
    states("marginal", r"\mathbb{E}_q[\,w\log w - w + 1\,]")
    states("marginal", r"\frac{\epsilon^2}{2}\,\mathbb{E}_p[g^2] + O(\epsilon^3)")
    x, weight = np.polynomial.legendre.leggauss(400)
    p = np.exp(-0.5 * (8 * x) ** 2) / math.sqrt(2 * math.pi) * 8 * weight
    g, eps = np.cos(8 * x) - p @ np.cos(8 * x), 1e-4
    direct, w = -(p @ np.log1p(eps * g)), 1 / (1 + eps * g)
    close(direct, eps**2 / 2 * (p @ g**2), 1e-3)
    close((p * (1 + eps * g)) @ (w * np.log(w) - w + 1), direct, 1e-6)


def test_best_grids():
    states(
        "schedules",
        r"\gamma_{k+1} - \gamma_k = \frac{\mathrm{mmse}(\gamma_{k-1}) - \mathrm{mmse}(\gamma_k)}{D(\gamma_k)}",
    )
    states("schedules", r"\frac12\sum_k h_k\,\mathrm{mmse}(\gamma_k) - \Delta I")
    states("schedules", r"\frac{dK}{2}\Bigl(e^{\Lambda/K} - 1 - \frac{\Lambda}{K}\Bigr), \qquad S = \sqrt{d}\,\Lambda")
    window = (0.05, 40.0)
    grid = Grid.optimal(CURVED, steps=9, snr=window)
    g = grid.snr
    np.testing.assert_allclose(
        np.diff(g)[1:], -np.diff(mmse(CURVED, g))[:-1] / np.asarray(CURVED.mmse_slope(g[1:-1]).value), rtol=1e-6
    )
    gained = float(np.diff(np.asarray(CURVED.mutual_information(np.array(window)).value))[0])
    close(float(kl.path(CURVED, samplers.ddpm(grid)).value), 0.5 * (np.diff(g) @ mmse(CURVED, g[:-1])) - gained, 1e-8)
    law, steps = Gaussian([MEAN] * 2, LAMBDA * np.eye(2)), 9
    total = math.log((1 + window[1] * LAMBDA) / (1 + window[0] * LAMBDA))
    least = Grid.optimal(law, steps=steps, snr=window)
    np.testing.assert_allclose(np.diff(np.log1p(least.snr * LAMBDA)), total / steps, rtol=1e-7)
    close(float(kl.path(law, samplers.ddpm(least)).value), steps * (math.exp(total / steps) - 1 - total / steps), 1e-8)
    close(float(law.curve.discretisation_length(*window).value), math.sqrt(2) * total, 1e-8)


def test_best_grid_of_the_marginal():
    states("schedules", r"\frac{b_k}{b_{k-1}} = \frac12\Bigl(1 + \frac{b_{k+1}^2}{b_k^2}\Bigr)")
    found = kl.marginal_optimal(NORMAL, samplers.ddpm, steps=5, snr=(0.05, 10.0))
    b = 1 / (1 + found.grid.snr * LAMBDA)
    np.testing.assert_allclose(b[1:-1] / b[:-2], 0.5 * (1 + (b[2:] / b[1:-1]) ** 2), rtol=1e-3)


def test_limits_and_bounds_of_schedules():
    states("schedules", r"\to \frac14\int\frac{D}{\rho}\,d\gamma \ge \frac{S^2}{4}, \qquad S = \int\sqrt{D}\,d\gamma")
    states(
        "schedules",
        r"\frac{\gamma_K - \gamma_0}{4}\bigl(\mathrm{mmse}(\gamma_0) - \mathrm{mmse}(\gamma_K)\bigr), \qquad \frac L4",
    )
    states(
        "schedules",
        r"\frac L4\bigl(2\Delta I + \gamma_0\,\mathrm{mmse}(\gamma_0) - \gamma_K\,\mathrm{mmse}(\gamma_K)\bigr)",
    )
    states("schedules", r"\le \kappa\,I(\gamma_K) \le \kappa\,H")
    states("schedules", r"S \le 2\sqrt2\sum_{i \ne j}(p_ip_j)^{1/4}")
    low, high = window = (0.05, 40.0)
    ends, steps = mmse(CURVED, np.array(window)), 4096
    gained = float(np.diff(np.asarray(CURVED.mutual_information(np.array(window)).value))[0])
    length = integral(lambda u: math.sqrt(float(CURVED.mmse_slope(u).value)), *window)
    log = math.log(high / low)
    for grid, limit in (
        (Grid.uniform_snr(steps, snr=window), (high - low) / 4 * (ends[0] - ends[1])),
        (Grid.log_snr(steps, snr=window), log / 4 * (2 * gained + low * ends[0] - high * ends[1])),
        (Grid.sqrt_slope(CURVED, steps=steps, snr=window), length**2 / 4),
    ):
        close(steps * float(kl.discretisation(CURVED, grid).value), limit, 4e-3)
    coarse = samplers.ddpm(Grid.log_snr(12, snr=window))
    told, kappa = float(CURVED.mutual_information(high).value), (high / low) ** (1 / 12) - 1
    close(float(np.asarray(bounds.frozen_denoiser(coarse, told))), kappa * told, 1e-9)
    assert float(kl.path(CURVED, coarse).value) <= kappa * told
    p, bit = 0.03, get("rare_bit", p=0.03)
    assert float(bit.curve.discretisation_length().value) <= 2 * math.sqrt(2) * 2 * (p * (1 - p)) ** 0.25


def test_losses_and_constant_errors():
    states("score_error", r"\frac12\lVert c\rVert^2\,(\gamma_K - \gamma_0)")
    states("score_error", r"\mathrm{KL}_{\mathrm{init}} + \frac12\sum_k h_k\,\ell(\gamma_k) - \Delta I")
    states(
        "score_error",
        r"\Delta\,\mathbb{E}\lVert e\rVert^2 + 2(\Delta - 1 + e^{-\Delta})\,\mathbb{E}\langle s, e\rangle",
    )
    states(
        "schedules",
        r"\gamma\,\mathbb{E}\lVert X - \hat m\rVert^2, \qquad \text{loss of }\hat v = (1 + \gamma)\,\mathbb{E}",
    )
    g, c, table = GRID.snr, 0.2, samplers.ddpm(GRID)
    for prediction, factor in (("epsilon", g), ("v", 1 + g)):
        logged = {"snr": g, "loss": factor * mmse(CURVED, g)}
        read = read_losses(logged, prediction=prediction, weighting="sum", process="vp")
        np.testing.assert_allclose(read.loss, mmse(CURVED, g), rtol=1e-12)
    exact = float(kl.path(CURVED, table).value)
    shifted = ConstantBias(CURVED, torch.tensor([0.4], dtype=torch.float64))
    close(float(kl.path(CURVED, table, oracle=shifted).value) - exact, 0.5 * 0.16 * (g[-1] - g[0]), 1e-9)
    size = CURVED.second_moment - mmse(CURVED, g[:-1])
    loss = mmse(CURVED, g[:-1]) + c**2 * size
    gained = float(np.asarray(CURVED.mutual_information(g).value)[[0, -1]] @ [-1.0, 1.0])
    scaled = float(kl.path(CURVED, table, oracle=ScaleError(CURVED, c)).value)
    close(scaled, 0.5 * (np.diff(g) @ loss) - gained, 1e-8)
    delta, al, si = -np.diff(GRID.ou_time), GRID.alpha[:-1], GRID.sigma[:-1]
    score = al / si**4 * c * (al * size - al * CURVED.second_moment)  # E⟨s, e⟩ with e = (α/σ²) c m
    parts = kl.parts(CURVED, samplers.ei_sde(GRID), oracle=ScaleError(CURVED, c))
    close(float(parts["oracle"].value), (delta * (al / si**2) ** 2 * c**2 * size).sum(), 1e-8)
    close(float(parts["cross"].value), (2 * (delta - 1 + np.exp(-delta)) * score).sum(), 1e-8)


def test_steps_near_the_last_level():
    states("rates", r"\frac{\nu}{2}\,(e^c - 1 - c)")
    states("rates", r"\frac{d - \nu}{2}\,(c - 1 + e^{-c})")
    states("rates", r"\frac{d - \nu}{8}\,e^c\,(1 - e^{-c})^3")
    c, t = 0.3, 1e-7
    grid = Grid.from_snr(1 / np.expm1(2 * t * np.exp(-c * np.arange(3))))
    smooth, singular = Gaussian([0.5], [[1.5]]), Gaussian([0.5], [[0.0]])
    close(float(kl.path(smooth, samplers.ddpm(grid)).value), 2 * 0.5 * (math.exp(c) - 1 - c), 1e-4)
    close(float(kl.path(singular, samplers.ei_sde(grid)).value), 2 * 0.5 * (c - 1 + math.exp(-c)), 1e-4)
    one = float(kl.chain(singular, samplers.jain_zhang(grid), reference="flow+noise").value)
    close(one, math.exp(c) * (1 - math.exp(-c)) ** 3 / 8, 1e-4)


def test_slopes_limits_and_margins():
    states("rates", r"E = -\frac{\zeta}{\varrho^q - 1}")
    states("rates", r"\sum_iv_i\prod_{j \ne i}\frac{\eta_j}{\eta_j - \eta_i}")
    states("rates", r"\text{slope} = \frac{\sum_iw_i(u_i - \bar u)\,v_i}{\sum_iw_i(u_i - \bar u)^2}")
    states("rates", r"\frac{\min(v - \text{low},\ \text{high} - v)}{(\text{high} - \text{low})/2}")
    states("rates", r"\text{variance} = \frac{1}{\sum_iw_i(u_i - \bar u)^2}")
    k = np.array([64.0, 128.0, 256.0])
    slopes = np.diff(np.log(k**-2.0 * (1 + 0.3 / k))) / math.log(2)
    close(slopes[1] + 2.0, -(slopes[1] - slopes[0]) / (2 - 1), 0.02)
    values, eta = 3.0 + 0.7 / k + 5.0 / k**2, 1 / k
    weights = [math.prod(eta[j] / (eta[j] - eta[i]) for j in range(3) if j != i) for i in range(3)]
    close(float(rates.limit(k, [estimate(v) for v in values]).value), values @ weights, 1e-9)
    noise, spread = np.array([0.1, -0.2, 0.05, 0.1]), np.array([0.1, 0.2, 0.1, 0.3])
    x = np.array([8.0, 16.0, 32.0, 64.0])
    y = x**-1.0 * np.exp(noise * 0.1)
    u, v, w = np.log(x), np.log(y), 1 / spread**2
    centred = u - w @ u / w.sum()
    found = rates.fit(x, y, stderr=spread * y)
    close(found.slope, (w * centred) @ v / ((w * centred) @ centred), 1e-9)
    close((found.interval[1] - found.interval[0]) / 2, 1.959964 / math.sqrt((w * centred) @ centred), 1e-5)
    close(Row("law", "window", "number", estimate(1.2), 1.0, 2.0).margin, min(0.2, 0.8) / 0.5)


def test_cost_of_an_error_in_two_times():
    states(
        "score_error",
        r"\frac12\,\mathbb{E}\lVert\varepsilon\rVert^2\,\lvert d\gamma\rvert = \mathbb{E}\lVert e\rVert^2\,\lvert dt\rvert",
    )
    t, dt = 0.4, 1e-5
    level = samplers.ddpm(Grid.from_snr(1 / np.expm1(2 * np.array([t + dt, t - dt]))))
    gain = (level.alpha[0] / level.sigma[0] ** 2) ** 2
    close(0.5 * float(np.diff(level.snr)[0]), gain * 2 * dt, 1e-3)


def test_the_density_of_a_step_on_the_line():
    states("marginal", r"q_{k+1}(x') = \int q_k(x)\,N\bigl(x';\,M_k(x),\,s_k^2\bigr)\,dx")
    grid = Grid.from_snr(np.array([0.5, 2.0]))
    table = samplers.ddpm(grid)
    start, stop = table.start, table.stop
    a, b, s = (float(c[0]) for c in table.affine())
    x = torch.linspace(-9, 9, 6001, dtype=torch.float64)[:, None]
    q0, m = CURVED.log_prob(x, start).exp().numpy(), CURVED.denoiser(x, start)[:, 0].numpy()
    mean, y = a * x[:, 0].numpy() + b * m, x[::4, 0].numpy()
    q1 = np.array(
        [
            integrate.simpson(q0 * np.exp(-0.5 * ((v - mean) / s) ** 2) / (s * math.sqrt(2 * math.pi)), dx=0.003)
            for v in y
        ]
    )
    p = CURVED.log_prob(x[::4], stop).exp().numpy()
    inside = p > 1e-250
    value = integrate.simpson(np.where(inside, p * np.log(np.where(inside, p / q1, 1.0)), 0.0), dx=0.012)
    close(float(kl.marginal(CURVED, table).value), value, 1e-6)

"""Both sides of the formulas on the mathematics pages: channel, identities, tables, rungs, path.

Each test names the formula as the page prints it; where a page is changed, its test has to be, and is then evaluated.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from pages import states
from scipy import integrate, special

from targets import Discrete, Gaussian, Level, get, process
from verify import Grid, Table, bounds, identities, kl, samplers
from verify.oracle import ConstantBias

GRID = Grid.exponential_uniform(7, ou_time=(1.7, 0.05))
CURVED = get("curved_mixture")
GAUSS = get("anisotropic_gaussian", dim=3)


def line(law, gamma: float):
    """Nodes of the state on the line at snr γ in vp, its density's weights, and the level."""
    at = Level.from_snr(gamma)
    y, w = np.polynomial.legendre.leggauss(3000)
    y, w = 9.0 * y, 9.0 * w
    density = law.log_prob(torch.as_tensor(y)[:, None], at).exp().numpy()
    assert w @ density == pytest.approx(1.0, abs=1e-12)
    return torch.as_tensor(y)[:, None], w * density, at


def integral(function, low: float, high: float) -> float:
    """Of a smooth function of one variable."""
    return integrate.quad(function, low, high, epsabs=1e-13, epsrel=1e-12, limit=400)[0]


def close(one: Any, other: Any, rel: float = 1e-9) -> None:
    assert float(one) == pytest.approx(float(other), rel=rel, abs=1e-13)


def kernel(table: Table):
    """(a, b, s) arrays of a one-evaluation table with levels α, σ, γ and their successors."""
    a, b, s = table.affine()
    return a, b, s, table.alpha, table.sigma, table.snr


def test_channel():
    states("channel", r"x = \alpha X + \sigma Z, \qquad \gamma = \frac{\alpha^2}{\sigma^2}")
    states("channel", r"\gamma = \frac{1}{e^{2t} - 1}, \qquad d\gamma = -2\gamma(1 + \gamma)\,dt")
    states("channel", r"\alpha = e^{-t}, \qquad \sigma^2 = 1 - e^{-2t}")
    vp, t, step = process("vp"), 0.37, 1e-6
    close(float(vp.alpha(vp.snr(np.array(t)))), math.exp(-t))
    close(float(vp.sigma(vp.snr(np.array(t)))) ** 2, -math.expm1(-2 * t))
    gamma = 1.0 / math.expm1(2 * t)
    close(float(vp.snr(np.array(t + step)) - vp.snr(np.array(t - step))) / (2 * step), -2 * gamma * (1 + gamma), 1e-8)


def test_one_step_of_the_channel():
    states(
        "channel",
        r"A = \frac{\alpha\sigma'^2}{\alpha'\sigma^2}, \quad B = \alpha'\Bigl(1 - \frac{\gamma}{\gamma'}\Bigr), \quad",
    )
    states("channel", r"\sigma_q^2 = \sigma'^2\Bigl(1 - \frac{\gamma}{\gamma'}\Bigr)")
    states(
        "tables",
        r"\frac{\alpha\sigma'^2}{\alpha'\sigma^2}\,x + \alpha'\Bigl(1 - \frac{\gamma}{\gamma'}\Bigr)\hat m + \sigma'\sqrt{",
    )
    a, b, s, al, si, g = kernel(samplers.ddpm(GRID))
    share = 1 - g[:-1] / g[1:]
    np.testing.assert_allclose(a, al[:-1] * si[1:] ** 2 / (al[1:] * si[:-1] ** 2), rtol=1e-12)
    np.testing.assert_allclose(b, al[1:] * share, rtol=1e-12)
    np.testing.assert_allclose(s**2, si[1:] ** 2 * share, rtol=1e-12)
    variance, mean = 0.7, a * al[:-1] + b  # of X = N(1, variance): the step leads from one marginal to the next
    np.testing.assert_allclose(mean, al[1:], rtol=1e-12)
    spread = a**2 * (al[:-1] ** 2 * variance + si[:-1] ** 2) + 2 * a * b * al[:-1] * variance + b**2 * variance + s**2
    np.testing.assert_allclose(spread, al[1:] ** 2 * variance + si[1:] ** 2, rtol=1e-12)


def test_score_and_slope_of_the_denoiser():
    states("identities", r"\nabla\log p(x) = \frac{\alpha\,m(x) - x}{\sigma^2}")
    states("identities", r"\frac{\partial m}{\partial x} = \frac{\alpha}{\sigma^2}\,\mathrm{Cov}[X \mid x]")
    y, at, step = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None], Level.from_snr(3.0), 1e-5
    slope = (CURVED.log_prob(y + step, at) - CURVED.log_prob(y - step, at)) / (2 * step)
    np.testing.assert_allclose(
        ((at.alpha * CURVED.denoiser(y, at) - y) / at.sigma**2)[:, 0], slope, rtol=1e-7, atol=1e-8
    )
    rise = (CURVED.denoiser(y + step, at) - CURVED.denoiser(y - step, at)) / (2 * step)
    np.testing.assert_allclose(
        at.alpha / at.sigma**2 * CURVED.posterior_covariance(y, at)[:, 0], rise, rtol=1e-6, atol=1e-9
    )


def test_moments_by_quadrature_over_the_state():
    states("identities", r"\sigma^2\,\mathbb{E}\lVert s\rVert^2 = d - \gamma\,\mathrm{mmse}")
    states(
        "identities",
        r"\mathbb{E}\lVert m\rVert^2 = \mathbb{E}\lVert X\rVert^2 - \mathrm{mmse}, \qquad \mathbb{E}\langle x, m\rangle =",
    )
    states("identities", r"D(\gamma) = -\mathrm{mmse}'(\gamma) = \mathbb{E}\lVert \mathrm{Cov}[X \mid x]\rVert_F^2")
    states(
        "identities",
        r"\mathrm{mmse}(\gamma) = \mathbb{E}\lVert X - m\rVert^2 = \mathbb{E}\,\mathrm{tr}\,\mathrm{Cov}[X \mid x]",
    )
    gamma = 2.3
    y, w, at = line(CURVED, gamma)
    m, s = CURVED.denoiser(y, at)[:, 0].numpy(), CURVED.score(y, at)[:, 0].numpy()
    covariance = CURVED.posterior_covariance(y, at)[:, 0, 0].numpy()
    mmse, second = float(CURVED.mmse(gamma).value), CURVED.second_moment
    close(w @ covariance, mmse)
    close(w @ m**2, second - mmse)
    close(w @ (y[:, 0].numpy() * m), at.alpha * second)
    close(at.sigma**2 * (w @ s**2), 1 - gamma * mmse)
    close(w @ covariance**2, float(CURVED.mmse_slope(gamma).value))
    step = 1e-4
    fall = (float(CURVED.mmse(gamma - step).value) - float(CURVED.mmse(gamma + step).value)) / (2 * step)
    close(fall, w @ covariance**2, 1e-6)


def test_information():
    states(
        "identities",
        r"\frac12\int_0^\gamma \mathrm{mmse}(u)\,du = \frac12\,\gamma\,\mathrm{mmse}(\gamma) + \frac12\int_0^\gamma u\,D",
    )
    states("identities", r"H(X) = \frac12\int_0^\infty \mathrm{mmse}(\gamma)\,d\gamma")
    gamma = 4.0
    known = float(CURVED.mutual_information(gamma).value)
    close(0.5 * integral(lambda u: float(CURVED.mmse(u).value), 0, gamma), known, 1e-8)
    part = integral(lambda u: u * float(CURVED.mmse_slope(u).value), 0, gamma)
    close(0.5 * gamma * float(CURVED.mmse(gamma).value) + 0.5 * part, known, 1e-8)
    bit = get("rare_bit", p=0.1)
    told = 0.5 * integral(lambda log: math.exp(log) * float(bit.mmse(math.exp(log)).value), -18.0, 7.0)
    close(told, float(bit.entropy().value), 1e-7)


def test_closed_forms():
    states("identities", r"I = \frac12\sum_i \log(1 + \gamma\lambda_i)")
    states(
        "identities",
        r"\frac{dv}{1 + \gamma v} + \frac{1}{(1 + \gamma v)^2}\,\mathrm{mmse}_C\Bigl(\frac{\gamma}{1 + \gamma v}\Bigr)",
    )
    states("identities", r"\mathrm{mmse}(\gamma) = 1 - \mathbb{E}\tanh(\gamma + \sqrt{\gamma}\,Z)")
    states("identities", r"m(x) = R\,\frac{I_{d/2}(\kappa)}{I_{d/2-1}(\kappa)}\,\frac{x}{\lVert x\rVert}")
    states(
        "identities",
        r"\frac{\lambda_i}{1 + \gamma\lambda_i}, \qquad D = \sum_i \Bigl(\frac{\lambda_i}{1 + \gamma\lambda_i}\Bigr)^2",
    )
    lam, g, v = np.array([0.3, 2.0]), 1.7, 0.09
    gauss = Gaussian([0.1, -0.4], np.diag(lam))
    close(float(gauss.mmse(g).value), (lam / (1 + g * lam)).sum())
    close(float(gauss.mmse_slope(g).value), ((lam / (1 + g * lam)) ** 2).sum())
    close(float(gauss.mutual_information(g).value), 0.5 * np.log1p(g * lam).sum())
    core = Discrete([[0.0], [2.0]], [0.7, 0.3])
    blurred = v / (1 + g * v) + float(core.mmse(g / (1 + g * v)).value) / (1 + g * v) ** 2
    close(float(get("two_components", separation=2.0, variance=v, p=0.3).mmse(g).value), blurred)
    told = integral(lambda z: math.tanh(g + math.sqrt(g) * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), -12, 12)
    close(float(get("two_points").mmse(g).value), 1 - told)
    ball, at = get("sphere", dim=5, spread=2.0), Level.from_snr(0.8)
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    radius, size = 2 * math.sqrt(5), x.norm(dim=1, keepdim=True)
    kappa = (at.alpha * radius * size / at.sigma**2).numpy()
    expected = radius * special.iv(2.5, kappa) / special.iv(1.5, kappa) * (x / size).numpy()
    np.testing.assert_allclose(ball.denoiser(x, at).numpy(), expected, rtol=1e-10)


def in_score(table: Table):
    """(state, score, noise) coefficients: b m = b (σ² s + x)/α."""
    a, b, s, al, si, _ = kernel(table)
    return a + b / al[:-1], b * si[:-1] ** 2 / al[:-1], s


def test_tables():
    states("tables", r"\frac{\sigma'}{\sigma}\,x + \Bigl(\alpha' - \frac{\alpha\sigma'}{\sigma}\Bigr)\hat m")
    states("tables", r"x' = e^{\Delta}x + 2(e^{\Delta} - 1)\,\hat s + \sqrt{e^{2\Delta} - 1}\;z")
    states("tables", r"x' = x + \Delta\,(x + 2\hat s) + \sqrt{2\Delta}\;z")
    states("tables", r"x' = e^{-\Delta}x + 2(1 - e^{-\Delta})(\hat s + x) + \sqrt{1 - e^{-2\Delta}}\;z")
    states("tables", r"e^{-r}\bigl(e^{\Delta + r}x + (e^{\Delta + r} - 1)\,\hat s\bigr) + \sqrt{1 - e^{-2r}}\;z")
    a, b, _, al, si, _ = kernel(samplers.ddim(GRID))
    np.testing.assert_allclose([a, b], [si[1:] / si[:-1], al[1:] - al[:-1] * si[1:] / si[:-1]], rtol=1e-11)
    delta, exp = -np.diff(GRID.ou_time), np.exp
    r = delta[1:]
    for table, expected in (
        (samplers.ei_sde(GRID), (exp(delta), 2 * (exp(delta) - 1), np.sqrt(exp(2 * delta) - 1))),
        (samplers.euler_maruyama(GRID), (1 + delta, 2 * delta, np.sqrt(2 * delta))),
        (
            samplers.relative_score(GRID),
            (2 - exp(-delta), 2 * (1 - exp(-delta)), np.sqrt(1 - exp(-2 * delta))),
        ),
        (
            samplers.jain_zhang(GRID),
            (exp(delta[:-1]), exp(-r) * (exp(delta[:-1] + r) - 1), np.sqrt(1 - exp(-2 * r))),
        ),
    ):
        np.testing.assert_allclose(in_score(table), expected, rtol=1e-8)


def test_promises_of_coefficients():
    states("tables", r"a\,\alpha + \sum_i b_i + \sum_j g_j = \alpha', \qquad a^2\sigma^2 + s^2 = \sigma'^2")
    states("tables", r"\frac{\gamma_0}{\gamma_K}\ \text{(ddpm)}, \quad \sqrt{\frac{\gamma_0}{\gamma_K}}\ \text{(ddim)}")
    g = GRID.snr
    for sampler, power in (("ddpm", 1.0), ("ddim", 0.5)):
        a, b, s, al, si, _ = kernel(samplers.get(sampler)(GRID))
        np.testing.assert_allclose(a * al[:-1] + b, al[1:], rtol=1e-12)
        np.testing.assert_allclose(a**2 * si[:-1] ** 2 + s**2, si[1:] ** 2, rtol=1e-12)
        table = samplers.get(sampler)(GRID)
        assert identities.point_mass_defect(table) < 1e-12
        close(1 - identities.constant_bias_response(table), (g[0] / g[-1]) ** power)
        close(float(np.prod(a * al[:-1] / al[1:])), (g[0] / g[-1]) ** power)
    broken = {s for s in samplers.names() if identities.translation_defect(samplers.get(s)(GRID)) > 1e-6}
    assert broken == {"euler_maruyama", "relative_score"}


def test_start():
    states("rungs", r"\frac12\int_0^{\gamma_0} \bigl(\mathrm{mmse}(0) - \mathrm{mmse}(\gamma)\bigr)\,d\gamma")
    states(
        "rungs",
        r"\lVert\mathbb{E}X\rVert^2 - \frac{\gamma_0 q}{2}\,\mathrm{tr}\,\mathrm{Cov}X - \frac d2\bigl(\log(1 - q) + q\bigr)",
    )
    gamma = 0.6
    y, w, at = line(CURVED, gamma)
    log_p, x = CURVED.log_prob(y, at).numpy(), y[:, 0].numpy()
    mean, total, q = float(CURVED.mean[0]), CURVED.total_variance, gamma / (1 + gamma)

    def against(center: float, width: float) -> float:
        return float(w @ (log_p + 0.5 * ((x - center) / width) ** 2 + math.log(width * math.sqrt(2 * math.pi))))

    moment = 0.5 * integral(lambda u: total - float(CURVED.mmse(u).value), 0, gamma)
    close(against(at.alpha * mean, at.sigma), moment, 1e-8)
    prior = moment + at.alpha**2 / 2 * mean**2 - gamma * q / 2 * total - 0.5 * (math.log(1 - q) + q)
    close(against(0.0, 1.0), prior, 1e-8)
    table = samplers.ddpm(Grid.from_snr(np.array([gamma, 2.0])))
    for start, value in (("moment", moment), ("prior", prior)):
        close(float(np.asarray(kl.initial(CURVED, table, start))[0]), value, 1e-8)


def test_frozen_denoiser():
    states(
        "path",
        r"\rVert^2 + \frac12\sum_k \int_{\gamma_k}^{\gamma_{k+1}} \bigl(\mathrm{mmse}(\gamma_k) - \mathrm",
    )
    states("path", r"\frac12\sum_k \int_{\gamma_k}^{\gamma_{k+1}} (\gamma_{k+1} - \gamma)\,D(\gamma)\,d\gamma")
    g, table = GRID.snr, samplers.ddpm(GRID)
    left = sum(
        (b - a) * float(CURVED.mmse(a).value) - integral(lambda u: float(CURVED.mmse(u).value), a, b)
        for a, b in pairwise(g)
    )
    weighted = sum(integral(lambda u, b=b: (b - u) * float(CURVED.mmse_slope(u).value), a, b) for a, b in pairwise(g))
    close(left, weighted, 1e-8)
    close(float(kl.path(CURVED, table).value), 0.5 * left, 1e-8)
    close(float(kl.discretisation(CURVED, GRID).value), 0.5 * left, 1e-8)
    off = kl.path(CURVED, table, oracle=ConstantBias(CURVED, torch.tensor([0.3], dtype=torch.float64)))
    close(float(off.value), 0.5 * left + 0.5 * (np.diff(g) * 0.09).sum(), 1e-8)
    close(float(kl.chain(CURVED, table).value), 0.5 * left, 1e-8)


def fisher(law, t: float) -> float:
    """J(t) = γ(d − γ mmse)."""
    g = 1 / math.expm1(2 * t)
    return g * (law.dim - g * float(law.mmse(g).value))


def over_steps(integrand) -> float:
    t = GRID.ou_time
    return sum(integral(lambda s, a=a: integrand(s, a), b, a) for a, b in pairwise(t))


@pytest.mark.parametrize("law", [CURVED, GAUSS], ids=["curved mixture", "Gaussian"])
def test_frozen_score_and_drift(law):
    states(
        "path",
        r"J(t) = \gamma\,\bigl(d - \gamma\,\mathrm{mmse}(\gamma)\bigr), \qquad \mathbb{E}\lVert s_t\rVert^2 = e^{2t}J(t)",
    )
    states("path", r"\bigl[e^{2t}J(t) - 2e^{t + t_k}J(t_k) + e^{2t_k}J(t_k)\bigr]")
    states("path", r"= 2d(\cosh u - 1) - 2\sinh(u)\,e^{2t_k}J(t_k)")
    states("path", r"\frac14\bigl[(1 - e^{-u})^2\,\mathbb{E}\lVert x_t\rVert^2 + d(1 - e^{-2u})\bigr]")
    states(
        "path",
        r"F(t) - F(t_k) - 2(e^u - 1)\,F(t_k), \qquad F = \mathbb{E}\lVert s\rVert^2 + \mathbb{E}\lVert x\rVert^2 - 2d",
    )
    states("path", r"\mathrm{KL}_{\mathrm{path}} - \mathrm{KL}_{\mathrm{init}} \le \Delta\,\bigl(F(t_K) - F(t_0)\bigr)")
    d, second, exp = law.dim, law.second_moment, math.exp

    def frozen(s: float, a: float) -> float:
        return exp(2 * s) * fisher(law, s) - 2 * exp(s + a) * fisher(law, a) + exp(2 * a) * fisher(law, a)

    def state(s: float) -> float:
        return exp(-2 * s) * second + d * -math.expm1(-2 * s)

    def drift(s: float, a: float) -> float:
        u = a - s
        cross = 2 * d * (math.cosh(u) - 1) - 2 * math.sinh(u) * exp(2 * a) * fisher(law, a)
        moved = 0.25 * ((1 - exp(-u)) ** 2 * state(s) + d * -math.expm1(-2 * u))
        return frozen(s, a) + cross + moved

    def relative(s: float) -> float:
        return exp(2 * s) * fisher(law, s) + state(s) - 2 * d

    def frozen_relative(s: float, a: float) -> float:
        return relative(s) - relative(a) - 2 * (exp(a - s) - 1) * relative(a)

    for build, integrand in (
        (samplers.ei_sde, frozen),
        (samplers.euler_maruyama, drift),
        (samplers.relative_score, frozen_relative),
    ):
        close(float(kl.path(law, build(GRID)).value), over_steps(integrand), 1e-8)
    t = GRID.ou_time
    close(float(np.asarray(bounds.relative_fisher(law, GRID.snr).value)[2]), relative(t[2]), 1e-9)
    bound = float(-np.diff(t).min()) * (relative(t[-1]) - relative(t[0]))
    close(float(bounds.conforti(GRID, law).value), bound, 1e-9)
    assert float(kl.path(law, samplers.relative_score(GRID)).value) <= bound


def test_frozen_score_on_the_standard_gaussian():
    states("path", r"2dK\,(\Delta - 1 + e^{-\Delta})")
    grid, delta = Grid.uniform_ou_time(6, ou_time=(1.5, 0.3)), 0.2
    law = Gaussian([0.0] * 3, np.eye(3))
    close(float(kl.path(law, samplers.ei_sde(grid)).value), 2 * 3 * 6 * (delta - 1 + math.exp(-delta)), 1e-10)

"""Path KL against integrals of the drift differences that define it, computed without the mmse curve.

Gaussians: scalar quadrature in time of exact covariances.  On the line: densities in numpy, the joint law of (x_t, x_k)
by the trapezoidal rule, time by Gauss–Legendre.  Monte Carlo with perturbed oracles is in test_verify_oracles.py.
"""

from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad

from targets import Embedded, Gaussian, Level, Product, Rotated, get
from verify import Grid, Table, kl, samplers
from verify.oracle import ConstantBias, RandomField, ScaleError

SDE = {name: samplers.get(name) for name in ("ddpm", "ei_sde", "euler_maruyama", "relative_score")}
every_sde = pytest.mark.parametrize("name", SDE)


def value(*args, **kwargs) -> float:
    return float(kl.path(*args, **kwargs).value)


def ou_grid(*times: float) -> Grid:
    return Grid.from_snr(1.0 / np.expm1(2.0 * np.array(times)))


# ---- Gaussians: covariances of the Ornstein–Uhlenbeck process, integrated over time ------------------------


def gaussian_step(name: str, mu: float, lam: float, early: float, late: float) -> float:
    """∫ of the squared drift difference over one step from OU time `early` down to `late`, for N(mu, lam)."""
    alpha_k, v_k = np.exp(-early), np.exp(-2 * early) * lam - np.expm1(-2 * early)

    def integrand(t):
        alpha, v, u = np.exp(-t), np.exp(-2 * t) * lam - np.expm1(-2 * t), early - t
        rho, left = np.exp(-u), -np.expm1(-2 * u)  # x_k = rho x_t + √left w
        if name == "ei_sde":  # E|s_t − s_k|², s = −(x − αμ)/v
            return v * (rho / v_k - 1 / v) ** 2 + left / v_k**2
        if name == "euler_maruyama":  # ¼ E|x_t + 2s_t − x_k − 2s_k|²
            f, f_k = 1 - 2 / v, 1 - 2 / v_k
            return 0.25 * (((alpha - alpha_k) * mu) ** 2 + v * (f - rho * f_k) ** 2 + left * f_k**2)
        if name == "relative_score":  # E|s_t + x_t − s_k − x_k|²
            f, f_k = alpha**2 * (lam - 1) / v, alpha_k**2 * (lam - 1) / v_k  # 1 − 1/v
            return ((alpha - alpha_k) * mu) ** 2 + v * (f - rho * f_k) ** 2 + left * f_k**2
        g, g_k = alpha * lam / v, alpha_k * lam / v_k  # ½ E|m_t − m_k|² dγ, m = μ + g(x − αμ)
        speed = 2 * np.exp(2 * t) / np.expm1(2 * t) ** 2
        return 0.5 * speed * (v * (g - rho * g_k) ** 2 + left * g_k**2)

    return quad(integrand, late, early, epsabs=0.0, epsrel=1e-13, limit=200)[0]


@every_sde
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 17, 60])
@pytest.mark.parametrize("mu, lam", [([0.0], [1.0]), ([1.5, -0.5, 0.0, 2.0], [0.25, 4.0, 0.0, 1e-3])])  # noqa: PT006
def test_gaussians_at_every_k(name, steps, mu, lam):
    """1e-10 relative, anisotropic and uncentred, with a null direction."""
    grid = Grid.exponential_uniform(steps, ou_time=(2.5, 0.02))
    t = grid.ou_time
    expected = sum(
        gaussian_step(name, m, v, t[k], t[k + 1]) for m, v in zip(mu, lam, strict=True) for k in range(steps)
    )
    zero = 1e-14 if name == "relative_score" else 0  # exact on N(0, 1)
    assert value(Gaussian(mu, np.diag(lam)), SDE[name](grid)) == pytest.approx(expected, rel=1e-10, abs=zero)


@pytest.mark.parametrize("steps", [1, 3, 10, 100])
def test_standard_normal_on_a_uniform_grid(steps):
    """ei_sde: exactly 2dK(Δ − 1 + e^{−Δ}).  ddpm on any grid of N(0, I): ½Σ[h/(1+γ) − log(1 + h/(1+γ))]·d."""
    dim, delta = 3, 3.0 / steps
    grid = Grid.uniform_ou_time(steps, ou_time=(3.01, 0.01))
    target = Gaussian(np.zeros(dim), np.eye(dim))
    terms = delta + np.expm1(-delta)
    assert value(target, samplers.ei_sde(grid)) == pytest.approx(2 * dim * steps * terms, rel=1e-10, abs=0)
    x = np.diff(grid.snr) / (1 + grid.snr[:-1])
    assert value(target, samplers.ddpm(grid)) == pytest.approx(dim / 2 * (x - np.log1p(x)).sum(), rel=1e-10, abs=0)


def test_refining_can_raise_euler_maruyama():
    """N(0, 100): 12.11 in one step 4 → 0.01, 12.26 through 3; and by quadrature to 1e-10."""
    target = Gaussian([0.0], [[100.0]])
    for times, known in (((4.0, 0.01), 12.11), ((4.0, 3.0, 0.01), 12.26)):
        got = value(target, samplers.euler_maruyama(ou_grid(*times)))
        direct = sum(gaussian_step("euler_maruyama", 0.0, 100.0, a, b) for a, b in pairwise(times))
        assert got == pytest.approx(known, abs=0.005)
        assert got == pytest.approx(direct, rel=1e-10, abs=0)


# ---- the line: densities in numpy ---------------------------------------------------------------------------


class Line:
    """A mixture on the line with nothing but its density."""

    def __init__(self, weights, places, variances) -> None:
        self.w, self.a, self.v = (np.array(part, dtype=float) for part in (weights, places, variances))

    def parts(self, x, alpha, sigma):
        """(responsibilities, density, component score), components first."""
        width2 = (alpha**2 * self.v + sigma**2).reshape(-1, *[1] * np.ndim(x))
        apart = x - (alpha * self.a).reshape(width2.shape)
        terms = self.w.reshape(width2.shape) * np.exp(-0.5 * apart**2 / width2) / np.sqrt(2 * np.pi * width2)
        density = terms.sum(0)
        return terms / np.where(density > 0, density, 1.0), density, -apart / width2

    def score(self, x, alpha, sigma):
        share, _, pull = self.parts(x, alpha, sigma)
        return (share * pull).sum(0)

    def nodes(self, alpha, sigma, fineness=10.0):
        """Equally spaced points and probabilities (trapezoidal rule, exponentially accurate)."""
        width = np.sqrt(alpha**2 * self.v + sigma**2)
        low, high = (alpha * self.a - 10 * width).min(), (alpha * self.a + 10 * width).max()
        x = np.arange(low, high, width.min() / fineness)
        mass = self.parts(x, alpha, sigma)[1] * width.min() / fineness
        return x[mass > 1e-22], mass[mass > 1e-22]


LINES = {
    "two_points": (get("two_points"), Line([0.5, 0.5], [-1, 1], [0, 0])),
    "rare_point": (get("two_points", p=0.2), Line([0.8, 0.2], [-1, 1], [0, 0])),
    "curved_mixture": (get("curved_mixture"), Line([0.5, 0.3, 0.2], [-1, 0.8, 2.5], [0.04, 0.16, 0.01])),
}
every_line = pytest.mark.parametrize("line", LINES)


def girsanov(name: str, law: Line, t: np.ndarray, error=lambda m: 0 * m) -> float:
    """Σ_k ∫ E|f_t(x_t) − f̂_k(x_k)|² over the joint law of (x_t, x_k), f what is frozen, f̂ with m̂ = m + error(m)."""
    unit, weight = leggauss(24)
    w = np.arange(-8.6, 8.61, 0.2)
    normal = np.exp(-0.5 * w**2) * 0.2 / np.sqrt(2 * np.pi)

    def frozen(x, alpha, sigma, wrong):
        score = law.score(x, alpha, sigma)
        mean = (x + sigma**2 * score) / alpha
        if name == "ddpm":
            return mean + wrong(mean)
        also = {"ei_sde": 0.0, "euler_maruyama": 0.5, "relative_score": 1.0}[name]
        return score + alpha / sigma**2 * wrong(mean) + also * x

    total = 0.0
    for early, late in pairwise(t):
        scale_k = np.exp(-early), np.sqrt(-np.expm1(-2 * early))
        for u, du in zip((1 + unit) / 2 * (early - late), weight / 2 * (early - late), strict=True):
            now = early - u
            scale = np.exp(-now), np.sqrt(-np.expm1(-2 * now))
            x, mass = law.nodes(*scale)
            before = np.exp(-u) * x[:, None] + np.sqrt(-np.expm1(-2 * u)) * w
            square = (frozen(x, *scale, lambda m: 0 * m)[:, None] - frozen(before, *scale_k, error)) ** 2
            measure = np.exp(2 * now) / np.expm1(2 * now) ** 2 if name == "ddpm" else 1.0
            total += du * measure * float(mass @ square @ normal)
    return total


@every_sde
@every_line
def test_on_the_line_against_the_defining_integral(name, line):
    """Joint quadrature over (x_t, x_k), 1e-8: the exact denoiser, m̂ = 1.3 m and m̂ = m − 0.2."""
    target, law = LINES[line]
    t = np.array([1.2, 0.6, 0.25, 0.1])
    table = SDE[name](ou_grid(*t))
    assert value(target, table) == pytest.approx(girsanov(name, law, t), rel=1e-8, abs=0)
    scaled, biased = ScaleError(target, 0.3), ConstantBias(target, [-0.2])
    assert value(target, table, oracle=scaled) == pytest.approx(
        girsanov(name, law, t, lambda m: 0.3 * m), rel=1e-8, abs=0
    )
    assert value(target, table, oracle=biased) == pytest.approx(
        girsanov(name, law, t, lambda m: 0 * m - 0.2), rel=1e-8, abs=0
    )


def test_refining_can_raise_ei_sde():
    """±1000, OU time 6.9 → 0.05: 10.33 in one step, 11.11 through 5.9; E|s_t|² by the trapezoidal rule."""
    target, law = get("two_points", distance=2000.0), Line([0.5, 0.5], [-1000, 1000], [0, 0])

    def fisher(t):
        scale = np.exp(-t), np.sqrt(-np.expm1(-2 * t))
        x, mass = law.nodes(*scale)
        return float(mass @ law.score(x, *scale) ** 2)

    for times, known in (((6.9, 0.05), 10.33), ((6.9, 5.9, 0.05), 11.11)):
        unit, weight = leggauss(20)
        total = 0.0
        for early, late in pairwise(times):
            edges = np.linspace(late, early, 16)
            for low, high in pairwise(edges):
                for t, dt in zip(low + (1 + unit) * (high - low) / 2, weight * (high - low) / 2, strict=True):
                    total += dt * (fisher(t) + (1 - 2 * np.exp(t - early)) * fisher(early))
        got = value(target, samplers.ei_sde(ou_grid(*times)))
        assert got == pytest.approx(known, abs=0.005)
        assert got == pytest.approx(total, rel=1e-8, abs=0)


# ---- perturbed oracles -----------------------------------------------------------------------------------------

NAMED = {name: get(name) for name in ("two_points", "curved_mixture", "codebook", "anisotropic_gaussian")}
PERTURBED = {
    "bias": lambda target: ConstantBias(target, np.linspace(0.4, -0.3, target.dim)),
    "scale": lambda target: ScaleError(target, 0.3),
    "field": lambda target: RandomField(target, lambda snr: 1.0 / (1.0 + snr), seed=3),
}


@pytest.mark.parametrize("target", NAMED)
@pytest.mark.parametrize("steps", [1, 8, 64])
def test_constant_bias_adds_half_its_square_times_the_snr_gained(target, steps):
    """ddpm: exactly ½ε²Δγ, any target, any K."""
    target, grid = NAMED[target], Grid.log_snr(steps, snr=(0.05, 30.0), process="flow")
    bias = np.linspace(0.1, 0.4, target.dim)
    table = samplers.ddpm(grid)
    rise = value(target, table, oracle=ConstantBias(target, bias)) - value(target, table)
    assert rise == pytest.approx(0.5 * bias @ bias * (30.0 - 0.05), rel=1e-10, abs=0)


@pytest.mark.parametrize("target", NAMED)
@pytest.mark.parametrize("kind", ["exact", *PERTURBED])
def test_ddpm_is_the_left_sum_of_the_loss_minus_the_information(target, kind):
    """½ Σ h_k ℓ(γ_k) − ΔI with ℓ = mmse + E‖ε‖², read off the curve's values, not its slope; a sampled curve's to bias."""
    target, grid = NAMED[target], Grid.karras(6, snr=(0.02, 40.0))
    oracle = PERTURBED[kind](target) if kind in PERTURBED else None
    square = oracle.moments(grid.alpha[:-1], grid.sigma[:-1]).square[0] if oracle else 0.0
    loss = target.mmse(grid.snr[:-1]).value + square
    gained = np.diff(target.mutual_information(grid.snr[[0, -1]]).value)[0]
    expected = 0.5 * np.diff(grid.snr) @ loss - gained
    got = kl.path(target, samplers.ddpm(grid), oracle=oracle)
    assert float(got.value) == pytest.approx(expected, rel=1e-10, abs=float(got.bias) if float(got.stderr) else 0.0)


# ---- symmetries -----------------------------------------------------------------------------------


@every_sde
@pytest.mark.parametrize("start", ["exact", "moment", "prior"])
def test_additive_over_products(name, start):
    parts = [NAMED[part] for part in ("two_points", "curved_mixture", "curved_mixture", "anisotropic_gaussian")]
    table = SDE[name](Grid.log_snr(9, snr=(0.05, 30.0)))
    apart = sum(value(part, table, start=start) for part in parts)
    assert value(Product(parts), table, start=start) == pytest.approx(apart, rel=1e-10, abs=0)


@every_sde
def test_rotations_and_null_coordinates(name):
    """Rotation: no change.  Null coordinates: nothing for ddpm; for the others what δ(0) on the line costs, each."""
    table = SDE[name](Grid.log_snr(9, snr=(0.05, 30.0)))
    inner = Product([NAMED["two_points"], NAMED["curved_mixture"]])
    turned = Rotated(inner, [[0.6, -0.8], [0.8, 0.6]])
    assert value(turned, table) == pytest.approx(value(inner, table), rel=1e-12, abs=0)
    null = value(Gaussian([0.0], [[0.0]]), table)
    assert null == 0 if name == "ddpm" else null > 0.3
    for dim in (3, 50):
        expected = value(inner, table) + (dim - 2) * null
        assert value(Embedded(turned, dim), table) == pytest.approx(expected, rel=1e-10, abs=0)


# ---- KL at the start ---------------------------------------------------------------------------------------------


def first(target, snr: float, process: str, start: str) -> float:
    table: Table = samplers.ddpm(Grid.from_snr(np.array([snr, 2 * snr]), process))
    row = float(kl.initial(target, table, start)[0])
    assert value(target, table, start=start) - value(target, table) == pytest.approx(row, rel=1e-9, abs=1e-15)
    return row


def start_law(target, snr: float, process: str, start: str) -> tuple[np.ndarray, float]:
    level = Level.from_snr(snr, process)
    if start == "moment":
        return level.alpha * target.mean.numpy(), level.sigma**2
    return np.zeros(target.dim), 1.0 if process == "vp" else level.sigma**2


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize("start", ["moment", "prior"])
@pytest.mark.parametrize("snr", [1e-3, 0.2, 3.0, 40.0])
def test_start_on_gaussians(process, start, snr):
    """KL between Gaussians in closed form."""
    target = Gaussian([1.0, -0.3, 0.0], np.diag([0.25, 4.0, 0.0]))
    level = Level.from_snr(snr, process)
    mean, variance = start_law(target, snr, process, start)
    own = level.alpha**2 * target.variances.numpy() + level.sigma**2
    apart = (level.alpha * target.mean.numpy() - mean) ** 2
    expected = 0.5 * ((own + apart) / variance - 1 - np.log(own / variance)).sum()
    assert first(target, snr, process, start) == pytest.approx(expected, rel=1e-8, abs=0)


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize("start", ["moment", "prior"])
@every_line
def test_start_on_the_line(process, start, line):
    """∫ p log(p/q) by the trapezoidal rule."""
    target, law = LINES[line]
    for snr in (0.05, 0.7, 6.0):
        level = Level.from_snr(snr, process)
        x, mass = law.nodes(level.alpha, level.sigma)
        (mean,), variance = start_law(target, snr, process, start)
        log_q = -0.5 * (x - mean) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
        expected = float(mass @ (np.log(law.parts(x, level.alpha, level.sigma)[1]) - log_q))
        assert first(target, snr, process, start) == pytest.approx(expected, rel=1e-8, abs=0)


def test_start_decays_as_it_should():
    """±1: e^{−8T}/12.  Uncentred: ½‖m‖²e^{−2T}.  Centred: ¼‖C − I‖²e^{−4T}.  Moment: ¼γ²‖C‖²."""
    snr = lambda t: 1 / np.expm1(2 * t)  # noqa: E731
    for t, tolerance in ((2.0, 2e-3), (3.0, 1e-4), (4.0, 1e-5)):
        bit, shifted = NAMED["two_points"], NAMED["curved_mixture"]
        assert first(bit, snr(t), "vp", "prior") == pytest.approx(np.exp(-8 * t) / 12, rel=tolerance, abs=0)
        assert first(bit, snr(t), "vp", "moment") == pytest.approx(np.exp(-4 * t) / 4, rel=3 * np.exp(-2 * t), abs=0)
        mean = float(shifted.mean[0])
        scale = 0.5 * (mean * np.exp(-t)) ** 2
        assert first(shifted, snr(t), "vp", "prior") == pytest.approx(scale, rel=30 * np.exp(-2 * t), abs=0)
        centred = Gaussian([0.0, 0.0], np.diag([2.0, 0.5]))
        assert first(centred, snr(t), "vp", "prior") == pytest.approx(
            1.25 / 4 * np.exp(-4 * t), rel=np.exp(-2 * t), abs=0
        )

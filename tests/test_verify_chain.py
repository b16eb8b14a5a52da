"""Chain KL against the reverse chain: equality with the path for ddpm, order, direct quadrature, simulation.

Direct quadrature on the line: p(x′|x) from the mixture's own densities by Bayes' rule, q(x′|x) from the table, and
∬ p(x, x′) log(p(x′|x)/q(x′|x)) by the trapezoidal rule; neither the mmse curve nor any moment formula enters.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import Embedded, Gaussian, Product, Rotated, get
from verify import Grid, Table, kl, samplers
from verify.oracle import ConstantBias, Exact, RandomField, ScaleError
from verify.samplers import BUILDERS

NOISY = ("ddpm", "ei_sde", "euler_maruyama", "jain_zhang", "jain_zhang_z", "stochastic_ddim")
SDE = ("ei_sde", "euler_maruyama")

NAMED = {
    "two_points": get("two_points"),
    "curved_mixture": get("curved_mixture"),
    "codebook": get("codebook", n=32, dim=8),
    "anisotropic_gaussian": get("anisotropic_gaussian"),
    "hypercube": get("hypercube", dim=64),
}
ORACLES = {
    "exact": Exact,
    "bias": lambda target: ConstantBias(target, np.linspace(0.4, -0.3, target.dim)),
    "scale": lambda target: ScaleError(target, 0.3),
    "field": lambda target: RandomField(target, lambda snr: 0.2 * target.dim / (1.0 + snr), seed=3),
}


def value(*args, **kwargs) -> float:
    return float(kl.chain(*args, **kwargs).value)


def changed(table: Table, **factors: float) -> Table:
    """The table with some coefficient arrays multiplied."""
    arrays = {name: getattr(table, name) * factors.get(name, 1.0) for name in ("state", "outputs", "noise")}
    return Table(table.method, table.snr, table.alpha, table.sigma, table.stages, **arrays)


# ---- against the path -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("target", NAMED)
def test_ddpm_chain_is_its_path(target, kind, process):
    """Both are joined by the same Brownian bridges: 1e-10, every oracle and start."""
    target = NAMED[target]
    oracle = ORACLES[kind](target)
    table = samplers.ddpm(Grid.karras(7, snr=(0.03, 50.0), process=process))
    for start in ("exact", "moment", "prior"):
        path = float(kl.path(target, table, oracle=oracle, start=start).value)
        assert value(target, table, oracle=oracle, start=start) == pytest.approx(path, rel=1e-10, abs=0)


LAWS = [
    get("nested_scales", bits=3),
    get("gaussian", variance=3.0),
    *(NAMED[n] for n in ("two_points", "curved_mixture")),
]
grids = st.lists(st.floats(-6.0, 6.0), min_size=2, max_size=9, unique_by=lambda u: round(u, 2)).map(
    lambda logs: Grid.from_snr(np.exp(np.sort(logs)))
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(grid=grids, law=st.sampled_from(LAWS), name=st.sampled_from(SDE), scale=st.sampled_from([0.0, 0.0, -0.4, 0.3]))
def test_chain_is_at_most_path(grid, law, name, scale):
    """Data processing: forgetting what happens between levels loses divergence; with a wrong denoiser too."""
    table, oracle = BUILDERS[name](grid), ScaleError(law, scale)
    path = float(kl.path(law, table, oracle=oracle).value)
    assert 0 <= value(law, table, oracle=oracle) <= path * (1 + 1e-10)


def test_chain_is_strictly_less_than_path_on_coarse_grids():
    """The order above is not an equality in disguise."""
    grid = Grid.log_snr(4, snr=(0.05, 20.0))
    for name in SDE:
        path = float(kl.path(NAMED["curved_mixture"], BUILDERS[name](grid)).value)
        assert value(NAMED["curved_mixture"], BUILDERS[name](grid)) < 0.99 * path


# ---- against direct quadrature of the transition densities -------------------------------------------------------

LINES = {
    "two_points": ([0.5, 0.5], [-1.0, 1.0], [0.0, 0.0]),
    "curved_mixture": ([0.5, 0.3, 0.2], [-1.0, 0.8, 2.5], [0.04, 0.16, 0.01]),
}


def log_density(x: np.ndarray, law, alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """(log p(x), E[X given x]) of αX + σZ, components summed in plain numpy."""
    logs, means = [], []
    for w, a, v in zip(*law, strict=True):
        width2 = alpha**2 * v + sigma**2
        logs.append(np.log(w) - 0.5 * np.log(2 * np.pi * width2) - 0.5 * (x - alpha * a) ** 2 / width2)
        means.append(a + alpha * v / width2 * (x - alpha * a))
    top = np.max(logs, axis=0)
    share = np.exp(np.array(logs) - top)
    return top + np.log(share.sum(0)), (share * np.array(means)).sum(0) / share.sum(0)


def direct_steps(law, table: Table, denoiser=lambda m: m) -> np.ndarray:
    """KL of each step by quadrature over x′ and the noise that leads back to x."""
    out = []
    u = np.arange(-9.0, 9.01, 0.15)
    phi = np.exp(-0.5 * u**2) * 0.15 / np.sqrt(2 * np.pi)
    for k in range(table.steps):
        (a0, s0), (a1, s1) = ((table.alpha[j], table.sigma[j]) for j in (k, k + 1))
        width = np.sqrt(a1**2 * np.array(law[2]) + s1**2)
        centre = a1 * np.array(law[1])
        ahead = np.arange((centre - 9.5 * width).min(), (centre + 9.5 * width).max(), width.min() / 8)
        log_ahead, _ = log_density(ahead, law, a1, s1)
        ratio = a0 / a1
        spread = np.sqrt(s0**2 - ratio**2 * s1**2)
        here = ratio * ahead[:, None] + spread * u
        log_here, mean = log_density(here, law, a0, s0)
        log_back = -0.5 * u**2 - np.log(spread * np.sqrt(2 * np.pi))
        kick = ahead[:, None] - table.state[k] * here - table.outputs[k, 0] * denoiser(mean)
        log_q = -0.5 * (kick / table.noise[k]) ** 2 - np.log(table.noise[k] * np.sqrt(2 * np.pi))
        inner = (log_ahead[:, None] + log_back - log_here - log_q) @ phi
        out.append(np.exp(log_ahead) @ inner * width.min() / 8)
    return np.array(out)


def moderate(name: str) -> Table:
    grid = Grid.log_snr(4, snr=(0.3, 9.0))
    return BUILDERS[name](grid.beyond() if name.startswith("jain_zhang") else grid)


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("target", LINES)
def test_direct_quadrature(target, name):
    """Five noisy tables, 1e-9; and with m̂ = 1.3 m."""
    table = moderate(name)
    direct = direct_steps(LINES[target], table).sum()
    assert value(NAMED[target], table) == pytest.approx(direct, rel=1e-9, abs=0)
    scaled = direct_steps(LINES[target], table, lambda m: 1.3 * m).sum()
    assert value(NAMED[target], table, oracle=ScaleError(NAMED[target], 0.3)) == pytest.approx(scaled, rel=1e-9, abs=0)


@pytest.mark.parametrize("part", ["state", "outputs", "noise"])
@pytest.mark.parametrize("name", NOISY)
def test_direct_quadrature_sees_one_percent(name, part):
    """The twin: 1% on one array moves the KL, far beyond the tolerance, and both routes move alike."""
    table = changed(moderate(name), **{part: 1.01})
    direct = direct_steps(LINES["curved_mixture"], table).sum()
    assert value(NAMED["curved_mixture"], table) == pytest.approx(direct, rel=1e-9, abs=0)
    assert abs(value(NAMED["curved_mixture"], moderate(name)) / direct - 1.0) > 1e-5


def gaussian_steps(table: Table, mu: float, lam: float) -> float:
    """Sum over steps of E KL(N(true mean, var) ‖ N(sampler's mean, s²)) for N(mu, lam), by regression on the line."""
    total = 0.0
    for k in range(table.steps):
        (a0, s0), (a1, s1) = ((table.alpha[j], table.sigma[j]) for j in (k, k + 1))
        here, ahead, ratio = a0**2 * lam + s0**2, a1**2 * lam + s1**2, a0 / a1
        slope = ratio * ahead / here
        left = ahead * (s0**2 - ratio**2 * s1**2) / here
        gain = a0 * lam / here
        a, b, s = table.state[k], table.outputs[k, 0], table.noise[k]
        apart = (slope - a - b * gain) ** 2 * here + (a1 * mu - a * a0 * mu - b * mu) ** 2
        rest = left / s**2 - 1
        total += 0.5 * (rest - np.log1p(rest) + apart / s**2)
    return total


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("steps", [2, 9, 40])
def test_gaussians_at_every_k(name, steps):
    """Anisotropic, uncentred, with a null direction: KL between Gaussian kernels coordinate by coordinate."""
    mu, lam = [1.5, -0.5, 0.0, 2.0], [0.25, 4.0, 0.0, 1e-3]
    table = BUILDERS[name](Grid.exponential_uniform(steps, ou_time=(2.5, 0.02)))
    expected = sum(gaussian_steps(table, m, v) for m, v in zip(mu, lam, strict=True))
    assert value(Gaussian(mu, np.diag(lam)), table) == pytest.approx(expected, rel=1e-8, abs=0)


@pytest.mark.parametrize("steps", [1, 5, 20, 80])
def test_tiny_steps_across_the_series_switch(steps):
    """σ_q²/s² − 1 on both sides of the switch to a series at 1e-4 (1e-6: the route by regression cancels)."""
    table = samplers.ei_sde(Grid.uniform_ou_time(steps, ou_time=(1.0, 0.999)))
    assert value(Gaussian([0.5], [[0.3]]), table) == pytest.approx(gaussian_steps(table, 0.5, 0.3), rel=1e-6, abs=0)


# ---- against simulation ------------------------------------------------------------------------------------------

SIMULATED = [
    *((target, name, "exact") for target in ("codebook", "hypercube") for name in NOISY),
    *(("codebook", name, kind) for name in ("ddpm", "ei_sde", "jain_zhang") for kind in ("bias", "scale", "field")),
    *(("curved_mixture", "euler_maruyama", kind) for kind in ("bias", "scale", "field")),
    ("hypercube", "jain_zhang_z", "field"),
]


def simulated(target, table: Table, kind: str):
    generator = torch.Generator().manual_seed(11)
    return kl.simulated_chain(target, table, n=20_000, generator=generator, oracle=ORACLES[kind](target))


@pytest.mark.parametrize(("target", "name", "kind"), SIMULATED)
def test_simulated_chain(target, name, kind):
    """Full dimension, no mmse curve: 4 standard errors (23 comparisons, 6e-5 each; the seed is fixed)."""
    target, table = NAMED[target], BUILDERS[name](Grid.log_snr(5, snr=(0.1, 12.0)))
    exact = kl.chain(target, table, oracle=ORACLES[kind](target))
    measured = simulated(target, table, kind)
    allowed = 4 * np.hypot(float(measured.stderr), float(exact.stderr)) + float(exact.bias)
    assert abs(float(measured.value) - float(exact.value)) <= allowed


@pytest.mark.parametrize("part", ["outputs", "noise"])
@pytest.mark.parametrize("name", NOISY)
def test_simulation_sees_a_wrong_coefficient(name, part):
    """The twin, hypercube of 64 bits: 10% on one array is outside 4 standard errors of the right table's value."""
    target, table = NAMED["hypercube"], BUILDERS[name](Grid.log_snr(5, snr=(0.1, 12.0)))
    measured = simulated(target, changed(table, **{part: 1.1}), "exact")
    assert abs(float(measured.value) - value(target, table)) > 4 * float(measured.stderr)


# ---- symmetries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOISY)
def test_products_rotations_and_null_coordinates(name):
    """Additive; unmoved by rotation; linear in the ambient dimension, and flat for ddpm."""
    table = moderate(name)
    parts = [NAMED["two_points"], NAMED["curved_mixture"]]
    inner = Product(parts)
    assert value(inner, table) == pytest.approx(sum(value(part, table) for part in parts), rel=1e-10, abs=0)
    turned = Rotated(inner, [[0.6, -0.8], [0.8, 0.6]])
    null = value(Gaussian([0.0], [[0.0]]), table)
    assert value(Embedded(turned, 30), table) == pytest.approx(value(inner, table) + 28 * null, rel=1e-10, abs=0)
    assert (null == pytest.approx(0.0, abs=1e-14)) == (name == "ddpm")


def test_every_state_scale_gives_the_same_chain():
    """A vp table of ei_sde written in another scale (x → cx at each level) has the same chain KL."""
    table, target = moderate("ei_sde"), NAMED["curved_mixture"]
    c = np.linspace(1.0, 3.0, table.steps + 1)
    scaled = Table.one_stage(
        table.method,
        _Scaled(table.snr, c * table.alpha, c * table.sigma),  # type: ignore[arg-type]
        table.state * c[1:] / c[:-1],
        table.outputs[:, 0] * c[1:],
        table.noise * c[1:],
    )
    assert value(target, scaled) == pytest.approx(value(target, table), rel=1e-10, abs=0)


class _Scaled:
    """What `Table.one_stage` reads of a grid."""

    def __init__(self, snr: np.ndarray, alpha: np.ndarray, sigma: np.ndarray) -> None:
        self.snr, self.alpha, self.sigma, self.steps = snr, alpha, sigma, len(snr) - 1

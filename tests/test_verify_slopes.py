"""The rates that are promised, as slopes over the last doublings of K: path −1, marginal −2 and so on.

Every number is exact up to rounding, so a slope is the logarithm of a ratio and both of the last two doublings have to lie
within the tolerance.  Uncentred laws of no special variance: on centred or unit-variance ones leading constants vanish.
Last, what these rest on along a ray: the flow keeps ranks, and jain_zhang's chain on a sphere by integrating the flow.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from targets import Gaussian, Sphere, get
from targets.ray import ray
from verify import Grid, Table, kl, samplers
from verify.carry.radial import HalfLine
from verify.kl.quantile import RankedRadius, flow_pairs
from verify.kl.step_errors import _gaussian, _integrated
from verify.samplers import BUILDERS

TARGETS = {
    "curved_mixture": get("curved_mixture"),
    "gaussian": get("gaussian", mean=0.5, variance=0.25),
    "anisotropic": get("anisotropic_gaussian", dim=4),
}
SOME = [pytest.param(name, marks=pytest.mark.slow if name == "curved_mixture" else ()) for name in TARGETS]
"""On the curved law these take seconds each."""
WINDOW = (0.05, 20.0)
WIDE = (0.02, 50.0)
RUNGS: dict[str, Callable[..., float]] = {
    "path": lambda target, table: float(kl.path(target, table).value),
    "reverse": lambda target, table: float(kl.chain(target, table, reference="reverse").value),
    "flow+noise": lambda target, table: float(kl.chain(target, table, reference="flow+noise").value),
    "marginal": lambda target, table: float(kl.marginal(target, table).value),
}
ONCE = (128, 256, 512)
LATER = (256, 512, 1024)


def build(name: str, steps: int, snr: tuple[float, float] = WINDOW) -> Table:
    grid = Grid.log_snr(steps, snr=snr)
    return BUILDERS[name](grid.beyond() if name.startswith("jain_zhang") else grid)


def slopes(values: list[float]) -> np.ndarray:
    """Slopes between doublings of K."""
    return np.diff(np.log2(values))


def measured(target, tables: list[Table], rung: str) -> np.ndarray:
    return slopes([RUNGS[rung](target, table) for table in tables])


def within(found: np.ndarray, order: float, tolerance: float) -> bool:
    return bool((np.abs(found - order) <= tolerance).all())


def assert_order(found: np.ndarray, order: float, tolerance: float) -> None:
    assert within(found, order, tolerance), found


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "euler_maruyama"])
@pytest.mark.parametrize("target", TARGETS)
def test_path_minus_one_and_marginal_minus_two(target, name):
    """In the same runs: what a user gets is better by an order than what Girsanov's theorem shows."""
    tables = [build(name, steps) for steps in ONCE]
    path, marginal = (measured(TARGETS[target], tables, rung) for rung in ("path", "marginal"))
    assert_order(path, -1.0, 0.02)
    assert_order(marginal, -2.0, 0.05)
    assert not within(marginal, -1.0, 0.02)
    assert not within(path, -2.0, 0.05)


@pytest.mark.parametrize(("name", "steps"), [("jain_zhang", ONCE), ("jain_zhang_z", LATER)])
@pytest.mark.parametrize("target", SOME)
def test_jain_zhang_has_three_rungs(target, name, steps):
    """−2 against flow+noise and in the marginal, −1 against the reverse chain; the z variant a doubling or two later."""
    tables = [build(name, count) for count in steps]
    for rung, order in (("flow+noise", -2.0), ("marginal", -2.0), ("reverse", -1.0)):
        assert_order(measured(TARGETS[target], tables, rung), order, 0.05)
    assert tables[-1].snr[-1] == pytest.approx(WINDOW[1], rel=1e-12)


def test_z_variant_is_later():
    """Why it has doublings of its own: on the first ones its reverse chain is not yet within the tolerance."""
    tables = [build("jain_zhang_z", steps) for steps in (64, 128, 256)]
    assert not within(measured(TARGETS["gaussian"], tables, "reverse"), -1.0, 0.05)


@pytest.mark.parametrize(
    ("name", "order", "tolerance"),
    [
        ("ddim", -2.0, 0.05),
        ("stochastic_ddim", -2.0, 0.05),
        ("heun", -4.0, 0.1),
        ("dpm_solver_2", -4.0, 0.1),
        ("dpmpp_2m", -4.0, 0.1),
        ("exponential_ab2", -4.0, 0.1),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_marginal_of_flow_methods(target, name, order, tolerance):
    """Order p of a method is K^{-2p} of marginal KL.

    On N(0.5, 0.25) the leading constant of dpmpp_2m all but vanishes and its order shows from K = 1024 on.
    """
    late = (target, name) == ("gaussian", "dpmpp_2m")
    tables = [build(name, steps) for steps in ((1024, 2048, 4096) if late else ONCE)]
    assert_order(measured(TARGETS[target], tables, "marginal"), order, tolerance)


@pytest.mark.parametrize("target", SOME)
def test_ancestral_second_order_step(target):
    """Second order along the flow, its own noise after it: the chain against flow+noise falls like K^{-4}."""
    tables = [build("dpm_solver_2_ancestral", steps) for steps in ONCE]
    assert_order(measured(TARGETS[target], tables, "flow+noise"), -4.0, 0.1)
    assert_order(measured(TARGETS[target], tables, "marginal"), -4.0, 0.1)


@pytest.mark.parametrize("name", ["exponential_ab3", "rk3"])
@pytest.mark.parametrize("target", SOME)
def test_third_order(target, name):
    """−6 ± 0.2 at the last two of K = 64 … 512 on snr 0.02 … 50, down to 1e-17 nats."""
    found = measured(TARGETS[target], [build(name, steps, WIDE) for steps in (64, 128, 256, 512)], "marginal")
    assert_order(found[1:], -6.0, 0.2)


def test_rungs_of_one_run_in_their_order():
    """marginal ≤ chain for both references, reverse ≤ path: the slopes above are of numbers that are ordered."""
    for name in ("ei_sde", "euler_maruyama"):
        table = build(name, 256)
        marginal, reverse, path = (RUNGS[r](TARGETS["curved_mixture"], table) for r in ("marginal", "reverse", "path"))
        assert 0 < marginal < reverse < path
    table = build("jain_zhang", 256)
    marginal, flow = (RUNGS[r](TARGETS["curved_mixture"], table) for r in ("marginal", "flow+noise"))
    assert 0 < marginal < flow


# ---- twins: a slip of one coefficient is seen in the slope ------------------------------------------------------------


def altered(table: Table, **arrays: np.ndarray) -> Table:
    fields = {name: getattr(table, name) for name in ("state", "outputs", "noise", "history")} | arrays
    return Table(table.method, table.snr, table.alpha, table.sigma, table.stages, **fields)


def without_memory(table: Table) -> Table:
    """History's weight given to the present answer: exponential_ab2 becomes a first-order method."""
    return altered(table, outputs=table.outputs + table.history.sum(1)[:, None], history=0.0 * table.history)


@pytest.mark.parametrize("target", SOME)
def test_slips_are_seen(target):
    """Noise off by 1e-2, a tenth of the outputs' 1/K, memory dropped: none keeps its order."""
    law = TARGETS[target]
    noisy = [altered(t := build("ddpm", steps), noise=1.01 * t.noise) for steps in ONCE]
    assert not within(measured(law, noisy, "marginal"), -2.0, 0.05)
    tilted = [altered(t := build("heun", steps), outputs=t.outputs * (1.0 + 1.0 / steps)) for steps in ONCE]
    assert not within(measured(law, tilted, "marginal"), -4.0, 0.1)
    forgetful = [without_memory(build("dpmpp_2m", steps)) for steps in ONCE]
    assert_order(measured(law, forgetful, "marginal"), -2.0, 0.05)


def test_unit_variance_is_special():
    """Why no law here has unit variance: on N(m, 1), where the score does not move, jain_zhang is exact."""
    for mean in (0.0, 0.5):
        assert RUNGS["marginal"](Gaussian([mean], [[1.0]]), build("jain_zhang", 128)) < 1e-28
    assert RUNGS["marginal"](TARGETS["gaussian"], build("jain_zhang", 128)) > 1e-6


# ---- flow+noise along a ray ------------------------------------------------------------------------------------------


def ball(rho, alpha: float, sigma: float):
    """(density, posterior mean) of the radius for the unit sphere in R^3: ρ sinh κ and coth κ − 1/κ, κ = αρ/σ²."""
    kappa = alpha * rho / sigma**2
    law = np.sqrt(2.0 / np.pi) * rho / (alpha * sigma) * np.exp(-0.5 * ((rho - alpha) / sigma) ** 2)
    return law * -0.5 * np.expm1(-2.0 * kappa), 1.0 / np.tanh(kappa) - 1.0 / kappa


def test_flow_along_a_ray_keeps_ranks():
    law = ray(Sphere(3))
    assert law is not None
    before, after = (RankedRadius(law, *level) for level in ((0.5, 0.8), (0.8, 0.3)))
    x, y, mass = flow_pairs(before, after)
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)
    for i in np.flatnonzero(mass > 1e-6)[::40]:
        ranks = [
            quad(lambda r, at=at: ball(r, *at)[0], 0.0, end, epsabs=1e-13)[0]
            for at, end in (((0.5, 0.8), x[i]), ((0.8, 0.3), y[i]))
        ]
        assert ranks[0] == pytest.approx(ranks[1], abs=1e-11)


def test_jain_zhang_on_a_sphere_by_the_integrated_flow():
    """dρ/dt = −ρ − s(ρ, t) backwards from the flow's end by DOP853 at 1e-11; 1e-6."""
    table = samplers.jain_zhang(Grid.log_snr(4, snr=(0.2, 8.0)).beyond())
    total = 0.0

    def slope(t: float, rho: np.ndarray) -> np.ndarray:
        alpha, square = math.exp(-t), -math.expm1(-2.0 * t)
        return -rho - (alpha * ball(rho, alpha, math.sqrt(square))[1] - rho) / square

    for k in range(table.steps):
        room = table.sigma[k + 1] ** 2 - table.noise[k] ** 2
        early, late = (0.5 * math.log1p(r) for r in (1.0 / table.snr[k], room / table.alpha[k + 1] ** 2))
        alpha, sigma = math.exp(-late), math.sqrt(-math.expm1(-2.0 * late))
        nodes, weights = np.polynomial.legendre.leggauss(200)
        end = 0.5 * (alpha + 9.0 * sigma) * (1.0 + nodes)
        mass = ball(end, alpha, sigma)[0] * 0.5 * (alpha + 9.0 * sigma) * weights
        flowed = solve_ivp(slope, (late, early), end, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
        mean = table.state[k] * flowed + table.outputs[k, 0] * ball(flowed, table.alpha[k], table.sigma[k])[1]
        total += mass @ (table.alpha[k + 1] / alpha * end - mean) ** 2 / (2.0 * table.noise[k] ** 2)
    found = float(kl.chain(Sphere(3), table, reference="flow+noise").value)
    assert found == pytest.approx(total, rel=1e-8, abs=0)


@pytest.mark.parametrize("dim", [1, 3, 50])
def test_flow_along_a_ray_on_gaussians(dim):
    law, table = Gaussian(np.zeros(dim), 0.25 * np.eye(dim)), build("jain_zhang", 6)
    line = ray(law)
    assert line is not None
    half = np.sqrt(table.sigma[1:] ** 2 - table.noise**2)
    for reference in (half, None):
        found = _integrated(line, HalfLine(line), table, reference)
        np.testing.assert_allclose(found, _gaussian(law, table, reference), rtol=1e-9)

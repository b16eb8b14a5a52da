"""Multistep methods by another route: k-diffusion's loops, and Lagrange polynomials integrated by quadrature.

Helpers, grids and the nonlinear denoiser are those of test_verify_samplers.py.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.integrate import quad
from test_verify_samplers import GRIDS, POINTS, agrees, answer, on_every_grid, ratios, runge_kutta_3, shocks

from verify import Grid, Table, samplers
from verify.samplers.multistep import weighted_powers

GRIDS = GRIDS | {"coarse": lambda process="vp": Grid.from_snr(np.array([1e-3, 0.02, 1.0, 3.0, 400.0]), process)}
"""Steps of λ on both sides of one, where the weights change from their series to the recursion."""


def dpmpp_2m(sigmas: np.ndarray) -> Iterator[np.ndarray]:
    """k-diffusion's sample_dpmpp_2m, t = −log σ."""
    x, old = POINTS, None
    t = -np.log(sigmas)
    for i in range(len(sigmas) - 1):
        denoised = answer(x, sigmas[i])
        h = t[i + 1] - t[i]
        if old is None:
            x = (sigmas[i + 1] / sigmas[i]) * x - math.expm1(-h) * denoised
        else:
            r = (t[i] - t[i - 1]) / h
            denoised_d = (1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * old
            x = (sigmas[i + 1] / sigmas[i]) * x - math.expm1(-h) * denoised_d
        old = denoised
        yield x


def dpmpp_2m_sde(sigmas: np.ndarray, z: np.ndarray) -> Iterator[np.ndarray]:
    """k-diffusion's sample_dpmpp_2m_sde with solver_type "midpoint", η = 1, s_noise = 1."""
    x, old, h_last, eta = POINTS, None, 0.0, 1.0
    for i in range(len(sigmas) - 1):
        denoised = answer(x, sigmas[i])
        h = -math.log(sigmas[i + 1]) + math.log(sigmas[i])
        eta_h = eta * h
        x = sigmas[i + 1] / sigmas[i] * math.exp(-eta_h) * x - math.expm1(-h - eta_h) * denoised
        if old is not None:
            r = h_last / h
            x = x - 0.5 * math.expm1(-h - eta_h) * (1 / r) * (denoised - old)
        x = x + z[i] * sigmas[i + 1] * math.sqrt(-math.expm1(-2 * eta_h))
        old, h_last = denoised, h
        yield x


def adams_bashforth(sigmas: np.ndarray, depth: int, first: list[np.ndarray]) -> Iterator[np.ndarray]:
    """u′ = e^{-h} u + ∫_0^h e^{-(h−s)} P(s) ds, P the Lagrange polynomial through the last `depth` denoisers.

    `first` are the states after the starter's steps.  The integrals are by adaptive quadrature.
    """
    lam = -np.log(sigmas)
    yield from first
    visited = [POINTS, *first]
    while len(visited) < len(sigmas):
        k = len(visited) - 1
        h, nodes = lam[k + 1] - lam[k], lam[k] - lam[k - np.arange(depth)]
        x = math.exp(-h) * visited[-1]
        for j in range(depth):
            others = -np.delete(nodes, j)
            basis = Polynomial.fromroots(others)
            basis = basis / basis(-nodes[j])
            weight = quad(lambda s: math.exp(s - h) * basis(s), 0.0, h, epsabs=0, epsrel=1e-13)[0]  # noqa: B023
            x = x + weight * answer(visited[k - j], sigmas[k - j])
        visited.append(x)
        yield x


def euler(sigmas: np.ndarray) -> np.ndarray:
    """One step of ddim in σ/α."""
    return POINTS + (sigmas[1] - sigmas[0]) * (POINTS - answer(POINTS, sigmas[0])) / sigmas[0]


multistep_grids = pytest.mark.parametrize("grid", GRIDS)
processes = pytest.mark.parametrize("process", ["vp", "ve", "flow"])


@multistep_grids
@processes
def test_dpmpp_2m(grid, process):
    table = samplers.dpmpp_2m(GRIDS[grid](process))
    agrees(table, dpmpp_2m(ratios(table)))


@multistep_grids
@processes
def test_sde_dpmpp_2m(grid, process):
    table = samplers.sde_dpmpp_2m(GRIDS[grid](process))
    z = shocks(table.steps)
    agrees(table, dpmpp_2m_sde(ratios(table), z), z)


@multistep_grids
@processes
def test_exponential_ab2(grid, process):
    table = samplers.exponential_ab2(GRIDS[grid](process))
    sigmas = ratios(table)
    agrees(table, adams_bashforth(sigmas, 2, [euler(sigmas)]))


@multistep_grids
@processes
def test_exponential_ab3(grid, process):
    table = samplers.exponential_ab3(GRIDS[grid](process))
    sigmas = ratios(table)
    agrees(table, adams_bashforth(sigmas, 3, list(runge_kutta_3(sigmas[:3]))))


def test_starters():
    """The first step is ddim's or ddpm's; the first two, or all on one or two steps, are rk3's."""
    grid = GRIDS["log_snr"]()
    for build, starter, steps in (
        (samplers.dpmpp_2m, samplers.ddim, 1),
        (samplers.exponential_ab2, samplers.ddim, 1),
        (samplers.sde_dpmpp_2m, samplers.ddpm, 1),
        (samplers.exponential_ab3, samplers.rk3, 2),
    ):
        table, first = build(grid), starter(grid)
        for k in range(steps):
            assert not any(table.step(k).history)
            got, wanted = table.step(k), first.step(k)
            np.testing.assert_allclose([got.state, got.noise], [wanted.state, wanted.noise], rtol=1e-14)
            np.testing.assert_allclose(got.outputs, wanted.outputs, rtol=1e-13)
            assert got.stages == wanted.stages
        assert table.multistep
        assert not first.multistep
    for steps in (1, 2):
        short = Grid.log_snr(steps, snr=(0.1, 5.0))
        assert samplers.exponential_ab3(short).key == samplers.rk3(short).key
        assert not samplers.exponential_ab3(short).multistep


@pytest.mark.parametrize("h", [1e-6, 1e-3, 0.1, 0.7, 0.999999, 1.0, 1.000001, 1.5, 4.0, 12.0])
def test_weights(h):
    """∫_0^h e^{-(h−s)} sⁿ ds by quadrature, relatively, on both sides of h = 1 and down to tiny steps."""
    for n, got in enumerate(weighted_powers(np.array([h]), 3)):
        wanted = quad(lambda s: math.exp(s - h) * s**n, 0.0, h, epsabs=0, epsrel=1e-13)[0]  # noqa: B023
        assert got[0] == pytest.approx(wanted, rel=1e-12, abs=0)


def test_weights_join_at_one():
    """Series below and recursion above meet within rounding: nothing jumps at the switch."""
    below, above = (weighted_powers(np.array([h]), 3) for h in (np.nextafter(1.0, 0.0), 1.0))
    for one, two in zip(below, above, strict=True):
        assert one[0] == pytest.approx(two[0], rel=2e-15, abs=0)


@multistep_grids
@pytest.mark.parametrize(("build", "degree", "started"), [("exponential_ab2", 1, 1), ("exponential_ab3", 2, 2)])
def test_exact_on_polynomials(grid, build, degree, started):
    """A denoiser that is a polynomial in λ of the method's degree, whatever the state, is integrated exactly."""
    grid = GRIDS[grid]()
    table: Table = getattr(samplers, build)(grid)
    lam = 0.5 * np.log(grid.snr)
    poly = Polynomial([0.3, -0.7, 0.4][: degree + 1])
    for k in range(started, table.steps):
        h, step = lam[k + 1] - lam[k], table.step(k)
        answers = [poly(lam[k - j]) for j in range(degree + 1)]
        got = step.outputs[0] * answers[0] + sum(w * m for w, m in zip(step.history, answers[1:], strict=True))
        wanted = quad(lambda s: math.exp(s - h) * poly(lam[k] + s), 0.0, h, epsabs=1e-14, epsrel=1e-13)[0]  # noqa: B023
        assert got / grid.alpha[k + 1] == pytest.approx(wanted, abs=1e-11)


@on_every_grid
def test_history_is_what_the_first_stage_answered(grid, process):
    """A twin with its history exchanged takes other steps: the order of what is remembered matters."""
    table = samplers.exponential_ab3(GRIDS[grid](process))
    assert table.history.shape == (table.steps, 2)
    assert (table.history[2:] != 0).all()
    assert (np.sign(table.history[2:]) == [-1.0, 1.0]).all()

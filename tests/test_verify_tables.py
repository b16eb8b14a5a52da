"""Tables: the identities that each method declares hold to ten epsilons, the others fail; coefficients by other routes."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.linalg import expm

from targets import ArgumentError, NotAvailableError, get
from verify import Grid, Table, samplers
from verify.identities import constant_bias_response, gauge_free, point_mass_defect, translation_defect
from verify.samplers import BUILDERS
from verify.step import IDENTITIES, Method

TEN_EPSILONS = 10 * np.finfo(float).eps
WIDE = 1e-3
"""A failed identity is off by at least this much on the coarse grids."""

COARSE = {
    "uniform_snr": lambda process="vp": Grid.uniform_snr(5, snr=(0.1, 10.0), process=process),
    "uniform_ou_time": lambda process="vp": Grid.uniform_ou_time(4, ou_time=(1.5, 0.2), process=process),
    "log_snr": lambda process="vp": Grid.log_snr(6, snr=(0.02, 50.0), process=process),
}
FINE = {
    "exponential_uniform": lambda process="vp": Grid.exponential_uniform(40, ou_time=(5.0, 1e-3), process=process),
    "karras": lambda process="vp": Grid.karras(12, snr=(1e-4, 1e4), process=process),
    "cosine": lambda process="vp": Grid.cosine(30, snr=(1e-2, 1e3), process=process),
    "ddpm_linear": lambda process="vp": Grid.ddpm_linear(100, process=process),
}
GRIDS = COARSE | FINE

FLOWS = {name for name in BUILDERS if not BUILDERS[name](COARSE["log_snr"]()).noise.any()}
"""Deterministic: they follow the probability flow."""

every_builder = pytest.mark.parametrize("name", sorted(BUILDERS))


def declares(name: str, identity: str) -> bool:
    return identity in BUILDERS[name](COARSE["log_snr"]()).method.identities


def refined(grid: Grid) -> Grid:
    """A level in the middle (of log snr) of every step."""
    return Grid(np.sort(np.concatenate([grid.snr, np.sqrt(grid.snr[1:] * grid.snr[:-1])])), grid.process)


def stopping_at_the_end(name: str, grid: Grid) -> Table:
    """The table whose last state lives at the grid's last level, whatever the method looks ahead."""
    table = BUILDERS[name](grid)
    return table if table.stop == grid.levels[-1] else BUILDERS[name](grid.beyond())


def test_declarations_are_known_identities():
    assert {identity for name in BUILDERS for identity in IDENTITIES if declares(name, identity)} == set(IDENTITIES)
    with pytest.raises(ArgumentError, match="identities = 'gauged': expected names among point_mass"):
        Method("x", "x", "x", "x", 1, frozenset({"gauged"}))


@every_builder
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("identity", "defect"), [("point_mass", point_mass_defect), ("translation", translation_defect)]
)
def test_point_mass_and_translation(name, grid, identity, defect):
    """Declared: ten epsilons on every grid.  Not declared: fails by 1e-3 on the coarse ones."""
    value = defect(BUILDERS[name](GRIDS[grid]()))
    if declares(name, identity):
        assert value <= TEN_EPSILONS
    elif grid in COARSE:
        assert value > WIDE


@every_builder
@pytest.mark.parametrize("grid", GRIDS)
def test_constant_bias(name, grid):
    """Declared: refining between fixed ends leaves the response alone (1e-12).  Not declared: it moves by 1e-3."""
    coarse = stopping_at_the_end(name, GRIDS[grid]())
    fine = stopping_at_the_end(name, refined(GRIDS[grid]()))
    assert fine.stop == coarse.stop
    kept = [1.0 - constant_bias_response(table) for table in (coarse, fine)]
    if declares(name, "constant_bias"):
        assert kept[1] == pytest.approx(kept[0], abs=1e-12)
        ends = coarse.snr[0] / coarse.snr[-1]
        assert kept[0] == pytest.approx(np.sqrt(ends) if name in FLOWS else ends, abs=1e-12)
    elif grid in COARSE:
        assert abs(kept[1] / kept[0] - 1.0) > WIDE


@every_builder
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("process", ["ve", "flow"])
def test_gauge(name, grid, process):
    """Declared: the scale-free coefficients agree across processes.  Not declared: the other processes are refused."""
    other = GRIDS[grid](process)
    if declares(name, "gauge"):
        expected = gauge_free(BUILDERS[name](GRIDS[grid]()))
        got = gauge_free(BUILDERS[name](other))
        assert (np.abs(got - expected) <= TEN_EPSILONS * np.maximum(1.0, np.abs(expected))).all()
    else:
        with pytest.raises(ArgumentError, match=rf"grid.process = '{process}': expected 'vp'.*OU time"):
            BUILDERS[name](other)


def test_which_methods_follow_the_flow():
    several = {"heun", "dpm_solver_2", "rk3", "randomised_midpoint"}
    assert FLOWS == {"ddim", "dpmpp_2m", "exponential_ab2", "exponential_ab3"} | several
    assert {name for name in BUILDERS if declares(name, "constant_bias")} - FLOWS == {
        "ddpm",
        "dpm_solver_2_ancestral",
        "sde_dpmpp_2m",
    }


def test_gauge_free_sees_a_wrong_scale():
    """The twin: 1% on the noise in one process shows."""
    table = samplers.ddpm(COARSE["log_snr"]())
    off = Table(
        table.method, table.snr, table.alpha, table.sigma, table.stages, table.state, table.outputs, table.noise * 1.01
    )
    assert np.abs(gauge_free(off) / gauge_free(table) - 1.0).max() > 0.009


@every_builder
@pytest.mark.parametrize("grid", GRIDS)
def test_from_steps_returns_the_table(name, grid):
    table = BUILDERS[name](GRIDS[grid]())
    again = Table.from_steps([table.step(k) for k in range(table.steps)], table.method)
    for field in ("alpha", "sigma", "state", "outputs", "noise", "history", "asked"):
        np.testing.assert_array_equal(getattr(again, field), getattr(table, field))
    for one, two in zip(again.stages, table.stages, strict=True):
        for field in ("alpha", "sigma", "state", "outputs"):
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    assert again.key == table.key
    np.testing.assert_allclose(again.snr, table.snr, rtol=1e-14)
    for field in ("start", "stop", "evaluations", "stochastic", "multistep", "one_evaluation"):
        assert getattr(again, field) == getattr(table, field)
    if table.one_evaluation:
        for one, two in zip(again.affine(), table.affine(), strict=True):
            np.testing.assert_array_equal(one, two)
    else:
        with pytest.raises(NotAvailableError, match=f"of {name}: its steps are not affine in one evaluation"):
            again.affine()


# ---- coefficients by other routes -----------------------------------------------------------------------


def kernel(joint: np.ndarray) -> tuple[np.ndarray, float]:
    """(coefficients on the given variables, remaining variance) of the first of jointly Gaussian variables."""
    weights = np.linalg.solve(joint[1:, 1:], joint[1:, 0])
    return weights, float(joint[0, 0] - weights @ joint[1:, 0])


@pytest.mark.parametrize("grid", COARSE)
@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize("variance", [0.3, 2.0])
def test_ddpm_by_bayes_rule(grid, process, variance):
    """Regress x_{k+1} on (x_k, X) in their joint covariance; X's own variance must not matter."""
    grid = COARSE[grid](process)
    for step, (here, ahead) in enumerate(zip(grid.levels[:-1], grid.levels[1:], strict=True)):
        ratio = here.alpha / ahead.alpha
        next_next = ahead.alpha**2 * variance + ahead.sigma**2
        joint = np.array(
            [
                [next_next, ratio * next_next, ahead.alpha * variance],
                [ratio * next_next, here.alpha**2 * variance + here.sigma**2, here.alpha * variance],
                [ahead.alpha * variance, here.alpha * variance, variance],
            ]
        )
        (a, b), left = kernel(joint)
        got = samplers.ddpm(grid).step(step)
        np.testing.assert_allclose([got.state, got.outputs[0], got.noise**2], [a, b, left], rtol=1e-10)


@pytest.mark.parametrize("grid", COARSE)
@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
def test_ddim_keeps_the_predicted_noise(grid, process):
    """x′ = α′m + σ′(x − αm)/σ at (x, m) = (1, 0) and (0, 1), and no noise."""
    grid = COARSE[grid](process)
    table = samplers.ddim(grid)
    for k in range(table.steps):
        here, ahead = grid.levels[k], grid.levels[k + 1]
        predict = [ahead.alpha * m + ahead.sigma * (x - here.alpha * m) / here.sigma for x, m in ((1, 0), (0, 1))]
        np.testing.assert_allclose([table.state[k], table.outputs[k, 0]], predict, rtol=1e-12)
    assert (table.noise == 0).all()


def frozen_flow(pull: float, length: float) -> tuple[float, float]:
    """(on x, on s) after dx/du = x + pull·s with s held, by the matrix exponential."""
    flow = expm(length * np.array([[1.0, pull], [0.0, 0.0]]))
    return flow[0, 0], flow[0, 1]


def in_terms_of_the_denoiser(on_x: float, on_score: float, alpha: float, sigma: float) -> list[float]:
    """s = (αm − x)/σ² substituted at (x, m) = (1, 0) and (0, 1)."""
    return [on_x - on_score / sigma**2, on_score * alpha / sigma**2]


@pytest.mark.parametrize("grid", GRIDS)
def test_ei_sde_solves_the_frozen_linear_sde(grid):
    """dx = (x + 2s) du + √2 dW with s held: matrix exponential for the mean, quadrature of 2e^{2u} for the variance."""
    grid = GRIDS[grid]()
    table, t = samplers.ei_sde(grid), -np.log(grid.alpha)
    lengths = np.where(grid.snr < 1e3, t, np.arctanh(grid.sigma**2 / (2 - grid.sigma**2)))
    for k in range(0, table.steps, 7):
        length = lengths[k] - lengths[k + 1]
        mean = in_terms_of_the_denoiser(*frozen_flow(2.0, length), grid.alpha[k], grid.sigma[k])
        variance = quad(lambda u: 2 * np.exp(2 * u), 0.0, length, epsabs=0, epsrel=1e-13)[0]
        np.testing.assert_allclose([table.state[k], table.outputs[k, 0]], mean, rtol=1e-9)
        assert table.noise[k] ** 2 == pytest.approx(variance, rel=1e-9, abs=0)


@pytest.mark.parametrize("grid", COARSE)
def test_euler_maruyama_is_one_euler_step(grid):
    """Drift x + 2s and variance 2Δ, evaluated at (x, m) = (1, 0) and (0, 1)."""
    grid = COARSE[grid]()
    table, t = samplers.euler_maruyama(grid), -np.log(grid.alpha)
    for k in range(table.steps):
        delta, drift = t[k] - t[k + 1], []
        for x, m in ((1.0, 0.0), (0.0, 1.0)):
            drift.append(x + delta * (x + 2 * (grid.alpha[k] * m - x) / grid.sigma[k] ** 2))
        np.testing.assert_allclose([table.state[k], table.outputs[k, 0]], drift, rtol=1e-11)
        assert table.noise[k] ** 2 == pytest.approx(2 * delta, rel=1e-11, abs=0)


@pytest.mark.parametrize("grid", COARSE)
@pytest.mark.parametrize("variant", ["score", "z_score"])
def test_jain_zhang_is_its_two_sub_steps(grid, variant):
    """Flow with the score (of x, or of e^t x) held, over two intervals; then exact Ornstein–Uhlenbeck noise back."""
    grid = COARSE[grid]()
    table, t = samplers.jain_zhang(grid, variant), -np.log(grid.alpha)
    assert table.steps == grid.steps - 1
    for k in range(table.steps):
        ahead, back = t[k] - t[k + 2], t[k + 1] - t[k + 2]
        on_x, on_score = frozen_flow(1.0, ahead)
        if variant == "z_score":
            on_score = quad(lambda u: np.exp(ahead - u) * np.exp(-u), 0.0, ahead, epsabs=0, epsrel=1e-13)[0]  # noqa: B023
        mean = np.exp(-back) * np.array(in_terms_of_the_denoiser(on_x, on_score, grid.alpha[k], grid.sigma[k]))
        variance = quad(lambda u: 2 * np.exp(-2 * u), 0.0, back, epsabs=0, epsrel=1e-13)[0]
        np.testing.assert_allclose([table.state[k], table.outputs[k, 0]], mean, rtol=1e-10)
        assert table.noise[k] ** 2 == pytest.approx(variance, rel=1e-10, abs=0)


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "euler_maruyama", "jain_zhang", "jain_zhang_z"])
def test_fine_steps_agree_to_first_order(name):
    """Every noisy method has drift x + 2s and variance 2Δ as Δ → 0 (here Δ = 5e-4, 1%)."""
    grid = Grid.uniform_ou_time(400, ou_time=(1.0, 0.8))
    table, t = BUILDERS[name](grid), grid.ou_time
    x, m = 0.7, get("two_points").denoiser
    k = 100
    denoised = float(m(torch.tensor([[x]], dtype=torch.float64), grid.levels[k])[0, 0])
    score = (grid.alpha[k] * denoised - x) / grid.sigma[k] ** 2
    delta = t[k] - t[k + 1]
    drift = (table.state[k] * x + table.outputs[k, 0] * denoised - x) / delta
    assert drift == pytest.approx(x + 2 * score, rel=0.01, abs=0)
    assert table.noise[k] ** 2 / (2 * delta) == pytest.approx(1.0, rel=0.01, abs=0)

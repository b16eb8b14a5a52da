"""Three best grids on one Gaussian: verdicts, controls, and each grid as a minimum found without its law."""

import numpy as np
import pytest
from scipy.optimize import minimize

from targets import Estimate
from verify import Grid, kl, samplers
from verify.claims import gaussian_optima as optima
from verify.claims.claim import judge

VARIANCE, SNR = 2.0, (0.1, 30.0)


@pytest.mark.slow  # make ledger runs these
@pytest.mark.parametrize("claim", optima.CLAIMS, ids=lambda claim: claim.id)
def test_verdict_and_control(claim):
    assert judge(claim.check(False, claim.tolerance)).status == "supported"
    assert judge(claim.check(False, claim.tolerance, **claim.control.change)).status == "refuted"


@pytest.mark.slow
@pytest.mark.parametrize("claim", optima.CLAIMS, ids=lambda claim: claim.id)
def test_full_verdict(claim):
    assert judge(claim.check(True, claim.tolerance)).status == "supported"


COSTS = {
    "log_sine": lambda grid: float(kl.path(optima._law(VARIANCE), samplers.ddpm(grid)).value),
    "halved_square": lambda grid: float(kl.marginal(optima._law(VARIANCE), samplers.ddpm(grid)).value),
    "angle": lambda grid: float(kl.marginal(optima._law(VARIANCE), samplers.ddim(grid)).value),
}


@pytest.mark.parametrize("name", COSTS)
def test_each_law_is_a_minimum(name):
    """Nelder and Mead's simplex over the inner levels of four steps, from equal steps of log γ."""

    def cost(inner: np.ndarray) -> float:
        levels = np.concatenate([[SNR[0]], np.exp(np.sort(inner)), [SNR[1]]])
        inside = np.diff(levels).min() > 1e-9
        return COSTS[name](Grid.from_snr(levels)) if inside else 1e3

    first = np.log(np.geomspace(*SNR, 5))[1:-1]
    found = minimize(cost, first, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14, "maxiter": 2000})
    grid = getattr(optima, name)(4, VARIANCE, SNR)
    np.testing.assert_allclose(np.sort(found.x), np.log(grid.snr[1:-1]), atol=1e-5)
    assert COSTS[name](grid) <= found.fun * (1 + 1e-9)


def test_the_recursion_and_its_ends():
    """ρ_{k−1} = (1 + ρ_k²)/2 on the grid's own levels, and the window's ends as given."""
    for steps in (1, 2, 7, 300):
        grid = optima.halved_square(steps, VARIANCE, SNR)
        a = 1.0 + VARIANCE * grid.snr
        rho = a[:-1] / a[1:]
        np.testing.assert_allclose(rho[:-1], (1.0 + rho[1:] ** 2) / 2.0, rtol=1e-9)
        assert (grid.snr[0], grid.snr[-1]) == SNR


def test_the_others_are_linear_in_their_coordinate():
    theta = {
        name: optima._angles(getattr(optima, name)(9, VARIANCE, SNR), VARIANCE)
        for name in ("log_sine", "sine", "angle")
    }
    for coordinate in (np.log(np.sin(theta["log_sine"])), np.sin(theta["sine"]), theta["angle"]):
        np.testing.assert_allclose(np.diff(coordinate, 2), 0.0, atol=1e-12)
    package = Grid.tangent(9, snr=SNR, variance=VARIANCE)
    np.testing.assert_allclose(package.snr, optima.angle(9, VARIANCE, SNR).snr, rtol=1e-12)


def test_kl_of_a_shortfall():
    """∫ N(0, 1) log(N(0, 1)/N(0, 1 − r)) on a fine grid."""
    x = np.linspace(-12.0, 12.0, 20001)
    for r in (0.3, 0.01):
        density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
        log_ratio = 0.5 * np.log(1 - r) + 0.5 * x**2 * (1 / (1 - r) - 1)
        assert optima._kl_of_shortfall(r) == pytest.approx(float(np.trapezoid(density * log_ratio, x)), rel=1e-9)


def test_rows_carry_the_error_of_the_divergence(monkeypatch):
    """A bias of half of every KL is half of each ratio to a number, and the whole of a ratio of two."""

    def doubtful(honest):
        def call(*arguments) -> Estimate:
            found = honest(*arguments)
            return Estimate(found.value, 0.0, 0.5 * float(found.value), found.method)

        return call

    monkeypatch.setattr(optima.kl, "marginal", doubtful(kl.marginal))
    monkeypatch.setattr(optima.kl, "path", doubtful(kl.path))
    shares = {optima.tangent: 0.5, optima.path_optimum: 0.5, optima.marginal_optimum: 0.5, optima.three_optima: 1.0}
    for check, share in shares.items():
        rows = [row for row in check(False, 0.01) if "KL" in row.quantity]
        assert len(rows) >= 6
        for row in rows:
            assert float(row.measured.error) == pytest.approx(share * float(row.measured.value)), row.quantity
            assert row.status == "undecided"

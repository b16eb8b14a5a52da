"""Bounds of others: verdicts, controls, and the derivations behind them by another route."""

import numpy as np
import pytest
import torch

from targets import GaussianMixture
from targets.lowrank import LowRank
from verify import Grid, bounds, samplers
from verify.claims import other_bounds as others
from verify.claims.claim import judge


def spreads(law: GaussianMixture) -> torch.Tensor:
    """Eigenvalues of each component's covariance."""
    assert isinstance(law.components, LowRank)
    return law.components.variances


@pytest.mark.slow  # make ledger runs these
@pytest.mark.parametrize("claim", others.CLAIMS, ids=lambda claim: claim.id)
def test_verdict_and_control(claim):
    assert judge(claim.check(False, claim.tolerance)).status == "supported"
    assert judge(claim.check(False, claim.tolerance, **claim.control.change)).status == "refuted"


@pytest.mark.slow
@pytest.mark.parametrize("claim", others.CLAIMS, ids=lambda claim: claim.id)
def test_full_verdict(claim):
    assert judge(claim.check(True, claim.tolerance)).status == "supported"


@pytest.mark.parametrize("claim", others.CLAIMS[:2], ids=lambda claim: claim.id)
def test_the_limits_alone_would_notice_one_percent(claim):
    """The rows on Gaussians, whose prediction is a number and no inequality: 1% on one array is refuted by them."""
    for part in ("state", "outputs", "noise"):
        build = others.off(claim.check.__kwdefaults__["build"], **{part: 1.01})
        rows = claim.check(False, claim.tolerance, build=build)
        near = [row for row in rows if np.isfinite(row.low)]
        assert len(near) == 2
        assert judge(near).status == "refuted", part


def test_limit_of_the_ratio_on_the_standard_normal():
    """Σ 2(h − 1 + e^{−h}) over κ²N + κT on h = κ min(1, t), step by step, κ → 0."""
    for t, stop in ((4.0, 1e-3), (6.0, 1e-1)):
        grid = Grid.exponential_uniform(40_000, ou_time=(t, stop))
        h = -np.diff(grid.ou_time)
        kappa = float((h / np.minimum(1.0, grid.ou_time[:-1])).max())
        cost = float((h**2 * (1 - h / 3 + h**2 / 12)).sum())
        limit = (t - 0.5 - 0.5 * stop**2) / (2.0 * t - 1.0 - np.log(stop))
        assert cost / (kappa**2 * grid.steps + kappa * t) == pytest.approx(limit, rel=1e-3)
        assert bounds.benton(grid, 3) == pytest.approx(3 * (kappa**2 * grid.steps + kappa * t), rel=1e-12)


@pytest.mark.parametrize("dim", [8, 32])
def test_planes_are_no_embedding(dim):
    """Together they span R^dim, each alone two directions; unit variance along them, centres of norm one."""
    law = others.planes(dim, False)
    assert law.rank == dim
    variances = spreads(law)
    assert (variances > 0.5).sum(1).tolist() == [2] * (dim // 2)
    assert float(variances.max()) == pytest.approx(1.0 + others.NOISE)
    assert float(law.components.means.norm(dim=1).max()) == pytest.approx(1.0)


def test_intrinsic_bounds_the_information():
    """H(J) + ½ Σ_j w_j log det(1 + γC_j) by determinants is below it, and the information below both (4 errors)."""
    for dim in (8, 16):
        law = others.planes(dim, False)
        for snr in (1.0, 500.0):
            inside = 0.5 * float(torch.log1p(snr * spreads(law)).sum(1).mean())
            given = np.log(dim // 2) + inside
            assert given <= others.intrinsic(dim, snr) * (1 + 1e-12)
            measured = law.mutual_information(snr)
            assert float(measured.value) <= given + float(measured.error)


def test_intrinsic_grows_with_noise_in_every_direction():
    """The (d/2) log(1 + γv) term, against a mixture of one component, whose information is a determinant."""
    snr = 1e9
    factors = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 2)))[0]
    law = GaussianMixture.low_rank([1.0], np.zeros((1, 6)), factors[None], others.NOISE)
    term = others.intrinsic(6, snr) - np.log(3)
    exact = 0.5 * float(torch.log1p(snr * spreads(law)).sum())
    assert exact <= term <= exact + 2 * 0.5 * np.log1p(snr * others.NOISE) + 1e-9


def test_the_control_is_on_a_lower_rung():
    """A table that discretises no reverse SDE is held against its chain KL, which its path KL could only exceed."""
    grid = Grid.exponential_uniform(16, ou_time=(2.0, 0.1))
    law = others.law("curved_mixture")
    wrong = others._path(law, others.off(samplers.ei_sde, outputs=1.1), grid)
    assert "chain" in wrong.method
    assert "Girsanov" in others._path(law, samplers.ei_sde, grid).method


def test_the_largest_ratio_counts_its_error():
    """0.9 ± 0.2 decides before 0.95 ± 0."""
    doubtful, sure = others.Estimate(0.9, 0.0, 0.2, ""), others.Estimate(0.95, 0.0, 0.0, "")
    assert others._worst("law", "ratio", [("a", sure), ("b", doubtful)], 1.0).window == "b"


def test_the_exponent_carries_the_noise_of_its_points():
    """d^1.5 with 2% noise at 8, 16, 32, 64: the slope's standard error is (0.02/ln 2)/√5, and four count as its error."""
    found = others._exponent({d: others.Estimate(d**1.5, 0.02 * d**1.5, 0.0, "") for d in (8, 16, 32, 64)})
    assert float(found.value) == pytest.approx(1.5, abs=1e-9)
    assert float(found.error) == pytest.approx(4 * 0.02 / np.log(2) / np.sqrt(5), rel=0.15)

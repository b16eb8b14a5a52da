"""The mmse curve's numbers: independent quadrature on the line, the families of the theory, and exact identities."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import settings
from scipy.integrate import quad

from targets import Discrete, GaussianMixture, Level, Product, Rotated, Target, get

STEADY = settings(derandomize=True, deadline=None, max_examples=6)
SHARES = (0.98, 0.7, 0.2, 1e-3)


class Line:
    """(weights, places, variances) on the line at snr γ, integrated by scipy from the definitions.

    State y = √γX + Z; component i has N(√γa_i, 1 + γv_i).  Posterior variance by differences of means,
    V = Σ r_i v_i/(1+γv_i) + Σ_{i<j} r_i r_j (m_i − m_j)², and I = Σ w_i [∫φ_i log(φ_i/p) + ½ log(1+γv_i)]:
    no term cancels.
    """

    def __init__(self, weights, places, variances, snr: float) -> None:
        self.w, self.v = np.asarray(weights, dtype=float), np.asarray(variances, dtype=float)
        self.a, self.snr = np.asarray(places, dtype=float), snr
        self.width = np.sqrt(1.0 + snr * self.v)
        self.centre = math.sqrt(snr) * self.a
        ends = self.centre[:, None] + np.array([-14.0, -6.0, -3.0, 0.0, 3.0, 6.0, 14.0]) * self.width[:, None]
        self.cuts = np.unique(np.concatenate([ends.ravel(), 0.5 * (self.centre[1:] + self.centre[:-1])]))

    def integral(self, function) -> float:
        parts = [
            quad(function, a, b, epsabs=1e-18, epsrel=1e-12, limit=200)[0] for a, b in itertools.pairwise(self.cuts)
        ]
        return math.fsum(parts)

    def logs(self, y: float) -> np.ndarray:
        """log of the components' densities, unweighted."""
        return -0.5 * ((y - self.centre) / self.width) ** 2 - np.log(self.width) - 0.5 * math.log(2.0 * math.pi)

    def at(self, y: float) -> tuple[float, float]:
        """(density, posterior variance)."""
        terms = np.log(self.w) + self.logs(y)
        top = terms.max()
        share = np.exp(terms - top)
        density, share = math.exp(top) * share.sum(), share / share.sum()
        means = self.a + math.sqrt(self.snr) * self.v / self.width**2 * (y - self.centre)
        apart = means[:, None] - means
        return density, float(share @ (self.v / self.width**2) + 0.5 * share @ apart**2 @ share)

    def mmse(self) -> float:
        return self.integral(lambda y: math.prod(self.at(y)))

    def slope(self) -> float:
        return self.integral(lambda y: self.at(y)[0] * self.at(y)[1] ** 2)

    def information(self) -> float:
        def divergence(y: float) -> float:
            logs = self.logs(y)
            terms = np.log(self.w) + logs
            log_p = terms.max() + math.log(np.exp(terms - terms.max()).sum())
            return float((np.exp(terms) * (logs - log_p)).sum())

        return self.integral(divergence) + 0.5 * float(self.w @ np.log1p(self.snr * self.v))


LINES: dict[str, tuple[list[float], list[float], list[float]]] = {
    "two_points": ([0.5, 0.5], [-1.0, 1.0], [0.0, 0.0]),
    "rare_bit": ([0.99, 0.01], [0.0, 1.0], [0.0, 0.0]),
    "rarer_bit": ([1.0 - 1e-5, 1e-5], [0.0, 1.0], [0.0, 0.0]),
    "lattice": ([0.2] * 5, [-2.0, -1.0, 0.0, 1.0, 2.0], [0.0] * 5),
    "three_atoms": ([0.2, 0.5, 0.3], [0.0, 1.0, 3.5], [0.0] * 3),
    "curved": ([0.5, 0.3, 0.2], [-1.0, 0.8, 2.5], [0.04, 0.16, 0.01]),
    "unlike_variances": ([0.6, 0.4], [0.0, 0.5], [4.0, 0.02]),
    "atom_in_a_cloud": ([0.3, 0.7], [0.2, 0.0], [0.0, 1.0]),
    "like_variances": ([0.7, 0.3], [0.0, 2.0], [0.09, 0.09]),
}


@cache
def on_the_line(name: str) -> Target:
    w, a, v = LINES[name]
    if not any(v):
        return Discrete(np.array(a)[:, None], w)
    return GaussianMixture.isotropic(w, np.array(a)[:, None], v if len(set(v)) > 1 else v[0])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", LINES)
def test_line_laws_against_scipy(name, share):
    """mmse and its slope within 1e-10 (relative) of adaptive quadrature, where `share` of the variance is left.

    I within 5e-10: its logarithm is interpolated on panels that were chosen for log D.
    """
    law = on_the_line(name)
    snr = np.exp(np.linspace(law.curve.edges[0], law.curve.edges[-1], 300))
    place = float(snr[np.argmin(np.abs(law.mmse(snr).value - share * law.total_variance))])
    exact = Line(*LINES[name], place)
    assert law.mmse(place).value == pytest.approx(exact.mmse(), rel=1e-10)
    assert law.mmse_slope(place).value == pytest.approx(exact.slope(), rel=1e-10)
    assert law.mutual_information(place).value == pytest.approx(exact.information(), rel=5e-10)
    assert law.mmse(place).bias < 1e-10 * law.total_variance


def test_mmse_below_one_part_in_1e15_keeps_its_digits():
    """Two points at γ = 60: mmse = 3e-14 of the variance times a half, and still 1e-10 relative."""
    law, exact = on_the_line("two_points"), Line(*LINES["two_points"], 60.0)
    assert exact.mmse() < 1e-13
    assert law.mmse(60.0).value == pytest.approx(exact.mmse(), rel=1e-10)


# ---- identities --------------------------------------------------------------------------------------

GRID = np.geomspace(1e-4, 1e4, 25)


def test_blur_on_the_line_by_two_routes():
    """One variance v: atoms seen at γ/(1+γv) and dv/(1+γv), written here, against quadrature of the mixture itself.

    The full-covariance constructor never takes the blurred route.
    """
    w, a, v = [0.2, 0.5, 0.3], np.array([[0.0], [1.0], [3.5]]), 0.09
    inner, whole = Discrete(a, w), GaussianMixture(w, a, np.full((3, 1, 1), v))
    blurred = GaussianMixture.isotropic(w, a, v)
    by_hand = v / (1 + GRID * v) + inner.mmse(GRID / (1 + GRID * v)).value / (1 + GRID * v) ** 2
    for law in (whole, blurred):
        np.testing.assert_allclose(law.mmse(GRID).value, by_hand, rtol=1e-10)
        np.testing.assert_allclose(
            law.mutual_information(GRID).value,
            0.5 * np.log1p(GRID * v) + inner.mutual_information(GRID / (1 + GRID * v)).value,
            rtol=1e-10,
        )
    np.testing.assert_allclose(whole.mmse_slope(GRID).value, blurred.mmse_slope(GRID).value, rtol=1e-9)


def test_blur_in_space_by_two_routes():
    """The same in R^3, sampled: blurred atoms against the mixture sampled as it is, 4 combined standard errors."""
    w, a = np.array([0.5, 0.3, 0.2]), 1.5 * np.random.default_rng(1).standard_normal((3, 3))
    blurred = GaussianMixture.isotropic(w, a, 0.09)
    whole = GaussianMixture(w, a, np.broadcast_to(0.09 * np.eye(3), (3, 3, 3)).copy())
    snr = np.array([0.1, 0.5, 2.0, 8.0])
    one, two = blurred.mmse(snr), whole.mmse(snr)
    stderr = np.hypot(one.stderr, two.stderr)
    assert (np.abs(one.value - two.value) <= 4 * stderr + np.abs(one.bias) + np.abs(two.bias)).all()
    assert (stderr > 0).all()
    assert (stderr < 1e-2 * one.value).all()


def test_blur_of_a_line_in_space_against_its_posterior_covariances():
    """Centres on a line, one anisotropic covariance: the closed reduction against 65,536 posterior traces."""
    covariance = np.array([[0.5, 0.2], [0.2, 0.3]])
    law = GaussianMixture.shared([0.2, 0.5, 0.3], [[0.0, 1.0], [1.0, 3.0], [3.0, 7.0]], covariance)
    assert law.curve.method == "1-D quadrature"
    generator = torch.Generator().manual_seed(8)
    for snr in (0.05, 0.5, 3.0):
        at = Level(1.0, snr**-0.5)
        x = law.sample(65536, generator)
        trace = law.posterior_trace(x + at.sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype), at)
        stderr = float(trace.std()) / 256.0
        assert abs(float(trace.mean()) - law.mmse(snr).value) <= 4.0 * stderr


def test_collinear_atoms_are_their_positions_on_the_line():
    """Atoms b + c_i u in R^3 have the curve of c_i‖u‖ on the line."""
    direction = np.array([1.0, 2.0, -2.0])
    places, w = np.array([0.0, 1.0, 3.5]), [0.2, 0.5, 0.3]
    spatial, flat = Discrete(places[:, None] * direction + 1.0, w), Discrete(3.0 * places[:, None], w)
    np.testing.assert_allclose(spatial.mmse(GRID).value, flat.mmse(GRID).value, rtol=1e-9, atol=1e-14)
    assert spatial.rank == 1


def test_products_add():
    """Curves of independent factors add, whichever way the factors are grouped or repeated."""
    bit, curved, gaussian = get("two_points"), get("curved_mixture"), get("anisotropic_gaussian", dim=3)
    law = Product([bit, curved, bit, gaussian, bit])
    for quantity in ("mmse", "mmse_slope", "mutual_information"):
        parts = [getattr(f, quantity)(GRID).value for f in (bit, bit, bit, curved, gaussian)]
        np.testing.assert_allclose(getattr(law, quantity)(GRID).value, np.sum(parts, 0), rtol=1e-12)
    nested = Product([Product([bit, bit]), Product([curved, gaussian]), bit])
    np.testing.assert_allclose(nested.mmse(GRID).value, law.mmse(GRID).value, rtol=1e-12)


def test_a_product_of_two_bits_is_its_four_corners():
    """Unreduced: the four corners in the plane, sampled, against twice the bit, 4 standard errors."""
    corners = Discrete([[-1.0, -1], [-1, 1], [1, -1], [1, 1]], np.full(4, 0.25))
    snr = np.array([0.1, 0.6, 2.0])
    sampled, exact = corners.mmse(snr), 2 * get("two_points").mmse(snr).value
    assert (np.abs(sampled.value - exact) <= sampled.error + 1e-4 * exact).all()


def test_rotation_leaves_the_curve_alone():
    law = GaussianMixture(np.ones(1), [[0.5, 1.0]], [[[1.0, 0.3], [0.3, 2.0]]])
    turned = Rotated(law, [[0.6, 0.8], [-0.8, 0.6]])
    np.testing.assert_array_equal(turned.mmse(GRID).value, law.mmse(GRID).value)


def test_steps_sum_to_the_drop_of_the_curve():
    """Quadrature over the steps of a grid: ∫D = mmse drop, ∫γD = the drop of 2I − γ·mmse, to 1e-10."""
    law = get("curved_mixture")
    grid = np.geomspace(0.01, 500.0, 38)
    steps = law.curve.over_steps(grid)
    mmse, info = np.asarray(law.mmse(grid).value), np.asarray(law.mutual_information(grid).value)
    np.testing.assert_allclose(steps.sum(1.0)[0], -np.diff(mmse), rtol=1e-9)
    np.testing.assert_allclose(steps.sum(steps.snr)[0], np.diff(2 * info - grid * mmse), rtol=1e-8)
    np.testing.assert_allclose(steps.mmse[0], mmse, rtol=1e-11)


def test_length_over_a_window_adds_up():
    curve = get("curved_mixture").curve
    whole = curve.discretisation_length(0.01, 300.0).value
    parts = [curve.discretisation_length(a, b).value for a, b in itertools.pairwise((0.01, 0.37, 5.0, 300.0))]
    assert whole == pytest.approx(math.fsum(parts), rel=1e-11)


@pytest.mark.parametrize(("n", "snr"), [(16, 40.0), (64, 24.0), (256, 0.5), (256, 1.0)])
def test_outside_the_sampled_range_the_stated_error_still_holds(n, snr):
    """Orthogonal points below and above the sampled panels: mmse and slope against fresh states.

    The posterior is a softmax of √γ times the state; with p its values, tr Cov = 1 − Σp² and
    ‖Cov‖² = Σp² − 2Σp³ + (Σp²)², averaged over 2e6/n states: 4 combined standard errors and the stated bias.
    """
    law = get("orthogonal_points", n=n)
    state = math.sqrt(snr) * torch.randn(2**21 // n, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    state[:, 0] += snr
    p = state.softmax(1)
    square, cube = p.square().sum(1), (p**3).sum(1)
    for fresh, stated in ((1 - square, law.mmse(snr)), (square - 2 * cube + square**2, law.mmse_slope(snr))):
        stderr = math.hypot(float(fresh.std()) / math.sqrt(len(fresh)), float(stated.stderr))
        assert abs(float(fresh.mean()) - stated.value) <= 4.0 * stderr + abs(stated.bias)


def test_refining_lowers_the_error_and_leaves_exact_curves_alone():
    law = get("codebook", n=16, dim=3)
    coarse, fine = law.mmse(1.0), law.refined(1024).mmse(1.0)
    assert fine.stderr < 0.5 * coarse.stderr
    assert abs(fine.value - coarse.value) <= 4.0 * coarse.stderr + abs(coarse.bias)
    assert get("two_points").refined(1024).mmse(1.0).value == get("two_points").mmse(1.0).value


def test_shapes_follow_the_argument():
    law = get("two_points")
    assert np.ndim(law.mmse(1.0).value) == 0
    assert np.shape(law.mmse(np.ones((2, 3))).value) == (2, 3)
    assert np.shape(law.mutual_information(np.array([1.0, 2.0])).stderr) == (2,)

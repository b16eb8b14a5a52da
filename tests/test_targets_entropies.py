"""Entropies of every order against the definition and enumeration; differential entropies against quadrature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy.integrate import quad

from targets import Discrete, Gaussian, GaussianMixture, Level, Product, Rotated, get

STEADY = settings(derandomize=True, deadline=None, max_examples=40)
ROOT = np.random.default_rng(3).standard_normal((3, 3))
MEAN, COVARIANCE = [0.5, -1.0, 2.0], 0.05 * np.eye(3) + ROOT @ ROOT.T / 3.0

ORDERS = (0.0, 0.5, 1.0, 2.0, math.inf)


def renyi(p: np.ndarray, order: float) -> float:
    """Σ p^a and its logarithm, from the definition."""
    p = p[p > 0]
    if order == 1.0:
        return float(-(p * np.log(p)).sum())
    if order == math.inf:
        return float(-np.log(p.max()))
    return float(np.log((p**order).sum()) / (1.0 - order))


@pytest.mark.parametrize("order", [*ORDERS, 1.0 + 1e-9, 0.95, 1.05, 3.7])
def test_entropy_of_a_product_is_that_of_its_enumeration(order):
    factors = [get("two_points", p=0.2), get("rare_bit"), get("heavy_tail", n=4), get("two_points", p=0.2)]
    law = Product(factors)  # type: ignore[arg-type]
    joint = np.array([math.prod(p) for p in itertools.product(*(f.weights.tolist() for f in factors))])  # type: ignore[attr-defined]
    by_enumeration = renyi(joint, 1.0 if abs(order - 1.0) < 1e-8 else order)
    assert law.entropy(order).value == pytest.approx(by_enumeration, rel=1e-8)
    corners = [c for c in itertools.product(*(f.atoms[:, 0].tolist() for f in factors))]  # type: ignore[attr-defined]
    assert law.entropy(order).value == pytest.approx(Discrete(corners, joint).entropy(order).value, rel=1e-8)


@STEADY
@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12), st.floats(0.0, 5.0))
def test_entropy_is_renyis_and_falls_with_the_order(raw, order):
    p = np.array(raw) / np.sum(raw)
    law = Discrete(np.arange(len(p))[:, None], p)
    away = order if abs(order - 1.0) > 1e-3 else 1.0
    assert law.entropy(away).value == pytest.approx(renyi(p, away), rel=1e-9, abs=1e-9)
    values = [law.entropy(a).value for a in ORDERS]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(values))


def test_entropy_is_continuous_through_shannon():
    """The switch of formula at |a − 1| = 0.1 is straddled, and Shannon's order neared."""
    law = get("heavy_tail")
    for edge in (1.0 - 1e-8, 1.0 + 1e-8, 0.9, 1.1):
        low, high = law.entropy(edge - 1e-10).value, law.entropy(edge + 1e-10).value
        assert low == pytest.approx(high, rel=1e-8)


@pytest.mark.parametrize("order", [0.25, 0.5, 0.95, 1.0 - 1e-9, 1.0, 1.05, 2.0, 20.0, math.inf])
@pytest.mark.parametrize("p", [1e-3, 1e-6, 1e-12, 1e-16, 1e-20, 1e-30])
def test_entropy_of_one_weight_near_one(p, order):
    """One atom, or three unlike ones, beside a heavy one whose 1 − m is their sum; at 60 digits, order held as a float."""
    for rare in ([p], [0.7 * p, 0.2 * p, 1e-3 * p]):
        law = Discrete(np.arange(len(rare) + 1.0)[:, None], [1.0 - math.fsum(rare), *rare])
        with mp.workdps(60):
            others, a = [mpf(float(q)) for q in law.weights[1:]], mpf(order)
            joint = [1 - sum(others), *others]
            if order == 1.0:
                exact = -sum(q * mp.log(q) for q in joint)
            elif order == math.inf:
                exact = -mp.log(joint[0])
            else:
                exact = mp.log(sum(q**a for q in joint)) / (1 - a)
            assert abs(law.entropy(order).value / exact - 1) < 1e-12


def test_entropy_of_a_point_is_zero():
    for order in (0.0, 0.5, 0.95, 1.0, 1.05, 2.0, math.inf):
        assert Discrete([[1.0]], [1.0]).entropy(order).value == 0.0


def test_repeated_atoms_merge_and_a_hypercube_is_never_enumerated():
    merged = Discrete([[0.0], [1.0], [0.0]], [0.25, 0.5, 0.25])
    assert merged.entropy().value == pytest.approx(math.log(2.0), rel=1e-15)
    assert get("hypercube", dim=10_000).entropy(0.5).value == pytest.approx(10_000 * math.log(2.0), rel=1e-12)
    assert get("digits").entropy().value == pytest.approx(math.log(1797), rel=1e-12)
    assert get("digits", components=5).entropy(math.inf).value == pytest.approx(math.log(1797), rel=1e-12)


def test_differential_entropies():
    """Gaussian: ½ log det 2πeC.  On the line: −∫ p log p by quadrature.  Products, rotations: sums, invariance."""
    gaussian, curved = Gaussian(MEAN, COVARIANCE), get("curved_mixture")
    expected = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * COVARIANCE)[1]
    assert gaussian.differential_entropy().value == pytest.approx(expected, rel=1e-13)
    assert Rotated(gaussian, np.eye(3)[[2, 0, 1]]).differential_entropy().value == pytest.approx(expected, rel=1e-13)
    w, mu, v = np.array([0.5, 0.3, 0.2]), np.array([-1.0, 0.8, 2.5]), np.array([0.04, 0.16, 0.01])

    def minus_p_log_p(x: float) -> float:
        p = float((w * np.exp(-0.5 * (x - mu) ** 2 / v) / np.sqrt(2 * math.pi * v)).sum())
        return -p * math.log(p)

    cuts = [-3.2, -1.5, -1.0, -0.5, 0.2, 0.8, 1.5, 2.2, 2.5, 2.8, 4.0]
    by_quadrature = math.fsum(
        quad(minus_p_log_p, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in itertools.pairwise(cuts)
    )
    assert curved.differential_entropy().value == pytest.approx(by_quadrature, rel=1e-8)
    both = Product([curved, gaussian]).differential_entropy()
    assert both.value == pytest.approx(by_quadrature + expected, rel=1e-8)


def test_differential_entropy_of_a_sampled_mixture():
    """−E log p over 65,536 draws of the law itself (as seen at snr 1e12), within 4 combined standard errors."""
    law = GaussianMixture.isotropic([0.5, 0.3, 0.2], 1.5 * ROOT, 0.09)
    stated = law.differential_entropy()
    at = Level(1.0, 1e-6)
    values = -law.log_prob(law.sample(65536, torch.Generator().manual_seed(5)), at)
    stderr = math.hypot(float(values.std()) / 256.0, float(stated.stderr))
    assert abs(float(values.mean()) - stated.value) <= 4.0 * stderr + abs(stated.bias)


def test_latent_entropies():
    assert get("curved_mixture").latent_entropy(0.5).value == pytest.approx(
        renyi(np.array([0.5, 0.3, 0.2]), 0.5), rel=1e-13
    )
    pair = Product([get("curved_mixture"), get("curved_mixture")])
    assert pair.latent_entropy().value == pytest.approx(2 * renyi(np.array([0.5, 0.3, 0.2]), 1.0), rel=1e-13)

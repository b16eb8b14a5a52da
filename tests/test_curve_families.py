"""S²/4, the limit of K times the best path KL, on the families whose growth the theory states."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import Discrete, Target, get

STEADY = settings(derandomize=True, deadline=None, max_examples=4)

ONE_BIT = 2.4584056634764
"""S of one bit, ∫√D dγ with D = E sech⁴(γ + √γZ): trapezoid sums in z and log γ, three step sizes agreeing to 1e-12.

(2.4584056627, in circulation, is off by 8e-10.)
"""


def constant(law: Target) -> float:
    """S²/4: the limit of K times the path KL of the best K-step ddpm grid."""
    return float(law.curve.discretisation_length().value) ** 2 / 4.0


def test_one_bit():
    length = get("two_points").curve.discretisation_length()
    assert length.value == pytest.approx(ONE_BIT, abs=1e-11)
    assert abs(length.value - ONE_BIT) <= length.error
    assert constant(get("two_points")) == pytest.approx(1.51094, abs=5e-6)


@pytest.mark.parametrize("distance", [1e-3, 7.0, 1e5])
def test_length_does_not_see_the_scale(distance):
    assert get("two_points", distance=distance).curve.discretisation_length().value == pytest.approx(ONE_BIT, rel=1e-11)


def test_product_of_bits_grows_like_the_entropy():
    for dim in (3, 1000):
        law = get("hypercube", dim=dim)
        assert constant(law) == pytest.approx(1.51094 * dim, rel=4e-6)
        assert constant(law) / law.entropy().value == pytest.approx(2.18, abs=5e-3)


@pytest.mark.parametrize(
    ("p", "shannon", "half"),
    [(0.5, 3.14, 3.14), (1e-2, 29.0, 2.78), (1e-3, 174.0, 2.90), (1e-4, 1.2e3, 3.12), (1e-6, 6.6e4, 3.62)],
)
def test_rare_bit_table(p, shannon, half):
    """No universal constant with Shannon's H; bounded with H_½."""
    law = get("rare_bit", p=p)
    assert constant(law) / law.entropy().value ** 2 == pytest.approx(shannon, rel=0.05)
    assert constant(law) / law.entropy(0.5).value ** 2 == pytest.approx(half, abs=6e-3)


@pytest.mark.parametrize(
    ("n", "shannon", "half"),
    [(2, 3.7, 3.1), (4, 5.4, 4.2), (8, 7.97, 5.67), pytest.param(16, 12.0, 7.8, marks=pytest.mark.slow)],
)
def test_heavy_tail_table(n, shannon, half):
    law = get("heavy_tail", n=n)
    digits = 5e-3 if n == 8 else 5e-2
    assert constant(law) / law.entropy().value ** 2 == pytest.approx(shannon, abs=digits)
    assert constant(law) / law.entropy(0.5).value ** 2 == pytest.approx(half, abs=digits)


@pytest.mark.slow
def test_heavy_tail_to_1e94():
    """n = 32: the curve's range follows the law's smallest gap, and the entropy is still reached."""
    law = get("heavy_tail", n=32)
    top = float(np.exp(law.curve.edges[-1]))
    assert top > 1e94
    assert constant(law) / law.entropy().value ** 2 == pytest.approx(18.1, abs=5e-2)
    assert constant(law) / law.entropy(0.5).value ** 2 == pytest.approx(10.6, abs=5e-2)
    assert law.mutual_information(top).value == pytest.approx(law.entropy().value, rel=1e-9)


@pytest.mark.parametrize("bits", [2, 4])
def test_nested_scales_grow_like_the_entropy_squared(bits):
    law = get("nested_scales", bits=bits, base=64)
    assert constant(law) / law.entropy().value ** 2 == pytest.approx(3.1, abs=0.1)


@pytest.mark.parametrize("n", [64, 256])
def test_orthogonal_points_grow_like_the_root_of_the_entropy(n):
    law = get("orthogonal_points", n=n)
    assert constant(law) / math.sqrt(law.entropy().value) == pytest.approx(3.03, abs=0.15)


@STEADY
@given(st.lists(st.floats(0.02, 1.0), min_size=2, max_size=4), st.integers(0, 999))
def test_length_is_below_the_proved_bound(raw, seed):
    """S ≤ 2√2 Σ_{i≠j} (p_i p_j)^{1/4} over ordered pairs."""
    p = np.array(raw) / np.sum(raw)
    places = np.cumsum(np.random.default_rng(seed).uniform(0.2, 3.0, len(p)))
    law = Discrete(places[:, None], p)
    pairs = sum((a * b) ** 0.25 for a, b in itertools.permutations(p, 2))
    assert law.curve.discretisation_length().value <= 2.0 * math.sqrt(2.0) * pairs

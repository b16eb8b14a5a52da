"""Verdicts of the entropy study on made-up laws: powers, constants, noise, too few sizes; pairs of atoms; sizes."""

import itertools
import math

import numpy as np
import pytest

from studies import entropy_scaling, entropy_verdicts
from studies.store import frame
from targets import Discrete, Estimate, get


def synthetic(family, sizes, entropy, quarter, noise=0.0):
    """Rows of laws made up: all columns that a verdict reads."""
    return [
        {
            **{"family": family, "size": float(n), "identity": False, "quantity": "law", "unit": "points"},
            **{"entropy": float(h), "half_entropy": float(h), "log_pairs": 40.0},
            **{"quarter": float(q), "quarter_stderr": noise * float(q), "quarter_bias": 0.0},
        }
        for n, h, q in zip(sizes, entropy, quarter, strict=True)
    ]


def scaled(family, sizes, entropy, quarter, noise=0.0):
    """The verdicts on made-up laws, by claim."""
    data = frame(synthetic(family, sizes, np.asarray(entropy), np.asarray(quarter), noise))
    return {v.claim: v for v in entropy_verdicts._scaling(entropy_verdicts.laws(data, family), family)}


@pytest.mark.parametrize(
    ("exponent", "status"), [(2.0, "supported"), (2.09, "supported"), (2.11, "undecided"), (1.0, "refuted")]
)
def test_exponents(exponent, status):
    """A power law but for its first size, which decides nothing; the tolerance is a tenth."""
    entropy = np.log(2.0) * np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    quarter = entropy**exponent * np.array([1.5, 1.0, 1.0, 1.0, 1.0])
    found = scaled("nested scales", (1, 2, 3, 4, 6), entropy, quarter, noise=0.01)
    assert found["exponent"].status == status
    assert f"{exponent:.2f} ±" in found["exponent"].sentence


def test_an_exponent_between_the_powers_is_undecided_where_it_is_noisy():
    """Half-width beyond a fifth: ½ and 1 are not told apart."""
    entropy = np.log([64.0, 128.0, 256.0])
    assert (
        scaled("orthogonal points", (64, 128, 256), entropy, entropy**0.5, noise=0.1)["exponent"].status == "undecided"
    )
    assert (
        scaled("orthogonal points", (64, 128, 256), entropy, entropy**0.5, noise=0.01)["exponent"].status == "supported"
    )


def test_an_exponent_does_not_depend_on_the_direction_of_growth():
    """Entropy that falls with size: the same slope, the same local slopes, an interval the right way round."""
    entropy = np.array([8.0, 4.0, 2.0, 1.0, 0.5])
    values = entropy_verdicts.estimates(frame(synthetic("x", range(5), entropy, 3.0 * entropy**1.5)), "quarter")
    falling, rising = entropy_verdicts.exponent(entropy, values), entropy_verdicts.exponent(entropy[::-1], values[::-1])
    for found in (falling, rising):
        assert found.slope == pytest.approx(1.5, rel=1e-12)
        assert found.interval[0] <= 1.5 <= found.interval[1]
    assert entropy_verdicts.power(entropy, values).startswith("undecided")
    for power, name in ((0.5, "√H"), (1.0, "H"), (2.0, "H²")):
        values = entropy_verdicts.estimates(frame(synthetic("x", range(5), entropy, entropy**power)), "quarter")
        assert entropy_verdicts.power(entropy, values).startswith(f"{name} (")


SIZES = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
RATIOS = {
    "grows": (4.0 * SIZES**0.5, "refuted"),
    "logarithm": (4.0 * np.log(SIZES), "undecided"),
    "saturates": (9.0 - 6.0 / SIZES, "undecided"),
    "falls": (40.0 / SIZES, "supported"),
    "constant": (np.full(5, 30.0), "supported"),
    "grows below a fair bit": (0.1 * SIZES**0.9, "supported"),
    "came down from far above": (np.array([90.0, 3.2, 4.4, 6.0, 8.4]), "undecided"),
}


@pytest.mark.parametrize("shape", RATIOS)
def test_constants(shape):
    """S²/(4H²) as a function of size: only growth that does not slow down, beyond all earlier sizes, refutes."""
    ratio, status = RATIOS[shape]
    found = scaled("heavy tails", SIZES, np.linspace(1.0, 2.0, 5), ratio * np.linspace(1.0, 2.0, 5) ** 2)
    assert found["entropy"].status == found["half_entropy"].status == status
    assert found["entropy"].margin == pytest.approx(ratio[-1] / entropy_verdicts.FAIR_BIT, rel=1e-12)


def test_growth_within_its_noise_refutes_nothing():
    entropy, ratio = np.linspace(1.0, 2.0, 5), 4.0 * SIZES**0.1
    assert scaled("heavy tails", SIZES, entropy, ratio * entropy**2)["entropy"].status == "refuted"
    assert scaled("heavy tails", SIZES, entropy, ratio * entropy**2, noise=0.05)["entropy"].status == "undecided"


def test_a_bound_within_its_errors_is_undecided():
    shares = [Estimate(1.01, 0.005, 0.0, "row")]
    row = frame(synthetic("heavy tails", [2], [1.0], [1.0]))
    assert entropy_verdicts._bounded(row, "pair bound", shares, "text").status == "undecided"


def test_two_sizes_are_too_few():
    found = scaled("heavy tails", (2, 4), (1.0, 2.0), (3.0, 9.0))
    assert {v.status for v in found.values()} == {"undecided"}
    assert set(found) == {"exponent", "entropy", "half_entropy"}


def test_pairs_by_enumeration():
    """Ordered pairs of atoms one by one, on a law of unequal weights and on all paths of a chain."""
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    chain = get("bit_chain", length=5, stay=0.8)
    paths = np.array(
        [0.5 * 0.8 ** sum(s) * 0.2 ** (4 - sum(s)) for s in itertools.product((0, 1), repeat=4) for _ in range(2)]
    )
    for target, p in ((Discrete(np.arange(4.0)[:, None], weights), weights), (chain, paths)):
        assert p.sum() == pytest.approx(1.0, rel=1e-14)
        pairs = sum((p[i] * p[j]) ** 0.25 for i, j in itertools.permutations(range(len(p)), 2))
        assert entropy_scaling.log_pairs(target) == pytest.approx(math.log(pairs), rel=1e-12)


def test_sizes_grow_and_entropies_follow():
    """In both presets sizes rise, quick ones are among the full or below them, and every law can be built."""
    for name, family in entropy_scaling.FAMILIES.items():
        for sizes in (family.quick, family.full):
            assert list(sizes) == sorted(set(sizes))
            assert len(sizes) >= 3, name
        laws = [family.build(size, 0) for size in family.quick]
        change = np.diff([float(law.entropy().value) for law in laws])
        assert (change > 0).all() or (change < 0).all()

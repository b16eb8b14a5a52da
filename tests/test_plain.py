"""Laws, grids and tables as JSON: the same bits come back, and no text does worse than raise ArgumentError."""

from functools import cached_property

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import (
    ArgumentError,
    Discrete,
    Embedded,
    Gaussian,
    GaussianMixture,
    Level,
    MarkovChain,
    NotAvailableError,
    Product,
    Rotated,
    Sphere,
    Target,
    from_json,
    get,
    to_json,
)
from targets.components import Components
from verify import Grid, grid_from_json, grid_to_json, samplers, table_from_json, table_to_json

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(7))
MEANS = RNG.standard_normal((7, 5)) + 100.0
ROOT = RNG.standard_normal((5, 5))
COVARIANCE = ROOT @ ROOT.T
TIED = GaussianMixture.shared(WEIGHTS, MEANS, COVARIANCE)
FACTORS = GaussianMixture.low_rank(WEIGHTS, RNG.standard_normal((7, 9)), RNG.standard_normal((7, 9, 2)), RNG.random(7))
LINE = GaussianMixture.low_rank(WEIGHTS, RNG.standard_normal((7, 1)), RNG.standard_normal((7, 1, 2)), 0.1)
LAWS = {
    "gaussian": Gaussian(1e3 * MEANS[0], COVARIANCE),
    "gaussian, diagonal": get("anisotropic_gaussian"),
    "gaussian, singular": Gaussian([0.1, 0.2], [[1.0, 1.0], [1.0, 1.0]]),
    "full": GaussianMixture(WEIGHTS, MEANS, np.stack([COVARIANCE * w for w in WEIGHTS])),
    "fitted": get("digits_mixture", components=3),
    "diagonal": GaussianMixture.diagonal(WEIGHTS, MEANS, RNG.random((7, 5))),
    "isotropic": get("curved_mixture"),
    "isotropic, shared": get("random_centres"),
    "many dimensions, few centres": get("random_centres", components=4, dim=60),
    "one varying coordinate": get("two_components", dim=3),
    "one component": GaussianMixture.isotropic([1.0], [[1.0, 2.0]], 0.3),
    "tied": TIED,
    "tied, diagonal": GaussianMixture.shared(WEIGHTS, MEANS, np.diag(np.arange(1.0, 6.0))),
    "low rank": FACTORS,
    "low rank on the line": LINE,
    "no weight": GaussianMixture.isotropic([0.3, 0.0, 0.7], [[0.0], [1.0], [2.0]], [0.1, 0.2, 0.3]),
    "digits": get("digits", images=64),
    "codebook": get("codebook"),
    "thirds": Discrete([[0.1], [0.2], [0.3]], np.full(3, 1 / 3)),
    "heavy tail": get("heavy_tail", n=32),
    "repeated atoms": Discrete([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]], [0.1, 0.2, 0.7]),
    "point": get("point_mass", point=[1.0, -2.0]),
    "product": Product([LINE, LINE, get("rare_bit"), LINE]),
    "bits": get("hypercube", dim=10_000),
    "rotated": Rotated(TIED, np.linalg.qr(ROOT)[0]),
    "embedded": Embedded(Product([LINE, Sphere(3, 0.1)]), 50),
    "sphere": Sphere(4, radius=1 / 3),
    "refined": get("sphere").refined(64),
    "chain": MarkovChain([0.3, -1.0, 2.0], RNG.dirichlet(np.ones(3), 3), 7),
    "bit chain": get("bit_chain"),
}


def cached(item, name):
    """Whether the attribute is computed from the others."""
    return isinstance(getattr(type(item), name, None), cached_property)


def assert_same(ours, theirs, path="law"):
    """The same classes, and the same bits in every attribute."""
    assert type(ours) is type(theirs), path
    if isinstance(ours, (Target, Components)):
        first, second = ({k: v for k, v in vars(x).items() if not cached(x, k)} for x in (ours, theirs))
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}.{key}")
    elif isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype, path
        assert torch.equal(ours, theirs), path
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), path
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{path}[{i}]")
    else:
        assert ours == theirs, path


@pytest.mark.parametrize("name", LAWS)
def test_laws_come_back_to_the_last_bit(name):
    """Every attribute, samples and densities bit by bit; and the document again the same text."""
    law, text = LAWS[name], to_json(LAWS[name])
    back = from_json(text)
    assert_same(law, back)
    assert to_json(back) == text
    drawn = law.sample(5, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, back.sample(5, torch.Generator().manual_seed(0)))
    at = Level.from_snr(2.0)
    for function in ("log_prob", "denoiser", "posterior_trace"):
        assert torch.equal(getattr(law, function)(drawn + 0.1, at), getattr(back, function)(drawn + 0.1, at)), function


def test_curves_come_back():
    """The curve of the law read is the curve of the law written."""
    for name in ("isotropic", "sphere"):
        law, back = LAWS[name], from_json(to_json(LAWS[name]))
        assert float(law.mmse(0.7).value) == float(back.mmse(0.7).value)


def test_repeated_factors_stay_one():
    """A product holds each distinct factor once, and blocks of the same factor share it again."""
    back = from_json(to_json(LAWS["product"]))
    assert isinstance(back, Product)
    assert [count for _, count in back.blocks] == [2, 1, 1]
    assert back.blocks[0][0] is back.blocks[2][0]
    assert len(to_json(LAWS["bits"])) < 300


def test_a_document_by_hand():
    """Unsorted, repeated atoms, weights that need normalising; integers for floats."""
    law = from_json(
        '{"format": "truerate target", "version": 1, "law": {"family": "discrete", "atoms": [[2], [1], [2]],'
        ' "weights": [0.3333333333, 0.3333333333, 0.3333333333]}}'
    )
    assert isinstance(law, Discrete)
    assert law.atoms.tolist() == [[1.0], [2.0]]
    np.testing.assert_allclose(law.weights, [1 / 3, 2 / 3], rtol=1e-15)


def test_laws_without_a_document():
    with pytest.raises(ArgumentError, match="law = 3: expected a target"):
        to_json(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="in reduced precision"):
        to_json(Sphere(3).to(dtype=torch.float32))
    with pytest.raises(ArgumentError, match="sum of all dim in the document = 20000000"):
        to_json(Embedded(Sphere(1), 19_999_999))
    deep = Sphere(1)
    for _ in range(20):
        deep = Embedded(deep, 1)
    with pytest.raises(ArgumentError, match="depth of laws inside laws"):
        to_json(deep)

    class Other(Sphere):
        pass

    with pytest.raises(NotAvailableError, match="a Other has no JSON form; these have: Gaussian"):
        to_json(Other(2))
    with pytest.raises(ArgumentError, match="largest number = 1e\\+200"):
        to_json(Discrete([[1e200]], [1.0]))


STEADY = settings(derandomize=True, deadline=None, max_examples=150)
FINITE = st.floats(-1e150, 1e150)


@STEADY
@given(
    atoms=st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=5),
    shares=st.lists(st.floats(1e-300, 1.0), min_size=5, max_size=5),
)
def test_any_atoms_come_back(atoms, shares):
    """Subnormal and huge coordinates, weights over 300 orders of magnitude."""
    weights = np.array(shares[: len(atoms)])
    law = Discrete(np.array(atoms), weights / weights.sum())
    back = from_json(to_json(law))
    assert isinstance(back, Discrete)
    assert torch.equal(law.atoms, back.atoms)
    assert torch.equal(law.weights, back.weights)


@STEADY
@given(steps=st.lists(st.floats(1e-12, 1e3), min_size=1, max_size=6), process=st.sampled_from(["vp", "ve", "flow"]))
def test_any_grid_comes_back(steps, process):
    snr = np.unique(np.cumsum([1e-5, *steps]))
    if len(snr) > 1:
        grid = Grid(snr, process)
        back = grid_from_json(grid_to_json(grid))
        assert np.array_equal(back.snr, grid.snr)
        assert back.process == process


# ---- tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samplers.names())
def test_tables_come_back_to_the_last_bit(name):
    table = samplers.get(name)(Grid.log_snr(7, snr=(0.01, 100.0)))
    text = table_to_json(table)
    back = table_from_json(text)
    assert back.method == table.method
    assert back.key == table.key
    assert np.array_equal(back.snr, table.snr)
    assert table_to_json(back) == text

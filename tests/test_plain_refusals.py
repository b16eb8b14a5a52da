"""What the readers of JSON documents refuse, by place, and random texts and documents: only ArgumentError comes out."""

import copy
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import (
    ArgumentError,
    Discrete,
    Embedded,
    Gaussian,
    GaussianMixture,
    MarkovChain,
    Product,
    Rotated,
    Sphere,
    from_json,
    get,
    to_json,
)
from targets.documents import MOST_NUMBERS
from verify import Grid, grid_from_json, grid_to_json, samplers, table_from_json, table_to_json

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(7))
LINE = GaussianMixture.low_rank(WEIGHTS, RNG.standard_normal((7, 1)), RNG.standard_normal((7, 1, 2)), 0.1)
LAWS = {
    "isotropic": get("curved_mixture"),
    "isotropic, shared": get("random_centres"),
    "one varying coordinate": get("two_components", dim=3),
    "tied": GaussianMixture.shared(WEIGHTS, RNG.standard_normal((7, 5)), np.eye(5) + 0.1),
    "low rank": GaussianMixture.low_rank(WEIGHTS, RNG.standard_normal((7, 9)), RNG.standard_normal((7, 9, 2)), 0.2),
    "thirds": Discrete([[0.1], [0.2], [0.3]], np.full(3, 1 / 3)),
    "point": get("point_mass", point=[1.0, -2.0]),
    "product": Product([LINE, LINE, get("rare_bit"), LINE]),
    "embedded": Embedded(Product([LINE, Sphere(3, 0.1)]), 50),
    "chain": MarkovChain([0.3, -1.0, 2.0], RNG.dirichlet(np.ones(3), 3), 7),
}


def doc(**law):
    return json.dumps({"format": "truerate target", "version": 1, "law": law})


DISCRETE = {"family": "discrete", "atoms": [[0.0], [1.0]], "weights": [0.5, 0.5]}
GAUSSIAN = {"family": "gaussian", "mean": [0.0, 0.0], "variances": [1.0, 2.0], "axes": None}
CHAIN = {"family": "markov chain", "values": [0.0, 1.0], "transition": [[0.5, 0.5], [0.5, 0.5]], "length": 3}
BALL = {"family": "sphere", "dim": 3, "radius": 1.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (3, "text = 3: expected a string of JSON"),
        ("", "text = '': expected valid JSON"),
        ("[1]", r"document = \[1\]: expected an object"),
        ('{"format": "truerate target"}', "'version' too"),
        (
            '{"format": "truerate grid", "version": 1}',
            "document.format = 'truerate grid'.*did you mean 'truerate target'",
        ),
        ('{"format": "truerate target", "version": 2, "law": {}}', "document.version = 2: expected 1"),
        ('{"format": "truerate target", "version": true, "law": {}}', "document.version = True"),
        (
            '{"format": "truerate target", "version": 1, "version": 1}',
            "key of an object = 'version': expected every key once",
        ),
        (doc(), "'family' too"),
        (doc(family="sphre"), "document.law.family = 'sphre'.*did you mean 'sphere'"),
        (doc(**BALL, colour=1), "key of document.law = 'colour'"),
        (doc(**BALL | {"radius": "1"}), "document.law.radius = '1': expected a number"),
        (doc(**BALL | {"radius": -1}), "radius"),
        (doc(**BALL | {"dim": 3.0}), "document.law.dim = 3.0: expected an integer"),
        (doc(**BALL | {"dim": 10**9}), "sum of all dim in the document = 1000000000: expected at most"),
        (doc(**BALL).replace("1.0", "1e999"), "document.law.radius = inf"),
        (doc(**BALL).replace("1.0", "NaN"), "text = 'NaN': expected finite numbers only"),
        (doc(**BALL).replace("1.0", "-Infinity"), "text = '-Infinity'"),
        (doc(**BALL, points=3), "document.law.points = 3: expected a power of two"),
        (doc(**DISCRETE | {"weights": [0.5, 0.6]}), "sum of document.law.weights"),
        (doc(**DISCRETE | {"weights": [1.5, -0.5]}), "document.law.weights = -0.5: expected positive weights"),
        (doc(**DISCRETE | {"weights": [1.0]}), r"shape of document.law.weights = \(1,\): expected \(2\)"),
        (doc(**DISCRETE | {"atoms": [[0.0], [1.0, 2.0]]}), r"document.law.atoms = \[0.0\]: expected numbers only"),
        (doc(**DISCRETE | {"atoms": [[True], [1.0]]}), "document.law.atoms = True: expected numbers only"),
        (doc(**DISCRETE | {"atoms": [[None], [1.0]]}), "document.law.atoms = None"),
        (doc(**DISCRETE | {"atoms": [[], []]}), r"shape of document.law.atoms = \(2, 0\)"),
        (doc(**DISCRETE | {"atoms": [[1e300], [0.0]]}), r"document.law.atoms = 1e\+300"),
        (doc(**DISCRETE | {"atoms": [[10**400], [0]]}), "numbers that a float can hold"),
        (doc(**GAUSSIAN | {"variances": [1.0, -1.0]}), "document.law.variances = -1.0"),
        (doc(**GAUSSIAN | {"axes": [[1.0, 0.1], [0.0, 1.0]]}), "document.law.axes: .*orthonormal"),
        (doc(**CHAIN | {"values": [1.0, 0.0]}), "strictly ascending values"),
        (doc(**CHAIN | {"transition": [[1.0, 0.0], [0.5, 0.5]]}), "visits every state for ever"),
        (doc(**CHAIN | {"transition": [[1.0, 0.1], [0.5, 0.5]]}), "sum of document.law.transition"),
        (doc(family="product", factors=[], blocks=[[0, 1]]), "document.law.factors"),
        (doc(family="product", factors=[BALL], blocks=[[1, 1]]), "document.law.blocks"),
        (doc(family="product", factors=[BALL], blocks=[[0, 0]]), "document.law.blocks"),
        (doc(family="product", factors=[BALL], blocks=[[0, 9_000_000]]), "dimension of document.law = 27000000"),
        (doc(family="product", factors=[BALL | {"dim": 9_000_000}] * 9, blocks=[[0, 1]]), "sum of all dim"),
        (doc(family="embedded", inner=BALL, dim=2), "document.law.dim = 2: expected an integer from 3"),
        (doc(family="rotated", inner=BALL, rotation=[[1.0]]), r"shape of document.law.rotation = \(1, 1\)"),
        ("[" * 100_000, "nested"),
        ('{"a":' * 100_000, "nested"),
        ("[" + "0," * MOST_NUMBERS + "0,0]", "length of text"),
        ('{"a": ' + "1" * 10_000 + "}", "expected valid JSON"),
    ],
)
def test_refusals_name_the_place(text, words):
    began = time.monotonic()
    with pytest.raises(ArgumentError, match=words):
        from_json(text)
    assert time.monotonic() - began < 5.0


def test_deep_laws_are_refused():
    law = BALL
    for _ in range(50):
        law = {"family": "embedded", "inner": law, "dim": 3}
    with pytest.raises(ArgumentError, match="depth of laws inside laws = 17"):
        from_json(doc(**law))


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("isotropic", "centres", [[1.0], [1.0], [2.0]], "components.centres: off by"),
        ("isotropic", "axes", [[[2.0]]] * 3, "axes"),
        ("isotropic", "variances", [[0.1, 0.2]] * 3, r"shape of .*variances = \(3, 2\)"),
        ("isotropic, shared", "coordinates", [0, 1], r"shape of .*basis|shape of .*centres"),
        ("one varying coordinate", "mean", [5.0, 0.0, 0.0], "components.mean: off by"),
        ("one varying coordinate", "coordinates", [3], "coordinates = 3.0: expected integers from 0 to 2"),
        ("one varying coordinate", "coordinates", 5, r"coordinates = 5"),
        ("low rank", "along", [[1.0, 1.0]] * 7, "components.along: off by"),
        ("low rank", "axes", [[1.0] * 9] * 14, "orthonormal"),
        ("low rank", "noise", [-1.0] * 7, "non-negative"),
        ("tied", "rotation", None, "no basis where the variances differ"),
        ("tied", "kind", "triangular", "kind = 'triangular'"),
    ],
)
def test_parts_have_to_fit_together(name, key, value, words):
    document = json.loads(to_json(LAWS[name]))
    document["law"]["components"][key] = value
    if (name, key) == ("tied", "rotation"):
        document["law"]["components"]["basis"] = np.eye(5).tolist()
    with pytest.raises(ArgumentError, match=words):
        from_json(json.dumps(document))


# ---- fuzz --------------------------------------------------------------------------------------------

STEADY = settings(derandomize=True, deadline=None, max_examples=150)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
SMALL = [
    to_json(LAWS[k]) for k in ("isotropic", "one varying coordinate", "thirds", "product", "embedded", "chain", "point")
]
SMALL += [
    to_json(Gaussian([0.1, 0.2], [[1.0, 0.5], [0.5, 1.0]])),
    to_json(Rotated(Sphere(2), [[0.0, 1.0], [1.0, 0.0]])),
]
GRIDS = [grid_to_json(Grid.log_snr(3, snr=(0.1, 10.0), process=p)) for p in ("vp", "ve", "flow")]
TABLES = [
    table_to_json(samplers.get(name)(Grid.log_snr(3, snr=(0.1, 10.0))))
    for name in ("heun", "dpmpp_2m", "predictor_corrector")
]
READERS = {from_json: SMALL, grid_from_json: GRIDS, table_from_json: TABLES}


def survives(read, text):
    """Whatever is read is usable or refused with ArgumentError."""
    try:
        read(text)
    except ArgumentError:
        return False
    return True


def places(value, path=()):
    """Every path into a document."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


@STEADY
@given(value=VALUES, read=st.sampled_from(list(READERS)))
def test_any_json_is_refused(value, read):
    assert not survives(read, json.dumps(value))


@STEADY
@given(text=st.text(max_size=40), read=st.sampled_from(list(READERS)))
def test_any_text_is_refused(text, read):
    assert not survives(read, text)


@STEADY
@given(data=st.data(), read=st.sampled_from(list(READERS)))
def test_truncated_documents_are_refused(data, read):
    text = data.draw(st.sampled_from(READERS[read]))
    assert not survives(read, text[: data.draw(st.integers(0, len(text) - 1))])


@settings(STEADY, max_examples=600)
@given(data=st.data(), read=st.sampled_from(list(READERS)))
def test_mutated_documents_are_read_or_refused(data, read):
    """One place replaced by any JSON value, taken away, or given a twin under another key."""
    document = json.loads(data.draw(st.sampled_from(READERS[read])))
    path = data.draw(st.sampled_from(places(document)[1:]))
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    change = data.draw(st.sampled_from(["replace", "number", "drop", "add"]))
    if change == "drop":
        del inside[path[-1]]
    elif change == "add" and isinstance(inside, dict):
        inside[data.draw(st.text(min_size=1, max_size=4))] = copy.deepcopy(inside[path[-1]])
        assert not survives(read, json.dumps(document))
        return
    else:
        inside[path[-1]] = data.draw(st.floats() | st.integers() if change == "number" else VALUES)
    survives(read, json.dumps(document))


def test_tables_and_grids_are_refused_by_place():
    grid = Grid.log_snr(3, snr=(0.1, 10.0))
    good = json.loads(table_to_json(samplers.heun(grid)))
    wrong = {
        r"\|alpha²/sigma²/snr - 1\|": {"snr": [0.1, 0.5, 2.0, 10.0]},
        r"document.noise": {"noise": [0.0, None, 0.0]},
        r"table.noise = -1.0": {"noise": [0.0, -1.0, 0.0]},
        r"shape of document.outputs = \(3, 1\)": {"outputs": [[1.0]] * 3},
        r"document.method": {"method": {}},
        r"identities": {"method": good["method"] | {"identities": ["luck"]}},
        r"every name once": {"method": good["method"] | {"identities": ["gauge", "gauge"]}},
        r"document.sigma = -1.0": {"sigma": [-1.0, 1.0, 1.0, 1.0]},
        r"document.stages = 65": {"stages": good["stages"] * 33},
        r"document.history": {"history": 3},
    }
    wrong[r"document.stages = 65"] = {"stages": (good["stages"] * 33)[:65]}
    for words, change in wrong.items():
        with pytest.raises(ArgumentError, match=words):
            table_from_json(json.dumps(good | change))
    for call, words in (
        (lambda: grid_from_json(table_to_json(samplers.heun(grid))), "truerate grid"),
        (lambda: grid_from_json(grid_to_json(grid).replace("vp", "pv")), "process = 'pv'"),
        (lambda: grid_from_json(grid_to_json(grid).replace("0.1", "11.0")), "strictly ascending"),
        (lambda: grid_to_json(samplers.heun(grid)), "expected a Grid"),  # pyright: ignore[reportArgumentType]
        (lambda: table_to_json(grid), "expected a Table"),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(ArgumentError, match=words):
            call()

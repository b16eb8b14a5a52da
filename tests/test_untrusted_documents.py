"""JSON documents that anybody wrote (laws, grids, tables): what stands there, or an ArgumentError that names the place.

Documents with one place replaced, taken away or repeated, and what each check says: test_plain_refusals.py.
"""

import json
import re
import time
import tracemalloc

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
    Sphere,
    from_json,
    to_json,
)
from targets.documents import LONGEST, MOST_CHARACTERS, MOST_NUMBERS
from verify import Grid, grid_from_json, grid_to_json, samplers, table_from_json, table_to_json

STEADY = settings(derandomize=True, deadline=None, max_examples=120)
LAWS = [
    Gaussian([0.1, 0.2], [[1.0, 0.5], [0.5, 1.0]]),
    Discrete([[0.0, 1.0], [2.0, 3.0]], [0.25, 0.75]),
    GaussianMixture.isotropic([0.5, 0.5], [[-1.0, 0.5], [1.0, 0.25]], 0.5),
    Product([Sphere(3, 0.5), Sphere(2), Sphere(2)]),
    Embedded(Sphere(2), 5),
    MarkovChain([0.0, 1.0], [[0.5, 0.5], [0.25, 0.75]], 4),
]
GRID = Grid.log_snr(3, snr=(0.1, 10.0))
TEXTS = [(from_json, to_json(law)) for law in LAWS]
TEXTS += [(grid_from_json, grid_to_json(GRID)), (table_from_json, table_to_json(samplers.get("dpmpp_2m")(GRID)))]
WRITERS = {from_json: to_json, grid_from_json: grid_to_json, table_from_json: table_to_json}
NUMBER = re.compile(r"(?<=[\[ ])-?\d+(?:\.\d+)?(?:e-?\d+)?(?=[,\]}])")
TOKENS = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e151", "-0", "01", "+1", "0x10", "1_0", ".5", "1.", "١"),
    *(
        "1" * 400,
        "1" * 5000,
        str(10**12),
        str(2**62),
        str(-(2**63)),
        "1e12",
        "5e-324",
        "null",
        "true",
        '""',
        '"1"',
        "{}",
    ),
    *(
        "[]",
        "[[]]",
        "[1",
        '{"a": 1, "a": 2}',
        r'"\ud800"',
        "[" * 900 + "]" * 900,
        "[" * 200_000,
        '{"a":' * 950,
        "/**/",
        "\0",
    ),
]


def refused(read, text: str) -> str | None:
    """What the ArgumentError says, or None for what was read and can be written again."""
    try:
        found = read(text)
    except ArgumentError as error:
        return str(error)
    assert WRITERS[read](read(WRITERS[read](found))) == WRITERS[read](found)
    return None


@STEADY
@given(case=st.sampled_from(TEXTS), token=st.sampled_from(TOKENS), data=st.data())
def test_any_token_in_place_of_a_number(case, token, data):
    read, text = case
    place = data.draw(st.sampled_from(list(NUMBER.finditer(text))))
    said = refused(read, text[: place.start()] + token + text[place.end() :])
    assert said is None or len(said) < 1000


NEVER = [
    "NaN",
    "-Infinity",
    "1e999",
    "01",
    "null",
    "true",
    '"1"',
    "{}",
    "[]",
    "1" * 5000,
    "[" * 900 + "]" * 900,
    "1e151",
]


@pytest.mark.parametrize("token", NEVER, ids=lambda token: token[:10])
def test_what_is_never_a_number(token):
    """In every place of every document."""
    for read, text in TEXTS:
        for place in NUMBER.finditer(text):
            changed = text[: place.start()] + token + text[place.end() :]
            assert refused(read, changed), (place, changed[:300])


@STEADY
@given(case=st.sampled_from(TEXTS), data=st.data())
def test_one_character_changed(case, data):
    read, text = case
    where = data.draw(st.integers(0, len(text) - 1))
    refused(
        read,
        text[:where]
        + data.draw(st.characters(exclude_categories=()) | st.sampled_from('[]{}",:0-e'))
        + text[where + 1 :],
    )


@STEADY
@given(case=st.sampled_from(TEXTS), data=st.data())
def test_a_piece_that_stands_twice(case, data):
    read, text = case
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    refused(read, text[:end] + text[start:end] + text[end:])


def test_a_key_twice():
    """Each key of each document, with the value that it has."""
    for read, text in TEXTS:
        for place in re.finditer(r'"(\w+)": (?=[-\d"])', text):
            value = re.match(r'"[^"]*"|[^,\]}]+', text[place.end() :])
            assert value
            again = f"{place[0]}{value[0]}, "
            said = refused(read, text[: place.start()] + again + text[place.start() :])
            assert f"key of an object = '{place[1]}': expected every key once" in (said or "")


@pytest.mark.parametrize("before", ["\ufeff", "\0", "x", "[]", "//\n"], ids=ascii)
def test_what_does_not_start_as_a_document(before):
    for read, text in TEXTS:
        assert "text = " in (refused(read, before + text) or "")
        assert "text = " in (refused(read, text + before) or "")
        assert refused(read, " \r\n\t" + text + "\n") is None


def law(**content) -> str:
    return json.dumps({"format": "truerate target", "version": 1, "law": content})


BALL = {"family": "sphere", "dim": 3, "radius": 1.0}
HUGE = 10**12
DECLARED = {
    "sphere": (BALL | {"dim": HUGE}, "sum of all dim"),
    "embedded": ({"family": "embedded", "inner": BALL, "dim": HUGE}, "sum of all dim"),
    "many": ({"family": "product", "factors": [BALL | {"dim": 10**6}] * 11, "blocks": [[0, 1]]}, "sum of all dim"),
    "product": ({"family": "product", "factors": [BALL], "blocks": [[0, HUGE]]}, "document.law.blocks"),
    "products": ({"family": "product", "factors": [BALL], "blocks": [[0, 10**7]] * 9}, "dimension of document.law"),
    "chain": (
        {"family": "markov chain", "values": [0.0, 1.0], "transition": [[0.5, 0.5]] * 2, "length": HUGE},
        "document.law.length",
    ),
    "points": (BALL | {"points": 2**60}, "document.law.points"),
    "dim beyond": (BALL | {"dim": 10**400}, "sum of all dim"),
    "radius beyond": (BALL | {"radius": 10**400}, "document.law.radius"),
    "numpy's deepest": (
        {"family": "discrete", "weights": [1], "atoms": json.loads("[" * 65 + "1" + "]" * 65)},
        "atoms",
    ),
    "ragged": ({"family": "discrete", "weights": [1], "atoms": [[1], [[1]]]}, "atoms"),
    "many keys": (dict.fromkeys(map(str, range(10**5)), 1), "'family' too"),
    "a law for a number": (BALL | {"radius": BALL}, "document.law.radius"),
}


@pytest.mark.parametrize("kind", DECLARED)
def test_a_declared_size_is_refused_before_it_is_made(kind):
    content, words = DECLARED[kind]
    text, began = law(**content), time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ArgumentError, match=words):
            from_json(text)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000 + 300 * len(text)
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 3.0


def test_texts_have_bounds():
    """Names and formulas in a table: short, and of whole characters, so that they can be printed and compared."""
    good = json.loads(table_to_json(samplers.get("heun")(GRID)))
    for key in ("name", "formula", "source", "freezes"):
        for value, said in (("x" * LONGEST, None), ("x" * (LONGEST + 1), key), ("\ud800", key), ("é" * LONGEST, None)):
            found = refused(table_from_json, json.dumps(good | {"method": good["method"] | {key: value}}))
            assert found == said or (said and f"document.method.{key} = " in (found or "")), (key, value[:3], found)
    for key in ("identities", "references"):
        for value in (["x" * (LONGEST + 1)], ["\udfff"], [f"x{i}" for i in range(65)], [1], {}, "gauge"):
            found = refused(table_from_json, json.dumps(good | {"method": good["method"] | {key: value}}))
            assert f"document.method.{key} = " in (found or ""), (key, found)


def test_a_document_has_bounds():
    """In characters and in numbers, told before it is parsed."""
    began = time.process_time()
    for text in ("1" * (MOST_CHARACTERS + 1), "," * (MOST_NUMBERS + 1)):
        with pytest.raises(ArgumentError, match="length of text"):
            from_json(text)
    assert time.process_time() - began < 3.0


def test_numbers_come_back_to_the_last_bit():
    """Whatever finite float64 stands in a document."""
    draws = np.random.default_rng(0)
    values = np.sort(np.ldexp(draws.standard_normal(50), draws.integers(-1000, 400, 50)))
    chain = MarkovChain([0.0, 1.0], [[0.5, 0.5], [0.25, 0.75]], 4)
    for low, high in zip(values[:-1].tolist(), values[1:].tolist(), strict=True):
        document = json.loads(to_json(chain))
        document["law"]["values"] = [low, high]
        assert from_json(json.dumps(document)).values.tolist() == [low, high]  # pyright: ignore[reportAttributeAccessIssue]

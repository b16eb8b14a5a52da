"""Rows, verdicts and controls: what counts as supported, refuted, undecided."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets import ArgumentError, Estimate
from verify.claims.claim import (
    BASES,
    Claim,
    Control,
    Row,
    at_least,
    at_most,
    difference,
    from_fit,
    from_interval,
    judge,
    near,
    paired,
    ratio,
    scaled,
    total,
)
from verify.rates import fit

NUMBER = st.floats(-1e3, 1e3, allow_nan=False)
ERROR = st.floats(0.0, 1e2, allow_nan=False)
SIZE = st.floats(1e-3, 1e3)


def measured(value, stderr=0.0, bias=0.0):
    return Estimate(value, stderr, bias, "made up")


@given(NUMBER, ERROR, ERROR, NUMBER, SIZE)
def test_a_row_is_decided_by_where_the_whole_error_bar_lies(value, stderr, bias, low, width):
    row = Row("law", "window", "number", measured(value, stderr, bias), low, low + width)
    error = 4.0 * stderr + bias
    slack = 1e-9 * (abs(value) + abs(low) + width + error)
    inside, outside = (
        (low + error <= value <= low + width - error),
        (value < low - error or value > low + width + error),
    )
    if abs(abs(value - (low + 0.5 * width)) - 0.5 * width + error) > slack and inside:
        assert row.status == "supported"
    if (
        not inside
        and not outside
        and min(abs(value - e - s * error) for e in (low, low + width) for s in (-1, 1)) > slack
    ):
        assert row.status == "undecided"
    if (
        outside
        and min(low - error - value, 0.0) + min(value - low - width - error, 0.0) < 0
        and row.status != "refuted"
    ):
        assert abs(max(low - value, value - low - width) - error) <= slack


@pytest.mark.parametrize(
    ("value", "stderr", "bias", "expected"),
    [
        (0.5, 0.0, 0.0, "supported"),
        (0.9, 0.02, 0.0, "supported"),
        (0.9, 0.03, 0.0, "undecided"),
        (0.9, 0.02, 0.03, "undecided"),
        (1.1, 0.02, 0.0, "refuted"),
        (1.1, 0.03, 0.0, "undecided"),
        (1.0, 0.0, 0.0, "supported"),
        (math.nextafter(1.0, 2.0), 0.0, 0.0, "refuted"),
        (-5.0, 0.0, 0.0, "supported"),
    ],
)
def test_four_standard_errors_and_the_bias_count(value, stderr, bias, expected):
    assert at_most("law", "window", "number", measured(value, stderr, bias), 1.0).status == expected
    assert at_least("law", "window", "number", measured(-value, stderr, bias), -1.0).status == expected


def test_margins_are_fractions_of_the_room():
    assert near("law", "w", "n", 1.01, 1.0, 0.02).margin == pytest.approx(0.5)
    assert near("law", "w", "n", 1.04, 1.0, 0.02).margin == pytest.approx(-1.0)
    assert at_most("law", "w", "n", 0.25, 1.0).margin == pytest.approx(0.75)
    assert at_most("law", "w", "n", 6.0, 2.0).margin == pytest.approx(-2.0)
    assert at_least("law", "w", "n", 3.0, 2.0).margin == pytest.approx(0.5)
    assert at_most("law", "w", "n", -0.5, 0.0).margin == pytest.approx(0.5)


def test_one_refuted_row_refutes_and_one_undecided_row_leaves_it_open():
    good = at_most("law", "w", "good", 0.5, 1.0)
    doubtful = at_most("law", "w", "doubtful", measured(1.0, 0.1), 1.0)
    bad, worse = (at_most("law", "w", name, value, 1.0) for name, value in (("bad", 2.0), ("worse", 3.0)))
    assert judge([good, good]).status == "supported"
    assert judge([good, doubtful]).status == "undecided"
    found = judge([good, bad, doubtful, worse])
    assert found.status == "refuted"
    assert found.deciding is worse
    assert "worse = 3, allowed ≤ 1 (law; w)" in found.evidence


def test_a_question_stays_open_and_says_what_the_rows_say():
    found = judge([at_most("law", "w", "n", 2.0, 1.0)], question=True)
    assert (found.status, found.leaning) == ("open", "refuted")


def test_the_deciding_row_of_a_supported_claim_is_the_one_with_least_room():
    wide, tight = at_most("a", "w", "n", 0.1, 1.0), at_most("b", "w", "n", measured(0.5, 0.1), 1.0)
    assert judge([wide, tight, at_most("c", "w", "n", 0.55, 1.0)]).deciding is tight


@given(SIZE, ERROR, SIZE, ERROR)
def test_a_ratio_carries_both_errors(over, first, under, second):
    found = ratio(measured(over, first), measured(under, second))
    assert float(found.value) == pytest.approx(over / under)
    expected = over / under * math.hypot(first / over, second / under)
    assert float(found.stderr) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(paired(measured(over, first), measured(under, second)).stderr) == 0.0


def test_multiples_carry_errors():
    found = scaled(measured(3.0, 0.3, 0.1), 2.0)
    assert (float(found.value), float(found.stderr), float(found.bias)) == pytest.approx((6.0, 0.6, 0.2))


def test_sums_and_differences_carry_errors():
    a, b = measured(3.0, 0.3, 0.1), measured(1.0, 0.4, 0.2)
    for found, value in ((total(a, b), 4.0), (difference(a, b), 2.0)):
        assert float(found.value) == value
        assert float(found.stderr) == pytest.approx(0.5)
        assert float(found.bias) == pytest.approx(0.3)


def test_a_fitted_slope_brings_its_whole_interval():
    found = fit([1.0, 2.0, 4.0, 8.0], np.array([1.0, 0.5, 0.25, 0.125]))
    slope = from_fit(found)
    assert slope.value == pytest.approx(-1.0)
    assert float(slope.stderr) == 0.0
    assert float(slope.bias) >= max(found.interval[1] - found.slope, found.slope - found.interval[0])


def test_a_noisy_slope_counts_four_standard_errors_like_any_number():
    noisy = fit([1.0, 2.0, 4.0, 8.0], np.array([1.0, 0.5, 0.25, 0.125]), np.array([0.1, 0.05, 0.025, 0.0125]))
    half = 0.5 * (noisy.interval[1] - noisy.interval[0])
    assert float(from_fit(noisy).stderr) == pytest.approx(half / 1.959964, rel=1e-6)
    assert float(from_interval(2.0, 1.959964).error) == pytest.approx(4.0)
    assert half / 1.959964 == pytest.approx(0.1 / (math.log(2.0) * math.sqrt(5.0)), rel=1e-6)


@pytest.mark.parametrize("value", [-math.inf, math.inf])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(ArgumentError, match="finite value with a finite error"):
        at_most("law", "w", "n", measured(value), 1.0)
    with pytest.raises(ArgumentError, match="finite value with a finite error"):
        at_most("law", "w", "n", measured(1.0, value), 1.0)


@pytest.mark.parametrize("interval", [(1.0, 0.0), (-math.inf, math.inf), (math.nan, 1.0)])
def test_an_interval_that_allows_nothing_or_everything_is_refused(interval):
    with pytest.raises(ArgumentError, match="at least one of them finite"):
        Row("law", "w", "n", measured(1.0), *interval)


def test_no_rows_are_no_verdict():
    with pytest.raises(ArgumentError, match="at least one row"):
        judge([])


def test_a_control_that_changes_nothing_is_refused():
    with pytest.raises(ArgumentError, match="at least one keyword"):
        Control("nothing", {})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("rung", "stairs", "rung = 'stairs'"),
        ("basis", "hearsay", "basis = 'hearsay'"),
        ("tolerance", -1.0, "finite number >= 0"),
        ("tolerance", math.nan, "finite number >= 0"),
    ],
)
def test_a_malformed_claim_is_refused(field, value, words):
    fields = {
        "id": "x",
        "source": "s",
        "statement": "s",
        "rung": "path",
        "families": ("f",),
        "predicted": "p",
        "tolerance": 0.0,
        "check": lambda *_: [],
        "control": Control("c", {"k": 1}),
        "basis": next(iter(BASES)),
        "window": "w",
        "formula": "Q",
    }
    with pytest.raises(ArgumentError, match=words):
        Claim(**{**fields, field: value})

"""The early-stopping verdicts on made-up rows: what follows the claim, what refutes it, what cannot tell."""

import numpy as np
import pytest

from studies import early_stopping as early
from studies import early_verdicts as verdicts
from studies.store import frame

T = early.Config().start_time


def made(ratio, rung=verdicts.RUNGS[0], dim=1, smooth=0, stderr=0.0, bias=0.0):
    """Rows whose limit is Λ^p·ratio(Λ, log 1/δ)."""
    out = []
    for delta in early.STOPS["quick"]:
        length = early.length(T, delta)
        value = length**rung.order * ratio(length, -np.log(delta))
        base = {"family": "made", "dim": dim, "mmse_dimension": smooth, "delta": delta, "length": length}
        where = {"sampler": rung.sampler, "rung": rung.rung, "reference": rung.reference, "order": rung.order}
        errors = {"stderr": stderr * value, "bias": bias * value * length}
        out.append({**base, **where, "start_time": T, "quantity": "limit", "value": value, **errors, "method": ""})
    return out


def growth_of(rows):
    (found,) = verdicts.growths(frame(rows))
    return found


def test_the_claim_on_made_up_rows():
    """A + B log(1/δ) is log^{3/2}, attained; a constant is log; and what grows faster is refuted."""
    singular = growth_of(made(lambda _, log: 0.2 + 0.125 * log))
    assert (singular.theorem, singular.attained, singular.shape) == ("supported", True, "log^{3/2}")
    assert singular.exponent == pytest.approx(1.5, abs=1e-9)
    assert singular.growth == pytest.approx(0.125)
    smooth = growth_of(made(lambda _, log: 0.3 + 0 * log))
    assert (smooth.theorem, smooth.attained, smooth.saturated, smooth.shape) == ("supported", False, True, "log")
    assert smooth.exponent == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("ratio", "exponent"),
    [
        (lambda length, _: 0.01 * length**2, 2.0),
        (lambda length, _: 0.02 * length**1.5, 1.75),
        (lambda _, log: 0.2 + 0.01 * log**2, 2.0),
        (lambda _, log: 0.2 + 0.1 * log + 0.02 * log**2, 2.0),
    ],
)
def test_faster_growth_is_refuted(ratio, exponent):
    """Controls: K²·KL ∝ Λ⁴, Λ^{3.5}, and the same with slower terms beside them."""
    found = growth_of(made(ratio))
    assert found.theorem == "refuted"
    assert 1.5 + verdicts.TOLERANCE < found.exponent < exponent + 0.15


def test_rows_that_cannot_tell():
    """Errors of half the growth leave the claim open; three values of δ are no evidence at all."""
    loose = growth_of(made(lambda _, log: 0.2 + 0.125 * log, bias=0.03))
    assert (loose.theorem, loose.form) == ("undecided", "undecided")
    few = [row for row in made(lambda _, log: 0.2 + 0.125 * log) if row["delta"] > 1e-5]
    assert verdicts.growths(frame(few)) == []


def test_larger_stops_do_not_enter():
    """δ = 1e-1 may be anything."""
    rows = made(lambda _, log: 0.2 + 0.125 * log)
    strange = [{**row, "value": 7.0} if row["delta"] == 0.1 else row for row in rows]
    assert growth_of(strange) == growth_of(rows)


@pytest.mark.parametrize("rung", verdicts.RUNGS, ids=lambda rung: rung.name)
def test_growth_is_held_against_directions(rung):
    """B of three singular and two smooth directions is supported, a tenth and a direction off are refuted."""
    right = 3 * rung.singular + 2 * rung.smooth
    for growth, status in (
        (right, "supported"),
        (1.1 * right + 0.02, "refuted"),
        (right + max(rung.singular, rung.smooth, 0.125), "refuted"),
    ):
        found = growth_of(made(lambda _, log, b=growth: 1.0 + b * log, rung, dim=5, smooth=2))
        assert found.form == status

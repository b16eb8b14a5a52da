"""Level and the three processes: γ = α²/σ² to full relative accuracy at both ends, and times that invert."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import Level, process

STEADY = settings(derandomize=True, deadline=None, max_examples=60)
ENDS = (1e-12, 1e-8, 1e-3, 1.0, 7.0, 1e4, 1e8, 1e16, 1e26)
NAMES = ("vp", "ve", "flow")
log_snr = st.floats(-27.0, 60.0)

mpmath.mp.dps = 60


def exact(name: str, snr: float) -> tuple[Any, Any, Any]:
    """(α, σ, time) at snr γ in 60 digits, from the definitions of the processes."""
    g = mpmath.mpf(snr)
    if name == "vp":
        t = mpmath.log(1 + 1 / g) / 2
        return mpmath.exp(-t), mpmath.sqrt(1 - mpmath.exp(-2 * t)), t
    if name == "ve":
        return mpmath.mpf(1), 1 / mpmath.sqrt(g), 1 / mpmath.sqrt(g)
    s = 1 / (1 + mpmath.sqrt(g))
    return 1 - s, s, s


@pytest.mark.parametrize("snr", ENDS)
@pytest.mark.parametrize("name", NAMES)
def test_scales_and_times_against_60_digits(name, snr):
    alpha, sigma, time = exact(name, snr)
    kind, level = process(name), Level.from_snr(snr, process=name)
    assert level.alpha == pytest.approx(float(alpha), rel=4e-16)
    assert level.sigma == pytest.approx(float(sigma), rel=4e-16)
    assert float(kind.time(np.asarray(snr))) == pytest.approx(float(time), rel=4e-16)


@STEADY
@given(log_snr, st.sampled_from(NAMES))
def test_level_has_the_snr_it_was_made_from(logarithm, name):
    snr = math.exp(logarithm)
    level = Level.from_snr(snr, process=name)
    assert level.snr == pytest.approx(snr, rel=2e-15)
    assert level.logsnr == pytest.approx(logarithm, rel=2e-15, abs=4e-15)


@STEADY
@given(log_snr, st.sampled_from(NAMES))
def test_time_inverts_snr(logarithm, name):
    """Conditioning is 1 except where flow matching's time is next to one (1 − s is what carries γ there)."""
    snr, kind = math.exp(logarithm), process(name)
    time = float(kind.time(np.asarray(snr)))
    lost = 4e-16 / (1.0 - time) if name == "flow" else 0.0
    assert float(kind.snr(np.asarray(time))) == pytest.approx(snr, rel=4e-15 + 2 * lost)


@pytest.mark.parametrize("name", NAMES)
def test_time_falls_as_snr_grows_and_arrays_work(name):
    snr = np.geomspace(1e-10, 1e20, 301)
    kind = process(name)
    for values in (kind.time(snr), kind.sigma(snr)):
        assert values.shape == snr.shape
        assert (np.diff(values) < 0).all()
    assert (np.diff(kind.alpha(snr)) >= 0).all()


@pytest.mark.parametrize("snr", [1e-10, 0.3, 1e10])
def test_processes_keep_their_constraint(snr):
    vp, ve, flow = (Level.from_snr(snr, process=name) for name in NAMES)
    assert vp.alpha**2 + vp.sigma**2 == pytest.approx(1.0, rel=4e-16)
    assert ve.alpha == 1.0
    assert flow.alpha + flow.sigma == pytest.approx(1.0, rel=4e-16)


def test_ou_time_is_the_theory_sheets():
    """γ = 1/(e^{2t} − 1), α = e^{−t}."""
    for t in (1e-9, 0.1, 1.0, 12.0):
        snr = float(process("vp").snr(np.asarray(t)))
        assert snr == pytest.approx(float(1 / mpmath.expm1(2 * mpmath.mpf(t))), rel=4e-16)
        assert Level.from_snr(snr).alpha == pytest.approx(math.exp(-t), rel=4e-15)


def test_naive_formulas_would_be_seen():
    """σ² as 1 − α² and t as −log α, the wrong variants in circulation, fail the accuracy asked for above."""
    level = Level.from_snr(1e16)
    assert abs(math.sqrt(max(1.0 - level.alpha**2, 0.0)) / level.sigma - 1.0) > 1e-3
    assert abs(-math.log(level.alpha) / float(exact("vp", 1e16)[2]) - 1.0) > 1e-3


def test_level_is_a_value():
    assert Level(0.6, 0.8) == Level(0.6, 0.8)
    assert len({Level(0.6, 0.8), Level(0.6, 0.8)}) == 1
    with pytest.raises(AttributeError):
        Level(0.6, 0.8).alpha = 1.0  # type: ignore[misc]

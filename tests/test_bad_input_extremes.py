"""Levels beyond double precision, steps in the wrong direction, and estimates that are no numbers are refused."""

import numpy as np
import pytest
from test_bad_input_verify import NAN, TARGET, anything

from targets import ArgumentError, Estimate, Level, NotAvailableError
from verify import Grid, Stage, Step, Table
from verify.invariants import check_sampler


def test_hand_written_steps_go_from_noisy_to_clean():
    clean, noisy = Level.from_snr(1.0), Level.from_snr(0.1)
    step = Step(clean, noisy, (Stage(clean, 1.0, ()),), 1.0, (0.1,), 0.1)
    with pytest.raises(
        ArgumentError, match=r"steps\[0\]: snr falls from 1 to 0.1: expected levels from noisy to clean"
    ):
        Table.from_steps([step])


def test_levels_beyond_double_precision_are_refused():
    with pytest.raises(ArgumentError, match=r"snr = 1e-200: expected levels between 1e-100 and 1e\+100"):
        Grid.log_snr(4, snr=(1e-200, 1.0))
    with pytest.raises(ArgumentError, match=r"snr = 1e\+200: expected levels between"):
        Grid.log_snr(4, snr=(1.0, 1e200))
    assert Grid.log_snr(4, snr=(1e-99, 1e99)).steps == 4


@pytest.mark.parametrize("part", ["value", "stderr", "bias"])
def test_an_estimate_is_a_number(part):
    with pytest.raises(NotAvailableError, match="a test: not a number in double precision; available: "):
        Estimate(**anything({"value": 1.0, "stderr": 0.0, "bias": 0.0, "method": "a test", part: NAN}))
    assert Estimate(np.inf, 0.0, 0.0, "infinite is a value").value == np.inf


def test_more_steps_than_memory_holds_are_refused():
    with pytest.raises(ArgumentError, match="steps = 1000000000: expected an integer of at most 10,000,000"):
        Grid.log_snr(10**9, snr=(0.1, 1.0))
    with pytest.raises(ArgumentError, match="steps = 1000000000: expected an integer of at most"):
        Grid.exponential_uniform(10**9, ou_time=(1.0, 0.1))


def test_text_is_no_number():
    with pytest.raises(ArgumentError, match="snr = '1': expected numbers >= 0"):
        TARGET.mmse(anything("1"))
    with pytest.raises(ArgumentError, match=r"order = '2': expected a number in \(0, 6\]"):
        check_sampler(lambda _denoiser, _grid, start, _generator: start, order=anything("2"), stochastic=False)

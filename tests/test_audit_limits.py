"""Time limits: in the main thread and in others, inside one another, where the error is swallowed, and gone afterwards."""

import signal
import threading
import time

import numpy as np
import pytest
import torch

from targets import ArgumentError
from verify.audit.limits import TimeLimitError, within


def spin():
    while True:
        pass


def test_a_limit_stops_what_never_ends_even_where_the_error_is_swallowed():
    began = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"after 0\.1 s"), within(0.1):
        spin()

    def stubborn():
        for _ in range(2):
            try:
                spin()
            except TimeLimitError:
                continue

    with within(0.1):
        stubborn()
    assert time.monotonic() - began < 3.0
    with within(0.05):
        pass
    time.sleep(0.1)


def test_limits_inside_one_another():
    def both():
        with pytest.raises(TimeLimitError, match=r"0\.05 s"), within(0.05):
            spin()
        spin()

    with pytest.raises(TimeLimitError, match=r"0\.2 s"), within(0.2):
        both()
    with pytest.raises(ArgumentError, match="seconds"), within(0.0):
        both()


@pytest.mark.parametrize(("limits", "first"), [((0.1, 3.0), 0), ((0.1, 4.0, 3.0), 0), ((2.0, 0.1, 3.0), 1)])
def test_an_outer_limit_passes_inside_inner_ones(limits, first):
    def nested(seconds, *inner):
        with within(seconds):
            nested(*inner) if inner else spin()

    with pytest.raises(TimeLimitError, match=f"{limits[first]} s"):
        nested(*limits)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_foreign_timer_is_heard_once_while_the_limit_holds():
    calls = [time.monotonic()]
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(TimeLimitError, match=r"0\.3 s"), within(0.3):
        spin()
    signal.signal(signal.SIGALRM, before)
    np.testing.assert_allclose(np.diff([*calls, time.monotonic()]), [0.15, 0.25], rtol=0, atol=0.1)


def test_a_limit_in_a_thread_reads_the_clock_at_torch_calls():
    caught = []

    def work():
        try:
            with within(0.05):
                while True:
                    torch.zeros(1)
        except TimeLimitError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5.0)
    assert len(caught) == 1

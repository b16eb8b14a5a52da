"""A time limit on code that may never end."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from targets.arguments import real

AGAIN = 1.0
"""Seconds after which the error is raised again, should the code swallow it."""

TICK = 1e-3
"""Seconds by which a timer may be off; deadlines nearer than this count as passed."""


class TimeLimitError(RuntimeError):
    """Code ran longer than it was given."""


class _Deadline(TorchFunctionMode):
    """Every torch call checks the clock: for threads that no signal reaches."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.end = seconds, time.monotonic() + seconds

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # type: ignore[type-arg]
        """The call, unless time is up."""
        if time.monotonic() > self.end:
            raise TimeLimitError(_message(self.seconds))
        return func(*args, **(kwargs or {}))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises TimeLimitError in the code inside once `seconds` have passed; limits inside one another each hold.

    In the main thread a timer interrupts any Python code, again every second should the code swallow the error.  It is set
    to whichever deadline comes first, and an outer one that passes inside raises its own error there.  In other threads,
    and where there are no timers, the clock is read at every torch call.
    ArgumentError: seconds that are no number > 0.
    """
    seconds = real("seconds", seconds, "a number > 0", low=0.0)
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        with _Deadline(seconds):
            yield
        return
    left, every = signal.setitimer(signal.ITIMER_REAL, 0.0)
    outer = time.monotonic() + left if left else math.inf
    end, told = time.monotonic() + seconds, False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal told, outer
        rest = outer - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, min(AGAIN, rest) if rest > TICK else AGAIN, AGAIN)
        if rest > TICK or not callable(before):
            raise TimeLimitError(_message(seconds))
        told = True
        before(number, frame)
        outer = math.inf  # a handler that raises nothing has been heard
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), TICK), AGAIN)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(min(end, outer) - time.monotonic(), TICK), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, every if told else max(outer - time.monotonic(), TICK), every)


def _message(seconds: float) -> str:
    return f"still running after {seconds:g} s"

"""A time limit on code that may never end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.overrides import TorchFunctionMode

from targets.arguments import real


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

    In the main thread a timer interrupts any Python code, again every second should the code swallow the error.  In other
    threads, and where there are no timers, the clock is read at every torch call.
    """
    seconds = real("seconds", seconds, "a number > 0", low=0.0)
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        with _Deadline(seconds):
            yield
        return

    def stop(_signal: int, _frame: object) -> None:
        raise TimeLimitError(_message(seconds))

    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, stop)
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-3), every)


def _message(seconds: float) -> str:
    return f"still running after {seconds:g} s"

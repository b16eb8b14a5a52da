"""The global generators of torch and numpy: what is reproducible leaves them alone."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from verify.invariants.check import Broken


@contextmanager
def untouched() -> Iterator[None]:
    """Raises `Broken` at the end if the code inside advanced a global generator, naming it."""
    before = _states()
    yield
    for name, state in _states().items():
        if state != before[name]:
            raise Broken(f"it advanced the global generator of {name}: results would depend on what else ran before")


def _states() -> dict[str, bytes]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002  (the legacy generator is the one looked at)
    }

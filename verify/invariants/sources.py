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
    """Raises `Broken` at the end if the code inside advanced or set a global generator, naming it; all are left as they were.

    They are put where no seed puts them first, so that a seed set by the code inside shows.
    """
    outside = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    torch.randn(7)
    np.random.standard_normal(7)  # noqa: NPY002
    before = _states()
    yield
    after = _states()
    torch.set_rng_state(outside[0])
    np.random.set_state(outside[1])  # noqa: NPY002
    for name, state in after.items():
        if state != before[name]:
            raise Broken(f"it advanced the global generator of {name}: results would depend on what else ran before")


def _states() -> dict[str, bytes]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002  (the legacy generator is the one looked at)
    }

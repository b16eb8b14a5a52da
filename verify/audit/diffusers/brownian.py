"""A Brownian path asked for in order: W(t′) = W(t) + √|t′ − t| z, one Gaussian for every time that is new.

Some classes take the noise of their steps from a tree of Brownian bridges, which reaches each time by twenty-odd halvings and
resolves times to 1e-6.  The path here has the same law at the times that are asked for and draws once for each, so that a
sampler's law can be read off its draws, and noise can be paired with another sampler's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from verify.audit.contract import NotDrivableError

TREE = "BrownianTreeNoiseSampler"
"""What the library calls its own."""


class Path:
    """Stands in for the library's sampler of a tree: constructed like it, called like it.

    `path(σ, σ′)` is (W(σ′) − W(σ))/√|σ′ − σ|, shaped like x.  Times go one way; one that was seen may be asked for again.
    NotDrivableError: a new time that lies before the last one.
    """

    def __init__(
        self, x: Tensor, sigma_min: Any, sigma_max: Any, seed: Any = None, transform: Callable[[Any], Any] = lambda t: t
    ) -> None:
        self.like, self.transform = x, transform
        self.times: list[float] = []
        self.values: list[Tensor] = []

    def __call__(self, sigma: Any, sigma_next: Any) -> Tensor:
        """The increment between two times, of variance 1."""
        first, second = (float(self.transform(torch.as_tensor(s))) for s in (sigma, sigma_next))
        before = self._at(first)
        return (self._at(second) - before) / abs(second - first) ** 0.5

    def _at(self, time: float) -> Tensor:
        for seen, value in zip(reversed(self.times), reversed(self.values), strict=True):
            if abs(time - seen) <= 1e-12 * abs(seen):
                return value
        if not self.times:
            value = torch.zeros_like(self.like)
        else:
            if len(self.times) > 1 and (time - self.times[-1]) * (self.times[-1] - self.times[0]) < 0.0:
                raise NotDrivableError("asks for its Brownian path at times that are not in order")
            drawn = torch.randn(self.like.shape, dtype=self.like.dtype, device=self.like.device)
            value = self.values[-1] + abs(time - self.times[-1]) ** 0.5 * drawn
        self.times.append(time)
        self.values.append(value)
        return value


@contextmanager
def paths(*modules: ModuleType) -> Iterator[None]:
    """A context in which the modules take paths where they would take trees."""
    with ExitStack() as stack:
        for module in modules:
            if hasattr(module, TREE):
                stack.enter_context(patch.object(module, TREE, Path))
        yield

"""Every Gaussian that a sampler draws through torch, named and replaced.

A sampler's random numbers are functions of generator states.  Two draws are the same variable exactly when the generator
was in the same state and the shapes agree; so a Brownian path that computes an increment twice from a stored seed draws one
variable twice.  `Draws` numbers the variables in order of first appearance and asks a supplier for each; the generator
advances as it would have, so that what comes after is drawn as before.

`seeded` gives a library that calls torch.randn_like, or draws seeds of its own, one generator for all of it and leaves the
global one alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Supply = Callable[[int, tuple[int, ...], torch.dtype, torch.device], Tensor]
"""(number of the variable, shape, dtype, device) -> a tensor in place of standard Gaussians."""

STANDARD = {torch.randn, torch.randn_like}
SCALED = {torch.normal, torch.Tensor.normal_}
LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}
SEEDABLE = {torch.randn, torch.rand, torch.randint, torch.normal, torch.Tensor.normal_, torch.Tensor.uniform_}


class Draws(TorchFunctionMode):
    """Within this context every Gaussian comes from `supply(number, shape, dtype, device)`.

    torch.randn, torch.randn_like, torch.normal and Tensor.normal_ are replaced, with their means and deviations applied.
    `count` is the number of distinct variables so far.
    """

    def __init__(self, supply: Supply) -> None:
        super().__init__()
        self.supply = supply
        self.known: dict[tuple[bytes, tuple[int, ...]], Tensor] = {}

    @property
    def count(self) -> int:
        """Distinct variables drawn so far."""
        return len(self.known)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # type: ignore[type-arg]
        """The call itself unless it draws Gaussians."""
        kwargs = kwargs or {}
        if func not in STANDARD and func not in SCALED:
            return func(*args, **kwargs)
        before = _state(kwargs.get("generator"), args, kwargs)
        drawn = func(*args, **kwargs)
        value = self._variable((before, tuple(drawn.shape)), drawn)
        if func in STANDARD:
            return value
        mean, deviation = _location(func, args, kwargs)
        value = mean + deviation * value
        return drawn.copy_(value) if func is torch.Tensor.normal_ else value

    def _variable(self, key: tuple[bytes, tuple[int, ...]], like: Tensor) -> Tensor:
        if key not in self.known:
            self.known[key] = self.supply(self.count, key[1], like.dtype, like.device)
        return self.known[key].to(dtype=like.dtype, device=like.device)


class seeded(TorchFunctionMode):
    """Within this context draws without a generator of their own come from `generator`."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # type: ignore[type-arg]
        """The call with the generator put in where it draws."""
        kwargs = kwargs or {}
        if func not in LIKE and func not in SEEDABLE:
            return func(*args, **kwargs)
        kwargs = dict(kwargs)
        if func in LIKE and kwargs.get("generator") is None:
            like = args[0]
            kwargs = {"dtype": like.dtype, "device": like.device, **{k: v for k, v in kwargs.items() if v is not None}}
            return LIKE[func](like.shape, **{**kwargs, "generator": self.generator})
        if func in SEEDABLE and kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)


def _state(generator: torch.Generator | None, args: tuple, kwargs: dict) -> bytes:  # type: ignore[type-arg]
    """Digest of the state of the generator that the call will draw from."""
    if generator is None:
        device = args[0].device if args and isinstance(args[0], Tensor) else torch.device(kwargs.get("device") or "cpu")
        state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    else:
        state = generator.get_state()
    return hashlib.blake2b(state.numpy().tobytes(), digest_size=16).digest()


def _location(func: Any, args: tuple, kwargs: dict) -> tuple[Any, Any]:  # type: ignore[type-arg]
    """(mean, standard deviation) of a scaled draw."""
    given = args[1:] if func is torch.Tensor.normal_ else args
    mean = given[0] if given else kwargs.get("mean", 0.0)
    deviation = given[1] if len(given) > 1 else kwargs.get("std", 1.0)
    return mean, deviation

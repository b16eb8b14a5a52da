"""Another library's code in float64 throughout, tables and states included.

Libraries cast to float32 on purpose: tables of noise levels, states inside a step.  With an order of convergence to measure
that rounding is a floor at 1e-7, so that it is lifted where the method is under test, and measured by itself elsewhere.
Within `double` torch.float32 means torch.float64, new tensors are float64, and so is np.float32 in the modules given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.overrides import TorchFunctionMode


class _Double(TorchFunctionMode):
    """torch.float32 among the arguments of a torch function is torch.float64, and .float() is .double()."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:  # type: ignore[type-arg]
        """The call with its dtypes widened."""
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        kwargs = kwargs or {}
        if any(value is torch.float32 for value in args):
            args = tuple(_wide(value) for value in args)
        if any(value is torch.float32 for value in kwargs.values()):
            kwargs = {key: _wide(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


class _WideNumpy:
    """numpy, but that float32 is float64."""

    float32 = np.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@contextmanager
def double(*modules: ModuleType) -> Iterator[None]:
    """A context in which code of the given modules that casts to float32 works in float64.

    `modules`: those that use numpy under the name np; torch needs no names.
    """
    default = torch.get_default_dtype()
    with ExitStack() as stack:
        for module in modules:
            if getattr(module, "np", None) is np:
                stack.enter_context(patch.object(module, "np", _WideNumpy()))
        stack.enter_context(_Double())
        stack.callback(torch.set_default_dtype, default)
        torch.set_default_dtype(torch.float64)
        yield


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value

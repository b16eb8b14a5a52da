"""What an argument has to be, checked before work starts.

Every refusal names the argument, the value it had and what was expected.  Two kinds of error leave the
package: `ArgumentError` (the caller can mend the argument) and `NotAvailableError` (the quantity has no
exact value here; the message names what can be had instead).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor


class ArgumentError(ValueError):
    """An argument is not what the function can work with."""


class NotAvailableError(NotImplementedError):
    """The quantity is not defined or not computed exactly for this object; the message says what is."""


def refuse(name: str, value: object, expected: str) -> NoReturn:
    """Raise `ArgumentError` in the one form that all checks share."""
    shown = repr(value)
    raise ArgumentError(f"{name} = {shown if len(shown) <= 120 else shown[:117] + '...'}: expected {expected}")


def integer(name: str, value: object, minimum: int, maximum: float = math.inf) -> int:
    """An integer from `minimum` to `maximum`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        refuse(name, value, f"an integer >= {minimum}")
    if value > maximum:
        refuse(name, value, f"an integer of at most {maximum:,}")
    return int(value)


def real(name: str, value: object, expected: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite float with low < value < high (`expected` words the interval); text that reads like one is none."""
    if isinstance(value, str | bytes):
        refuse(name, value, expected)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        refuse(name, value, expected)
    if not (math.isfinite(number) and low < number < high):
        refuse(name, value, expected)
    return number


def array(name: str, value: Any, shape: Sequence[int | None]) -> Tensor:
    """A finite float64 tensor whose shape matches `shape` (None: any length of at least one)."""
    if not isinstance(value, Tensor):
        try:
            value = torch.from_numpy(np.array(value, dtype=_real_dtype(value)))
        except (TypeError, ValueError):
            refuse(name, value, "an array of real numbers")
    if value.is_complex():
        refuse(f"{name}.dtype", value.dtype, "real numbers")
    tensor = value.detach().to(torch.float64).clone()
    wanted = "(" + ", ".join("≥ 1" if n is None else str(n) for n in shape) + ")"
    line = "; numbers on the line as x[:, None]" if len(shape) == 2 and tensor.ndim == 1 else ""
    if tensor.ndim != len(shape) or any(
        have == 0 or (want is not None and have != want) for have, want in zip(tensor.shape, shape, strict=True)
    ):
        refuse(f"{name}.shape", tuple(tensor.shape), f"shape {wanted}{line}")
    if not bool(torch.isfinite(tensor).all()):
        bad = tensor[~torch.isfinite(tensor)][0].item()
        refuse(name, bad, "finite numbers only")
    return tensor


def _real_dtype(value: Any) -> type:
    """float64, after making sure that the value holds real numbers."""
    if np.asarray(value).dtype.kind not in "biuf":
        raise TypeError
    return np.float64


def weights(name: str, value: Any, count: int | None) -> Tensor:
    """Probabilities: non-negative, summing to one within 1e-9, then normalised to the last bit."""
    tensor = array(name, value, (count,))
    if bool((tensor < 0).any()):
        refuse(name, float(tensor.min()), "non-negative weights")
    total = float(tensor.sum())
    if abs(total - 1.0) > 1e-9:
        near = "; divide by their sum in float64" if abs(total - 1.0) < 1e-3 else ""
        refuse(f"sum of {name}", total, f"a sum of 1 (within 1e-9){near}")
    return tensor / tensor.sum()


def variances(name: str, value: Any, shape: Sequence[int | None]) -> Tensor:
    """Variances (never standard deviations): finite and non-negative."""
    tensor = array(name, value, shape)
    if bool((tensor < 0).any()):
        refuse(name, float(tensor.min()), "non-negative variances")
    return tensor


def covariances(name: str, value: Any, shape: Sequence[int | None]) -> Tensor:
    """Symmetric positive semi-definite matrices (within 1e-10 of their largest entry), made exactly symmetric."""
    tensor = array(name, value, shape)
    scale = float(tensor.abs().max())
    skew = float((tensor - tensor.mT).abs().max())
    if skew > 1e-10 * scale:
        refuse(f"asymmetry of {name}", skew, "a symmetric matrix")
    tensor = 0.5 * (tensor + tensor.mT)
    lowest = float(torch.linalg.eigvalsh(tensor).min())
    if lowest < -1e-10 * scale:
        refuse(f"smallest eigenvalue of {name}", lowest, "a positive semi-definite matrix")
    return tensor


def ascending(name: str, value: Any, minimum_length: int = 2) -> np.ndarray:
    """A strictly ascending float64 array of positive finite numbers."""
    try:
        values = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(name, value, "numbers")
    if values.ndim != 1 or len(values) < minimum_length:
        refuse(f"{name}.shape", values.shape, f"at least {minimum_length} values in one dimension")
    if not np.isfinite(values).all():
        refuse(name, float(values[~np.isfinite(values)][0]), "finite values only")
    if values[0] <= 0:
        refuse(name, float(values[0]), "positive values")
    steps = np.diff(values)
    if (steps <= 0).any():
        k = int(np.argmax(steps <= 0))
        refuse(f"{name}[{k}:{k + 2}]", values[k : k + 2].tolist(), "strictly ascending values")
    return values


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """One of the known names; otherwise an error that suggests the nearest."""
    options = list(known)
    if isinstance(value, str) and value in options:
        return value
    near = difflib.get_close_matches(value, options, n=1, cutoff=0.6) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    refuse(name, value, f"one of {', '.join(options)}{hint}")

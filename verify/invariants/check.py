"""A check is a statement that holds or does not; a failure says what its number means.

Checks run one by one, each under its own time limit, and none stops the others: whatever a subject does wrong (returns
nothing, raises, never ends) is a failed check.  A suite collects the failures in one `InvariantError`.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import targets
import verify
from targets.arguments import real
from verify.audit.limits import TimeLimitError, within

ROUNDING = 1e-9
"""Largest relative defect of an identity that float64 arithmetic may leave."""

SINGLE = 1e-5
"""Relative defects between `ROUNDING` and this are of the size that float32 arithmetic leaves."""


class InvariantError(AssertionError):
    """Checks that failed; the message lists them with what they mean and their numbers."""


class Broken(Exception):
    """What a check found; the message says what it means."""


FOREIGN = tuple(Path(place).resolve() for package in (targets, verify, torch, np) for place in package.__path__)
STANDARD = Path(sysconfig.get_paths()["stdlib"]).resolve()
"""Where code lies that is not the subject's."""

ENDLESS = "it may never end"
"""What is said of a check that ran into its limit."""


@dataclass(frozen=True, eq=False)
class Check:
    """One named statement about one subject: calling it raises `InvariantError` where the statement does not hold.

    name: what is stated, e.g. "point_mass".  subject: what it is stated of.  seconds: the limit on one run.
    """

    name: str
    subject: str
    body: Callable[[], None]
    seconds: float

    def finding(self) -> str | None:
        """What is wrong, in words and numbers; None where nothing is."""
        try:
            with within(self.seconds):
                self.body()
        except Broken as found:
            return str(found)
        except TimeLimitError as error:
            return f"{error}: {ENDLESS}"
        except Exception as error:
            return raised(error)
        return None

    def __call__(self) -> None:
        """Runs it.  Raises `InvariantError`."""
        found = self.finding()
        if found is not None:
            raise InvariantError(f"{self.subject}: {self.name}: {found}")

    def __repr__(self) -> str:
        return f"{self.subject}-{self.name}"


def run_all(checks: Iterable[Check]) -> None:
    """Every check, then one `InvariantError` for all that failed; equal findings are told once."""
    checks = list(checks)
    failed: dict[str, list[str]] = {}
    left = 0
    for number, check in enumerate(checks, start=1):
        found = check.finding()
        if found is not None:
            failed.setdefault(found, []).append(check.name)
            if ENDLESS in found:
                left = len(checks) - number
                break
    if failed:
        count = sum(map(len, failed.values()))
        lines = [f"  {', '.join(names)}: {found}" for found, names in failed.items()]
        lines += [f"  the other {left} were not run; if it is only slow, give them more `seconds`"] if left else []
        raise InvariantError("\n".join([f"{checks[0].subject}: {count} of {len(checks)} checks failed", *lines]))


def parametrized(checks: Iterable[Check]) -> Any:
    """pytest's mark that hands a test each check in turn as its argument `check`, with readable ids."""
    import pytest  # only where a test file asks for it

    checks = list(checks)
    return pytest.mark.parametrize("check", checks, ids=[repr(check) for check in checks])


def named(subject: object) -> str:
    """What a callable is called in messages."""
    inner = getattr(subject, "func", subject)
    return getattr(inner, "__name__", None) or type(subject).__name__


def limit(seconds: float) -> float:
    """The time limit of one check."""
    return real("seconds", seconds, "a number of seconds > 0", low=0.0)


def raised(error: BaseException) -> str:
    """An exception in one line, with the line of the subject's own code where there is one."""
    text = " ".join(str(error).split())
    return f"raised {type(error).__name__}" + (f": {text}" if text else "") + _where(error)


def _where(error: BaseException) -> str:
    """File and line of the innermost frame that is not of this package, torch, numpy or the standard library."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        standard = file.is_relative_to(STANDARD) and "site-packages" not in file.parts
        if file.is_file() and not standard and not any(file.is_relative_to(place) for place in FOREIGN):
            return f", at {frame.filename}:{frame.lineno}"
    return ""


def defect(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """max|got − wanted| over max|wanted| (or over 1e-300): the relative defect of a whole batch."""
    return float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-300))


def near(got: torch.Tensor, wanted: torch.Tensor, meaning: str, tolerance: float = ROUNDING) -> None:
    """Raises `Broken` with the meaning and the worst entry where the batch is off by more than the tolerance."""
    off = defect(got, wanted)
    if not off <= tolerance:
        place = int((got - wanted).abs().argmax())
        shown = f"{float(got.flatten()[place]):.9g} where {float(wanted.flatten()[place]):.9g} was expected"
        raise Broken(f"{meaning}: {shown} (relative defect {off:.3g}, allowed {tolerance:.1g}){single(off)}")


def single(off: float) -> str:
    """A hint for defects of the size of float32 rounding."""
    return "; of the size of float32 rounding, as if a coefficient were held in float32" if off < SINGLE else ""

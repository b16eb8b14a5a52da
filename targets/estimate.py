"""A number with its error.

A measured quantity is a value, the standard error of its random part and the estimated size of its
deterministic error (interpolation, quadrature, truncation).  Both errors are in the units of the value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from targets.arguments import NotAvailableError


@dataclass(frozen=True, eq=False)
class Estimate:
    """`value` with `stderr` (random part, one standard deviation) and `bias` (deterministic part, estimated size).

    All three are floats, or arrays of one shape.  `method` says how the number was made.
    Information is in nats, summed over coordinates.  Raises `NotAvailableError` where one is not a number.
    """

    value: float | np.ndarray
    stderr: float | np.ndarray
    bias: float | np.ndarray
    method: str

    def __post_init__(self) -> None:
        if any(np.isnan(part).any() for part in (self.value, self.stderr, self.bias)):
            raise NotAvailableError(
                f"{self.method}: not a number in double precision; available: levels and laws of less extreme scale"
            )

    @property
    def error(self) -> float | np.ndarray:
        """Four standard errors plus the deterministic error: the half-width used by every check."""
        return 4.0 * np.asarray(self.stderr) + np.abs(self.bias)

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        if np.ndim(self.value):
            return f"Estimate(shape={np.shape(self.value)}, method={self.method!r})"
        return f"Estimate({self.value:.10g} ± {self.stderr:.2g} (stderr) ± {abs(self.bias):.2g} (bias), {self.method})"

    @classmethod
    def exact(cls, value: float | np.ndarray, method: str = "closed form") -> Estimate:
        """A closed form: its error is rounding, taken as 16 epsilons of its size."""
        value = np.asarray(value, dtype=np.float64)[()]
        return cls(value, np.zeros_like(value)[()], 16 * np.finfo(np.float64).eps * np.abs(value), method)

    @classmethod
    def jackknife(cls, rows: np.ndarray, bias: float | np.ndarray, method: str) -> Estimate:
        """Row 0 computed from all replicates; rows 1..R each with one replicate left out.

        stderr² = (R − 1)/R Σ_r (θ_(r) − mean θ_(·))²  (Efron and Stein 1981, eq. 1.3).  With a single row
        nothing was random and the standard error is zero.
        """
        value, left_out = rows[0], rows[1:]
        count = len(left_out)
        spread = (left_out - left_out.mean(0)) ** 2 if count else np.zeros((1, *np.shape(value)))
        stderr = np.sqrt((count - 1) / max(count, 1) * spread.sum(0)) if count else np.zeros_like(value)
        return cls(value[()], stderr[()], np.broadcast_to(bias, np.shape(value))[()], method)

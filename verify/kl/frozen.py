"""What every closed form shares: the frozen-denoiser integral of each step, and the checks of what comes in."""

from __future__ import annotations

from collections import OrderedDict
from weakref import ReferenceType, ref

import numpy as np
import torch

from targets import ArgumentError, Estimate, Target
from targets.arguments import refuse
from targets.curve import Curve
from verify.oracle import Exact, Oracle
from verify.step import Table

MOST_ENTRIES = 2**21
"""Steps times rows that are kept of one curve: sixteen megabytes for each of P and M."""


def frozen_denoiser(target: Target, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """(P_k = ½ ∫ (γ_{k+1} − γ) D dγ, M_k = mmse(γ_k)) for k = 0 … K − 1, each of shape (rows, K).

    P_k = ½ ∫ (mmse(γ_k) − mmse(γ)) dγ without its cancellation.  Both are read-only.
    """
    return _LATEST.on(target.curve, table.snr)


class _Latest:
    """What was integrated of the latest curve, by grid: samplers and rungs are compared on the same grids."""

    def __init__(self) -> None:
        self.latest: tuple[ReferenceType[Curve], OrderedDict[bytes, tuple[np.ndarray, np.ndarray]]] | None = None
        """The curve and its integrals, replaced together: threads may work on different curves."""

    def on(self, curve: Curve, snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(P, M) on the grid."""
        latest = self.latest
        if latest is None or latest[0]() is not curve:
            latest = self.latest = (ref(curve), OrderedDict())
        known, key = latest[1], snr.tobytes()
        found = known.get(key)
        if found is None:
            found = known[key] = _integrated(curve, snr)
            while len(known) > 1 and sum(p.size for p, _ in list(known.values())) > MOST_ENTRIES:
                known.popitem(last=False)
        return found


_LATEST = _Latest()


def _integrated(curve: Curve, snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    quadrature = curve.over_steps(snr)
    kernel = 0.5 * (snr[quadrature.step + 1] - quadrature.snr)
    out = quadrature.sum(kernel), quadrature.mmse[:, :-1]
    for array in out:
        array.setflags(write=False)
    return out


def check_inputs(target: Target, table: Table, oracle: Oracle | None) -> Oracle:
    """The oracle to use (exact where none is given), after checking that the three belong together."""
    if not isinstance(target, Target):
        refuse("target", target, "a target")
    if target.mean.dtype != torch.float64:
        refuse(
            "target dtype", target.mean.dtype, "float64 for a divergence; move it with target.to(dtype=torch.float64)"
        )
    if not isinstance(table, Table):
        refuse(
            "table",
            table,
            "a table: build one with verify.samplers, or with Table.from_steps (of a function: verify.audit.order)",
        )
    if oracle is None:
        return Exact(target)
    if not isinstance(oracle, Oracle):
        refuse("oracle", oracle, "an oracle of this target, e.g. verify.oracle.Exact(target)")
    if oracle.target is not target:
        raise ArgumentError(f"oracle = {oracle!r}: expected an oracle of the same target, {target!r}")
    return oracle


def summed(
    target: Target,
    first: np.ndarray,
    steps: np.ndarray,
    error: np.ndarray,
    draws: int,
    method: str,
    rounding: float,
) -> Estimate:
    """KL at the start (with its rounding), the sum over steps, and the sum of what the oracle's error adds to each.

    All with one row a replicate; those of `error` are the target's curve's, or of `draws` draws of the oracle's own
    (`ErrorMoments.draws`), which are independent of the curve: then variances add.
    """
    rows, added = first + steps.sum(1), error.sum(1)
    own = Estimate.jackknife(added if draws else np.zeros(1), 0.0, "")
    ours = Estimate.jackknife(rows if draws else rows + added, 0.0, "")
    value = float(ours.value) + float(own.value)
    stderr = float(np.hypot(ours.stderr, own.stderr))
    source = f"{method}; mmse curve by {target.curve.method}" + (f"; error moments of {draws} draws" if draws else "")
    return Estimate(value, stderr, target.curve.bias * abs(value) + rounding, source)


def log_remainder(q: np.ndarray) -> np.ndarray:
    """−log(1 − q) − q = Σ_{n≥2} qⁿ/n, for 0 ≤ q < 1: series below 0.05 (to 1e-27), logarithm above."""
    q = np.asarray(q, dtype=np.float64)
    series = np.polynomial.polynomial.polyval(q, [0.0, 0.0, *(1.0 / n for n in range(2, 22))])
    with np.errstate(divide="ignore"):
        return np.where(np.abs(q) < 0.05, series, -np.log1p(-q) - q)

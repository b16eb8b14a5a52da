"""Chain KL against the exact probability flow followed by the sampler's own noise.

A step of mean M(x) and noise s from level k to k + 1 leaves room for the flow to reach the level (α_{k+1}, τ),
τ² = σ_{k+1}² − s², before the noise leads back.  With T the exact flow map between the two, the KL of the step is

    E‖T(x) − M(x)‖² / (2s²),     x ~ p_k                                  (Jain & Zhang 2508.16306, Lemma A.1)

and T is known on Gaussians, on the line and along a ray (step_errors.py).
"""

from __future__ import annotations

import numpy as np

from targets import Estimate, NotAvailableError, Target
from verify.kl.step_errors import step_errors
from verify.step import Table


def flow_noise(target: Target, table: Table, first: np.ndarray) -> Estimate:
    """The divergence with the exact denoiser, where the flow is known exactly; other targets are refused."""
    room = table.sigma[1:] ** 2 - table.noise**2
    if (room <= 0).any():
        k = int(np.argmax(room <= 0))
        raise NotAvailableError(
            f"chain KL (flow+noise) of {table.method.name}: step {k} adds noise {table.noise[k]:.6g}, no less than the "
            f"level's own {table.sigma[k + 1]:.6g}, so no flow precedes it; available: reference='reverse'"
        )
    errors, doubt = step_errors(target, table, np.sqrt(room))
    rows = first + (errors / (2.0 * table.noise**2)).sum()
    return Estimate.jackknife(rows, doubt * abs(rows[0]), "chain against flow+noise, exact flow map")

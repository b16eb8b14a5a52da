"""An ODE step over two intervals followed by a smaller noising step back (Jain & Zhang, arXiv 2508.16306)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from targets.arguments import one_of, real, refuse
from verify.grid import Grid, on_grid
from verify.step import Method, Table

VARIANTS = {
    "score": Method(
        name="jain_zhang",
        formula="x_half = e^H x + (e^H − 1) s(x);  x' = e^-r x_half + √(1 − e^-2r) z",
        source="Jain & Zhang 2508.16306, Algorithm 1 (as transcribed)",
        freezes="score along the flow",
        order=1,
        identities=frozenset({"translation"}),
        references=("reverse", "flow+noise"),
    ),
    "z_score": Method(
        name="jain_zhang_z",
        formula="x_half = e^H x + sinh(H) s(x);  x' = e^-r x_half + √(1 − e^-2r) z",
        source="Jain & Zhang 2508.16306, Algorithm 1 with the score of z = e^t x frozen",
        freezes="score of e^t x along the flow",
        order=1,
        identities=frozenset({"translation"}),
        references=("reverse", "flow+noise"),
    ),
}


@on_grid
def jain_zhang(grid: Grid, variant: str = "score", overshoot: float = 1.0) -> Table:
    """H = t_j − t_{j+1} + r forward along the flow, then r = overshoot·(t_{j+1} − t_{j+2}) of noise back to level j + 1.

    The published method has overshoot 1; the net step stays t_j − t_{j+1} at any other, and 0 is the flow alone.
    On K + 1 levels it has K − 1 steps and stops at level K − 1: pass `grid.beyond()` to stop at the last level of `grid`.
    (The published loop index is one off; this reading is the one whose last state the theorem speaks about.)
    """
    method = VARIANTS[one_of("variant", variant, VARIANTS)]
    overshoot = real("overshoot", overshoot, "a number >= 0", low=-1e-300)
    if grid.steps < 2:
        refuse(
            "grid.steps", grid.steps, "at least 2 (jain_zhang uses two intervals a step); extend it with grid.beyond()"
        )
    t = grid.ou_time
    back = overshoot * (t[1:-1] - t[2:])
    if not (back < t[1:-1]).all():
        refuse(
            "overshoot",
            overshoot,
            f"at most {(t[1:-1] / (t[1:-1] - t[2:])).min():.3g} on this grid: time must stay > 0",
        )
    if overshoot != 1.0:
        references = method.references if overshoot else ()
        method = replace(method, name=f"{method.name} (overshoot {overshoot:g})", references=references)
    ahead = t[:-2] - t[1:-1] + back
    pull = np.expm1(ahead) if variant == "score" else np.sinh(ahead)
    gain = pull / grid.sigma[:-2] ** 2
    visited = Grid(grid.snr[:-1], grid.process)
    return Table.one_stage(
        method,
        visited,
        np.exp(-back) * (np.exp(ahead) - gain),
        np.exp(-back) * gain * grid.alpha[:-2],
        np.sqrt(-np.expm1(-2.0 * back)),
    )

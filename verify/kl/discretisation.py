"""What a grid costs ddpm, from a curve alone: a law's mmse, or a loss curve read off a training run."""

from __future__ import annotations

from targets import Estimate, Target
from targets.arguments import refuse
from targets.curve import Curve
from verify.grid import Grid


def discretisation(law: Target | Curve, grid: Grid) -> Estimate:
    """½ Σ_k ∫ (ℓ(γ_k) − ℓ(γ)) dγ over the steps of `grid`, nats, total over coordinates (per coordinate as the curve is).

    For a target, ℓ = mmse, it is ddpm's path KL from the exact start.  For a `LossCurve` it is that path KL as predicted
    by the losses; a denoiser that is not exact adds ½ Σ h_k E‖m − m̂‖², which no loss shows by itself.
    """
    if not isinstance(law, (Target, Curve)):
        refuse("law", law, "a target or a curve of losses")
    if not isinstance(grid, Grid):
        refuse("grid", grid, "a Grid, e.g. Grid.log_snr(64, snr=(0.01, 100.0))")
    curve = law.curve if isinstance(law, Target) else law
    low, high = float(grid.snr[0]), float(grid.snr[-1])
    if not curve.reach[0] <= low < high <= curve.reach[1]:
        refuse(
            "grid.snr",
            (low, high),
            f"a window within the measured levels, {curve.reach[0]:.6g} to {curve.reach[1]:.6g}",
        )
    quadrature = curve.over_steps(grid.snr)
    rows = quadrature.sum(0.5 * (grid.snr[quadrature.step + 1] - quadrature.snr)).sum(1)
    return Estimate.jackknife(rows, curve.bias * abs(rows[0]), f"left Riemann sum; {curve.method}")

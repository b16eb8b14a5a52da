"""Chain KL: between the joint laws of the grid's states, against a named reference with the true marginals.

reference="reverse": the true reverse Markov chain.  For a step N(a x + b m̂, s²) and true next state N(A x + B X, σ_q²)
given the present one and X, with ρ = σ_q²/s², c = A − a, f = B − b, h = γ_{k+1} − γ_k (= B²/σ_q²):

    P_k + (d/2)(ρ − 1 − log ρ) + ½ h M_k (ρ − 1) + Q/(2s²),
    Q = E‖c x + f m − b ε‖² = E‖X‖² (αc + f)² + c² dσ² − f² M_k + b² E‖ε‖² − 2b (c E⟨x, ε⟩ + f E⟨m, ε⟩)

It needs the mmse curve and E‖X‖² only: any target, any dimension, data included.  For ddpm it equals the path KL (both
are joined by the same Brownian bridges).

reference="flow+noise": the exact probability flow to the level that the step's own noise leads away from, then that noise
(see flow_noise.py).  Chain KLs against different references are not comparable.
"""

from __future__ import annotations

import numpy as np

from targets import Estimate, NotAvailableError, Target
from targets.arguments import one_of
from verify.kl.flow_noise import flow_noise
from verify.kl.frozen import check_inputs, frozen_denoiser, summed
from verify.kl.initial import initial, rounding
from verify.oracle import Exact, Oracle
from verify.samplers.ddpm import posterior
from verify.step import Table

REFERENCES = ("reverse", "flow+noise")


def chain(
    target: Target,
    table: Table,
    *,
    reference: str = "reverse",
    start: str = "exact",
    oracle: Oracle | None = None,
) -> Estimate:
    """KL(joint law of the reference chain ‖ joint law of the sampler's states), nats, total over coordinates.

    Raises `NotAvailableError` for a step without noise, with several evaluations, or (flow+noise) a target in more than
    one dimension that is not Gaussian.
    """
    oracle = check_inputs(target, table, oracle)
    reference = one_of("reference", reference, REFERENCES)
    if not table.stochastic:
        raise NotAvailableError(
            f"chain KL of {table.method.name}: a step without noise has a singular kernel, and the divergence is infinite; "
            "available: particles"
        )
    first = initial(target, table, start)
    if reference == "flow+noise":
        if not isinstance(oracle, Exact):
            raise NotAvailableError("chain KL (flow+noise) with a perturbed oracle; available: reference='reverse'")
        return flow_noise(target, table, first)
    steps = reverse_steps(target, table, oracle)
    return summed(target, first, steps, "chain against the reverse chain", rounding(target, table, start))


def reverse_steps(target: Target, table: Table, oracle: Oracle) -> np.ndarray:
    """The KL of each step against the reverse chain: shape (rows, K)."""
    a, b, s = table.affine()
    true_a, true_b, true_s = posterior(table.snr, table.alpha, table.sigma)
    integral, mmse = frozen_denoiser(target, table)
    alpha, sigma, dim = table.alpha[:-1], table.sigma[:-1], target.dim
    excess = (true_s / s) ** 2 - 1.0
    c, f = true_a - a, true_b - b
    moved = target.second_moment * (alpha * c + f) ** 2 + dim * (c * sigma) ** 2 - f**2 * mmse
    moments = oracle.moments(alpha, sigma)
    moved = moved + b**2 * moments.square
    exact_mean = (np.abs(c) <= 1e-9 * np.abs(true_a)).all() and (np.abs(f) <= 1e-9 * np.abs(true_b)).all()
    if not exact_mean:
        _, with_state, with_denoiser = moments.need_all(f"chain KL of {table.method.name}")
        moved = moved - 2.0 * b * (c * with_state + f * with_denoiser)
    width = excess - np.log1p(excess)
    width = np.where(np.abs(excess) < 1e-4, excess**2 * (0.5 - excess / 3.0 + excess**2 / 4.0), width)
    return integral + 0.5 * dim * width + 0.5 * np.diff(table.snr) * mmse * excess + moved / (2.0 * s**2)

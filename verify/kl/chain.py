"""Chain KL: between the joint laws of the grid's states, against a named reference with the true marginals.

reference="reverse": the true reverse Markov chain.  For a step N(a x + b m̂, s²) and true next state N(A x + B X, σ_q²)
given the present one and X, with ρ = σ_q²/s², c = A − a, f = B − b, h = γ_{k+1} − γ_k (= B²/σ_q²):

    P_k + (d/2)(ρ − 1 − log ρ) + ½ h M_k (ρ − 1) + Q/(2s²),
    Q = E‖c x + f m − b ε‖² = E‖X‖² (αc + f)² + c² dσ² − f² M_k + b² E‖ε‖² − 2b (c E⟨x, ε⟩ + f E⟨m, ε⟩)

It needs the mmse curve and E‖X‖² only: any target, any dimension, data included.  For ddpm it equals the path KL (both
are joined by the same Brownian bridges).

Multistep tables add −Σ_j g_j m_{k−j} to the vector in Q.  The denoiser is a martingale of the reverse chain, so that with
its increments Δ_j = m_{k−j+1} − m_{k−j}, E‖Δ_j‖² = M_{k−j} − M_{k−j+1} = E⟨m_k, Δ_j⟩ and the vector is

    c x + (f − Σ g) m + Σ_j G_j Δ_j,     G_j = Σ_{i≥j} g_i:    no further knowledge of the law is needed.

Steps of several evaluations have Q = E‖A x + B m − M(x)‖² by quadrature where the law allows it (step_errors.py).

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
from verify.kl.step_errors import step_errors
from verify.oracle import Exact, Oracle
from verify.samplers.ddpm import posterior
from verify.step import REFERENCES, Table


def chain(
    target: Target,
    table: Table,
    *,
    reference: str = "reverse",
    start: str = "exact",
    oracle: Oracle | None = None,
) -> Estimate:
    """KL(joint law of the reference chain ‖ joint law of the sampler's states), nats, total over coordinates.

    Raises `NotAvailableError` for a table with a step that adds no noise or stays at its level; for steps of several
    evaluations, and against flow+noise, on targets that are no product of Gaussians, laws on the line and
    rotation-invariant laws.
    """
    oracle = check_inputs(target, table, oracle)
    reference = one_of("reference", reference, REFERENCES)
    check_kernels(table)
    first = initial(target, table, start)
    if reference == "flow+noise":
        if not isinstance(oracle, Exact):
            raise NotAvailableError("chain KL (flow+noise) with a perturbed oracle; available: reference='reverse'")
        if table.multistep:
            raise NotAvailableError(
                f"chain KL (flow+noise) of {table.method.name}: its step depends on earlier answers and is no map of the "
                "state that could be held against the flow; available: reference='reverse'"
            )
        return flow_noise(target, table, first)
    steps, doubt = reverse_steps(target, table, oracle), rounding(target, table, start)
    error, draws = _error_terms(table, oracle)
    return summed(target, first, steps, error, draws, "chain against the reverse chain", doubt)


def check_kernels(table: Table) -> None:
    """Refuse a table one of whose steps has no density against a reference chain."""
    if not table.stochastic:
        raise NotAvailableError(
            f"chain KL of {table.method.name}: a step without noise has a singular kernel, and the divergence is infinite; "
            "available: kl.marginal, particles"
        )
    if (np.diff(table.snr) <= 0).any():
        k = int(np.argmax(np.diff(table.snr) <= 0))
        raise NotAvailableError(
            f"chain KL of {table.method.name}: step {k} does not raise the snr, so that no reverse chain takes it; "
            "available: kl.marginal, particles"
        )


def reverse_steps(target: Target, table: Table, oracle: Oracle) -> np.ndarray:
    """The KL of each step against the reverse chain without what the oracle's error adds: shape (rows, K)."""
    true_a, true_b, true_s = posterior(table.snr, table.alpha, table.sigma)
    integral, mmse = frozen_denoiser(target, table)
    s, dim = table.noise, target.dim
    excess = (true_s / s) ** 2 - 1.0
    if table.one_evaluation:
        if table.multistep and not isinstance(oracle, Exact):
            raise NotAvailableError(
                f"chain KL of {table.method.name} with a perturbed oracle: errors at different levels would have to be known "
                "jointly; available: the exact oracle, particles"
            )
        moved = _moved(target, table, true_a - table.state, true_b - table.outputs[:, 0], mmse)
    elif not isinstance(oracle, Exact) or table.multistep:
        raise NotAvailableError(
            f"chain KL of {table.method.name}: a step of several evaluations is available with the exact oracle and without "
            "history only; available: particles"
        )
    else:
        moved, _ = step_errors(target, table, None)
    width = excess - np.log1p(excess)
    width = np.where(np.abs(excess) < 1e-4, excess**2 * (0.5 - excess / 3.0 + excess**2 / 4.0), width)
    return integral + 0.5 * dim * width + 0.5 * np.diff(table.snr) * mmse * excess + moved / (2.0 * s**2)


def _moved(target: Target, table: Table, c: np.ndarray, f: np.ndarray, mmse: np.ndarray) -> np.ndarray:
    """Q with the exact denoiser, the mean square of the true kernel's mean less the step's: rows of (K,)."""
    alpha, sigma, dim, square = table.alpha[:-1], table.sigma[:-1], target.dim, target.second_moment
    f = f - table.history.sum(1)
    moved = square * (alpha * c + f) ** 2 + dim * (c * sigma) ** 2 - f**2 * mmse
    return moved + _remembered(target, table, c, f, mmse) if table.multistep else moved


def _error_terms(table: Table, oracle: Oracle) -> tuple[np.ndarray, int]:
    """{b² E‖ε‖² − 2b (c E⟨x, ε⟩ + f E⟨m, ε⟩)}/(2s²) of each step, rows of (K,), and the draws behind the rows."""
    if isinstance(oracle, Exact):
        return np.zeros((1, table.steps)), 0
    true_a, true_b, _ = posterior(table.snr, table.alpha, table.sigma)
    b = table.outputs[:, 0]
    c, f = true_a - table.state, true_b - b
    moments = oracle.moments(table.alpha[:-1], table.sigma[:-1])
    added = b**2 * moments.square
    if not _negligible(c, f, table):
        _, with_state, with_denoiser = moments.need_all(f"chain KL of {table.method.name}")
        added = added - 2.0 * b * (c * with_state + f * with_denoiser)
    return added / (2.0 * table.noise**2), moments.draws


def _negligible(c: np.ndarray, f: np.ndarray, table: Table) -> bool:
    """The step's mean is the reverse kernel's own, as ddpm's is."""
    a, b, _ = posterior(table.snr, table.alpha, table.sigma)
    return bool((np.abs(c) <= 1e-9 * np.abs(a)).all() and (np.abs(f) <= 1e-9 * np.abs(b)).all())


def _remembered(target: Target, table: Table, c: np.ndarray, f: np.ndarray, mmse: np.ndarray) -> np.ndarray:
    """What history adds to Q: Σ_j G_j² E‖Δ_j‖² + 2f Σ_j G_j E⟨m, Δ_j⟩ + 2c Σ_j G_j E⟨x, Δ_j⟩.

    E⟨x_k, m_i⟩ = A α_i E‖X‖² + B (E‖X‖² − M_i), with A and B the true kernel's from level i to k (zero and α_k for i = k).
    """
    snr, alpha, sigma, steps = table.snr[:-1], table.alpha[:-1], table.sigma[:-1], table.steps
    later = np.cumsum(table.history[:, ::-1], axis=1)[:, ::-1]
    out = np.zeros_like(mmse)

    def with_state(k: np.ndarray, i: np.ndarray) -> np.ndarray:
        a = alpha[i] / alpha[k] * (sigma[k] / sigma[i]) ** 2
        b = alpha[k] * (1.0 - snr[i] / snr[k])
        return (a * alpha[i] + b) * target.second_moment - b * mmse[:, i]

    for j in range(1, later.shape[1] + 1):
        k = np.arange(j, steps)
        size, gain = mmse[:, k - j] - mmse[:, k - j + 1], later[k, j - 1]
        out[:, k] += gain**2 * size + 2.0 * f[k] * gain * size
        if c[k].any():
            out[:, k] += 2.0 * c[k] * gain * (with_state(k, k - j + 1) - with_state(k, k - j))
    return out

"""Path KL: between the law of the reverse SDE and of its discretisation, by Girsanov and the mmse curve alone.

With M_k = mmse(γ_k), D = −mmse′, h = γ_{k+1} − γ_k, ε the denoiser error, e = (α/σ²)ε the score error, Δ = t_k − t_{k+1}:

ddpm (frozen denoiser), any target and oracle:

    P_k + ½ h E‖ε‖²,          P_k = ½ ∫ (γ_{k+1} − γ) D dγ

ei_sde (frozen score).  The score of z = e^t x is a martingale of the reverse process with E‖·‖² = J = γ(d − γ mmse), so
E‖s_t − s_k‖² = e^{2t}(J − J_k) + (e^{t_k} − e^t)² J_k.  Integrating the first part by parts twice leaves

    P_k + (d/2)(−log(1 − p) − p) − M_k h²/(2γ_{k+1}) + e^{2t_k}J_k ψ + Δ E‖e‖² + 2(Δ − q) E⟨s, e⟩,
    p = h/γ_{k+1},   q = 1 − e^{-Δ},   ψ = ∫_0^Δ (1 − e^{-u})² du = Σ_{n≥3} qⁿ/n

euler_maruyama (frozen drift x + 2s): the same, and with w = e^Δ − 1, ω = ∫_0^Δ (e^u − 1)² du = Σ_{n≥3} (−1)^{n+1} wⁿ/n,

    + ¼ {(E‖X‖² − d) α_k² ω + d ψ + d(Δ − ½(1 − e^{-2Δ}))} + 2d(sinh Δ − Δ) − 2(cosh Δ − 1) e^{2t_k}J_k
    − (w − Δ) E⟨x, e⟩ − 2(cosh Δ − 1) E⟨s, e⟩

relative_score (frozen s̃ = s + x, the score relative to N(0, 1)).  With E[s_t given x_k] = e^{-(t_k − t)} s_k and Tweedie's
E[x_t given x_k] = e^u x_k + (e^u − e^{-u}) s_k, u = t_k − t, E[s̃_t given x_k] = e^u s̃_k, so that

    E‖s̃_t − s̃_k‖²  =  I(t) − I_k − 2(e^u − 1) I_k,     I = E‖s̃‖² = E‖s‖² + E‖x‖² − 2d     (relative Fisher information).

Against ei_sde's integral this adds (E‖X‖² − d) α_k² ω + 2d(w − Δ) − 4(cosh Δ − 1) e^{2t_k}J_k.  The sum is zero on N(0, 1);
less what it is there term by term, with N_k = M_k − d/(1 + γ_k) and r = h/(1 + γ_k), it is

    P_k − (d/2)(r − log(1 + r)) + {γ_k(1 + γ_k)(4(cosh Δ − 1) − ψ) − h²/(2γ_{k+1})} N_k + (E‖X‖² − d) α_k² ω
    + Δ E‖e‖² − 2(w − Δ)(E⟨s, e⟩ + E⟨x, e⟩)

Other samplers are not discretisations of one reverse SDE: their path measures are singular to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from targets import Estimate, NotAvailableError, Target
from verify.kl.frozen import check_inputs, frozen_denoiser, log_remainder, summed
from verify.kl.initial import initial, rounding
from verify.oracle import ErrorMoments, Oracle
from verify.samplers.ddpm import posterior
from verify.samplers.ei_sde import coefficients as ei_sde_coefficients
from verify.samplers.euler_maruyama import coefficients as euler_coefficients
from verify.samplers.relative_score import coefficients as relative_coefficients
from verify.step import Table

Discretisation = Literal["ddpm", "ei_sde", "euler_maruyama", "relative_score"]

FROZEN: dict[Discretisation, str] = {
    "ddpm": "frozen denoiser",
    "ei_sde": "frozen score",
    "euler_maruyama": "Euler-Maruyama",
    "relative_score": "frozen relative score",
}

RECOGNISED = 1e-9
"""Relative difference within which coefficients count as those of a known discretisation."""


def path(target: Target, table: Table, *, start: str = "exact", oracle: Oracle | None = None) -> Estimate:
    """KL(path measure of the reverse SDE ‖ path measure of the sampler), nats, total over coordinates.

    The table is recognised by its coefficients, never by its name; anything but ddpm, ei_sde, euler_maruyama
    or relative_score raises `NotAvailableError`.  start: "exact", "moment" or "prior".
    """
    pieces = _pieces(target, table, start, oracle)
    error = pieces.square + pieces.cross
    doubt = rounding(target, table, start) + pieces.doubt
    return summed(target, pieces.first, pieces.steps, error, pieces.draws, f"Girsanov, {FROZEN[pieces.kind]}", doubt)


def parts(target: Target, table: Table, *, start: str = "exact", oracle: Oracle | None = None) -> dict[str, Estimate]:
    """What path KL is the sum of, each with its error: initialisation, discretisation, oracle, cross.

    "oracle" is the term in E‖ε‖², "cross" those in E⟨y, ε⟩ and E⟨m, ε⟩, of either sign and none for ddpm.  A part's standard
    error is its own: parts that come from one curve are correlated, and the errors of `path` are not their sum.
    """
    pieces = _pieces(target, table, start, oracle)
    none, doubt = np.zeros((1, 1)), rounding(target, table, start)
    frozen = np.zeros(1)

    def part(first: np.ndarray, steps: np.ndarray, error: np.ndarray, doubt: float = 0.0) -> Estimate:
        return summed(target, first, steps, error, pieces.draws, "Girsanov", doubt)

    return {
        "initialisation": part(pieces.first, none, none, doubt),
        "discretisation": part(frozen, pieces.steps, none, pieces.doubt),
        "oracle": part(frozen, none, pieces.square),
        "cross": part(frozen, none, pieces.cross),
    }


@dataclass(frozen=True, eq=False)
class _Pieces:
    """KL at the start (rows,); for each step what freezing, E‖ε‖² and the cross moments add, (rows, K).

    `doubt`: what rounding and the curve's bias leave where the terms of a step cancel.
    """

    kind: Discretisation
    first: np.ndarray
    steps: np.ndarray
    square: np.ndarray
    cross: np.ndarray
    draws: int
    doubt: float = 0.0


def _pieces(target: Target, table: Table, start: str, oracle: Oracle | None) -> _Pieces:
    oracle = check_inputs(target, table, oracle)
    kind = discretisation(table)
    if kind is None:
        raise NotAvailableError(
            f"path KL of {table.method.name}: its steps are not those of {', '.join(FROZEN)}, so its path measure is "
            "singular to the reverse SDE's; available: " + _available(table)
        )
    first = initial(target, table, start)
    steps, mmse = frozen_denoiser(target, table)
    moments = oracle.moments(table.alpha[:-1], table.sigma[:-1])
    if kind == "ddpm":
        square, cross = 0.5 * np.diff(table.snr) * moments.square, np.zeros((1, table.steps))
        return _Pieces(kind, first, steps, square, cross, moments.draws)
    if kind == "relative_score":
        added, doubt = _frozen_relative(target, table, steps, mmse)
        return _Pieces(kind, first, steps + added, *_error_terms(table, moments, kind), moments.draws, doubt)
    steps = steps + _frozen_score(target, table, mmse)
    if kind == "euler_maruyama":
        steps = steps + _frozen_drift(target, table, mmse)
    return _Pieces(kind, first, steps, *_error_terms(table, moments, kind), moments.draws)


def discretisation(table: Table) -> Discretisation | None:
    """Which discretised reverse SDE the coefficients are, or None."""
    if not table.one_evaluation or table.multistep or not table.stochastic or (np.diff(table.snr) <= 0).any():
        return None
    given = table.state, table.outputs[:, 0], table.noise
    if _same(given, posterior(table.snr, table.alpha, table.sigma)):
        return "ddpm"
    if np.abs(table.alpha**2 + table.sigma**2 - 1.0).max() > 1e-12:
        return None
    ou_time = _ou_time(table)
    if _same(given, ei_sde_coefficients(ou_time, table.alpha, table.sigma)):
        return "ei_sde"
    if _same(given, euler_coefficients(ou_time, table.alpha, table.sigma)):
        return "euler_maruyama"
    if _same(given, relative_coefficients(ou_time, table.alpha, table.sigma)):
        return "relative_score"
    return None


def _available(table: Table) -> str:
    if not table.stochastic or (np.diff(table.snr) <= 0).any():
        return "kl.marginal, particles"
    also = "" if table.multistep else ", kl.chain(reference='flow+noise') where the flow is known"
    chains = f"kl.chain(reference='reverse'){also}"
    return f"{chains}, kl.marginal, particles"


def _same(given: tuple[np.ndarray, ...], known: tuple[np.ndarray, ...]) -> bool:
    return all(bool((np.abs(g - k) <= RECOGNISED * np.abs(k)).all()) for g, k in zip(given, known, strict=True))


def _ou_time(table: Table) -> np.ndarray:
    return 0.5 * np.log1p(1.0 / table.snr)


def _fisher(target: Target, table: Table, mmse: np.ndarray) -> np.ndarray:
    """e^{2t_k} J_k = E‖s_k‖² = (1 + γ)(d − γ mmse): rows of (K,)."""
    snr = table.snr[:-1]
    return (1.0 + snr) * (target.dim - snr * mmse)


def _cubic_remainder(q: np.ndarray) -> np.ndarray:
    """−log(1 − q) − q − q²/2 = Σ_{n≥3} qⁿ/n for q < 1 (also negative): series within 0.05 of zero."""
    series = np.polynomial.polynomial.polyval(q, [0.0, 0.0, 0.0, *(1.0 / n for n in range(3, 23))])
    return np.where(np.abs(q) < 0.05, series, -np.log1p(-q) - q - 0.5 * q**2)


def _frozen_score(target: Target, table: Table, mmse: np.ndarray) -> np.ndarray:
    delta = -np.diff(_ou_time(table))
    step, ahead = np.diff(table.snr), table.snr[1:]
    elementary = 0.5 * target.dim * log_remainder(step / ahead) - 0.5 * mmse * step**2 / ahead
    return elementary + _fisher(target, table, mmse) * _cubic_remainder(-np.expm1(-delta))


def _frozen_drift(target: Target, table: Table, mmse: np.ndarray) -> np.ndarray:
    delta, dim = -np.diff(_ou_time(table)), target.dim
    grown = -_cubic_remainder(-np.expm1(delta))
    shrunk = _cubic_remainder(-np.expm1(-delta))
    moved = (target.second_moment - dim) * table.alpha[:-1] ** 2 * grown + dim * shrunk
    moved = moved + dim * (delta + 0.5 * np.expm1(-2.0 * delta))
    cosh = 2.0 * np.sinh(0.5 * delta) ** 2
    return 0.25 * moved + 2.0 * dim * (np.sinh(delta) - delta) - 2.0 * cosh * _fisher(target, table, mmse)


def _frozen_relative(target: Target, table: Table, integral: np.ndarray, mmse: np.ndarray) -> tuple[np.ndarray, float]:
    """What is added to P_k = `integral`, rows of (K,), and the error of the sum over steps.

    That error is the curve's, and the rounding of levels over the length of a step, of the terms that cancel.
    """
    t, snr, step, dim = _ou_time(table), table.snr[:-1], np.diff(table.snr), target.dim
    delta = -np.diff(t)
    standard, entropic = dim / (1.0 + snr), 0.5 * dim * log_remainder(-step / (1.0 + snr))
    fisher = snr * (1.0 + snr) * (8.0 * np.sinh(0.5 * delta) ** 2 - _cubic_remainder(-np.expm1(-delta)))
    gain, moved = fisher - 0.5 * step**2 / table.snr[1:], -(table.alpha[:-1] ** 2) * _cubic_remainder(-np.expm1(delta))
    added = gain * (mmse - standard) + moved * (target.second_moment - dim) - entropic
    size = integral[0] + np.abs(gain) * (mmse[0] + standard) + moved * (target.second_moment + dim) + entropic
    rounded = 4.0 * np.finfo(np.float64).eps * (1.0 + table.snr[1:] / step + t[:-1] / delta)
    return added, float(size @ (rounded + target.curve.bias))


def _error_terms(table: Table, moments: ErrorMoments, kind: Discretisation) -> tuple[np.ndarray, np.ndarray]:
    """(Δ E‖e‖², the terms in E⟨s, e⟩ and E⟨x, e⟩) of each step: rows of (K,)."""
    alpha, sigma = table.alpha[:-1], table.sigma[:-1]
    square, with_state, with_denoiser = moments.need_all(f"path KL of {kind}")
    delta = -np.diff(_ou_time(table))
    gain = alpha / sigma**2
    score_error = gain * (alpha * with_denoiser - with_state) / sigma**2
    if kind == "relative_score":
        cross = -2.0 * (np.expm1(delta) - delta) * (score_error + gain * with_state)
        return delta * gain**2 * square, cross
    cross = 2.0 * (delta + np.expm1(-delta)) * score_error
    if kind == "euler_maruyama":
        cross = cross - (np.expm1(delta) - delta) * gain * with_state - 4.0 * np.sinh(0.5 * delta) ** 2 * score_error
    return delta * gain**2 * square, cross

"""Bounds on what freezing the denoiser costs, at every number of steps: geometric grids, uniform grids, pairs of atoms.

With M_k = mmse(γ_k) and h_k = γ_{k+1} − γ_k the discretisation part is at most ½ Σ h_k (M_k − M_{k+1}).

geometric   h_k = κ γ_k:  ½ κ Σ γ_k (M_k − M_{k+1}) ≤ ½ κ ∫ γ |mmse′| dγ ≤ κ I(γ_K) ≤ κ H
uniform     h_k = h:      ½ h (M_0 − M_K), by telescoping
pairs       Cov[X given x] = ½ Σ_{i≠j} r_i r_j Δ_ij Δ_ijᵀ with responsibilities r and Δ_ij = a_i − a_j, so by Minkowski's
            inequality √|mmse′| ≤ ½ Σ_{i≠j} |Δ_ij|² (E r_i² r_j²)^{1/2}; the density of x is ≥ 2 (p_i N_i p_j N_j)^{1/2},
            hence E r_i² r_j² ≤ ⅛ (p_i p_j)^{1/2} ∫ (N_i N_j)^{1/2} = ⅛ (p_i p_j)^{1/2} e^{−γ|Δ_ij|²/8}; the integral over
            γ gives S ≤ 2√2 Σ_{i≠j} (p_i p_j)^{1/4}, whatever the atoms
"""

from __future__ import annotations

import numpy as np

from targets import Discrete, Estimate, Target
from verify import Grid, kl, samplers
from verify.bounds import frozen_denoiser
from verify.claims.claim import Claim, Control, Row, at_most, paired, ratio, scaled
from verify.claims.laws import law
from verify.claims.mutate import Build, thinned

OURS = "derived here, in the spirit of arXiv 2601.21943"


def discrete_laws(full: bool) -> dict[str, Target]:
    """Discrete laws on the line, in R^8 and R^32, of one scale and of many."""
    return {
        "two points": law("two_points"),
        "rare bit": law("rare_bit", p=1e-3),
        "heavy tail": law("heavy_tail", n=4),
        "nested scales": law("nested_scales", bits=3),
        "codebook": law("codebook", full, dim=8),
        "Markov chain": law("fixed_entropy_chain", full, length=32),
    }


def geometric(full: bool, tolerance: float, *, build: Build = samplers.ddpm) -> list[Row]:
    """Path KL over κ I(γ_K), and κ I(γ_K) over κ H, at every K = 1, 2, 4, … 4096."""
    rows = []
    for name, target in discrete_laws(full).items():
        window = (1e-2 / target.total_variance * target.dim, 1e3 / target.total_variance * target.dim)
        known = target.mutual_information(window[1])
        for steps in 2 ** np.arange(0, 13, 1 if full else 3):
            grid = Grid.log_snr(int(steps), snr=window)
            kappa = frozen_denoiser(samplers.ddpm(grid), 1.0)
            found, where = kl.path(target, build(grid)), f"snr {window[0]:.3g} to {window[1]:.3g}, K = {steps}"
            for bound, quantity in ((known, "path KL ÷ κI(γ_K)"), (target.entropy(), "path KL ÷ κH")):
                measured = ratio(found, scaled(bound, kappa))
                rows.append(at_most(name, where, quantity, measured, 1.0 + tolerance))
    return rows


def uniform(full: bool, tolerance: float, *, build: Build = samplers.ddpm) -> list[Row]:
    """Path KL over (h/2)(mmse(γ_0) − mmse(γ_K)) on grids uniform in γ, K = 1, 2, 4, … 4096."""
    rows = []
    for name, target in {**discrete_laws(full), "curved mixture": law("curved_mixture")}.items():
        window = (1e-2 / target.total_variance * target.dim, 5.0 / target.total_variance * target.dim)
        ends = target.curve.mmse_rows(np.array(window))
        fallen = Estimate.jackknife(ends[:, 0] - ends[:, 1], target.curve.bias * ends[0, 0], target.curve.method)
        for steps in 2 ** np.arange(0, 13, 1 if full else 3):
            step = (window[1] - window[0]) / steps
            found = kl.path(target, build(Grid.uniform_snr(int(steps), snr=window)))
            measured = paired(found, scaled(fallen, 0.5 * step))
            where = f"snr {window[0]:.3g} to {window[1]:.3g}, K = {steps}"
            rows.append(at_most(name, where, "path KL ÷ ½h(mmse(γ_0) − mmse(γ_K))", measured, 1.0 + tolerance))
    return rows


def pairs(full: bool, tolerance: float, *, temper: float = 1.0) -> list[Row]:
    """S over 2√2 Σ_{i≠j}(p_i p_j)^{1/4}; the sum takes the weights to the power `temper`, renormalised."""
    laws = {
        **discrete_laws(full),
        **{f"two points, p = {p:g}": law("two_points", p=p) for p in (0.1, 1e-4, 1e-8)},
        "orthogonal points": law("orthogonal_points", full, n=64),
    }
    rows = []
    for name, target in laws.items():
        if not isinstance(target, Discrete):
            continue
        weights = target.weights.numpy() ** temper
        length = target.curve.discretisation_length()
        measured = ratio(length, pair_sum(weights / weights.sum()))
        rows.append(at_most(name, "snr 0 to infinity", "S ÷ 2√2Σ(p_i p_j)^¼", measured, 1.0 + tolerance))
    return rows


def pair_sum(weights: np.ndarray) -> float:
    """2√2 Σ_{i≠j} (p_i p_j)^{1/4} over ordered pairs."""
    quarter = weights**0.25
    return 2.0 * np.sqrt(2.0) * float(quarter.sum() ** 2 - (quarter**2).sum())


CLAIMS = (
    Claim(
        "denoiser/geometric-bound",
        OURS,
        "on geometric grids discretisation ≤ κ I(γ_K) ≤ κ H at every K, κ = (γ_K/γ_0)^{1/K} − 1",
        "path",
        ("two points", "rare bit", "heavy tail", "nested scales", "codebook", "Markov chain"),
        "ratio ≤ 1 at every K; a property of the curve, of which denoiser/mmse-gap shows that path KL is made",
        0.0,
        geometric,
        Control("every fourth level only", {"build": thinned(samplers.ddpm, 4)}),
        formula=r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) \le \kappa I(\gamma_K), \qquad "
        r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) \le \kappa H, \qquad \kappa = "
        r"\left(\frac{\gamma_K}{\gamma_0}\right)^{1/K} - 1",
        basis="our derivation",
        window="snr 1e-2 to 1e3 in units of d/tr Cov X, K = 1 to 4096",
        reference="reverse SDE",
        study="entropy_scaling",
    ),
    Claim(
        "denoiser/uniform-bound",
        OURS,
        "on grids uniform in γ, step h, discretisation ≤ ½ h (mmse(γ_0) − mmse(γ_K)) at every K",
        "path",
        ("two points", "rare bit", "heavy tail", "nested scales", "codebook", "Markov chain", "curved mixture"),
        "ratio ≤ 1 at every K; a property of the curve, of which denoiser/mmse-gap shows that path KL is made",
        0.0,
        uniform,
        Control("every fourth level only", {"build": thinned(samplers.ddpm, 4)}),
        formula=r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) \le \frac{1}{2} h_0 \left(\mathrm{mmse}(\gamma_0) - "
        r"\mathrm{mmse}(\gamma_K)\right), \qquad h_0 = \frac{\gamma_K - \gamma_0}{K}",
        basis="our derivation",
        window="snr 1e-2 to 5 in units of d/tr Cov X, K = 1 to 4096",
        reference="reverse SDE",
        study="schedules",
    ),
    Claim(
        "denoiser/pair-bound",
        OURS,
        "S ≤ 2√2 Σ_{i≠j} (p_i p_j)^{1/4} over ordered pairs of atoms, wherever they lie",
        "curve",
        ("two points", "rare bit", "heavy tail", "nested scales", "codebook", "orthogonal points"),
        "ratio ≤ 1",
        0.0,
        pairs,
        Control("the sum of the law with weights ∝ w²", {"temper": 2.0}),
        formula=r"S \le 2\sqrt{2} \sum_{i \ne j} (p_i p_j)^{1/4}",
        basis="our derivation",
        window="snr 0 to infinity",
        study="entropy_scaling",
    ),
)
"""Bounds of the frozen denoiser that hold at every K."""

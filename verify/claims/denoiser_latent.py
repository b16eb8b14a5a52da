"""Gaussian mixtures under the frozen denoiser: entropy controls which component, and the Gaussian part adds d·log².

X = C + W, C the component's centre with latent entropy H, W ~ N(0, v·1), s(γ) = γ/(1 + γv), Λ = log((1 + γ_K v)/(1 + γ_0 v)).
I_X(γ) = (d/2) log(1 + γv) + I_C(s) gives, on geometric grids at every K,

    discretisation ≤ κ [H + (d/2) log(1 + γ_K v)].

|mmse′| = E‖Cov[X given x]‖² and Cov[X given x] = v/(1 + γv)·1 + Cov[C given x]/(1 + γv)²; with Minkowski's inequality for the
mean square of the Frobenius norm, and ds = dγ/(1 + γv)²,

    S ≤ √d Λ + S_C,        dS/dlog γ → √d as γ → ∞ for every mixture of full rank.

So K·path KL on the best grid carries (d/4) log² γ_K that no entropy controls.
"""

from __future__ import annotations

import math

import numpy as np

from targets import Discrete, Estimate, GaussianMixture, Target
from verify import Grid, kl, samplers
from verify.bounds import frozen_denoiser
from verify.claims.claim import Claim, Control, Row, at_most, near, ratio, total
from verify.claims.laws import law, plane_mixture

OURS = "derived here; arXiv 2601.21943 speaks of discrete laws"
WINDOW = (1e-2, 1e4)


def shared_width(full: bool) -> dict[str, tuple[GaussianMixture, float]]:
    """Mixtures of one isotropic variance, with it."""
    return {
        "two components": (law("two_components"), 0.09),  # type: ignore[dict-item]
        "32 random centres, d = 8": (law("random_centres", full, dim=8), 0.05),  # type: ignore[dict-item]
        "32 random centres, d = 32": (law("random_centres", full, dim=32), 0.05),  # type: ignore[dict-item]
    }


def every_k(full: bool, tolerance: float, *, widths: float = 1.0) -> list[Row]:
    """Path KL over κ [H + (d/2) log(1 + γ_K v)], K = 1 … 4096; the bound takes `widths` times the true variance."""
    rows = []
    for name, (target, width) in shared_width(full).items():
        information = float(target.latent_entropy().value) + 0.5 * target.dim * math.log1p(WINDOW[1] * widths * width)
        for steps in 2 ** np.arange(0, 13, 1 if full else 3):
            table = samplers.ddpm(Grid.log_snr(int(steps), snr=WINDOW))
            measured = ratio(kl.path(target, table), frozen_denoiser(table, information))
            where = f"snr {WINDOW[0]} to {WINDOW[1]:g}, K = {steps}"
            rows.append(at_most(name, where, "path KL ÷ κ[H + (d/2)log(1 + γ_K v)]", measured, 1.0 + tolerance))
    return rows


def length(full: bool, tolerance: float, *, widths: float = 1.0) -> list[Row]:
    """S over √d Λ + S_C; the bound takes `widths` times the true variance."""
    rows = []
    for name, (target, width) in shared_width(full).items():
        v = widths * width
        centres = Discrete(target.components.means, target.components.weights).refined(target.points)
        spread = math.log1p(WINDOW[1] * v) - math.log1p(WINDOW[0] * v)
        bound = total(Estimate.exact(math.sqrt(target.dim) * spread), centres.curve.discretisation_length())
        measured = ratio(target.curve.discretisation_length(*WINDOW), bound)
        where = f"snr {WINDOW[0]} to {WINDOW[1]:g}"
        rows.append(at_most(name, where, "S ÷ (√d Λ + S_C)", measured, 1.0 + tolerance))
    return rows


def remainder(full: bool, tolerance: float, *, centres_only: bool = False) -> list[Row]:
    """(dS/dlog γ)²/d far above the components' widths, between γ v = 1e3 and 1e5."""
    laws: dict[str, tuple[Target, float]] = {
        "curved mixture": (law("curved_mixture"), 0.01),
        "plane mixture": (plane_mixture(), 0.05),
        **shared_width(full),
    }
    rows = []
    for name, (mixture, width) in laws.items():
        target: Target = mixture
        if centres_only:
            target = Discrete(mixture.components.means, mixture.components.weights)  # type: ignore[attr-defined]
        window = (1e3 / width, 1e5 / width)
        slope = ratio(target.curve.discretisation_length(*window), math.log(100.0))
        squared = float(slope.value) ** 2 / target.dim
        grown = 2.0 * float(slope.value) / target.dim
        measured = Estimate(squared, grown * float(slope.stderr), grown * float(slope.bias), slope.method)
        where = f"snr {window[0]:.3g} to {window[1]:.3g}"
        rows.append(near(name, where, "(dS/dlog γ)² ÷ d", measured, 1.0, tolerance))
    return rows


CLAIMS = (
    Claim(
        "denoiser/latent-entropy",
        OURS,
        "mixtures of one variance v, geometric grids: discretisation ≤ κ [H + (d/2) log(1 + γ_K v)], H the latent entropy",
        "path",
        ("two components", "32 random centres, d = 8", "32 random centres, d = 32"),
        "ratio ≤ 1 at every K",
        0.0,
        every_k,
        Control("the bound of the latent entropy alone", {"widths": 0.0}),
        formula=r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) \le \kappa \left[H(J) + \frac{d}{2} \log(1 + \gamma_K "
        r"v)\right]",
        basis="our derivation",
        window="snr 1e-2 to 1e4, K = 1 to 4096",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
    Claim(
        "denoiser/latent-length",
        OURS,
        "for mixtures of one variance v: S ≤ √d Λ + S_C, S_C that of the centres alone, Λ = log((1 + γ_K v)/(1 + γ_0 v))",
        "curve",
        ("two components", "32 random centres, d = 8", "32 random centres, d = 32"),
        "ratio ≤ 1",
        0.0,
        length,
        Control("the bound of widths 1e-4 times as large", {"widths": 1e-4}),
        formula=r"S \le \sqrt{d} \log\frac{1 + \gamma_K v}{1 + \gamma_0 v} + S_C",
        basis="our derivation",
        window="snr 1e-2 to 1e4",
        study="entropy_scaling",
    ),
    Claim(
        "denoiser/latent-remainder",
        OURS,
        "within a component the best K·path KL grows like (d/4) log² γ_K: (dS/dlog γ)² → d, whatever the entropy",
        "curve",
        ("curved mixture", "plane mixture", "two components", "32 random centres"),
        "ratio 1 far above the components' widths",
        0.02,
        remainder,
        Control("the centres without their widths", {"centres_only": True}),
        formula=r"\frac{S^2}{\log^2(\gamma_K / \gamma_0)} = d, \qquad \gamma_0 v = 10^3, \qquad \gamma_K v = 10^5",
        basis="our derivation",
        window="snr 1e3 to 1e5 in units of 1/v",
        study="entropy_scaling",
    ),
)
"""Mixtures under the frozen denoiser."""

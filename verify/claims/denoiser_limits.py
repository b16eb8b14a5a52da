"""What K times the frozen denoiser's path KL tends to, on a grid of step density ρ and on the best grid.

With ρ the density of the levels on the window (∫ρ = 1) the steps are 1/(Kρ), and K · ½ Σ ∫ (γ_{k+1} − γ)|mmse′| dγ tends to
¼∫|mmse′|/ρ.  Closed forms: uniform in γ, ¼ Δγ (mmse_0 − mmse_K); uniform in log γ, ¼ L (2ΔI + γ_0 mmse_0 − γ_K mmse_K);
uniform in σ = γ^{-1/2}, ½ (σ_0 − σ_K) ∫ γ^{3/2} |mmse′| dγ.  The least over ρ is S²/4 at ρ ∝ √|mmse′| (Cauchy and Schwarz).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from targets import Estimate, Target
from verify import Grid, kl, samplers
from verify.claims.claim import Claim, Control, Row, near, paired
from verify.claims.laws import law
from verify.claims.mutate import Build, thinned

OURS = "derived here; arXiv 2601.21943 bounds the same quantity by O(H²)"
WINDOW = (0.02, 100.0)


def density_limit(full: bool, tolerance: float, *, build: Build = samplers.ddpm) -> list[Row]:
    """K·path KL extrapolated in 1/K over ¼∫|mmse′|/ρ in closed form, for three densities."""
    schedules: dict[str, tuple[Callable[..., Grid], Callable[[Target], Estimate]]] = {
        "uniform in snr": (Grid.uniform_snr, _uniform_in_snr),
        "uniform in log snr": (Grid.log_snr, _uniform_in_log_snr),
        "uniform in σ": (Grid.uniform_sigma, _uniform_in_sigma),
    }
    rows = []
    for name in ("curved_mixture", "two_points", "codebook", "bit_chain"):
        target = law(name, full)
        for schedule, (grid, predicted) in schedules.items():

            def scaled(steps: int, target: Target = target, grid: Callable[..., Grid] = grid) -> Estimate:
                return kl.path(target, build(grid(steps, snr=WINDOW)))

            measured = paired(limit_in_steps(scaled, 4096), float(predicted(target).value))
            rows.append(near(name, f"snr {WINDOW[0]} to {WINDOW[1]}, {schedule}", RATIO, measured, 1.0, tolerance))
    return rows


RATIO = "lim K·path KL ÷ ¼∫|mmse′|/ρ"


def limit_in_steps(divergence: Callable[[int], Estimate], steps: int) -> Estimate:
    """lim K·KL: 2c(K) − c(K/2) for c(K) = K·KL = c + O(1/K); bias: twice its change from the same at K/2.

    (On best grids of atoms the correction is of order log K/K, of which this leaves a part.)
    """
    scaled = [(k, divergence(k)) for k in (steps // 4, steps // 2, steps)]
    value = [k * float(found.value) for k, found in scaled]
    last, before = 2.0 * value[2] - value[1], 2.0 * value[1] - value[0]
    k, found = scaled[-1]
    return Estimate(last, k * float(found.stderr), k * abs(float(found.bias)) + 2.0 * abs(last - before), found.method)


def _uniform_in_snr(target: Target) -> Estimate:
    mmse = target.mmse(np.array(WINDOW)).value
    return Estimate.exact(0.25 * (WINDOW[1] - WINDOW[0]) * float(mmse[0] - mmse[1]))  # type: ignore[index]


def _uniform_in_log_snr(target: Target) -> Estimate:
    ends = np.array(WINDOW)
    mmse, known = target.mmse(ends).value, target.mutual_information(ends).value
    length = float(np.log(WINDOW[1] / WINDOW[0]))
    return Estimate.exact(0.25 * length * (2.0 * np.diff(known).item() - np.diff(ends * mmse).item()))


def _uniform_in_sigma(target: Target) -> Estimate:
    quadrature = target.curve.over_steps(np.geomspace(*WINDOW, 200))
    integral = float(quadrature.sum(quadrature.snr**1.5)[0].sum())
    return Estimate.exact(0.5 * (WINDOW[0] ** -0.5 - WINDOW[1] ** -0.5) * integral)


def optimal_limit(full: bool, tolerance: float, *, grid: Callable[..., Grid] = Grid.optimal) -> list[Row]:
    """K·path KL of the best grids, extrapolated in 1/K from K = 64, 128, 256, over S²/4 on the window."""
    rows = []
    for name in ("curved_mixture", "two_points", "codebook", "bit_chain"):
        target = law(name, full)
        length = target.curve.discretisation_length(*WINDOW)

        def divergence(steps: int, target: Target = target) -> Estimate:
            return kl.path(target, samplers.ddpm(grid(target, steps=steps, snr=WINDOW)))

        measured = paired(limit_in_steps(divergence, 512 if full else 256), float(length.value) ** 2 / 4.0)
        rows.append(near(name, f"snr {WINDOW[0]} to {WINDOW[1]}", "lim K·path KL ÷ S²/4", measured, 1.0, tolerance))
    return rows


def _log_snr(_: Target, *, steps: int, snr: tuple[float, float]) -> Grid:
    return Grid.log_snr(steps, snr=snr)


CLAIMS = (
    Claim(
        "denoiser/limit-of-density",
        OURS,
        "K·path KL → ¼ ∫ |mmse′|/ρ dγ for step density ρ",
        "path",
        ("curved mixture", "two points", "codebook", "Markov chain"),
        "extrapolated limit over the integral is 1; a property of the curve, as denoiser/mmse-gap shows",
        0.01,
        density_limit,
        Control("every second level only", {"build": thinned(samplers.ddpm, 2)}),
        formula=r"\lim_{K\to\infty} K \mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) = \frac{1}{4} "
        r"\int_{\gamma_0}^{\gamma_K} \frac{\lvert\mathrm{mmse}'(\gamma)\rvert}{\rho(\gamma)} \mathrm{d}\gamma",
        basis="our derivation",
        window="snr 0.02 to 100, K = 1024, 2048, 4096",
        reference="reverse SDE",
        study="schedules",
    ),
    Claim(
        "denoiser/limit-of-optimum",
        OURS,
        "K·path KL of the best K-step grid → S²/4, S = ∫ √|mmse′| dγ",
        "path",
        ("curved mixture", "two points", "codebook", "Markov chain"),
        "extrapolated limit over S²/4 is 1",
        0.01,
        optimal_limit,
        Control("the geometric grid in place of the best", {"grid": _log_snr}),
        formula=r"\lim_{K\to\infty} K \min_{\gamma_1, \dots, \gamma_{K-1}} \mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) "
        r"= \frac{S^2}{4}",
        basis="our derivation",
        window="snr 0.02 to 100, K = 64, 128, 256",
        reference="reverse SDE",
        study="schedules",
    ),
)
"""Limits of the frozen denoiser as K grows."""

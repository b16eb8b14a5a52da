"""One Gaussian, three objectives, three best grids.

On N(m, λ·1) let tan θ = 1/√(γλ), a = 1 + γλ, b = 1/a = sin²θ; θ and b fall as sampling proceeds.

Path KL of ddpm.  A step costs (d/2)(a_{k+1}/a_k − 1 − log(a_{k+1}/a_k)), and x ↦ e^x − 1 − x is convex, so that equal steps
of log a (of log sin θ) are best:  (dK/2)(e^{Λ/K} − 1 − Λ/K),  Λ = log(a_K/a_0).

Marginal KL of ddpm.  A step adds (b_k − b_{k+1})²/b_k / (1 − b_K) to the shortfall r of the last variance, relative to the
true one.  With ρ_k = b_{k+1}/b_k, ∂r/∂b_k = 0 is −2(b_{k−1} − b_k)/b_{k−1} + 1 − (b_{k+1}/b_k)² = 0, that is

    ρ_{k−1}  =  (1 + ρ_k²)/2.

With b = s² and κ = k/K, K r → 4 ∫ (ds/dκ)² dκ/(1 − b_K) as K → ∞, which is least where s = sin θ is linear,
and KL = (d/2)(r/(1 − r) + log(1 − r)) → d r²/4, K² KL → 4d (s_0 − s_K)⁴/(1 − b_K)².

Marginal KL of the probability flow by Euler in σ/α (ddim).  A step multiplies the standard deviation, relative to the true
one, by cos Δθ_k, and −log cos is convex, so that equal steps of θ are best:  K² KL → d (θ_0 − θ_K)⁴/4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from targets import Estimate, Gaussian
from verify import Grid, kl, samplers
from verify.claims.claim import Claim, Control, Row, at_least, near, ratio, scaled

Law = Callable[[int, float, tuple[float, float]], Grid]
"""(K, λ, window of snr) -> the grid."""

CASES = ((0.25, (0.5, 400.0)), (1.0, (0.05, 20.0)), (9.0, (0.01, 50.0)))
"""λ and window of snr; the divergences depend on the window of snr·λ alone, and these windows differ."""

EXACT = 1e-10
"""Relative difference allowed between a divergence and its closed form."""


def _angles(grid: Grid, variance: float) -> np.ndarray:
    return np.arctan(1.0 / np.sqrt(variance * grid.snr))


def _levels(b: np.ndarray, variance: float, snr: tuple[float, float]) -> Grid:
    levels = (1.0 / b - 1.0) / variance
    levels[[0, -1]] = snr
    return Grid.from_snr(levels)


def _ends(variance: float, snr: tuple[float, float]) -> tuple[float, float]:
    return 1.0 / (1.0 + variance * snr[0]), 1.0 / (1.0 + variance * snr[1])


def _between(coordinate: Callable[[float], float], steps: int, variance: float, snr: tuple[float, float]) -> np.ndarray:
    """K + 1 equal parts of a coordinate of b."""
    first, last = _ends(variance, snr)
    return np.linspace(coordinate(first), coordinate(last), steps + 1)


def log_sine(steps: int, variance: float, snr: tuple[float, float]) -> Grid:
    """log sin θ linear: geometric in 1 + γλ."""
    return _levels(np.geomspace(*_ends(variance, snr), steps + 1), variance, snr)


def sine(steps: int, variance: float, snr: tuple[float, float]) -> Grid:
    """sin θ linear."""
    return _levels(_between(np.sqrt, steps, variance, snr) ** 2, variance, snr)


def angle(steps: int, variance: float, snr: tuple[float, float]) -> Grid:
    """θ linear: the tangent law."""
    return _levels(np.sin(_between(lambda b: np.arcsin(np.sqrt(b)), steps, variance, snr)) ** 2, variance, snr)


def halved_square(steps: int, variance: float, snr: tuple[float, float]) -> Grid:
    """ρ_{k−1} = (1 + ρ_k²)/2 with ∏ρ_k = b_K/b_0: backwards from the last ratio, which that product decides."""
    from scipy.optimize import brentq

    first, last = _ends(variance, snr)

    def ratios(final: float) -> np.ndarray:
        found = [final]
        for _ in range(steps - 1):
            found.append(0.5 * (1.0 + found[-1] ** 2))
        return np.array(found[::-1])

    def excess(final: float) -> float:
        return float(np.log(ratios(final)).sum() - np.log(last / first))

    final = float(brentq(excess, 1e-12, 1.0 - 1e-12, xtol=1e-15, rtol=1e-14))  # type: ignore[arg-type]
    return _levels(first * np.concatenate([[1.0], np.cumprod(ratios(final))]), variance, snr)


def log_snr(steps: int, _variance: float, snr: tuple[float, float]) -> Grid:
    """log γ linear: no law of these."""
    return Grid.log_snr(steps, snr=snr)


def _law(variance: float) -> Gaussian:
    return Gaussian([0.5], [[variance]])


def _where(snr: tuple[float, float], steps: int) -> str:
    return f"snr {snr[0]:g} to {snr[1]:g}, K = {steps}"


def _apart(one: Grid, other: Grid) -> float:
    """Largest distance in log γ."""
    return float(np.abs(np.log(one.snr / other.snr)).max())


def _kl_of_shortfall(shortfall: float) -> float:
    """KL(N(0, 1) ‖ N(0, 1 − r)) = ½(r/(1 − r) + log(1 − r))."""
    return 0.5 * (shortfall / (1.0 - shortfall) + float(np.log1p(-shortfall)))


def tangent(full: bool, tolerance: float, *, best: Law = angle) -> list[Row]:
    """Marginal KL of ddim: the product of cosines on any grid, its limit and its best grid where θ is linear."""
    rows = []
    for variance, snr in CASES:
        law, family = _law(variance), f"N(0.5, {variance:g})"
        for steps, grid in ((5, log_snr(5, variance, snr)), (12, sine(12, variance, snr))):
            stretch = float(np.prod(np.cos(np.diff(_angles(grid, variance)))))
            measured = ratio(kl.marginal(law, samplers.ddim(grid)), _kl_of_shortfall(1.0 - stretch**2))
            quantity = "marginal KL of ddim ÷ ½(1/Π² − 1 + log Π²), Π = ∏cos Δθ_k"
            rows.append(near(family, _where(snr, steps), quantity, measured, 1.0, EXACT))
        steps = 1024
        grid = best(steps, variance, snr)
        turned = float(np.ptp(_angles(grid, variance)))
        share = scaled(kl.marginal(law, samplers.ddim(grid)), steps**2 / (0.25 * turned**4))
        rows.append(near(family, _where(snr, steps), "K²·marginal KL ÷ (Θ⁴/4)", share, 1.0, turned**2 / steps))
        for steps in (4, 16) if full else (6,):
            found = kl.marginal_optimal(law, samplers.ddim, steps=steps, snr=snr)
            apart = _apart(found.grid, best(steps, variance, snr))
            quantity = "largest |Δ log γ| between the grid searched for and θ linear"
            rows.append(near(family, _where(snr, steps), quantity, apart, 0.0, tolerance))
    return rows


def path_optimum(full: bool, tolerance: float, *, best: Law = log_sine) -> list[Row]:
    """Path KL of ddpm: the grid of dynamic programming and Newton against `best`, and the closed form there."""
    rows = []
    for variance, snr in CASES:
        law, family = _law(variance), f"N(0.5, {variance:g})"
        for steps in (4, 16, 64) if full else (5, 24):
            grid = best(steps, variance, snr)
            found = Grid.optimal(law, steps=steps, snr=snr)
            quantity = "largest |Δ log γ| between the grid computed and log sin θ linear"
            rows.append(near(family, _where(snr, steps), quantity, _apart(found, grid), 0.0, tolerance))
            share = float(np.log((1.0 + variance * snr[1]) / (1.0 + variance * snr[0]))) / steps
            predicted = 0.5 * steps * float(np.expm1(share) - share)
            measured = ratio(kl.path(law, samplers.ddpm(grid)), predicted)
            quantity = "path KL of ddpm ÷ (K/2)(e^{Λ/K} − 1 − Λ/K)"
            rows.append(near(family, _where(snr, steps), quantity, measured, 1.0, EXACT))
    return rows


def marginal_optimum(full: bool, tolerance: float, *, best: Law = halved_square) -> list[Row]:
    """Marginal KL of ddpm: the shortfall formula, the grid searched for against `best`, and sin θ linear as K → ∞."""
    rows = []
    for variance, snr in CASES:
        law, family = _law(variance), f"N(0.5, {variance:g})"
        grid = log_snr(9, variance, snr)
        b = np.sin(_angles(grid, variance)) ** 2
        shortfall = float((np.diff(b) ** 2 / b[:-1]).sum() / (1.0 - b[-1]))
        measured = ratio(kl.marginal(law, samplers.ddpm(grid)), _kl_of_shortfall(shortfall))
        quantity = "marginal KL of ddpm ÷ ½(r/(1 − r) + log(1 − r))"
        rows.append(near(family, _where(snr, 9), quantity, measured, 1.0, EXACT))
        for steps in (4, 16) if full else (6,):
            found = kl.marginal_optimal(law, samplers.ddpm, steps=steps, snr=snr)
            apart = _apart(found.grid, best(steps, variance, snr))
            quantity = "largest |Δ log γ| between the grid searched for and ρ_{k−1} = (1 + ρ_k²)/2"
            rows.append(near(family, _where(snr, steps), quantity, apart, 0.0, tolerance))
        steps = 2048
        grid = best(steps, variance, snr)
        s = np.sin(_angles(grid, variance))
        bent = float(np.abs(s - np.linspace(s[0], s[-1], steps + 1)).max())
        rows.append(near(family, _where(snr, steps), "largest distance of sin θ from linear", bent, 0.0, 10.0 / steps))
        limit = float(4.0 * (s[0] - s[-1]) ** 4 / (1.0 - s[-1] ** 2) ** 2)
        share = scaled(kl.marginal(law, samplers.ddpm(grid)), steps**2 / limit)
        quantity = "K²·marginal KL ÷ 4(s_0 − s_K)⁴/(1 − b_K)²"
        rows.append(near(family, _where(snr, steps), quantity, share, 1.0, 10.0 / steps))
    return rows


OBJECTIVES: dict[str, Callable[[Gaussian, Grid], Estimate]] = {
    "path KL of ddpm": lambda law, grid: kl.path(law, samplers.ddpm(grid)),
    "marginal KL of ddpm": lambda law, grid: kl.marginal(law, samplers.ddpm(grid)),
    "marginal KL of ddim": lambda law, grid: kl.marginal(law, samplers.ddim(grid)),
}
BEST: tuple[Law, ...] = (log_sine, halved_square, angle)
"""The best grids of `OBJECTIVES`, in their order."""


def three_optima(full: bool, tolerance: float, *, best: tuple[Law, ...] = BEST) -> list[Row]:
    """Each grid costs the other two objectives at least 1 + `tolerance` times what their own best grid does."""
    rows = []
    for variance, snr in CASES:
        law = _law(variance)
        for steps in (8, 32, 128) if full else (8, 64):
            grids = [make(steps, variance, snr) for make in best]
            for own, (objective, cost) in enumerate(OBJECTIVES.items()):
                costs = [cost(law, grid) for grid in grids]
                for other in range(len(grids)):
                    if other != own:
                        quantity = f"{objective}: best grid of {list(OBJECTIVES)[other]} ÷ its own"
                        measured = ratio(costs[other], costs[own])
                        rows.append(
                            at_least(f"N(0.5, {variance:g})", _where(snr, steps), quantity, measured, 1.0 + tolerance)
                        )
    return rows


CLAIMS = (
    Claim(
        "sun-poor-zhang/tangent-law",
        "Sun, Poor & Zhang 2601.13602",
        "Gaussian, probability flow by Euler in σ = √λ tan θ: standard deviation off by ∏cos Δθ_k; equal steps of θ are best",
        "marginal",
        ("Gaussian",),
        "KL as of ∏cos Δθ_k to 1e-10; K²·KL → Θ⁴/4 a coordinate; the grid searched for has θ linear",
        1e-4,
        tangent,
        Control("log γ linear in place of θ", {"best": log_snr}),
        formula=r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{DDIM}) = \psi\left(1 - \prod_k \cos^2(\theta_k - "
        r"\theta_{k+1})\right), \qquad \theta_k^{\star} = \theta_0 + \frac{k}{K} (\theta_K - \theta_0), "
        r"\qquad \lim_{K\to\infty} K^2 \mathrm{KL}_{\mathrm{marg}}(\mathrm{DDIM}; \theta^{\star}) = "
        r"\frac{(\theta_0 - \theta_K)^4}{4}",
        basis="our derivation",
        window="snr·λ 0.125 to 100, 0.05 to 20, 0.09 to 450",
        study="schedules",
    ),
    Claim(
        "gaussian/path-optimum",
        "re-derived here; the objective is that of arXiv 2601.21943",
        "ddpm's best grid for path KL on N(m, λ): log sin θ linear, geometric in 1 + γλ, at every K",
        "path",
        ("Gaussian",),
        "the grid computed agrees; path KL = (dK/2)(e^{Λ/K} − 1 − Λ/K)",
        1e-6,
        path_optimum,
        Control("the best grid of the marginal KL in its place", {"best": halved_square}),
        formula=r"1 + \gamma_k^{\star} \lambda = (1 + \gamma_0 \lambda)^{1 - k/K} (1 + \gamma_K \lambda)^{k/K}, "
        r"\qquad \mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}; \gamma^{\star}) = \frac{K}{2} \left(e^{\Lambda/K} "
        r"- 1 - \frac{\Lambda}{K}\right)",
        basis="our derivation",
        window="snr·λ 0.125 to 100, 0.05 to 20, 0.09 to 450",
        reference="reverse SDE",
        study="schedules",
    ),
    Claim(
        "gaussian/marginal-optimum",
        "derived here",
        "ddpm's best grid for marginal KL on N(m, λ): with b = sin²θ and ρ_k = b_{k+1}/b_k, ρ_{k−1} = (1 + ρ_k²)/2; "
        "sin θ linear as K → ∞",
        "marginal",
        ("Gaussian",),
        "the grid searched for agrees; K²·KL → 4(s_0 − s_K)⁴/(1 − b_K)² a coordinate",
        1e-4,
        marginal_optimum,
        Control("θ linear, the best of the probability flow, in its place", {"best": angle}),
        formula=r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{DDPM}) = \psi\left(\sum_k \frac{(b_k - b_{k+1})^2}{b_k (1 - "
        r"b_K)}\right), \qquad \frac{b_k^{\star}}{b_{k-1}^{\star}} = \frac{1}{2} \left(1 + "
        r"\left(\frac{b_{k+1}^{\star}}{b_k^{\star}}\right)^2\right), \qquad \lim_{K\to\infty} \max_k "
        r"\lvert\sin\theta_k^{\star} - \sin\theta_0 - \frac{k}{K} (\sin\theta_K - \sin\theta_0)\rvert = 0, "
        r"\qquad \lim_{K\to\infty} K^2 \mathrm{KL}_{\mathrm{marg}}(\mathrm{DDPM}; \theta^{\star}) = \frac{4 "
        r"(\sin\theta_0 - \sin\theta_K)^4}{(1 - b_K)^2}",
        basis="our derivation",
        window="snr·λ 0.125 to 100, 0.05 to 20, 0.09 to 450",
        study="schedules",
    ),
    Claim(
        "gaussian/three-optima",
        "derived here",
        "no two of the best grids for path KL of ddpm, marginal KL of ddpm and marginal KL of ddim agree",
        "several",
        ("Gaussian",),
        "each costs the other two objectives at least 1% more than their own best grid",
        0.01,
        three_optima,
        Control("the grids of the two marginal objectives exchanged", {"best": (log_sine, angle, halved_square)}),
        formula=r"Q_i(\gamma^{\star j}) \ge 1.01 Q_i(\gamma^{\star i}), \quad i \ne j, \qquad Q_1 = "
        r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}), \quad Q_2 = \mathrm{KL}_{\mathrm{marg}}(\mathrm{DDPM}), "
        r"\quad Q_3 = \mathrm{KL}_{\mathrm{marg}}(\mathrm{DDIM})",
        basis="our derivation",
        window="snr·λ 0.125 to 100, 0.05 to 20, 0.09 to 450",
        reference="reverse SDE (path), none needed (marginal)",
        study="schedules",
    ),
)
"""Best grids on one Gaussian."""

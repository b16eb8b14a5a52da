"""The theorems beside the two papers: how path KL grows with dimension and time for other frozen quantities.

Frozen score (Benton et al.).  On N(0, 1) a step of length h costs 2d(h − 1 + e^{-h}) ≈ d h², so that for h = c min(1, t) and
c → 0

    path KL → dc ∫ min(1, t) dt = dc (T − ½ − δ²/2),     c²dK + cdT → dc (2T − 1 + log(1/δ)).

Frozen relative score (Conforti, Durmus & Silveri): `bounds.conforti` has the proof of path KL ≤ h (FI_δ − FI_T), FI the
Fisher information relative to N(0, 1).  To first order in u = t_k − t the integrand is −(FI′ + 2FI) u, so that on equal steps
the ratio tends to ½ − ∫ FI dt/(FI_δ − FI_T).

Frozen denoiser (Potaptchik et al.; Huang, Wei & Chen).  `bounds.frozen_denoiser` proves path KL ≤ κ I(γ_K).  For a mixture
of components N(c_j, F_j F_jᵀ + v·1) with index J, F_j of rank r with squared singular values at most λ, the chain rule gives

    I(X; x)  ≤  H(J) + I(X; x given J)  ≤  H(J) + (r/2) log(1 + γλ) + (d/2) log(1 + γv),

since ½ log(1 + γ(v + s²)) ≤ ½ log(1 + γv) + ½ log(1 + γs²).  The ambient dimension enters through γv alone.  Freezing the
score costs, in a direction of variance v, what it costs on N(0, v), and for v → 0 that is not zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from targets import Estimate, Gaussian, GaussianMixture, NotAvailableError, Target
from verify import Grid, bounds, kl, rates, samplers
from verify.claims.claim import Claim, Control, Row, at_most, difference, from_fit, near, ratio, scaled
from verify.claims.laws import FULL, QUICK, law, plane_mixture
from verify.claims.mutate import Build, off

CORNERS = ((2.0, 1e-1), (2.0, 1e-4), (4.0, 1e-3), (6.0, 1e-1), (6.0, 1e-4))
"""Windows (T, δ) in OU time."""

RESOLVED = ((2.0, 1e-1), (6.0, 1e-1))
"""Those for smooth mixtures with a sampled curve: the error of γ²·mmse, in which Fisher information is read, grows beyond."""


def spread(full: bool) -> dict[str, Target]:
    """Laws of E‖X‖² about d, none of them a product."""
    found: dict[str, Target] = {"N(0, 1)": law("gaussian", variance=1.0, mean=0.0)}
    found |= {f"sphere, d = {d}": law("sphere", dim=d) for d in (3, 64)}
    found |= {f"codebook, d = {d}": law("codebook", full, dim=d) for d in (8, 32, 128)}
    found |= {f"Markov chain, d = {d}": law("bit_chain", full, length=d) for d in (8, 32)}
    return found | {"digits, d = 64": law("digits", full)}


def _windows(full: bool) -> list[tuple[float, float]]:
    return [(t, stop) for t in (2.0, 4.0, 6.0) for stop in (1e-1, 1e-2, 1e-3, 1e-4)] if full else list(CORNERS)


def _worst(family: str, quantity: str, found: Iterable[tuple[str, Estimate]], bound: float) -> Row:
    """The row of the largest ratio, its error counted in."""
    rows = [at_most(family, window, f"largest {quantity}", measured, bound) for window, measured in found]
    return min(rows, key=lambda row: row.margin - row.doubt)


def _path(target: Target, build: Build, grid: Grid, start: str = "exact") -> Estimate:
    """Path KL; the chain KL against the reverse chain, which is below it, where the steps discretise no reverse SDE."""
    table = build(grid)
    try:
        return kl.path(target, table, start=start)
    except NotAvailableError:
        return kl.chain(target, table, start=start)


def benton_ratio(full: bool, tolerance: float, *, build: Build = samplers.ei_sde) -> list[Row]:
    """Path KL from the prior over c²dK + cdT + d e^{−2T}: at most 1; and its limit on N(0, 1) within `tolerance`."""
    rows = []
    for name, target in spread(full).items():
        found = []
        for t, stop in _windows(full):
            for steps in (8, 64, 512) if full else (8, 512):
                grid = Grid.exponential_uniform(steps, ou_time=(t, stop))
                under = bounds.benton(grid, target.dim) + target.dim * np.exp(-2.0 * t)
                measured = ratio(_path(target, build, grid, "prior"), under)
                found.append((f"OU time {t:g} to {stop:g}, K = {steps}", measured))
        rows.append(_worst(name, "path KL ÷ (c²dK + cdT + d e^{−2T})", found, 1.0))
    normal, steps = law("gaussian", variance=1.0, mean=0.0), 8192
    for t, stop in ((4.0, 1e-3), (6.0, 1e-1)):
        grid = Grid.exponential_uniform(steps, ou_time=(t, stop))
        limit = (t - 0.5 - 0.5 * stop**2) / (2.0 * t - 1.0 - np.log(stop))
        measured = ratio(_path(normal, build, grid), bounds.benton(grid, normal.dim))
        window = f"OU time {t:g} to {stop:g}, K = {steps}, exact start"
        rows.append(near("N(0, 1)", window, "path KL ÷ (c²dK + cdT)", measured, limit, tolerance))
    return rows


def conforti_bound(full: bool, tolerance: float, *, build: Build = samplers.relative_score) -> list[Row]:
    """Path KL over h (FI_δ − FI_T) ≤ 1 on equal and on shrinking steps, and within `tolerance` of its limit on N(0, λ)."""
    laws: dict[str, Target] = {
        "curved mixture": law("curved_mixture"),
        "plane mixture": plane_mixture().refined(FULL if full else QUICK),
        "sphere, d = 3": law("sphere", dim=3),
        "sphere, d = 64": law("sphere", dim=64),
        "random centres, d = 8": law("random_centres", full),
        "codebook, d = 32": law("codebook", full, dim=32),
        "digits, d = 64": law("digits", full),
    }
    rows = []
    for name, target in laws.items():
        found = []
        smooth = isinstance(target, GaussianMixture) and target.dim > 1
        for t, stop in RESOLVED if smooth else _windows(full):
            for steps in (1, 2, 16, 128):
                for kind, schedule in (("equal", Grid.uniform_ou_time), ("h ∝ min(1, t)", Grid.exponential_uniform)):
                    grid = schedule(steps, ou_time=(t, stop))
                    measured = ratio(_path(target, build, grid), bounds.conforti(grid, target))
                    found.append((f"OU time {t:g} to {stop:g}, K = {steps}, {kind} steps", measured))
        rows.append(_worst(name, "path KL ÷ h(FI_δ − FI_T)", found, 1.0))
    return rows + [_conforti_limit(variance, build, tolerance) for variance in (0.25, 4.0)]


def _conforti_limit(variance: float, build: Build, tolerance: float) -> Row:
    """½ − ∫ FI dt/(FI_δ − FI_T) on equal steps as K → ∞; FI = (v − 1)²/v on N(0, λ), v = 1 + e^{−2t}(λ − 1)."""
    law_ = Gaussian([0.0], [[variance]])
    grid = Grid.uniform_ou_time(4096, ou_time=(2.0, 0.1))
    t = np.linspace(0.1, 2.0, 20001)
    width = 1.0 + np.exp(-2.0 * t) * (variance - 1.0)
    fisher = (width - 1.0) ** 2 / width
    limit = 0.5 - float(np.trapezoid(fisher, t)) / float(fisher[0] - fisher[-1])
    measured = ratio(_path(law_, build, grid), bounds.conforti(grid, law_))
    window = "OU time 2 to 0.1, K = 4096, equal steps"
    return near(f"N(0, {variance:g})", window, "path KL ÷ h(FI_δ − FI_T)", measured, limit, tolerance)


# ---- intrinsic dimension -----------------------------------------------------------------------------------------------

RANK, NOISE, STEPS, WINDOW = 2, 1e-8, 64, (4.0, 1e-3)
"""Rank and noise of each component, K, and the window in OU time."""

DIMENSIONS = (8, 16, 32, 64, 128)
"""The local exponents of the frozen score's path KL fall to 1 like 1/d: a power law fitted over them counts that as error."""


@cache
def planes(dim: int, full: bool) -> GaussianMixture:
    """dim/2 components, each on its own random plane, that together span R^dim: of rank 2 nowhere twice, and no embedding.

    Unit variance along each plane, centres of norm one, noise of variance 1e-8: nothing but dim and log(dim/2) grows.
    """
    rng, count = np.random.default_rng(dim), dim // 2
    factors = np.linalg.qr(rng.standard_normal((count, dim, RANK)))[0]
    centres = rng.standard_normal((count, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    mixture = GaussianMixture.low_rank(np.full(count, 1.0 / count), centres, factors, NOISE)
    return mixture.refined(FULL if full else QUICK)


def intrinsic(dim: int, snr: float) -> float:
    """H(J) + (r/2) log(1 + γλ) + (d/2) log(1 + γv) of `planes`, λ = 1."""
    return float(np.log(dim // 2) + 0.5 * RANK * np.log1p(snr) + 0.5 * dim * np.log1p(snr * NOISE))


def _exponent(found: dict[int, Estimate]) -> Estimate:
    """Slope in log d."""
    return from_fit(rates.fit(np.array(list(found), dtype=float), list(found.values())))


def denoiser_adapts(full: bool, tolerance: float, *, build: Build = samplers.ddpm) -> list[Row]:
    """Path KL over κ·(intrinsic information): at most 1 for each d, and its exponent in d within `tolerance` of 0."""
    grid = Grid.exponential_uniform(STEPS, ou_time=WINDOW)
    kappa, found, rows = bounds.frozen_denoiser(samplers.ddpm(grid), 1.0), {}, []
    window = f"OU time {WINDOW[0]:g} to {WINDOW[1]:g}, K = {STEPS}"
    for dim in DIMENSIONS:
        under = kappa * intrinsic(dim, float(grid.snr[-1]))
        found[dim] = ratio(_path(planes(dim, full), build, grid), under)
        family = f"{dim // 2} unlike planes, d = {dim}"
        quantity = "path KL ÷ κ(H(J) + (r/2)log(1+γλ) + (d/2)log(1+γv))"
        rows.append(at_most(family, window, quantity, found[dim], 1.0))
    family = f"d/2 unlike planes, d = {min(found)} to {max(found)}"
    return [*rows, near(family, window, "exponent of that ratio in d", _exponent(found), 0.0, tolerance)]


def score_pays(full: bool, tolerance: float, *, build: Build = samplers.ei_sde) -> list[Row]:
    """Exponent of path KL in d within `tolerance` of 1, and the growth over the last doubling within it of N(0, v)'s."""
    grid = Grid.exponential_uniform(STEPS, ou_time=WINDOW)
    window = f"OU time {WINDOW[0]:g} to {WINDOW[1]:g}, K = {STEPS}"
    found = {dim: _path(planes(dim, full), build, grid) for dim in DIMENSIONS}
    half, last = list(found)[-2:]
    null = kl.path(Gaussian([0.0], [[NOISE]]), samplers.ei_sde(grid))
    growth = ratio(difference(found[last], found[half]), scaled(null, last - half))
    family = f"d/2 unlike planes, d = {min(found)} to {max(found)}"
    quantity = "growth of path KL a direction ÷ path KL of ei_sde on N(0, v)"
    return [
        near(family, window, "exponent of path KL in d", _exponent(found), 1.0, tolerance),
        near(f"d/2 unlike planes, d = {half} to {last}", window, quantity, growth, 1.0, tolerance),
    ]


INTRINSIC = "Potaptchik et al. 2410.09046; Huang, Wei & Chen 2410.18784"

CLAIMS = (
    Claim(
        "benton/ratio-bounded",
        "Benton et al. 2308.03686",
        "path KL of ei_sde ≲ c²dK + cdT + d e^{−2T} for steps of at most c·min(1, t) in OU time and E‖X‖² of order d",
        "path",
        ("N(0, 1)", "sphere", "codebook", "Markov chain", "digits"),
        "ratio ≤ 1 for all; on N(0, 1) it tends to (T − ½ − δ²/2)/(2T − 1 + log(1/δ)), 0.25 at T = 4, δ = 1e-3",
        0.01,
        benton_ratio,
        Control("ei_sde with the denoiser's coefficient 10% too large", {"build": off(samplers.ei_sde, outputs=1.1)}),
        formula=r"\mathrm{KL}_{\mathrm{path}}(\mathrm{EI}) \le c^2 d K + c d T + d e^{-2T} \text{ from the prior}, \qquad "
        r"\lim_{K\to\infty} \frac{\mathrm{KL}_{\mathrm{path}}(\mathrm{EI})}{c^2 d K + c d T} = "
        r"\frac{T - \frac{1}{2} - \frac{1}{2} \delta^2}{2T - 1 + \log(1/\delta)} \text{ on } N(0, 1)",
        basis="our plain reading",
        window="OU time T = 2 to 6, δ = 1e-1 to 1e-4, K = 8 to 512, prior start; the limit: exact, K = 8192",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
    Claim(
        "conforti/relative-fisher",
        "Conforti, Durmus & Silveri 2308.12240",
        "path KL of relative_score ≤ (largest step in OU time)·(FI_δ − FI_T) at every K, FI the Fisher information relative "
        "to the standard normal law",
        "path",
        ("curved mixture", "plane mixture", "sphere", "random centres", "codebook", "digits", "Gaussian"),
        "ratio ≤ 1; on N(0, λ), equal steps, K → ∞ it is ½ − ∫FI dt/(FI_δ − FI_T)",
        0.01,
        conforti_bound,
        Control("the bound held against ei_sde", {"build": samplers.ei_sde}),
        formula=r"\mathrm{KL}_{\mathrm{path}}(\mathrm{RS}) \le \max_k (t_k - t_{k+1}) (\mathrm{FI}_{\delta} - "
        r"\mathrm{FI}_T), \qquad \lim_{K\to\infty} \frac{K \mathrm{KL}_{\mathrm{path}}(\mathrm{RS})}{(T - "
        r"\delta) (\mathrm{FI}_{\delta} - \mathrm{FI}_T)} = \frac{1}{2} - \frac{\int_{\delta}^{T} "
        r"\mathrm{FI}_t \mathrm{d}t}{\mathrm{FI}_{\delta} - \mathrm{FI}_T} \text{ on } N(0, \lambda) \text{, "
        r"equal steps}",
        basis="our derivation",
        window="OU time T = 2 to 6, δ = 1e-1 to 1e-4 (plane mixture: 1e-1), K = 1 to 128; limit: T = 2, δ = 0.1, K = 4096",
        reference="reverse SDE",
    ),
    Claim(
        "intrinsic/denoiser-adapts",
        INTRINSIC,
        "path KL of ddpm ≤ κ(H(J) + (r/2) log(1 + γ_K λ) + (d/2) log(1 + γ_K v)) for mixtures of components of rank r",
        "path",
        ("low-rank mixture",),
        "ratio ≤ 1 and exponent 0 in the ambient d",
        0.1,
        denoiser_adapts,
        Control("ei_sde in ddpm's place", {"build": samplers.ei_sde}),
        formula=r"Q = \frac{\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM})}{\kappa \left(H(J) + \frac{1}{2} r_J \log(1 + "
        r"\gamma_K \lambda) + \frac{1}{2} d \log(1 + \gamma_K v)\right)} \le 1, \qquad \frac{\partial\log "
        r"Q}{\partial\log d} = 0",
        basis="our derivation",
        window="OU time 4 to 1e-3, K = 64, d = 8 to 128",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
    Claim(
        "intrinsic/score-pays",
        INTRINSIC,
        "path KL of the exponential integrator with a frozen score grows with the ambient d, whatever the rank",
        "path",
        ("low-rank mixture",),
        "exponent 1 in d; each direction more costs what N(0, v) costs, to a tenth",
        0.1,
        score_pays,
        Control("ddpm in ei_sde's place", {"build": samplers.ddpm}),
        formula=r"\frac{\partial\log \mathrm{KL}_{\mathrm{path}}(\mathrm{EI})}{\partial\log d} = 1, \qquad "
        r"\frac{\mathrm{KL}_{\mathrm{path}}(\mathrm{EI}; d) - \mathrm{KL}_{\mathrm{path}}(\mathrm{EI}; "
        r"d/2)}{d/2} \approx \mathrm{KL}_{\mathrm{path}}(\mathrm{EI}) \text{ on } N(0, v)",
        basis="measured here",
        window="OU time 4 to 1e-3, K = 64, d = 8 to 128",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
)
"""Bounds of others."""

"""Claims on the rates of arXiv 2508.16306: the exponents of K, c, d and log(1/δ) in d²c³K, and what the noise step does.

Near a singular law of codimension n the state is, across it, N(0, 2t) as t → 0.  On t, te^{-c}, te^{-2c} the step multiplies
it by μ = ½(1 + e^{-2c}) and adds noise 2te^{-c}(1 − e^{-c}), where the flow multiplies by e^{-c}.  Per direction and step

    chain KL (flow+noise)   g(c) = e^c (1 − e^{-c})³/8             = c³/8 + O(c⁴)      every step costs the same
    marginal KL             ½(1/u − 1 + log u) → c²/4,  u = (1 − e^{-c})/(1 − μ²e^c)   fixed point, no growth with K

(μ²e^c = e^{-c}cosh²c; the fixed point exists while that is below one, for c < 1.218)

so that the chain's KL is linear in K at fixed c, n ℓ³/(8K²) as K → ∞ at given T and δ → 0, ℓ = log(1/δ) + T − 1, and
K* = (n/8)^{1/2} ℓ^{3/2}/ε: the power 3/2 of the logarithm is attained, with the codimension in place of d².  The marginal is
nℓ²/(4K²): one power of the logarithm in K* is enough for it.

An overshoot ρ multiplies the noise step at the same net step; ρ = 1 is published, 0 the flow alone.  On a given grid, as
ρ → 0, the gap E‖x_half,exact − x_half‖² of a step tends to that of the flow alone, which is positive off N(0, I), and the
variance 1 − e^{-2ρr} of its noise to 2ρr.  By A.1 the chain KL (flow+noise) is the sum of their quotients: ρ times it tends
to a positive constant.
"""

from __future__ import annotations

from functools import partial

from verify.claims.claim import Claim, Control
from verify.claims.flow_exponents import (
    SPHERES,
    check_bounded,
    check_dimension,
    check_logarithm,
    check_noise_step,
    check_overshoot,
    check_step_cost,
    check_steps,
)
from verify.claims.flow_rungs import FORMULA_OF, jain_zhang, overshooting
from verify.claims.mutate import off

PAPER = "arXiv 2508.16306, Theorem 3.1"
STATE_OFF = {"build": off(jain_zhang, state=1.01), "families": ("curved mixture",)}
LINES = ("curved mixture", "sphere, d = 3", "sphere, d = 30", "anisotropic Gaussian, d = 8")


def _in_steps(name: str, rung: str, order: int, statement: str, reference: str, basis: str, source: str) -> Claim:
    return Claim(
        id=name,
        source=source,
        statement=statement,
        rung="marginal" if rung == "marginal" else "chain",
        families=LINES,
        predicted=f"slope −{order} in K",
        tolerance=0.1,
        check=partial(check_steps, rung=rung, order=order),
        control=Control("coefficient of the state 1% off, curved mixture", STATE_OFF),
        formula=rf"\lim_{{K\to\infty}} \frac{{\partial\log {FORMULA_OF[rung]}(\mathrm{{JZ}})}}{{\partial\log K}} = -{order}",
        basis=basis,
        window="OU time 4 to 0.01, K = 16 to 54, limit of the local slopes",
        reference=reference,
        study="step_scaling",
    )


CLAIMS: tuple[Claim, ...] = (
    _in_steps(
        "jain-zhang/slope-K",
        "flow+noise",
        2,
        "at given T, δ, d: chain KL of flow step and noise ∝ K^−2, as its bound d²c³K with c ∝ 1/K",
        "flow+noise",
        "our plain reading",
        PAPER,
    ),
    _in_steps(
        "jain-zhang/slope-K-marginal",
        "marginal",
        2,
        "at given T, δ, d: KL(p_K‖q_K) ∝ K^−2: the bound's power of K is that of the marginal itself",
        "none needed",
        "our plain reading",
        PAPER,
    ),
    _in_steps(
        "jain-zhang/slope-K-reverse",
        "reverse",
        1,
        "against the reverse chain the same sampler's KL ∝ K^−1: the bound of order K^−2 does not hold on that rung",
        "reverse chain",
        "measured here",
        "Jain & Zhang's step against the true reverse kernels",
    ),
    Claim(
        id="jain-zhang/slope-c",
        source="derived here; arXiv 2508.16306, Theorem 3.1, has d²c³ a step",
        statement="at given c the chain KL grows linearly in K as δ → 0, by g(c) = e^c(1 − e^−c)³/8 a step and codimension; "
        "g(c) ∝ c³",
        rung="chain",
        families=("two points", "sphere, d = 3", "sphere, d = 30"),
        predicted="cost of a step ÷ g(c) = 1 + O(δ); slope 3 in c",
        tolerance=0.02,
        check=check_step_cost,
        control=Control(
            "noise 1% too large, two points", {"build": off(jain_zhang, noise=1.01), "families": ("two points",)}
        ),
        formula=r"Q = \frac{\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ}; \delta/10) - "
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ}; \delta)}{N} = \frac{1}{8} e^c (1 - e^{-c})^3, \qquad "
        r"\lim_{c\to 0} \frac{\partial\log Q}{\partial\log c} = 3, \qquad c = \frac{\log 10}{N}",
        basis="our derivation",
        window="two neighbouring decades of δ, 1e-3 and 1e-4; 6 to 16 steps a decade",
        reference="flow+noise",
        study="early_stopping",
    ),
    Claim(
        id="jain-zhang/slope-d",
        source=PAPER,
        statement="at given T, δ, K: growth in d stays below d²: no local exponent of chain KL (flow+noise) or "
        "marginal KL exceeds 2",
        rung="several",
        families=(*SPHERES, "spheres of radius d^1.5", "scale mixtures"),
        predicted="every local exponent of d ≤ 2",
        tolerance=0.0,
        check=check_dimension,
        control=Control(
            "coefficient of the state 1% off, spheres of radius d^1.5",
            {"build": off(jain_zhang, state=1.01), "families": ("spheres of radius d^1.5",)},
        ),
        formula=r"\frac{\partial\log \mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ})}{\partial\log d} \le 2, "
        r"\qquad \frac{\partial\log \mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ})}{\partial\log d} \le 2",
        basis="our plain reading",
        window="OU time 4 to 0.01; quick: K = 16, d = 3 to 300; full: K = 32, d = 3 to 1000",
        reference="flow+noise",
        study="dimension_scaling",
    ),
    Claim(
        id="jain-zhang/ratio",
        source=PAPER,
        statement="chain KL of flow step and noise ≤ d²c³K with constant one, and the ratio grows with none of K, d, 1/δ",
        rung="chain",
        families=("curved mixture", "two points", "sphere, d = 3", *SPHERES, "anisotropic Gaussian, d = 3 and 8"),
        predicted="ratio ≤ 1; exponents of the ratio in K, d and 1/δ ≤ 0",
        tolerance=0.1,
        check=check_bounded,
        control=Control("coefficient of the state 1% off", {"build": off(jain_zhang, state=1.01), "axes": ("K",)}),
        formula=r"Q = \frac{\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ})}{d^2 c^3 K} \le 1, \qquad "
        r"\frac{\partial\log Q}{\partial\log K} \le 0, \qquad \frac{\partial\log Q}{\partial\log d} \le 0, "
        r"\qquad \frac{\partial\log Q}{\partial\log (1/\delta)} \le 0",
        basis="our plain reading",
        window="OU time from 4; quick: to 1e-2 … 1e-4, d = 3 to 300; full: to 1e-1 … 1e-6, d = 3 to 1000; K = 16 to 54",
        reference="flow+noise",
        study="dimension_scaling",
    ),
    Claim(
        id="jain-zhang/log-three-halves",
        source=PAPER,
        statement="on laws of codimension n, K*(δ) ~ (n/8)^½ ℓ^{3/2}/ε for the chain: K²·KL = ℓ²(nℓ/8 + const), "
        "ℓ = log(1/δ) + T − 1",
        rung="chain",
        families=("Gaussian with one null direction", "two points"),
        predicted="8 Δ(lim K²·KL/ℓ²)/Δℓ = n, checked where n = 1, at every δ (log² would make it grow, log would make it 0)",
        tolerance=0.2,
        check=check_logarithm,
        control=Control(
            "noise step half as long again, Gaussian with one null direction",
            {"build": overshooting(1.5), "families": ("Gaussian with one null direction",)},
        ),
        formula=r"8 \frac{Q(\delta') - Q(\delta)}{\ell(\delta') - \ell(\delta)} = 1, \qquad Q(\delta) = "
        r"\lim_{K\to\infty} \frac{K^2 "
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ})}{\ell(\delta)^2}",
        basis="our derivation",
        window="OU time from 4 to 1e-3 … 1e-11, limits in K",
        reference="flow+noise",
        study="early_stopping",
    ),
    Claim(
        id="jain-zhang/log-three-halves-marginal",
        source=PAPER,
        statement="the marginal, too, needs K*(δ) ∝ log^{3/2}(1/δ) on laws singular at δ → 0",
        rung="marginal",
        families=("Gaussian with one null direction", "two points"),
        predicted="8 Δ(lim K²·KL/ℓ²)/Δℓ = 1 (0 would be one power of the logarithm in K*)",
        tolerance=0.2,
        check=partial(check_logarithm, rung="marginal"),
        control=Control(
            "the chain against flow+noise, noise step half as long again, Gaussian with one null direction",
            {
                "rung": "flow+noise",
                "build": overshooting(1.5),
                "families": ("Gaussian with one null direction",),
            },
        ),
        contrast=Control("the chain against flow+noise", {"rung": "flow+noise"}),
        formula=r"8 \frac{Q(\delta') - Q(\delta)}{\ell(\delta') - \ell(\delta)} = 1, \qquad Q(\delta) = "
        r"\lim_{K\to\infty} \frac{K^2 \mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ})}{\ell(\delta)^2}",
        basis="our plain reading",
        window="OU time from 4 to 1e-3 … 1e-11, limits in K",
        study="early_stopping",
    ),
    Claim(
        id="jain-zhang/marginal-without-noise",
        source="arXiv 2508.16306, Algorithm 1",
        statement="at the same net step the marginal's K^−2 needs no noise step: it holds at overshoot 0, ½, 1 and 2",
        rung="marginal",
        families=("curved mixture", "sphere, d = 3", "anisotropic Gaussian, d = 8"),
        predicted="slope −2 in K at every overshoot",
        tolerance=0.1,
        check=check_noise_step,
        control=Control("coefficient of the state 1% off, curved mixture", STATE_OFF | {"overshoots": (None,)}),
        formula=r"\lim_{K\to\infty} \frac{\partial\log \mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}_{\rho})}{\partial\log "
        r"K} = -2, \qquad \rho = 0, \frac{1}{2}, 1, 2",
        basis="measured here",
        window="OU time 4 to 0.01, K = 16 to 54 (full: 24 to 81), limit of the local slopes",
        study="noise_step",
    ),
    Claim(
        id="jain-zhang/noise-gives-rate",
        source="arXiv 2508.16306, Algorithm 1",
        statement="the marginal's rate needs the noise step: without it the marginal KL falls like K^−1",
        rung="marginal",
        families=("curved mixture", "sphere, d = 3", "anisotropic Gaussian, d = 8"),
        predicted="slope −1 in K at overshoot 0, to within ½",
        tolerance=0.5,
        check=partial(check_noise_step, overshoots=(0.0,), order=1),
        control=Control(
            "the chain against the reverse chain, coefficient of the state 1% off, curved mixture",
            STATE_OFF | {"rung": "reverse", "overshoots": (None,)},
        ),
        contrast=Control(
            "the chain against the reverse chain, with the noise step", {"rung": "reverse", "overshoots": (1.0,)}
        ),
        formula=r"\lim_{K\to\infty} \frac{\partial\log \mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}_{\rho})}{\partial\log "
        r"K} = -1, \qquad \rho = 0",
        basis="our plain reading",
        window="OU time 4 to 0.01, K = 16 to 54 (full: 24 to 81), limit of the local slopes",
        study="noise_step",
    ),
    Claim(
        id="jain-zhang/noise-gives-reference",
        source="arXiv 2508.16306, Algorithm 1",
        statement="what needs the noise step is the reference: chain KL (flow+noise) ∝ 1/ρ as the overshoot ρ → 0",
        rung="chain",
        families=("curved mixture", "anisotropic Gaussian, d = 8"),
        predicted="slope 1 in 1/ρ",
        tolerance=0.05,
        check=check_overshoot,
        control=Control("the marginal, which needs no reference", {"rung": "marginal"}),
        formula=r"\lim_{\rho\to 0} \frac{\partial\log "
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ}_{\rho})}{\partial\log (1/\rho)} = 1",
        basis="our derivation",
        window="OU time 4 to 0.01, K = 24, overshoot 1/16 to 1/128",
        reference="flow+noise",
        study="noise_step",
    ),
)

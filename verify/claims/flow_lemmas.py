"""Claims on the lemmas of Jain & Zhang (arXiv 2508.16306): one step of flow and noise.

Two intervals of OU time, u_j > u_{j+1} > u_{j+2}, H = u_j − u_{j+2}, r = u_{j+1} − u_{j+2}.  Variant "score" of a step is the
published one, as transcribed; "z_score" holds the score of z = e^t x instead.  What is proved here is derived where it is
checked: A.9 and A.11 in flow_scores.py, A.4 in flow_halves.py, the rest in flow_steps.py.
"""

from __future__ import annotations

from verify.claims.claim import Claim, Control
from verify.claims.flow_halves import check_gaussian_half, check_z_score_half
from verify.claims.flow_scores import check_score_decay, check_score_evolution
from verify.claims.flow_steps import (
    Z_SCORE,
    check_local_error,
    check_marginal_below_chain,
    check_one_step,
    check_variants,
)
from verify.claims.mutate import off
from verify.samplers import jain_zhang

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="jain-zhang/A.1",
        source="arXiv 2508.16306, Lemma A.1",
        statement="one step, from a given state, costs e^(−2r)‖x_half,exact − x_half‖² / (2(1 − e^(−2r))) against flow+noise",
        rung="local",
        families=("curved mixture", "plane mixture", "sphere, d = 3"),
        predicted="ratio 1, at given states and on average",
        tolerance=1e-7,
        check=check_one_step,
        control=Control("noise 5% too large", {"build": off(jain_zhang, noise=1.05)}),
        formula=r"\mathrm{KL}_{\mathrm{local}}(x) = \frac{e^{-2r} \lVert x_{\mathrm{half}}^{\ast} - "
        r"x_{\mathrm{half}}\rVert^2}{2 (1 - e^{-2r})}, \qquad "
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ}) = \mathbb{E} "
        r"\mathrm{KL}_{\mathrm{local}}(x) \quad\text{for one step}",
        basis="identity",
        window="OU time 0.55 to 0.45 and 0.1 to 0.05, one step",
        reference="flow+noise",
    ),
    Claim(
        id="jain-zhang/A.2",
        source="arXiv 2508.16306, Lemma A.2",
        statement="the last law is no further off than the start and all transitions together: marginal KL ≤ KL_init + chain "
        "KL against flow+noise",
        rung="several",
        families=("curved mixture", "sphere, d = 3 and 30", "scale mixture, d = 3"),
        predicted="marginal KL ÷ chain KL at most 1",
        tolerance=0.0,
        check=check_marginal_below_chain,
        control=Control(
            "marginal KL of a table whose noise is 5% too large, against the right table's chain KL",
            {"marginal_of": off(jain_zhang, noise=1.05)},
        ),
        formula=r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}) \le \mathrm{KL}_{\mathrm{init}} + \sum_k \mathbb{E} "
        r"\mathrm{KL}_{\mathrm{local}}(x_k)",
        basis="our derivation",
        window="OU time 3 to 0.05, K = 8 and 24 (full: 32 too)",
        reference="flow+noise",
        study="step_scaling",
    ),
    Claim(
        id="jain-zhang/A.9",
        source="arXiv 2508.16306, Lemma A.9",
        statement="∂_t s = e^(2t)(Δs + 2(∇s)ᵀs), s the score of z = e^t x",
        rung="curve",
        families=("plane mixture", "5 points, d = 3", "sphere, d = 3"),
        predicted="relative residual 0",
        tolerance=1e-6,
        check=check_score_evolution,
        control=Control("right side of a law with tilted weights, or another radius", {"tilt": 0.1}),
        formula=r"\partial_t s = e^{2t} \left(\Delta s + 2 (\nabla s)^{\top} s\right)",
        basis="identity",
        window="OU time 0.1, 0.5 and 1.5",
    ),
    Claim(
        id="jain-zhang/A.11",
        source="arXiv 2508.16306, Lemma A.11",
        statement="d/dt E‖s‖² = −2e^(2t) E‖∇s‖_F², s the score of z = e^t x",
        rung="curve",
        families=("plane mixture", "5 points, d = 3", "64 points, d = 8"),
        predicted="ratio 1 (to 2% with simulated expectations)",
        tolerance=1e-7,
        check=check_score_decay,
        control=Control("right side of a law with tilted weights", {"tilt": 0.1}),
        formula=r"\frac{\mathrm{d}}{\mathrm{d}t} \mathbb{E}\lVert s\rVert^2 = -2 e^{2t} \mathbb{E}\lVert\nabla "
        r"s\rVert_F^2",
        basis="identity",
        window="OU time 0.5, and 0.4 in d = 8",
    ),
    Claim(
        id="jain-zhang/A.4-transcribed",
        source="arXiv 2508.16306, Lemma A.4",
        statement="E‖z_half − z̃_half‖² ≤ ½H³∫e^(4t) E‖s′‖²dt for the step as transcribed (variant score)",
        rung="local",
        families=("N(0, 3)", "N(0, 25)"),
        predicted="left ÷ right at most 1; here about ½(λ − 1)² at small times, beyond 1",
        tolerance=1e-8,
        check=check_gaussian_half,
        control=Control("variant z_score, denoiser's coefficient 2% too large", {"build": off(Z_SCORE, outputs=1.02)}),
        contrast=Control("variant z_score", {"build": Z_SCORE}),
        formula=r"\mathbb{E}\lVert z_{\mathrm{half}} - \tilde z_{\mathrm{half}}\rVert^2 \le \frac{1}{2} (u_j - "
        r"u_{j+2})^3 \int_{u_{j+2}}^{u_j} e^{4t} \mathbb{E}\lVert s'\rVert^2 \mathrm{d}t \quad\text{for JZ}",
        basis="transcribed",
        window="u_{j+2} = H = 0.05",
        reference="probability flow",
    ),
    Claim(
        id="jain-zhang/A.4-z-score",
        source="arXiv 2508.16306, Lemma A.4",
        statement="E‖z_half − z̃_half‖² ≤ ⅓H³∫e^(4t) E‖s′‖²dt for variant z_score, ¼H³∫… on Gaussians",
        rung="local",
        families=("N(0, λ), λ = 0.01 to 25", "curved mixture", "plane mixture", "sphere, d = 3"),
        predicted="left ÷ the lemma's right side at most ⅔, on Gaussians ½",
        tolerance=1e-6,
        check=check_z_score_half,
        control=Control("denoiser's coefficient 2% too large", {"build": off(Z_SCORE, outputs=1.02)}),
        formula=r"\mathbb{E}\lVert z_{\mathrm{half}} - \tilde z_{\mathrm{half}}\rVert^2 \le \frac{1}{3} (u_j - "
        r"u_{j+2})^3 \int_{u_{j+2}}^{u_j} e^{4t} \mathbb{E}\lVert s'\rVert^2 \mathrm{d}t \quad\text{for } "
        r"\mathrm{JZ}_z, \qquad \frac{1}{4} \text{ in place of } \frac{1}{3} \text{ on } N(0, \lambda)",
        basis="our derivation",
        window="OU time 2 to 1, 0.55 to 0.45, 0.1 to 0.05",
        reference="probability flow",
    ),
    Claim(
        id="jain-zhang/local-error",
        source="arXiv 2508.16306, Lemmas A.1 and A.4; 2308.03686 for the reverse SDE",
        statement="chain KL of one step is h³e^(2t)E‖s′ + s‖² to first order; path KL of one step of ei_sde and ddpm O(h²)",
        rung="local",
        families=("curved mixture", "sphere, d = 3"),
        predicted="slopes −3, −2, −2 in 1/h; constant's ratio 1",
        tolerance=0.05,
        check=check_local_error,
        control=Control("denoiser's coefficient 1% too large", {"build": off(jain_zhang, outputs=1.01)}),
        formula=r"\lim_{h\to 0} \frac{\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ})}{h^3 e^{2t} "
        r"\mathbb{E}\lVert s' + s\rVert^2} = 1, \qquad \frac{\partial\log "
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ})}{\partial\log h} = 3, \qquad "
        r"\frac{\partial\log \mathrm{KL}_{\mathrm{path}}(\mathrm{EI})}{\partial\log h} = \frac{\partial\log "
        r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM})}{\partial\log h} = 2 \quad\text{for one step}",
        basis="our derivation",
        window="one step from OU time ½, h = t/32 to t/512 (full: t/1024)",
        reference="flow+noise (chain), reverse SDE (path)",
        study="step_scaling",
    ),
    Claim(
        id="jain-zhang/z-score-no-better",
        source="arXiv 2508.16306, Algorithm 1",
        statement="neither variant is the better one: z_score, which obeys Lemma A.4, has the larger chain KL on the curved "
        "mixture and on spheres, the smaller on Gaussians with λ − 1 > e^(2T); locally E‖s′‖² against E‖s′ + s‖²",
        rung="chain",
        families=("curved mixture", "sphere, d = 3", "N(0, 1000)"),
        predicted="chain KL of z_score ÷ of score ≥ 1 on the curved laws, ≤ 1 on N(0, 1000); of one short step "
        "E‖s′‖²/E‖s′ + s‖²",
        tolerance=0.05,
        check=check_variants,
        control=Control("denoiser's coefficient of z_score 1% too large", {"one": off(Z_SCORE, outputs=1.01)}),
        formula=r"Q = \frac{\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ}_z)}"
        r"{\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ})}, \qquad "
        r"Q \ge 1 \text{ on the curved laws}, \qquad Q \le 1 \text{ on } N(0, 1000), \qquad "
        r"Q = \frac{\mathbb{E}\lVert s'\rVert^2}{\mathbb{E}\lVert s' + s\rVert^2} \text{ for one short step}",
        basis="measured here",
        window="OU time 3 to 0.05, K = 8 (full: 8 and 32); one step from 0.5 and 1.5",
        reference="flow+noise",
    ),
)

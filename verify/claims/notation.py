r"""The symbols of the formulas of claims, each with one meaning.

X is a draw of the target in R^d, and x = αX + σZ, γ = α²/σ², with Z ~ N(0, I).  Levels are numbered in sampling order, from 0
(noisiest) to K.  In OU time α = e^{-t}, σ² = 1 − e^{-2t} and γ = 1/(e^{2t} − 1).

Formulas keep to what MathJax, KaTeX and latex2mathml all know, and to what Markdown leaves alone: a backslash before letters
only, `\lvert` and `\lbrace` in place of | and \{, and no line breaks.
"""

from __future__ import annotations

SYMBOLS: tuple[tuple[str, str], ...] = (
    (r"\mathrm{KL}_{\mathrm{path}}", "path KL, against the reverse SDE; for DDPM it is also the chain KL (reverse)"),
    (r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{rev}}", "chain KL against the true reverse chain"),
    (
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}",
        "chain KL against flow+noise: the exact flow, then the sampler's noise",
    ),
    (r"\mathrm{KL}_{\mathrm{marg}}", "marginal KL, between the laws at the last level"),
    (r"\mathrm{KL}_{\mathrm{local}}(x)", "KL between the transitions of one step from the state x, against flow+noise"),
    (r"\mathrm{KL}_{\mathrm{init}}", "KL between the laws of the first level; 0 where the start is exact"),
    (r"\mathrm{DDPM}", "frozen denoiser (`ddpm`)"),
    (r"\mathrm{EI}", "frozen score (`ei_sde`)"),
    (r"\mathrm{RS}", "frozen score relative to the standard normal law (`relative_score`)"),
    (r"\mathrm{DDIM}", "probability flow by Euler steps in σ/α (`ddim`)"),
    (r"\mathrm{EM}", "Euler–Maruyama (`euler_maruyama`)"),
    (r"\mathrm{PC}", "predictor–corrector (`predictor_corrector`)"),
    (r"\mathrm{JZ}", "flow step, then noise, of arXiv 2508.16306 (`jain_zhang`)"),
    (r"\mathrm{JZ}_z", "the same, holding the score of z (variant `z_score`)"),
    (r"\mathrm{JZ}_{\rho}", "the same with ρ times the published noise step; 1 is published, 0 the flow alone"),
    (r"X", "a draw of the target"),
    (r"d", "dimension of the target"),
    (r"\mathbb{E}", "expectation under the true law"),
    (r"N(0, \lambda)", "centred Gaussian law of variance λ"),
    (r"\gamma", "signal-to-noise ratio, `snr`; levels increase from the first to the last, number K"),
    (r"K", "number of steps"),
    (r"h_k = \gamma_{k+1} - \gamma_k", "step in snr"),
    (r"\mathrm{mmse}(\gamma)", "least mean square error of X at this snr, summed over coordinates"),
    (r"\hat m_k", "the sampler's denoiser at level k; exact where the formula does not name it"),
    (r"I(\gamma) = \frac{1}{2} \int_0^{\gamma} \mathrm{mmse}", "mutual information of X and its noised state, in nats"),
    (r"H", "Shannon entropy of the target, in nats"),
    (r"H_{1/2}", "Rényi entropy of order ½, in nats"),
    (r"J", "component that a draw of a mixture comes from; H(J) is its entropy"),
    (
        r"S = \int_{\gamma_0}^{\gamma_K} \sqrt{-\mathrm{mmse}'(\gamma)} \mathrm{d}\gamma",
        "discretisation length of the window",
    ),
    (r"S_C", "the same of the components' centres, over every snr"),
    (r"\rho(\gamma)", "density of the grid's levels in snr, of integral 1"),
    (r"\kappa = \max_k h_k / \gamma_k", "largest relative step in snr"),
    (r"v", "variance of the isotropic noise of each component"),
    (r"r_J", "rank of a component"),
    (r"\lambda", "variance of a Gaussian, or of a component along its plane"),
    (r"\Lambda = \log\frac{1 + \gamma_K \lambda}{1 + \gamma_0 \lambda}", "length of the window on a Gaussian"),
    (r"p_i", "weight of atom i"),
    (r"p", "probability of a rare bit"),
    (r"n", "size of a family: its atoms, or decimals of p"),
    (r"t", "Ornstein–Uhlenbeck time, `ou_time`; for one step, where it starts"),
    (r"T", "time of the first level"),
    (r"\delta", "time of the last level"),
    (r"\ell(\delta) = \log(1/\delta) + T - 1", "length of the window in units of min(1, t)"),
    (
        r"c = \max_k \frac{t_k - t_{k+1}}{\min(1, t_k)}",
        "largest relative step in OU time, κ in Benton et al.; where N is named, the step of log t",
    ),
    (r"N", "steps a decade of OU time"),
    (r"u_j", "OU times of a step of JZ: the flow goes from number j to j + 2, the noise back to j + 1"),
    (r"r = u_{j+1} - u_{j+2}", "length of that noise step"),
    (r"h = u_j - u_{j+1}", "length of one step in OU time"),
    (r"x_{\mathrm{half}}^{\ast}", "the state after the exact flow"),
    (r"x_{\mathrm{half}}", "the state after the sampler's step for the flow"),
    (r"z_{\mathrm{half}}, \tilde z_{\mathrm{half}}", "the same two in z = e^t x, exact and the sampler's"),
    (r"s", "score of z = e^t x at time t"),
    (r"s'", "its derivative in t along the flow"),
    (r"\nabla, \Delta", "gradient and Laplacian in z; the index F is Frobenius's norm"),
    (r"\varepsilon_s", "T times its square is Σ (t_k − t_{k+1}) times the mean square error of the score of x"),
    (r"\mathrm{FI}_t", "Fisher information of the noised law relative to the standard normal law"),
    (r"\tan\theta_k = 1 / \sqrt{\gamma_k \lambda}", "angle of a level on a Gaussian"),
    (r"b_k = \sin^2\theta_k", "share of noise in the variance of the state"),
    (r"\psi(x) = \frac{1}{2} \left(\frac{x}{1 - x} + \log(1 - x)\right)", "KL of N(0, 1) from N(0, 1 − x)"),
    (r"\gamma^{\star}, \theta^{\star}, b^{\star}", "the grid of least KL for the sampler, in these coordinates"),
    (r"K^{\ast}", "least number of steps that reaches a level of KL"),
    (r"\varepsilon", "root of that level, which the rows name"),
    (r"Q", "what the formula defines it to be"),
)
"""(LaTeX, meaning); `docs/claims.md` prints them above the claims."""

READING = (
    "Formulas say what is compared.  An equality, a bound or a limit is held on the families and the window of the claim,",
    "within the interval that each row allows; ∂ log/∂ log is a local or a fitted exponent, and a limit is extrapolated, or",
    "taken at the largest K.  The start is exact where a formula has neither the KL of the first level nor a prior start.",
)
"""How a formula is to be read."""

"""What a look by hand found behind lines that do not conform and failures as shipped: whose fault it is, and why.

Each holds for the version that was read; another version has no remark until somebody has looked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """`said` of a class of a library, where all `parts` occur in its label."""

    library: str
    version: str
    name: str
    parts: tuple[str, ...]
    said: str


D2 = (
    "the library. Its second difference is half of what the formula of third order needs, as the "
    "divided difference over two "
    "steps is h²m″/2: with a factor of two the eased order is 3.0"
)
SIGN = (
    "the library. In the term of the second difference − 1/2 stands where + 1/2 is needed; with that "
    "sign mended, and no "
    "other change, the weak order is 2"
)
STAGES = (
    "the library, as we read it. The steps of a block start again from its first state with fresh "
    "noise, independent of the "
    "noise at which the denoiser was asked, so that stages and noise do not belong together"
)
CHURN = (
    "the library. It adds noise of size √(σ̂² − σ²) as for variance-exploding states; with flow "
    "matching the signal has to be "
    "scaled down as well. On N(0, 1) the standard deviation ends at 2.28 instead of 1"
)
LOCAL = "the code has no term for it: the branch for this algorithm at third order is missing, and a name stays unbound"

REMARKS = (
    Remark(
        "azula",
        "0.11.1",
        "REABSampler",
        (),
        (
            "the library. Its integral is scaled by √(α_s² + σ_t²), where its own formula has σ_s; "
            "with that one symbol changed "
            "orders 2 and 3 measure 1.99 and 2.96"
        ),
    ),
    Remark("k-diffusion", "0.1.1.post1", "sample_dpmpp_3m_sde", ("eta=0.0",), D2),
    Remark("diffusers", "0.42.1", "DPMSolverMultistepScheduler", ("solver_order=3", "sde-dpmsolver++"), SIGN),
    Remark("diffusers", "0.42.1", "DPMSolverMultistepScheduler", ("solver_order=3", "'sde-dpmsolver'"), LOCAL),
    Remark("diffusers", "0.42.1", "EDMDPMSolverMultistepScheduler", ("solver_order=3", "sde-dpmsolver++"), LOCAL),
    Remark("diffusers", "0.42.1", "DPMSolverMultistepScheduler", ("solver_order=3",), D2),
    Remark("diffusers", "0.42.1", "EDMDPMSolverMultistepScheduler", ("solver_order=3",), D2),
    Remark(
        "diffusers",
        "0.42.1",
        "DPMSolverSinglestepScheduler",
        ("sde-dpmsolver++", "solver_order=3", "heun"),
        (
            "the library. The sign of the multistep solver's second difference is wrong here too, "
            "and the law diverges: at K = 480 "
            "the variance is 55 times the right one"
        ),
    ),
    Remark("diffusers", "0.42.1", "DPMSolverSinglestepScheduler", ("sde-dpmsolver++",), STAGES),
    Remark(
        "diffusers",
        "0.42.1",
        "IPNDMScheduler",
        (),
        (
            "the library's documentation. Its weights are those of equal steps in σ/α, and they are "
            "of fourth order on such grids "
            "only; and there its start, one step of Euler's method, leaves order 2"
        ),
    ),
    Remark("diffusers", "0.42.1", "FlowMatchHeunDiscreteScheduler", ("s_churn",), CHURN),
    Remark(
        "diffusers",
        "0.42.1",
        "KarrasVeScheduler",
        (),
        (
            "the method's parameters. At its defaults s_noise = 1.007 inflates the noise that is "
            "added, on purpose, which no number "
            "of steps removes; with s_noise = 1 it is of order 2"
        ),
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "DDPMScheduler",
        ("fixed_large_log",),
        "the library. It takes the root of log β, which is negative",
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "DDPMParallelScheduler",
        ("fixed_large_log",),
        ("the library. It takes the root of log β, which is negative"),
    ),
    Remark(
        "flow-matching",
        "1.0.10",
        "ODESolver",
        ("implicit_adams",),
        ("the grid. torchdiffeq's weights are those of equal steps in t; there it is of the declared order"),
    ),
    Remark(
        "flow-matching",
        "1.0.10",
        "ODESolver",
        ("explicit_adams",),
        (
            "the method. Adams-Bashforth of order 11 is unstable here up to K = 256, and its weights "
            "are those of equal steps in t"
        ),
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "SASolverScheduler",
        ("predictor_order=4",),
        (
            "the library's arithmetic. It writes Lagrange's polynomials in powers of λ, and their integrals cancel: with "
            "data prediction errors stop at 2e-8 from K = 384 on even in float64, and its own float32 is off by up to 0.2. "
            "With the same integrals by quadrature local orders at K = 768 on eased grids are 3.8 with data prediction "
            "and on the Gaussian 4.1 with noise prediction; the first steps leave 3 on uniform grids"
        ),
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "SASolverScheduler",
        ("predictor_order=1", "tau = 1"),
        (
            "neither. With one point the corrector is the implicit step of first order; on uniform grids its error is "
            "1.52/K − 11/K², so that local orders rise to 1 from below: 0.94, 0.97 at K = 192, 384 (eased: 0.87, 0.94)"
        ),
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "SASolverScheduler",
        ("SASolverScheduler(algorithm_type='noise_prediction', tau_func=tau = 0)",),
        (
            "neither. Local orders on the curved mixture still rise at K = 192: 1.89, 1.95, 1.97 at K = 192, 384, 768, on "
            "uniform and eased grids"
        ),
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "UniPCMultistepScheduler",
        ("solver_order=3",),
        (
            "neither; it is of the declared order 4, and K = 192 is too few to bracket it. Local orders on eased grids at "
            "K = 384, 768: 3.94, 3.97 (curved mixture), 4.01, 4.01 (Gaussian). A predictor with a local error of h⁴ under a "
            "corrector leaves h⁵; the first step, of one point, leaves h³ once, which is order 3 on uniform grids"
        ),
    ),
    Remark(
        "diffusers",
        "0.42.1",
        "EDMEulerScheduler",
        ("s_churn",),
        ("neither. The churn is spread over K steps, and local orders still rise: 0.94 at K = 256"),
    ),
)


def remark(library: str, label: str, version: str | None) -> str:
    """The sentence for a line, or nothing; the first remark that fits."""
    for one in REMARKS:
        named = label == one.name or label.startswith(f"{one.name}(")
        if (one.library, one.version) == (library, version) and named and all(part in label for part in one.parts):
            return f" Read by hand: {one.said}."
    return ""

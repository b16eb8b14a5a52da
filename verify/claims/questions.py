"""Questions that arXiv 2508.16306 leaves open, with what the rows say; no verdict closes them.

Below d/ε: the least K with KL ≤ ε², K*(d), at given ε, by rung.  A sampler whose K* grows with a lower power of d than the
first on some family answers for that family and rung only.  Against the reverse chain one Gaussian step in place of the true
kernel costs d/2·(σ_q²/s² − 1 − log(σ_q²/s²)) and more: a noise s that is not the posterior's pays for every dimension.

Without noise: at the same net step, the flow alone against the flow with its noise step.

In practice: at equal evaluations of the denoiser, against ddpm, ei_sde, Euler–Maruyama and a predictor–corrector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from targets import Estimate, Target
from verify import samplers
from verify.claims.claim import Claim, Control, Row, at_most, ratio
from verify.claims.flow_exponents import IN_DIMENSION, LAWS
from verify.claims.flow_rungs import WINDOW, divergence, jain_zhang, overshooting, reach_exponent, shown, table
from verify.claims.laws import law
from verify.claims.mutate import Build, off
from verify.step import Table

ALONE = overshooting(0.0)

SOURCE = "arXiv 2508.16306, open questions"

Family = tuple[str, Callable[[int, bool], Target], tuple[int, ...], tuple[int, ...]]
"""(name, the law by d in its quick or full form, the quick d, the full ones)."""


def _points(dim: int, full: bool) -> Target:
    return law("orthogonal_points", full, n=dim)


def _spheres(name: str) -> Family:
    return name, lambda dim, _: IN_DIMENSION[name](dim), (30, 100), (3, 30, 300, 3000)


SMALL, LARGE = _spheres("spheres of radius ½√d"), _spheres("spheres of radius 2√d")
POINTS: Family = ("orthogonal points", _points, (8, 32), (8, 32, 128, 512))

Case = tuple[Family, Build, str, int, float]
"""(family, sampler, rung, order of its fall with K, ε²)."""

FREE: tuple[Case, ...] = (
    (SMALL, jain_zhang, "marginal", 2, 0.05),
    (LARGE, jain_zhang, "marginal", 2, 0.05),
    (SMALL, jain_zhang, "flow+noise", 2, 0.2),
    (POINTS, samplers.ddpm, "path", 1, 0.1),
)
FREE_IN_FULL: tuple[Case, ...] = ((LARGE, jain_zhang, "flow+noise", 2, 0.2),)
REVERSE: tuple[Case, ...] = (
    (SMALL, jain_zhang, "reverse", 1, 0.1),
    (LARGE, jain_zhang, "reverse", 1, 0.1),
    (POINTS, jain_zhang, "reverse", 1, 0.1),
)


def _others(build: Build, rung: str, *families: Family) -> tuple[Case, ...]:
    return tuple((family, build, rung, 1, 0.1) for family in families)


def check_dimension_of_steps(
    full: bool, tolerance: float, *, cases: Sequence[Case], more_cases: Sequence[Case] = ()
) -> list[Row]:
    """Exponent of d in K*(d) between the two largest dimensions, at most `1 − tolerance`; `more_cases` in the full form."""
    rows = []
    for family, build, rung, order, level in (*cases, *more_cases) if full else cases:
        name, _, quick, more = family
        dims = quick if not full else more[:-1] if order == 2 else more
        power = reach_exponent(dims, partial(_at, family, build, rung, full), level, order)
        where = f"OU time {WINDOW[0]:g} to {WINDOW[1]:g}, d = {dims[-2]} and {dims[-1]}, KL ≤ {level:g}"
        quantity = f"exponent of d in K*, {_named(build, rung)}"
        rows.append(at_most(name, where, quantity, power, 1.0 - tolerance))
    return rows


def _at(family: Family, build: Build, rung: str, full: bool, dim: int, steps: int) -> Estimate:
    return divergence(family[1](dim, full), table(build, steps), rung)


WITHOUT = ("curved mixture", "sphere, d = 3", "sphere, d = 30", "scale mixture, d = 3", "anisotropic Gaussian, d = 8")
LARGER: dict[str, Callable[[], Target]] = {
    "anisotropic Gaussian, d = 64": lambda: law("anisotropic_gaussian", dim=64),
    "sphere, d = 300": lambda: law("sphere", dim=300),
}
SCALES = ("scale mixture, d = 3",)


def check_without_noise(
    full: bool, tolerance: float, *, families: Sequence[str] = (*WITHOUT, *LARGER), build: Build = ALONE
) -> list[Row]:
    """Marginal KL of the flow alone over that with the published noise step, at most one."""
    rows = []
    for name in families:
        target = (LAWS | LARGER)[name]()
        for steps in (16, 32, 64) if full else (32,):
            alone, published = (divergence(target, table(made, steps), "marginal") for made in (build, jain_zhang))
            quantity = "marginal KL, flow alone ÷ with the noise step"
            rows.append(at_most(name, shown(WINDOW, steps), quantity, ratio(alone, published), 1.0 + tolerance))
    return rows


def check_practice(full: bool, tolerance: float, *, build: Build = jain_zhang) -> list[Row]:
    """Marginal KL over that of another sampler at the same number of evaluations, at most one."""
    others: dict[str, tuple[Build, int]] = {
        "ddpm": (samplers.ddpm, 1),
        "ei_sde": (samplers.ei_sde, 1),
        "euler_maruyama": (samplers.get("euler_maruyama"), 1),
        "predictor_corrector": (samplers.get("predictor_corrector"), 2),
    }
    rows = []
    for name in ("curved mixture", "sphere, d = 3", "sphere, d = 30", "anisotropic Gaussian, d = 8"):
        for count in (16, 32, 64) if full else (32,):
            ours = divergence(LAWS[name](), _asking(build, count, 1), "marginal")
            for other, (made, each) in others.items():
                theirs = divergence(LAWS[name](), _asking(made, count, each), "marginal")
                where = f"OU time {WINDOW[0]:g} to {WINDOW[1]:g}, {count} evaluations"
                quantity = f"marginal KL, Jain–Zhang ÷ {other}"
                rows.append(at_most(name, where, quantity, ratio(ours, theirs), 1.0 + tolerance))
    return rows


def _asking(build: Build, evaluations: int, each: int) -> Table:
    made = table(build, evaluations // each)
    assert made.evaluations == evaluations
    return made


def _named(build: Build, rung: str) -> str:
    return f"{getattr(build, '__name__', 'sampler')}, {rung if rung in ('path', 'marginal') else f'chain ({rung})'}"


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="open/below-d-over-epsilon",
        source=SOURCE,
        statement="can K go below d/ε?  on some rung and family K*(d) grows by a lower power of d than the first",
        rung="several",
        families=(SMALL[0], LARGE[0], "orthogonal points in R^n"),
        predicted="exponent of d in K* ≤ 0.9, a tenth below the first power",
        tolerance=0.1,
        check=partial(check_dimension_of_steps, cases=FREE, more_cases=FREE_IN_FULL),
        control=Control(
            "the frozen-score SDE, path KL", {"cases": _others(samplers.ei_sde, "path", SMALL, LARGE, POINTS)}
        ),
        formula=r"\frac{\partial\log K^{\ast}}{\partial\log d} \le 0.9, \qquad K^{\ast} = \min\lbrace K : Q \le "
        r"\varepsilon^2\rbrace, \qquad Q = \mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}) \text{, } "
        r"\mathrm{KL}_{\mathrm{chain}}^{\mathrm{f+n}}(\mathrm{JZ}) \text{ or } "
        r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM})",
        basis="open question",
        window="OU time 4 to 0.01, KL ≤ 0.05 to 0.2; quick: d = 30 and 100, points 8 and 32; full: d to 3000, points to 512",
        reference="named in the rows",
        study="open_questions",
    ),
    Claim(
        id="open/below-d-over-epsilon-reverse",
        source=SOURCE,
        statement="can K go below d/ε against the reverse chain?  K*(d) of Jain–Zhang's step grows by a lower power of d "
        "than the first there",
        rung="chain",
        families=(SMALL[0], LARGE[0], "orthogonal points in R^n"),
        predicted="exponent of d in K* ≤ 0.9, a tenth below the first power",
        tolerance=0.1,
        check=partial(check_dimension_of_steps, cases=REVERSE),
        control=Control(
            "the frozen score in place of the frozen denoiser, orthogonal points",
            {"cases": _others(samplers.ei_sde, "reverse", POINTS)},
        ),
        contrast=Control(
            "the frozen denoiser, orthogonal points", {"cases": _others(samplers.ddpm, "reverse", POINTS)}
        ),
        formula=r"\frac{\partial\log K^{\ast}}{\partial\log d} \le 0.9, \qquad K^{\ast} = \min\lbrace K : Q \le "
        r"\varepsilon^2\rbrace, \qquad Q = \mathrm{KL}_{\mathrm{chain}}^{\mathrm{rev}}(\mathrm{JZ})",
        basis="open question",
        window="OU time 4 to 0.01, KL ≤ 0.1; quick: d = 30 and 100, points 8 and 32; full: d to 3000, points to 512",
        reference="reverse chain",
        study="open_questions",
    ),
    Claim(
        id="open/no-noise",
        source=SOURCE,
        statement="is the noise step needed?  Without it, at the same net step, the marginal KL is no larger",
        rung="marginal",
        families=(
            "curved mixture",
            "spheres, d = 3 to 300",
            "scale mixture, d = 3",
            "anisotropic Gaussian, d = 8 and 64",
        ),
        predicted="ratio without over with ≤ 1",
        tolerance=0.0,
        check=check_without_noise,
        control=Control(
            "flow alone, coefficient of the state 1% off, scale mixture",
            {"families": SCALES, "build": off(ALONE, state=1.01)},
        ),
        contrast=Control("the scale mixture alone", {"families": SCALES}),
        formula=r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}_{\rho}) \le \mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}), "
        r"\qquad \rho = 0",
        basis="open question",
        window="OU time 4 to 0.01, K = 32 (full: 16, 32 and 64)",
        study="noise_step",
    ),
    Claim(
        id="open/practice",
        source=SOURCE,
        statement="is it better in practice?  At equal evaluations its marginal KL is below those of ddpm, ei_sde, "
        "Euler–Maruyama and predictor–corrector",
        rung="marginal",
        families=("curved mixture", "spheres, d = 3 and 30", "anisotropic Gaussian, d = 8"),
        predicted="every ratio ≤ 1",
        tolerance=0.0,
        check=check_practice,
        control=Control("coefficient of the state 1% off", {"build": off(jain_zhang, state=1.01)}),
        formula=r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{JZ}) \le \min\lbrace "
        r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{DDPM}), \mathrm{KL}_{\mathrm{marg}}(\mathrm{EI}), "
        r"\mathrm{KL}_{\mathrm{marg}}(\mathrm{EM}), \mathrm{KL}_{\mathrm{marg}}(\mathrm{PC})\rbrace "
        r"\quad\text{at equal evaluations}",
        basis="open question",
        window="OU time 4 to 0.01, 32 evaluations (full: 16, 32 and 64)",
        study="open_questions",
    ),
)

"""What the ambient dimension costs at fixed entropy: nothing under the frozen denoiser, its full size under the frozen score.

Laws that are no embeddings of one core: random codebooks of 64 atoms in growing dimension, Markov chains of 4 nats of growing
length, the digits' leading principal components, whose atoms stay distinct.
"""

from __future__ import annotations

from targets import Estimate, Target
from verify import Grid, kl, rates, samplers
from verify.bounds import frozen_denoiser
from verify.claims.claim import Claim, Control, Row, at_most, from_fit, from_interval, near, ratio, scaled
from verify.claims.laws import law
from verify.claims.mutate import Build, thinned

PAPER = "arXiv 2601.21943"
TIMES = (4.0, 1e-2)
SNR = (1e-4, 1e3)
GEOMETRIC = "snr 1e-4 to 1e3, geometric"
WINDOW = "OU time 4 to 1e-2, h = c·min(1, t)"


def families(full: bool) -> dict[str, dict[int, Target]]:
    """Family -> dimension -> law; entropy fixed along each."""
    dims = (16, 64, 256) if full else (16, 48, 144)
    return {
        "codebook of 64 atoms": {d: law("codebook", full, n=64, dim=d, zipf=0.0) for d in dims},
        "Markov chain of 4 nats": {d: law("fixed_entropy_chain", full, length=d) for d in (16, 32, 64)},
        "digits, leading components": {d: law("digits", full, components=d) for d in (16, 32, 64)},
    }


def free_of_dimension(full: bool, tolerance: float, *, build: Build = samplers.ddpm) -> list[Row]:
    """Path KL over κH, H the same at every d."""
    rows = []
    for family, members in families(full).items():
        for dim, target in members.items():
            grid = Grid.exponential_uniform(64, ou_time=TIMES)
            bound = scaled(target.entropy(), frozen_denoiser(samplers.ddpm(grid), 1.0))
            measured = ratio(kl.path(target, build(grid)), bound)
            rows.append(at_most(family, f"{WINDOW}, K = 64, d = {dim}", "path KL ÷ κH", measured, 1.0 + tolerance))
    return rows


def grows_with_dimension(full: bool, tolerance: float, *, build: Build = samplers.ei_sde) -> list[Row]:
    """Exponent of the path KL in d at fixed entropy, against 1."""
    rows = []
    for family, members in families(full).items():
        table = build(Grid.exponential_uniform(64, ou_time=TIMES))
        found = rates.fit(list(members), [kl.path(target, table) for target in members.values()])
        window = f"{WINDOW}, K = 64, d = {min(members)} to {max(members)}"
        rows.append(near(family, window, "exponent of path KL in d", from_fit(found), 1.0, tolerance))
    return rows


def jointly(full: bool, tolerance: float, *, build: Build = samplers.ddpm) -> list[Row]:
    """Exponents of K, d and H in the path KL, by one regression over codebooks of n atoms in R^d, every law at one K.

    K, d and n form a Latin square, so that no two rows share a curve and their errors are independent.
    """
    found: list[Estimate] = []
    factors: dict[str, list[float]] = {"K": [], "d": [], "H": []}
    for i, n in enumerate((8, 24, 64, 160)):
        for j, dim in enumerate((16, 32, 64, 128)):
            steps = (32, 64, 128, 256)[(i + j) % 4]
            target = law("codebook", full, n=n, dim=dim, zipf=0.0)
            found.append(kl.path(target, build(Grid.log_snr(steps, snr=SNR))))
            for name, value in (("K", steps), ("d", dim), ("H", float(target.entropy().value))):
                factors[name].append(value)
    fitted = rates.joint(found, stderr=None, K=factors["K"], d=factors["d"], H=factors["H"])
    rows = []
    for name, predicted in (("K", -1.0), ("d", 0.0), ("H", 1.0)):
        low, high = fitted.intervals[name]
        middle = fitted.exponents[name]
        measured = from_interval(middle, max(high - middle, middle - low))
        window = f"{GEOMETRIC}; n = 8 to 160, d = 16 to 128, K = 32 to 256"
        rows.append(near("codebooks", window, f"exponent of {name} in path KL", measured, predicted, tolerance))
    return rows


CLAIMS = (
    Claim(
        "denoiser/free-of-dimension",
        PAPER,
        "under the frozen denoiser path KL is bounded by information alone: ≤ κH at every ambient dimension d",
        "path",
        ("codebook of 64 atoms", "Markov chain of 4 nats", "digits, leading components"),
        "path KL ÷ κH ≤ 1 at every d, κ = max h_k/γ_k",
        0.0,
        free_of_dimension,
        Control("every fourth level only", {"build": thinned(samplers.ddpm, 4)}),
        formula=r"\mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM}) \le \kappa H \quad\text{at every } d",
        basis="our derivation",
        window=f"{WINDOW}, K = 64",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
    Claim(
        "denoiser/score-pays-dimension",
        f"measured here; {PAPER} speaks of the frozen denoiser",
        "under the frozen score path KL grows linearly in the ambient dimension d at fixed entropy",
        "path",
        ("codebook of 64 atoms", "Markov chain of 4 nats", "digits, leading components"),
        "exponent 1 in d, nearer than to ½",
        0.25,
        grows_with_dimension,
        Control("ddpm, which freezes the denoiser, on the same grid", {"build": samplers.ddpm}),
        formula=r"\frac{\partial\log \mathrm{KL}_{\mathrm{path}}(\mathrm{EI})}{\partial\log d} = 1 \quad\text{at "
        r"fixed } H",
        basis="measured here",
        window=f"{WINDOW}, K = 64",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
    Claim(
        "denoiser/joint-exponents",
        f"measured here; {PAPER} bounds the same path KL",
        "on geometric grids path KL of ddpm follows K and H, not d: exponents −1, 1 and 0 where all three vary",
        "path",
        ("codebooks of n atoms in R^d",),
        "exponents −1 in K, 0 in d, 1 in H, each nearer than to the next half",
        0.25,
        jointly,
        Control("ei_sde, which freezes the score, on the same grids", {"build": samplers.ei_sde}),
        formula=r"\frac{\partial\log \mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM})}{\partial\log K} = -1, \qquad "
        r"\frac{\partial\log \mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM})}{\partial\log d} = 0, \qquad "
        r"\frac{\partial\log \mathrm{KL}_{\mathrm{path}}(\mathrm{DDPM})}{\partial\log H} = 1",
        basis="measured here",
        window=f"{GEOMETRIC}, K = 32 to 256",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
)
"""What dimension costs under the two parametrisations."""

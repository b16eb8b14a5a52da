"""What the ambient dimension costs at fixed entropy: nothing under the frozen denoiser, its full size under the frozen score.

Laws that are no embeddings of one core: random codebooks of 64 atoms in growing dimension, Markov chains of 4 nats of growing
length, the digits' leading principal components, whose atoms stay distinct.
"""

from __future__ import annotations

from targets import Target
from verify import Grid, kl, rates, samplers
from verify.bounds import frozen_denoiser
from verify.claims.claim import Claim, Control, Row, at_most, from_fit, near, ratio
from verify.claims.laws import law
from verify.claims.mutate import Build

PAPER = "arXiv 2601.21943"
TIMES = (4.0, 1e-2)
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
            table = build(Grid.exponential_uniform(64, ou_time=TIMES))
            bound = frozen_denoiser(table, float(target.entropy().value))
            measured = ratio(kl.path(target, table), bound)
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
        Control("ei_sde, which freezes the score, on the same grid", {"build": samplers.ei_sde}),
        basis="our derivation",
        window=f"{WINDOW}, K = 64",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
    Claim(
        "denoiser/score-pays-dimension",
        PAPER,
        "under the frozen score path KL grows linearly in the ambient dimension d at fixed entropy",
        "path",
        ("codebook of 64 atoms", "Markov chain of 4 nats", "digits, leading components"),
        "exponent 1 in d",
        0.15,
        grows_with_dimension,
        Control("ddpm, which freezes the denoiser, on the same grid", {"build": samplers.ddpm}),
        basis="our plain reading",
        window=f"{WINDOW}, K = 64",
        reference="reverse SDE",
        study="dimension_scaling",
    ),
)
"""What dimension costs under the two parametrisations."""

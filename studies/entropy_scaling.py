"""How K times ddpm's path KL grows with the entropy of the law, on the best grids and on those in use.

Claim: arXiv 2601.21943 bounds the KL of K steps by a quadratic in entropy over K: Shannon's H at first, later the Rényi
entropy of order ½.  Its constants and endpoint factors are not known here, so what is held against the rows is a plain
reading, KL ≤ C·H²/K with one C for all laws.  The limit of K·KL on the best grids is known,

    K · path KL  →  S²/4,   S = ∫ √(−mmse′) dγ  ≤  2√2 Σ_{i≠j} (p_i p_j)^{1/4},

and at every K a grid whose steps have h ≤ κγ keeps path KL below κ I(γ_K) ≤ κ H.

Families: laws on atoms whose entropy follows a size.  S is taken over all γ, and over the window on which grids are
built: from a thousandth of all information told to all but a thousandth, the same rule for every law.  Grids start from
the true law, so that path KL (reverse SDE, frozen denoiser) is their discretisation alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from studies import entropy_verdicts, study
from studies.dimension_scaling import numbers
from studies.store import Row
from targets import Estimate, Target, get
from targets.arguments import integer
from verify import bounds, kl, samplers
from verify.in_use import schedule
from verify.span import BEYOND, span

NAME = "entropy_scaling"
SCHEDULES = ("optimal", "sqrt_slope", "entropic", "log_snr", "exponential_uniform")
"""Three that know the law, two that do not."""

STEPS = {"quick": (16, 64), "full": (8, 16, 32, 64, 128, 256)}
POINTS = 128 * 512
"""Points of a replicate times n, at most, for n orthogonal points: a sampled curve's cost grows like that product times n."""


@dataclass(frozen=True)
class Config(study.Config):
    """How K times ddpm's path KL grows with the entropy of the law; seed: of the codebooks' points."""


@dataclass(frozen=True)
class Family:
    """Laws by size, and the sizes of each preset in the order in which the family grows; `unit` says what a size is.

    `identity`: S² and every KL are a multiple of one core's, so that the family is reported and earns no verdict.
    """

    build: Callable[[float, int], Target]
    unit: str
    quick: tuple[float, ...]
    full: tuple[float, ...]
    identity: bool = False


def orthogonal(n: float, _: int) -> Target:
    """n orthogonal points, with as many sample points for its curve as `POINTS` leaves, 128 at most."""
    return get("orthogonal_points", n=int(n)).refined(min(128, POINTS // int(n)))


FAMILIES = {
    "products of bits": Family(
        lambda n, _: get("hypercube", dim=int(n)), "bits", (1, 4, 16), (1, 2, 4, 8, 16, 32, 64), identity=True
    ),
    "orthogonal points": Family(orthogonal, "points", (32, 64, 128, 256), (32, 64, 128, 256, 512, 1024, 2048)),
    "nested scales": Family(
        lambda n, _: get("nested_scales", bits=int(n)), "bits", (1, 2, 3, 4, 6), (1, 2, 3, 4, 6, 8, 10)
    ),
    "rare bits": Family(
        lambda decades, _: get("rare_bit", p=10.0**-decades),
        "decades of 1/p",
        (1, 2, 3, 4, 6, 9, 12),
        (1, 2, 3, 4, 5, 6, 8, 10, 12),
    ),
    "heavy tails": Family(lambda n, _: get("heavy_tail", n=int(n)), "points", (2, 4, 8, 16), (2, 4, 8, 16, 32)),
    "Zipf codebooks": Family(
        lambda n, seed: get("codebook", n=int(n), dim=8, zipf=1.0, seed=seed),
        "points",
        (4, 16, 64, 256),
        (4, 16, 64, 256, 1024, 4096),
    ),
    "longer chains": Family(
        lambda n, _: get("bit_chain", length=int(n)), "bits", (4, 8, 16, 32), (4, 8, 16, 32, 64, 128)
    ),
    "chains of 32 bits": Family(
        lambda run, _: get("bit_chain", length=32, stay=1.0 - 1.0 / run),
        "bits between flips",
        (2, 10, 100, 1000),
        (2, 5, 10, 30, 100, 300, 1000),
    ),
    "digits": Family(
        lambda n, _: get("digits", images=int(n)), "images", (2, 16, 128, 1024), (2, 4, 16, 64, 256, 1024, 1797)
    ),
}


def settings(config: Config) -> list[Row]:
    """One setting a family and size: all schedules and K share its curve."""
    shared = {"preset": config.preset, "seed": config.seed}
    return [
        {"family": name, "size": float(size), **shared}
        for name, family in FAMILIES.items()
        for size in (family.quick if config.preset == "quick" else family.full)
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """A row for the law (entropies, S²/4, the bound on it) and one a schedule and K, with κ I(γ_K) beside path KL."""
    family = FAMILIES[setting["family"]]
    target = family.build(setting["size"], setting["seed"])
    target = target if place.type == "cpu" else target.to(device=place)
    base = {"family": setting["family"], "size": setting["size"], "identity": family.identity}
    low, high = span(target)
    rows = [
        {
            **base,
            "quantity": "law",
            "unit": family.unit,
            "dim": target.dim,
            "low": low,
            "high": high,
            **of_law(target, low, high),
        }
    ]
    told = float(target.mutual_information(high).value)
    for name in SCHEDULES:
        for steps in STEPS[setting["preset"]]:
            grid = schedule(name, target, steps, (low, high))
            found = {"schedule": name, "steps": steps, "bound": bounds.frozen_denoiser(samplers.ddpm(grid), told)}
            rows.append({**base, "quantity": "kl", **found, **numbers(kl.discretisation(target, grid))})
    return rows


def of_law(target: Target, low: float, high: float) -> Row:
    """What the entropies of a law say, and what its curve does; each of the curve's with its errors."""
    found = {
        "quarter": quarter(target.curve.discretisation_length()),
        "windowed": quarter(target.curve.discretisation_length(low, high)),
        "information": target.mutual_information(math.exp(float(target.curve.edges[-1]) + BEYOND)),
    }
    row: Row = {
        "entropy": float(target.entropy().value),
        "half_entropy": float(target.entropy(0.5).value),
        "log_pairs": log_pairs(target),
    }
    for name, estimate in found.items():
        row |= {name: float(estimate.value), f"{name}_stderr": float(estimate.stderr)}
        row[f"{name}_bias"] = float(abs(estimate.bias))
    return row


def quarter(length: Estimate) -> Estimate:
    """S²/4, the limit of K·path KL on the best grids."""
    value = float(length.value)
    return Estimate(value**2 / 4.0, 0.5 * value * length.stderr, 0.5 * value * abs(length.bias), length.method)


def log_pairs(target: Target) -> float:
    """log Σ_{i≠j} (p_i p_j)^{1/4}, ordered pairs of atoms; S is at most 2√2 times the sum.

    The sum is (Σ p^{1/4})² − Σ p^{1/2} = e^{(3/2) H_{1/4}} − e^{(1/2) H_{1/2}}, so that it is known for products and chains
    whose atoms nobody could list.
    """
    square, diagonal = 1.5 * float(target.entropy(0.25).value), 0.5 * float(target.entropy(0.5).value)
    return square + math.log(-math.expm1(diagonal - square))


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its table and verdicts, draw its figure."""
    check(config)
    from figures.entropy_scaling import draw

    study.run(NAME, config, settings(config), compute, entropy_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

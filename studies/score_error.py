"""What an imperfect denoiser costs: the path KL that an error adds, for every kind of error, and which average of it decides.

Claims: bounds on KL carry a term in ε², and ε² is not the same average of the score error everywhere: weighted by the step
in OU time (arXiv 2308.03686, 2508.16306), an unweighted mean over steps (2409.18959), and here, for the frozen denoiser,
½ Σ h_k E‖m̂ − m‖² in snr, with equality.  Measured path KL comes from simulations that use neither the sum nor the moments.

Families: a curved mixture and two points on the line, an anisotropic Gaussian, a codebook, the handwritten digits.

Schedule: h = c·min(1, t) in OU time from T to δ, started from the prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from studies import score_verdicts, study
from studies.store import Row
from targets import Discrete, Estimate, GaussianMixture, NotAvailableError, Target, get
from targets.arguments import integer, real
from verify import Grid, kl, samplers
from verify.carry.particles import chunk_seed
from verify.oracle import (
    Clipped,
    ConstantBias,
    Empirical,
    Exact,
    Oracle,
    RandomField,
    Rounded,
    ScaleError,
    WrongLevel,
    WrongWeights,
)
from verify.step import Table

NAME = "score_error"
SAMPLERS = ("ddpm", "ei_sde")
PARTS = {"initialisation": "initialisation", "discretisation": "discretisation", "oracle": "square", "cross": "cross"}
"""Columns of the parts of path KL: "oracle" names the kind of error."""


@dataclass(frozen=True)
class Config(study.Config):
    """What an imperfect denoiser costs; schedule h = c·min(1, t) in OU time from T to δ, from the prior."""

    start_time: float = 4.0
    """T: OU time at which sampling starts, from N(0, 1)."""
    stop_time: float = 1e-2
    """δ: OU time at which it stops."""


@dataclass(frozen=True)
class Family:
    """A law; `points`: draws of error moments in each of 32 replicates; `chains`: simulated draws; `memorised`: set sizes."""

    build: Callable[[], Target]
    memorised: tuple[float, ...]
    points: int = 128
    chains: int = 4096
    quick: tuple[int, ...] = (16, 64)
    full: tuple[int, ...] = (8, 16, 32, 64, 128, 256)


FAMILIES = {
    "curved mixture": Family(lambda: get("curved_mixture"), (8, 32, 128, 512)),
    "two points": Family(lambda: get("two_points", p=0.3), (1,)),
    "anisotropic Gaussian": Family(lambda: get("anisotropic_gaussian", dim=8), (64, 1024)),
    "codebook": Family(lambda: get("codebook", dim=8), (16, 48)),
    "digits": Family(
        lambda: get("digits"), (225, 450, 900, 1350), points=16, chains=512, quick=(16,), full=(8, 16, 32, 64)
    ),
}

MEASURED = {"quick": {"ddpm": (16, 64), "ei_sde": (16,)}, "full": {"ddpm": (8, 32, 128), "ei_sde": (8, 32)}}
"""The K at which path KL is simulated; Girsanov's integral is the slow one, and quick takes it at a kind's last size only."""

MARGINAL = {"quick": (16,), "full": (16, 64)}
"""The K at which the marginal KL stands beside it."""


@dataclass(frozen=True)
class Kind:
    """A kind of error: the oracle of a size, and the sizes (empty: the family's own)."""

    build: Callable[[Target, float, int, int], Oracle]
    sizes: tuple[float, ...] = ()


KINDS = {
    "exact": Kind(lambda law, _size, _points, _seed: Exact(law), (0.0,)),
    "constant bias": Kind(
        lambda law, size, _points, _seed: ConstantBias(law, np.full(law.dim, size / law.dim**0.5)), (0.03, 0.3)
    ),
    "scale": Kind(lambda law, size, _points, _seed: ScaleError(law, size), (0.01, 0.1)),
    "random field": Kind(
        lambda law, size, _points, seed: RandomField(law, lambda snr: size / (1.0 + snr), seed=seed), (0.01, 0.3)
    ),
    "wrong level": Kind(
        lambda law, size, points, seed: WrongLevel(law, size, points=points, seed=seed), (-0.5, 0.1, 0.5)
    ),
    "clipped": Kind(
        lambda law, size, points, seed: Clipped(law, -size, size, points=points, seed=seed), (0.5, 1.0, 2.0)
    ),
    "rounded": Kind(
        lambda law, size, points, seed: Rounded(
            law, {8: "bfloat16", 11: "float16"}[int(size)], points=points, seed=seed
        ),
        (8, 11),
    ),
    "empirical": Kind(lambda law, size, points, seed: Empirical(law, int(size), points=points, seed=seed)),
    "wrong weights": Kind(lambda law, size, points, seed: tilted(law, size, points, seed), (0.1, 0.6)),
}
"""Sizes: a vector's norm, a factor's excess, E‖ε‖²(1 + γ), a shift of log-snr, a bound, bits kept, points, relative tilt."""

law = lru_cache(maxsize=None)(lambda family: FAMILIES[family].build())


def tilted(target: Target, size: float, points: int, seed: int) -> WrongWeights:
    """Weights multiplied by 1 ± size in turn, and renormalised."""
    if not isinstance(target, (GaussianMixture, Discrete)):
        raise NotAvailableError(f"wrong weights of {target!r}: it has one component")
    weights = target.components.weights.cpu().numpy() * (
        1.0 + size * (-1.0) ** np.arange(len(target.components.weights))
    )
    return WrongWeights(target, weights / weights.sum(), points=points, seed=seed)


def settings(config: Config) -> list[Row]:
    """One setting a family, kind and size of error: both samplers and all K share it."""
    shared = config.varied()
    return [
        {"family": name, "dim": law(name).dim, "oracle": kind, "size": float(size), **shared}
        for name, family in FAMILIES.items()
        for kind, made in KINDS.items()
        for size in made.sizes or family.memorised
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """A row a sampler and K with path KL, its parts, its simulation, the averages of the error and the marginal KL."""
    family, target, preset = FAMILIES[setting["family"]], law(setting["family"]), setting["preset"]
    target = target if place.type == "cpu" else target.to(device=place)
    base = {key: setting[key] for key in ("family", "dim", "oracle", "size")}
    try:
        oracle = KINDS[setting["oracle"]].build(target, setting["size"], family.points, setting["seed"])
    except NotAvailableError as reason:
        return [{**base, "sampler": "-", "steps": 0, "refused": str(reason)}]
    last = setting["size"] == (KINDS[setting["oracle"]].sizes or family.memorised)[-1]
    rows = []
    for sampler in SAMPLERS:
        for steps in family.quick if preset == "quick" else family.full:
            window = (setting["start_time"], setting["stop_time"])
            table = samplers.get(sampler)(Grid.exponential_uniform(steps, ou_time=window))
            found = {**priced(target, table, oracle), **averages(table, oracle)}
            refused = None
            if steps in MEASURED[preset][sampler] and (sampler == "ddpm" or last or preset == "full"):
                found["measured"] = simulated(target, table, oracle, family.chains, setting)
            if steps in MARGINAL[preset]:
                try:
                    found["marginal"] = kl.marginal(target, table, start="prior", oracle=oracle)
                except NotAvailableError as reason:
                    refused = str(reason)
            rows.append({**base, "sampler": sampler, "steps": steps, "refused": refused, **columns(found)})
    return rows


def priced(target: Target, table: Table, oracle: Oracle) -> dict[str, Estimate]:
    """Path KL from the prior and its parts."""
    return {
        "path": kl.path(target, table, start="prior", oracle=oracle),
        **{PARTS[name]: part for name, part in kl.parts(target, table, start="prior", oracle=oracle).items()},
    }


def averages(table: Table, oracle: Oracle) -> dict[str, Estimate]:
    """Sums of E‖ŝ − s‖² = (α/σ²)² E‖m̂ − m‖² by the step in OU time, by its mean, and of E‖m̂ − m‖² by half the step in snr.

    The first is the Tε² of 2308.03686 and 2508.16306, the second has the ε² of 2409.18959, the third is ddpm's equality.
    """
    alpha, sigma = table.alpha[:-1], table.sigma[:-1]
    square = oracle.moments(alpha, sigma).square
    score = (alpha / sigma**2) ** 2 * square
    ou_step = -0.5 * np.diff(np.log1p(1.0 / table.snr))
    weighted = {
        "ou_weighted": score * ou_step,
        "mean_weighted": score * ou_step.sum() / table.steps,
        "snr_weighted": 0.5 * np.diff(table.snr) * square,
    }
    return {name: Estimate.jackknife(rows.sum(1), 0.0, "error moments") for name, rows in weighted.items()}


def simulated(target: Target, table: Table, oracle: Oracle, chains: int, setting: Row) -> Estimate:
    """Path KL without the sum: of ddpm the simulated chain KL, which is the same; of ei_sde Girsanov's integral."""
    name = table.method.name
    seed = chunk_seed(NAME, setting["seed"], setting["family"], setting["oracle"], setting["size"], name, table.steps)
    simulate = kl.simulated_chain if name == "ddpm" else kl.simulated_path
    draws = torch.Generator(device=target.mean.device).manual_seed(seed)
    return simulate(target, table, n=chains, generator=draws, start="prior", oracle=oracle)


def columns(found: dict[str, Estimate]) -> Row:
    """Each estimate as two columns, its value and its error: standard error and bias."""
    row: Row = {}
    for name, estimate in found.items():
        row[name] = float(estimate.value)
        row[f"{name}_stderr"] = float(estimate.stderr)
        row[f"{name}_bias"] = float(abs(estimate.bias))
    return row


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    real("start-time", config.start_time, "a time T > stop-time", low=config.stop_time)
    real("stop-time", config.stop_time, "a time δ > 0", low=0.0)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and findings, draw its figures."""
    check(config)
    from figures.score_error import draw

    study.run(NAME, config, settings(config), compute, score_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

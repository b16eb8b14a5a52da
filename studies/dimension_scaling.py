"""How the KL of three samplers grows with dimension, on synthetic and real data, against the claims of two papers.

Claims: arXiv 2601.21943 (frozen denoiser: no dimension in the bound, only information), arXiv 2308.03686 (frozen score:
linear in d), arXiv 2508.16306 (ODE step then noise: d²/K² against flow+noise).

Families.  (a) products, (b) fixed-entropy laws embedded in growing ambient dimension: both reduce to one core, so their rows
are identities, confirmed by simulation in the full dimension.  (c) laws that are no products: random codebooks of one bit per
dimension, mixtures with 32 random centres, spheres of radius 2√d, stationary Markov chains of fixed entropy, the leading
principal components of the digits at unchanged entropy.  Path and chain(reverse) are measured on all of them,
chain(flow+noise) and the marginal where they are exact: on products of laws on the line, and on spheres.

Schedule: h = c·min(1, t) in OU time from T to δ (uniform above t = 1, geometric below); every sampler takes K steps and stops
at δ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import torch

from studies import dimension_verdicts, study
from studies.store import Row
from targets import Embedded, Estimate, NotAvailableError, Product, Target, get
from targets.arguments import integer, real
from verify import Grid, kl, rates, samplers
from verify.bounds import benton, frozen_denoiser, jain_zhang
from verify.carry.particles import chunk_seed
from verify.step import Table

NAME = "dimension_scaling"
POINTS = {"quick": 128, "full": 512}
CONFIRM_STEPS, CONFIRM_CHAINS = 16, 1024


@dataclass(frozen=True)
class Config(study.Config):
    """KL against dimension for ddpm, ei_sde and jain_zhang; schedule h = c·min(1, t) in OU time from T to δ."""

    start_time: float = 4.0
    """T: OU time at which sampling starts, from the true law there."""
    stop_time: float = 1e-3
    """δ: OU time at which it stops; every sampler is compared at this level."""
    steps: int = 64
    """K at which KL(d) is tabulated (slopes in K are taken at 4096 and 8192)."""
    epsilon2: float = 1e-2
    """ε²: K*(d) is the least K with KL ≤ ε² nats on the stated rung (K up to 1e5 exactly, beyond by the limit of K·KL)."""


@dataclass(frozen=True)
class Family:
    """A law for each dimension; `identity`: its rows follow from one core and earn no verdict."""

    group: str
    build: Callable[[int, int], Target]
    quick: tuple[int, ...]
    full: tuple[int, ...]
    confirm: int

    @property
    def identity(self) -> bool:
        """Products and embeddings."""
        return self.group in ("a", "b")


@lru_cache(maxsize=64)
def _core(name: str, points: int, **parameters: float) -> Target:
    """One object a law, so that its curve is computed once however often it is repeated or embedded."""
    return get(name, **parameters).refined(points)


PRODUCT, PRODUCT_FULL = (1, 10, 100, 1_000, 10_000), (1, 3, 10, 32, 100, 316, 1_000, 3_162, 10_000)
AMBIENT, AMBIENT_FULL = (64, 256, 1_000, 10_000), (64, 128, 256, 512, 1_000, 2_000, 5_000, 10_000)

FAMILIES = {
    "gaussian product": Family("a", lambda d, p: Product([_core("gaussian", p)] * d), PRODUCT, PRODUCT_FULL, 64),
    "mixture product": Family("a", lambda d, p: Product([_core("two_components", p)] * d), PRODUCT, PRODUCT_FULL, 64),
    "bits product": Family("a", lambda d, p: Product([_core("two_points", p)] * d), PRODUCT, PRODUCT_FULL, 64),
    "two points in R^D": Family("b", lambda d, p: Embedded(_core("two_points", p), d), AMBIENT, AMBIENT_FULL, 1_000),
    "codebook in R^D": Family("b", lambda d, p: Embedded(_core("codebook", p), d), AMBIENT, AMBIENT_FULL, 1_000),
    "digits in R^D": Family(
        "b", lambda d, p: Embedded(_core("digits", p, components=64), d), AMBIENT, AMBIENT_FULL, 1_000
    ),
    "codebook, 1 bit/dim": Family(
        "c",
        lambda d, p: _core("codebook", p, n=2**d, dim=d, zipf=0.0),
        (2, 4, 6, 8, 10),
        (2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
        10,
    ),
    "random centres": Family(
        "c", lambda d, p: _core("random_centres", p, dim=d), (2, 8, 32, 128), (2, 4, 8, 16, 32, 64, 128, 256, 512), 32
    ),
    "sphere, radius 2√d": Family(
        "c",
        lambda d, p: _core("sphere", p, dim=d, spread=2.0),
        (3, 30, 300, 3_000),
        (3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
        300,
    ),
    "Markov chain, 4 nats": Family(
        "c", lambda d, p: _core("fixed_entropy_chain", p, length=d), (8, 32, 128), (8, 16, 32, 64, 128, 256), 32
    ),
    "digits, leading components": Family(
        "c", lambda d, p: _core("digits", p, components=d), (4, 16, 64), (2, 4, 8, 16, 32, 64), 64
    ),
}


def table_of(sampler: str, grid: Grid) -> Table:
    """The sampler's table with exactly grid.steps steps that stops at the grid's last level."""
    return samplers.get(sampler)(grid.beyond() if sampler == "jain_zhang" else grid)


def divergence(target: Target, sampler: str, rung: str, reference: str, grid: Grid) -> Estimate:
    """The stated rung of the sampler on the grid."""
    table = table_of(sampler, grid)
    if rung == "marginal":
        return kl.marginal(target, table)
    return kl.path(target, table) if rung == "path" else kl.chain(target, table, reference=reference)


def settings(config: Config) -> list[Row]:
    """One setting a family and dimension."""
    shared = config.varied()
    return [
        {"family": name, "dim": dim, **shared}
        for name, family in FAMILIES.items()
        for dim in (family.quick if config.preset == "quick" else family.full)
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """KL at several K, steps to reach ε², bounds and (at one dimension) the simulated confirmation."""
    family = FAMILIES[setting["family"]]
    target = _placed(family.build(setting["dim"], POINTS[setting["preset"]]), place)
    window = (setting["start_time"], setting["stop_time"])
    rows = []
    for sampler, rung, reference in dimension_verdicts.RUNGS:
        base = {
            "group": family.group,
            "family": setting["family"],
            "identity": family.identity,
            "dim": setting["dim"],
            "rank": target.rank,
            "sampler": sampler,
            "rung": rung,
            "reference": reference,
        }
        rows += _rung_rows(target, base, setting, window)
    if setting["dim"] == family.confirm:
        rows += _confirmed(target, rows[0], setting, window)
    return rows


def _placed(target: Target, place: torch.device) -> Target:
    return target if place.type == "cpu" else target.to(device=place)


def _rung_rows(target: Target, base: Row, setting: Row, window: tuple[float, float]) -> list[Row]:
    sampler, rung, reference = base["sampler"], base["rung"], base["reference"]
    order = 2 if reference in ("flow+noise", "none") else 1

    @cache
    def at(steps: int) -> Estimate:
        return divergence(target, sampler, rung, reference, Grid.exponential_uniform(steps, ou_time=window))

    slow = order == 2 and "gaussian" not in base["family"]
    rows = []
    try:
        for steps in sorted({setting["steps"], *((2 * setting["steps"],) if slow else (4096, 8192))}):
            grid = Grid.exponential_uniform(steps, ou_time=window)
            estimate = at(steps)
            bound, source = (None, None) if rung == "marginal" else _bound(target, sampler, reference, grid)
            rows.append(
                {**base, "quantity": "kl", "steps": steps, **numbers(estimate), "bound": bound, "bound_by": source}
            )
        limits = {"exact_up_to": 256, "limit_at": 256} if slow else {}
        reach = rates.steps_to_reach(at, setting["epsilon2"], order=order, **limits)
        rows.append(
            {
                **base,
                "quantity": "steps",
                "value": reach.steps,
                "stderr": reach.stderr,
                "bias": reach.bias,
                "extrapolated": reach.extrapolated,
                "method": "limit of K^p KL" if reach.extrapolated else "least K with KL <= eps^2",
            }
        )
    except NotAvailableError as refusal:
        if order == 2:
            return []
        rows.append({**base, "quantity": "refused", "value": None, "method": str(refusal)})
    return rows


def numbers(estimate: Estimate) -> Row:
    """An estimate as columns of a row."""
    return {
        "value": float(estimate.value),
        "stderr": float(estimate.stderr),
        "bias": float(abs(estimate.bias)),
        "method": estimate.method,
    }


def _bound(target: Target, sampler: str, reference: str, grid: Grid) -> tuple[float | None, str | None]:
    """The theorem's prediction beside the number: with its constant for ddpm, without for the others."""
    if sampler == "ddpm":
        information = float(target.mutual_information(float(grid.snr[-1])).value)
        return frozen_denoiser(table_of("ddpm", grid), information), "kappa I(gamma_K), proved here"
    if sampler == "ei_sde":
        return benton(grid, target.dim), "kappa^2 d K + kappa d T, 2308.03686 without its constant"
    if reference == "flow+noise":
        return jain_zhang(grid, target.dim), "d^2 c^3 K, 2508.16306 without its constant"
    return None, None


def _confirmed(target: Target, like: Row, setting: Row, window: tuple[float, float]) -> list[Row]:
    """The chain KL by simulation in the full dimension, beside the closed form, for each sampler."""
    grid, rows = Grid.exponential_uniform(CONFIRM_STEPS, ou_time=window), []
    for sampler in ("ddpm", "ei_sde", "jain_zhang"):
        table = table_of(sampler, grid)
        seed = chunk_seed(NAME, setting["family"], sampler, setting["seed"])
        generator = torch.Generator(device=target.mean.device).manual_seed(seed)
        simulated = kl.simulated_chain(target, table, n=CONFIRM_CHAINS, generator=generator)
        closed = kl.chain(target, table)
        base = {key: like[key] for key in ("group", "family", "identity", "dim", "rank")}
        rows.append(
            {
                **base,
                "sampler": sampler,
                "rung": "chain",
                "reference": "reverse",
                "quantity": "simulated",
                "steps": CONFIRM_STEPS,
                **numbers(simulated),
                "closed": float(closed.value),
                "closed_stderr": float(closed.stderr),
            }
        )
    return rows


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    real("start-time", config.start_time, "a time T > stop-time", low=config.stop_time)
    real("stop-time", config.stop_time, "a time δ > 0", low=0.0)
    real("epsilon2", config.epsilon2, "a number > 0", low=0.0)
    integer("steps", config.steps, 2)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and verdicts, draw its figures."""
    check(config)
    from figures.dimension_scaling import draw

    report = partial(dimension_verdicts.report, epsilon2=config.epsilon2, steps=config.steps)
    study.run(NAME, config, settings(config), compute, report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

"""How every rung of the KL ladder falls with the number of steps, for every sampler, in one run.

Claims: arXiv 2601.21943 bounds the path KL of the frozen denoiser, arXiv 2508.16306 a chain KL against the exact flow with
the sampler's noise; users get the marginal KL.  On one table the three fall at different rates, so that a rate means nothing
without its rung.

Families: three mixtures on the line, an anisotropic Gaussian, spheres in R^3, R^100 and R^1000 (no products), and the
handwritten digits, where deterministic samplers are followed by their flow.

Schedule: h = c·min(1, t) in OU time from T to δ; every sampler takes the K steps of one grid and stops at δ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from studies import step_verdicts, study
from studies.dimension_scaling import numbers
from studies.store import Row
from targets import Estimate, GaussianMixture, NotAvailableError, Target, get
from targets.arguments import integer, real
from verify import Grid, kl, samplers
from verify.step import Table

NAME = "step_scaling"


@dataclass(frozen=True)
class Config(study.Config):
    """KL against the number of steps on every rung; schedule h = c·min(1, t) in OU time from T to δ."""

    start_time: float = 4.0
    """T: OU time at which sampling starts, from the true law there."""
    stop_time: float = 1e-2
    """δ: OU time at which it stops; every sampler is compared at this level."""


@dataclass(frozen=True)
class Family:
    """A law; `quick` and `full`: the K of the two presets; `points`: draws for flows that are sampled."""

    build: Callable[[], Target]
    quick: tuple[int, ...] = (16, 32, 64, 128)
    full: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
    samplers: tuple[str, ...] = tuple(name for name in samplers.names() if name not in ("randomised_midpoint", "rk3"))
    points: dict[str, int] | None = None


def five_components() -> GaussianMixture:
    """Five components of one variance at irregular places on the line."""
    return GaussianMixture.isotropic([0.3, 0.1, 0.25, 0.2, 0.15], [[-2.0], [-0.9], [0.1], [1.2], [2.6]], 0.09)


RADIAL = ("ddpm", "ei_sde", "jain_zhang", "ddim", "heun", "dpm_solver_2_ancestral", "edm_churn")

FAMILIES = {
    "curved mixture": Family(lambda: get("curved_mixture")),
    "two components": Family(lambda: get("two_components")),
    "five components": Family(five_components),
    "anisotropic Gaussian": Family(lambda: get("anisotropic_gaussian")),
    "sphere, d = 3": Family(lambda: get("sphere", dim=3), samplers=RADIAL),
    "sphere, d = 100": Family(lambda: get("sphere", dim=100), samplers=RADIAL),
    "sphere, d = 1000": Family(lambda: get("sphere", dim=1000), samplers=RADIAL),
    "digits": Family(
        lambda: get("digits"),
        quick=(4, 8, 16, 32),
        full=(4, 8, 16, 32, 64),
        samplers=("ddpm", "ei_sde", "jain_zhang", "ddim", "heun", "dpm_solver_2", "dpmpp_2m", "exponential_ab3"),
        points={"quick": 32, "full": 256},
    ),
}

law = lru_cache(maxsize=None)(lambda family: FAMILIES[family].build())


def table_of(sampler: str, steps: int, window: tuple[float, float]) -> Table:
    """The sampler's table on the grid of `steps` steps that stops at the grid's last level."""
    grid = Grid.exponential_uniform(steps, ou_time=window)
    return samplers.get(sampler)(grid.beyond() if sampler.startswith("jain_zhang") else grid)


def settings(config: Config) -> list[Row]:
    """One setting a family and sampler: all K of one line share it."""
    shared = config.varied()
    return [
        {"family": name, "sampler": sampler, "dim": law(name).dim, **shared}
        for name, family in FAMILIES.items()
        for sampler in family.samplers
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """Every rung at every K; a rung that is not available gives one row with the reason."""
    family, target = FAMILIES[setting["family"]], law(setting["family"])
    target = target if place.type == "cpu" else target.to(device=place)
    window = (setting["start_time"], setting["stop_time"])
    points = 256 if family.points is None else family.points[setting["preset"]]
    rows = []
    for rung, reference in step_verdicts.RUNGS:
        refused: list[Row] = []
        for steps in family.quick if setting["preset"] == "quick" else family.full:
            table = table_of(setting["sampler"], steps, window)
            base = {
                "family": setting["family"],
                "dim": target.dim,
                "sampler": setting["sampler"],
                "rung": rung,
                "reference": reference,
                "order": table.method.order,
                "steps": steps,
                "evaluations": table.evaluations,
                "noise_ratio": _noise_ratio(table),
            }
            try:
                rows.append(
                    {
                        **base,
                        "quantity": "kl",
                        **numbers(_divergence(target, table, rung, reference, points, setting["seed"])),
                    }
                )
            except NotAvailableError as refusal:
                refused.append({**base, "quantity": "refused", "value": None, "method": str(refusal)})
        if not any(row["rung"] == rung and row["reference"] == reference for row in rows):
            rows += refused[-1:]
    return rows


def _divergence(target: Target, table: Table, rung: str, reference: str, points: int, seed: int) -> Estimate:
    if rung == "path":
        return kl.path(target, table)
    if rung == "chain":
        return kl.chain(target, table, reference=reference)
    return kl.marginal(target, table, points=points, seed=seed)


def _noise_ratio(table: Table) -> float | None:
    """Median of the added variance over the true reverse kernel's; None where a step adds none or stays at its level."""
    gained = np.diff(table.snr) / table.snr[1:]
    if not table.stochastic or (gained <= 0).any():
        return None
    return float(np.median(table.noise**2 / (table.sigma[1:] ** 2 * gained)))


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    real("start-time", config.start_time, "a time T > stop-time", low=config.stop_time)
    real("stop-time", config.stop_time, "a time δ > 0", low=0.0)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and verdicts, draw its figures."""
    check(config)
    from figures.step_scaling import draw

    study.run(NAME, config, settings(config), compute, step_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

"""What the noise step of Algorithm 1 of arXiv 2508.16306 is for, at a fixed net step.

Every step goes along the flow over its net step and r = ρ·(next interval) further, with the score frozen at its start, and
noise over r leads back.  ρ = 1 is the published sampler, ρ = 0 the flow alone.  Levels, frozen scores and denoiser
evaluations do not depend on ρ, so that rows at one K differ by the noise step only.

To leading order in the step h the error of the map over h + r is quadratic in h + r, and the step's divergence is its
square over 2(1 − e^{−2r}) (Lemma A.1), so that relative to ρ = 1

    chain (flow+noise)      (1 + ρ)⁴ / (16 ρ)                   least at ρ = 1/3, without bound as ρ → 0
    chain (reverse)         K·(d/2)(1/ρ − 1 + log ρ)            at ρ ≠ 1: the step's noise is not the reverse kernel's

and the marginal has no such limit: it is measured, as is what the error of a denoiser adds to it.

Families: a curved mixture, two components and two points on the line, an anisotropic Gaussian, spheres of radius 2√d and a
mixture of scales.  Schedule: h = c·min(1, t) in OU time from T to δ, started from the true law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from studies import noise_verdicts, study
from studies.dimension_scaling import numbers
from studies.store import Row
from targets import ArgumentError, Estimate, NotAvailableError, Target, get
from targets.arguments import integer, real
from verify import Grid, kl, samplers
from verify.oracle import ConstantBias, Exact, Oracle, ScaleError
from verify.step import Table

NAME = "noise_step"


@dataclass(frozen=True)
class Config(study.Config):
    """The role of the noise step at a fixed net step; schedule h = c·min(1, t) in OU time from T to δ."""

    start_time: float = 4.0
    """T: OU time at which sampling starts, from the true law there."""
    stop_time: float = 1e-2
    """δ: OU time at which it stops; every ρ is compared at this level."""


@dataclass(frozen=True)
class Family:
    """A law; `chain_to`: the largest K of chain(flow+noise); `perturbed`: the law is met with imperfect denoisers too."""

    build: Callable[[], Target]
    chain_to: int = 256
    perturbed: bool = False


FAMILIES = {
    "curved mixture": Family(lambda: get("curved_mixture"), perturbed=True),
    "two components": Family(lambda: get("two_components"), perturbed=True),
    "anisotropic Gaussian": Family(lambda: get("anisotropic_gaussian", dim=8), perturbed=True),
    "two points": Family(lambda: get("two_points")),
    "sphere, d = 3": Family(lambda: get("sphere", dim=3, spread=2.0), chain_to=128),
    "sphere, d = 30": Family(lambda: get("sphere", dim=30, spread=2.0), chain_to=128),
    "sphere, d = 300": Family(lambda: get("sphere", dim=300, spread=2.0), chain_to=128),
    "scale mixture, d = 3": Family(lambda: get("scale_mixture", dim=3), chain_to=128),
}

OVERSHOOTS = {"quick": (0.0, 1 / 32, 0.5, 1.0, 2.0), "full": (0.0, 1 / 64, 1 / 32, 1 / 8, 1 / 3, 0.5, 1.0, 2.0)}
"""ρ: the published sampler's is 1; 1/3 has the least leading term of chain(flow+noise)."""

STEPS = {"quick": (16, 32, 64), "full": (8, 16, 32, 64, 128, 256)}
PERTURBED = {"quick": (64,), "full": (64, 256)}
"""The K at which imperfect denoisers are followed."""

ERRORS: dict[str, tuple[Callable[[Target, float], Oracle], tuple[float, ...]]] = {
    "exact": (lambda target, _size: Exact(target), (0.0,)),
    "constant bias": (
        lambda target, size: ConstantBias(target, np.full(target.dim, size / target.dim**0.5)),
        (0.03, 0.3),
    ),
    "scale": (ScaleError, (-0.1, 0.01, 0.1)),
}
"""Kinds of error with their sizes: a vector's norm, a factor's excess."""

law = lru_cache(maxsize=None)(lambda family: FAMILIES[family].build())


def table_of(overshoot: float, steps: int, window: tuple[float, float]) -> Table:
    """The table of `steps` steps that stops at the window's end; a grid too coarse for ρ is refused."""
    return samplers.jain_zhang(Grid.exponential_uniform(steps, ou_time=window).beyond(), overshoot=overshoot)


def settings(config: Config) -> list[Row]:
    """One setting a family, error and ρ: all K of one line share it."""
    shared = config.varied()
    return [
        {"family": name, "dim": law(name).dim, "oracle": kind, "size": size, "overshoot": overshoot, **shared}
        for name, family in FAMILIES.items()
        for kind, (_, sizes) in ERRORS.items()
        if kind == "exact" or family.perturbed
        for size in sizes
        for overshoot in OVERSHOOTS[config.preset]
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """Every rung at every K with the exact denoiser, the marginal with another; what is refused once, with its reason."""
    family, target, preset = FAMILIES[setting["family"]], law(setting["family"]), setting["preset"]
    target = target if place.type == "cpu" else target.to(device=place)
    exact = setting["oracle"] == "exact"
    oracle = ERRORS[setting["oracle"]][0](target, setting["size"])
    window = (setting["start_time"], setting["stop_time"])
    rows = []
    for rung, reference in noise_verdicts.RUNGS if exact else noise_verdicts.RUNGS[:1]:
        refused: list[Row] = []
        for steps in STEPS[preset] if exact else PERTURBED[preset]:
            if reference == "flow+noise" and steps > family.chain_to:
                continue
            base = {key: setting[key] for key in ("family", "dim", "oracle", "size", "overshoot")}
            base |= {"rung": rung, "reference": reference, "steps": steps}
            try:
                table = table_of(setting["overshoot"], steps, window)
                found = numbers(_divergence(target, table, rung, reference, oracle))
                rows.append({**base, "quantity": "kl", **found})
            except (NotAvailableError, ArgumentError) as refusal:
                refused.append({**base, "quantity": "refused", "value": None, "method": str(refusal)})
        rows += refused[-1:]
    return rows


def _divergence(target: Target, table: Table, rung: str, reference: str, oracle: Oracle) -> Estimate:
    if rung == "chain":
        return kl.chain(target, table, reference=reference)
    return kl.marginal(target, table, oracle=oracle)


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    real("start-time", config.start_time, "a time T > stop-time", low=config.stop_time)
    real("stop-time", config.stop_time, "a time δ > 0", low=0.0)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and verdicts, draw its figure."""
    check(config)
    from figures.noise_step import draw

    study.run(NAME, config, settings(config), compute, noise_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

"""Every schedule in use against the best grid: what ddpm's path KL, and the marginal KL, make of where the steps are.

Claim: arXiv 2601.21943 reads a schedule off the training loss.  The path KL of ddpm is ½ Σ h_k ℓ(γ_k) less what no grid
changes, so its least value on a window is known; every schedule is held against it, and so are the grids read off a loss
measured with 100,000 samples in all.

Windows: for laws on atoms from a thousandth of all information told to all but a thousandth, from 99% to 0.1% of the variance
left for the others; all grids of a family share its window and start from the true law there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from studies import schedule_verdicts, study
from studies.dimension_scaling import numbers
from studies.store import Row
from targets import Discrete, Gaussian, NotAvailableError, Target, get
from targets.arguments import integer
from verify import Grid, kl, samplers
from verify.carry.particles import chunk_seed
from verify.in_use import SCHEDULES, schedule
from verify.loss_curve import LossCurve
from verify.losses import read_losses, simulated_losses
from verify.oracle import Exact
from verify.span import span

NAME = "schedules"
LEVELS = 100
"""Noise levels at which a simulated training run logs its loss."""
SHOWN = 16
"""Steps of the grids that are drawn."""
COARSE = 5.0
"""Nats of path KL from which a marginal density is not followed: far from the truth it takes minutes and tells nothing."""


@dataclass(frozen=True)
class Config(study.Config):
    """Path and marginal KL of every schedule, and of grids read off a noisy training loss."""

    samples: int = 100_000
    """Samples of a simulated training run, over all its noise levels."""


@dataclass(frozen=True)
class Family:
    """A law.

    `rarest`: the least weight of an atom or component, where there are any; `marginal`: its marginal KL is exact;
    `searched`: cheap enough to search the grid that is best for it; `seeds`: noisy training runs in the quick preset (0:
    none) and the full one; `quick`: in the quick preset at all.
    """

    build: Callable[[], Target]
    rarest: float | None = None
    marginal: bool = False
    searched: bool = False
    seeds: tuple[int, int] = (3, 20)
    quick: bool = True


FAMILIES = {
    "curved mixture": Family(lambda: get("curved_mixture"), 0.2, marginal=True, searched=True),
    "two points": Family(lambda: get("two_points"), 0.5, marginal=True, searched=True),
    "anisotropic Gaussian": Family(lambda: get("anisotropic_gaussian"), marginal=True, searched=True),
    "sphere, d = 100": Family(lambda: get("sphere", dim=100), marginal=True, seeds=(0, 20)),
    "8 orthogonal points": Family(lambda: get("orthogonal_points", n=8), 1.0 / 8.0, quick=False),
    "64 orthogonal points": Family(lambda: get("orthogonal_points", n=64), 1.0 / 64.0, seeds=(0, 20)),
    "nested scales": Family(lambda: get("nested_scales", bits=3), 1.0 / 8.0),
    "heavy tail": Family(lambda: get("heavy_tail", n=8), 8.0**-1.5 / sum(i**-1.5 for i in range(1, 9))),
    "rare bit": Family(lambda: get("rare_bit", p=1e-2), 1e-2, marginal=True, searched=True),
    "random centres": Family(lambda: get("random_centres"), 1.0 / 32.0, seeds=(0, 5), quick=False),
    "Markov chain": Family(lambda: get("bit_chain"), 0.5 * 0.1**15, seeds=(0, 5), quick=False),
    "digits": Family(lambda: get("digits"), 1.0 / 1797.0, seeds=(0, 5)),
}
DRAWN = "drawn at random"
"""Laws of a few atoms on the line drawn anew for every seed; they enter the loss part only, with as many seeds as most."""

STEPS = {"quick": (4, 16, 64), "full": (4, 8, 16, 32, 64, 128, 256)}
NOISY = {"quick": (8, 32), "full": (8, 16, 32, 128)}
SEARCHED = {"quick": (4,), "full": (4, 8, 16)}
"""Steps of the grids that are best for the marginal KL."""

law = lru_cache(maxsize=None)(lambda family: FAMILIES[family].build())


def drawn_at_random(seed: int) -> Discrete:
    """Three to eight atoms on the line, N(0, 1) apart, with Dirichlet weights."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 9))
    return Discrete(rng.standard_normal((count, 1)), rng.dirichlet(np.ones(count)))


def settings(config: Config) -> list[Row]:
    """One setting a family and schedule, one for its curve, one for its noisy losses."""
    shared = config.varied()
    out = []
    for name, family in FAMILIES.items():
        if config.preset == "quick" and not family.quick:
            continue
        parts = [
            "curve",
            *(["marginal_optimal"] if family.searched else []),
            *(["noisy"] if _seeds(name, config.preset) else []),
        ]
        out += [{"family": name, "part": "schedule", "schedule": each, **shared} for each in SCHEDULES]
        out += [{"family": name, "part": part, **shared} for part in parts]
    return [*out, {"family": DRAWN, "part": "noisy", **shared}]


def _seeds(family: str, preset: str) -> int:
    quick, full = FAMILIES[family].seeds if family in FAMILIES else Family.seeds
    return quick if preset == "quick" else full


def compute(setting: Row, place: torch.device) -> list[Row]:
    """The rows of one part of one family."""
    parts = {"curve": _curve, "schedule": _schedule, "marginal_optimal": _marginal_optimal, "noisy": _noisy}
    rows = parts[setting["part"]](setting, place)
    return [{"family": setting["family"], **row} for row in rows]


def _curve(setting: Row, _: torch.device) -> list[Row]:
    """mmse and √(−mmse′) along log γ, for the figure, and S²/4 of the window."""
    target = law(setting["family"])
    low, high = span(target)
    snr = np.geomspace(low, high, 200)
    length = target.curve.discretisation_length(low, high)
    quarter = {
        "value": float(length.value) ** 2 / 4.0,
        "stderr": float(length.value) * float(length.stderr) / 2.0,
        "bias": float(length.value) * float(length.bias) / 2.0,
        "method": "S^2/4, " + length.method,
    }
    drawn = {
        "logsnr": np.log(snr).tolist(),
        "mmse": (np.asarray(target.mmse(snr).value) / target.total_variance).tolist(),
        "density": (snr * np.sqrt(np.asarray(target.mmse_slope(snr).value)) / float(length.value)).tolist(),
    }
    return [{"quantity": "quarter", "dim": target.dim, **quarter}, {"quantity": "curve", "dim": target.dim, **drawn}]


def _schedule(setting: Row, place: torch.device) -> list[Row]:
    target, name = law(setting["family"]), setting["schedule"]
    rows = []
    for steps in sorted({*STEPS[setting["preset"]], SHOWN}):
        grid = schedule(name, target, steps, span(target))
        rows += _divergences(target, grid, setting, place, {"schedule": name, "steps": steps})
        if steps == SHOWN:
            rows.append({"quantity": "grid", "schedule": name, "steps": steps, "logsnr": np.log(grid.snr).tolist()})
    return rows


def _divergences(target: Target, grid: Grid, setting: Row, place: torch.device, base: Row) -> list[Row]:
    """ddpm's path KL on a grid, and the marginal KL of ddpm and ddim where it is exact."""
    base = {"quantity": "kl", "dim": target.dim, **base}
    path = numbers(kl.path(target, samplers.ddpm(grid)))
    rows = [{**base, "sampler": "ddpm", "rung": "path", **path}]
    if FAMILIES[setting["family"]].marginal and (isinstance(target, Gaussian) or path["value"] < COARSE):
        moved = target if place.type == "cpu" else target.to(device=place)
        for sampler in ("ddpm", "ddim"):
            try:
                value = numbers(kl.marginal(moved, samplers.get(sampler)(grid)))
            except NotAvailableError as refusal:
                value = {"quantity": "refused", "value": None, "method": str(refusal)}
            rows.append({**base, "sampler": sampler, "rung": "marginal", **value})
    return rows


def _marginal_optimal(setting: Row, place: torch.device) -> list[Row]:
    """The grids that are best for the marginal KL of ddpm and of ddim."""
    target, rows = law(setting["family"]), []
    for sampler in ("ddpm", "ddim"):
        for steps in SEARCHED[setting["preset"]]:
            base = {"schedule": f"marginal_optimal ({sampler})", "steps": steps}
            try:
                found = kl.marginal_optimal(target, samplers.get(sampler), steps=steps, snr=span(target))
            except NotAvailableError as refusal:
                rows.append({**base, "quantity": "refused", "value": None, "method": str(refusal)})
                continue
            rows += _divergences(target, found.grid, setting, place, base)
            if steps == SHOWN:
                rows.append({"quantity": "grid", **base, "logsnr": np.log(found.grid.snr).tolist()})
    return rows


def _noisy(setting: Row, _: torch.device) -> list[Row]:
    """Regret of grids read off a simulated loss log: quartiles over seeds, for every rule and K."""
    family = setting["family"]
    regrets: dict[tuple[str, int], list[float]] = {}
    for seed in range(_seeds(family, setting["preset"])):
        chosen = chunk_seed(NAME, family, setting["seed"], seed)
        target = drawn_at_random(chosen) if family == DRAWN else law(family)
        low, high = span(target)
        log = simulated_losses(
            Exact(target), np.geomspace(low, high, LEVELS), setting["samples"] // LEVELS, seed=chosen
        )
        curve = LossCurve(read_losses(log, prediction="x0", weighting="sum"))
        for steps in NOISY[setting["preset"]]:
            best = float(kl.discretisation(target, Grid.optimal(target, steps=steps, snr=(low, high))).value)
            for rule in ("optimal", "recursion", "sqrt_slope"):
                grid = schedule(rule, curve, steps, curve.reach)
                found = float(kl.discretisation(target, grid).value) / best - 1.0
                regrets.setdefault((rule, steps), []).append(found)
    rarest = None if family == DRAWN else FAMILIES[family].rarest
    return [
        {
            "quantity": "regret",
            "schedule": rule,
            "steps": steps,
            "value": float(np.median(values)),
            "stderr": 1.2533 * float(np.std(values, ddof=1)) / len(values) ** 0.5,
            "bias": 0.0,
            "low": float(np.quantile(values, 0.25)),
            "high": float(np.quantile(values, 0.75)),
            "seeds": len(values),
            "rarest": None if rarest is None else rarest * setting["samples"],
            "method": f"median of seeds, {setting['samples']} samples on {LEVELS} levels",
        }
        for (rule, steps), values in regrets.items()
    ]


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    integer("samples", config.samples, 2 * LEVELS)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and verdicts, draw its figures."""
    check(config)
    from figures.schedules import draw

    study.run(NAME, config, settings(config), compute, schedule_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

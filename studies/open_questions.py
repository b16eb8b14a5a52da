"""Three questions that arXiv 2508.16306 leaves open, each met with measured numbers; none is settled by them.

1. Can K go below d/ε?  K*(d), the least K with KL ≤ ε², on laws that are no products, on every rung that is exact there:
   chain (flow+noise), chain (reverse) and the marginal of jain_zhang, path and marginal of ddpm and ei_sde.
2. Does the rate extend to the ODE without the noise step?  Marginal KL with the noise step (ρ = 1) and without (ρ = 0, ddim,
   heun), on the line, on spheres (of radius 2√d: at √d they are near N(0, I)) and in 64 dimensions.
3. Is the sampler better in practice?  Marginal KL of eight samplers at equal denoiser evaluations, each on the better of two
   grids: h = c·min(1, t) and equal steps of log snr.

All on one window of OU time from T to δ, started from the true law at T.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from studies import open_verdicts, study
from studies.dimension_scaling import numbers
from studies.store import Row
from targets import ArgumentError, Estimate, NotAvailableError, Target, get
from targets.arguments import integer, real
from verify import Grid, kl, rates, samplers
from verify.step import Table

NAME = "open_questions"


@dataclass(frozen=True)
class Config(study.Config):
    """Three open questions in numbers: steps against dimension, the flow without noise, equal evaluations."""

    start_time: float = 4.0
    """T: OU time at which sampling starts, from the true law there."""
    stop_time: float = 1e-2
    """δ: OU time at which it stops; every sampler is compared at this level."""
    epsilon2: float = 1e-2
    """ε²: K*(d) is the least K with KL ≤ ε² nats on the stated rung."""


@dataclass(frozen=True)
class Growing:
    """A law for each dimension (points of its curve in each replicate), and the dimensions of the two presets."""

    build: Callable[[int, int], Target]
    quick: tuple[int, ...]
    full: tuple[int, ...]


GROWING = {
    "sphere, radius 2√d": Growing(
        lambda d, p: get("sphere", dim=d, spread=2.0).refined(p), (3, 30, 300), (3, 10, 30, 100, 300, 1_000, 3_000)
    ),
    "sphere, radius √d (near N(0, I))": Growing(
        lambda d, p: get("sphere", dim=d).refined(p), (3, 30, 300), (3, 30, 300, 3_000)
    ),
    "scale mixture": Growing(lambda d, p: get("scale_mixture", dim=d).refined(p), (3, 10, 30), (3, 10, 30, 100, 300)),
    "random centres": Growing(
        lambda d, p: get("random_centres", dim=d).refined(p), (2, 8, 32, 128), (2, 4, 8, 16, 32, 64, 128, 256)
    ),
    "Markov chain, 4 nats": Growing(
        lambda d, p: get("fixed_entropy_chain", length=d).refined(p), (8, 32, 128), (8, 16, 32, 64, 128)
    ),
    "digits, leading components": Growing(
        lambda d, p: get("digits", components=d).refined(p), (4, 16, 64), (2, 4, 8, 16, 32, 64)
    ),
}
POINTS = {"quick": 64, "full": 128}
LIMIT = {"quick": 64, "full": 128}
"""The K beyond which K* of a rung that falls like K⁻² is taken from the limit of K² KL."""


@dataclass(frozen=True)
class Single:
    """A law; `full_only`: left out of the quick preset."""

    build: Callable[[], Target]
    full_only: bool = False


FLOWS = {
    "curved mixture": Single(lambda: get("curved_mixture")),
    "two components": Single(lambda: get("two_components")),
    "sphere, d = 3": Single(lambda: get("sphere", dim=3, spread=2.0)),
    "sphere, d = 30": Single(lambda: get("sphere", dim=30, spread=2.0), full_only=True),
    "sphere, d = 300": Single(lambda: get("sphere", dim=300, spread=2.0), full_only=True),
    "sphere, d = 1000": Single(lambda: get("sphere", dim=1_000, spread=2.0)),
    "anisotropic Gaussian, d = 64": Single(lambda: get("anisotropic_gaussian", dim=64)),
    "low-rank mixture, d = 64": Single(lambda: get("low_rank_mixture", dim=64)),
}
FLOW_STEPS = {"quick": (16, 32, 64), "full": (16, 32, 64, 128, 256)}
SAMPLED_STEPS = (32, 64)
"""The K of laws whose flow is followed at sampled points."""

SAMPLED = {"low-rank mixture, d = 64": {"quick": 64, "full": 512}}
"""Sampled points of those laws."""

COSTS = {
    "curved mixture": Single(lambda: get("curved_mixture")),
    "sphere, d = 30": Single(lambda: get("sphere", dim=30, spread=2.0)),
    "anisotropic Gaussian": Single(lambda: get("anisotropic_gaussian", dim=8)),
}
BUDGETS = {"quick": (16, 32, 64), "full": (16, 32, 64, 128)}
"""Denoiser evaluations of a whole run."""
GRIDS = ("exponential_uniform", "log_snr")

law = lru_cache(maxsize=None)(lambda build: build())


def grid_of(steps: int, window: tuple[float, float], kind: str = "exponential_uniform") -> Grid:
    """`steps` steps of the named kind over the window of OU time."""
    grid = Grid.exponential_uniform(steps, ou_time=window)
    return grid if kind == "exponential_uniform" else Grid.log_snr(steps, snr=(float(grid.snr[0]), float(grid.snr[-1])))


def table_of(sampler: str, grid: Grid) -> Table:
    """The sampler's table of grid.steps steps that stops at the grid's last level; "flow alone" is jain_zhang at ρ = 0."""
    if sampler == "flow alone":
        return samplers.jain_zhang(grid.beyond(), overshoot=0.0)
    return samplers.get(sampler)(grid.beyond() if sampler == "jain_zhang" else grid)


def settings(config: Config) -> list[Row]:
    """One setting a question and law: a dimension of the first, a law of the second, a law and budget of the third."""
    shared = config.varied()
    quick = config.preset == "quick"
    growing = [
        {"question": 1, "family": name, "dim": dim}
        for name, family in GROWING.items()
        for dim in (family.quick if quick else family.full)
    ]
    flows = [{"question": 2, "family": name} for name, one in FLOWS.items() if not (quick and one.full_only)]
    costs = [{"question": 3, "family": name, "budget": budget} for name in COSTS for budget in BUDGETS[config.preset]]
    return [{**setting, **shared} for setting in (*growing, *flows, *costs)]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """The rows of one question on one law."""
    window = (setting["start_time"], setting["stop_time"])
    if setting["question"] == 1:
        target = GROWING[setting["family"]].build(setting["dim"], POINTS[setting["preset"]])
        return [
            row for rung in open_verdicts.RUNGS for row in _least_steps(_placed(target, place), setting, *rung, window)
        ]
    if setting["question"] == 2:
        return _flows(_placed(law(FLOWS[setting["family"]].build), place), setting, window)
    return _costs(_placed(law(COSTS[setting["family"]].build), place), setting, window)


def _placed(target: Target, place: torch.device) -> Target:
    return target if place.type == "cpu" else target.to(device=place)


def _least_steps(
    target: Target, setting: Row, sampler: str, rung: str, reference: str, window: tuple[float, float]
) -> list[Row]:
    """K* of one rung, with where the interpolated KL crosses ε²; none but the reason where the rung is not exact."""
    base = {key: setting[key] for key in ("question", "family", "dim")}
    base |= {"sampler": sampler, "rung": rung, "reference": reference}
    level, quick = setting["epsilon2"], reference in ("flow+noise", "none")
    known: dict[int, Estimate] = {}

    def at(steps: int) -> Estimate:
        if steps not in known:
            known[steps] = divergence(target, table_of(sampler, grid_of(steps, window)), rung, reference)
        return known[steps]

    limits = {"exact_up_to": LIMIT[setting["preset"]], "limit_at": LIMIT[setting["preset"]]} if quick else {}
    try:
        reach = rates.steps_to_reach(at, level, order=2 if quick else 1, **limits)
    except NotAvailableError as refusal:
        return [{**base, "quantity": "refused", "value": None, "method": str(refusal)}]
    found = {"value": float(reach.steps), "stderr": float(reach.stderr), "bias": float(reach.bias)}
    crossing = float(reach.steps)
    if not reach.extrapolated and crossing > 1:
        crossing = crossed(int(crossing), float(at(int(crossing) - 1).value), float(at(int(crossing)).value), level)
    return [
        {
            **base,
            "quantity": "steps",
            **found,
            "crossing": crossing,
            "extrapolated": reach.extrapolated,
            "epsilon2": level,
            "method": "limit of K^p KL" if reach.extrapolated else "least K with KL <= eps^2",
        }
    ]


def crossed(steps: int, before: float, after: float, level: float) -> float:
    """Where the line through (K − 1, before) and (K, after) in log–log meets the level, before > level ≥ after."""
    share = math.log(before / level) / math.log(before / after)
    return (steps - 1) * (steps / (steps - 1)) ** share


def divergence(target: Target, table: Table, rung: str, reference: str) -> Estimate:
    """The stated rung of the table."""
    if rung == "marginal":
        return kl.marginal(target, table)
    return kl.path(target, table) if rung == "path" else kl.chain(target, table, reference=reference)


def _flows(target: Target, setting: Row, window: tuple[float, float]) -> list[Row]:
    """Marginal KL against K with the noise step and without; a sampler that is refused gives its reason once."""
    preset, family, rows = setting["preset"], setting["family"], []
    points = SAMPLED.get(family, {}).get(preset, 256)
    for sampler in open_verdicts.FLOWS:
        base = {"question": 2, "family": family, "dim": target.dim, "sampler": sampler, "rung": "marginal"}
        refused: list[Row] = []
        for steps in SAMPLED_STEPS if family in SAMPLED else FLOW_STEPS[preset]:
            table = table_of(sampler, grid_of(steps, window))
            row = {**base, "reference": "none", "steps": steps, "evaluations": table.evaluations}
            try:
                found = numbers(kl.marginal(target, table, points=points, seed=setting["seed"]))
                rows.append({**row, "quantity": "kl", **found})
            except NotAvailableError as refusal:
                refused.append({**row, "quantity": "refused", "value": None, "method": str(refusal)})
        rows += refused[-1:]
    return rows


def _costs(target: Target, setting: Row, window: tuple[float, float]) -> list[Row]:
    """Marginal KL of every sampler on both grids at one number of evaluations."""
    rows = []
    for sampler, kind in open_verdicts.SAMPLERS.items():
        each = table_of(sampler, grid_of(2, window)).evaluations // 2
        for grid in GRIDS:
            table = table_of(sampler, grid_of(setting["budget"] // each, window, grid))
            row = {"question": 3, "family": setting["family"], "dim": target.dim, "sampler": sampler, "kind": kind}
            row |= {"rung": "marginal", "reference": "none", "grid": grid, "steps": setting["budget"] // each}
            row |= {"budget": setting["budget"], "evaluations": table.evaluations}
            try:
                found = numbers(kl.marginal(target, table, seed=setting["seed"]))
                rows.append({**row, "quantity": "kl", **found})
            except (NotAvailableError, ArgumentError) as refusal:
                rows.append({**row, "quantity": "refused", "value": None, "method": str(refusal)})
    return rows


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    real("start-time", config.start_time, "a time T > stop-time", low=config.stop_time)
    real("stop-time", config.stop_time, "a time δ > 0", low=0.0)
    real("epsilon2", config.epsilon2, "a number > 0", low=0.0)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and what they say on each question, draw its figures."""
    check(config)
    from figures.open_questions import draw

    study.run(NAME, config, settings(config), compute, open_verdicts.report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

"""The laws that networks are trained on, how long, and a trained network with its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from studies.store import Row
from studies.study import console
from targets import Product, Target, get
from verify.carry.particles import chunk_seed
from verify.learn import ErrorCurve, EvaluationSet, Learned, Network, Trained, Training, train
from verify.oracle import Oracle
from verify.provenance import code_version
from verify.span import span

LEVELS = {"quick": 33, "full": 65}
"""Levels at which a network's error is measured, equally far apart in log γ."""
DRAWS = {1: 128, 64: 32, 100: 32, 1000: 8, 10000: 4}
"""Draws in each of 32 replicates, by dimension: squared norms spread less in higher dimension."""

TRAINING = {
    "quick": {1: (800, 512, 1), 64: (400, 512, 1), 100: (400, 512, 1)},
    "full": {
        1: (3000, 1024, 1),
        64: (2500, 1024, 1),
        100: (2500, 1024, 1),
        1000: (2000, 1024, 4),
        10000: (400, 1024, 4),
    },
}
"""Steps, batch and reuse of a training run, by dimension: a smaller batch is cheaper and learns next to nothing."""


@dataclass(frozen=True)
class Family:
    """A law in each dimension, the dimensions of a preset, and what is computed of its networks."""

    build: Callable[[int], Target]
    dims: dict[str, tuple[int, ...]]
    parts: tuple[str, ...] = ("curve", "rungs", "reach", "schedules")


SCALED = {"quick": (100,), "full": (100, 1000, 10000)}
FAMILIES = {
    "low-rank mixture": Family(lambda dim: get("low_rank_mixture", dim=dim), SCALED),
    "product": Family(lambda dim: Product([get("two_components")] * dim), SCALED),
    "codebook": Family(lambda dim: get("codebook", dim=dim), SCALED),
    "digits": Family(lambda _: get("digits"), {"quick": (64,), "full": (64,)}, (*Family.parts, "marginal")),
    "curved mixture": Family(
        lambda _: get("curved_mixture"), {"quick": (1,), "full": (1,)}, (*Family.parts, "marginal")
    ),
}
MEMORISED = {
    "quick": {"low-rank mixture": (10, 100, 1000)},
    "full": {"low-rank mixture": (10, 100, 1000, 10000), "curved mixture": (10, 100, 1000, 10000)},
}
"""Sizes of training sets, drawn from the law in its smallest dimension."""


@dataclass(frozen=True, eq=False)
class Learner:
    """A law, its window, a network trained on it, and how its errors are measured."""

    target: Target
    window: tuple[float, float]
    trained: Trained
    points: int
    seed: int
    preset: str

    @property
    def levels(self) -> np.ndarray:
        """Where errors are measured, first and last level of the window included."""
        levels = np.geomspace(*self.window, LEVELS[self.preset])
        levels[[0, -1]] = self.window
        return levels

    @cached_property
    def oracle(self) -> Learned:
        """The network as an oracle."""
        return self.asked(self.trained.network)

    def asked(self, network: Network) -> Learned:
        """A network of this law as an oracle."""
        return Learned(self.target, network, points=self.points, seed=chunk_seed("learned score, moments", self.seed))

    @cached_property
    def error(self) -> ErrorCurve:
        """E‖m̂ − m‖² along the window."""
        return self.distance(self.oracle)

    def distance(self, first: Oracle, second: Oracle | None = None) -> ErrorCurve:
        """E‖first − second‖² along the window (second: the exact denoiser), all on the same draws."""
        seed = chunk_seed("learned score, errors", self.seed)
        return ErrorCurve(first, second, snr=self.levels, points=self.points, seed=seed)

    @cached_property
    def evaluation(self) -> EvaluationSet:
        """Losses on fixed draws, which are not those of the error."""
        return EvaluationSet(self.oracle, points=self.points, seed=chunk_seed("learned score, losses", self.seed))


def learned(
    folder: Path, setting: Row, place: torch.device, source: Callable[[Target], Target] = lambda target: target
) -> Learner:
    """The network of a setting: from its checkpoint in `folder`, or trained on from there.

    `source`: the law that it is trained on, made from the target; the noise levels are the target's own.
    """
    family, dim, preset = setting["family"], setting["dim"], setting["preset"]
    target = FAMILIES[family].build(dim).to(device=place)
    window = span(target)
    steps, batch, reused = TRAINING[preset][dim]
    seed = chunk_seed("learned score", family, dim, setting["seed"])
    name = chunk_seed(family, dim, preset, setting["seed"], setting.get("points"), code_version())
    trained = train(
        source(target),
        Training(steps=steps, batch=batch, reused=reused, seed=seed, snr=window),
        file=folder / f"{name:016x}.safetensors",
        progress=console,
    )
    return Learner(target, window, trained, DRAWS[dim], setting["seed"], preset)

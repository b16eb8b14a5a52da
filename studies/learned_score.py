"""What a learned score costs: networks whose error is known exactly, because the mmse is.

Networks are trained by denoising score matching on draws of a law (verify.learn) and are then oracles like any other: their
loss exceeds the mmse by E‖m̂ − m‖², and ½ ∫ E‖m̂ − m‖² dγ, the floor, is what no number of steps removes from path KL.

- curve: loss on a fixed evaluation set, its excess over the mmse, the error itself, and that before training
- rungs: path KL by the loss alone and by its terms, chain KL, against K; the marginal where it is exact
- reach: the steps at which discretisation falls to the floor, frozen denoiser beside frozen score, against dimension
- schedules: the grid read off the network's own training losses beside the best one and those in use
- memory: trained on n points, is the network nearer the denoiser of the points or of the law?

All grids start from the true law at γ_0 of the window in which the law is told (verify.span).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from studies import learned_parts, learned_verdicts, study
from studies.learned_laws import FAMILIES, MEMORISED, Learner, learned
from studies.store import Row
from targets.arguments import integer

NAME = "learned_score"


@dataclass(frozen=True)
class Config(study.Config):
    """Networks trained on laws in dimension 100 (quick), 1,000 and 10,000 (full), and what their errors cost."""


def settings(config: Config) -> list[Row]:
    """One setting a family, dimension and part, those of one network together; one a training set for memory."""
    shared = config.varied()
    out = [
        {"family": name, "dim": dim, "part": part, **shared}
        for name, family in FAMILIES.items()
        for dim in family.dims[config.preset]
        for part in family.parts
    ]
    memory = [
        {"family": name, "dim": family.dims["quick"][0], "part": "memory", "points": count, **shared}
        for name, family in FAMILIES.items()
        for count in MEMORISED[config.preset].get(name, ())
    ]
    return out + memory


def compute(out: Path, setting: Row, place: torch.device) -> list[Row]:
    """The rows of one part of one network."""
    folder = out / NAME / "networks"
    chosen = tuple(sorted((key, value) for key, value in setting.items() if key != "part"))
    if setting["part"] == "memory":
        rows = learned_parts.memory(folder, setting, place)
    else:
        rows = PARTS[setting["part"]](_learner(folder, chosen, place), setting["preset"])
    return [{**{key: setting[key] for key in ("family", "dim", "part")}, **row} for row in rows]


@lru_cache(maxsize=1)
def _learner(folder: Path, chosen: tuple[tuple[str, Any], ...], place: torch.device) -> Learner:
    """One network at a time: its parts follow one another."""
    return learned(folder, dict(chosen), place)


PARTS: dict[str, Callable[[Learner, str], list[Row]]] = {
    "curve": learned_parts.curve,
    "rungs": learned_parts.rungs,
    "reach": learned_parts.reach,
    "schedules": learned_parts.schedules,
    "marginal": learned_parts.marginals,
}


def together(setting: Row) -> object:
    """Settings of one network are computed in one place, after training it once."""
    return tuple(sorted((key, str(value)) for key, value in setting.items() if key != "part" or value == "memory"))


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its tables and verdicts, draw its figures."""
    check(config)
    from figures.learned_score import draw

    there = partial(compute, config.out.resolve())
    study.run(NAME, config, settings(config), there, learned_verdicts.report, draw, together)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

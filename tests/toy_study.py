"""A small study with every fault that a sweep can meet: `python -m toy_study --spoil nan:3`, with this folder on the path."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from studies import study
from studies.store import Row
from targets import get
from verify import Grid, samplers
from verify.carry import particles
from verify.oracle import Exact

NAME = "toy_study"


@dataclass(frozen=True)
class Config(study.Config):
    """Sums of particles, one setting a seed."""

    count: int = 12
    wait: float = 0.0
    spoil: str = ""
    marker: str = ""


class Broken(Exact):
    """An oracle that answers NaN."""

    def error(self, y, denoised, at):
        return torch.full_like(y, torch.nan)


def settings(config: Config) -> list[Row]:
    shared = {key: value for key, value in config.varied().items() if key not in ("count", "wait", "spoil", "marker")}
    what, _, where = config.spoil.partition(":")
    faults = {int(i): what for i in where.split(",") if i}
    return [
        {
            "family": f"toy {i}",
            "dim": 2,
            **shared,
            **({"fault": faults[i], "marker": config.marker} if i in faults else {}),
            "wait": config.wait,
        }
        for i in range(config.count)
    ]


def compute(setting: Row, place: torch.device) -> list[Row]:
    time.sleep(setting["wait"])
    fault, seed = setting.get("fault"), int(setting["family"].split()[1])
    if fault == "raise":
        raise ZeroDivisionError(f"seed {seed}")
    if fault == "kill" and not (setting["marker"] and Path(setting["marker"]).exists()):
        Path(setting["marker"] or os.devnull).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    law = get("random_centres", dim=40).to(place)
    oracle = Broken(law) if fault == "nan" else Exact(law)
    out = particles.run(samplers.ddpm(Grid.exponential_uniform(6, ou_time=(3.0, 0.1))), oracle, 700, seed=seed)
    return [{"quantity": "square", "coordinate": i, "value": float(out[:, i].square().mean())} for i in range(3)]


def stamp(setting: Row) -> list[Row]:
    """The time at which the setting was done."""
    time.sleep(setting["wait"])
    return [{"value": time.time()}]


def report(rows: list[Row]) -> None:
    study.console.print(f"{len(rows)} rows")


def draw(path: Path, keys: set[str]) -> list[Path]:
    return [path] if keys else []


def main(config: Config) -> None:
    study.run(NAME, config, settings(config), compute, report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

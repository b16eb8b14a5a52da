"""What a sweep costs beside its settings: machinery a setting, one and two workers, start-up of every command.

Limits: 10 ms a setting; two workers at least 1.7 times as fast as one; `--help` within 2 s.  Wall times: run alone.
"""

import subprocess
import sys
import time

import pytest
from beside import elapsed, noted

from studies import study
from studies.__main__ import STUDIES
from studies.engine import Engine
from studies.store import Row, Store
from targets import get
from verify import Grid, samplers
from verify.carry import particles
from verify.oracle import Exact

COMMANDS = [
    ["-m", "studies"],
    *(["-m", f"studies.{name}"] for name in (*STUDIES, "plan", "rows", "loss_adaptive")),
    ["-m", "verify"],
    ["-m", "figures"],
]


def trivial(setting: Row) -> list[Row]:
    return [{"value": float(setting["index"])}] * 10


def heavy(setting: Row) -> list[Row]:
    """About half a second of matrix products."""
    table = samplers.ddpm(Grid.exponential_uniform(8, ou_time=(3.0, 0.1)))
    out = particles.run(table, Exact(get("random_centres", dim=64)), 2**15, seed=setting["index"])
    return [{"value": float(out.square().mean())}]


def test_machinery(benchmark, tmp_path):
    """Ten rows a setting, 200 settings: everything but computing them."""
    settings: list[Row] = [{"family": "trivial", "index": i} for i in range(200)]

    def sweep() -> None:
        study.sweep(Store(tmp_path, f"sweep{time.monotonic_ns()}"), settings, trivial)

    seconds = elapsed(sweep) / len(settings)
    noted(benchmark, seconds / 0.01, 1.0, "10 ms a setting", f"{1000 * seconds:.1f} ms a setting of 10 rows")
    benchmark.pedantic(sweep, rounds=3)


def test_two_workers_against_one(benchmark, tmp_path):
    """Workers that are there already; one thread each."""
    settings: list[Row] = [{"family": "heavy", "index": i} for i in range(24)]

    def swept(workers: int) -> float:
        folder = Store(tmp_path, f"sweep{time.monotonic_ns()}")
        return elapsed(lambda: study.sweep(folder, settings, heavy, Engine(workers=workers)))

    study.sweep(Store(tmp_path, "warm"), settings[:4], heavy, Engine(workers=2))
    ratios = sorted(swept(2) / swept(1) for _ in range(3))
    noted(benchmark, ratios[1], 1 / 1.7, "one worker", "24 settings of half a second, two workers")
    benchmark.pedantic(swept, args=(2,), rounds=1)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[1])
def test_start_up(benchmark, command):
    """`--help`, the best of three."""

    def run() -> None:
        subprocess.run([sys.executable, *command, "--help"], check=True, capture_output=True)

    run()
    seconds = min(elapsed(run) for _ in range(3))
    noted(benchmark, seconds / 2.0, 1.0, "2 s", f"python {' '.join(command)} --help, {seconds:.2f} s")
    benchmark.pedantic(run, rounds=1)

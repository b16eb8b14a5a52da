"""A sweep on a Dask cluster: scheduler and workers are processes of their own on loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
import toy_study

from figures import load
from studies import study
from studies.engine import Engine
from studies.store import Store

pytest.importorskip("distributed")

HERE = Path(__file__).parent
COMPUTE = partial(toy_study.compute, place=torch.device("cpu"))
WAIT = 120.0
"""Seconds that a process may take to be there."""

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def started(folder: Path, name: str, *arguments: str) -> subprocess.Popen:
    """A process of the cluster, whose words go to a file."""
    paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """(address, worker processes) of a scheduler with its workers, all there."""
    told = folder / "scheduler.json"
    options = ("--no-dashboard", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(told))
    processes = [started(folder, "scheduler", "scheduler", *options)]
    try:
        end = time.monotonic() + WAIT
        while not (told.exists() and told.stat().st_size):
            assert time.monotonic() < end, (folder / "scheduler.log").read_text()
            time.sleep(0.05)
        address = json.loads(told.read_text())["address"]
        for i in range(workers):
            processes.append(
                started(folder, f"worker{i}", "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            )
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def swept(folder: Path, engine: Engine, **options) -> dict[str, list[float]]:
    settings = toy_study.settings(toy_study.Config(**options))
    study.sweep(Store(folder, "toy"), settings, COMPUTE, engine)
    return values(folder)


def values(folder: Path) -> dict[str, list[float]]:
    out: dict[str, list[float]] = {}
    for row in load.rows(folder / "toy" / "rows.jsonl"):
        out.setdefault(row["setting"]["family"], []).append(row["value"])
    return out


def test_a_cluster_gives_the_same_bits_and_marks_what_fails(tmp_path):
    here = swept(tmp_path / "here", Engine())
    with cluster(tmp_path) as (address, _):
        assert swept(tmp_path / "there", Engine(scheduler=address)) == here
        with pytest.raises(
            study.FailedSettingsError, match=r"1 of 12 settings failed(.|\n)*toy 7.*value = nan in row 0"
        ):
            swept(tmp_path / "fault", Engine(scheduler=address), spoil="nan:7")
        assert values(tmp_path / "fault") == {name: row for name, row in here.items() if name != "toy 7"}


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(tmp_path):
    """One of two workers dies by SIGKILL in the middle: the scheduler gives its settings to the other."""
    here = swept(tmp_path / "here", Engine(), wait=0.2)
    with cluster(tmp_path) as (address, workers):
        line = [sys.executable, "-m", "toy_study", "--out", str(tmp_path / "there"), "--scheduler", address]
        run = subprocess.Popen([*line, "--wait", "0.2"], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        rows, end = tmp_path / "there" / "toy_study" / "rows.jsonl", time.monotonic() + WAIT
        while not (rows.exists() and rows.stat().st_size):
            assert time.monotonic() < end
            time.sleep(0.02)
        workers[0].send_signal(signal.SIGKILL)
        out, _ = run.communicate(timeout=WAIT)
        assert run.returncode == 0, out
    found: dict[str, list[float]] = {}
    for row in load.rows(rows):
        found.setdefault(row["setting"]["family"], []).append(row["value"])
    assert found == here


@pytest.mark.slow
def test_a_dead_scheduler_stops_the_sweep_and_the_next_goes_on(tmp_path):
    here = swept(tmp_path / "here", Engine())
    with cluster(tmp_path, workers=1) as (address, workers):
        line = [sys.executable, "-m", "toy_study", "--out", str(tmp_path / "there"), "--scheduler", address]
        run = subprocess.Popen(
            [*line, "--wait", "0.5"], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        rows, end = tmp_path / "there" / "toy_study" / "rows.jsonl", time.monotonic() + WAIT
        while not (rows.exists() and rows.stat().st_size):
            assert time.monotonic() < end
            time.sleep(0.02)
        subprocess.run(["pkill", "-KILL", "-f", f"scheduler-file {tmp_path}"], check=True)
        _, errors = run.communicate(timeout=WAIT)
        assert run.returncode == 1, errors
        assert re.search(r"error: the cluster at tcp.* cannot go on .*goes on from them", errors), errors
        assert len(workers) == 1
    kept = sum(1 for _ in load.rows(rows))
    assert 0 < kept < 36
    again = subprocess.run(
        [*line[:-2], "--wait", "0.5", "--workers", "1"], cwd=HERE, check=True, capture_output=True, timeout=WAIT
    )
    assert b"36 rows" in again.stdout
    assert sorted(row["value"] for row in load.rows(rows)) == sorted(v for one in here.values() for v in one)

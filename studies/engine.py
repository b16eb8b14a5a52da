"""Where a sweep's settings are computed: in this process, in worker processes, on a running Dask cluster.

A unit is a list of settings that are computed one after another in one place; most sweeps have one setting to a unit.
Everywhere a unit runs on `threads` threads, so that n workers take n·threads cores and no more; with one thread each,
rows are the same to the bit wherever they are computed, in whatever order.  Queues and retries are joblib's and Dask's.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from studies.store import Row, StoppedSweepError
from targets import ArgumentError
from targets.arguments import refuse
from verify.provenance import code_version, surroundings

Compute = Callable[[Row], list[Row]]
"""The rows of a setting.  To be sent to another process it has to be a module's function, or a `partial` of one."""

ADDRESS = re.compile(r"(?:[a-z]+://)?[^\s/]+:\d{1,5}|inproc://\S+")
"""What addresses of schedulers look like; without a scheme they are tcp."""

PATIENCE = "10s"
"""How long a scheduler may take to answer."""


@dataclass(frozen=True)
class Engine:
    """Worker processes here, or a Dask scheduler's address; threads of each worker."""

    workers: int = 1
    threads: int = 1
    scheduler: str | None = None


@dataclass(frozen=True)
class Done:
    """A setting's rows, or the cause why there are none; what it took."""

    setting: Row
    rows: list[Row] | None
    cause: str
    trace: str
    made: Row


class OtherCodeError(RuntimeError):
    """A worker that runs another version of the code."""


def computed(compute: Compute, unit: list[Row], threads: int, code: str) -> list[Done]:
    """The unit's settings, one after another; an exception marks the setting and leaves the others alone."""
    if code_version() != code:
        raise OtherCodeError(
            f"the worker on {platform.node()} runs code {code_version()}, the process that asks {code}"
        )
    with limited(threads):
        return [_one(compute, setting) for setting in unit]


def results(engine: Engine, compute: Compute, units: list[list[Row]]) -> Generator[list[Done], None, None]:
    """Each unit's results as they arrive, in any order."""
    if engine.scheduler is not None:
        return _on_cluster(engine, compute, units)
    if min(engine.workers, len(units)) > 1:
        return _in_processes(engine, compute, units)
    return (computed(compute, [setting], engine.threads, code_version()) for unit in units for setting in unit)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Torch and the linear algebra libraries on this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def pace() -> float:
    """CPU seconds that this machine takes for a fixed piece of work on one thread: what costs are compared by."""
    with limited(1):
        matrix = torch.linspace(0.0, 1.0, 2**18, dtype=torch.float64).reshape(512, 512)
        times = []
        for _ in range(5):
            began = time.process_time()
            torch.exp(matrix @ matrix - 1e3).sum().item()
            times.append(time.process_time() - began)
    return min(times)


def _one(compute: Compute, setting: Row) -> Done:
    began = time.process_time()
    rows, cause, trace = None, "", ""
    try:
        rows = compute(setting)
        _check(rows)
    except Exception as error:  # the other settings are independent of it
        rows, cause, trace = None, f"{type(error).__name__}: {error}", traceback.format_exc(limit=-8)
    made = {
        **surroundings(),
        "threads": torch.get_num_threads(),
        "seconds": round(time.process_time() - began, 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "pace": pace(),
    }
    return Done(setting, rows, cause, trace, made)


def _check(rows: list[Row]) -> None:
    """Refuse rows that are no JSON, naming the field."""
    for i, row in enumerate(rows):
        for field, value in row.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                what = "a finite number" if isinstance(value, float) and not math.isfinite(value) else "plain JSON"
                raise ArgumentError(f"{field} = {value!r} in row {i}: expected {what}") from None


# ---- worker processes --------------------------------------------------------------------------------


def _in_processes(engine: Engine, compute: Compute, units: list[list[Row]]) -> Generator[list[Done], None, None]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import BrokenProcessPool

    with parallel_config(backend="loky", inner_max_num_threads=engine.threads, initializer=_quiet):
        one: Any = 1  # a task a unit: bundled ones would keep finished rows waiting
        pool: Any = Parallel(min(engine.workers, len(units)), return_as="generator_unordered", batch_size=one)
        try:
            yield from pool(delayed(computed)(compute, unit, engine.threads, code_version()) for unit in units)
        except OtherCodeError as error:
            raise StoppedSweepError(f"the code changed under the sweep: {error}; start it again") from None
        except BrokenProcessPool:
            raise StoppedSweepError(
                "a worker process was killed, most often because memory ran out: the rows that were finished are on disk, "
                f"and the same command goes on from them, with fewer --workers than {engine.workers} if it was memory"
            ) from None


def _quiet() -> None:
    """Workers leave Ctrl-C and the terminal to the process that they work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TTY_COMPATIBLE"] = "0"


# ---- a Dask cluster ----------------------------------------------------------------------------------


def _on_cluster(engine: Engine, compute: Compute, units: list[list[Row]]) -> Generator[list[Done], None, None]:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    with connected(str(engine.scheduler)) as client:
        futures = {
            client.submit(computed, compute, unit, engine.threads, code_version(), pure=False): unit for unit in units
        }
        arriving = as_completed(list(futures), loop=client.loop, with_results=True, raise_errors=False)
        try:
            for future, found in arriving:
                unit = futures.pop(future)
                if future.status == "finished":
                    future.release()  # its rows are on their way to disk: nobody computes them again
                    yield found
                elif future.status == "error" and isinstance(_error(found), KilledWorker):
                    cause = f"its workers died, for want of memory or because their jobs ended: {_error(found)}"
                    yield [Done(one, None, cause, "", {}) for one in unit]
                elif isinstance(_error(found), OtherCodeError):
                    raise StoppedSweepError(f"{_error(found)}: start the workers again from this checkout")
                else:
                    raise StoppedSweepError(_lost(engine, _error(found)))
        except (OSError, TimeoutError) as error:
            raise StoppedSweepError(_lost(engine, error)) from error
        finally:
            client.cancel(list(futures), force=True)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the scheduler at `address`.

    Raises `ArgumentError` where the library is not installed, the address is none or nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ArgumentError(
            f"scheduler = {address!r}: needs Dask; install it by: pip install 'truerate[cluster]'"
        ) from error
    if not ADDRESS.fullmatch(address):
        refuse(
            "scheduler", address, "the address of a running Dask scheduler, scheme://host:port, such as tcp://host:8786"
        )
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ArgumentError(
            f"scheduler = {address!r}: expected the address of a running Dask scheduler, such as tcp://host:8786 "
            f"({type(error).__name__} after {PATIENCE})"
        ) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would say is raised as well
    with client:
        yield client


def _error(found: Any) -> BaseException | None:
    """What Dask hands over for a future that failed: an exception, or (type, exception, traceback)."""
    if isinstance(found, tuple):
        return next((part for part in found if isinstance(part, BaseException)), None)
    return found if isinstance(found, BaseException) else None


def _lost(engine: Engine, error: BaseException | None) -> str:
    told = f"{type(error).__name__}: {error}".splitlines()[0] if error else "the scheduler dropped the work"
    return (
        f"the cluster at {engine.scheduler} cannot go on ({told}); the rows that were finished are on disk, and the same "
        "command goes on from them"
    )

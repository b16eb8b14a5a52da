"""Two pieces of work run in turn in one process: the ratio of their CPU times."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any


def side_by_side(first: Callable[[], Any], second: Callable[[], Any], rounds: int = 15, batch: int = 1) -> float:
    """Median over `rounds` of the time of `first` over that of `second`, each run `batch` times at a stretch."""
    first()
    second()
    ratios = []
    for _ in range(rounds):
        times = []
        for work in (first, second):
            start = time.process_time()
            for _ in range(batch):
                work()
            times.append(time.process_time() - start)
        ratios.append(times[0] / times[1])
    return median(ratios)


def elapsed(work: Callable[[], Any]) -> float:
    """Seconds on the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def noted(benchmark: Any, ratio: float, limit: float | None, against: str, sizes: str) -> None:
    """Print a ratio, and leave it with its limit (None: no number to reach) for the summary of the benchmarks."""
    benchmark.extra_info.update(ratio=round(ratio, 3), against=against, limit=limit, sizes=sizes)
    print(f"\n{sizes}: {ratio:.3f} of {against} (limit {limit})")

"""How the costs of curves, divergences and carriers grow: CPU seconds at several sizes, and the exponent between them.

Each test works at rising sizes in turn, three rounds, takes the least CPU time of each and fits log(time) = a + b log(size).
The exponent b, that between the last two sizes (small ones are dominated by what every call costs), and the times go to the
benchmark's extra_info.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from targets import Discrete, get
from verify import Grid, kl, samplers
from verify.carry.density import density
from verify.carry.flow import flow
from verify.carry.moments import moments
from verify.carry.radial import radial
from verify.kl.frozen import _LATEST
from verify.oracle import Exact

ROUNDS = 3
WINDOW = (4.0, 1e-2)


def table(name: str, steps: int):
    return samplers.get(name)(Grid.exponential_uniform(steps, ou_time=WINDOW))


def fitted(benchmark, against: str, sizes: tuple[int, ...], prepare):
    """`prepare(size)` gives the work of that size, which is timed alone."""
    times = np.full(len(sizes), np.inf)

    def measure() -> None:
        for _ in range(ROUNDS):
            for place, size in enumerate(sizes):
                work = prepare(size)
                start = time.process_time()
                work()
                times[place] = min(times[place], time.process_time() - start)

    benchmark.pedantic(measure, rounds=1)
    logs = np.log(sizes), np.log(np.maximum(times, 1e-9))
    slope = float(np.polyfit(*logs, 1)[0])
    last = float(np.diff(logs[1])[-1] / np.diff(logs[0])[-1])
    benchmark.extra_info.update(
        exponent=slope, last_exponent=last, against=against, sizes=list(sizes), seconds=times.tolist()
    )
    shown = ", ".join(f"{size}: {seconds:.3g} s" for size, seconds in zip(sizes, times, strict=True))
    print(f"\n{benchmark.name} against {against}: exponent {slope:.2f} (last two sizes {last:.2f}); {shown}")
    assert np.isfinite(slope)


def forgetful(rung, law, sampler: str):
    """Work that may not remember the curve's integrals from the round before."""

    def prepare(steps: int):
        known = table(sampler, steps)
        _ = law.curve
        _LATEST.latest = None
        return lambda: rung(law, known)

    return prepare


@pytest.mark.parametrize("sampler", ["ddpm", "ei_sde"])
def test_path_against_steps(benchmark, sampler):
    fitted(benchmark, "K", (256, 1024, 4096, 16384), forgetful(kl.path, get("codebook"), sampler))


def test_chain_against_steps(benchmark):
    fitted(benchmark, "K", (256, 1024, 4096, 16384), forgetful(kl.chain, get("codebook"), "ei_sde"))


def test_chain_against_flow_and_steps(benchmark):
    def prepare(steps: int):
        law, known = get("two_components"), table("ddpm", steps)  # a new law, of which nothing is remembered
        return lambda: kl.chain(law, known, reference="flow+noise")

    fitted(benchmark, "K", (16, 64, 256), prepare)


def test_density_against_steps(benchmark):
    law = get("curved_mixture")
    fitted(benchmark, "K", (64, 256, 1024), lambda steps: lambda: density(table("ddpm", steps), Exact(law)))


def test_density_against_nodes(benchmark):
    law, known = get("curved_mixture"), table("ddpm", 64)
    fitted(
        benchmark,
        "nodes",
        (10, 20, 40, 80),
        lambda tenths: lambda: density(known, Exact(law), "exact", (tenths / 10,)),
    )


def test_radial_against_dimension(benchmark):
    def prepare(dim: int):
        law, known = get("sphere", dim=dim, spread=2.0), table("ddpm", 64)
        return lambda: radial(known, Exact(law))

    fitted(benchmark, "d", (30, 300, 3000, 10_000), prepare)


def test_radial_against_steps(benchmark):
    law = get("sphere", dim=300, spread=2.0)
    fitted(benchmark, "K", (32, 128, 512), lambda steps: lambda: radial(table("ddpm", steps), Exact(law)))


@pytest.mark.parametrize(
    ("against", "sizes"), [("points", (256, 1024, 4096)), ("d", (16, 64, 256)), ("K", (8, 32, 128))]
)
def test_flow(benchmark, against, sizes):
    usual = {"points": 64, "d": 8, "K": 8}

    def prepare(size: int):
        at = usual | {against: size}
        law, known = get("random_centres", dim=at["d"]), table("ddim", at["K"])
        return lambda: flow(known, Exact(law), points=at["points"], seed=0)

    fitted(benchmark, against, sizes, prepare)


def test_moments_against_dimension(benchmark):
    def prepare(dim: int):
        law, known = get("anisotropic_gaussian", dim=dim), table("ddpm", 256)
        return lambda: moments(known, Exact(law))

    fitted(benchmark, "d", (8, 64, 512), prepare)


def test_moments_against_steps(benchmark):
    law = get("anisotropic_gaussian", dim=16)
    fitted(benchmark, "K", (256, 2048, 16384), lambda steps: lambda: moments(table("ddpm", steps), Exact(law)))


@pytest.mark.parametrize(("against", "sizes"), [("d", (16, 64, 256)), ("N", (256, 1024, 4096))])
def test_curve(benchmark, against, sizes):
    """A sampled curve of N atoms in R^d, 16 x 16 points."""
    usual = {"d": 8, "N": 256}

    def prepare(size: int):
        at = usual | {against: size}
        atoms = np.random.default_rng(0).standard_normal((at["N"], at["d"]))
        law = Discrete(atoms, np.full(at["N"], 1.0 / at["N"])).refined(16)
        return lambda: law.curve

    fitted(benchmark, against, sizes, prepare)

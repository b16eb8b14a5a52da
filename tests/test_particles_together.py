"""Several tables and seeds in one batch: their own runs to rounding, one call a step, refused where that cannot be."""

import numpy as np
import pytest
import torch

from targets import ArgumentError, NotAvailableError, get
from verify import Grid, samplers
from verify.carry import particles
from verify.carry.together import run_together
from verify.oracle import Exact, RandomField
from verify.samplers import BUILDERS

GRID = Grid.log_snr(6, snr=(0.02, 60.0))
NAMES = ["ddpm", "ddim", "dpmpp_2m", "ei_sde", "euler_maruyama", "exponential_ab2", "sde_dpmpp_2m", "stochastic_ddim"]
LAW = get("codebook", n=4, dim=3)


def close(found, tables, oracle, n, seeds, start="exact", tolerance=1e-12):
    """Every entry against its own run, relative to the largest number in it."""
    assert found.shape == (len(tables), len(seeds), n, oracle.target.dim)
    for own, table in zip(found, tables, strict=True):
        for got, seed in zip(own, seeds, strict=True):
            wanted = particles.run(table, oracle, n, seed=seed, start=start)
            assert got.dtype == wanted.dtype
            assert float((got - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_seeds_of_one_table(name):
    """Any table, several stages included; seeds in any order, one twice."""
    table, oracle, seeds = BUILDERS[name](GRID), Exact(LAW), [3, 0, 11, 3]
    found = run_together([table], oracle, 5, seeds=seeds)
    close(found, [table], oracle, 5, seeds)
    assert torch.equal(found[0, 0], found[0, 3])
    assert not torch.equal(found[0, 0], found[0, 1])


@pytest.mark.parametrize("start", ["exact", "moment", "prior"])
def test_tables_on_one_grid(start):
    """Eight methods, one-step and multistep, with and without noise, and a denoiser that is off."""
    tables, oracle = [BUILDERS[name](GRID) for name in NAMES], RandomField(LAW, 0.1, seed=0)
    close(run_together(tables, oracle, 7, seeds=[1, 2], start=start), tables, oracle, 7, [1, 2], start)


@pytest.mark.parametrize("n", [1, 4096, 4097])
def test_chunks(n):
    tables, oracle = [samplers.ddpm(GRID), samplers.get("dpmpp_2m")(GRID)], Exact(get("two_points"))
    close(run_together(tables, oracle, n, seeds=[4, 5]), tables, oracle, n, [4, 5])


def test_the_same_table_twice_is_the_same_twice():
    table = samplers.ddpm(GRID)
    one, two = run_together([table, table], Exact(LAW), 5, seeds=[0])
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_float32():
    tables = [samplers.ddpm(GRID), samplers.ddim(GRID)]
    law = get("two_points").to(dtype=torch.float32)
    close(run_together(tables, Exact(law), 5, seeds=[0, 1]), tables, Exact(law), 5, [0, 1], tolerance=1e-4)


def test_one_call_a_step_for_all_rows():
    class Counted(Exact):
        calls = 0

        def denoiser(self, y, at):
            self.calls += 1
            return super().denoiser(y, at)

    oracle = Counted(LAW)
    run_together([BUILDERS[name](GRID) for name in NAMES], oracle, 3, seeds=[0, 1])
    assert oracle.calls == GRID.steps
    assert oracle.evaluations == GRID.steps * len(NAMES) * 2 * 3


def test_answers_that_are_views_of_the_state():
    """Multistep tables keep answers while the state's buffer is written over."""

    class Echo(Exact):
        def denoiser(self, y, at):
            return y.view(y.shape)

    tables = [samplers.get("exponential_ab2")(GRID), samplers.get("dpmpp_2m")(GRID), samplers.ddpm(GRID)]
    close(run_together(tables, Echo(LAW), 3, seeds=[0, 1]), tables, Echo(LAW), 3, [0, 1])


@pytest.mark.parametrize(
    "other",
    [
        samplers.heun(GRID),
        samplers.ddpm(Grid.log_snr(6, snr=(0.02, 61.0))),
        samplers.ddpm(Grid.log_snr(5, snr=(0.02, 60.0))),
        samplers.ddpm(Grid.log_snr(6, snr=(0.02, 60.0), process="ve")),
    ],
    ids=["two stages", "another end", "fewer steps", "another process"],
)
def test_tables_that_ask_elsewhere_are_refused(other):
    for tables in ([samplers.ddim(GRID), other], [other, samplers.ddim(GRID)]):
        with pytest.raises(NotAvailableError, match=r"tables\[[01]\].*particles\.run"):
            run_together(tables, Exact(LAW), 3, seeds=[0])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tables": []}, "tables"),
        ({"tables": samplers.ddpm(GRID)}, "tables"),
        ({"tables": [1.0]}, "table"),
        ({"oracle": LAW}, "oracle"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"seeds": []}, "seeds"),
        ({"seeds": 3}, "seeds"),
        ({"seeds": [0, -1]}, "seeds"),
        ({"seeds": np.arange(2.0)}, "seeds"),
        ({"start": "exakt"}, "start"),
    ],
)
def test_bad_input(change, named):
    given = {"tables": [samplers.ddpm(GRID)], "oracle": Exact(LAW), "n": 2, "seeds": [0], "start": "exact", **change}
    tables, oracle, n = (given.pop(name) for name in ("tables", "oracle", "n"))
    with pytest.raises(ArgumentError, match=named):
        run_together(tables, oracle, n, **given)

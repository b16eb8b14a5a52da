"""Mutation log: every coefficient array of every table, changed by 1%, turns a declared check red.

Detectors, each of which the unmutated table passes:

    identity      a defect that the method declares to be zero (point mass, translation, constant bias, gauge)
    chain         the chain KL against the reverse chain differs by more than 1e-6, relatively, from the right value
    path          the path KL does, or is no longer available
    recognised    the coefficients are no longer those of the discretised reverse SDE that they were
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import NotAvailableError, get
from verify import Grid, Table, kl, samplers
from verify.kl.path import discretisation
from verify.samplers import BUILDERS
from verify.step import constant_bias_response, gauge_free, point_mass_defect, translation_defect

GRID = Grid.log_snr(5, snr=(0.1, 20.0))
TARGET = get("curved_mixture")
PARTS = ("state", "outputs", "noise")
LIVE = [(name, part) for name in BUILDERS for part in PARTS if getattr(BUILDERS[name](GRID), part).any()]
TIGHT = 1e-12


def mutated(table: Table, part: str, factor: float, step: int | None = None) -> Table:
    """The table with one array, or one entry of it, multiplied."""
    arrays = {name: getattr(table, name).copy() for name in PARTS}
    arrays[part][slice(None) if step is None else step] *= factor
    return Table(table.method, table.snr, table.alpha, table.sigma, table.stages, **arrays)


def defects(name: str, table: Table) -> dict[str, float]:
    """The declared identities' defects; constant bias and gauge against the same builder on another grid or process."""
    declared = table.method.identities
    found = {}
    if "point_mass" in declared:
        found["point_mass"] = point_mass_defect(table)
    if "translation" in declared:
        found["translation"] = translation_defect(table)
    if "constant_bias" in declared:
        once = BUILDERS[name](Grid.from_snr(table.snr[[0, -1]]))
        kept = [1.0 - constant_bias_response(each) for each in (table, once)]
        found["constant_bias"] = abs(kept[0] / kept[1] - 1.0)
    if "gauge" in declared:
        elsewhere = gauge_free(BUILDERS[name](Grid(table.snr, "flow")))
        found["gauge"] = float(np.abs(gauge_free(table) - elsewhere).max())
    return found


def divergence(rung, table: Table) -> float | None:
    try:
        return float(rung(TARGET, table).value)
    except NotAvailableError:
        return None


def differ(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return one is not two
    return abs(one / two - 1.0) > 1e-6


def detectors(name: str, table: Table) -> set[str]:
    """Which checks notice that `table` is not the builder's."""
    right = BUILDERS[name](GRID)
    noticed = {f"identity: {identity}" for identity, size in defects(name, table).items() if size > TIGHT}
    noticed |= {"chain"} if differ(divergence(kl.chain, table), divergence(kl.chain, right)) else set()
    noticed |= {"path"} if differ(divergence(kl.path, table), divergence(kl.path, right)) else set()
    noticed |= {"recognised"} if discretisation(table) != discretisation(right) else set()
    return noticed


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_right_table_passes(name):
    """No detector fires on the table itself, nor on one changed in its last bits."""
    assert detectors(name, BUILDERS[name](GRID)) == set()
    for part in PARTS:
        assert detectors(name, mutated(BUILDERS[name](GRID), part, 1 + 1e-15)) == set()


@pytest.mark.parametrize(("name", "part"), LIVE)
@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_one_percent_on_an_array_is_noticed(name, part, factor):
    """By at least one detector; by the chain KL wherever there is noise; by a declared identity where it can be."""
    noticed = detectors(name, mutated(BUILDERS[name](GRID), part, factor))
    assert noticed
    declared = BUILDERS[name](GRID).method.identities
    if "point_mass" in declared:
        assert "identity: point_mass" in noticed
    if "translation" in declared and part != "noise":
        assert "identity: translation" in noticed
    if name != "ddim":
        assert "chain" in noticed
    if name in ("ddpm", "ei_sde", "euler_maruyama"):
        assert {"path", "recognised"} <= noticed


@pytest.mark.parametrize(("name", "part"), LIVE)
def test_one_percent_on_a_single_entry_is_noticed(name, part):
    """The same for every entry alone."""
    table = BUILDERS[name](GRID)
    for step in range(table.steps):
        assert detectors(name, mutated(table, part, 1.01, step)), (name, part, step)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(choice=st.sampled_from(LIVE), step=st.integers(0, 3), size=st.floats(-4.0, -0.5), sign=st.sampled_from([-1, 1]))
def test_smaller_and_larger_changes_are_noticed(choice, step, size, sign):
    """Single entries, relative changes from 1e-4 to 0.3 in both directions."""
    name, part = choice
    assert detectors(name, mutated(BUILDERS[name](GRID), part, 1 + sign * 10.0**size, step))


SLIPS = {
    "ddpm: the forward variance for the posterior's": (
        "ddpm",
        lambda t: {"noise": np.sqrt(t.sigma[:-1] ** 2 - (t.alpha[:-1] / t.alpha[1:] * t.sigma[1:]) ** 2)},
    ),
    "ddpm: standard deviation for variance": ("ddpm", lambda t: {"noise": t.noise**2}),
    "ddim: σ′/σ squared": ("ddim", lambda t: {"state": t.state**2}),
    "ei_sde: the flow's gain, half the score": (
        "ei_sde",
        lambda t: {
            "state": (t.alpha[:-1] / t.alpha[1:] + t.state) / 2,
            "outputs": t.outputs / 2,
        },
    ),
    "euler_maruyama: √Δ for √2Δ": ("euler_maruyama", lambda t: {"noise": t.noise / np.sqrt(2)}),
    "jain_zhang: the other variant's gain": (
        "jain_zhang",
        lambda _: {part: getattr(samplers.jain_zhang(GRID, "z_score"), part) for part in PARTS},
    ),
    "jain_zhang: noise forgotten to shrink": ("jain_zhang", lambda t: {"noise": t.noise * t.alpha[:-1] / t.alpha[1:]}),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_plausible_slips_are_noticed(slip):
    """Mistakes in circulation, rather than random ones."""
    name, change = SLIPS[slip]
    table = BUILDERS[name](GRID)
    arrays = {part: getattr(table, part) for part in PARTS} | change(table)
    wrong = Table(table.method, table.snr, table.alpha, table.sigma, table.stages, **arrays)
    assert detectors(name, wrong)


def test_the_log():
    """What noticed what, held as a whole: a check that goes blind changes this table."""
    log = {f"{name}.{part}": detectors(name, mutated(BUILDERS[name](GRID), part, 1.01)) for name, part in LIVE}
    kinds = {key: sorted({item.split(":")[0] for item in noticed}) for key, noticed in log.items()}
    everything, unrecognisable = ["chain", "identity", "path", "recognised"], ["chain", "path", "recognised"]
    assert kinds == {
        "ddim.state": ["identity"],
        "ddim.outputs": ["identity"],
        "ddpm.state": everything,
        "ddpm.outputs": everything,
        "ddpm.noise": everything,
        "ei_sde.state": everything,
        "ei_sde.outputs": everything,
        "ei_sde.noise": unrecognisable,
        "euler_maruyama.state": unrecognisable,
        "euler_maruyama.outputs": unrecognisable,
        "euler_maruyama.noise": unrecognisable,
        "jain_zhang.state": ["chain", "identity"],
        "jain_zhang.outputs": ["chain", "identity"],
        "jain_zhang.noise": ["chain"],
        "jain_zhang_z.state": ["chain", "identity"],
        "jain_zhang_z.outputs": ["chain", "identity"],
        "jain_zhang_z.noise": ["chain"],
    }

"""Mutations: every coefficient array of every table, changed by 1%, turns a declared check red.

Detectors, each of which the unmutated table passes:

    identity      a defect that the method declares to be zero (point mass, translation, constant bias, gauge)
    marginal      the marginal KL on an uncentred anisotropic Gaussian differs by more than 1e-6, relatively, from its value
    chain         the chain KL against the reverse chain does, where the method declares one
    path          the path KL does, or is no longer available
    recognised    the coefficients are no longer those of the discretised reverse SDE that they were

`tests/test_verify_mutation_log.py` goes through the coefficients one by one.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import Gaussian, NotAvailableError, Target, get
from verify import Grid, Table, kl, samplers
from verify.identities import constant_bias_response, gauge_free, point_mass_defect, translation_defect
from verify.kl.path import discretisation
from verify.samplers import BUILDERS
from verify.samplers.runge_kutta import DPM_SOLVER_2, flow_steps

GRID = Grid.log_snr(5, snr=(0.1, 20.0))
TARGET = get("curved_mixture")
SKEWED = Gaussian([0.5, -1.0], np.diag([0.3, 2.0]))
PARTS = ("state", "outputs", "noise", "history")
LIVE = [(name, part) for name in BUILDERS for part in PARTS if getattr(BUILDERS[name](GRID), part).any()]
TIGHT = 1e-12

every_builder = pytest.mark.parametrize("name", sorted(BUILDERS))


def mutated(table: Table, part: str, factor: float, entry: tuple[int, ...] | None = None) -> Table:
    """The table with one array, or one entry of it, multiplied; "stages.1.sigma" is the second stage's σ."""
    at = ... if entry is None else entry
    if not part.startswith("stages."):
        values = getattr(table, part).copy()
        values[at] *= factor
        return replace(table, **{part: values})
    _, i, field = part.split(".")
    stages = list(table.stages)
    values = getattr(stages[int(i)], field).copy()
    values[at] *= factor
    stages[int(i)] = replace(stages[int(i)], **{field: values})
    return replace(table, stages=tuple(stages))


@cache
def built(name: str) -> Table:
    return BUILDERS[name](GRID)


@cache
def elsewhere(name: str) -> np.ndarray:
    """The scale-free coefficients in another process."""
    return gauge_free(BUILDERS[name](Grid(GRID.snr, "flow")))


def kept(table: Table) -> float:
    return 1.0 - constant_bias_response(table)


def defects(name: str, table: Table) -> dict[str, float]:
    """The declared identities' defects; constant bias and gauge against the same builder on another grid or process."""
    declared = table.method.identities
    found = {}
    if "point_mass" in declared:
        found["point_mass"] = point_mass_defect(table)
    if "translation" in declared:
        found["translation"] = translation_defect(table)
    if "constant_bias" in declared:
        found["constant_bias"] = abs(kept(table) / kept(BUILDERS[name](Grid.from_snr(table.snr[[0, -1]]))) - 1.0)
    if "gauge" in declared:
        found["gauge"] = float(np.abs(gauge_free(table) - elsewhere(name)).max())
    return found


def divergence(rung, target: Target, table: Table) -> float | None:
    try:
        return float(rung(target, table).value)
    except NotAvailableError:
        return None


def differ(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return one is not two
    return abs(one / two - 1.0) > 1e-6


@cache
def right_values(name: str) -> dict[str, float | None]:
    return measured(built(name))


def measured(table: Table) -> dict[str, float | None]:
    """The divergences that the method has, None where this table has not."""
    values = {"marginal": divergence(kl.marginal, SKEWED, table), "path": divergence(kl.path, TARGET, table)}
    if "reverse" in table.method.references:
        values["chain"] = divergence(kl.chain, TARGET, table)
    return values


def detectors(name: str, table: Table) -> set[str]:
    """Which checks notice that `table` is not the builder's."""
    noticed = {f"identity: {identity}" for identity, size in defects(name, table).items() if size > TIGHT}
    noticed |= {rung for rung, value in measured(table).items() if differ(value, right_values(name)[rung])}
    noticed |= {"recognised"} if discretisation(table) != discretisation(built(name)) else set()
    return noticed


@every_builder
def test_the_right_table_passes(name):
    """No detector fires on the table itself, nor on one changed in its last bits.

    That a table asks once, at its own state, is an equality of bits; there only the levels of several stages may move.
    """
    assert detectors(name, BUILDERS[name](GRID)) == set()
    several = range(0 if built(name).one_evaluation else len(built(name).stages))
    for part in (*PARTS, *[f"stages.{i}.{field}" for i in several for field in STAGE]):
        assert detectors(name, mutated(built(name), part, 1 + 4e-16)) == set(), part


@pytest.mark.parametrize(("name", "part"), LIVE)
@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_one_percent_on_an_array_is_noticed(name, part, factor):
    """By the marginal KL always; by the chain KL wherever there is one; by a declared identity where it can be."""
    noticed = detectors(name, mutated(built(name), part, factor))
    assert "marginal" in noticed
    declared = built(name).method.identities
    if "point_mass" in declared:
        assert "identity: point_mass" in noticed
    if "translation" in declared and part != "noise":
        assert "identity: translation" in noticed
    if "reverse" in built(name).method.references:
        assert "chain" in noticed
    if name in ("ddpm", "ei_sde", "euler_maruyama", "relative_score"):
        assert {"path", "recognised"} <= noticed


STAGE = ("alpha", "sigma", "state", "outputs")


def coefficients(name: str) -> list[tuple[str, tuple[int, ...]]]:
    """Every coefficient of the table that is not zero and, inside a stage, is used: (array, entry)."""
    table = built(name)
    found = [(part, entry) for part in PARTS for entry in zip(*np.nonzero(getattr(table, part)), strict=True)]
    for i, stage in enumerate(table.stages):
        for field in STAGE:
            used = getattr(stage, field) * (table.asked[:, i] if field != "outputs" else table.asked[:, i : i + 1])
            found += [(f"stages.{i}.{field}", entry) for entry in zip(*np.nonzero(used), strict=True)]
    return [(part, tuple(map(int, entry))) for part, entry in found]


EVERY = [(name, *where) for name in BUILDERS for where in coefficients(name)]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(choice=st.sampled_from(EVERY), size=st.floats(-4.0, -0.5), sign=st.sampled_from([-1, 1]))
def test_smaller_and_larger_changes_are_noticed(choice, size, sign):
    """Single coefficients, relative changes from 1e-4 to 0.3 in both directions."""
    name, part, entry = choice
    assert detectors(name, mutated(built(name), part, 1 + sign * 10.0**size, entry))


def mean_of_the_ends() -> Table:
    """The midpoint rule of dpm_solver_2 at (ς + ς′)/2 for √(ςς′)."""
    one = np.ones(GRID.steps)
    nodes, inner = [0.0 * one, 0.5 * one], [[], [0.5 * one]]
    return flow_steps(DPM_SOLVER_2, GRID, GRID.snr[1:], nodes, inner, [0.0 * one, one])


def halved(noise: np.ndarray) -> np.ndarray:
    """Every second step's, the corrector's, by √2."""
    return np.where(np.arange(len(noise)) % 2, noise / np.sqrt(2.0), noise)


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
    "dpmpp_2m: extrapolated 30% too far": (
        "dpmpp_2m",
        lambda t: {"history": t.history * 1.3, "outputs": t.outputs - 0.3 * t.history},
    ),
    "sde_dpmpp_2m: ddim's step with its noise": (
        "sde_dpmpp_2m",
        lambda _: {"state": samplers.dpmpp_2m(GRID).state, "outputs": samplers.dpmpp_2m(GRID).outputs},
    ),
    "stochastic_ddim: η² for η in the noise": ("stochastic_ddim", lambda t: {"noise": t.noise / 2}),
    "heun: weights of the two ends exchanged": ("heun", lambda t: {"outputs": t.outputs[:, ::-1]}),
    "dpm_solver_2: asked at the arithmetic mean": ("dpm_solver_2", lambda _: {"stages": mean_of_the_ends().stages}),
    "predictor_corrector: √ε for √2ε": ("predictor_corrector", lambda t: {"noise": halved(t.noise)}),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_plausible_slips_are_noticed(slip):
    """Mistakes in circulation, rather than random ones."""
    name, change = SLIPS[slip]
    assert detectors(name, replace(built(name), **change(built(name))))


FLOWS = {"ddim", "dpm_solver_2", "dpmpp_2m", "exponential_ab2", "exponential_ab3", "heun", "randomised_midpoint", "rk3"}
ALL, CHAINS = "chain identity marginal path recognised", "chain identity marginal"
LOG = {
    **{(name, part): "identity marginal" for name in FLOWS for part in ("state", "outputs", "history")},
    **{(name, part): "identity marginal" for name in ("edm_churn", "predictor_corrector") for part in PARTS},
    **{(name, part): ALL for name in ("ddpm", "ei_sde") for part in PARTS},
    ("ei_sde", "noise"): "chain marginal path recognised",
    **{(n, part): "chain marginal path recognised" for n in ("euler_maruyama", "relative_score") for part in PARTS},
    **{(name, part): CHAINS for name in ("jain_zhang", "jain_zhang_z") for part in PARTS},
    **{(name, "noise"): "chain marginal" for name in ("jain_zhang", "jain_zhang_z")},
    **{
        (name, part): CHAINS for name in ("dpm_solver_2_ancestral", "sde_dpmpp_2m", "stochastic_ddim") for part in PARTS
    },
}
"""What notices 1% on an array; rows of arrays that a table does not have are left out below."""


def test_the_log():
    """What noticed what, held as a whole: a check that goes blind changes this table."""
    log = {(name, part): detectors(name, mutated(built(name), part, 1.01)) for name, part in LIVE}
    kinds = {key: " ".join(sorted({item.split(":")[0] for item in noticed})) for key, noticed in log.items()}
    assert kinds == {key: LOG[key] for key in LIVE}

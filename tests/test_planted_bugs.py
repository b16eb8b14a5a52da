"""Planted bugs are held against what the correct method declares, and found; correct tables are not flagged.

`check_sampler` is given the declared order and identities only, not the table that would tell at once.
"""

from dataclasses import replace

import numpy as np
import pytest
from planted import Build, half_steps, tableau, two_step
from planted_in_time import BUGS

from verify import Grid, samplers
from verify.audit.order import as_sampler
from verify.invariants import sampler_checks
from verify.samplers.ddim import DDIM
from verify.samplers.multistep import DPMPP_2M
from verify.samplers.runge_kutta import DPM_SOLVER_2
from verify.step import Method


def findings(build: Build, method: Method, only: str | None = None, **more) -> dict[str, str]:
    """Every check that fails under the method's declaration, with its message; of one name only, to save time."""
    stochastic = bool(build(Grid.log_snr(4, snr=(0.1, 10.0))).noise.any())
    declared = {"order": method.order, "stochastic": stochastic, "identities": method.identities}
    checks = [c for c in sampler_checks(as_sampler(build), **declared, **more) if only in (None, c.name)]
    return {check.name: found for check in checks if (found := check.finding()) is not None}


def correct(name: str) -> Build:
    """The builder, one level further for those that stop a level early."""
    build = samplers.get(name)
    return (lambda grid: build(grid.beyond())) if name.startswith("jain_zhang") else build


def declared(name: str) -> Method:
    return samplers.get(name)(Grid.log_snr(4, snr=(0.1, 10.0))).method


AT_ONCE = [name for name, bug in BUGS.items() if bug.caught != "order"] + [
    "heun_uneven_weights",
    "dpmpp_2m_equal_steps",
    "ab3_history",
    "sde_dpmpp_2m_no_correction",
    "ei_sde_noise",
    "relative_score_exponent",
]
"""Twenty and more that are found in a second; the others, which an order has to tell, are slow."""


def test_how_many():
    assert len(AT_ONCE) >= 20
    assert len({bug.method.name for bug in BUGS.values()}) >= 8


@pytest.mark.parametrize("name", AT_ONCE)
def test_planted_bug_is_flagged(name):
    bug = BUGS[name]
    assert list(findings(bug.build, bug.method, bug.caught)) == [bug.caught]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_against_the_whole_suite(name):
    """Flagged for what it is, and for nothing that a coefficient cannot break."""
    bug = BUGS[name]
    found = set(findings(bug.build, bug.method))
    assert bug.caught in found
    assert found <= {"levels", "order", "point_mass", "translation", "gauge", "constant_bias"}


LONG = ("randomised_midpoint", "rk3", "exponential_ab3", "dpm_solver_2_ancestral", "predictor_corrector", "edm_churn")
"""Tables of which others of the kind are checked in every run."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in sorted(samplers.BUILDERS)]
)
def test_no_correct_table_is_flagged(name):
    assert findings(correct(name), declared(name), like=correct(name)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("process", ["ve", "flow"])
@pytest.mark.parametrize("name", sorted(n for n in samplers.BUILDERS if "gauge" in declared(n).identities))
def test_no_correct_table_is_flagged_in_other_processes(name, process):
    assert findings(correct(name), declared(name), process=process) == {}


def inverted_ratio(grid):
    """r/2 for 1/(2r) in dpmpp_2m: its local errors (h² − h_prev²) add up to a difference of ends, so that the order stays."""
    h = half_steps(grid)
    gain = -np.expm1(-h)
    return two_step(DPMPP_2M, grid, gain, gain[1:] * 0.5 * h[:-1] / h[1:])


def arithmetic_midpoint(grid):
    """½(ς + ς′) for √(ςς′) in dpm_solver_2: another method of second order with the same identities."""
    return tableau(DPM_SOLVER_2, grid, [0.0, 0.5], [[], [0.5]], [0, 1])


@pytest.mark.parametrize(
    ("build", "method", "like"),
    [(inverted_ratio, DPMPP_2M, samplers.dpmpp_2m), (arithmetic_midpoint, DPM_SOLVER_2, samplers.dpm_solver_2)],
)
def test_what_only_the_counterpart_sees(build, method, like):
    """Two bugs that cost accuracy, but neither order nor an identity: told by agreement with the method itself."""
    found = findings(build, method, like=like)
    assert list(found) == ["counterpart"]
    assert "differs from its counterpart" in found["counterpart"]


def test_a_table_in_single_precision():
    """Found, and the message says what it looks like."""

    def build(grid):
        table = samplers.ddim(grid)
        return replace(table, state=table.state.astype(np.float32).astype(np.float64))

    found = findings(build, DDIM)
    assert "point_mass" in found
    assert "float32" in found["point_mass"]
    assert "order" not in found

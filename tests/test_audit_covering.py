"""Factors read off a class, the covering array of them, and the reduction of what fails."""

import sys
from itertools import combinations, pairwise

import pytest

from targets import ArgumentError, NotAvailableError
from verify.audit.covering import STEPS, USUAL, Barred, cases, values_once
from verify.audit.options import Case, Factor, compatible, factors, longest, switched_off
from verify.audit.outcome import Outcome
from verify.audit.reduce import reduce
from verify.audit.sweep import CONFIGURATIONS, SECONDS, sweep

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("covertable")


def levels_of(factor: Factor, case: Case) -> int:
    """Number of the level of a factor that a configuration holds."""
    held = [i for i, level in enumerate(factor.levels) if case.holds(Case(level, case.steps))]
    return max(held, key=lambda i: len(factor.levels[i]))


# ---- factors -----------------------------------------------------------------------------------------------


def test_factors_are_read_off_the_signature():
    """Literals, switches, exclusive flags, numbers by name; learned variances and clipping stay out."""
    found = {factor.name: factor.levels for factor in factors(diffusers.DPMSolverMultistepScheduler)}
    assert {next(iter(level), None) for level in found["sigmas"]} == {
        None,
        "use_karras_sigmas",
        "use_exponential_sigmas",
        "use_beta_sigmas",
        "use_lu_lambdas",
        "use_flow_sigmas",
    }
    assert [level.get("solver_order", 2) for level in found["solver_order"]] == [2, 1, 3]
    assert {"algorithm_type": "sde-dpmsolver"} in found["algorithm_type"]
    assert {"beta_schedule": "squaredcos_cap_v2"} in found["beta_schedule"]
    assert {"use_dynamic_shifting": True, "mu": 1.15} in found["dynamic shift"]
    assert all(levels[0] == {} for levels in found.values())
    assert not {"thresholding", "trained_betas", "variance_type", "num_train_timesteps"} & found.keys()
    assert switched_off(diffusers.DDIMScheduler) == {"clip_sample": False}
    variance = next(f for f in factors(diffusers.DDPMScheduler) if f.name == "variance_type")
    assert {level.get("variance_type", "fixed_small") for level in variance.levels} == {
        "fixed_small",
        "fixed_small_log",
        "fixed_large",
        "fixed_large_log",
    }


def test_values_of_strings_are_read_off_the_source():
    """A parameter annotated as str takes the values that the class compares it with; step's parameters count too."""
    sa = {factor.name: factor.levels for factor in factors(diffusers.SASolverScheduler)}
    assert sa["algorithm_type"] == ({}, {"algorithm_type": "noise_prediction"})
    heun = {factor.name: factor.levels for factor in factors(diffusers.HeunDiscreteScheduler)}
    assert {level.get("beta_schedule") for level in heun["beta_schedule"]} == {
        None,
        "scaled_linear",
        "squaredcos_cap_v2",
        "exp",
    }
    lms = {factor.name: factor.levels for factor in factors(diffusers.LMSDiscreteScheduler)}
    assert [level.get("order", 4) for level in lms["order"]] == [4, 1, 2, 3]
    with pytest.raises(ArgumentError, match="cls = "):
        factors("DDIMScheduler")  # type: ignore[arg-type]


# ---- covering ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler"]
)
def test_every_compatible_pair_is_covered(name):
    """Every two levels that may stand together meet at K = 20, and every level meets every K."""
    cls = getattr(diffusers, name)
    every, rows = factors(cls), cases(cls, STEPS["quick"])
    assert rows == cases(cls, STEPS["quick"])
    assert all(compatible(case.options) for case in rows)
    alone = [level for factor in every for level in factor.levels[1:] if compatible(level)]
    assert rows[: 4 + len(alone)] == [*(Case({}, k) for k in STEPS["quick"]), *(Case(level, USUAL) for level in alone)]
    usual = [[levels_of(factor, case) for factor in every] for case in rows if case.steps == USUAL]
    met = {(i, row[i], j, row[j]) for row in usual for i, j in combinations(range(len(every)), 2)}
    says = next((i for i, f in enumerate(every) if f.name == "prediction_type"), None)
    for i, j in combinations(range(len(every)), 2):
        for a in range(len(every[i].levels)):
            for b in range(len(every[j].levels)):
                both = {**every[i].levels[a], **every[j].levels[b]}
                alone = says in (i, j) or compatible(both) or both.get("prediction_type") != "flow_prediction"
                if alone and (compatible(both) or says not in (i, j) or "use_flow_sigmas" in both):
                    assert not compatible(both) or (i, a, j, b) in met, (every[i].levels[a], every[j].levels[b])
    with_k = {(i, levels_of(factor, case), case.steps) for case in rows for i, factor in enumerate(every)}
    assert with_k == {(i, a, k) for i, f in enumerate(every) for a in range(len(f.levels)) for k in STEPS["quick"]}
    bound = max(len(f.levels) for f in every)
    assert len(rows) < 6 * bound * bound


def test_what_is_forbidden_stays_out_and_the_rest_is_covered():
    """A refused pair masks nothing: every other pair is met outside of it."""
    cls = diffusers.DPMSolverMultistepScheduler
    refused = {"algorithm_type": "dpmsolver"}
    pair = {"solver_order": 3, "use_karras_sigmas": True}
    rows = cases(
        cls, (5, 20), [Barred(pair), Barred(refused, 5), Barred({"solver_type": "heun"}, None, ("final_sigmas_type",))]
    )
    assert not any(case.holds(Case(pair, 0), any_steps=True) for case in rows)
    assert not any(case.holds(Case(refused, 5)) for case in rows)
    assert any(case.holds(Case(refused, 20)) for case in rows)
    assert not any(
        case.holds(Case({"solver_type": "heun"}, case.steps)) and "final_sigmas_type" not in case.options
        for case in rows
    )
    for other in (
        {"use_karras_sigmas": True, "solver_type": "heun", "final_sigmas_type": "sigma_min"},
        {"solver_order": 3, "euler_at_final": True},
    ):
        assert any(case.holds(Case(other, 20)) for case in rows)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "IPNDMScheduler"])
def test_few_rows_hold_every_value_once(name):
    """As many rows as the largest factor has levels, and a few for what may not stand together; what is barred stays out."""
    cls = getattr(diffusers, name)
    every, rows = factors(cls), values_once(cls, 1000)
    most = max((len(factor.levels) for factor in every), default=0)
    assert len(rows) <= most + 3
    assert all(case.steps == 1000 and case.options and compatible(case.options) for case in rows)
    met = {(i, levels_of(factor, case)) for case in rows for i, factor in enumerate(every)}
    assert met >= {(i, a) for i, factor in enumerate(every) for a in range(1, len(factor.levels))}
    assert rows == values_once(cls, 1000)
    if every:
        gone = next(iter(every[-1].levels[1:]))
        assert not any(case.holds(Case(gone, 1000)) for case in values_once(cls, 1000, [Barred(gone)]))
    with pytest.raises(ArgumentError, match="steps = 0"):
        values_once(cls, 0)


def test_the_largest_number_of_steps_is_that_of_training():
    assert longest(diffusers.DDIMScheduler) == 1000
    assert longest(diffusers.CMStochasticIterativeScheduler) == 40
    assert longest(diffusers.KarrasVeScheduler) == 1000


def test_bad_steps_are_refused():
    with pytest.raises(ArgumentError, match="steps"):
        cases(diffusers.DDIMScheduler, ())
    with pytest.raises(ArgumentError, match="steps = 0"):
        cases(diffusers.DDIMScheduler, (0, 10))


def test_without_covertable(monkeypatch):
    monkeypatch.setitem(sys.modules, "covertable", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'truerate\[audit\]'"):
        sweep(names=["DDIMScheduler"])


def test_names_and_numbers_are_checked():
    with pytest.raises(ArgumentError, match="did you mean 'DDIMScheduler'"):
        sweep(names=["DDIMSchedular"])
    with pytest.raises(ArgumentError, match="library = 'difusers'"):
        sweep("difusers")
    with pytest.raises(ArgumentError, match="preset"):
        sweep(names=["DDIMScheduler"], preset="slow")
    with pytest.raises(ArgumentError, match="seconds"):
        sweep(names=["DDIMScheduler"], seconds=-1.0)
    with pytest.raises(ArgumentError, match="names"):
        sweep(names="DDIMScheduler")
    assert STEPS.keys() == CONFIGURATIONS.keys() == SECONDS.keys()
    assert all(a < b for row in STEPS.values() for a, b in pairwise(row))


# ---- reduction ---------------------------------------------------------------------------------------------


def test_reduction_reaches_the_minimum():
    """Whatever set of options is needed, that set is what remains, at the usual number of steps."""
    names = [f"o{i}" for i in range(7)]
    every = tuple(Factor(name, ({}, {name: 1})) for name in names)
    for needed in [(), ("o3",), ("o0", "o6"), ("o1", "o2", "o5"), tuple(names)]:
        tried = []

        def alike(case, needed=needed, tried=tried):
            tried.append(case)
            return all(name in case.options for name in needed) and case.steps > 3

        least = reduce(Case(dict.fromkeys(names, 1), 999), alike, every)
        assert (set(least.options), least.steps) == (set(needed), 20)
        assert len(tried) < 60
    least = reduce(Case(dict.fromkeys(names, 1), 3), lambda case: "o4" in case.options and case.steps == 3, every)
    assert (dict(least.options), least.steps) == ({"o4": 1}, 3)


def test_what_only_many_steps_show_is_reduced_in_few_runs():
    """Halves first: one option of sixteen in at most ten runs beside those at fewer steps; two of them in any place."""
    names = [f"o{i:02d}" for i in range(16)]
    every = tuple(Factor(name, ({}, {name: 1})) for name in names)
    for needed in [("o11",), ("o00",), ("o03", "o14")]:
        tried = set()

        def alike(case, needed=needed, tried=tried):
            if case.steps > 100:
                tried.add(tuple(case.options))
            return all(name in case.options for name in needed) and case.steps > 100

        least = reduce(Case(dict.fromkeys(names, 1), 1000), alike, every)
        assert (set(least.options), least.steps) == (set(needed), 1000)
        assert len(tried) <= (10 if len(needed) == 1 else 40)


def test_options_that_go_together_are_reduced_together():
    """Flow states with their prediction, and a shift with its exponent, leave as one."""
    every = (Factor("dynamic", ({}, {"use_dynamic_shifting": True, "mu": 1.15})), Factor("a", ({}, {"a": 1})))
    whole = {
        "use_dynamic_shifting": True,
        "mu": 1.15,
        "a": 1,
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
    }

    def alike(case):
        paired = ("mu" in case.options) == ("use_dynamic_shifting" in case.options)
        return paired and compatible(case.options) and "a" in case.options

    assert dict(reduce(Case(whole, 5), alike, every).options) == {"a": 1}


def test_unlike_failures_stay_apart():
    """Equal kinds at different places are different failures; equal places with other messages are one."""
    assert not Outcome("exception", "x", "step:3").alike(Outcome("exception", "x", "step:4"))
    assert Outcome("wrong steps", "7 of 8", "count").alike(Outcome("wrong steps", "9 of 10", "count"))
    assert not Outcome("wrong steps", "", "count").alike(Outcome("not finite", "", "count"))

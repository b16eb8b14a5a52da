"""Every configuration of the diffusers adapter: nothing but the library's own arithmetic decides the last states, and what
each promises has a source."""

from typing import Any

import numpy as np
import pytest
import torch
from driving import WINDOW, generator, paired, standard, starts

from targets import get
from verify.audit.contract import Audited, Untestable
from verify.audit.diffusers import catalogue, inspect, version
from verify.audit.diffusers.inject import Injected
from verify.audit.order import as_sampler, refined
from verify.grid import Grid

pytest.importorskip("diffusers")
KNOWN = version() == "0.42.1"


@pytest.fixture(scope="module")
def found():
    return catalogue.configurations()


def audited(found):
    return [one for one in found if isinstance(one, Audited)]


def few(found):
    """The first configuration of every class, and those whose loop or tables differ from it."""
    chosen = {}
    for one in audited(found):
        chosen.setdefault((one.name, one.process, one.options.get("skip_prk_steps")), one)
    return list(chosen.values())


def ends(item, grid, **given):
    """The last states on N(0, 1) from 0.5, or what it broke on."""
    try:
        states = item.sampler(standard, grid, torch.full((2, 3), 0.5, dtype=torch.float64), generator(), **given)
    except Exception as error:
        return type(error).__name__
    return states if bool(states.isfinite().all()) else "nan"


@pytest.mark.parametrize(
    "law", [pytest.param("curved_mixture", marks=pytest.mark.slow), "anisotropic_gaussian", "digits_mixture"]
)
def test_agreement_with_our_table_on_the_same_grid_start_and_noise(found, law):
    target, apart = get(law), {}
    pairs = [one for one in audited(found) if one.counterpart is not None]
    assert len(pairs) >= 40
    for one in pairs:
        for steps in (1, 6) if law == "curved_mixture" else (5,):
            grid = refined(steps, snr=WINDOW, process=one.process, eased=True)
            start = starts(target, grid, 3)
            with paired(3, target.dim, twice=one.name == "CogVideoXDPMScheduler"):
                theirs = one.sampler(target.denoiser, grid, start.clone(), generator())
            with paired(3, target.dim):
                table: Any = one.counterpart
                ours = as_sampler(table)(target.denoiser, grid, start.clone(), generator())
            apart[one.label, steps] = float((theirs - ours).norm() / ours.norm())
    assert {key: value for key, value in apart.items() if not value <= 1e-11} == {}


def test_levels_asked_are_those_of_the_grid(found):
    for one in few(found):
        if not isinstance(one.sampler, Injected):
            continue
        for steps in (1, 5):
            grid = refined(steps, snr=WINDOW, process=one.process, eased=True)
            start = torch.ones(1, 2, dtype=torch.float64)
            trace = one.sampler.trace(standard, grid, start, generator(), keep=True)
            asked = np.array([level.snr for level in trace.levels])
            nearest = np.abs(np.log(asked[:, None] / grid.snr[None])).argmin(1)
            whole = np.abs(np.log(asked / grid.snr[nearest])) < 1e-11
            assert set(nearest[whole]) >= set(range(steps)), one.label
            assert np.all((asked > grid.snr[0] * (1 - 1e-11)) & (asked < grid.snr[-1] * (1 + 1e-11))), one.label
            assert abs((trace.last[0] / trace.last[1]) ** 2 / grid.snr[-1] - 1) < 1e-11, one.label
            assert abs(trace.last[0] - grid.alpha[-1]) < 1e-12, one.label
            assert trace.process == grid.process
            assert torch.equal(trace.visited[0], start)
            if len(asked) == steps:
                assert whole.all(), one.label


def test_two_rows_of_a_batch_do_not_interact(found):
    for one in few(found):
        grid = Grid.log_snr(4, snr=WINDOW, process=one.process)
        start = torch.tensor([[-1.0, 0.3], [0.7, 2.0], [3.0, -2.0]], dtype=torch.float64)
        with paired(3, 2):
            together = one.sampler(standard, grid, start, generator())
        with paired(3, 2, only=1):
            alone = one.sampler(standard, grid, start[1:2], generator())
        assert torch.allclose(together[1:2], alone, rtol=1e-12, atol=1e-12), one.label


def test_few_steps_are_possible_repeatable_and_leave_everything_as_it_was(found):
    before = torch.get_rng_state()
    for one in few(found):
        for steps in (1, 2, 3):
            grid = Grid.log_snr(steps, snr=WINDOW, process=one.process)
            states: Any = ends(one, grid)
            assert not isinstance(states, str), (one.label, steps, states)
            assert states.shape == (2, 3)
            assert states.dtype == torch.float64
        again: Any = ends(one, grid)
        assert torch.equal(states, again), one.label
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32


def test_a_deterministic_sampler_does_not_depend_on_the_seed_and_a_stochastic_one_does(found):
    for one in few(found):
        grid = Grid.log_snr(3, snr=WINDOW, process=one.process)
        start = torch.full((1, 1), 0.5, dtype=torch.float64)
        first, second = (one.sampler(standard, grid, start, generator(seed)) for seed in (1, 2))
        assert torch.equal(first, second) != one.stochastic, one.label


def test_declared_orders_and_their_sources(found):
    by_label = {one.label: one.declared.order if one.declared else None for one in audited(found)}
    expected = {
        "UniPCMultistepScheduler": 3.0,
        "DPMSolverMultistepScheduler(solver_order=3)": 3.0,
        "IPNDMScheduler": 4.0,
        "LMSDiscreteScheduler": 4.0,
        "LMSDiscreteScheduler(order=2)": 2.0,
        "HeunDiscreteScheduler": 2.0,
        "PNDMScheduler": 2.0,
        "EulerAncestralDiscreteScheduler": 1.0,
        "SASolverScheduler(tau_func=tau = 0)": 2.0,
        "SASolverScheduler(tau_func=tau = 1)": 1.0,
        "HeliosScheduler(stages=1, solver_order=3)": 3.0,
        "HeliosScheduler(stages=1, scheduler_type='euler')": 1.0,
        "KarrasVeScheduler(s_churn=0.0)": 2.0,
        "LCMScheduler": None,
        "CMStochasticIterativeScheduler": None,
        "FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)": None,
    }
    assert {label: by_label[label] for label in expected} == expected
    for one in audited(found):
        if one.declared is not None and "documentation of" in one.declared.source:
            words = one.declared.source.split(": '", 1)[1].split("'", 1)[0]
            cls = inspect.classes()[one.name]
            text = " ".join(f"{cls.__doc__} {getattr(cls, 'step', cls).__doc__}".split())
            assert words in text, one.label


def test_configurations_have_distinct_labels_and_refusals_say_why(found):
    labels = [one.label for one in audited(found)]
    assert len(labels) == len(set(labels)) > 100
    reasons = [one.reason for one in found if isinstance(one, Untestable)]
    assert all(reasons)
    if KNOWN:
        assert any("eta=1.0: the same states to the last bit" in reason for reason in reasons)


@pytest.mark.skipif(not KNOWN, reason="what this version does")
def test_what_breaks_in_this_version(found):
    grid = Grid.log_snr(6, snr=WINDOW, process="vp")
    broken = {
        one.label: ends(one, grid if one.process == "vp" else Grid.log_snr(6, snr=WINDOW, process=one.process))
        for one in audited(found)
    }
    assert {label: how for label, how in broken.items() if isinstance(how, str)} == {
        "DPMSolverMultistepScheduler(solver_order=3, algorithm_type='sde-dpmsolver', final_sigmas_type='sigma_min')": (
            "UnboundLocalError"
        ),
        "EDMDPMSolverMultistepScheduler(solver_order=3, algorithm_type='sde-dpmsolver++')": "UnboundLocalError",
        "DDPMScheduler(variance_type='fixed_large_log')": "nan",
        "DDPMParallelScheduler(variance_type='fixed_large_log')": "nan",
    }

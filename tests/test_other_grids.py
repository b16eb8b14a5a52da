"""Grids as diffusers and k-diffusion write them: both ways, and what their schedulers make of them."""

import inspect

import numpy as np
import pytest

from targets import ArgumentError
from verify import Grid


def table(levels=1000):
    return np.cumprod(1.0 - np.linspace(1e-4, 0.02, levels))


def test_k_sigmas_and_back():
    for process in ("vp", "ve", "flow"):
        grid = Grid.log_snr(16, snr=(1e-3, 1e3), process=process)
        sigmas = grid.k_sigmas()
        np.testing.assert_allclose(sigmas[:-1], grid.sigma / grid.alpha, rtol=1e-15)
        assert sigmas[-1] == 0.0
        assert np.array_equal(grid.k_sigmas(final_zero=False), sigmas[:-1])
        back = Grid.from_sigmas(sigmas, process="vp")
        assert back.process == "vp"
        np.testing.assert_allclose(back.snr, grid.snr, rtol=1e-15)
    flow = Grid.log_snr(8, snr=(1e-3, 1e3), process="flow")
    np.testing.assert_allclose(Grid.from_sigmas(flow.sigma, process="flow").snr, flow.snr, rtol=1e-13)


def test_timesteps_and_back():
    """At the levels of the table timesteps are integers; between them the round trip holds to rounding."""
    alphas = table()
    chosen = np.array([999, 700, 333, 1, 0])
    grid = Grid.from_timesteps(chosen, alphas)
    assert np.array_equal(grid.snr, (alphas / (1.0 - alphas))[chosen])
    terms = grid.to_diffusers(alphas)
    np.testing.assert_allclose(terms.timesteps, chosen, atol=1e-9)
    assert terms.rounded() == chosen.tolist()
    between = Grid.log_snr(40, snr=(1e-3, 1e3)).to_diffusers(alphas)
    np.testing.assert_allclose(
        Grid.from_timesteps(between.timesteps, alphas).snr, np.geomspace(1e-3, 1e3, 41), rtol=1e-11
    )
    middle = Grid.from_timesteps([10.25, 3.0], alphas)
    snr = alphas / (1.0 - alphas)
    assert middle.snr[0] == pytest.approx(snr[10] ** 0.75 * snr[11] ** 0.25, rel=1e-14)


def test_levels_outside_the_table_and_rounded_together_are_refused():
    alphas = table()
    low, high = alphas[-1] / (1 - alphas[-1]), alphas[0] / (1 - alphas[0])
    for window in ((0.9 * low, high), (low, 1.1 * high)):
        with pytest.raises(ArgumentError, match=rf"levels within the training table, snr from {low:.8g}"):
            Grid.log_snr(4, snr=window).to_diffusers(alphas)
    fine = Grid.log_snr(400, snr=(low, high)).to_diffusers(alphas)
    distinct = len(np.unique(np.rint(fine.timesteps)))
    with pytest.raises(
        ArgumentError, match=f"these 401 levels fall on {distinct}, so take fewer than {distinct} steps"
    ):
        fine.rounded()
    rescaled = np.append(table()[:-1], 0.0)
    assert Grid.log_snr(4, snr=(1e-3, 1e3)).to_diffusers(rescaled).timesteps[0] < 998


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Grid.from_sigmas([1.0, 2.0]), "sigmas.*strictly falling"),
        (lambda: Grid.from_sigmas([2.0, 1.0, 0.0, 0.0]), "sigmas"),
        (lambda: Grid.from_sigmas([1.0, 0.5], process="flow"), r"in \(0, 1\)"),
        (lambda: Grid.from_sigmas([2.0, float("nan")]), "finite numbers"),
        (lambda: Grid.from_sigmas("ab"), "numbers"),
        (lambda: Grid.from_sigmas([2.0, 1.0], process="edm"), "process = 'edm'"),
        (lambda: Grid.from_timesteps([1000, 0], table()), "from 0 to 999"),
        (lambda: Grid.from_timesteps([0, 1], table()), "strictly falling"),
        (lambda: Grid.from_timesteps([5, 1], table()[::-1]), "alphas_cumprod"),
        (lambda: Grid.log_snr(3, snr=(0.1, 1.0)).to_diffusers([0.5]), "alphas_cumprod"),
    ],
)
def test_grid_refusals(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


def test_euler_runs_our_sigmas(diffusers):
    """set_timesteps keeps our sigmas, and its own timesteps are ours to float32; back again from the scheduler."""
    scheduler = diffusers.EulerDiscreteScheduler()
    grid = Grid.log_snr(12, snr=(0.01, 1000.0))
    for final_zero in (None, True, False):
        terms = grid.to_diffusers(scheduler, final_zero)
        scheduler.set_timesteps(sigmas=terms.sigmas.tolist())
        np.testing.assert_allclose(scheduler.sigmas, terms.sigmas, rtol=1e-7)
        asked = terms.timesteps[: len(terms.sigmas) - 1]
        np.testing.assert_allclose(scheduler.timesteps, asked, atol=2e-3)
        np.testing.assert_allclose(Grid.from_sigmas(scheduler.sigmas).snr, grid.snr, rtol=1e-6)
    assert len(grid.to_diffusers(scheduler, False).sigmas) == 13
    assert len(grid.to_diffusers(scheduler).sigmas) == 14
    assert grid.to_diffusers(scheduler).sigmas[-1] == 0.0


def test_euler_by_timesteps(diffusers):
    """Fractional timesteps give the scheduler sigmas that are ours to its linear interpolation."""
    scheduler = diffusers.EulerDiscreteScheduler()
    grid = Grid.log_snr(12, snr=(0.01, 100.0))
    scheduler.set_timesteps(timesteps=grid.to_diffusers(scheduler).timesteps.tolist())
    np.testing.assert_allclose(scheduler.sigmas[:-1], grid.k_sigmas(False), rtol=2e-3)


def test_ddpm_takes_rounded_timesteps(diffusers):
    scheduler = diffusers.DDPMScheduler()
    terms = Grid.log_snr(12, snr=(0.01, 1000.0)).to_diffusers(scheduler)
    scheduler.set_timesteps(timesteps=terms.rounded())
    assert scheduler.timesteps.tolist() == terms.rounded()
    back = Grid.from_timesteps(scheduler.timesteps, scheduler.alphas_cumprod)
    np.testing.assert_allclose(back.snr, np.geomspace(0.01, 1000.0, 13), rtol=0.3)
    kept = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    np.testing.assert_allclose(back.snr, kept / (1.0 - kept), rtol=1e-14)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_runs_our_sigmas(diffusers, shift):
    """After its own shift the scheduler's sigmas are the grid's s, its timesteps 1000 s, and a 0 is appended once."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    grid = Grid.log_snr(12, snr=(1e-4, 1e4), process="flow")
    terms = grid.to_diffusers(scheduler)
    scheduler.set_timesteps(sigmas=terms.sigmas.tolist())
    np.testing.assert_allclose(scheduler.sigmas[:-1], grid.sigma, rtol=1e-6)
    assert scheduler.sigmas[-1] == 0.0
    assert len(scheduler.sigmas) == 14
    np.testing.assert_allclose(scheduler.timesteps, terms.timesteps, rtol=1e-6)
    np.testing.assert_allclose(terms.timesteps, 1000.0 * grid.sigma, rtol=1e-15)
    np.testing.assert_allclose(Grid.from_sigmas(scheduler.sigmas, process="flow").snr, grid.snr, rtol=3e-3)


def test_schedulers_of_another_kind_are_refused(diffusers):
    grid = Grid.log_snr(4, snr=(0.1, 10.0))
    with pytest.raises(ArgumentError, match=r"use_dynamic_shifting = True: expected an option that is off"):
        grid.to_diffusers(diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True))
    with pytest.raises(ArgumentError, match=r"EDMEulerScheduler.*k_sigmas"):
        grid.to_diffusers(diffusers.EDMEulerScheduler())
    with pytest.raises(ArgumentError, match="use_flow_sigmas"):
        grid.to_diffusers(
            diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
        )


def test_a_class_in_the_place_of_a_scheduler(diffusers):
    words = r"EulerDiscreteScheduler'>: expected a scheduler and not its class: EulerDiscreteScheduler\(\)"
    with pytest.raises(ArgumentError, match=words):
        Grid.log_snr(4, snr=(0.1, 10.0)).to_diffusers(diffusers.EulerDiscreteScheduler)


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("EulerDiscrete", {"sigmas", "timesteps"}),
        ("FlowMatchEulerDiscrete", {"sigmas", "timesteps"}),
        ("UniPCMultistep", {"sigmas"}),
        *(
            (name, {"timesteps"})
            for name in ("HeunDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "DDPM", "LCM")
        ),
        *((name, set()) for name in ("DDIM", "PNDM", "DEISMultistep", "LMSDiscrete", "KDPM2Discrete")),
        *((name, set()) for name in ("EulerAncestralDiscrete", "FlowMatchHeunDiscrete")),
    ],
)
def test_what_each_class_takes_is_as_documented(diffusers, name, takes):
    """The table of `Grid.to_diffusers`, held against the installed signatures."""
    given = inspect.signature(getattr(diffusers, f"{name}Scheduler").set_timesteps).parameters
    assert takes == {"sigmas", "timesteps"} & set(given)


@pytest.mark.parametrize(("name", "exact"), [("HeunDiscrete", True), ("DPMSolverMultistep", False), ("DDPM", False)])
def test_which_classes_take_fractional_timesteps(diffusers, name, exact):
    scheduler = getattr(diffusers, f"{name}Scheduler")()
    scheduler.set_timesteps(timesteps=[900.5, 400.25, 100.75])
    assert (np.asarray(scheduler.timesteps)[0] == 900.5) is np.bool_(exact)

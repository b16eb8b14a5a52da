"""The parts of the diffusers adapter: what is found, what the loop reads, what is injected, and orders known by hand."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from driving import WINDOW, generator, paired, standard, starts

from targets import ArgumentError, NotAvailableError, get
from verify import samplers
from verify.audit import loading
from verify.audit.contract import NotDrivableError
from verify.audit.diffusers import conventions, declared, inspect, version
from verify.audit.diffusers.inject import native, process, sampler
from verify.audit.diffusers.loop import quiet, run
from verify.audit.diffusers.own_loops import KarrasVe, ScoreSdeVe
from verify.audit.order import as_sampler, order, refined
from verify.grid import Grid
from verify.invariants import sampler_checks

with quiet(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

KNOWN = version() == "0.42.1"
UNDRIVEN = {
    *("Amused", "BlockRefinement", "DiscreteDDIM", "EntropyBound", "VQDiffusion"),
    *("DDIMInverse", "DPMSolverMultistepInverse"),
    *("ConsistencyDecoder", "HeliosDMD", "Piflow", "RFD4Proteina", "RePaint", "SCM", "ScoreSdeVp"),
}
"""Tokens; backwards; inside their own pipelines only."""


@pytest.fixture(scope="module")
def rows():
    return inspect.listing()


def test_every_class_is_listed_once_and_either_driven_or_with_a_reason(rows):
    names = [row.name for row in rows]
    assert names == sorted(set(names))
    public = {name for name in dir(diffusers.schedulers) if name.endswith("Scheduler") and "Flax" not in name}
    classes = {name for name in public if hasattr(getattr(diffusers, name, None), "set_timesteps")}
    assert len(classes) > 40
    assert classes <= set(names)
    for row in rows:
        assert (row.reason is None) != (row.process is None), row
        assert row.reason is None or len(row.reason) > 20, row
    assert not KNOWN or {row.name.removesuffix("Scheduler") for row in rows if row.reason} == UNDRIVEN


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AmusedScheduler", "tokens"),
        ("VQDiffusionScheduler", "tokens"),
        ("DDIMInverseScheduler", "from data to noise"),
        ("DPMSolverMultistepInverseScheduler", "from data to noise"),
        ("RePaintScheduler", "original_image, mask"),
        ("RFD4ProteinaScheduler", "emit_mask"),
    ],
)
def test_reasons_come_from_the_class(rows, name, words):
    assert words in next(row.reason for row in rows if row.name == name)


def test_a_class_that_nobody_knows_is_listed_with_what_it_raised():
    class Broken(diffusers.DDIMScheduler):
        def step(self, model_output, timestep, sample, generator=None, return_dict=True):
            raise KeyError("no such level")

    class Lost(diffusers.DDIMScheduler):
        def step(self, model_output, timestep, sample, return_dict=True):
            return (sample * float("nan"),)

    class Fine(diffusers.DDIMScheduler):
        pass

    assert inspect.look(Broken).reason == "a trial raised KeyError: 'no such level'"
    assert "not finite" in str(inspect.look(Lost).reason)
    assert inspect.look(Fine).reason is None
    assert inspect.look(Fine).process == "vp"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("DDIMScheduler", "vp"), ("EDMEulerScheduler", "ve"), ("FlowMatchEulerDiscreteScheduler", "flow")],
)
def test_process_is_read_off_the_class(name, kind):
    assert process(getattr(diffusers, name)) == kind


def test_not_installed_names_the_command(monkeypatch):
    monkeypatch.setattr(loading, "version", lambda *_: None)
    with pytest.raises(NotAvailableError, match="pip install diffusers"):
        inspect.listing()


def test_churn_is_a_step_count_of_the_grid():
    """K = 40 leaves S_churn/K below its cap √2 − 1, so that K itself is seen."""
    target, grid = get("anisotropic_gaussian"), Grid.log_snr(40, snr=WINDOW, process="ve")
    options = {"s_churn": 10.0, "s_noise": 1.0, "s_min": 0.0, "s_max": math.inf}
    start = starts(target, grid, 2)
    with paired(2, target.dim):
        theirs = KarrasVe(inspect.classes()["KarrasVeScheduler"], options)(target.denoiser, grid, start, generator())
    with paired(2, target.dim):
        ours = as_sampler(samplers.edm_churn)(target.denoiser, grid, start, generator())
    assert float((theirs - ours).norm() / ours.norm()) < 1e-11


def test_the_variance_exploding_predictor_by_its_formula():
    grid = Grid.log_snr(5, snr=WINDOW, process="ve")
    start = torch.tensor([[0.4, -3.0]], dtype=torch.float64)
    with paired(1, 2):
        theirs = ScoreSdeVe(diffusers.ScoreSdeVeScheduler, {})(standard, grid, start, generator())
    noise, x = torch.randn(64, 1, 2, generator=generator(11), dtype=torch.float64), start
    for k, (high, low) in enumerate(itertools.pairwise(grid.sigma)):
        fallen = high**2 - low**2
        x = x - fallen * x / (1.0 + high**2) + math.sqrt(fallen) * noise[k]
    assert torch.allclose(theirs, x, rtol=1e-12)


def test_pseudo_runge_kutta_goes_by_geometric_means():
    grid = refined(5, snr=WINDOW, process="vp", eased=True)
    trace = sampler(diffusers.PNDMScheduler).trace(standard, grid, torch.ones(1, 1, dtype=torch.float64), generator())
    half = np.sqrt(grid.snr[:3] * grid.snr[1:4])
    blocks = [[grid.snr[k], half[k], half[k], grid.snr[k + 1]] for k in range(3)]
    expected = np.concatenate([*blocks, grid.snr[3:5]])
    assert np.allclose([level.snr for level in trace.levels], expected, rtol=1e-11)


@pytest.mark.parametrize("solver", ["midpoint", "heun"])
def test_single_step_of_order_two_is_our_midpoint_rule_on_every_second_level(solver):
    """r = 1/2 on a uniform grid, where midpoints are exact for both solver types only to second order."""
    target, grid = get("curved_mixture"), Grid.log_snr(8, snr=WINDOW)
    one = sampler(
        diffusers.DPMSolverSinglestepScheduler,
        algorithm_type="dpmsolver",
        solver_type=solver,
        final_sigmas_type="sigma_min",
    )
    start = starts(target, grid, 5)
    theirs = one(target.denoiser, grid, start, generator())
    ours = as_sampler(samplers.dpm_solver_2)(target.denoiser, Grid.from_snr(grid.snr[::2]), start, generator())
    apart = float((theirs - ours).norm() / ours.norm())
    assert apart < 1e-12 if solver == "midpoint" else apart > 1e-3


@pytest.mark.parametrize("said", ["sample", "v_prediction"])
@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "LMSDiscreteScheduler"]
)
def test_what_the_network_says_does_not_matter(name, said):
    cls, target = getattr(diffusers, name), get("curved_mixture")
    grid = Grid.log_snr(9, snr=WINDOW, process=process(cls))
    start = starts(target, grid, 4)
    one = sampler(cls)(target.denoiser, grid, start, generator())
    other = sampler(cls, prediction_type=said)(target.denoiser, grid, start, generator())
    assert float((one - other).norm() / one.norm()) < 1e-12


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "HeunDiscreteScheduler", "EDMEulerScheduler", "UniPCMultistepScheduler", "IPNDMScheduler"]
)
def test_native_precision_is_single_and_near(name):
    cls, target = getattr(diffusers, name), get("curved_mixture")
    grid = Grid.log_snr(20, snr=(0.1, 50.0), process=process(cls))
    start = starts(target, grid, 6).to(torch.float32).to(torch.float64)
    exact = sampler(cls)(target.denoiser, grid, start, generator())
    rounded = native(cls)(target.denoiser, grid, start, generator())
    assert rounded.dtype == torch.float64
    assert 1e-9 < float((exact - rounded).norm() / exact.norm()) < 1e-4


@pytest.mark.parametrize("kind", [sampler, native])
@pytest.mark.parametrize(
    "name", ["DDPMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "FlowMatchHeunDiscreteScheduler"]
)
def test_extreme_levels_and_many_steps_are_finite(name, kind):
    cls = getattr(diffusers, name)
    ends_at = (1e-4, 1e4) if kind is native else (1e-8, 1e8)
    grid = Grid.log_snr(200, snr=ends_at, process=process(cls))
    states = kind(cls)(standard, grid, torch.ones(1, 2, dtype=torch.float64) * grid.sigma[0], generator())
    assert bool(states.isfinite().all())
    assert float(states.abs().max()) < 10.0


def test_findings_name_the_class():
    driven = sampler(diffusers.DDIMScheduler)
    checks = sampler_checks(driven, order=1, stochastic=False, process="vp")
    assert {check.subject for check in checks} == {"DDIMScheduler"}


def test_a_grid_of_another_process_is_refused():
    with pytest.raises(ArgumentError, match=r"grid\.process = 've': expected 'vp', the process of"):
        sampler(diffusers.DDIMScheduler)(
            standard, Grid.log_snr(4, snr=WINDOW, process="ve"), torch.ones(1, 1), generator()
        )


@pytest.mark.parametrize(
    ("name", "options", "expected", "eased"),
    [
        ("UniPCMultistepScheduler", {}, 3.0, True),
        ("FlowMatchHeunDiscreteScheduler", {}, 2.0, True),
        ("DEISMultistepScheduler", {"solver_order": 3}, 3.0, True),
        ("DEISMultistepScheduler", {"solver_order": 3}, 2.0, False),
        ("PNDMScheduler", {}, 2.0, False),
        ("IPNDMScheduler", {}, 2.0, False),
    ],
)
def test_orders(name, options, expected, eased):
    """IPNDM promises four, which its weights keep on equal steps in σ/α alone; elsewhere two is left."""
    cls = getattr(diffusers, name)
    grids = {"process": process(cls, **options), "steps": (16, 32, 64), "snr": (0.5, 50.0), "eased": eased}
    assert abs(order(sampler(cls, **options), get("curved_mixture"), **grids).order - expected) < 0.25


class Doubled(diffusers.DPMSolverMultistepScheduler):
    """DPM-Solver++(3M) with its second difference, h²m″/2, taken twice, as ∫ e^{-(h−s)} s²/2 ds · m″ has it."""

    def multistep_dpm_solver_third_order_update(self, outputs, *args, sample=None, noise=None, **kwargs):
        after = super().multistep_dpm_solver_third_order_update(outputs, sample=sample, noise=noise)
        pairs = [self._sigma_to_alpha_sigma_t(self.sigmas[self.step_index + j]) for j in (1, 0, -1, -2)]
        first, second, third, fourth = (torch.log(alpha / sigma) for alpha, sigma in pairs)
        h, before, earlier = first - second, second - third, third - fourth
        slopes = (outputs[-1] - outputs[-2]) / before, (outputs[-2] - outputs[-3]) / earlier
        curvature = h**2 * (slopes[0] - slopes[1]) / (before + earlier)
        return after - pairs[0][0] * ((torch.exp(-h) - 1.0 + h) / h**2 - 0.5) * curvature


@pytest.mark.skipif(not KNOWN, reason="what this version does")
def test_third_order_multistep_is_of_second_order_for_want_of_a_factor_two():
    grids = {"steps": (24, 48, 96), "snr": (0.5, 50.0), "eased": True}
    library, mended = (
        order(sampler(cls, solver_order=3), get("curved_mixture"), **grids)
        for cls in (diffusers.DPMSolverMultistepScheduler, Doubled)
    )
    assert library.order < 2.1
    assert abs(mended.order - 3.0) < 0.25


def test_words_that_are_not_there_promise_nothing():
    class Silent(diffusers.DDIMScheduler):
        """A sampler."""

    assert declared.promised(Silent) is None
    promise = declared.promised(diffusers.DDIMScheduler)
    assert promise is not None
    assert promise.order == 1.0


def made(cls, steps, **options):
    with quiet():
        scheduler = cls(**options)
        scheduler.set_timesteps(steps)
    return scheduler


def test_levels_come_from_the_tables_and_not_from_rounded_timesteps():
    scheduler = made(diffusers.DPMSolverMultistepScheduler, 7, use_karras_sigmas=True)
    trace = run(scheduler, standard, torch.ones(2, 3), generator())
    expected = scheduler.sigmas[:-1].double() ** -2
    asked = torch.tensor([level.snr for level in trace.levels], dtype=torch.float64)
    assert torch.allclose(asked, expected, rtol=1e-12)
    looked_up = scheduler.alphas_cumprod[scheduler.timesteps].double()
    assert not torch.allclose(looked_up / (1 - looked_up), expected, rtol=1e-4)
    assert trace.last == (1.0, 0.0)
    assert trace.calls == 7
    assert trace.states.dtype == torch.float32


def test_inverted_sigmas_are_the_same_sampler_told_the_other_way():
    plain = run(made(diffusers.FlowMatchEulerDiscreteScheduler, 5), standard, torch.ones(1, 2), generator())
    turned = run(
        made(diffusers.FlowMatchEulerDiscreteScheduler, 5, invert_sigmas=True), standard, torch.ones(1, 2), generator()
    )
    assert torch.allclose(plain.states, turned.states, rtol=1e-5)
    assert turned.last == (1.0, 0.0)


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "DDPMScheduler", "DPMSolverSDEScheduler"])
def test_all_randomness_comes_from_the_generator(name):
    cls, before = getattr(diffusers, name), torch.get_rng_state()
    runs = [run(made(cls, 4), standard, torch.ones(2, 3), generator(seed)).states for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(before, torch.get_rng_state())


def test_tables_without_a_level_are_an_error_with_the_numbers():
    scheduler = made(diffusers.EulerDiscreteScheduler, 4)
    scheduler.sigmas[1] = math.nan
    with pytest.raises(conventions.LevelError, match="sigma = nan"):
        run(scheduler, standard, torch.ones(1, 1), generator())


def test_a_prediction_type_that_no_network_says_is_not_driven():
    scheduler = made(diffusers.DDIMScheduler, 4, prediction_type="dream")
    with pytest.raises(NotDrivableError, match="prediction_type 'dream' is none of epsilon"):
        run(scheduler, standard, torch.ones(1, 1), generator())
    with pytest.raises(ArgumentError, match=r"start.shape = \(3,\): expected rows \(n, dim\)"):
        run(scheduler, standard, torch.ones(3), generator())

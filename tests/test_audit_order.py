"""Measured orders: right methods within tolerance, wrong ones not; start told from method; floors; what samplers break."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from targets import ArgumentError, Gaussian, NotAvailableError, get
from verify import Grid, Table, samplers
from verify.audit.order import (
    OrderFit,
    SamplerError,
    as_sampler,
    fitted,
    order,
    order_against,
    refined,
    startup,
)
from verify.audit.reference import Reference, exact_flow
from verify.samplers import ddim, ddpm, dpmpp_2m, exponential_ab2, exponential_ab3, heun, rk3

STEPS = (16, 32, 64)
METHODS = {"ddim": 1, "heun": 2, "dpm_solver_2": 2, "dpmpp_2m": 2, "exponential_ab2": 2, "exponential_ab3": 3, "rk3": 3}
TOLERANCE = {1: 0.05, 2: 0.1, 3: 0.2}
WINDOW = (0.5, 50.0)

LINE = Reference.of(get("curved_mixture"), snr=WINDOW, particles=24)
SPACE = Reference.of(get("anisotropic_gaussian"), snr=WINDOW, particles=24)
on_both_grids = pytest.mark.parametrize("eased", [False, True])


def measured(build, reference: Reference = LINE, *, eased: bool = False, process: str = "vp", steps=STEPS) -> OrderFit:
    return order_against(as_sampler(build), reference, process=process, steps=steps, eased=eased)


def cheap_start(grid: Grid) -> Table:
    """Exponential Adams–Bashforth 3 started by one step of ddim and one of Adams–Bashforth 2, as libraries do."""
    later = exponential_ab3(grid)
    steps = [ddim(grid).step(0), exponential_ab2(grid).step(1), *map(later.step, range(2, grid.steps))]
    return Table.from_steps(steps, later.method)


# ---- right methods -------------------------------------------------------------------------------------


@on_both_grids
@pytest.mark.parametrize("law", [LINE, SPACE], ids=["curved_mixture", "anisotropic_gaussian"])
@pytest.mark.parametrize("name", METHODS)
def test_right_methods_measure_their_order(name: str, law: Reference, eased: bool):
    found, declared = measured(samplers.get(name), law, eased=eased), METHODS[name]
    assert abs(found.order - declared) <= TOLERANCE[declared]
    assert found.interval[0] <= found.order <= found.interval[1]
    assert found.cut == 0
    assert found.kept == found.steps == STEPS
    assert found.eased is eased


@pytest.mark.slow
@on_both_grids
@pytest.mark.parametrize("law", ["curved_mixture", "anisotropic_gaussian", "digits_mixture"])
@pytest.mark.parametrize("name", METHODS)
def test_right_methods_measure_their_order_at_the_defaults(name: str, law: str, eased: bool):
    found, declared = order(as_sampler(samplers.get(name)), get(law), eased=eased), METHODS[name]
    assert abs(found.order - declared) <= {1: 0.01, 2: 0.02, 3: 0.1}[declared]
    assert found.cut == 0


def test_errors_of_ddim_on_a_gaussian_are_the_closed_form():
    """Standard deviations shrink by ∏ cos Δθ_k, ς = √λ tan θ (Sun, Poor & Zhang): so does every distance from the mean."""
    variance, target = 0.4, Gaussian([1.5, -0.5], 0.4 * np.eye(2))
    for eased in (False, True):
        found = order(as_sampler(ddim), target, steps=(3, 7, 20), snr=WINDOW, eased=eased, particles=9)
        for k, error in zip(found.steps, found.errors, strict=True):
            grid = refined(k, snr=WINDOW, process="vp", eased=eased)
            reference = Reference.of(target, snr=WINDOW, particles=9)
            ratio = np.cos(np.diff(np.arctan(grid.snr**-0.5 / variance**0.5))).prod()
            spread = float((reference.last - target.mean).square().sum(-1).mean().sqrt())
            assert error == pytest.approx((1.0 - ratio) * spread, rel=1e-12)


@pytest.mark.parametrize("build", [ddim, dpmpp_2m, heun], ids=["ddim", "dpmpp_2m", "heun"])
def test_errors_are_the_same_in_every_process(build):
    errors = [measured(build, process=process, steps=(8, 16, 32)).errors for process in ("vp", "ve", "flow")]
    np.testing.assert_allclose(errors[1:], [errors[0]] * 2, rtol=1e-9)


def test_one_call_does_what_a_reference_at_hand_does():
    found = order(as_sampler(heun), get("curved_mixture"), steps=(8, 16, 32), snr=WINDOW, particles=24)
    np.testing.assert_array_equal(found.errors, measured(heun, steps=(8, 16, 32)).errors)


def test_refined_grids():
    a, b = math.log(0.5), math.log(50.0)
    uniform, eased = (refined(10, snr=WINDOW, process="flow", eased=e) for e in (False, True))
    np.testing.assert_allclose(np.log(uniform.snr), a + (b - a) * np.arange(11) / 10, atol=1e-14)
    np.testing.assert_allclose(np.log(eased.snr), a + (b - a) * (np.arange(11) / 10) ** 2, atol=1e-14)
    for grid in (uniform, eased):
        assert (grid.snr[0], grid.snr[-1], grid.process) == (*WINDOW, "flow")


# ---- wrong methods -------------------------------------------------------------------------------------


def other_lean(build, factor: float):
    """The table whose extrapolation is `factor` times what it should be."""

    def built(grid: Grid) -> Table:
        table = build(grid)
        more = (factor - 1.0) * table.history
        return replace(table, outputs=table.outputs - more, history=table.history + more)

    return built


def other_weights(grid: Grid) -> Table:
    """Heun's rule with weights 0.45 and 0.55 in place of a half each."""
    table, euler = heun(grid), ddim(grid)
    blend = 1.1
    state = (1.0 - blend) * euler.state + blend * table.state
    outputs = blend * table.outputs
    outputs[:, :1] += (1.0 - blend) * euler.outputs
    return replace(table, state=state, outputs=outputs)


@on_both_grids
@pytest.mark.parametrize(
    ("build", "left"),
    [
        (other_lean(dpmpp_2m, 2.0), 1.0),
        (other_lean(dpmpp_2m, -1.0), 1.0),
        (other_lean(exponential_ab2, 0.9), 1.0),
        (other_weights, 1.0),
        (lambda grid: replace(heun(grid), outputs=heun(grid).outputs * 1.01), 0.0),
        (lambda grid: replace(heun(grid), state=heun(grid).state * 1.01), -1.0),
    ],
    ids=["lean doubled", "lean turned", "lean 0.9", "weights", "outputs 1.01", "state 1.01"],
)
def test_one_wrong_factor_costs_the_order(build, left: float, eased: bool):
    for law in (LINE, SPACE):
        assert measured(build, law, eased=eased).order < left + 0.3


def test_a_sampler_that_adds_noise_does_not_approach_the_flow():
    found = measured(ddpm)
    assert abs(found.order) < 0.2
    assert found.cut == 0


# ---- start and method ----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [LINE, SPACE], ids=["curved_mixture", "anisotropic_gaussian"])
def test_a_start_of_first_order_is_told_from_a_method_of_third(law: Reference):
    uniform, eased = (measured(cheap_start, law, eased=e) for e in (False, True))
    assert abs(uniform.order - 2.0) <= 0.05
    assert abs(eased.order - 3.0) <= 0.2
    assert startup(uniform, eased, 0.2) == uniform.order
    uniform, eased = (measured(exponential_ab3, law, eased=e) for e in (False, True))
    assert startup(uniform, eased, 0.2) is None


# ---- floors --------------------------------------------------------------------------------------------


def rounded(denoiser, grid, start, generator):
    """rk3 that hands its states over in single precision."""
    return as_sampler(rk3)(denoiser, grid, start, generator).to(torch.float32).to(torch.float64)


@pytest.mark.slow
def test_points_at_single_precision_are_cut_off_and_counted():
    found = order_against(rounded, LINE, steps=(8, 16, 32, 64, 128, 256))
    assert found.cut == 2
    assert len(found.errors) == 6
    assert found.kept == (8, 16, 32, 64)
    assert len(found.local) == 3
    assert abs(found.order - 3.0) <= 0.05


def test_a_plateau_above_single_precision_is_the_samplers_own():
    def biased(denoiser, grid, start, generator):
        return as_sampler(rk3)(denoiser, grid, start, generator) + 1e-3

    found = order_against(biased, LINE, steps=(8, 16, 32, 64))
    assert found.cut == 0
    assert abs(found.order) < 0.05


@pytest.mark.parametrize("size", [0.0, 5e-11])
def test_an_exact_sampler_has_no_order_nor_has_rounding(size: float):
    target = get("curved_mixture")

    def exact(denoiser, grid, start, generator):  # noqa: ARG001
        return exact_flow(target, start, grid) + size / grid.steps

    with pytest.raises(NotAvailableError, match="0 of 3 points stand above the floor"):
        order_against(exact, LINE, steps=STEPS)


STATED = (8, 16, 32, 64, 128)
POWER = 3.0 * np.array(STATED) ** -2.0
NO_FLOOR = np.zeros(5)


def test_fits_of_given_errors():
    power = fitted(STATED, POWER, NO_FLOOR, 1e-5, eased=True)
    assert power.order == pytest.approx(2.0, abs=1e-12)
    assert power.interval == (pytest.approx(2.0, abs=1e-8), pytest.approx(2.0, abs=1e-8))
    cut = fitted(STATED, POWER, np.array([0.0, 0.0, 0.0, 0.0, 1.0]), 1e-5, eased=True)
    assert (cut.cut, cut.kept) == (1, (8, 16, 32, 64))
    fast = fitted(STATED, 1e-6 * np.array([512.0, 8.0, 2.0, 0.5, 0.125]), NO_FLOOR, 1e-3, eased=True)
    assert (fast.cut, fast.order) == (0, pytest.approx(2.0))
    bent = fitted(STATED, 1e-6 * np.array([512.0, 64.0, 8.0, 2.0, 0.5]), NO_FLOOR, 1e-3, eased=True)
    assert (bent.cut, bent.order) == (0, pytest.approx(2.0))
    flat = fitted(STATED, 1e-6 * np.array([1000.0, 40.0, 1.6, 0.9, 1.1]), NO_FLOOR, 1e-9, eased=False)
    assert (flat.cut, len(flat.local)) == (0, 4)


@pytest.mark.parametrize(
    ("tail", "kept"), [([1.6, 1.0, 1.1], 3), ([1.6, 1.0, 0.5], 3), ([1.6, 0.8], 4), ([5.0], 3), ([7.0], 3), ([2.0], 5)]
)
def test_a_tail_that_has_stopped_falling_is_cut_with_what_it_touches(tail: list[float], kept: int):
    errors = 1e-6 * np.array([5000.0, 600.0, 80.0, 9.0, *tail])
    steps = tuple(8 * 2**i for i in range(len(errors)))
    assert fitted(steps, errors, 0.0 * errors, 1e-4, eased=False).kept == steps[:kept]


def test_a_floor_that_comes_too_early_is_refused():
    with pytest.raises(NotAvailableError, match="2 of 5 points stand above the floor"):
        fitted(STATED, 1e-7 * np.array([1e4, 100.0, 1.0, 1.1, 0.9]), NO_FLOOR, 1e-5, eased=False)


# ---- what samplers break -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x * float("nan"), r"K = 16, process 've': 24 of 24 numbers are nan"),
        (lambda x: x[:5], r"shape \(5, 1\) came back; expected \(24, 1\)"),
        (lambda x: x.to(torch.float32), "float32 came back; expected torch.float64"),
        (lambda x: x.numpy(), "ndarray came back; expected a tensor"),
    ],
    ids=["nan", "shape", "dtype", "array"],
)
def test_broken_samplers_are_named(answer, message: str):
    def broken(denoiser, grid, start, generator):  # noqa: ARG001
        return answer(start)

    with pytest.raises(SamplerError, match=message):
        order_against(broken, LINE, process="ve", steps=STEPS)


def test_a_sampler_cannot_spoil_the_first_states():
    def spoiling(denoiser, grid, start, generator):
        out = as_sampler(heun)(denoiser, grid, start, generator)
        start.zero_()
        return out

    np.testing.assert_array_equal(order_against(spoiling, LINE, steps=STEPS).errors, measured(heun).errors)


def test_tables_that_stop_elsewhere_are_refused():
    build = samplers.get("jain_zhang")
    with pytest.raises(ArgumentError, match=r"table\.stop\.snr.*beyond"):
        measured(build)
    measured(lambda grid: build(grid.beyond()))


def test_steps_and_windows_are_checked():
    for steps in ((16, 32), (16, 16, 32), (0, 1, 2), (4, 8.5, 16)):
        with pytest.raises(ArgumentError, match="steps"):
            order(as_sampler(heun), get("curved_mixture"), steps=steps)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="snr"):
        order(as_sampler(heun), get("curved_mixture"), snr=(2.0, 1.0))
    with pytest.raises(ArgumentError, match="process"):
        order(as_sampler(heun), get("curved_mixture"), process="vpp")

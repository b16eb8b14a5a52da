"""The exact flow by paths that share nothing but the law: closed form, ranks, integration."""

import numpy as np
import pytest
import torch

from targets import ArgumentError, Gaussian, GaussianMixture, Level, NotAvailableError, get
from verify import Grid
from verify.audit.reference import (
    Reference,
    distance,
    exact_flow,
    flow_with_error,
    integrated_flow,
    line_flow,
    reference_states,
)
from verify.carry.density import line_law

WINDOW = (0.05, 80.0)
PROCESSES = ("vp", "ve", "flow")


def grid(process: str = "vp", snr: tuple[float, float] = WINDOW) -> Grid:
    return Grid.log_snr(3, snr=snr, process=process)


def turned() -> Gaussian:
    a = np.random.default_rng(3).standard_normal((3, 3))
    return Gaussian([0.5, -1.0, 2.0], a @ a.T / 3.0)


@pytest.mark.parametrize("process", PROCESSES)
def test_three_paths_agree_on_a_gaussian_far_into_both_tails(process: str):
    mean, variance, g = 0.7, 0.3, grid(process)
    first, last = g.levels[0], g.levels[-1]
    one = Gaussian([mean], [[variance]])
    law = line_law(GaussianMixture.isotropic([1.0], [[mean]], variance))
    assert law is not None
    z = torch.linspace(-12.0, 12.0, 25, dtype=torch.float64)[:, None]
    widths = [(level.alpha**2 * variance + level.sigma**2) ** 0.5 for level in (first, last)]
    start, wanted = first.alpha * mean + widths[0] * z, last.alpha * mean + widths[1] * z
    for found, allowed in (
        (exact_flow(one, start, g), 1e-14),
        (line_flow(law, start, g), 1e-13),
        (integrated_flow(one, start, g), 3e-11),
    ):
        assert (found - wanted).abs().max() <= allowed * wanted.abs().max()
    near = z[:, 0].abs() <= 8.0
    ranks = (line_flow(law, start, g) - last.alpha * mean)[near] / widths[1]
    assert (ranks - z[near]).abs().max() <= 1e-11


@pytest.mark.parametrize("process", PROCESSES)
def test_ranks_and_integration_agree_on_a_curved_law(process: str):
    target, g = get("curved_mixture"), grid(process)
    width = g.levels[0].sigma
    inner = reference_states(target, g, 40)
    outer = g.levels[0].alpha * target.mean + width * torch.tensor([[-9.0], [9.0]], dtype=torch.float64)
    start = torch.cat([inner, outer])
    ranks, doubt = flow_with_error(target, start, g)
    integrated = integrated_flow(target, start, g, 1e-12)
    assert distance(ranks, integrated) <= 1e-11 * g.levels[-1].alpha
    assert doubt <= 1e-13


def test_a_turned_gaussian_against_the_integration():
    target, g = turned(), grid("flow")
    start = reference_states(target, g, 20)
    assert distance(exact_flow(target, start, g), integrated_flow(target, start, g, 1e-13)) <= 1e-12


@pytest.mark.parametrize("process", PROCESSES)
def test_integration_in_three_dimensions_against_ranks_along_one(process: str):
    """Two components of one covariance differ along e_1: a flow on a line there, a Gaussian's in the other coordinates."""
    target, g = get("two_components", dim=3), grid(process)
    first, last = g.levels[0], g.levels[-1]
    start = reference_states(target, g, 20)
    found, doubt = flow_with_error(target, start, g)
    law = line_law(get("two_components"))
    assert law is not None
    grown = ((last.alpha**2 * 0.09 + last.sigma**2) / (first.alpha**2 * 0.09 + first.sigma**2)) ** 0.5
    wanted = torch.cat([line_flow(law, start[:, :1], g), grown * start[:, 1:]], 1)
    off = distance(found, wanted) / last.alpha
    assert off <= doubt
    assert doubt <= 1e-9


def test_the_flow_through_a_level_between_is_the_flow():
    target = get("curved_mixture")
    whole, parts = grid(), (grid(snr=(WINDOW[0], 1.3)), grid(snr=(1.3, WINDOW[1])))
    start = reference_states(target, whole, 30)
    between = exact_flow(target, exact_flow(target, start, parts[0]), parts[1])
    assert distance(between, exact_flow(target, start, whole)) <= 1e-12


@pytest.mark.parametrize("name", ["curved_mixture", "anisotropic_gaussian", "two_components"])
def test_states_in_two_processes_differ_by_their_scale_only(name: str):
    target = get(name)
    starts = {p: reference_states(target, grid(p), 8) for p in PROCESSES}
    for p in PROCESSES[1:]:
        ends = [exact_flow(target, starts[q], grid(q)) / grid(q).levels[-1].alpha for q in ("vp", p)]
        assert distance(starts[p] / grid(p).levels[0].alpha, starts["vp"] / grid().levels[0].alpha) <= 1e-11
        assert distance(*ends) <= 1e-9


def test_first_states_on_the_line_are_quantiles():
    target, g = get("curved_mixture"), grid()
    level, states = g.levels[0], reference_states(get("curved_mixture"), g, 5)[:, 0]
    x = torch.linspace(-12.0, 12.0, 40_001, dtype=torch.float64)
    density = target.log_prob(x[:, None], level).exp()
    below = [float(torch.trapezoid(density.where(x <= s, torch.zeros(())), x)) for s in states]
    assert below == pytest.approx([0.001, 0.2505, 0.5, 0.7495, 0.999], abs=1e-3)
    assert torch.equal(states, reference_states(target, g, 5)[:, 0])
    assert float(reference_states(target, g, 1)) == pytest.approx(float(states[2]), abs=1e-9)


def test_first_states_in_space_are_draws_from_the_start_law():
    target, g = turned(), grid()
    level, n = g.levels[0], 20_000
    states = reference_states(target, g, n)
    wide = level.alpha**2 * target.components.covariance() + level.sigma**2 * torch.eye(3)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(wide), (states - level.alpha * target.mean).mT, upper=False)
    assert z.mean(1).abs().max() <= 4.5 / n**0.5  # three means, then six second moments: false alarms below 1e-4
    assert (z @ z.mT / n - torch.eye(3)).abs().max() <= 4.5 * (2.0 / n) ** 0.5
    assert torch.equal(states, reference_states(target, g, n))


def test_a_reference_measures_in_units_of_u():
    target = get("curved_mixture")
    found = Reference.of(target, snr=WINDOW, particles=12)
    g = grid("flow")
    level = g.levels[-1]
    ends = exact_flow(target, g.levels[0].alpha * found.first, g)
    assert found.error(ends, level) <= 1e-12
    assert found.error(ends + 0.25 * level.alpha, level) == pytest.approx(0.25, rel=1e-11)
    assert found.size == pytest.approx(float(found.last.square().mean().sqrt()), rel=1e-14)
    assert found.snr == WINDOW


def test_a_point_mass_keeps_its_ray():
    target, g = get("point_mass", point=[0.3, -2.0]), grid("ve")
    start = reference_states(target, g, 6)
    wanted = target.mean + (start - target.mean) * (g.sigma[-1] / g.sigma[0])
    assert distance(exact_flow(target, start, g), wanted) <= 1e-10


def test_bad_input_is_refused():
    target, g = get("curved_mixture"), grid()
    good = torch.zeros(3, 1, dtype=torch.float64)
    for bad in (torch.zeros(3, 2), torch.full((3, 1), float("nan")), torch.zeros(3)):
        with pytest.raises(ArgumentError, match="start"):
            exact_flow(target, bad, g)
    with pytest.raises(ArgumentError, match="float64"):
        exact_flow(target.to(dtype=torch.float32), good, g)
    with pytest.raises(ArgumentError, match="grid"):
        exact_flow(target, good, Level(1.0, 1.0))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="target"):
        reference_states("curved_mixture", g, 4)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="n = 0"):
        reference_states(target, g, 0)


def test_an_integration_that_stops_short_says_so(monkeypatch: pytest.MonkeyPatch):
    class Stopped:
        success, y, message = False, np.zeros((3, 1)), "step size too small"

    monkeypatch.setattr("scipy.integrate.solve_ivp", lambda *_, **__: Stopped())
    with pytest.raises(NotAvailableError, match=r"snr 0\.05 to 80: step size too small"):
        integrated_flow(turned(), torch.zeros(1, 3, dtype=torch.float64), grid())

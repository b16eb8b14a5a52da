"""Adapters of azula, k-diffusion, flow-matching, smalldiffusion and our own: agreement with our tables on one grid, start and
noise, and nothing but the library's own arithmetic deciding the last state."""

import math

import numpy as np
import pytest
import torch

from targets import Gaussian, Level, get
from verify import samplers
from verify.audit import azula, flow_matching, k_diffusion, loading, own, smalldiffusion
from verify.audit.contract import Audited
from verify.audit.order import as_sampler
from verify.audit.probing import probe
from verify.audit.reference import reference_states
from verify.grid import Grid

ADAPTERS = {module.LIBRARY: module for module in (azula, k_diffusion, flow_matching, smalldiffusion, own)}
OTHERS = [module for module in ADAPTERS.values() if module is not own]
WINDOW = (0.05, 50.0)


@pytest.fixture(scope="module")
def found():
    return {name: module.configurations() for name, module in ADAPTERS.items()}


def driven(items):
    return [item for item in items if isinstance(item, Audited)]


def eased(steps, process):
    place = (np.arange(steps + 1) / steps) ** 2
    return Grid.from_snr(WINDOW[0] * (WINDOW[1] / WINDOW[0]) ** place, process)


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def relative(one, other):
    return float((one - other).norm() / other.norm())


# ---- agreement with our tables ---------------------------------------------------------------------


@pytest.mark.parametrize("law", ["curved_mixture", "anisotropic_gaussian", "digits_mixture"])
@pytest.mark.parametrize("library", [module.LIBRARY for module in OTHERS])
def test_agreement_with_our_table_on_the_same_grid_start_and_noise(found, library, law):
    target = get(law)
    apart = {}
    for item in driven(found[library]):
        if item.counterpart is None:
            continue
        for process in ("vp", "ve", "flow") if library == "azula" and law != "digits_mixture" else (item.process,):
            grid = eased(6, process)
            start = reference_states(target, grid, 3)
            theirs = item.sampler(target.denoiser, grid, start.clone(), generator())
            ours = as_sampler(item.counterpart)(target.denoiser, grid, start.clone(), generator())
            apart[item.label, process] = relative(theirs, ours)
    assert apart
    assert {key: value for key, value in apart.items() if not value < 1e-12} == {}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (azula, {"ddpm", "ddim", "heun", "exponential_ab2"}),
        (
            k_diffusion,
            {
                "ddim",
                "ddpm",
                "heun",
                "dpm_solver_2",
                "dpm_solver_2_ancestral",
                "dpmpp_2m",
                "exponential_ab2",
                "sde_dpmpp_2m",
            },
        ),
        (flow_matching, {"ddim"}),
        (smalldiffusion, {"ddim", "ddpm"}),
    ],
)
def test_every_counterpart_on_record_belongs_to_a_configuration(found, module, expected):
    with_one = [item for item in driven(found[module.LIBRARY]) if item.counterpart is not None]
    names = {getattr(item.counterpart, "__name__", "edm_churn") for item in with_one}
    assert names - {"edm_churn"} == expected
    if hasattr(module, "COUNTERPARTS"):
        assert len(with_one) == len(module.COUNTERPARTS)


def test_eta_between_is_stochastic_ddim():
    target, grid = get("anisotropic_gaussian"), eased(9, "ve")
    start = reference_states(target, grid, 5)
    ours = as_sampler(lambda grid: samplers.stochastic_ddim(grid, 0.5))(target.denoiser, grid, start, generator())
    euler = k_diffusion.sampler(
        loading.load("k-diffusion", "k_diffusion.sampling", k_diffusion.UNUSED).sample_euler_ancestral, {"eta": 0.5}
    )
    assert relative(euler(target.denoiser, grid, start, generator()), ours) < 1e-12
    # azula's eta multiplies the variance: its 0.25 is our 0.5
    ddim = azula.sampler(loading.load("azula", "azula.sample").DDIMSampler, {"eta": 0.25})
    assert relative(ddim(target.denoiser, grid, start, generator()), ours) < 1e-12


# ---- by hand, where there is no table ----------------------------------------------------------------


def test_flow_matching_midpoint_and_rk4_by_hand():
    target, grid = get("curved_mixture"), eased(5, "flow")
    start = reference_states(target, grid, 4)

    def velocity(x, t):
        m = target.denoiser(x, Level(t, 1.0 - t))
        return m - (x - t * m) / (1.0 - t)

    midpoint, kutta = start, start
    for t, u in zip(grid.alpha[:-1].tolist(), grid.alpha[1:].tolist(), strict=True):
        h = u - t
        midpoint = midpoint + h * velocity(midpoint + h / 2 * velocity(midpoint, t), t + h / 2)
        a = velocity(kutta, t)
        b = velocity(kutta + h * a / 3, t + h / 3)
        c = velocity(kutta + h * (b - a / 3), t + 2 * h / 3)
        kutta = kutta + h / 8 * (a + 3 * b + 3 * c + velocity(kutta + h * (a - b + c), u))
    by_hand = {"midpoint": midpoint, "rk4": kutta}
    items = [item for item in driven(flow_matching.configurations()) if item.options["method"] in by_hand]
    assert len(items) == 4
    for item in items:
        states = item.sampler(target.denoiser, grid, start, generator())
        assert relative(states, by_hand[item.options["method"]]) < 1e-13, item.label


def test_smalldiffusion_accelerated_by_hand():
    target, grid = get("curved_mixture"), eased(5, "ve")
    start = x = reference_states(target, grid, 4)
    before = None
    for level, s, ahead in zip(grid.levels, grid.sigma[:-1].tolist(), grid.sigma[1:].tolist(), strict=False):
        eps = (x - target.denoiser(x, level)) / s
        x = x + (ahead - s) * (eps if before is None else 2.0 * eps - before)
        before = eps
    (item,) = [item for item in driven(smalldiffusion.configurations()) if item.options == {"gam": 2.0, "mu": 0.0}]
    assert relative(item.sampler(target.denoiser, grid, start, generator()), x) < 1e-13


def test_dpm_fast_on_its_own_levels_is_what_it_is_on_injected_ones():
    target, function = (
        get("curved_mixture"),
        loading.load("k-diffusion", "k_diffusion.sampling", k_diffusion.UNUSED).sample_dpm_fast,
    )
    grid = Grid.log_snr(6, snr=WINDOW, process="ve")
    start = reference_states(target, grid, 4)
    for rest in (0, 1, 2):
        one, two = (
            k_diffusion.fast_sampler(function, rest, {"eta": 0.0}, inject=inject)(
                target.denoiser, grid, start, generator()
            )
            for inject in (True, False)
        )
        assert 0 < relative(one, two) < 3e-6, rest


def test_exact_path_is_a_brownian_motion_over_sigma():
    path = k_diffusion._Path(torch.zeros(4, 2, dtype=torch.float64), generator(5))
    one, three, eight = (torch.tensor(value, dtype=torch.float64) for value in (1.0, 3.0, 8.0))
    inside, whole, after = path(eight, three), path(eight, one), path(one, torch.tensor(0.5))
    drawn = [torch.randn(4, 2, generator=g, dtype=torch.float64) for g in [generator(5)] for _ in range(3)]
    torch.testing.assert_close(inside, drawn[0])
    torch.testing.assert_close(whole, (math.sqrt(5.0) * drawn[0] + math.sqrt(2.0) * drawn[1]) / math.sqrt(7.0))
    torch.testing.assert_close(after, drawn[2])


def test_brownian_tree_and_exact_path_have_one_law(found):
    """Two draws a step that overlap: only a path of the right covariance gives the tree's law."""
    target, grid = get("anisotropic_gaussian", dim=2), Grid.log_snr(3, snr=(0.1, 10.0), process="ve")
    assert isinstance(target, Gaussian)
    items = [c for c in driven(found["k-diffusion"]) if c.name == "sample_dpmpp_sde" and c.stochastic]
    exact, tree = sorted((probe(c.sampler, target, grid) for c in items), key=lambda law: law.variables)
    assert exact.variables == 6
    assert tree.variables > 20
    assert relative(tree.covariance, exact.covariance) < 1e-5


# ---- every configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize("library", list(ADAPTERS))
def test_declared_randomness_and_nothing_else_moves(found, library):
    """Stochastic exactly where the seed matters; global state, start and generator of a deterministic one untouched."""
    target = get("curved_mixture")
    for item in driven(found[library]):
        grid = eased(4, item.process)
        start = reference_states(target, grid, 3)
        kept, state = start.clone(), torch.get_rng_state()
        first, again, other = (item.sampler(target.denoiser, grid, start, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again), item.label
        assert (relative(other, first) > 1e-3) == item.stochastic, item.label
        assert torch.equal(start, kept), item.label
        assert torch.equal(torch.get_rng_state(), state), item.label
        assert first.dtype == torch.float64, item.label
        assert first.shape == start.shape, item.label


@pytest.mark.parametrize("library", list(ADAPTERS))
def test_the_grid_is_what_is_visited(found, library):
    """Each level but the last is asked at, to rounding, and nothing outside the window but where churn raises the noise."""
    target = get("curved_mixture")
    for item in driven(found[library]):
        grid = eased(5, item.process)
        seen = []

        def recorded(y, level, seen=seen):
            seen.append(level.snr)
            return target.denoiser(y, level)

        item.sampler(recorded, grid, reference_states(target, grid, 2), generator())
        asked = np.array(seen)
        assert len(asked) >= grid.steps, item.label
        assert asked.max() <= grid.snr[-1] * (1 + 1e-9), item.label
        if "churn" in item.label:
            continue
        assert asked.min() >= grid.snr[0] * (1 - 1e-9), item.label
        missed = np.abs(np.log(asked[:, None] / grid.snr[:-1])).min(axis=0)
        assert missed.max() < 1e-12, item.label


@pytest.mark.parametrize("library", list(ADAPTERS))
def test_one_step_and_any_dimension(found, library):
    target = get("anisotropic_gaussian", dim=3)
    for item in driven(found[library]):
        steps = max(1, item.least)
        grid = Grid.log_snr(steps, snr=(1.0, 2.0), process=item.process)
        states = item.sampler(target.denoiser, grid, reference_states(target, grid, 2), generator())
        assert states.shape == (2, 3), item.label
        assert bool(torch.isfinite(states).all()), item.label

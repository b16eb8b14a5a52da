"""Linear probing against the moments carrier, which shares no code with it, and against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from targets import ArgumentError, Gaussian, Level, NotAvailableError, get
from verify import Grid, Table, kl
from verify.audit import probing
from verify.audit.order import SamplerError, as_sampler, startup
from verify.audit.probing import Law, gaussian_kl, probe, weak_order
from verify.carry.moments import moments
from verify.oracle import Exact
from verify.samplers import BUILDERS, ddpm, heun, sde_dpmpp_2m

ROOT = np.random.default_rng(3).standard_normal((3, 3))
TURNED = Gaussian([0.5, -1.0, 2.0], ROOT @ ROOT.T / 3.0)
FLAT = Gaussian([0.5, -1.0], np.diag([0.0, 2.0]))
ANISOTROPIC = Gaussian([-1.0, 0.0, 1.0], np.diag([0.01, 0.2, 4.0]))

WEAK = {
    "ddpm": 1,
    "dpm_solver_2_ancestral": 2,
    "edm_churn": 2,
    "ei_sde": 1,
    "euler_maruyama": 1,
    "jain_zhang": 1,
    "jain_zhang_z": 1,
    "predictor_corrector": 1,
    "relative_score": 1,
    "sde_dpmpp_2m": 2,
    "stochastic_ddim": 1,
}


def builder(name: str):
    build = BUILDERS[name]
    return (lambda grid: build(grid.beyond())) if name.startswith("jain_zhang") else build


def grid(steps: int = 9, process: str = "vp") -> Grid:
    return Grid.log_snr(steps, snr=(0.3, 40.0), process=process)


def turned_axes() -> torch.Tensor:
    rotation = TURNED.components.rotation
    assert rotation is not None
    return rotation


# ---- the law -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize("name", BUILDERS)
def test_the_moments_carrier_is_reproduced(name: str, steps: int):
    table, law = builder(name)(grid(steps)), probe(as_sampler(builder(name)), TURNED, grid(steps))
    known, axes = moments(table, Exact(TURNED)), turned_axes()
    np.testing.assert_allclose(axes.mT @ law.covariance @ axes, np.diag(known.variance), rtol=1e-12, atol=5e-14)
    np.testing.assert_allclose(law.mean @ axes, known.mean, rtol=1e-12, atol=1e-13)
    assert law.variables == int((table.noise > 0).sum())
    ours, theirs = gaussian_kl(law, TURNED, grid(steps).levels[-1]), kl.marginal(TURNED, table)
    assert abs(float(ours.value) - float(theirs.value)) <= float(ours.error) + float(theirs.error)
    assert ours.value == pytest.approx(theirs.value, rel=1e-9)


@pytest.mark.parametrize("process", ["ve", "flow"])
def test_other_processes_and_a_law_without_width(process: str):
    for name in ("ddpm", "sde_dpmpp_2m", "edm_churn", "dpm_solver_2"):
        law = probe(as_sampler(BUILDERS[name]), FLAT, grid(process=process))
        known = moments(BUILDERS[name](grid(process=process)), Exact(FLAT))
        np.testing.assert_allclose(law.covariance, np.diag(known.variance), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(law.mean, known.mean, rtol=1e-12)


def test_the_maps_of_ancestral_sampling():
    """Every step multiplies what is there by a_k + b_k α_kλ/S_k: start and draws go through what is left of the product."""
    variance, g = 0.4, grid(6, "flow")
    table = ddpm(g)
    kept = table.state + table.outputs[:, 0] * g.alpha[:-1] * variance / (
        g.alpha[:-1] ** 2 * variance + g.sigma[:-1] ** 2
    )
    law = probe(as_sampler(ddpm), Gaussian([1.0, 2.0], variance * np.eye(2)), g)
    np.testing.assert_allclose(law.map, kept.prod() * np.eye(2), atol=1e-14)
    for j in range(6):
        np.testing.assert_allclose(law.noise[j], table.noise[j] * kept[j + 1 :].prod() * np.eye(2), atol=1e-14)


def test_rows_in_several_batches_give_the_same_law(monkeypatch: pytest.MonkeyPatch):
    at_once = probe(as_sampler(sde_dpmpp_2m), TURNED, grid())
    monkeypatch.setattr(probing, "ENTRIES", 7 * 3 * 10)
    in_parts = probe(as_sampler(sde_dpmpp_2m), TURNED, grid())
    for name in ("mean", "covariance", "map", "noise"):
        np.testing.assert_allclose(getattr(in_parts, name), getattr(at_once, name), rtol=1e-13, atol=1e-14)


def test_large_samples_have_the_probed_law():
    law, g, n = probe(as_sampler(sde_dpmpp_2m), TURNED, grid(5)), grid(5), 40_000
    generator = torch.Generator().manual_seed(11)
    level = g.levels[0]
    noise = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    start = level.alpha * TURNED.sample(n, generator) + level.sigma * noise
    states = as_sampler(sde_dpmpp_2m)(TURNED.denoiser, g, start, generator)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(law.covariance), (states - law.mean).mT, upper=False)
    assert z.mean(1).abs().max() <= 4.5 / math.sqrt(n)  # three means and six second moments: false alarms below 1e-4
    assert (z @ z.mT / n - torch.eye(3)).abs().max() <= 4.5 * math.sqrt(2.0 / n)


def test_a_draw_repeated_from_a_stored_state_is_one_variable():
    def twice(_m, _grid, start, generator):
        stored = generator.get_state()
        one = torch.randn(start.shape, generator=generator, dtype=start.dtype)
        generator.set_state(stored)
        return start + one + torch.randn(start.shape, generator=generator, dtype=start.dtype)

    law = probe(twice, TURNED, grid())  # type: ignore[arg-type]
    assert law.variables == 1
    np.testing.assert_allclose(law.noise[0], 2.0 * np.eye(3), atol=1e-13)
    np.testing.assert_allclose(law.map, np.eye(3), atol=1e-13)


def test_states_of_another_shape_inside_are_probed_alike():
    def pictures(_m, _grid, start, generator):
        x = start.reshape(-1, 3, 1, 1)
        x = x + 0.5 * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return x.flatten(1).flip(1)

    law = probe(pictures, TURNED, grid())  # type: ignore[arg-type]
    np.testing.assert_allclose(law.map, np.eye(3)[::-1], atol=1e-13)
    np.testing.assert_allclose(law.noise[0], 0.5 * np.eye(3)[::-1], atol=1e-13)


# ---- what cannot be probed -----------------------------------------------------------------------------


def noise(start, generator):
    return torch.randn(start.shape, generator=generator, dtype=start.dtype)


REFUSED = {
    "clipped": (lambda start, _: start.clamp(-1.0, 1.0), "not linear"),
    "coupled": (lambda start, _: start / start.abs().max(), "not linear"),
    "product of draws": (lambda start, g: start + noise(start, g) * noise(start, g), "not linear"),
    "shared draw": (lambda start, g: start + noise(start[:1], g), r"a draw of shape \(1, 3\) for 7 rows in R\^3"),
    "turned draw": (lambda start, g: start + noise(start.mT, g).mT, r"a draw of shape \(3, 7\) for 7 rows"),
    "number": (lambda start, g: start * (1.0 + torch.randn((), generator=g)), r"a draw of shape \(\)"),
    "deciding": (lambda start, g: start + noise(start, g) if len(start) > 1 else start, "the number of draws"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_linear_is_refused(name: str):
    act, message = REFUSED[name]

    def sampler(_m, _grid, start, generator):
        return act(start, generator)

    with pytest.raises(NotAvailableError, match=message):
        probe(sampler, TURNED, grid())  # type: ignore[arg-type]


def test_a_weak_nonlinearity_is_seen():
    def bent(strength: float):
        return lambda _m, _grid, start, _generator: start + strength * start**2

    with pytest.raises(NotAvailableError, match="not linear"):
        probe(bent(1e-8), TURNED, grid())  # type: ignore[arg-type]
    probe(bent(0.0), TURNED, grid())  # type: ignore[arg-type]


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="target"):
        probe(as_sampler(heun), get("curved_mixture"), grid())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="target"):
        probe(as_sampler(heun), TURNED.to(dtype=torch.float32), grid())
    with pytest.raises(ArgumentError, match="grid"):
        probe(as_sampler(heun), TURNED, Level(1.0, 1.0))  # type: ignore[arg-type]
    with pytest.raises(SamplerError, match=r"K = 9, .*shape \(1, 2\) came back; expected \(1, 3\)"):
        probe(lambda _m, _grid, start, _generator: start[:, :2], TURNED, grid())  # type: ignore[arg-type]


# ---- the divergence ------------------------------------------------------------------------------------


def law_of(mean: torch.Tensor, covariance: torch.Tensor) -> Law:
    return Law(mean, covariance, torch.eye(len(mean), dtype=torch.float64), torch.zeros(0, len(mean), len(mean)))


def true_law(level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    eye = torch.eye(3, dtype=torch.float64)
    return level.alpha * TURNED.mean, level.alpha**2 * TURNED.components.covariance() + level.sigma**2 * eye


def test_divergence_of_covariances_that_do_not_commute():
    level = Level(0.8, 0.5)
    mean, covariance = true_law(level)
    other = torch.from_numpy(np.random.default_rng(5).standard_normal((3, 3)))
    sampled = covariance + 0.2 * other @ other.mT
    shifted = mean + torch.tensor([0.1, -0.3, 0.2], dtype=torch.float64)
    wanted = kl_divergence(MultivariateNormal(mean, covariance), MultivariateNormal(shifted, sampled))
    found = gaussian_kl(law_of(shifted, sampled), TURNED, level)
    assert found.value == pytest.approx(float(wanted), rel=1e-12)
    assert 0.0 < found.bias < 1e-12


@pytest.mark.parametrize("excess", [1e-3, 1e-5, 1e-7])
def test_small_divergences_keep_their_digits(excess: float):
    """Covariance times 1 + ε: KL = (3/2)(log(1 + ε) − ε/(1 + ε)) = (3/2) Σ_{n≥2} (n − 1)/n (−ε)ⁿ."""
    level = Level(0.8, 0.5)
    mean, covariance = true_law(level)
    found = gaussian_kl(law_of(mean, covariance * (1.0 + excess)), TURNED, level)
    wanted = 1.5 * sum((n - 1) / n * (-excess) ** n for n in range(2, 12))
    assert abs(float(found.value) - wanted) <= min(float(found.bias), 1e-6 * wanted)
    width = covariance[0, 0].sqrt()
    one = Gaussian([0.0], [[float(width**2)]])
    shifted = gaussian_kl(
        law_of(torch.full((1,), excess * float(width), dtype=torch.float64), width.square().reshape(1, 1)),
        one,
        Level(1.0, 1e-9),
    )
    assert shifted.value == pytest.approx(0.5 * excess**2, rel=1e-9)


def test_a_singular_law_is_infinitely_far():
    level = Level(0.8, 0.5)
    mean, covariance = true_law(level)
    with pytest.raises(NotAvailableError, match="singular"):
        gaussian_kl(law_of(mean, covariance - 2.0 * torch.eye(3)), TURNED, level)


# ---- weak order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEAK)
def test_right_methods_measure_their_weak_order(name: str):
    found = weak_order(
        as_sampler(builder(name)), ANISOTROPIC, steps=(24, 48, 96) if name == "edm_churn" else (16, 32, 64)
    )
    assert abs(found.order - WEAK[name]) <= {1: 0.05, 2: 0.1}[WEAK[name]]
    assert found.cut == 0


@pytest.mark.slow
@pytest.mark.parametrize("eased", [False, True])
@pytest.mark.parametrize("name", WEAK)
def test_right_methods_measure_their_weak_order_at_the_defaults(name: str, eased: bool):
    found = weak_order(as_sampler(builder(name)), ANISOTROPIC, eased=eased)
    assert abs(found.order - WEAK[name]) <= 0.02


def test_deterministic_samplers_have_a_weak_order_too():
    found = weak_order(as_sampler(heun), ANISOTROPIC, steps=(8, 16, 32), process="ve")
    assert abs(found.order - 2.0) <= 0.1
    errors = [math.sqrt(kl.marginal(ANISOTROPIC, heun(Grid.log_snr(k, snr=(0.5, 50.0)))).value) for k in (8, 16, 32)]
    np.testing.assert_allclose(found.errors, errors, rtol=1e-8)


def louder(table: Table) -> Table:
    return replace(table, noise=1.05 * table.noise)


def leaning(table: Table, factor: float) -> Table:
    more = (factor - 1.0) * table.history
    return replace(table, outputs=table.outputs - more, history=table.history + more)


@pytest.mark.parametrize(
    ("build", "below"),
    [
        (lambda g: louder(ddpm(g)), 0.7),
        (lambda g: louder(sde_dpmpp_2m(g)), 0.4),
        (lambda g: leaning(sde_dpmpp_2m(g), 0.9), 1.4),
        (lambda g: leaning(sde_dpmpp_2m(g), -1.0), 1.2),
        (lambda g: replace(ddpm(g), outputs=1.05 * ddpm(g).outputs), 0.4),
    ],
    ids=["ddpm louder", "dpmpp louder", "lean 0.9", "lean turned", "outputs 1.05"],
)
def test_one_wrong_factor_costs_the_weak_order(build, below: float):
    assert weak_order(as_sampler(build), ANISOTROPIC, steps=(16, 32, 64)).order < below


def test_a_start_does_not_show_where_there_is_none():
    found = [weak_order(as_sampler(sde_dpmpp_2m), ANISOTROPIC, steps=(16, 32, 64), eased=e) for e in (False, True)]
    assert startup(found[0], found[1], 0.1) is None

"""Short ways through the carriers against long ones: composed moments, lattices, economised sums, better first guesses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from targets import bessel, get
from targets.ray import ray
from verify import Grid, kl, samplers
from verify.carry import radial as radial_module
from verify.carry.advance import advance
from verify.carry.density import line_law
from verify.carry.moments import _propagated
from verify.carry.panels import lattice
from verify.kl.frozen import _LATEST, _integrated, frozen_denoiser
from verify.kl.quantile import RankedRadius, flow_pairs, ranked
from verify.oracle import Exact

GRID = Grid.exponential_uniform(37, ou_time=(3.0, 1e-2))


def stepwise(table, variances, gain, start):
    """Variance and mean coefficients by `advance`, one step after the other."""
    depth, count = table.history.shape[1], len(variances)
    unit = np.broadcast_to(np.eye(depth + 3)[:, None], (depth + 3, count, depth + 3))
    covariance, mean = np.zeros((count, depth + 1, depth + 1)), np.zeros((count, depth + 1, 2))
    first = table.start
    covariance[:, 0, 0] = table.first_width(start) ** 2 + (start == "exact") * first.alpha**2 * variances
    mean[:, 0, 0] = 0.0 if start == "prior" else first.alpha

    def ask(state, level):
        total = level.alpha**2 * variances + level.sigma**2
        slope, rest = level.alpha * variances / total, level.sigma**2 / total
        return (1.0 + gain) * (slope[:, None] * state + rest[:, None] * unit[depth + 1]) + unit[depth + 2]

    for k in range(table.steps):
        step = table.step(k)
        after, answers = advance(step, unit[0], ask, list(unit[1 : depth + 1]))
        rows = np.stack([after, *answers], axis=1)
        linear, constant = rows[:, :, : depth + 1], rows[:, :, depth + 1 :]
        covariance = linear @ covariance @ linear.transpose(0, 2, 1)
        covariance[:, 0, 0] += step.noise**2
        mean = linear @ mean + constant
    return covariance[:, 0, 0], mean[:, 0]


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "heun", "jain_zhang", "exponential_ab3", "dpm_solver_2"])
@pytest.mark.parametrize("block", [1, 3 * 7 * 16, 2**21])
def test_composed_moments_are_those_of_one_step_after_the_other(name, block, monkeypatch):
    monkeypatch.setattr("verify.carry.moments.MOST_ENTRIES", block)
    table, variances = samplers.get(name)(GRID), np.array([0.0, 0.3, 7.0])
    for start in ("exact", "prior"):
        found, wanted = (way(table, variances, 0.02, start) for way in (_propagated, stepwise))
        for got, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dim", [3, 5, 16, 300])
def test_the_lattice_carries_a_sphere_like_gauss_panels(dim, monkeypatch):
    law, table = get("sphere", dim=dim, spread=1.5), samplers.ddpm(GRID)
    _, even = radial_module.radial(table, Exact(law))
    assert radial_module.HalfLine(ray(law)).rule is radial_module._LATTICE  # type: ignore[arg-type]
    monkeypatch.setattr(radial_module, "_LATTICE", radial_module._GAUSS)
    _, panels = radial_module.radial(table, Exact(law))
    assert even.divergence == pytest.approx(panels.divergence, rel=1e-11)
    assert even.defect < 1e-11


def test_the_lattice_covers_its_intervals_once():
    x, dx = lattice(np.array([0.05, 0.9]), np.array([0.95, 2.0]), 0.1, 0.5)
    assert x[0] <= 0.05
    assert x[-1] >= 2.0
    np.testing.assert_allclose(np.diff(x), 0.1, rtol=1e-12)
    assert (dx == 0.1).all()


@pytest.mark.parametrize("nu", [0.0, 0.5, 9.5, 39.7, 40.0, 149.0, 5000.0])
def test_arrays_tensors_and_single_values_agree(nu):
    """The number of terms follows the largest argument; no value may depend on its neighbours."""
    kappa = np.array([0.0, 1e-3, 1.0, 12.0, 39.9, 40.1, 3e3])
    whole, tensor = bessel.log_bessel(nu, kappa), bessel.log_bessel(nu, torch.from_numpy(kappa)).numpy()
    alone = np.array([bessel.log_bessel(nu, kappa[i : i + 1])[0] for i in range(len(kappa))])
    np.testing.assert_array_equal(whole, tensor)
    np.testing.assert_allclose(alone, whole, rtol=4e-16, atol=1e-15)
    for many, few in zip(bessel.bessel_terms(nu, kappa), bessel.bessel_terms(nu, torch.from_numpy(kappa)), strict=True):
        np.testing.assert_array_equal(many, few.numpy())


def test_arguments_whose_squares_overflow():
    assert bessel.log_bessel(3.0, np.array([1e200])).item() == pytest.approx(-3.5 * np.log(1e200), rel=0.02)


@pytest.mark.parametrize(("name", "extra"), [("two_components", {}), ("sphere", {"dim": 7, "spread": 2.0})])
def test_quantiles_do_not_depend_on_the_first_guess(name, extra):
    law = get(name, **extra)
    line = line_law(law) or ray(law)
    before, after = ranked(line, 0.7, 0.8), ranked(line, 0.85, 0.5)  # type: ignore[arg-type]
    x, y, mass = flow_pairs(before, after)
    plain = before.quantile(after.log_tails(y), mass)
    seen = mass > 1e-12 * mass.max()
    np.testing.assert_allclose(x[seen], plain[seen], rtol=1e-9, atol=1e-9)


def test_tails_of_a_radius_against_quadrature():
    law = ray(get("sphere", dim=30, spread=2.0))
    assert law is not None
    seen = RankedRadius(law, 0.6, 0.8)
    x = np.linspace(seen.mean - 5 * seen.scale, seen.mean + 5 * seen.scale, 23)
    fine = np.linspace(0.0, 1.0, 40_001)
    low = np.array(
        [np.trapezoid(np.exp(seen.log_density(seen.low + (b - seen.low) * fine)), dx=(b - seen.low) / 4e4) for b in x]
    )
    np.testing.assert_allclose(np.exp(seen.log_tails(x)[0]), low, rtol=2e-7)
    total = np.exp(seen.log_tails(x)[0]) + np.exp(seen.log_tails(x)[1])
    np.testing.assert_allclose(total, 1.0, atol=1e-13)
    tail, density = seen.tail(x, x < seen.mean)
    np.testing.assert_allclose(density, seen.log_density(x), rtol=0, atol=1e-11)
    np.testing.assert_allclose(tail, np.where(x < seen.mean, *seen.log_tails(x)), rtol=1e-14)


def test_the_latest_curve_is_remembered_and_no_other():
    first, second, table = get("two_components"), get("two_points"), samplers.ddpm(GRID)
    kept = frozen_denoiser(first, table)
    assert frozen_denoiser(first, samplers.ei_sde(GRID)) is kept
    other = frozen_denoiser(second, table)
    np.testing.assert_array_equal(other[0], _integrated(second.curve, table.snr)[0])
    assert _LATEST.latest is not None
    assert _LATEST.latest[0]() is second.curve
    with pytest.raises(ValueError, match="read-only"):
        kept[0][0] = 1.0
    assert float(kl.path(first, table).value) == float(kl.path(first, table).value)

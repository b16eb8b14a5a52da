"""Laws along a ray against the targets that they are, a density's integral, and fifty digits; what has no ray has none."""

from __future__ import annotations

import copy
import math

import contracts
import mpmath
import numpy as np
import pytest
import torch

from targets import Embedded, Gaussian, GaussianMixture, Level, Product, Target, get, point_mass
from targets.ray import Ray, ray
from targets.sphere import Sphere

W, V = [0.5, 0.3, 0.2], [0.01, 1.0, 9.0]
RAYS = {
    "sphere_one": lambda: Sphere(1),
    "sphere_two": lambda: Sphere(2),
    "sphere_three": lambda: Sphere(3, 2.0),
    "sphere_fifty": lambda: Sphere(50),
    "sphere_thousand": lambda: Sphere(1000),
    "gaussian": lambda: Gaussian(np.zeros(5), 0.3 * np.eye(5)),
    "point": lambda: point_mass(np.zeros(4)),
    "scales": lambda: GaussianMixture.isotropic(W, np.zeros((3, 6)), V),
    "scales_line": lambda: GaussianMixture.isotropic(W, np.zeros((3, 1)), V),
    "scales_atom": lambda: GaussianMixture.isotropic(W, np.zeros((3, 6)), [0.0, 1.0, 9.0]),
    "scales_high": lambda: GaussianMixture.isotropic(W, np.zeros((3, 200)), [1.0, 1.1, 1.3]),
    "scales_diagonal": lambda: GaussianMixture.diagonal(W, np.zeros((3, 2)), np.outer(V, [1.0, 1.0])),
    "scales_full": lambda: GaussianMixture(W, np.zeros((3, 2)), np.array(V)[:, None, None] * np.eye(2)),
    "scales_shared": lambda: GaussianMixture.isotropic(W, np.zeros((3, 2)), 0.7),
}
NOT_RAYS = {
    "off_centre": lambda: get("gaussian", dim=3),
    "anisotropic": lambda: Gaussian(np.zeros(2), np.diag([1.0, 2.0])),
    "anisotropic_mixture": lambda: GaussianMixture.diagonal(W, np.zeros((3, 2)), np.outer(V, [1.0, 1.1])),
    "mixture_off_centre": lambda: get("random_centres"),
    "atoms": lambda: get("two_points"),
    "hypercube": lambda: get("hypercube", dim=3),
    "embedded": lambda: Embedded(Sphere(2), 3),
    "product": lambda: Product([Sphere(2), Sphere(2)]),
}
RAY_LEVELS = [Level.from_snr(s) for s in (1e-3, 0.4, 7.0, 300.0)]


def radii(line: Ray, at: Level) -> np.ndarray:
    """Lengths within four widths of every window."""
    centres, widths = line.windows(at)
    wide = (centres + np.linspace(-4.0, 4.0, 13)[:, None] * widths).ravel()
    return wide[wide > 1e-2 * widths.min()]


def ray_follows_its_target(line: Ray, law: Target) -> None:
    """m(ρ)e_1 = denoiser(ρe_1); log density = log_prob + (d−1) log ρ + log surface area; m′ by central differences."""
    surface = math.log(2.0) + 0.5 * law.dim * math.log(math.pi) - math.lgamma(0.5 * law.dim)
    for at in RAY_LEVELS:
        rho = radii(line, at)
        y = torch.zeros(len(rho), law.dim, dtype=torch.float64)
        y[:, 0] = torch.from_numpy(rho)
        value, slope = line.denoiser(rho, at)
        np.testing.assert_allclose(value, law.denoiser(y, at)[:, 0].numpy(), rtol=1e-10, atol=1e-14)
        expected = law.log_prob(y, at).numpy() + (law.dim - 1) * np.log(rho) + surface
        np.testing.assert_allclose(line.log_density(rho, at), expected, rtol=1e-10, atol=1e-10)
        step = 1e-4 * line.windows(at)[1].min()
        moved = [line.denoiser(rho + k * step, at)[0] for k in (-2, -1, 1, 2)]
        difference = (8.0 * (moved[2] - moved[1]) - (moved[3] - moved[0])) / (12.0 * step)
        np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-10 * np.abs(value).max() / step + 1e-300)


def ray_density_is_one_in_its_windows(line: Ray) -> None:
    """∫ of the density over the windows, eight widths to each side, is one."""
    for at in RAY_LEVELS:
        centres, widths = line.windows(at)
        cuts = np.unique(
            np.concatenate([c + w * np.linspace(-8.0, 8.0, 33) for c, w in zip(centres, widths, strict=True)])
        )
        cuts = np.concatenate([[0.0], cuts[cuts > 0]]) if (cuts <= 0).any() else cuts
        x, weight = np.polynomial.legendre.leggauss(20)
        half = 0.5 * np.diff(cuts)[:, None]
        density = np.exp(line.log_density(cuts[:-1, None] + half * (1.0 + x), at))
        assert float((density * half * weight).sum()) == pytest.approx(1.0, abs=1e-11)


@pytest.mark.parametrize("name", RAYS)
def test_a_ray_follows_its_target(name):
    law = RAYS[name]()
    line = ray(law)
    assert line is not None
    assert line.dim == law.dim
    ray_follows_its_target(line, law)
    ray_density_is_one_in_its_windows(line)


@pytest.mark.parametrize("name", ["sphere_fifty", "scales"])
@pytest.mark.parametrize("part", ["value", "slope", "density"])
def test_a_mutated_ray_fails(name, part):
    law = RAYS[name]()
    right = ray(law)
    assert right is not None
    factors = (1.01 if part == "value" else 1.0, 1.01 if part == "slope" else 1.0)
    wrong = copy.copy(right)
    vars(wrong)["denoiser"] = lambda r, at: tuple(f * v for f, v in zip(factors, right.denoiser(r, at), strict=True))
    if part == "density":
        vars(wrong)["log_density"] = lambda r, at: right.log_density(r, at) + 0.01
        contracts.must_fail(ray_density_is_one_in_its_windows, wrong)
    contracts.must_fail(ray_follows_its_target, wrong, law)


@pytest.mark.parametrize("rho", [1e-3, 0.3, 1.2, 5.0, 40.0])
@pytest.mark.parametrize("snr", [1e-4, 1.0, 1e4, 1e8])
def test_a_scale_mixture_along_a_ray_in_fifty_digits(rho, snr):
    """m and m′ keep relative accuracy 1e-11, also where one component has all the weight and where scales are alike."""
    for variances in ([1e-6, 1.0, 100.0], [0.5, 0.5 + 1e-9, 0.5 + 1e-6]):
        law, at = GaussianMixture.isotropic(W, np.zeros((3, 20)), variances), Level.from_snr(snr)
        line = ray(law)
        assert line is not None
        value, slope = line.denoiser(np.array([rho]), at)
        with mpmath.workdps(50):
            alpha, sigma, r = mpmath.mpf(at.alpha), mpmath.mpf(at.sigma), mpmath.mpf(rho)
            v = [mpmath.mpf(x) for x in variances]
            tau = [alpha**2 * x + sigma**2 for x in v]
            share = [mpmath.mpf(w) * t**-10 * mpmath.exp(-(r**2) / (2 * t)) for w, t in zip(W, tau, strict=True)]
            share = [s / mpmath.fsum(share) for s in share]
            gain = [alpha * x / t for x, t in zip(v, tau, strict=True)]
            mean = mpmath.fsum(s * g for s, g in zip(share, gain, strict=True))
            spread = mpmath.fsum(s * (g - mean) ** 2 for s, g in zip(share, gain, strict=True))
            truth = float(r * mean), float(mean + alpha / sigma**2 * r**2 * spread)
        np.testing.assert_allclose([value[0], slope[0]], truth, rtol=1e-11)


@pytest.mark.parametrize("name", NOT_RAYS)
def test_other_laws_have_no_ray(name):
    assert ray(NOT_RAYS[name]()) is None


def test_a_ray_takes_any_shape_and_any_precision():
    at = Level.from_snr(2.0)
    for law in (Sphere(3, 2.0), RAYS["scales"]()):
        line, small = ray(law), ray(law.to(dtype=torch.float32))
        assert line is not None
        assert small is not None
        rho = np.linspace(0.5, 3.0, 6)
        for grid in (rho.reshape(2, 3), rho[::-1].reshape(3, 2).T, rho[2]):
            for here, there in zip(line.denoiser(grid, at), small.denoiser(grid, at), strict=True):
                assert np.shape(here) == np.shape(grid)
                assert np.array_equal(here, there)
            assert np.shape(line.log_density(grid, at)) == np.shape(grid)
        np.testing.assert_array_equal(line.denoiser(rho[::-1], at)[0], line.denoiser(rho, at)[0][::-1])
        value, slope = line.denoiser(np.zeros(1), at)
        assert value[0] == 0.0
        assert slope[0] > 0.0

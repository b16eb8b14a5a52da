"""The sphere under the Target contract (contracts.py) and against closed forms; a twin with one number off by 1% fails.

References share nothing with the code under test: the two-point law, elementary functions in three dimensions, scipy's
adaptive quadrature, and the entropy of the surface.
"""

from __future__ import annotations

import copy
import math
from functools import cache

import contracts
import contracts_curve
import numpy as np
import pytest
import torch
from scipy import integrate, special
from test_targets_contract import AT_A_STATE, OF_THE_CURVE, WrongCurve, scaled, twin

from targets import ArgumentError, Discrete, Level, NotAvailableError, Target
from targets.sphere import Sphere

SPHERES = {"one": (1,), "two": (2,), "three_of_radius_two": (3, 2.0), "fifty": (50,)}


@cache
def sphere(*parameters: float) -> Sphere:
    """One object a law and session, so that its curve is computed once."""
    return Sphere(*parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPHERES)
@pytest.mark.parametrize("check", AT_A_STATE + OF_THE_CURVE, ids=lambda f: f.__name__)
def test_every_sphere_is_a_target(check, name):
    check(sphere(*SPHERES[name]))


def test_one_dimension_is_two_points():
    law, points = sphere(1, 1.5), Discrete([[-1.5], [1.5]], [0.5, 0.5])
    frequency = torch.linspace(-4.0, 4.0, 9, dtype=torch.float64)[:, None]
    for snr in (1e-3, 0.5, 4.0, 30.0):
        at = Level.from_snr(snr)
        y, v = contracts.probed_states(points, at), contracts.normal((6, 1), 1)
        torch.testing.assert_close(law.denoiser(y, at), points.denoiser(y, at), rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(law.log_prob(y, at), points.log_prob(y, at), rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(law.posterior_trace(y, at), points.posterior_trace(y, at), rtol=1e-9, atol=1e-300)
        products = (t.posterior_covariance_product(y, v, at) for t in (law, points))
        torch.testing.assert_close(*products, rtol=1e-9, atol=1e-300)
    torch.testing.assert_close(law.fourier(frequency), points.fourier(frequency), rtol=1e-12, atol=1e-14)
    snr = np.geomspace(1e-4, 20.0, 12)
    radial = law._points(snr)
    for curve, own in ((points.mmse, law.mmse), (points.mmse_slope, law.mmse_slope)):
        np.testing.assert_allclose(own(snr).value, curve(snr).value, rtol=1e-10)
    np.testing.assert_allclose(radial[0][0], points.mmse(snr).value, rtol=1e-10)
    np.testing.assert_allclose(radial[1][0], points.mmse_slope(snr).value, rtol=1e-10)


def test_three_dimensions_are_elementary():
    """A = coth κ − 1/κ; the length's density is ρ(e^{−(ρ−μ)²/2} − e^{−(ρ+μ)²/2})/(μ√2π)."""
    law, at = sphere(3, 2.0), Level(0.8, 0.3)
    y = contracts.states(law, at, 20)[1]
    kappa = at.alpha * 2.0 / at.sigma**2 * y.norm(dim=1)
    langevin = 1.0 / torch.tanh(kappa) - 1.0 / kappa
    torch.testing.assert_close(law.denoiser(y, at), 2.0 * langevin[:, None] * y / y.norm(dim=1, keepdim=True))
    for snr in (0.01, 1.0, 9.0):
        mu = 2.0 * math.sqrt(snr)

        def density(r: float, mu: float = mu) -> float:
            return r * (math.exp(-0.5 * (r - mu) ** 2) - math.exp(-0.5 * (r + mu) ** 2)) / (mu * math.sqrt(2 * math.pi))

        def trace(r: float, mu: float = mu) -> float:
            return 4.0 * (1.0 - (1.0 / math.tanh(r * mu) - 1.0 / (r * mu)) ** 2)

        low, high = max(1e-3, mu - 12.0), mu + 12.0
        head = integrate.quad(lambda r: density(r) * 4.0, 0.0, 1e-3, epsabs=1e-14)[0] if low == 1e-3 else 0.0
        mmse = (
            head + integrate.quad(lambda r: density(r) * trace(r), low, high, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
        )
        assert law.mmse(snr).value == pytest.approx(mmse, rel=1e-8)


def test_two_dimensions_use_the_scaled_bessel_function():
    """mmse in the plane by scipy's ive, whose e^{−κ} is its own."""
    mu = 1.3

    def integrand(r: float) -> float:
        zero, one = special.ive(0, mu * r), special.ive(1, mu * r)
        return r * math.exp(-0.5 * (r - mu) ** 2) * (zero - one**2 / zero)

    assert sphere(2).mmse(mu**2).value == pytest.approx(
        integrate.quad(integrand, 0.0, 15.0, epsabs=1e-13)[0], rel=1e-10
    )


@pytest.mark.parametrize("parameters", [(2,), (3, 2.0), (50,), (1000,)])
def test_much_snr_sees_the_surface(parameters):
    """mmse → (d−1)/γ and I → log area − ½(d−1) log(2πe/γ): the entropy of the surface in its tangent space."""
    law = sphere(*parameters)
    d, radius, snr = law.dim, law.radius, 1e7 * law.dim / law.radius**2
    area = math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d) + (d - 1) * math.log(radius)
    assert law.mmse(snr).value * snr == pytest.approx(d - 1, rel=1e-6)
    limit = area - 0.5 * (d - 1) * math.log(2.0 * math.pi * math.e / snr)
    assert law.mutual_information(snr).value == pytest.approx(limit, rel=1e-6)


def test_a_thousand_dimensions():
    law = sphere(1000)
    assert abs(law.mmse(0.0).value - 1.0) <= 1e-12
    for snr in (1e-3, 1e3, 1e9):
        at = Level.from_snr(snr)
        y = torch.cat([contracts.probed_states(law, at), torch.zeros(1, 1000, dtype=torch.float64)])
        assert bool((law.denoiser(y, at).norm(dim=1) < 1.0).all())
        assert bool((law.posterior_trace(y, at) > 0).all())
        assert bool(torch.isfinite(law.log_prob(y, at)).all())
        assert float(law.denoiser(y, at)[-1].norm()) == 0.0
        contracts.assert_close(
            law.score(y, at), contracts.gradient(law, y, at), 1e-10, 1e-14 * y.norm(dim=1) / at.sigma**2
        )


def test_the_sphere_refuses_what_it_has_not():
    law = sphere(3, 2.0)
    for call in (law.entropy, law.differential_entropy, law.latent_entropy):
        with pytest.raises(NotAvailableError, match=r"mutual_information\(snr\)"):
            call()
    with pytest.raises(NotAvailableError, match=r"two_points\(distance=2\*radius\)"):
        sphere(1).entropy()
    for dim in (0, 2.0, True, "three"):
        with pytest.raises(ArgumentError, match=r"dim = .*expected an integer >= 1"):
            Sphere(dim)  # type: ignore[arg-type]
    for radius in (0.0, -1.0, math.inf, math.nan, "wide"):
        with pytest.raises(ArgumentError, match=r"radius = .*expected a finite number > 0"):
            Sphere(3, radius)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"y.shape = \(4, 2\)"):
        law.denoiser(torch.zeros(4, 2, dtype=torch.float64), Level(1.0, 1.0))


def with_wrong_curve(**factors: float) -> Target:
    new = copy.copy(sphere(3, 2.0))
    vars(new)["curve"] = WrongCurve(sphere(3, 2.0).curve, **factors)
    return new


def radial_part_too_wide(_, y, probe, at):
    right, outward = sphere(3, 2.0)._posterior_product(y, probe, at), y / y.norm(dim=1, keepdim=True)
    return right + 0.01 * outward * (outward * right).sum(1, keepdim=True)


MANY = 2**20
TWINS = {
    "score": lambda: (contracts.score_is_the_gradient_of_log_prob, scaled(sphere(50), "_denoiser", 1.01)),
    "tweedie": lambda: (contracts.denoiser_follows_tweedie, scaled(sphere(50), "_log_prob", 1.01)),
    "jacobian": lambda: (
        contracts.posterior_covariance_is_the_jacobian,
        twin(sphere(3, 2.0), _posterior_product=radial_part_too_wide),
    ),
    "trace": lambda: (contracts.posterior_trace_is_the_trace, scaled(sphere(2), "_posterior_trace", 1.01)),
    "variance": lambda: (contracts.samples_have_the_moments, scaled(sphere(50), "_sample", 1.01)),
    "curve": lambda: (contracts_curve.curve_is_consistent, with_wrong_curve(slope=1.01)),
    "start": lambda: (contracts_curve.curve_starts_at_the_variance, with_wrong_curve(mmse=1.01)),
    "residual": lambda: (contracts_curve.mmse_is_the_mean_squared_residual, with_wrong_curve(mmse=1.01), MANY),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_mutated_sphere_fails(name):
    contracts.must_fail(*TWINS[name]())

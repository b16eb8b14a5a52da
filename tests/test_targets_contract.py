"""Every law holds the Target contract (contracts.py), and a twin with one number changed by 1% does not.

35 laws x 3 statistical comparisons x 3 levels at 4 standard errors would fail a correct library with probability 2%
over random seeds; the seeds are fixed, so that a run is deterministic, and a change of seeds is worth that much.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import contracts
import contracts_curve
import numpy as np
import pytest
import torch

from targets import (
    Discrete,
    Embedded,
    Gaussian,
    GaussianMixture,
    NotAvailableError,
    Product,
    Rotated,
    Target,
    from_samples,
    get,
    point_mass,
)
from targets.curve import Curve


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


W = [0.5, 0.3, 0.2]
MEANS = 1.5 * numbers(3, 3, seed=1)
SQUARE = numbers(3, 3, seed=2) @ numbers(3, 3, seed=2).T / 3.0
FULL = np.stack([0.05 * np.eye(3) + b @ b.T / 3.0 for b in numbers(3, 3, 3, seed=3)])
ROTATION = np.linalg.qr(numbers(3, 3, seed=4))[0]
TALL = np.array([[1.0, 0.5], [-1.0, 2.0], [0.25, 1.0]])


def mixed_product() -> Product:
    bit, isotropic = get("two_points"), GaussianMixture.isotropic(W, MEANS, 0.09)
    return Product([bit, get("curved_mixture"), isotropic, Gaussian([0.5, -1.0, 2.0], SQUARE), bit, bit])


LAWS: dict[str, Callable[[], Target]] = {
    "gaussian_diagonal": lambda: Gaussian([0.5, -1.0, 2.0], np.diag([0.3, 1.5, 4.0])),
    "gaussian_full": lambda: Gaussian([0.5, -1.0, 2.0], SQUARE),
    "gaussian_singular": lambda: Gaussian([0.5, -1.0, 2.0], TALL @ TALL.T),
    "mixture_full": lambda: GaussianMixture(W, MEANS, FULL),
    "mixture_diagonal": lambda: GaussianMixture.diagonal(W, MEANS, 0.05 + numbers(3, 3, seed=5) ** 2),
    "mixture_isotropic": lambda: GaussianMixture.isotropic(W, MEANS, [0.04, 0.3, 0.1]),
    "mixture_isotropic_shared": lambda: GaussianMixture.isotropic(W, MEANS, 0.09),
    "mixture_shared_diagonal": lambda: GaussianMixture.shared(W, MEANS, np.diag([0.05, 0.3, 1.0])),
    "mixture_shared_full": lambda: GaussianMixture.shared(W, MEANS, 0.3 * SQUARE),
    "mixture_on_a_line": lambda: GaussianMixture.shared(W, [[0.0, 1.0], [1.0, 3.0], [3.0, 7.0]], SQUARE[:2, :2]),
    "mixture_two_centres": lambda: GaussianMixture.isotropic([0.4, 0.6], [[0.0, 0.0], [1.0, 2.0]], 0.1),
    "mixture_singular_component": lambda: GaussianMixture.diagonal(W, MEANS, [[0, 0.3, 1], [0.5, 0, 0.1], [1, 1, 1]]),
    "curved_mixture": lambda: get("curved_mixture"),
    "two_components": lambda: get("two_components", dim=4),
    "random_centres": lambda: get("random_centres", components=12, dim=5),
    "two_points": lambda: get("two_points", p=0.3),
    "lattice": lambda: get("lattice", n=5),
    "hypercube": lambda: get("hypercube", dim=5),
    "orthogonal_points": lambda: get("orthogonal_points", n=16),
    "codebook": lambda: get("codebook", n=24, dim=5),
    "nested_scales": lambda: get("nested_scales", bits=3),
    "rare_bit": lambda: get("rare_bit"),
    "heavy_tail": lambda: get("heavy_tail", n=5),
    "point_mass": lambda: point_mass([1.0, -2.0, 0.5]),
    "atoms_low_span": lambda: Discrete(numbers(6, 2, seed=6) @ numbers(2, 7, seed=7) + numbers(7), np.full(6, 1 / 6)),
    "atoms_on_a_line": lambda: Discrete(np.outer([0.0, 1.0, 3.0], [1.0, 2.0, -1.0]) + 1.0, [0.2, 0.5, 0.3]),
    "atoms_one_coordinate": lambda: Discrete([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]], [0.2, 0.5, 0.3]),
    "samples": lambda: from_samples(np.round(numbers(40, 2, seed=8))),
    "product": mixed_product,
    "rotated": lambda: Rotated(GaussianMixture(W, MEANS, FULL), ROTATION),
    "embedded": lambda: Embedded(GaussianMixture.isotropic(W, MEANS, [0.04, 0.3, 0.1]), 6),
    "digits": lambda: get("digits"),
    "digits_few_components": lambda: get("digits", components=5).refined(32),
    "digits_mixture": lambda: get("digits_mixture", components=3),
}
SLOW_CURVES = ("digits_mixture",)


@cache
def law(name: str) -> Target:
    """One object a law and session, so that its curve is computed once."""
    return LAWS[name]()


with_curve = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW_CURVES else n for n in LAWS]

AT_A_STATE = (
    contracts.score_is_the_gradient_of_log_prob,
    contracts.denoiser_follows_tweedie,
    contracts.only_snr_matters,
    contracts.posterior_covariance_is_symmetric,
    contracts.posterior_covariance_is_not_negative,
    contracts.posterior_covariance_is_the_jacobian,
    contracts.posterior_trace_is_the_trace,
    contracts.batch_shape_does_not_matter,
    contracts.rows_do_not_see_each_other,
    contracts.float32_is_close_or_refused,
    contracts.samples_have_the_moments,
    contracts.fourier_matches_samples,
    contracts.fourier_mean_is_the_gradient,
)
OF_THE_CURVE = (
    contracts_curve.curve_is_a_curve,
    contracts_curve.curve_starts_at_the_variance,
    contracts_curve.curve_is_consistent,
    contracts_curve.mmse_is_the_mean_posterior_trace,
    contracts_curve.mmse_is_the_mean_squared_residual,
    contracts_curve.slope_is_the_mean_squared_product,
)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("check", AT_A_STATE, ids=lambda f: f.__name__)
def test_every_law(check, name):
    check(law(name))


@pytest.mark.parametrize("name", with_curve)
@pytest.mark.parametrize("check", OF_THE_CURVE, ids=lambda f: f.__name__)
def test_every_curve(check, name):
    check(law(name))


@pytest.mark.parametrize("name", LAWS)
def test_information_ends_at_the_entropy_or_the_law_is_continuous(name):
    try:
        law(name).entropy()
    except NotAvailableError:
        assert not isinstance(law(name), Discrete)
        return
    contracts_curve.information_ends_at_the_entropy(law(name))


@pytest.mark.parametrize("name", ["orthogonal_points", "codebook", "atoms_low_span", "samples", "digits"])
def test_float32_is_refused_where_rounding_would_show(name):
    small, at = law(name).to(dtype=torch.float32), contracts.Level.from_snr(1e8)
    y = contracts.states(law(name), at, 4)[1].to(torch.float32)
    for function in (small.log_prob, small.denoiser, small.score, small.posterior_trace):
        with pytest.raises(contracts.ArgumentError, match=r"rounding error.*float32.*use float64"):
            function(y, at)


@pytest.mark.parametrize("name", ["curved_mixture", "many_atoms"])
def test_moving_to_float32_does_not_move_the_curve(name):
    """The curve is a float64 quantity: a law that was moved before its curve was asked for states the same one."""
    fresh = LAWS[name]() if name in LAWS else get("codebook", n=300, dim=2)
    moved = fresh.to(dtype=torch.float32)
    snr = contracts.unit_snr(fresh)
    assert abs(moved.mmse(snr).value - fresh.mmse(snr).value) <= 1e-12


# ---- twins that must fail ----------------------------------------------------------------------------


def twin(original: Target, **changed: Any) -> Target:
    """A copy of the law with some methods or properties replaced."""
    new = copy.copy(original)
    new.__class__ = type("Twin", (type(original),), changed)
    return new


def scaled(original: Target, method: str, factor: float) -> Target:
    """A twin whose `method` returns `factor` times what it should."""
    right = getattr(original, method)
    return twin(original, **{method: lambda _, *a: factor * right(*a)})


class WrongCurve(Curve):
    """A curve with one of its three functions off by a factor."""

    method, bias = "twin", 0.0

    def __init__(self, right: Curve, mmse: float = 1.0, slope: float = 1.0, information: float = 1.0) -> None:
        self.right, self.factors = right, (mmse, slope, information)

    @property
    def edges(self):
        return self.right.edges

    def mmse_rows(self, snr):
        return self.factors[0] * self.right.mmse_rows(snr)

    def slope_rows(self, snr):
        return self.factors[1] * self.right.slope_rows(snr)

    def information_rows(self, snr):
        return self.factors[2] * self.right.information_rows(snr)


def with_wrong_curve(name: str, **factors: float) -> Target:
    new = copy.copy(law(name))
    vars(new)["curve"] = WrongCurve(law(name).curve, **factors)
    return new


def sheared(_, y, probe, at):
    right = law("mixture_full")._posterior_product(y, probe, at)
    return right + 0.01 * right.roll(1, -1)


def leaking(_, y, at):
    right = law("mixture_full")._denoiser(y, at)
    return right + 0.01 * right.mean(0)


def shape_dependent(_, y, at):
    return (1.0 if len(y) == 6 else 1.01) * law("mixture_full")._denoiser(y, at)


def scale_dependent(_, y, at):
    return (1.0 + 0.01 * at.sigma) * law("mixture_full")._denoiser(y, at)


def coarse(_, y, at):
    return law("mixture_full")._denoiser(y.double(), at).to(y.dtype) * (1.0 if y.dtype == torch.float64 else 1.01)


def fourier_with(chi_factor: float, mean_factor: float) -> Target:
    right = law("two_points").fourier
    return twin(
        law("two_points"),
        fourier=lambda _, w: tuple(f * v for f, v in zip((chi_factor, mean_factor), right(w), strict=True)),
    )


MANY = 2**20
TWINS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "score": lambda: (
        contracts.score_is_the_gradient_of_log_prob,
        scaled(law("mixture_full"), "_denoiser", 1.01),
    ),
    "tweedie": lambda: (contracts.denoiser_follows_tweedie, scaled(law("codebook"), "_log_prob", 1.01)),
    "gauge": lambda: (
        contracts.only_snr_matters,
        twin(law("mixture_full"), _denoiser=scale_dependent),
    ),
    "symmetric": lambda: (
        contracts.posterior_covariance_is_symmetric,
        twin(law("mixture_full"), _posterior_product=sheared),
    ),
    "not_negative": lambda: (
        contracts.posterior_covariance_is_not_negative,
        scaled(law("mixture_full"), "_posterior_product", -0.01),
    ),
    "jacobian": lambda: (
        contracts.posterior_covariance_is_the_jacobian,
        scaled(law("codebook"), "_posterior_product", 1.01),
    ),
    "trace": lambda: (contracts.posterior_trace_is_the_trace, scaled(law("codebook"), "_posterior_trace", 1.01)),
    "batch_shape": lambda: (
        contracts.batch_shape_does_not_matter,
        twin(law("mixture_full"), _denoiser=shape_dependent),
    ),
    "rows": lambda: (contracts.rows_do_not_see_each_other, twin(law("mixture_full"), _denoiser=leaking)),
    "float32": lambda: (contracts.float32_is_close_or_refused, twin(law("mixture_full"), _denoiser=coarse)),
    "sample_mean": lambda: (contracts.samples_have_the_moments, scaled(law("rare_bit"), "_sample", 1.01), MANY * 8),
    "sample_variance": lambda: (
        contracts.samples_have_the_moments,
        twin(law("lattice"), total_variance=property(lambda _: 1.01 * law("lattice").total_variance)),
        MANY,
    ),
    "fourier": lambda: (contracts.fourier_matches_samples, fourier_with(1.01, 1.0), MANY),
    "fourier_mean": lambda: (contracts.fourier_matches_samples, fourier_with(1.0, 1.01), MANY),
    "fourier_gradient": lambda: (contracts.fourier_mean_is_the_gradient, fourier_with(1.0, 1.01)),
    "curve_bracket": lambda: (contracts_curve.curve_is_a_curve, with_wrong_curve("two_points", information=1.01)),
    "curve_start": lambda: (contracts_curve.curve_starts_at_the_variance, with_wrong_curve("codebook", mmse=1.01)),
    "curve_i_mmse": lambda: (contracts_curve.curve_is_consistent, with_wrong_curve("codebook", information=1.01)),
    "curve_slope": lambda: (contracts_curve.curve_is_consistent, with_wrong_curve("codebook", slope=1.01)),
    "entropy": lambda: (contracts_curve.information_ends_at_the_entropy, with_wrong_curve("lattice", information=1.01)),
    "trace_mean": lambda: (
        contracts_curve.mmse_is_the_mean_posterior_trace,
        scaled(law("two_points"), "_posterior_trace", 1.01),
        MANY,
    ),
    "residual": lambda: (
        contracts_curve.mmse_is_the_mean_squared_residual,
        with_wrong_curve("two_points", mmse=1.01),
        MANY,
    ),
    "probes": lambda: (
        contracts_curve.slope_is_the_mean_squared_product,
        scaled(law("two_points"), "_posterior_product", 1.01),
        MANY,
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_mutated_twin_fails(name):
    contracts.must_fail(*TWINS[name]())

"""The formulas behind the claims on the frozen denoiser, each against a path of its own.  The ledger checks the verdicts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Discrete, Estimate, GaussianMixture, get
from targets.shared import Shared
from verify import Grid, kl, samplers
from verify.claims.claim import judge
from verify.claims.denoiser_bounds import pair_sum
from verify.claims.denoiser_entropy import growth, limit_constant, rare
from verify.claims.denoiser_equalities import i_mmse, mmse_gap, tempered
from verify.claims.denoiser_latent import length, shared_width
from verify.claims.denoiser_limits import density_limit, limit_in_steps
from verify.claims.mutate import off, thinned
from verify.claims.transitions import transition_divergence

GRID = Grid.log_snr(3, snr=(0.2, 10.0))


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "euler_maruyama", "stochastic_ddim"])
@pytest.mark.parametrize("law", ["curved_mixture", "two_points", "two_components"])
def test_transition_densities_give_the_chain_divergence(law, name):
    """No mmse curve on one side, no density on the other."""
    target, table = get(law), samplers.get(name)(GRID)
    assert transition_divergence(target, table) == pytest.approx(float(kl.chain(target, table).value), rel=1e-10)


def test_transition_densities_see_a_wrong_coefficient():
    target = get("curved_mixture")
    right = transition_divergence(target, samplers.ddpm(GRID))
    for wrong in ({"outputs": 1.001}, {"noise": 0.999}, {"state": 1.001}):
        assert abs(transition_divergence(target, off(samplers.ddpm, **wrong)(GRID)) / right - 1.0) > 1e-7


@pytest.mark.parametrize("law", [get("codebook", dim=2), get("sphere", dim=2), "curved_mixture"])
def test_transition_densities_are_for_the_line(law):
    with pytest.raises(ArgumentError, match="a law on the line"):
        transition_divergence(law, samplers.ddpm(GRID))


def test_multiplied_coefficients_are_the_only_change():
    table, changed = samplers.ddpm(GRID), off(samplers.ddpm, state=2.0, outputs=3.0, noise=5.0)(GRID)
    np.testing.assert_array_equal(changed.state, 2.0 * table.state)
    np.testing.assert_array_equal(changed.outputs, 3.0 * table.outputs)
    np.testing.assert_array_equal(changed.noise, 5.0 * table.noise)
    np.testing.assert_array_equal(changed.snr, table.snr)


def test_a_thinned_builder_keeps_the_ends():
    grid = Grid.log_snr(10, snr=(0.1, 10.0))
    np.testing.assert_array_equal(thinned(samplers.ddpm, 4)(grid).snr, grid.snr[[0, 4, 8, 10]])
    np.testing.assert_array_equal(thinned(samplers.ddpm, 50)(grid).snr, grid.snr[[0, 10]])


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=6))
def test_the_sum_over_pairs(weights):
    w = np.array(weights) / sum(weights)
    brute = sum((a * b) ** 0.25 for a, b in itertools.permutations(w, 2))
    assert pair_sum(w) == pytest.approx(2.0 * math.sqrt(2.0) * brute, rel=1e-9)


@settings(max_examples=6, deadline=None)
@given(st.floats(1e-6, 0.5), st.floats(0.1, 10.0))
def test_the_pair_bound_holds_on_any_two_points(p, distance):
    law = get("two_points", distance=distance, p=p)
    assert float(law.curve.discretisation_length().value) <= pair_sum(np.array([p, 1.0 - p]))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000))
def test_the_pair_bound_holds_on_any_atoms_of_the_line(seed):
    draw = np.random.default_rng(seed)
    weights = draw.dirichlet(np.full(4, 0.5)).clip(1e-6)
    law = Discrete(draw.standard_normal((4, 1)) * 10.0 ** draw.uniform(-2, 2, (4, 1)), weights / weights.sum())
    assert float(law.curve.discretisation_length().value) <= pair_sum(law.weights.numpy())


def test_extrapolation_is_exact_for_a_first_order_correction():
    found = limit_in_steps(lambda steps: Estimate.exact((3.0 + 5.0 / steps) / steps), 64)
    assert float(found.value) == pytest.approx(3.0, rel=1e-13)
    bent = limit_in_steps(lambda steps: Estimate.exact((3.0 + 5.0 / steps + 7.0 / steps**2) / steps), 64)
    assert abs(float(bent.value) - 3.0) < float(bent.error)


def test_tempered_weights():
    law = tempered(Discrete([[0.0], [1.0]], [0.2, 0.8]))
    assert isinstance(law, Discrete)
    expected = np.array([0.2, 0.8]) ** 0.8
    np.testing.assert_allclose(law.weights.numpy(), expected / expected.sum(), rtol=1e-14)
    gaussian = get("gaussian")
    assert tempered(gaussian) is gaussian


def test_limit_constant_of_one_bit():
    found = limit_constant(get("two_points"))
    assert float(found.value) == pytest.approx(2.45840566348**2 / 4.0, rel=1e-10)
    assert float(found.bias) < 1e-10


def test_rare_bits_grow_like_the_root_of_the_logarithm():
    """S²/4 over H_½² grows by √2 when the number of decimals doubles, as derived; over H² by the inverse of p."""
    rows = growth(False, 0.1, order=0.5, families={"rare bits": rare((6, 12, 24))})
    factors = [float(row.measured.value) for row in rows]
    assert factors == sorted(factors)
    assert 1.33 < factors[0] < factors[1] < math.sqrt(2.0)
    against_shannon = growth(False, 0.1, order=1.0, families={"rare bits": rare((6, 12))})
    assert float(against_shannon[0].measured.value) == pytest.approx(1e6 / 2.0**1.5, rel=0.05)


def test_mixtures_of_one_width_are_what_they_say():
    for mixture, width in shared_width(False).values():
        assert isinstance(mixture, GaussianMixture)
        assert isinstance(mixture.components, Shared)
        assert bool((mixture.components.spread == width).all())


@pytest.mark.parametrize("wrong", [{"outputs": 1.0001}, {"noise": 1.001}, {"state": 0.9999}])
def test_the_mmse_gap_notices_every_coefficient(wrong):
    assert judge(mmse_gap(False, 1e-8, build=off(samplers.ddpm, **wrong))).status == "refuted"


def test_the_limit_notices_another_sampler():
    assert judge(density_limit(False, 0.01, build=samplers.euler_maruyama)).status == "refuted"


@pytest.mark.slow
def test_half_the_area_is_the_entropy_of_the_digits():
    assert judge(i_mmse(True, 0.05)).status == "supported"


def length_by_quadrature(width, low, high):
    """∫ √E Var[X given y]² dγ of 0.7 N(0, width) + 0.3 N(2, width): sums over y and over log γ, no curve."""
    weights, centres = np.array([0.7, 0.3]), np.array([0.0, 2.0])
    log_snr, z = np.linspace(np.log(low), np.log(high), 2001), np.linspace(-9.0, 9.0, 721)
    normal = np.exp(-0.5 * z**2) * (z[1] - z[0]) / np.sqrt(2.0 * np.pi)
    roots = []
    for snr in np.exp(log_snr):
        grow = 1.0 + snr * width
        y = np.sqrt(snr) * centres + np.sqrt(grow) * z[:, None]  # a column for the component that it is drawn from
        odds = np.log(weights[1] / weights[0]) + 2.0 * np.sqrt(snr) * (y - np.sqrt(snr)) / grow
        second = 1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0)))
        variance = width / grow + 4.0 * second * (1.0 - second) / grow**2
        roots.append(np.sqrt(normal @ (variance**2 @ weights)) * snr)
    return float(np.trapezoid(roots, log_snr))


def test_the_length_of_two_components_by_quadrature():
    """S ÷ (√d Λ + S_C) at d = 1, and the same without the widths for S_C."""
    row = next(row for row in length(False, 0.0) if row.family == "two components")
    bound = math.log((1.0 + 1e4 * 0.09) / (1.0 + 1e-2 * 0.09)) + length_by_quadrature(0.0, 1e-9, 1e3)
    assert float(row.measured.value) == pytest.approx(length_by_quadrature(0.09, 1e-2, 1e4) / bound, rel=1e-5)
    assert row.status == "supported"

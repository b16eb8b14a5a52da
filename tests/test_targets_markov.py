"""Markov chains against the same law with every path enumerated, the Target contract, and a twin that must fail."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache

import contracts
import contracts_curve
import numpy as np
import pytest
import torch
from test_targets_contract import AT_A_STATE, OF_THE_CURVE, scaled
from torch import Tensor

from targets import ArgumentError, Discrete, Level, NotAvailableError, Product
from targets.discrete import two_points
from targets.finite_chain import squared_covariance
from targets.markov import MarkovChain, bit_chain, fixed_entropy_chain

WITH_ZEROS = [[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.3, 0.0, 0.7]]
CYCLE = np.roll(np.eye(4), 1, axis=1)
CHAINS: dict[str, Callable[[], MarkovChain]] = {
    "bits": lambda: MarkovChain([-0.5, 2.0], [[0.9, 0.1], [0.3, 0.7]], 6),
    "with_zeros": lambda: MarkovChain([1.5, -1.0, 0.2], WITH_ZEROS, 5),
}
ORDERS = (0.0, 0.3, 0.95, 1.0 - 1e-6, 1.0, 1.0 + 1e-6, 1.05, 2.0, 30.0, math.inf)


@cache
def chain(name: str) -> MarkovChain:
    """One object a chain and session, so that its curve is computed once."""
    return CHAINS[name]()


def paths(law: MarkovChain) -> tuple[Tensor, Tensor]:
    """(every path that is possible, its probability), by enumeration."""
    states = torch.tensor(list(itertools.product(range(len(law.values)), repeat=law.length)))
    steps = law.transition[states[:, :-1], states[:, 1:]].prod(1)
    probability = law.stationary[states[:, 0]] * steps
    return law.values[states[probability > 0]], probability[probability > 0]


@pytest.fixture(scope="module")
def pair() -> tuple[MarkovChain, Discrete]:
    """A chain and its enumerated law."""
    law = MarkovChain([1.5, -1.0, 0.2], [[0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.3, 0.1, 0.6]], 4)
    atoms, weights = paths(law)
    assert len(atoms) == 81
    return law, Discrete(atoms, weights)


@pytest.mark.parametrize("snr", [1e-3, 0.5, 20.0, 1e6])
def test_everything_at_a_state_is_that_of_the_enumerated_law(pair, snr):
    law, enumerated = pair
    at = Level.from_snr(snr)
    y = contracts.probed_states(law, at)
    v = contracts.normal(tuple(y.shape), 1)
    contracts.assert_close(law.log_prob(y, at)[:, None], enumerated.log_prob(y, at)[:, None], 1e-10, 1e-10)
    contracts.assert_close(law.denoiser(y, at), enumerated.denoiser(y, at), 1e-10)
    floor = 1e-10 * law.total_variance
    contracts.assert_close(
        law.posterior_trace(y, at)[:, None], enumerated.posterior_trace(y, at)[:, None], 1e-10, floor
    )
    product = enumerated.posterior_covariance_product(y, v, at)
    contracts.assert_close(law.posterior_covariance_product(y, v, at), product, 1e-10, floor)


def test_moments_entropies_and_characteristic_function_are_those_of_the_enumerated_law(pair):
    law, enumerated = pair
    torch.testing.assert_close(law.mean, enumerated.mean, rtol=1e-12, atol=1e-12)
    covariance = enumerated.components.covariance()
    assert law.total_variance == pytest.approx(enumerated.total_variance, rel=1e-12)
    head = squared_covariance(law.values, law.transition, law.stationary, law.length)
    assert head == pytest.approx(float(covariance.square().sum()), rel=1e-12)
    assert law.rank == enumerated.rank == int(torch.linalg.matrix_rank(covariance))
    for order in ORDERS:
        assert law.entropy(order).value == pytest.approx(enumerated.entropy(order).value, rel=1e-12)
        assert law.latent_entropy(order).value == law.entropy(order).value
    frequency = contracts.normal((5, law.dim), 2)
    for actual, expected in zip(law.fourier(frequency), enumerated.fourier(frequency), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(NotAvailableError, match="use entropy"):
        law.differential_entropy()


def test_entropy_with_impossible_steps():
    law = chain("with_zeros")
    atoms, weights = paths(law)
    for order in ORDERS:
        assert law.entropy(order).value == pytest.approx(Discrete(atoms, weights).entropy(order).value, rel=1e-12)
    assert law.entropy(0.0).value == pytest.approx(math.log(len(atoms)), rel=1e-14)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("snr", [100.0, 400.0])
def test_exponentially_small_covariances_are_relatively_accurate(name, snr):
    """Against Σ_{p<q} r_p r_q (x_p − x_q)(x_p − x_q)ᵀ over pairs of paths, which has no subtraction of weights."""
    law, at = chain(name), Level.from_snr(snr)
    y = contracts.states(law, at, 20)[1]
    v = contracts.normal(tuple(y.shape), 3)
    atoms, weights = paths(law)
    near = atoms[torch.cdist(y, at.alpha * atoms).argmin(1)][:, None]
    ratio = (at.alpha / at.sigma**2) * (atoms - near) * (y[:, None] - 0.5 * at.alpha * (atoms + near))
    r = (weights.log() + ratio.sum(-1)).softmax(1)
    apart = atoms[:, None] - atoms
    both = 0.5 * r[:, :, None] * r[:, None]
    trace = torch.einsum("npq,pq->n", both, apart.square().sum(-1))
    product = torch.einsum("npq,npq,pqi->ni", both, torch.einsum("pqi,ni->npq", apart, v), apart)
    assert float(trace.min()) < 1e-20
    contracts.assert_close(law.posterior_trace(y, at)[:, None], trace[:, None], 1e-11)
    contracts.assert_close(law.posterior_covariance_product(y, v, at), product, 1e-11)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("check", AT_A_STATE, ids=lambda f: f.__name__)
def test_contract(check, name):
    check(chain(name))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("check", [*OF_THE_CURVE, contracts_curve.information_ends_at_the_entropy])
def test_contract_of_the_curve(check, name):
    check(chain(name))


def test_a_long_chain_at_high_snr_and_far_outside():
    law, at = bit_chain(2000, stay=0.95), Level.from_snr(1e6)
    x, y = contracts.states(law, at, 3)
    assert bool((law.denoiser(y, at) == x).all())
    assert bool((law.posterior_trace(y, at) >= 0).all())
    for level in (at, Level.from_snr(0.1)):
        far = level.alpha * x + 15.0 * level.sigma
        for out in (law.log_prob(far, level), law.denoiser(far, level), law.posterior_trace(far, level)):
            assert bool(torch.isfinite(out).all())


def test_blocks_of_rows_do_not_change_the_answer(monkeypatch):
    law = chain("with_zeros")
    at = Level.from_snr(1.0)
    y = contracts.states(law, at, 50)[1]
    whole = (law.log_prob(y, at), law.denoiser(y, at), law.posterior_covariance_product(y, y, at), *law.fourier(y))
    monkeypatch.setattr("targets.components.CHUNK_BYTES", {"cpu": 8 * 4 * 8 * 45})
    monkeypatch.setattr("targets.components.LEAST_ROWS", 1)
    parts = (law.log_prob(y, at), law.denoiser(y, at), law.posterior_covariance_product(y, y, at), *law.fourier(y))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)


def test_the_curve_is_that_of_the_enumerated_law():
    law = chain("with_zeros")
    enumerated = Discrete(*paths(law))
    snr = np.array([at.snr for at in contracts_curve.informative_levels(law)])
    for quantity in ("mmse", "mmse_slope", "mutual_information"):
        ours, theirs = getattr(law, quantity)(snr), getattr(enumerated, quantity)(snr)
        allowed = 4.0 * np.hypot(ours.stderr, theirs.stderr) + np.abs(ours.bias) + np.abs(theirs.bias)
        assert (np.abs(ours.value - theirs.value) <= allowed).all()


def test_independent_positions_and_single_positions_have_the_exact_curve():
    snr = np.array([0.1, 1.0, 5.0])
    free = MarkovChain([-1.0, 1.0], [[0.7, 0.3], [0.7, 0.3]], 5)
    for law, product in ((free, Product([two_points(p=0.3)] * 5)), (bit_chain(1, stay=0.7), two_points())):
        assert np.max(law.mmse(snr).stderr) == 0.0
        np.testing.assert_allclose(law.mmse(snr).value, product.mmse(snr).value, rtol=1e-12)
        np.testing.assert_allclose(law.mutual_information(snr).value, product.mutual_information(snr).value, rtol=1e-12)


def test_a_deterministic_cycle_has_the_rank_of_its_frequencies():
    law = MarkovChain([0.0, 1.0, 5.0, -2.0], CYCLE, 9)
    atoms, weights = paths(law)
    assert law.rank == 3 == Discrete(atoms, weights).rank
    assert law.entropy().value == pytest.approx(math.log(4.0))
    assert MarkovChain([0.0, 1.0, 2.0, 1.5], CYCLE, 2).rank == 2
    assert MarkovChain([-2.0, -1.0, 2.0, 1.0], CYCLE, 9).rank == 2  # in the order of the cycle: x_{i+2} = −x_i
    assert MarkovChain([-1.0, 1.0], [[0.0, 1.0], [1.0, 0.0]], 9).rank == 1
    contracts.posterior_covariance_is_the_jacobian(law)
    contracts.samples_have_the_moments(law)
    contracts_curve.information_ends_at_the_entropy(law)


def test_states_that_are_left_for_ever_are_dropped():
    law = MarkovChain([3.0, 1.0, 7.0], [[0.2, 0.8, 0.0], [0.6, 0.4, 0.0], [0.5, 0.0, 0.5]], 3)
    assert law.values.tolist() == [1.0, 3.0]
    torch.testing.assert_close(law.stationary, torch.tensor([4.0, 3.0], dtype=torch.float64) / 7.0)
    constant = MarkovChain([3.0, 1.0], [[1.0, 0.0], [0.5, 0.5]], 4)
    assert (constant.rank, constant.total_variance, constant.entropy(0.0).value) == (0, 0.0, 0.0)
    assert constant.mmse(1.0).value == 0.0
    assert bool((constant.denoiser(torch.zeros(2, 4, dtype=torch.float64), Level(1.0, 1.0)) == 3.0).all())


def test_float32_keeps_the_parameters_of_the_float64_law():
    law = MarkovChain([0.1, 0.7], [[0.9, 0.1], [0.2, 0.8]], 5)
    moved, at = law.to(dtype=torch.float32), Level.from_snr(1e8)
    y = contracts.states(law, at, 8)[1].to(torch.float32)
    assert moved.log_prob(y, at).dtype == torch.float32
    torch.testing.assert_close(moved.log_prob(y, at).double(), law.log_prob(y.double(), at), rtol=1e-6, atol=0.0)
    assert moved.entropy().value == law.entropy().value
    assert moved.fourier(y)[0].dtype == torch.complex64
    assert moved.to(dtype=torch.float64).values.tolist() == law.values.tolist()


@pytest.mark.parametrize(("length", "nats"), [(2, 1.0), (16, 4.0), (16, 11.0), (4096, 4.0)])
def test_the_entropy_is_held_while_the_length_grows(length, nats):
    law = fixed_entropy_chain(length, entropy_nats=nats)
    assert (law.dim, law.rank) == (length, length)
    assert law.entropy().value == pytest.approx(nats, rel=1e-12)


def test_the_bit_chain_stays():
    law = bit_chain(3, stay=0.9, distance=4.0)
    assert law.values.tolist() == [-2.0, 2.0]
    torch.testing.assert_close(law.transition.diagonal(), torch.full((2,), 0.9, dtype=torch.float64))
    assert repr(law) == "MarkovChain(states=2, length=3, rank=3)"


HALF = [[0.5, 0.5], [0.5, 0.5]]
BAD = {
    "repeated": (lambda: MarkovChain([1.0, 1.0], HALF, 3), r"values = .*expected distinct values"),
    "not_finite": (lambda: MarkovChain([1.0, math.inf], HALF, 3), r"values = inf: expected finite"),
    "none": (lambda: MarkovChain([], HALF, 3), r"values.shape = \(0,\)"),
    "not_square": (lambda: MarkovChain([1.0, 2.0], [[0.5, 0.5]], 3), r"transition.shape = \(1, 2\)"),
    "negative": (lambda: MarkovChain([1.0, 2.0], [[1.5, -0.5], [0.5, 0.5]], 3), r"transition = -0.5: .*non-negative"),
    "row_sum": (lambda: MarkovChain([1.0, 2.0], [[0.5, 0.4], [0.5, 0.5]], 3), r"row sums of transition = .*sum of 1"),
    "reducible": (lambda: MarkovChain([1.0, 2.0], np.eye(2), 3), r"closed classes of transition = 2: expected one"),
    "length": (lambda: MarkovChain([1.0, 2.0], HALF, 0), r"length = 0: expected an integer >= 1"),
    "order": (lambda: bit_chain().entropy(-1.0), r"order = -1.0: expected an order >= 0"),
    "stay": (lambda: bit_chain(stay=1.0), r"stay = 1.0: expected a probability"),
    "distance": (lambda: bit_chain(distance=0.0), r"distance = 0.0: expected a number > 0"),
    "too_little": (
        lambda: fixed_entropy_chain(8, entropy_nats=0.5),
        r"entropy_nats = 0.5: .*between log 2 and 8 log 2",
    ),
    "too_much": (lambda: fixed_entropy_chain(8, entropy_nats=6.0), r"entropy_nats = 6.0: .*between log 2 and 8 log 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ArgumentError, match=message):
        call()


TWINS = {
    "score": (contracts.score_is_the_gradient_of_log_prob, "_denoiser"),
    "jacobian": (contracts.posterior_covariance_is_the_jacobian, "_posterior_product"),
    "trace": (contracts.posterior_trace_is_the_trace, "_posterior_trace"),
    "tweedie": (contracts.denoiser_follows_tweedie, "_log_prob"),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_mutated_twin_fails(name):
    check, method = TWINS[name]
    contracts.must_fail(check, scaled(chain("with_zeros"), method, 1.01))


def test_a_chain_with_another_stay_fails():
    """The denoiser sees 1% in the transition matrix."""
    right, wrong = bit_chain(4, stay=0.9), bit_chain(4, stay=0.909)
    atoms, weights = paths(right)
    at, y = Level.from_snr(1.0), contracts.normal((4, 4), 5)
    expected = Discrete(atoms, weights).denoiser(y, at)
    contracts.assert_close(right.denoiser(y, at), expected, 1e-10)
    contracts.must_fail(contracts.assert_close, wrong.denoiser(y, at), expected, 1e-4)

"""A learned score's prices, K*, gaps and losses from rows made up here, and steps of its training against textbook Adam.

Nothing is trained or drawn at length: rows and gradients are given, and what should come of them is written out anew, so that
every factor of a standard error or bias is seen to its last digits.
"""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_learn_training import LAW, OF_WIDE, PLAN, SMALL, WIDE

from studies import learned_parts as parts
from studies.learned_prices import Price
from targets import ArgumentError, Estimate
from verify import Grid, samplers
from verify.learn import Architecture, EvaluationSet, Network, checkpoint, train, training
from verify.learn.state import optimiser
from verify.oracle import Exact
from verify.oracle.sampled import left_out

REPLICATES = 32


def made_up(seed: int, mean: float | np.ndarray, spread: float) -> np.ndarray:
    """The mean of 32 made-up replicates and with each one left out: shape (33, …)."""
    shape = (REPLICATES, *np.shape(mean))
    every = mean + spread * np.random.default_rng(seed).standard_normal(shape)
    rest = [np.delete(every, i, axis=0).mean(0) for i in range(REPLICATES)]
    return np.concatenate([every.mean(0)[None], np.stack(rest)])


def scatter(rows: np.ndarray) -> float:
    """√(31/32 Σ_r (θ_(r) − mean)²), the jackknife's standard error, as √31 times a standard deviation."""
    return math.sqrt(REPLICATES - 1) * float(np.std(rows[1:]))


# ---- prices ----------------------------------------------------------------------------------------------------------


def price(seed: int, exact: float, added: float) -> Price:
    """A made-up price whose errors are all of one size; relative biases are a tenth and a fifth."""
    first, second = made_up(seed, exact, 0.3), made_up(seed + 1, added, 0.2)
    return Price(
        Estimate(float(first[0]), scatter(first), 0.1 * exact, "curve"),
        Estimate(float(second[0]), scatter(second), 0.2 * added, "draws"),
        first,
        second,
    )


ONE, OTHER = price(0, 2.0, 1.0), price(2, 3.0, 1.5)


def test_errors_of_a_price_are_those_of_both_terms():
    found = ONE.columns(None)
    assert found["network"] == pytest.approx(ONE.exact_rows[0] + ONE.added_rows[0], rel=1e-12)
    assert found["network_stderr"] == pytest.approx(math.hypot(scatter(ONE.exact_rows), scatter(ONE.added_rows)))
    assert found["network_bias"] == pytest.approx(0.1 * 2.0 + 0.2 * 1.0, rel=1e-12)
    assert (found["stderr"], found["bias"]) == pytest.approx((scatter(ONE.exact_rows), 0.2), rel=1e-12)


def test_errors_of_a_ratio_are_those_of_curve_and_draws_in_turn():
    """The replicates of the curve with the error's mean, those of the error with the curve's, and both relative biases."""
    found = OTHER.columns(ONE)
    above, below = ONE.exact_rows[0], OTHER.exact_rows[0]
    assert found["ratio"] == pytest.approx(above / below, rel=1e-12)
    assert found["ratio_stderr"] == pytest.approx(scatter(ONE.exact_rows / OTHER.exact_rows), rel=1e-12)
    assert found["ratio_bias"] == pytest.approx(above / below * (0.2 / above + 0.3 / below), rel=1e-12)
    above, below = ONE.exact_rows + ONE.added_rows[0], OTHER.exact_rows + OTHER.added_rows[0]
    curve = scatter(above / below)
    draws = scatter((ONE.exact_rows[0] + ONE.added_rows) / (OTHER.exact_rows[0] + OTHER.added_rows))
    own = above[0] / below[0]
    assert found["network_ratio"] == pytest.approx(own, rel=1e-12)
    assert found["network_ratio_stderr"] == pytest.approx(math.hypot(curve, draws), rel=1e-12)
    assert found["network_ratio_bias"] == pytest.approx(own * (0.4 / above[0] + 0.6 / below[0]), rel=1e-12)


# ---- gap, K* and distances -------------------------------------------------------------------------------------------


def test_the_gap_s_error_counts_the_curve_s_own_draws():
    """½ Σ h of losses, moments and mmse, three independent sums: on laws whose curve is sampled no term is zero."""
    grid = Grid.from_snr(np.array([0.5, 1.0, 3.0, 4.0]))
    losses, moments, mmse = (made_up(seed, np.array([3.0, 2.0, 1.0]), 0.2 * (1 + seed)) for seed in range(3))
    learner = SimpleNamespace(
        oracle=SimpleNamespace(moments=lambda *_: SimpleNamespace(square=moments)),
        evaluation=SimpleNamespace(loss_rows=lambda _: losses),
        target=SimpleNamespace(curve=SimpleNamespace(mmse_rows=lambda _: mmse)),
    )
    half = np.array([0.25, 1.0, 0.5])
    expected = math.hypot(*(scatter(rows @ half) for rows in (losses, moments, mmse)))
    assert parts._gap(learner, grid) == pytest.approx(expected, rel=1e-12)  # type: ignore[arg-type]


def test_errors_of_k_star(monkeypatch):
    """K* moves as the floor does, and as the square of S where it is the limit; a whole number is one off at most."""
    level, length = Estimate(0.5, 0.02, 0.03, ""), Estimate(3.0, 0.01, 0.04, "")
    monkeypatch.setattr(type(LAW.curve), "discretisation_length", lambda *_: length)
    monkeypatch.setattr(parts, "MANY", 4)
    error = SimpleNamespace(floor=lambda: level)
    learner = SimpleNamespace(target=LAW, window=(0.05, 20.0), error=error)
    whole, _, limit = parts.reach(learner, "quick")  # type: ignore[arg-type]
    assert limit["value"] == pytest.approx(3.0**2 / 4.0 / 0.5, rel=1e-12)
    assert limit["stderr"] == pytest.approx(limit["value"] * math.hypot(2.0 * 0.01 / 3.0, 0.02 / 0.5), rel=1e-12)
    assert limit["bias"] == pytest.approx(limit["value"] * (2.0 * 0.04 / 3.0 + 0.03 / 0.5), rel=1e-12)
    assert whole["stderr"] == pytest.approx(whole["value"] * 0.02 / 0.5, rel=1e-12), "the curve of this law is exact"
    assert whole["bias"] == pytest.approx(whole["value"] * 0.03 / 0.5 + 1.0, rel=1e-9)


def test_errors_of_a_distance_are_those_of_its_replicates_and_of_half_the_levels():
    """share and lead replicate by replicate; the bias of each is what every second level alone would change."""
    kinds = ("to_law", "to_points", "apart")
    made = {(name, n): made_up(3 * n + i, 1.0 + i + 0.1 * n, 0.1) for i, name in enumerate(kinds) for n in (1, 2)}
    measured = {name: SimpleNamespace(floor_rows=lambda _top, every, name=name: made[name, every]) for name in kinds}
    learner = SimpleNamespace(target=LAW, levels=np.geomspace(0.05, 50.0, 9))
    rows = {row["distance"]: row for row in parts._places(learner, measured, 7, 0.5)}  # type: ignore[arg-type]
    every = []
    for n in (1, 2):
        law, points, apart = (made[name, n] for name in kinds)
        every.append({"to_law": law, "to_points": points, "apart": apart, "share": law / apart})
        every[-1]["lead"] = (points - law) / apart
    fine, coarse = every
    assert rows.keys() == fine.keys()
    for name, row in rows.items():
        assert row["value"] == pytest.approx(fine[name][0], rel=1e-12)
        assert row["stderr"] == pytest.approx(scatter(fine[name]), rel=1e-12)
        assert row["bias"] == pytest.approx(abs(coarse[name][0] - fine[name][0]), rel=1e-9)


def test_a_replicate_left_out_is_its_own():
    """In pieces of any size: row r is the mean of all but the r-th."""
    every = np.random.default_rng(5).standard_normal((2, REPLICATES))
    rows = left_out([every[:, :7], every[:, 7:8], every[:, 8:]])
    np.testing.assert_allclose(rows[:, 0], every.mean(1), rtol=1e-12)
    for i in range(REPLICATES):
        np.testing.assert_allclose(rows[:, 1 + i], np.delete(every, i, axis=1).mean(1), rtol=1e-12)


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_errors_of_path_and_excess_are_those_of_losses_and_curve(monkeypatch):
    """½ Σ h ℓ − ΔI and ℓ − mmse of made-up rows: standard errors of both in quadrature, the curve's biases added."""
    snr = np.array([0.5, 1.0, 3.0])
    losses, ends = made_up(0, np.array([3.0, 2.0]), 0.4), made_up(1, np.array([0.3, 0.9]), 0.05)
    mmse = Estimate(np.array([2.5, 1.5]), np.array([0.03, 0.04]), np.array([-0.01, 0.02]), "")
    told = Estimate(ends[0], ends[0], np.array([0.002, -0.005]), "")
    law = copy.copy(LAW)
    vars(law)["curve"] = SimpleNamespace(
        information_rows=lambda _: ends, mutual_information=lambda _: told, mmse=lambda _: mmse
    )
    monkeypatch.setattr(EvaluationSet, "loss_rows", lambda *_: losses)
    found = EvaluationSet(Exact(law), points=2).path(samplers.ddpm(Grid.from_snr(snr)))
    gained, half = ends[:, 1] - ends[:, 0], np.array([0.25, 1.0])
    assert float(found.value) == pytest.approx(losses[0] @ half - gained[0], rel=1e-12)
    assert float(found.stderr) == pytest.approx(math.hypot(scatter(losses @ half), scatter(gained)), rel=1e-12)
    assert float(found.bias) == pytest.approx(0.007, rel=1e-9)
    table = EvaluationSet(Exact(law), points=2).curve(snr[:2])
    own = [math.hypot(scatter(column), stderr) for column, stderr in zip(losses.T, (0.03, 0.04), strict=True)]
    np.testing.assert_allclose(table["excess"], losses[0] - mmse.value, rtol=1e-12)
    np.testing.assert_allclose(table["excess_stderr"], own, rtol=1e-12)
    np.testing.assert_allclose(table["excess_bias"], [0.01, 0.02], rtol=1e-12)


# ---- a step of training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "small"), [(LAW, SMALL), (WIDE, OF_WIDE)])
def test_what_is_descended_is_the_weighted_loss(law, small):
    """Gradients after a step: of mean (γ + 1/λ_max) ‖X − m̂(X + Z/√γ)‖², drawn and weighted anew, its factor included."""
    plan = replace(PLAN, rate=1e-12)
    state = training._begin(law, plan, small, torch.device("cpu"))
    state.network.outward.weight.data.fill_(0.1)
    network = copy.deepcopy(state.network).double()
    training._step(law, state, plan, lambda *_: None)
    draws = training.stream(plan.seed, "training step 0", law)
    place = (torch.arange(32) + torch.rand(32, generator=draws).double()) / 32
    snr = torch.exp(math.log(0.05) + math.log(1000.0) * place)
    clean = law.sample(32, draws)
    noise = torch.randn(clean.shape, generator=draws, dtype=torch.float32)
    answer = network(clean + noise * snr[:, None] ** -0.5, snr)
    loss = ((snr + 1.0 / float(network.spread.max())) * (clean - answer).square().sum(1)).mean()
    loss.backward()
    for (name, found), expected in zip(state.network.named_parameters(), network.parameters(), strict=True):
        assert found.grad is not None
        assert expected.grad is not None
        size = float(expected.grad.abs().max())
        torch.testing.assert_close(found.grad.double(), expected.grad, rtol=1e-3, atol=1e-4 * size, msg=name)


def test_two_steps_of_adam():
    """β = 0.9 and 0.999, ε = 10⁻⁸ (Kingma & Ba 2015, algorithm 1), on gradients of the size of ε and of one."""
    network = Network(Architecture(4, 2, 8, 1))
    network.spread.fill_(9.0)
    shares = {"reading": 0.5, "writing": 0.5, "shift": 1.5}
    adam, rate, gradients = optimiser(network), 1e-3, (1.0, -0.25)
    for group in adam.param_groups:
        group["lr"] = rate * group["share"]
    for parameter in network.parameters():
        parameter.data.zero_()
    for gradient in gradients:
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
            parameter.grad.view(-1)[0] *= 1e-8
        adam.step()
    for name, parameter in network.named_parameters():
        share = shares.get(name, 1.0)
        for found, size in zip(parameter.detach().view(-1)[:2].tolist(), (1e-8, 1.0), strict=False):
            one, two = (size * gradient for gradient in gradients)
            first = one / (abs(one) + 1e-8)
            mean = (0.9 * 0.1 * one + 0.1 * two) / (1.0 - 0.9**2)
            square = (0.999 * 0.001 * one**2 + 0.001 * two**2) / (1.0 - 0.999**2)
            moved = -rate * share * (first + mean / (math.sqrt(square) + 1e-8))
            assert found == pytest.approx(moved, rel=1e-4), (name, size)


# ---- when a checkpoint is another run's ------------------------------------------------------------------------------


def test_numbers_of_a_run_are_known_to_1e_9(tmp_path):
    """A window off by 5e-10 of itself is the same run's, off by 2e-9 another's: both sides of the stated tolerance."""
    plan, file = replace(PLAN, steps=2), tmp_path / "run"
    train(LAW, plan, SMALL, file=file)
    train(LAW, replace(plan, snr=(0.05 * (1.0 + 5e-10), 50.0)), SMALL, file=file)
    for snr in ((0.05 * (1.0 + 2e-9), 50.0), (0.05, 50.0 * (1.0 - 2e-9))):
        with pytest.raises(ArgumentError, match=r"training\.snr"):
            train(LAW, replace(plan, snr=snr), SMALL, file=file)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_law_is_known_by_its_log_density_to_1e_9(sign):
    """One value of 24 off by 0.5e-9 (1 + its size) is the same law, by 2e-9 (1 + its size) another."""
    for size, same in ((0.5e-9, True), (2e-9, False)):
        known = json.loads(json.dumps(checkpoint.known_by(LAW)))
        value = known["log_prob"][2][7]
        known["log_prob"][2][7] = value + sign * size * (1.0 + abs(value))
        if same:
            checkpoint._same_target(Path("file"), known, LAW)
        else:
            with pytest.raises(ArgumentError, match="target log_prob"):
                checkpoint._same_target(Path("file"), known, LAW)

"""Trained networks as oracles, and their losses on a fixed evaluation set: two paths to one KL, and twins that part.

The oracle passes the suite of the other sampled oracles, test_verify_oracles_sampled.py.  Comparisons allow 4 joint
standard errors: at fresh seeds 6e-5 false alarms each where draws are many, 4e-4 where 32 replicates decide; about 90
comparisons here, so 2% for the file if seeds were redrawn; they are fixed.
"""

import copy
from functools import cache

import numpy as np
import pytest
import test_verify_oracles_sampled as suite
import torch
from test_verify_oracles import LEVELS, TARGETS, levels

from targets import ArgumentError, Estimate, GaussianMixture, Level, Target, get
from verify import Grid, kl, samplers
from verify.learn import Architecture, EvaluationSet, Learned, Network, Training, train
from verify.oracle import ConstantBias, Exact, RandomField, ScaleError

RANGE = (0.01, 60.0)
CENTRES = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
MIXED = GaussianMixture.isotropic([0.3, 0.1, 0.2, 0.25, 0.15], CENTRES.numpy(), [0.2, 0.1, 0.3, 0.2, 0.05])
LAWS = {"curved_mixture": TARGETS["curved_mixture"], "codebook": TARGETS["codebook_d8"], "mixture_d8": MIXED}
TABLE = samplers.ddpm(Grid.log_snr(8, snr=(0.05, 20.0)))


@cache
def trained(target: Target) -> Network:
    """After 60 steps of 64: better than linear, far from exact."""
    rank = min(target.dim, 4)
    return train(
        target, Training(steps=60, batch=64, rate=5e-3, snr=RANGE), Architecture(target.dim, rank, 16, 1)
    ).network


def learned(target: Target, **more) -> Learned:
    return Learned(target, trained(target), **more)


def apart(one: Estimate, two: Estimate) -> float:
    """|difference| in joint standard errors, less both biases."""
    distance = abs(float(one.value) - float(two.value)) - float(one.bias) - float(two.bias)
    return distance / float(np.hypot(one.stderr, two.stderr))


# ---- the suite of sampled oracles ------------------------------------------------------------------------------------


@pytest.fixture
def in_suite(monkeypatch):
    monkeypatch.setitem(suite.ORACLES, "learned", learned)


@pytest.mark.usefixtures("in_suite")
class TestSuite:
    @pytest.mark.parametrize("name", ["curved_mixture", "gaussian_d8", "codebook_d8", "full_d2", "embedded"])
    def test_declared_moments(self, name):
        suite.test_declared_moments_against_monte_carlo(name, "learned")

    @pytest.mark.parametrize("name", ["codebook_d8", pytest.param("full_d2", marks=pytest.mark.slow)])
    def test_two_percent_more_error_is_caught(self, name, monkeypatch):
        """The twin: asked, the network errs by 2% more than it declared."""
        at, oracle = suite.LEVELS[1], learned(suite.TARGETS[name], points=4096)
        oracle.moments(*suite.levels(at))
        honest = Learned.denoiser

        def worse(self, y, level):
            exact = self.target.denoiser(y, level)
            return exact + 1.02 * (honest(self, y, level) - exact)

        monkeypatch.setattr(Learned, "denoiser", worse)
        assert (suite.excess(oracle, at, 60, 200_000) > 1.0).any()

    @pytest.mark.parametrize("name", ["curved_mixture", "codebook_d8"])
    def test_jacobians(self, name):
        suite.test_jacobians_against_central_differences(name, "learned")

    @pytest.mark.parametrize("name", ["codebook_d8", pytest.param("curved_mixture", marks=pytest.mark.slow)])
    def test_path_and_chain(self, name):
        suite.test_path_and_chain_against_simulation(name, "learned")

    @pytest.mark.parametrize("sampler", ["ddpm", pytest.param("ei_sde", marks=pytest.mark.slow)])
    def test_line_density(self, sampler):
        suite.test_line_density_against_particles(sampler, "learned")


def test_marginal_on_the_line_is_not_above_the_path():
    """The marginal KL by quadrature with the network inside, below its path KL and above the exact denoiser's."""
    target = LAWS["curved_mixture"]
    marginal, path = kl.marginal(target, TABLE, oracle=learned(target)), kl.path(target, TABLE, oracle=learned(target))
    assert float(kl.marginal(target, TABLE).value) < float(marginal.value) < float(path.value)


# ---- the set ---------------------------------------------------------------------------------------------------------


class Recording(Exact):
    """Keeps the states that it was asked for."""

    def denoiser(self, y, at):
        self.asked = [*getattr(self, "asked", []), y]
        return super().denoiser(y, at)


def test_one_seed_one_set():
    """Levels in any order, alone or together, give the same numbers; another seed gives others."""
    oracle, snr = learned(MIXED), np.array([0.05, 1.0, 20.0])
    rows = EvaluationSet(oracle, points=16).loss_rows(snr)
    assert rows.shape == (33, 3)
    other = EvaluationSet(oracle, points=16)
    assert np.array_equal(other.loss_rows(snr[::-1]), rows[:, ::-1])
    assert np.array_equal(other.loss_rows(snr[1:2]), rows[:, 1:2])
    assert np.array_equal(EvaluationSet(oracle, points=16).loss_rows(snr[[2, 0]]), rows[:, [2, 0]])
    assert not np.isclose(EvaluationSet(oracle, points=16, seed=2).loss_rows(snr), rows, rtol=1e-9).any()
    table = EvaluationSet(oracle, points=16).curve(snr)
    assert np.array_equal(table["loss"], rows[0])


def test_the_same_clean_points_and_other_noise_at_every_level():
    """Without noise the states of two levels agree, without signal they share nothing; two oracles get one set."""
    oracle = Recording(MIXED)
    EvaluationSet(oracle, points=4).loss_rows(np.array([1e20, 2e20, 1e-20, 2e-20]))
    clean, again, loud, louder = oracle.asked
    assert clean.shape == (128, 8)
    torch.testing.assert_close(clean, again, rtol=0.0, atol=1e-8)
    noise = torch.stack([loud * 1e-10, louder * 2e-20**0.5])
    assert abs(float((noise[0] * noise[1]).mean())) < 5 / 1024**0.5
    assert float((loud * 1e-10).std()) == pytest.approx(1.0, abs=5 / 2048**0.5)
    other = Recording(MIXED)
    EvaluationSet(other, points=4).loss_rows(np.array([1e20]))
    assert torch.equal(other.asked[0], clean)


def test_rows_leave_one_replicate_out():
    """Row 0 is the mean of the 4,096 losses, rows 1…32 of those of 31 replicates; the jackknife error is that of means."""
    oracle = Recording(MIXED)
    rows = EvaluationSet(oracle).loss_rows(np.array([1e20, 1.0]))
    clean, y = oracle.asked
    loss = (clean - MIXED.denoiser(y, Level.from_snr(1.0, "ve"))).square().sum(1).reshape(32, 128).mean(1).numpy()
    np.testing.assert_allclose(rows[0, 1], loss.mean(), rtol=1e-7)
    np.testing.assert_allclose(rows[1:, 1], [np.delete(loss, i).mean() for i in range(32)], rtol=1e-7)
    table = EvaluationSet(Exact(MIXED)).curve(np.array([1.0]))
    np.testing.assert_allclose(table["loss_stderr"], loss.std(ddof=1) / 32**0.5, rtol=1e-6)


# ---- loss, excess and error ------------------------------------------------------------------------------------------

AT = np.array([0.05, 0.4, 2.0, 18.0])


def excess_is(oracle, expected: np.ndarray | float, stderr: np.ndarray | float = 0.0, points: int = 512) -> bool:
    table = EvaluationSet(oracle, points=points).curve(AT)
    np.testing.assert_array_equal(table["snr"], AT)
    np.testing.assert_allclose(table["excess"], table["loss"] - table["mmse"], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(table["mmse"], oracle.target.mmse(AT).value, rtol=1e-12)
    found, own, bias = (table[name].to_numpy() for name in ("excess", "excess_stderr", "excess_bias"))
    return bool((np.abs(found - expected) <= 4 * np.hypot(own, stderr) + bias).all())


@pytest.mark.parametrize("name", LAWS)
def test_excess_of_known_errors(name):
    """Exact: none.  A constant vector: ‖b‖².  A field: its size.  (1 + c)m: c²(E‖X‖² − mmse).  Half of it is refuted."""
    target = LAWS[name]
    bias = np.linspace(0.6, -0.4, target.dim)
    energy = target.second_moment - target.mmse(AT).value
    known = [
        (ConstantBias(target, bias), (bias**2).sum() * np.ones(4)),
        (RandomField(target, 0.7, seed=5), 0.7 * np.ones(4)),
        (ScaleError(target, 0.6), 0.36 * energy),
    ]
    assert excess_is(Exact(target), np.zeros(4))
    for oracle, expected in known:
        assert excess_is(oracle, expected)
        assert not excess_is(oracle, 0.5 * expected)


@pytest.mark.parametrize("name", LAWS)
def test_excess_of_a_network_is_its_declared_error(name):
    """ℓ − mmse on the evaluation set against E‖m̂ − m‖² on the oracle's own draws; a tenth less is refuted on each law."""
    oracle = learned(LAWS[name], points=512)
    at = [Level.from_snr(value) for value in AT]
    square = Estimate.jackknife(oracle.moments(*levels(*at)).square, 0.0, "")
    assert excess_is(oracle, square.value, square.stderr, 2048)
    assert not excess_is(oracle, 0.5 * np.asarray(square.value), square.stderr, 2048)


def test_an_untrained_network_has_no_excess_on_a_gaussian():
    """Best linear is best, but for the sampled directions and variances: a 0.3% excess at most."""
    target = TARGETS["gaussian_d8"]
    network = train(target, Training(steps=1, rate=1e-30, batch=4, snr=RANGE), Architecture(8, 8, 16, 1)).network
    moments = Learned(target, network).moments(*levels(*LEVELS)).square[0]
    assert (moments < 3e-3 * target.mmse(np.array([at.snr for at in LEVELS])).value).all()


# ---- the path KL from losses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["exact", "prior", "moment"])
@pytest.mark.parametrize("name", LAWS)
def test_path_from_losses_is_the_path_kl(name, start):
    """½Σhℓ − ΔI on the evaluation set against the curve and the declared moments: nothing shared but ΔI's curve."""
    target = LAWS[name]
    oracle = learned(target, points=512)
    direct, found = (
        kl.path(target, TABLE, oracle=oracle, start=start),
        EvaluationSet(oracle, points=512).path(TABLE, start=start),
    )
    assert apart(direct, found) <= 4.0, (direct, found)
    assert float(found.stderr) < 0.05 * float(found.value)
    assert "16384 fixed draws" in found.method


@pytest.mark.parametrize(
    "build", [Exact, lambda t: ConstantBias(t, 0.3 * np.ones(t.dim)), lambda t: RandomField(t, 0.5, seed=1)]
)
@pytest.mark.parametrize("name", LAWS)
def test_path_from_losses_of_known_errors(name, build):
    target = LAWS[name]
    direct, found = kl.path(target, TABLE, oracle=build(target)), EvaluationSet(build(target), points=512).path(TABLE)
    assert apart(direct, found) <= 4.0, (direct, found)


class EpsilonLosses(EvaluationSet):
    """The twin: γ times the loss."""

    def loss_rows(self, snr):
        return snr * super().loss_rows(snr)


class LargerLosses(EvaluationSet):
    """The twin: 5% more."""

    def loss_rows(self, snr):
        return 1.05 * super().loss_rows(snr)


@pytest.mark.parametrize("twin", [EpsilonLosses, LargerLosses])
@pytest.mark.parametrize("name", LAWS)
def test_another_loss_breaks_the_equality(name, twin):
    target = LAWS[name]
    oracle = learned(target, points=512)
    assert apart(kl.path(target, TABLE, oracle=oracle), twin(oracle, points=512).path(TABLE)) > 4.0


@pytest.mark.parametrize("name", LAWS)
def test_another_law_s_information_breaks_the_equality(name):
    """A copy whose curve is that of a law of other weights or twice the components' spread."""
    target = LAWS[name]
    wrong = copy.copy(target)
    vars(wrong)["curve"] = (get("two_points") if target.dim == 1 else TARGETS["gaussian_d8"]).curve
    direct = kl.path(target, TABLE, oracle=learned(target, points=512))
    found = EvaluationSet(Learned(wrong, trained(target), points=512), points=512).path(TABLE)
    assert apart(direct, found) > 4.0


def test_another_network_breaks_the_equality():
    """The network of one law is not that of another: path from one's losses, moments of the other."""
    target = LAWS["codebook"]
    direct = kl.path(target, TABLE, oracle=learned(target, points=512))
    found = EvaluationSet(Learned(target, trained(MIXED), points=512), points=512).path(TABLE)
    assert apart(direct, found) > 4.0


def test_path_s_standard_error_is_honest():
    """24 seeds: the spread of the path KL over the mean standard error is within 0.6 … 1.5 (chi, 2e-3)."""
    target = LAWS["curved_mixture"]
    found = [EvaluationSet(learned(target), points=16, seed=seed).path(TABLE) for seed in range(24)]
    spread = np.std([float(e.value) for e in found], ddof=1)
    assert 0.6 < spread / np.mean([float(e.stderr) for e in found]) < 1.5


def test_levels_of_any_process_are_one():
    """The loss depends on snr alone: a table in vp, ve and flow has one path KL from losses."""
    oracle = learned(LAWS["codebook"])
    found = [
        EvaluationSet(oracle, points=16).path(samplers.ddpm(Grid(TABLE.snr, process)))
        for process in ("vp", "ve", "flow")
    ]
    for other in found[1:]:
        assert other.value == pytest.approx(found[0].value, rel=1e-9)


# ---- refusals --------------------------------------------------------------------------------------------------------

SET = EvaluationSet(Exact(LAWS["curved_mixture"]), points=4)


@pytest.mark.parametrize("sampler", ["ddim", "ei_sde", "euler_maruyama", "heun", "dpmpp_2m", "jain_zhang"])
def test_other_samplers_are_refused(sampler):
    with pytest.raises(ArgumentError, match=r"expected ddpm, whose path KL losses decide; available: kl\.path"):
        SET.path(samplers.get(sampler)(Grid.log_snr(4, snr=(0.05, 20.0))))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EvaluationSet(LAWS["codebook"]), "oracle = .*: expected an oracle"),  # type: ignore[arg-type]
        (lambda: EvaluationSet(Exact(MIXED), points=1), "points = 1: expected an integer >= 2"),
        (lambda: EvaluationSet(Exact(MIXED), seed=-1), "seed = -1: expected an integer >= 0"),
        (lambda: SET.curve(np.array([2.0, 1.0])), r"snr\[0:2\] = .*: expected strictly ascending"),
        (lambda: SET.curve(np.array([0.0, 1.0])), "snr = 0.0: expected positive"),
        (lambda: SET.curve(np.array([1.0, np.nan])), "snr = nan: expected finite"),
        (lambda: SET.curve(np.array([])), "snr.shape = "),
        (lambda: SET.path("ddpm"), "table = 'ddpm': expected a table"),  # type: ignore[arg-type]
        (lambda: SET.path(TABLE, start="nowhere"), "start = 'nowhere': expected one of"),
        (
            lambda: EvaluationSet(Exact(MIXED.to(dtype=torch.float32))).path(TABLE),
            "target dtype = torch.float32: expected float64",
        ),
        (
            lambda: EvaluationSet(learned(MIXED), points=4).path(samplers.ddpm(Grid.log_snr(4, snr=(0.001, 1.0)))),
            "log snr -6.9.*: expected one in the trained range",
        ),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()

"""The error of a denoiser along the noise level: exact on errors of known size, and its integral is what path KL pays."""

import numpy as np
import pytest

from targets import ArgumentError, Level, get
from verify import Grid, kl, samplers
from verify.learn import ErrorCurve
from verify.oracle import ConstantBias, Exact, RandomField, ScaleError

LAW = get("curved_mixture")
LOW, HIGH = 0.05, 20.0
LEVELS = np.geomspace(LOW, HIGH, 17)
BIAS = 0.3


def biased(snr: np.ndarray = LEVELS) -> ErrorCurve:
    return ErrorCurve(ConstantBias(LAW, [BIAS]), snr=snr, points=2)


def test_a_constant_error_has_its_integral():
    """½ ∫ b² dγ, ½ Σ h b² on any grid, and ½ b²(γ − γ_0) up to any level: the trapezoidal rule errs by 1e-5 here."""
    curve = biased()
    np.testing.assert_allclose(curve.rows, BIAS**2, rtol=1e-12)
    assert float(curve.floor().value) == pytest.approx(0.5 * BIAS**2 * (HIGH - LOW), rel=1e-5)
    assert float(curve.floor().stderr) < 1e-12
    grid = Grid.from_snr(np.array([LOW, 0.3, 7.0, HIGH]))
    assert float(curve.cost(grid).value) == pytest.approx(0.5 * BIAS**2 * (HIGH - LOW), rel=1e-12)
    assert curve.floor_rows(3.0)[0] == pytest.approx(0.5 * BIAS**2 * (3.0 - LOW), rel=1e-5)
    level = 0.2
    assert curve.reached(level) == pytest.approx(LOW + 2.0 * level / BIAS**2, rel=1e-4)
    assert curve.reached(1e9) == pytest.approx(HIGH)


def test_the_cost_of_a_grid_is_the_oracle_s_part_of_path_kl():
    """E‖ε‖² = γ/(1 + γ)², interpolated, against the declared moments; on few levels the stated bias covers the miss."""
    oracle = RandomField(LAW, lambda snr: snr / (1.0 + snr) ** 2, seed=0)
    grid = Grid.log_snr(12, snr=(LOW, HIGH))
    declared = float(kl.parts(LAW, samplers.ddpm(grid), oracle=oracle)["oracle"].value)
    for count, slack in ((65, 1e-3), (9, 0.1)):
        found = ErrorCurve(oracle, snr=np.geomspace(LOW, HIGH, count), points=128).cost(grid)
        assert abs(float(found.value) - declared) <= 4.0 * found.stderr + found.bias
        assert float(found.bias) < slack * declared


@pytest.mark.parametrize("sampler", ["ddpm", "ei_sde"])
def test_the_floor_is_what_remains_of_the_oracle_s_part(sampler):
    """On 4,096 steps the part in E‖ε‖² of either discretisation is the floor, to the 2% that first order leaves."""
    oracle = ScaleError(LAW, 0.1)
    table = samplers.get(sampler)(Grid.log_snr(4096, snr=(LOW, HIGH)))
    part = float(kl.parts(LAW, table, oracle=oracle)["oracle"].value)
    floor = ErrorCurve(oracle, snr=np.geomspace(LOW, HIGH, 65), points=2048).floor()
    assert abs(part - float(floor.value)) < 4.0 * float(floor.stderr) + 2e-3 * part
    assert float(floor.stderr) < 0.02 * part


def test_two_oracles_on_the_same_draws():
    """The distance of two, in either order, and a ratio of two curves far better known than either."""
    one, other = ScaleError(LAW, 0.1), ScaleError(LAW, 0.3)
    curve = ErrorCurve(one, other, snr=LEVELS, points=16)
    np.testing.assert_allclose(ErrorCurve(other, one, snr=LEVELS, points=16).rows, curve.rows, rtol=1e-12)
    far = ErrorCurve(other, snr=LEVELS, points=16)
    np.testing.assert_allclose(curve.floor_rows(HIGH) / far.floor_rows(HIGH), (0.2 / 0.3) ** 2, rtol=1e-9)
    assert far.floor().stderr > 1e-3 * float(far.floor().value)
    again = ErrorCurve(other, snr=LEVELS, points=16, seed=3)
    assert not np.isclose(again.rows, far.rows, rtol=1e-9).any()


def test_between_levels_it_is_smooth_and_at_them_exact():
    oracle = RandomField(LAW, lambda snr: snr / (1.0 + snr) ** 2, seed=0)
    curve = ErrorCurve(oracle, snr=LEVELS, points=64)
    np.testing.assert_allclose(curve.at(LEVELS), curve.rows, rtol=1e-12)
    between = np.sqrt(LEVELS[1:] * LEVELS[:-1])
    declared = np.array([oracle.moments(np.array([snr**0.5]), np.ones(1)).square[0, 0] for snr in between])
    np.testing.assert_allclose(curve.at(between)[0], declared, rtol=0.1)


def test_no_error_costs_nothing():
    curve = ErrorCurve(Exact(LAW), snr=LEVELS, points=4)
    assert float(curve.floor().value) < 1e-280
    assert curve.reached(0.1) == pytest.approx(HIGH)


def test_levels_are_those_of_the_channel():
    """Measured in ve: E‖c m‖² = c² (E‖X‖² − mmse)."""
    found = ErrorCurve(ScaleError(LAW, 0.1), snr=LEVELS, points=1024).measured()
    known = 0.01 * (LAW.second_moment - np.asarray(LAW.mmse(LEVELS).value))
    assert (np.abs(found.value - known) < 4.5 * np.asarray(found.stderr)).all()
    assert Level.from_snr(4.0, "ve").sigma == 0.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ErrorCurve(LAW, snr=LEVELS), "first = .*: expected an oracle"),  # type: ignore[arg-type]
        (
            lambda: ErrorCurve(Exact(LAW), Exact(get("two_points")), snr=LEVELS),
            "second = .*: expected an oracle of the same",
        ),
        (lambda: ErrorCurve(Exact(LAW), snr=LEVELS[:8]), "snr"),
        (lambda: ErrorCurve(Exact(LAW), snr=LEVELS, points=1), "points = 1: expected an integer >= 2"),
        (lambda: ErrorCurve(Exact(LAW), snr=LEVELS, seed=-1), "seed = -1: expected an integer >= 0"),
        (lambda: biased().at(np.array([0.01])), "snr = .*: expected levels between the measured ones"),
        (lambda: biased().cost(Grid.log_snr(4, snr=(LOW, 40.0))).value and biased().at(np.array([30.0])), "snr = "),
        (lambda: biased().cost([1.0, 2.0]), "grid = .*: expected a Grid"),  # type: ignore[arg-type]
        (lambda: biased().reached(0.0), "level = 0.0: expected a number of nats > 0"),
        (lambda: biased().floor_rows(LOW), "high = 0.05: expected a level"),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()

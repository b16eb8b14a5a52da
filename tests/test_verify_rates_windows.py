"""Asymptotic windows of curves known in advance: power laws, bends, floors, corrections, noise."""

import numpy as np
import pytest

from targets import Estimate
from verify import rates

K = 16.0 * 2.0 ** np.arange(10)


def noisy(seed: int, truth: np.ndarray, relative: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = truth * np.exp(relative * np.random.default_rng(seed).standard_normal(len(truth)))
    return values, relative * values


def with_bias(values: np.ndarray, bias: float | np.ndarray, stderr: float = 0.0) -> list[Estimate]:
    return [
        Estimate(v, stderr * v, b, "test") for v, b in zip(values, np.broadcast_to(bias, values.shape), strict=True)
    ]


# ---- window --------------------------------------------------------------------------------------------------------


def window(values, *arguments, **options) -> tuple[int, int]:
    found = rates.asymptotic(K, values, *arguments, **options)
    assert found.before == found.start or found.start == found.stop
    assert (found.reason is None) == (found.start < found.stop)
    return found.start, found.stop


def test_window_of_a_power_law_is_everything():
    for slope in (-6.0, -2.0, -0.3, 0.0, 1.5):
        assert window(4.0 * K**slope) == (0, 10)
        assert rates.asymptotic(K, 4.0 * K**slope).plateau is None


@pytest.mark.parametrize(
    ("power", "floor", "stop"), [(2, 1e-9, 7), (2, 1e-7, 6), (2, 1e-6, 4), (1, 1e-3, 4), (4, 1e-12, 5)]
)
def test_floor_is_cut(power, floor, stop):
    """The last point kept has at most a tenth of floor; its value is found."""
    values = K**-power + floor
    found = rates.asymptotic(K, values)
    assert (found.start, found.before) == (0, 0)
    assert abs(found.stop - stop) <= 1
    assert floor < 0.15 * values[found.stop - 1]
    assert found.plateau is not None
    assert float(found.plateau.removeprefix("plateau at ")) == pytest.approx(floor, rel=0.1, abs=0)
    assert rates.fit(K[: found.stop], values[: found.stop]).local_slopes[0] == pytest.approx(-power, abs=0.05)


def test_rough_floor_is_cut():
    for seed in range(6):
        rounding = 1e-12 * np.exp(0.7 * np.random.default_rng(seed).standard_normal(10))
        found = rates.asymptotic(K, K**-4.0 + rounding)
        assert (found.start, found.stop) in ((0, 5), (0, 6))
        assert "plateau at" in str(found.plateau)


def test_bend_has_its_start_cut():
    """From −1 to −2 around K = 64; from −4 to −1; a correction of order 1/K: all that is kept has the last slope."""
    for values, slope in (
        (1.0 / (K * (1.0 + K / 64)), -2.0),
        (K**-4.0 + 1e-7 / K, -1.0),
        (K**-2.0 * (1 + 5 / K), -2.0),
    ):
        start, stop = window(values)
        assert stop == 10
        assert 1 <= start <= 7
        assert np.abs(rates.fit(K[start:], values[start:]).local_slopes - slope).max() < 0.08
        assert rates.asymptotic(K, values).plateau is None
        assert window(values, tolerance=0.005)[0] > start


@pytest.mark.parametrize(
    "values", [K**-2.0 + 1.0 / 300 / K, K**-2.0 + 1e-4 * K**-0.5, K**-2.0 * np.exp((K / 3000) ** 2)]
)
def test_still_bending_is_undecided(values):
    found = rates.asymptotic(K, values)
    assert found.start == found.stop
    assert "still change" in str(found.reason)


def test_correction_then_floor():
    found = rates.asymptotic(K, K**-2.0 * (1 + 5 / K) + 1e-6)
    assert (found.start, found.stop, found.before) == (2, 5, 2)


def test_constant_with_corrections_is_no_plateau():
    found = rates.asymptotic(K, 2.0 * (1 + 3 / K))
    assert (found.stop, found.plateau) == (10, None)
    assert 1 <= found.start <= 4


def test_flat_before_any_power_law():
    """Falling fast, never as a power, and then flat: nothing is left, and the plateau is named."""
    found = rates.asymptotic(K, np.exp(-((K / 40.0) ** 1.0)) + 1e-3)
    assert found.start == found.stop
    assert found.plateau == "plateau at 0.000999"


def test_points_below_their_own_error():
    found = rates.asymptotic(K, with_bias(K**-2.0, 1e-6))
    assert (found.start, found.stop) == (0, 6)
    assert found.plateau == "below its own error from x = 1024 on"
    nothing = rates.asymptotic(K, with_bias(K**-2.0, 1.0))
    assert nothing.start == nothing.stop == 0
    assert "fewer than three" in str(nothing.reason)
    both = rates.asymptotic(K, with_bias(K**-2.0 + 1e-5, np.eye(10)[9]))
    assert both.plateau is not None
    assert both.plateau.startswith("plateau at")
    assert both.plateau.endswith("below its own error from x = 8192 on")


def test_noisy_windows():
    for relative in (0.005, 0.02):
        assert window(*noisy(0, K**-2.0, relative)) == (0, 10)
        start, stop = window(*noisy(1, 1.0 / (K * (1.0 + K / 64)), relative))
        assert stop == 10
        assert start >= 3
        found = rates.asymptotic(K, *noisy(2, K**-2.0 + 1e-6, relative))
        assert found.start == 0
        assert 4 <= found.stop <= 5
        assert found.plateau is not None


def test_pure_noise_cuts_little():
    """500 power laws with 5% noise: all ten points are kept in 95% of them (measured 99%)."""
    kept = sum(window(*noisy(seed, K**-2.0, 0.05)) == (0, 10) for seed in range(500))
    assert kept >= 475

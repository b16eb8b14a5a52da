"""Slopes and limits of measured points: brackets, intervals and extrapolations on curves known in advance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Estimate
from verify import rates

K = 16.0 * 2.0 ** np.arange(10)
scales = st.floats(-15.0, 15.0).map(lambda power: 10.0**power)


def noisy(seed: int, truth: np.ndarray, relative: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = truth * np.exp(relative * np.random.default_rng(seed).standard_normal(len(truth)))
    return values, relative * values


def with_bias(values: np.ndarray, bias: float | np.ndarray, stderr: float = 0.0) -> list[Estimate]:
    return [
        Estimate(v, stderr * v, b, "test") for v, b in zip(values, np.broadcast_to(bias, values.shape), strict=True)
    ]


# ---- slope ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.25, 0.5, 0.7, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("ratios", [[1.3], [2.0], [4.0], [2.0, 1.5, 4.0]])
@pytest.mark.parametrize("count", [3, 4, 6])
def test_bracket_of_exact_rows_is_honest(power, ratios, count):
    """K^-2 (1 + c/K^q) with corrections up to a half at the first point; of three points from q = 1/2 on."""
    if count == 3 and power < 0.5:
        return
    for size in (-0.5, -0.1, -1e-3, 1e-3, 0.1, 0.5):
        x = 64.0 * np.cumprod([1.0, *np.resize(ratios, count - 1)])
        found = rates.fit(x, x**-2.0 * (1.0 + size * (x / 64.0) ** -power))
        assert not found.excludes(-2.0), (size, found)


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_bracket_is_twice_the_distance(power):
    """Small corrections, where the leading order is all: q is read off the changes; three points are held for q = 1/2."""
    x = 64.0 * 2.0 ** np.arange(5)
    values = x**-2.0 * (1.0 + 1e-4 * x**-power)
    found = rates.fit(x, values)
    assert found.interval[1] - found.slope == pytest.approx(2.0 * abs(found.slope + 2.0), rel=1e-3, abs=0)
    three = rates.fit(x[-3:], values[-3:])
    expected = 2.0 * abs(np.diff(three.local_slopes)[0]) / (np.sqrt(2.0) - 1.0)
    assert three.interval[1] - three.slope == pytest.approx(expected, rel=1e-9, abs=0)


def test_bracket_with_changes_of_opposite_sign():
    """The larger of the last two changes counts."""
    local = np.array([-2.0, -1.9, -1.91])
    values = 2.0 ** np.concatenate([[0.0], np.cumsum(local)])
    found = rates.fit([1.0, 2.0, 4.0, 8.0], values)
    assert found.interval[1] - found.slope == pytest.approx(2.0 * 0.1 / (np.sqrt(2.0) - 1.0), rel=1e-9, abs=0)


def test_stated_errors_give_the_normal_interval():
    """Residuals that agree with the errors: 1.959964 over the root of Σw(u − ū)², nothing wider."""
    values, stderr = noisy(0, K[:5] ** -1.0, 0.05)
    spread = np.sum((np.log(K[:5]) - np.log(K[:5]).mean()) ** 2)
    found = rates.fit(K[:5], values, stderr)
    assert found.interval[1] - found.slope == pytest.approx(1.959963984540054 * 0.05 / np.sqrt(spread), rel=1e-9, abs=0)


def test_contradicted_errors_give_students_interval():
    """Residuals ±e about a line, stated errors far below: 12.7062 · rms with one degree of freedom."""
    u = np.array([-1.0, 0.0, 1.0])
    v = 0.3 * u + 0.01 * np.array([1.0, -2.0, 1.0])
    found = rates.fit(np.exp(u), np.exp(v), 1e-4 * np.exp(v))
    half = 12.706204736432095 * 0.01 * np.sqrt(6.0) / np.sqrt(2.0)
    assert found.slope == pytest.approx(0.3, abs=1e-12)
    assert found.interval[1] - found.slope == pytest.approx(half, rel=1e-9, abs=0)
    mild = rates.fit(np.exp(u), np.exp(v), 0.01 * np.exp(v))
    assert mild.interval[1] - mild.slope == pytest.approx(1.959963984540054 * 0.01 / np.sqrt(2.0), rel=1e-9, abs=0)


@pytest.mark.parametrize("stderr", [0.0, 0.02])
def test_bias_widens_by_its_worst_case(stderr):
    """Whatever the signs of the shifts, the true slope stays inside; and the worst signs are all that is added."""
    x = K[:4]
    truth, part = x**-1.5, np.array([0.01, 0.03, 0.02, 0.05])
    plain = rates.fit(x, with_bias(truth, 0.0, stderr))
    for signs in np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T:
        shifted = truth * (1.0 + signs * part)
        found = rates.fit(x, with_bias(shifted, part * truth, stderr))
        assert not found.excludes(-1.5)
    if stderr:
        c = (np.log(x) - np.log(x).mean()) / np.sum((np.log(x) - np.log(x).mean()) ** 2)
        up = np.where(c > 0, np.log1p(part), np.log1p(-part))
        found = rates.fit(x, with_bias(truth, part * truth, stderr))
        assert found.interval[1] - plain.interval[1] == pytest.approx(np.sum(c * up), rel=1e-9, abs=0)
    assert rates.fit(x, with_bias(truth, truth, stderr)).interval == (-np.inf, np.inf)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(scale=scales, stretch=scales, seed=st.integers(0, 1000), relative=st.sampled_from([0.0, 0.03]))
def test_units_change_no_slope_window_or_choice(scale, stretch, seed, relative):
    values, stderr = noisy(seed, K**-1.0 * (1.0 + 20.0 / K), relative)
    there = [(K, values, stderr), (stretch * K, scale * values, scale * stderr)]
    first, second = (rates.fit(*rows) for rows in there)
    assert second.slope == pytest.approx(first.slope, abs=1e-9)
    np.testing.assert_allclose(second.interval, first.interval, atol=1e-8)
    first, second = (rates.asymptotic(*rows) for rows in there)
    assert (first.start, first.stop) == (second.start, second.stop)
    first, second = (rates.limit(x, v, stderr=s) for x, v, s in there)
    assert second.value / scale == pytest.approx(first.value, rel=1e-6, abs=1e-10)
    assert second.stderr / scale == pytest.approx(first.stderr, rel=1e-6, abs=1e-12)
    first, second = (rates.joint(v, s if relative else None, steps=x) for x, v, s in there)
    assert second.exponents["steps"] == pytest.approx(first.exponents["steps"], abs=1e-8)
    shapes = {"a": lambda x: 1.0 / x, "b": lambda x: x**-2.0}
    first, second = (rates.choose(x, v, shapes, stderr=s) for x, v, s in there)
    assert first.best == second.best


# ---- limit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("x", [[16.0, 32.0, 64.0], [10.0, 15.0, 40.0, 60.0]])
@pytest.mark.parametrize("c", [3.0, -2.0, 0.0])
def test_limit_of_two_corrections_is_exact(order, x, c):
    h = np.array(x) ** -order
    found = rates.limit(x, c + 5.0 * h - 7.0 * h**2, order=order)
    assert found.value == pytest.approx(c, abs=1e-12)
    assert found.stderr == 0.0
    if len(x) > 3:
        assert found.bias < 1e-11


def test_limit_states_what_is_left():
    """A third correction: the bias is twice the change since three points one earlier, above the error, not a hundredfold."""
    h = 1.0 / K[:5]
    values = 2.0 + h + 3.0 * h**2 + 50.0 * h**3
    found = rates.limit(K[:5], values)
    earlier = rates.limit(K[:4], values[:4])
    assert found.bias == pytest.approx(2.0 * abs(found.value - earlier.value), rel=1e-9, abs=0)
    assert abs(found.value - 2.0) < found.bias < 100.0 * abs(found.value - 2.0)
    three = rates.limit(K[:3], values[:3])
    assert three.bias == pytest.approx(2.0 * abs(three.value - (2.0 * values[2] - values[1])), rel=1e-9, abs=0)


def test_limit_carries_the_bias_of_the_values():
    """Worst case of Richardson's weights on doublings, 1/3, −2, 8/3: six times a common bias."""
    found = rates.limit(K[:4], with_bias(np.full(4, 2.0), 0.01))
    assert found.bias == pytest.approx(0.05, rel=1e-9, abs=0)


def test_limit_of_noisy_rows_is_the_regression():
    """Against the normal equations; with a curve the line is away by more than noise, without one it is not."""
    h, stderr = 1.0 / K[:6], 0.002 * np.array([1.0, 2.0, 1.0, 3.0, 1.0, 2.0])
    rng = np.random.default_rng(5)
    for curve, hidden in ((0.0, True), (200.0, False)):
        values = 2.0 + h + curve * h**2 + stderr * rng.standard_normal(6)
        design = np.vander(h, 3, increasing=True)
        normal = np.linalg.inv((design.T / stderr**2) @ design)
        found = rates.limit(K[:6], values, stderr=stderr)
        assert found.value == pytest.approx((normal @ (design.T @ (values / stderr**2)))[0], rel=1e-9, abs=0)
        assert found.stderr == pytest.approx(np.sqrt(normal[0, 0]), rel=1e-9, abs=0)
        assert (found.bias == 0.0) == hidden
    doubled = rates.limit(K[:6], values, stderr=2.0 * stderr)
    assert doubled.stderr == pytest.approx(2.0 * found.stderr, rel=1e-9, abs=0)


def test_limit_widens_with_unstated_scatter():
    values, _ = noisy(3, 2.0 + 1.0 / K, 0.05)
    found = rates.limit(K, values, stderr=np.full(10, 0.001))
    assert found.stderr > 20.0 * rates.limit(K, 2.0 + 1.0 / K, stderr=np.full(10, 0.001)).stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rates.limit(K, 1.0 / K, order=0.0), "order = 0.0: expected a number > 0"),
        (lambda: rates.limit(K, 1.0 / K, order=float("nan")), "order = nan: expected a number > 0"),
        (lambda: rates.limit(K[:2], 1.0 / K[:2]), r"x.shape = \(2,\): expected at least 3 values"),
        (lambda: rates.limit(K, np.append(K[:9], np.nan)), "estimates = nan: expected finite values"),
        (lambda: rates.asymptotic(K, 1.0 / K, tolerance=1.0), r"tolerance = 1.0: expected a number in \(0, 1\)"),
        (lambda: rates.asymptotic(K[::-1], 1.0 / K), "expected strictly ascending"),
        (lambda: rates.choose(K[:2], K[:2], {"a": np.sqrt, "b": np.log}), "at least 3 values"),
        (lambda: rates.fit(K, "1234567890"), "estimates = '1234567890': expected a sequence"),  # pyright: ignore[reportArgumentType]
        (lambda: rates.fit(K, [None] * 10), "expected real numbers, or estimates"),  # pyright: ignore[reportArgumentType]
        (lambda: rates.fit(K, 1.0 / K, np.array(0.1)), "stderr = .*0.1.*: expected real numbers"),
        (lambda: rates.fit(K, [Estimate(1.0, 0.0, np.inf, "test")] * 10), "bias = inf: expected finite biases"),
        (lambda: rates.fit(K, [Estimate(1.0, -1.0, 0.0, "test")] * 10), "stderr = -1.0: expected finite standard"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("level", [1e-2, 1e-7])
def test_steps_to_reach_carry_the_errors_of_the_divergence(order, level):
    """c/K^p with relative errors r: K* is off by K*·r/p; where it is extrapolated the two biases add, (2 + 1)·r."""
    stderr, bias = 0.01, -0.03

    def at(steps: int) -> Estimate:
        value = 7.0 / float(steps) ** order
        return Estimate(value, stderr * value, bias * value, "")

    found = rates.steps_to_reach(at, level, order=order, exact_up_to=2000, limit_at=512)
    crossing = (7.0 / level) ** (1.0 / order)
    assert found.extrapolated == (crossing > 2000)
    assert found.steps == pytest.approx(crossing if found.extrapolated else np.ceil(crossing), rel=1e-12)
    assert found.stderr == pytest.approx(found.steps * stderr / order, rel=1e-9)
    assert found.bias == pytest.approx((3 if found.extrapolated else 1) * found.steps * 0.03 / order, rel=1e-9)


def test_steps_to_reach_hold_the_error_of_the_limit():
    """K·KL = 7 + 900/K + 1e5/K²: the limit misses −2e5/L², and its stated error is no less."""
    last, level = 512, 1e-4
    found = rates.steps_to_reach(
        lambda steps: Estimate((7.0 + 900.0 / steps + 1e5 / steps**2) / steps, 0.0, 0.0, ""),
        level,
        exact_up_to=2000,
        limit_at=last,
    )
    assert found.extrapolated
    assert found.steps * level == pytest.approx(7.0 - 2e5 / last**2, rel=1e-12)
    assert abs(found.steps * level - 7.0) < found.bias * level == pytest.approx(6e5 / last**2, rel=1e-9)

"""Joint exponents, choices between shapes, and the coverage of all intervals, on data known in advance."""

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


# ---- joint ---------------------------------------------------------------------------------------------------------

DIM, STEPS = (a.ravel() for a in np.meshgrid(2.0 ** np.arange(4), 16 * 2.0 ** np.arange(4)))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), scale=scales, weighted=st.booleans())
def test_joint_exponents_of_exact_products(a, b, scale, weighted):
    values = scale * DIM**a * STEPS**b
    found = rates.joint(values, 0.1 * values if weighted else None, dim=DIM, steps=STEPS)
    assert found.exponents == {"dim": pytest.approx(a, abs=1e-9), "steps": pytest.approx(b, abs=1e-9)}
    assert found.constant == pytest.approx(np.log(scale), abs=1e-9)
    assert found.residual < 1e-9
    for name, truth in (("dim", a), ("steps", b)):
        assert found.intervals[name][0] <= truth <= found.intervals[name][1]


def test_joint_is_the_robust_regression():
    """HC3 by hand, with weights and without."""
    rng = np.random.default_rng(7)
    values = DIM**1.3 / STEPS * np.exp(0.1 * rng.standard_normal(16))
    relative = np.resize([0.05, 0.1, 0.2], 16)
    design = np.stack([np.ones(16), np.log(DIM), np.log(STEPS)], 1)
    for weight in (None, relative**-2.0):
        w = np.ones(16) if weight is None else weight
        inverse = np.linalg.inv((design.T * w) @ design)
        solved = inverse @ (design.T @ (w * np.log(values)))
        residual = np.log(values) - design @ solved
        leverage = w * np.einsum("ij,jk,ik->i", design, inverse, design)
        meat = (design.T * (w * residual / (1 - leverage)) ** 2) @ design
        half = 2.1603686564610127 * np.sqrt(np.diag(inverse @ meat @ inverse))
        found = rates.joint(values, None if weight is None else relative * values, dim=DIM, steps=STEPS)
        assert found.constant == pytest.approx(solved[0], abs=1e-10)
        assert found.residual == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-9, abs=0)
        for i, name in ((1, "dim"), (2, "steps")):
            assert found.exponents[name] == pytest.approx(solved[i], abs=1e-10)
            assert found.intervals[name] == pytest.approx((solved[i] - half[i], solved[i] + half[i]), rel=1e-8, abs=0)


def test_joint_intervals_carry_the_bias():
    values = DIM / STEPS
    tilted = values * np.where(np.log(DIM) > np.log(DIM).mean(), 1.1, 0.9)
    assert not rates.joint(tilted, dim=DIM, steps=STEPS).intervals["dim"][0] <= 1.0
    found = rates.joint(with_bias(tilted, 0.12 * tilted), dim=DIM, steps=STEPS)
    assert found.intervals["dim"][0] <= 1.0 <= found.intervals["dim"][1]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({}, "factors = {}: expected at least one factor"),
        (
            {"dim": DIM, "twice": 2 * DIM, "steps": STEPS},
            r"factors = \['dim', 'twice'\]: expected factors none of which",
        ),
        ({"dim": DIM, "steps": STEPS, "both": DIM * STEPS}, r"factors = \['dim', 'steps', 'both'\]"),
        ({"dim": DIM, "order": np.full(16, 2.0)}, r"order = (np.float64\()?2.0.*: expected a factor that changes"),
        ({"dim": -DIM}, "dim = -1.0: expected positive finite numbers"),
        ({"dim": DIM[:4]}, r"dim.shape = \(4,\): expected one number for each row, \(16,\)"),
        ({"dim": ["a"] * 16}, "dim = .*: expected numbers"),
        ({"dim": np.where(np.arange(16) == 3, 2.0, 1.0)}, "leverage of row = 3: expected no row that alone"),
    ],
)
def test_joint_refuses(factors, message):
    with pytest.raises(ArgumentError, match=message):
        rates.joint(1.0 / STEPS, **factors)


def test_joint_refuses_too_few_rows():
    with pytest.raises(ArgumentError, match=r"estimates.shape = \(4,\): expected at least 5 rows for 2 factors"):
        rates.joint(1.0 / STEPS[:4], dim=[1.0, 2.0, 1.0, 3.0], steps=[1.0, 2.0, 3.0, 3.0])
    with pytest.raises(ArgumentError, match=r"estimates = 0\.0: expected positive"):
        rates.joint(np.zeros(6), dim=np.arange(1.0, 7.0))


# ---- choice --------------------------------------------------------------------------------------------------------

SHAPES = {"1/K": lambda x: 1.0 / x, "1/K^2": lambda x: x**-2.0, "logs": lambda x: np.log(x) ** 1.5 / x}


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    name=st.sampled_from(list(SHAPES)), scale=scales, count=st.integers(5, 10), relative=st.sampled_from([0.0, 0.01])
)
def test_the_right_shape_is_chosen(name, scale, count, relative):
    values, stderr = noisy(count, scale * SHAPES[name](K[:count]), relative)
    found = rates.choose(K[:count], values, SHAPES, stderr=stderr)
    assert found.best == name
    assert list(found.errors) == list(SHAPES)
    assert found.errors[name] < (0.02 if relative else 1e-12)


def test_prediction_error_by_hand():
    """1/K data, 1/K² fitted on K = 1, 2 and held against 4, 8: c is the geometric mean, the errors 1.5 and 2.5 log 2."""
    x = np.array([1.0, 2.0, 4.0, 8.0])
    found = rates.choose(x, 1.0 / x, {"1/K": SHAPES["1/K"], "1/K^2": SHAPES["1/K^2"]})
    assert found.errors["1/K^2"] == pytest.approx(np.log(2.0) * np.sqrt((1.5**2 + 2.5**2) / 2), rel=1e-12, abs=0)
    weighted = rates.choose(2 * x, 1.0 / x, SHAPES, stderr=np.array([1.0, 0.25, 0.1, 0.1]) / x)
    lever = 1.0 / 17.0
    expected = np.log(2.0) * np.sqrt(((1 + lever) ** 2 + (2 + lever) ** 2) / 2)
    assert weighted.errors["1/K^2"] == pytest.approx(expected, rel=1e-12, abs=0)


def test_what_the_data_cannot_tell_is_undecided():
    x = K[:5]
    two = {"1/K": SHAPES["1/K"], "1/K^2": SHAPES["1/K^2"]}
    assert rates.choose(x, 1.0 / x, two).best == "1/K"
    assert rates.choose(x, 1.0 / x, two, held_out=0.2).best == "undecided"
    assert rates.choose(x, 1.0 / x, two, held_out=0.05).best == "undecided"
    assert rates.choose(x, 1.0 / x, two, held_out=0.99).best == "1/K"
    assert rates.choose(x, x**-1.5, two).best == "undecided"
    assert rates.choose(x, 1.0 / x, {"a": SHAPES["1/K"], "b": lambda x: 3.0 / x}).best == "undecided"
    assert rates.choose(x, 1.0 / x, two, stderr=1.5 / x).best == "undecided"
    assert rates.choose(x, 1.0 / x, two, stderr=0.2 / x).best == "1/K"
    assert rates.choose(x, with_bias(1.0 / x, 3.0 / x), two).best == "undecided"


def test_noise_is_undecided():
    """Two shapes apart by a percent under 5% noise, 300 draws: neither is chosen, whatever luck says of the errors."""
    near = {"a": lambda x: x**-1.0, "b": lambda x: x**-1.005}
    for seed in range(300):
        values, stderr = noisy(seed, K**-1.0, 0.05)
        assert rates.choose(K, values, near, stderr=stderr).best == "undecided"


@pytest.mark.parametrize(
    ("candidates", "held_out", "message"),
    [
        ({"a": lambda x: x}, 0.4, "candidates = .*: expected a mapping of two names or more"),
        ({"a": lambda x: x, "undecided": lambda x: x}, 0.4, "other than 'undecided'"),
        ([lambda x: x] * 2, 0.4, "expected a mapping"),
        (SHAPES | {"zero": lambda x: 0 * x}, 0.4, r"candidates\['zero'\]\(x\) = 0.0: expected positive"),
        (SHAPES | {"one": lambda x: x[0]}, 0.4, r"candidates\['one'\]\(x\).shape = \(\): expected the shape of x"),
        (SHAPES | {"text": lambda x: "w" + str(x[0])}, 0.4, r"candidates\['text'\]\(x\) = 'w16.0': expected an array"),
        (SHAPES | {"number": 3.0}, 0.4, r"candidates\['number'\] = 3.0: expected a function"),
        (SHAPES, 0.0, r"held_out = 0.0: expected a number in \(0, 1\)"),
        (SHAPES, 1.0, r"held_out = 1.0: expected a number in \(0, 1\)"),
    ],
)
def test_choose_refuses(candidates, held_out, message):
    with pytest.raises(ArgumentError, match=message):
        rates.choose(K, 1.0 / K, candidates, held_out=held_out)


# ---- coverage --------------------------------------------------------------------------------------------------------


def assert_covers(hits: int, draws: int = 4000) -> None:
    """Within 93 to 97%: the standard deviation of the share at 4000 draws is 0.34%."""
    assert 0.93 * draws <= hits <= 0.97 * draws, hits / draws


@pytest.mark.slow
@pytest.mark.parametrize(
    "relative", [[0.01, 0.2, 0.05], [0.2] * 4, [0.2, 0.1, 0.05, 0.03, 0.02, 0.01], [0.2, 0.03] * 5]
)
def test_coverage_of_fit(relative):
    size = np.array(relative)
    draws = (rates.fit(K[: len(size)], *noisy(seed, 3.0 * K[: len(size)] ** -1.5, size)) for seed in range(4000))
    assert_covers(sum(not found.excludes(-1.5) for found in draws))


@pytest.mark.slow
@pytest.mark.parametrize(
    "relative", [[0.01, 0.05, 0.02], [0.05] * 6, [0.2, 0.1, 0.05, 0.03, 0.02, 0.01], [0.05, 0.02] * 5]
)
def test_coverage_of_limit(relative):
    size = np.array(relative)
    x = K[: len(size)]
    draws = [rates.limit(x, v, stderr=s) for v, s in (noisy(i, 2.0 + 6.0 / x + 80.0 / x**2, size) for i in range(4000))]
    assert_covers(sum(bool(abs(found.value - 2.0) <= 1.959964 * found.stderr) for found in draws))


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [(4, 5), (5, 6)])
def test_coverage_of_joint(rows, weighted):
    dim, steps = (a.ravel() for a in np.meshgrid(2.0 ** np.arange(rows[0]), K[: rows[1]]))
    size = np.resize([0.02, 0.1, 0.05, 0.2, 0.03], len(dim)) if weighted else np.full(len(dim), 0.1)
    hits = np.zeros(2, dtype=int)
    for seed in range(4000):
        values, stderr = noisy(seed, 3.0 * dim**1.3 / steps, size)
        found = rates.joint(values, stderr if weighted else None, dim=dim, steps=steps).intervals
        hits += [found["dim"][0] <= 1.3 <= found["dim"][1], found["steps"][0] <= -1.0 <= found["steps"][1]]
    for count in hits:
        assert_covers(int(count))

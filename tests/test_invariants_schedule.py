"""check_schedule: every schedule here passes, and each way to be wrong is found by the check that is for it."""

from functools import partial

import numpy as np
import pytest

from targets import ArgumentError, get
from verify import Grid
from verify.invariants import InvariantError, check_schedule, parametrize_with_schedule_checks, schedule_checks

BLIND = [
    Grid.uniform_snr,
    Grid.log_snr,
    Grid.cosine,
    Grid.linear_beta,
    Grid.scaled_linear_beta,
    Grid.karras,
    Grid.uniform_sigma,
    Grid.tangent,
]
READING = ["sqrt_slope", "entropic", "rescaled_entropic"]
OPTIMAL = [pytest.param(name, marks=pytest.mark.slow) for name in ("optimal", "recursion", "align_your_steps")]


def even(steps, *, snr):
    """Geometric, as an array: the correct one that the wrong ones are made of."""
    values = np.geomspace(snr[0], snr[1], steps + 1)
    values[[0, -1]] = snr
    return values


def found(schedule, **options):
    """Names of the checks that fail, with what they say."""
    return {c.name: said for c in schedule_checks(schedule, **options) if (said := c.finding()) is not None}


@parametrize_with_schedule_checks([*BLIND, even])
def test_schedules_in_use(check):
    check()


@pytest.mark.parametrize("name", [*READING, *OPTIMAL])
def test_schedules_that_read_the_law(name):
    build = partial(getattr(Grid, name), get("curved_mixture"))
    check_schedule(lambda steps, snr: build(steps=steps, snr=snr))


def changed(change):
    """`even` with its values changed in place."""

    def schedule(steps, *, snr):
        values = even(steps, snr=snr)
        return change(values, steps)

    return schedule


def in_place(values, where, value):
    values[where] = value
    return values


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        (lambda v, _: v[:-1], None, r"returned \(1,\) levels: expected \(2,\)"),
        (lambda v, _: v[None], None, r"returned \(1, 2\) levels"),
        (lambda v, _: in_place(v, -1, np.inf), None, "level 1 is inf"),
        (lambda _v, _k: None, None, r"returned \(\) levels|raised TypeError"),
        (
            lambda v, _: v[::-1],
            {"ascending", "ends"},
            "levels 0 and 1 have snr 100 and 0.01, not ascending",
        ),
        (lambda v, _: v * (1 + 1e-15), {"ends"}, "the first level has snr .*, off by .*e-1[56] of it: expected 0.01"),
        (lambda v, _: v**2, {"ends"}, "expected 0.01 exactly"),
        (
            lambda v, k: in_place(v, 1, v[1] if k < 2 else v[0]),
            {"ascending"},
            "levels 0 and 1 have snr 0.01[0-9]* and 0.01[0-9]*, not ascending",
        ),
        (lambda v, k: v[0] + (v - v[0]) * 0.0 + np.arange(k + 1), {"ends", "refinement"}, "off by"),
    ],
)
def test_wrong_levels(change, names, message):
    said = found(changed(change))
    assert set(said) == ({"one_step", "ascending", "ends", "deterministic", "refinement"} if names is None else names)
    with pytest.raises(InvariantError, match=message):
        check_schedule(changed(change))


def test_a_step_left_behind():
    """The first step stays as wide as it is at K = 4: ascending, ends hit, and no rate is ever reached."""

    def schedule(steps, *, snr):
        if steps < 4:
            return even(steps, snr=snr)
        quarter = float(np.exp(0.75 * np.log(snr[0]) + 0.25 * np.log(snr[1])))
        return np.append(snr[0], even(steps - 1, snr=(quarter, snr[1])))

    said = found(schedule)
    assert set(said) == {"refinement"}
    assert "expected half of it, got 1 times; steps do not fall like 1/K" in said["refinement"]


def test_jitter():
    """Levels at random: not deterministic, from whichever generator; a global one is named."""
    rng = np.random.default_rng(0)
    loose = changed(lambda v, _: np.concatenate([v[:1], v[1:-1] * (1 + 1e-7 * rng.uniform(size=len(v) - 2)), v[-1:]]))
    assert set(found(loose)) == {"deterministic"}
    assert "two calls differ by up to" in found(loose)["deterministic"]

    def wasteful(steps, *, snr):
        np.random.uniform()  # noqa: NPY002
        return even(steps, snr=snr)

    assert "global generator of numpy" in found(wasteful)["deterministic"]


def test_one_that_raises_and_one_that_never_ends():
    told = found(lambda steps, snr: steps / (snr is None))["one_step"]
    assert told.startswith(f"raised ZeroDivisionError: division by zero, at {__file__}:")
    assert told.endswith(" (1 step, snr 0.01 to 100)")

    def endless(steps, *, snr):  # noqa: ARG001
        while True:
            pass

    assert set(found(endless, seconds=0.05)) == {"one_step", "ascending", "ends", "deterministic", "refinement"}


def test_bad_input():
    with pytest.raises(ArgumentError, match="schedule = 'karras': expected a callable"):
        check_schedule("karras")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="seconds = -1: expected a number of seconds > 0"):
        check_schedule(even, seconds=-1)
    with pytest.raises(ArgumentError, match=r"schedules = .*: expected a list of schedules"):
        parametrize_with_schedule_checks(even)  # type: ignore[arg-type]

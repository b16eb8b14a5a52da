"""check_sampler on samplers that misbehave: each is found, told in words, and none stops the other checks."""

import time
from typing import Any

import pytest

from verify import samplers
from verify.audit.order import as_sampler
from verify.invariants import InvariantError, check_sampler, parametrize_with_sampler_checks, sampler_checks

DDIM = as_sampler(samplers.ddim)
DDPM = as_sampler(samplers.ddpm)
FLOW = {"order": 1, "stochastic": False}
NOISY = {"order": 1, "stochastic": True}


def finding(sampler, name, **declared):
    """What the one check says; nothing where it holds."""
    (check,) = [check for check in sampler_checks(sampler, **(FLOW | declared)) if check.name == name]
    return check.finding() or ""


def my_sampler(denoiser, grid, start, generator):  # noqa: ARG001
    """ddim as its author would write it."""
    x = start
    for here, ahead in zip(grid.levels[:-1], grid.levels[1:], strict=True):
        x = ahead.sigma / here.sigma * x + (ahead.alpha - here.alpha * ahead.sigma / here.sigma) * denoiser(x, here)
    return x


@parametrize_with_sampler_checks(
    [my_sampler], identities={"point_mass", "translation", "gauge", "constant_bias"}, like=samplers.ddim, **FLOW
)
def test_three_lines_in_a_test_file(check):
    check()


def test_ids():
    mark = parametrize_with_sampler_checks([my_sampler, DDPM], **NOISY).mark
    assert mark.kwargs["ids"][:2] == ["my_sampler-output", "my_sampler-types"]
    assert mark.kwargs["ids"][-1] == "sampler-order"
    assert len(mark.args[1]) == 2 * len(sampler_checks(DDPM, **NOISY))


def wrapped(change) -> Any:
    """ddim whose result is changed."""

    def sampler(denoiser, grid, start, generator):
        return change(my_sampler(denoiser, grid, start, generator))

    return sampler


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _x: None, "returned NoneType in place of a tensor"),
        (lambda x: x.numpy(), "returned ndarray in place of a tensor"),
        (lambda x: x.mean(-1), r"returned shape \(1,\) for states of shape \(1, 3\)"),
        (lambda x: x[None], r"returned shape \(1, 1, 3\)"),
        (lambda x: x * float("nan"), "returned nan in 3 of 3 entries"),
        (lambda x: x / 0.0, "returned -?inf in 3 of 3 entries"),
        (lambda _x: {}["sigma"], "raised KeyError: 'sigma'"),
        (lambda x: x @ x, "raised RuntimeError: .*"),
    ],
)
def test_wrong_results_fail_every_check_and_stop_none(change, message):
    """All checks run: the error counts them, and tells what is the same once."""
    sampler = wrapped(change)
    with pytest.raises(InvariantError, match=message) as caught:
        check_sampler(sampler, **FLOW)
    count = len(sampler_checks(sampler, **FLOW))
    assert f"sampler: {count} of {count} checks failed" in str(caught.value)


def test_never_ending():
    """Each check has its own limit."""

    def endless(denoiser, grid, start, generator):  # noqa: ARG001
        while True:
            start = start + 0.0

    began = time.monotonic()
    with pytest.raises(
        InvariantError,
        match=r"1 of 11 checks failed(.|\n)*still running after 0.1 s: it may never end(.|\n)*the other 10 were not run",
    ):
        check_sampler(endless, seconds=0.1, **FLOW)
    assert time.monotonic() - began < 11 * 1.0


@pytest.mark.slow
def test_one_failure_leaves_the_others():
    """NaN at one step only: what needs no single step still holds."""

    def sampler(denoiser, grid, start, generator):
        out = my_sampler(denoiser, grid, start, generator)
        return out * float("nan") if grid.steps == 1 else out

    with pytest.raises(InvariantError, match="2 of 11 checks failed") as caught:
        check_sampler(sampler, **FLOW)
    assert "one_step: returned nan" in str(caught.value)
    assert "extremes: returned nan" in str(caught.value)
    check_sampler(sampler, least=2, **FLOW)

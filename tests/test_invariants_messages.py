"""What an author is told whose sampler cannot be called, returns something else, raises, or is of too low an order."""

# ruff: noqa: ARG001, ARG005 - the signatures are what is tested

import pytest
import torch
from test_invariants_sampler import DDIM, FLOW, finding

from targets import ArgumentError
from verify import samplers
from verify.audit.order import as_sampler
from verify.invariants import check_sampler, sampler_checks


class Own:
    """A sampler that is a method."""

    def sampler(self, denoiser, grid, start, generator):
        return start


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (
            samplers.ddim,
            r"sampler = ddim\(grid.*expected a callable.*too many.*verify\.audit\.order\.as_sampler\(builder\)",
        ),
        (lambda denoiser, grid: None, r"sampler = <lambda>\(denoiser, grid\): .*\(too many positional arguments\)$"),
        (lambda denoiser, grid, start, generator, more: None, r"missing a required argument: 'more'\)$"),
        (lambda *, denoiser, grid, start, generator: None, r"too many positional arguments\)$"),
    ],
)
def test_a_wrong_signature_is_told_once_and_before_any_check(sampler, words):
    with pytest.raises(ArgumentError, match=words):
        check_sampler(sampler, **FLOW)


@pytest.mark.parametrize("sampler", [DDIM, lambda *args: args[2], lambda d, g, x, r, extra=None: x, Own().sampler])
def test_signatures_that_will_do(sampler):
    assert len(sampler_checks(sampler, **FLOW)) == 11


def test_a_table_in_place_of_states():
    found = finding(lambda denoiser, grid, start, generator: samplers.ddim(grid), "output", **FLOW)
    assert found.startswith("returned Table in place of a tensor of states; a builder of tables")


def test_an_exception_is_told_with_the_line_that_raised_it():
    """The sampler's own innermost line: not torch's, and not that of the check that called it."""

    def deeper(start):
        return torch.linalg.cholesky(start)

    def sampler(denoiser, grid, start, generator):
        return deeper(start)

    found = finding(sampler, "output", **FLOW)
    line = deeper.__code__.co_firstlineno + 1
    assert f", at {__file__}:{line} (6 steps" in found


def test_an_error_that_does_not_fall_is_told_as_such():
    def sampler(denoiser, grid, start, generator):
        return as_sampler(samplers.ddim)(denoiser, grid, start, generator) * 1.01

    found = finding(sampler, "order", **FLOW)
    assert "the error stays as steps are refined: usually the last level" in found


def test_a_method_of_lower_order_than_declared():
    found = finding(DDIM, "order", **(FLOW | {"order": 2}))
    assert "neither start-up nor step ratios; usually a coefficient of the formula is wrong" in found
    assert "the first term it does not match is of order 2 in the step" in found

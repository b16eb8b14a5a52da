"""Declared orders far too high: found, or refused where nothing could tell."""

import pytest
from test_invariants_sampler import DDIM, finding

from targets import ArgumentError
from verify import samplers
from verify.audit.order import as_sampler
from verify.invariants import sampler_checks


@pytest.mark.parametrize(
    ("order", "sampler"), [pytest.param(5, samplers.heun, marks=pytest.mark.slow), (6, samplers.ddim)]
)
def test_orders_far_too_high_are_not_let_pass(order, sampler):
    assert finding(as_sampler(sampler), "order", order=order).startswith("declared of order")


def test_orders_that_cannot_be_told_are_refused():
    with pytest.raises(ArgumentError, match="rounding"):
        sampler_checks(DDIM, order=8, stochastic=False)

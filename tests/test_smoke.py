"""The first numbers of the theory, end to end."""

import numpy as np
import pytest

from targets import Gaussian, get
from verify import Grid, kl, samplers


def test_two_points_constant():
    length = get("two_points").curve.discretisation_length()
    assert length.value == pytest.approx(2.4584056627, abs=1e-9)


def test_gaussian_optimum_at_every_k():
    low, high, lam, dim = 0.01, 500.0, 0.25, 3
    target = Gaussian(np.full(dim, 0.5), lam * np.eye(dim))
    ratio = np.log((1 + high * lam) / (1 + low * lam))
    for steps in (1, 2, 7, 64):
        table = samplers.ddpm(Grid.optimal(target, steps=steps, snr=(low, high)))
        expected = dim * steps / 2 * (np.expm1(ratio / steps) - ratio / steps)
        assert kl.path(target, table).value == pytest.approx(expected, rel=1e-12)

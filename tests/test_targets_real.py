"""Handwritten digits by the number of images: nested sets, one order, the whole set unchanged."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from targets import ArgumentError, Discrete, get
from targets.real import digits

IMAGES, LABELS = load_digits(return_X_y=True)
PIXELS = np.asarray(IMAGES) / 16.0


def rows(law):
    return {tuple(row) for row in law.atoms.tolist()}


def test_smaller_sets_lie_within_larger_ones():
    """2, 16, 1024 and all images: distinct atoms, equal weights, each set within the next."""
    laws = [digits(images=n) for n in (2, 16, 1024)] + [digits()]
    for law, n in zip(laws, (2, 16, 1024, 1797), strict=True):
        assert len(law.atoms) == len(rows(law)) == n
        np.testing.assert_allclose(law.weights.numpy(), 1.0 / n, rtol=1e-14)
        assert float(law.entropy().value) == pytest.approx(np.log(n), rel=1e-14)
    for less, more in pairwise(laws):
        assert rows(less) < rows(more)
    assert rows(laws[-1]) == {tuple(row) for row in PIXELS.tolist()}


def test_the_order_is_random_and_fixed():
    """The same sixteen images twice, of at least six kinds of digit, and not the first sixteen of the file."""
    label = {tuple(row): kind for row, kind in zip(PIXELS.tolist(), LABELS, strict=True)}
    first, again = digits(images=16), digits(images=16)
    assert torch.equal(first.atoms, again.atoms)
    assert len({label[row] for row in rows(first)}) >= 6
    assert rows(first) != {tuple(row) for row in PIXELS[:16].tolist()}


def test_projections_use_the_axes_of_all_images():
    """Five components of 32 images are those images among the projections of all."""
    few, every = get("digits", components=5, images=32), get("digits", components=5)
    assert isinstance(few, Discrete)
    assert isinstance(every, Discrete)
    assert few.atoms.shape == (32, 5)
    assert rows(few) < rows(every)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (0, "images = 0: expected an integer >= 1"),
        (1798, "images = 1798: expected at most 1797"),
        (8.0, r"images = 8\.0: expected an integer >= 1"),
        (True, "images = True: expected an integer >= 1"),
    ],
)
def test_bad_numbers_of_images(images, message):
    with pytest.raises(ArgumentError, match=message):
        get("digits", images=images)

"""check_score_model: the laws here pass, and each way for a denoiser to be wrong is found by the check that is for it."""

from typing import Any

import numpy as np
import pytest
import torch

from targets import ArgumentError, Level, get, point_mass
from verify.invariants import InvariantError, check_score_model, parametrize_with_score_model_checks, score_model_checks

PLANE = get("codebook", n=5, dim=2)
LINE = get("curved_mixture")
WINDOW = (1e-2, 1e2)
SPIN = torch.tensor([1.0, -1.0])


def found(model, target=PLANE, **options: Any):
    """Names of the checks that fail, with what they say."""
    options = {"snr": WINDOW} | options
    checks = score_model_checks(model, target, **options)
    return {c.name: said for c in checks if (said := c.finding()) is not None}


@parametrize_with_score_model_checks([LINE.denoiser], LINE, score=LINE.score, log_density=LINE.log_prob)
def test_in_a_test_file(check):
    check()


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize(
    "name", ["anisotropic_gaussian", "codebook", "rare_bit", "scale_mixture", "sphere", "low_rank_mixture"]
)
def test_laws_pass(name, process):
    law = get(name)
    check_score_model(law.denoiser, law, process=process, score=law.score, log_density=law.log_prob)


def test_without_differentiation():
    """Central differences where nothing can be differentiated, as with a denoiser in numpy."""
    numpy = lambda y, level: torch.from_numpy(PLANE.denoiser(y.detach(), level).numpy().copy())  # noqa: E731
    density = lambda y, level: torch.from_numpy(PLANE.log_prob(y.detach(), level).numpy().copy())  # noqa: E731
    assert found(numpy, log_density=density) == {}
    skew = torch.tensor([[0.0, 1e-3], [-1e-3, 0.0]], dtype=torch.float64)
    assert "jacobian" in found(lambda y, level: numpy(y, level) + level.alpha / level.sigma**2 * y @ skew)


def test_single_precision():
    """A law in float32 asks in float32; its rounding needs a tolerance."""
    law = get("gaussian", dim=3).to(dtype=torch.float32)
    assert found(law.denoiser, law, tolerance=1e-3) == {}
    assert (
        "states of torch.float32"
        in found(lambda y, level: law.denoiser(y, level).double(), law, tolerance=1e-3)["output"]
    )


def added(change):
    """The exact denoiser plus change(y, level)."""
    return lambda y, level: PLANE.denoiser(y, level) + change(y, level)


@pytest.mark.parametrize(
    ("model", "names", "message"),
    [
        (added(lambda _y, _at: 1e-3), {"exact", "tweedie", "limits"}, "off the law's denoiser by 0.00141 at snr 0.01"),
        (added(lambda y, _at: 1e-3 * y.flip(-1) * SPIN), {"exact", "tweedie", "jacobian"}, "not symmetric"),
        (added(lambda y, _at: -0.5 * y), {"exact", "tweedie", "jacobian"}, "eigenvalue -1 of its norm"),
        (added(lambda y, _at: 1e-3 * (y - y.mean(0))), {"function", "exact", "tweedie"}, "depends on which other rows"),
        (
            lambda y, at: PLANE.denoiser(y, Level(at.alpha, 1.01 * at.sigma)),
            {"exact", "tweedie"},
            "off the law's denoiser",
        ),
    ],
)
def test_wrong_denoisers(model, names, message):
    """A constant; a rotation; a contraction too strong; a batch's mean; a wrong noise level."""
    said = found(model, score=PLANE.score)
    assert names <= set(said)
    assert ("jacobian" in said) == ("jacobian" in names)
    with pytest.raises(InvariantError, match=message):
        check_score_model(model, PLANE, snr=WINDOW, score=PLANE.score)


def test_wrong_score_and_log_density():
    """σ for σ², and a density without its quadratic term."""
    wrong = lambda y, level: (level.alpha * PLANE.denoiser(y, level) - y) / level.sigma  # noqa: E731
    assert set(found(PLANE.denoiser, score=wrong)) == {"tweedie"}
    flat = lambda y, level: PLANE.log_prob(y, level) + 1e-4 * y.sum(-1)  # noqa: E731
    said = found(PLANE.denoiser, log_density=flat)
    assert "gradient of the log density" in said["tweedie"]


def test_limits():
    """Right in the middle, wrong at an end: told of which."""
    low = lambda y, level: PLANE.denoiser(y, level) + (level.snr < 0.02) * 0.1  # noqa: E731
    assert "from E X" in found(low)["limits"]
    high = lambda y, level: PLANE.denoiser(y, level) + (level.snr > 50) * 0.1  # noqa: E731
    assert "from y/α" in found(high)["limits"]


def test_a_model_that_has_seen_the_data():
    """It answers X itself where it was asked: better than any function of the state."""
    law = get("gaussian", dim=2, variance=1.0)
    source = torch.Generator().manual_seed(5)
    clean = law.sample(1024, source)

    def cheat(y, level):
        return 0.5 * (clean[: len(y)] + law.denoiser(y, level))

    said = found(cheat, law)
    assert "below the mmse at snr" in said["mmse"]
    assert "it has seen X" in said["mmse"]


def test_dropout():
    source = torch.Generator().manual_seed(0)
    own = added(lambda y, _l: 1e-9 * torch.randn(y.shape, generator=source, dtype=y.dtype))
    assert "is dropout left on?" in found(own)["function"]
    assert "global generator of torch" in found(added(lambda y, _l: 0 * torch.randn_like(y)))["function"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda _y, _l: None, "returned NoneType in place of a tensor"),
        (lambda y, _l: y[:, 0], r"returned shape \(1024,\) for states of shape \(1024, 2\)"),
        (lambda y, _l: y / 0.0, "returned -?inf"),
        (lambda y, _l: y.numpy()["x"], "raised .*"),
        (lambda y, at: PLANE.denoiser(y.mul_(1.0 + 1e-9), at), "were written to"),
    ],
)
def test_wrong_results(model, message):
    with pytest.raises(InvariantError, match=message):
        check_score_model(model, PLANE, snr=WINDOW)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"denoiser": "network"}, "denoiser = 'network': expected a callable"),
        ({"score": 3}, "score = 3: expected a callable"),
        ({"target": "codebook"}, "target = 'codebook': expected a target"),
        ({"target": point_mass([1.0])}, "expected a law that is no point mass"),
        ({"process": "ode"}, "process = 'ode': expected one of vp, ve, flow"),
        ({"snr": (1.0, 0.1)}, "snr.*: expected strictly ascending"),
        ({"snr": (1.0, 2.0, 3.0)}, "expected two values"),
        ({"tolerance": 0.0}, "tolerance = 0.0: expected a number > 0"),
        ({"seconds": np.nan}, "seconds = nan"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        check_score_model(**({"denoiser": PLANE.denoiser, "target": PLANE} | arguments))

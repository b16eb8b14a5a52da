"""What the open questions' rows lean to, their controls, and that samplers are compared at equal evaluations."""

import pytest

from targets import get
from verify import Grid, samplers
from verify.claims import questions
from verify.claims.claim import judge
from verify.claims.flow_rungs import jain_zhang, table
from verify.claims.questions import check_dimension_of_steps, check_practice, check_without_noise

CLAIMS = {claim.id: claim for claim in questions.CLAIMS}
LEANS = {
    "open/below-d-over-epsilon": "supported",
    "open/below-d-over-epsilon-reverse": "refuted",
    "open/no-noise": "refuted",
    "open/practice": "refuted",
}


@pytest.mark.slow  # make ledger runs these
@pytest.mark.parametrize("name", CLAIMS)
def test_stays_open(name):
    claim = CLAIMS[name]
    verdict = judge(claim.check(False, claim.tolerance), question=claim.open)
    assert verdict.status == "open"
    assert verdict.leaning == LEANS[name], verdict.evidence


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_leaning_in_full(name):
    claim = CLAIMS[name]
    verdict = judge(claim.check(True, claim.tolerance), question=claim.open)
    assert verdict.leaning == LEANS[name], verdict.evidence


@pytest.mark.slow  # make ledger runs these
@pytest.mark.parametrize("name", CLAIMS)
def test_control_and_contrast(name):
    claim = CLAIMS[name]
    control = judge(claim.check(False, claim.tolerance, **claim.control.change))
    assert control.status == "refuted", control.evidence
    if claim.contrast is not None:
        assert judge(claim.check(False, claim.tolerance, **claim.contrast.change)).status == "supported"


def test_equal_evaluations():
    """A predictor–corrector asks twice a level and gets half the levels; every table stops at δ."""
    stop = Grid.exponential_uniform(8, ou_time=(4.0, 1e-2)).levels[-1]
    for build, each in ((jain_zhang, 1), (samplers.ddpm, 1), (samplers.get("predictor_corrector"), 2)):
        made = questions._asking(build, 16, each)
        assert made.evaluations == 16
        assert made.stop.alpha == pytest.approx(stop.alpha, rel=1e-12)
        assert made.stop.sigma == pytest.approx(stop.sigma, rel=1e-12)
    with pytest.raises(AssertionError):
        questions._asking(samplers.heun, 16, 1)


def test_rows_name_what_they_compare():
    """No verdict in a lump: the wins and the losses are rows of their own."""
    rows = check_practice(False, 0.0)
    assert {row.status for row in rows} == {"supported", "refuted"}
    assert len({(row.family, row.quantity) for row in rows}) == len(rows) == 16
    without = {row.family: row.status for row in check_without_noise(False, 0.0)}
    assert without["scale mixture, d = 3"] == "supported"
    assert without["sphere, d = 300"] == "refuted"


def test_frozen_denoiser_needs_more_steps_with_dimension_on_spheres():
    """The frozen denoiser is no answer for every family: on spheres information grows with d and so does its K*."""
    for family in (questions.SMALL, questions.LARGE):
        row = check_dimension_of_steps(False, 0.1, cases=((family, samplers.ddpm, "path", 1, 0.1),))[0]
        assert row.status == "refuted"
        assert float(row.measured.value) == pytest.approx(1.0, abs=0.03)


def test_tables_of_one_sampler_differ_by_steps_only():
    assert table(jain_zhang, 12).steps == 12
    assert table(samplers.ei_sde, 12).steps == 12
    assert get("sphere", dim=30).dim == 30

"""The property suite for anyone's own sampler, schedule or score model, in the manner of an estimator check.

    check_sampler(sampler, order=2, stochastic=False, identities={"point_mass"})      raises InvariantError, or returns
    check_schedule(schedule)
    check_score_model(denoiser, target)

and as pytest tests, one for each check:

    @parametrize_with_sampler_checks([my_sampler], order=2, stochastic=False)
    def test_my_sampler(check):
        check()
"""

from verify.invariants.check import Check, InvariantError
from verify.invariants.sampler import check_sampler, parametrize_with_sampler_checks, sampler_checks
from verify.invariants.schedule import check_schedule, parametrize_with_schedule_checks, schedule_checks
from verify.invariants.score_model import check_score_model, parametrize_with_score_model_checks, score_model_checks

__all__ = [
    "Check",
    "InvariantError",
    "check_sampler",
    "check_schedule",
    "check_score_model",
    "parametrize_with_sampler_checks",
    "parametrize_with_schedule_checks",
    "parametrize_with_score_model_checks",
    "sampler_checks",
    "schedule_checks",
    "score_model_checks",
]

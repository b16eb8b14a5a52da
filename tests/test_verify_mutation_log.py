"""Mutation log, one by one: no coefficient of any table can be 1% off without a declared check turning red.

Every non-zero entry of state, outputs, noise and history, and of every stage that is asked its level, state and outputs;
detectors and tables are those of test_verify_mutations.py.
"""

import pytest
from test_verify_mutations import EVERY, TARGET, built, coefficients, detectors, every_builder, mutated

from verify import Grid, kl, samplers
from verify.samplers import BUILDERS


@every_builder
@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_no_coefficient_escapes(name, factor):
    """Whatever notices it; the entries that nothing noticed are listed."""
    escaped = [
        f"step {entry[0]}, {part}{list(entry)}"
        for part, entry in coefficients(name)
        if not detectors(name, mutated(built(name), part, factor, entry))
    ]
    assert not escaped, f"{name}: {escaped}"


@every_builder
def test_the_marginal_divergence_alone_misses_none(name):
    """A value that moves, with no knowledge of the method: the detector that a coefficient in print would meet."""
    escaped = []
    for part, entry in coefficients(name):
        noticed = detectors(name, mutated(built(name), part, 1.01, entry))
        if "marginal" not in noticed:
            escaped.append(f"step {entry[0]}, {part}{list(entry)}: only {sorted(noticed)}")
    assert not escaped, f"{name}: {escaped}"


@pytest.mark.parametrize("name", sorted(name for name in BUILDERS if "reverse" in built(name).method.references))
def test_the_chain_divergence_alone_misses_none(name):
    """For the methods that declare it."""
    for part, entry in coefficients(name):
        assert "chain" in detectors(name, mutated(built(name), part, 1.01, entry)), (part, entry)


COUNTS = {
    **dict.fromkeys(("ddim",), 25),
    **dict.fromkeys(("ddpm", "ei_sde", "euler_maruyama", "relative_score", "stochastic_ddim"), 30),
    **dict.fromkeys(("jain_zhang", "jain_zhang_z"), 24),
    **dict.fromkeys(("dpmpp_2m", "exponential_ab2"), 29),
    **dict.fromkeys(("heun", "dpm_solver_2", "randomised_midpoint"), 50),
    **dict.fromkeys(("edm_churn", "predictor_corrector"), 60),
    "dpm_solver_2_ancestral": 55,
    "exponential_ab3": 53,
    "rk3": 80,
    "sde_dpmpp_2m": 34,
}
"""A step of one stage: its level (2), its state, and the step's state and output; noise and history come on top."""


def test_how_many():
    """773 coefficients on five steps each, so that none is silently left out."""
    assert {name: len(coefficients(name)) for name in BUILDERS} == COUNTS
    assert len(EVERY) == 773


def test_asking_at_another_sigma_is_not_asking_at_the_state():
    """In ve every α is one; the closed forms must not take a denoiser asked at 1.5 σ for one asked at σ."""
    table = samplers.ddpm(Grid.log_snr(5, snr=(0.1, 20.0), process="ve"))
    wrong = mutated(table, "stages.0.sigma", 1.5)
    assert kl.marginal(TARGET, wrong).value > 3 * kl.marginal(TARGET, table).value
    assert not wrong.one_evaluation

"""What a method declares and its table bears out: evaluations, reference chains, the order on Gaussians; what is refused."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from targets import ArgumentError, Gaussian, Level, NotAvailableError, get
from verify import Grid, Stage, Step, Table, kl, samplers
from verify.carry import particles
from verify.oracle import ConstantBias, Exact
from verify.samplers import BUILDERS
from verify.step import REFERENCES

GRID = Grid.log_snr(4, snr=(0.2, 8.0))
EVALUATIONS: dict[str, Callable[[int], int]] = {name: lambda k: k for name in BUILDERS} | {
    "dpm_solver_2": lambda k: 2 * k,
    "dpm_solver_2_ancestral": lambda k: 2 * k,
    "edm_churn": lambda k: 2 * k,
    "exponential_ab3": lambda k: 3 * min(k, 2) + max(k - 2, 0),
    "heun": lambda k: 2 * k,
    "jain_zhang": lambda k: k - 1,
    "jain_zhang_z": lambda k: k - 1,
    "predictor_corrector": lambda k: 2 * k,
    "randomised_midpoint": lambda k: 2 * k,
    "rk3": lambda k: 3 * k,
}


@pytest.mark.parametrize("steps", [2, 3, 9])
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_evaluations(name, steps):
    """Of the whole run, as declared and as particles ask for them."""
    table, oracle = BUILDERS[name](Grid.log_snr(steps, snr=(0.1, 5.0))), Exact(get("gaussian"))
    particles.run(table, oracle, 5, seed=0)
    assert table.evaluations == EVALUATIONS[name](steps)
    assert oracle.evaluations == 5 * table.evaluations


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_references(name):
    """Declared: exactly those for which the chain KL answers on a mixture on the line, where it knows most."""
    table, answered = BUILDERS[name](Grid.log_snr(24, snr=(0.2, 9.0))), []
    refused = []
    for reference in REFERENCES:
        try:
            assert kl.chain(get("curved_mixture"), table, reference=reference).value > 0
            answered.append(reference)
        except NotAvailableError as error:
            refused.append(str(error))
    assert tuple(answered) == table.method.references
    assert all(re.search(f"chain KL .*{name}: .*; available: ", message) for message in refused)


def two_stages(noise: float) -> Table:
    here, ahead = Level(0.6, 0.8), Level(0.8, 0.6)
    return Table.from_steps(
        [Step(here, ahead, (Stage(here, 1.0, ()), Stage(ahead, 1.0, (0.1,))), 1.0, (0.1, 0.1), noise)]
    )


MIXTURE, CODEBOOK = get("curved_mixture"), get("codebook", n=4, dim=2)


@pytest.mark.parametrize(
    ("target", "table", "options", "message"),
    [
        (MIXTURE, samplers.ddim(GRID), {}, r"of ddim: a step without noise .*; available: kl.marginal, particles"),
        (
            MIXTURE,
            two_stages(0.3),
            {"oracle": ConstantBias(MIXTURE, [0.1])},
            "of custom: .*the exact oracle.*particles",
        ),
        (CODEBOOK, two_stages(0.3), {}, "on Discrete.*available here: .*of tables of one evaluation, particles"),
        (CODEBOOK, samplers.jain_zhang(GRID), {"reference": "flow+noise"}, r"on Discrete.*'reverse'\).*particles"),
    ],
)
def test_chains_that_have_no_density_or_no_closed_form(target, table, options, message):
    """A singular kernel; several evaluations with a wrong denoiser, or off the line; the flow off the line."""
    with pytest.raises(NotAvailableError, match=message):
        kl.chain(target, table, **options)


def test_several_evaluations_on_the_line():
    """They have a chain KL, and no path KL."""
    assert kl.chain(MIXTURE, two_stages(0.3)).value > 0
    with pytest.raises(NotAvailableError, match=r"path KL of custom: .*particles"):
        kl.path(MIXTURE, two_stages(0.3))


TARGETS = [Gaussian([0.5], [[0.25]]), Gaussian([0.5, -1.0], np.diag([0.3, 2.0]))]


def marginal(name: str, target: Gaussian, steps: int) -> float:
    grid = Grid.log_snr(steps, snr=(0.02, 50.0))
    return float(kl.marginal(target, BUILDERS[name](grid.beyond() if name.startswith("jain_zhang") else grid)).value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"randomised_midpoint"}))
def test_orders(name, target):
    """The exact marginal KL falls like K^{-2 order}: both last doublings, within 0.1 a unit of order."""
    order = BUILDERS[name](GRID).method.order
    values = [marginal(name, target, steps) for steps in (256, 512, 1024)]
    np.testing.assert_allclose(np.diff(np.log2(values)), -2.0 * order, rtol=0, atol=0.1 * order)


def test_order_of_randomised_midpoint():
    """One draw's slope is noise; the mean KL of 200 draws falls like K^{-3} (order 3/2).

    Each mean is known to 9%, the slope over two doublings to 0.085; fresh seeds would miss ±0.3 once in 2,000.
    """
    means = []
    for steps in (32, 128):
        grid = Grid.log_snr(steps, snr=(0.02, 50.0))
        draws = [kl.marginal(TARGETS[1], samplers.randomised_midpoint(grid, seed)).value for seed in range(200)]
        means.append(float(np.mean([float(v) for v in draws])))
    assert np.log2(means[1] / means[0]) / 2 == pytest.approx(-3.0, abs=0.3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: samplers.stochastic_ddim(GRID, 0.0),
            r"eta = 0.0: expected a number in \(0, 1\]; for eta = 0 use ddim",
        ),
        (lambda: samplers.stochastic_ddim(GRID, 1.1), r"eta = 1.1: expected a number in \(0, 1\]"),
        (lambda: samplers.stochastic_ddim(GRID, float("nan")), "eta = nan: expected"),
        (lambda: samplers.stochastic_ddim(GRID, "half"), "eta = 'half': expected"),  # type: ignore[arg-type]
        (lambda: samplers.edm_churn(GRID, 0.0), "churn = 0.0: expected a number > 0; for none use heun"),
        (lambda: samplers.randomised_midpoint(GRID, -1), "seed = -1: expected an integer >= 0"),
        (lambda: samplers.predictor_corrector(GRID, 0.0), "size = 0.0: expected a number > 0"),
        (lambda: samplers.langevin(Level(0.6, 0.8), 0), "steps = 0: expected an integer >= 1"),
        (lambda: samplers.langevin(Level(0.6, 0.8), 2, float("inf")), "size = inf: expected a number > 0"),
        (lambda: samplers.langevin(0.5, 2), "level = 0.5: expected a Level"),  # type: ignore[arg-type]
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()

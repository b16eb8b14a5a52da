"""The claims on rates and bounds of flow and noise: verdicts, controls, and every formula that their derivations use."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import root_scalar

from targets import Estimate, Gaussian, Level, NotAvailableError, get
from verify import Grid, kl, rates, samplers
from verify.claims import flow_bounds, flow_rates
from verify.claims.claim import judge
from verify.claims.flow_bounds import theorem_sides, theorem_terms
from verify.claims.flow_exponents import LAWS, check_logarithm, check_step_cost, cost, resting
from verify.claims.flow_rungs import (
    divergence,
    exponent,
    in_steps,
    jain_zhang,
    length,
    locals_of,
    overshooting,
    reach_exponent,
    steepest,
    table,
    weighted,
)
from verify.claims.mutate import off
from verify.oracle import ConstantBias, Exact, ScaleError

CLAIMS = {claim.id: claim for claim in (*flow_rates.CLAIMS, *flow_bounds.CLAIMS)}
REFUTED = {
    "jain-zhang/log-three-halves-marginal",
    "jain-zhang/noise-gives-rate",
    "jain-zhang/improves-on-benton-marginal",
    "jain-zhang/improves-on-benton-reverse",
    "jain-zhang/improves-on-benton-flow-noise",
    "jain-zhang/improves-in-d-marginal",
    "jain-zhang/improves-in-d-reverse",
    "jain-zhang/improves-in-d-flow-noise",
}


@pytest.mark.slow  # make ledger runs these
@pytest.mark.parametrize("name", CLAIMS)
def test_verdict(name):
    claim = CLAIMS[name]
    verdict = judge(claim.check(False, claim.tolerance))
    assert verdict.status == ("refuted" if name in REFUTED else "supported"), verdict.evidence


@pytest.mark.slow  # make ledger runs these
@pytest.mark.parametrize("name", CLAIMS)
def test_control_and_contrast(name):
    """The changed subject is refuted; a claim that is refuted has a subject on which its check passes."""
    claim = CLAIMS[name]
    control = judge(claim.check(False, claim.tolerance, **claim.control.change))
    assert control.status == "refuted", control.evidence
    assert (claim.contrast is not None) == (name in REFUTED)
    if claim.contrast is not None:
        contrast = judge(claim.check(False, claim.tolerance, **claim.contrast.change))
        assert contrast.status == "supported", contrast.evidence


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_verdict_in_full(name):
    claim = CLAIMS[name]
    verdict = judge(claim.check(True, claim.tolerance))
    assert verdict.status == ("refuted" if name in REFUTED else "supported"), verdict.evidence


# ---- a null direction ------------------------------------------------------------------------------------------------


def null_direction() -> Gaussian:
    return Gaussian([0.0], [[0.0]])


@pytest.mark.parametrize("each", [0.02, 0.3, 1.0])
def test_cost_of_a_step_across_a_singular_law(each):
    """g(c) from the table's own coefficients: E(flow − mean)²/(2s²), the flow being the scaling by the two widths."""
    times = 1e-9 * np.exp(-each * np.arange(3))
    grid = Grid.from_snr(1.0 / np.expm1(2.0 * times))
    made = samplers.jain_zhang(grid)
    flow = grid.sigma[2] / grid.sigma[0] * np.exp(-(times[1] - times[2]))
    expected = (flow - made.state[0]) ** 2 * grid.sigma[0] ** 2 / (2.0 * made.noise[0] ** 2)
    assert cost(each) == pytest.approx(float(expected), rel=1e-6, abs=0)
    known = kl.chain(null_direction(), made, reference="flow+noise")
    assert cost(each) == pytest.approx(float(known.value), rel=1e-6, abs=0)


@pytest.mark.parametrize("each", [0.05, 0.3])
def test_resting_marginal_of_a_singular_law(each):
    """The fixed point after so many steps that their number no longer matters, against the moments carried through them."""
    steps = math.ceil(math.log(1e13) / each)
    grid = Grid.from_snr(1.0 / np.expm1(2.0 * 1e-2 * np.exp(-each * np.arange(steps + 1))))
    known = kl.marginal(null_direction(), samplers.jain_zhang(grid.beyond()))
    assert resting(each) == pytest.approx(float(known.value), rel=1e-6, abs=0)


def test_small_steps():
    """g(c) → c³/8 and the resting KL → c²/4, each with a relative error of order c."""
    for each in (1e-2, 1e-3):
        assert cost(each) == pytest.approx(each**3 / 8.0, rel=each, abs=0)
        assert resting(each) == pytest.approx(each**2 / 4.0, rel=2.0 * each, abs=0)


def test_steps_to_reach_grow_with_three_halves_of_the_logarithm():
    """K* itself, found exactly: 8 ε² K*² = ℓ³ + const·ℓ² for one null direction."""
    law, level = LAWS["Gaussian with one null direction"](), 1e-4
    lengths, scaled = [], []
    for decade in (4, 7, 10, 13):
        window = (4.0, 10.0**-decade)

        def at(steps: int, window=window) -> Estimate:
            return divergence(law, table(jain_zhang, steps, window), "flow+noise")

        found = rates.steps_to_reach(at, level, order=2)
        assert not found.extrapolated
        lengths.append(length(window))
        scaled.append(8.0 * level * found.steps**2 / lengths[-1] ** 2)
    assert np.diff(scaled) / np.diff(lengths) == pytest.approx(np.ones(3), rel=0.02)


def test_codimension_counts():
    """Two null directions cost twice one, in every decade of δ."""
    two = Gaussian([0.5, 0.0, 0.0], np.diag([0.25, 0.0, 0.0]))
    one = LAWS["Gaussian with one null direction"]()
    each = math.log(10.0) / 8

    def decade(law) -> float:
        first, last = (
            float(divergence(law, table(jain_zhang, 4 + 8 * m, (1.0 + 4 * each, 10.0**-m)), "flow+noise").value)
            for m in (5, 6)
        )
        return (last - first) / 8

    assert decade(one) == pytest.approx(cost(each), rel=1e-4, abs=0)
    assert decade(two) == pytest.approx(2.0 * cost(each), rel=1e-4, abs=0)


@pytest.mark.parametrize("change", [{"noise": 1.01}, {"state": 0.999}, {"outputs": 1.001}])
def test_one_percent_changes_the_cost_of_a_step(change):
    build = off(jain_zhang, **change)
    assert judge(check_step_cost(False, 0.02, families=("sphere, d = 3",), build=build)).status == "refuted"


def test_logarithm_sees_one_power_more_and_one_less():
    """A schedule on which c grows along the run, and the marginal, are not taken for ℓ³."""
    names = ("Gaussian with one null direction",)

    def lopsided(steps: int, *, ou_time) -> Grid:
        start, stop = ou_time
        along = np.linspace(0.0, 1.0, steps + 1) ** 1.5
        return Grid.from_snr(1.0 / np.expm1(2.0 * start * (stop / start) ** along))

    assert judge(check_logarithm(False, 0.2, families=names)).status == "supported"
    assert judge(check_logarithm(False, 0.2, families=names, schedule=lopsided)).status == "refuted"
    assert judge(check_logarithm(False, 0.2, families=names, rung="marginal")).status == "refuted"


def test_resting_marginal_needs_short_steps():
    """e^{-c}cosh²c < 1 up to c = 1.218, where the fixed point runs off."""
    root = root_scalar(lambda c: math.exp(-c) * math.cosh(c) ** 2 - 1.0, bracket=(0.5, 2.0), xtol=1e-14).root
    assert root == pytest.approx(1.2188, abs=1e-4)
    assert resting(root - 1e-9) > 5.0
    with np.errstate(invalid="ignore"):
        assert math.isnan(resting(root + 1e-6))


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_overshoot_scales_the_cost_of_a_singular_law(share):
    """(1 + ρ)⁴/(16ρ): the controls on the logarithm are off by that factor and no more."""
    names = ("Gaussian with one null direction",)
    rows = check_logarithm(False, 0.2, families=names, build=overshooting(share))
    for row in rows[:2]:
        assert float(row.measured.value) == pytest.approx((1.0 + share) ** 4 / (16.0 * share), rel=1e-2)


def test_chain_is_inverse_in_a_small_overshoot():
    """ρ·KL → Σ (gap of the flow alone)²/(4r), the gap a difference of two scalings of N(0, 3)."""
    variance, share = 3.0, 1e-4
    made, alone = (table(overshooting(rho), 12) for rho in (share, 0.0))
    spread = made.alpha**2 * variance + made.sigma**2
    moved = alone.state + alone.outputs[:, 0] * made.alpha[:-1] * variance / spread[:-1]
    gap = (np.sqrt(spread[1:] / spread[:-1]) - moved) ** 2 * spread[:-1]
    rest = -np.diff(Grid.exponential_uniform(12, ou_time=(4.0, 1e-2)).beyond().ou_time)[1:]
    assert made.noise**2 == pytest.approx(2.0 * share * rest, rel=1e-3)
    known = kl.chain(Gaussian([0.0], [[variance]]), made, reference="flow+noise")
    assert share * float(known.value) == pytest.approx(float((gap / (4.0 * rest)).sum()), rel=2e-3)


# ---- exponents -------------------------------------------------------------------------------------------------------


def series(x, power: float, first: float, second: float) -> list[Estimate]:
    return [Estimate.exact(3.0 * v**power * (1.0 + first / v + second / v**2)) for v in x]


@pytest.mark.parametrize("power", [-2.0, -1.0, 0.0, 1.0])
def test_exponent_of_a_power_with_corrections(power):
    ladder = (16, 24, 36, 54)
    clean, bent = exponent(ladder, series(ladder, power, 0, 0)), exponent(ladder, series(ladder, power, 4, -3))
    assert float(clean.value) == pytest.approx(power, abs=1e-12)
    assert abs(float(bent.value) - power) < float(bent.error) < 0.2
    assert float(steepest(ladder, series(ladder, power, 4, -3)).value) == pytest.approx(
        max(float(e.value) for e in locals_of(ladder, series(ladder, power, 4, -3))[1]), abs=0
    )


def test_local_exponents_carry_errors():
    values = [Estimate(1.0, 0.01, 0.03, ""), Estimate(2.0, 0.0, 0.04, "")]
    middle, (slope,) = locals_of((1.0, 4.0), values)
    assert middle == pytest.approx([2.0])
    assert float(slope.value) == pytest.approx(0.5)
    assert float(slope.stderr) == pytest.approx(0.01 / math.log(4.0))
    assert float(slope.bias) == pytest.approx(0.05 / math.log(4.0))
    assert float(weighted(values[1], 3.0).bias) == pytest.approx(0.12)


def test_exponent_of_steps_to_reach():
    found = reach_exponent((10, 1000), lambda dim, steps: Estimate.exact(dim**1.5 / steps**2), 1e-2, 2)
    assert abs(float(found.value) - 0.75) < float(found.error) < 0.01


def test_exponents_know_a_second_order_from_a_first():
    assert float(in_steps(LAWS["curved mixture"](), samplers.ddpm, "path", (16, 24, 36, 54)).value) == pytest.approx(
        -1.0, abs=0.03
    )
    assert float(in_steps(LAWS["curved mixture"](), samplers.heun, "marginal", (16, 24, 36, 54)).value) < -3.8


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("spheres of radius √d", -0.006, 0.931),
        ("spheres of radius ½√d", 0.983, 0.995),
        ("spheres of radius 2√d", 0.868, 0.417),
    ],
)
def test_only_near_the_normal_law_is_the_published_step_free_of_dimension(name, ours, theirs):
    """The radius √d sets the exponent of d to zero; spheres half or twice as large do not."""
    values = [
        [flow_bounds._in_dimension_at(name, dim, made, "marginal") for dim in (30, 300)]
        for made in (jain_zhang, samplers.ei_sde)
    ]
    found = [float(locals_of((30, 300), pair)[1][0].value) for pair in values]
    assert found == pytest.approx([ours, theirs], abs=2e-3)


def test_flow_alone_has_no_chain():
    with pytest.raises(NotAvailableError, match="step without noise"):
        divergence(LAWS["curved mixture"](), table(overshooting(0.0), 8), "flow+noise")


# ---- Theorem 3.1 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ConstantBias, ScaleError])
def test_score_error_of_the_theorem(kind):
    """Tε² by drawing the state and asking the oracle's and the target's scores; the other two terms by hand."""
    target = Gaussian([1.0, -0.5], np.diag([0.3, 2.0]))
    oracle = kind(target, 0.2 * np.ones(2) if kind is ConstantBias else 0.2)
    grid = Grid.exponential_uniform(6, ou_time=(2.0, 0.05))
    generator = torch.Generator().manual_seed(3)
    clean, noise = target.sample(200_000, generator), torch.randn(200_000, 2, generator=generator, dtype=torch.float64)
    total, variance = 0.0, 0.0
    for k in range(6):
        at = Level(float(grid.alpha[k]), float(grid.sigma[k]))
        state = at.alpha * clean + at.sigma * noise
        square = (oracle.score(state, at) - Exact(target).score(state, at)).square().sum(1)
        step = float(grid.ou_time[k] - grid.ou_time[k + 1])
        total += step * float(square.mean())
        variance += (step * float(square.std()) / 200_000**0.5) ** 2
    start, steps, error = theorem_terms(target, grid, oracle)
    assert error == pytest.approx(total, abs=5.0 * math.sqrt(6.0 * variance) + 1e-9 * total)
    assert start == pytest.approx((2.0 + 1.25 + 2.3) * math.exp(-2.0), rel=1e-12)
    c = max((grid.ou_time[k] - grid.ou_time[k + 1]) / min(1.0, grid.ou_time[k]) for k in range(6))
    assert steps == pytest.approx(4.0 * c**3 * 6, rel=1e-12)
    assert theorem_terms(target, grid, None)[2] == 0.0


@pytest.mark.parametrize("decade", [2, 5])
def test_constant_of_the_score_error_is_one(decade):
    """On a point with m̂ off by a large constant KL ÷ Tε² is e^c/u: no constant below one will do, and one does."""
    each = math.log(10.0) / 24
    window = (1.0, 10.0**-decade)
    law = null_direction()
    oracle = ConstantBias(law, [1e4])
    measured, _ = theorem_sides(law, 24 * decade, window, oracle=oracle)
    error = theorem_terms(law, Grid.exponential_uniform(24 * decade, ou_time=window), oracle)[2]
    wide = -math.expm1(-each) / (1.0 - math.exp(-each) * math.cosh(each) ** 2)
    expected = math.exp(each) / wide
    assert 0.99 < expected < 1.0
    assert float(measured.value) / error == pytest.approx(expected, rel=2.0 * 10.0**-decade)


def test_left_side_starts_from_the_prior():
    """At T = 1 the prior is far from N(3e^{-1}, ·): what is left of that at δ is most of the left side."""
    law = get("gaussian", mean=3.0)
    left, _ = theorem_sides(law, 64, (1.0, 0.1))
    exact = divergence(law, table(jain_zhang, 64, (1.0, 0.1)), "marginal")
    assert float(left.value) > 100.0 * float(exact.value)


def test_right_side_is_not_trivially_large():
    """A tenth of the right side is exceeded: the bound is within ten of what is measured."""
    law = get("two_points")
    left, right = theorem_sides(law, 53, (4.0, 1e-4), oracle=ScaleError(law, 0.1))
    assert 0.9 < float(left.value) / right < 1.0

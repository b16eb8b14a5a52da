"""Oracles whose error moments are sampled: against independent draws, mismatched estimation and closed forms.

Means over 32 replicates are held against other means within 4 joint standard errors.  Where the oracle's own replicates
decide (31 degrees of freedom) that is 4e-4 false alarms a comparison at fresh seeds: about 13% for the 330 comparisons of
declared moments together, 2% for the rest; the seeds are fixed.
"""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from test_verify_oracles import LEVELS, TARGETS, excess, levels, noised

from targets import ArgumentError, Discrete, Estimate, Gaussian, GaussianMixture, Level, NotAvailableError, get
from verify import Grid, kl, samplers
from verify.carry import particles
from verify.carry.density import density
from verify.oracle import Clipped, Empirical, Rounded, ScaleError, WrongLevel, WrongWeights

ORACLES = {
    "wrong_level": lambda target, **more: WrongLevel(target, 0.3, **more),
    "clipped": lambda target, **more: Clipped(target, -0.6, 0.9, **more),
    "rounded": lambda target, **more: Rounded(target, "bfloat16", **more),
    "empirical": lambda target, **more: Empirical(target, 1 if target.dim == 1 else 3, seed=3, **more),
    "wrong_weights": lambda target, **more: WrongWeights(target, other_weights(target), **more),
}
WEIGHTED = ("two_points", "curved_mixture", "codebook_d8", "full_d2")
PAIRS = [(name, kind) for name in TARGETS for kind in ORACLES if kind != "wrong_weights" or name in WEIGHTED]


def other_weights(target) -> np.ndarray:
    given = np.arange(1.0, 1.0 + len(target.components.weights))
    return given / given.sum()


# ---- declared moments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_declared_moments_against_monte_carlo(name, kind):
    oracle = ORACLES[kind](TARGETS[name], points=512)
    for seed, at in enumerate(LEVELS):
        assert (excess(oracle, at, 50 + seed) <= 1.0).all(), (name, kind, at)


@pytest.mark.parametrize("name", ["curved_mixture", "gaussian_d8", "codebook_d8"])
@pytest.mark.parametrize("kind", ["wrong_level", "clipped", "empirical"])
def test_two_percent_more_error_is_caught(name, kind, monkeypatch):
    """The twin: asked, it errs by 2% more than it declared."""
    at = LEVELS[1]
    oracle = ORACLES[kind](TARGETS[name], points=4096)
    oracle.moments(*levels(at))
    honest = type(oracle).error
    monkeypatch.setattr(type(oracle), "error", lambda *given: 1.02 * honest(*given))
    assert (excess(oracle, at, 60, 200_000) > 1.0).any()


def test_replicates_scatter_as_their_error_says():
    """24 seeds of one oracle: the spread of E‖ε‖² over the mean standard error is within 0.6 … 1.5 (chi, 2e-3)."""
    target, at = TARGETS["codebook_d8"], LEVELS[1]
    found = [WrongLevel(target, 0.3, seed=seed).moments(*levels(at)).square[:, 0] for seed in range(24)]
    estimates = [Estimate.jackknife(rows, 0.0, "") for rows in found]
    spread = np.std([float(e.value) for e in estimates], ddof=1)
    assert 0.6 < spread / np.mean([float(e.stderr) for e in estimates]) < 1.5


def test_scale_error_has_the_curve_s_own_replicates():
    """On a sampled curve its rows are those of the curve, and path's standard error adds them row by row."""
    target, table = TARGETS["codebook_d8"], samplers.ddpm(Grid.log_snr(6, snr=(0.05, 20.0)))
    moments = ScaleError(target, 0.5).moments(table.alpha[:-1], table.sigma[:-1])
    rows = target.curve.mmse_rows(table.snr[:-1])
    assert moments.draws == 0
    np.testing.assert_allclose(moments.square, 0.25 * (target.second_moment - rows), rtol=1e-12)
    plain, loud = (kl.path(target, table, oracle=ScaleError(target, c)) for c in (0.0, 0.5))
    steps = 0.5 * np.diff(table.snr) @ moments.square.T
    frozen = target.curve.over_steps(table.snr)
    own = frozen.sum(0.5 * (table.snr[frozen.step + 1] - frozen.snr)).sum(1)
    expected = Estimate.jackknife(own + steps, 0.0, "")
    assert loud.stderr == pytest.approx(float(expected.stderr), rel=1e-9)
    assert loud.stderr != pytest.approx(
        float(np.hypot(plain.stderr, Estimate.jackknife(steps, 0.0, "").stderr)), rel=1e-2
    )


def test_path_carries_the_oracle_s_standard_error():
    """More draws, less error; on an exact curve all of it is the oracle's, and 24 seeds scatter by it."""
    target, table = TARGETS["curved_mixture"], samplers.ddpm(Grid.log_snr(6, snr=(0.05, 20.0)))
    found = [kl.path(target, table, oracle=WrongLevel(target, 0.4, seed=seed, points=16)) for seed in range(24)]
    spread = np.std([float(e.value) for e in found], ddof=1)
    assert float(kl.path(target, table).stderr) == 0.0
    assert 0.6 < spread / np.mean([float(e.stderr) for e in found]) < 1.5
    assert "512 draws" in found[0].method


# ---- mismatched estimation: a second path on the line ----------------------------------------------------------------


def divergence(target, model, snr: float) -> float:
    """KL(p_γ ‖ q_γ) of X + Z/√γ by the trapezoidal rule on the closed-form densities."""
    at = Level(1.0, snr**-0.5)
    x = torch.arange(-8.0, 9.0, 0.004 * min(1.0, at.sigma / 0.2), dtype=torch.float64)[:, None] * (1.0 + 2 * at.sigma)
    p, q = target.log_prob(x, at), model.log_prob(x, at)
    return float((p.exp() * (p - q) * (x[1, 0] - x[0, 0])).sum())


MISMATCHED = {
    "empirical": lambda: Empirical(get("curved_mixture"), 6, seed=1, points=1024),
    "weights": lambda: WrongWeights(get("curved_mixture"), [0.1, 0.6, 0.3], points=1024),
    "points": lambda: WrongWeights(get("two_points"), [0.2, 0.8], points=1024),
    "one_atom": lambda: Empirical(get("two_points", p=0.3), 1, seed=0, points=1024),
}


@pytest.mark.parametrize("kind", MISMATCHED)
@pytest.mark.parametrize("factor", [1.0, 1.15])
def test_half_the_integrated_error_is_the_growth_of_the_divergence(kind, factor):
    """½∫E‖ε‖²dγ over [0.05, 10] against KL at both ends (Verdú): nothing shared but the densities; 15% more is refuted."""
    oracle = MISMATCHED[kind]()
    node, weight = leggauss(24)
    low, high = math.log(0.05), math.log(10.0)
    snr = np.exp(low + 0.5 * (high - low) * (1.0 + node))
    square = oracle.moments(np.ones_like(snr), snr**-0.5).square
    grown = Estimate.jackknife(0.5 * square @ (0.5 * (high - low) * weight * snr), 0.0, "")
    expected = factor * (divergence(oracle.target, oracle.model, 10.0) - divergence(oracle.target, oracle.model, 0.05))
    assert (abs(float(grown.value) - expected) <= 4 * float(grown.stderr) + 1e-9) == (factor == 1.0)


# ---- closed forms ----------------------------------------------------------------------------------------------------


def linear_moments(law: Gaussian, at: Level, shift: float) -> np.ndarray:
    """E‖ε‖², E⟨y, ε⟩, E⟨m, ε⟩ of WrongLevel on N(μ, diag λ), whose denoisers are μ + αλ/(α²λ + σ²)(y − αμ)."""
    lam = law.variances.numpy()
    total = at.alpha**2 * lam + at.sigma**2
    told = at.alpha**2 * lam + at.sigma**2 * math.exp(-shift)
    gain, off = at.alpha * lam / total, at.alpha * lam / told - at.alpha * lam / total
    return np.array([(off**2 * total).sum(), (off * total).sum(), (gain * off * total).sum()])


@pytest.mark.parametrize("shift", [-0.7, 0.4])
def test_wrong_level_on_a_gaussian(shift):
    """All three moments at every level; with the shift's sign changed all three are refuted."""
    law = TARGETS["gaussian_d8"]
    for at in LEVELS:
        moments = WrongLevel(law, shift, points=1024).moments(*levels(at))
        for declared, right, wrong in zip(
            moments.need_all("test"), linear_moments(law, at, shift), linear_moments(law, at, -shift), strict=True
        ):
            found = Estimate.jackknife(declared[:, 0], 0.0, "")
            assert abs(float(found.value) - right) <= 4 * float(found.stderr)
            assert abs(float(found.value) - wrong) > 4 * float(found.stderr)


def test_errors_are_what_their_formulas_say():
    """Pointwise, to rounding: the level told, the bounds, the formats, the models; in vp, ve and flow."""
    target = TARGETS["codebook_d8"]
    for at in LEVELS:
        y = noised(target, at, 0)[1][:200]
        exact = target.denoiser(y, at)
        told = target.denoiser(y, Level(at.alpha, at.sigma * math.exp(-0.15)))
        assert torch.allclose(WrongLevel(target, 0.3).denoiser(y, at), told, atol=1e-13)
        assert Level(at.alpha, at.sigma * math.exp(-0.15)).logsnr == pytest.approx(at.logsnr + 0.3)
        assert torch.allclose(Clipped(target, -0.4, 0.6).denoiser(y, at), exact.clamp(-0.4, 0.6), atol=1e-14)
        half = target.denoiser(y.half().double(), at).half().double()
        assert torch.allclose(Rounded(target, "float16").denoiser(y, at), half, atol=1e-15)
    model, drawn = Empirical(target, 5, seed=2).model, Empirical(TARGETS["curved_mixture"], 7, seed=2).model
    assert isinstance(model, Discrete)
    assert isinstance(drawn, Discrete)
    assert (len(model.atoms), len(drawn.atoms)) == (5, 7)
    assert isinstance(target, Discrete)
    atoms = target.atoms.tolist()
    chosen = [atoms.index(atom) for atom in model.atoms.tolist()]
    expected = target.weights[chosen] / target.weights[chosen].sum()
    assert torch.allclose(model.weights, expected)


def test_all_atoms_or_the_same_weights_are_no_error():
    target, at = TARGETS["codebook_d8"], LEVELS[1]
    for oracle in (Empirical(target, 32, seed=0), WrongWeights(target, target.weights), WrongLevel(target, 0.0)):
        assert float(oracle.moments(*levels(at)).square[0, 0]) < 1e-25


@pytest.mark.parametrize("kind", ["wrong_level", "clipped", "empirical", "wrong_weights"])
@pytest.mark.parametrize("name", ["curved_mixture", "codebook_d8"])
def test_jacobians_against_central_differences(name, kind):
    oracle, at = ORACLES[kind](TARGETS[name]), LEVELS[0]
    y = noised(oracle.target, at, 1)[1][:20]
    step = 1e-5 * torch.eye(oracle.target.dim, dtype=torch.float64)
    ends = [oracle.denoiser(y[:, None] + sign * step, at) for sign in (1.0, -1.0)]
    assert torch.allclose(oracle.jacobian(y, at), ((ends[0] - ends[1]) / 2e-5).mT, atol=1e-7)


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 2.0**-24), ("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_rounding_has_the_size_of_its_format(dtype, eps):
    """√(E‖ε‖²/E‖X‖²) within a factor of four of half a unit in the last place; zero on atoms that the format holds."""
    target = TARGETS["gaussian_d8"]
    square = Rounded(target, dtype).moments(*levels(Level.from_snr(1.0))).square[0, 0]
    assert 0.25 < math.sqrt(square / target.second_moment) / eps < 1.2
    for moment in Rounded(get("two_points"), dtype).moments(*levels(Level.from_snr(1e4))).need_all("test"):
        assert (np.abs(moment) < 1e-15).all()


# ---- divergences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("name", ["curved_mixture", "codebook_d8"])
def test_path_and_chain_against_simulation(name, kind):
    """ddpm, ei_sde and euler_maruyama on both rungs, jain_zhang on one, from the prior: 4 joint standard errors."""
    target, grid = TARGETS[name], Grid.from_snr(1.0 / np.expm1(2.0 * np.array([1.2, 0.6, 0.3, 0.15])))
    oracle = ORACLES[kind](target, points=512)
    for builder in (samplers.ddpm, samplers.ei_sde, samplers.euler_maruyama, samplers.jain_zhang):
        table = builder(grid)
        rungs = [(kl.simulated_chain, kl.chain), (kl.simulated_path, kl.path)]
        for simulate, closed in rungs[: 1 if builder is samplers.jain_zhang else 2]:
            more = {"start": "prior", "oracle": oracle}
            found = simulate(target, table, n=16_384, generator=torch.Generator().manual_seed(7), **more)
            expected = closed(target, table, **more)
            apart = abs(float(found.value) - float(expected.value))
            assert apart <= 4 * np.hypot(float(found.stderr), float(expected.stderr)), (builder, found, expected)


@pytest.mark.parametrize("kind", ["wrong_level", "clipped", "empirical", "wrong_weights"])
@pytest.mark.parametrize("sampler", ["ddpm", "ei_sde"])
def test_line_density_against_particles(sampler, kind):
    """E x, E x², E cos 2x of the carried law; told apart from the exact denoiser's law by the same means."""
    target = get("curved_mixture")
    table, oracle = samplers.get(sampler)(Grid.exponential_uniform(10, ou_time=(2.0, 0.1))), ORACLES[kind](target)
    carried = density(table, oracle)[1]
    drawn = particles.run(table, oracle, 100_000, seed=5).numpy()[:, 0]
    plain = particles.run(table, ScaleError(target, 0.0), 100_000, seed=5).numpy()[:, 0]
    apart = []
    for function in (lambda x: x, np.square, lambda x: np.cos(2.0 * x)):
        mean = np.exp(carried.log_q) * carried.weight @ function(carried.points)
        allowed = 4 * function(drawn).std() / math.sqrt(len(drawn))
        assert abs(mean - function(drawn).mean()) <= allowed
        apart.append(abs(mean - function(plain).mean()) > allowed)
    assert any(apart)


@pytest.mark.parametrize(("sampler", "steps"), [("ei_sde", 64), ("stochastic_ddim", 4)])
def test_a_kink_is_charged(sampler, steps):
    """Two cases in which two resolutions agreed by chance on a clipped denoiser: the bias covers the finest of five."""
    target = get("two_points")
    oracle, table = (
        Clipped(target, -0.99, 0.9),
        samplers.get(sampler)(Grid.exponential_uniform(steps, ou_time=(3.0, 0.05))),
    )
    found = kl.marginal(target, table, oracle=oracle)
    finer = density(table, oracle, "exact", (6.3,))[1].divergence
    last_two = [law.divergence for law in density(table, oracle, "exact", (1.6, 2.4))]
    assert abs(float(found.value) - finer) <= float(found.bias)
    assert abs(float(found.value) - finer) > 3 * abs(last_two[1] - last_two[0])


# ---- refusals --------------------------------------------------------------------------------------------------------

LINE = get("two_points")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WrongLevel(LINE, math.nan), "shift = nan: expected a finite number"),
        (lambda: WrongLevel(LINE, 0.1, points=1), "points = 1: expected an integer >= 2"),
        (lambda: WrongLevel(LINE, 0.1, seed=-1), "seed = -1: expected an integer >= 0"),
        (lambda: Clipped(LINE, math.inf), "low = inf: expected a finite number"),
        (lambda: Clipped(LINE, 1.0, 1.0), "high = 1.0: expected a finite number > low"),
        (lambda: Rounded(LINE, "float8"), "dtype = 'float8': expected one of .*did you mean 'float"),
        (lambda: Empirical(LINE, 3, seed=0), "count = 3: expected at most 2, the number of the target's atoms"),
        (lambda: Empirical(LINE, 0, seed=0), "count = 0: expected an integer >= 1"),
        (lambda: Empirical(LINE, 1, seed=-1), "seed = -1: expected an integer >= 0"),
        (lambda: WrongWeights(LINE, [0.5, 0.6]), "sum of weights = 1.1: expected a sum of 1"),
        (lambda: WrongWeights(LINE, [1.0]), r"weights.shape = \(1,\): expected shape \(2\)"),
        (lambda: WrongWeights(get("gaussian"), [1.0]), "target = Gaussian.*: expected a GaussianMixture or a Discrete"),
    ],
)
def test_oracle_parameters(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


def test_a_rounded_denoiser_has_no_derivative_and_a_range():
    target, table = get("curved_mixture"), samplers.ddpm(Grid.log_snr(4, snr=(0.05, 20.0)))
    with pytest.raises(NotAvailableError, match=r"rounded to float16.*available: particles, kl.path"):
        kl.marginal(target, table, oracle=Rounded(target, "float16"))
    far = Level(1.0, 1e6)
    with pytest.raises(NotAvailableError, match=r"state of size .*: beyond float16, whose largest number is 65504"):
        Rounded(target, "float16").moments(*levels(far))
    assert Rounded(target, "bfloat16").moments(*levels(far)).square[0, 0] >= 0


@pytest.mark.parametrize("name", ["curved_mixture", "full_d2", "low_rank", "diagonal", "tied", "turned"])
def test_reweighting_keeps_the_components(name):
    """With its own weights the model is the target, in every structure of covariance."""
    extra = {
        "low_rank": lambda: get("low_rank_mixture", dim=6),
        "diagonal": lambda: GaussianMixture.diagonal([0.4, 0.6], [[0.0, 1.0], [1.0, 1.0]], [[0.2, 0.3], [0.1, 0.4]]),
        "tied": lambda: GaussianMixture.isotropic([0.4, 0.6], [[0.0, 1.0], [1.0, 1.0]], 0.3),
        "turned": lambda: GaussianMixture.shared([0.4, 0.6], [[0.0, 1.0], [1.0, 1.0]], [[0.5, 0.2], [0.2, 0.3]]),
    }
    target, at = extra[name]() if name in extra else TARGETS[name], LEVELS[2]
    model = WrongWeights(target, target.components.weights).model
    y = noised(target, at, 0)[1][:100]
    assert torch.allclose(model.denoiser(y, at), target.denoiser(y, at), atol=1e-12)
    assert torch.allclose(model.log_prob(y, at), target.log_prob(y, at), atol=1e-11)

"""Oracles: the declared error moments against Monte Carlo, the counter, and the sizes that were asked for.

Every statistical check allows 4 standard errors (6e-5 false alarms each at fresh seeds; about 280 comparisons here, so
1.8% for the file if seeds were redrawn; they are fixed).  Oracles whose moments are sampled: test_verify_oracles_sampled.py.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from targets import ArgumentError, Embedded, Estimate, GaussianMixture, Level, NotAvailableError, Product, Rotated, get
from verify import Grid, kl, samplers
from verify.carry import particles
from verify.oracle import ConstantBias, ErrorMoments, Exact, Oracle, RandomField, ScaleError

TARGETS = {
    "two_points": get("two_points", p=0.3),
    "curved_mixture": get("curved_mixture"),
    "gaussian_d8": get("anisotropic_gaussian", dim=8),
    "codebook_d8": get("codebook", n=32, dim=8),
    "product": Product([get("two_points"), get("curved_mixture"), get("curved_mixture"), get("gaussian", dim=2)]),
    "embedded": Embedded(get("curved_mixture"), 4),
    "rotated": Rotated(get("anisotropic_gaussian", dim=2), [[0.6, -0.8], [0.8, 0.6]]),
    "full_d2": GaussianMixture(
        [0.4, 0.6], [[0.0, 1.0], [1.0, -1.0]], [[[0.5, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.9]]]
    ),
}
LEVELS = [Level.from_snr(0.05), Level.from_snr(1.0, "ve"), Level.from_snr(20.0, "flow")]
DRAWS = 40_000

ORACLES = {
    "constant_bias": lambda target: ConstantBias(target, np.linspace(0.5, -0.2, target.dim)),
    "scale_error": lambda target: ScaleError(target, 0.15),
    "random_field": lambda target: RandomField(target, 0.4, seed=5),
    "rough_field": lambda target: RandomField(target, lambda snr: 0.1 + snr, seed=6, features=3, roughness=3.0),
}


def levels(*chosen: Level) -> tuple[np.ndarray, np.ndarray]:
    return np.array([at.alpha for at in chosen]), np.array([at.sigma for at in chosen])


def noised(target, at: Level, seed: int, draws: int = DRAWS) -> tuple[Tensor, Tensor]:
    """(X, αX + σZ)."""
    generator = torch.Generator().manual_seed(seed)
    clean = target.sample(draws, generator)
    return clean, at.alpha * clean + at.sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def simulated(oracle: Oracle, at: Level, seed: int, draws: int) -> np.ndarray:
    """[(mean, standard error)] of ‖ε‖², ⟨y, ε⟩, ⟨m, ε⟩ with ε = m̂ − m asked of the denoisers: shape (3, 2)."""
    _, y = noised(oracle.target, at, seed, draws)
    exact = oracle.target.denoiser(y, at)
    error = oracle.denoiser(y, at) - exact
    rows = torch.stack([error.square().sum(-1), (y * error).sum(-1), (exact * error).sum(-1)])
    return torch.stack([rows.mean(1), rows.std(1) / draws**0.5], 1).numpy()


def excess(oracle: Oracle, at: Level, seed: int, draws: int = DRAWS) -> np.ndarray:
    """|declared − simulated| in units of the allowed half-width, for the three moments."""
    declared = [
        Estimate.jackknife(moment, 0.0, "") for moment in oracle.moments(*levels(at)).need_all("declared moments")
    ]
    value, own = np.array([[float(np.ravel(d.value)[0]), float(np.ravel(d.stderr)[0])] for d in declared]).T
    measured = simulated(oracle, at, seed, draws)
    allowed = 4.0 * np.hypot(measured[:, 1], own) + 1e-12 * np.abs(value)
    return np.abs(value - measured[:, 0]) / allowed


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in TARGETS for kind in ORACLES if (name, kind) != ("full_d2", "scale_error")],
)
def test_declared_moments_against_monte_carlo(name, kind):
    oracle = ORACLES[kind](TARGETS[name])
    for seed, at in enumerate(LEVELS):
        assert (excess(oracle, at, seed) <= 1.0).all(), (name, kind, at)


class Louder(RandomField):
    """The twin: 2% more error than declared."""

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return 1.02 * super().error(y, denoised, at)


class Tilted(ScaleError):
    """The twin: the error of a scale 2% larger than declared."""

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return 1.02 * super().error(y, denoised, at)


class Biased(ConstantBias):
    """The twin: 1% more bias than declared."""

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return 1.01 * self.bias


@pytest.mark.parametrize("name", ["two_points", "gaussian_d8", "codebook_d8"])
@pytest.mark.parametrize(
    "twin",
    [lambda t: Louder(t, 0.4, seed=5), lambda t: Tilted(t, 0.15), lambda t: Biased(t, np.linspace(0.5, -0.2, t.dim))],
    ids=["field", "scale", "bias"],
)
def test_a_mutated_oracle_fails(name, twin):
    """An error 1–2% off its declaration is caught at every level above snr 1."""
    oracle = twin(TARGETS[name])
    for seed, at in enumerate(LEVELS[1:]):
        assert (excess(oracle, at, seed) > 1.0).any()


@pytest.mark.parametrize("name", TARGETS)
def test_random_field_has_the_size_asked_for(name):
    """E‖ε‖² as declared is `size` at each level, for a float and for a function of snr; Monte Carlo is above."""
    at = levels(*LEVELS)
    flat = RandomField(TARGETS[name], 0.25, seed=1).moments(*at).square
    np.testing.assert_allclose(flat, 0.25, rtol=1e-12)
    sloped = RandomField(TARGETS[name], lambda snr: 0.1 / (1 + snr), seed=1).moments(*at).square
    np.testing.assert_allclose(sloped, [[0.1 / (1 + level.snr) for level in LEVELS]], rtol=1e-12)
    silent = RandomField(TARGETS[name], 0.0, seed=1).moments(*at)
    assert all((np.asarray(moment) == 0).all() for moment in silent.need_all("test"))


def test_random_field_is_fixed_by_its_seed():
    target, at = TARGETS["codebook_d8"], LEVELS[0]
    _, y = noised(target, at, 0)
    same = [RandomField(target, 0.3, seed=2).denoiser(y[:50], at) for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], RandomField(target, 0.3, seed=3).denoiser(y[:50], at))


def test_errors_are_what_their_formulas_say():
    """m̂ − m for the three oracles, pointwise; the score error is (α/σ²)ε."""
    target, at = TARGETS["product"], LEVELS[1]
    _, y = noised(target, at, 0)
    y, exact = y[:200], target.denoiser(y[:200], at)
    bias = np.linspace(1.0, 2.0, target.dim)
    assert torch.allclose(ConstantBias(target, bias).denoiser(y, at) - exact, torch.as_tensor(bias), atol=1e-13)
    assert torch.allclose(ScaleError(target, -0.2).denoiser(y, at), 0.8 * exact, atol=1e-13)
    for oracle in (ScaleError(target, -0.2), RandomField(target, 0.1, seed=0)):
        error = oracle.denoiser(y, at) - exact
        score_error = oracle.score(y, at) - target.score(y, at)
        assert torch.allclose(score_error, at.alpha / at.sigma**2 * error, atol=1e-12)


def test_exact_oracle_is_the_denoiser_and_declares_nothing():
    target, at = TARGETS["curved_mixture"], LEVELS[2]
    _, y = noised(target, at, 0)
    assert torch.equal(Exact(target).denoiser(y, at), target.denoiser(y, at))
    assert torch.equal(Exact(target).score(y, at), target.score(y, at))
    for moment in Exact(target).moments(*levels(*LEVELS)).need_all("test"):
        assert (moment == 0).all()
        assert moment.shape == (1, len(LEVELS))


def test_evaluation_counter():
    """Rows asked for, over any leading shape, by denoiser and score alike; n·K in a run, the same with a trajectory."""
    target, at = TARGETS["two_points"], LEVELS[0]
    oracle = ScaleError(target, 0.1)
    oracle.denoiser(torch.zeros(3, 5, 1, dtype=torch.float64), at)
    assert oracle.evaluations == 15
    oracle.score(torch.zeros(1, dtype=torch.float64), at)
    assert oracle.evaluations == 16
    table = samplers.ddpm(Grid.log_snr(7, snr=(0.01, 10.0)))
    for trajectory in (False, True):
        counted = Exact(target)
        particles.run(table, counted, 5000, seed=0, trajectory=trajectory)
        assert counted.evaluations == 5000 * 7


def test_loss_is_mmse_plus_square():
    """E‖X − m̂‖² by Monte Carlo = mmse + E‖ε‖² (the tower rule), 4 standard errors."""
    for name in ("curved_mixture", "gaussian_d8"):
        target, at = TARGETS[name], LEVELS[1]
        for seed, build in enumerate(ORACLES.values()):
            oracle = build(target)
            clean, y = noised(target, at, seed)
            loss = (clean - oracle.denoiser(y, at)).square().sum(-1)
            expected = float(target.mmse(at.snr).value) + float(oracle.moments(*levels(at)).square[0, 0])
            assert abs(float(loss.mean()) - expected) <= 4 * float(loss.std()) / DRAWS**0.5


# ---- path KL with a wrong denoiser: the Girsanov integral by Monte Carlo ----------------------------------------

SDE = {"ddpm": samplers.ddpm, "ei_sde": samplers.ei_sde, "euler_maruyama": samplers.euler_maruyama}
PATH_TARGETS = {name: TARGETS[name] for name in ("curved_mixture", "gaussian_d8", "codebook_d8")}
PERTURBED = {
    "bias": lambda target: ConstantBias(target, np.linspace(0.4, -0.3, target.dim)),
    "scale": lambda target: ScaleError(target, 0.3),
    "field": lambda target: RandomField(target, lambda snr: 1.0 / (1.0 + snr), seed=3),
}


def ou_grid(*times: float) -> Grid:
    return Grid.from_snr(1.0 / np.expm1(2.0 * np.array(times)))


class WithoutCross(RandomField):
    """The twin: declares no correlation with the state and the denoiser."""

    def moments(self, alpha, sigma):
        zero = np.zeros(len(alpha))
        return ErrorMoments(super().moments(alpha, sigma).square, zero, zero)


def girsanov(name, oracle, times, seed=0) -> Estimate:
    generator = torch.Generator().manual_seed(seed)
    return kl.simulated_path(oracle.target, SDE[name](ou_grid(*times)), n=120_000, generator=generator, oracle=oracle)


@pytest.mark.parametrize("name", SDE)
@pytest.mark.parametrize("kind", PERTURBED)
@pytest.mark.parametrize("target", PATH_TARGETS)
def test_perturbed_oracles_against_monte_carlo(name, kind, target):
    """Within 4 standard errors of 32 replicates (4e-4 each, 27 comparisons: 1% false alarms over fresh seeds)."""
    oracle, times = PERTURBED[kind](PATH_TARGETS[target]), (1.0, 0.5, 0.2)
    mean = girsanov(name, oracle, times)
    got = kl.path(oracle.target, SDE[name](ou_grid(*times)), oracle=oracle)
    assert abs(float(got.value) - float(mean.value)) <= 4 * np.hypot(float(mean.stderr), float(got.stderr))


@pytest.mark.parametrize("name", ["ei_sde", "euler_maruyama"])
def test_dropping_the_cross_terms_fails(name):
    """The twin of the check above: with E⟨y, ε⟩ and E⟨m, ε⟩ set to zero the formula misses by more than 4 errors."""
    target, times = TARGETS["curved_mixture"], (1.0, 0.5, 0.2)
    oracle = WithoutCross(target, lambda snr: 1.0 / (1.0 + snr), seed=3)
    mean = girsanov(name, oracle, times)
    got = kl.path(target, SDE[name](ou_grid(*times)), oracle=oracle)
    assert abs(float(got.value) - float(mean.value)) > 4 * float(mean.stderr)


@pytest.mark.parametrize("start", ["moment", "prior"])
@pytest.mark.parametrize("target", PATH_TARGETS)
def test_simulated_starts(target, start):
    """Both simulations from other starts against the closed forms with the start's KL, at OU time 0.4: 12 comparisons."""
    law, table = PATH_TARGETS[target], samplers.ddpm(ou_grid(0.4, 0.2))
    cost = float(kl.path(law, table, start=start).value) - float(kl.path(law, table).value)
    for simulate, closed in ((kl.simulated_path, kl.path), (kl.simulated_chain, kl.chain)):
        found = simulate(law, table, n=60_000, generator=torch.Generator().manual_seed(1), start=start)
        expected = closed(law, table, start=start)
        allowed = 4 * np.hypot(float(found.stderr), float(expected.stderr))
        assert abs(float(found.value) - float(expected.value)) <= allowed < cost


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_a_constant_bias_raises_path_by_half_its_square_times_the_range(name, steps):
    """½‖b‖²(γ_K − γ_0), any target, any K: 1e-10 relative."""
    target, table = TARGETS[name], samplers.ddpm(Grid.karras(steps, snr=(0.02, 40.0)))
    bias = np.linspace(1.0, 2.0, target.dim)
    rise = float(kl.path(target, table, oracle=ConstantBias(target, bias)).value) - float(kl.path(target, table).value)
    assert rise == pytest.approx(0.5 * bias @ bias * (40.0 - 0.02), rel=1e-10, abs=0)


@pytest.mark.parametrize("name", SDE)
def test_parts_add_up_to_path(name):
    """Initialisation, discretisation, oracle and cross terms, the last zero for ddpm alone."""
    target, table = TARGETS["curved_mixture"], SDE[name](ou_grid(1.5, 0.7, 0.2))
    oracle = ScaleError(target, 0.3)
    parts = kl.parts(target, table, start="prior", oracle=oracle)
    whole = kl.path(target, table, start="prior", oracle=oracle)
    assert sum(float(part.value) for part in parts.values()) == pytest.approx(float(whole.value), rel=1e-12)
    assert (float(parts["cross"].value) == 0) == (name == "ddpm")


def test_simulated_path_arguments():
    target, generator = TARGETS["curved_mixture"], torch.Generator().manual_seed(0)
    table = samplers.ddpm(ou_grid(0.4, 0.2))
    with pytest.raises(ArgumentError, match="n = 31: expected an integer >= 32"):
        kl.simulated_path(target, table, n=31, generator=generator)
    with pytest.raises(ArgumentError, match=r"start = 'priors': expected one of .*did you mean 'prior'"):
        kl.simulated_path(target, table, n=64, generator=generator, start="priors")
    with pytest.raises(NotAvailableError, match=r"simulated path KL of jain_zhang.*available: kl.simulated_chain"):
        kl.simulated_path(target, samplers.jain_zhang(ou_grid(0.4, 0.3, 0.2)), n=64, generator=generator)

"""Oracles: the declared error moments against Monte Carlo, the counter, and the sizes that were asked for.

Every statistical check allows 4 standard errors (6e-5 false alarms each at fresh seeds; about 280 comparisons here, so
1.8% for the file if seeds were redrawn; they are fixed).
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from targets import Embedded, GaussianMixture, Level, Product, Rotated, get
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


def noised(target, at: Level, seed: int) -> tuple[Tensor, Tensor]:
    """(X, αX + σZ)."""
    generator = torch.Generator().manual_seed(seed)
    clean = target.sample(DRAWS, generator)
    return clean, at.alpha * clean + at.sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def simulated(oracle: Oracle, at: Level, seed: int) -> np.ndarray:
    """[(mean, standard error)] of ‖ε‖², ⟨y, ε⟩, ⟨m, ε⟩ with ε = m̂ − m asked of the denoisers: shape (3, 2)."""
    _, y = noised(oracle.target, at, seed)
    exact = oracle.target.denoiser(y, at)
    error = oracle.denoiser(y, at) - exact
    rows = torch.stack([error.square().sum(-1), (y * error).sum(-1), (exact * error).sum(-1)])
    return torch.stack([rows.mean(1), rows.std(1) / DRAWS**0.5], 1).numpy()


def excess(oracle: Oracle, at: Level, seed: int) -> np.ndarray:
    """|declared − simulated| in units of the allowed half-width, for the three moments."""
    moments = oracle.moments(*levels(at)).need_all("test")
    declared = np.array([moment[0] for moment in moments])
    measured = simulated(oracle, at, seed)
    scale = abs(oracle.scale) if isinstance(oracle, ScaleError) else 0.0
    curve = float(oracle.target.mmse(at.snr).stderr) if scale else 0.0
    own = np.array([scale**2 * curve, 0.0, scale * curve])
    allowed = 4.0 * np.hypot(measured[:, 1], own) + 1e-12 * np.abs(declared)
    return np.abs(declared - measured[:, 0]) / allowed


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
    np.testing.assert_allclose(sloped, [0.1 / (1 + level.snr) for level in LEVELS], rtol=1e-12)
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
        assert moment.shape == (len(LEVELS),)


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
            expected = float(target.mmse(at.snr).value) + float(oracle.moments(*levels(at)).square[0])
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


def simulated_girsanov(name, oracle, times, chains=20_000, points=6, seed=0) -> tuple[float, float]:
    """(mean, standard error) of the integral of |f_t(x_t) − f̂_k(x_k)|² over true draws of (x_t, x_k)."""
    target, generator = oracle.target, torch.Generator().manual_seed(seed)
    unit, weight = leggauss(points)
    clean = target.sample(chains, generator)
    draw = lambda: torch.randn(clean.shape, generator=generator, dtype=torch.float64)  # noqa: E731
    total = torch.zeros(chains, dtype=torch.float64)
    for early, late in pairwise(times):
        here = Level(float(np.exp(-early)), float(np.sqrt(-np.expm1(-2 * early))))
        for u, du in zip((1 + unit) / 2 * (early - late), weight / 2 * (early - late), strict=True):
            now = Level(float(np.exp(u - early)), float(np.sqrt(-np.expm1(2 * (u - early)))))
            x = now.alpha * clean + now.sigma * draw()
            x_k = np.exp(-u) * x + np.sqrt(-np.expm1(-2 * u)) * draw()
            if name == "ddpm":
                apart = np.sqrt(0.5) * (target.denoiser(x, now) - oracle.denoiser(x_k, here))
                du = du * 2 * now.alpha**2 / now.sigma**4
            else:
                apart = target.score(x, now) - oracle.score(x_k, here)
                apart = apart + (0.5 * (x - x_k) if name == "euler_maruyama" else 0.0)
            total += du * apart.square().sum(-1)
    return float(total.mean()), float(total.std()) / chains**0.5


@pytest.mark.parametrize("name", SDE)
@pytest.mark.parametrize("kind", PERTURBED)
@pytest.mark.parametrize("target", PATH_TARGETS)
def test_perturbed_oracles_against_monte_carlo(name, kind, target):
    """Within 4 standard errors (27 comparisons, 6e-5 each: 0.2% false alarms over fresh seeds; the seed is fixed)."""
    oracle, times = PERTURBED[kind](PATH_TARGETS[target]), (1.0, 0.5, 0.2)
    mean, error = simulated_girsanov(name, oracle, times)
    got = kl.path(oracle.target, SDE[name](ou_grid(*times)), oracle=oracle)
    assert abs(float(got.value) - mean) <= 4 * np.hypot(error, float(got.stderr))


@pytest.mark.parametrize("name", ["ei_sde", "euler_maruyama"])
def test_dropping_the_cross_terms_fails(name):
    """The twin of the check above: with E⟨y, ε⟩ and E⟨m, ε⟩ set to zero the formula misses by more than 4 errors."""
    target, times = TARGETS["curved_mixture"], (1.0, 0.5, 0.2)
    oracle = WithoutCross(target, lambda snr: 1.0 / (1.0 + snr), seed=3)
    mean, error = simulated_girsanov(name, oracle, times)
    assert abs(float(kl.path(target, SDE[name](ou_grid(*times)), oracle=oracle).value) - mean) > 4 * error

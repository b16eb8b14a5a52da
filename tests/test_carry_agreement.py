"""The carriers of a table's last law against each other, against closed forms and against particles.

Statistical comparisons are at 4 standard errors, 6e-5 each under fresh seeds; the number of them is said at each test and all
seeds are fixed.  Relative tolerances of KLs have a floor: a law carried over K steps with rounding leaves √K·1e-15 √KL.
"""

import math

import numpy as np
import pytest
import torch

from targets import Gaussian, GaussianMixture, Level, Sphere, get
from verify import Grid, Table
from verify.carry import particles, transport
from verify.carry.density import density
from verify.carry.flow import line_flow, moved
from verify.carry.moments import moments
from verify.carry.radial import radial
from verify.carry.space import Carried
from verify.kl.marginal import divergence_of, gaussian_divergence
from verify.oracle import ConstantBias, Exact, Oracle, RandomField, ScaleError
from verify.samplers import BUILDERS

GRID = Grid.log_snr(6, snr=(0.1, 12.0))


def build(name: str, grid: Grid = GRID) -> Table:
    return BUILDERS[name](grid.beyond() if name.startswith("jain_zhang") else grid)


ALL = {name: build(name) for name in BUILDERS}
ONE_STEP = [name for name, table in ALL.items() if not table.multistep]
FLOWS = [name for name, table in ALL.items() if not table.noise.any()]
STARTS = ("exact", "moment", "prior")


STEEP = ("dpm_solver_2_ancestral", "edm_churn")
"""Steps that ask twice and then add noise: their maps bend most, and take a third and fourth resolution."""


def assert_same_kl(found: float, expected: float, rel: float, steps: int) -> None:
    assert abs(found - expected) <= rel * expected + 4e-15 * math.sqrt(steps * expected), (found, expected)


def gaussian_kl(table: Table, oracle: Oracle, start: str = "exact") -> float:
    return gaussian_divergence(moments(table, oracle, start), table.steps)[0]


def reported(pair: tuple[Carried, Carried], table: Table) -> tuple[float, float]:
    """(value, bias) as kl.marginal reports them."""
    value, _, bias = divergence_of(pair, table)
    return value, bias


# ---- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", BUILDERS)
def test_moments_density_and_flow_on_the_line(name, start):
    """Every table that a carrier takes, 1e-10; p and q integrate to one within 1e-10."""
    if ALL[name].multistep and ALL[name].noise.any():
        pytest.skip("moments only; see test_joint_of_a_gaussian")
    for law in (Gaussian([0.5], [[0.25]]), Gaussian([-1.0], [[4.0]])):
        oracle, table = Exact(law), ALL[name]
        expected = gaussian_kl(table, oracle, start)
        carriers = [*([density] if name in ONE_STEP else []), *([line_flow] if name in FLOWS else [])]
        for carrier in carriers:
            for carried in carrier(table, oracle, start):
                assert_same_kl(carried.divergence, expected, 1e-10, table.steps)
                assert carried.defect <= 1e-10


def test_the_comparison_sees_one_part_in_a_million():
    table = ALL["ei_sde"]
    other = Table(
        table.method, table.snr, table.alpha, table.sigma, table.stages, table.state, table.outputs,
        table.noise * (1 + 1e-6),
    )  # fmt: skip
    oracle = Exact(Gaussian([0.5], [[0.25]]))
    with pytest.raises(AssertionError):
        assert_same_kl(density(other, oracle)[1].divergence, gaussian_kl(table, oracle), 1e-10, table.steps)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", FLOWS)
def test_log_determinant_in_three_dimensions(name, start):
    """A deterministic table is one affine map on a Gaussian: read off at four points, its Gaussian is known pointwise."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    law = Gaussian([0.3, -1.0, 2.0], turn @ np.diag([0.05, 0.7, 3.0]) @ turn.T)
    table, oracle = ALL[name], Exact(law)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    corners = torch.cat([torch.zeros(1, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)])
    image, log_volume = moved(table, oracle, torch.cat([x, corners]))
    shift, matrix = image[20], (image[21:] - image[20]).mT
    assert log_volume.numpy() == pytest.approx(float(torch.linalg.slogdet(matrix)[1]), abs=1e-11)
    first = table.start
    clean = {"exact": first.alpha**2 * law.components.covariance().numpy(), "moment": 0.0, "prior": 0.0}[start]
    noise = 1.0 if start == "prior" else first.sigma**2
    centre = (0.0 if start == "prior" else first.alpha) * law.mean.numpy()
    law_of = torch.distributions.MultivariateNormal
    covariance = torch.from_numpy(clean + noise * np.eye(3))
    carried = law_of(torch.from_numpy(centre), covariance).log_prob(x) - log_volume[:20]
    after = law_of(matrix @ torch.from_numpy(centre) + shift, matrix @ covariance @ matrix.mT).log_prob(image[:20])
    assert carried.numpy() == pytest.approx(after.numpy(), abs=1e-10)
    last = moments(table, oracle, start)
    rotation = law.components.rotation
    assert rotation is not None
    known = law_of(rotation @ torch.from_numpy(last.mean), rotation * torch.from_numpy(last.variance) @ rotation.mT)
    assert carried.numpy() == pytest.approx(known.log_prob(image[:20]).numpy(), abs=1e-9)


@pytest.mark.parametrize("name", ONE_STEP)
def test_radial_against_moments(name):
    """Centred isotropic Gaussians, d = 1 … 1000: 1e-8 and the rounding of d·log."""
    for dim, variance in ((1, 0.25), (2, 4.0), (3, 0.25), (50, 0.25), (1000, 2.0)):
        oracle, table = Exact(Gaussian(np.zeros(dim), variance * np.eye(dim))), ALL[name]
        for start in ("exact", "moment") if dim < 1000 else ("exact",):
            carried = radial(table, oracle, start)[1]
            assert_same_kl(carried.divergence, gaussian_kl(table, oracle, start), 1e-8, table.steps * dim)
            assert carried.defect <= 1e-10


@pytest.mark.parametrize("name", ONE_STEP)
def test_radial_against_density_in_one_dimension(name):
    """Sphere(1) is ±R, and a centred scale mixture is on both a line and a ray: 1e-9, or the biases where they are more."""
    mixture = GaussianMixture.isotropic([0.7, 0.3], np.zeros((2, 1)), [0.1, 1.0])
    for on_ray, on_line in ((Sphere(1, 1.0), get("two_points")), (mixture, mixture)):
        for start in STARTS if name in ("ddpm", "heun") else ("exact",):
            (fine, own), (known, other) = (
                reported(pair, ALL[name])
                for pair in (radial(ALL[name], Exact(on_ray), start), density(ALL[name], Exact(on_line), start))
            )
            assert abs(fine - known) <= 1e-9 * known
            assert own + other <= 1e-8 * known


# ---- particles -------------------------------------------------------------------------------------------------------

COUNT = 200_000


def drawn(table: Table, oracle: Oracle, start: str = "exact") -> np.ndarray:
    return particles.run(table, oracle, COUNT, seed=5, start=start).numpy()


def assert_means_agree(carried: Carried, sample: np.ndarray) -> None:
    """E x, E x², E cos 2x of a carried law within 4 standard errors of particles: three comparisons."""
    q = np.exp(carried.log_q) * carried.weight
    for function in (lambda x: x, np.square, lambda x: np.cos(2.0 * x)):
        values = function(sample)
        assert abs(q @ function(carried.points) - values.mean()) <= 4.0 * values.std() / math.sqrt(len(sample))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * (name not in ("ddpm", "jain_zhang", "heun", "dpmpp_2m", "edm_churn"))
        )
        for name in BUILDERS
        if name != "sde_dpmpp_2m"
    ],
)
def test_line_against_particles(name):
    """curved_mixture, 51 comparisons."""
    oracle, table = Exact(get("curved_mixture")), ALL[name]
    pair = line_flow(table, oracle) if table.multistep else density(table, oracle)
    assert_means_agree(pair[1], drawn(table, oracle)[:, 0])


def test_particles_of_another_table_are_told_apart():
    oracle = Exact(get("curved_mixture"))
    with pytest.raises(AssertionError):
        assert_means_agree(density(ALL["ddpm"], oracle)[1], drawn(ALL["ddim"], oracle)[:, 0])


def test_moments_against_particles():
    """The multistep table with noise, where nothing else follows the law: 6 comparisons, variances too."""
    law = Gaussian([0.5, -1.0, 2.0], np.diag([0.25, 4.0, 0.01]))
    last, sample = moments(ALL["sde_dpmpp_2m"], Exact(law)), drawn(ALL["sde_dpmpp_2m"], Exact(law))
    assert (np.abs(sample.mean(0) - last.mean) <= 4.0 * np.sqrt(last.variance / COUNT)).all()
    assert (np.abs(sample.var(0) / last.variance - 1.0) <= 4.0 * math.sqrt(2.0 / COUNT)).all()


@pytest.mark.parametrize("name", ["ddpm", "ddim", "heun", "ei_sde", "jain_zhang", "predictor_corrector", "edm_churn"])
@pytest.mark.parametrize(
    "target",
    [get("sphere", dim=3), pytest.param(get("scale_mixture", dim=3), marks=pytest.mark.slow)],
    ids=["sphere", "scales"],
)
def test_radius_against_particles(target, name):
    """42 comparisons."""
    table, oracle = ALL[name], Exact(target)
    assert_means_agree(radial(table, oracle)[1], np.linalg.norm(drawn(table, oracle), axis=1))


@pytest.mark.parametrize("name", FLOWS)
def test_flow_weights(name):
    """w = p/q at y ~ q: E_q w = 1 and E_q w f = E_p f for f = ‖y‖², of which the law's own moments know: 12 comparisons.

    The twin forgets the determinant, and 20,000 draws tell.
    """
    law = get("random_centres", components=5, dim=2, variance=0.1)
    table, oracle = ALL[name], Exact(law)
    x = particles.first_state(table, oracle, 20_000, torch.Generator().manual_seed(3), "exact")
    y, log_volume = moved(table, oracle, x)
    square = table.stop.alpha**2 * law.second_moment + 2.0 * table.stop.sigma**2

    def weights_fit(volume: torch.Tensor) -> bool:
        w = (law.log_prob(y, table.stop) - law.log_prob(x, table.start) + volume).exp()
        terms = torch.stack([w - 1.0, w * (y.square().sum(1) - square)])
        return bool((terms.mean(1).abs() <= 4.0 * terms.std(1) / math.sqrt(len(x))).all())

    assert weights_fit(log_volume)
    assert not weights_fit(0.0 * log_volume)


# ---- the bias that is reported ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["curved_mixture", "two_points", "gaussian"])
@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "jain_zhang", "heun", "ddim", *STEEP])
def test_bias_covers_the_error(monkeypatch, name, target):
    """Against twice the resolution (on a Gaussian: against moments), allowing 4 units of rounding."""
    law = get(target)
    table, oracle = build(name, Grid.log_snr(12, snr=(0.05, 20.0))), Exact(law)
    value, bias = reported(density(table, oracle), table)
    if isinstance(law, Gaussian):
        finer, rest = gaussian_divergence(moments(table, oracle), table.steps)
    else:
        monkeypatch.setattr(transport, "RESOLUTIONS", (1.7, 2.2))
        finer, rest = reported(density(table, oracle), table)
    assert abs(value - finer) <= bias + rest + 3e-15 * math.sqrt(table.steps * value)
    assert bias <= 1e-8 * value


# ---- perturbed oracles -------------------------------------------------------------------------------------------------

ORACLES = {
    "exact": Exact,
    "bias": lambda law: ConstantBias(law, np.linspace(0.3, -0.2, law.dim)),
    "scale": lambda law: ScaleError(law, 0.2),
    "field": lambda law: RandomField(law, 0.05, seed=3),
}


@pytest.mark.parametrize("name", ONE_STEP)
@pytest.mark.parametrize("kind", ["bias", "scale"])
def test_affine_errors_by_density_and_moments(kind, name):
    oracle, table = ORACLES[kind](Gaussian([0.5], [[0.25]])), ALL[name]
    expected = gaussian_kl(table, oracle)
    assert expected > 1.3 * gaussian_kl(table, Exact(oracle.target))
    assert_same_kl(density(table, oracle)[1].divergence, expected, 1e-10, table.steps)


@pytest.mark.parametrize("name", ["ddpm", "heun", "ei_sde"])
def test_random_field_by_density_and_particles(name):
    """9 comparisons; with the field left out of the density they fail."""
    law = get("curved_mixture")
    oracle, table = RandomField(law, 0.05, seed=3), ALL[name]
    sample = drawn(table, oracle)[:, 0]
    assert_means_agree(density(table, oracle)[1], sample)
    with pytest.raises(AssertionError):
        assert_means_agree(density(table, Exact(law))[1], sample)


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize(
    "law",
    [get("curved_mixture"), get("codebook", n=4, dim=3), Sphere(3, 1.5), get("anisotropic_gaussian", dim=4)],
    ids=["mixture", "codebook", "sphere", "gaussian"],
)
def test_jacobians_of_oracles(law, kind):
    """Central differences of the denoiser, h = 1e-4: h²·m‴ and eps/h, 1e-6 of the largest entry."""
    oracle = ORACLES[kind](law)
    for snr in (0.2, 3.0):
        at = Level.from_snr(snr)
        y = torch.randn(5, law.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        matrix = oracle.jacobian(y, at)
        columns = [
            (oracle.denoiser(y + 1e-4 * e, at) - oracle.denoiser(y - 1e-4 * e, at)) / 2e-4
            for e in torch.eye(law.dim, dtype=torch.float64)
        ]
        difference = (matrix - torch.stack(columns, dim=2)).abs().max()
        assert float(difference) <= 1e-6 * float(matrix.abs().max())

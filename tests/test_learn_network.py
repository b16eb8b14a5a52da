"""The network: before training the best linear denoiser to rounding, one function of (y, snr) however it is asked.

Expected values come from the Gaussian law's own denoiser, from central differences and from a singular value
decomposition of the draws, never from the network's formulas.
"""

import math

import pytest
import torch
from torch import Tensor

from targets import ArgumentError, Discrete, Gaussian, Level, Target, get
from verify.learn import Architecture, Learned, Network
from verify.learn import principal as module
from verify.learn.principal import Principal, principal
from verify.oracle.sampled import stream

RANGE = (0.01, 100.0)
LEVELS = [Level.from_snr(0.02), Level.from_snr(1.0, "ve"), Level.from_snr(50.0, "flow")]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(dim: int, rank: int, law: Principal, *, width: int = 16, snr: tuple[float, float] = RANGE) -> Network:
    """Untrained, float64."""
    made = Network(Architecture(dim, rank, width, 2)).double().requires_grad_(False)
    made.initialise(law, (math.log(snr[0]), math.log(snr[1])), torch.Generator().manual_seed(3))
    return made


def nonlinear(dim: int, rank: int, *, snr: tuple[float, float] = RANGE) -> Network:
    """A network whose inner layers act: its outward layer is not zero, its reading is not its writing."""
    made = network(dim, rank, Principal(normal(dim), axes(dim, rank), normal(rank).square() + 0.1, 0.3, 9.0), snr=snr)
    made.outward.weight.copy_(normal(rank, 16, seed=5))
    made.inward.bias.copy_(normal(16, seed=7))
    made.reading.add_(0.1 * normal(rank, dim, seed=6))
    return made


def axes(dim: int, rank: int) -> Tensor:
    """Orthonormal rows (rank, dim)."""
    return torch.linalg.qr(normal(dim, rank, seed=1)).Q.mT.contiguous()


def spiked(dim: int, spread: Tensor, rest: float) -> tuple[Gaussian, Principal]:
    """N(μ, Bᵀ diag(spread) B + rest (1 − BᵀB)), and its principal data."""
    basis, mean = axes(dim, len(spread)), normal(dim, seed=2)
    matrix = (basis.mT * spread) @ basis + rest * (torch.eye(dim) - basis.mT @ basis)
    return Gaussian(mean.numpy(), matrix.numpy()), Principal(mean, basis, spread, rest, 9.0)


# ---- the formulas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "rank", "rest"), [(1, 1, 0.0), (5, 5, 0.0), (7, 2, 0.4), (40, 3, 0.05), (6, 2, 0.0)])
def test_untrained_it_is_the_posterior_mean_of_a_gaussian(dim, rank, rest):
    """Full rank, low rank with an isotropic rest, and a law of rank 2 in R^6, at three levels in three processes."""
    spread = torch.linspace(3.0, 0.5, rank, dtype=torch.float64)
    law, data = spiked(dim, spread, rest)
    oracle = Learned(law, network(dim, rank, data))
    for at in LEVELS:
        y = 3.0 * normal(20, dim, seed=4)
        torch.testing.assert_close(oracle.denoiser(y, at), law.denoiser(y, at), rtol=1e-11, atol=1e-11)
        moments = oracle.moments(*(torch.tensor([v]).double().numpy() for v in (at.alpha, at.sigma)))
        assert float(moments.square.max()) < 1e-22


def test_what_is_learned_comes_in_units_of_the_linear_error():
    """F = c, a constant, moves the answer along direction i by √(λ_i/(1 + γλ_i)) c_i, the linear denoiser's own error."""
    spread, shift = torch.tensor([2.0, 0.7]).double(), torch.tensor([0.3, -1.1]).double()
    law, data = spiked(5, spread, 0.2)
    moved = network(5, 2, data)
    moved.outward.bias.copy_(shift)
    for at in LEVELS:
        y = normal(10, 5)
        expected = law.denoiser(y, at) + ((spread / (1.0 + at.snr * spread)).sqrt() * shift) @ data.basis
        torch.testing.assert_close(Learned(law, moved).denoiser(y, at), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("snr", [0.02, 1.0, 50.0])
def test_the_inner_layers_see_unit_variance(snr):
    """A state one standard deviation √(λ_i + 1/γ) out along direction i is read as the unit vector i."""
    spread = torch.tensor([2.0, 0.7]).double()
    data = spiked(5, spread, 0.2)[1]
    made, seen = network(5, 2, data), []
    made.inward.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made(data.mean + (spread + 1.0 / snr).sqrt()[:, None] * data.basis, torch.full((2,), snr, dtype=torch.float64))
    torch.testing.assert_close(seen[0], torch.eye(2).double(), rtol=1e-11, atol=1e-11)


def test_the_level_is_told_in_the_trained_range():
    """Features at the ends and in the middle of the range: place −1, 0, 1, and cos(πk/2)."""
    made, told = nonlinear(2, 1), []
    made.blocks[0].register_forward_pre_hook(lambda _, given: told.append(given[1]))  # type: ignore[union-attr]
    made(normal(3, 2), torch.tensor([RANGE[0], 1.0, RANGE[1]]).double())
    k = torch.arange(1, 9).double()
    expected = [torch.cat([torch.tensor([2 * p - 1]).double(), torch.cos(math.pi * k * p)]) for p in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(told[0], torch.stack(expected), rtol=0.0, atol=1e-5)


def test_sized_follows_the_dimension():
    """All of up to 128 coordinates, 64 directions of more; four units a direction, 64 to 256."""
    found = [Architecture.sized(dim) for dim in (1, 16, 50, 64, 128, 129, 1000)]
    expected = [(1, 64), (16, 64), (50, 200), (64, 256), (128, 256), (64, 256), (64, 256)]
    assert [(a.rank, a.width) for a in found] == expected
    assert [a.dim for a in found] == [1, 16, 50, 64, 128, 129, 1000]


# ---- one function ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "rank"), [(1, 1), (4, 2)])
@pytest.mark.parametrize("at", LEVELS)
def test_jacobian_against_central_differences(dim, rank, at):
    oracle = Learned(get("gaussian", dim=dim), nonlinear(dim, rank))
    y = at.alpha * normal(12, dim)
    step = 1e-5 * torch.eye(dim, dtype=torch.float64)
    ends = [oracle.denoiser(y[:, None] + sign * step, at) for sign in (1.0, -1.0)]
    torch.testing.assert_close(oracle.jacobian(y, at), ((ends[0] - ends[1]) / 2e-5).mT, rtol=1e-7, atol=1e-7)
    far = oracle.denoiser(y + 1.0, at) - oracle.denoiser(y, at)
    assert not torch.allclose(far, oracle.jacobian(y, at).sum(2), atol=1e-3)  # it is not linear


def test_rows_do_not_see_each_other():
    """A row alone, among others, permuted, with a NaN beside it, and in any leading shape: one answer."""
    oracle, at = Learned(get("gaussian", dim=4), nonlinear(4, 2)), LEVELS[1]
    y = normal(6, 4)
    answer, order = oracle.denoiser(y, at), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(oracle.denoiser(y[order], at), answer[order], rtol=1e-12, atol=1e-12)
    for i in range(6):
        torch.testing.assert_close(oracle.denoiser(y[i], at), answer[i], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(oracle.denoiser(y.reshape(2, 3, 4), at).reshape(6, 4), answer, rtol=1e-12, atol=1e-12)
    mixed = oracle.denoiser(torch.cat([y, torch.full((1, 4), math.nan).double(), 1e6 * y]), at)
    torch.testing.assert_close(mixed[:6], answer, rtol=1e-12, atol=1e-12)
    assert bool(mixed[6].isnan().all())
    assert oracle.denoiser(y[:0], at).shape == (0, 4)


@pytest.mark.parametrize("snr", [0.02, 1.0, 50.0])
def test_one_answer_in_every_process(snr):
    """At one snr the state is αX + σZ whatever α is: vp, ve and flow agree on y/α."""
    oracle, x = Learned(get("gaussian", dim=4), nonlinear(4, 2)), normal(8, 4)
    told = [Level.from_snr(snr, process) for process in ("ve", "vp", "flow")]
    answers = [oracle.denoiser(at.alpha * x, at) for at in told]
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-12, atol=1e-12)
    other = Level.from_snr(1.1 * snr, "ve") if snr < 50.0 else Level.from_snr(0.9 * snr, "ve")
    assert float((oracle.denoiser(x, other) - answers[0]).abs().max()) > 1e-3


def test_float32_is_the_float64_network_to_float32_rounding():
    law, made = get("gaussian", dim=4), nonlinear(4, 2)
    single = Learned(law.to(dtype=torch.float32), made)
    for at in LEVELS:
        y = normal(50, 4).float()
        exact = Learned(law, made).denoiser(y.double(), at)
        torch.testing.assert_close(single.denoiser(y, at).double(), exact, rtol=1e-4, atol=1e-5)
        assert single.denoiser(y, at).dtype == torch.float32


def test_an_oracle_leaves_the_network_as_it_was():
    """A float32 oracle makes a copy; a network that still has gradients gives moments."""
    made, law = nonlinear(4, 2).requires_grad_(True), get("gaussian", dim=4)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    Learned(law.to(dtype=torch.float32), made)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert made.shift.dtype == torch.float64
    square = Learned(law, made).moments(*(torch.tensor([v]).double().numpy() for v in (0.6, 0.8))).square
    assert bool(torch.isfinite(torch.from_numpy(square)).all())
    assert made.shift.requires_grad


@pytest.mark.parametrize("snr", [RANGE, (1e-30, 1e-20), (1e-3, 3e40)])
def test_levels_outside_the_trained_range_are_refused(snr):
    """Both ends are inside, however far from 1; beyond them nothing is answered."""
    oracle = Learned(get("gaussian", dim=2), nonlinear(2, 1, snr=snr))
    for inside in snr:
        at = Level.from_snr(inside, "ve")
        assert bool(oracle.denoiser(normal(3, 2), at).isfinite().all())
    for outside in (0.999 * snr[0], 1.001 * snr[1]):
        at = Level.from_snr(outside, "ve")
        with pytest.raises(ArgumentError, match=r"log snr .*: expected one in the trained range"):
            oracle.denoiser(normal(3, 2), at)
        with pytest.raises(ArgumentError, match=r"log snr .*: expected one in the trained range"):
            oracle.jacobian(normal(3, 2), at)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Learned(get("gaussian", dim=3), nonlinear(2, 1)), r"network.architecture.dim = 2: expected .*, 3"),
        (
            lambda: Learned(get("gaussian", dim=2), torch.nn.Linear(2, 2)),  # type: ignore[arg-type]
            "network = .*: expected a verify.learn.Network",
        ),
        (lambda: Learned(nonlinear(2, 1), nonlinear(2, 1)), r"target = (?s:.*): expected a target"),  # type: ignore[arg-type]
        (lambda: Learned(get("gaussian", dim=2), nonlinear(2, 1), points=1), "points = 1: expected an integer >= 2"),
        (lambda: Learned(get("gaussian", dim=2), nonlinear(2, 1), seed=-1), "seed = -1: expected an integer >= 0"),
        (
            lambda: Learned(get("gaussian", dim=2), nonlinear(2, 1)).denoiser(normal(4, 3), LEVELS[0]),
            "y.shape = .*: expected a last dimension of 2",
        ),
    ],
)
def test_refusals(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


# ---- principal directions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "rank", "draws"), [(5, 3, 64), (5, 5, 64), (40, 3, 16), (40, 16, 16)])
def test_directions_against_a_singular_value_decomposition(dim, rank, draws, monkeypatch):
    """Fewer coordinates than draws, and more: leading right singular vectors of the first half, up to their signs."""
    monkeypatch.setattr(module, "DRAWS", draws)
    law, _ = spiked(dim, torch.linspace(9.0, 3.0, min(3, dim), dtype=torch.float64), 0.2)
    found = principal(law, rank, 7)
    sample = law.sample(2 * draws, stream(7, "principal directions", law))
    first, second = (sample - sample.mean(0)).split(draws)
    expected = torch.linalg.svd(first, full_matrices=False).Vh[:rank]
    torch.testing.assert_close(found.basis @ found.basis.mT, torch.eye(rank).double(), rtol=0.0, atol=1e-10)
    overlaps = (found.basis * expected).sum(1).abs()[: min(rank, 15)]  # a sixteenth centred row is a small one
    torch.testing.assert_close(overlaps, torch.ones_like(overlaps), rtol=0.0, atol=1e-8)
    torch.testing.assert_close(found.mean, sample.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.variances, (second @ found.basis.mT).square().mean(0), rtol=1e-10, atol=1e-12)
    across = second - (second @ found.basis.mT) @ found.basis
    rest = float(across.square().sum(1).mean()) / max(dim - rank, 1)
    assert found.rest == pytest.approx(rest, rel=1e-9, abs=1e-12)
    again = principal(law, rank, 7)
    assert torch.equal(again.basis, found.basis)
    assert not torch.equal(principal(law, rank, 8).basis, found.basis)


def test_spike_is_found():
    """A direction of variance 9 above 0.2: found within 0.1 rad, its variance within 5 standard errors √(2/2048)·9."""
    law, data = spiked(8, torch.tensor([9.0]).double(), 0.2)
    found = principal(law, 1, 0)
    assert abs(float(found.basis[0] @ data.basis[0])) > math.cos(0.1)
    assert float(found.variances[0]) == pytest.approx(9.0, abs=5 * 9.0 * math.sqrt(2 / 2048))
    assert found.rest == pytest.approx(0.2, abs=5 * 0.2 * math.sqrt(2 / (2048 * 7)))


def test_variances_are_unbiased_where_draws_are_few(monkeypatch):
    """White noise in R^256 from 64 draws: 1 − 1/128 within 5 standard errors, where the draws that chose say 6 to 9."""
    monkeypatch.setattr(module, "DRAWS", 64)
    law, rank = get("gaussian", dim=256), 16
    scale = law.total_variance / law.dim
    found = principal(law, rank, 1)
    mean = float(found.variances.mean()) / scale
    assert abs(mean - (1 - 1 / 128)) < 5 * math.sqrt(2 / (64 * rank))
    assert abs(found.rest / scale - (1 - 1 / 128)) < 5 * math.sqrt(2 / (64 * 240))
    sample = law.sample(128, stream(1, "principal directions", law))
    first = (sample - sample.mean(0))[:64]
    assert float((first @ found.basis.mT).square().mean()) / scale > 5.0


@pytest.mark.parametrize("draws", [2048, 8])
@pytest.mark.parametrize("atoms", [1, 2, 3])
def test_fewer_atoms_than_directions(atoms, draws, monkeypatch):
    """A law of rank atoms − 1 seen through 10 directions: orthonormal, finite answers and gradients at both ends."""
    monkeypatch.setattr(module, "DRAWS", draws)
    law: Target = Discrete(normal(atoms, 12).numpy(), [1.0 / atoms] * atoms)
    rank = min(10, draws)
    found = principal(law, rank, 0)
    torch.testing.assert_close(found.basis @ found.basis.mT, torch.eye(rank).double(), rtol=0.0, atol=1e-9)
    assert bool((found.variances >= 0).all())
    assert float(found.variances[atoms - 1 :].sum()) + found.rest < 1e-13
    made = network(12, rank, found).float().requires_grad_(True)
    made.outward.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    answer = made(normal(4, 12).float(), torch.tensor([*RANGE, 1.0, 2.0]))
    answer.square().sum().backward()
    assert bool(answer.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in made.parameters() if p.grad is not None)

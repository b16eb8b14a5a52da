"""The paths that a denoiser takes for speed agree with each other, and with sums over components spelled out."""

import numpy as np
import pytest
import torch

from targets import ArgumentError, Discrete, GaussianMixture, Level, components, get
from targets.components import attend, held
from targets.separate import Separate

AT = Level(0.8, 0.7)
LEVELS = [Level.from_snr(snr) for snr in (1e-4, 0.3, 30.0)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def proportions(count, seed=1):
    raw = torch.rand(count, generator=generator(seed), dtype=torch.float64) + 0.1
    return raw / raw.sum()


def positive(*shape, seed=2):
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64) + 0.1


def rotation(dim, seed=3):
    return torch.linalg.qr(normal(dim, dim, seed=seed)).Q


def turned(axes, variances):
    matrices = axes * variances[..., None, :] @ axes.mT
    return 0.5 * (matrices + matrices.mT)


def spelled_out(weights, means, covariances, y, at):
    """Σ_i r_i (μ_i + αC_i S_i⁻¹ (y − αμ_i)), S_i = α²C_i + σ², with r_i by Cholesky factors and differences."""
    identity = torch.eye(means.shape[1], dtype=torch.float64)
    apart = y[:, None] - at.alpha * means
    total = at.alpha**2 * covariances + at.sigma**2 * identity
    factor = torch.linalg.cholesky(total)
    solved = torch.cholesky_solve(apart[..., None], factor)[..., 0]
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)
    r = (weights.log() - 0.5 * log_det - 0.5 * (apart * solved).sum(-1)).softmax(-1)
    posterior = means + at.alpha * (covariances @ solved[..., None])[..., 0]
    return (r[..., None] * posterior).sum(1)


def families(count, dim):
    """(law, its weights, means and covariances) for every structure, with means away from the origin."""
    w, mu, identity = proportions(count), normal(count, dim) + 1.5, torch.eye(dim, dtype=torch.float64)
    own, axes = positive(count, dim), rotation(dim)
    each = turned(torch.stack([rotation(dim, seed=10 + i) for i in range(count)]), own)
    constant = torch.cat([mu[:1, :1].expand(count, 1), mu[:, 1:]], 1) if dim > 1 else mu
    one = turned(axes, own[0])
    return {
        "isotropic": (GaussianMixture.isotropic(w, mu, 0.4), mu, 0.4 * identity.expand(count, -1, -1)),
        "far": (GaussianMixture.isotropic(w, mu + 1e3, 0.4), mu + 1e3, 0.4 * identity.expand(count, -1, -1)),
        "atoms": (Discrete(mu, w), mu, torch.zeros(count, dim, dim, dtype=torch.float64)),
        "constant": (
            GaussianMixture.shared(w, constant, torch.diag(own[0])),
            constant,
            torch.diag(own[0]).expand(count, -1, -1),
        ),
        "diagonal shared": (
            GaussianMixture.shared(w, mu, torch.diag(own[0])),
            mu,
            torch.diag(own[0]).expand(count, -1, -1),
        ),
        "shared": (GaussianMixture.shared(w, mu, one), mu, one.expand(count, -1, -1)),
        "scalar": (GaussianMixture.isotropic(w, mu, own[:, 0]), mu, own[:, :1, None] * identity),
        "diagonal": (GaussianMixture.diagonal(w, mu, own), mu, torch.diag_embed(own)),
        "commuting": (GaussianMixture(w, mu, turned(axes, own)), mu, turned(axes, own)),
        "full": (GaussianMixture(w, mu, each), mu, each),
    }


@pytest.mark.parametrize("at", LEVELS, ids=lambda at: f"snr{at.snr:g}")
@pytest.mark.parametrize(
    ("count", "dim", "batch"), [(1, 3, 5), (4, 1, 1), (7, 1, 9), (5, 4, 1), (5, 4, 50), (40, 6, 3)]
)
def test_every_structure_is_the_sum_over_components(count, dim, batch, at):
    for name, (law, means, covariances) in families(count, dim).items():
        y = at.alpha * law.sample(batch, generator(5)) + at.sigma * normal(batch, dim, seed=6)
        expected = spelled_out(proportions(count), means, covariances, y, at)
        scale = float(expected.abs().amax())
        torch.testing.assert_close(
            law.denoiser(y, at), expected, rtol=0, atol=(1e-9 if name == "far" else 1e-11) * scale, msg=name
        )


@pytest.mark.parametrize("at", LEVELS, ids=lambda at: f"snr{at.snr:g}")
def test_held_and_fused_scores_agree(monkeypatch, at):
    """The same numbers whether scores are held, fused with few states, or fused with few components."""
    for name, (law, *_) in families(12, 5).items():
        for batch in (3, 40):
            y = at.alpha * law.sample(batch, generator(5)) + at.sigma * normal(batch, 5, seed=6)
            monkeypatch.setattr(components, "CACHE_BYTES", 2**20)
            kept = law.denoiser(y, at)
            monkeypatch.setattr(components, "CACHE_BYTES", 0)
            tolerance = 1e-10 if name == "far" else 1e-13
            torch.testing.assert_close(law.denoiser(y, at), kept, rtol=tolerance, atol=tolerance, msg=name)


def test_what_is_held():
    y, keys = torch.zeros(64, 2, dtype=torch.float64), torch.zeros(2048, 2, dtype=torch.float64)
    assert held(y, keys)
    assert not held(torch.zeros(65, 2, dtype=torch.float64), keys)
    assert held(torch.zeros(128, 2), keys)


def test_attention_is_softmax_times_values(monkeypatch):
    query, keys, values, bias = normal(6, 3), normal(9, 3, seed=1), normal(9, 4, seed=2), normal(9, seed=3)
    expected = (0.7 * query @ keys.mT + bias).softmax(-1) @ values
    torch.testing.assert_close(attend(query, keys, values, bias, 0.7), expected, rtol=1e-14, atol=1e-14)
    monkeypatch.setattr(components, "CACHE_BYTES", 0)
    same = attend(query, keys, values[:, :3], bias, 0.7)
    torch.testing.assert_close(same, expected[:, :3], rtol=1e-13, atol=1e-14)


def test_blocks_of_rows_are_one_batch(monkeypatch):
    """Rank one and full covariances go by blocks of rows: nothing depends on where they are cut."""
    for law in (get("curved_mixture"), get("nested_scales"), families(7, 4)["full"][0], families(7, 1)["isotropic"][0]):
        y = normal(50, law.dim)
        whole = law.denoiser(y, AT)
        monkeypatch.setattr(components, "CHUNK_BYTES", {"cpu": 200})
        monkeypatch.setattr(components, "LEAST_ROWS", 1)
        monkeypatch.setattr("targets.separate.CACHE_BYTES", 200)
        torch.testing.assert_close(law.denoiser(y, AT), whole, rtol=1e-13, atol=1e-13)
        monkeypatch.undo()


# ---- covariances with common eigenvectors ------------------------------------------------------------


@pytest.mark.parametrize(("count", "dim"), [(1, 3), (3, 5), (17, 40), (64, 64)])
def test_commuting_covariances_are_found(count, dim):
    law = GaussianMixture(proportions(count), normal(count, dim), turned(rotation(dim), positive(count, dim)))
    assert isinstance(law.components, Separate)
    assert law.components.turned is not None
    basis, inner = law.components.turned
    torch.testing.assert_close(basis.mT @ basis, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-13)
    matrices = turned(basis, inner.variances)
    torch.testing.assert_close(matrices, turned(rotation(dim), positive(count, dim)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0])
def test_covariances_that_do_not_commute_are_not_taken_for_such(size):
    """One covariance turned a little against the others decides: to a part in 1e9."""
    matrices = turned(rotation(5), positive(4, 5))
    skew = normal(5, 5, seed=8)
    matrices[2] = turned(torch.linalg.matrix_exp(size * (skew - skew.mT)) @ rotation(5), positive(4, 5)[2])
    parts = GaussianMixture(proportions(4), normal(4, 5), matrices).components
    assert isinstance(parts, Separate)
    assert parts.turned is None


def test_everything_in_the_common_basis_is_what_it_is_without(monkeypatch):
    law = families(6, 4)["commuting"][0]
    other = families(6, 4)["commuting"][0]
    y, probe = normal(9, 4), normal(9, 4, seed=1)
    monkeypatch.setattr(other.components, "turned", None)
    for ask in ("denoiser", "log_prob", "posterior_trace"):
        torch.testing.assert_close(getattr(law, ask)(y, AT), getattr(other, ask)(y, AT), rtol=1e-11, atol=1e-12)
    pair = [x.posterior_covariance_product(y, probe, AT) for x in (law, other)]
    torch.testing.assert_close(*pair, rtol=1e-11, atol=1e-12)
    assert torch.equal(law.sample(5, generator()), other.sample(5, generator()))


def test_packed_matrices():
    """Pairs, counts and products of packed symmetric matrices are those of the matrices."""
    parts = families(5, 4)["full"][0].components
    assert isinstance(parts, Separate)
    packed, a, b = parts._stored(parts.variances), normal(5, 4), normal(5, 4, seed=1)
    matrices = parts._unpacked(packed)
    torch.testing.assert_close(matrices, matrices.mT, rtol=0, atol=0)
    along = torch.einsum("nj,mjk,nk->nm", a, matrices, b)
    torch.testing.assert_close(parts._pair(a, b) @ parts._counted(packed).mT, along)
    torch.testing.assert_close(
        parts._pair(a, a) @ parts._counted(packed).mT, torch.einsum("nj,mjk,nk->nm", a, matrices, a)
    )
    torch.testing.assert_close(parts._apply(packed, a), torch.einsum("njk,nk->nj", matrices, a))
    r = positive(3, 5)
    torch.testing.assert_close(parts._blended(r, packed, a[:3]), torch.einsum("nm,mjk,nk->nj", r, matrices, a[:3]))


# ---- gradients, dtypes, devices ----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 2**20], ids=["fused", "held"])
def test_gradients_pass_through_the_denoiser(monkeypatch, limit):
    """∇(v·m) = (α/σ²) Cov[X given y] v, for every structure and either kernel; the state is left as it was."""
    monkeypatch.setattr(components, "CACHE_BYTES", limit)
    monkeypatch.setattr("targets.separate.CACHE_BYTES", 2**20)
    for name, (law, *_) in families(6, 4).items():
        for batch in (2, 9):
            y = AT.alpha * law.sample(batch, generator(5)) + AT.sigma * normal(batch, 4, seed=6)
            kept, probe = y.clone(), normal(batch, 4, seed=7)
            (got,) = torch.autograd.grad((law.denoiser(y.requires_grad_(), AT) * probe).sum(), y)
            expected = AT.alpha / AT.sigma**2 * law.posterior_covariance_product(kept, probe, AT)
            tolerance = 1e-7 if name == "far" else 1e-10
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance, msg=name)
            assert torch.equal(y.detach(), kept)


@pytest.mark.parametrize("kind", [np.float64, np.float32, int])
def test_levels_of_other_numbers(kind):
    law, y = get("codebook"), normal(3, 8)
    torch.testing.assert_close(
        law.denoiser(y, Level(kind(1), kind(2))), law.denoiser(y, Level(1.0, 2.0)), rtol=0, atol=0
    )


def test_leading_dimensions_are_kept():
    law, y = get("codebook"), normal(2, 3, 8)
    torch.testing.assert_close(law.denoiser(y, AT).reshape(6, 8), law.denoiser(y.reshape(6, 8), AT), rtol=0, atol=0)
    torch.testing.assert_close(law.denoiser(y[0, 0], AT), law.denoiser(y[0], AT)[0], rtol=1e-14, atol=1e-14)


SINGLE = {
    "atoms": lambda: get("codebook"),
    "line": lambda: get("curved_mixture"),
    "scalar": lambda: families(5, 4)["scalar"][0],
    "full": lambda: families(5, 4)["full"][0],
    "low rank": lambda: get("low_rank_mixture"),
}


@pytest.mark.parametrize("name", SINGLE)
def test_the_bound_on_rounding_holds(name):
    """float32 is off by no more than the bound wherever the level is not refused; laws with null directions are, at last."""
    law = SINGLE[name]()
    small, accepted = law.to(dtype=torch.float32), 0
    for snr in 10.0 ** np.arange(-4, 9):
        at = Level.from_snr(float(snr))
        y = (at.alpha * law.sample(64, generator(1)) + at.sigma * normal(64, law.dim, seed=2)).float()
        try:
            off = (small.log_prob(y, at) - law.log_prob(y.double(), at)).abs().max()
        except ArgumentError:
            with pytest.raises(ArgumentError, match="rounding error"):
                small.denoiser(y, at)
            continue
        accepted += 1
        scale = float(law.log_prob(y.double(), at).abs().max())
        assert off <= components.FLOAT32_TOLERANCE + 8 * torch.finfo(torch.float32).eps * scale
    assert accepted >= 2
    assert (accepted < 13) == (name in ("atoms", "low rank"))


def test_a_bound_that_grows_as_it_should():
    """Magnitude is a bound on α|c||y′|/S where these are computed from draws, and not a hundred times too large."""
    for law in (families(5, 4)["atoms"][0], families(5, 4)["isotropic"][0], families(5, 4)["shared"][0]):
        parts, at = law.components, Level.from_snr(30.0)
        y = at.alpha * law.sample(4096, generator(1)) + at.sigma * normal(4096, law.dim, seed=2)
        z = y if parts.direct else parts._reduce(parts._centred(y, at))
        _, inside = parts._channel(at)
        used = float(z.norm(dim=1).amax() * (at.alpha * parts.centres / inside).norm(dim=1).amax())
        assert used <= parts.magnitude(at) <= 100 * used


def refuse_to_wait(*_):
    raise AssertionError("a number was read back from the device")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_number_is_read_back_in_a_step(monkeypatch, dtype):
    """After the first call no tensor becomes a Python number: a GPU is never waited for."""
    laws = {name: law.to(dtype=dtype) for name, (law, *_) in families(6, 4).items() if name != "far"}
    laws |= {"low rank": get("low_rank_mixture").to(dtype=dtype), "gaussian": get("gaussian").to(dtype=dtype)}
    at, later = Level(0.3, 0.9), Level(0.35, 0.9)
    for law in laws.values():
        law.denoiser(normal(3, law.dim).to(dtype), at)
        law.posterior_trace(normal(3, law.dim).to(dtype), at)
    for name in ("item", "__float__", "__bool__", "__int__", "tolist", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, refuse_to_wait)
    for law in laws.values():
        law.denoiser(normal(3, law.dim).to(dtype), later)
        law.posterior_trace(normal(3, law.dim).to(dtype), later)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_no_synchronisation_on_a_gpu():
    for name, (law, *_) in families(6, 4).items():
        there, y = law.to(device="cuda"), normal(3, 4)
        torch.testing.assert_close(there.denoiser(y.cuda(), AT).cpu(), law.denoiser(y, AT), msg=name)
        state = y.cuda()
        torch.cuda.set_sync_debug_mode("error")
        try:
            there.denoiser(state, Level(0.6, 0.9))
        finally:
            torch.cuda.set_sync_debug_mode("default")

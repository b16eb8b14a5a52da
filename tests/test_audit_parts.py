"""The audit's own tools: named draws, float64 for other people's code, exact models, verdicts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import ArgumentError, Level, NotAvailableError, get
from verify.audit import models, registry
from verify.audit.contract import Untestable
from verify.audit.draws import Draws, seeded
from verify.audit.precision import double
from verify.oracle import ConstantBias


def numbered(number, shape, dtype, device):
    return torch.full(shape, float(number), dtype=dtype, device=device)


def test_draws_are_numbered_by_generator_state_and_locations_are_applied():
    x = torch.zeros(2, 3, dtype=torch.float64)
    with Draws(numbered) as draws:
        first = torch.randn_like(x)
        second = torch.empty(4).normal_(1.0, 2.0)
        third = torch.normal(torch.full((2,), 5.0), 3.0)
        again = [torch.randn(3, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
        other = torch.randn(3, generator=torch.Generator().manual_seed(8))
        shaped = torch.randn(2, generator=torch.Generator().manual_seed(7))
    assert (first == 0).all()
    assert first.dtype == torch.float64
    assert (second == 1.0 + 2.0 * 1).all()
    assert (third == 5.0 + 3.0 * 2).all()
    assert all((value == 3).all() for value in again)
    assert (other == 4).all()
    assert (shaped == 5).all()
    assert draws.count == 6


def test_draws_leave_the_generator_where_it_would_have_been():
    plain, hooked = (torch.Generator().manual_seed(3) for _ in range(2))
    torch.randn(5, generator=plain)
    with Draws(numbered):
        torch.randn(5, generator=hooked)
        uniform = torch.rand(3, generator=hooked)
    assert torch.equal(uniform, torch.rand(3, generator=plain))


def test_seeded_draws_come_from_the_generator_and_spare_the_global_one():
    before = torch.get_rng_state()
    x = torch.zeros(4, 2, dtype=torch.float64)

    def everything():
        generator = torch.Generator().manual_seed(11)
        with seeded(generator):
            return [
                torch.randn_like(x),
                torch.rand_like(x),
                torch.randn(3),
                torch.normal(0.0, 1.0, (2,)),
                torch.empty(2).normal_(),
                torch.empty(2).uniform_(),
                torch.randint(0, 2**40, ()),
            ]

    one, two = everything(), everything()
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert one[0].dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), before)
    with Draws(numbered) as draws, seeded(torch.Generator().manual_seed(1)):
        assert (torch.randn_like(x) == 0).all()
        assert (torch.randn_like(x) == 1).all()
    assert draws.count == 2


def test_double_lifts_torch_and_numpy_and_is_undone():
    import types

    module = types.ModuleType("somebody")
    vars(module)["np"] = np
    with double(module):
        assert np.ones(2).astype(module.np.float32).dtype == np.float64
        assert module.np.linspace(0.0, 1.0, 2)[1] == 1.0
        for made in (
            torch.linspace(0, 1, 3),
            torch.zeros(2, dtype=torch.float32),
            torch.zeros(2).to(torch.float32),
            torch.tensor([1.0]).float(),
            torch.tensor([1.0]),
        ):
            assert made.dtype == torch.float64
    assert module.np is np
    assert torch.zeros(1).dtype == torch.float32
    with pytest.raises(ZeroDivisionError), double(module):
        raise ZeroDivisionError
    assert torch.get_default_dtype() == torch.float32


LAW = get("two_components")
ROWS = torch.zeros(2, 1)


@given(snr=st.floats(1e-4, 1e4), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_models_say_what_their_formulas_say(snr, seed):
    generator = torch.Generator().manual_seed(seed)
    for process, name in (("vp", "v"), ("flow", "velocity"), ("ve", "epsilon")):
        at = Level.from_snr(snr, process)
        y = at.alpha * LAW.sample(5, generator) + at.sigma * torch.randn(5, 1, generator=generator, dtype=torch.float64)

        def say(says, at=at, y=y):
            return models.Model(LAW, says, lambda _: at)(y, 0.0)

        m, score = LAW.denoiser(y, at), LAW.score(y, at)
        noise = -at.sigma * score
        torch.testing.assert_close(say("x0"), m, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(say("score"), score, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(say("epsilon"), noise, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(at.alpha * m + at.sigma * say("epsilon"), y, rtol=1e-12, atol=1e-12)
        if name == "v":
            torch.testing.assert_close(say("v"), at.alpha * noise - at.sigma * m, rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(at.alpha * y - at.sigma * say("v"), m, rtol=1e-8, atol=1e-8)
        if name == "velocity":
            torch.testing.assert_close(say("velocity"), noise - m, rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(y - at.sigma * say("velocity"), m, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.0, 1.0), (0.0, 3.0), (1.0, 0.0), (2.0, 0.0)])
def test_models_at_the_ends_of_time(alpha, sigma):
    """Closed forms, and the limits that they are: answers with 1e-9 for zero."""
    law, y = get("curved_mixture"), torch.tensor([[-0.2], [0.4], [1.0]], dtype=torch.float64)
    m, clean = law.mean.expand_as(y), {"x0": y / alpha, "v": 0.0 * y, "velocity": -y / alpha}
    noisy = {"x0": m, "epsilon": y / sigma, "score": -y / sigma / sigma, "v": -sigma * m, "velocity": y / sigma - m}
    for name, value in (clean if alpha else noisy).items():
        end = models.schedule(lambda t: (max(alpha, t), max(sigma, t)))
        assert torch.equal(models.Model(law, name, end)(y, 0), value)
        both = models.Model(law, name, end)(y, torch.tensor([0.0, 1e-9, 0.0], dtype=torch.float64))
        torch.testing.assert_close(both, value, rtol=0, atol=1e-6)


def test_models_take_any_shape_and_mixed_times():
    law = get("gaussian", dim=12)
    model = models.Model(law, "x0", models.ve())
    x = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    times = torch.tensor([0.5, 2.0, 0.5, 1.0])
    out = model(x, times, encoder_hidden_states=None)
    assert out.shape == x.shape
    assert out.dtype == torch.float32
    assert model.calls == 1
    for row, t in zip(range(4), times, strict=True):
        one = law.denoiser(x[row].reshape(1, 12).double(), Level(1.0, float(t))).reshape(3, 2, 2)
        torch.testing.assert_close(out[row].double(), one, rtol=1e-6, atol=1e-6)


def test_models_speak_for_imperfect_oracles_and_functions():
    biased = ConstantBias(LAW, bias=torch.tensor([0.25], dtype=torch.float64))
    y = torch.zeros(1, 1, dtype=torch.float64)
    gap = models.Model(biased, "x0", models.flow())(y, 0.5) - models.Model(LAW, "x0", models.flow())(y, 0.5)
    assert float(gap) == pytest.approx(0.25, abs=1e-15)
    assert float(models.Model(lambda y, at: y * at.sigma, "x0", models.ve())(y + 1.0, 3.0)) == 3.0


def test_clocks():
    at = models.scaled_ve()(2.0)
    assert at.alpha**2 + at.sigma**2 == pytest.approx(1.0, abs=1e-15)
    assert at.sigma / at.alpha == pytest.approx(2.0, rel=1e-15)
    table = torch.linspace(0.99, 0.01, 50, dtype=torch.float64)
    clock = models.timesteps(table)
    for t in (0, 7, 49):
        assert clock(t).alpha ** 2 == pytest.approx(float(table[t]), rel=1e-13)
    half, low, high = clock(7.5), clock(7), clock(8)
    assert half.sigma / half.alpha == pytest.approx((low.sigma / low.alpha * high.sigma / high.alpha) ** 0.5, rel=1e-13)
    assert models.schedule(lambda t: (np.cos(t), np.sin(t)))(0.3).sigma == np.sin(0.3)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: models.Model(LAW, "epsilom", models.ve()), "epsilon"),
        (lambda: models.Model(3, "x0", models.ve()), "law"),  # type: ignore[arg-type]
        (lambda: models.Model(LAW, "x0", models.ve), r"^clock = <function ve.*one time, such as ve\(\).*too many"),  # type: ignore[arg-type]
        (lambda: models.Model(LAW, "x0", 3.0), r"^clock = 3\.0: expected a function of one time"),  # type: ignore[arg-type]
        (lambda: models.Model(LAW, "x0", lambda t: (1.0, t))(ROWS, 2.0), r"^clock\(2\) = \(1\.0, 2\.0\).*by schedule"),  # type: ignore[arg-type]
        (lambda: models.Model(LAW, "x0", models.ve())(torch.zeros(2, 3), 1.0), "x.shape"),
        (lambda: models.Model(LAW, "x0", models.ve())(torch.zeros(3, 1), torch.ones(2)), "t.shape"),
        (lambda: models.Model(LAW, "epsilon", models.ve())(ROWS, 0.0), r"^t = 0\.0: .* sigma > 0, as epsilon"),
        (lambda: models.Model(LAW, "score", models.scaled_ve())(ROWS, torch.zeros(2)), r"^t = 0\.0: .* as score"),
        (lambda: models.Model(ConstantBias(LAW, [0.2]), "v", models.flow())(ROWS, 1), r"^t = 1\.0: .* or a target"),
        (lambda: models.Model(lambda y, _: y, "x0", models.flow())(ROWS, 1.0), r"^t = 1\.0: .* alpha > 0"),
        (lambda: models.Model(LAW, "x0", models.ve())(ROWS, None), "^t = None: expected a number"),  # type: ignore[arg-type]
        (lambda: models.Model(LAW, "x0", models.ve())(ROWS, "a"), "^t = 'a': expected a number"),  # type: ignore[arg-type]
        (lambda: models.Model(LAW, "x0", models.ve())(ROWS, float("nan")), "^t = nan: expected a finite"),
        (lambda: models.Model(LAW, "x0", models.ve())(ROWS.long(), 0.5), r"^x\.dtype = torch\.int64"),
        (lambda: models.timesteps(torch.linspace(0.01, 0.99, 5)), "alphas_cumprod"),
        (lambda: models.timesteps(np.array([0.9, 0.5]))(3.0), "timestep of the table"),
        (lambda: registry.samplers("difusers"), "diffusers"),
        (lambda: registry.samplers("truerate", "hoin"), "heun"),
    ],
)
def test_bad_input_names_the_argument(build, match):
    with pytest.raises(ArgumentError, match=match):
        build()


def test_a_library_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(registry.adapter("azula"), "version", lambda: None)
    with pytest.raises(NotAvailableError, match="pip install azula"):
        registry.samplers("azula")
    assert registry.versions()["azula"] is None


def test_a_library_that_cannot_be_loaded_stops_no_other(monkeypatch):
    def refuse():
        raise NotAvailableError("azula needs einops: pip install einops")

    monkeypatch.setattr(registry, "ADAPTERS", {"truerate": "own", "azula": "azula"})
    monkeypatch.setattr(registry.adapter("azula"), "configurations", refuse)
    registry.found.cache_clear()
    found = registry.samplers()
    registry.found.cache_clear()
    assert len(found) == 20
    assert found[-1] == Untestable("azula", "every sampler", "azula needs einops: pip install einops")

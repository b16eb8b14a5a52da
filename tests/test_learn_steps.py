"""One step of training: its noise levels, its rates, its moving average, and what it logs.

Statistical checks allow 4.5 or 5 standard errors: below 1e-4 false alarms each at fresh seeds; seeds are fixed.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_learn_training import LAW, OF_WIDE, PLAN, SMALL, WIDE

from targets import get
from verify.learn import Architecture, Training, train, training
from verify.learn.bands import Bands
from verify.learn.state import State


def watched(monkeypatch, plan: Training, law=LAW, small=SMALL) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(places along log γ, γ‖X − m̂‖²/d) of every step, as the bar is told them."""
    places, losses, honest = [], [], training._step

    def step(law, state, plan, tick):
        def told(place, loss):
            places.append(place.clone())
            losses.append(loss.clone())
            tick(place, loss)

        honest(law, state, plan, told)

    monkeypatch.setattr(training, "_step", step)
    train(law, plan, small)
    return places, losses


def test_every_stratum_has_one_sample(monkeypatch):
    """32 samples, one in each 32nd of the range, uniform inside it, and others at every step."""
    places, _ = watched(monkeypatch, PLAN)
    for place in places:
        assert torch.equal((place * 32).floor(), torch.arange(32.0))
    inside = (torch.stack(places) * 32).frac().double()
    assert len(inside.unique()) > 0.99 * inside.numel()
    assert abs(float(inside.mean()) - 0.5) < 5 * math.sqrt(1 / 12 / inside.numel())
    assert float(inside.var()) == pytest.approx(1 / 12, rel=0.1)


@pytest.mark.parametrize(("law", "small"), [(LAW, SMALL), (WIDE, OF_WIDE)])
def test_the_log_is_the_loss_of_a_frozen_network(law, small):
    """Rate 1e-12: each of six bands against 30,000 fresh draws at uniform levels, 4.5 joint standard errors (1e-4 in all)."""
    plan = Training(steps=40, batch=256, rate=1e-12, bands=6, logged=1.0, snr=(0.05, 50.0))
    trained = train(law, plan, small)
    assert trained.log.columns.tolist() == ["logsnr", "loss", "stderr"]
    generator, (low, high) = torch.Generator().manual_seed(4), map(math.log, (0.05, 50.0))
    np.testing.assert_allclose(trained.log["logsnr"], low + (high - low) * (np.arange(6) + 0.5) / 6, atol=1e-5)
    for band, row in enumerate(trained.log.itertuples()):
        u = low + (high - low) * (band + torch.rand(30_000, generator=generator).double()) / 6
        clean = law.sample(30_000, generator)
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        loss = (clean - trained.network(clean + noise * (-0.5 * u).exp()[:, None], u.exp())).square().sum(1)
        apart = float(loss.mean()) - row.loss  # type: ignore[operator]
        assert abs(apart) < 4.5 * math.hypot(float(loss.std()) / 30_000**0.5, row.stderr)  # type: ignore[arg-type]
        assert row.stderr < 0.2 * row.loss  # type: ignore[operator]


def test_the_share_of_steps_that_is_logged(monkeypatch):
    """Only the last `logged` of the steps: 0.25 of 20 is 5 steps of 32 samples; all of them where it is 1."""
    for share, steps in ((0.25, 5), (1.0, 20), (0.01, 1)):
        states, honest = [], training._trained
        monkeypatch.setattr(
            training, "_trained", lambda state, plan, h=honest, s=states: (s.append(state), h(state, plan))[1]
        )
        train(LAW, replace(PLAN, steps=20, logged=share), SMALL)
        assert float(states[0].bands.sums[0].sum()) == steps * 32
        monkeypatch.setattr(training, "_trained", honest)


def test_the_bar_is_told_the_loss_in_units_of_the_noise(monkeypatch):
    """γ‖X − m̂‖²/d of an untrained network on a Gaussian: E = γλ/(1 + γλ), integrated over the range to 5 standard errors."""
    law, small = get("gaussian", dim=4), Architecture(4, 4, 16, 1)
    places, losses = watched(monkeypatch, replace(PLAN, steps=100, rate=1e-12, batch=64), law, small)
    told, place = torch.stack(losses).double().flatten(), torch.stack(places).double().flatten()
    gain = 0.25 * torch.exp(math.log(0.05) + math.log(1000.0) * place)
    apart = told - gain / (1.0 + gain)
    assert abs(float(apart.mean())) < 5 * float(apart.std()) / len(apart) ** 0.5 + 0.003


def test_bands_are_means_with_their_standard_errors():
    """Sums over two calls, a band of one sample and an empty one dropped, numpy's mean and standard error."""
    place = np.array([0.0, 0.1, 0.24, 0.26, 0.6, 0.74, 0.75 - 1e-9, 0.51])
    loss = np.array([1.0, 4.0, 2.5, 9.0, 3.0, 3.5, 1.0, 0.25])
    bands = Bands(4)
    bands.add(torch.from_numpy(place[:3]), torch.from_numpy(loss[:3]))
    bands.add(torch.from_numpy(place[3:]), torch.from_numpy(loss[3:]))
    table = bands.frame(-2.0, 6.0)
    parts = [loss[:3], loss[4:]]
    np.testing.assert_allclose(table["logsnr"], [-1.0, 3.0])
    np.testing.assert_allclose(table["loss"], [part.mean() for part in parts], rtol=1e-12)
    np.testing.assert_allclose(table["stderr"], [part.std(ddof=1) / len(part) ** 0.5 for part in parts], rtol=1e-12)
    assert bands.sums[0].tolist() == [3.0, 1.0, 4.0, 0.0]
    assert bands.sums.dtype == torch.float64
    bands.add(torch.tensor([1.0]), torch.tensor([7.0]))  # float32 rounds the last place up to 1
    assert bands.sums[0].tolist() == [3.0, 1.0, 4.0, 1.0]
    assert Bands(3).frame(0.0, 1.0).empty


def test_equal_losses_have_no_error():
    bands = Bands(1)
    bands.add(torch.rand(50, generator=torch.Generator().manual_seed(0)), torch.full((50,), 0.1))
    assert float(bands.frame(0.0, 1.0)["stderr"].to_numpy()[0]) < 1e-9


def test_warm_up_and_cosine():
    """Of 1,000 steps: 1/20 at the first, full after 20 but for the cosine, one half in the middle, near zero at the end."""
    plan = Training(steps=1000)
    assert plan.scale(0) == pytest.approx(0.05)
    assert plan.scale(9) == pytest.approx(0.5 * (0.5 + 0.5 * math.cos(0.009 * math.pi)))
    assert plan.scale(19) == pytest.approx(0.5 + 0.5 * math.cos(0.019 * math.pi))
    assert plan.scale(500) == pytest.approx(0.5)
    assert plan.scale(250) == pytest.approx(0.5 + 0.5 * math.sqrt(0.5))
    assert 0.0 < plan.scale(999) < 3e-6
    assert Training(steps=10).scale(0) == 1.0
    assert Training(steps=1).scale(0) == 1.0


def test_half_life_of_the_average():
    """A weight 0.02·1000 = 20 steps old counts half; the first steps no longer than they lasted."""
    plan = Training(steps=1000)
    assert plan.decay(900) ** 20 == pytest.approx(0.5)
    assert [plan.decay(step) for step in (0, 1, 8)] == pytest.approx([0.1, 2 / 11, 0.5])
    assert plan.decay(10**6) == pytest.approx(0.5**0.05)
    assert Training(steps=100, half_life=0.5).decay(10**6) ** 50 == pytest.approx(0.5)


def test_the_average_follows_the_weights():
    """decay·average + (1 − decay)·weights, after every step, and what is returned is the average."""
    state = State.fresh(training._begin(LAW, PLAN, SMALL, torch.device("cpu")).network, 3)
    before = state.average.shift.clone()
    with torch.no_grad():
        state.network.shift.add_(1.0)
    state.advance(0.75)
    torch.testing.assert_close(state.average.shift, before + 0.25)
    assert state.step == 1
    kept = training._trained(state, PLAN)
    torch.testing.assert_close(kept.network.shift, (before + 0.25).double(), rtol=1e-7, atol=0.0)


@pytest.mark.parametrize(("step", "scale"), [(0, 0.05), (500, 0.5)])
def test_rates_of_outer_layers(step, scale):
    """Adam's first step is its rate, up to the sign: `rate` for inner weights, rate/√d outside, √λ rate/√d for the mean.

    All times 1/20 at the first of 1,000 steps and one half in the middle: warm-up and cosine.
    """
    plan = replace(PLAN, steps=1000, rate=1e-3 / scale)
    before = training._begin(WIDE, plan, OF_WIDE, torch.device("cpu")).network.state_dict()
    state = training._begin(WIDE, plan, OF_WIDE, torch.device("cpu"))
    state.step = step
    training._step(WIDE, state, plan, lambda *_: None)
    after = state.network.state_dict()
    sizes = {
        "outward.bias": 1e-3,
        "writing": 1e-3 / 8**0.5,
        "shift": 1e-3 / 8**0.5 * float(before["spread"].max()) ** 0.5,
    }
    for name, size in sizes.items():
        assert float((after[name] - before[name]).abs().median()) == pytest.approx(size, rel=1e-2), name


def test_a_draw_is_seen_at_levels_far_apart(monkeypatch):
    """reused=4: a quarter as many draws of X, each at four strata a quarter of the range apart, each with its own noise."""
    plan, asked = replace(PLAN, steps=1, batch=32, reused=4), []
    honest = training.Network.centred

    def centred(self, x, snr):
        asked.append((x.detach().clone(), snr.clone()))
        return honest(self, x, snr)

    monkeypatch.setattr(training.Network, "centred", centred)
    train(LAW, plan, SMALL)
    x, snr = asked[0]
    draws = training.stream(plan.seed, "training step 0", LAW)
    torch.rand(32, generator=draws)
    clean = LAW.sample(8, draws) - train(LAW, plan, SMALL).network.centre
    noise = (x - clean.float().repeat(4, 1)) * snr.sqrt()[:, None]
    assert len(noise.unique()) == 32
    assert float(noise.abs().max()) < 5.0
    assert torch.equal(snr.sort().values, snr)

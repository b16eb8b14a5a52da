"""A training run: decided by its seed alone, however often it stops, and better than the best linear denoiser at its end.

Networks are tiny (16 units); weights and logs are compared bit for bit.
"""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss

from targets import get
from verify.learn import Architecture, Learned, Trained, Training, load, train, training

LAW = get("curved_mixture")
SMALL = Architecture(1, 1, 16, 1)
PLAN = Training(steps=30, batch=32, bands=6, logged=0.7, snr=(0.05, 50.0))
WIDE = get("codebook", n=8, dim=8)
OF_WIDE = Architecture(8, 3, 16, 1)


def same(one: Trained, two: Trained) -> bool:
    """Bit-identical weights and log."""
    values = two.network.state_dict()
    return (
        all(torch.equal(value, values[name]) for name, value in one.network.state_dict().items())
        and one.log.equals(two.log)
        and one.step == two.step
    )


def interrupt(monkeypatch, at: int, error: BaseException) -> None:
    """Raise `error` in the `at`-th call of a step, before anything is done."""
    honest, calls = training._step, []

    def step(*given):
        calls.append(None)
        if len(calls) == at:
            raise error
        honest(*given)

    monkeypatch.setattr(training, "_step", step)


# ---- determinism -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "small"), [(LAW, SMALL), (WIDE, OF_WIDE)])
def test_one_seed_one_network(law, small, tmp_path):
    """The same with a file or without, with a bar or without; another seed gives another network."""
    first = train(law, PLAN, small)
    assert same(first, train(law, PLAN, small))
    assert same(first, train(law, PLAN, small, file=tmp_path / "new" / "a.safetensors", progress=True))
    assert not same(first, train(law, replace(PLAN, seed=1), small))
    assert first.step == PLAN.steps
    assert first.training == PLAN
    assert first.network.shift.dtype == torch.float64
    assert not any(p.requires_grad for p in first.network.parameters())


def test_the_seed_decides_the_start():
    """Before the first step: inner weights, and the draws behind mean and directions."""
    first, again, other = (
        training._begin(WIDE, replace(PLAN, seed=seed), OF_WIDE, torch.device("cpu")).network.state_dict()
        for seed in (0, 0, 1)
    )
    for name in ("inward.weight", "blocks.0.outer.weight", "centre", "reading", "spread"):
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name]), name


def test_the_global_generator_is_not_touched(tmp_path):
    torch.manual_seed(5)
    before, numpys = torch.random.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    first = train(LAW, PLAN, SMALL, file=tmp_path / "a")
    load(tmp_path / "a", LAW)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpys).all()  # noqa: NPY002
    assert torch.initial_seed() == 5
    torch.manual_seed(6)
    assert same(first, train(LAW, PLAN, SMALL))


@pytest.mark.parametrize(("law", "small"), [(LAW, SMALL), (WIDE, OF_WIDE)])
@pytest.mark.parametrize("stops", [(1,), (26,), (9, 8, 7)])
def test_interrupted_and_resumed(law, small, stops, tmp_path, monkeypatch):
    """Stopped by the user at one step or at several, it goes on to the network and the log of an undisturbed run."""
    plan, file = replace(PLAN, steps=40), tmp_path / "run"
    whole = train(law, plan, small)
    for stop in stops:
        with monkeypatch.context() as patched:
            interrupt(patched, stop, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                train(law, plan, small, file=file)
    assert same(train(law, plan, small, file=file), whole)
    assert same(load(file, law), whole)


def test_a_resumed_run_repeats_no_more_than_a_twentieth(tmp_path, monkeypatch):
    """Of 60 steps stopped in the 50th, 48 are kept; a finished run takes no step."""
    plan, counted = replace(PLAN, steps=60), []
    with monkeypatch.context() as patched:
        interrupt(patched, 50, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(LAW, plan, SMALL, file=tmp_path / "run")
    assert load(tmp_path / "run", LAW).step == 48
    honest = training._step
    monkeypatch.setattr(training, "_step", lambda *given: (counted.append(None), honest(*given)))
    train(LAW, plan, SMALL, file=tmp_path / "run")
    assert len(counted) == 12
    train(LAW, plan, SMALL, file=tmp_path / "run")
    assert len(counted) == 12


KILLED = """
import os, signal, sys, torch
from targets import get
from verify.learn import Architecture, Training, train, training
torch.set_num_threads(1)
honest, calls = training._step, []
def step(*given):
    calls.append(None)
    if len(calls) == 23:
        os.kill(os.getpid(), signal.SIGKILL)
    honest(*given)
training._step = step
train(get("codebook", n=8, dim=8), Training(steps=60, batch=32, bands=6, logged=0.7, snr=(0.05, 50.0)),
      Architecture(8, 3, 16, 1), file=sys.argv[1])
"""


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """A process that is really killed in its 23rd step leaves a checkpoint from which the run ends the same."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run")], env=dict(os.environ), timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert load(tmp_path / "run", WIDE).step == 21
    plan = replace(PLAN, steps=60)
    assert same(train(WIDE, plan, OF_WIDE, file=tmp_path / "run"), train(WIDE, plan, OF_WIDE))


# ---- what it learns --------------------------------------------------------------------------------------------------


def excess_path(network, law=LAW) -> float:
    """½∫E‖m̂ − m‖²dγ over the range, Gauss–Legendre in log γ."""
    node, weight = leggauss(16)
    low, high = math.log(0.05), math.log(50.0)
    snr = np.exp(low + 0.5 * (high - low) * (1.0 + node))
    square = Learned(law, network).moments(np.ones_like(snr), snr**-0.5).square[0]
    return float(0.5 * square @ (0.5 * (high - low) * weight * snr))


def test_training_takes_most_of_the_error_away():
    """On the curved mixture at most a third of the best linear denoiser's ½∫E‖m̂ − m‖²dγ is left after 300 steps."""
    plan = Training(steps=300, batch=256, rate=1e-2, snr=(0.05, 50.0))
    small = Architecture(1, 1, 32, 1)
    untrained = training._trained(training._begin(LAW, plan, small, torch.device("cpu")), plan)
    assert excess_path(train(LAW, plan, small).network) < excess_path(untrained.network) / 3.0


@pytest.mark.slow
def test_the_average_is_better_than_the_weights():
    """Before the cosine brings the rate down, in each of three runs, and by 8% of ½∫E‖m̂ − m‖²dγ in all."""
    last, averaged, law = [], [], WIDE.to(dtype=torch.float32)
    for seed in range(3):
        plan = Training(steps=1000, batch=16, rate=2e-2, half_life=0.1, snr=(0.05, 50.0), seed=seed)
        state = training._begin(WIDE, plan, Architecture(8, 8, 32, 1), torch.device("cpu"))
        for _ in range(500):
            training._step(law, state, plan, lambda *_: None)
        averaged.append(excess_path(training._trained(state, plan).network, WIDE))
        last.append(excess_path(state.network.double(), WIDE))
    assert all(mean < weights for mean, weights in zip(averaged, last, strict=True))
    assert sum(averaged) < 0.92 * sum(last)


# ---- on a GPU --------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_learns_as_well_as_the_cpu(tmp_path, monkeypatch):
    """Errors within a factor of 1.5, the same run after an interruption to 1e-4, and the file is read on both."""
    plan, small = Training(steps=300, batch=256, rate=1e-2, snr=(0.05, 50.0)), Architecture(1, 1, 32, 1)
    there = LAW.to(device="cuda")
    here, whole = train(LAW, plan, small), train(there, plan, small, file=tmp_path / "whole")
    assert whole.network.shift.device.type == "cuda"
    assert 1 / 1.5 < excess_path(whole.network.cpu()) / excess_path(here.network) < 1.5
    with monkeypatch.context() as patched:
        interrupt(patched, 200, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(there, plan, small, file=tmp_path / "run")
    resumed = train(there, plan, small, file=tmp_path / "run")
    assert excess_path(resumed.network.cpu()) == pytest.approx(excess_path(whole.network), rel=1e-3)
    assert load(tmp_path / "whole", LAW).network.shift.device.type == "cpu"
    assert load(tmp_path / "whole", there).network.shift.device.type == "cuda"

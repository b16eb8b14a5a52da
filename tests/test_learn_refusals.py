"""Runs that cannot be: numbers refused by name before a step is made, and failures that name their cause and what is left."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_learn_training import LAW, OF_WIDE, PLAN, SMALL, WIDE, interrupt, same

from targets import ArgumentError, Discrete, get, point_mass
from verify.learn import Architecture, DivergedError, Training, load, train, training

# ---- refusals --------------------------------------------------------------------------------------------------------

NOT_COUNTS = st.one_of(
    st.integers(max_value=-1),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.just(math.nan),
    st.just([3]),
)
NOT_RATES = st.one_of(
    st.floats(max_value=0.0), st.sampled_from([math.nan, math.inf, -math.inf, "x", None, [1.0], 10**400, 1j])
)
NOT_SHARES = st.one_of(NOT_RATES, st.floats(min_value=1.0001))
NOT_RANGES = st.one_of(
    st.sampled_from([(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)]),
    st.sampled_from([(1.0,), (1.0, 2.0, 3.0), [0.1, 1.0], 1.0, "ab", ("a", 1.0), {0.1: 1, 1.0: 2}]),
)
BAD = {
    "steps": st.one_of(NOT_COUNTS, st.just(0)),
    "batch": st.one_of(NOT_COUNTS, st.just(0)),
    "bands": st.one_of(NOT_COUNTS, st.just(0)),
    "reused": st.one_of(NOT_COUNTS, st.sampled_from([0, 3, 2048])),
    "seed": st.one_of(NOT_COUNTS, st.just(2**64)),
    "rate": NOT_RATES,
    "half_life": st.one_of(NOT_SHARES, st.just(1.0)),
    "logged": NOT_SHARES,
    "snr": NOT_RANGES,
}


@pytest.mark.parametrize("field", BAD)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_bad_training_numbers_are_refused_by_name(field, data):
    with pytest.raises(ArgumentError, match=rf"^{field} = "):
        Training(**{field: data.draw(BAD[field])})


@pytest.mark.parametrize("field", ["dim", "rank", "width", "blocks"])
@settings(max_examples=25, deadline=None)
@given(value=st.one_of(NOT_COUNTS, st.just(0)))
def test_bad_architectures_are_refused_by_name(field, value):
    good = {"dim": 5, "rank": 3, "width": 8, "blocks": 1}
    with pytest.raises(ArgumentError, match=rf"^{field} = "):
        Architecture(**{**good, field: value})
    with pytest.raises(ArgumentError, match="dim = 2: expected an integer >= 3"):
        Architecture(2, 3, 8)


def test_numbers_of_numpy_are_numbers(tmp_path):
    """np.int64 and np.float32 in, the same run and a file that is read back."""
    exotic = Training(
        steps=np.int64(3),  # type: ignore[arg-type]
        batch=np.int32(8),  # type: ignore[arg-type]
        rate=np.float32(0.5),  # type: ignore[arg-type]
        snr=(np.float32(0.5), np.float64(2)),  # type: ignore[arg-type]
    )
    small = Architecture(np.int64(1), np.int64(1), np.int64(16), np.int64(1))  # type: ignore[arg-type]
    plain = train(LAW, Training(steps=3, batch=8, rate=0.5, snr=(0.5, 2.0)), SMALL)
    assert same(train(LAW, exotic, small, file=tmp_path / "a"), plain)
    assert same(load(tmp_path / "a", LAW), plain)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("normal", PLAN), "target = 'normal': expected a target"),
        ((LAW.to(dtype=torch.float32), PLAN), "target dtype = torch.float32: expected float64"),
        ((LAW, PLAN, Architecture(2, 1, 16)), "architecture.dim = 2: expected the target's dimension, 1"),
        ((point_mass([1.0, 2.0]), replace(PLAN, snr=None)), "target = .*: expected a law that varies"),
        (
            (get("gaussian", dim=3000), PLAN, Architecture(3000, 2049, 16)),
            "architecture.rank = 2049: expected at most 2048",
        ),
    ],
)
def test_runs_are_refused_before_work(given, message, monkeypatch):
    monkeypatch.setattr(training, "_step", lambda *_: pytest.fail("a step was made"))
    with pytest.raises(ArgumentError, match=message):
        train(*given)


def test_the_range_is_the_law_s_own_unless_given():
    """A thousandth of the entropy told at the lower end, all but a thousandth at the upper one."""
    low, high = train(WIDE, Training(steps=1, batch=4), OF_WIDE).network.logsnr.exp().tolist()
    told = [float(WIDE.mutual_information(snr).value) / float(WIDE.entropy().value) for snr in (low, high)]
    assert told == pytest.approx([0.001, 0.999], rel=0.01)
    assert train(WIDE, PLAN, OF_WIDE).network.logsnr.exp().tolist() == pytest.approx([0.05, 50.0], rel=1e-6)


def test_few_atoms_are_learned_without_nan():
    law = Discrete([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]], [0.5, 0.5])
    trained = train(law, replace(PLAN, steps=10), Architecture(3, 3, 16, 1))
    assert all(bool(value.isfinite().all()) for value in trained.network.state_dict().values())
    assert bool(np.isfinite(trained.log.to_numpy()).all())


# ---- runs that fail --------------------------------------------------------------------------------------------------


def test_a_rate_that_diverges_names_step_level_and_checkpoint(tmp_path):
    plan, file = replace(PLAN, steps=60, rate=1e30), tmp_path / "run"
    with pytest.raises(DivergedError, match=r"not finite at step 1 and log snr -?\d") as caught:
        train(LAW, plan, SMALL, file=file)
    assert "rate (now 1e+30)" in str(caught.value)
    assert file.exists() == ("last good checkpoint" in str(caught.value))
    with pytest.raises(DivergedError, match="no file was given"):
        train(LAW, plan, SMALL)


@pytest.mark.parametrize("steps", [1, 5, 60])
def test_weights_that_are_not_finite_are_never_kept(steps, tmp_path):
    """rate=1e300 is infinite in float32: the first step, be it the last one too, raises and leaves no such file."""
    file = tmp_path / "run"
    with pytest.raises(DivergedError, match="not finite"):
        train(LAW, replace(PLAN, steps=steps, rate=1e300), SMALL, file=file)
    assert not file.exists()


def test_a_nan_of_the_law_stops_the_run_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    """The 32nd step's draws hold a NaN: named with its level; 30 steps are on disk, finite, and can go on.

    Every third step is kept, after a look at the draws of the next one: 42 draws are those of 31 steps and 10 looks, and one.
    """
    plan, file = replace(PLAN, steps=60), tmp_path / "run"
    whole = train(LAW, plan, SMALL)
    honest, calls = type(LAW)._sample, []

    def poisoned(self, n, generator):
        drawn = honest(self, n, generator)
        calls.append(None)
        if len(calls) == 1 + 42:  # one call for the principal directions
            drawn[20] = math.nan
        return drawn

    with monkeypatch.context() as patched:
        patched.setattr(type(LAW), "_sample", poisoned)
        with pytest.raises(DivergedError, match=r"loss is not finite at step 31 and log snr (-?\d+\.\d+)") as caught:
            train(LAW, plan, SMALL, file=file)
    level = float(str(caught.value).split("log snr ")[1].split(";")[0])
    low, high = math.log(0.05), math.log(50.0)
    assert low + (high - low) * 20 / 32 - 1e-3 <= level <= low + (high - low) * 21 / 32 + 1e-3
    assert f"last good checkpoint: {file}" in str(caught.value)
    left = load(file, LAW)
    assert left.step == 30
    assert all(bool(value.isfinite().all()) for value in left.network.state_dict().values())
    assert same(train(LAW, plan, SMALL, file=file), whole)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    honest, file = training._begin, tmp_path / "run"

    def begin(*given):
        state = honest(*given)
        state.network.outward.bias.register_hook(lambda gradient: gradient * (math.nan if state.step == 7 else 1.0))
        return state

    monkeypatch.setattr(training, "_begin", begin)
    with pytest.raises(
        DivergedError, match=r"gradient is not finite at step 7, .* log snr -?\d+\.\d+; lower rate"
    ) as caught:
        train(LAW, PLAN, SMALL, file=file)
    assert f"last good checkpoint: {file}" in str(caught.value)
    assert load(file, LAW).step == 7


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes. Error code 12"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        MemoryError("Unable to allocate 2.00 TiB for an array"),
    ],
)
@pytest.mark.parametrize("where", ["_step", "_begin"])
def test_out_of_memory_says_what_to_lower(error, where, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(training, where, fail)
    with pytest.raises(ArgumentError, match="out of memory") as caught:
        train(LAW, PLAN, SMALL)
    for words in ("batch (now 32)", "width (now 16)", "blocks (now 1)", "rank (now 1)"):
        assert words in str(caught.value)
    assert caught.value.__cause__ is error


def test_another_error_passes_through(monkeypatch):
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    interrupt(monkeypatch, 3, error)
    with pytest.raises(RuntimeError) as caught:
        train(LAW, PLAN, SMALL)
    assert caught.value is error

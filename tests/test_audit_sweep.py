"""The configuration sweep: the law of one run, outcomes of planted faults, and public reports found again."""

import json
import re
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from targets import ArgumentError
from verify import Grid, samplers
from verify.audit.covering import STEPS
from verify.audit.gaussian_run import MEAN, VARIANCE, denoise, error, euler, probe
from verify.audit.options import Case
from verify.audit.order import as_sampler
from verify.audit.outcome import FAILURES, observe
from verify.audit.sweep import BUDGET, PATIENCE, sweep, sweep_class

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("covertable")


def failures(cls, steps=(1, 2, 20, 50), seconds=5.0):
    return sweep_class(cls, steps, seconds)


# ---- the Gaussian run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("build", "noisy"), [(samplers.ddim, False), (samplers.ddpm, True)])
@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
def test_euler_is_our_table(build, noisy, process):
    """The recursion for Euler's method and the probed law of our own tables agree to rounding."""
    grid = Grid.log_snr(12, snr=(0.02, 300.0), process=process)
    generator = torch.Generator().manual_seed(1)

    def run(start):
        return as_sampler(build)(lambda y, at: denoise(y, at.alpha, at.sigma), grid, start, generator)

    law = probe(run, scale=2.0, draws=3, dtype=torch.float64)
    pairs = [(level.alpha, level.sigma) for level in grid.levels]
    ours = euler(pairs, stochastic=noisy)
    assert law.stochastic == noisy
    assert np.allclose(law.gain, ours.gain, rtol=1e-12)
    assert np.allclose(law.offset, ours.offset, rtol=1e-11, atol=1e-13)
    assert np.allclose((law.noise**2).sum(0), (ours.noise**2).sum(0), rtol=1e-12)
    assert error(law, pairs[0], pairs[-1]) == pytest.approx(error(ours, pairs[0], pairs[-1]), rel=1e-9)


def test_error_is_the_distance_to_the_exact_flow():
    """Zero for the exact map; for ddim on a fine grid its first-order error; by hand for a shifted one."""
    first, last = (0.1, 0.9), (1.0, 0.05)
    variance = np.array(VARIANCE)
    gain = np.sqrt((last[0] ** 2 * variance + last[1] ** 2) / (first[0] ** 2 * variance + first[1] ** 2))

    def exact(start):
        return torch.from_numpy(gain) * (start - first[0] * torch.tensor(MEAN)) + torch.tensor(MEAN)

    law = probe(exact, scale=1.0, draws=0, dtype=torch.float64)
    assert error(law, first, last) < 1e-7
    moved = probe(lambda start: exact(start) + torch.tensor([0.03, 0.04]), scale=1.0, draws=0, dtype=torch.float64)
    assert error(moved, first, last) == pytest.approx(0.05, rel=1e-5)
    turned = probe(lambda start: -exact(start), scale=1.0, draws=0, dtype=torch.float64)
    assert error(turned, first, last) > 2.0
    noise = [np.exp(np.linspace(np.log(9.0), np.log(0.05), k + 1)) for k in (50, 100)]
    halves = [error(euler([(1.0, s) for s in row], stochastic=False), (1.0, 9.0), (1.0, 0.05)) for row in noise]
    assert halves[0] / halves[1] == pytest.approx(2.0, abs=0.1)


def test_probe_asks_again_when_more_is_drawn():
    """A sampler that draws more than expected is probed with more rows; another shape is refused."""

    def many(start):
        for _ in range(7):
            start = 0.5 * start + torch.randn_like(start)
        return start

    law = probe(many, scale=1.0, draws=2, dtype=torch.float64)
    assert len(law.noise) == 7
    assert np.allclose((law.noise**2).sum(0), sum(0.25**j for j in range(7)))
    with pytest.raises(ValueError, match="shape"):
        probe(lambda start: start[:, :1], scale=1.0, draws=0)


# ---- outcomes of planted faults ----------------------------------------------------------------------------


class Plain(diffusers.FlowMatchEulerDiscreteScheduler):
    """Nothing wrong, few options."""

    def __init__(self, shift: float = 1.0):
        super().__init__(shift=shift)


class RaisesInStep(Plain):
    def step(self, model_output, timestep, sample, return_dict=True):
        if self.shift == 3.0 and float(timestep) < 500.0:
            raise KeyError("lost")
        return super().step(model_output, timestep, sample, return_dict=return_dict)


class NotANumber(Plain):
    def step(self, model_output, timestep, sample, return_dict=True):
        return (super().step(model_output, timestep, sample).prev_sample * float("nan"),)


class OneMissing(Plain):
    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(max(num_inference_steps - 1, 1), device)


class OneTooMany(Plain):
    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps + 1, device)


class Repeats(Plain):
    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps, device)
        if num_inference_steps > 4:
            self.sigmas[3] = self.sigmas[2]


class StopsEarly(Plain):
    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps, device)
        self.sigmas[-1] = self.sigmas[-2]


class NeverEnds(Plain):
    def step(self, model_output, timestep, sample, return_dict=True):
        while True:
            time.sleep(0.01)


class OtherShape(Plain):
    def step(self, model_output, timestep, sample, return_dict=True):
        return (super().step(model_output, timestep, sample).prev_sample[:, :1],)


class OneSymbol(Plain):
    """Steps with σ instead of σ − σ′."""

    def step(self, model_output, timestep, sample, return_dict=True):
        at = self.index_for_timestep(timestep) if self.step_index is None else self.step_index
        out = super().step(model_output, timestep, sample).prev_sample
        return (out + 0.1 * self.sigmas[at + 1] * model_output,)


class Refuses(Plain):
    def __init__(self, shift: float = 1.0):
        if shift != 1.0:
            raise ValueError("shift has to be 1")
        super().__init__()

    def set_timesteps(self, num_inference_steps, device=None):
        if num_inference_steps < 2:
            raise ValueError("at least two steps")
        super().set_timesteps(num_inference_steps, device)


class Exits(Plain):
    def step(self, model_output, timestep, sample, return_dict=True):
        raise SystemExit(3)


def test_a_correct_class_has_no_failures():
    assert failures(Plain) == []
    assert failures(Refuses) == []
    assert observe(Refuses, Case({"shift": 3.0}, 20)).kind == "refused"
    assert "shift has to be 1" in observe(Refuses, Case({"shift": 3.0}, 20)).message


@pytest.mark.parametrize(
    ("cls", "kind", "options", "steps", "says"),
    [
        (RaisesInStep, "exception", {"shift": 3.0}, 20, "KeyError: 'lost'"),
        (NotANumber, "not finite", {}, 20, "not finite"),
        (OneMissing, "wrong steps", {}, 20, "19 evaluations, 20 expected"),
        (OneTooMany, "wrong steps", {}, 20, "21 evaluations, 20 expected"),
        (Repeats, "wrong steps", {}, 20, "steps 2 and 3 start at the same level"),
        (StopsEarly, "wrong steps", {}, 20, "the last step starts and ends at sigma/alpha"),
        (OtherShape, "wrong shape", {}, 20, r"\(\d+, 1, 1, 1\) for \(\d+, 2, 1, 1\)"),
        (OneSymbol, "inaccurate", {}, 20, "from the exact flow; Euler's method on the same levels"),
        (Exits, "exception", {}, 20, "SystemExit: 3"),
    ],
)
def test_planted_faults_are_found_and_reduced(cls, kind, options, steps, says):
    found = failures(cls)
    assert len(found) == 1, [(one.kind, one.message) for one in found]
    one = found[0]
    assert (one.kind, dict(one.options), one.steps) == (kind, options, steps)
    assert one.kind in FAILURES
    assert re.search(says, one.message)
    assert one.count >= 2
    assert set(one.seen_at) <= {1, 2, 20, 50}
    assert json.loads(json.dumps(one.row))["kind"] == kind


def test_what_never_ends_is_cut_off():
    began = time.monotonic()
    outcome = observe(NeverEnds, Case({}, 2), seconds=0.3)
    assert outcome.kind == "time limit"
    assert "0.3 s" in outcome.message
    assert time.monotonic() - began < 5.0
    found = failures(NeverEnds, steps=(2,), seconds=0.2)
    assert {one.kind for one in found} == {"time limit"}


def test_one_class_never_stops_the_others():
    class Broken(Plain):
        @property
        def order(self):
            raise RuntimeError("no order")

        __init__ = None  # type: ignore[assignment]

    found = sweep(names=[Exits, Broken, NotANumber], preset="quick", seconds=5.0)
    assert [one.name for one in found if one.name != "Broken"] == ["Exits", "NotANumber"]


# ---- diffusers ---------------------------------------------------------------------------------------------


def run_code(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="a report on diffusers 0.42.1")
def test_the_report_on_duplicate_timesteps_is_found():
    """huggingface/diffusers#12771: a cosine schedule with Karras's sigmas runs past its table; found, reduced to itself."""
    cls = diffusers.DPMSolverMultistepScheduler
    found = sweep_class(cls, (20,), 10.0)
    report = {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}
    one = next(one for one in found if dict(one.options) == report)
    assert (one.kind, one.steps) == ("exception", 20)
    assert "IndexError: index 21 is out of bounds for dimension 0 with size 21" in one.message
    shown = run_code(one.reproduction)
    assert "truerate" not in one.reproduction
    assert "verify" not in one.reproduction
    assert shown.returncode == 1
    assert "IndexError: index 21" in shown.stderr


@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="a report on diffusers 0.42.1")
def test_the_reports_on_flow_matching_are_found():
    """#14411: one step with a terminal shift; fresh noise in every step, which leaves the data's law at no K."""
    found = {
        (one.kind, tuple(one.options), one.steps): one
        for one in failures(diffusers.FlowMatchEulerDiscreteScheduler, steps=(1, 50))
    }
    one = found["exception", ("shift_terminal",), 1]
    assert run_code(one.reproduction).returncode == 1
    noisy = found["inaccurate", ("stochastic_sampling",), 50]
    lines = run_code(noisy.reproduction).stdout.splitlines()
    std = next(line for line in lines if line.startswith("std"))
    wanted, got = (eval(part) for part in std.removeprefix("std: expected ").split(" got "))
    assert wanted == pytest.approx([0.5, 1.2], rel=1e-6)
    assert max(abs(a - b) for a, b in zip(wanted, got, strict=True)) > 0.2


def test_names_and_numbers_are_checked():
    with pytest.raises(ArgumentError, match="did you mean 'DDIMScheduler'"):
        sweep(names=["DDIMSchedular"])
    with pytest.raises(ArgumentError, match="library = 'difusers'"):
        sweep("difusers")
    with pytest.raises(ArgumentError, match="preset"):
        sweep(names=["DDIMScheduler"], preset="slow")
    with pytest.raises(ArgumentError, match="seconds"):
        sweep(names=["DDIMScheduler"], seconds=-1.0)
    with pytest.raises(ArgumentError, match="names"):
        sweep(names="DDIMScheduler")
    assert STEPS.keys() == BUDGET.keys() == PATIENCE.keys()
    assert all(a < b for row in STEPS.values() for a, b in pairwise(row))

"""The configuration sweep: outcomes of planted faults, and public reports found again."""

import json
import re
import subprocess
import sys
import time

import pytest
import torch

from verify.audit.options import Case
from verify.audit.outcome import FAILURES, observe
from verify.audit.reproduction import reproduction
from verify.audit.sweep import CONFIGURATIONS, sweep, sweep_class

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("covertable")


def failures(cls, steps=(1, 2, 20, 50), seconds=5.0):
    return list(sweep_class(cls, steps, seconds).failures)


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


class TooMuchNoise(diffusers.EulerAncestralDiscreteScheduler):
    """Ancestral steps, and fresh noise beside."""

    def __init__(self, timestep_spacing: str = "linspace"):
        super().__init__(timestep_spacing=timestep_spacing)

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        out = super().step(model_output, timestep, sample, generator=generator).prev_sample
        return (out + 2.0 * self.sigmas[self.step_index] * torch.randn(out.shape, generator=generator),)


class Unstable(Plain):
    """Wrong by an amount that ten more steps make small."""

    def step(self, model_output, timestep, sample, return_dict=True):
        out = super().step(model_output, timestep, sample).prev_sample
        return (out + 400.0 * self.num_inference_steps**-3.0 * model_output,)


class RefusesAll(Plain):
    def set_timesteps(self, num_inference_steps, device=None):
        raise ValueError("no number of steps is right")


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


def test_clean_is_told_from_refused():
    """Each class has its record: what was planned, what was tried, how it ended."""
    clean, refused, all_refused = (sweep_class(cls, (1, 2, 20, 50), 5.0) for cls in (Plain, Refuses, RefusesAll))
    assert (clean.failures, clean.tried, dict(clean.counts)) == ((), clean.planned, {"ok": clean.planned})
    assert clean.planned == 12
    assert dict(refused.counts) == {"refused": 1, "ok": 6}
    assert (all_refused.planned, all_refused.tried, dict(all_refused.counts)) == (4, 4, {"refused": 4})
    some = sweep_class(Exits, (1, 2, 20, 50), 5.0, most=5)
    assert (some.name, some.planned, some.tried, dict(some.counts)) == ("Exits", 8, 5, {"exception": 5})
    assert some.failures[0].runs == 5


def test_unstable_is_not_inaccurate():
    """What five times the steps put right is no failure, and it is told; Heun's method on a steep schedule."""
    swept = sweep_class(Unstable, (20,), 5.0)
    assert swept.failures == ()
    assert set(swept.counts) == {"unstable"}
    outcome = observe(diffusers.HeunDiscreteScheduler, Case({"beta_schedule": "squaredcos_cap_v2"}, 20))
    assert (outcome.kind, outcome.failed) == ("unstable", False)
    assert "with 100 steps" in outcome.message
    outcome = observe(OneSymbol, Case({}, 20))
    assert (outcome.kind, outcome.failed) == ("inaccurate", True)
    assert "with 100 steps" in outcome.message


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
        ("FlowMatchLCMScheduler", {}),
        ("LCMScheduler", {}),
        ("TCDScheduler", {"eta": 1.0}),
        ("TCDScheduler", {"eta": 1.0, "beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_states_made_anew_promise_nothing(name, options):
    """One rule, from what the states do: fresh noise around each prediction says nothing of accuracy."""
    outcome = observe(getattr(diffusers, name), Case(options, 50))
    assert (outcome.kind, outcome.seen["stochastic"]) == ("ok", True)
    assert "error" not in outcome.seen
    assert "error" in observe(diffusers.DDPMScheduler, Case({}, 50)).seen


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
        (TooMuchNoise, "inaccurate", {}, 20, "from the exact law; ancestral sampling on the same levels"),
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

    swept = sweep(names=[Exits, Broken, NotANumber], preset="quick", seconds=5.0)
    assert [one.name for one in swept] == ["Exits", "Broken", "NotANumber"]
    assert swept[0].failures
    assert swept[2].failures


# ---- diffusers ---------------------------------------------------------------------------------------------


def run_code(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="a report on diffusers 0.42.1")
def test_the_report_on_duplicate_timesteps_is_found():
    """huggingface/diffusers#12771: a cosine schedule with Karras's sigmas runs past its table; found, reduced to itself."""
    cls = diffusers.DPMSolverMultistepScheduler
    found = sweep_class(cls, (20,), 10.0).failures
    report = {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}
    one = next(one for one in found if dict(one.options) == report)
    assert (one.kind, one.steps) == ("exception", 20)
    assert "IndexError: index 21 is out of bounds for dimension 0 with size 21" in one.message
    shown = run_code(one.reproduction)
    assert "truerate" not in one.reproduction
    assert "verify" not in one.reproduction
    assert shown.returncode == 1
    assert "IndexError: index 21" in shown.stderr


@pytest.mark.slow
@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="a report on diffusers 0.42.1")
def test_the_reports_on_flow_matching_are_found():
    """#14411: one step with a terminal shift; churned states whose noise is not that of the level."""
    found = {
        (one.kind, tuple(one.options), one.steps): one
        for cls in (diffusers.FlowMatchEulerDiscreteScheduler, diffusers.FlowMatchHeunDiscreteScheduler)
        for one in failures(cls, steps=(1, 50))
    }
    one = found["exception", ("shift_terminal",), 1]
    assert run_code(one.reproduction).returncode == 1
    assert not any(options == ("stochastic_sampling",) for _, options, _ in found)
    noisy = found["inaccurate", ("s_churn",), 50]
    lines = run_code(noisy.reproduction).stdout.splitlines()
    std = next(line for line in lines if line.startswith("std"))
    wanted, got = (eval(part) for part in std.removeprefix("std: expected ").split(" got "))
    assert wanted == pytest.approx([0.5, 1.2], rel=1e-6)
    assert max(abs(a - b) for a, b in zip(wanted, got, strict=True)) > 0.15


@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="a report on diffusers 0.42.1")
@pytest.mark.parametrize("preset", ["quick", pytest.param("full", marks=pytest.mark.slow)])
def test_either_preset_finds_the_reports(preset):
    """The first configurations of the array are enough for them."""
    swept = sweep(
        names=["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DDPMScheduler"], preset=preset, seconds=30.0
    )
    assert all(0 < one.tried == sum(one.counts.values()) <= one.planned for one in swept)
    assert all(CONFIGURATIONS[preset] < one.tried for one in swept)
    assert all(1000 in one.long and (preset == "quick") == (one.long[1000] < 0.8) for one in swept)
    found = {(one.kind, tuple(one.options.items())) for row in swept for one in row.failures}
    assert found >= {
        ("exception", (("use_karras_sigmas", True), ("beta_schedule", "squaredcos_cap_v2"))),
        ("not finite", (("predict_x0", False),)),
        ("not finite", (("solver_type", "bh1"),)),
        ("not finite", (("variance_type", "fixed_large_log"),)),
    }


@pytest.mark.slow
@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="a report on diffusers 0.42.1")
def test_a_last_level_that_is_not_zero_is_shown():
    """The loop ends one entry before the table does: both lengths and the level are printed."""
    case = Case({"interpolation_type": "log_linear"}, 20)
    outcome = observe(diffusers.EulerDiscreteScheduler, case)
    assert (outcome.kind, outcome.sign) == ("wrong steps", "last level")
    shown = run_code(reproduction(diffusers.EulerDiscreteScheduler, case, outcome)).stdout.splitlines()
    assert shown[0] == "timesteps: 20 sigmas: 22"
    assert float(shown[1].removeprefix("last level: expected 0, got ")) == pytest.approx(0.0100013, rel=1e-5)

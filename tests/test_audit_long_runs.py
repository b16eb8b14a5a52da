"""The sweep at the largest number of steps: every option value is run there, and what fails there alone is found."""

import subprocess
import sys

import pytest
import torch

from verify.audit.options import Case
from verify.audit.outcome import observe
from verify.audit.sweep import sweep, sweep_class

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("covertable")


class Plain(diffusers.FlowMatchEulerDiscreteScheduler):
    """Nothing wrong, few options."""

    def __init__(self, shift: float = 1.0):
        super().__init__(shift=shift)


class OneSymbol(Plain):
    """Steps with σ instead of σ − σ′."""

    def step(self, model_output, timestep, sample, return_dict=True):
        at = self.index_for_timestep(timestep) if self.step_index is None else self.step_index
        out = super().step(model_output, timestep, sample).prev_sample
        return (out + 0.1 * self.sigmas[at + 1] * model_output,)


def failures(cls, steps, seconds=5.0):
    return list(sweep_class(cls, steps, seconds).failures)


def asking(asked):
    """A right class of two options that notes the K and the options of its runs."""

    class Asks(Plain):
        def __init__(self, shift: float = 1.0, use_dynamic_shifting: bool = False):
            super().__init__(shift=shift)
            self.marked = use_dynamic_shifting

        def set_timesteps(self, num_inference_steps, device=None):
            asked.append((num_inference_steps, self.shift, self.marked))
            super().set_timesteps(num_inference_steps, device)

    return Asks


def test_every_option_value_is_run_at_the_largest_number_of_steps():
    """The defaults at each K above 100; at the last, with them, as few rows as hold every value."""
    asked = []
    swept = sweep_class(asking(asked), (20, 120, 150), 5.0)
    assert {one for one in asked if one[0] == 120} == {(120, 1.0, False)}
    at_last = {one for one in asked if one[0] == 150}
    assert len(at_last) <= 3
    assert at_last >= {(150, 1.0, False)}
    assert (swept.failures, dict(swept.long)) == ((), {120: 0.5, 150: 1.0})
    asked.clear()
    swept = sweep_class(asking(asked), (20, 150), 5.0, rows=0)
    assert {one for one in asked if one[0] == 150} == {(150, 1.0, False)}
    assert swept.tried == sum(swept.counts.values())


class PastItsTable(Plain):
    """Its table has 150 entries: the offset runs past it, and at the last number of steps alone."""

    def __init__(self, steps_offset: int = 0, shift: float = 1.0):
        super().__init__(shift=shift)
        self.offset = steps_offset

    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps, device)
        torch.arange(150)[num_inference_steps - 1 + self.offset]


class FailsAtTheLast(PastItsTable):
    """Its defaults fail at the largest K; at one step less an option does."""

    def set_timesteps(self, num_inference_steps, device=None):
        super().set_timesteps(num_inference_steps, device)
        if num_inference_steps == 150:
            self.sigmas[3] = self.sigmas[2]
        if num_inference_steps == 149 and self.config.shift == 3.0:
            self.sigmas[-1] = self.sigmas[-2]


def test_a_failure_that_needs_the_largest_number_of_steps_is_found_and_reduced():
    found = {
        (one.kind, tuple(one.options.items()), one.steps): one for one in failures(PastItsTable, (2, 20, 149, 150))
    }
    assert set(found) == {("exception", (("steps_offset", 1),), 150)}
    (one,) = found.values()
    assert one.seen_at == (150,)
    assert "IndexError: index 150 is out of bounds" in one.message


def test_defaults_that_fail_at_the_largest_number_of_steps_hide_nothing_at_one_less():
    found = {(one.kind, tuple(one.options.items()), one.steps) for one in failures(FailsAtTheLast, (2, 20, 149, 150))}
    assert found >= {("wrong steps", (), 150), ("wrong steps", (("shift", 3.0),), 149)}


def test_a_known_failure_hides_nothing_at_the_largest_number_of_steps():
    """What fails at 20 steps by itself has a row of its own there, and is no new failure."""

    class Both(PastItsTable):
        def step(self, model_output, timestep, sample, return_dict=True):
            if self.config.shift == 3.0:
                raise KeyError("lost")
            return super().step(model_output, timestep, sample, return_dict=return_dict)

    found = {(one.kind, tuple(one.options.items()), one.steps): one for one in failures(Both, (2, 20, 150))}
    assert set(found) == {("exception", (("shift", 3.0),), 20), ("exception", (("steps_offset", 1),), 150)}
    assert 150 in found["exception", (("shift", 3.0),), 20].seen_at
    assert found["exception", (("steps_offset", 1),), 150].seen_at == (150,)


def test_nothing_is_excused_by_too_few_steps_at_five_hundred():
    """From 500 steps on five times as many are not tried."""
    asked = []

    class Counted(OneSymbol):
        def set_timesteps(self, num_inference_steps, device=None):
            asked.append(num_inference_steps)
            super().set_timesteps(num_inference_steps, device)

    assert observe(Counted, Case({}, 500)).kind == "inaccurate"
    assert set(asked) <= {10, 500}
    assert observe(Counted, Case({}, 20)).kind == "inaccurate"
    assert 100 in asked


@pytest.mark.slow
@pytest.mark.skipif(diffusers.__version__ != "0.42.1", reason="found in diffusers 0.42.1")
def test_an_offset_runs_past_the_table_at_a_thousand_steps():
    """steps_offset = 1 asks for ᾱ at the time step 1000 of 1000; the lines alone show it."""
    (swept,) = sweep(names=["DDIMScheduler"], preset="quick", seconds=30.0)
    one = next(one for one in swept.failures if one.options.get("steps_offset") == 1)
    assert (one.kind, one.steps, one.seen_at) == ("exception", 1000, (1000,))
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", one.reproduction],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 1
    assert "IndexError: index 1000 is out of bounds" in shown.stderr

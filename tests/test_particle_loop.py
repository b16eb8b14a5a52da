"""The loop's buffers: the same bits as sums that allocate, nothing allocated or read back in a step, nothing written over.

The reference is the formula of verify/step.py written out with fresh tensors; all comparisons with it are bit for bit.
"""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from targets import Level, get, point_mass
from verify import Grid, Stage, Step, Table, samplers
from verify.carry import particles
from verify.carry.advance import Buffers, advance
from verify.oracle import Exact, ScaleError
from verify.samplers import BUILDERS

GRID = Grid.log_snr(7, snr=(0.02, 60.0))


class Echo(Exact):
    """Answers with the state itself, not a copy: 0.0 at the state's place would be seen in every later sum."""

    def denoiser(self, y, at):
        return y.reshape(-1, y.shape[-1]).reshape(y.shape)


class Copied(Exact):
    def denoiser(self, y, at):
        return y.clone()


class Same(Exact):
    """Answers with one tensor of its own, always, and keeps the states that it was asked at."""

    def __init__(self, target, rows=1):
        super().__init__(target)
        self.answer = torch.ones(rows, target.dim, dtype=target.mean.dtype)
        self.asked = []

    def denoiser(self, y, at):
        self.asked.append(y)
        return self.answer


def plain(table, oracle, count, seed, chunk, start):
    """All states of a chunk by the formula, every sum in a new tensor."""
    generator = torch.Generator().manual_seed(particles.chunk_seed("particles", seed, chunk))
    x = particles.first_state(table, oracle, count, generator, start)
    states, first = [x], []
    for k in range(table.steps):
        answers = []
        for i, stage in enumerate(table.stages):
            if not table.asked[k, i]:
                answers.append(None)
                continue
            y = x if stage.state[k] == 1.0 else float(stage.state[k]) * x
            for weight, answer in zip(stage.outputs[k], answers, strict=True):
                y = y.add(answer, alpha=float(weight)) if weight else y
            level = Level(float(stage.alpha[k]), float(stage.sigma[k]))
            answers.append(oracle.denoiser(y, level).clone())
        new = x if table.state[k] == 1.0 else float(table.state[k]) * x
        terms = [*zip(table.outputs[k], answers, strict=True), *zip(table.history[k], first[::-1], strict=False)]
        for weight, answer in terms:
            new = new.add(answer, alpha=float(weight)) if weight else new
        if table.noise[k] > 0:
            new = new.add(torch.empty_like(x).normal_(generator=generator), alpha=float(table.noise[k]))
        first.append(answers[0] if answers else None)
        states.append(new)
        x = new
    return torch.stack(states)


@pytest.mark.parametrize("start", ["exact", "prior"])
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_run_is_the_formula_to_the_bit(name, start):
    table, oracle = BUILDERS[name](GRID), ScaleError(get("codebook", n=4, dim=2), 0.1)
    wanted = plain(table, oracle, 33, 5, 0, start)
    assert torch.equal(particles.run(table, oracle, 33, seed=5, start=start, trajectory=True), wanted)
    assert torch.equal(particles.run(table, oracle, 33, seed=5, start=start), wanted[-1])


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", ["ddpm", "ddim", "exponential_ab3", "heun"])
def test_few_steps(name, steps):
    """One step has no second buffer to go to, two have one of each."""
    table, oracle = BUILDERS[name](Grid.log_snr(steps, snr=(0.02, 60.0))), Exact(get("two_points"))
    wanted = plain(table, oracle, 5, 1, 0, "exact")
    assert torch.equal(particles.run(table, oracle, 5, seed=1), wanted[-1])
    assert torch.equal(particles.run(table, oracle, 5, seed=1, trajectory=True), wanted)


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 8195])
@pytest.mark.parametrize("trajectory", [False, True])
def test_chunks_are_run_apart(n, trajectory):
    """Across the boundary: each chunk is its own formula with its own generator."""
    table, oracle = samplers.get("sde_dpmpp_2m")(GRID), Exact(get("two_points"))
    found = particles.run(table, oracle, n, seed=2, trajectory=trajectory)
    sizes = [min(4096, n - first) for first in range(0, n, 4096)]
    wanted = torch.cat([plain(table, oracle, size, 2, c, "exact") for c, size in enumerate(sizes)], 1)
    assert torch.equal(found, wanted if trajectory else wanted[-1])


def random_table(rng, stages, depth, steps=5):
    """Steps with coefficients that a loop might take for special: zeros, ones, no noise, states of no change."""

    def number():
        return float(rng.choice([0.0, 1.0, -1.0, rng.normal(), rng.normal()]))

    levels = Grid.log_snr(steps, snr=(0.1, 10.0)).levels
    made = []
    for k in range(steps):
        parts = tuple(Stage(levels[k], number(), tuple(number() for _ in range(i))) for i in range(stages))
        history = tuple(number() if j < k else 0.0 for j in range(depth)) if stages else ()
        outputs = tuple(number() for _ in range(stages))
        made.append(Step(levels[k], levels[k + 1], parts, number(), outputs, float(rng.choice([0.0, 0.7])), history))
    return Table.from_steps(made)


@pytest.mark.parametrize("oracle", [Exact, Echo], ids=["exact", "answers are views of the state"])
@pytest.mark.parametrize("stages", [0, 1, 2, 3])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_random_tables(stages, depth, oracle):
    rng = np.random.default_rng(10 * stages + depth)
    for seed in range(12):
        table, law = random_table(rng, stages, depth), oracle(get("codebook", n=4, dim=2))
        wanted = plain(table, law, 3, seed, 0, "exact")
        assert torch.equal(particles.run(table, law, 3, seed=seed, trajectory=True), wanted)
        assert torch.equal(particles.run(table, law, 3, seed=seed), wanted[-1])


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_answers_that_are_views_of_the_state(name):
    """A later step writes over the state; an answer kept for it has to stay."""
    table, law = BUILDERS[name](GRID), get("codebook", n=4, dim=2)
    assert torch.equal(particles.run(table, Echo(law), 9, seed=0), particles.run(table, Copied(law), 9, seed=0))


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("trajectory", [False, True])
def test_nothing_of_the_callers_is_written_to(name, trajectory):
    """Tables, the law's own tensors (a point mass answers with a view of its mean), an oracle's own answer."""
    table, law = BUILDERS[name](GRID), point_mass([1.5, -4.0])
    key, mean = replace(table).key, law.mean.clone()
    particles.run(table, Exact(law), 6, seed=0, trajectory=trajectory)
    same = Same(law, 6)
    particles.run(table, same, 6, seed=0, trajectory=trajectory)
    assert torch.equal(law.mean, mean)
    assert bool((same.answer == 1.0).all())
    assert replace(table).key == key


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_advance_leaves_its_inputs_alone(name):
    table, generator = BUILDERS[name](GRID), torch.Generator().manual_seed(0)
    for k in range(table.steps):
        step = table.step(k)
        x = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        past = [torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(k)][:3]
        before, buffers, out = [x.clone(), *(p.clone() for p in past)], Buffers(x), torch.full_like(x, torch.nan)
        wanted, kept = advance(step, x, lambda y, _: y.sin(), past)
        found, also = advance(step, x, lambda y, _: y.sin(), past, buffers, out)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)
        for a, b in zip(kept, also, strict=True):
            torch.testing.assert_close(b, a, rtol=0, atol=1e-14)
        assert all(torch.equal(a, b) for a, b in zip(before, [x, *past], strict=True))
        assert found is out or found is x


# ---- what a step costs ----------------------------------------------------------------------------------


class Noted(TorchDispatchMode):
    """The names of all operations on tensors."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def operations(table, trajectory):
    """What a run does to tensors, the denoiser answering from one of its own."""
    oracle = Same(get("two_points"), 3)
    with Noted() as noted:
        particles.run(table, oracle, 3, seed=0, start="prior", trajectory=trajectory)
    return noted.names


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("trajectory", [False, True])
def test_a_step_draws_once_allocates_nothing_and_reads_nothing_back(name, trajectory):
    """Between K = 9 and K = 5 only sums and products into given tensors differ, and one draw a step that has noise.

    A number read back from a device would be aten._local_scalar_dense, a new tensor aten.empty, aten.clone or an operation
    without out=.  (Views of the trajectory and the storage check of multistep tables touch no data.)
    """
    grids = [Grid.log_snr(steps, snr=(0.02, 60.0)) for steps in (5, 9)]
    few, many = (operations(BUILDERS[name](grid), trajectory) for grid in grids)
    allowed = {"aten.mul.out", "aten.add.out", "aten.normal_.default", "aten.select.int", "aten.copy_.default"}
    more = {kind: many.count(kind) - few.count(kind) for kind in {*few, *many}}
    assert {kind for kind, count in more.items() if count} <= allowed
    assert many.count("aten.normal_.default") == 1 + int((BUILDERS[name](grids[1]).noise > 0).sum())


@pytest.mark.parametrize("steps", [6, 7])
@pytest.mark.parametrize("name", ["ddpm", "dpmpp_2m"])
def test_states_alternate_between_the_result_and_one_buffer(name, steps):
    oracle = Same(get("two_points"), 3)
    last = particles.run(BUILDERS[name](Grid.log_snr(steps, snr=(0.02, 60.0))), oracle, 3, seed=0)
    places = [state.data_ptr() for state in oracle.asked]
    assert places[::2] == [places[0]] * len(places[::2])
    assert places[1::2] == [places[1]] * len(places[1::2])
    assert last.data_ptr() == places[-2] != places[-1]


def test_steps_are_made_once_as_long_as_the_table_lives(monkeypatch):
    table, made, step = samplers.ddpm(GRID), [], Table.step
    monkeypatch.setattr(Table, "step", lambda self, k: made.append(k) or step(self, k))
    for seed in range(3):
        particles.run(table, Exact(get("two_points")), 2, seed=seed)
    assert made == list(range(GRID.steps))
    assert particles.steps_of(table) == tuple(step(table, k) for k in range(table.steps))
    kept = len(particles._STEPS)
    del table
    gc.collect()
    assert len(particles._STEPS) == kept - 1


def test_nothing_is_recorded_for_differentiation():
    class Trained(Exact):
        weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

        def denoiser(self, y, at):
            return self.weight * self.target.denoiser(y, at)

    with torch.enable_grad():
        assert not particles.run(samplers.ddpm(GRID), Trained(get("two_points")), 4, seed=0).requires_grad
        assert torch.is_grad_enabled()


def test_an_error_of_the_oracle_leaves_gradients_on():
    class Broken(Exact):
        def denoiser(self, y, at):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        particles.run(samplers.ddpm(GRID), Broken(get("two_points")), 4, seed=0)
    assert torch.is_grad_enabled()

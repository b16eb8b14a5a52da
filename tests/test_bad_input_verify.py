"""What verify refuses: each message names the argument, its value and what was expected or is available."""

from typing import Any

import numpy as np
import pytest
import torch

from targets import ArgumentError, Level, NotAvailableError, get
from verify import Grid, Stage, Step, Table, kl, samplers
from verify.carry import particles
from verify.oracle import ConstantBias, ErrorMoments, Exact, Oracle, RandomField, ScaleError
from verify.step import Method

TARGET = get("curved_mixture")
GRID = Grid.log_snr(4, snr=(0.2, 8.0))
TABLE = samplers.ddpm(GRID)
NAN, INF = float("nan"), float("inf")
EYE = torch.zeros(1, 1, dtype=torch.float64)


def anything(value) -> Any:
    """`value` for a parameter whose type it does not have."""
    return value


# ---- grids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("snr", "message"),
    [
        ([1.0, 1.0, 2.0], r"snr\[0:2\] = \[1.0, 1.0\]: expected strictly ascending values"),
        ([1.0, 3.0, 2.0], r"snr\[1:3\] = \[3.0, 2.0\]: expected strictly ascending values"),
        ([1.0], r"snr.shape = \(1,\): expected at least 2 values in one dimension"),
        ([], r"snr.shape = \(0,\): expected at least 2 values"),
        ([[1.0, 2.0]], r"snr.shape = \(1, 2\): expected at least 2 values in one dimension"),
        ([1.0, NAN, 2.0], "snr = nan: expected finite values only"),
        ([1.0, INF], "snr = inf: expected finite values only"),
        ([0.0, 1.0], "snr = 0.0: expected positive values"),
        ([-1.0, 1.0], "snr = -1.0: expected positive values"),
        ("noise", "snr = 'noise': expected numbers"),
        (None, r"snr.shape = \(\): expected at least 2 values|snr = None: expected numbers"),
    ],
)
def test_snr_values(snr, message):
    with pytest.raises(ArgumentError, match=message):
        Grid.from_snr(anything(snr))


BY_SNR = [Grid.uniform_snr, Grid.log_snr, Grid.cosine, Grid.karras]
BY_TIME = [Grid.uniform_ou_time, Grid.exponential_uniform]


@pytest.mark.parametrize("steps", [0, -3, 2.5, "4", None, True])
def test_steps(steps):
    message = rf"steps = {steps!r}: expected an integer >= 1"
    for build in BY_SNR:
        with pytest.raises(ArgumentError, match=message):
            build(anything(steps), snr=(0.1, 1.0))
    for build in BY_TIME:
        with pytest.raises(ArgumentError, match=message):
            build(anything(steps), ou_time=(1.0, 0.1))
    with pytest.raises(ArgumentError, match=message):
        Grid.ddpm_linear(anything(steps))
    with pytest.raises(ArgumentError, match=message):
        Grid.optimal(get("gaussian"), steps=anything(steps), snr=(0.1, 1.0))


@pytest.mark.parametrize("build", BY_SNR)
def test_windows(build):
    with pytest.raises(ArgumentError, match=r"snr\[0:2\] = \[2.0, 1.0\]: expected strictly ascending"):
        build(3, snr=(2.0, 1.0))
    with pytest.raises(ArgumentError, match="snr = nan: expected finite"):
        build(3, snr=(1.0, NAN))
    with pytest.raises(ArgumentError, match=r"snr = 0.0: expected positive"):
        build(3, snr=(0.0, 1.0))


@pytest.mark.parametrize("build", BY_TIME)
def test_times(build):
    with pytest.raises(ArgumentError, match=r"ou_time = \(0.1, 1.0\): expected two times > 0, the larger"):
        build(3, ou_time=(0.1, 1.0))
    for bad in (0.0, NAN, INF, -1.0):
        with pytest.raises(ArgumentError, match=f"ou_time = {bad}: expected two finite times > 0"):
            build(3, ou_time=(1.0, bad))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Grid.ddpm_linear(1000), "steps = 1000: expected fewer than the 1000 levels of the table"),
        (lambda: Grid.ddpm_linear(1, timesteps=1), "timesteps = 1: expected an integer >= 2"),
        (lambda: Grid.ddpm_linear(5, beta=(0.1, 1.0)), "beta = 1.0: expected numbers strictly between 0 and 1"),
        (lambda: Grid.karras(5, snr=(0.1, 1.0), rho=0.0), "rho = 0.0: expected a number > 0"),
        (lambda: Grid.karras(5, snr=(0.1, 1.0), rho=NAN), "rho = nan: expected a number > 0"),
        (lambda: Grid.cosine(5, snr=(0.1, 1.0), offset=1.0), r"offset = 1.0: expected a number in \(0, 1\)"),
        (lambda: Grid.from_snr(np.array([1.0, 2.0]), "vpp"), r"process = 'vpp': expected one of .*did you mean 'vp'"),
        (
            lambda: Grid.log_snr(2, snr=(0.1, 1.0), process="flows"),
            "process = 'flows': expected one of .*did you mean 'flow'",
        ),
    ],
)
def test_schedule_parameters(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


# ---- tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["ve", "flow"])
@pytest.mark.parametrize("name", ["ei_sde", "euler_maruyama", "jain_zhang", "jain_zhang_z"])
def test_methods_in_ou_time_want_vp(name, process):
    grid = Grid.log_snr(4, snr=(0.2, 8.0), process=process)
    with pytest.raises(ArgumentError, match=rf"grid.process = '{process}': expected 'vp': .* defined in OU time"):
        samplers.get(name)(grid)
    with pytest.raises(ArgumentError, match=rf"grid.process = '{process}': expected 'vp'"):
        _ = grid.ou_time


def test_jain_zhang_needs_two_steps():
    grid = Grid.log_snr(1, snr=(0.2, 8.0))
    with pytest.raises(ArgumentError, match=r"grid.steps = 1: expected at least 2 .*grid.beyond\(\)"):
        samplers.jain_zhang(grid)
    assert samplers.jain_zhang(grid.beyond()).steps == 1


def test_names_suggest_the_nearest():
    with pytest.raises(ArgumentError, match=r"sampler = 'ei-sde': expected one of .*did you mean 'ei_sde'"):
        samplers.get("ei-sde")
    with pytest.raises(ArgumentError, match=r"sampler = 3: expected .*one of ddim, ddpm, "):
        samplers.get(anything(3))
    with pytest.raises(ArgumentError, match=r"variant = 'zscore': expected one of .*did you mean 'z_score'"):
        samplers.jain_zhang(GRID, "zscore")


def steps_with(**changes) -> list[Step]:
    here, ahead = Level(0.6, 0.8), Level(0.8, 0.6)
    fields: dict[str, Any] = {"start": here, "stop": ahead, "stages": (Stage(here, 1.0, ()),), "state": 1.0}
    return [Step(**fields | {"outputs": (0.5,), "noise": 0.1} | changes)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": -0.1}, "table.noise = -0.1: expected noise coefficients >= 0"),
        ({"state": NAN}, r"coefficient of steps\[0\] = nan: expected a finite real number"),
        ({"outputs": (INF,)}, r"coefficient of steps\[0\] = inf: expected a finite real number"),
        ({"state": 1.0 + 1.0j}, r"coefficient of steps\[0\] = \(1\+1j\): expected a finite real number"),
        ({"noise": None}, r"coefficient of steps\[0\] = None: expected a finite real number"),
        ({"outputs": 0.3}, r"coefficients of steps\[0\] = 0.3: expected a tuple of numbers"),
        ({"stages": 1}, r"steps\[0\].stages = 1: expected a tuple of Stage"),
        ({"start": 0.1}, r"level of steps\[0\] = 0.1: expected a Level"),
        ({"history": (0.1,)}, r"table.history = .*: expected zeros where no earlier answer exists"),
    ],
)
def test_hand_written_steps(changes, message):
    with pytest.raises(ArgumentError, match=message):
        Table.from_steps(steps_with(**changes))


def test_steps_must_join():
    with pytest.raises(ArgumentError, match=r"steps = \[\]: expected a list of at least one Step"):
        Table.from_steps([])
    with pytest.raises(ArgumentError, match=r"steps\[1\]: expected to start at Level\(alpha=0.8, sigma=0.6\)"):
        Table.from_steps(steps_with() * 2)


def test_table_shapes():
    with pytest.raises(ArgumentError, match=r"table.noise.shape = \(3,\): expected \(4,\) for 4 steps of 1 stages"):
        Table(
            Method("x", "x", "x", "x", 1), TABLE.snr, TABLE.alpha, TABLE.sigma, TABLE.stages, TABLE.state, TABLE.outputs,
            TABLE.noise[1:],
        )  # fmt: skip


# ---- divergences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", [kl.path, kl.chain])
class TestDivergences:
    def test_not_a_table(self, rung):
        for wrong in (GRID, samplers.ddpm, None):
            with pytest.raises(ArgumentError, match=r"table = .*: expected a table: build one with verify.samplers"):
                rung(TARGET, anything(wrong))

    def test_not_a_target(self, rung):
        with pytest.raises(ArgumentError, match="target = 'two_points': expected a target"):
            rung(anything("two_points"), TABLE)

    def test_unknown_start(self, rung):
        with pytest.raises(
            ArgumentError, match=r"start = 'exactly': expected one of exact, moment, prior; did you mean 'exact'"
        ):
            rung(TARGET, TABLE, start="exactly")

    def test_oracle_of_another_target(self, rung):
        with pytest.raises(ArgumentError, match="expected an oracle of the same target, GaussianMixture"):
            rung(TARGET, TABLE, oracle=Exact(get("two_points")))
        with pytest.raises(ArgumentError, match="expected an oracle of the same target"):
            rung(TARGET, TABLE, oracle=Exact(get("curved_mixture")))

    def test_not_an_oracle(self, rung):
        with pytest.raises(ArgumentError, match=r"oracle = .*: expected an oracle of this target"):
            rung(TARGET, TABLE, oracle=anything(TARGET.denoiser))


def test_unknown_reference():
    with pytest.raises(ArgumentError, match=r"reference = 'reversed': expected one of .*did you mean 'reverse'"):
        kl.chain(TARGET, TABLE, reference="reversed")
    with pytest.raises(ArgumentError, match=r"reference = 'flow\+nois': expected one of .*did you mean 'flow\+noise'"):
        kl.chain(TARGET, TABLE, reference="flow+nois")


def test_path_of_what_is_no_reverse_sde():
    """A deterministic sampler and a two-interval one, each told what it has."""
    with pytest.raises(NotAvailableError, match=r"path KL of ddim: .* singular .*; available: kl.marginal, particles"):
        kl.path(TARGET, samplers.ddim(GRID))
    for variant, name in (("score", "jain_zhang"), ("z_score", "jain_zhang_z")):
        with pytest.raises(NotAvailableError, match=rf"path KL of {name}: .*reference='reverse'.*'flow\+noise'"):
            kl.path(TARGET, samplers.jain_zhang(GRID, variant))


class OnlySquare(Oracle):
    """Declares E‖ε‖² and nothing else."""

    def error(self, y, denoised, at):
        return torch.full_like(y, 0.1)

    def error_product(self, y, product, probe, at):
        return None

    def moments(self, alpha, sigma):
        return ErrorMoments(np.full(len(alpha), 0.01), None, None)


def test_an_oracle_that_declares_only_its_square():
    """ddpm's path and reverse chain work; every other closed form is refused, naming those two."""
    oracle = OnlySquare(TARGET)
    known = float(kl.path(TARGET, TABLE, oracle=ConstantBias(TARGET, [0.1])).value)
    assert kl.path(TARGET, TABLE, oracle=oracle).value == pytest.approx(known, rel=1e-12)
    assert kl.chain(TARGET, TABLE, oracle=oracle).value == pytest.approx(known, rel=1e-10)
    for name in ("ei_sde", "euler_maruyama"):
        with pytest.raises(NotAvailableError, match=rf"path KL of {name}: .*only E\|error\|\^2.*available: .*ddpm"):
            kl.path(TARGET, samplers.get(name)(GRID), oracle=oracle)
    for name in ("ei_sde", "euler_maruyama", "jain_zhang"):
        with pytest.raises(NotAvailableError, match=rf"chain KL of {name}: .*only E\|error\|\^2.*available: .*ddpm"):
            kl.chain(TARGET, samplers.get(name)(GRID), oracle=oracle)


def test_simulated_chain_arguments():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ArgumentError, match="n = 1: expected an integer >= 2"):
        kl.simulated_chain(TARGET, TABLE, n=1, generator=generator)
    with pytest.raises(ArgumentError, match=r"generator = 0: expected a torch.Generator"):
        kl.simulated_chain(TARGET, TABLE, n=10, generator=anything(0))
    with pytest.raises(NotAvailableError, match=r"ddim.*without noise"):
        kl.simulated_chain(TARGET, samplers.ddim(GRID), n=10, generator=generator)


# ---- oracles and particles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Exact(anything("two_points")), "target = 'two_points': expected a target"),
        (lambda: ConstantBias(TARGET, [1.0, 2.0]), r"bias.shape = \(2,\): expected shape \(1\)"),
        (lambda: ConstantBias(TARGET, [NAN]), "bias = nan: expected finite numbers only"),
        (lambda: ScaleError(TARGET, NAN), "scale = nan: expected a finite number"),
        (lambda: RandomField(TARGET, -0.1, seed=0), r"size = -0.1: expected E\|error\|\^2 >= 0"),
        (lambda: RandomField(TARGET, NAN, seed=0), "size = nan: expected"),
        (lambda: RandomField(TARGET, 0.1, seed=-1), "seed = -1: expected an integer >= 0"),
        (lambda: RandomField(TARGET, 0.1, seed=0, features=0), "features = 0: expected an integer >= 1"),
        (lambda: RandomField(TARGET, 0.1, seed=0, roughness=0.0), "roughness = 0.0: expected a number > 0"),
        (
            lambda: RandomField(TARGET, lambda _: -1.0, seed=0).denoiser(EYE, Level(0.6, 0.8)),
            r"size\(snr=0.56.*\) = -1.0: expected E\|error\|\^2 >= 0",
        ),
    ],
)
def test_oracle_parameters(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n = 0: expected an integer >= 1"),
        ({"n": 2.5}, "n = 2.5: expected an integer >= 1"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
        ({"seed": None}, "seed = None: expected an integer >= 0"),
        ({"start": "priors"}, r"start = 'priors': expected one of .*did you mean 'prior'"),
        ({"oracle": TARGET}, "oracle = GaussianMixture.*: expected an oracle, e.g. verify.oracle.Exact"),
        ({"table": GRID}, "table = .*: expected a table"),
    ],
)
def test_particle_arguments(changes, message):
    arguments = {"table": TABLE, "oracle": Exact(TARGET), "n": 8, "seed": 0} | changes
    with pytest.raises(ArgumentError, match=message):
        particles.run(**arguments)


def test_float32_is_refused_where_it_would_round():
    """At snr 1e8 a log-responsibility in float32 would be off by more than its tolerance."""
    target = get("codebook", n=8, dim=4).to(dtype=torch.float32)
    table = samplers.ddpm(Grid.log_snr(3, snr=(1.0, 1e10)))
    with pytest.raises(ArgumentError, match=r"rounding error of a log-responsibility = .*use float64"):
        particles.run(table, Exact(target), 8, seed=0)

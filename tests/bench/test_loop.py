"""The particle loop beside what it cannot do without, and beside other libraries' loops on the same exact denoiser.

Each library runs its own class on its own table or schedule of levels, set to the levels of our grid, and draws its first
states as we do.  It is asked through a network in one of two ways.  "Model": the network of verify.audit.models, which reads
the level off the library's clock and takes states of any shape; what a user has.  "lean": one denoiser call at a level known
before the loop starts, and what the library's prediction type costs; less than any user has.

Limits: 1.1 times denoiser and noise at batch 4,096 x 64; never slower than a library, and a third of its time at batch 1
through "Model".  Run alone: the other tests' checks of array shapes at run time slow a small denoiser many times over.
"""

import inspect
import itertools
import warnings

import pytest
import torch
from beside import noted, side_by_side

from targets import GaussianMixture, Level
from verify import Grid, samplers
from verify.audit import loading, models
from verify.audit.diffusers.inject import inject
from verify.carry import particles
from verify.carry.together import run_together
from verify.oracle import Exact

SIZES = [(dim, n) for dim in (1, 64, 1024) for n in (1, 64, 4096)]
DIFFUSERS = {
    "DDIMScheduler": ("ddim", "vp"),
    "DDPMScheduler": ("ddpm", "vp"),
    "EulerDiscreteScheduler": ("ddim", "ve"),
    "DPMSolverMultistepScheduler": ("dpmpp_2m", "vp"),
}
AZULA = {
    "DDIMSampler": ("ddim", {"eta": 0.0}),
    "DDPMSampler": ("ddpm", {}),
    "xEABSampler": ("exponential_ab2", {"order": 2}),
}


def grid(process, size=1):
    """K = 32; 8 where one draw of the noise takes a tenth of a second."""
    return Grid.log_snr(32 if size < 10**6 else 8, snr=(0.01, 100.0), process=process)


def mixture(dim, components=64):
    means = torch.randn(components, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return GaussianMixture.isotropic(torch.full((components,), 1.0 / components), means, 0.5)


@pytest.mark.parametrize("components", [64, 512])
@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpmpp_2m"])
def test_loop_against_denoiser_and_noise(benchmark, name, components):
    """Limit: 1.1 times K denoiser calls and as many draws on the same arrays, at batch 4,096 x 64."""
    levels = grid("vp")
    law, table = mixture(64, components), samplers.get(name)(levels)
    oracle, generator = Exact(law), torch.Generator().manual_seed(0)
    state = torch.randn(4096, 64, generator=generator, dtype=torch.float64)
    noise = torch.empty_like(state)

    def bare():
        noise.normal_(generator=generator)
        for level, kick in zip(levels.levels[:-1], table.noise, strict=True):
            law.denoiser(state, level)
            if kick > 0:
                noise.normal_(generator=generator)

    def loop():
        return particles.run(table, oracle, 4096, seed=0, start="prior")

    ratio = side_by_side(loop, bare, rounds=7)
    noted(benchmark, ratio, 1.1, "denoiser and noise alone", f"{name} 4096 x 64, {components} components")
    benchmark.pedantic(loop, rounds=1)


def diffusers_loop(name, levels, law, n, says):
    """The loop of every pipeline, from first states to last."""
    warnings.simplefilter("ignore", FutureWarning)
    scheduler, stop = inject(getattr(loading.load("diffusers", "diffusers"), name), levels, {})
    times = scheduler.timesteps[:stop]
    shown_at = [Level.from_snr(level.snr, "vp") for level in levels.levels[:-1]]
    network = models.Model(law, "epsilon", models.timesteps(scheduler.alphas_cumprod))
    draws = "generator" in inspect.signature(scheduler.step).parameters
    given = {"generator": torch.Generator().manual_seed(0)} if draws else {}

    def lean(x, level):
        rows = x.reshape(n, -1)
        return torch.sub(rows, law.denoiser(rows, level), alpha=level.alpha).div_(level.sigma).reshape(x.shape)

    @torch.no_grad()
    def loop(x):
        x = x.reshape(n, -1, 1, 1)
        scheduler._step_index = None
        if hasattr(scheduler, "lower_order_nums"):
            scheduler.lower_order_nums, scheduler.model_outputs = 0, [None] * scheduler.config.solver_order
        for t, level in zip(times, shown_at, strict=True):
            shown = scheduler.scale_model_input(x, t)
            answer = lean(shown, level) if says == "lean" else network(shown, t)
            x = scheduler.step(answer, t, x, return_dict=False, **given)[0]
        return x.reshape(n, -1)

    return loop


def azula_loop(name, levels, law, says, options):
    """azula's sampler with azula's schedule, whose logarithm of sigma is linear as the grid's is."""
    module, denoise, noise = (loading.load("azula", f"azula.{part}") for part in ("sample", "denoise", "noise"))
    schedule = noise.VESchedule(levels.levels[-1].sigma, levels.levels[0].sigma)
    network = models.Model(law, "x0", models.schedule(lambda t: schedule(torch.tensor(t, dtype=torch.float64))))
    following = itertools.cycle(levels.levels[:-1])

    class Network(denoise.Denoiser):
        def __init__(self):
            super().__init__()
            self.schedule = schedule

        def forward(self, x_t, t, **_):
            return denoise.DiracPosterior(
                mean=law.denoiser(x_t, next(following)) if says == "lean" else network(x_t, t)
            )

    return getattr(module, name)(Network(), steps=levels.steps, silent=True, dtype=torch.float64, **options)


def beside(benchmark, table, law, n, other, what, says, tolerance):
    oracle, draw = Exact(law), torch.Generator().manual_seed(0)

    def ours():
        return particles.run(table, oracle, n, seed=0, start="prior")

    def theirs():
        return other(torch.randn(n, law.dim, generator=draw, dtype=torch.float64).mul_(table.first_width("prior")))

    if not table.noise.any():  # the same work: the same last states from the same first ones
        path = particles.run(table, oracle, n, seed=0, start="prior", trajectory=True)
        torch.testing.assert_close(other(path[0]), path[-1], rtol=tolerance, atol=tolerance)
    few = n * law.dim <= 4096
    ratio = side_by_side(ours, theirs, rounds=15 if few else 5, batch=5 if few else 1)
    noted(benchmark, ratio, 1.0 / 3.0 if n == 1 and says == "Model" else 1.0, f"{what}, {says}", f"{n} x {law.dim}")
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.parametrize(("dim", "n"), SIZES)
@pytest.mark.parametrize("says", ["lean", "Model"])
@pytest.mark.parametrize("name", DIFFUSERS)
def test_loop_against_diffusers(benchmark, name, says, dim, n):
    """A scheduler computes in float32 in part: the same states to 1e-3."""
    pytest.importorskip("diffusers")
    build, process = DIFFUSERS[name]
    law, levels = mixture(dim), grid(process, dim * n)
    loop = diffusers_loop(name, levels, law, n, says)
    beside(benchmark, samplers.get(build)(levels), law, n, loop, f"diffusers {name}", says, 1e-3)


@pytest.mark.parametrize(("dim", "n"), SIZES)
@pytest.mark.parametrize("says", ["lean", "Model"])
@pytest.mark.parametrize("name", AZULA)
def test_loop_against_azula(benchmark, name, says, dim, n):
    """The same states to 1e-9."""
    pytest.importorskip("azula")
    build, options = AZULA[name]
    law, levels = mixture(dim), grid("ve", dim * n)
    loop = azula_loop(name, levels, law, says, options)
    beside(benchmark, samplers.get(build)(levels), law, n, loop, f"azula {name}", says, 1e-9)


@pytest.mark.parametrize("n", [1, 64])
@pytest.mark.parametrize("many", ["seeds", "tables"])
def test_together_against_one_by_one(benchmark, many, n):
    """Eight seeds of one table, or eight tables on one grid: limit 1 against running them in turn."""
    names = (
        "ddpm",
        "ddim",
        "dpmpp_2m",
        "ei_sde",
        "euler_maruyama",
        "exponential_ab2",
        "sde_dpmpp_2m",
        "relative_score",
    )
    tables, seeds = (
        ([samplers.ddpm(grid("vp"))], range(8))
        if many == "seeds"
        else ([samplers.get(k)(grid("vp")) for k in names], [0])
    )
    oracle = Exact(mixture(64))

    def one_by_one():
        return [particles.run(table, oracle, n, seed=seed) for table in tables for seed in seeds]

    def together():
        return run_together(tables, oracle, n, seeds=seeds)

    noted(benchmark, side_by_side(together, one_by_one), 1.0, "one by one", f"8 {many}, {n} x 64")
    benchmark.pedantic(together, rounds=1)

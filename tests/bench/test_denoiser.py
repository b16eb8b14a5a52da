"""The denoiser against its own two matrix products and against other ways to it: ratios measured side by side in one run.

Each benchmark puts its ratio, what it is against, the limit and the sizes into `extra_info`.  Times are CPU times of one
thread.  `torch.compile` is not used; `test_compiling_does_not_pay` puts its ratio beside the others where it compiles.
"""

import importlib.util
import subprocess
import sys

import pytest
import torch
from beside import noted, side_by_side

from targets import Gaussian, GaussianMixture, Level, get
from verify import Grid, kl, samplers

BATCH = 4096
LEVEL = Level.from_snr(1.0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def report(benchmark, ratio, against, limit, **sizes):
    """The ratio with its sizes by name."""
    noted(benchmark, ratio, limit, against, ", ".join(f"{key} {value}" for key, value in sizes.items()))


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def even(count):
    return torch.full((count,), 1.0 / count, dtype=torch.float64)


def mixture(components, dim, dtype=torch.float64):
    law = GaussianMixture.isotropic(even(components), normal(components, dim), 0.5)
    return law.to(dtype=dtype), normal(BATCH, dim, seed=1, dtype=dtype)


def products(rows, components, width, dtype=torch.float64):
    """(rows, width) times (width, components) times (components, width), into arrays that are there."""
    query, keys = normal(rows, width, dtype=dtype), normal(components, width, dtype=dtype)
    transposed, scores, out = keys.mT.contiguous(), query.new_empty(rows, components), torch.empty_like(query)

    def work():
        torch.mm(query, transposed, out=scores)
        torch.mm(scores, keys, out=out)

    return work


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("components", "dim"), [(64, 64), (512, 64), (512, 1024), (2048, 64)])
def test_denoiser_against_its_matrix_products(benchmark, components, dim, dtype):
    """Limits in float64: 1.2 from 512 components on, 1.5 at 64 x 64."""
    law, y = mixture(components, dim, dtype)
    ratio = side_by_side(lambda: law.denoiser(y, LEVEL), products(BATCH, components, dim, dtype))
    limit = None if dtype == torch.float32 else 1.2 if components >= 512 else 1.5
    sizes = {"batch": BATCH, "components": components, "dim": dim, "dtype": str(dtype)}
    report(benchmark, ratio, "its two matrix products", limit, **sizes)
    benchmark(law.denoiser, y, LEVEL)


def rotated(components, dim, common):
    """Covariances with eigenvectors in common, or each with its own."""
    variances = 0.1 + normal(components, dim, seed=2).abs()
    axes = torch.linalg.qr(normal(dim, dim, seed=3) if common else normal(components, dim, dim, seed=3)).Q
    matrices = axes * variances[:, None, :] @ axes.mT
    return GaussianMixture(even(components), normal(components, dim), 0.5 * (matrices + matrices.mT))


STRUCTURES = {
    "scalar": (lambda m, d: GaussianMixture.isotropic(even(m), normal(m, d), 0.5 + even(m)), lambda d: d + 1),
    "diagonal": (lambda m, d: GaussianMixture.diagonal(even(m), normal(m, d), normal(m, d).abs()), lambda d: 2 * d),
    "commuting": (lambda m, d: rotated(m, d, True), lambda d: 2 * d),
    "full": (lambda m, d: rotated(m, d, False), lambda d: d * (d + 3) // 2),
}
"""Builders, and the width of the two products that each structure needs."""


@pytest.mark.parametrize(("components", "dim"), [(64, 16), (512, 16), (64, 32)])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_own_covariances_against_their_matrix_products(benchmark, structure, components, dim):
    """A covariance for each component: its own two products, and for full ones the packed products of y and y."""
    build, width = STRUCTURES[structure]
    law, y = build(components, dim), normal(BATCH, dim, seed=1)
    ratio = side_by_side(lambda: law.denoiser(y, LEVEL), products(BATCH, components, width(dim)), rounds=9)
    sizes = {"batch": BATCH, "components": components, "dim": dim, "structure": structure}
    report(benchmark, ratio, "its two matrix products", None, **sizes)
    benchmark(law.denoiser, y, LEVEL)


ONE_STATE = """
import time, torch
from statistics import median
from torch.nn.functional import scaled_dot_product_attention
from targets import GaussianMixture, Level
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
means = torch.randn(COMPONENTS, DIM, generator=generator, dtype=torch.float64)
y = torch.randn(1, DIM, generator=generator, dtype=torch.float64)
law = GaussianMixture.isotropic(torch.full((COMPONENTS,), 1.0 / COMPONENTS, dtype=torch.float64), means, 0.5)
query, keys, level = y[None, None], means[None, None], Level.from_snr(1.0)
def seconds(work):
    start = time.process_time()
    for _ in range(300):
        work()
    return time.process_time() - start
ratios = []
for _ in range(16):
    ours = seconds(lambda: law.denoiser(y, level))
    ratios.append(ours / seconds(lambda: scaled_dot_product_attention(query, keys, keys)))
print(median(ratios[1:]))
"""


@pytest.mark.parametrize(("components", "dim"), [(64, 1), (64, 64), (64, 1024)])
def test_one_state_against_bare_attention(benchmark, components, dim):
    """Batch 1: about three times one call of the attention kernel; in a process without the tests' checks of shapes."""
    program = ONE_STATE.replace("COMPONENTS", str(components)).replace("DIM", str(dim))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    report(benchmark, float(run.stdout), "one call of attention", None, batch=1, components=components, dim=dim)
    law, y = mixture(components, dim)[0], normal(1, dim, seed=1)
    benchmark(law.denoiser, y, LEVEL)


@pytest.mark.parametrize("batch", [1, BATCH])
def test_compiling_does_not_pay(benchmark, batch):
    """The same formula through torch.compile, as multiples of the denoiser as it is.  CPU; skipped where nothing compiles."""
    law, y = mixture(64, 64)[0], normal(batch, 64, seed=1)
    parts = law.components
    compiled = torch.compile(lambda state: parts.denoiser(state, LEVEL))
    try:
        torch.testing.assert_close(compiled(y), law.denoiser(y, LEVEL))
    except Exception as error:
        pytest.skip(f"torch.compile: {type(error).__name__}")
    ratio = side_by_side(lambda: compiled(y), lambda: law.denoiser(y, LEVEL), batch=max(1, 300 // batch))
    report(benchmark, ratio, "the denoiser, not compiled", None, batch=batch, components=64, dim=64)
    benchmark(law.denoiser, y, LEVEL)


# ---- other ways to the same numbers ------------------------------------------------------------------


def test_denoiser_against_autograd(benchmark):
    """At least 100 times faster than the gradient of torch.distributions' mixture at 4,096 x 512 x 64."""
    law, y = mixture(512, 64)
    centres = law.components.means
    scale = (LEVEL.alpha**2 * 0.5 + LEVEL.sigma**2) ** 0.5
    dist = torch.distributions
    parts = dist.Independent(dist.Normal(LEVEL.alpha * centres, torch.full_like(centres, scale)), 1)
    rival = dist.MixtureSameFamily(dist.Categorical(law.components.weights), parts)

    def autograd():
        state = y.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(rival.log_prob(state).sum(), state)
        return gradient

    torch.testing.assert_close(autograd(), law.score(y, LEVEL), rtol=1e-9, atol=1e-11)
    ratio = side_by_side(lambda: law.score(y, LEVEL), autograd, rounds=5)
    report(benchmark, ratio, "autograd through MixtureSameFamily", 0.01, batch=BATCH, components=512, dim=64)
    benchmark(law.score, y, LEVEL)


@pytest.mark.parametrize("batch", [1, BATCH])
def test_gaussian_against_azula(benchmark, batch):
    """azula's one closed form, of a Gaussian with diagonal covariance (it has none of mixtures): never slower."""
    denoise, noise = pytest.importorskip("azula.denoise"), pytest.importorskip("azula.noise")
    covariance = pytest.importorskip("azula.linalg.covariance")
    mean, variances, y = normal(64), 0.1 + normal(64, seed=1).abs(), normal(batch, 64, seed=2)
    law, schedule = Gaussian(mean, torch.diag(variances)), noise.VPSchedule()
    rival = denoise.GaussianDenoiser(mean, covariance.DiagonalCovariance(variances), schedule)
    half = torch.tensor(0.5, dtype=torch.float64)
    alpha, sigma = (float(value) for value in schedule(half))
    level = Level(alpha, sigma)
    torch.testing.assert_close(rival(y, half).mean, law.denoiser(y, level))
    ratio = side_by_side(lambda: law.denoiser(y, level), lambda: rival(y, half).mean, batch=max(1, 300 // batch))
    report(benchmark, ratio, "azula's GaussianDenoiser", 1.0, batch=batch, components=1, dim=64)
    benchmark(law.denoiser, y, level)


@pytest.mark.parametrize("batch", [1, BATCH])
def test_denoiser_against_deepinv(benchmark, batch):
    """deepinv's closed form for a set of images, all of one weight: never slower."""
    rival = pytest.importorskip("deepinv", exc_type=ImportError).models.MMSE
    law = GaussianMixture.isotropic(even(512), normal(512, 64), 0.0)
    y, atoms = normal(batch, 64, seed=1), normal(512, 64).reshape(512, 1, 8, 8)
    level = Level.from_snr(4.0, process="ve")
    denoiser, images = rival(atoms, torch.device("cpu"), torch.float64), y.reshape(batch, 1, 8, 8)

    def other():
        return denoiser(images, level.sigma).reshape(batch, 64)

    torch.testing.assert_close(other(), law.denoiser(y, level))
    ratio = side_by_side(lambda: law.denoiser(y, level), other, batch=max(1, 300 // batch))
    report(benchmark, ratio, "deepinv's MMSE", 1.0, batch=batch, components=512, dim=64)
    benchmark(law.denoiser, y, level)


@pytest.mark.skipif(importlib.util.find_spec("pykeops") is None, reason="pykeops is not installed")
def test_denoiser_against_pykeops(benchmark):
    """Atoms by KeOps' streamed soft-max of −|y − αa|²/2σ² with the atoms as weights: never slower."""
    from pykeops.torch import Vi, Vj  # pyright: ignore[reportMissingImports]

    law = GaussianMixture.isotropic(even(512), normal(512, 64), 0.0)
    y, atoms = normal(BATCH, 64, seed=1), normal(512, 64)

    def rival():
        scores = -(Vi(y) - Vj(LEVEL.alpha * atoms)).sqnorm2() / (2 * LEVEL.sigma**2)
        return scores.sumsoftmaxweight(Vj(atoms), dim=1)

    torch.testing.assert_close(rival(), law.denoiser(y, LEVEL))
    ratio = side_by_side(lambda: law.denoiser(y, LEVEL), rival, rounds=5)
    report(benchmark, ratio, "pykeops' sumsoftmaxweight", 1.0, batch=BATCH, components=512, dim=64)
    benchmark(law.denoiser, y, LEVEL)


# ---- memory, and the divergences ---------------------------------------------------------------------

PEAK = """
import torch
from pathlib import Path
from targets import Level, get
def resident(line):
    return next(int(row.split()[1]) for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(line))
law = get("digits")
y = torch.randn(65536, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
law.denoiser(y[:64], Level.from_snr(1.0))
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
law.denoiser(y, Level.from_snr(1.0))
law.posterior_trace(y, Level.from_snr(1.0))
print((resident("VmHWM") - before) / 2**20)
"""
"""GiB at the peak above those resident before; writing 5 to clear_refs makes the peak begin anew (Linux)."""


def test_peak_memory(benchmark):
    """At most 1 GiB above the inputs at batch 65,536 x 1,797 atoms x 64."""
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    peak = float(run.stdout)
    law, y = get("digits"), normal(BATCH, 64)
    report(benchmark, peak, "one GiB above the inputs", 1.0, batch=65536, components=1797, dim=64)
    benchmark(law.denoiser, y, LEVEL)
    assert peak <= 1.0


@pytest.mark.parametrize("name", ["curved_mixture", "codebook", "random_centres", "digits"])
@pytest.mark.parametrize("rung", ["path", "chain"])
def test_divergence_of_ten_thousand_steps(benchmark, name, rung):
    """At most 50 ms once the curve is cached."""
    target = get(name)
    grid = Grid.exponential_uniform(10_000, ou_time=(4.0, 1e-3))
    table = samplers.ddpm(grid) if rung == "path" else samplers.jain_zhang(grid.beyond())
    measure = kl.path if rung == "path" else kl.chain
    measure(target, table)
    benchmark(measure, target, table)

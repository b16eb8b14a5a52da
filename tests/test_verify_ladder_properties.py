"""The ladder's rungs: their order, additivity and symmetries at random; the chain rung recomputed by other means.

Random laws are on the line, on spheres and small Gaussians, products and rotations of those; random grids have 3 to 8
levels.  Recomputed: joint Gaussians by linear algebra, and quadrature over histories.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import (
    Discrete,
    Embedded,
    Gaussian,
    GaussianMixture,
    NotAvailableError,
    Product,
    Rotated,
    Sphere,
    Target,
    get,
)
from verify import Estimate, Grid, Table, kl, samplers
from verify.carry import particles
from verify.oracle import Exact
from verify.samplers import BUILDERS


def build(name: str, grid: Grid) -> Table:
    return BUILDERS[name](grid.beyond() if name.startswith("jain_zhang") else grid)


ALL = {name: build(name, Grid.log_snr(6, snr=(0.1, 12.0))) for name in BUILDERS}
ONE_STEP = [name for name, table in ALL.items() if not table.multistep]
NOISY = [name for name, table in ALL.items() if table.stochastic and (np.diff(table.snr) > 0).all()]

weights = st.lists(st.floats(0.1, 1.0), min_size=2, max_size=3).map(lambda w: np.array(w) / sum(w))
places = st.lists(st.integers(-30, 30), min_size=3, max_size=3, unique=True).map(lambda a: 0.1 * np.array(a))
variances = st.lists(st.floats(0.02, 2.0), min_size=3, max_size=3)
lines = st.one_of(
    st.builds(lambda w, a: Discrete(a[: len(w), None], w), weights, places),
    st.builds(lambda w, a, v: GaussianMixture.isotropic(w, a[: len(w), None], v[: len(w)]), weights, places, variances),
)
gaussians = st.builds(lambda a, v: Gaussian(a, np.diag(v)), places, variances)
spheres = st.builds(Sphere, st.integers(2, 12), st.floats(0.5, 2.0))
laws = st.one_of(lines, gaussians, spheres, st.builds(lambda *parts: Product(parts), lines, gaussians))
grids = st.lists(
    st.floats(math.log(0.05), math.log(50.0)), min_size=3, max_size=8, unique_by=lambda u: round(4.0 * u)
).map(lambda logs: Grid.from_snr(np.exp(np.sort(logs))))
names = st.sampled_from(ONE_STEP)
quick = settings(derandomize=True, deadline=None, max_examples=15)


def rungs(law: Target, table: Table) -> dict[str, Estimate]:
    """Every rung that is available."""
    return {f"{r.name} ({r.reference})": r.estimate for r in kl.ladder(law, table).rungs if r.estimate is not None}


def error(*estimates: Estimate) -> float:
    """The estimates' own errors, and rounding of the larger."""
    return sum(float(e.error) for e in estimates) + 1e-11 * max(float(e.value) for e in estimates) + 1e-14


def assert_equal(
    found: dict[str, Estimate], expected: dict[str, Estimate], extra: dict[str, Estimate] | None = None
) -> None:
    assert found.keys() == expected.keys()
    for rung, one in found.items():
        rest = [e[rung] for e in (expected, extra or {}) if rung in e]
        assert abs(float(one.value) - sum(float(e.value) for e in rest)) <= error(one, *rest), rung


# ---- order -----------------------------------------------------------------------------------------------------------


@quick
@given(law=laws, grid=grids, name=names)
def test_rungs_are_in_order(law, grid, name):
    """marginal ≤ chain for both references, reverse ≤ path; TV ≤ √(KL/2); nothing is negative."""
    table = build(name, grid)
    known = rungs(law, table)
    pairs = [("marginal (none needed)", f"chain ({r})") for r in ("reverse", "flow+noise")]
    for low, high in (*pairs, ("chain (reverse)", "path (reverse SDE)")):
        if low in known and high in known:
            assert float(known[low].value) <= float(known[high].value) + error(known[low], known[high])
    assert all(float(e.value) >= -float(e.error) for e in known.values())
    if "marginal (none needed)" in known and not isinstance(law, Product):
        kl_bound = math.sqrt(0.5 * float(known["marginal (none needed)"].value))
        assert 0 <= float(kl.total_variation(law, table).value) <= min(1.0, kl_bound) + 1e-9


def test_order_is_strict_where_it_should_be():
    """The twin: on a coarse grid the rungs are apart, so that swapping two of them would be seen."""
    known = rungs(get("curved_mixture"), build("ei_sde", Grid.log_snr(4, snr=(0.1, 12.0))))
    values = [float(known[r].value) for r in ("marginal (none needed)", "chain (reverse)", "path (reverse SDE)")]
    assert all(low < 0.99 * high for low, high in pairwise(values))


@quick
@given(law=laws, grid=grids, extra=st.floats(0.02, 0.98), step=st.integers(0, 6))
def test_refining_never_raises_ddpm_path(law, grid, extra, step):
    k = step % grid.steps
    new = grid.snr[k] ** (1 - extra) * grid.snr[k + 1] ** extra
    coarse, fine = (kl.path(law, samplers.ddpm(g)) for g in (grid, Grid.from_snr(np.insert(grid.snr, k + 1, new))))
    assert float(fine.value) <= float(coarse.value) + error(coarse)


# ---- symmetries --------------------------------------------------------------------------------------------------------


@quick
@given(one=st.one_of(lines, spheres), other=gaussians, grid=grids, name=names, seed=st.integers(0, 99))
def test_products_permutations_rotations_and_null_coordinates(one, other, grid, name, seed):
    """Additive; unmoved by order and rotation; a null coordinate costs what N(0, 0) costs: every rung available."""
    table = build(name, grid)
    both = rungs(Product([one, other]), table)
    assert_equal(both, rungs(one, table), rungs(other, table))
    assert_equal(rungs(Product([other, one]), table), both)
    dim = one.dim + other.dim
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    turned = Rotated(Product([one, other]), turn)
    assert_equal(rungs(turned, table), both)
    assert_equal(rungs(Embedded(turned, dim + 2), table), both, rungs(Gaussian(np.zeros(2), np.zeros((2, 2))), table))


# ---- ladder ------------------------------------------------------------------------------------------------------------


def outcome(compute: Callable[[], Estimate]) -> str:
    """The number to the bit, or the refusal's words."""
    try:
        return repr(float(compute().value))
    except NotAvailableError as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", BUILDERS)
def test_ladder_is_the_single_functions(name):
    """Equal to the bit, or refused in the same words; the text names every reference."""
    law, table = get("curved_mixture"), ALL[name]
    shown = kl.ladder(law, table, start="moment")
    single = {
        "path": lambda: kl.path(law, table, start="moment"),
        "chain (reverse)": lambda: kl.chain(law, table, reference="reverse", start="moment"),
        "chain (flow+noise)": lambda: kl.chain(law, table, reference="flow+noise", start="moment"),
        "marginal": lambda: kl.marginal(law, table, start="moment"),
    }
    for rung, compute in single.items():
        alone = outcome(compute)
        assert outcome(lambda rung=rung: shown[rung]) in (alone, f"{rung}: {alone}")
    assert all(reference in str(shown) for reference in ("reverse SDE", "reverse", "flow+noise", "none needed"))


# ---- distances and particles ----------------------------------------------------------------------------------------------


@quick
@given(law=gaussians, grid=grids, name=st.sampled_from(sorted(BUILDERS)))
def test_gaussian_distances(law, grid, name):
    """W2 from linear forms coordinate by coordinate, multistep tables too; Pinsker."""
    table = build(name, grid)
    square = 0.0
    for mu, lam in zip(law.mean.tolist(), law.variances.tolist(), strict=True):
        forms, _ = joint_forms(table, mu, lam)
        noise = np.array([table.alpha[0] ** 2 * lam + table.sigma[0] ** 2, *np.ones(table.steps)])
        spread = math.sqrt(forms[-1, :-1] ** 2 @ noise)
        centre = forms[-1] @ np.array([table.alpha[0] * mu, *np.zeros(table.steps), 1.0])
        true = math.sqrt(table.alpha[-1] ** 2 * lam + table.sigma[-1] ** 2)
        square += (true - spread) ** 2 + (table.alpha[-1] * mu - centre) ** 2
    assert float(kl.wasserstein(law, table).value) == pytest.approx(math.sqrt(square), rel=1e-9, abs=1e-14)
    pinsker = math.sqrt(0.5 * float(kl.marginal(law, table).value))
    assert float(kl.total_variation(law, table).value) <= pinsker * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("name", BUILDERS)
def test_recording_and_chunks_change_nothing(name):
    """The trajectory's last states to the bit; the first chunk of 4,096 chains to the bit, whatever comes after."""
    oracle = Exact(get("codebook", n=4, dim=2))
    many = particles.run(ALL[name], oracle, 5000, seed=7)
    recorded = particles.run(ALL[name], oracle, 5000, seed=7, trajectory=True)
    assert bool((recorded[-1] == many).all())
    assert recorded.shape == (ALL[name].steps + 1, 5000, 2)
    first = particles.run(ALL[name], oracle, 4096, seed=7)
    assert float((first - many[:4096]).abs().max()) <= 1e-12 * float(many.abs().max())
    assert float((particles.run(ALL[name], oracle, 5000, seed=8) - many).abs().max()) > 0.1


# ---- the chain rung, recomputed ---------------------------------------------------------------------------------------


def joint_forms(table: Table, mu: float, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """(forms, true covariance) of the states x_0 … x_K on N(μ, λ): forms are coefficients on (x_0, z_1 … z_K, 1)."""
    count, alpha, sigma = table.steps, table.alpha, table.sigma
    variance = alpha**2 * lam + sigma**2
    later = np.maximum(*np.indices((count + 1, count + 1)))
    true = np.outer(alpha, alpha) / alpha[later] ** 2 * variance[later]
    unit = np.eye(count + 2)
    states, answers = [unit[0]], []
    for k in range(count):
        step = table.step(k)
        given: list[np.ndarray] = []
        for stage in step.stages:
            at = stage.state * states[k] + sum(
                (w * m for w, m in zip(stage.outputs, given, strict=True)), 0.0 * unit[0]
            )
            gain = stage.level.alpha * lam / (stage.level.alpha**2 * lam + stage.level.sigma**2)
            given.append(gain * at + (1.0 - gain * stage.level.alpha) * mu * unit[-1])
        answers.append(given[0])
        after = step.state * states[k] + step.noise * unit[k + 1]
        after = after + sum(w * m for w, m in zip(step.outputs, given, strict=True))
        after = after + sum((w * answers[k - 1 - j] for j, w in enumerate(step.history) if w), 0.0 * unit[0])
        states.append(after)
    return np.array(states), true


def joint_gaussian_kl(table: Table, mu: float, lam: float) -> float:
    """KL of the two joint laws, x_0 with its true law; the true covariance of x_i and x_j, i ≤ j, is α_i/α_j Var x_j."""
    count, alpha = table.steps, table.alpha
    (forms, true), variance = joint_forms(table, mu, lam), alpha**2 * lam + table.sigma**2
    noise = np.diag([variance[0], *np.ones(count)])
    apart = alpha * mu - forms @ np.array([alpha[0] * mu, *np.zeros(count), 1.0])
    sampled = forms[:, :-1] @ noise @ forms[:, :-1].T
    ratio = np.linalg.eigvals(np.linalg.solve(sampled, true)).real - 1.0
    return 0.5 * float((ratio - np.log1p(ratio)).sum() + apart @ np.linalg.solve(sampled, apart))


@pytest.mark.parametrize("name", NOISY)
def test_joint_of_a_gaussian(name):
    """Every table that has a chain against the reverse one, sde_dpmpp_2m and two-evaluation steps among them: 1e-9."""
    for mu, lam in ((0.5, 0.25), (-1.0, 3.0), (2.0, 0.01)):
        found = float(kl.chain(Gaussian([mu], [[lam]]), ALL[name]).value)
        assert found == pytest.approx(joint_gaussian_kl(ALL[name], mu, lam), rel=1e-9, abs=0)


def test_joint_sees_forgotten_history():
    table = ALL["sde_dpmpp_2m"]
    other = replace(table, history=0.99 * table.history)
    assert float(kl.chain(Gaussian([0.5], [[0.25]]), other).value) != pytest.approx(
        joint_gaussian_kl(table, 0.5, 0.25), rel=1e-4, abs=0
    )


def mixture(x: np.ndarray, alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """(log density, E[X given x]) of curved_mixture, in plain numpy."""
    logs, means = [], []
    for w, a, v in ((0.5, -1.0, 0.04), (0.3, 0.8, 0.16), (0.2, 2.5, 0.01)):
        width2 = alpha**2 * v + sigma**2
        logs.append(math.log(w) - 0.5 * np.log(2 * np.pi * width2) - 0.5 * (x - alpha * a) ** 2 / width2)
        means.append(a + alpha * v / width2 * (x - alpha * a))
    share = np.exp(np.array(logs))
    return np.log(share.sum(0)), (share * np.array(means)).sum(0) / share.sum(0)


def stepped(table: Table, k: int, x: np.ndarray, past: np.ndarray | None) -> np.ndarray:
    """The mean of the state after step k on curved_mixture, written out."""
    step, answers = table.step(k), []
    for stage in step.stages:
        at = stage.state * x + sum(w * m for w, m in zip(stage.outputs, answers, strict=True))
        answers.append(mixture(at, stage.level.alpha, stage.level.sigma)[1])
    after = step.state * x + sum(w * m for w, m in zip(step.outputs, answers, strict=True))
    return after if past is None or not step.history else after + step.history[0] * past


def quadrature_kl(table: Table) -> float:
    """Σ_k E log p(x'|x)/q(x'|x, earlier answer) over true chains: lattices of x' and of the noise that led back twice."""
    u = np.arange(-8.4, 8.41, 0.3)
    phi = np.exp(-0.5 * u**2) * 0.3 / math.sqrt(2.0 * math.pi)
    levels = list(zip(table.alpha.tolist(), table.sigma.tolist(), strict=True))

    def back(x: np.ndarray, later: int, earlier: int) -> tuple[np.ndarray, float]:
        ratio = levels[earlier][0] / levels[later][0]
        spread = math.sqrt(levels[earlier][1] ** 2 - (ratio * levels[later][1]) ** 2)
        return ratio * x[..., None] + spread * u, spread

    total = 0.0
    for k in range(table.steps):
        a, s = levels[k + 1]
        widths = np.sqrt(a**2 * np.array([0.04, 0.16, 0.01]) + s**2)
        centres = a * np.array([-1.0, 0.8, 2.5])
        ahead = np.arange((centres - 8.5 * widths).min(), (centres + 8.5 * widths).max(), widths.min() / 4)
        here, spread = back(ahead, k + 1, k)
        log_here, _ = mixture(here, *levels[k])
        log_true = mixture(ahead, a, s)[0][:, None] - 0.5 * u**2 - math.log(spread) - log_here
        if k and table.multistep:
            before, _ = back(here, k, k - 1)
            answer = mixture(before, *levels[k - 1])[1]
            mean = stepped(table, k, here[..., None], answer)
            off = ((ahead[:, None, None] - mean) ** 2) @ phi
        else:
            off = (ahead[:, None] - stepped(table, k, here, None)) ** 2
        log_q = -0.5 * off / table.noise[k] ** 2 - math.log(table.noise[k])
        total += np.exp(mixture(ahead, a, s)[0]) @ ((log_true - log_q) @ phi) * widths.min() / 4
    return float(total)


@pytest.mark.parametrize(
    "name", ["ddpm", "ei_sde", "jain_zhang", "stochastic_ddim", "sde_dpmpp_2m", "dpm_solver_2_ancestral"]
)
def test_chain_by_quadrature_over_histories(name):
    """curved_mixture, three steps, 1e-9: only the densities p and the tables' numbers enter."""
    table = build(name, Grid.log_snr(3, snr=(0.2, 5.0)))
    assert float(kl.chain(get("curved_mixture"), table).value) == pytest.approx(quadrature_kl(table), rel=1e-9, abs=0)

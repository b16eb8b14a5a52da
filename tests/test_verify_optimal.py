"""Best grids against searches that share nothing with them: plain dynamic programming, closed forms, random competitors."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets import Discrete, Embedded, Gaussian, GaussianMixture, Target, get
from verify import Grid, kl, samplers
from verify.in_use import SCHEDULES, schedule
from verify.optimal import best_nodes

SMOOTH = (1e-3, 1e3)
LAWS = {
    "gaussian": lambda: get("gaussian"),
    "curved_mixture": lambda: get("curved_mixture"),
    "two_points": lambda: get("two_points"),
    "nested_scales": lambda: get("nested_scales"),
    "heavy_tail": lambda: get("heavy_tail", n=8),
    "rare_bit": lambda: get("rare_bit", p=1e-2),
    "orthogonal_points": lambda: get("orthogonal_points", n=64),
    "anisotropic_gaussian": lambda: get("anisotropic_gaussian"),
}
DISCRETE = ("two_points", "nested_scales", "heavy_tail", "rare_bit", "orthogonal_points")


@cache
def law(name: str) -> Target:
    """A named law, or a random one: "mixture 3", "atoms 5"."""
    if name in LAWS:
        return LAWS[name]()
    kind, seed = name.split()
    rng = np.random.default_rng(int(seed))
    count = int(rng.integers(2, 6))
    weights = rng.dirichlet(np.full(count, 0.7))
    places = np.cumsum(10.0 ** rng.uniform(-1.5, 0.5, (count, 1)), 0)
    if kind == "atoms":
        return Discrete(places, weights)
    return GaussianMixture.isotropic(weights, places, 10.0 ** rng.uniform(-3.0, 0.0, count))


def window(name: str) -> tuple[float, float]:
    """The whole range of a discrete law; 1e-3 … 1e3 for a smooth one."""
    if name not in DISCRETE:
        return SMOOTH
    low, high = np.exp(law(name).curve.edges[[0, -1]]).tolist()
    return low, high


def cost(target: Target, grid: Grid) -> float:
    return float(kl.path(target, samplers.ddpm(grid)).value)


def stationarity(target: Target, grid: Grid) -> np.ndarray:
    """h_k D(γ_k) / (mmse(γ_{k−1}) − mmse(γ_k)) − 1 at the inner levels."""
    levels = grid.snr
    falls = -np.diff(np.asarray(target.mmse(levels[:-1]).value))
    return np.diff(levels)[1:] * np.asarray(target.mmse_slope(levels[1:-1]).value) / falls - 1.0


def plain(nodes: np.ndarray, loss: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    """Least Σ (x_{i_{k+1}} − x_{i_k}) ℓ(x_{i_k}) over i_0 = 0 ≤ … ≤ i_K = N − 1, and where: every pair looked at."""
    edge = np.where(np.tri(len(nodes), dtype=bool).T, (nodes[None, :] - nodes[:, None]) * loss[:, None], np.inf)
    value, choices = edge[0], []
    for _ in range(steps - 1):
        through = value[:, None] + edge
        choices.append(through.argmin(0))
        value = through.min(0)
    path = [len(nodes) - 1]
    for choice in choices[::-1]:
        path.append(int(choice[path[-1]]))
    return float(value[-1]), np.array([0, *path[::-1]])


def brute(target: Target, steps: int, low: float, high: float, size: int = 900) -> np.ndarray:
    """Levels of the best grid: all pairs of a fine log grid, then of ever finer ones around the levels found."""
    nodes, width = np.geomspace(low, high, size), np.log(high / low) / size
    for _ in range(14):
        _, path = plain(nodes, np.asarray(target.mmse(nodes).value), steps)
        found = nodes[path[1:-1]]
        around = found[:, None] * np.exp(3.0 * width * np.linspace(-1.0, 1.0, 25))
        nodes = np.unique(np.clip(np.concatenate([[low], found, around.ravel(), [high]]), low, high))
        width *= 0.3
    return nodes[path]


# ---- the global minimum -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3, 4, 6])
@pytest.mark.parametrize("name", LAWS)
def test_no_search_finds_a_better_grid(name, steps):
    """1e-6 of the excess over the integral; and no worse a grid than the search's."""
    low, high = window(name)
    best = cost(law(name), Grid.optimal(law(name), steps=steps, snr=(low, high)))
    found = cost(law(name), Grid.from_snr(brute(law(name), steps, low, high)))
    assert best == pytest.approx(found, rel=1e-6, abs=0)
    assert best <= found * (1.0 + 1e-10)


decreasing = st.tuples(
    st.integers(2, 70),
    st.integers(1, 64),
    st.integers(0, 10**6),
    st.sampled_from(["any", "jumps", "plateaus", "ties", "flat"]),
)


@settings(derandomize=True, deadline=None, max_examples=250)
@given(case=decreasing)
def test_nodes_are_the_best_of_all_pairs(case):
    """On decreasing losses of any shape, K above the number of nodes included; the cost is equal to rounding."""
    size, steps, seed, shape = case
    rng = np.random.default_rng(seed)
    nodes = np.cumsum(10.0 ** rng.uniform(-4.0, 2.0, size))
    drops = {
        "any": 10.0 ** rng.uniform(-6.0, 2.0, size),
        "jumps": np.where(rng.random(size) < 0.1, 10.0 ** rng.uniform(0.0, 5.0, size), 1e-6 * rng.random(size)),
        "plateaus": np.where(rng.random(size) < 0.3, rng.random(size), 0.0),
        "ties": rng.integers(0, 2, size).astype(float),
        "flat": np.zeros(size),
    }[shape]
    if shape == "ties":
        nodes = np.arange(1.0, size + 1.0)
    loss = np.cumsum(drops)[::-1].copy()
    path = best_nodes(nodes, loss, steps)
    assert len(path) == steps + 1
    assert (path[0], path[-1]) == (0, size - 1)
    assert (np.diff(path) >= 0).all()
    found = float(np.diff(nodes[path]) @ loss[path[:-1]])
    least, _ = plain(nodes, loss, steps)
    assert found == pytest.approx(least, rel=1e-12, abs=1e-14 * float(nodes[-1] * loss[0]))


@pytest.mark.parametrize("name", ["curved_mixture", "nested_scales", "heavy_tail"])
def test_grid_is_the_limit_of_finer_plans(name):
    """Plans on N nodes lie above the grid and come down to it as N grows: the excess at K = 16 within 1e-3 at 1,600."""
    target, (low, high) = law(name), window(name)
    best = cost(target, Grid.optimal(target, steps=16, snr=(low, high)))
    above = []
    for size in (200, 400, 800, 1600):
        nodes = np.geomspace(low, high, size)
        _, path = plain(nodes, np.asarray(target.mmse(nodes).value), 16)
        above.append(cost(target, Grid.from_snr(nodes[path])) / best - 1.0)
    assert min(above) > -1e-12
    assert above[-1] < 1e-3
    assert above[-1] < 0.1 * above[0]


@pytest.mark.parametrize("name", LAWS)
def test_best_cost_falls_to_a_quarter_of_the_squared_length(name):
    """K·KL → S²/4: at 512 steps less than 4% above it, extrapolated from 256 within 0.5%."""
    target, snr = law(name), window(name)
    limit = float(target.curve.discretisation_length(*snr).value) ** 2 / 4.0
    coarse, fine = (k * cost(target, Grid.optimal(target, steps=k, snr=snr)) / limit for k in (256, 512))
    assert 0.0 < fine - 1.0 < 0.04
    assert 2.0 * fine - coarse == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("name", ["curved_mixture", *DISCRETE[:3]])
def test_beyond_planned_steps(name):
    """K = 3,000: stationary, and K·KL ÷ (S²/4) − 1 falls like 1/K from 1,000 (on atoms a little slower)."""
    target, snr = law(name), window(name)
    limit = float(target.curve.discretisation_length(*snr).value) ** 2 / 4.0
    grids = {k: Grid.optimal(target, steps=k, snr=snr) for k in (1000, 3000)}
    excess = {k: k * cost(target, grid) / limit - 1.0 for k, grid in grids.items()}
    assert excess[3000] == pytest.approx(excess[1000] / 3.0, rel=0.15, abs=0)
    assert (grids[3000].snr[0], grids[3000].snr[-1]) == snr
    assert np.abs(stationarity(target, grids[3000])).max() < 1e-4


@pytest.mark.parametrize("steps", [2, 7, 40, 300])
@pytest.mark.parametrize("name", ["anisotropic_gaussian", "curved_mixture", "gaussian"])
def test_three_term_relation(name, steps):
    """γ_{k+1} = γ_k + (mmse_{k−1} − mmse_k)/D_k at every inner level."""
    assert np.abs(stationarity(law(name), Grid.optimal(law(name), steps=steps, snr=SMOOTH))).max() < 1e-6


@pytest.mark.parametrize("name", ["two_points", "heavy_tail", "nested_scales"])
def test_three_term_relation_on_atoms(name):
    assert np.abs(stationarity(law(name), Grid.optimal(law(name), steps=24, snr=window(name)))).max() < 1e-5


def test_three_term_relation_rejects_other_grids():
    for build in (Grid.sqrt_slope, Grid.align_your_steps):
        grid = build(law("curved_mixture"), steps=40, snr=SMOOTH)
        assert np.abs(stationarity(law("curved_mixture"), grid)).max() > 1e-3


# ---- never worse than another grid --------------------------------------------------------------------------------------

ANY_LAW = [*LAWS, *(f"{kind} {seed}" for kind in ("mixture", "atoms") for seed in range(5))]


@st.composite
def windows(draw) -> tuple[str, tuple[float, float]]:
    """A law and a window that begins anywhere within its curve's range and ends anywhere above."""
    name = draw(st.sampled_from(ANY_LAW))
    edges = np.clip(law(name).curve.edges[[0, -1]], -35.0, 50.0)
    start = draw(st.floats(0.0, 0.9))
    length = draw(st.floats(0.02, 1.0))
    low = edges[0] + start * (edges[1] - edges[0])
    return name, (float(np.exp(low)), float(np.exp(low + length * (edges[1] - low))))


@pytest.fixture(scope="module")
def _built():
    """Curves are made before Hypothesis looks: some are sampled, and strategies may draw from nowhere else."""
    for name in ANY_LAW:
        assert law(name).curve.edges[0] < law(name).curve.edges[-1]


@pytest.mark.usefixtures("_built")
@settings(derandomize=True, deadline=None, max_examples=45)
@given(case=windows(), steps=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_never_worse_than_any_other_schedule(case, steps, seed):
    """1e-9 and the rounding of the curve; every schedule, and the grid itself with its levels moved."""
    name, snr = case
    target = law(name)
    best = Grid.optimal(target, steps=steps, snr=snr)
    assert best.steps == steps
    assert (best.snr[0], best.snr[-1]) == snr
    rounding = 1e-14 * float(np.asarray(target.mmse(best.snr[:-1]).value) @ np.diff(best.snr))
    least = cost(target, best) * (1.0 - 1e-9) - rounding
    for other in SCHEDULES:
        assert least <= cost(target, schedule(other, target, steps, snr)), other
    rng = np.random.default_rng(seed)
    for size in (1e-3, 0.05, 0.5):
        gaps = np.diff(np.log(best.snr)) * np.exp(size * rng.standard_normal(steps))
        inner = snr[0] * np.exp(np.cumsum(gaps)[:-1] * (np.log(snr[1] / snr[0]) / gaps.sum()))
        assert least <= cost(target, Grid.from_snr(np.concatenate([snr[:1], inner, snr[1:]])))


def test_other_schedules_are_worse():
    """The twin: at 20 steps on a curved law the asymptotic density costs 6e-4 more, most others a multiple."""
    target = law("curved_mixture")
    best = cost(target, Grid.optimal(target, steps=20, snr=SMOOTH))
    ratio = {name: cost(target, schedule(name, target, 20, SMOOTH)) / best for name in SCHEDULES}
    assert ratio["optimal"] == 1.0
    assert ratio.pop("recursion") >= 1.0 - 1e-12
    assert min(value for name, value in ratio.items() if name != "optimal") > 1.0005
    assert sum(value > 1.25 for value in ratio.values()) >= 8


@pytest.mark.parametrize(
    "target",
    [Gaussian([1.0], [[0.0]]), Gaussian([0.0, 1.0], [[0.0, 0.0], [0.0, 2.0]]), Embedded(get("gaussian"), 3)],
    ids=["point", "null direction", "embedded"],
)
def test_laws_without_spread(target):
    """Directions without variance cost nothing; a point leaves every grid free, and it is one."""
    grid = Grid.optimal(target, steps=9, snr=SMOOTH)
    assert grid.steps == 9
    assert cost(target, grid) <= cost(target, Grid.log_snr(9, snr=SMOOTH))


@pytest.mark.parametrize("name", ["gaussian", "two_points", "nested_scales"])
def test_narrow_windows(name):
    for width in (1e-2, 1e-6, 1e-9):
        grid = Grid.optimal(law(name), steps=12, snr=(0.5, 0.5 * (1.0 + width)))
        assert grid.steps == 12
        spacing = np.diff(grid.snr) / (0.5 * width / 12)
        np.testing.assert_allclose(spacing, 1.0, atol=2.0 * width + 1e-13 / width)


# ---- Gaussians: closed forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [Grid.optimal, Grid.recursion])
@pytest.mark.parametrize("steps", [1, 2, 5, 33, 200])
def test_gaussian_closed_form(build, steps):
    """Geometric in 1 + γλ; KL = (dK/2)(e^{Λ/K} − 1 − Λ/K)."""
    target, variance = get("gaussian", dim=3, variance=0.7), 0.7
    grid = build(target, steps=steps, snr=SMOOTH)
    whole = np.log((1.0 + SMOOTH[1] * variance) / (1.0 + SMOOTH[0] * variance))
    np.testing.assert_allclose(np.diff(np.log1p(variance * grid.snr)), whole / steps, rtol=1e-6)
    x = whole / steps
    assert cost(target, grid) == pytest.approx(1.5 * steps * (np.expm1(x) - x), rel=1e-10, abs=0)


@pytest.mark.parametrize("steps", [3, 10, 50])
@pytest.mark.parametrize("name", ["curved_mixture", "two_points", "anisotropic_gaussian"])
def test_recursion_is_stationary(name, steps):
    """The pass lands on γ_K and holds the relation; it is no better than the best grid."""
    target, snr = law(name), window(name)
    grid = Grid.recursion(target, steps=steps, snr=snr)
    assert (grid.steps, grid.snr[0], grid.snr[-1]) == (steps, *snr)
    best = cost(target, Grid.optimal(target, steps=steps, snr=snr))
    assert cost(target, grid) >= best * (1.0 - 1e-9)
    if name == "anisotropic_gaussian":
        assert np.abs(stationarity(target, grid)).max() < 1e-5
        assert cost(target, grid) == pytest.approx(best, rel=1e-8, abs=0)

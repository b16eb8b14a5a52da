"""Numbers of the learned-score study held by a second path each: prices, ratios, K*, distances up to a level, the gap."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from studies import learned_parts as parts
from studies.learned_laws import Learner
from studies.learned_prices import Price
from targets import get
from verify import Grid, kl, samplers
from verify.learn import Architecture, ErrorCurve, Learned, Training, train
from verify.oracle import ConstantBias
from verify.span import span

LAW = get("curved_mixture")
WINDOW = span(LAW)


@pytest.fixture(scope="module")
def learner() -> Learner:
    trained = train(LAW, Training(steps=60, batch=64, snr=WINDOW), Architecture(1, 1, 16, 1))
    return Learner(LAW, WINDOW, trained, points=128, seed=0, preset="quick")


GRIDS = {name: getattr(Grid, name)(12, snr=WINDOW) for name in ("log_snr", "karras", "cosine")}


@pytest.mark.parametrize("name", GRIDS)
def test_a_price_is_path_kl_with_the_network(learner, name):
    """Interpolated errors on one set of draws against moments at the grid's own levels on another: 4 joint errors."""
    table, price = samplers.ddpm(GRIDS[name]), Price.of(learner, GRIDS[name]).columns(None)
    other = kl.path(LAW, table, oracle=Learned(LAW, learner.trained.network, points=512, seed=9))
    error = 4.0 * math.hypot(price["network_stderr"], float(other.stderr)) + price["network_bias"]
    assert abs(price["network"] - float(other.value)) < error
    assert error < 0.2 * (price["network"] - price["value"]), "tight enough to see a wrong factor of the error"
    assert price["value"] == pytest.approx(float(kl.path(LAW, table).value), rel=1e-12)


def test_a_ratio_is_that_of_the_prices_and_better_known(learner):
    """The loss-adaptive grid's price is above; on the same draws the ratio's error is below that of independent prices."""
    prices = {name: Price.of(learner, grid) for name, grid in GRIDS.items()}
    alone = {name: price.columns(None) for name, price in prices.items()}
    found = prices["karras"].columns(prices["log_snr"])
    assert found["ratio"] == pytest.approx(alone["log_snr"]["value"] / alone["karras"]["value"], rel=1e-12)
    own = alone["log_snr"]["network"] / alone["karras"]["network"]
    assert found["network_ratio"] == pytest.approx(own, rel=1e-12)
    apart = [alone[name]["network_stderr"] / alone[name]["network"] for name in ("log_snr", "karras")]
    assert 0.0 < found["network_ratio_stderr"] < 0.7 * own * math.hypot(*apart)
    same = prices["karras"].columns(prices["karras"])
    assert (same["ratio"], same["network_ratio"]) == (1.0, 1.0)
    assert (same["network_ratio_stderr"], same["network_ratio_bias"]) == (0.0, 0.0)


def test_the_error_of_a_ratio_is_its_scatter(learner):
    """Over twelve other sets of draws: a standard deviation from 12 is within a factor of 2 but for 1 in 1,000."""
    ratios = []
    for seed in range(12):
        oracle = learner.oracle
        curve = ErrorCurve(oracle, snr=learner.levels, points=32, seed=100 + seed)
        stand_in = SimpleNamespace(target=LAW, error=curve)
        one, other = (Price.of(stand_in, GRIDS[name]) for name in ("log_snr", "karras"))  # type: ignore[arg-type]
        ratios.append(other.columns(one))
    scatter = float(np.std([row["network_ratio"] for row in ratios], ddof=1))
    stated = float(np.mean([row["network_ratio_stderr"] for row in ratios]))
    assert 0.5 < scatter / stated < 2.0


def test_reach_is_the_least_number_of_steps(learner, monkeypatch):
    """Path KL at K* is no more than the floor, at K* − 1 more; beyond MANY steps of the best grid the limit, within 5%."""
    level = float(learner.error.floor().value)
    rows = {(row["sampler"], row["schedule"]): row for row in parts.reach(learner, "quick")}
    builds = {
        ("ddpm", "log_snr"): lambda steps: samplers.ddpm(Grid.log_snr(steps, snr=WINDOW)),
        ("ei_sde", "log_snr"): lambda steps: samplers.ei_sde(Grid.log_snr(steps, snr=WINDOW)),
        ("ddpm", "optimal"): lambda steps: samplers.ddpm(Grid.optimal(LAW, steps=steps, snr=WINDOW)),
    }
    assert rows.keys() == builds.keys()
    for key, build in builds.items():
        steps = int(rows[key]["value"])
        assert float(kl.path(LAW, build(steps)).value) <= level < float(kl.path(LAW, build(steps - 1)).value)
        assert rows[key]["method"] == "least whole number"
        assert rows[key]["bias"] >= 1.0
    monkeypatch.setattr(parts, "MANY", 0)
    limit = parts.reach(learner, "quick")[2]
    length = float(LAW.curve.discretisation_length(*WINDOW).value)
    assert limit["value"] == pytest.approx(length**2 / 4.0 / level, rel=1e-12)
    assert limit["value"] == pytest.approx(rows["ddpm", "optimal"]["value"], abs=2.0 + 0.1 * limit["value"])
    assert limit["method"] == "limit"


def test_distances_up_to_a_level(learner):
    """Constant errors b and c: ½ b²(γ − γ_0), share b²/c², lead ((b − c)² − b²)/c², and γ where that share is left."""
    b, c = 0.2, 0.5
    near, far = ConstantBias(LAW, [b]), ConstantBias(LAW, [c])
    measured = {
        "to_law": learner.distance(near),
        "to_points": learner.distance(near, far),
        "apart": learner.distance(far),
    }
    for left in (0.5, 0.1):
        rows = {row["distance"]: row for row in parts._places(learner, measured, 7, left)}
        top = math.exp(rows["apart"]["top"])
        assert float(LAW.mmse(top).value) == pytest.approx(left * LAW.total_variance, rel=0.03)
        assert rows["to_law"]["value"] == pytest.approx(0.5 * b**2 * (top - WINDOW[0]), rel=1e-4)
        assert rows["apart"]["value"] == pytest.approx(0.5 * c**2 * (top - WINDOW[0]), rel=1e-4)
        assert rows["share"]["value"] == pytest.approx(b**2 / c**2, rel=1e-9)
        assert rows["lead"]["value"] == pytest.approx(((b - c) ** 2 - b**2) / c**2, rel=1e-9)
        assert all(row["points"] == 7 and row["left"] == left for row in rows.values())


def test_the_gap_s_error_is_that_of_both_routes(learner):
    """On the line the curve is deterministic: what is left are the losses and the moments."""
    grid = GRIDS["log_snr"]
    table = samplers.ddpm(grid)
    routes = learner.evaluation.path(table), kl.parts(LAW, table, oracle=learner.oracle)["oracle"]
    assert parts._gap(learner, grid) == pytest.approx(math.hypot(*(float(each.stderr) for each in routes)), rel=1e-12)


def test_rungs_beside_the_exact_denoiser(learner):
    """ddpm's chain against the reverse chain is its path; a network that errs costs more on every rung of every sampler."""
    rows = parts.rungs(learner, "quick")
    for row in rows:
        grid = Grid.log_snr(row["steps"], snr=WINDOW)
        build = samplers.get(row["sampler"])
        table = build(grid.beyond() if row["sampler"] == "jain_zhang" else grid)
        exact = kl.path(LAW, table) if row["rung"] == "path" else kl.chain(LAW, table)
        assert row["exact"] == pytest.approx(float(exact.value), rel=1e-9)
        assert ("gap_stderr" in row) == (row["reference"] == "losses")
    priced = {(r["sampler"], r["rung"], r["reference"], r["steps"]): r for r in rows}
    for steps in parts.RUNGS["quick"]:
        row = priced["ddpm", "path", "terms", steps]
        finest = Grid.log_snr(64, snr=WINDOW).snr
        table = samplers.ddpm(Grid.from_snr(finest[:: 64 // steps]))
        chain = kl.chain(LAW, table, oracle=learner.oracle)
        assert float(chain.value) == pytest.approx(row["value"], rel=1e-9)
        assert row["value"] > row["exact"]
        losses = priced["ddpm", "path", "losses", steps]
        assert abs(losses["value"] - row["value"]) < 4.0 * losses["gap_stderr"] + losses["bias"] + row["bias"]


def test_the_window_of_training_is_the_one_priced(learner):
    assert learner.trained.window == pytest.approx(WINDOW, rel=1e-12)
    assert (learner.levels[0], learner.levels[-1]) == WINDOW
    assert torch.equal(learner.trained.network.logsnr, torch.tensor(WINDOW, dtype=torch.float64).log())

"""The filmstrip: densities, particles and rungs of one law, each by a second way; the picture redraws from rows alone."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from figures import filmstrip as picture
from studies import filmstrip
from studies.store import Store, read_rows
from targets import ArgumentError, Product
from verify import kl, samplers
from verify.span import span

CPU = torch.device("cpu")
WEIGHTS = np.outer([0.5, 0.3, 0.2], [0.45, 0.2, 0.35]).ravel()
CENTRES = np.stack(np.meshgrid([-1.0, 0.8, 2.5], [-1.9, 0.1, 1.5], indexing="ij"), -1).reshape(-1, 2)
VARIANCES = np.stack(np.meshgrid([0.04, 0.16, 0.01], [0.02, 0.01, 0.2], indexing="ij"), -1).reshape(-1, 2)


def log_density(points, snr):
    """log density of x = αX + σZ at (n, 2) points from the nine components, in numpy."""
    square = snr / (1.0 + snr)
    c, s = math.cos(filmstrip.ANGLE), math.sin(filmstrip.ANGLE)
    own = points @ np.array([[c, -s], [s, c]])  # rows times R are the columns of Rᵀ
    spread = square * VARIANCES + 1.0 - square
    apart = own[:, None, :] - math.sqrt(square) * CENTRES
    each = np.log(WEIGHTS) - 0.5 * (apart**2 / spread + np.log(2.0 * np.pi * spread)).sum(-1)
    top = each.max(1, keepdims=True)
    return (top + np.log(np.exp(each - top).sum(1, keepdims=True)))[:, 0]


@pytest.fixture(scope="module")
def settings():
    return filmstrip.settings(filmstrip.Config())


@pytest.fixture(scope="module")
def rows(settings):
    return [row for setting in settings for row in filmstrip.compute(setting, CPU)]


@pytest.fixture(scope="module")
def committed():
    return read_rows(picture.COMMITTED)


def of(rows, quantity, **wanted):
    return [row for row in rows if row["quantity"] == quantity and all(row[key] == v for key, v in wanted.items())]


def test_rows_are_plain(rows):
    json.dumps(rows, allow_nan=False)
    assert len(of(rows, "density")) == filmstrip.PANELS
    for sampler in filmstrip.SAMPLERS:
        assert len(of(rows, "particles", sampler=sampler)) == filmstrip.PANELS


def test_densities_are_the_mixtures(rows):
    """Against nine components written out, at every node; and the square holds nearly all of the law."""
    for row in of(rows, "density"):
        nodes = np.stack(np.meshgrid(row["x"], row["y"]), -1).reshape(-1, 2)
        found = np.array(row["log_density"])
        np.testing.assert_allclose(found.ravel(), log_density(nodes, row["snr"]), rtol=0, atol=0.0051)
        cell = (row["x"][1] - row["x"][0]) * (row["y"][1] - row["y"][0])
        assert 0.95 < cell * np.exp(found).sum() < 1.03


def test_levels_share_the_information(rows):
    """First, last, rising, and the same in densities and particles; inner ones nearest to equal parts of I."""
    levels = [(row["index"], row["snr"]) for row in of(rows, "density")]
    steps = filmstrip.Config().steps
    assert levels[0][0] == 0
    assert levels[-1][0] == steps
    np.testing.assert_allclose([levels[0][1], levels[-1][1]], span(filmstrip.law()), rtol=1e-12)
    for sampler in filmstrip.SAMPLERS:
        assert [(row["index"], row["snr"]) for row in of(rows, "particles", sampler=sampler)] == levels
    for many in (64, 256):
        grid = filmstrip.grid_of(many)
        chosen = filmstrip.shown(grid)
        told = np.asarray(filmstrip.law().mutual_information(grid.snr).value)
        parts = (told[chosen] - told[0]) / (told[-1] - told[0])
        np.testing.assert_allclose(
            parts, np.linspace(0.0, 1.0, filmstrip.PANELS), atol=0.6 * np.diff(told).max() / told[-1]
        )


@pytest.mark.parametrize("steps", range(filmstrip.PANELS - 1, 24))
def test_every_level_is_shown_once(steps):
    chosen = filmstrip.shown(filmstrip.grid_of(steps))
    assert len(set(chosen)) == filmstrip.PANELS
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, steps)


def test_one_start_two_samplers(rows):
    """The same particles at the first level, drawn from the true law there; others at the last."""
    first = [np.array(of(rows, "particles", sampler=s, index=0)[0]["points"]) for s in filmstrip.SAMPLERS]
    np.testing.assert_array_equal(first[0], first[1])
    last = [np.array(of(rows, "particles", sampler=s)[-1]["points"]) for s in filmstrip.SAMPLERS]
    assert np.abs(last[0] - last[1]).max() > 0.5
    snr = of(rows, "density")[0]["snr"]
    count, law = len(first[0]), filmstrip.law()
    level = filmstrip.grid_of(8).levels[0]
    expected = level.alpha * law.mean.numpy()
    assert snr == pytest.approx((level.alpha / level.sigma) ** 2)
    # five standard errors in each of two coordinates: fails by chance once in a million
    assert (np.abs(first[0].mean(0) - expected) < 5.0 / math.sqrt(count)).all()


def test_ddim_is_the_flow_by_hand(rows):
    """x′ = α′ m + σ′ (x − αm)/σ, with m by differences of the log density written out above (Tweedie)."""
    grid = filmstrip.grid_of(filmstrip.Config().steps)
    state = np.array(of(rows, "particles", sampler="ddim", index=0)[0]["points"])
    shown = {row["index"]: np.array(row["points"]) for row in of(rows, "particles", sampler="ddim")}
    compared = 0
    for k in range(grid.steps):
        alpha, sigma, width = grid.alpha[k], grid.sigma[k], 1e-5
        score = np.stack(
            [
                (log_density(state + e, grid.snr[k]) - log_density(state - e, grid.snr[k])) / (2.0 * width)
                for e in width * np.eye(2)
            ],
            -1,
        )
        mean = (state + sigma**2 * score) / alpha
        state = grid.alpha[k + 1] * mean + grid.sigma[k + 1] * (state - alpha * mean) / sigma
        if k + 1 in shown:
            away = np.abs(state - shown[k + 1]).max(1)
            assert np.quantile(away, 0.95) < 0.02  # rounding of the start grows along the flow
            compared += 1
    assert compared == filmstrip.PANELS - 1


def test_rungs(rows):
    """Against the divergences of the two factors apart; path ≥ chain (reverse) ≥ marginal, chain (flow+noise) ≥ marginal."""
    product = filmstrip.law().inner
    assert isinstance(product, Product)
    factors = [factor for factor, _ in product.blocks]
    for sampler in filmstrip.SAMPLERS:
        table = samplers.get(sampler)(filmstrip.grid_of(filmstrip.Config().steps))
        (row,) = of(rows, "kl", sampler=sampler, rung="marginal")
        apart = sum(float(kl.marginal(factor, table).value) for factor in factors)
        assert row["value"] == pytest.approx(apart, rel=1e-9)
    value = {(row["rung"], row["reference"]): row["value"] for row in of(rows, "kl", sampler="ddpm")}
    assert value["path", "reverse SDE"] == pytest.approx(value["chain", "reverse"], rel=1e-9)
    assert value["chain", "reverse"] > value["marginal", "none"]
    assert value["chain", "flow+noise"] > value["marginal", "none"]
    assert {row["rung"] for row in of(rows, "refused", sampler="ddim")} == {"path", "chain"}


def test_report_and_figure(settings, rows, tmp_path, monkeypatch, capsys):
    """The table has the picture's numbers; the picture is drawn from the store alone."""
    filmstrip.report(rows)
    text = capsys.readouterr().out
    for row in of(rows, "kl"):
        assert f"{row['value']:.6g}" in text
    store = Store(tmp_path, filmstrip.NAME)
    for setting in settings:
        store.add(setting, filmstrip.compute(setting, CPU))
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    monkeypatch.setattr(filmstrip, "law", lambda: pytest.fail("computed for a figure"))
    written = picture.draw(store.path)
    assert {path.name for path in written} >= {f"{filmstrip.NAME}.png", f"{filmstrip.NAME}.svg"}
    svg = next(path for path in written if path.suffix == ".svg").read_text()
    for sampler in filmstrip.SAMPLERS:
        (row,) = of(rows, "kl", sampler=sampler, rung="marginal")
        assert f"marginal KL {row['value']:.2g} nats" in svg


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 4}, r"steps = 4: expected an integer >= 5"),
        ({"steps": 8.5}, r"steps = 8\.5: expected an integer >= 5"),
        ({"seed": -1}, r"seed = -1: expected an integer >= 0"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ArgumentError, match=message):
        filmstrip.check(dataclasses.replace(filmstrip.Config(), **change))


def test_the_committed_rows_are_whole(committed, rows):
    """The full preset, every particle of it, the same rungs and the same levels as computed now."""
    assert {row["setting"]["preset"] for row in committed} == {"full"}
    assert len(of(committed, "density")) == filmstrip.PANELS
    for row in of(committed, "particles"):
        assert np.array(row["points"]).shape == (filmstrip.PARTICLES["full"], 2)
    now = {(row["sampler"], row["rung"], row["reference"]): row["value"] for row in of(rows, "kl")}
    then = {(row["sampler"], row["rung"], row["reference"]): row["value"] for row in of(committed, "kl")}
    assert then.keys() == now.keys()
    np.testing.assert_allclose([then[key] for key in now], list(now.values()), rtol=1e-8)


def test_seed_and_preset_reach_the_rows(monkeypatch):
    monkeypatch.setattr(filmstrip, "PARTICLES", {"quick": 4, "full": 6})
    monkeypatch.setattr(filmstrip, "CELLS", {"quick": 3, "full": 5})
    shared = {"steps": 5, "preset": "full"}

    def points(seed):
        found = filmstrip.compute({"part": "particles", "sampler": "ddim", "seed": seed, **shared}, CPU)
        return np.array(of(found, "particles")[0]["points"])

    assert points(0).shape == (6, 2)
    assert not np.array_equal(points(0), points(1))
    first = filmstrip.compute({"part": "density", "seed": 0, **shared}, CPU)[0]
    assert np.array(first["log_density"]).shape == (5, 5)


def test_the_table_has_both_errors_in_their_columns_and_a_dash_for_a_refusal(capsys):
    where = {"steps": 8, "rung": "marginal", "reference": "none"}
    filmstrip.report(
        [
            {"quantity": "kl", "sampler": "one", **where, "value": 1.5, "stderr": 0.1, "bias": 0.02},
            {"quantity": "refused", "sampler": "other", **where, "value": None, "method": "why"},
        ]
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["one", "marginal", "none", "1.5", "0.1", "0.02"] in lines
    assert ["other", "marginal", "none", "-"] in lines


def test_a_panel_reaches_as_many_deviations_of_its_level(rows):
    """Half a width is `REACH` of the mean standard deviation of αX + σZ in the two directions."""
    for row in of(rows, "density"):
        level = filmstrip.grid_of(filmstrip.Config().steps).levels[row["index"]]
        mean = WEIGHTS @ CENTRES
        variance = (WEIGHTS @ (VARIANCES + (CENTRES - mean) ** 2)).mean()
        half = filmstrip.REACH * math.sqrt(level.alpha**2 * variance + level.sigma**2)
        assert (row["x"][-1] - row["x"][0]) / 2.0 == pytest.approx(half, abs=1e-4)
        assert (row["y"][-1] - row["y"][0]) / 2.0 == pytest.approx(half, abs=1e-4)

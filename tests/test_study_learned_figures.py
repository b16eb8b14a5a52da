"""The figures of the learned-score study read back from their axes, on rows whose values are known."""

import matplotlib.colors as colors
import numpy as np
import pytest

from figures import __main__ as everything
from figures import learned_rungs as rung_panels
from figures import learned_score as picture
from figures import style
from studies import learned_findings as findings
from studies.store import Store

NAME = picture.NAME
FIGURES = ("", "_levels", "_rungs", "_marginal", "_reach", "_schedules", "_memory")
LEVELS = np.linspace(-2.0, 2.0, 9)


def level(logsnr, **law):
    """γ·mmse = 2, γ·loss = 2 + 2γ, error = 2, excess = 2 with bars of 2.5 (γ > 1) or 1.3."""
    snr = float(np.exp(logsnr))
    spread = 0.6 if snr > 1.0 else 0.3
    curve = {"mmse": 2.0 / snr, "loss": 2.0 / snr + 2.0, "loss_stderr": 0.1, "error": 2.0, "error_stderr": 0.1}
    excess = {"excess": 2.0, "excess_stderr": spread, "excess_bias": 0.1, "linear": 3.0, "linear_stderr": 0.1}
    return {**law, "part": "curve", "quantity": "level", "logsnr": float(logsnr), **curve, **excess}


def made(**law):
    """A small row set of one law, every quantity once or twice."""
    number = {"stderr": 0.1, "bias": 0.2, "method": ""}
    rows = [level(logsnr, **law) for logsnr in LEVELS]
    rows.append({**law, "quantity": "log", "logsnr": [0.0, 1.0], "loss": [3.0, 2.0], "stderr": [0.1, 0.1]})
    rows.append({**law, "quantity": "floor", "value": 5.0, **number})
    for (sampler, rung, reference), steps in ((where, k) for where in rung_panels.LOOKS for k in (4, 8)):
        where = {"sampler": sampler, "rung": rung, "reference": reference, "steps": steps}
        value = -0.1 if (reference, steps) == ("losses", 8) else 40.0 / steps
        rows.append({**law, "quantity": "kl", **where, "value": value, **number, "exact": 20.0 / steps})
    marginal = {"sampler": "ddim", "rung": "marginal", "reference": "none", "steps": 4, "stop": 1.25}
    rows.append({**law, "quantity": "kl", **marginal, "value": 0.5, **number, "exact": 0.25})
    for index, (sampler, schedule) in enumerate(findings.REACHED.values()):
        where = {"sampler": sampler, "schedule": schedule, "value": law["dim"] * (index + 1.0)}
        rows.append({**law, "quantity": "reach", **where, **number})
    values = {"loss_adaptive": (1.2, 3.0), "optimal": (1.0, 3.3), "network_optimal": (1.1, 3.0), "karras": (2.0, 6.0)}
    for (name, (exact, own)), steps in ((pair, k) for pair in values.items() for k in (8, 16)):
        where = {"schedule": name, "steps": steps, "value": exact, "network": own}
        paired = {"ratio": 1.2 / exact, "network_ratio": 3.0 / own}
        where |= paired | {f"{of}_stderr": 0.01 for of in paired} | {f"{of}_bias": 0.01 for of in paired}
        rows.append({**law, "quantity": "schedule", **where, **number, "network_stderr": 0.0, "network_bias": 0.0})
    distances = {"to_law": 1.0, "to_points": 2.0, "apart": 3.0}
    for points in (10, 100):
        mine = {**law, "quantity": "memory", "points": points, **number}
        for name, value in distances.items():
            rows += [{**mine, "distance": name, "left": left, "value": value / points * left} for left in (0.5, 0.25)]
        each = distances | {f"{name}_stderr": 0.01 for name in distances}
        mine = {**law, "quantity": "memory_level", "points": points, **each}
        rows += [{**mine, "logsnr": float(logsnr)} for logsnr in LEVELS]
    return rows


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A function of rows: the figures drawn from them, by name."""

    def draw(rows):
        found = {}
        monkeypatch.setattr(
            style, "save", lambda figure, folder, name, *_: found.update({name: (figure, folder)}) or []
        )
        store = Store(tmp_path, NAME)
        store.add({"all": len(rows)}, rows)
        picture.draw(store.path, {store.key({"all": len(rows)})})
        return {name.removeprefix(NAME): figure for name, (figure, _) in found.items()}

    return draw


def lines(axis):
    """Data of the labelled lines and of error bars, by label."""
    found = {line.get_label(): line.get_xydata() for line in axis.get_lines()}
    return found | {bar.get_label(): bar[0].get_xydata() for bar in axis.containers}


def shown(figure):
    return [axis for axis in figure.axes if axis.get_visible() and axis.axison]


ONE = {"family": "made", "dim": 100}


def test_losses_by_level(drawn):
    """½γ·E: 1 for the mmse, 1 + γ for the loss, γ for error and excess, the latter only where its bar is shorter."""
    (axis,) = shown(drawn(made(**ONE))[""])
    found, snr = lines(axis), np.exp(LEVELS)
    np.testing.assert_allclose(found["mmse of the law"][:, 1], np.ones(9))
    np.testing.assert_allclose(found["loss of the network"][:, 1], 1.0 + snr)
    np.testing.assert_allclose(found["error of the network,\nmeasured"], np.stack([LEVELS, snr], axis=1))
    np.testing.assert_allclose(found["error before training\n(linear)"][:, 1], 1.5 * snr)
    np.testing.assert_allclose(found["loss in training,\nby band"], [[0.0, 1.5], [1.0, np.e]])
    np.testing.assert_allclose(found["loss − mmse"], np.stack([LEVELS, snr], axis=1)[:5])
    (bars,) = next(bar for bar in axis.containers if bar.get_label() == "loss − mmse")[2]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, 0.5 * snr[:5, None] * (2.0 + np.array([-1.3, 1.3])), rtol=1e-12)
    assert axis.get_yscale() == "log"
    assert axis.get_title(loc="left") == "made, d = 100\nfloor 5.00 ± 0.60 nats"
    band = next(each for each in axis.collections if colors.same_color(each.get_facecolor()[0][:3], "#D55E00"))
    x, y = band.get_paths()[0].vertices.T
    np.testing.assert_allclose([y[x == each].max() for each in LEVELS], 1.2 * snr)
    np.testing.assert_allclose([y[x == each].min() for each in LEVELS], 0.8 * snr)


def test_rungs_over_the_floor(drawn):
    """Values, exact ones thin, a floor of 5 ± 0.6, and a value that is not positive known by its bar alone."""
    (axis,) = shown(drawn(made(**ONE))["_rungs"])
    found = lines(axis)
    for (_, _, reference), looks in rung_panels.LOOKS.items():
        expected = [10.0, rung_panels.NONE if reference == "losses" else 5.0]
        np.testing.assert_allclose(found[looks["label"]][:, 1], expected)
        thin = [line.get_ydata() for line in axis.get_lines() if line.get_linewidth() == 0.5]
    np.testing.assert_allclose(thin, [[5.0, 2.5]] * 4)
    (bars,) = next(bar for bar in axis.containers if bar.get_label() == "ddpm, path, by losses alone")[2]
    np.testing.assert_allclose([segment[1, 1] for segment in bars.get_segments()], [10.6, 0.5])
    (band,) = axis.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((4.4, 5.6))
    low, high = axis.get_ylim()
    assert low == pytest.approx(1.25)
    assert high == pytest.approx(20.0)


def test_marginals_say_where_they_are_taken(drawn):
    (axis,) = shown(drawn(made(**ONE))["_marginal"])
    assert axis.get_title(loc="left") == "made, d = 100\nat log snr 1.25"
    np.testing.assert_allclose(lines(axis)["ddim, marginal"], [[4.0, 0.5]])


def test_regret_of_each_denoiser(drawn):
    """Exact: 20% and 100% over the best; network: over its own best grid 0 (drawn at 10⁻³) and 100%; ours the thickest."""
    exact, own = shown(drawn(made(**ONE))["_schedules"])
    for axis, ours in ((exact, 0.2), (own, 1e-3)):
        thick = max(axis.get_lines(), key=lambda line: line.get_linewidth())
        np.testing.assert_allclose(thick.get_ydata(), [ours, ours])
        named = [line for line in axis.get_lines() if not line.get_label().startswith("_")]
        assert {line.get_label() for line in named} == {"loss_adaptive", "karras"}
        others = [line.get_ydata() for line in axis.get_lines() if line is not thick and len(line.get_xdata()) == 2]
        assert any(np.allclose(data, 1.0) for data in others)
        assert colors.same_color(thick.get_color(), "black")
    assert exact.get_title(loc="left") == "made\nd = 100; exact denoiser"
    assert own.get_title(loc="left") == "made\nd = 100; the network"
    band = next(each for each in exact.collections if colors.same_color(each.get_facecolor()[0][:3], "black"))
    doubt = 1.2 * (0.05 / 1.0 + 0.05 / 1.2)
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.2 + doubt)


def test_memory_by_points_and_level(drawn):
    figure = drawn(made(**ONE))["_memory"]
    totals, *levels = shown(figure)
    np.testing.assert_allclose(lines(totals)["network to that of the n points"], [[10.0, 0.05], [100.0, 0.005]])
    assert len(totals.containers) == 6
    assert totals.get_title(loc="left") == "made,\nd = 100"
    assert figure.get_suptitle().endswith("up to the snr at which 50%, 25% of the variance is left, the last dark")
    assert [axis.get_title(loc="left") for axis in levels] == ["n = 10", "n = 100"]
    for axis in levels:
        np.testing.assert_allclose(lines(axis)["law's to that of the points"][:, 1], 1.5 * np.exp(LEVELS))


def test_reach_against_dimension(drawn):
    """A law in three dimensions has a panel, those in one share another; elsewhere the dimension between is left out."""
    rows = [row for dim in (100, 1000, 10_000) for row in made(family="grows", dim=dim)]
    rows += made(**ONE) + made(family="other", dim=2)
    figures = drawn(rows)
    grows, dots = shown(figures["_reach"])
    np.testing.assert_allclose(lines(grows)["frozen score"][:, 1], [200.0, 2000.0, 20_000.0])
    np.testing.assert_allclose(lines(grows)["frozen denoiser, best grid"][:, 1], [300.0, 3000.0, 30_000.0])
    np.testing.assert_allclose(lines(dots)["frozen score"][:, 0], [200.0, 4.0])
    assert [label.get_text() for label in dots.get_yticklabels()] == ["made, d = 100", "other, d = 2"]
    for name in ("_levels", "_rungs"):
        titles = [axis.get_title(loc="left").split("\n")[0] for axis in shown(figures[name])]
        assert titles == ["grows, d = 100", "grows, d = 10,000", "made, d = 100", "other, d = 2"]
    front = [axis.get_title(loc="left").split("\n")[0] for axis in figures[""].axes if axis.axison]
    assert front == ["grows, d = 10,000", "made, d = 100", "other, d = 2"]
    assert len(shown(figures["_schedules"])) == 8


def test_a_figure_without_rows_is_not_drawn(drawn):
    rows = [row for row in made(**ONE) if row["quantity"] in ("level", "floor")]
    assert set(drawn(rows)) == {"", "_levels"}


def test_the_front_figure_comes_from_committed_rows_alone(tmp_path, monkeypatch):
    """From other rows nothing is written to the front folder."""
    folders = []
    monkeypatch.setattr(style, "save", lambda _, folder, name, *__: folders.append((name, folder)) or [])
    store = Store(tmp_path, NAME)
    store.add(ONE, made(**ONE))
    picture.draw(store.path)
    assert {folder for _, folder in folders} == {style.RENDERED}
    folders.clear()
    monkeypatch.setattr(picture, "COMMITTED", store.path)
    picture.draw(store.path)
    assert dict(folders) == {f"{NAME}{name}": style.RENDERED if name else style.FRONT for name in FIGURES}
    assert everything.drawer(NAME) is picture.draw

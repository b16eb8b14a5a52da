"""Figures of errors, noise step, open questions, networks and benchmarks: the rows' own numbers, and nothing over anything.

Every figure is drawn from the committed rows.  Layout is read off the bounding boxes of the Agg renderer.
"""

import itertools
from typing import Any

import matplotlib.colors as colors
import numpy as np
import picture
import pytest
from layout import clashes, texts

from figures import benchmarks, learned_score, noise_step, open_questions, score_error, style
from figures.load import load

MODULES = {
    "score_error": score_error,
    "noise_step": noise_step,
    "open_questions": open_questions,
    "learned_score": learned_score,
    "benchmarks": benchmarks,
}
DPI = 240
"""Of the committed pictures."""
KEPT: dict[str, Any] = {}


@pytest.fixture(params=sorted(MODULES))
def drawn(request, monkeypatch):
    """The figures of one module by name, laid out once."""
    if request.param not in KEPT:
        KEPT[request.param] = figures_of(MODULES[request.param], monkeypatch)
    return request.param, KEPT[request.param]


def figures_of(module, monkeypatch):
    found = {}
    monkeypatch.setattr(style, "save", lambda figure, folder, name, *_: found.update({name: (figure, folder)}) or [])
    module.draw()
    for figure, _ in found.values():
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return found


def one(name, monkeypatch):
    if name not in KEPT:
        KEPT[name] = figures_of(MODULES[name], monkeypatch)
    return {key: figure for key, (figure, _) in KEPT[name].items()}


def test_nothing_overlaps_and_nothing_is_cut_off(drawn):
    """A text's width, at most nine inches high, letters of 6 points or more."""
    for name, (figure, _) in drawn[1].items():
        assert clashes(figure) == ([], []), name
        width, height = figure.get_size_inches()
        assert width == style.WIDTH
        assert height <= 9.0
        assert min(text.get_fontsize() for text, _ in texts(figure)) >= 6.0


def test_the_committed_figures_are_the_first(drawn):
    name, found = drawn
    assert {key for key, (_, folder) in found.items() if folder == style.FRONT} == {name}


SAME = 5e-4
"""Largest distance of a figure to its committed picture, of `picture.distance`; 0 where matplotlib is the same."""


def test_the_committed_pictures_are_those_of_the_rows(drawn, tmp_path):
    """Controls: another colour of one line, and one number that is a third of itself, are noticed."""
    name, found = drawn
    figure = found[name][0]

    def distance():
        figure.savefig(tmp_path / "now.png", dpi=DPI)
        return picture.distance(tmp_path / "now.png", style.FRONT / f"{name}.png")

    assert distance() < SAME
    lines = [each for axis in figure.axes for each in axis.get_lines()]
    line = max(lines, key=lambda each: np.count_nonzero(each.get_ydata()))
    color, values = line.get_color(), np.array(line.get_ydata(), float)
    line.set_color("#F0E442")
    assert distance() > 2 * SAME
    line.set_color(color)
    line.set_ydata(np.where(np.arange(len(values)) == len(values) // 2, values / 3.0, values))
    assert distance() > 2 * SAME
    line.set_ydata(values)


def test_clashes_are_noticed():
    """Control: a text moved onto another, and one moved out of the figure."""
    figure, ((axis,),) = style.canvas(style.WIDTH, 2.0, 1, 1)
    axis.set(xlim=(0, 1), ylim=(0, 1), title="a panel")
    axis.text(0.5, 0.5, "first")
    second = axis.text(0.5, 0.2, "second")
    figure.draw_without_rendering()
    assert clashes(figure) == ([], [])
    second.set_position((0.51, 0.52))
    assert clashes(figure) == ([("first", "second")], [])
    second.set_position((2.5, 0.2))
    assert clashes(figure) == ([], ["second"])
    second.set_position((0.0, -0.12))
    over, _ = clashes(figure)
    assert len(over) >= 1
    assert {pair[0] for pair in over} == {"second"}


def panel(figure, words, ylabel=None):
    (axis,) = [
        axis
        for axis in figure.axes
        if axis.get_visible() and axis.get_title(loc="left") == words and ylabel in (None, axis.get_ylabel())
    ]
    return axis


def curve(axis, looks, points) -> Any:
    """The line of that many points with those looks, and the band of its colour: least and largest y by x."""
    line = next(
        each
        for each in axis.get_lines()
        if len(each.get_xdata()) == points
        and colors.same_color(each.get_color(), looks["color"])
        and each.get_marker() == looks["marker"]
        and (looks.get("markerfacecolor") is None or colors.same_color(each.get_markerfacecolor(), "white"))
    )
    for patch in axis.collections:
        x, y = patch.get_paths()[0].vertices.T
        low = np.array([y[x == each].min() for each in line.get_xdata()]) if set(line.get_xdata()) <= set(x) else None
        high = np.array([y[x == each].max() for each in line.get_xdata()]) if low is not None else None
        same = colors.same_color(patch.get_facecolor()[0][:3], looks["color"])
        if low is not None and same and (low <= line.get_ydata()).all() and (high >= line.get_ydata()).all():
            return line.get_ydata(), high
    raise AssertionError("no band")


def end_labels(axis):
    return [text.get_text() for text in axis.texts]


def test_noise_step_holds_the_rows(monkeypatch):
    """K²·KL of ρ = 1 and its band of four standard errors and the bias; ratios; the rise by an error."""
    figure = one("noise_step", monkeypatch)["noise_step"]
    rows: Any = load(noise_step.COMMITTED)
    rows = rows[(rows.quantity == "kl")]
    exact = rows[rows.oracle == "exact"]
    rhos = sorted(set(exact.overshoot))
    for family in noise_step.LINES:
        axis = panel(figure, f"marginal KL\n{family}")
        for index, rho in enumerate(rhos):
            mine = exact[(exact.rung == "marginal") & (exact.family == family) & (exact.overshoot == rho)]
            mine = mine.sort_values("steps")
            value, high = curve(axis, style.cycle(index), len(mine))
            weight = mine.steps.to_numpy(float) ** 2
            np.testing.assert_allclose(value, weight * mine.value.astype(float))
            np.testing.assert_allclose(high, weight * (mine.value + 4 * mine.stderr + mine.bias.abs()).astype(float))
        assert len(end_labels(axis)) == len(rhos)
        assert len({text.split("   ")[0] for text in end_labels(axis)}) == len(rhos)
    relative = panel(figure, "marginal KL\nevery law, largest K")
    lines = {line.get_label(): line for line in relative.get_lines() if not line.get_label().startswith("_")}
    assert set(lines) == set(rows.family)
    for family, line in lines.items():
        mine = exact[(exact.rung == "marginal") & (exact.family == family)]
        mine = mine[mine.steps == mine.steps.max()].sort_values("overshoot").set_index("overshoot").value.astype(float)
        np.testing.assert_allclose(line.get_ydata(), mine / mine[1.0])
    rise = panel(figure, "marginal KL, rise by an error\neach kind and size, largest K")
    wrong = rows[rows.oracle != "exact"].groupby(["family", "oracle", "size"])
    assert sum(len(line.get_xdata()) > 2 for line in rise.get_lines()) == len(wrong)


def test_open_questions_hold_the_rows(monkeypatch):
    """K* with its band, d/ε, marginal KL by K and by evaluations, and every sampler's name where there is no legend."""
    found = one("open_questions", monkeypatch)
    rows: Any = load(open_questions.COMMITTED)
    steps = rows[(rows.question == 1) & (rows.quantity == "steps")]
    for family, mine in steps.groupby("family"):
        axis = panel(found["open_questions"], family)
        shown = 0
        for (sampler, reference), looks in style.SERIES.items():
            series = mine[(mine.sampler == sampler) & (mine.reference == reference)].sort_values("dim")
            if len(series):
                value, high = curve(axis, looks, len(series))
                np.testing.assert_allclose(value, series.crossing.astype(float))
                doubt = (4 * series.stderr + series.bias.abs()).astype(float)
                np.testing.assert_allclose(high, series.crossing.astype(float) + doubt)
                shown += 1
        assert len(end_labels(axis)) == shown
        (guide,) = [line for line in axis.get_lines() if line.get_label() == "d/ε"]
        np.testing.assert_allclose(guide.get_ydata(), guide.get_xdata() / mine.epsilon2.iloc[0] ** 0.5)
    flow = rows[(rows.question == 2) & (rows.quantity == "kl")]
    for family, mine in flow.groupby("family"):
        axis = panel(found["open_questions_flow"], family)
        lines = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
        for sampler, label in open_questions.FLOWS.items():
            series = mine[mine.sampler == sampler].sort_values("steps")
            assert (label in lines) == bool(len(series))
            if len(series):
                np.testing.assert_allclose(lines[label], series.value.astype(float))
    cost = rows[(rows.question == 3) & (rows.quantity == "kl")]
    for family, mine in cost.groupby("family"):
        axis = panel(found["open_questions_cost"], family)
        assert set(end_labels(axis)) == set(mine.sampler)
        least = {tuple(part.groupby("budget").value.min()) for _, part in mine.groupby("sampler")}
        np.testing.assert_allclose(
            sorted(tuple(line.get_ydata()) for line in axis.get_lines() if len(line.get_xdata()) > 1), sorted(least)
        )


def test_score_error_holds_the_rows(monkeypatch):
    """Every ratio is among the rows' to three digits, none is left out, and its bar is four standard errors."""
    figure = one("score_error", monkeypatch)["score_error"]
    rows: Any = load(score_error.COMMITTED)
    rows = rows[(rows.steps > 0) & (rows.oracle != "exact") & (rows.snr_weighted > score_error.NEGLIGIBLE)]
    rows = rows[4.0 * rows.cross_stderr <= score_error.RESOLVED * rows.square]
    for (average, words), sampler in itertools.product(score_error.AVERAGES.items(), ("ddpm", "ei_sde")):
        (axis,) = [axis for axis in figure.axes if axis.get_title(loc="left").startswith(f"{sampler}: {words}\n")]
        for bars in axis.containers:
            mine = rows[(rows.sampler == sampler) & (rows.oracle == bars.get_label())]
            ratio = ((mine.square + mine.cross) / mine[average]).to_numpy(float)
            drawn_values = bars[0].get_ydata()
            assert {f"{value:.3g}" for value in drawn_values} == {f"{value:.3g}" for value in ratio}
            assert np.isin(drawn_values, ratio).all()
            longest = (4.0 * mine.cross_stderr / mine[average]).to_numpy(float).max()
            tall = [np.ptp(segment[:, 1]) / 2 for segment in bars[2][0].get_segments() if len(segment)]
            assert max(tall, default=0.0) == pytest.approx(longest, rel=1e-9, abs=1e-12)


def test_score_checks_hold_the_rows(monkeypatch):
    figure = one("score_error", monkeypatch)["score_error_checks"]
    rows: Any = load(score_error.COMMITTED)
    marginal = panel(figure, "marginal KL against path KL\nline: equal")
    for bars in marginal.containers:
        known = rows[(rows.oracle == bars.get_label()) & rows.marginal.notna()]
        np.testing.assert_allclose(bars[0].get_xydata(), known[["path", "marginal"]].to_numpy(float))
    assert len(marginal.containers) == rows.oracle.nunique()
    (memory,) = [axis for axis in figure.axes if axis.get_title(loc="left").startswith("memorisation")]
    assert len(end_labels(memory)) == 4


def test_growth_is_drawn_by_kind_of_size(monkeypatch):
    """Each line of growth in the panel of its size, with the exponent of its last two sizes; no name twice in a panel."""
    figure = one("benchmarks", monkeypatch)["benchmarks"]
    rows: Any = load(benchmarks.COMMITTED)
    rows = rows[rows.quantity == "growth"]
    for size, names in benchmarks.SIZES.items():
        axis = panel(figure, f"against {size}")
        mine = rows[rows.against.isin(names)]
        drawn_values = sorted(tuple(line.get_ydata()) for line in axis.get_lines() if len(line.get_xdata()) > 1)
        assert drawn_values == sorted(tuple(seconds) for seconds in mine.seconds)
        labels = end_labels(axis)
        assert len({label.rpartition(" ")[0] for label in labels}) == len(mine)
        assert sorted(label.rpartition(" ")[2] for label in labels) == sorted(f"{s:.1f}" for s in mine.last_exponent)


def test_learned_scores_hold_the_rows(monkeypatch):
    """The front page has every law in its largest dimension, and over its panel the floor: the area under the error."""
    found = one("learned_score", monkeypatch)
    rows: Any = load(learned_score.COMMITTED)
    level = rows[rows.quantity == "level"]
    largest = {(family, int(mine.dim.max())) for family, mine in level.groupby("family")}
    front = [axis for axis in found["learned_score"].axes if axis.axison]
    assert len(front) == len(largest)
    for family, dim in largest:
        (axis,) = [axis for axis in front if axis.get_title(loc="left").startswith(f"{family}, d = {dim:,}\n")]
        mine = level[(level.family == family) & (level.dim == dim)]
        mine = mine.assign(logsnr=mine.logsnr.astype(float)).sort_values("logsnr")
        weight = 0.5 * np.exp(mine.logsnr)
        lines = {line.get_label(): line for line in axis.get_lines()}
        for label, column in (("mmse of the law", "mmse"), ("loss of the network", "loss")):
            np.testing.assert_allclose(lines[label].get_ydata(), (weight * mine[column]).to_numpy(float))
        error = lines["error of the network,\nmeasured"].get_xydata().astype(float)
        floor = rows[(rows.quantity == "floor") & (rows.family == family) & (rows.dim == dim)].value.astype(float)
        told = float(axis.get_title(loc="left").split("floor ")[1].split(" ")[0].replace(",", ""))
        assert told == pytest.approx(float(floor.iloc[0]), rel=0.03)
        assert np.trapezoid(error[:, 1], error[:, 0]) == pytest.approx(float(floor.iloc[0]), rel=0.2)
    assert len([axis for axis in found["learned_score_levels"].axes if axis.axison]) == 8

"""The style: places of labels, slopes as they are written, bands, ticks, and what a saved figure says of its origin."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from scipy.optimize import minimize

from figures import style


@given(st.lists(st.floats(-1.0, 2.0), min_size=1, max_size=7), st.floats(0.0, 0.4))
def test_labels_are_spread_by_least_squares(wanted, gap):
    """In the panel where there is room, no two nearer than the gap, and no other such places nearer to the wanted ones."""
    wanted = sorted(wanted)
    found = np.array(style.spread(wanted, gap))
    assert (np.diff(found) >= gap - 1e-12).all()
    room = max(1.0, (len(wanted) - 1) * gap)
    assert found[0] >= 0.0
    assert found[-1] <= room + 1e-12
    least = ((found - wanted) ** 2).sum()
    apart = [{"type": "ineq", "fun": lambda p, i=i: p[i + 1] - p[i] - gap} for i in range(len(wanted) - 1)]
    start = np.array(wanted) + gap * np.arange(len(wanted))
    best = minimize(
        lambda p: ((p - wanted) ** 2).sum(),
        start,
        constraints=apart,
        bounds=[(0.0, room)] * len(wanted),
        method="SLSQP",
    )
    assert least <= best.fun + 1e-6


def test_labels_far_apart_stay_where_they_are():
    assert style.spread([0.1, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert style.spread([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    assert style.spread([0.0, 0.1], 0.2) == pytest.approx([0.0, 0.2])


@pytest.mark.parametrize(
    ("y", "error", "text"),
    [
        ([9.0, 4.0, 1.0], 0.0, "−2.00"),
        ([1.0, 1.0, 1.0], 0.0, "0.00"),
        ([2.0, 2.0, 2.0 - 1e-9], 0.0, "0.00"),
        ([1.0, 2.0, 4.0], [0.0, 0.02, 0.04], "1.00 ± 0.03"),  # (0.01 + 0.01)/log 2
        ([1.0, 2.0, 4.0], [0.0, 0.2, 0.4], "1.0 ± 0.3"),
        ([1.0, 2.0, 4.0], [0.0, 2.0, 4.0], "1 ± 3"),
        ([1.0, 2.0, 4.0], [9.0, 0.002, 0.004], "1.00"),  # 0.003 does not show
        ([1.0, 2.0, 4.0], [0.0, 0.004, 0.008], "1.000 ± 0.006"),
        ([1.0, 2.0, 0.0], 0.0, ""),
        ([1.0], 0.0, ""),
    ],
)
def test_slopes_end_where_their_error_does(y, error, text):
    assert style.slope_text(2.0 ** np.arange(len(y)), y, error) == text


def test_slopes_are_over_the_logarithm_of_x():
    assert style.slope_text([1.0, 10.0, 1000.0], [5.0, 1.0, 100.0]) == "1.00"


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("power", [-2.0, 1.0])
def test_a_triangle_has_the_slope_of_the_line_and_lies_on_its_side(power, above):
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    x = np.array([1.0, 2.0, 4.0, 8.0])
    axis.set(xscale="log", yscale="log", xlim=(1, 8), ylim=(1e-3, 1e2))
    style.slope_triangle(axis, x, x**power, "black", above=above)
    corners = axis.patches[0].get_xy()[:3]
    (x0, y0), (x1, y1), (x2, y2) = np.log(corners)
    assert (y1 - y0) / (x1 - x0) == pytest.approx(power)
    assert {x2, y2} <= {x0, x1, y0, y1}  # the right angle
    side = np.sign(y0 - power * x0)
    assert side == (1 if above else -1)
    assert np.sign(y2 - power * x2) == side
    assert abs(y2 - power * x2) > abs(y0 - power * x0)  # away from the line
    assert axis.texts[0].get_text() == f"{power:.2f}".replace("-", "−")


def test_a_band_is_the_number_and_its_error():
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    style.line(axis, [1.0, 2.0], [3.0, 5.0], [0.5, 1.0], style.cycle(1) | {"label": "name"})
    edges = {tuple(point) for point in axis.collections[0].get_paths()[0].vertices}
    assert {(1.0, 2.5), (1.0, 3.5), (2.0, 4.0), (2.0, 6.0)} <= edges
    assert axis.lines[0].get_label() == "name"
    assert to_rgba(axis.lines[0].get_color()) == to_rgba(style.PALETTE[1])


def test_a_band_beyond_zero_stays_on_a_logarithmic_axis():
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    axis.set_yscale("log")
    style.line(axis, [1.0, 2.0], [3.0, 5.0], [30.0, 0.0], style.cycle(0))
    assert (axis.collections[0].get_paths()[0].vertices[:, 1] > 0).all()


def test_looks_differ_in_colour_marker_and_dash():
    looks = [tuple(style.cycle(i)[key] for key in ("color", "marker", "linestyle")) for i in range(84)]
    assert len(set(looks)) == 84


def test_as_many_ticks_as_fit():
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    axis.set_xscale("log")
    values = [4, 8, 16, 32, 64, 128, 256]
    for count, shown in ((8, values), (4, [4, 16, 64, 256]), (3, [4, 32, 256])):
        style.plain_ticks(axis, values, count)
        assert sorted(int(text.get_text()) for text in axis.get_xticklabels()) == shown


def test_names_stand_right_of_the_panel_in_the_order_of_the_lines():
    figure, ((axis,),) = style.canvas(4.0, 3.0, 1, 1)
    axis.set(xscale="log", yscale="log", xlim=(1, 10), ylim=(1e-3, 1))
    style.labels_at_ends(
        axis, [(10.0, 0.5, "top", "black"), (10.0, 0.01, "low", "black"), (10.0, 0.0101, "next", "black")]
    )
    figure.draw_without_rendering()
    panel = axis.get_window_extent()
    boxes = {text.get_text(): text.get_window_extent() for text in axis.texts}
    assert all(box.x0 > panel.x1 for box in boxes.values())
    assert boxes["low"].y1 <= boxes["next"].y0
    assert boxes["next"].y1 <= boxes["top"].y0


def test_a_figure_says_where_it_comes_from_in_all_three_files(tmp_path):
    figure, ((axis,),) = style.canvas(3.0, 2.0, 1, 1)
    axis.plot([1, 2], [1, 2])
    png, svg, pdf = style.save(figure, tmp_path, "name", "python -m studies.x --preset full", "0123456789ab")
    origin = "python -m studies.x --preset full @ 0123456789ab"
    with Image.open(png) as image:
        assert image.info["Description"] == origin
    assert origin in svg.read_text()
    assert re.search(rb"/Subject \(" + re.escape(origin.encode()) + rb"\)", pdf.read_bytes())


def test_the_same_figure_gives_the_same_files(tmp_path):
    """No time, no random names in what is committed."""
    for folder in ("one", "other"):
        figure, ((axis,),) = style.canvas(3.0, 2.0, 1, 1)
        style.line(axis, [1.0, 2.0], [1.0, 2.0], [0.1, 0.1], style.cycle(0))
        style.save(figure, tmp_path / folder, "name", "command", "commit")
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / "one" / f"name.{kind}").read_bytes() == (tmp_path / "other" / f"name.{kind}").read_bytes()


def test_an_error_is_four_standard_errors_and_the_size_of_the_bias():
    rows = pd.DataFrame({"stderr": [0.1, 0.0], "bias": [-0.2, 0.3]})
    assert style.error(rows) == pytest.approx([0.6, 0.3])


def test_a_panel_holds_what_is_positive():
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    axis.set(yscale="log", ylim=(0.5, 7.0))
    style.hold(axis, [0.0, -1.0])
    assert axis.get_ylim() == (0.5, 7.0)
    style.hold(axis, [0.0, -1.0, 2.0, 8.0], room=2.0)
    assert axis.get_ylim() == pytest.approx((1.0, 16.0))


def test_points_have_bars_of_their_errors_and_no_line():
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    style.points(axis, [1.0, 2.0], [3.0, 5.0], [0.5, 1.0], style.cycle(1))
    markers, _, (bars,) = axis.containers[0]
    np.testing.assert_allclose(bars.get_segments(), [[[1.0, 2.5], [1.0, 3.5]], [[2.0, 4.0], [2.0, 6.0]]])
    assert markers.get_linestyle() == "None"


def test_a_band_ends_at_a_thousandth_on_a_logarithmic_axis():
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    axis.set_yscale("log")
    style.line(axis, [1.0, 2.0], [3.0, 5.0], [30.0, 1.0], style.cycle(0))
    edges = {tuple(point) for point in axis.collections[0].get_paths()[0].vertices}
    assert {(1.0, 0.003), (1.0, 33.0), (2.0, 4.0), (2.0, 6.0)} <= edges


@pytest.mark.parametrize(("values", "shown"), [([1, 30, 999], {"1", "30", "999"}), ([1, 30, 1000], set())])
def test_ticks_stand_at_the_values_within_three_decades(values, shown):
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    axis.set(xscale="log", xlim=(1, 1000))
    style.plain_ticks(axis, values)
    told = {text.get_text() for text in axis.get_xticklabels()}
    assert told == shown if shown else "30" not in told


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize(
    ("most", "shown"),
    [
        (2.0, ["1", "1.2", "1.4", "1.6", "1.8", "2"]),
        (29.0, ["1", "2", "3", "5", "7", "10", "20"]),
        (99.0, ["1", "2", "5", "10", "20", "50"]),
        (1e3, ["1", "10", "100", "1000"]),
    ],
)
def test_round_ticks_of_either_axis_by_its_own_limits(which, most, shown):
    _, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    axis.set(xscale="log", yscale="log", xlim=(1, 1e6), ylim=(1, 1e6))
    axis.set(**{f"{which}lim": (1.0, most)})
    style.round_ticks(axis, which)
    assert [text.get_text() for text in getattr(axis, f"get_{which}ticklabels")()] == shown


def test_one_legend_holds_what_any_panel_shows_once():
    figure, axes = style.canvas(6.0, 3.0, 1, 2)
    for axis, names in zip(axes.flat, ("abc", "cde"), strict=True):
        for name in names:
            axis.plot([1, 2], [1, 2], label=name)
    style.shared_legend(figure, axes.flat, columns=2)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list("abcde")
    assert vars(legend)["_ncols"] == 2


def test_rows_of_panels_have_widths_of_their_own():
    figure, panels = style.rows_of(6.0, 4.0, [1, 3])
    assert [len(row) for row in panels] == [1, 3]
    figure.draw_without_rendering()
    wide, *narrow = (axis.get_window_extent().width for row in panels for axis in row)
    assert wide > 2.5 * max(narrow)


@pytest.mark.parametrize(("power", "side"), [(-2.0, "right"), (1.0, "left")])
def test_the_text_of_a_triangle_stands_outside_its_corner(power, side):
    """Falling lines have the right angle left under them, and the text ends there; rising ones right."""
    figure, ((axis,),) = style.canvas(3.0, 3.0, 1, 1)
    x = np.array([1.0, 2.0, 4.0, 8.0])
    axis.set(xscale="log", yscale="log", xlim=(1, 8), ylim=(1e-3, 1e2))
    style.slope_triangle(axis, x, x**power, "black")
    figure.draw_without_rendering()
    text, triangle = axis.texts[0].get_window_extent(), axis.patches[0].get_window_extent()
    assert axis.texts[0].get_ha() == side
    assert text.x1 <= triangle.x0 if side == "right" else text.x0 >= triangle.x1


def test_a_figure_is_laid_out_once(tmp_path):
    """What the first file shows is where the others show it."""
    figure, _ = style.canvas(3.0, 2.0, 1, 1)
    style.save(figure, tmp_path, "name", "command", "commit")
    assert not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)

"""Figures of steps, schedules, stopping and entropy hold the rows' own numbers: by data and by picture."""

from typing import Any

import numpy as np
import pandas as pd
import picture
import pytest
from layout import clashes, texts

from figures import early_stopping, entropy_scaling, sampler_audit, schedules, step_scaling, style
from figures.load import load

MODULES = {module.NAME: module for module in (early_stopping, schedules, step_scaling, entropy_scaling, sampler_audit)}
DPI = 240
"""Of the committed pictures."""


@pytest.fixture
def front(request, monkeypatch):
    """The front figure of one module, laid out."""
    found = {}
    monkeypatch.setattr(style, "save", lambda figure, folder, name, *_: found.update({name: (figure, folder)}) or [])
    MODULES[request.param].draw()
    figure, folder = found[request.param]
    assert folder == style.FRONT
    for each, _ in found.values():
        each.set_dpi(DPI)
        each.draw_without_rendering()
        each.set_layout_engine("none")
    assert all(
        each.get_size_inches()[0] == style.WIDTH and each.get_size_inches()[1] <= 9.0 for each, _ in found.values()
    )
    for each, _ in found.values():
        assert clashes(each) == ([], [])
        assert min(text.get_fontsize() for text, _ in texts(each)) >= 6.0
    return request.param, figure


@pytest.mark.parametrize("front", sorted(MODULES), indirect=True)
def test_the_committed_pictures_are_those_of_the_rows(front, tmp_path):
    """Control: another colour of every line of one panel is noticed."""
    name, figure = front

    def distance():
        figure.savefig(tmp_path / "now.png", dpi=DPI)
        return picture.distance(tmp_path / "now.png", style.FRONT / f"{name}.png")

    assert distance() < picture.ALIKE
    for line in figure.axes[0].get_lines():
        line.set_color("#F0E442")
        line.set_linewidth(3.0)
    assert distance() > picture.ALIKE


def test_slopes_of_entropy_are_over_a_factor_of_two():
    """The nearest law before the last with H at least twice or half; the first where there is none."""
    laws = pd.DataFrame({"entropy": [1.0, 2.0, 3.0, 5.9, 6.0], "size": range(5)})
    assert list(entropy_scaling._over_a_factor_of_two(laws)["size"]) == [2, 4]
    assert list(entropy_scaling._over_a_factor_of_two(laws.assign(entropy=[8.0, 3.0, 2.0, 1.5, 1.0]))["size"]) == [2, 4]
    assert list(entropy_scaling._over_a_factor_of_two(laws.assign(entropy=[5.0, 5.5, 5.7, 5.8, 6.0]))["size"]) == [0, 4]


@pytest.mark.parametrize("front", ["early_stopping"], indirect=True)
def test_steps_to_stop_are_the_rows(front):
    """K* against Λ, and every line's name with its last slope."""
    rows: Any = load(early_stopping.COMMITTED)
    steps = rows[rows.quantity == "steps"]
    for axis, family in zip(front[1].axes, early_stopping.FRONT, strict=True):
        lines = {line.get_label(): line for line in axis.get_lines()}
        for (sampler, reference), looks in style.SERIES.items():
            mine = steps[(steps.family == family) & (steps.sampler == sampler) & (steps.reference == reference)]
            mine = mine.sort_values("length")
            wanted = mine[["length", "value"]].to_numpy(float)
            np.testing.assert_array_equal(lines[looks["label"]].get_xydata(), wanted)
            slope = np.diff(np.log(wanted[-2:, 1])) / np.diff(np.log(wanted[-2:, 0]))
            (told,) = [text.get_text() for text in axis.texts if text.get_text().startswith(looks["label"] + "  ")]
            assert float(told.split("  ")[1].replace("\N{MINUS SIGN}", "-")) == pytest.approx(slope.item(), abs=0.00501)


@pytest.mark.parametrize("front", ["schedules"], indirect=True)
def test_ticks_are_the_grids(front):
    """One line of ticks a schedule, at the rows' log snr; the curve is the rows' mmse."""
    rows: Any = load(schedules.COMMITTED)
    panels = [axis for axis in front[1].axes if axis.get_visible()]
    for axis, family in zip(panels, schedules.FRONT, strict=True):
        mine = rows[rows.family == family]
        curve = mine[mine.quantity == "curve"].iloc[0]
        np.testing.assert_array_equal(axis.get_lines()[0].get_xydata(), np.stack([curve.logsnr, curve.mmse], axis=1))
        grids = mine[mine.quantity == "grid"].set_index("schedule").logsnr
        shown = [name for name in schedules.ORDER if name in grids.index]
        assert len(axis.get_lines()) == 1 + len(shown) == 1 + len(axis.texts)
        for line, name in zip(axis.get_lines()[1:], shown, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), grids[name])

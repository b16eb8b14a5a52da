"""What of a figure's text lies over other text or leaves the figure, read off the boxes of the Agg renderer."""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCHING = 2.4
"""Pixels by which the boxes of two texts may reach into each other: a box is taller than its letters."""


def texts(figure: Any) -> list[tuple[Any, Bbox]]:
    """Every text that is seen, with its box."""
    found = [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]
    for legend in [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]:
        found += legend.get_texts()
    for axis in figure.axes:
        if not axis.get_visible() or not axis.axison:
            continue
        found += [*axis.texts, axis.title, axis._left_title, axis._right_title, axis.xaxis.label, axis.yaxis.label]
        for each in (axis.xaxis, axis.yaxis):
            low, high = sorted(each.get_view_interval())
            slack = 1e-9 * (low if each.get_scale() == "log" else high - low)
            for tick in itertools.chain(each.get_major_ticks(), each.get_minor_ticks()):
                if low - slack <= tick.get_loc() <= high + slack and tick.label1.get_visible():
                    found.append(tick.label1)
    seen = {id(text): text for text in found if text.get_visible() and text.get_text().strip()}
    return [(text, Text.get_window_extent(text)) for text in seen.values()]  # an annotation without its arrow


def clashes(figure: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of texts one over the other, and texts that leave the figure."""
    boxes = texts(figure)
    over = []
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        tall = min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > TOUCHING and tall > TOUCHING:
            over.append((first.get_text(), second.get_text()))
    width, height = figure.bbox.width, figure.bbox.height
    out = [
        text.get_text()
        for text, box in boxes
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > width + 0.5 or box.y1 > height + 0.5
    ]
    return over, out

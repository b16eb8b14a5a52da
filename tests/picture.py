"""Two pictures compared as they are seen: both made coarse, then the root mean square of what is left between them.

Each picture is laid over white and averaged over `CELL` × `CELL` pixels, so that a stroke that is smoothed otherwise makes no
difference, while a line that moved, a colour that changed and a text that is missing do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CELL = 6
"""Pixels a side that are averaged: 0.6 mm of a page at 240 dots an inch."""

ALIKE = 0.004
"""Largest distance of one figure drawn twice, of a scale from black, 0, to white, 1."""


def coarse(path: Path) -> np.ndarray:
    """(rows, columns, 3) means over the cells of a picture, from 0 to 1."""
    with Image.open(path) as image:
        shown = image.convert("RGBA")
        white = Image.new("RGBA", shown.size, "white")
        pixels = np.asarray(Image.alpha_composite(white, shown).convert("RGB"), float) / 255.0
    height, width = (CELL * (size // CELL) for size in pixels.shape[:2])
    cells = pixels[:height, :width].reshape(height // CELL, CELL, width // CELL, CELL, 3)
    return cells.mean(axis=(1, 3))


def distance(one: Path, other: Path) -> float:
    """Root mean square difference of two pictures' cells; infinite where their sizes differ."""
    first, second = coarse(one), coarse(other)
    if first.shape != second.shape:
        return float("inf")
    return float(np.sqrt(np.mean((first - second) ** 2)))

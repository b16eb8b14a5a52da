"""Gauss panels on a line: of equal width, or graded so that each is as wide as the place asks for."""

from __future__ import annotations

import numpy as np

PANEL = 20
"""Gauss nodes on a panel."""

NODES, WEIGHTS = np.polynomial.legendre.leggauss(PANEL)

GROWTH = 0.5
"""Largest growth of the panels' width along their own length: neighbours differ by a factor of at most about 1.6."""


def gauss(edges: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on the panels between consecutive edges of each ascending array."""
    starts, ends = np.concatenate([e[:-1] for e in edges]), np.concatenate([e[1:] for e in edges])
    half = 0.5 * (ends - starts)[:, None]
    return (starts[:, None] + half * (1.0 + NODES)).ravel(), (half * WEIGHTS).ravel()


def equal(low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes `spacing` apart on average on each interval."""
    counts = np.ceil((high - low) / (PANEL * spacing)).astype(int)
    return gauss([np.linspace(a, b, n + 1) for a, b, n in zip(low, high, counts, strict=True)])


def lattice(low: np.ndarray, high: np.ndarray, spacing: float, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The trapezoid rule on the lattice (integer + offset)·spacing: nodes that cover each of the ascending intervals."""
    first, last = np.floor(low / spacing - offset), np.ceil(high / spacing - offset)
    first[1:] = np.maximum(first[1:], last[:-1] + 1.0)
    index = np.concatenate([np.arange(a, b + 1.0) for a, b in zip(first, last, strict=True)])
    return (index + offset) * spacing, np.full(len(index), spacing)


def graded(low: np.ndarray, high: np.ndarray, x: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes on each interval that are about `spacing` (given at ascending points x) apart there, less near finer places.

    With w(x) = min_y (PANEL spacing(y) + GROWTH |x − y|), the edges are where ∫ dx/w is a whole number.
    """
    return gauss([_edges(a, b, x, spacing) for a, b in zip(low, high, strict=True)])


def _edges(low: float, high: float, x: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    inside = (x > low) & (x < high)
    places = np.concatenate([[low], x[inside], [high]])
    wanted = PANEL * spacing[inside]
    width = np.concatenate([wanted[:1], wanted, wanted[-1:]])
    width = np.minimum.accumulate(width - GROWTH * places) + GROWTH * places
    width = (np.minimum.accumulate((width + GROWTH * places)[::-1]))[::-1] - GROWTH * places
    done = np.concatenate([[0.0], np.cumsum(np.diff(places) * 0.5 * (1.0 / width[1:] + 1.0 / width[:-1]))])
    return np.interp(np.linspace(0.0, done[-1], int(np.ceil(done[-1])) + 1), done, places)

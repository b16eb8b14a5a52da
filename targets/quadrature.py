"""(mmse, −mmse′) of a law on the line by quadrature, with relative accuracy in both tails.

At snr γ the standardised state √γ X + Z has components N(√γ a_i, w_i²), w_i² = 1 + γv_i.  Its posterior variance
V is integrated against its density p: mmse = ∫ p V, −mmse′ = ∫ p V².  Two components of width w at separation g
exchange over a length w²/g and put poles at distance πw²/g from the axis; panels of at most w/2 with 20 Gauss nodes
leave a relative error below 1e-12 as long as e^{-g²/8w²} > 1e-7 and below 1e-10 down to the stated floor of 1e-15 (beyond
it the integrand is weighed down faster than the rule degrades, and only the relative error of a negligible number grows).

Atoms are differenced before they are scaled by √γ, and the line is cut wherever neighbours are more than 2·REACH
widths apart: each cluster is integrated in coordinates of its own, so a law whose scales span a hundred decades
(nested scales, heavy tails) keeps its accuracy at each of them.  Clusters alike up to translation count once.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from targets.channel import Level

REACH = 23.0
"""Half-width of a component's window in its own standard deviations: e^{-REACH²/2} = 1e-115."""

FLOOR = 1e-15
"""mmse(γ)/mmse(0) down to which the relative accuracy is 1e-10 (discrete laws)."""

PANEL_NODES = np.polynomial.legendre.leggauss(20)


class LineLaw:
    """Atoms or components on the line, sorted: weights w_i, positions a_i, variances v_i ≥ 0."""

    def __init__(self, weights: np.ndarray, positions: np.ndarray, variances: np.ndarray) -> None:
        order = np.argsort(positions, kind="stable")
        self.weights, self.positions, self.variances = weights[order], positions[order], variances[order]
        centred = self.positions - self.weights @ self.positions
        self.variance = float(self.weights @ (self.variances + centred**2))

    @property
    def discrete(self) -> bool:
        """No component has a width."""
        return not (self.variances > 0).any()

    def range(self) -> tuple[float, float]:
        """(γ_lo, γ_hi): below, D is linear in γ to 1e-14; above, only the analytic tail is left."""
        low = 1e-7 / max(self.variance, float(self.positions[-1] - self.positions[0]) ** 2 / 4.0)
        gaps = np.diff(self.positions[self.variances == 0])
        ends = [640.0 / float(gaps.min()) ** 2] if len(gaps) else []
        if not self.discrete:
            ends.append(1e9 / float(self.variances[self.variances > 0].min()))
        return low, max(ends)

    def points(self, snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mmse, −mmse′) at each γ > 0: two arrays of shape (1, n)."""
        values = np.array([self._point(float(g)) for g in snr])
        return values[:, 0][None], values[:, 1][None]

    def _point(self, snr: float) -> tuple[float, float]:
        widths = np.sqrt(1.0 + snr * self.variances)
        gaps = np.sqrt(snr) * np.diff(self.positions)
        cuts = np.flatnonzero(gaps > 2.0 * REACH * widths.max()) + 1
        bounds = np.concatenate([[0], cuts, [len(self.weights)]])
        known: dict[bytes, tuple[float, float]] = {}
        total = np.zeros(2)
        for start, stop in pairwise(bounds):
            block = slice(start, stop)
            weights, variances = self.weights[block], self.variances[block]
            if stop - start == 1 and variances[0] == 0:
                continue
            mass = weights.sum()
            apart = np.sqrt(snr) * (self.positions[block] - self.positions[start])
            key = np.round(np.concatenate([apart, weights / mass, snr * variances]), 13).tobytes()
            if key not in known:
                known[key] = _cluster(weights / mass, apart, snr * variances, widths[block])
            total += mass * np.array(known[key])
        return float(total[0]) / snr, float(total[1]) / snr**2

    def posterior(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(mean, variance) of X given αX + σZ = x, at points (n,): by differences from the likeliest component."""
        logs, total = self._log_terms(x, at)
        top, column = logs.argmax(0), np.arange(len(x))
        share = np.exp(logs - logs[top, column])
        share /= share.sum(0)
        gain = at.alpha * self.variances / total
        means = (self.positions - gain * at.alpha * self.positions)[:, None] + gain[:, None] * x
        best = means[top, column]
        means -= best
        share[top, column] = 0.0
        within = self.variances * at.sigma**2 / total
        shift = (share * means).sum(0)
        own = within[top] + np.einsum("ij,ij->j", share, within[:, None] - within[top])
        return best + shift, own + np.einsum("ij,ij->j", share, means**2) - shift**2

    def log_density(self, x: np.ndarray, at: Level) -> np.ndarray:
        """log density of αX + σZ at points (n,)."""
        logs, _ = self._log_terms(x, at)
        highest = logs.max(0)
        return highest + np.log(np.exp(logs - highest).sum(0)) - 0.5 * np.log(2.0 * np.pi)

    def _log_terms(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        total = at.alpha**2 * self.variances + at.sigma**2
        apart = x - at.alpha * self.positions[:, None]
        return np.log(self.weights / np.sqrt(total))[:, None] - apart**2 * (0.5 / total)[:, None], total


def _cluster(weights: np.ndarray, apart: np.ndarray, excess: np.ndarray, widths: np.ndarray) -> tuple[float, float]:
    """(E V, E V²) in units of the noise: components N(apart_i, widths_i²), widths² = 1 + excess."""
    y, dy = line_nodes(apart, widths)
    apart, excess, squares = apart[:, None], excess[:, None], (widths**2)[:, None]
    state = y - apart
    logs = np.log(weights / widths)[:, None] - 0.5 * state**2 / squares
    highest = logs.max(0)
    share = np.exp(logs - highest)
    norm = share.sum(0)
    density = np.exp(highest) * norm / np.sqrt(2.0 * np.pi)
    share /= norm
    top, column = logs.argmax(0), np.arange(len(y))
    means = apart + excess / squares * state
    means -= means[top, column]
    share[top, column] = 0.0
    within = excess / squares
    best = within[top, 0]
    shift = (share * means).sum(0)
    variance = best + (share * (within - best)).sum(0) + (share * means**2).sum(0) - shift**2
    return float((density * variance) @ dy), float((density * variance**2) @ dy)


def line_nodes(centres: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes on panels no wider than half of any component's width within that component's window.

    Breakpoints are multiples of a power of two for every octave of widths, so that those of different
    components coincide exactly.
    """
    breaks = []
    spacing = 0.5 * 2.0 ** np.floor(np.log2(widths))
    for size in np.unique(spacing):
        same = spacing == size
        low = np.floor((centres[same] - REACH * widths[same]) / size).astype(np.int64)
        high = np.ceil((centres[same] + REACH * widths[same]) / size).astype(np.int64)
        longest = int((high - low).max())
        index = np.unique(np.minimum(low[:, None] + np.arange(longest + 1), high[:, None]))
        breaks.append(index * size)
    edges = np.unique(np.concatenate(breaks))
    x, w = PANEL_NODES
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (1.0 + x)).ravel(), (half * w).ravel()

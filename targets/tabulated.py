"""A curve known at points: log D interpolated by Chebyshev polynomials on panels of u = log γ.

Interpolating the logarithm keeps D positive, so the mmse that is integrated from it is strictly decreasing,
and keeps relative accuracy where D is exponentially small.  Head and tail are analytic:

    γ < γ_lo:   D = D(0) + (D(γ_lo) − D(0)) γ/γ_lo,  with D(0) = ‖Cov X‖_F² known exactly
    γ > γ_hi:   discrete law     mmse and D fall exponentially in γ (nearest atoms: rate gap²/8)
                continuous law   mmse falls like γ⁻¹, D like γ⁻²

Where the points are exact, a panel is halved until its last coefficients are below `tolerance`; where they are
random (replicates that share their random numbers across γ, so that each is a smooth curve) the panels are given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from targets.arguments import NotAvailableError
from targets.curve import NODES, Curve, gauss_legendre

Points = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""γ of shape (n,) -> (mmse, −mmse′), each of shape (rows, n); None: differentiate the interpolant of log mmse."""

DEGREE = 16
MAX_PANELS = 4096


class Table(NamedTuple):
    """Edges of the panels, (p + 1,); coefficients of log D on them, (rows, p, degree + 1); mmse at the top, (rows,)."""

    edges: np.ndarray
    log_slope: np.ndarray
    mmse_high: np.ndarray


class TabulatedCurve(Curve):
    """A curve from values of (mmse, −mmse′) on panels of log γ in [log γ_lo, log γ_hi]."""

    def __init__(
        self,
        points: Points,
        low: float,
        high: float,
        *,
        head: float,
        discrete: bool,
        method: str,
        degree: int = DEGREE,
        panel: float = 1.0,
        tolerance: float | None = 1e-12,
        least_rate: float = 0.0,
    ) -> None:
        self._set_degree(degree)
        count = max(1, int(np.ceil((np.log(high) - np.log(low)) / panel)))
        pending = np.linspace(np.log(low), np.log(high), count + 1)
        table = Table(*self._fill(points, pending, tolerance))
        self._set(table, head=head, discrete=discrete, method=method, least_rate=least_rate)

    @classmethod
    def from_table(cls, table: Table, *, head: float, discrete: bool, method: str, least_rate: float) -> TabulatedCurve:
        """The curve that was computed with this table, bit by bit."""
        curve = cls.__new__(cls)
        curve._set_degree(table.log_slope.shape[2] - 1)
        curve._set(table, head=head, discrete=discrete, method=method, least_rate=least_rate)
        return curve

    @property
    def table(self) -> Table:
        """What was computed from the points: the rest follows from it."""
        return Table(self._edges, self._log_slope, self._mmse_high)

    def _set_degree(self, degree: int) -> None:
        self.degree = degree
        self._x = np.cos(np.pi * np.arange(degree, -1, -1) / degree)
        self._to_coefficients = _chebyshev_transform(self._x)

    def _set(self, table: Table, *, head: float, discrete: bool, method: str, least_rate: float) -> None:
        self.method, self.head, self.discrete, self.least_rate = method, head, discrete, least_rate
        self._edges, self._log_slope, self._mmse_high = table
        ends = self._edges[[0, -1]]
        self._ends = tuple(np.exp(ends))
        self._slope_ends = tuple(np.exp(self._interpolate(self._log_slope, ends)).T)
        self._log_mmse, self._log_information = self._integrate()
        self.bias = self._interpolation_error()

    def _fill(self, points: Points, pending: np.ndarray, tolerance: float | None) -> tuple[np.ndarray, ...]:
        """Panels whose interpolant is converged, sorted: (edges, coefficients, mmse at the top edge)."""
        low, high = pending[:-1], pending[1:]
        done: list[tuple[np.ndarray, np.ndarray]] = []
        top, mmse_high = pending[-1], None
        total = 0
        while len(low):
            total += len(low)
            if total > MAX_PANELS:
                raise NotAvailableError(
                    f"the mmse curve needs more than {MAX_PANELS} panels: the law's scales are too many; "
                    "split the law into independent factors (Product) or coarsen its support"
                )
            u = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * self._x
            u[:, 0], u[:, -1] = low, high
            once, place = np.unique(u, return_inverse=True)  # neighbouring panels share the node at their edge
            mmse, slope = points(np.exp(once))
            mmse = mmse[:, place.ravel()]
            slope = self._differentiate(mmse, u) if slope is None else slope[:, place.ravel()]
            if not ((slope > 0) & np.isfinite(slope)).all():
                raise NotAvailableError(
                    "−mmse′ underflowed within the curve's range: the atoms' scales are too far apart"
                )
            logs = np.log(slope).reshape(len(slope), *u.shape)
            coefficients = logs @ self._to_coefficients.T
            if high[-1] == top and mmse_high is None:
                mmse_high = mmse[:, -1]
            if tolerance is None:
                keep = np.ones(len(low), dtype=bool)
            else:
                tail = np.abs(coefficients[..., -3:]).max((0, 2))
                keep = (tail < tolerance * np.maximum(1.0, np.abs(logs).max((0, 2)))) | (high - low < 0.02)
            done += [(low[i : i + 1], coefficients[:, i]) for i in np.flatnonzero(keep)]
            middle = 0.5 * (low + high)[~keep]
            low, high = np.concatenate([low[~keep], middle]), np.concatenate([middle, high[~keep]])
            order = np.argsort(low)
            low, high = low[order], high[order]
        starts = np.concatenate([start for start, _ in done])
        order = np.argsort(starts)
        assert mmse_high is not None
        return np.append(starts[order], top), np.stack([done[i][1] for i in order], axis=1), mmse_high

    def _differentiate(self, mmse: np.ndarray, u: np.ndarray) -> np.ndarray:
        """−d mmse/dγ at the nodes u (panels, nodes), from the interpolant of log mmse on each panel."""
        values = mmse.reshape(len(mmse), *u.shape)
        coefficients = np.moveaxis(np.log(values) @ self._to_coefficients.T, 2, 0)
        derivative = np.polynomial.chebyshev.chebval(self._x, np.polynomial.chebyshev.chebder(coefficients))
        half = 0.5 * (u[:, -1:] - u[:, :1])
        return (-derivative / half * values / np.exp(u)).reshape(mmse.shape)

    def _interpolation_error(self) -> float:
        """Size of the last coefficients of log D, averaged over panels by their share of the information."""
        tail = np.abs(self._log_slope[0, :, -2:]).max(1)
        share = np.diff(self.information_rows(np.exp(self._edges))[0])
        return float(max(1e-13, (tail * share).sum() / share.sum()))

    @cached_property
    def edges(self) -> np.ndarray:
        if not self.discrete:
            return self._edges
        tail = np.log(self._ends[1] + np.geomspace(0.25, 64.0, 9) / self._tail_rate)
        return np.concatenate([self._edges, tail])

    def extrapolation(self, snr: np.ndarray) -> np.ndarray:
        if not self.discrete or len(self._log_slope) == 1:
            return np.zeros_like(snr)
        beyond = np.maximum(snr - self._ends[1], 0.0) * self._tail_rate
        return np.minimum(1.0, np.expm1(np.minimum(0.5 * beyond, 1.0)))

    def extrapolated_information(self, snr: np.ndarray) -> np.ndarray:
        ends = np.minimum(snr, self._ends[1])
        known = (self.information_rows(each.ravel())[0].reshape(snr.shape) for each in (snr, ends))
        gained = np.subtract(*known)
        return self.extrapolation(snr) * gained

    def _interpolate(self, coefficients: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The interpolant at each u, (rows, n): one matrix product a panel, Chebyshev polynomials by coefficients."""
        panel = np.clip(np.searchsorted(self._edges, u, side="right") - 1, 0, len(self._edges) - 2)
        low, high = self._edges[panel], self._edges[panel + 1]
        order = np.argsort(panel, kind="stable")
        polynomials = np.polynomial.chebyshev.chebvander(((2.0 * u - low - high) / (high - low))[order], self.degree)
        out = np.empty((len(coefficients), len(u)))
        present, first = np.unique(panel[order], return_index=True)
        for p, part, place in zip(present, np.split(polynomials, first[1:]), np.split(order, first[1:]), strict=True):
            out[:, place] = coefficients[:, p] @ part.T
        return out

    def _integrate(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of log mmse and log 2I on every panel, from integrals of D to and from its nodes."""
        low, high = self._edges[:-1], self._edges[1:]
        u = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * self._x
        to_top = self._slope_moment(u, np.broadcast_to(high[:, None], u.shape), 1)
        from_bottom = self._slope_moment(np.broadcast_to(low[:, None], u.shape), u, 2)
        bottom = self._ends[0]
        head = bottom**2 * (self.head / 6.0 + self._slope_ends[0][:, None] / 3.0)
        above = np.cumsum(np.concatenate([self._mmse_high[:, None], to_top[:, :0:-1, 0]], 1), 1)[:, ::-1]
        below = np.cumsum(np.concatenate([head, from_bottom[:, :-1, -1]], 1), 1)
        mmse = above[:, :, None] + to_top
        information = np.exp(u) * mmse + below[:, :, None] + from_bottom
        return np.log(mmse) @ self._to_coefficients.T, np.log(information) @ self._to_coefficients.T

    def _slope_moment(self, low: np.ndarray, high: np.ndarray, power: int) -> np.ndarray:
        """∫ γ^{power−1} D dγ between e^low and e^high within a panel: (rows, *low.shape)."""
        u, w = gauss_legendre(low, high, NODES)
        slope = np.exp(self._interpolate(self._log_slope, np.clip(u, self._edges[0], self._edges[-1]).ravel()))
        return (slope.reshape(-1, *u.shape) * np.exp(power * u) * w).sum(-1)

    def slope_rows(self, snr: np.ndarray) -> np.ndarray:
        low, high = self._ends
        at_low, at_high = self._slope_ends
        out = np.exp(self._interpolate(self._log_slope, np.log(np.clip(snr, low, high))))
        below, above = snr < low, snr > high
        if below.any():
            out[:, below] = self.head + (at_low[:, None] - self.head) * (snr[below] / low)
        if above.any() and self.discrete:
            out[:, above] = self._tail_rate * self._tail_mmse(snr[above])
        elif above.any():
            out[:, above] = at_high[:, None] * (high / snr[above]) ** 2
        return out

    def mmse_rows(self, snr: np.ndarray) -> np.ndarray:
        low, high = self._ends
        out = np.exp(self._interpolate(self._log_mmse, np.log(np.clip(snr, low, high))))
        below, above = snr < low, snr > high
        if below.any():
            g = snr[below]
            out[:, below] += (low - g) * (
                self.head + (self._slope_ends[0][:, None] - self.head) * (0.5 + 0.5 * g / low)
            )
        if above.any():
            out[:, above] = self._tail_mmse(snr[above])
        return out

    def information_rows(self, snr: np.ndarray) -> np.ndarray:
        low, high = self._ends
        out = 0.5 * np.exp(self._interpolate(self._log_information, np.log(np.clip(snr, low, high))))
        below, above = snr < low, snr > high
        if below.any():
            g = snr[below]
            rise = (self._slope_ends[0][:, None] - self.head) / low
            out[:, below] = 0.5 * (g * self.mmse_rows(g) + g**2 * (self.head / 2.0 + rise * g / 3.0))
        if above.any():
            out[:, above] += 0.5 * self._mmse_high[:, None] * self._tail_information(snr[above])
        return out

    def _tail_mmse(self, snr: np.ndarray) -> np.ndarray:
        """mmse at γ > γ_hi: exponential in γ (discrete law) or 1/γ, continuous at γ_hi."""
        high, value = self._ends[1], self._mmse_high[:, None]
        return value * np.exp(-self._tail_rate * (snr - high)) if self.discrete else value * high / snr

    def _tail_information(self, snr: np.ndarray) -> np.ndarray:
        """∫_{γ_hi}^γ of the tail's mmse, whose value at γ_hi is one."""
        high = self._ends[1]
        if not self.discrete:
            return high * np.log(snr / high)[None]
        return -np.expm1(-self._tail_rate * (snr - high)) / self._tail_rate

    @cached_property
    def _tail_rate(self) -> float:
        """−Δ log mmse/Δγ over the last panel, or the least possible rate (nearest atoms: gap²/8) where that is larger."""
        ends = self._edges[-2:]
        logs = self._interpolate(self._log_mmse[:1], ends)[0]
        return max(float((logs[0] - logs[1]) / np.diff(np.exp(ends))[0]), self.least_rate)


def _chebyshev_transform(x: np.ndarray) -> np.ndarray:
    """Matrix from values at the Chebyshev–Lobatto points to Chebyshev coefficients."""
    degree = len(x) - 1
    angles = np.pi * np.arange(degree, -1, -1) / degree
    matrix = 2.0 / degree * np.cos(np.outer(np.arange(degree + 1), angles))
    matrix[:, [0, -1]] *= 0.5
    matrix[[0, -1]] *= 0.5
    return matrix

"""The mmse curve of a law: one function that decides entropy, mutual information, path KL and the best grid.

The primary quantity is D(γ) = −mmse′(γ) = E‖Cov[X given x]‖_F² ≥ 0.  Everything else is an integral of it with a
non-negative weight, so nothing cancels:

    mmse(γ)  =  mmse(γ_hi) + ∫_γ^{γ_hi} D
    2 I(γ)   =  ∫_0^γ mmse  =  γ mmse(γ) + ∫_0^γ s D(s) ds
    S        =  ∫ √D                                                      (discretisation length)

Curves come in rows: row 0 is the value, rows 1..R leave one random replicate out each (a single row where
nothing is random), and any functional evaluated on all rows gets its standard error by the jackknife.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from targets.arguments import refuse
from targets.estimate import Estimate

NODES = 20
"""Gauss–Legendre nodes on a panel of log γ; panels are short enough that this is rounding-exact."""


def gauss_legendre(low: np.ndarray, high: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on each interval [low_i, high_i]: two arrays of shape (*low.shape, nodes)."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * (high - low)[..., None]
    return low[..., None] + half * (1.0 + x), half * w


@dataclass(frozen=True)
class StepIntegrals:
    """Quadrature of D over every step [γ_k, γ_{k+1}] of a grid.

    `snr`, `weight` (dγ) and `step` (the k it belongs to) describe the nodes; `slope` is D there, one row a
    replicate; `mmse` is mmse at the K + 1 grid levels, obtained by summing the same nodes.
    """

    snr: np.ndarray
    weight: np.ndarray
    step: np.ndarray
    slope: np.ndarray
    mmse: np.ndarray
    starts: np.ndarray

    def sum(self, kernel: np.ndarray | float, integrand: np.ndarray | None = None) -> np.ndarray:
        """∫ kernel·D dγ over each step (or kernel·integrand where one is given): shape (rows, K)."""
        values = (self.slope if integrand is None else integrand) * (kernel * self.weight)
        return np.add.reduceat(values, self.starts, axis=1)


class Curve(ABC):
    """mmse(γ), −mmse′(γ) and I(γ) of one law, total over coordinates, for every γ ≥ 0."""

    method: str
    bias: float
    """Estimated relative error of the deterministic part (interpolation, quadrature)."""
    reach: tuple[float, float] = (0.0, np.inf)
    """The γ between which the curve is known."""

    @property
    @abstractmethod
    def edges(self) -> np.ndarray:
        """Ascending values of log γ between which the curve is smooth on the scale of the spacing."""

    @abstractmethod
    def slope_rows(self, snr: np.ndarray) -> np.ndarray:
        """D at each γ ≥ 0: shape (rows, n)."""

    @abstractmethod
    def mmse_rows(self, snr: np.ndarray) -> np.ndarray:
        """mmse at each γ ≥ 0: shape (rows, n)."""

    @abstractmethod
    def information_rows(self, snr: np.ndarray) -> np.ndarray:
        """I at each γ ≥ 0: shape (rows, n)."""

    def mmse(self, snr: float | np.ndarray) -> Estimate:
        """mmse(γ), in the shape of `snr`."""
        return self._estimate(self.mmse_rows, snr)

    def slope(self, snr: float | np.ndarray) -> Estimate:
        """−mmse′(γ), in the shape of `snr`."""
        return self._estimate(self.slope_rows, snr)

    def mutual_information(self, snr: float | np.ndarray) -> Estimate:
        """I(γ) in nats, in the shape of `snr`; beyond a sampled range only what was gained there is in doubt."""
        found = self._estimate(self.information_rows, snr)
        values = np.asarray(snr, dtype=np.float64)
        bias = self.bias * np.abs(found.value) + self.extrapolated_information(values)
        return Estimate(found.value, found.stderr, bias[()], found.method)

    def discretisation_length(self, low: float | None = None, high: float | None = None) -> Estimate:
        """S = ∫ √(−mmse′) dγ over [low, high]; by default over the whole range of the law.

        K times the path KL of the best K-step ddpm grid tends to S²/4.
        """
        edges = self.edges
        bottom = edges[0] if low is None else np.log(self._bound("low", low))
        top = edges[-1] if high is None else np.log(self._bound("high", high))
        if not bottom < top:
            refuse("(low, high)", (low, high), "low < high")
        cuts = np.unique(np.concatenate([[bottom], edges[(edges > bottom) & (edges < top)], [top]]))
        u, w = gauss_legendre(cuts[:-1], cuts[1:], NODES)
        snr = np.exp(u.ravel())
        rows = (np.sqrt(self.slope_rows(snr)) * (snr * w.ravel())).sum(1)
        if low is None:
            rows = rows + np.exp(bottom) * np.sqrt(self.slope_rows(np.array([0.0, np.exp(bottom)]))).mean(1)
        return Estimate.jackknife(rows, self.bias * rows[0], self.method)

    def over_steps(self, snr: np.ndarray) -> StepIntegrals:
        """Quadrature of D on the steps of an ascending grid of γ, split wherever a panel of the curve ends."""
        grid = np.log(snr)
        inner = self.edges[(self.edges > grid[0]) & (self.edges < grid[-1])]
        cuts = np.union1d(grid, inner)
        width = np.diff(cuts)
        parts = []
        for nodes, least, most in ((3, 0.0, 0.01), (6, 0.01, 0.2), (NODES, 0.2, np.inf)):
            chosen = (width >= least) & (width < most)
            if chosen.any():
                u, w = gauss_legendre(cuts[:-1][chosen], cuts[1:][chosen], nodes)
                parts.append((u.ravel(), w.ravel()))
        u, w = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(u, kind="stable")
        u, w = u[order], w[order]
        nodes_snr = np.exp(u)
        step = np.clip(np.searchsorted(grid, u, side="right") - 1, 0, len(grid) - 2)
        starts = np.searchsorted(step, np.arange(len(grid) - 1))
        slope = self.slope_rows(nodes_snr)
        drop = np.add.reduceat(slope * (nodes_snr * w), starts, axis=1)
        last = self.mmse_rows(snr[-1:])
        mmse = np.concatenate([np.cumsum(drop[:, ::-1], axis=1)[:, ::-1] + last, last], axis=1)
        return StepIntegrals(nodes_snr, nodes_snr * w, step, slope, mmse, starts)

    def _estimate(self, rows, snr: float | np.ndarray) -> Estimate:  # noqa: ANN001
        if isinstance(snr, str):
            refuse("snr", snr, "numbers >= 0")
        try:
            values = np.asarray(snr, dtype=np.float64)
        except (TypeError, ValueError):
            refuse("snr", snr, "numbers >= 0")
        if not values.size or not np.isfinite(values).all() or (values < 0).any():
            refuse("snr", snr, "finite numbers >= 0, at least one")
        out = rows(values.ravel()).reshape(-1, *values.shape)
        return Estimate.jackknife(out, (self.bias + self.extrapolation(values)) * np.abs(out[0]), self.method)

    def extrapolation(self, snr: np.ndarray) -> np.ndarray:
        """Relative error of continuing beyond a sampled range, in the shape of `snr`; zero where nothing is sampled."""
        return np.zeros_like(snr)

    def extrapolated_information(self, snr: np.ndarray) -> np.ndarray:
        """Error of I from continuing beyond a sampled range, nats, in the shape of `snr`; zero where nothing is sampled."""
        return np.zeros_like(snr)

    @staticmethod
    def _bound(name: str, value: float) -> float:
        if not (np.isfinite(value) and value > 0):
            refuse(name, value, "a finite snr > 0")
        return value


class GaussianCurve(Curve):
    """N(m, C) with eigenvalues λ: mmse = Σ λ/(1+γλ), D = Σ λ²/(1+γλ)², I = ½ Σ log(1+γλ)."""

    method, bias = "closed form", 1e-15

    def __init__(self, variances: np.ndarray) -> None:
        positive = np.sort(variances[variances > 0])
        self.variances, counts = np.unique(positive, return_counts=True)
        self.counts = counts.astype(np.float64)

    @cached_property
    def edges(self) -> np.ndarray:
        if not len(self.variances):
            return np.array([-1.0, 1.0])
        return _every_unit(-np.log(self.variances[-1]) - 20.0, -np.log(self.variances[0]) + 20.0)

    def _terms(self, function, snr: np.ndarray) -> np.ndarray:  # noqa: ANN001
        out = np.zeros((1, len(snr)))
        for block in np.array_split(np.arange(len(self.variances)), max(1, len(self.variances) * len(snr) // 2**22)):
            lam = self.variances[block, None]
            out += self.counts[block] @ function(lam, snr)
        return out

    def slope_rows(self, snr: np.ndarray) -> np.ndarray:
        return self._terms(lambda lam, g: (lam / (1.0 + lam * g)) ** 2, snr)

    def mmse_rows(self, snr: np.ndarray) -> np.ndarray:
        return self._terms(lambda lam, g: lam / (1.0 + lam * g), snr)

    def information_rows(self, snr: np.ndarray) -> np.ndarray:
        return self._terms(lambda lam, g: 0.5 * np.log1p(lam * g), snr)


class BlurredCurve(Curve):
    """X = C + N(0, diag λ) with C discrete, where the blur acts on C like a change of snr.

    That is so when C = cδ lies on a line (any λ), or when λ = v in every direction that C spans (then δ² = 1 at the
    single variance v).  The noisy state informs about c like its own channel at snr s(γ) = Σ γδ²/(1+γλ), hence

        mmse = Σ λ/(1+γλ) + b mmse_c(s),   D = Σ λ²/(1+γλ)² + 2 mmse_c(s) Σ λδ²/(1+γλ)³ + b² D_c(s),
        I    = ½ Σ log(1+γλ) + I_c(s),     b = Σ δ²/(1+γλ)².

    `within` holds λ over all coordinates; `squares` and `variances` the δ² and λ of the directions of C.
    """

    def __init__(self, inner: Curve, squares: np.ndarray, variances: np.ndarray, within: np.ndarray) -> None:
        self.inner, self.within = inner, GaussianCurve(within)
        self.method, self.bias = inner.method, inner.bias
        self.variances, place = np.unique(variances, return_inverse=True)
        self.squares = np.bincount(place, weights=squares)

    def _sum(self, snr: np.ndarray, power: int, extra: int = 0) -> np.ndarray:
        """Σ λ^extra δ²/(1+γλ)^power."""
        return (self.squares * self.variances**extra) @ (1.0 + self.variances[:, None] * snr) ** -float(power)

    @cached_property
    def edges(self) -> np.ndarray:
        base = self.inner.edges - np.log(self.squares.sum())
        if not len(self.within.variances):
            return base
        wide = np.union1d(_every_unit(min(self.within.edges[0], base[0]), self.within.edges[-1]), base)
        effective = np.log(np.exp(wide) * self._sum(np.exp(wide), 1))
        crossing = np.interp(self.inner.edges, effective, wide, left=np.nan, right=np.nan)
        return np.unique(np.concatenate([wide, crossing[np.isfinite(crossing)]]))

    def extrapolation(self, snr: np.ndarray) -> np.ndarray:
        """The core's, by its larger share in mmse and in D: the blur itself is known."""
        flat = snr.ravel()
        s = flat * self._sum(flat, 1)
        core = self.inner.mmse_rows(s)[0] * self._sum(flat, 2), self.inner.slope_rows(s)[0] * self._sum(flat, 2) ** 2
        if self.variances[-1] > 0:
            core = core[0], core[1] + 2.0 * self.inner.mmse_rows(s)[0] * self._sum(flat, 3, 1)
        whole = self.mmse_rows(flat)[0], self.slope_rows(flat)[0]
        share = np.max([part / np.maximum(total, 5e-324) for part, total in zip(core, whole, strict=True)], axis=0)
        return (self.inner.extrapolation(s) * share).reshape(snr.shape)

    def extrapolated_information(self, snr: np.ndarray) -> np.ndarray:
        return self.inner.extrapolated_information((snr.ravel() * self._sum(snr.ravel(), 1)).reshape(snr.shape))

    def slope_rows(self, snr: np.ndarray) -> np.ndarray:
        s = snr * self._sum(snr, 1)
        cross = 2.0 * self.inner.mmse_rows(s) * self._sum(snr, 3, 1) if self.variances[-1] > 0 else 0.0
        return self.within.slope_rows(snr) + cross + self.inner.slope_rows(s) * self._sum(snr, 2) ** 2

    def mmse_rows(self, snr: np.ndarray) -> np.ndarray:
        s = snr * self._sum(snr, 1)
        return self.within.mmse_rows(snr) + self.inner.mmse_rows(s) * self._sum(snr, 2)

    def information_rows(self, snr: np.ndarray) -> np.ndarray:
        return self.within.information_rows(snr) + self.inner.information_rows(snr * self._sum(snr, 1))


class SumCurve(Curve):
    """Independent blocks: every quantity is the sum over blocks, each counted with its multiplicity."""

    def __init__(self, parts: list[tuple[Curve, int]]) -> None:
        self.parts = parts
        self.method = "sum over blocks: " + ", ".join(dict.fromkeys(curve.method for curve, _ in parts))
        self.bias = max(curve.bias for curve, _ in parts)

    @cached_property
    def edges(self) -> np.ndarray:
        return np.unique(np.concatenate([curve.edges for curve, _ in self.parts]))

    def extrapolation(self, snr: np.ndarray) -> np.ndarray:
        return np.max([curve.extrapolation(snr) for curve, _ in self.parts], axis=0)

    def extrapolated_information(self, snr: np.ndarray) -> np.ndarray:
        return np.sum([count * curve.extrapolated_information(snr) for curve, count in self.parts], axis=0)

    def slope_rows(self, snr: np.ndarray) -> np.ndarray:
        return self._sum([count * curve.slope_rows(snr) for curve, count in self.parts])

    def mmse_rows(self, snr: np.ndarray) -> np.ndarray:
        return self._sum([count * curve.mmse_rows(snr) for curve, count in self.parts])

    def information_rows(self, snr: np.ndarray) -> np.ndarray:
        return self._sum([count * curve.information_rows(snr) for curve, count in self.parts])

    @staticmethod
    def _sum(blocks: list[np.ndarray]) -> np.ndarray:
        rows = max(len(block) for block in blocks)
        return sum((np.broadcast_to(block, (rows, block.shape[1])) for block in blocks), np.zeros(1))


def _every_unit(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, int(np.ceil(high - low)) + 1)

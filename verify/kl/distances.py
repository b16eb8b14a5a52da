"""Total variation and W2 between the true law and the sampler's at the table's last level.

Gaussian targets.  With L = log p/q = c + Σ (a_i z_i² + e_i z_i), z ~ N(0, 1) under p, 2a_i = v_i/v̂_i − 1, e_i = √v_i Δ_i/v̂_i,

    TV  =  E_p (1 − e^{-L})_+  =  (1/π) ∫_0^∞ Re Φ(b + iu)/((b + iu)² − ¼) du,     b > ½,
    Φ(s)  =  E_p e^{(s−½)L}  =  e^{rc} Π (1 − 2r a_i)^{-1/2} exp(r² e_i²/(2(1 − 2r a_i))),   r = s − ½,
    W2²  =  Σ (√v_i − √v̂_i)² + |Δ|²                                                    (both covariances commute)

On the line and along a ray: TV from the antiderivative of p − q, whose extremes are where the densities cross; W2 from ranks.
"""

from __future__ import annotations

import math

import numpy as np

from targets import Estimate, NotAvailableError, Target
from targets.arguments import one_of
from verify.carry.moments import Moments
from verify.carry.panels import NODES, PANEL, WEIGHTS
from verify.carry.space import Carried
from verify.kl.frozen import check_inputs
from verify.kl.marginal import NORMALISED, carried, parts_of
from verify.oracle import Oracle
from verify.step import STARTS, Table

TO_LEGENDRE = (np.polynomial.legendre.legvander(NODES, PANEL - 1) * WEIGHTS[:, None]).T * (
    np.arange(PANEL)[:, None] + 0.5
)
NEWTON_STEPS = 40


def total_variation(target: Target, table: Table, *, start: str = "exact", oracle: Oracle | None = None) -> Estimate:
    """½ ∫ |p − q| at `table.stop`, between 0 and 1: Gaussian targets, laws on the line, rotation-invariant laws.

    Raises `NotAvailableError` for other targets: total variation does not add over independent parts.
    """
    parts = _laws(target, table, start, oracle)
    if len(parts) == 1 and parts[0][1] == 1 and not isinstance(parts[0][0], Moments):
        coarse, fine = (_crossings(law) for law in parts[0][0])
        return Estimate(fine, 0.0, abs(fine - coarse) + 1e-15 * table.steps, "density, crossings")
    if not all(isinstance(law, Moments) for law, _ in parts):
        raise NotAvailableError(
            f"total variation on {target!r}: it does not add over parts; available: kl.marginal, and √(KL/2) bounds it"
        )
    gaussians = [(law, count) for law, count in parts if isinstance(law, Moments)]
    if not all((law.variance > 0).all() for law, _ in gaussians):
        return Estimate.exact(1.0, "a singular Gaussian against one that is not")
    if sum(count * len(law.mean) for law, count in gaussians) == 1:
        return Estimate.exact(_one_dimension(gaussians[0][0]), "Gaussians on the line, closed form")
    value, doubt = _gaussian_variation(gaussians)
    return Estimate(value, 0.0, doubt, "Gaussian, Fourier integral")


def wasserstein(target: Target, table: Table, *, start: str = "exact", oracle: Oracle | None = None) -> Estimate:
    """W2 = inf √E‖x − y‖² between the laws at `table.stop`; W2² adds over independent parts."""
    square, doubt = 0.0, 0.0
    for law, count in _laws(target, table, start, oracle):
        if isinstance(law, Moments):
            value = float(((np.sqrt(law.true_variance) - np.sqrt(law.variance)) ** 2).sum())
            value, error = value + float(((law.true_mean - law.mean) ** 2).sum()), 0.0
        else:
            coarse, value = (_rank_distance(pair) for pair in law)
            error = abs(value - coarse)
        square, doubt = square + count * value, doubt + count * error
    distance = math.sqrt(square)
    bias = doubt / (2.0 * distance) if distance > 0 else 0.0
    return Estimate(distance, 0.0, bias + 1e-15 * table.steps * distance, "ranks and closed forms")


def _laws(
    target: Target, table: Table, start: str, oracle: Oracle | None
) -> list[tuple[Moments | tuple[Carried, Carried], int]]:
    oracle = check_inputs(target, table, oracle)
    start = one_of("start", start, STARTS)
    out = []
    for part, count, own in parts_of(target, oracle):
        found = carried(part, table, start, own)
        if found is None:
            raise NotAvailableError(
                f"distances of {table.method.name} on {part!r}: Gaussian targets, laws on the line, rotation-invariant laws "
                "and (W2) their products only; available: kl.marginal where the table is deterministic, particles"
            )
        law = found[0]
        if not isinstance(law, Moments):
            missed = max(each.defect for each in law)
            if not missed <= NORMALISED:
                raise NotAvailableError(
                    f"distances of {table.method.name}: the points that are followed miss {missed:.3g} of one of the laws; "
                    "take more steps, or use particles"
                )
        out.append((law, count))
    return out


def _gaussian_variation(parts: list[tuple[Moments, int]]) -> tuple[float, float]:
    counts = np.concatenate([np.full(len(law.variance), count) for law, count in parts])
    ratio = np.concatenate([law.true_variance / law.variance for law, _ in parts])
    shift = np.concatenate([(law.true_mean - law.mean) / np.sqrt(law.variance) for law, _ in parts])
    (ratio, shift), place = np.unique(np.stack([ratio, shift]), axis=1, return_inverse=True)
    counts = np.bincount(place.ravel(), weights=counts)
    a, e = 0.5 * (ratio - 1.0), np.sqrt(ratio) * shift
    constant = float(counts @ (0.5 * shift**2 - 0.5 * np.log(ratio)))
    size = math.sqrt(float(counts @ (2.0 * a**2 + e**2)))
    if size == 0.0:
        return 0.0, 0.0
    real_part = 0.5 + 0.5 / max(size, 2.0 * float(a.max(initial=0.0)))

    def integrand(u: float) -> float:
        s = complex(real_part, u / size)
        r = s - 0.5
        bend = 1.0 - 2.0 * r * a
        log = r * constant + counts @ (r**2 * e**2 / (2.0 * bend) - 0.5 * np.log(bend))
        return float((np.exp(log) / (s**2 - 0.25)).real) / size

    from scipy.integrate import quad

    value = doubt = low = piece = 0.0
    for high in (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0):
        piece, error = quad(integrand, low, high, epsabs=1e-13, epsrel=1e-12, limit=2000, full_output=1)[:2]
        value, doubt, low = value + piece, doubt + error, high
        if abs(piece) < 1e-11 * value:
            break
    return value / math.pi, (doubt + abs(piece)) / math.pi


def _one_dimension(law: Moments) -> float:
    """TV of two Gaussians on the line: their distribution functions at the roots of log p/q."""
    p, q = (float(law.true_mean[0]), float(law.true_variance[0])), (float(law.mean[0]), float(law.variance[0]))
    ratio, shift = p[1] / q[1], (p[0] - q[0]) / math.sqrt(q[1])
    bend, tilt, level = 0.5 * (ratio - 1.0), math.sqrt(ratio) * shift, 0.5 * shift**2 - 0.5 * math.log(ratio)
    if bend == 0.0 and tilt == 0.0:
        return 0.0
    root = math.sqrt(max(tilt**2 - 4.0 * bend * level, 0.0))
    larger = -0.5 * (tilt + math.copysign(root, tilt))
    roots = [larger / bend] if bend else []
    roots += [level / larger] if larger else []
    z = np.sort(roots)
    gap = _normal_difference(z, math.sqrt(ratio) * z + shift)
    return 0.5 * float(np.abs(np.diff(np.concatenate([[0.0], gap, [0.0]]))).sum())


def _normal_difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Φ(x) − Φ(y) as an integral of the density between them, which does not cancel."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    half = 0.5 * (x - y)[:, None]
    points = 0.5 * (x + y)[:, None] + half * nodes
    return (np.exp(-0.5 * points**2) * half) @ weights / math.sqrt(2.0 * math.pi)


def _panels(law: Carried, log: np.ndarray) -> np.ndarray:
    """Legendre coefficients of density × dy/dξ on every panel, ξ in [−1, 1]: (panels, PANEL)."""
    return (np.exp(log) * law.weight).reshape(-1, PANEL) / WEIGHTS @ TO_LEGENDRE.T


def _crossings(law: Carried) -> float:
    """½ ∫ |p − q| as half the total rise and fall of D = ∫ (p − q), from its values where p − q changes sign."""
    difference = np.exp(law.log_p) - np.exp(law.log_q)
    coefficients = ((difference * law.weight).reshape(-1, PANEL) / WEIGHTS @ TO_LEGENDRE.T).T
    rising = np.polynomial.legendre.legint(coefficients, lbnd=-1)
    offset = np.append(0.0, np.cumsum(np.polynomial.legendre.legval(1.0, rising))[:-1])
    turn = np.flatnonzero(difference[:-1] * difference[1:] < 0)
    panel, place = turn // PANEL, turn % PANEL
    right = np.append(NODES, 1.0)[place + 1]
    x = NODES[place] + (right - NODES[place]) * difference[turn] / (difference[turn] - difference[turn + 1])
    own, steep = coefficients[:, panel], np.polynomial.legendre.legder(coefficients)[:, panel]
    for _ in range(4):
        slope = np.polynomial.legendre.legval(x, steep, tensor=False)
        move = np.polynomial.legendre.legval(x, own, tensor=False) / np.where(slope == 0.0, np.inf, slope)
        x = np.clip(x - move, NODES[place], right)
    peak = offset[panel] + np.polynomial.legendre.legval(x, rising[:, panel], tensor=False)
    return 0.5 * float(np.abs(np.diff(np.concatenate([[0.0], peak, [0.0]]))).sum())


def _rank_distance(law: Carried) -> float:
    """∫ (y − F_q⁻¹(F_p(y)))² p dy, ranks from the nearer end."""
    y = law.points
    cumulative_p, cumulative_q = (_Ranks(law, log) for log in (law.log_p, law.log_q))
    mass = np.exp(law.log_p) * law.weight
    z = cumulative_q.place(cumulative_p.below, cumulative_p.above)
    return float(mass @ (y - z) ** 2)


class _Ranks:
    """F and 1 − F at the points of a carried law, and the inverse."""

    def __init__(self, law: Carried, log: np.ndarray) -> None:
        coefficients = _panels(law, log)
        self.rising = np.polynomial.legendre.legint(coefficients.T, lbnd=-1)
        whole = np.asarray(np.polynomial.legendre.legval(1.0, self.rising))
        within = np.asarray(np.polynomial.legendre.legval(NODES, self.rising))
        self.left = np.append(0.0, np.cumsum(whole))
        self.right = np.append(np.cumsum(whole[::-1])[::-1], 0.0)
        self.below = (self.left[:-1, None] + within).ravel()
        self.above = (self.right[1:, None] + whole[:, None] - within).ravel()
        self.slope = coefficients
        self.points = law.points.reshape(-1, PANEL) @ TO_LEGENDRE.T

    def place(self, below: np.ndarray, above: np.ndarray) -> np.ndarray:
        """Where the ranks are these: Newton in the panel's own coordinate."""
        lower = below < above
        panel = np.where(
            lower,
            np.searchsorted(self.left, below, side="right") - 1,
            len(self.right) - 1 - np.searchsorted(self.right[::-1], above, side="left"),
        )
        panel = np.clip(panel, 0, len(self.slope) - 1)
        wanted = np.where(lower, below - self.left[panel], self.right[panel] - above)
        rising, slope = self.rising[:, panel], self.slope[panel].T
        low, high = np.full(len(below), -1.0), np.ones(len(below))
        x = np.zeros(len(below))
        for _ in range(NEWTON_STEPS):
            excess = np.polynomial.legendre.legval(x, rising, tensor=False) - wanted
            low, high = np.where(excess < 0, x, low), np.where(excess > 0, x, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                proposed = x - excess / np.polynomial.legendre.legval(x, slope, tensor=False)
            x = np.where((proposed >= low) & (proposed <= high), proposed, 0.5 * (low + high))
        return np.polynomial.legendre.legval(x, self.points[panel].T, tensor=False)

"""A density on a line carried through a table: exact kernels, quadrature that resolves them, no particles.

Steps are taken in moves: deterministic steps up to and including one that adds noise s.  With M the map of a move and
nodes x_i of weight dx_i that resolve both q and the kernel as a function of x,

    q′(x′)  =  ∫ q(x) k(x′; M(x), s) dx  =  Σ_i q(x_i) dx_i k(x′; M(x_i), s),

where k is the law of the state after the noise (a Gaussian on the line, a noncentral chi along a ray).  Whether M is
monotone does not matter here.  After the last noise the remaining deterministic steps move points: q′(M(x)) = q(x)/M′(x),
and M has to increase.  The answer is a set of points with log p and log q there and weights that integrate against q.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from targets import Level, NotAvailableError
from verify.carry.advance import advance
from verify.step import Step, Table

REACH = 9.0
"""Standard deviations to which a density is followed on fine grids; coarse steps distort tails and get up to twice that."""

BLOCK = 2**21
"""Kernel values held at once."""

MOST_NODES = 400_000
PANEL = 20
TINY = 1e-300


def pointwise_kl(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """p log(p/q) − p + q ≥ 0, whose integral is KL(p ‖ q): where r = log(p/q) is small, q Σ_{n≥2} (n − 1) rⁿ/n!."""
    r, p, q = log_p - log_q, np.exp(log_p), np.exp(log_q)
    series = np.polynomial.polynomial.polyval(np.clip(r, -0.3, 0.3), SERIES)
    return np.where(np.abs(r) < 0.3, q * series, p * (r - 1.0) + q)


SERIES = [(n - 1.0) / math.factorial(n) if n > 1 else 0.0 for n in range(18)]


def log_of(density: np.ndarray) -> np.ndarray:
    """log, with what underflowed left at the least float."""
    return np.log(np.maximum(density, TINY))


class Space(ABC):
    """A line or a half line with the true law on it, the kernel of added noise and a rule to place nodes."""

    per_kernel: float
    """Nodes to a standard deviation of the kernel at resolution 1."""
    per_law: float
    """Nodes to a standard deviation of the law's narrowest part at resolution 1."""
    bottom: float
    """Where the space begins."""

    @abstractmethod
    def answer(self, x: np.ndarray, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(m̂, dm̂/dx) at the points x."""

    @abstractmethod
    def windows(self, at: Level) -> tuple[np.ndarray, np.ndarray]:
        """(centres, widths) of parts whose mixture the true law is, each with tails at most Gaussian."""

    @abstractmethod
    def log_density(self, x: np.ndarray, at: Level) -> np.ndarray:
        """log of the true density at x."""

    @abstractmethod
    def place(self, low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        """Ascending nodes and weights on the union of intervals, `spacing` apart on average."""

    @abstractmethod
    def centre(self, image: np.ndarray, noise: float) -> np.ndarray:
        """Where the kernel of an image sits: it has tails at most Gaussian of width `noise` about it, and increases."""

    @abstractmethod
    def kernel(self, x: np.ndarray, image: np.ndarray, noise: float) -> np.ndarray:
        """Density at x of the state whose mean is `image` (broadcast)."""


@dataclass(frozen=True, eq=False)
class Carried:
    """Points of the last level in ascending order, log p and log q there, and weights: ∫ f dy = Σ weight_i f(y_i)."""

    points: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    weight: np.ndarray

    @property
    def defect(self) -> float:
        """The larger of |1 − ∫ p| and |1 − ∫ q|."""
        return max(abs(1.0 - float(self.weight @ np.exp(log))) for log in (self.log_p, self.log_q))

    @property
    def divergence(self) -> float:
        """KL(p ‖ q), nats."""
        return float(self.weight @ pointwise_kl(self.log_p, self.log_q))


@dataclass(frozen=True, eq=False)
class Blurred:
    """Σ_i mass_i k(x; image_i, noise), images in the order of their kernels' centres."""

    space: Space
    images: np.ndarray
    masses: np.ndarray
    noise: float
    reach: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The density at ascending points x: each sums the images within its reach."""
        centres = self.space.centre(self.images, self.noise)
        first = np.searchsorted(centres, x - self.reach * self.noise)
        last = np.searchsorted(centres, x + self.reach * self.noise)
        out = np.empty_like(x)
        rows = max(1, BLOCK // max(1, int((last - first).max(initial=1))))
        for start in range(0, len(x), rows):
            block = slice(start, start + rows)
            width = int((last[block] - first[block]).max(initial=0))
            index = first[block, None] + np.arange(width)
            inside = index < last[block, None]
            np.minimum(index, len(self.images) - 1, out=index)
            values = self.space.kernel(x[block, None], self.images[index], self.noise)
            out[block] = np.einsum("ij,ij->i", values, np.where(inside, self.masses[index], 0.0))
        return out

    def windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Intervals that hold all but a negligible part."""
        centres = self.space.centre(self.images[self.masses > 1e-20 * self.masses.max()], self.noise)
        apart = np.flatnonzero(np.diff(centres) > 2.0 * REACH * self.noise)
        first, last = np.append(0, apart + 1), np.append(apart, len(centres) - 1)
        return centres[first] - REACH * self.noise, centres[last] + REACH * self.noise


@dataclass(frozen=True, eq=False)
class Start:
    """The law of the first state: its density, windows (centres, widths)."""

    density: Callable[[np.ndarray], np.ndarray]
    centres: np.ndarray
    widths: np.ndarray


def carry(space: Space, table: Table, start: Start, resolution: float) -> Carried:
    """The law of the table's last state; `resolution` multiplies the number of nodes."""
    if table.multistep:
        raise NotAvailableError(
            f"density of {table.method.name}: a multistep table is no Markov chain in its state; available: particles, the "
            "flow carrier (deterministic tables) and moments (Gaussian targets)"
        )
    density: Callable[[np.ndarray], np.ndarray] = start.density
    reach = _reach(table)
    low, high = start.centres - reach * start.widths, start.centres + reach * start.widths
    width = narrowest = float(start.widths.min())
    level, stretch = table.start, 1.0
    moves, tail = _moves(table)
    for steps, noise in moves:
        while True:
            scale = 1.0 / np.hypot(1.0 / width, stretch / noise)
            spacing = min(scale / space.per_kernel, narrowest / space.per_law) / resolution
            x, dx = _nodes(space, low, high, spacing, table)
            q = density(x)
            images = _mapped(space, steps, x)
            rates = np.abs(np.diff(images) / np.diff(x))[q[1:] > 1e-16 * q.max()]
            if scale * np.hypot(1.0 / width, rates.max() / noise) <= 1.1:
                break
            stretch = 1.05 * rates.max()
        stretch = 1.05 * rates.max()
        order = np.argsort(space.centre(images, noise), kind="stable")
        density = Blurred(space, images[order], (q * dx)[order], noise, 8.0 + REACH * min(1.0, noise / level.sigma))
        level, width = steps[-1].stop, float(np.hypot(noise, width * min(1.0, rates.min())))
        centres, widths = space.windows(level)
        narrowest = float(widths.min())
        blurred = density.windows()
        low = np.concatenate([centres - reach * widths, blurred[0]])
        high = np.concatenate([centres + reach * widths, blurred[1]])
    scale = min(width, narrowest)
    return finished(space, table, tail, density, (low, high), scale, resolution)


def _reach(table: Table) -> float:
    """Twice REACH where a step adds as much noise as the level has, REACH where steps are small."""
    relative = np.sqrt(np.abs(1.0 - table.snr[:-1] / table.snr[1:]))
    return REACH * (1.0 + min(1.0, float(np.median(relative))))


def _moves(table: Table) -> tuple[list[tuple[list[Step], float]], list[Step]]:
    moves: list[tuple[list[Step], float]] = []
    waiting: list[Step] = []
    for k in range(table.steps):
        step = table.step(k)
        waiting.append(step)
        if step.noise > 0:
            moves.append((waiting, step.noise))
            waiting = []
    return moves, waiting


def _nodes(
    space: Space, low: np.ndarray, high: np.ndarray, spacing: float, table: Table
) -> tuple[np.ndarray, np.ndarray]:
    low, high = _union(np.maximum(low, space.bottom), high)
    count = float((high - low).sum()) / spacing
    if count > MOST_NODES:
        raise NotAvailableError(
            f"density of {table.method.name}: resolution not reached, it would take {count:.3g} nodes (most {MOST_NODES}); "
            "stop at a lower snr, take fewer steps, or use kl.chain"
        )
    return space.place(low, high, spacing)


def _union(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping intervals joined."""
    order = np.argsort(low)
    low, reached = low[order], np.maximum.accumulate(high[order])
    starts = np.concatenate([[True], low[1:] > reached[:-1]])
    ends = np.concatenate([starts[1:], [True]])
    return low[starts], reached[ends]


def _mapped(space: Space, steps: list[Step], x: np.ndarray) -> np.ndarray:
    for step in steps:
        x, _ = advance(step, x, lambda y, at: space.answer(y, at)[0], [])
    return x


@dataclass(frozen=True, eq=False)
class Dual:
    """A value with its derivative."""

    value: np.ndarray
    slope: np.ndarray

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.slope + other.slope)

    def __rmul__(self, factor: float) -> Dual:
        return Dual(factor * self.value, factor * self.slope)


def finished(
    space: Space,
    table: Table,
    steps: list[Step],
    density: Callable[[np.ndarray], np.ndarray],
    interval: tuple[np.ndarray, np.ndarray],
    scale: float,
    resolution: float,
) -> Carried:
    """The density after the deterministic steps that are left: Gauss panels in x, halved until ∫ p and KL are resolved.

    Panels are split by the size of their last Legendre coefficients, down to what the rounding of log q over K steps allows.
    """
    nodes, weights = np.polynomial.legendre.leggauss(PANEL)
    orders = np.arange(PANEL - 4, PANEL)
    last = np.polynomial.legendre.legvander(nodes, PANEL - 1)[:, orders] * (orders + 0.5) * weights[:, None]
    joined = _union(np.maximum(interval[0], space.bottom), interval[1])
    edges = [np.linspace(a, b, 2 + int(resolution * (b - a) / (2.0 * scale))) for a, b in zip(*joined, strict=True)]
    low, high = np.concatenate([e[:-1] for e in edges]), np.concatenate([e[1:] for e in edges])
    rounding = 1e-14 * math.sqrt(len(steps) + 1)
    done: list[np.ndarray] = []
    divergence, count = 0.0, 0
    while len(low):
        half = 0.5 * (high - low)
        x = (0.5 * (high + low)[:, None] + half[:, None] * nodes).ravel()
        count += len(x)
        if count > MOST_NODES:
            raise NotAvailableError(
                f"density of {table.method.name}: resolution not reached with {MOST_NODES} nodes (the flow stretches too "
                "much between the law's parts); stop at a lower snr, or use particles"
            )
        y, log_slope = _moved(space, table, steps, x)
        log_q, log_p = log_of(density(x)) - log_slope, space.log_density(y, table.stop)
        weight = (half[:, None] * weights).ravel() * np.exp(log_slope)
        terms = pointwise_kl(log_p, log_q)
        divergence = max(divergence, float(weight @ terms))
        allowed = (1e-10 * divergence + rounding * math.sqrt(divergence), 1e-12)
        doubt = [
            half * np.abs((f * np.exp(log_slope)).reshape(-1, PANEL) @ last).sum(1) for f in (terms, np.exp(log_p))
        ]
        split = (doubt[0] > allowed[0]) | (doubt[1] > allowed[1])
        keep = np.repeat(~split, PANEL)
        done.append(np.stack([y, log_p, log_q, weight])[:, keep])
        middle = 0.5 * (low + high)[split]
        low, high = np.concatenate([low[split], middle]), np.concatenate([middle, high[split]])
    rows = np.concatenate(done, axis=1)
    return Carried(*rows[:, np.argsort(rows[0])])


def _moved(space: Space, table: Table, steps: list[Step], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M(x), log M′(x)) over deterministic steps; a map that folds is refused."""

    def ask(state: Dual, at: Level) -> Dual:
        answer, slope = space.answer(state.value, at)
        return Dual(answer, slope * state.slope)

    one = np.ones_like(x)
    state, past, total = Dual(x, one), [], np.zeros_like(x)
    for k, step in enumerate(steps):
        state, past = advance(step, state, ask, past)
        if table.multistep and k + 1 < len(steps):
            continue
        if (state.slope <= 0).any():
            place = float(x[np.argmin(state.slope)])
            raise NotAvailableError(
                f"density of {table.method.name}: from x = {place:.6g} at snr {steps[0].start.snr:.4g} the map to snr "
                f"{step.stop.snr:.4g} folds (it stops increasing); take more steps there, or use particles"
            )
        state, total = Dual(state.value, one), total + np.log(state.slope)
    return state.value, total

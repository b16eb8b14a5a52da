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
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from targets import Level, NotAvailableError
from verify.carry.advance import advance
from verify.carry.panels import NODES, PANEL, WEIGHTS, graded
from verify.carry.space import REACH, TINY, Blurred, Carried, Space, Start, log_of, pointwise_kl
from verify.step import Step, Table

STEEP = 2.5
"""Stretch of a move's map from which the places where it stretches get finer nodes than the rest."""

PER_PANEL = 2.5
"""Gauss nodes to a kernel's standard deviation on graded panels of twenty: 1e-13 of it."""

NEGLIGIBLE = 1e-16
"""Densities below this share of the largest count for nothing."""

MOST_NODES = 400_000
MOST_VALUES = 2e10
"""Nodes times images, summed over the moves: about half a minute, as each node sums a few in a hundred of the images."""

RESOLUTIONS = (0.95, 1.15, 1.6, 2.4)
"""The law is carried at the first two; while their divergences differ by more than SETTLED, at the next one."""

SETTLED = 1e-9


def converged(
    at: Callable[[float], Carried], resolutions: tuple[float, ...] = RESOLUTIONS, *, smooth: bool = True
) -> tuple[Carried, Carried]:
    """The last two of the laws at rising resolution, as few as settle the divergence; one resolution gives its law twice.

    A map with a kink leaves an error of the order of spacing² and of either sign, which two resolutions may share by chance:
    then the finest, and before it the one of all the others that differs most from it.
    """
    if not smooth:
        laws = [at(resolution) for resolution in resolutions]
        return max(laws, key=lambda law: abs(law.divergence - laws[-1].divergence)), laws[-1]
    coarse = fine = at(resolutions[0])
    for place, resolution in enumerate(resolutions[1:]):
        if place and abs(fine.divergence - coarse.divergence) <= SETTLED * fine.divergence + 1e-20:
            break
        coarse, fine = fine, at(resolution)
    return coarse, fine


def carry(space: Space, table: Table, start: Start, resolution: float) -> Carried:
    """The law of the table's last state; `resolution` multiplies the number of nodes."""
    if table.multistep:
        raise NotAvailableError(
            f"density of {table.method.name}: a multistep table is no Markov chain in its state; available: particles, the "
            "flow carrier (deterministic tables) and moments (Gaussian targets)"
        )
    reach = _reach(table)
    _check_size(space, table, reach)
    front = beginning(space, start, reach)
    moves, tail = _moves(table)
    images, values = 1, 0.0
    for steps, noise in moves:
        before, after = steps[-1].start, steps[-1].stop
        sown = _sown(space, table, front, steps, noise, resolution)
        images, values = len(sown.x), values + len(sown.x) * images
        if values > MOST_VALUES:
            _refuse_size(table, f"{values:.3g} kernel values and more (most {MOST_VALUES:.0e})")
        order = np.argsort(space.centre(sown.images, noise), kind="stable")
        density = Blurred(
            space, sown.images[order], sown.masses[order], noise, 8.0 + REACH * min(1.0, noise / before.sigma)
        )
        centres, widths = space.windows(after)
        blurred = density.windows()
        low = np.concatenate([centres - reach * widths, blurred[0]])
        high = np.concatenate([centres + reach * widths, blurred[1]])
        low, high = _union(np.maximum(low, space.bottom), high)
        width = float(np.hypot(noise, front.width * min(1.0, sown.gentlest)))
        front = Front(density, low, high, width, float(widths.min()), min(1.05 * sown.steepest, STEEP))
    return finished(space, table, tail, front, resolution)


@dataclass(frozen=True, eq=False)
class Front:
    """A density on its way: the intervals that hold it, its least width and the true law's, the stretch of the last map."""

    density: Callable[[np.ndarray], np.ndarray]
    low: np.ndarray
    high: np.ndarray
    width: float
    narrowest: float
    stretch: float


def beginning(space: Space, start: Start, reach: float) -> Front:
    """The law of the first state."""
    width = float(start.widths.min())
    low, high = np.maximum(start.centres - reach * start.widths, space.bottom), start.centres + reach * start.widths
    return Front(start.density, *_union(low, high), width, width, 1.0)


@dataclass(frozen=True, eq=False)
class Sown:
    """Nodes of a move, their images and masses; how much the map stretches where it matters, at most and at least."""

    x: np.ndarray
    images: np.ndarray
    masses: np.ndarray
    steepest: float
    gentlest: float


def _sown(space: Space, table: Table, front: Front, steps: list[Step], noise: float, resolution: float) -> Sown:
    """Nodes that resolve the density and the kernel behind the map: evenly spaced, or graded where the map is steep."""
    stretch = front.stretch
    while True:
        scale = 1.0 / np.hypot(1.0 / front.width, stretch / noise)
        spacing = min(scale / space.per_kernel, front.narrowest / space.per_law) / resolution
        x, dx = _nodes(space, front, spacing, table)
        q, images = front.density(x), _mapped(space, steps, x)
        rates = np.abs(np.diff(images) / np.diff(x))
        steep = rates * _weight(q)[1:]
        if steep.max() > STEEP or scale * np.hypot(1.0 / front.width, steep.max() / noise) <= 1.1:
            break
        stretch = 1.05 * float(steep.max())
    gentlest = float(rates[q[1:] > NEGLIGIBLE * q.max()].min())
    if steep.max() > STEEP:
        fine = 1.0 / (np.hypot(1.0 / front.width, np.append(steep, steep[-1]) / noise) * PER_PANEL)
        x, dx = graded(front.low, front.high, x, np.minimum(fine, front.narrowest / space.per_law) / resolution)
        q, images = front.density(x), _mapped(space, steps, x)
    return Sown(x, images, q * dx, float(steep.max()), gentlest)


def _weight(q: np.ndarray) -> np.ndarray:
    """How finely a kernel has to be summed where q is small: its aliasing e^{-2π²(width/spacing)²} counts with q itself."""
    depth = np.log(np.maximum(q, TINY) / (NEGLIGIBLE * q.max())) / -np.log(NEGLIGIBLE)
    return np.sqrt(np.clip(depth, 0.0, 1.0))


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


def _nodes(space: Space, front: Front, spacing: float, table: Table) -> tuple[np.ndarray, np.ndarray]:
    count = float((front.high - front.low).sum()) / spacing
    if count > MOST_NODES:
        _refuse_size(table, f"{count:.3g} nodes in a step (most {MOST_NODES})")
    return space.place(front.low, front.high, spacing)


def _check_size(space: Space, table: Table, reach: float) -> None:
    """Refuse before any work what is bound to take too many nodes: each noise resolved over the whole of its law."""
    for k in np.flatnonzero(table.noise > 0):
        centres, widths = space.windows(Level(float(table.alpha[k]), float(table.sigma[k])))
        low, high = _union(np.maximum(centres - reach * widths, space.bottom), centres + reach * widths)
        count = float((high - low).sum()) * space.per_kernel / float(table.noise[k])
        if count > MOST_NODES:
            _refuse_size(table, f"{count:.3g} nodes in a step (most {MOST_NODES})")


def _refuse_size(table: Table, size: str) -> NoReturn:
    raise NotAvailableError(
        f"density of {table.method.name}: resolution not reached, it would take {size}: the law is wide for its narrowest "
        "scale, or a step's map stretches; stop at a lower snr, take fewer steps, or use kl.chain"
    )


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


def finished(space: Space, table: Table, steps: list[Step], front: Front, resolution: float) -> Carried:
    """The density after the deterministic steps that are left: Gauss panels in x, halved until ∫ p and KL are resolved.

    Panels are split by the size of their last Legendre coefficients, down to what the rounding of log q over K steps allows.
    """
    nodes, weights = NODES, WEIGHTS
    orders = np.arange(PANEL - 4, PANEL)
    last = np.polynomial.legendre.legvander(nodes, PANEL - 1)[:, orders] * (orders + 0.5) * weights[:, None]
    width = 2.0 * min(front.width, front.narrowest) / resolution
    edges = [np.linspace(a, b, 2 + int((b - a) / width)) for a, b in zip(front.low, front.high, strict=True)]
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
                f"density of {table.method.name}: resolution not reached with {MOST_NODES} nodes (p/q varies too much, or "
                "the flow stretches between the law's parts); take more steps, stop at a lower snr, or use particles"
            )
        y, log_slope = _moved(space, table, steps, x)
        log_q, log_p = log_of(front.density(x)) - log_slope, space.log_density(y, table.stop)
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

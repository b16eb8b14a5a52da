"""The probability flow in z = e^t x: integrated, differentiated, and averaged over the law by quadrature.

With τ = e^{2t} − 1 the state z_t = X + √τ Z has no drift of its own, and its score s obeys

    density       ∂_t p = e^{2t} Δp                                      heat, as dτ = 2e^{2t} dt
    A.9           ∂_t s = e^{2t} (Δs + 2(∇s)ᵀs)                          gradient of the same for log p
    flow          dz/dt = −e^{2t} s(t, z)

By the posterior of X given z (mean m, covariance C):  s = (m − z)/τ,  ∇s = (C/τ − 1)/τ,  Δs = ∇ tr C/τ², a gradient's
Laplacian being the gradient of its divergence.

The step of a one-evaluation table over times a > c > b (to b along the flow, then noise back to c) has the mean
M = αx + βm in x; in z at time b it has gone to z̃ = e^c M, while the flow goes to z_b.  Nothing here uses `verify.kl`: nodes
lie at the flow's end b, where they resolve the law, and the flow is taken from there to a by an eighth-order Runge–Kutta
method; d/dt along it comes from the polynomial through Gauss nodes of [b, a].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from targets import Level, NotAvailableError, Target
from targets.channel import PROCESSES
from targets.laws import ComponentLaw
from targets.ray import ray
from verify.claims.mutate import Build
from verify.grid import Grid
from verify.step import Table

Times = tuple[float, float, float]
"""a > c > b: u_j, u_{j+1}, u_{j+2}."""

WIDE, MIDDLE, NARROW = (2.0, 1.5, 1.0), (0.55, 0.5, 0.45), (0.1, 0.075, 0.05)
"""Long intervals at high noise, short ones in between, and those at which Lemma A.4 fails."""

REACH = 8.5
"""Half-width of a window in standard deviations: beyond it lies 2e-17 of a Gaussian."""

SPACING = {1: 0.2, 2: 0.45, 3: 0.5}
"""Lattice spacing by dimension, in widths of the noise alone: a flow between modes bends on less than a width."""

RADII = 40.0
"""Gauss nodes of a radius on its window, at spacing one."""

STENCIL = np.array([4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0])
"""f′(t) = Σ_i c_i (f(t + ih) − f(t − ih))/h + h⁸f⁽⁹⁾/630 + …."""


@dataclass(frozen=True, eq=False)
class Nodes:
    """States z (n, dim) with probabilities (n,): expectations over the law of z_t are sums."""

    states: np.ndarray
    mass: np.ndarray

    def mean(self, values: np.ndarray) -> float:
        """E of values (n,)."""
        return float(self.mass @ values)


def channel(ou_time: float) -> Level:
    """The level of z_t: α = 1, σ² = e^{2t} − 1."""
    return Level(1.0, math.sqrt(math.expm1(2.0 * ou_time)))


def score(target: Target, states: np.ndarray, ou_time: float) -> np.ndarray:
    """s(t, z) at rows z: (n, dim)."""
    return target.score(torch.from_numpy(states), channel(ou_time)).numpy()


def score_gradient_square(target: Target, states: np.ndarray, ou_time: float) -> np.ndarray:
    """‖∇s‖_F² from the posterior covariance: (n,)."""
    at = channel(ou_time)
    tau = at.sigma**2
    covariance = target.posterior_covariance(torch.from_numpy(states), at).numpy()
    return ((covariance / tau - np.eye(target.dim)) ** 2).sum((1, 2)) / tau**2


def nodes(target: Target, ou_time: float, spacing: float) -> Nodes:
    """A lattice in up to three dimensions, `spacing` noise widths apart; radii along one ray where the law has no directions.

    Raises `NotAvailableError` for other laws, and where the masses do not sum to one within 1e-11.
    """
    at, law = channel(ou_time), ray(target)
    if law is not None and target.dim > 1:
        centres, widths = law.windows(at)
        low, high = max(0.0, float((centres - REACH * widths).min())), float((centres + REACH * widths).max())
        x, w = np.polynomial.legendre.leggauss(round(RADII / spacing))
        radius = low + 0.5 * (high - low) * (1.0 + x)
        states = radius[:, None] * np.eye(1, target.dim)
        mass = np.exp(law.log_density(radius, at)) * 0.5 * (high - low) * w
    elif isinstance(target, ComponentLaw) and target.dim <= 3:
        states, mass = _lattice(target, at, spacing * at.sigma)
    else:
        raise NotAvailableError(
            f"quadrature over {target!r}: rotation-invariant laws, and mixtures of up to 3 dimensions"
        )
    if abs(mass.sum() - 1.0) > 1e-11:
        raise NotAvailableError(
            f"quadrature over {target!r} at OU time {ou_time:g}: the masses sum to 1 + {mass.sum() - 1:.2g}"
        )
    return Nodes(states, mass)


def _lattice(target: ComponentLaw, at: Level, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    means = target.components.means.numpy()
    spread = float(torch.linalg.eigvalsh(target.components.covariance())[-1])
    margin = REACH * math.sqrt(spread + at.sigma**2)
    axes = [
        np.arange(low - margin, high + margin, spacing) for low, high in zip(means.min(0), means.max(0), strict=True)
    ]
    states = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, target.dim)
    mass = np.exp(target.log_prob(torch.from_numpy(states), at).numpy()) * spacing**target.dim
    kept = mass > 1e-18 * mass.max()
    return states[kept], mass[kept]


def derivative(function: Callable[[float], np.ndarray | float], place: float, gap: float) -> np.ndarray:
    """f′(place) by eighth-order central differences `gap` apart."""
    shifts = gap * np.arange(1, 5)
    return (
        np.sum([c * (function(place + h) - function(place - h)) for c, h in zip(STENCIL, shifts, strict=True)], 0) / gap
    )


def flowed(target: Target, states: np.ndarray, times: np.ndarray, *, accuracy: float = 1e-12) -> np.ndarray:
    """z at each of `times`, (len(times), n, dim), where it is `states` (n, dim) at the first.

    Relative error about ten times `accuracy` at the last time, a little more in between.
    """
    from scipy.integrate import solve_ivp

    def velocity(t: float, flat: np.ndarray) -> np.ndarray:
        return -math.exp(2.0 * t) * score(target, flat.reshape(states.shape), t).ravel()

    path = solve_ivp(
        velocity,
        (times[0], times[-1]),
        states.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=accuracy,
        atol=0.1 * accuracy,
    )
    return path.y.T.reshape(len(times), *states.shape)


def score_slope(target: Target, states: np.ndarray, ou_time: float) -> np.ndarray:
    """s′ = ∂_t s − e^{2t}(∇s)s, the derivative of the score along the flow: (n, dim)."""
    at = channel(ou_time)
    own = score(target, states, ou_time)
    probe = torch.from_numpy(own)
    product = target.posterior_covariance_product(torch.from_numpy(states), probe, at).numpy()
    still = derivative(lambda t: score(target, states, t), ou_time, 0.005 * min(1.0, ou_time))
    return still - math.exp(2.0 * ou_time) * (product / at.sigma**2 - own) / at.sigma**2


def window(times: Times) -> str:
    """The times in words."""
    return f"one step, OU time {times[0]:g}, {times[1]:g}, {times[2]:g}"


def one_step(build: Build, times: Times) -> Table:
    """The table over these times alone."""
    return build(Grid.from_snr(PROCESSES["vp"].snr(np.array(times))))


def reached(target: Target, table: Table, times: Times, states: np.ndarray) -> np.ndarray:
    """z̃ at time b of the table's step from `states` z at time a."""
    a, b, _ = table.affine()
    denoised = target.denoiser(torch.from_numpy(states), channel(times[0])).numpy()
    return math.exp(times[1]) * (a[0] * math.exp(-times[0]) * states + b[0] * denoised)


@cache
def flow_paths(target: Target, first: float, last: float, fine: bool = True) -> tuple[Nodes, np.ndarray, np.ndarray]:
    """(nodes at time b, the states z at time a that the flow takes there, ∫_b^a e^{4t} E‖s′‖² dt by nodes), b = last.

    s′ = d/dt s(t, z_t) along the flow; the integral over t as an array (n,), to be averaged with the nodes' masses.
    """
    places, spacing = (12, SPACING[min(target.dim, 3)]) if fine else (9, 1.4 * SPACING[min(target.dim, 3)])
    end, length, legendre = nodes(target, last, spacing), first - last, np.polynomial.legendre
    x, w = legendre.leggauss(places)
    inner = last + 0.5 * length * (1.0 + x)
    paths = flowed(target, end.states, np.concatenate([[last], inner, [first]]))
    scores = np.stack([score(target, z, t) for z, t in zip(paths[1:-1], inner, strict=True)])
    fitted = np.linalg.solve(legendre.legvander(x, places - 1), scores.reshape(places, -1))
    slope = (legendre.legvander(x, places - 2) @ legendre.legder(fitted)).reshape(scores.shape) * (2.0 / length)
    return end, paths[-1], 0.5 * length * (w * np.exp(4.0 * inner)) @ (slope**2).sum(2)


def half_error(target: Target, build: Build, times: Times, fine: bool = True) -> tuple[float, float]:
    """(E‖z_b − z̃‖², ½H³ ∫_b^a e^{4t} E‖s′‖² dt), H = a − b."""
    end, begin, integral = flow_paths(target, times[0], times[2], fine)
    left = end.mean(((end.states - reached(target, one_step(build, times), times, begin)) ** 2).sum(1))
    return left, 0.5 * (times[0] - times[2]) ** 3 * end.mean(integral)


def gaussian_half_error(variance: float, build: Build, times: Times) -> tuple[float, float]:
    """The same on N(0, λ) in closed form, v(t) = λ + e^{2t} − 1.

    The flow multiplies z by √(v(b)/v(a)), and s = −(z − m)/v by √(v(a)/v(b)), so that E s′² = e^{4t}/v³.
    """
    first, last = (variance + math.expm1(2.0 * t) for t in (times[0], times[2]))
    a, b, _ = one_step(build, times).affine()
    slope = math.exp(times[1]) * (a[0] * math.exp(-times[0]) + b[0] * variance / first)
    x, w = np.polynomial.legendre.leggauss(40)
    length = times[0] - times[2]
    t = times[2] + 0.5 * length * (1.0 + x)
    integral = 0.5 * length * float(w @ (np.exp(8.0 * t) / (variance + np.expm1(2.0 * t)) ** 3))
    return (math.sqrt(last) - slope * math.sqrt(first)) ** 2, 0.5 * length**3 * integral


def kernel_divergence(reference: np.ndarray, width: float, mean: np.ndarray, noise: float) -> np.ndarray:
    """KL(N(reference, width²) ‖ N(mean, noise²)) for rows (n, dim): log-ratio of the densities at Gauss–Hermite nodes."""
    dim = reference.shape[1]
    x, w = np.polynomial.hermite_e.hermegauss(3)
    z = np.stack(np.meshgrid(*[x] * dim, indexing="ij"), -1).reshape(-1, dim)
    weight = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * dim, indexing="ij"), -1).reshape(-1, dim), axis=1)
    at = reference[:, None] + width * z
    log_p = -0.5 * (z**2).sum(-1) - dim * math.log(width)
    log_q = -0.5 * (((at - mean[:, None]) / noise) ** 2).sum(-1) - dim * math.log(noise)
    return (log_p - log_q) @ weight

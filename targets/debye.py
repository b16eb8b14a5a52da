"""The sums of Debye's expansion and of the ratio's Riccati equation (bessel.py) as short polynomials, a pair for each order.

    Σ u_k(p)/ν^k,  p = ν/√(ν²+κ²)          ε = Σ ε_k(t)/μ^k,  t = μ/√(μ²+κ²),  μ = ν + ½

At one order both are polynomials in 1/Q, Q the root.  They are economised (Lanczos): rewritten in Chebyshev polynomials over
the values that 1/Q takes, and cut where the rest is negligible, which leaves ten to twenty terms of fifty.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev, polynomial

SWITCH = 40.0
"""Order and argument below which the power series is summed."""

DEBYE_TERMS = 16
"""Powers of 1/Q in Debye's expansion and the ratio's: at Q = SWITCH the next is below 1e-17."""

NEGLIGIBLE = 1e-16
"""What economising may leave out, of a sum near one."""


@lru_cache(maxsize=64)
def debye(nu: float) -> np.ndarray:
    """Σ_k u_k(p)/ν^k − 1 in powers of 2s − 1, s = max(ν, SWITCH)/Q."""
    powers = _in_powers_of_root(_debye_polynomials(), nu)
    return _economised(np.append(0.0, powers[1:]))


@lru_cache(maxsize=64)
def riccati(mu: float) -> tuple[np.ndarray, np.ndarray]:
    """ε/s² and s^{-1} dε/ds, which is −Q dε/dQ over s², ε = Σ_k ε_k(t)/μ^k, in powers of 2s − 1, s = max(μ, SWITCH)/Q."""
    epsilon = np.pad(_in_powers_of_root(_riccati_polynomials(), mu), (0, 3))
    return _economised(epsilon[2:]), _economised(polynomial.polyder(epsilon)[1:])


def _economised(powers: np.ndarray) -> np.ndarray:
    """The polynomial in s on [0, 1] in powers of 2s − 1, without what is NEGLIGIBLE in its Chebyshev series."""
    angle = np.pi * (np.arange(len(powers)) + 0.5) / len(powers)
    values = polynomial.polyval(0.5 + 0.5 * np.cos(angle), powers)
    series = 2.0 / len(powers) * np.cos(np.outer(np.arange(len(powers)), angle)) @ values
    series[0] *= 0.5
    kept = np.cumsum(np.abs(series[::-1]))[::-1] > NEGLIGIBLE
    return chebyshev.cheb2poly(series[: max(1, int(kept.sum()))])


def _in_powers_of_root(polynomials: tuple[np.ndarray, ...], nu: float) -> np.ndarray:
    """Σ_k f_k(ν/Q)/ν^k, f_k of order at least k, as a polynomial in s = max(ν, SWITCH)/Q <= 1; negligible ends cut."""
    scale = max(nu, SWITCH)
    total = np.zeros(1)
    for k, f in enumerate(polynomials):
        powers = np.arange(k, len(f))
        part = f[k:] * (nu / scale) ** (powers - k) * scale**-k
        if k and np.abs(part).sum() < 1e-19:
            break
        total = polynomial.polyadd(total, np.concatenate([np.zeros(k), part]))
    kept = np.cumsum(np.abs(total[::-1]))[::-1] > 1e-19
    return total[: max(1, int(kept.sum()))]


@lru_cache(maxsize=1)
def _debye_polynomials() -> tuple[np.ndarray, ...]:
    """u_0 … (DLMF 10.41.9): u_{k+1} = ½p²(1−p²)u_k′ + ⅛∫_0^p (1−5t²) u_k dt."""
    u: list[np.ndarray] = [np.ones(1)]
    for _ in range(DEBYE_TERMS):
        moved = polynomial.polymul([0.0, 0.0, 0.5, 0.0, -0.5], polynomial.polyder(u[-1]))
        u.append(polynomial.polyadd(moved, polynomial.polyint(polynomial.polymul([0.125, 0.0, -0.625], u[-1]))))
    return tuple(u)


@lru_cache(maxsize=1)
def _riccati_polynomials() -> tuple[np.ndarray, ...]:
    """ε_0 = 0, ε_1, … as in the module's formula."""
    epsilon: list[np.ndarray] = [np.zeros(1)]
    for k in range(1, DEBYE_TERMS + 1):
        previous = epsilon[-1]
        own = polynomial.polysub(previous, polynomial.polymul([1.0, 0.0, -1.0], polynomial.polyder(previous)))
        own = polynomial.polymul([0.0, 0.0, 1.0], polynomial.polyadd([float(k == 1)], own))
        for i in range(1, k):
            crossed = polynomial.polymul(epsilon[i], epsilon[k - i])
            own = polynomial.polyadd(own, polynomial.polymul([1.0, -1.0], crossed))
        epsilon.append(-0.5 * own)
    return tuple(epsilon)

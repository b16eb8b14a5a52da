"""Schedules in use that know nothing of the law: where K + 1 levels go on a window of noise levels.

Most take the window as `snr=(low, high)`, those defined in OU time as `ou_time=(T, δ)`; both ends are hit exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from targets.arguments import ascending, integer, real, refuse
from targets.channel import PROCESSES

MOST_STEPS = 10_000_000
"""Steps of a grid: an array over them takes 80 MB, and a table has a dozen."""


class Schedules(ABC):
    """Builders of grids; `Grid` says what a grid is."""

    @classmethod
    @abstractmethod
    def from_snr(cls, snr: np.ndarray, process: str = "vp") -> Self:
        """The grid with these strictly ascending snr values."""

    @classmethod
    def uniform_snr(cls, steps: int, *, snr: tuple[float, float], process: str = "vp") -> Self:
        """Equal steps of γ."""
        steps, low, high = window(steps, snr)
        return cls.from_snr(np.linspace(low, high, steps + 1), process)

    @classmethod
    def log_snr(cls, steps: int, *, snr: tuple[float, float], process: str = "vp") -> Self:
        """Equal steps of log γ: geometric in γ."""
        steps, low, high = window(steps, snr)
        return cls.from_snr(np.geomspace(low, high, steps + 1), process)

    @classmethod
    def uniform_ou_time(cls, steps: int, *, ou_time: tuple[float, float], process: str = "vp") -> Self:
        """Equal steps of OU time from T down to δ."""
        steps, start, stop = _times(steps, ou_time)
        return cls.from_snr(PROCESSES["vp"].snr(np.linspace(start, stop, steps + 1)), process)

    @classmethod
    def exponential_uniform(cls, steps: int, *, ou_time: tuple[float, float], process: str = "vp") -> Self:
        """Steps h ≈ c·min(1, t) of OU time: uniform above t = 1, geometric below, c = (log(1/δ) + T − 1)/K for T ≥ 1.

        Equal steps of τ(t) = t − 1 above one and log t below.  The schedule of Benton et al. (2308.03686) and of Jain
        and Zhang (2508.16306).
        """
        steps, start, stop = _times(steps, ou_time)
        first, last = (t - 1.0 if t > 1.0 else math.log(t) for t in (start, stop))
        tau = np.linspace(first, last, steps + 1)
        times = np.where(tau > 0.0, tau + 1.0, np.exp(np.minimum(tau, 0.0)))
        times[[0, -1]] = start, stop
        return cls.from_snr(PROCESSES["vp"].snr(times), process)

    @classmethod
    def cosine(cls, steps: int, *, snr: tuple[float, float], offset: float = 0.008, process: str = "vp") -> Self:
        """ᾱ = cos²θ/cos²θ_0, θ = (s + offset)/(1 + offset)·π/2, at equal steps of s (Nichol & Dhariwal 2021, eq. 17).

        Where γ is large θ − θ_0 is small, where γ is small π/2 − θ is; from both, γ = cos²θ/(sin(θ − θ_0) sin(θ + θ_0)).
        """
        steps, low, high = window(steps, snr)
        zero = real("offset", offset, "a number in (0, 1)", low=0.0, high=1.0) / (1.0 + offset) * math.pi / 2.0
        c, s, ends = math.cos(zero), math.sin(zero), np.array([low, high])
        kept, lost = np.sqrt(ends / (1.0 + ends)), 1.0 / (1.0 + ends)  # √ᾱ, 1 − ᾱ
        sine = np.sqrt(s**2 + c**2 * lost)  # of θ; its cosine is c√ᾱ
        first, last = np.arctan([c * lost / (s + kept * sine), c * kept / sine]).T  # θ − θ_0 and π/2 − θ
        past, left = np.linspace(first, last, steps + 1, axis=1)[:, 1:-1]
        inner = np.sin(left) ** 2 / (np.sin(past) * np.sin(past + 2.0 * zero))
        return cls.from_snr(np.concatenate([[low], inner, [high]]), process)

    @classmethod
    def from_betas(cls, steps: int, *, betas: np.ndarray, process: str = "vp") -> Self:
        """K + 1 of the levels of a DDPM β table, equally spaced in its index: ᾱ_n = Π_{i≤n} (1 − β_i), γ = ᾱ/(1 − ᾱ)."""
        steps, levels = integer("steps", steps, 1, MOST_STEPS), snr_of_betas(betas)
        if steps >= len(levels):
            refuse("steps", steps, f"fewer than the {len(levels)} levels of the table")
        chosen = np.round(np.linspace(len(levels) - 1, 0, steps + 1)).astype(int)
        return cls.from_snr(levels[chosen], process)

    @classmethod
    def ddpm_linear(
        cls, steps: int, *, beta: tuple[float, float] = (1e-4, 0.02), timesteps: int = 1000, process: str = "vp"
    ) -> Self:
        """K + 1 of the `timesteps` levels of DDPM's linear β table, equally spaced (Ho et al. 2020, §4)."""
        first, last = (real("beta", b, "numbers strictly between 0 and 1", low=0.0, high=1.0) for b in beta)
        table = np.linspace(first, last, integer("timesteps", timesteps, 2))
        return cls.from_betas(steps, betas=table, process=process)

    @classmethod
    def linear_beta(
        cls, steps: int, *, snr: tuple[float, float], beta: tuple[float, float] = (0.1, 20.0), process: str = "vp"
    ) -> Self:
        """Equal steps of s, where OU time is t = ½ ∫_0^s β and β rises linearly from β_0 (s = 0) to β_1 (s = 1).

        The continuous form of DDPM's table, 1,000 of whose β make 0.1 … 20 (Song et al. 2021, eq. 33).  A window beyond
        s = 1 follows the same formula.
        """
        steps, low, high = window(steps, snr)
        first, rise = _betas(beta)
        ends = [4.0 * t / (first + math.sqrt(first**2 + 4.0 * rise * t)) for t in _ou_times(low, high)]
        s = np.linspace(ends[0], ends[1], steps + 1)
        return cls._at_ou_times(0.5 * s * (first + 0.5 * rise * s), low, high, process)

    @classmethod
    def scaled_linear_beta(
        cls, steps: int, *, snr: tuple[float, float], beta: tuple[float, float] = (0.85, 12.0), process: str = "vp"
    ) -> Self:
        """The same with √β rising linearly (Rombach et al. 2022: β from 0.85 to 12)."""
        steps, low, high = window(steps, snr)
        _betas(beta)
        root, rise = math.sqrt(beta[0]), math.sqrt(beta[1]) - math.sqrt(beta[0])
        tops = [(math.cbrt(root**3 + 6.0 * rise * t), t) for t in _ou_times(low, high)]
        ends = [6.0 * t / (top**2 + top * root + root**2) for top, t in tops]
        s = np.linspace(ends[0], ends[1], steps + 1)
        return cls._at_ou_times(0.5 * s * (root**2 + root * rise * s + rise**2 * s**2 / 3.0), low, high, process)

    @classmethod
    def _at_ou_times(cls, times: np.ndarray, low: float, high: float, process: str) -> Self:
        values = PROCESSES["vp"].snr(times)
        values[[0, -1]] = low, high
        return cls.from_snr(values, process)

    @classmethod
    def karras(cls, steps: int, *, snr: tuple[float, float], rho: float = 7.0, process: str = "vp") -> Self:
        """Noise-to-signal ratio γ^{-1/2} at equal steps of its ρ-th root (Karras et al. 2022, eq. 5)."""
        steps, low, high = window(steps, snr)
        rho = real("rho", rho, "a number > 0", low=0.0)
        roots = np.linspace(low ** (-0.5 / rho), high ** (-0.5 / rho), steps + 1)
        values = roots ** (-2.0 * rho)
        values[[0, -1]] = low, high
        return cls.from_snr(values, process)

    @classmethod
    def uniform_sigma(cls, steps: int, *, snr: tuple[float, float], process: str = "vp") -> Self:
        """Equal steps of the noise-to-signal ratio γ^{-1/2}, the σ of variance-exploding models."""
        return cls.karras(steps, snr=snr, rho=1.0, process=process)

    @classmethod
    def tangent(cls, steps: int, *, snr: tuple[float, float], variance: float = 1.0, process: str = "vp") -> Self:
        """γ^{-1/2} = √λ tan θ at equal steps of θ, λ the variance of a coordinate (Sun, Poor and Zhang, 2601.13602).

        For N(m, λ·1) followed by the probability flow in Euler steps of γ^{-1/2} it is the best grid at every K: the
        standard deviation comes out at Π cos Δθ_k of the true one.
        """
        steps, low, high = window(steps, snr)
        scale = math.sqrt(real("variance", variance, "a number > 0", low=0.0))
        angles = np.linspace(math.atan(low**-0.5 / scale), math.atan(high**-0.5 / scale), steps + 1)
        values = (scale * np.tan(angles)) ** -2.0
        values[[0, -1]] = low, high
        return cls.from_snr(values, process)


def window(steps: int, snr: tuple[float, float]) -> tuple[int, float, float]:
    """(K, γ_0, γ_K), checked."""
    steps = integer("steps", steps, 1, MOST_STEPS)
    ends = ascending("snr", snr)
    if len(ends) != 2:
        refuse("snr", snr, "two values, (low, high)")
    return steps, float(ends[0]), float(ends[1])


def _times(steps: int, ou_time: tuple[float, float]) -> tuple[int, float, float]:
    steps = integer("steps", steps, 1, MOST_STEPS)
    start, stop = (real("ou_time", t, "two finite times > 0, the larger first", low=0.0) for t in ou_time)
    if not start > stop:
        refuse("ou_time", ou_time, "two times > 0, the larger (noisier) first")
    return steps, start, stop


def snr_of_betas(betas: Any) -> np.ndarray:
    """γ = ᾱ/(1 − ᾱ) of each index of a β table, ᾱ_n = Π_{i≤n} (1 − β_i): falling."""
    try:
        table = np.array(betas, dtype=np.float64)
    except (TypeError, ValueError):
        refuse("betas", betas, "numbers strictly between 0 and 1")
    if table.ndim != 1 or len(table) < 2:
        refuse("betas.shape", table.shape, "at least 2 values in one dimension")
    outside = ~((table > 0) & (table < 1))
    if outside.any():
        refuse("betas", float(table[outside][0]), "numbers strictly between 0 and 1")
    log_kept = np.cumsum(np.log1p(-table))
    return np.exp(log_kept) / -np.expm1(log_kept)


def _ou_times(low: float, high: float) -> list[float]:
    return PROCESSES["vp"].time(np.array([low, high])).tolist()


def _betas(beta: tuple[float, float]) -> tuple[float, float]:
    """(β_0, β_1 − β_0), checked."""
    first, last = (real("beta", b, "two numbers > 0, the smaller first", low=0.0) for b in beta)
    if not last > first:
        refuse("beta", beta, "two numbers > 0, the smaller first")
    return first, last - first

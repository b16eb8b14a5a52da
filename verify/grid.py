"""Grids: K + 1 noise levels in sampling order, and the schedules in use.

A grid is held as its ascending snr values γ_0 < … < γ_K and the process that scales the state; everything else (α, σ,
OU time) is computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from targets import Gaussian, Level, NotAvailableError, Target
from targets.arguments import ascending, integer, real, refuse
from targets.channel import PROCESSES
from targets.channel import process as find_process

Built = TypeVar("Built")
Options = ParamSpec("Options")


def on_grid(build: Callable[Concatenate[Grid, Options], Built]) -> Callable[Concatenate[Grid, Options], Built]:
    """A builder of tables that refuses anything but a `Grid` as its first argument, before work starts."""

    @wraps(build)
    def checked(grid: Grid, *args: Options.args, **kwargs: Options.kwargs) -> Built:
        if not isinstance(grid, Grid):
            refuse("grid", grid, "a Grid, e.g. Grid.log_snr(64, snr=(0.01, 100.0))")
        return build(grid, *args, **kwargs)

    return checked


@dataclass(frozen=True, eq=False)
class Grid:
    """K + 1 levels of a process, noisiest first.  Build with `from_snr` or one of the schedules.

    >>> Grid.log_snr(2, snr=(0.01, 100.0)).snr
    array([1.e-02, 1.e+00, 1.e+02])
    """

    snr: np.ndarray
    process: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "snr", ascending("snr", self.snr))
        find_process(self.process)
        self.snr.setflags(write=False)

    @classmethod
    def from_snr(cls, snr: np.ndarray, process: str = "vp") -> Grid:
        """The grid with these strictly ascending snr values."""
        return cls(snr, process)

    @property
    def steps(self) -> int:
        """K."""
        return len(self.snr) - 1

    @cached_property
    def alpha(self) -> np.ndarray:
        """α at each level."""
        return PROCESSES[self.process].alpha(self.snr)

    @cached_property
    def sigma(self) -> np.ndarray:
        """σ at each level."""
        return PROCESSES[self.process].sigma(self.snr)

    @cached_property
    def ou_time(self) -> np.ndarray:
        """t = ½ log(1 + 1/γ) at each level, falling; for methods defined in OU time, hence vp grids only."""
        if self.process != "vp":
            refuse(
                "grid.process",
                self.process,
                "'vp': this method is defined in OU time; build the grid with process='vp'",
            )
        return PROCESSES["vp"].time(self.snr)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The levels as (α, σ) pairs."""
        return tuple(Level(float(a), float(s)) for a, s in zip(self.alpha, self.sigma, strict=True))

    def beyond(self) -> Grid:
        """The same grid with one level more, where OU time has fallen by the last ratio once again.

        A Jain–Zhang table on it stops exactly at this grid's last level.
        """
        t = PROCESSES["vp"].time(self.snr[-2:])
        further = PROCESSES["vp"].snr(np.array([t[1] ** 2 / t[0]]))
        return Grid(np.concatenate([self.snr, further]), self.process)

    # ---- schedules -----------------------------------------------------------------------------------

    @classmethod
    def uniform_snr(cls, steps: int, *, snr: tuple[float, float], process: str = "vp") -> Grid:
        """Equal steps of γ."""
        steps, low, high = _window(steps, snr)
        return cls(np.linspace(low, high, steps + 1), process)

    @classmethod
    def log_snr(cls, steps: int, *, snr: tuple[float, float], process: str = "vp") -> Grid:
        """Equal steps of log γ: geometric in γ."""
        steps, low, high = _window(steps, snr)
        return cls(np.geomspace(low, high, steps + 1), process)

    @classmethod
    def uniform_ou_time(cls, steps: int, *, ou_time: tuple[float, float], process: str = "vp") -> Grid:
        """Equal steps of OU time from T down to δ."""
        steps, start, stop = _times(steps, ou_time)
        return cls(PROCESSES["vp"].snr(np.linspace(start, stop, steps + 1)), process)

    @classmethod
    def exponential_uniform(cls, steps: int, *, ou_time: tuple[float, float], process: str = "vp") -> Grid:
        """Steps h ≈ c·min(1, t) of OU time: uniform above t = 1, geometric below, c = (log(1/δ) + T − 1)/K for T ≥ 1.

        Equal steps of τ(t) = t − 1 above one and log t below.  The schedule of Benton et al. (2308.03686) and of Jain
        and Zhang (2508.16306).
        """
        steps, start, stop = _times(steps, ou_time)
        first, last = (t - 1.0 if t > 1.0 else math.log(t) for t in (start, stop))
        tau = np.linspace(first, last, steps + 1)
        times = np.where(tau > 0.0, tau + 1.0, np.exp(np.minimum(tau, 0.0)))
        times[[0, -1]] = start, stop
        return cls(PROCESSES["vp"].snr(times), process)

    @classmethod
    def cosine(cls, steps: int, *, snr: tuple[float, float], offset: float = 0.008, process: str = "vp") -> Grid:
        """ᾱ = cos²θ/cos²θ_0, θ = (s + offset)/(1 + offset)·π/2, at equal steps of s (Nichol & Dhariwal 2021, eq. 17)."""
        steps, low, high = _window(steps, snr)
        offset = real("offset", offset, "a number in (0, 1)", low=0.0, high=1.0)
        clean = math.cos(offset / (1.0 + offset) * math.pi / 2.0)
        first, last = (math.acos(clean * math.sqrt(g / (1.0 + g))) for g in (low, high))
        kept = (np.cos(np.linspace(first, last, steps + 1)) / clean) ** 2
        values = kept / (1.0 - kept)
        values[[0, -1]] = low, high
        return cls(values, process)

    @classmethod
    def ddpm_linear(
        cls, steps: int, *, beta: tuple[float, float] = (1e-4, 0.02), timesteps: int = 1000, process: str = "vp"
    ) -> Grid:
        """K + 1 of the `timesteps` levels of DDPM's linear β table, equally spaced (Ho et al. 2020, §4)."""
        timesteps = integer("timesteps", timesteps, 2)
        steps = integer("steps", steps, 1)
        if steps >= timesteps:
            refuse("steps", steps, f"fewer than timesteps = {timesteps}")
        first, last = (real("beta", b, "numbers strictly between 0 and 1", low=0.0, high=1.0) for b in beta)
        log_kept = np.cumsum(np.log1p(-np.linspace(first, last, timesteps)))
        chosen = np.round(np.linspace(timesteps - 1, 0, steps + 1)).astype(int)
        return cls(np.exp(log_kept[chosen]) / -np.expm1(log_kept[chosen]), process)

    @classmethod
    def karras(cls, steps: int, *, snr: tuple[float, float], rho: float = 7.0, process: str = "vp") -> Grid:
        """Noise-to-signal ratio γ^{-1/2} at equal steps of its ρ-th root (Karras et al. 2022, eq. 5)."""
        steps, low, high = _window(steps, snr)
        rho = real("rho", rho, "a number > 0", low=0.0)
        roots = np.linspace(low ** (-0.5 / rho), high ** (-0.5 / rho), steps + 1)
        values = roots ** (-2.0 * rho)
        values[[0, -1]] = low, high
        return cls(values, process)

    @classmethod
    def optimal(cls, target: Target, *, steps: int, snr: tuple[float, float], process: str = "vp") -> Grid:
        """The grid of least ddpm path KL on [γ_0, γ_K], for N(m, λ·1) (null directions allowed): geometric in 1 + γλ.

        Stationarity of ½ Σ h_k mmse(γ_k) asks for equal ratios of 1 + γλ; the minimum is
        (r K/2)(e^{Λ/K} − 1 − Λ/K) with Λ = log((1 + γ_Kλ)/(1 + γ_0λ)) and r the rank.
        Raises `NotAvailableError` for other laws, whose optimum has no closed form.
        """
        steps, low, high = _window(steps, snr)
        if not isinstance(target, Gaussian):
            raise NotAvailableError(
                f"Grid.optimal for {target!r}: closed form for Gaussians only; use Grid.log_snr, whose path KL is at most "
                "kappa times the information at the last level"
            )
        distinct = target.variances[target.variances > 0].unique()
        spread = float((distinct.max() - distinct.min()) / distinct.max()) if len(distinct) else 0.0
        if not len(distinct) or spread > 1e-12:
            raise NotAvailableError(
                f"Grid.optimal for {target!r} with {len(distinct)} distinct variances: closed form for one; use Grid.log_snr"
            )
        variance = float(distinct[0])
        log_ratio = np.linspace(math.log1p(low * variance), math.log1p(high * variance), steps + 1)
        values = np.expm1(log_ratio) / variance
        values[[0, -1]] = low, high
        return cls(values, process)


def _window(steps: int, snr: tuple[float, float]) -> tuple[int, float, float]:
    steps = integer("steps", steps, 1)
    ends = ascending("snr", snr)
    if len(ends) != 2:
        refuse("snr", snr, "two values, (low, high)")
    return steps, float(ends[0]), float(ends[1])


def _times(steps: int, ou_time: tuple[float, float]) -> tuple[int, float, float]:
    steps = integer("steps", steps, 1)
    start, stop = (real("ou_time", t, "two finite times > 0, the larger first", low=0.0) for t in ou_time)
    if not start > stop:
        refuse("ou_time", ou_time, "two times > 0, the larger (noisier) first")
    return steps, start, stop

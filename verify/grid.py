"""Grids: K + 1 noise levels in sampling order.

A grid is held as its ascending snr values γ_0 < … < γ_K and the process that scales the state; everything else (α, σ,
OU time) is computed from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from targets import Level, Target
from targets.arguments import ascending, one_of, refuse
from targets.channel import PROCESSES
from targets.channel import process as find_process
from targets.curve import Curve
from verify import optimal, other_grids
from verify.equal_parts import equal_parts
from verify.loss_curve import LossCurve
from verify.losses import Weighting, read_losses
from verify.other_grids import DiffusersGrid
from verify.schedules import Schedules, window

if TYPE_CHECKING:
    import pandas as pd

Built = TypeVar("Built")
Options = ParamSpec("Options")


LEAST, LARGEST = 1e-100, 1e100
"""Of snr on a grid."""

RULES: dict[str, Callable[..., np.ndarray]] = {
    "optimal": optimal.optimal,
    "recursion": optimal.recursion,
    "sqrt_slope": partial(equal_parts, weight="sqrt_slope"),
}


def on_grid(build: Callable[Concatenate[Grid, Options], Built]) -> Callable[Concatenate[Grid, Options], Built]:
    """A builder of tables that refuses anything but a `Grid` as its first argument, before work starts."""

    @wraps(build)
    def checked(grid: Grid, *args: Options.args, **kwargs: Options.kwargs) -> Built:
        if not isinstance(grid, Grid):
            refuse("grid", grid, "a Grid, e.g. Grid.log_snr(64, snr=(0.01, 100.0))")
        return build(grid, *args, **kwargs)

    return checked


@dataclass(frozen=True, eq=False)
class Grid(Schedules):
    """K + 1 levels of a process, noisiest first.  Build with `from_snr` or one of the schedules.

    >>> Grid.log_snr(2, snr=(0.01, 100.0)).snr
    array([1.e-02, 1.e+00, 1.e+02])
    """

    snr: np.ndarray
    process: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "snr", ascending("snr", self.snr))
        if self.snr[0] < LEAST or self.snr[-1] > LARGEST:
            beyond = self.snr[0] if self.snr[0] < LEAST else self.snr[-1]
            refuse("snr", float(beyond), f"levels between {LEAST:g} and {LARGEST:g}, where squares are finite")
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

    # ---- the same levels in other libraries' terms ---------------------------------------------------

    def k_sigmas(self, final_zero: bool = True) -> np.ndarray:
        """k-diffusion's sigmas, σ/α = γ^{-1/2}, falling; with its final 0 unless told otherwise.

        >>> Grid.log_snr(2, snr=(0.01, 100.0)).k_sigmas()
        array([10. ,  1. ,  0.1,  0. ])
        """
        return other_grids.k_sigmas(self.snr, final_zero)

    def to_diffusers(self, scheduler: Any, final_zero: bool | None = None) -> DiffusersGrid:
        """Sigmas and timesteps for set_timesteps of a scheduler of diffusers, or for a table ᾱ (`other_grids.to_diffusers`).

        What the classes of diffusers 0.42.1 take, besides a number of steps:

            sigmas or timesteps         EulerDiscrete, FlowMatchEulerDiscrete
            timesteps, fractional too   HeunDiscrete
            timesteps, integer          DPMSolverMultistep, DPMSolverSinglestep, DDPM, LCM        .rounded()
            neither                     DDIM, PNDM, DEIS, LMS, KDPM2, EulerAncestral, FlowMatchHeun
            sigmas of flow matching     UniPC, with use_flow_sigmas=True only, and refused here

        `scheduler` is an instance.  Raises `ArgumentError` for its class, for a level outside its table and for options under
        which it does not run the sigmas that it is given.

        >>> terms = Grid.log_snr(3, snr=(0.1, 10.0)).to_diffusers(np.linspace(0.999, 0.001, 1000))
        >>> terms.rounded()                                              # scheduler.set_timesteps(timesteps=...)
        [909, 683, 316, 90]
        """
        return other_grids.to_diffusers(self.snr, scheduler, final_zero)

    @classmethod
    def from_sigmas(cls, sigmas: Any, process: str = "ve") -> Grid:
        """The levels of k-diffusion's (or diffusers') falling sigmas σ/α; a final 0 is dropped.

        With process="flow" they are those of flow matching, x = (1 − s)X + sZ.
        """
        find_process(process)
        return cls(other_grids.snr_of_sigmas(sigmas, process), process)

    @classmethod
    def from_timesteps(cls, timesteps: Any, alphas_cumprod: Any, process: str = "vp") -> Grid:
        """The levels of falling timesteps of diffusers' table ᾱ, fractional ones in between linear in log γ."""
        return cls(other_grids.snr_of_timesteps(alphas_cumprod, timesteps), process)

    # ---- grids that read the law ---------------------------------------------------------------------

    @classmethod
    def optimal(cls, law: Target | Curve, *, steps: int, snr: tuple[float, float], process: str = "vp") -> Grid:
        """The grid of least ddpm path KL on [γ_0, γ_K]: the global minimum of ½ Σ h_k mmse(γ_k) (see optimal.py).

        `law`: a target, or a curve such as a `LossCurve`.  K·KL falls to S²/4, S = ∫ √(−mmse′) over the window; for
        N(m, λ·1) the levels are geometric in 1 + γλ.
        """
        return cls._of_law(optimal.optimal, law, steps, snr, process)

    @classmethod
    def recursion(cls, law: Target | Curve, *, steps: int, snr: tuple[float, float], process: str = "vp") -> Grid:
        """One pass of γ_{k+1} = γ_k + (ℓ_{k−1} − ℓ_k)/D_k that lands on γ_K: stationary, not always the best."""
        return cls._of_law(optimal.recursion, law, steps, snr, process)

    @classmethod
    def sqrt_slope(cls, law: Target | Curve, *, steps: int, snr: tuple[float, float], process: str = "vp") -> Grid:
        """Equal parts of ∫ √(−mmse′) dγ: what the best grid tends to as K grows."""
        return cls._of_law(RULES["sqrt_slope"], law, steps, snr, process)

    @classmethod
    def entropic(cls, law: Target | Curve, *, steps: int, snr: tuple[float, float], process: str = "vp") -> Grid:
        """Equal information ΔI a step: entropic time (Stancevic et al. 2504.13612, Theorem 5.1)."""
        return cls._of_law(partial(equal_parts, weight="information"), law, steps, snr, process)

    @classmethod
    def rescaled_entropic(
        cls, law: Target | Curve, *, steps: int, snr: tuple[float, float], process: str = "vp"
    ) -> Grid:
        """Equal parts of ∫ γ^{-1/2} dI: rescaled entropic time (ibid., §5.3); on N(m, λ·1) the tangent law."""
        return cls._of_law(partial(equal_parts, weight="rescaled"), law, steps, snr, process)

    @classmethod
    def align_your_steps(
        cls, law: Target | Curve, *, steps: int, snr: tuple[float, float], process: str = "vp"
    ) -> Grid:
        """The best ten-step grid, taken to K steps by interpolating log γ in the index.

        The objective of Sabour et al. (2404.14507), a bound on the path KL of the stochastic exponential integrator that
        freezes the denoiser, is ddpm's path KL itself, E‖m(γ) − m(γ_k)‖² being mmse(γ_k) − mmse(γ); their published
        schedules have ten steps and are interpolated so.  `optimal` minimises the same objective at K itself.
        """

        def interpolated(curve: Curve, steps: int, low: float, high: float) -> np.ndarray:
            ten = np.log(optimal.optimal(curve, 10, low, high))
            levels = np.exp(np.interp(np.linspace(0.0, 10.0, steps + 1), np.arange(11), ten))
            levels[[0, -1]] = low, high
            return levels

        return cls._of_law(interpolated, law, steps, snr, process)

    @classmethod
    def loss_adaptive(
        cls,
        losses: str | Path | pd.DataFrame | Mapping[str, Any],
        *,
        steps: int,
        prediction: str,
        weighting: Weighting,
        process: str | None = None,
        betas: Any = None,
        dim: int | None = None,
        snr: tuple[float, float] | None = None,
        rule: str = "optimal",
    ) -> Grid:
        """The best grid for a training run, read off its losses: a CSV file, a DataFrame, or columns by name.

        `losses`, `prediction`, `weighting`, `process`, `betas` and `dim` as in `read_losses`; a smooth decreasing curve
        is put through them (`LossCurve`, which also predicts the path KL) and the grid is its minimum of ½ Σ h_k ℓ(γ_k)
        on the window `snr`, by default from the lowest to the highest measured level.  `rule`: "optimal", or for
        comparison "sqrt_slope" (steps at equal parts of ∫ √(−ℓ′) dγ) or "recursion" (one pass of the stationarity relation).

        >>> levels = np.geomspace(0.01, 100.0, 60)
        >>> log = {"snr": levels, "loss": levels / (1.0 + levels)}       # epsilon-loss of N(0, 1)
        >>> grid = Grid.loss_adaptive(log, steps=4, prediction="epsilon", weighting="sum")
        >>> np.round(np.diff(np.log1p(grid.snr)), 2)                     # the best grid is geometric in 1 + snr
        array([1.15, 1.15, 1.15, 1.15])
        """
        build = RULES[one_of("rule", rule, RULES)]
        curve = LossCurve(
            read_losses(losses, prediction=prediction, weighting=weighting, process=process, betas=betas, dim=dim)
        )
        return cls._of_law(build, curve, steps, curve.reach if snr is None else snr, process or "vp")

    @classmethod
    def _of_law(
        cls,
        levels: Callable[..., np.ndarray],
        law: Target | Curve,
        steps: int,
        snr: tuple[float, float],
        process: str,
    ) -> Grid:
        steps, low, high = window(steps, snr)
        if not isinstance(law, (Target, Curve)):
            refuse("law", law, "a target or a curve of losses")
        curve = law.curve if isinstance(law, Target) else law
        if not curve.reach[0] <= low < high <= curve.reach[1]:
            refuse("snr", snr, f"a window within the measured levels, {curve.reach[0]:.6g} to {curve.reach[1]:.6g}")
        return cls(levels(curve=curve, steps=steps, low=low, high=high), process)

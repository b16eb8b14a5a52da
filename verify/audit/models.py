"""A law's exact denoiser as a network that another library can call.

At the level (α, σ) a state is y = αX + σZ, and with m(y) = E[X given y] networks are trained to say one of

    x0         m
    epsilon    E[Z given y]         =  (y − α m)/σ
    score      ∇ log p(y)           =  (α m − y)/σ²          =  −epsilon/σ
    v          E[αZ − σX given y]   =  α·epsilon − σ m       α² + σ² = 1     Salimans & Ho 2022, eq. 13
    velocity   E[Z − X given y]     =  epsilon − m           α = 1 − σ       Lipman et al. 2023; time runs from data to noise

Libraries also ask at the ends of time.  There Z and X are known in turn:

    α = 0, y = σZ     m = E X        v = −σ E X     velocity = y/σ − E X     epsilon = y/σ     score = −y/σ²
    σ = 0, y = αX     m = y/α        v = 0          velocity = −y/α          epsilon, score: undefined, refused

(E[Z given X] = 0, so that v = α E Z − 0.)  A clock reads the level off whatever the library calls time.  Because the model is
exact and nearly free, every deviation of the samples is the sampler's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from targets import Level, Target
from targets.arguments import array, one_of, refuse
from verify.audit.contract import Denoiser
from verify.oracle import Exact, Oracle


class End(NamedTuple):
    """A level where one of (α, σ) is zero, so that no snr is defined."""

    alpha: float
    sigma: float


Clock = Callable[[float], Level | End]
"""A library's time as a level, or as an end of time."""


def _noise(y: Tensor, m: Tensor, at: Level | End) -> Tensor:
    return (y - at.alpha * m) / at.sigma


SAYS: dict[str, Callable[[Tensor, Tensor, Level | End], Tensor]] = {
    "x0": lambda _y, m, _at: m,
    "epsilon": _noise,
    "score": lambda y, m, at: -_noise(y, m, at) / at.sigma,
    "v": lambda y, m, at: at.alpha * _noise(y, m, at) - at.sigma * m,
    "velocity": lambda y, m, at: _noise(y, m, at) - m,
}
"""What a network can say, given the state, the denoiser's answer and the level."""

CLEAN: dict[str, Callable[[Tensor, float], Tensor]] = {
    "x0": lambda y, alpha: y / alpha,
    "v": lambda y, _alpha: torch.zeros_like(y),
    "velocity": lambda y, alpha: -y / alpha,
}
"""What it can say at σ = 0, given the state and α: the mean given X = y/α."""


class Model(torch.nn.Module):
    """`forward(x, t)`: what a perfectly trained network would answer; shape, dtype and device are those of x.

    law: a target, an oracle (a perturbed denoiser) or a function m̂(y, level) on rows (n, dim); not asked at the ends of time.
    says: "x0", "epsilon", "score", "v" or "velocity".  clock: the level or end at a time.  x: floating, (n, *shape) with dim
    numbers a row, of any shape; t: a number or a tensor, () or (n,).  Further keyword arguments (conditions, masks) are
    ignored.  `calls` counts the forward passes.

    ArgumentError: a clock that does not take one time; x that is not floating, without a batch dimension or with another
    number of coordinates; t that is not finite, or neither one number nor one a row; epsilon or score at σ = 0; at α = 0
    an answer that takes E X of an oracle or function, which is known of a target only.

    >>> from targets import get
    >>> model = Model(get("two_points"), "epsilon", ve())
    >>> model(torch.zeros(3, 1), torch.tensor(0.5)).shape
    torch.Size([3, 1])
    """

    def __init__(self, law: Target | Oracle | Denoiser, says: str, clock: Clock) -> None:
        super().__init__()
        self.says = one_of("says", says, SAYS)
        self.clock = _clock(clock)
        self.calls = 0
        self.mean = None
        if isinstance(law, Target):
            law = Exact(law)
        if isinstance(law, Exact):
            self.mean = law.target.mean
        if isinstance(law, Oracle):
            self.denoiser, self.dim = law.denoiser, law.target.dim
        elif callable(law):
            self.denoiser, self.dim = law, None
        else:
            refuse("law", law, "a target, an oracle or a function of (y, level)")

    def forward(self, x: Tensor, t: float | Tensor, *_: Any, **__: Any) -> Tensor:
        """(n, *shape) -> (n, *shape)."""
        if not isinstance(x, Tensor) or x.ndim < 1 or not len(x):
            refuse("x", getattr(x, "shape", x), "a tensor with a batch dimension")
        if not x.is_floating_point():
            refuse("x.dtype", x.dtype, "a floating dtype")
        rows = x.reshape(len(x), -1)
        if self.dim is not None and rows.shape[1] != self.dim:
            refuse("x.shape", tuple(x.shape), f"{self.dim} numbers in each of its rows")
        times = _times(t, len(x)).to(x.device)
        self.calls += 1
        wide = rows.to(torch.float64)
        out = torch.empty_like(wide)
        for time in times.unique():
            chosen = times.expand(len(x)) == time
            out[chosen] = self._answer(wide[chosen], float(time))
        return out.to(x.dtype).reshape(x.shape)

    def _answer(self, y: Tensor, t: float) -> Tensor:
        """(rows, dim) -> (rows, dim) at one time."""
        at = self.clock(t)
        if not isinstance(at, (Level, End)):
            refuse(
                f"clock({t:g})",
                at,
                "a Level or an End; a function t -> (alpha, sigma) is a clock by schedule(function)",
            )
        if isinstance(at, Level):
            return SAYS[self.says](y, self.denoiser(y, at), at)
        if at.sigma == 0:
            if self.says not in CLEAN:
                refuse("t", t, f"a time with sigma > 0, as {self.says} is not defined without noise")
            return CLEAN[self.says](y, at.alpha)
        if self.says in ("epsilon", "score"):  # without the denoiser: α m = 0
            return SAYS[self.says](y, torch.zeros_like(y), at)
        if self.mean is None:
            refuse("t", t, f"a time with alpha > 0, or a target as law: {self.says} is made of its mean at alpha = 0")
        return SAYS[self.says](y, self.mean.to(y).expand_as(y), at)


def _clock(clock: Any) -> Any:
    """The clock, refused where it is none."""
    wanted = "a function of one time, such as ve(), flow() or timesteps(scheduler.alphas_cumprod)"
    if not callable(clock):
        refuse("clock", clock, wanted)
    try:
        inspect.signature(clock).bind(0.0)
    except TypeError as error:
        refuse("clock", clock, f"{wanted} ({error})")
    except ValueError:  # a callable without a signature
        pass
    return clock


def _times(t: Any, rows: int) -> Tensor:
    """Finite times (1,) or (rows,), float64."""
    wanted = f"a number or a tensor, () or ({rows},)"
    if (isinstance(t, Tensor) and t.is_complex()) or isinstance(t, (bool, str)):
        refuse("t", t, wanted)
    try:
        times = torch.as_tensor(t, dtype=torch.float64).reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        refuse("t", t, wanted)
    if len(times) not in (1, rows):
        refuse("t.shape", tuple(times.shape), f"() or ({rows},)")
    if not bool(torch.isfinite(times).all()):
        refuse("t", float(times[~torch.isfinite(times)][0]), "a finite time")
    return times


def _level(alpha: float, sigma: float) -> Level | End:
    """An end of time where exactly one of the two is zero."""
    return End(alpha, sigma) if min(alpha, sigma) == 0 < max(alpha, sigma) else Level(alpha, sigma)


def ve() -> Clock:
    """Time is the noise level itself: states X + tZ."""
    return lambda t: _level(1.0, t)


def scaled_ve() -> Clock:
    """Time is ς, states (X + ςZ)/√(1 + ς²): what a variance-preserving network is shown by a sampler that works in ς."""
    return lambda t: _level(1.0 / (1.0 + t * t) ** 0.5, t / (1.0 + t * t) ** 0.5)


def flow() -> Clock:
    """Flow matching with time from data to noise: states (1 − t)X + tZ."""
    return lambda t: _level(1.0 - t, t)


def schedule(alpha_sigma: Callable[[float], tuple[float, float]]) -> Clock:
    """Continuous time through any schedule t -> (α, σ)."""
    return lambda t: _level(*map(float, alpha_sigma(t)))


def timesteps(alphas_cumprod: Tensor | np.ndarray) -> Clock:
    """Steps 0, 1, … of a training table of ᾱ: α² = ᾱ, σ² = 1 − ᾱ; between steps log(σ/α) is linear.

    ArgumentError: a table that does not fall strictly within (0, 1); a time outside the table.
    """
    table = array("alphas_cumprod", alphas_cumprod, (None,)).numpy()
    if not ((table > 0) & (table < 1)).all() or not (np.diff(table) < 0).all():
        refuse("alphas_cumprod", table[:3], "strictly falling values in (0, 1)")
    logs = 0.5 * (np.log1p(-table) - np.log(table))

    def level(t: float) -> Level:
        if not 0 <= t <= len(table) - 1:
            refuse("t", t, f"a timestep of the table, 0 to {len(table) - 1}")
        return Level.from_snr(float(np.exp(-2.0 * np.interp(t, np.arange(len(table)), logs))), "vp")

    return level

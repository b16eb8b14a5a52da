"""A sampler is a table: steps affine in the state, the denoiser's outputs and one fresh Gaussian that enters last.

One step from level k to level k + 1, with stages i = 1 … S at which the denoiser m̂ is asked:

    y_i  =  state_i x + Σ_{j<i} outputs_ij m̂_j,      m̂_i = m̂(y_i, level_i)
    x′   =  state x + Σ_i outputs_i m̂_i + noise·z,   z ~ N(0, 1)

The first stage asks at the state itself.  All coefficients are float64; a table holds them as arrays over the steps, and
`step(k)` shows one step as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from targets import ArgumentError, Level, NotAvailableError
from targets.arguments import refuse
from verify.grid import Grid

STARTS = ("exact", "moment", "prior")
"""Laws of the first state: p_0 itself; N(α_0 E X, σ_0²); N(0, 1) in vp and N(0, σ_0²) in ve and flow."""

IDENTITIES = {
    "point_mass": "a point mass is reproduced exactly from an exact start",
    "translation": "translating the target translates the samples",
    "gauge": "the law depends on the snr grid only, not on the process that scales the state",
    "constant_bias": "the response to a constant denoiser error depends on the first and last level only",
}


@dataclass(frozen=True)
class Method:
    """What a family of tables is: its formula, where it comes from, what it holds frozen and what it promises.

    `order` p: the marginal KL falls like K^{-2p}.  `identities`: the keys of `IDENTITIES` that hold to rounding.
    """

    name: str
    formula: str
    source: str
    freezes: str
    order: int
    identities: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for identity in self.identities:
            if identity not in IDENTITIES:
                refuse("identities", identity, f"names among {', '.join(IDENTITIES)}")


@dataclass(frozen=True)
class Stage:
    """Where the denoiser is asked: at `level`, at state·x + Σ_j outputs_j m̂_j over the stages before."""

    level: Level
    state: float
    outputs: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """One step from level `start` to level `stop`: state·x + Σ outputs·m̂ + noise·z."""

    start: Level
    stop: Level
    stages: tuple[Stage, ...]
    state: float
    outputs: tuple[float, ...]
    noise: float


@dataclass(frozen=True, eq=False)
class StageArrays:
    """One stage for all K steps: levels (K,), coefficient of the state (K,), of the earlier outputs (K, i)."""

    alpha: np.ndarray
    sigma: np.ndarray
    state: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """K steps: levels visited (K + 1,), stages, and the coefficients of state (K,), outputs (K, S) and noise (K,)."""

    method: Method
    snr: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    stages: tuple[StageArrays, ...]
    state: np.ndarray
    outputs: np.ndarray
    noise: np.ndarray

    def __post_init__(self) -> None:
        steps = len(self.snr) - 1
        shapes = {
            "alpha": (steps + 1,),
            "sigma": (steps + 1,),
            "state": (steps,),
            "outputs": (steps, len(self.stages)),
            "noise": (steps,),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape:
                refuse(f"table.{name}.shape", value.shape, f"{shape} for {steps} steps of {len(self.stages)} stages")
            if not np.isfinite(value).all():
                refuse(f"table.{name}", float(value[~np.isfinite(value)][0]), "finite coefficients")
        if steps < 1:
            refuse("table.steps", steps, "at least one step")
        if (self.noise < 0).any():
            refuse("table.noise", float(self.noise.min()), "noise coefficients >= 0")

    @classmethod
    def one_stage(
        cls, method: Method, grid: Grid, state: np.ndarray, output: np.ndarray, noise: np.ndarray | float
    ) -> Table:
        """x′ = state·x + output·m̂(x) + noise·z along consecutive levels of `grid`: coefficient arrays of length K."""
        here = StageArrays(grid.alpha[:-1], grid.sigma[:-1], np.ones(grid.steps), np.zeros((grid.steps, 0)))
        noise = np.broadcast_to(np.asarray(noise, dtype=np.float64), (grid.steps,))
        return cls(method, grid.snr, grid.alpha, grid.sigma, (here,), state, output[:, None], noise)

    @classmethod
    def from_steps(cls, steps: list[Step], method: Method | None = None) -> Table:
        """A table from hand-written steps; each must start where the one before stopped and have as many stages."""
        if not steps:
            refuse("steps", steps, "at least one Step")
        for k, (before, after) in enumerate(pairwise(steps)):
            if before.stop != after.start or len(before.stages) != len(after.stages):
                raise ArgumentError(
                    f"steps[{k + 1}]: expected to start at {before.stop} with {len(before.stages)} stages"
                )
        levels = [step.start for step in steps] + [steps[-1].stop]
        alpha, sigma = np.array([v.alpha for v in levels]), np.array([v.sigma for v in levels])
        stages = tuple(
            StageArrays(
                np.array([step.stages[i].level.alpha for step in steps]),
                np.array([step.stages[i].level.sigma for step in steps]),
                np.array([step.stages[i].state for step in steps]),
                np.array([step.stages[i].outputs for step in steps]).reshape(len(steps), i),
            )
            for i in range(len(steps[0].stages))
        )
        return cls(
            method or Method("custom", "hand-written", "the caller", "unknown", 1),
            (alpha / sigma) ** 2,
            alpha,
            sigma,
            stages,
            np.array([step.state for step in steps]),
            np.array([step.outputs for step in steps]).reshape(len(steps), len(stages)),
            np.array([step.noise for step in steps]),
        )

    @property
    def steps(self) -> int:
        """K."""
        return len(self.state)

    @property
    def evaluations(self) -> int:
        """Denoiser evaluations per step."""
        return len(self.stages)

    @property
    def start(self) -> Level:
        """The noisiest level."""
        return Level(float(self.alpha[0]), float(self.sigma[0]))

    @property
    def stop(self) -> Level:
        """The level at which the last state lives: compare samplers there."""
        return Level(float(self.alpha[-1]), float(self.sigma[-1]))

    @property
    def stochastic(self) -> bool:
        """Every step adds noise."""
        return bool((self.noise > 0).all())

    def step(self, k: int) -> Step:
        """Step k as numbers."""
        return Step(
            Level(float(self.alpha[k]), float(self.sigma[k])),
            Level(float(self.alpha[k + 1]), float(self.sigma[k + 1])),
            tuple(
                Stage(Level(float(s.alpha[k]), float(s.sigma[k])), float(s.state[k]), tuple(s.outputs[k].tolist()))
                for s in self.stages
            ),
            float(self.state[k]),
            tuple(self.outputs[k].tolist()),
            float(self.noise[k]),
        )

    def affine(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(a, b, s) of x′ = a x + b m̂(x) + s z; raises where a step has more than one evaluation."""
        stage = self.stages[0]
        if len(self.stages) != 1 or (stage.state != 1).any() or (stage.alpha != self.alpha[:-1]).any():
            raise NotAvailableError(
                f"closed-form KL of {self.method.name}: its steps are not affine in one evaluation at the state; "
                "run it with particles"
            )
        return self.state, self.outputs[:, 0], self.noise


def point_mass_defect(table: Table) -> float:
    """Largest relative failure to carry δ(c) seen at level k to δ(c) seen at level k + 1.

    A denoiser that always answers c asks that state·α_k + Σ outputs = α_{k+1} and state²σ_k² + noise² = σ_{k+1}².
    """
    variance = (table.state * table.sigma[:-1]) ** 2 + table.noise**2
    return max(_mean_defect(table), float(np.abs(variance / table.sigma[1:] ** 2 - 1.0).max()))


def translation_defect(table: Table) -> float:
    """Largest relative failure of a shift c of the target to shift every stage and state by α·c."""
    inside = [np.abs((s.state * table.alpha[:-1] + s.outputs.sum(1)) / s.alpha - 1.0).max() for s in table.stages]
    return max(_mean_defect(table), float(max(inside, default=0.0)))


def _mean_defect(table: Table) -> float:
    return float(np.abs((table.state * table.alpha[:-1] + table.outputs.sum(1)) / table.alpha[1:] - 1.0).max())


def constant_bias_response(table: Table) -> float:
    """f with E x_K = α_K (c + f ε) on the point mass at c, when every denoiser output is off by ε.

    1 − f = Π_k (state α_k/α_{k+1}); it is γ_0/γ_K for a frozen denoiser and √(γ_0/γ_K) for its probability flow.
    """
    return float(1.0 - np.prod(table.state * table.alpha[:-1] / table.alpha[1:]))


def gauge_free(table: Table) -> np.ndarray:
    """Coefficients in units in which the signal scale is one: equal in every process for methods defined on snr."""
    scale = table.alpha[1:]
    columns = [table.state * table.alpha[:-1] / scale, table.noise / scale, *(table.outputs / scale[:, None]).T]
    return np.stack(columns)

"""Samplers as tables: each step adds up multiples of the state, of the denoiser's answers and, last, of fresh noise.

One step from level k to level k + 1, with stages i = 1 … S at which the denoiser m̂ is asked:

    y_i  =  state_i x + Σ_{j<i} outputs_ij m̂_j,      m̂_i = m̂(y_i, level_i)
    x′   =  state x + Σ_i outputs_i m̂_i + Σ_j history_j m̂_1[k − j] + noise·z,   z ~ N(0, 1)

m̂_1[k − j] is what the first stage answered j = 1 … p steps earlier (multistep methods; p = 0 for the others).  A stage whose
answer is used nowhere is not asked, so that a step may also be noise alone.  All coefficients are float64; a table holds
them as arrays over the steps, and `step(k)` shows one step as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise

import numpy as np

from targets import ArgumentError, Level, NotAvailableError
from targets.arguments import real, refuse
from verify.grid import Grid

STARTS = ("exact", "moment", "prior")
"""Laws of the first state: p_0 itself; N(α_0 E X, σ_0²); N(0, 1) in vp and N(0, σ_0²) in ve and flow."""

REFERENCES = ("reverse", "flow+noise")
"""Reference chains: the true reverse Markov chain; the exact probability flow followed by the step's own noise."""

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
    `references`: the reference chains against which it has a chain KL; none where a step is deterministic or stays at
    its level.
    """

    name: str
    formula: str
    source: str
    freezes: str
    order: float
    identities: frozenset[str] = field(default_factory=frozenset)
    references: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for identity in self.identities:
            if identity not in IDENTITIES:
                refuse("identities", identity, f"names among {', '.join(IDENTITIES)}")
        for reference in self.references:
            if reference not in REFERENCES:
                refuse("references", reference, f"names among {', '.join(REFERENCES)}")


@dataclass(frozen=True)
class Stage:
    """Where the denoiser is asked: at `level`, at state·x + Σ_j outputs_j m̂_j over the stages before."""

    level: Level
    state: float
    outputs: tuple[float, ...]
    asked: bool = True


@dataclass(frozen=True)
class Step:
    """One step from level `start` to level `stop`: state·x + Σ outputs·m̂ + Σ history·(earlier m̂) + noise·z."""

    start: Level
    stop: Level
    stages: tuple[Stage, ...]
    state: float
    outputs: tuple[float, ...]
    noise: float
    history: tuple[float, ...] = ()


def _read(name: str, step: Step) -> None:
    """Refuse what is no level, no tuple of stages or no real number in a step."""
    if not isinstance(step.stages, tuple) or not all(isinstance(stage, Stage) for stage in step.stages):
        refuse(f"{name}.stages", step.stages, "a tuple of Stage")
    for level in (step.start, step.stop, *(stage.level for stage in step.stages)):
        if not isinstance(level, Level):
            refuse(f"level of {name}", level, "a Level, e.g. one of grid.levels")
    lists = (step.outputs, step.history, *(stage.outputs for stage in step.stages))
    if wrong := [values for values in lists if not isinstance(values, tuple | list)]:
        refuse(f"coefficients of {name}", wrong[0], "a tuple of numbers")
    for value in (step.state, step.noise, *(stage.state for stage in step.stages), *chain(*lists)):
        real(f"coefficient of {name}", value, "a finite real number")


@dataclass(frozen=True, eq=False)
class StageArrays:
    """One stage for all K steps: levels (K,), coefficient of the state (K,), of the earlier outputs (K, i)."""

    alpha: np.ndarray
    sigma: np.ndarray
    state: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """K steps: levels visited (K + 1,), stages, coefficients of state (K,), outputs (K, S), noise (K,), history (K, p)."""

    method: Method
    snr: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    stages: tuple[StageArrays, ...]
    state: np.ndarray
    outputs: np.ndarray
    noise: np.ndarray
    history: np.ndarray = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        steps = len(self.snr) - 1
        if self.history is None:
            object.__setattr__(self, "history", np.zeros((steps, 0)))
        shapes = {
            "alpha": (steps + 1,),
            "sigma": (steps + 1,),
            "state": (steps,),
            "outputs": (steps, len(self.stages)),
            "noise": (steps,),
            "history": (steps, self.history.shape[-1]),
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
        for i, stage in enumerate(self.stages):
            for name, shape in (("alpha", (steps,)), ("sigma", (steps,)), ("state", (steps,)), ("outputs", (steps, i))):
                value = getattr(stage, name)
                if value.shape != shape:
                    refuse(f"table.stages[{i}].{name}.shape", value.shape, f"{shape}")
                if not np.isfinite(value).all():
                    refuse(f"table.stages[{i}].{name}", float(value[~np.isfinite(value)][0]), "finite coefficients")
        early = np.arange(self.history.shape[1]) >= np.arange(steps)[:, None]
        if self.history[early].any() or (self.history.any() and not self.stages):
            refuse("table.history", self.history[:2].tolist(), "zeros where no earlier answer exists")

    @classmethod
    def one_stage(
        cls,
        method: Method,
        grid: Grid,
        state: np.ndarray,
        output: np.ndarray,
        noise: np.ndarray | float,
        history: np.ndarray | None = None,
    ) -> Table:
        """x′ = state·x + output·m̂(x) + noise·z (+ history, (K, p)) along consecutive levels of `grid`: arrays (K,)."""
        here = StageArrays(grid.alpha[:-1], grid.sigma[:-1], np.ones(grid.steps), np.zeros((grid.steps, 0)))
        noise = np.broadcast_to(np.asarray(noise, dtype=np.float64), (grid.steps,))
        past = np.zeros((grid.steps, 0)) if history is None else history
        return cls(method, grid.snr, grid.alpha, grid.sigma, (here,), state, output[:, None], noise, past)

    @classmethod
    def from_steps(cls, steps: list[Step], method: Method | None = None) -> Table:
        """A table from steps, each starting where the one before stopped; shorter ones get stages that are not asked."""
        if not isinstance(steps, Sequence) or not steps or not all(isinstance(step, Step) for step in steps):
            refuse("steps", steps, "a list of at least one Step")
        for k, step in enumerate(steps):
            _read(f"steps[{k}]", step)
            if len(step.outputs) != len(step.stages):
                refuse(f"steps[{k}].outputs", step.outputs, f"one for each of its {len(step.stages)} stages")
            for i, stage in enumerate(step.stages):
                if len(stage.outputs) != i:
                    refuse(f"steps[{k}].stages[{i}].outputs", stage.outputs, f"one for each of the {i} stages before")
        for k, (before, after) in enumerate(pairwise(steps)):
            if before.stop != after.start:
                raise ArgumentError(f"steps[{k + 1}]: expected to start at {before.stop}")
        levels = [step.start for step in steps] + [steps[-1].stop]
        for k, (before, after) in enumerate(pairwise(level.snr for level in levels)):
            if after < before and method is None:  # churn does go back
                raise ArgumentError(
                    f"steps[{k}]: snr falls from {before:g} to {after:g}: expected levels from noisy to clean"
                )
        alpha, sigma = np.array([v.alpha for v in levels]), np.array([v.sigma for v in levels])
        count = max(len(step.stages) for step in steps)
        rows = [
            (*step.stages, *[Stage(step.start, 1.0, (0.0,) * i) for i in range(len(step.stages), count)])
            for step in steps
        ]
        stages = tuple(
            StageArrays(
                np.array([row[i].level.alpha for row in rows]),
                np.array([row[i].level.sigma for row in rows]),
                np.array([row[i].state for row in rows]),
                np.array([row[i].outputs for row in rows]).reshape(len(steps), i),
            )
            for i in range(count)
        )
        return cls(
            method or Method("custom", "hand-written", "the caller", "unknown", 1),
            (alpha / sigma) ** 2,
            alpha,
            sigma,
            stages,
            np.array([step.state for step in steps]),
            _padded([step.outputs for step in steps], count),
            np.array([step.noise for step in steps]),
            _padded([step.history for step in steps], max(len(step.history) for step in steps)),
        )

    @property
    def steps(self) -> int:
        """K."""
        return len(self.state)

    @cached_property
    def asked(self) -> np.ndarray:
        """Which stages' answers are used, (K, S): by the step, by a later asked stage, or by a later step's history."""
        used = self.outputs != 0
        for j in range(self.history.shape[1]):
            later = self.history[j + 1 :, j] != 0
            used[: len(later), 0] |= later
        for i in reversed(range(1, len(self.stages))):
            used[:, :i] |= (self.stages[i].outputs != 0) & used[:, i : i + 1]
        return used

    @property
    def evaluations(self) -> int:
        """Denoiser evaluations of the whole run."""
        return int(self.asked.sum())

    @cached_property
    def key(self) -> bytes:
        """Every coefficient and level, as bytes: equal for equal tables, whatever they are called."""
        arrays = [self.alpha, self.sigma, self.state, self.outputs, self.noise, self.history]
        for stage in self.stages:
            arrays += [stage.alpha, stage.sigma, stage.state, stage.outputs]
        return b"|".join(np.ascontiguousarray(a).tobytes() for a in arrays)

    @property
    def multistep(self) -> bool:
        """Some step uses what an earlier one was answered: the states alone are no Markov chain."""
        return bool(self.history.any())

    @property
    def start(self) -> Level:
        """The noisiest level."""
        return Level(float(self.alpha[0]), float(self.sigma[0]))

    def first_width(self, start: str) -> float:
        """Standard deviation of the noise in the first state: σ_0, but 1 for the prior of a vp grid, α_0² + σ_0² = 1."""
        preserving = abs(float(self.alpha[0]) ** 2 + float(self.sigma[0]) ** 2 - 1.0) < 1e-12
        return 1.0 if start == "prior" and preserving else float(self.sigma[0])

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
                Stage(
                    Level(float(s.alpha[k]), float(s.sigma[k])),
                    float(s.state[k]),
                    tuple(s.outputs[k].tolist()),
                    bool(self.asked[k, i]),
                )
                for i, s in enumerate(self.stages)
            ),
            float(self.state[k]),
            tuple(self.outputs[k].tolist()),
            float(self.noise[k]),
            tuple(self.history[k].tolist()),
        )

    @property
    def one_evaluation(self) -> bool:
        """Every step asks the denoiser once, at its own state and level."""
        if len(self.stages) != 1:
            return False
        here, before = self.stages[0], slice(None, -1)
        same_level = (here.alpha == self.alpha[before]).all() and (here.sigma == self.sigma[before]).all()
        return bool((here.state == 1).all() and same_level)

    def affine(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(a, b, s) of x′ = a x + b m̂(x) + s z (+ history); raises where a step asks elsewhere than at its state."""
        if not self.one_evaluation:
            raise NotAvailableError(
                f"closed-form KL of {self.method.name}: its steps are not affine in one evaluation at the state; "
                "run it with particles"
            )
        return self.state, self.outputs[:, 0], self.noise


def _padded(rows: list[tuple[float, ...]], width: int) -> np.ndarray:
    """Rows of unequal length as one array, zeros on the right."""
    return np.array([(*row, *(0.0,) * (width - len(row))) for row in rows]).reshape(len(rows), width)

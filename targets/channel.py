"""The Gaussian channel x = αX + σZ, and the processes that parametrise it.

Only the signal-to-noise ratio γ = α²/σ² carries information; α and σ fix the scale of the state.

    process   state                     time                      γ(time)
    vp        α² + σ² = 1               OU time t, α = e^{-t}     1 / (e^{2t} − 1)
    ve        α = 1                     noise level σ             1 / σ²
    flow      α = 1 − s, σ = s          s in (0, 1)               ((1 − s)/s)²

Time falls and γ grows as sampling proceeds.  Every formula is written so that it keeps full relative
accuracy at both ends (γ = 1e-12 and γ = 1e26 alike); `e^{2t} − 1` spelled with exp, or σ² as 1 − α², does not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from targets.arguments import one_of, real


class Process(ABC):
    """A parametrisation of the channel by its snr γ; all functions accept scalars or arrays."""

    name: str
    time_name: str

    @abstractmethod
    def alpha(self, snr: np.ndarray) -> np.ndarray:
        """Signal scale α at snr γ."""

    @abstractmethod
    def sigma(self, snr: np.ndarray) -> np.ndarray:
        """Noise scale σ at snr γ."""

    @abstractmethod
    def time(self, snr: np.ndarray) -> np.ndarray:
        """The process's own time at snr γ."""

    @abstractmethod
    def snr(self, time: np.ndarray) -> np.ndarray:
        """snr γ at the process's own time: the inverse of `time`."""


class VariancePreserving(Process):
    """Ornstein–Uhlenbeck: α = e^{-t}, σ² = 1 − e^{-2t}."""

    name, time_name = "vp", "ou_time"

    def alpha(self, snr: np.ndarray) -> np.ndarray:
        """α = (1 + 1/γ)^{-1/2}."""
        return 1.0 / np.sqrt(1.0 + 1.0 / np.asarray(snr))

    def sigma(self, snr: np.ndarray) -> np.ndarray:
        """σ = (1 + γ)^{-1/2}."""
        return 1.0 / np.sqrt(1.0 + np.asarray(snr))

    def time(self, snr: np.ndarray) -> np.ndarray:
        """t = ½ log(1 + 1/γ)."""
        return 0.5 * np.log1p(1.0 / np.asarray(snr))

    def snr(self, time: np.ndarray) -> np.ndarray:
        """γ = 1/(e^{2t} − 1)."""
        return 1.0 / np.expm1(2.0 * np.asarray(time))


class VarianceExploding(Process):
    """α = 1; the time is σ itself."""

    name, time_name = "ve", "sigma"

    def alpha(self, snr: np.ndarray) -> np.ndarray:
        """α = 1."""
        return np.ones_like(np.asarray(snr, dtype=np.float64))

    def sigma(self, snr: np.ndarray) -> np.ndarray:
        """σ = γ^{-1/2}."""
        return 1.0 / np.sqrt(np.asarray(snr))

    def time(self, snr: np.ndarray) -> np.ndarray:
        """σ = γ^{-1/2}."""
        return self.sigma(snr)

    def snr(self, time: np.ndarray) -> np.ndarray:
        """γ = σ^{-2}."""
        return 1.0 / np.square(np.asarray(time))


class FlowMatching(Process):
    """The straight path x = (1 − s)X + sZ; the time is s."""

    name, time_name = "flow", "flow_time"

    def alpha(self, snr: np.ndarray) -> np.ndarray:
        """α = 1 − s = 1/(1 + γ^{-1/2})."""
        return 1.0 / (1.0 + 1.0 / np.sqrt(np.asarray(snr)))

    def sigma(self, snr: np.ndarray) -> np.ndarray:
        """σ = s = 1/(1 + γ^{1/2})."""
        return 1.0 / (1.0 + np.sqrt(np.asarray(snr)))

    def time(self, snr: np.ndarray) -> np.ndarray:
        """s = σ."""
        return self.sigma(snr)

    def snr(self, time: np.ndarray) -> np.ndarray:
        """γ = ((1 − s)/s)²."""
        time = np.asarray(time)
        return np.square((1.0 - time) / time)


PROCESSES: dict[str, Process] = {p.name: p for p in (VariancePreserving(), VarianceExploding(), FlowMatching())}


def process(name: str) -> Process:
    """The process called `name` (vp, ve or flow)."""
    return PROCESSES[one_of("process", name, PROCESSES)]


@dataclass(frozen=True, slots=True)
class Level:
    """One noise level of the channel x = αX + σZ, with α > 0 and σ > 0.

    >>> Level.from_snr(3.0, process="vp")
    Level(alpha=0.8660254037844387, sigma=0.5)
    """

    alpha: float
    sigma: float

    def __post_init__(self) -> None:
        real("alpha", self.alpha, "a finite number > 0", low=0.0)
        real("sigma", self.sigma, "a finite number > 0", low=0.0)

    @property
    def snr(self) -> float:
        """γ = α²/σ²."""
        return (self.alpha / self.sigma) ** 2

    @property
    def logsnr(self) -> float:
        """log γ (twice the λ of the DPM-Solver papers)."""
        return 2.0 * float(np.log(self.alpha / self.sigma))

    @classmethod
    def from_snr(cls, snr: float, process: str = "vp") -> Level:
        """The level of the named process at snr γ > 0."""
        kind = PROCESSES[one_of("process", process, PROCESSES)]
        value = np.asarray(real("snr", snr, "a finite number > 0", low=0.0))
        return cls(float(kind.alpha(value)), float(kind.sigma(value)))

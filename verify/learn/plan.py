"""How a network is trained: the numbers that, with the law and the architecture, decide its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from targets.arguments import integer, real, refuse


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    steps      of Adam, each on fresh draws
    batch      samples a step, one in each of as many strata of log γ
    reused     noise levels, each with a noise of its own, that a draw of X is seen at in a batch; divides `batch`
    rate       largest learning rate; that of the input and output layers, whose entries are of size 1/√dim, is rate/√dim
    half_life  of the moving average of the weights, as a share of all steps
    logged     share of the steps, the last ones, whose losses enter the log
    bands      bands of log γ in the log
    seed       of the draws, the principal directions and the first weights
    snr        range of noise levels (γ_0, γ_K); the law's own (`verify.span`) if None
    """

    steps: int = 2000
    batch: int = 1024
    reused: int = 1
    rate: float = 2e-3
    half_life: float = 0.02
    logged: float = 0.25
    bands: int = 100
    seed: int = 0
    snr: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        share = math.nextafter(1.0, 2.0)
        checked: dict[str, object] = {
            name: integer(name, getattr(self, name), 1) for name in ("steps", "batch", "reused", "bands")
        }
        if self.batch % self.reused:
            refuse("reused", self.reused, f"a divisor of the batch, {self.batch}")
        checked["seed"] = integer("seed", self.seed, 0)
        if self.seed >= 2**63:
            refuse("seed", self.seed, "an integer < 2^63")
        checked["rate"] = real("rate", self.rate, "a number > 0", low=0.0)
        checked["half_life"] = real("half_life", self.half_life, "a share strictly between 0 and 1", low=0.0, high=1.0)
        checked["logged"] = real("logged", self.logged, "a share, 0 < share <= 1", low=0.0, high=share)
        if self.snr is not None:
            if not isinstance(self.snr, tuple) or len(self.snr) != 2:
                refuse("snr", self.snr, "a pair (low, high)")
            low, high = checked["snr"] = tuple(real("snr", value, "two numbers > 0", low=0.0) for value in self.snr)
            if not low < high:
                refuse("snr", self.snr, "low < high")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def decay(self, step: int) -> float:
        """Of the moving average: the first steps count no longer than they lasted."""
        return min(0.5 ** (1.0 / (self.half_life * self.steps)), (1.0 + step) / (10.0 + step))

    def scale(self, step: int) -> float:
        """Of the learning rate."""
        return min(1.0, (step + 1) / max(1.0, 0.02 * self.steps)) * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))

"""Everything that a training run is at one moment: weights, their moving average, Adam's moments, the log, the step."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.swa_utils import get_ema_multi_avg_fn

from verify.learn.architecture import Architecture, Network
from verify.learn.bands import Bands

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(eq=False)
class State:
    """A run after `step` steps."""

    network: Network
    average: Network
    optimiser: Adam
    bands: Bands
    step: int = 0

    def __post_init__(self) -> None:
        self.weights: list[Tensor] = list(self.network.parameters())
        self.averaged: list[Tensor] = list(self.average.parameters())

    @classmethod
    def fresh(cls, network: Network, bands: int) -> State:
        """Before the first step: the average is the network itself, the log is empty."""
        average = copy.deepcopy(network).requires_grad_(False)
        return cls(network, average, optimiser(network), Bands(bands, network.centre.device))

    def advance(self, decay: float) -> None:
        """Count a step, and move the average towards the weights."""
        self.step += 1
        get_ema_multi_avg_fn(decay)(self.averaged, self.weights, self.step)

    def check(self) -> None:
        """Raise `FloatingPointError` where a number of the state is not finite, which the loss may show later only."""
        for name, value in self.tensors().items():
            if not bool(torch.isfinite(value).all()):
                raise FloatingPointError(f"{name} is not finite after step {self.step - 1}")

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file."""
        named = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        named |= {f"average.{name}": value for name, value in self.average.named_parameters()}
        for name, parameter in self.network.named_parameters():
            known = self.optimiser.state.get(parameter, {})
            named |= {f"{key}.{name}": known.get(key, torch.zeros_like(parameter)) for key in MOMENTS}
        return {name: value.detach() for name, value in named.items()} | {"bands": self.bands.sums}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """The inverse of `tensors`, into a state of the same shapes."""
        pick = lambda prefix: {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}  # noqa: E731
        self.network.load_state_dict(pick("network."))
        self.average.load_state_dict({**self.network.state_dict(), **pick("average.")})
        self.optimiser = optimiser(self.network)
        for name, parameter in self.network.named_parameters():
            moments = {key: tensors[f"{key}.{name}"].clone() for key in MOMENTS}
            self.optimiser.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device), **moments}
        self.bands.sums = tensors["bands"].clone()
        self.step = step

    def to(self, device: torch.device) -> State:
        """The same run on another device."""
        if self.network.centre.device == device:
            return self
        tensors = {name: value.to(device) for name, value in self.tensors().items()}
        moved = State.fresh(self.network.to(device), self.bands.sums.shape[1])
        moved.restore(tensors, self.step)
        return moved


def shapes(architecture: Architecture, bands: int) -> dict[str, tuple[int, ...]]:
    """The shape of each of a state's tensors by name, without any of them."""
    with torch.device("meta"):
        network = Network(architecture)
    every = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    trained = {name: tuple(value.shape) for name, value in network.named_parameters()}
    named = {f"network.{name}": shape for name, shape in every.items()}
    named |= {f"{key}.{name}": shape for key in ("average", *MOMENTS) for name, shape in trained.items()}
    return named | {"bands": (3, bands)}


def optimiser(network: Network) -> Adam:
    """Adam whose rate for a parameter is `rate` times its group's share: 1/√dim for what multiplies or adds to states."""
    share = network.architecture.dim**-0.5
    outer = [network.reading, network.writing]
    inner = [p for p in network.parameters() if all(p is not q for q in (*outer, network.shift))]
    width = float(network.spread.max().sqrt()) or 1.0
    groups = [
        {"params": inner, "share": 1.0},
        {"params": outer, "share": share},
        {"params": [network.shift], "share": share * width},
    ]
    return Adam(groups, lr=1.0, fused=True)

"""Denoising score matching: a network trained on draws of a law, at noise levels over the law's own range.

    minimise   E_{u, X, Z}  (γ + 1/λ_max) ‖X − m̂(X + Z/√γ, γ)‖²,      u = log γ uniform on the range, stratified in a batch

λ_max is the largest variance of a direction.  The weight γ turns the mean over log γ into ∫ E‖X − m̂‖² dγ, which but for a
constant is twice the path KL that the network's error adds, ½ ∫ E‖m̂ − m‖² dγ; with 1/λ_max it is the weight 1/c_out² of
Karras et al. (2206.00364, table 1) on an isotropic law.  To train on a finite set, train on its empirical law
(`verify.oracle.Empirical`).

Adam; the rate rises over the first 2% of steps and falls as a cosine to zero; what is kept is the moving average of the
weights.  Every step draws from a stream of its own, seeded by (seed, step): a run that was stopped goes on from its last
checkpoint to the same weights, bit for bit on the same machine and number of threads.  (On a GPU the sums of the log may
differ in their last digits.)
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch
from rich.console import Console
from torch import Tensor

from targets import ArgumentError, Target
from targets.arguments import refuse
from verify.learn import checkpoint
from verify.learn.architecture import Architecture, Network
from verify.learn.plan import Training
from verify.learn.principal import DRAWS, principal
from verify.learn.progress import bar
from verify.learn.state import State
from verify.oracle.sampled import stream
from verify.span import span

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINTS = 20
"""Checkpoints over a run, at equal distances."""


class DivergedError(ArithmeticError):
    """A loss or gradient of a training run is not finite; the message says where, and what is left on disk."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A network (float64, evaluation only) after `step` steps, and the log: columns logsnr, loss (x0, summed), stderr."""

    network: Network
    training: Training
    log: pd.DataFrame
    step: int

    @property
    def window(self) -> tuple[float, float]:
        """(γ_0, γ_K): the noise levels that the network was trained on."""
        low, high = self.network.logsnr.exp().tolist()
        return low, high


def train(
    target: Target,
    training: Training | None = None,
    architecture: Architecture | None = None,
    *,
    file: str | Path | None = None,
    progress: bool | Console = False,
) -> Trained:
    """Train on the target's device, in float32; with `file`, go on from the checkpoint there and leave the result there.

    `progress`: whether to show a bar with the loss of each noise band, or the console to show it on.
    A target of float64 in, a network of float64 out.  Raises `ArgumentError` where the file is another run's (architecture,
    training, target or version), or memory runs out; `DivergedError` where a loss is not finite.
    """
    training, architecture = _checked(target, training, architecture)
    file = None if file is None else _path(file)
    if not isinstance(progress, (bool, Console)):
        refuse("progress", progress, "True, False or a rich Console")
    try:
        return _run(target, training, architecture, file, progress)
    except (RuntimeError, MemoryError) as error:
        _out_of_memory(error, training, architecture)


def untrained(target: Target, training: Training | None = None, architecture: Architecture | None = None) -> Network:
    """The network before its first step, float64: the linear denoiser of the 4,096 draws of principal.py.

    The mean of so few draws alone costs d/8192 nats of floor on an isotropic law: it is not quite the best linear denoiser.
    """
    training, architecture = _checked(target, training, architecture)
    return _trained(_begin(target, training, architecture, target.mean.device), training).network


def load(file: str | Path, target: Target) -> Trained:
    """The network in a checkpoint, finished or not; raises `ArgumentError` where the file is none, or of another target."""
    if not isinstance(target, Target):
        refuse("target", target, "a target")
    if target.mean.dtype != torch.float64:
        refuse("target dtype", target.mean.dtype, "float64")
    training, state = checkpoint.load(_path(file, write=False), target)
    return _trained(state.to(target.mean.device), training)


def _path(file: object, *, write: bool = True) -> Path:
    """A path whose folder exists and can be written to: a run must not end with nowhere to leave its weights."""
    if not isinstance(file, (str, Path)):
        refuse("file", file, "a path")
    path = Path(file)
    if write:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(
                f"file = {str(path)!r}: expected a file in a folder that can be made: {error}"
            ) from error
        if not os.access(path.parent, os.W_OK):
            refuse("file", str(path), "a file in a folder that can be written to")
    return path


def _checked(
    target: Target, training: Training | None, architecture: Architecture | None
) -> tuple[Training, Architecture]:
    training = Training() if training is None else training
    if not isinstance(training, Training):
        refuse("training", training, "a verify.learn.Training")
    if not isinstance(target, Target):
        refuse("target", target, "a target")
    if target.mean.dtype != torch.float64:
        refuse("target dtype", target.mean.dtype, "float64, of which training makes float32")
    architecture = Architecture.sized(target.dim) if architecture is None else architecture
    if not isinstance(architecture, Architecture):
        refuse("architecture", architecture, "a verify.learn.Architecture")
    if architecture.dim != target.dim:
        refuse("architecture.dim", architecture.dim, f"the target's dimension, {target.dim}")
    if architecture.rank > DRAWS:
        refuse("architecture.rank", architecture.rank, f"at most {DRAWS} principal directions")
    return training, architecture


def _run(
    target: Target, training: Training, architecture: Architecture, file: Path | None, progress: bool | Console
) -> Trained:
    device = target.mean.device
    if file is not None and file.exists():
        state = checkpoint.resume(file, target, architecture, training).to(device)
    else:
        state = _begin(target, training, architecture, device)
    every = max(1, training.steps // CHECKPOINTS)
    with bar(state, training.steps, progress) as tick:
        while state.step < training.steps:
            try:
                _step(target, state, training, tick)
                keep = state.step % every == 0 or state.step == training.steps
                if keep:
                    _sound(target, state, training)
            except FloatingPointError as error:
                raise DivergedError(f"{error}; lower rate (now {training.rate:g}); {_kept(file)}") from None
            if file is not None and keep:
                checkpoint.save(file, state, target, training)
    return _trained(state, training)


def _trained(state: State, training: Training) -> Trained:
    network = copy.deepcopy(state.average).double().requires_grad_(False).eval()
    return Trained(network, training, state.bands.frame(*network.logsnr.tolist()), state.step)


def _begin(target: Target, training: Training, architecture: Architecture, device: torch.device) -> State:
    low, high = span(target) if training.snr is None else training.snr
    law = principal(target, architecture.rank, training.seed)
    _refuse_rounding(low, high, law.widest)
    network = Network(architecture)
    generator = torch.Generator().manual_seed(training.seed)
    network.initialise(law, (math.log(low), math.log(high)), generator)
    return State.fresh(network.to(device), training.bands)


def _refuse_rounding(low: float, high: float, widest: float) -> None:
    """Refuse levels that float32 cannot tell from rounding: its error of X must stay below a tenth of the noise."""
    most = min((0.1 / torch.finfo(torch.float32).eps / max(widest, 1e-30)) ** 2, 1e30)
    if not 1e-30 <= low or high > most:
        refuse(
            "snr",
            (low, high),
            f"levels from 1e-30 to {most:.3g}: beyond them float32 sees rounding on a law of radius {widest:.3g}; give a "
            "range within as Training(snr=(low, high))",
        )


def _losses(target: Target, state: State, training: Training) -> tuple[Tensor, Tensor, Tensor]:
    """(place in [0, 1) along log γ, γ, ‖X − m̂‖²) of the next step's draws: every stratum of log γ has one sample.

    X is drawn and centred in float64; what is left is float32.
    """
    network, device, batch = state.network, target.mean.device, training.batch
    draws = stream(training.seed, f"training step {state.step}", target)
    uniform = torch.rand(batch, generator=draws, device=device)
    place = (torch.arange(batch, device=device) + uniform) / batch
    low, high = network.logsnr
    snr = torch.exp(low + (high - low) * place)
    clean = (target.sample(batch // training.reused, draws) - network.centre).float().repeat(training.reused, 1)
    noise = torch.randn(clean.shape, generator=draws, device=device)
    losses = (clean - network.centred(clean + noise / snr.sqrt()[:, None], snr)).square().sum(1)
    if not bool(torch.isfinite(losses).all()):
        worst = float(snr[~torch.isfinite(losses)][0].log())
        raise FloatingPointError(f"the loss is not finite at step {state.step} and log snr {worst:.3f}")
    return place, snr, losses


def _step(target: Target, state: State, training: Training, tick: Callable[[Tensor, Tensor], None]) -> None:
    """One step of Adam on fresh draws."""
    network = state.network
    place, snr, losses = _losses(target, state, training)
    weighted = (snr + 1.0 / network.spread.max().clamp(min=1e-30)) * losses
    for group in state.optimiser.param_groups:
        group["lr"] = training.rate * group["share"] * training.scale(state.step)
    state.optimiser.zero_grad(set_to_none=True)
    weighted.mean().backward()
    largest = torch.nn.utils.get_total_norm([p.grad for p in state.weights if p.grad is not None], math.inf)
    if not bool(torch.isfinite(largest)):
        worst = float(snr[weighted.argmax()].log())
        raise FloatingPointError(
            f"the gradient is not finite at step {state.step}, where the largest loss is at log snr {worst:.3f}"
        )
    state.optimiser.step()
    state.advance(training.decay(state.step))
    if state.step > (1.0 - training.logged) * training.steps:
        state.bands.add(place, losses.detach())
    tick(place, (snr * losses).detach() / network.architecture.dim)


def _sound(target: Target, state: State, training: Training) -> None:
    """Before a state is kept: all of it is finite, and so is the loss that it begins the next step with."""
    state.check()
    with torch.no_grad():
        _losses(target, state, training)


def _kept(file: Path | None) -> str:
    if file is None:
        return "no file was given to keep checkpoints in"
    return f"last good checkpoint: {file}" if file.exists() else f"no checkpoint was made yet in {file}"


def _out_of_memory(error: RuntimeError | MemoryError, training: Training, architecture: Architecture) -> NoReturn:
    text = str(error).lower()
    if not isinstance(error, MemoryError) and "out of memory" not in text and "can't allocate" not in text:
        raise error
    raise ArgumentError(
        f"out of memory while training: lower batch (now {training.batch}), width (now {architecture.width}), blocks (now "
        f"{architecture.blocks}) or rank (now {architecture.rank})"
    ) from error

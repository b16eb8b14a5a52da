"""What a training run shows on a terminal: a bar, and γ‖X − m̂‖²/d, the loss in units of the noise, band by band."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from verify.learn.state import State

SHOWN = 5
"""Bands on the terminal."""
MEMORY = 0.98
"""Share of its past that a shown loss keeps from step to step."""
EVERY = 10
"""Steps between two pictures."""


@contextmanager
def bar(state: State, steps: int, shown: bool | Console) -> Iterator[Callable[[Tensor, Tensor], None]]:
    """A function of (place in [0, 1) along log γ, loss) of each sample, to be called once a step."""
    console = shown if isinstance(shown, Console) else get_console()
    if shown is False or not console.is_terminal:
        yield lambda _place, _loss: None
        return
    low, high = state.network.logsnr.tolist()
    ends = [low + (high - low) * k / SHOWN for k in range(SHOWN + 1)]
    recent = [math.nan] * SHOWN
    columns = (
        TextColumn("training d={task.fields[dim]}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console, transient=True) as picture:
        dim = state.network.architecture.dim
        task = picture.add_task("", total=steps, completed=state.step, dim=dim, losses="")

        def tick(place: Tensor, loss: Tensor) -> None:
            band = (place * SHOWN).long().clamp(0, SHOWN - 1)
            sums = torch.zeros(2, SHOWN, device=loss.device).index_add_(
                1, band, torch.stack([torch.ones_like(loss), loss])
            )
            for k, (count, total) in enumerate(sums.mT.tolist()):
                if count:
                    now = total / count
                    recent[k] = now if math.isnan(recent[k]) else MEMORY * recent[k] + (1.0 - MEMORY) * now
            if state.step % EVERY == 0 or state.step == steps:
                text = "loss by log snr " + " | ".join(
                    f"{ends[k]:.0f}…{ends[k + 1]:.0f} {recent[k]:.2g}" for k in range(SHOWN)
                )
                picture.update(task, completed=state.step, losses=text)

        yield tick

"""Every schedule by name, on a window of snr: those that know the law, and those that don't."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from targets import Target
from targets.arguments import one_of
from targets.channel import PROCESSES
from targets.curve import Curve
from verify.grid import Grid

Window = tuple[float, float]


def _in_ou_time(build: Callable[..., Grid]) -> Callable[[Target | Curve, int, Window], Grid]:
    def on_window(_: Target | Curve, steps: int, snr: Window) -> Grid:
        grid = build(steps, ou_time=tuple(PROCESSES["vp"].time(np.array(snr)).tolist()))
        return Grid.from_snr(np.concatenate([snr[:1], grid.snr[1:-1], snr[1:]]))

    return on_window


def _on_window(build: Callable[..., Grid]) -> Callable[[Target | Curve, int, Window], Grid]:
    return lambda _, steps, snr: build(steps, snr=snr)


def _of_law(build: Callable[..., Grid]) -> Callable[[Target | Curve, int, Window], Grid]:
    return lambda law, steps, snr: build(law, steps=steps, snr=snr)


def _tangent(law: Target | Curve, steps: int, snr: Window) -> Grid:
    variance = law.total_variance / law.dim if isinstance(law, Target) else 1.0
    return Grid.tangent(steps, snr=snr, variance=variance or 1.0)


SCHEDULES: dict[str, Callable[[Target | Curve, int, Window], Grid]] = {
    "optimal": _of_law(Grid.optimal),
    "recursion": _of_law(Grid.recursion),
    "sqrt_slope": _of_law(Grid.sqrt_slope),
    "align_your_steps": _of_law(Grid.align_your_steps),
    "entropic": _of_law(Grid.entropic),
    "rescaled_entropic": _of_law(Grid.rescaled_entropic),
    "log_snr": _on_window(Grid.log_snr),
    "karras": _on_window(Grid.karras),
    "cosine": _on_window(Grid.cosine),
    "linear_beta": _on_window(Grid.linear_beta),
    "scaled_linear_beta": _on_window(Grid.scaled_linear_beta),
    "exponential_uniform": _in_ou_time(Grid.exponential_uniform),
    "tangent": _tangent,
    "uniform_ou_time": _in_ou_time(Grid.uniform_ou_time),
    "uniform_sigma": _on_window(Grid.uniform_sigma),
    "uniform_snr": _on_window(Grid.uniform_snr),
}
"""name -> (law, steps, window) -> grid.  The tangent law takes the law's variance a coordinate, 1 where it has none."""


def schedule(name: str, law: Target | Curve, steps: int, snr: Window) -> Grid:
    """The named schedule on [γ_0, γ_K]; raises `ArgumentError` for an unknown name, suggesting the nearest."""
    return SCHEDULES[one_of("schedule", name, SCHEDULES)](law, steps, snr)

"""A loss curve from noisy losses: what a target's mmse curve is to a law, read off a training run.

A step function, as isotonic regression gives, has no density of steps to offer, so the curve is the smooth decreasing
regression of decreasing.py.  Two things are decided here.

Variances.  Where a loss is a rare large value among many small ones, its standard error is as unreliable as itself.  Both
are tamed by v(γ) = r(γ) ℓ(γ), r = Σ stderr²/Σ loss over neighbouring levels: the size of what a sample can lose, over their
number.  Where no sample met another atom any more both sums vanish, so r is held from falling faster than γ^{−7}.  Without
standard errors, stderr² is the scatter of the losses about their neighbours, (ℓ_{i−1} − 2ℓ_i + ℓ_{i+1})²/6.

Smoothness.  Of penalties 10^6 … 10^−4 the one with the least generalised cross-validation score is taken,
M·RSS/(M − 1.4 edf)², edf the trace of the smoother.

Rows 1..R of the curve leave out every R-th level (jackknife), so that whatever is computed from it has a standard error.
"""

from __future__ import annotations

import math

import numpy as np

from targets import ArgumentError
from targets.arguments import refuse
from targets.tabulated import TabulatedCurve
from verify.decreasing import DecreasingSpline
from verify.losses import Losses

REPLICATES = 16
RISE = 6.0
"""Standard errors by which losses may rise.  Of 2,400 simulated curves with relative errors of 3% to 100%, none was falsely
refused with standard errors given, two without."""

STEEPEST = 7.0
"""The power of γ with which r may fall: that of the chance of meeting another atom, e^{−cγ}, once it is 1/n, n = 1,000."""
DEPTH = 150.0
"""e-folds below its peak at which the slope γD is held: what no sample reaches must still be a number."""

TOLERANCE = 1e-6
"""Largest difference, relative to the largest loss, of the interpolated curve from the integral of its slope."""

PANEL = 0.5
"""Widest panel of log γ on which log ℓ is interpolated; the spline's intervals are whole numbers of panels."""
FINER = (1, 2, 4, 8, 16)
"""Into how many parts such a panel is cut in turn, until the curve is within `TOLERANCE`."""


class LossCurve(TabulatedCurve):
    """ℓ(γ) and D = −ℓ′ between the lowest and the highest measured level, total over coordinates, with standard errors.

    `measured` holds the losses and `variance` their assumed variances.  Raises `ArgumentError` where the losses rise by
    more than 6 standard errors, are all zero, or are too few and noisy for a smooth curve.
    """

    def __init__(self, measured: Losses) -> None:
        if not (measured.loss > 0).any():
            refuse("losses", 0.0, "losses that are not all zero")
        ratio = _ratio(measured)
        self.measured, self.variance = measured, ratio * measured.loss
        _refuse_rise(measured, ratio)
        low, high = float(measured.snr[0]), float(measured.snr[-1])
        spline = DecreasingSpline.on(np.log(measured.snr), int(np.clip(len(measured.snr) // 2, 4, 48)))
        fits, width = _fits(spline, measured.loss, ratio), float(spline.breaks[1] - spline.breaks[0])

        def points(snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            slope = np.exp(spline.log_slope(fits, np.log(snr))) / snr
            return np.repeat(np.exp(fits[:, -1:]), len(snr), 1), slope

        head = float(points(np.array([low]))[1][0, 0])
        method = f"smooth decreasing regression of {len(measured.snr)} losses"
        places, largest = np.geomspace(low, high, 1000), float(measured.loss.max())
        for parts in FINER:
            panel = width / (parts * math.ceil(width / PANEL)) * (1.0 + 1e-9)
            super().__init__(
                points, low, high, head=head, discrete=False, method=method, degree=16, panel=panel, tolerance=None
            )
            if np.abs(self.over_steps(places).mmse[0] - self.mmse_rows(places)[0]).max() <= TOLERANCE * largest:
                break
        else:
            refuse(
                "losses", len(measured.snr), "more levels, or smaller errors: no smooth curve goes through these losses"
            )
        self.reach = (low, high)


def _ratio(measured: Losses) -> np.ndarray:
    """r = v/ℓ at each level."""
    loss, floor = measured.loss, 1e-60 * measured.loss.max() ** 2
    nearby = _mean(loss, 3)
    if measured.stderr is None:
        scatter = np.pad(np.diff(loss, 2) ** 2 / 6.0, 1, mode="edge")
        square, nearby = _mean(scatter, 13), _mean(loss, 13)
    else:
        square = _mean(measured.stderr**2, 3)
    square = np.maximum(square, 1e-12 * nearby**2) + floor
    log_ratio = np.log(square) - np.log(np.maximum(nearby, floor**0.5))
    logsnr = np.log(measured.snr)
    return np.exp(np.maximum.accumulate(log_ratio + STEEPEST * logsnr) - STEEPEST * logsnr)


def _mean(values: np.ndarray, count: int) -> np.ndarray:
    """Of each value and its neighbours, `count` in all; no running sum, whose rounding would drown the small ones."""
    from scipy.ndimage import convolve1d

    return convolve1d(values, np.full(count, 1.0 / count), mode="nearest")


def _refuse_rise(measured: Losses, ratio: np.ndarray) -> None:
    """Refuse losses whose best decreasing step function averages a rise of more than `RISE` standard errors."""
    nearby = _mean(measured.loss, 5)
    variance = ratio * np.maximum(nearby, 1e-30 * nearby.max())
    blocks: list[tuple[float, float, int]] = []
    for i, (value, weight) in enumerate(zip(measured.loss, 1.0 / variance, strict=True)):
        block = (float(weight * value), float(weight), i)
        while blocks and block[0] / block[1] > blocks[-1][0] / blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2])
        blocks.append(block)
    starts = [first for _, _, first in blocks]
    for first, last in zip(starts, [*starts[1:], len(variance)], strict=True):
        if last - first > 1:
            _refuse_block(measured, 1.0 / variance[first:last], first, last)


def _refuse_block(measured: Losses, weight: np.ndarray, first: int, last: int) -> None:
    """Refuse if the later levels of a block, however it is split, lie more than `RISE` standard errors above the earlier."""
    sums = weight * measured.loss[first:last]
    early, late = np.cumsum(weight)[:-1], np.cumsum(weight[::-1])[-2::-1]
    rise = np.cumsum(sums[::-1])[-2::-1] / late - np.cumsum(sums)[:-1] / early
    score = float((rise / np.sqrt(1.0 / early + 1.0 / late)).max())
    if score > RISE:
        raise ArgumentError(
            f"losses: from {measured.lines[first]} (snr {measured.snr[first]:.4g}) to {measured.lines[last - 1]} "
            f"(snr {measured.snr[last - 1]:.4g}) the x0-loss rises with snr by {score:.1f} standard errors: expected it to "
            "fall; is `prediction` what the network predicts, and `weighting` how its loss was weighted?"
        )


def _fits(spline: DecreasingSpline, loss: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """(θ, c) from all levels and with each group of levels left out: shape (R + 1, J + 1)."""
    everything, fit = slice(None), spline.straight(loss)
    tried = []
    for penalty in 10.0 ** np.arange(6.0, -4.5, -0.5):
        fit, score = spline.fit(loss, ratio, penalty, fit, everything)
        tried.append((score, penalty, fit))
    _, penalty, fit = min(tried, key=lambda item: item[0])
    group = np.arange(len(loss)) % min(REPLICATES, len(loss) // 2)
    left_out = [spline.fit(loss, ratio, penalty, fit, group != r)[0] for r in range(group.max() + 1)]
    fits = np.stack([fit, *left_out])
    return np.maximum(fits, fits.max(1, keepdims=True) - DEPTH)

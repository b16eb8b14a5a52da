"""A denoiser's loss on a fixed evaluation set, its excess over the mmse, and the path KL that follows from losses alone.

    ℓ(γ)  =  E‖X − m̂‖²  =  mmse(γ) + E‖m̂ − m‖²
    path KL of ddpm  =  KL_init + ½ Σ_k h_k ℓ(γ_k) − ΔI,      ΔI = I(γ_K) − I(γ_0)

The set is drawn once from a seed: the same X at every level, and a noise of its own for each, so that two networks or two
runs are compared on the same draws.  Of the law only ΔI and mmse enter, and no error moments of an oracle; a network
answers by itself, without the exact denoiser.  The sum is a second path to `kl.path`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from targets import ArgumentError, Estimate, Level
from targets.arguments import ascending, integer, refuse
from verify.kl.frozen import check_inputs
from verify.kl.initial import initial, rounding
from verify.kl.path import discretisation
from verify.oracle import Oracle
from verify.oracle.sampled import REPLICATES, left_out, stream, together
from verify.step import Table

if TYPE_CHECKING:
    import pandas as pd


class EvaluationSet:
    """32 replicates of `points` draws of X, and of Z for every level, from streams of `seed`; losses need an `oracle`."""

    def __init__(self, oracle: Oracle, *, points: int = 128, seed: int = 1) -> None:
        if not isinstance(oracle, Oracle):
            refuse("oracle", oracle, "an oracle, e.g. verify.learn.Learned(target, network)")
        self.oracle, self.points, self.seed = oracle, integer("points", points, 2), integer("seed", seed, 0)
        self._known: dict[float, np.ndarray] = {}

    def loss_rows(self, snr: np.ndarray) -> np.ndarray:
        """E‖X − m̂‖² at levels γ (K,): row 0 of all draws, rows 1..32 with one replicate left out; shape (33, K)."""
        rows = [self._rows(float(value)) for value in snr]
        return np.stack(rows, axis=-1)

    def curve(self, snr: np.ndarray) -> pd.DataFrame:
        """Columns snr, loss, excess = loss − mmse, each with its standard error, at ascending levels γ."""
        import pandas as pd

        levels = ascending("snr", snr, 1)
        loss = Estimate.jackknife(self.loss_rows(levels), 0.0, "evaluation set")
        mmse = self.oracle.target.mmse(levels)
        return pd.DataFrame(
            {
                "snr": levels,
                "loss": loss.value,
                "loss_stderr": loss.stderr,
                "mmse": mmse.value,
                "excess": loss.value - mmse.value,
                "excess_stderr": np.hypot(loss.stderr, mmse.stderr),
                "excess_bias": np.abs(mmse.bias),
            }
        )

    def path(self, table: Table, *, start: str = "exact") -> Estimate:
        """Path KL of a ddpm table by the loss equality above; other tables raise `ArgumentError`."""
        target = self.oracle.target
        check_inputs(target, table, self.oracle)
        if discretisation(table) != "ddpm":
            raise ArgumentError(
                f"table = {table.method.name}: expected ddpm, whose path KL losses decide; available: kl.path"
            )
        losses = 0.5 * self.loss_rows(table.snr[:-1]) @ np.diff(table.snr)
        ends = target.curve.information_rows(table.snr[[0, -1]])
        known = initial(target, table, start) - (ends[:, 1] - ends[:, 0])
        ours = Estimate.jackknife(known, 0.0, "")
        measured = Estimate.jackknife(losses, 0.0, "")
        told = target.mutual_information(table.snr[[0, -1]])
        doubt = float(np.abs(told.bias).sum()) + rounding(target, table, start)
        return Estimate(
            float(measured.value) + float(ours.value),
            float(np.hypot(measured.stderr, ours.stderr)),
            doubt,
            f"loss on {REPLICATES * self.points} fixed draws less information",
        )

    def _rows(self, snr: float) -> np.ndarray:
        if snr not in self._known:
            self._known[snr] = self._measured(snr)
        return self._known[snr]

    def _measured(self, snr: float) -> np.ndarray:
        target, at = self.oracle.target, Level.from_snr(snr, "ve")
        draws, noises = (stream(self.seed, use, target) for use in ("evaluation X", f"evaluation Z at {snr!r}"))
        means = []
        for count in together(self.points * target.dim):
            clean = target.sample(count * self.points, draws)
            noise = torch.randn(clean.shape, generator=noises, dtype=clean.dtype, device=clean.device)
            loss = (clean - self.oracle.denoiser(clean + at.sigma * noise, at)).square().sum(-1)
            means.append(loss.reshape(count, self.points).mean(1).cpu().numpy())
        return left_out(means)

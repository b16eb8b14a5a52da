"""Planted bugs in methods of OU time, and in the corrector: few identities hold, so that the order has to tell."""

import math
from dataclasses import replace

import numpy as np
from planted import BUGS, planted

from verify import Table, samplers
from verify.samplers.ei_sde import EI_SDE
from verify.samplers.euler_maruyama import EULER_MARUYAMA
from verify.samplers.jain_zhang import VARIANTS
from verify.samplers.langevin import PREDICTOR_CORRECTOR
from verify.samplers.relative_score import RELATIVE_SCORE

__all__ = ["BUGS"]


@planted(EI_SDE, "order")
def ei_sde_factor(grid):
    """e^Δ − 1 for 2(e^Δ − 1)."""
    delta = -np.diff(grid.ou_time)
    gain = np.expm1(delta) / grid.sigma[:-1] ** 2
    return Table.one_stage(EI_SDE, grid, np.exp(delta) - gain, gain * grid.alpha[:-1], np.sqrt(np.expm1(2.0 * delta)))


@planted(EI_SDE, "order")
def ei_sde_noise(grid):
    """√(e^Δ − 1) for √(e^{2Δ} − 1)."""
    delta = -np.diff(grid.ou_time)
    gain = 2.0 * np.expm1(delta) / grid.sigma[:-1] ** 2
    return Table.one_stage(EI_SDE, grid, np.exp(delta) - gain, gain * grid.alpha[:-1], np.sqrt(np.expm1(delta)))


@planted(EI_SDE, "translation")
def ei_sde_linearised(grid):
    """1 + Δ for e^Δ: of the same order, and the mean is off."""
    delta = -np.diff(grid.ou_time)
    gain = 2.0 * np.expm1(delta) / grid.sigma[:-1] ** 2
    return Table.one_stage(EI_SDE, grid, 1.0 + delta - gain, gain * grid.alpha[:-1], np.sqrt(np.expm1(2.0 * delta)))


@planted(EULER_MARUYAMA, "order")
def euler_maruyama_sign(grid):
    """1 − Δ for 1 + Δ."""
    delta = -np.diff(grid.ou_time)
    gain = 2.0 * delta / grid.sigma[:-1] ** 2
    return Table.one_stage(EULER_MARUYAMA, grid, 1.0 - delta - gain, gain * grid.alpha[:-1], np.sqrt(2.0 * delta))


@planted(RELATIVE_SCORE, "order")
def relative_score_exponent(grid):
    """√(1 − e^{−Δ}) for √(1 − e^{−2Δ})."""
    table = samplers.relative_score(grid)
    return replace(table, noise=np.sqrt(-np.expm1(np.diff(grid.ou_time))))


@planted(VARIANTS["score"], "translation")
def jain_zhang_way_back(grid):
    """The denoiser's coefficient is not scaled by e^{−r}."""
    further = grid.beyond()
    t = further.ou_time
    table = samplers.jain_zhang(further)
    return replace(table, outputs=table.outputs * np.exp(t[1:-1] - t[2:])[:, None])


@planted(PREDICTOR_CORRECTOR, "order")
def corrector_noise(grid, size=0.5):
    """√size for √(2·size)."""
    table = samplers.predictor_corrector(grid, size)
    noise = table.noise.copy()
    noise[1::2] /= math.sqrt(2.0)
    return replace(table, noise=noise)

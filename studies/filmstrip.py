"""Particles of one law in the plane, carried by two samplers from one start in few steps, beside the exact density.

    X = R (U, V),   U and V independent mixtures of three Gaussians on the line, R a rotation

so that the density of αX + σZ is known at every level, and every rung is that of U plus that of V: the marginal KL of both
samplers is exact, and the picture can quote it.  U and V have components of standard deviation 0.1 to 0.45, several scales.

Schedule: equal steps of log snr over the law's window (`verify.span`); both samplers start from the same draws of the true
law there.  ddpm adds noise at each step, ddim is the flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from rich import box
from rich.table import Table as Sheet

from studies import study
from studies.dimension_scaling import numbers
from studies.step_verdicts import RUNGS
from studies.store import Row
from studies.study import console
from targets import GaussianMixture, NotAvailableError, Product, Rotated, get
from targets.arguments import integer
from verify import Grid, kl, samplers
from verify.carry.particles import run
from verify.oracle import Exact
from verify.span import span
from verify.step import Table

NAME = "filmstrip"
SAMPLERS = ("ddpm", "ddim")
PANELS = 6
"""Levels that are shown: the first, the last, and those in between nearest to equal parts of the information."""
ANGLE = 0.5
"""Radians by which the axes are turned, so that they are not the picture's."""
REACH = 2.9
"""Half the width of a panel in standard deviations of its level."""
PARTICLES = {"quick": 250, "full": 1000}
CELLS = {"quick": 40, "full": 72}
"""Nodes of the density's grid in each direction."""


@dataclass(frozen=True)
class Config(study.Config):
    """1,000 particles (quick: 250) at six levels of a grid of `steps` steps, under ddpm and under ddim."""

    steps: int = 8
    """K; both samplers take the same grid."""


@lru_cache(maxsize=1)
def law() -> Rotated:
    """Nine unlike blobs: the curved mixture of the studies times another mixture, turned by `ANGLE`."""
    other = GaussianMixture.isotropic([0.45, 0.2, 0.35], [[-1.9], [0.1], [1.5]], [0.02, 0.01, 0.2])
    c, s = math.cos(ANGLE), math.sin(ANGLE)
    return Rotated(Product([get("curved_mixture"), other]), [[c, -s], [s, c]])


def shown(grid: Grid) -> list[int]:
    """Indices of the levels that are shown: 0, K, and those whose I(γ) is nearest to equal parts, each but once."""
    told = np.asarray(law().mutual_information(grid.snr).value)
    chosen, last = [0], grid.steps
    for part, wanted in enumerate(np.linspace(told[0], told[-1], PANELS)[1:-1], 1):
        free = np.arange(chosen[-1] + 1, last - (PANELS - 2 - part))
        chosen.append(int(free[np.argmin(np.abs(told[free] - wanted))]))
    return [*chosen, last]


def grid_of(steps: int) -> Grid:
    """Equal steps of log snr over the law's window."""
    return Grid.log_snr(steps, snr=span(law()))


def settings(config: Config) -> list[Row]:
    """One setting for the densities, one a sampler for its particles and its rungs."""
    shared = config.varied()
    return [{"part": "density", **shared}, *({"part": "particles", "sampler": name, **shared} for name in SAMPLERS)]


def compute(setting: Row, place: torch.device) -> list[Row]:
    """Densities at the levels that are shown, or one sampler's particles there and its divergences."""
    grid = grid_of(setting["steps"])
    if setting["part"] == "density":
        return [_density(grid, index, CELLS[setting["preset"]]) for index in shown(grid)]
    table = samplers.get(setting["sampler"])(grid)
    base = {"sampler": setting["sampler"], "steps": grid.steps}
    target = law() if place.type == "cpu" else law().to(device=place)
    count = PARTICLES[setting["preset"]]
    states = run(table, Exact(target), count, seed=setting["seed"], trajectory=True).cpu().numpy()
    moved = [
        {
            "quantity": "particles",
            **base,
            "index": index,
            "snr": float(table.snr[index]),
            "points": np.round(states[index], 3).tolist(),
        }
        for index in shown(grid)
    ]
    return moved + [_rung(table, base, rung, reference) for rung, reference in RUNGS]


def _density(grid: Grid, index: int, cells: int) -> Row:
    """log density of αX + σZ, nats, on a square around the level's mean: log_density[j][i] belongs to (x[i], y[j])."""
    target, level = law(), grid.levels[index]
    width = REACH * math.sqrt(level.alpha**2 * target.total_variance / 2.0 + level.sigma**2)
    middle = level.alpha * target.mean.numpy()
    x, y = (np.round(np.linspace(m - width, m + width, cells), 4) for m in middle)
    nodes = torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    values = target.log_prob(nodes, level).reshape(cells, cells).numpy()
    where = {"index": index, "snr": float(grid.snr[index]), "x": x.tolist(), "y": y.tolist()}
    return {"quantity": "density", "steps": grid.steps, **where, "log_density": np.round(values, 2).tolist()}


def _rung(table: Table, base: Row, rung: str, reference: str) -> Row:
    where = {**base, "rung": rung, "reference": reference}
    try:
        if rung == "path":
            found = kl.path(law(), table)
        else:
            found = kl.chain(law(), table, reference=reference) if rung == "chain" else kl.marginal(law(), table)
    except NotAvailableError as refusal:
        return {"quantity": "refused", **where, "value": None, "method": str(refusal)}
    return {"quantity": "kl", **where, **numbers(found)}


def report(rows: list[Row]) -> None:
    """Every rung of both samplers; a dash where it is refused."""
    sheet = Sheet(box=box.SIMPLE_HEAD, title=f"{law()!r}: KL in nats at K = {rows[0]['steps']}")
    for column in ("sampler", "rung", "reference"):
        sheet.add_column(column)
    for column in ("nats", "± stderr", "± bias"):
        sheet.add_column(column, justify="right")
    for row in rows:
        where = (row.get("sampler", ""), row.get("rung", ""), row.get("reference", ""))
        if row["quantity"] == "kl":
            sheet.add_row(*where, f"{row['value']:.6g}", f"{row['stderr']:.1g}", f"{row['bias']:.1g}")
        elif row["quantity"] == "refused":
            sheet.add_row(*where, "-", "", "")
    console.print(sheet)


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    integer("steps", config.steps, PANELS - 1)
    integer("seed", config.seed, 0)


def main(config: Config) -> None:
    """Run the study, print its table, draw its figure."""
    check(config)
    from figures.filmstrip import draw

    study.run(NAME, config, settings(config), compute, report, draw)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

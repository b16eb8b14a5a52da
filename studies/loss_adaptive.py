"""The best grid for your own training run: losses in, grid, predicted path KL and every schedule in use beside it out.

The CSV has one column of noise levels (snr, logsnr, sigma, ou_time or timestep), one named loss and, where known, one
named stderr.  The predicted path KL is ddpm's, of a denoiser whose loss is the least possible; what an imperfect one adds
is no matter of the grid.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich import box
from rich.table import Table

from studies.study import folder
from targets import ArgumentError
from targets.arguments import integer, refuse
from verify import Grid, kl
from verify.command import Command, Json, console, writable, write_json
from verify.in_use import SCHEDULES, schedule
from verify.loss_curve import LossCurve
from verify.losses import read_losses
from verify.provenance import provenance

NAME = "loss_adaptive"
TABLES = {
    "linear": np.linspace(1e-4, 0.02, 1000),
    "scaled_linear": np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2,
}
"""β tables by name: DDPM's, and Stable Diffusion's."""


LARGEST_TABLE = 2**20
"""Bytes of the largest file of βs that is read."""


@dataclass(frozen=True)
class Config:
    """Losses of a training run, and what they are."""

    losses: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LOSSES.csv")]
    """CSV file: a column of noise levels, loss, and stderr where known."""
    prediction: Literal["x0", "epsilon", "v", "score", "flow"]
    """What the network predicts."""
    weighting: Literal["sum", "mean"]
    """Over coordinates; a loss with a further weight has to be divided by it first."""
    steps: int = 32
    """K."""
    dim: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Number of coordinates: makes totals of a mean; without it KL is per coordinate."""
    process: Literal["vp", "ve", "flow"] | None = None
    """Whose σ the column sigma holds, or the score."""
    betas: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """β table of the column timestep: linear, scaled_linear, or a file of numbers."""
    low: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Lowest snr of the grid; the lowest measured one if not given."""
    high: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Highest snr of the grid; the highest measured one if not given."""
    out: Path = Path("results")
    """Folder for the grid (CSV) and its figure."""
    json: Json = None
    """Write the grid and what each schedule costs to this file; - is standard output, all else goes to standard error."""


def betas_of(name: str | None) -> np.ndarray | None:
    """The β table of that name, or read from that file (of at most 1 MiB: numbers with spaces or line ends between)."""
    if name is None or name in TABLES:
        return None if name is None else TABLES[name]
    near = difflib.get_close_matches(name, TABLES, n=1, cutoff=0.6)
    try:
        with Path(name).open("rb") as file:
            text = file.read(LARGEST_TABLE + 1)
        if len(text) > LARGEST_TABLE:
            raise ValueError(f"longer than {LARGEST_TABLE} bytes")
        return np.array(text.decode().split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        why = f"did you mean {near[0]!r}?" if near else (getattr(error, "strerror", None) or str(error))
        raise ArgumentError(f"betas = {name!r}: expected {', '.join(TABLES)} or a file of numbers; {why}") from error


def compared(curve: LossCurve, steps: int, window: tuple[float, float]) -> list[dict]:
    """Every schedule's grid with its predicted path KL, in the rows that the schedules' figure draws."""
    rows = []
    for name in SCHEDULES:
        grid = schedule(name, curve, steps, window)
        cost = kl.discretisation(curve, grid)
        base = {"schedule": name, "steps": steps}
        rows.append({**base, "quantity": "grid", "logsnr": np.log(grid.snr).tolist()})
        numbers = {"value": float(cost.value), "stderr": float(cost.stderr)}
        rows.append({**base, "quantity": "kl", "rung": "path", **numbers})
    snr = np.geomspace(*window, 200)
    loss, slope = np.asarray(curve.mmse(snr).value), np.asarray(curve.slope(snr).value)
    drawn = {
        "logsnr": np.log(snr).tolist(),
        "mmse": (loss / loss[0]).tolist(),
        "density": (snr * np.sqrt(slope)).tolist(),
    }
    return [*rows, {"quantity": "curve", **drawn}]


def main(config: Config) -> None:
    """Print the comparison, write the grid as CSV and the figure."""
    integer("steps", config.steps, 1)
    writable("json", config.json)
    if config.low is not None and config.high is not None and config.low >= config.high:
        raise ArgumentError(f"--low = {config.low:g}: expected --low < --high, which is {config.high:g}")
    curve = LossCurve(
        read_losses(
            config.losses,
            prediction=config.prediction,
            weighting=config.weighting,
            process=config.process,
            betas=betas_of(config.betas),
            dim=config.dim,
        )
    )
    low, high = curve.reach
    window = (low if config.low is None else config.low, high if config.high is None else config.high)
    if not curve.reach[0] <= window[0] < window[1] <= curve.reach[1]:
        refuse(
            "(low, high)", window, f"a window within the measured levels, {curve.reach[0]:.6g} to {curve.reach[1]:.6g}"
        )
    grid = Grid.optimal(curve, steps=config.steps, snr=window)
    rows = compared(curve, config.steps, window)
    unit = "nats" if config.weighting == "sum" or config.dim else "nats per coordinate"
    folder(config.out / NAME)
    console.print(_comparison(rows, unit))
    console.print(_written(config, curve, grid, rows), soft_wrap=True)
    write_json(config.json, as_json(rows, grid, window, unit))


def as_json(rows: list[dict], grid: Grid, window: tuple[float, float], unit: str) -> dict[str, Any]:
    """The best grid, and the predicted path KL on every schedule's, the least first."""
    return {
        "command": NAME,
        "provenance": provenance(),
        "unit": unit,
        "window": {"snr": list(window)},
        "steps": grid.steps,
        "grid": {"snr": grid.snr.tolist(), "logsnr": np.log(grid.snr).tolist(), "ou_time": grid.ou_time.tolist()},
        "schedules": [
            {key: row[key] for key in ("schedule", "steps", "rung", "value", "stderr")} for row in _costs(rows)
        ],
    }


def _costs(rows: list[dict]) -> list[dict]:
    """Every schedule's cost, the least first."""
    return sorted((row for row in rows if row["quantity"] == "kl"), key=lambda row: row["value"])


def _comparison(rows: list[dict], unit: str) -> Table:
    sheet = Table(box=box.SIMPLE_HEAD, title=f"path KL of ddpm as the losses predict it, {unit}")
    for column in ("schedule", "path KL", "± stderr", "over the best"):
        sheet.add_column(column, justify="left" if column == "schedule" else "right")
    costs = _costs(rows)
    best = next(row["value"] for row in costs if row["schedule"] == "optimal")
    for row in costs:
        over = row["value"] / best
        sheet.add_row(row["schedule"], f"{row['value']:.4g}", f"{row['stderr']:.1g}", f"x{over:.4g}")
    return sheet


def _written(config: Config, curve: LossCurve, grid: Grid, rows: list[dict]) -> str:
    import pandas as pd

    from figures import style
    from figures.schedules import grids

    place = config.out / NAME
    levels = pd.DataFrame(
        {"snr": grid.snr, "logsnr": np.log(grid.snr), "sigma_over_alpha": grid.snr**-0.5, "ou_time": grid.ou_time}
    )
    levels.to_csv(place / "grid.csv", index=False)
    figure, axes = style.canvas(6.4, 4.8, 1, 1)
    grids(axes[0, 0], pd.DataFrame(rows), config.losses.name)
    kept = (curve.measured.snr >= grid.snr[0]) & (curve.measured.snr <= grid.snr[-1])
    heights = curve.measured.loss[kept] / float(curve.mmse(grid.snr[0]).value)
    axes[0, 0].plot(np.log(curve.measured.snr[kept]), heights, ".", color="#D55E00", markersize=3, label="measured")
    style.shared_legend(figure, axes.flat)
    origin = provenance()
    drawn = style.save(figure, place, "grids", origin["command"], origin["commit"][:12])
    return f"grid   {place / 'grid.csv'} (noisiest level first)\nfigure {', '.join(str(path) for path in drawn)}"


COMMAND = Command(
    Config,
    "python -m studies.loss_adaptive",
    __doc__,
    (
        ("losses.csv --prediction epsilon --weighting mean", "KL per coordinate"),
        ("losses.csv --prediction epsilon --weighting mean --dim 3072 --steps 16", "KL of all 3,072, 16 steps"),
        ("losses.csv --prediction v --weighting sum --json grid.json", "the grid as a file"),
    ),
)

if __name__ == "__main__":
    COMMAND.run(main)

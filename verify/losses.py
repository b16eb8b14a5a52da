"""Training losses as they are logged, brought to one form: E‖X − m̂‖² in total over coordinates, at ascending γ.

A network's loss at a noise level is E‖X − m̂‖² times a factor that depends on what it predicts.  With x = αX + σZ:

    prediction   loss, summed over coordinates        factor
    x0           E‖X − m̂‖²                            1
    epsilon      E‖Z − ε̂‖²                            γ
    v            E‖αZ − σX − v̂‖², vp                  1 + γ
    score        E‖ŝ + Z/σ‖²                          γ/σ²         (σ of the process)
    flow         E‖Z − X − û‖², straight paths        (1 + √γ)²

since Z − ε̂ = (α/σ)(m̂ − X), and so on.  To take one for another multiplies the loss by a power of γ and gives a wrong grid:
nothing here is guessed.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from targets import ArgumentError, Level
from targets.arguments import ascending, integer, one_of, refuse
from targets.channel import PROCESSES
from targets.channel import process as find_process
from verify.oracle import Oracle
from verify.schedules import snr_of_betas

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("snr", "logsnr", "sigma", "ou_time", "timestep")
"""Names a column of noise levels can have."""

PREDICTIONS = ("x0", "epsilon", "v", "score", "flow")

LARGEST = 250.0
"""Largest |log γ|, and largest |log loss|: squares of both must be floats."""

LEAST = 8
"""Fewest levels that make a curve."""

LARGEST_FILE, MOST_LINES, LONGEST_LINE = 2**24, 100_000, 1000
"""Of a CSV file: bytes, lines, and characters of a line."""

Weighting = str | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Losses:
    """E‖X − m̂‖² (M,) at ascending `snr` (M,), with standard errors (M,) or None, and where each level was read."""

    snr: np.ndarray
    loss: np.ndarray
    stderr: np.ndarray | None
    lines: list[str]


def read_losses(
    losses: str | Path | pd.DataFrame | Mapping[str, Any],
    *,
    prediction: str,
    weighting: Weighting,
    process: str | None = None,
    betas: Any = None,
    dim: int | None = None,
) -> Losses:
    """Losses from a CSV file (of at most 16 MiB, 100,000 lines and 1000 characters a line), a DataFrame or columns by name.

    Columns: one noise level among snr, logsnr (log γ), sigma (of `process`), ou_time, timestep (an index into the β table
    `betas`); `loss`; and `stderr`, its standard error, where known.  Levels in order, each once.

    prediction   x0, epsilon, v, score (of `process`) or flow
    weighting    "sum" or "mean" over coordinates, or a function of γ that the summed loss was multiplied with
    dim          number of coordinates; makes totals of a mean, without it everything stays per coordinate

    Raises `ArgumentError`, naming the line, for anything that is not such a table.
    """
    prediction = one_of("prediction", prediction, PREDICTIONS)
    if not callable(weighting):
        one_of("weighting", weighting, ("sum", "mean"))
    if process is not None:
        find_process(process)
    table, first = _table(losses)
    kind = _level_column(table, first)
    lines = [f"{first[0]} {i + first[1]}" for i in range(len(table))]
    columns = {str(name): _numbers(str(name), column, lines) for name, column in table.items()}
    snr = _snr(kind, columns.pop(kind), lines, process, betas)
    for name, column in columns.items():
        for line, value in zip(lines, column, strict=True):
            if not 0.0 <= value < math.exp(LARGEST):
                _wrong(line, name, value, "a number >= 0" if value < 0 else f"a number < e^{LARGEST:g}")
    order = _order(kind, snr, lines)
    snr, loss, stderr = snr[order], columns["loss"][order], columns.get("stderr")
    factor = _factor(prediction, snr, process) * _weight(weighting, snr, dim)
    return Losses(
        snr, loss / factor, None if stderr is None else stderr[order] / factor, [lines[i] for i in order.tolist()]
    )


def simulated_losses(oracle: Oracle, snr: np.ndarray, samples: int, *, seed: int) -> pd.DataFrame:
    """What a training run would log with the denoiser m̂: columns snr, loss (x0, summed) and stderr, `samples` at each level.

    Fresh X and Z at every level, as in training; levels γ in ve, whose state is X + γ^{-1/2} Z.
    """
    import pandas as pd

    levels, samples = ascending("snr", snr, 1), integer("samples", samples, 2)
    mean = oracle.target.mean
    generator = torch.Generator(mean.device).manual_seed(integer("seed", seed, 0))
    rows = []
    for value in levels.tolist():
        at, clean = Level.from_snr(value, "ve"), oracle.target.sample(samples, generator)
        noise = torch.randn(clean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        loss = (clean - oracle.denoiser(clean + at.sigma * noise, at)).square().sum(-1)
        rows.append((value, float(loss.mean()), float(loss.std()) / samples**0.5))
    return pd.DataFrame(rows, columns=["snr", "loss", "stderr"])


def _table(losses: Any) -> tuple[pd.DataFrame, tuple[str, int]]:
    """The raw table, and how its rows are named: ("line", 2) for a file, ("row", 0) otherwise."""
    import pandas as pd

    if isinstance(losses, (str, Path)):
        return pd.DataFrame(_records(losses), dtype=object), ("line", 2)
    if isinstance(losses, pd.DataFrame):
        return losses, ("row", 0)
    if isinstance(losses, Mapping):
        columns = {str(name): _column(str(name), column) for name, column in losses.items()}
        if len({len(column) for column in columns.values()}) != 1:
            refuse("losses", {name: column.shape for name, column in columns.items()}, "columns of one length")
        return pd.DataFrame(columns), ("row", 0)
    return refuse("losses", losses, "a CSV file, a DataFrame or columns by name, e.g. {'logsnr': …, 'loss': …}")


def _records(path: str | Path) -> dict[str, list[Any]]:
    """The columns of a CSV file as they stand there, NaN for what is missing; a record is a line."""

    def wrong(why: object) -> NoReturn:
        raise ArgumentError(f"losses = {str(path)!r}: expected a CSV file: {why}")

    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            wrong(f"at most {LARGEST_FILE} bytes are read")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        refuse("losses", str(path), "a CSV file that exists")
    except (OSError, UnicodeDecodeError) as error:
        wrong(getattr(error, "strerror", None) or error)
    records: list[list[Any]] = []
    for number, line in enumerate(StringIO(text, newline=None), 1):
        if number > MOST_LINES or len(line) > LONGEST_LINE:
            wrong(f"line {number}: at most {MOST_LINES} lines of at most {LONGEST_LINE} characters are read")
        try:
            records.append([cell.strip() for cell in next(csv.reader([line], skipinitialspace=True, strict=True), [])])
        except csv.Error as error:
            wrong(f"line {number}: {error}")
    while records and not any(records[-1]):
        records.pop()
    if not records:
        wrong("No columns: it is empty")
    names, *rest = records
    for number, record in enumerate(rest, 2):
        if len(record) > len(names):
            wrong(
                f"Expected {len(names)} fields in line {number}, saw {len(record)}; line 1: columns {', '.join(names)}: "
                "expected a name for every value of a row"
            )
        record += [math.nan] * (len(names) - len(record))
    if len(set(names)) < len(names):
        wrong(f"line 1: columns {', '.join(names)}: expected every name once")
    return {name: [record[i] or math.nan for record in rest] for i, name in enumerate(names)}


def _column(name: str, column: Any) -> np.ndarray:
    try:
        values = np.asarray(column.detach().cpu() if isinstance(column, torch.Tensor) else column)
    except (TypeError, ValueError):
        refuse(f"losses[{name!r}]", column, "numbers in one dimension")
    if values.ndim != 1:
        refuse(f"losses[{name!r}].shape", values.shape, "numbers in one dimension")
    return values


def _level_column(table: pd.DataFrame, first: tuple[str, int]) -> str:
    names = [str(name) for name in table.columns]
    way = _way_out(names)
    if way or len(set(names)) != len(names):
        where = "line 1: " if first[0] == "line" else ""
        found, wanted = (
            ", ".join(name or repr(name) for name in names),
            f"one of {', '.join(LEVELS)}, and loss, and stderr",
        )
        raise ArgumentError(f"losses: {where}columns {found}: expected {wanted} if known; {way or 'every name once'}")
    if len(table) < LEAST:
        refuse("losses", len(table), f"at least {LEAST} levels")
    return next(name for name in names if name in LEVELS)


def _way_out(names: list[str]) -> str:
    """What to do about such columns; nothing where they are well."""
    levels = [name for name in names if name in LEVELS]
    other = [name for name in names if name not in (*LEVELS, "loss", "stderr")]
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        return "separate columns by commas"
    if "" in other or any(name.startswith("Unnamed:") for name in other):
        return f"a column has no name{' (the first)' if names[0] in other else ''}: to_csv(index=False) of pandas writes none"
    if len(levels) > 1:
        return f"remove all but one of: {', '.join(levels)}"
    if "loss" not in names:
        near = [name for name in other if "loss" in name.lower() or "mse" in name.lower()]
        return f"rename {near[0]} to loss" if near else "name the losses loss"
    if not levels:
        near = [match for name in other for match in difflib.get_close_matches(name.lower(), LEVELS, n=1, cutoff=0.5)]
        return f"did you mean {near[0]!r}?" if near else "name the noise levels by what they are"
    return f"remove: {', '.join(other)}" if other else ""


def _numbers(name: str, column: pd.Series, lines: list[str]) -> np.ndarray:
    import pandas as pd

    if column.dtype.kind == "c":
        _wrong(lines[0], name, column.iloc[0], "a real number")
    values = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    for i in np.flatnonzero(~np.isfinite(values)):
        _wrong(lines[i], name, column.iloc[i], "a finite number")
    return values


def _snr(kind: str, values: np.ndarray, lines: list[str], process: str | None, betas: Any) -> np.ndarray:
    """γ of each level, the levels checked to be in their range."""
    low, high, expected = 0.0, np.inf, "a number > 0"
    if kind == "logsnr":
        low, high, expected = -LARGEST, LARGEST, f"log γ between {-LARGEST:g} and {LARGEST:g}"
    elif kind == "sigma" and _process("the column sigma", process).name != "ve":
        high, expected = 1.0, f"a number strictly between 0 and 1, σ of the process {process!r}"
    elif kind == "timestep":
        table = (
            snr_of_betas(betas)
            if betas is not None
            else refuse("betas", None, "the β table of the timesteps (--betas as an option)")
        )
        low, high, expected = -1.0, float(len(table)), f"a whole number from 0 to {len(table) - 1}"
    for line, value in zip(lines, values, strict=True):
        if not low < value < high or (kind == "timestep" and value != int(value)):
            _wrong(line, kind, value, expected)
    if kind == "timestep":
        return table[values.astype(int)]
    with np.errstate(over="ignore", divide="ignore"):
        if kind == "sigma":
            snr = values**-2.0 - (process == "vp") if process != "flow" else PROCESSES["flow"].snr(values)
        else:
            snr = {"snr": lambda v: v, "logsnr": np.exp, "ou_time": PROCESSES["vp"].snr}[kind](values)
    for line, value, found in zip(lines, values, snr, strict=True):
        if not math.exp(-LARGEST) <= found <= math.exp(LARGEST):
            _wrong(line, kind, value, f"a level whose log snr is between {-LARGEST:g} and {LARGEST:g}")
    return snr


def _order(kind: str, snr: np.ndarray, lines: list[str]) -> np.ndarray:
    """Indices that make γ ascend, from levels in order either way."""
    order = np.arange(len(snr)) if snr[-1] > snr[0] else np.arange(len(snr))[::-1]
    for before, after in pairwise(order.tolist()):
        if snr[after] <= snr[before]:
            early, late = sorted((before, after))
            fault = "the level of" if snr[after] == snr[before] else "out of order after"
            raise ArgumentError(
                f"losses: {lines[late]}: {kind} is {fault} {lines[early]}: expected levels in order, each once; average "
                "repeated levels and give the averages' standard errors"
            )
    return order


def _factor(prediction: str, snr: np.ndarray, process: str | None) -> np.ndarray:
    """Loss of the prediction over E‖X − m̂‖² (see the table above)."""
    if prediction == "score":
        return snr / _process("prediction='score'", process).sigma(snr) ** 2
    return {"x0": np.ones_like(snr), "epsilon": snr, "v": 1.0 + snr, "flow": (1.0 + np.sqrt(snr)) ** 2}[prediction]


def _weight(weighting: Weighting, snr: np.ndarray, dim: int | None) -> np.ndarray | float:
    count = 1 if dim is None else integer("dim", dim, 1)
    if callable(weighting):
        try:
            weight = np.asarray(weighting(snr), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"weighting(snr): expected finite numbers > 0: {error}") from error
        if weight.shape not in (snr.shape, ()) or not (np.isfinite(weight).all() and (weight > 0).all()):
            refuse("weighting(snr)", weight, f"finite numbers > 0, shape {snr.shape}")
        return weight
    return 1.0 / count if weighting == "mean" else 1.0


def _process(what: str, name: str | None):  # noqa: ANN202
    if name is None:
        raise ArgumentError(
            f"process = None: expected one of {', '.join(PROCESSES)} for {what} (--process as an option)"
        )
    return PROCESSES[name]


def _wrong(line: str, name: str, value: object, expected: str) -> NoReturn:
    raise ArgumentError(f"losses: {line}: {name} = {value}: expected {expected}")

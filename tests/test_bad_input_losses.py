"""What readers of training losses refuse: the message names the argument or the line, its value and what was expected."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from targets import ArgumentError, get
from verify import Grid, oracle
from verify.in_use import schedule
from verify.kl.discretisation import discretisation
from verify.loss_curve import LossCurve
from verify.losses import read_losses, simulated_losses

SNR = np.geomspace(0.1, 10.0, 10)
LOSS = 1.0 / (1.0 + SNR)
NAN, INF = float("nan"), float("inf")


def anything(value) -> Any:
    """`value` for a parameter whose type it does not have."""
    return value


def with_value(name: str, index: int, value) -> dict[str, Any]:
    """Good columns but for one value."""
    columns = {"snr": SNR.tolist(), "loss": LOSS.tolist(), "stderr": (0.1 * LOSS).tolist()}
    columns[name][index] = value
    return columns


def refused(table, message: str, **options) -> None:
    with pytest.raises(ArgumentError, match=message):
        read_losses(table, **anything({"prediction": "x0", "weighting": "sum"} | options))


# ---- values and lines ---------------------------------------------------------------------------------------------------

VALUES = [
    ("loss", 3, -0.5, "loss = -0.5: expected a number >= 0"),
    ("stderr", 4, -1.0, "stderr = -1.0: expected a number >= 0"),
    ("loss", 0, NAN, "loss = nan: expected a finite number"),
    ("loss", 9, INF, "loss = inf: expected a finite number"),
    ("stderr", 2, -INF, "stderr = -inf: expected a finite number"),
    ("snr", 5, NAN, "snr = nan: expected a finite number"),
    ("snr", 0, 0.0, "snr = 0.0: expected a number > 0"),
    ("snr", 0, -2.0, "snr = -2.0: expected a number > 0"),
    ("loss", 6, "much", "loss = much: expected a finite number"),
    ("loss", 6, None, "loss = (nan|None): expected a finite number"),
]


@pytest.mark.parametrize(("name", "index", "value", "message"), VALUES)
def test_the_line_of_a_bad_value_is_named(name, index, value, message, tmp_path: Path):
    """row i of columns and frames, line i + 2 of a file."""
    columns = with_value(name, index, value)
    refused(columns, rf"losses: row {index}: {message}")
    refused(pd.DataFrame(columns, index=range(70, 80)), rf"losses: row {index}: {message}")
    pd.DataFrame(columns).to_csv(tmp_path / "run.csv", index=False)
    refused(tmp_path / "run.csv", rf"losses: line {index + 2}: {name} = .*: expected")


@pytest.mark.parametrize("index", [4, 9])
def test_repeated_levels(index):
    columns = with_value("snr", index, float(SNR[index - 1]))
    refused(columns, rf"row {index}: snr is the level of row {index - 1}: expected levels in order, each once; average")


def test_levels_out_of_order(tmp_path: Path):
    columns = with_value("snr", 4, 5.0)
    refused(columns, r"row 5: snr is out of order after row 4: expected levels in order")
    refused({k: v[::-1] for k, v in columns.items()}, r"row 5: snr is out of order after row 4")
    pd.DataFrame(columns).to_csv(tmp_path / "run.csv", index=False)
    refused(tmp_path / "run.csv", r"line 7: snr is out of order after line 6")


# ---- levels of other kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "message", "options"),
    [
        ("logsnr", np.linspace(-700.0, 5.0, 10), r"row 0: logsnr = -700.0: expected log γ between -250 and 250", {}),
        ("ou_time", np.linspace(2.0, 0.0, 10), r"row 9: ou_time = 0.0: expected a number > 0", {}),
        ("sigma", np.linspace(0.1, 1.0, 10), r"row 9: sigma = 1.0: .*σ of the process 'vp'", {"process": "vp"}),
        ("sigma", np.linspace(0.1, 2.0, 10), r"sigma = 1.1.*σ of the process 'flow'", {"process": "flow"}),
        ("sigma", np.linspace(0.0, 2.0, 10), r"row 0: sigma = 0.0: expected a number > 0", {"process": "ve"}),
        ("sigma", np.linspace(0.1, 2.0, 10), r"process = None: expected one of vp, ve, flow for the column sigma", {}),
        ("timestep", np.arange(10), r"betas = None: expected the β table of the timesteps", {}),
        ("timestep", np.arange(10), r"row 9: timestep = 9.0: expected .* from 0 to 8", {"betas": np.full(9, 0.1)}),
        ("timestep", np.arange(10) - 1, r"row 0: timestep = -1.0: expected a whole number", {"betas": np.full(9, 0.1)}),
        ("timestep", np.arange(10) + 0.5, r"row 0: timestep = 0.5: expected a whole number", {"betas": np.full(30, 0.1)}),
        ("timestep", np.arange(10), r"betas = 1.5: expected numbers strictly between 0 and 1", {"betas": np.full(30, 1.5)}),
    ],
)  # fmt: skip
def test_levels_of_other_kinds(kind, values, message, options):
    refused({kind: values, "loss": np.linspace(1.0, 2.0, 10)}, message, **options)


@pytest.mark.parametrize(
    ("kind", "values", "options"),
    [
        ("ou_time", np.linspace(400.0, 1.0, 10), {}),
        ("ou_time", np.geomspace(1.0, 1e-320, 10), {}),
        ("sigma", np.geomspace(1e-200, 1.0, 10), {"process": "ve"}),
        ("sigma", np.geomspace(1e-200, 0.9, 10), {"process": "vp"}),
    ],
)
def test_levels_beyond_floating_point(kind, values, options):
    refused({kind: values, "loss": np.linspace(1.0, 2.0, 10)}, rf"row \d+: {kind} = .*: expected", **options)


# ---- tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (None, r"losses = None: expected a CSV file, a DataFrame or columns by name"),
        (3.0, r"losses = 3.0: expected a CSV file"),
        ([SNR, LOSS], r"(?s)losses = .*: expected a CSV file, a DataFrame or columns by name"),
        ("no such file.csv", r"losses = 'no such file.csv': expected a CSV file that exists"),
        ({}, r"losses = {}: expected columns of one length"),
        ({"snr": SNR, "loss": LOSS[:-1]}, r"losses = {.*}: expected columns of one length"),
        ({"snr": SNR[:, None], "loss": LOSS[:, None]}, r"'snr'\].shape = \(10, 1\): expected numbers in one dimension"),
        ({"snr": SNR[:7], "loss": LOSS[:7]}, r"losses = 7: expected at least 8 levels"),
        ({"gamma": SNR, "loss": LOSS}, r"losses: columns gamma, loss: expected one of snr, logsnr, sigma, ou_time"),
        ({"snr": SNR, "logsnr": np.log(SNR), "loss": LOSS}, r"columns snr, logsnr, loss: expected one of"),
        ({"snr": SNR}, r"columns snr: expected one of .*, and loss"),
        ({"snr": SNR, "loss": LOSS, "seed": SNR}, r"columns snr, loss, seed: expected one of"),
        (pd.DataFrame(np.ones((10, 3)), columns=["snr", "loss", "loss"]), r"columns snr, loss, loss: expected"),
        (pd.DataFrame(np.ones((10, 2))), r"columns 0, 1: expected one of"),
    ],
)  # fmt: skip
def test_tables(losses, message):
    refused(losses, message)


@pytest.mark.parametrize("column", [[[1.0], [1.0, 2.0]] * 5, LOSS + 1j], ids=["ragged", "complex"])
def test_columns_that_are_no_numbers(column):
    with pytest.raises(ArgumentError, match=r"loss"):
        read_losses({"snr": SNR, "loss": column}, prediction="x0", weighting="sum")


def test_a_tensor_with_a_graph_is_read():
    column = torch.linspace(2.0, 1.0, 10, requires_grad=True)
    found = read_losses({"snr": SNR, "loss": column}, prediction="x0", weighting="sum")
    np.testing.assert_allclose(found.loss, np.linspace(2.0, 1.0, 10), rtol=1e-6)


ROWS = "".join(f"{g},{v}\n" for g, v in zip(SNR, LOSS, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"losses = '.*run.csv': expected a CSV file: No columns"),
        ("snr,loss\n", r"losses = 0: expected at least 8 levels"),
        ("snr;loss\n" + ROWS.replace(",", ";"), r"losses: line 1: columns snr;loss: expected one of"),
        (ROWS, r"losses: line 1: columns .*: expected one of"),
        ("snr,loss\n" + ROWS.replace("\n", "\n\n", 1), r"losses: line 3: snr = nan: expected a finite number"),
        ("snr,loss\n0.01\n" + ROWS, r"losses: line 2: loss = nan: expected a finite number"),
        ("snr,loss\n" + ROWS + "20,0.01,0.1\n", r"expected a CSV file: .*Expected 2 fields in line 12, saw 3"),
        ("snr,loss\n" + ROWS.replace("\n", ",0.1\n"), r"line 1: columns snr, loss: expected a name for every value"),
        ('snr,loss\n"0.01,1\n' + ROWS, r"expected a CSV file: line 2: unexpected end of data"),
        ("snr,loss\n0.01,1e\n" + ROWS, r"line 2: loss = 1e: expected a finite number"),
    ],
)
def test_files(text, message, tmp_path: Path):
    (tmp_path / "run.csv").write_text(text)
    refused(tmp_path / "run.csv", message)


def test_files_that_are_no_text(tmp_path: Path):
    (tmp_path / "run.csv").write_bytes(b"\xff\xfe\x00\x01")
    refused(tmp_path / "run.csv", r"expected a CSV file: 'utf-8' codec")
    refused(tmp_path, r"expected a CSV file: .*Is a directory")


# ---- what the losses are of ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "eps"}, r"prediction = 'eps': expected one of x0, epsilon, v, score, flow; did you mean 'epsilon'"),
        ({"prediction": None}, r"prediction = None: expected one of"),
        ({"weighting": "average"}, r"weighting = 'average': expected one of sum, mean"),
        ({"weighting": 2.0}, r"weighting = 2.0: expected one of sum, mean"),
        ({"weighting": lambda snr: -snr}, r"(?s)weighting\(snr\) = .*: expected finite numbers > 0, shape \(10,\)"),
        ({"weighting": lambda snr: snr[:3]}, r"(?s)weighting\(snr\) = .*: expected finite numbers > 0, shape \(10,\)"),
        ({"weighting": lambda snr: snr * NAN}, r"(?s)weighting\(snr\) = .*: expected finite"),
        ({"weighting": "mean", "dim": 0}, r"dim = 0: expected an integer >= 1"),
        ({"weighting": "mean", "dim": 2.5}, r"dim = 2.5: expected an integer >= 1"),
        ({"prediction": "score"}, r"process = None: expected one of vp, ve, flow for prediction='score'"),
        ({"process": "vpp"}, r"process = 'vpp': expected one of vp, ve, flow; did you mean 'vp'"),
    ],
)  # fmt: skip
def test_what_the_losses_are_of(options, message):
    refused({"snr": SNR, "loss": LOSS}, message, **options)


def adaptive(**options) -> Grid:
    known = {"steps": 4, "prediction": "x0", "weighting": "sum"}
    return Grid.loss_adaptive({"snr": SNR, "loss": LOSS}, **anything(known | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "best"}, r"rule = 'best': expected one of optimal, recursion, sqrt_slope"),
        ({"steps": 0}, r"steps = 0: expected an integer >= 1"),
        ({"steps": 2.5}, r"steps = 2.5: expected an integer >= 1"),
        ({"snr": (0.05, 5.0)}, r"snr = \(0.05, 5.0\): expected a window within the measured levels, 0.1 to 10"),
        ({"snr": (0.5, 50.0)}, r"snr = \(0.5, 50.0\): expected a window within the measured levels, 0.1 to 10"),
        ({"snr": (5.0, 0.5)}, r"snr\[0:2\] = \[5.0, 0.5\]: expected strictly ascending"),
        ({"snr": (0.1, 1.0, 5.0)}, r"snr = \(0.1, 1.0, 5.0\): expected two values, \(low, high\)"),
        ({"process": "edm"}, r"process = 'edm': expected one of vp, ve, flow"),
        ({"prediction": "flows"}, r"prediction = 'flows': .*did you mean 'flow'"),
    ],
)
def test_loss_adaptive(options, message):
    with pytest.raises(ArgumentError, match=message):
        adaptive(**options)


def test_windows_within_the_levels_are_accepted():
    for snr in (None, (SNR[0], SNR[-1]), (0.2, 3.0)):
        grid = adaptive(snr=snr)
        assert (grid.snr[0], grid.snr[-1]) == (snr or (SNR[0], SNR[-1]))


# ---- laws, curves, grids ------------------------------------------------------------------------------------------------

BUILDERS = [Grid.optimal, Grid.recursion, Grid.sqrt_slope, Grid.entropic, Grid.rescaled_entropic, Grid.align_your_steps]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    "law", [None, "two_points", LOSS, {"snr": SNR, "loss": LOSS}], ids=["None", "name", "array", "table"]
)
def test_laws(build, law):
    with pytest.raises(ArgumentError, match=r"(?s)law = .*: expected a target or a curve of losses"):
        build(anything(law), steps=4, snr=(0.1, 1.0))


def test_what_discretisation_refuses():
    found = LossCurve(read_losses({"snr": SNR, "loss": LOSS}, prediction="x0", weighting="sum"))
    grid = Grid.log_snr(4, snr=(0.05, 5.0))
    with pytest.raises(ArgumentError, match=r"law = 'gaussian': expected a target or a curve"):
        discretisation(anything("gaussian"), grid)
    with pytest.raises(ArgumentError, match=r"grid = array.*: expected a Grid, e.g."):
        discretisation(found, anything(grid.snr))
    with pytest.raises(ArgumentError, match=r"grid.snr = \(0.05, 5.0\): expected a window within the measured levels"):
        discretisation(found, grid)
    for name in ("uniform_ou_time", "exponential_uniform", "tangent"):
        assert float(discretisation(found, schedule(name, found, 6, found.reach))) > 0


def test_what_simulated_losses_refuse():
    known = oracle.Exact(get("gaussian"))
    with pytest.raises(ArgumentError, match=r"samples = 1: expected an integer >= 2"):
        simulated_losses(known, SNR, 1, seed=0)
    with pytest.raises(ArgumentError, match=r"seed = -1: expected an integer >= 0"):
        simulated_losses(known, SNR, 10, seed=-1)
    with pytest.raises(ArgumentError, match=r"snr\[0:2\] = .*: expected strictly ascending"):
        simulated_losses(known, SNR[::-1], 10, seed=0)

"""Training losses brought to one form: every factor by simulating the network's target, every way of naming a level."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from targets import Level, get
from targets.channel import PROCESSES
from verify import Grid, oracle
from verify.losses import PREDICTIONS, read_losses, simulated_losses

SNR = np.geomspace(0.02, 60.0, 24)
LOSS = 1.0 / (1.0 + 0.7 * SNR) + 0.2 / (1.0 + 9.0 * SNR)
"""A decreasing loss, not a power of γ anywhere."""


def read(table, **options):
    return read_losses(table, **cast("Any", {"prediction": "x0", "weighting": "sum"} | options))


# ---- factors ------------------------------------------------------------------------------------------------------------

CASES = [
    ("x0", "vp"),
    ("x0", "flow"),
    ("epsilon", "vp"),
    ("epsilon", "ve"),
    ("v", "vp"),
    ("score", "vp"),
    ("score", "ve"),
    ("score", "flow"),
    ("flow", "flow"),
]


def network_losses(prediction: str, process: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean, its standard error) of ‖target − prediction‖² at each level: the network is exact in its own output."""
    law, generator, rows = get("curved_mixture"), torch.Generator().manual_seed(3), []
    for value in SNR.tolist():
        at = Level.from_snr(value, process)
        x = law.sample(samples, generator)
        z = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        y = at.alpha * x + at.sigma * z
        mean, score = law.denoiser(y, at), law.score(y, at)
        noise = -at.sigma * score
        wanted, answer = {
            "x0": (x, mean),
            "epsilon": (z, noise),
            "v": (at.alpha * z - at.sigma * x, at.alpha * noise - at.sigma * mean),
            "score": (-z / at.sigma, score),
            "flow": (z - x, noise - mean),
        }[prediction]
        square = (wanted - answer).square().sum(-1)
        rows.append((float(square.mean()), float(square.std()) / math.sqrt(samples)))
    mean, error = np.array(rows).T
    return mean, error


@pytest.mark.parametrize(("prediction", "process"), CASES)
def test_factor_of_every_prediction(prediction, process):
    """E‖X − m‖² is the law's mmse within 4.5 standard errors at every level; with any other factor it is not."""
    loss, stderr = network_losses(prediction, process, 4000)
    table, truth = {"snr": SNR, "loss": loss, "stderr": stderr}, np.asarray(get("curved_mixture").mmse(SNR).value)
    for taken_for in PREDICTIONS:
        found = read(table, prediction=taken_for, process=process)
        assert found.stderr is not None
        away = np.abs(found.loss - truth) / found.stderr
        alike = taken_for == prediction
        assert (away.max() < 4.5) == alike, (taken_for, away.max())
    if prediction == "score":
        other = {"vp": "ve", "ve": "flow", "flow": "vp"}[process]
        found = read(table, prediction="score", process=other)
        assert found.stderr is not None
        assert (np.abs(found.loss - truth) / found.stderr).max() > 4.5


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_weightings(prediction):
    """Sum, mean with and without the dimension, and a weight of the level: each undone."""
    options = {"prediction": prediction, "process": "vp"}
    plain = read({"snr": SNR, "loss": LOSS, "stderr": 0.01 * LOSS}, **options)
    mean = read({"snr": SNR, "loss": LOSS / 12.0, "stderr": 0.01 * LOSS / 12.0}, **options, weighting="mean", dim=12)
    each = read({"snr": SNR, "loss": LOSS / 12.0}, **options, weighting="mean")
    weight = 3.0 / (5.0 + SNR)
    weighted = read(
        {"snr": SNR, "loss": LOSS * weight, "stderr": 0.01 * LOSS * weight},
        **options,
        weighting=lambda snr: 3.0 / (5.0 + snr),
    )
    constant = read({"snr": SNR, "loss": 7.0 * LOSS}, **options, weighting=lambda _: 7.0)
    for found in (mean, weighted):
        assert found.stderr is not None
        assert plain.stderr is not None
        np.testing.assert_allclose(found.loss, plain.loss, rtol=1e-13)
        np.testing.assert_allclose(found.stderr, plain.stderr, rtol=1e-13)
    np.testing.assert_allclose(constant.loss, plain.loss, rtol=1e-13)
    np.testing.assert_allclose(12.0 * each.loss, plain.loss, rtol=1e-13)
    assert each.stderr is None


def test_weight_of_a_falling_run_is_read_at_its_own_levels():
    """The function is asked for γ of the level, whichever way round the table is."""
    weight = 1.0 / (1.0 + SNR)
    found = read({"snr": SNR[::-1], "loss": (LOSS * weight)[::-1]}, weighting=lambda snr: 1.0 / (1.0 + snr))
    np.testing.assert_allclose(found.loss, LOSS, rtol=1e-13)


# ---- levels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "process"),
    [("snr", None), ("logsnr", None), ("ou_time", None), ("sigma", "vp"), ("sigma", "ve"), ("sigma", "flow")],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_every_kind_of_level(kind, process, backwards):
    """The same γ to rounding, by the process's own functions, in either order."""
    levels = {
        "snr": SNR,
        "logsnr": np.log(SNR),
        "ou_time": -np.log(PROCESSES["vp"].alpha(SNR)),
        "sigma": PROCESSES[process or "vp"].sigma(SNR),
    }[kind]
    turn = slice(None, None, -1 if backwards else 1)
    found = read({kind: levels[turn], "loss": LOSS[turn], "stderr": 0.1 * LOSS[turn]}, process=process)
    np.testing.assert_allclose(found.snr, SNR, rtol=1e-11)
    np.testing.assert_array_equal(found.loss, LOSS)
    np.testing.assert_array_equal(found.stderr, 0.1 * LOSS)
    assert found.lines[0] == f"row {len(SNR) - 1 if backwards else 0}"


def test_timesteps():
    """ᾱ by cumprod at the indices given."""
    betas, index = np.linspace(1e-4, 0.02, 1000), np.array([0, 3, 40, 100, 300, 500, 700, 900, 999])
    kept = np.cumprod(1.0 - betas)[index]
    found = read({"timestep": index, "loss": np.linspace(0.1, 1.0, 9)}, betas=betas)
    np.testing.assert_allclose(found.snr, (kept / (1.0 - kept))[::-1], rtol=1e-10)
    np.testing.assert_allclose(found.loss, np.linspace(1.0, 0.1, 9), rtol=1e-14)


def test_tables_of_every_kind_agree(tmp_path: Path):
    """CSV by str and Path, with spaces, a byte-order mark, Windows line ends; DataFrame with its own index; columns."""
    frame = pd.DataFrame({"loss": LOSS, "logsnr": np.log(SNR), "stderr": 0.1 * LOSS}, index=range(50, 50 + len(SNR)))
    path = tmp_path / "losses.csv"
    frame.to_csv(path, index=False)
    text = path.read_text()
    first = read(frame)
    variants = {
        "plain": text,
        "spaced": text.replace(",", " , "),
        "mark": "\ufeff" + text,
        "windows": text.replace("\n", "\r\n"),
        "blank end": text + "\n\n",
        "no last line end": text.rstrip(),
    }
    for name, version in variants.items():
        (tmp_path / "again.csv").write_bytes(version.encode())
        for where in (tmp_path / "again.csv", str(tmp_path / "again.csv")):
            found = read(where)
            np.testing.assert_allclose(found.snr, first.snr, rtol=1e-14, err_msg=name)
            np.testing.assert_allclose(found.loss, first.loss, rtol=1e-14, err_msg=name)
            assert (found.lines[0], found.lines[-1]) == ("line 2", f"line {len(SNR) + 1}")
    columns = {name: frame[name].to_list() for name in frame}
    tensors = {name: torch.tensor(frame[name].to_numpy()) for name in frame}
    for table in (columns, tensors):
        np.testing.assert_array_equal(read(table).loss, first.loss)
    assert (first.lines[0], first.lines[-1]) == ("row 0", f"row {len(SNR) - 1}")


def test_every_way_gives_one_grid():
    """A run logged five ways: the same eight steps to 1e-9."""
    levels = PROCESSES["vp"].time(SNR)
    epsilon = {"snr": SNR, "loss": SNR * LOSS}
    runs = [
        Grid.loss_adaptive({"snr": SNR, "loss": LOSS}, steps=8, prediction="x0", weighting="sum"),
        Grid.loss_adaptive(epsilon, steps=8, prediction="epsilon", weighting="sum"),
        Grid.loss_adaptive({"ou_time": levels, "loss": LOSS}, steps=8, prediction="x0", weighting="mean", dim=5),
        Grid.loss_adaptive(
            {"sigma": 1.0 / np.sqrt(1.0 + SNR), "loss": LOSS * (1.0 + SNR)},
            steps=8, prediction="v", weighting="sum", process="vp",
        ),
        Grid.loss_adaptive(
            {"logsnr": np.log(SNR), "loss": LOSS}, steps=8, prediction="x0", weighting=lambda snr: 2.0 + 0.0 * snr
        ),
    ]  # fmt: skip
    for grid in runs[1:]:
        np.testing.assert_allclose(grid.snr, runs[0].snr, rtol=1e-6)
    wrong = Grid.loss_adaptive(
        {"snr": SNR, "loss": LOSS}, steps=8, prediction="x0", weighting=lambda snr: (1.0 + snr) ** -0.5
    )
    assert np.abs(np.log(wrong.snr / runs[0].snr)).max() > 0.05


# ---- simulated losses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["curved_mixture", "anisotropic_gaussian", "two_points", "sphere"])
def test_simulated_losses(name):
    """Means within 4.5 standard errors of the mmse, whose squares average one; errors shrink like samples^{-1/2}."""
    law = get(name)
    levels = np.geomspace(0.05, 8.0, 40)
    frame = simulated_losses(oracle.Exact(law), levels, 2000, seed=5)
    assert list(frame) == ["snr", "loss", "stderr"]
    away = (frame["loss"].to_numpy() - np.asarray(law.mmse(levels).value)) / frame["stderr"].to_numpy()
    assert np.abs(away).max() < 4.5
    assert 0.5 < float(np.mean(away**2)) < 1.7
    again = simulated_losses(oracle.Exact(law), levels, 2000, seed=5)
    pd.testing.assert_frame_equal(frame, again)
    more = simulated_losses(oracle.Exact(law), levels, 8000, seed=6)
    assert float(np.median(frame["stderr"].to_numpy() / more["stderr"].to_numpy())) == pytest.approx(2.0, rel=0.15)


def test_simulated_losses_of_a_denoiser_that_is_off():
    """A constant bias adds its square: seen at once against the mmse, and the right amount."""
    law = get("curved_mixture")
    frame = simulated_losses(oracle.ConstantBias(law, [0.3]), SNR, 4000, seed=1)
    loss, stderr = frame["loss"].to_numpy(), frame["stderr"].to_numpy()
    mmse = np.asarray(law.mmse(SNR).value)
    assert (np.abs(loss - mmse - 0.09) / stderr).max() < 4.5
    assert (np.abs(loss - mmse) / stderr).max() > 10.0

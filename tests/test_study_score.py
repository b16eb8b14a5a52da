"""The score-error study: parts against simulation, which average decides, refusals with their reason, figures from rows."""

import dataclasses

import numpy as np
import pytest
import torch

from figures import score_error as picture
from studies import score_error as score
from studies import score_verdicts, study
from studies.store import Store, frame
from targets import ArgumentError

CPU = torch.device("cpu")
WANTED = (
    ("curved mixture", "exact"),
    ("curved mixture", "constant bias"),
    ("curved mixture", "wrong level"),
    ("curved mixture", "rounded"),
    ("curved mixture", "empirical"),
    ("anisotropic Gaussian", "scale"),
    ("anisotropic Gaussian", "wrong weights"),
)


def small_settings():
    return [s for s in score.settings(score.Config()) if (s["family"], s["oracle"]) in WANTED and s["size"] != 512]


@pytest.fixture(scope="module")
def rows():
    return [row for setting in small_settings() for row in score.compute(setting, CPU)]


def changed(rows, column, factor):
    return [{**row, column: factor * row[column]} if column in row else row for row in rows]


def test_parts_add_up_to_what_is_simulated(rows):
    """Every z within 4 (about 25 comparisons), and path is the sum of its parts to rounding."""
    z = score_verdicts.scores(rows)
    assert len(z) > 20
    assert np.abs(z).max() < 4.0
    data = frame([row for row in rows if row["steps"]])
    parts = data.initialisation + data.discretisation + data.square + data.cross
    np.testing.assert_allclose(parts, data.path, rtol=1e-12)


def test_another_measurement_refutes_the_sum(rows):
    """Control: simulated values a fifth larger."""
    assert "supported" in score_verdicts.sentences(rows)[0]
    assert "refuted" in score_verdicts.sentences(changed(rows, "measured", 1.2))[0]


def verdict(rows, sampler, average):
    sentences = score_verdicts.sentences(rows)
    return next(s for s in sentences if s.startswith(f"{sampler}, ") and score_verdicts.AVERAGES[average] in s)


def test_which_average_decides(rows):
    """ddpm: snr exactly; OU time alike for every error on one grid; the plain mean not.  ei_sde: none, by its cross term."""
    assert ": constant, 1 … 1 over" in verdict(rows, "ddpm", "snr_weighted")
    assert "the same for every law and error on one grid" in verdict(rows, "ddpm", "ou_weighted")
    for sampler, average in (("ddpm", "mean_weighted"), ("ei_sde", "ou_weighted"), ("ei_sde", "snr_weighted")):
        assert ": not constant" in verdict(rows, sampler, average)
    assert ": constant" in verdict(changed(rows, "cross", 0.0), "ei_sde", "ou_weighted")


def test_refusals_are_rows(rows):
    """A rounded denoiser has no density carrier, a Gaussian no weights; the rest of a row stays."""
    (left_out,) = {row["refused"] for row in rows if row["steps"] == 0}
    assert "it has one component" in left_out
    rounded = [row for row in rows if row["oracle"] == "rounded" and row["steps"] == 16]
    assert all("step function" in row["refused"] and "marginal" not in row and row["path"] > 0 for row in rounded)


def test_memory_costs_less_with_more_points(rows):
    for sampler in score.SAMPLERS:
        mine = [r for r in rows if (r["oracle"], r["sampler"], r["steps"]) == ("empirical", sampler, 64)]
        assert [row["size"] for row in mine] == [8.0, 32.0, 128.0]
        assert (np.diff([score_verdicts.rise(row) for row in mine]) < 0).all()


def test_report_and_figures(rows, tmp_path, monkeypatch, capsys):
    score_verdicts.report(rows)
    text = capsys.readouterr().out
    for word in ("measured", "left out: wrong weights", "marginal KL not available", "memorisation, curved mixture"):
        assert word in text
    store = Store(tmp_path, score.NAME)
    for setting in small_settings():
        key = ("family", "oracle", "size")
        store.add(setting, [row for row in rows if all(row[k] == setting[k] for k in key)])
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    written = picture.draw(store.path)
    assert {path.stem for path in written} == {score.NAME, f"{score.NAME}_checks"}
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings_name_every_error_once():
    found = [(s["family"], s["oracle"], s["size"]) for s in score.settings(score.Config())]
    assert len(found) == len(set(found))
    assert {o for f, o, _ in found if f == "digits"} == set(score.KINDS)


def test_sweep_resumes(tmp_path):
    """A setting that is on disk is not computed again."""
    store = Store(tmp_path, score.NAME)
    setting = small_settings()[-1]
    first = study.sweep(store, [setting], lambda s: score.compute(s, CPU))
    again = study.sweep(Store(tmp_path, score.NAME), [setting], lambda _: pytest.fail("computed twice"))
    assert again == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_time": 5.0}, "start-time = 4.0: expected a time T > stop-time"),
        ({"stop_time": -1.0}, "stop-time = -1.0: expected a time δ > 0"),
        ({"start_time": np.nan}, "start-time = nan"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ArgumentError, match=message):
        score.check(dataclasses.replace(score.Config(), **change))

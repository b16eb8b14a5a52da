"""The study of open questions: evidence follows the rows, nothing is called settled, figures from rows alone."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from figures import open_questions as picture
from studies import open_questions as open_study
from studies import open_verdicts, study
from studies.store import Store
from targets import ArgumentError, get
from verify import kl, samplers

CPU = torch.device("cpu")
WANTED = ((2, "curved mixture"), (2, "anisotropic Gaussian, d = 64"), (3, "anisotropic Gaussian"))


def small_settings():
    """K* on random centres in three dimensions, two flows, one law's costs."""
    return [
        s
        for s in open_study.settings(open_study.Config())
        if (s["question"], s["family"]) in WANTED or (s["family"] == "random centres" and s["dim"] <= 32)
    ]


@pytest.fixture(scope="module")
def rows():
    return [row for setting in small_settings() for row in open_study.compute(setting, CPU)]


def made(exponent, scale=10.0, noise=0.0, dims=(4, 16, 64, 256), sampler="jain_zhang", reference="none"):
    """Rows of K* = scale·d^exponent at ε² = 0.01."""
    rung = "marginal" if reference == "none" else "chain"
    base = {
        "question": 1,
        "family": "made",
        "sampler": sampler,
        "rung": rung,
        "reference": reference,
        "quantity": "steps",
    }
    return [
        base
        | {
            "dim": d,
            "value": scale * d**exponent,
            "crossing": scale * d**exponent,
            "stderr": noise * scale * d**exponent,
        }
        | {"bias": 0.0, "extrapolated": False, "epsilon2": 1e-2}
        for d in dims
    ]


def cost(sampler, value, stderr=0.0, grid="log_snr", budget=16):
    return {
        "question": 3,
        "family": "made",
        "sampler": sampler,
        "quantity": "kl",
        "value": value,
        "stderr": stderr,
        "bias": 0.0,
        "grid": grid,
        "budget": budget,
    }


def evidence(rows, question):
    (answer,) = [a for a in open_verdicts.answers(rows) if a.question == question]
    return answer.evidence


def test_no_question_is_called_settled(rows):
    found = open_verdicts.answers(rows)
    assert [answer.question for answer in found] == [1, 2, 3]
    assert {answer.status for answer in found} == {"open"}
    assert all(answer.evidence for answer in found)


def test_least_steps_are_least(rows):
    """KL(K*) ≤ ε² < KL(K* − 1) by another call, and the crossing lies between."""
    kept = [row for row in rows if row["question"] == 1 and row["quantity"] == "steps" and not row["extrapolated"]]
    assert {row["sampler"] for row in kept} == {"jain_zhang", "ddpm", "ei_sde"}
    for row in kept:
        assert row["value"] - 1 < row["crossing"] <= row["value"]
    row = next(row for row in kept if row["sampler"] == "ddpm" and row["dim"] == 8)
    target, steps = get("random_centres", dim=8).refined(open_study.POINTS["quick"]), int(row["value"])
    here, before = (
        float(kl.path(target, samplers.ddpm(open_study.grid_of(k, (4.0, 1e-2))))) for k in (steps, steps - 1)
    )
    assert here <= 1e-2 < before
    share = math.log(before / 1e-2) / math.log(before / here)
    assert row["crossing"] == pytest.approx(steps - 1 + share, abs=1e-3)


def test_crossing_is_exact_on_powers():
    """KL = c K^-2 crosses the level at √(c/level), for any two neighbours."""
    for where in (2.2, 7.5, 100.3):
        steps = math.ceil(where)
        before, after = ((where / k) ** 2 * 1e-2 for k in (steps - 1, steps))
        assert open_study.crossed(steps, before, after, 1e-2) == pytest.approx(where, rel=1e-12)


@pytest.mark.parametrize(("exponent", "below"), [(0.0, True), (0.5, True), (0.98, True), (1.0, False), (1.2, False)])
def test_exponent_and_its_verdict(exponent, below):
    (found,) = open_verdicts.growths(made(exponent))
    assert found.rate.slope == pytest.approx(exponent, abs=1e-9)
    assert found.below == below
    assert found.over == pytest.approx(10.0 * 256 ** (exponent - 1.0) * 0.1, rel=1e-12)
    last = evidence(made(exponent), 1)[-1]
    assert f"more slowly than d on {int(below)} of 1 families" in last
    assert f"below d/ε at the largest d on {int(found.over < 1.0)}" in last


def test_a_noisy_exponent_is_not_called_below():
    """Control: standard errors as large as K* itself."""
    (found,) = open_verdicts.growths(made(0.9, noise=1.0))
    assert not found.below


def test_two_dimensions_give_no_exponent():
    assert open_verdicts.growths(made(0.5, dims=(4, 16))) == []
    assert open_verdicts.answers(made(0.5, dims=(4, 16)))[0].evidence == ()


def test_refused_rungs_are_rows(rows):
    refused = [row for row in rows if row["question"] == 1 and row["quantity"] == "refused"]
    assert {(row["sampler"], row["reference"]) for row in refused} == {
        ("jain_zhang", "flow+noise"),
        ("jain_zhang", "none"),
        ("ddpm", "none"),
        ("ei_sde", "none"),
    }
    assert all("available" in row["method"] for row in refused)


def test_the_flow_alone_has_the_rate(rows):
    """Two laws: the ratio of the rows themselves, −2 with the noise step and without."""
    found = evidence(rows, 2)
    assert len(found) == 2
    at = {(row["family"], row["sampler"]): row["value"] for row in rows if row["question"] == 2 and row["steps"] == 64}
    for text, family in zip(found, ("curved mixture", "anisotropic Gaussian, d = 64"), strict=True):
        ratio = at[family, "flow alone"] / at[family, "jain_zhang"]
        assert ratio > 1.05
        assert f"{family}: at K = 64 the marginal KL without noise is {ratio:.3g} times" in text
        assert text.count("(−2 supported)") == 2


def test_a_flow_of_another_rate_is_refuted(rows):
    """Control: the flow's rows times √K."""
    slow = [
        {**row, "value": row["value"] * row["steps"] ** 0.5} if row.get("sampler") == "flow alone" else row
        for row in rows
    ]
    for text in evidence(slow, 2):
        assert "(−2 supported) with it" in text
        assert "(−2 supported) without" not in text


def test_what_is_not_resolved_is_not_compared(rows):
    """Control: standard errors half as large as the values, and a refused noisy sampler."""
    noisy = [{**row, "stderr": 0.5 * row["value"]} if row["quantity"] == "kl" else row for row in rows]
    assert all("cannot be compared" in text for text in evidence(noisy, 2))
    assert all("(not resolved)" in text for text in evidence(noisy, 2))
    setting = {**small_settings()[0], "question": 2, "family": "low-rank mixture, d = 64"}
    points = open_study.SAMPLED | {"low-rank mixture, d = 64": {"quick": 8}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_study, "SAMPLED", points)
        patch.setattr(open_study, "SAMPLED_STEPS", (16, 4))
        found = open_study.compute(setting, CPU)
    (text,) = evidence(found, 2)
    assert "jain_zhang refused: marginal KL of jain_zhang" in text
    assert {row["sampler"] for row in found if row["quantity"] == "kl"} == {"flow alone", "ddim", "heun"}
    assert all(row["steps"] == 4 for row in found if row["quantity"] == "refused")


def test_budgets_are_denoiser_evaluations(rows):
    mine = [row for row in rows if row["question"] == 3 and row["quantity"] == "kl"]
    assert len(mine) == 3 * len(open_verdicts.SAMPLERS) * len(open_study.GRIDS)
    assert all(row["evaluations"] == row["budget"] for row in mine)
    halved = {row["sampler"] for row in mine if 2 * row["steps"] == row["budget"]}
    assert halved == {"heun", "predictor_corrector"}


def test_the_better_grid_and_the_winner(rows):
    found = open_verdicts.places(rows)
    values = {
        (row["sampler"], row["grid"]): row["value"] for row in rows if row["question"] == 3 and row["budget"] == 64
    }
    line = found["anisotropic Gaussian", 64]
    assert [place.value for place in line] == sorted(place.value for place in line)
    for place in line:
        assert place.value == min(values[place.sampler, grid] for grid in open_study.GRIDS)
        assert place.value == values[place.sampler, place.grid]
    assert open_verdicts.winner(line) == "dpmpp_2m"
    text = evidence(rows, 3)[2]
    assert "anisotropic Gaussian, 64 evaluations: dpmpp_2m wins" in text
    assert "place 4 of 8" in text


def test_a_winner_needs_more_than_its_error():
    sure = open_verdicts.places([cost("ddpm", 1.0), cost("heun", 1.1)])["made", 16]
    assert open_verdicts.winner(sure) == "ddpm"
    doubtful = [cost("ddpm", 1.0, 0.02), cost("heun", 1.1, 0.01)]
    assert open_verdicts.winner(open_verdicts.places(doubtful)["made", 16]) is None
    assert "ddpm and heun are not told apart" in evidence(doubtful, 3)[0]


@pytest.mark.parametrize(("value", "below", "above"), [(0.5, 1, 0), (2.0, 0, 1), (1.0, 0, 0)])
def test_counts_against_each_kind(value, below, above):
    """Control: jain_zhang below, above and level with the best reverse SDE; the worse one does not count."""
    lines = [cost("jain_zhang", value), cost("ddpm", 1.0), cost("ei_sde", 5.0), cost("ddim", 3.0)]
    against = {text.split(" at equal")[0]: text for text in evidence(lines, 3)[1:]}
    assert f"lower in {below} and higher in {above} of 1" in against["against the best reverse SDE"]
    assert "lower in 1 and higher in 0 of 1" in against["against the best ODE"]
    assert any("predictor–corrector: nothing was measured" in text for text in against)


def test_report_and_figures(rows, tmp_path, monkeypatch, capsys):
    open_verdicts.report(rows)
    text = capsys.readouterr().out
    for word in (
        "K*: least K",
        "random centres, d = 2, 8, 32",
        "better of two grids",
        "status: open",
        "against the best ODE",
    ):
        assert word in text
    store = Store(tmp_path, open_study.NAME)
    store.add({"all": 1}, rows)
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    written = picture.draw(store.path)
    assert {path.stem for path in written} == {f"{open_study.NAME}{end}" for end in ("", "_flow", "_cost")}
    assert all(path.stat().st_size > 5000 for path in written)


def test_settings_are_named_once():
    for preset in ("quick", "full"):
        found = [
            (s["question"], s["family"], s.get("dim"), s.get("budget"))
            for s in open_study.settings(open_study.Config(preset=preset))
        ]
        assert len(found) == len(set(found))
        assert {family for question, family, *_ in found if question == 1} == set(open_study.GROWING)
        assert {family for question, family, *_ in found if question == 3} == set(open_study.COSTS)
    assert {family for question, family, *_ in found if question == 2} == set(open_study.FLOWS)


def test_sweep_resumes(tmp_path):
    """A setting that is on disk is not computed again."""
    store = Store(tmp_path, open_study.NAME)
    setting = small_settings()[-1]
    first = study.sweep(store, [setting], lambda s: open_study.compute(s, CPU))
    again = study.sweep(Store(tmp_path, open_study.NAME), [setting], lambda _: pytest.fail("computed twice"))
    assert again == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_time": 5.0}, "start-time = 4.0: expected a time T > stop-time"),
        ({"stop_time": -1.0}, "stop-time = -1.0: expected a time δ > 0"),
        ({"start_time": np.nan}, "start-time = nan"),
        ({"epsilon2": 0.0}, "epsilon2 = 0.0: expected a number > 0"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ArgumentError, match=message):
        open_study.check(dataclasses.replace(open_study.Config(), **change))

"""The learned-score study end to end on a tiny configuration: a sweep that is stopped, rows, figures; its settings."""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest

from figures import style
from studies import learned_findings as findings
from studies import learned_laws, learned_parts, study
from studies import learned_score as learned
from studies.store import read_rows
from targets import ArgumentError, get

FIGURES = ("", "_levels", "_rungs", "_marginal", "_reach", "_schedules", "_memory")


@contextmanager
def tiny():
    """A law on the line and a codebook in R⁴, networks of 20 steps: seconds instead of minutes."""
    laws = {
        "curved mixture": learned_laws.FAMILIES["curved mixture"],
        "codebook": learned_laws.Family(lambda dim: get("codebook", dim=dim), {"quick": (4,), "full": (4,)}),
    }
    with pytest.MonkeyPatch.context() as patch:
        for module in (learned_laws, learned):
            patch.setattr(module, "FAMILIES", laws)
            patch.setattr(module, "MEMORISED", {"quick": {"curved mixture": (10,)}, "full": {}})
        patch.setattr(learned_laws, "LEVELS", {"quick": 9})
        patch.setattr(learned_laws, "TRAINING", {"quick": {1: (20, 32, 1), 4: (20, 32, 2)}})
        patch.setattr(learned_laws, "DRAWS", {1: 8, 4: 8})
        patch.setattr(learned_parts, "RUNGS", {"quick": (2, 4)})
        patch.setattr(learned_parts, "COMPARED", (8, 16))
        patch.setattr(learned_parts, "MARGINAL", {1: ("ddim",)})
        patch.setattr(learned_parts, "MARGINAL_STEPS", {"quick": (4,)})
        yield patch


def coarsely(figure, folder, name, *origin):
    """A figure in few dots, for speed; style.save itself is tested with the other studies."""
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=50)
    assert all(origin)
    return [folder / f"{name}.png"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A run stopped at its fourth setting, then gone on with: what was computed in each, and the folder."""
    out = tmp_path_factory.mktemp("learned")
    config = learned.Config(device="cpu", out=out)
    whole, seen = learned.compute, []

    def stops(folder, setting, place):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(setting)
        return whole(folder, setting, place)

    with tiny() as patch:
        patch.setattr(style, "RENDERED", out / "pictures")
        patch.setattr(style, "save", coarsely)
        patch.setattr(learned, "compute", stops)
        with pytest.raises(study.InterruptedSweep, match="stopped at setting 4 of 10"):
            learned.main(config)
        before = seen.copy()
        patch.setattr(learned, "compute", lambda *given: (seen.append(given[1]), whole(*given))[1])
        learned.main(config)
        assert seen == learned.settings(config)
    return config, before, seen[3:]


def test_an_interrupted_sweep_goes_on(swept):
    """Every setting once, in order, the first three not again."""
    _, before, after = swept
    assert (len(before), len(after)) == (3, 7)
    assert [setting["part"] for setting in before] == ["curve", "rungs", "reach"]


def test_a_rerun_computes_nothing(swept, capsys):
    config = swept[0]
    file = config.out / learned.NAME / "rows.jsonl"
    before = file.read_bytes()
    with tiny() as patch:
        patch.setattr(learned, "compute", lambda *_: pytest.fail("computed twice"))
        patch.setattr("figures.learned_score.draw", lambda *_, **__: [])
        learned.main(config)
    assert file.read_bytes() == before
    text = " ".join(capsys.readouterr().out.split())
    assert "by the losses alone: 4 comparisons of 2 networks" in text
    assert all(
        word in text for word in ("floor, codebook, d = 4", "memory, curved mixture, d = 1, n = 10", "marginal KL")
    )


def test_figures_of_a_run(swept):
    folder = swept[0].out / "pictures"
    assert {path.name for path in folder.iterdir()} == {f"{learned.NAME}{name}.png" for name in FIGURES}
    assert all(path.stat().st_size > 5000 for path in folder.iterdir())


def test_rows_of_a_run(swept):
    """Numbers that must agree: two routes, the error with its floor, and every row names its law and part."""
    rows = read_rows(swept[0].out / learned.NAME / "rows.jsonl")
    assert all({"family", "dim", "part", "quantity"} <= row.keys() for row in rows)
    found = findings.routes(rows)
    assert found is not None
    assert found.agreed
    for group in findings.groups(findings.chosen(rows, quantity="floor")):
        levels = findings.chosen(rows, group, quantity="level")
        snr = np.exp([row["logsnr"] for row in levels])
        error = np.array([row["error"] for row in levels])
        (floor,) = findings.chosen(rows, group, quantity="floor")
        assert floor["value"] == pytest.approx(0.5 * np.trapezoid(error * snr, np.log(snr)), rel=0.2)
    assert len(list((swept[0].out / learned.NAME / "networks").glob("*.safetensors"))) == 3


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_settings_name_every_part_once(preset):
    """Those of one network together, each with a length of training."""
    found = learned.settings(learned.Config(preset))
    keys = [(s["family"], s["dim"], s["part"], s.get("points")) for s in found]
    assert len(keys) == len(set(keys))
    assert {key[2] for key in keys} == {*learned.PARTS, "memory"}
    assert max(key[1] for key in keys) == {"quick": 100, "full": 10_000}[preset]
    networks = [key[:2] for key in keys if key[2] != "memory"]
    assert networks == sorted(networks, key=networks.index), "parts of one network follow one another"
    steps = learned_laws.TRAINING[preset]
    assert {s["dim"] for s in found} <= steps.keys() & learned_laws.DRAWS.keys()
    assert all("out" not in s and "device" not in s for s in found)


def test_bad_settings():
    with pytest.raises(ArgumentError, match="seed = -1: expected an integer >= 0"):
        learned.check(dataclasses.replace(learned.Config(), seed=-1))

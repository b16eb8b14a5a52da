"""Rows beside the figures: those of one code version, all settings, in their order, with what is kept of what made them."""

import json

import pytest

from studies import publish, step_scaling
from studies.publish import MADE, Options, published
from targets import ArgumentError

SETTINGS = [{"family": "f", "dim": dim, "preset": "full", "seed": 0} for dim in (4, 2, 8)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """step_scaling with three settings; a function that writes their rows as another number of workers would."""
    monkeypatch.setattr(step_scaling, "settings", lambda config: [{**one, "preset": config.preset} for one in SETTINGS])
    (tmp_path / "step_scaling").mkdir()

    def write(*made):
        """(place in SETTINGS, code, time) of each setting in the order in which they arrive, two rows each."""
        lines = []
        for place, code, time in made:
            provenance = {"command": "c", "commit": "0" * 40, "code": code, "time": time, "machine": "of no interest"}
            for row in (1, 0):
                setting = SETTINGS[place]
                address = {"key": f"{place}{code}", "row": row, "of": 2, "study": "step_scaling"}
                lines.append(
                    json.dumps({**address, "value": 10 * place + row, "setting": setting, "provenance": provenance})
                )
        (tmp_path / "step_scaling" / "rows.jsonl").write_text("\n".join(lines) + "\n")
        return tmp_path

    return write


def test_rows_are_in_the_order_of_settings_whatever_order_they_came_in(folder):
    rows = published("step_scaling", folder((2, "new", "3"), (0, "new", "1"), (1, "new", "2")))
    assert [row["value"] for row in rows] == [0, 1, 10, 11, 20, 21]
    assert all(set(row["provenance"]) <= set(MADE) and "machine" not in row["provenance"] for row in rows)


def test_only_the_code_that_ran_last_counts(folder):
    old = [(place, "old", "1") for place in range(3)]
    rows = published("step_scaling", folder(*old, *((place, "new", "2") for place in range(3))))
    assert {row["provenance"]["code"] for row in rows} == {"new"}
    assert len(rows) == 6


def test_a_missing_setting_is_named(folder):
    made = folder((0, "old", "1"), (1, "old", "1"), (2, "old", "1"), (0, "new", "2"), (2, "new", "2"))
    with pytest.raises(
        ArgumentError, match=r"2 of 3 settings by code new.*\"dim\": 2.*--preset full computes what is missing"
    ):
        published("step_scaling", made)


def test_wrong_names_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"did you mean|expected one of"):
        published("step_scalin", tmp_path)
    with pytest.raises(ArgumentError, match=r"rows\.jsonl"):
        published("step_scaling", tmp_path)


def test_the_file_is_written_and_nothing_else(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    made = folder((1, "new", "1"), (0, "new", "2"), (2, "new", "3"))
    publish.main(Options("step_scaling", folder=made, to=tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["step_scaling.jsonl"]
    written = [json.loads(line) for line in (tmp_path / "out" / "step_scaling.jsonl").read_text().splitlines()]
    assert written == published("step_scaling", made)
    assert "6 rows" in capsys.readouterr().out


def test_the_code_that_ran_last_is_told_by_its_time(folder):
    """Not by its place in the file, which another machine's rows may follow."""
    made = folder(*((place, "new", "2") for place in range(3)), *((place, "old", "1") for place in range(3)))
    assert {row["provenance"]["code"] for row in published("step_scaling", made)} == {"new"}


def test_settings_are_the_same_whatever_the_order_of_their_fields(folder, monkeypatch):
    made = folder((0, "new", "1"), (1, "new", "2"), (2, "new", "3"))
    turned = [dict(reversed(one.items())) for one in SETTINGS]
    monkeypatch.setattr(step_scaling, "settings", lambda _: turned)
    assert [row["value"] for row in published("step_scaling", made)] == [0, 1, 10, 11, 20, 21]

"""Rows of a study as DataFrame, CSV and Parquet: every value, one type a column, nothing overwritten."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from studies.rows import COMMAND, Options, export, frame, main
from targets import ArgumentError

STAMP = {"command": "python -m studies.x", "code": "abc"}


def row(key, index, of, **fields):
    setting = {"family": 'bits, "quoted"', "dim": 3, "deep": {"tail": 0.1}}
    return {"key": key, "row": index, "of": of, "study": "x", **fields, "setting": setting, "provenance": STAMP}


ROWS = [
    row("a", 0, 2, value=0.1, steps=8, identity=True, bound=None, shape="line\nbreak", levels=[0.1, 2.5]),
    row("a", 1, 2, value=1, steps=None, bound=0.30000000000000004, shape="η", levels=3.5),
    row("b", 0, 1, value=1e-300, steps=2**40, identity=False, extra=7),
]
LOOSE = [row("c", 0, 2, value=9.0)]
"""A setting that was stopped half way."""


@pytest.fixture
def folder(tmp_path):
    for name, rows in (("some_study", ROWS), ("other", ROWS[2:])):
        (tmp_path / name).mkdir()
        text = "".join(json.dumps(r) + "\n" for r in [*rows, *LOOSE, rows[0]])
        (tmp_path / name / "rows.jsonl").write_text(text + '{"key": "torn')
    return tmp_path


TYPES = {
    "row": "int64",
    "value": "float64",
    "steps": "Int64",
    "identity": "boolean",
    "bound": "float64",
    "shape": "string",
    "levels": "string",
    "extra": "Int64",
    "setting.family": "string",
    "setting.dim": "int64",
    "setting.deep.tail": "float64",
    "provenance.code": "string",
}


def test_frame_flattens_and_keeps_types(folder):
    table = frame(folder / "some_study")
    assert len(table) == 3
    assert table["key"].tolist() == ["a", "a", "b"]
    assert {name: str(table[name].dtype) for name in TYPES} == TYPES
    assert table["value"].tolist() == [0.1, 1.0, 1e-300]
    assert table["bound"].tolist()[1] == 0.30000000000000004
    assert table["steps"].tolist() == [8, pd.NA, 2**40]
    assert [json.loads(text) for text in table["levels"].tolist()[:2]] == [[0.1, 2.5], 3.5]
    assert set(table["setting.family"]) == {'bits, "quoted"'}
    pd.testing.assert_frame_equal(table, frame(str(folder / "some_study" / "rows.jsonl")))


def test_csv_holds_every_value(folder):
    written = export(Options("some_study", folder / "out.csv", folder))
    back = pd.read_csv(folder / "out.csv")
    assert back.columns.tolist() == written.columns.tolist()
    assert back["value"].tolist() == written["value"].tolist()
    assert back["bound"].tolist()[1] == 0.30000000000000004
    assert back["shape"][:2].tolist() == ["line\nbreak", "η"]
    assert back["setting.family"].tolist() == written["setting.family"].tolist()
    np.testing.assert_array_equal(back["steps"].to_numpy(float)[[0, 2]], [8.0, 2.0**40])


def test_parquet_holds_every_value_and_type(folder):
    pytest.importorskip("pyarrow")
    written = export(Options("some_study", folder / "out.parquet", folder))
    back = pd.read_parquet(folder / "out.parquet")
    pd.testing.assert_frame_equal(back, written)
    assert {name: str(back[name].dtype) for name in TYPES} == TYPES


def test_nothing_is_overwritten_unasked(folder):
    place = folder / "out.csv"
    place.write_text("mine")
    with pytest.raises(ArgumentError, match=r"out\.csv.*--force writes over it"):
        export(Options("some_study", place, folder))
    assert place.read_text() == "mine"
    export(Options("some_study", place, folder, force=True))
    assert place.read_text().startswith("key,row,of,study,value")
    assert sorted(path.name for path in folder.glob("out*")) == ["out.csv"]


@pytest.mark.parametrize(
    ("name", "to", "words"),
    [
        ("some_stduy", "a.csv", "NAME = 'some_stduy'.*did you mean 'some_study'"),
        ("../some_study", "a.csv", "expected one of other, some_study"),
        ("some_study", "a.xlsx", r"expected a file that ends in \.csv or \.parquet"),
        ("some_study", "no/a.csv", "expected a file in a folder that exists"),
    ],
)
def test_refusals(folder, name, to, words):
    with pytest.raises(ArgumentError, match=words):
        export(Options(name, folder / to, folder))


def test_missing_rows_are_refused(folder, tmp_path):
    with pytest.raises(ArgumentError, match=r"expected a rows\.jsonl file, or a folder with one"):
        frame(folder / "nowhere")
    (tmp_path / "loose.jsonl").write_text(json.dumps(LOOSE[0]))
    with pytest.raises(ArgumentError, match="at least one finished setting"):
        frame(tmp_path / "loose.jsonl")
    with pytest.raises(ArgumentError, match="expected a folder of studies"):
        export(Options("x", folder / "a.csv", folder / "some_study"))


def test_parquet_without_pyarrow_names_the_command(folder, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    with pytest.raises(ArgumentError, match=r"pip install 'truerate\[parquet\]'"):
        export(Options("some_study", folder / "out.parquet", folder))


def test_the_command(folder, capsys):
    """One run that writes, and one that is refused in a single line."""
    arguments = ["some_study", "--from", str(folder), "--to", str(folder / "out.csv")]
    COMMAND.run(main, arguments)
    assert capsys.readouterr().out.endswith("out.csv: 3 rows, 16 columns\n")
    with pytest.raises(SystemExit) as stopped:
        COMMAND.run(main, arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --to = ")
    assert told.count("\n") == 1
    COMMAND.run(main, [*arguments, "--force"])

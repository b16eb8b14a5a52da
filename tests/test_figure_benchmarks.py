"""Benchmarks as rows and as a picture: what misses its limit is marked, what has none is not held against one."""

import json

import pytest

from figures import benchmarks, load, style

MADE = {
    "commit_info": {"id": "abc"},
    "datetime": "2026-01-01T00:00:00",
    "machine_info": {"cpu": {"brand_raw": "a processor"}},
}


def item(name: str, **told) -> dict:
    full = f"tests/bench/test_x.py::{name}"
    return {"name": name, "fullname": full, "stats": {"min": 0.5}, "extra_info": told}


DOCUMENT = {
    **MADE,
    "benchmarks": [
        item("test_fast[1]", ratio=0.5, limit=1.0, against="a rival", sizes="batch 1, dim 2"),
        item("test_fast[2]", ratio=1.5, limit=1.0, against="a rival", sizes="2 x 2"),
        item("test_free", ratio=3.0, limit=None, against="nothing", sizes="3"),
        item(
            "test_path_against_steps[ddpm]",
            exponent=0.9,
            last_exponent=1.1,
            against="K",
            sizes=[1, 10],
            seconds=[0.1, 1],
        ),
        item("test_plain"),
    ],
}


def test_rows_say_what_was_measured():
    rows = benchmarks.rows(DOCUMENT)
    assert [row["quantity"] for row in rows] == ["ratio", "ratio", "ratio", "growth", "time"]
    assert rows[0]["sizes"] == "batch 1, dim 2"
    assert {row["group"] for row in rows[:2]} == {"test_x.py::test_fast"}
    assert len({row["key"] for row in rows}) == 5
    assert all(load.again(json.dumps(row) + "\n") for row in rows)


def test_the_command_prints_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(style, "RENDERED", tmp_path / "rendered")
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(DOCUMENT))
    benchmarks.main([str(file)])
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("=     0.500  limit  1.000")
    assert out[1].startswith("x     1.500")
    assert out[2].startswith("      3.000  limit    nan")
    assert "exponent 0.90, last 1.10" in out[3]
    assert (tmp_path / "rendered" / "benchmarks.png").exists()
    assert "path (ddpm) 1.1" in (tmp_path / "rendered" / "benchmarks.svg").read_text()


@pytest.mark.parametrize("arguments", [[], ["nowhere.json"], ["a", "b"]])
def test_a_wrong_command_says_how(arguments):
    with pytest.raises(SystemExit, match="make bench"):
        benchmarks.main(arguments)

"""Row files that anybody wrote: the whole rows that stand there, or a typed error that names the file."""

import json
import math
import os
import time

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from figures import load as reading
from figures.load import CELLS, DEEPEST, DIGITS, FIELDS, NAME, NoRowsError, load, rows
from studies import rows as exporting
from studies.rows import COMMAND, Options, export, frame, main
from targets import ArgumentError

STEADY = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GOOD = [
    {"key": f"k{i}", "row": 0, "of": 1, "study": "s", "value": 0.1 + i, "n": i, "who": "η", "setting": {"a": [1, 2.5]}}
    for i in range(3)
]
LINES = [json.dumps(row) for row in GOOD]


def line(value: str, name: str = "value", key: str = "odd") -> str:
    """A row whose field holds this text as it stands."""
    return f'{{"key": "{key}", "row": 0, "of": 1, "{name}": {value}}}'


def put(folder, *content: str | bytes):
    """The lines as the rows of study s."""
    (folder / "s").mkdir(exist_ok=True)
    file = folder / "s" / "rows.jsonl"
    file.write_bytes(b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in content))
    return file


def numbers(value):
    """Every number inside."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value


def survives(folder, file) -> list[dict]:
    """The rows; they and the tables of them are usable, or refused with the one error of each reader."""
    found = list(rows(file))
    for row in found:
        assert isinstance(row["key"], str)
        assert 0 <= row["row"] < row["of"]
        assert all(math.isfinite(float(value)) for value in numbers(row))
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    try:
        assert len(load(file)) == len({(row["key"], row["row"]) for row in found})
    except NoRowsError:
        assert not found
    try:
        table = frame(file)
    except ArgumentError:
        return found
    written = export(Options("s", folder / "out.csv", folder, force=True))
    pd.testing.assert_frame_equal(written, table)
    return found


# ---- fuzz ------------------------------------------------------------------------------------------------------------


@STEADY
@given(
    content=st.binary(max_size=300) | st.text(alphabet='{}[]",:\\ud8keyrowof01 eE+-.\n', max_size=200).map(str.encode)
)
def test_any_bytes_hold_no_rows(content, tmp_path):
    assert survives(tmp_path, put(tmp_path, content)) == []


@STEADY
@given(where=st.integers(0, len(LINES[1]) - 1), byte=st.integers(0, 255))
def test_one_byte_flipped_costs_no_other_row(where, byte, tmp_path):
    hurt = LINES[1].encode()
    found = survives(tmp_path, put(tmp_path, LINES[0], hurt[:where] + bytes([byte]) + hurt[where + 1 :], LINES[2]))
    assert [found[0], found[-1]] == [GOOD[0], GOOD[2]]
    assert len(found) <= 3


@STEADY
@given(length=st.integers(0, sum(map(len, LINES)) + 3), twice=st.booleans())
def test_a_file_that_is_cut_off_keeps_its_whole_lines(length, twice, tmp_path):
    file = put(tmp_path, *LINES)
    content = file.read_bytes()[:length]
    file.write_bytes(content + (b"\n" + content if twice else b""))
    whole = [row for row, text in zip(GOOD, LINES, strict=True) if text.encode() in content]
    assert survives(tmp_path, file) == whole * (2 if twice else 1)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@STEADY
@given(field=st.sampled_from([*GOOD[0], "other", "setting.a"]), value=JSONS)
def test_any_value_in_a_field(field, value, tmp_path):
    """A row again, with that value, or no row: a whole one has a key and its number."""
    changed = GOOD[1] | {field: value}
    found = survives(tmp_path, put(tmp_path, LINES[0], json.dumps(changed), LINES[2]))
    odd = field in ("key", "row", "of") or not all(math.isfinite(float(x)) for x in numbers(value))
    assert found == [GOOD[0], changed, GOOD[2]] or (odd and found == [GOOD[0], GOOD[2]])


# ---- what is passed over, and what is not ----------------------------------------------------------------------------

FOREIGN = {
    "nan": line("NaN"),
    "infinity": line("-Infinity"),
    "overflow": line("1e999"),
    "overflow inside": line('{"a": [0, -1e999]}'),
    "long float": line("1" * 400 + ".0"),
    "long integer": line("1" * (DIGITS + 1)),
    "beyond int()": line("1" * 5000),
    "a name twice": line('1, "value": 2'),
    "a name twice inside": line('{"a": 1, "a": 1}'),
    "two keys": '{"key": "a", "key": "b", "row": 0, "of": 1}',
    "half a character": line(r'"\ud800"'),
    "half in a name": line(r'{"\uDFFF": 1}'),
    "half, raw": line("1").encode() + b' \xed\xa0\x80',
    "half, raw text": line('"@"').encode().replace(b"@", b"\xed\xa0\x80"),
    "latin-1": line('"é"').encode("latin-1"),
    "utf-16": line("1").encode("utf-16"),
    "utf-32": line("1").encode("utf-32"),
    "deep": line("[" * DEEPEST + "]" * DEEPEST),
    "deep objects": line('{"a": ' * DEEPEST + "1" + "}" * DEEPEST),
    "deepest that json reads": line("[" * 900 + "]" * 900),
    "bottomless": line("[" * 200_000),
    "long name": line("1", "n" * (NAME + 1)),
    "many fields": line(json.dumps(dict.fromkeys(map(str, range(FIELDS + 1)), 1))),
    "a list": json.dumps([GOOD[0]]),
    "true as a number": '{"key": "k", "row": false, "of": true}',
    "false as a number": '{"key": "k", "row": false, "of": 1}',
    "row beyond": '{"key": "k", "row": 1, "of": 1}',
    "negative row": '{"key": "k", "row": -1, "of": 1}',
    "two on a line": LINES[0] + LINES[1],
    "comment": "# " + LINES[0],
    "tail": LINES[0] + " x",
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_line_is_passed_over(kind, tmp_path):
    began = time.process_time()
    assert survives(tmp_path, put(tmp_path, LINES[0], FOREIGN[kind], LINES[2])) == [GOOD[0], GOOD[2]]
    assert time.process_time() - began < 2.0


READ = {
    "whole character": (line(r'"\ud83d\ude00"'), "\U0001f600"),
    "two backslashes": (line(r'"\\ud800"'), r"\ud800"),
    "long integer": (line("1" * DIGITS), int("1" * DIGITS)),
    "largest float": (line("1.7976931348623157e308"), 1.7976931348623157e308),
    "least float": (line("5e-324"), 5e-324),
    "rounds to zero": (line("1e-999"), 0.0),
    "deep": (line("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)), json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))),
    "zero character": (line(r'"\u0000"'), "\0"),
    "many fields": (
        line(json.dumps(dict.fromkeys(map(str, range(FIELDS - 10)), 1))),
        dict.fromkeys(map(str, range(FIELDS - 10)), 1),
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_what_is_within_the_bounds_is_read(kind, tmp_path):
    text, value = READ[kind]
    found = survives(tmp_path, put(tmp_path, text))
    assert [row["value"] for row in found] == [value]
    assert frame(tmp_path / "s").shape[0] == 1


def test_a_long_name_is_read(tmp_path):
    assert next(rows(put(tmp_path, line("1", "n" * NAME))))["n" * NAME] == 1


def test_marks_and_line_ends(tmp_path):
    """A byte-order mark, Windows line ends, blank lines, no last line end."""
    file = put(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(LINES).encode())
    assert survives(tmp_path, file) == GOOD


def test_a_line_beyond_the_longest_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST", 1000)
    for length, passed in ((999, 0), (1000, 1), (1001, 1), (2500, 1), (3000, 1)):
        text = line('"' + "x" * (length - len(line('""'))) + '"')
        assert len(text) == length
        found = list(rows(put(tmp_path, LINES[0], text, LINES[2])))
        assert len(found) == 3 - passed, length
        assert [found[0], found[-1]] == [GOOD[0], GOOD[2]]


# ---- files and tables ------------------------------------------------------------------------------------------------


def test_what_is_no_file(tmp_path):
    """A folder, a link to one, a pipe (without waiting for it) and a device: named; nothing there: no rows."""
    (tmp_path / "s").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "link", tmp_path / "pipe", tmp_path / "zero"):
        if path.name == "zero":
            path.symlink_to("/dev/zero")
        with pytest.raises(NoRowsError, match=f"{path.name} is no file"):
            list(rows(path))
    for name in ("dangling", "loop"):
        (tmp_path / name).symlink_to(tmp_path / ("loop" if name == "loop" else "nowhere"))
        assert list(rows(tmp_path / name)) == []
        with pytest.raises(NoRowsError, match="make them with"):
            load(tmp_path / name)
    (tmp_path / "s" / "rows.jsonl").mkdir()
    with pytest.raises(ArgumentError, match=r"rows\.jsonl.*expected a rows\.jsonl file"):
        frame(tmp_path / "s")


def test_a_file_beyond_the_largest_is_refused(tmp_path, monkeypatch):
    file = put(tmp_path, *LINES)
    monkeypatch.setattr(reading, "LARGEST", file.stat().st_size)
    assert list(rows(file)) == GOOD
    monkeypatch.undo()
    with file.open("r+b") as opened:
        opened.truncate(2**40)
    for call, error in ((load, NoRowsError), (frame, ArgumentError)):
        with pytest.raises(error, match=r"rows\.jsonl has 1099511627776 bytes; at most 536870912"):
            call(file)


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    file = put(tmp_path, *LINES)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(file), "open", denied)
    with pytest.raises(NoRowsError, match=r"rows\.jsonl cannot be read \(Permission denied\)"):
        list(rows(file))


def test_a_table_has_bounds(tmp_path, monkeypatch):
    """Each row names fields of its own: the table would have rows times fields cells, most of them empty."""
    for each, rejected in ((400, True), (300, False)):
        many = [line(json.dumps(dict.fromkeys((f"{k}-{i}" for i in range(each)), 0)), key=f"k{k}") for k in range(3)]
        loose = [json.dumps({"key": f"k{k}", "row": 0, "of": 1} | json.loads(many[k])["value"]) for k in range(3)]
        for content, call, error in (
            (many, frame, ArgumentError),
            (loose, load, NoRowsError),
            (loose, frame, ArgumentError),
        ):
            file = put(tmp_path, *content)
            if rejected:
                with pytest.raises(error, match=rf"rows\.jsonl.* at most {FIELDS} columns and {CELLS} cells"):
                    call(file)
            else:
                assert len(call(file)) == 3
    file = put(tmp_path, *LINES)
    monkeypatch.setattr(reading, "CELLS", 3 * len(GOOD[0]))
    assert (len(load(file)), len(frame(file))) == (3, 3)
    monkeypatch.setattr(reading, "CELLS", 3 * len(GOOD[0]) - 1)
    for call, error in ((load, NoRowsError), (frame, ArgumentError)):
        with pytest.raises(error, match="cells"):
            call(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"key": "k", "row": 0, "of": 1, "a.b": 1, "a": {"b": 2}}', r"field of a row = 'a': .*each once"),
        ('{"key": "k", "row": 0, "of": 1, "a": {"b": 2}, "a.b": 1}', r"field of a row = 'a\.b': .*each once"),
        (line(f'{{"{"m" * 150}": 1}}', "n" * 100), f"of at most {NAME} characters"),
        (line(",".join(f'"{i}": {{"a": 1, "b": 2}}' for i in range(501)).join("{}")), f"at most {FIELDS} names"),
    ],
)
def test_fields_of_fields(text, words, tmp_path):
    """Columns by dots: no two of one name, and no more or longer ones than fields."""
    file = put(tmp_path, text)
    assert len(list(rows(file))) == 1
    with pytest.raises(ArgumentError, match=words):
        frame(file)


def test_integers_beyond_64_bits_are_text(tmp_path):
    """As they stand; beside floats they are floats."""
    for value in (2**63, -(2**63) - 1, 10 ** (DIGITS - 1)):
        table = frame(put(tmp_path, line(str(value)), line("7", key="other")))
        assert [int(text) for text in table["value"]] == [value, 7]
        table = frame(put(tmp_path, line(str(value)), line("7.5", key="other")))
        assert table["value"].tolist() == [float(value), 7.5]
    for value in (2**63 - 1, -(2**63)):
        table = frame(put(tmp_path, line(str(value))))
        assert (str(table["value"].dtype), table["value"].tolist()) == ("int64", [value])


def test_the_command_says_it_in_a_line(tmp_path, capsys):
    put(tmp_path, "no row")
    with pytest.raises(SystemExit) as stop:
        COMMAND.run(main, ["s", "--to", str(tmp_path / "o.csv"), "--from", str(tmp_path)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: path = ")
    assert exporting.KINDS == (".csv", ".parquet")
    assert not (tmp_path / "o.csv").exists()

"""CSV files of losses that anybody wrote: the losses that stand there, or an ArgumentError that names the file or line."""

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from targets import ArgumentError
from verify import losses
from verify.losses import LONGEST_LINE, MOST_LINES, read_losses

STEADY = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SNR, LOSS = np.geomspace(0.01, 100.0, 12), np.linspace(2.0, 0.1, 12)
LINES = ["snr,loss", *(f"{g!r},{v!r}" for g, v in zip(SNR.tolist(), LOSS.tolist(), strict=True))]
GOOD = "\n".join(LINES) + "\n"


def read(file):
    return read_losses(file, prediction="x0", weighting="sum")


def survives(file, content: bytes):
    """The losses, finite and in order, or None where they were refused, with the file or the line."""
    file.write_bytes(content)
    try:
        found = read(file)
    except ArgumentError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert said.startswith("losses")
        assert len(said) < 2 * LONGEST_LINE
        return None
    assert (np.diff(found.snr) > 0).all()
    assert np.isfinite(found.loss).all()
    assert (found.loss >= 0).all()
    return found


@STEADY
@given(content=st.binary(max_size=200) | st.text(alphabet='snrlo,e"\n\r\t 01.-+\0\ufeff', max_size=200).map(str.encode))
def test_any_bytes_are_refused(content, tmp_path):
    assert survives(tmp_path / "a.csv", content) is None


@STEADY
@given(where=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_one_byte_flipped_or_the_rest_cut_off(where, byte, cut, tmp_path):
    """What is still read is the other lines' losses as they stand there."""
    content = GOOD.encode()
    found = survives(tmp_path / "a.csv", content[:where] + (b"" if cut else bytes([byte]) + content[where + 1 :]))
    hurt = GOOD[:where].count("\n") - 1
    if found is not None:
        kept = [i for i in range(min(len(found.snr), hurt if cut else len(SNR))) if i != hurt]
        np.testing.assert_array_equal(found.loss[kept], LOSS[kept])
        np.testing.assert_array_equal(found.snr[kept], SNR[kept])


CELLS = [
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1e999",
    "-1",
    "1" * 400,
    "",
    "NULL",
    "None",
    "true",
    "0x10",
    "1;2",
    '"1',
    '"1"2',
    "é",
    "\0",
]


@pytest.mark.parametrize("cell", CELLS, ids=ascii)
@pytest.mark.parametrize("column", [0, 1])
def test_a_cell_that_is_no_number(cell, column, tmp_path):
    cells = LINES[5].split(",")
    cells[column] = cell
    (tmp_path / "a.csv").write_text("\n".join([*LINES[:5], ",".join(cells), *LINES[6:]]), encoding="utf-8")
    with pytest.raises(ArgumentError, match="line 6"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("last", ["", "\n", "\n\n \n", "\n,\n,,\n", "\r\n"], ids=ascii)
def test_what_may_stand_at_the_end(last, tmp_path):
    """Blank lines, and a spreadsheet's empty cells."""
    (tmp_path / "a.csv").write_bytes((GOOD.rstrip() + last).encode())
    np.testing.assert_array_equal(read(tmp_path / "a.csv").loss, LOSS)


SHAPES = {
    "twice": (GOOD + GOOD.partition("\n")[2], "line 14: snr is out of order after line 13"),
    "a line twice": (GOOD.replace(LINES[4], LINES[4] + "\n" + LINES[4]), "line 6: snr is the level of line 5"),
    "a name twice": (GOOD.replace("snr,loss", "snr,loss,loss"), "line 1: columns snr, loss, loss: expected every name once"),
    "many names": ("snr,loss" + ",a" * 400 + GOOD[8:], "line 1: columns snr, loss, a"),
    "a value more": (GOOD + "200,0.01,0", "Expected 2 fields in line 14, saw 3"),
    "a value less": (GOOD + "200", "line 14: loss = nan"),
    "an empty value": (GOOD + "200,", "line 14: loss = nan"),
    "wide header": ("snr,loss" + "," * 10**6, "line 1: at most"),
    "wide row": (GOOD + "," * 10**6, "line 14: at most"),
    "quoted row": (GOOD + '"\n",' * 1000, "line 14: unexpected end of data"),
    "quoted header": ('"\n",' * 1000 + GOOD, "line 1: unexpected end of data"),
    "long cell": (GOOD + "1" * 10**6 + ",1", "line 14: at most"),
    "many lines": ("snr,loss\n" + "1,1\n" * MOST_LINES, f"line {MOST_LINES + 1}: at most"),
    "blank lines": ("\n" * 10**6, f"line {MOST_LINES + 1}: at most"),
    "no lines": ("", "No columns"),
    "utf-16": (GOOD.encode("utf-16"), "codec can't decode"),
    "latin-1": (GOOD.replace("snr", "é").encode("latin-1"), "codec can't decode"),
    "zip": (b"PK\x03\x04" + bytes(100), "expected"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "codec can't decode"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHAPES)
def test_another_shape(kind, tmp_path):
    """In bounded time, whatever the file's name says of its kind."""
    content, words = SHAPES[kind]
    file = tmp_path / f"{kind}.csv.gz"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(ArgumentError, match=words):
        read(file)
    assert time.process_time() - began < 2.0


def test_sizes_up_to_the_bound(tmp_path, monkeypatch):
    file = tmp_path / "a.csv"
    file.write_text(GOOD)
    monkeypatch.setattr(losses, "LARGEST_FILE", len(GOOD))
    monkeypatch.setattr(losses, "MOST_LINES", len(LINES))
    monkeypatch.setattr(losses, "LONGEST_LINE", max(map(len, LINES)) + 1)
    np.testing.assert_array_equal(read(file).loss, LOSS)
    for name, words in (("LARGEST_FILE", "bytes are read"), ("MOST_LINES", "line 13"), ("LONGEST_LINE", "lines of")):
        with monkeypatch.context() as patch:
            patch.setattr(losses, name, getattr(losses, name) - 1)
            with pytest.raises(ArgumentError, match=rf"a\.csv.*{words}"):
                read(file)


def test_what_is_no_file(tmp_path):
    """A folder, links, a file of a terabyte, an address: named, and nothing is fetched."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("r+b") as file:
        file.truncate(2**40)
    for name in ("link", "loop", "large"):
        with pytest.raises(ArgumentError, match=rf"{name}.*expected a CSV file"):
            read(tmp_path / name)
    for address in ("http://127.0.0.1:9/losses.csv", f"file://{tmp_path}/a.csv", "s3://bucket/losses.csv"):
        with pytest.raises(ArgumentError, match="expected a CSV file that exists"):
            read(address)

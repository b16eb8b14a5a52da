"""Checkpoint files that anybody wrote, byte by byte: an ArgumentError that names the file, before memory is spent on it.

Files that the library wrote and somebody edited (headers, tensors, single bytes): test_learn_forged.py.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_learn_checkpoint import header_of, saved
from test_learn_training import LAW, PLAN, SMALL, same

from targets import ArgumentError
from verify.learn import Trained, checkpoint, load, train

STEADY = settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[Path, Trained]:
    return saved(tmp_path_factory.mktemp("untrusted"))


def parts(file: Path) -> tuple[dict[str, Any], bytes]:
    """The outer header of a safetensors file, and its tensors."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put(file: Path, header: Any, body: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
    return file


def refused(file: Path, words: str = ": expected ") -> None:
    """Within two seconds, naming the file, in a message that can be read."""
    began = time.process_time()
    with pytest.raises(ArgumentError, match=words) as caught:
        load(file, LAW)
    assert time.process_time() - began < 2.0
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000 + 2 * len(str(file))


# ---- the container -------------------------------------------------------------------------------------------------------

NAME = "network.shift"
TENSORS: dict[str, dict[str, Any]] = {
    "of 2^62 numbers": {"shape": [2**62]},
    "of 2^62 numbers, as it says": {"shape": [2**62], "data_offsets": [0, 2**64 - 1]},
    "of 10^12 numbers, as it says": {"shape": [10**12], "data_offsets": [0, 4 * 10**12]},
    "of 2^32 by 2^32": {"shape": [2**32, 2**32]},
    "of none by 2^62": {"shape": [0, 2**62], "data_offsets": [0, 0]},
    "of negative size": {"shape": [-1]},
    "of half a number": {"shape": [0.5]},
    "of many dimensions": {"shape": [1] * 10_000},
    "backwards": {"data_offsets": [4, 0]},
    "beyond the end": {"data_offsets": [0, 2**40]},
    "of no type": {"dtype": "PICKLE"},
    "of small floats": {"dtype": "F8_E8M0", "shape": [4]},
    "of half bytes": {"dtype": "F4", "shape": [8]},
    "of integers": {"dtype": "I32"},
    "of flags": {"dtype": "BOOL", "shape": [4]},
}


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor(kind, good, tmp_path):
    header, body = parts(good[0])
    header[NAME] |= TENSORS[kind]
    refused(put(tmp_path / "made", header, body))


@pytest.mark.parametrize("length", [0, 1, 2**20, 10**8, 10**8 + 1, 2**31, 2**62, 2**63, 2**64 - 1])
def test_a_header_of_another_length(length, good, tmp_path):
    header, body = parts(good[0])
    refused(put(tmp_path / "made", header, body, length))


OUTER = {
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "not utf-8": b"\xff\xfe{}",
    "a mark": b"\xef\xbb\xbf{}",
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00.",
    "metadata twice": b'{"__metadata__":{"truerate":"{}"},"__metadata__":{"truerate":"{}"}}',
    "metadata of numbers": b'{"__metadata__":{"truerate":1}}',
    "metadata nested": b'{"__metadata__":{"truerate":{"version":1}}}',
    "half a name": rb'{"\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
}


@pytest.mark.parametrize("kind", OUTER)
def test_an_outer_header(kind, tmp_path):
    refused(put(tmp_path / "made", OUTER[kind], b""))


@STEADY
@given(data=st.data())
def test_any_token_in_the_outer_header(data, good, tmp_path):
    """One number or name of the container replaced, or a piece of it twice: refused, or the same network."""
    header, body = parts(good[0])
    text = json.dumps({name: value for name, value in header.items() if name != "__metadata__"})
    start, end = sorted(data.draw(st.tuples(*[st.integers(1, len(text) - 1)] * 2)))
    token = data.draw(
        st.sampled_from(["", "0", "-1", "1e999", "NaN", str(2**62), str(2**64), "[]", '"', text[start:end] * 2])
    )
    front = json.dumps({"__metadata__": header["__metadata__"]})[:-1] + ", "
    file = put(tmp_path / "made", (front + text[1:start] + token + text[end:]).encode(), body)
    try:
        found = load(file, LAW)
    except ArgumentError:
        return
    assert same(found, good[1])


# ---- sizes ---------------------------------------------------------------------------------------------------------------


def test_what_is_no_file(tmp_path):
    """A folder, links, a pipe (without waiting for it), a device; and the same where a run would go on from it."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name in ("link", "zero", "loop", "dangling", "pipe", "empty"):
        refused(tmp_path / name, rf"{name}.*expected a checkpoint of verify\.learn")
    for name in ("link", "zero", "pipe", "empty"):
        with pytest.raises(ArgumentError, match=rf"{name}.*expected a checkpoint of verify\.learn"):
            train(LAW, PLAN, SMALL, file=tmp_path / name)


def test_a_file_of_a_terabyte(good, tmp_path):
    """Whose header describes it truly."""
    header, body = parts(good[0])
    largest = max(value["data_offsets"][1] for name, value in header.items() if name != "__metadata__")
    header["more"] = {"dtype": "U8", "shape": [2**40], "data_offsets": [largest, largest + 2**40]}
    file = put(tmp_path / "made", header, body)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size + 2**40)
    refused(file, rf"size = \d+: expected a checkpoint of at most {checkpoint.LARGEST} bytes")


def test_sizes_up_to_the_bounds(good, tmp_path, monkeypatch):
    """Of the file, the tensors in it and its JSON; and nothing is saved that would not be read."""
    held = load_file(good[0])
    text = json.dumps(header_of(good[0]))
    bounds = {"LARGEST": good[0].stat().st_size, "TENSORS": len(held), "LONGEST": len(text)}
    words = {"LARGEST": "size = ", "TENSORS": "tensors = ", "LONGEST": "length of the header = "}
    for name, bound in bounds.items():
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, bound)
            assert same(load(good[0], LAW), good[1])
            patch.setattr(checkpoint, name, bound - 1)
            refused(good[0], words[name])
            if name == "LONGEST":
                continue
            with pytest.raises(ArgumentError, match=words[name]):
                train(LAW, PLAN, SMALL, file=tmp_path / "new")
            assert list(tmp_path.iterdir()) == []


def test_many_tensors_and_many_blocks(good, tmp_path):
    """As many empty tensors as blocks are declared: no network of that many blocks is made, not even without its numbers."""
    header = header_of(good[0])
    for count, words in (
        (checkpoint.TENSORS + 1, "tensors = "),
        (10_000, "architecture = .*expected that of its tensors"),
    ):
        header["architecture"]["blocks"] = count - 1
        tensors = {f"t{i}": torch.zeros(0) for i in range(count)}
        save_file(tensors, tmp_path / "made", metadata={"truerate": json.dumps(header)})
        refused(tmp_path / "made", words)


# ---- the JSON inside ------------------------------------------------------------------------------------------------------

TOKENS = [
    *(
        "NaN",
        "-Infinity",
        "1e999",
        "1" * 400,
        "1" * 5000,
        str(2**62),
        "-1",
        "0.5",
        "null",
        "true",
        '""',
        r'"\ud800"',
        "{}",
        "[]",
    ),
    *(
        "[" * 70 + "]" * 70,
        "[" * 950 + "]" * 950,
        "[" * 100_000,
        '{"a":' * 900 + "1" + "}" * 900,
        '"' + "x" * 10**5 + '"',
        "[1,",
    ),
]
PLACES = [
    *(
        ("version",),
        ("format",),
        ("step",),
        ("target",),
        ("target", "description"),
        ("target", "log_prob"),
        ("target", "dim"),
    ),
    *(("architecture",), ("architecture", "dim"), ("architecture", "rank"), ("architecture", "width"), ("training",)),
    *(("training", key) for key in ("steps", "batch", "reused", "rate", "half_life", "logged", "bands", "seed", "snr")),
]
HARMLESS = {("step",)} | {
    ("training", k) for k in ("steps", "batch", "reused", "seed", "rate", "half_life", "logged", "snr")
}
"""Where another number makes another run of the same network."""


def edited(good: Path, file: Path, change: Callable[[str], str]) -> Path:
    save_file(load_file(good), file, metadata={"truerate": change(json.dumps(header_of(good)))})
    return file


@settings(STEADY, max_examples=150)
@given(place=st.sampled_from(PLACES), token=st.sampled_from(TOKENS))
def test_any_token_in_the_header(place, token, good, tmp_path):
    header = inside = header_of(good[0])
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = "@@"
    text = json.dumps(header).replace('"@@"', token)
    file = edited(good[0], tmp_path / "made", lambda _: text)
    try:
        load(file, LAW)
    except ArgumentError as error:
        said = str(error)
        assert said.startswith("file = "), said
        return
    assert place in HARMLESS or json.loads(text) == header_of(good[0])


def test_a_long_header(good, tmp_path):
    refused(edited(good[0], tmp_path / "made", lambda text: text + " " * checkpoint.LONGEST), "length of the header")
    assert same(load(edited(good[0], tmp_path / "made", lambda text: text + " " * 1000), LAW), good[1])

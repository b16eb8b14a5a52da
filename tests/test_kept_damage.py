"""A kept curve that is damaged or forged, a folder that cannot be used, and writers at once: no number depends on them."""

import errno
import hashlib
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kept_curves import SQUARE, bits, place_of_curves, refuse_to_compute

from targets import ArgumentError, kept
from targets.curve import Curve, GaussianCurve
from targets.plain_curve import curve_from_json, curve_to_json

STEADY = settings(derandomize=True, deadline=None, max_examples=100)
LAW = SQUARE.refined(16)
NAME = kept.fingerprint(LAW) or ""
place = place_of_curves


@pytest.fixture(scope="module")
def computed() -> Curve:
    return LAW._curve()


@pytest.fixture(scope="module")
def good(computed) -> bytes:
    """What a good file contains."""
    return signed(curve_to_json(computed, NAME).encode())


def signed(document: bytes) -> bytes:
    return hashlib.sha256(document).hexdigest().encode() + b"\n" + document


def only_file(place: Path) -> Path:
    (path,) = place.iterdir()
    return path


def read(content: bytes, computed: Curve) -> tuple[Curve, bytes]:
    """(the curve that a law gets where its file has this content, the file's content afterwards)."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUERATE_CACHE", place)
        patch.setattr(kept, "WORTH", 0.0)
        path = Path(place) / f"curve-{kept.fingerprint(LAW)}.json"
        path.write_bytes(content)
        return kept.curve(LAW, lambda: computed), only_file(Path(place)).read_bytes()


# ---- damage and forgery ------------------------------------------------------------------------------


@STEADY
@given(data=st.data())
def test_a_damaged_file_changes_no_number_and_is_replaced(good, computed, data):
    kind = data.draw(st.sampled_from(["cut", "bit", "more", "swap", "junk"]))
    at = data.draw(st.integers(1, len(good) - 1))
    if kind == "cut":
        damaged = good[:at]
    elif kind == "bit":
        damaged = good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :]
    elif kind == "more":
        damaged = good[:at] + data.draw(st.binary(min_size=1, max_size=9)) + good[at:]
    elif kind == "swap":
        damaged = good[at:] + good[:at]
    else:
        damaged = data.draw(st.binary(max_size=200))
    found, left = read(damaged, computed)
    assert found is computed
    assert left == good


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=9),
    st.lists(st.floats(), max_size=4),
    st.lists(st.lists(st.integers(-3, 3), max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.floats(-300, 300),
)


@STEADY
@given(data=st.data())
def test_a_forged_file_gives_a_curve_or_is_replaced(good, computed, data):
    document = json.loads(good.partition(b"\n")[2])
    spot = document
    while True:
        key = data.draw(st.sampled_from(sorted(spot)) if isinstance(spot, dict) else st.integers(0, len(spot) - 1))
        if not isinstance(spot[key], (dict, list)) or not spot[key] or data.draw(st.booleans()):
            break
        spot = spot[key]
    spot[key] = data.draw(JUNK)
    forged = signed(json.dumps(document).encode())
    found, left = read(forged, computed)
    if found is computed:
        assert left == good
    else:
        assert left == forged
        snr = np.exp(found.edges[: len(found.inner.edges) - 9])  # pyright: ignore[reportAttributeAccessIssue]
        assert np.isfinite(found.mmse_rows(snr)).all()


@STEADY
@given(document=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_document_with_the_right_digest_is_refused(good, computed, document):
    found, left = read(signed(document), computed)
    assert found is computed
    assert left == good


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(law="0" * 64), "document.law"),
        (lambda c: c.update(more=1), "key of document"),
        (lambda c: inner(c).update(kind="tabulate"), "did you mean 'tabulated'"),
        (lambda c: inner(c).pop("kind"), "'kind' too"),
        (lambda c: inner(c)["edges"].reverse(), "ascending numbers"),
        (lambda c: inner(c)["edges"].pop(), "shape of document.*log_slope"),
        (lambda c: inner(c)["mmse_high"].pop(), "shape of document.*mmse_high"),
        (lambda c: inner(c)["mmse_high"].__setitem__(0, 0.0), "mmse_high = 0.0: expected numbers > 0"),
        (lambda c: inner(c).update(head=math.inf), "finite numbers only"),
        (lambda c: inner(c).update(discrete=2), "discrete = 2: expected an integer from 0 to 1"),
        (lambda c: inner(c)["log_slope"][0][0].__setitem__(0, 1e9), "a table from which a finite curve follows"),
        (lambda c: inner(c).update(log_slope=[[[0.0, 0.0]] * 4]), "shape of document|a degree of at least 2"),
        (lambda c: c["curve"].update(squares=[-1.0]), "squared components"),
        (lambda c: c["curve"].update(squares=[0.0]), "squared components"),
        (lambda c: c["curve"].update(variances=[-1.0]), "distinct ascending numbers >= 0"),
        (lambda c: c["curve"]["within"].update(variances=[1.0]), "expected zero"),
        (lambda c: c["curve"]["within"].update(counts=[1.5]), "integers from 0"),
        (lambda c: c.update(curve={"kind": "sum", "parts": []}), "at least one curve"),
        (lambda c: c.update(curve=nested(c["curve"], 17)), "at most 16"),
    ],
)
def test_a_wrong_document_is_refused_by_name(good, change, words):
    content = json.loads(good.partition(b"\n")[2])
    law = content["law"]
    curve_from_json(json.dumps(content), law)
    change(content)
    with pytest.raises(ArgumentError, match=words):
        curve_from_json(json.dumps(content), law)


def inner(content: dict) -> dict:
    return content["curve"]["inner"]


def nested(curve: dict, depth: int) -> dict:
    for _ in range(depth):
        curve = {"kind": "sum", "parts": [{"count": 1, "curve": curve}]}
    return curve


def test_a_curve_of_another_class_is_not_written():
    class Other(GaussianCurve):
        pass

    with pytest.raises(ArgumentError, match="one of the curves of this package"):
        curve_to_json(Other(np.ones(1)), "0")


def test_a_file_beyond_the_largest_size_is_not_read(place, good, computed):
    place.mkdir()
    path = place / f"curve-{NAME}.json"
    with path.open("wb") as file:
        file.write(good)
        file.truncate(2**40)  # a hole: no disk is used
    assert kept.curve(LAW, lambda: computed) is computed
    assert path.read_bytes() == good


def test_a_file_of_another_law_is_not_taken_for_this_one(good, computed):
    other = signed(curve_to_json(computed, kept.fingerprint(SQUARE.refined(32)) or "").encode())
    found, left = read(other, computed)
    assert found is computed
    assert left == good


# ---- folders -----------------------------------------------------------------------------------------


def broken_folder(tmp_path: Path, kind: str, patch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    if kind == "a file":
        place.write_text("no folder")
    elif kind == "under a file":
        (tmp_path / "file").write_text("no folder")
        place = tmp_path / "file" / "cache"
    elif kind == "folders in place of files":
        (place / f"curve-{NAME}.json").mkdir(parents=True)
    elif kind == "a link to itself":
        place.mkdir()
        name = f"curve-{NAME}.json"
        (place / name).symlink_to(place / name)
    else:
        number = {"full": errno.ENOSPC, "read-only": errno.EROFS}[kind]

        def fails(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, "fsync" if kind == "full" else "replace", fails)
    return place


@pytest.mark.parametrize(
    "kind", ["a file", "under a file", "folders in place of files", "a link to itself", "full", "read-only"]
)
def test_a_folder_that_cannot_be_used_is_done_without(kind, tmp_path, monkeypatch, caplog, computed):
    monkeypatch.setattr(kept, "WORTH", 0.0)
    place = broken_folder(tmp_path, kind, monkeypatch)
    monkeypatch.setenv("TRUERATE_CACHE", str(place))
    with caplog.at_level(logging.INFO, logger="truerate"):
        assert kept.curve(LAW, lambda: computed) is computed
    if kind != "a link to itself":
        assert any("is not kept" in record.getMessage() for record in caplog.records)
    assert all(record.levelno == logging.INFO for record in caplog.records)
    assert not list(tmp_path.rglob("*.part"))


def test_damage_is_logged(place, caplog, computed):
    kept.curve(LAW, lambda: computed)
    only_file(place).write_bytes(b"damaged")
    with caplog.at_level(logging.INFO, logger="truerate"):
        kept.curve(LAW, lambda: computed)
    assert [record.getMessage().partition("computed anew: ")[2][:6] for record in caplog.records] == ["digest"]


def test_the_folder_stays_below_its_size(place, monkeypatch, computed):
    laws = [SQUARE.refined(2**k) for k in (2, 3, 4, 5)]
    files = []
    for k, law in enumerate(laws[:3]):
        kept.curve(law, lambda: computed)
        (path,) = set(place.iterdir()) - set(files)
        os.utime(path, (k, k))
        files.append(path)
    (place / "curve.json").write_bytes(bytes(10**6))  # not ours, nor this:
    (place / "thesis.part").write_bytes(b"mine")
    for name, used in (("curve-killed.part", 0), ("curve-writing.part", None)):
        (place / name).write_bytes(b"half")
        if used is not None:
            os.utime(place / name, (used, used))
    kept.curve(laws[0], refuse_to_compute)  # the oldest, but used again
    monkeypatch.setattr(kept, "MOST_BYTES", 3 * files[0].stat().st_size + 100)
    kept.curve(laws[3], lambda: computed)
    left = {path.name for path in place.iterdir()}
    assert {"curve.json", "thesis.part", "curve-writing.part"} <= left
    assert "curve-killed.part" not in left
    assert files[0].name in left
    assert files[1].name not in left
    ours = [path.stat().st_size for path in place.iterdir() if path.name.startswith("curve-")]
    assert sum(ours) <= kept.MOST_BYTES
    assert len(ours) == 4


def test_writers_at_once_do_not_disturb_each_other(place, monkeypatch):
    """Eight threads read, write and make room in one folder that holds two of six curves."""
    laws = [SQUARE.refined(2**k) for k in (1, 2, 3, 4, 5, 6)]
    curves = [law._curve() for law in laws]
    known = [bits(curve) for curve in curves]
    monkeypatch.setattr(kept, "MOST_BYTES", 60_000)

    def at_once(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(np.tile(np.arange(6), 3))
        return all(bits(kept.curve(laws[i], partial(copy, curves[i]))) == known[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(at_once, range(8)))
    assert not list(place.glob("*.part"))


PROCESS = """
import hashlib, sys
import numpy as np, torch
torch.set_num_threads(1)
from targets import Discrete, kept
kept.WORTH = 0.0
law = Discrete([[-1.0, -1.0], [1.0, -1.0], [0.5, 2.0]], [0.2, 0.5, 0.3]).refined(16)
sys.stdin.readline()
computed = []
curve = kept.curve(law, lambda: computed.append(1) or law._curve())
print(hashlib.sha256(curve.mmse_rows(np.geomspace(0.01, 100.0, 50)).tobytes()).hexdigest(), len(computed))
"""


def test_processes_share_one_file(place):
    def start() -> subprocess.Popen:
        root = Path(kept.__file__).parent.parent
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-c", PROCESS], cwd=root, **pipes)

    processes = [start(), start()]
    said = [process.communicate("go\n", timeout=300)[0].split() for process in processes]
    mmse = LAW._curve().mmse_rows(np.geomspace(0.01, 100.0, 50))
    assert {digest for digest, _ in said} == {hashlib.sha256(mmse.tobytes()).hexdigest()}
    assert only_file(place).name == f"curve-{NAME}.json"
    assert np.array_equal(kept.curve(LAW, refuse_to_compute).mmse_rows(np.geomspace(0.01, 100.0, 50)), mmse)

"""Files that are no checkpoint of ours, or not any more: an `ArgumentError` that says so, before anything is made of them.

Forged files start from one good checkpoint whose header or tensors are changed.
"""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_learn_checkpoint import header_of, refused, saved
from test_learn_training import LAW, PLAN, SMALL, same

from targets import ArgumentError
from verify.learn import Trained, checkpoint, load, train


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[Path, Trained]:
    return saved(tmp_path_factory.mktemp("forged"))


def forged(
    good: Path, file: Path, edit: Callable[[Any], Any] | None = None, tensors: Callable[[dict], Any] | None = None
) -> Path:
    """The good file with its header edited (in place, or replaced by what `edit` returns) and its tensors edited."""
    header, values = header_of(good), load_file(good)
    if edit is not None:
        header = edit(header) or header
    if tensors is not None:
        tensors(values)
    save_file(values, file, metadata={"truerate": header if isinstance(header, str) else json.dumps(header)})
    return file


def put(*path: str, value: Any) -> Callable[[dict], None]:
    """Set header[path…]."""

    def edit(header: dict) -> None:
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return edit


def drop(*path: str) -> Callable[[dict], None]:
    def edit(header: dict) -> None:
        for key in path[:-1]:
            header = header[key]
        del header[path[-1]]

    return edit


# ---- another header --------------------------------------------------------------------------------------------------

HUGE = 10**12
HEADERS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "version": (put("version", value=checkpoint.VERSION + 1), ("version = 2", "1", "train again")),
    "old_version": (put("version", value=0), ("version = 0", "1")),
    "version_text": (put("version", value="1"), ("version",)),
    "another_format": (put("format", value="zzz"), ("format = zzz", "truerate network")),
    "no_version": (drop("version"), ("header",)),
    "no_step": (drop("step"), ("header",)),
    "no_target": (drop("target"), ("target",)),
    "no_architecture": (drop("architecture"), ("architecture",)),
    "no_training": (drop("training"), ("training",)),
    "no_width": (drop("architecture", "width"), ("architecture", "width")),
    "no_log_prob": (drop("target", "log_prob"), ("target",)),
    "log_prob_text": (put("target", "log_prob", value="abc"), ("target",)),
    "log_prob_short": (put("target", "log_prob", value=[[1.0, 2.0]]), ("target",)),
    "log_prob_nan": (put("target", "log_prob", value=[[math.nan] * 8] * 3), ("log_prob",)),
    "target_list": (put("target", value=[1]), ("target",)),
    "architecture_list": (put("architecture", value=[1, 1, 16, 1]), ("architecture",)),
    "unknown_field": (put("architecture", "depth", value=1), ("architecture", "depth")),
    "width_huge": (put("architecture", "width", value=HUGE), (str(HUGE),)),
    "width_beyond": (put("architecture", "width", value=10**30), (str(10**30),)),
    "blocks_huge": (put("architecture", "blocks", value=HUGE), (str(HUGE),)),
    "dim_huge": (put("architecture", "dim", value=HUGE), (str(HUGE),)),
    "all_huge": (put("architecture", value={"dim": HUGE, "rank": HUGE, "width": HUGE, "blocks": HUGE}), (str(HUGE),)),
    "bands_huge": (put("training", "bands", value=HUGE), (str(HUGE),)),
    "bands_beyond": (put("training", "bands", value=10**30), (str(10**30),)),
    "width_negative": (put("architecture", "width", value=-16), ("width = -16",)),
    "width_float": (put("architecture", "width", value=16.0), ("width = 16.0",)),
    "rank_above_dim": (put("architecture", "rank", value=2), ("dim = 1",)),
    "rate_beyond": (put("training", "rate", value=10**400), ("rate",)),
    "rate_nan": (put("training", "rate", value=math.nan), ("rate = nan",)),
    "snr_text": (put("training", "snr", value=["a", "b"]), ("snr",)),
    "snr_descending": (put("training", "snr", value=[2.0, 1.0]), ("snr",)),
    "step_negative": (put("step", value=-1), ("step = -1",)),
    "step_float": (put("step", value=1.5), ("step = 1.5",)),
    "step_true": (put("step", value=True), ("step = True",)),
    "step_beyond": (put("step", value=PLAN.steps + 1), ("step = 31", "30")),
    "step_huge": (put("step", value=10**400), ("step",)),
    "not_json": (lambda _: "{", ("header",)),
    "a_list": (lambda _: "[]", ("header",)),
    "a_number": (lambda _: "3", ("header",)),
    "null": (lambda _: "null", ("header",)),
    "deep": (lambda _: "[" * 100_000, ("header",)),
    "long_number": (lambda _: '{"version": 1' + "0" * 5000 + ', "step": 1}', ("header",)),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_is_edited_is_refused(kind, good, tmp_path):
    """Named, before anything of its size is made: a width of 10¹² would need more memory than there is."""
    edit, words = HEADERS[kind]
    refused(forged(good[0], tmp_path / "forged", edit), *words)


JSONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
PATHS = [
    ("version",),
    ("step",),
    ("target",),
    ("target", "dim"),
    ("target", "description"),
    ("target", "log_prob"),
    ("architecture",),
    *(("architecture", key) for key in ("dim", "rank", "width", "blocks")),
    ("training",),
    *(("training", key) for key in ("steps", "batch", "reused", "bands", "seed", "rate", "half_life", "logged", "snr")),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), value=JSONS)
def test_any_json_in_a_header_is_refused_or_is_another_training(path, value, good, tmp_path):
    """Whatever stands in one place of the header: ArgumentError, or (numbers of a training) a network that loads."""
    file = forged(good[0], tmp_path / "forged", put(*path, value=value))
    header, honest = header_of(file), header_of(good[0])
    try:
        load(file, LAW)
    except ArgumentError:
        return
    harmless = {("step",)} | {
        ("training", k) for k in ("steps", "batch", "reused", "seed", "rate", "half_life", "logged", "snr")
    }
    assert path in harmless or header == honest


# ---- another content -------------------------------------------------------------------------------------------------

SHAPED = "network.blocks.0.inner.weight"
CONTENTS: dict[str, tuple[Callable[[dict], Any], tuple[str, ...]]] = {
    "missing": (lambda t: t.pop(SHAPED), (SHAPED, "missing")),
    "missing_moment": (lambda t: t.pop("exp_avg_sq.shift"), ("exp_avg_sq.shift", "missing")),
    "missing_bands": (lambda t: t.pop("bands"), ("bands", "missing")),
    "missing_mean": (lambda t: t.pop("network.shift"), ("network.shift", "missing")),
    "extra": (lambda t: t.update(more=torch.zeros(3)), ("more",)),
    "extra_block": (lambda t: t.update({"network.blocks.1.inner.bias": torch.zeros(16)}), ("block",)),
    "reshaped": (lambda t: t.update({SHAPED: t[SHAPED].reshape(8, 32)}), (SHAPED, "(8, 32)", "(16, 16)")),
    "scalar": (lambda t: t.update({"network.rest": torch.zeros(1)}), ("network.rest",)),
    "bands_reshaped": (lambda t: t.update(bands=t["bands"].reshape(6, 3)), ("bands", "(6, 3)", "(3, 6)")),
    "nan": (lambda t: t[SHAPED].__setitem__((3, 4), math.nan), (SHAPED, "not finite")),
    "infinite_average": (lambda t: t["average.shift"].fill_(math.inf), ("average.shift", "not finite")),
    "nan_moment": (lambda t: t["exp_avg.writing"].fill_(math.nan), ("exp_avg.writing", "not finite")),
    "negative_spread": (lambda t: t["network.spread"].fill_(-1.0), ("network.spread = -1.0",)),
    "negative_square": (lambda t: t["exp_avg_sq.shift"].fill_(-1.0), ("exp_avg_sq.shift = -1.0",)),
    "nan_bands": (lambda t: t["bands"].fill_(math.nan), ("bands", "not finite")),
    "doubles": (lambda t: t.update({SHAPED: t[SHAPED].double()}), (SHAPED,)),
    "integers": (lambda t: t.update(bands=t["bands"].to(torch.int8)), ("bands",)),
    "complex": (lambda t: t.update({SHAPED: t[SHAPED].to(torch.complex64)}), (SHAPED,)),
    "empty": (lambda t: t.clear(), ()),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_contents_that_are_edited_are_refused(kind, good, tmp_path):
    edit, words = CONTENTS[kind]
    refused(forged(good[0], tmp_path / "forged", None, edit), *words)


def test_a_file_of_other_tensors_is_refused(tmp_path):
    """Safetensors without a header of ours, and with none at all."""
    save_file({"weight": torch.zeros(3)}, tmp_path / "a", metadata={"format": "pt"})
    refused(tmp_path / "a", "header")
    save_file({"weight": torch.zeros(3)}, tmp_path / "a")
    refused(tmp_path / "a", "header = None")


def test_what_is_no_file_is_refused(good, tmp_path):
    """Missing, a folder, empty, and every kind of truncation."""
    with pytest.raises(ArgumentError, match=r"nowhere.*expected a checkpoint"):
        load(tmp_path / "nowhere", LAW)
    (tmp_path / "folder").mkdir()
    for call in (load, lambda file, law: train(law, PLAN, SMALL, file=file)):
        with pytest.raises(ArgumentError, match=r"folder.*expected a checkpoint"):
            call(tmp_path / "folder", LAW)
    whole = good[0].read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut", "expected a checkpoint")
    (tmp_path / "cut").write_bytes(whole + b"\0")
    refused(tmp_path / "cut", "expected a checkpoint")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=300), st.binary(max_size=100).map(lambda b: len(b).to_bytes(8, "little") + b))
)
def test_random_bytes_are_refused(content, tmp_path):
    (tmp_path / "random").write_bytes(content)
    with pytest.raises(ArgumentError, match="random"):
        load(tmp_path / "random", LAW)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0.0, 1.0, exclude_max=True), byte=st.integers(0, 255), front=st.booleans())
def test_one_flipped_byte_is_refused_or_is_a_finite_network(where, byte, front, good, tmp_path):
    """No file brings anything but ArgumentError or a network whose weights are finite."""
    content = bytearray(good[0].read_bytes())
    size = min(len(content), 3000) if front else len(content)
    content[int(where * size)] = byte
    (tmp_path / "flipped").write_bytes(content)
    try:
        found = load(tmp_path / "flipped", LAW)
    except ArgumentError:
        return
    assert all(bool(value.isfinite().all()) for value in found.network.state_dict().values())


@pytest.mark.parametrize("given", ["law", None, 3])
def test_load_wants_a_target(given, good):
    with pytest.raises(ArgumentError, match=r"target = .*: expected a target"):
        load(good[0], given)


def test_the_forger_itself_is_honest(good, tmp_path):
    """An unedited forgery loads: what the tests above refuse, they refuse for the edit."""
    assert same(load(forged(good[0], tmp_path / "forged"), LAW), good[1])
    assert same(train(LAW, PLAN, SMALL, file=forged(good[0], tmp_path / "forged", copy.deepcopy)), good[1])

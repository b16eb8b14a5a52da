"""Checkpoints: what was saved is what is loaded, whole or not at all, and never as another run.

Files that are forged or broken: test_learn_forged.py.
"""

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_learn_training import LAW, PLAN, SMALL, same

import verify.learn
from targets import ArgumentError, GaussianMixture, get
from verify.learn import Architecture, Trained, checkpoint, load, train

WEIGHTS, MEANS, SPREAD = [0.2, 0.5, 0.3], [[0.0, 1.0], [1.0, -1.0], [2.0, 0.5]], [0.3, 0.2, 0.1]
MIXED = GaussianMixture.isotropic(WEIGHTS, MEANS, SPREAD)
OF_MIXED = Architecture(2, 1, 16, 1)


def saved(folder: Path) -> tuple[Path, Trained]:
    """A finished run's file, and the run."""
    return folder / "good.safetensors", train(LAW, PLAN, SMALL, file=folder / "good.safetensors")


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[Path, Trained]:
    return saved(tmp_path_factory.mktemp("checkpoint"))


def header_of(file: Path) -> dict[str, Any]:
    with safe_open(str(file), framework="pt") as opened:
        return json.loads(opened.metadata()["truerate"])


# ---- what is in a file -----------------------------------------------------------------------------------------------


def test_load_returns_what_train_returned(good):
    file, trained = good
    found = load(file, LAW)
    assert same(found, trained)
    assert found.training == PLAN
    assert found.network.architecture == SMALL
    assert found.network.shift.dtype == torch.float64
    assert not any(p.requires_grad for p in found.network.parameters())
    x, snr = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)[:, None], torch.full((9,), 3.0, dtype=torch.float64)
    assert torch.equal(found.network(x, snr), trained.network(x, snr))
    assert same(load(str(file), LAW), trained)


def test_the_file_is_safetensors_and_nothing_imports_pickle(good):
    """Arrays by name, JSON in the header; no module of verify.learn imports pickle or calls torch.load or torch.save."""
    tensors = load_file(good[0])
    doubles = {name for name, value in tensors.items() if value.dtype == torch.float64}
    assert doubles == {"bands", "network.logsnr", "network.centre"}
    assert all(value.dtype == torch.float32 for name, value in tensors.items() if name not in doubles)
    assert {name.split(".")[0] for name in tensors} == {"network", "average", "exp_avg", "exp_avg_sq", "bands"}
    header = header_of(good[0])
    assert header["training"]["batch"] == PLAN.batch
    assert header["step"] == PLAN.steps
    for source in Path(verify.learn.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "dill", "joblib", "shelve", "marshal"}, source
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
                assert node.attr not in ("load", "save"), source


@pytest.mark.parametrize("when", ["within", "after"])
def test_a_crash_while_saving_leaves_the_old_file(when, tmp_path, monkeypatch):
    """Stopped within or just after writing: the checkpoint of step 15 stays, nothing else is in the folder."""
    file, calls = tmp_path / "run", []

    def save(tensors, path, metadata):
        calls.append(None)
        if len(calls) <= 15:
            return save_file(tensors, path, metadata)
        if when == "within":
            Path(path).write_bytes(b"half")
        if when == "after":
            save_file(tensors, path, metadata)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", save)
        with pytest.raises(KeyboardInterrupt):
            train(LAW, PLAN, SMALL, file=file)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert load(file, LAW).step == 15
    assert same(train(LAW, PLAN, SMALL, file=file), train(LAW, PLAN, SMALL))


def test_a_crash_in_the_first_save_leaves_nothing(tmp_path, monkeypatch):
    def save(_tensors, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(OSError, match="No space left"):
        train(LAW, PLAN, SMALL, file=tmp_path / "new" / "run")
    assert list((tmp_path / "new").iterdir()) == []


# ---- another run -----------------------------------------------------------------------------------------------------


def refused(file: Path, *words: str, law=LAW, plan=PLAN, small=SMALL, only_train: bool = False) -> None:
    """`train` (and `load`) refuse the file, name the words, and leave its bytes and the folder as they were."""
    before = {path: path.read_bytes() for path in file.parent.iterdir() if path.is_file()}
    calls = [lambda: train(law, plan, small, file=file)] + ([] if only_train else [lambda: load(file, law)])
    for call in calls:
        with pytest.raises(ArgumentError) as caught:
            call()
        assert type(caught.value) is ArgumentError
        assert str(file) in str(caught.value)
        for word in words:
            assert word in str(caught.value), str(caught.value)
    assert {path: path.read_bytes() for path in file.parent.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("steps", 31, ("training.steps = 30", "31")),
        ("batch", 33, ("training.batch = 32", "33")),
        ("rate", 2.1e-3, ("training.rate = 0.002", "0.0021")),
        ("half_life", 0.03, ("training.half_life = 0.02", "0.03")),
        ("logged", 0.8, ("training.logged = 0.7", "0.8")),
        ("bands", 7, ("training.bands = 6", "7")),
        ("seed", 1, ("training.seed = 0", "1")),
        ("snr", (0.05, 51.0), ("training.snr = (0.05, 50.0)", "(0.05, 51.0)")),
        ("snr", None, ("training.snr = (0.05, 50.0)", "None")),
    ],
)
def test_another_training_is_refused(good, field, value, words):
    refused(good[0], *words, plan=replace(PLAN, **{field: value}), only_train=True)


def test_a_window_that_differs_in_its_last_digits_is_the_same(good):
    """It is found by a root search whose sums depend on the number of threads; 1e-8 off it is another."""
    near = replace(PLAN, snr=(0.05 * (1.0 + 1e-13), 50.0 * (1.0 - 1e-13)))
    assert same(train(LAW, near, SMALL, file=good[0]), good[1])
    refused(good[0], "training.snr", plan=replace(PLAN, snr=(0.05, 50.0 * (1.0 + 1e-8))), only_train=True)


@pytest.mark.parametrize(
    ("small", "words"),
    [
        (Architecture(1, 1, 17, 1), ("architecture.width = 16", "17")),
        (Architecture(1, 1, 16, 2), ("architecture.blocks = 1", "2")),
    ],
)
def test_another_architecture_is_refused(good, small, words):
    refused(good[0], *words, small=small, only_train=True)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("mixed") / "run"
    train(MIXED, PLAN, OF_MIXED, file=file)
    return file


def test_another_rank_is_refused(mixed):
    refused(mixed, "architecture.rank = 1", "2", law=MIXED, small=Architecture(2, 2, 16, 1), only_train=True)


OTHERS = {
    "name": (get("gaussian"), ("target description = GaussianMixture", "Gaussian(")),
    "components": (
        GaussianMixture.isotropic([0.2, 0.8], MEANS[:2], SPREAD[:2]),
        ("target description = ", "components=2", "components=3"),
    ),
    "dim": (
        GaussianMixture.isotropic(WEIGHTS, [[0.0], [1.0], [2.0]], SPREAD),
        ("target description = ", "dim=1", "dim=2"),
    ),
    "mean": (
        GaussianMixture.isotropic(WEIGHTS, [[0.0, 1.0], [1.0, -1.0], [2.0, 0.501]], SPREAD),
        ("target log_prob = ",),
    ),
    "tiny_mean": (
        GaussianMixture.isotropic(WEIGHTS, [[0.0, 1.0], [1.0, -1.0], [2.0, 0.5 + 1e-6]], SPREAD),
        ("target log_prob = ",),
    ),
    "weight": (GaussianMixture.isotropic([0.2, 0.499, 0.301], MEANS, SPREAD), ("target log_prob = ",)),
    "variance": (GaussianMixture.isotropic(WEIGHTS, MEANS, [0.3, 0.2, 0.1001]), ("target log_prob = ",)),
    "codebook": (get("codebook", n=8, dim=2), ("target description = ", "Discrete")),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_target_is_refused(kind, mixed):
    """Another family, dimension, number of components, or one mean, weight or variance moved by a thousandth."""
    law, words = OTHERS[kind]
    small = OF_MIXED if law.dim == 2 else SMALL
    refused(mixed, *words, law=law, small=small)


def test_the_same_law_built_again_is_the_same(mixed):
    """Components in another order are the same law."""
    trained = load(mixed, MIXED)
    assert same(load(mixed, GaussianMixture.isotropic(WEIGHTS, MEANS, SPREAD)), trained)
    assert same(load(mixed, GaussianMixture.isotropic(WEIGHTS[::-1], MEANS[::-1], SPREAD[::-1])), trained)


@pytest.mark.parametrize("name", ["two_points", "codebook", "sphere", "bit_chain", "scale_mixture", "low_rank_mixture"])
def test_laws_of_other_kinds_are_known_again(name):
    """What a law is known by has finite numbers, survives JSON, and tells a law from itself only where it differs."""
    law = get(name)
    known = checkpoint.known_by(law)
    assert torch.isfinite(torch.tensor(known["log_prob"])).all()
    checkpoint._same_target(Path("file"), json.loads(json.dumps(known)), law)

"""Checkpoints: a safetensors file of the run's tensors, and what run it is as JSON in the file's header; never a pickle.

Nothing in a file is run, and what is made of it is bounded by what was read: a file has at most `LARGEST` bytes and `TENSORS`
tensors, the JSON at most `LONGEST` characters, and shapes are compared before a tensor is read.

A law is known again by its description and by its log density at eight fixed places and three noise levels, to 1e-9: they
depend on every parameter that it has.
"""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict, fields
from pathlib import Path
from stat import S_ISREG
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from targets import ArgumentError, Level, Target
from verify.learn.architecture import Architecture, Network
from verify.learn.plan import Training
from verify.learn.state import State, shapes

Made = TypeVar("Made", Architecture, Training)

FORMAT = "truerate network"
VERSION = 1
"""Changes whenever a network of the same numbers would denoise differently, or a run go on differently."""
LARGEST, TENSORS, LONGEST = 2**32, 2**14, 2**20
"""Bytes of a file, tensors in it, and characters of its JSON."""
PLACES, SNR = 8, (0.1, 1.0, 10.0)
"""Where a law's log density is taken: places, and noise levels in units of its variance a coordinate."""


def save(file: Path, state: State, target: Target, training: Training) -> None:
    """Write the run atomically: a reader or a crash sees the file before or after, never between.

    Raises `ArgumentError` for a network too large to be read again.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": asdict(state.network.architecture),
        "training": asdict(training),
        "target": known_by(target),
        "step": state.step,
    }
    partial = file.with_name(f".{file.name}.{platform.node()}.{os.getpid()}.partial")
    try:
        tensors = {name: value.cpu().contiguous() for name, value in state.tensors().items()}
        _bound(file, sum(value.nbytes for value in tensors.values()) + LONGEST, len(tensors))
        save_file(tensors, partial, metadata={"truerate": json.dumps(header)})
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def resume(file: Path, target: Target, architecture: Architecture, training: Training) -> State:
    """The run in `file`, which must be this one; anything else raises `ArgumentError`, saying what differs."""
    found, state = load(file, target)
    _same(file, "architecture", asdict(state.network.architecture), asdict(architecture))
    _same(file, "training", asdict(found), asdict(training))
    return state


def load(file: Path, target: Target) -> tuple[Training, State]:
    """The run in `file`, on the CPU; raises `ArgumentError` where it is no checkpoint of a network of this target."""
    try:
        status = file.stat()
        if not S_ISREG(status.st_mode):
            _refuse(file, "file", "no regular file", "a checkpoint of verify.learn")
        _bound(file, status.st_size)
        with safe_open(str(file), framework="pt") as opened:
            _bound(file, status.st_size, len(opened.keys()))
            header = _header(file, opened.metadata())
            _same_target(file, header["target"], target)
            architecture, training = _of(file, Architecture, header), _of(file, Training, header)
            step = _step(file, header["step"], training)
            found = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}
            _same_shapes(file, architecture, training, found)
            tensors = {name: opened.get_tensor(name) for name in found}
    except (SafetensorError, OSError) as error:
        raise ArgumentError(f"file = {str(file)!r}: expected a checkpoint of verify.learn: {error}") from error
    state = State.fresh(Network(architecture), training.bands)
    for name, own in state.tensors().items():
        if tensors[name].dtype != own.dtype:
            _refuse(file, f"{name}.dtype", tensors[name].dtype, str(own.dtype))
        if not bool(torch.isfinite(tensors[name]).all()):
            _refuse(file, name, "not finite", "finite weights")
        unsigned = name == "bands" or name.endswith((".spread", ".rest")) or name.startswith("exp_avg_sq.")
        if unsigned and bool((tensors[name] < 0).any()):
            _refuse(file, name, float(tensors[name].min()), "numbers >= 0")
    state.restore(tensors, step)
    return training, state


def known_by(target: Target) -> dict[str, Any]:
    """What tells this law from any other: its description, and log densities at places of its own scale."""
    draws = np.random.default_rng(0)
    scale = math.sqrt(target.total_variance / target.dim) or 1.0
    places = torch.from_numpy(scale * draws.standard_normal((PLACES, target.dim))).to(target.mean) + target.mean
    levels = [Level.from_snr(snr / scale**2, "ve") for snr in SNR]
    values = [target.log_prob(places, level).tolist() for level in levels]
    return {"description": repr(target), "dim": target.dim, "log_prob": values}


def _bound(file: Path, size: int, tensors: int = 0) -> None:
    if size > LARGEST:
        _refuse(file, "size", size, f"a checkpoint of at most {LARGEST} bytes")
    if tensors > TENSORS:
        _refuse(file, "tensors", tensors, f"a checkpoint of at most {TENSORS}")


def _header(file: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    try:
        text = (metadata or {})["truerate"]
        if len(text) > LONGEST:
            _refuse(file, "length of the header", len(text), f"at most {LONGEST} characters")
        header = json.loads(text)
        version = header["version"]
    except ArgumentError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError):
        _refuse(file, "header", metadata, "that of a checkpoint of verify.learn")
    if header.get("format") != FORMAT:
        _refuse(file, "format", header.get("format"), repr(FORMAT))
    if type(version) is not int or version != VERSION:
        _refuse(
            file, "version", version, f"{VERSION}, which is what this code reads: train again, or use the code it is of"
        )
    for key in ("target", "architecture", "training", "step"):
        if key not in header:
            _refuse(file, "header", sorted(header), f"that of a checkpoint of verify.learn, with {key}")
    return header


def _step(file: Path, found: Any, training: Training) -> int:
    if type(found) is not int or not 0 <= found <= training.steps:
        _refuse(file, "step", found, f"a number of steps from 0 to {training.steps}")
    return found


def _same_target(file: Path, found: Any, target: Target) -> None:
    ours = known_by(target)
    if not isinstance(found, dict) or found.keys() != ours.keys():
        _refuse(file, "target", found, "the description of a target")
    for key in ("description", "dim"):
        if found[key] != ours[key]:
            _refuse(file, f"target {key}", found[key], f"{ours[key]}: a network of another target")
    try:
        theirs = np.asarray(found["log_prob"], dtype=np.float64)
        same = theirs.shape == (len(SNR), PLACES) and np.allclose(theirs, ours["log_prob"], rtol=1e-9, atol=1e-9)
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        _refuse(file, "target log_prob", found["log_prob"], f"that of {target!r}: its parameters are others")


def _of(file: Path, kind: type[Made], header: dict[str, Any]) -> Made:
    """The architecture or training in a header, checked as any other."""
    name = kind.__name__.lower()
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in header[name].items()}
        if values.keys() != {field.name for field in fields(kind)}:
            raise KeyError(f"expected {', '.join(field.name for field in fields(kind))}")
        made = kind(**values)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        _refuse(file, name, header.get(name), f"its numbers ({error})")
    return made


def _same_shapes(file: Path, architecture: Architecture, training: Training, found: dict[str, tuple[int, ...]]) -> None:
    """Refuse tensors of other shapes than the header says, before any of either is made."""
    try:
        if 7 * architecture.blocks > len(found):  # of a block's tensors, once
            raise OverflowError(f"{architecture.blocks} blocks in {len(found)} tensors")
        wanted = shapes(architecture, training.bands)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise ArgumentError(
            f"file = {str(file)!r}: architecture = {architecture}: expected that of its tensors"
        ) from error
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            _refuse(file, name, found.get(name, "missing"), f"a tensor of shape {wanted.get(name, 'none')}")


def _same(file: Path, what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if not _equal(found[key], value):
            _refuse(
                file, f"{what}.{key}", found[key], f"{value}: another {what}; name another file, or ask for this one"
            )


def _equal(one: Any, other: Any) -> bool:
    """Equal, and floats to 1e-9: a window computed with another number of threads differs in its last digits."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_equal(*pair) for pair in zip(one, other, strict=True))
    return (
        math.isclose(one, other, rel_tol=1e-9) if isinstance(one, float) and isinstance(other, float) else one == other
    )


def _refuse(file: Path, what: str, found: object, expected: str) -> NoReturn:
    shown = str(found)
    shown = shown if len(shown) <= 120 else shown[:117] + "..."
    raise ArgumentError(f"file = {str(file)!r}: {what} = {shown}: expected {expected}")

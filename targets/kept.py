"""A folder of computed mmse curves, shared by all processes, so that a curve is computed once and not once a process.

    name of a file  =  SHA-256 of everything that decides the curve's last bit
    file            =  SHA-256 of the document, a line feed, the document (see plain_curve.py)

What decides it: the class of the law and each of its parameters (float64 tensors by their bytes), the points of a sampled
curve, the source of this package, the versions of numpy, scipy and torch, the processor's instructions and the number of
threads of a matrix product.  A curve that is read is therefore the one that would have been computed, bit by bit.

The folder is $TRUERATE_CACHE, else $XDG_CACHE_HOME/truerate, else ~/.cache/truerate; TRUERATE_CACHE=off keeps nothing.  It
may be deleted at any time.  A file is written under another name and then renamed, so that no reader sees half of it and
writers do not disturb each other.  A file that is damaged, or was not written for this law, is computed anew and replaced;
a folder that cannot be read or written, or is full, is done without.  Both are logged to `truerate` (level INFO), and no
number depends on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import torch
from torch import Tensor

from targets.arguments import refuse
from targets.components import Components
from targets.curve import Curve
from targets.plain_curve import curve_from_json, curve_to_json

if TYPE_CHECKING:
    from targets.base import Target

WORTH = 0.05
"""Seconds that a curve has to take before it is kept; reading one takes some five thousandths."""
MOST_BYTES = 512 * 2**20
"""Of all files together: beyond it, those that were not used for longest go."""
LARGEST_FILE = 32 * 2**20
"""Bytes of one file; larger curves are not kept, and larger files are not read."""
ABANDONED = 3600.0
"""Seconds after which a file that was never renamed belongs to a writer that was killed."""

PREFIX, SUFFIX, UNFINISHED = "curve-", ".json", ".part"

log = logging.getLogger("truerate")


def _source() -> bytes:
    """Digest of this package's source, taken on import, when the rest of it is read too."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.digest()


SOURCE = _source()


def curve(law: Target, compute: Callable[[], Curve]) -> Curve:
    """The curve of a law: read where it is kept, otherwise computed, and then kept where that took long enough."""
    place = folder()
    name = None if place is None else fingerprint(law)
    if place is None or name is None:
        return compute()
    path = place / f"{PREFIX}{name}{SUFFIX}"
    known = _read(path, name)
    if known is not None:
        return known
    started = time.perf_counter()
    computed = compute()
    if time.perf_counter() - started >= WORTH:
        _write(path, computed, name)
    return computed


def folder() -> Path | None:
    """Where curves are kept, or None where they are not."""
    chosen, shared = os.environ.get("TRUERATE_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    if chosen:
        return None if chosen == "off" else Path(chosen)
    if os.path.isabs(shared):  # the XDG specification: a relative path is to be ignored
        return Path(shared) / "truerate"
    try:
        return Path.home() / ".cache" / "truerate"
    except RuntimeError:
        return None


def fingerprint(law: Target) -> str | None:
    """SHA-256 of all that decides the law's curve, in hexadecimal.

    None for a law with a part that is no number, text, tensor or mixture component (a law made of other laws, which keep
    their own curves) and for classes from outside this package, whose source is not known here.
    """
    digest = hashlib.sha256(SOURCE)
    machine = (platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    try:
        for part in _encoded((np.__version__, scipy.__version__, torch.__version__, *machine, law.points)):
            digest.update(part)
        for part in _members(law, ("curve", "_double", "points")):
            digest.update(part)
    except TypeError:
        return None
    return digest.hexdigest()


def _members(item: Any, without: tuple[str, ...] = ()) -> Iterator[bytes | memoryview]:
    """Class and attributes of an object, but for those that are computed from the others when they are asked for."""
    kind = type(item)
    if kind.__module__.partition(".")[0] != __package__:
        raise TypeError(kind)
    names = [key for key in vars(item) if not isinstance(getattr(kind, key, None), cached_property)]
    chosen = sorted(set(names) - set(without))
    yield from _encoded((kind.__qualname__, len(chosen)))
    for key in chosen:
        yield from _encoded((key, vars(item)[key]))


def _encoded(value: Any) -> Iterator[bytes | memoryview]:
    """Bytes from which the value could be read back, so that no two values share them; raises `TypeError` for others."""
    if isinstance(value, Components):
        yield from _members(value)
    elif isinstance(value, (tuple, list)):
        yield f"{len(value)} items ".encode()
        for item in value:
            yield from _encoded(item)
    elif isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)} {value.stride()} on {value.device.type} ".encode()
        yield np.ascontiguousarray(value.detach().cpu().numpy()).data
    elif value is None or isinstance(value, (bool, int, float)):
        yield f"{type(value).__name__} {value!r} ".encode()
    elif isinstance(value, str):
        yield f"text {len(value.encode())} {value} ".encode()
    else:
        raise TypeError(type(value))


def _read(path: Path, name: str) -> Curve | None:
    """The curve in this file, or None where there is none or not the one that belongs there."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        found = _checked(content, name)
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:
        log.info("%s is computed anew: %s", path, error)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used now, wherever the file system keeps no such time itself
    return found


def _checked(content: bytes, name: str) -> Curve:
    head, _, document = content.partition(b"\n")
    if len(content) > LARGEST_FILE:
        refuse("bytes of the file", len(content), f"at most {LARGEST_FILE}")
    if head != hashlib.sha256(document).hexdigest().encode():
        refuse("digest", head[:64], "that of the document")
    return curve_from_json(document.decode(), name)


def _write(path: Path, computed: Curve, name: str) -> None:
    """Keep a curve, all of it or nothing."""
    unfinished = None
    try:
        document = curve_to_json(computed, name).encode()
        content = hashlib.sha256(document).hexdigest().encode() + b"\n" + document
        if len(content) > LARGEST_FILE:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(UNFINISHED, PREFIX, path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _make_room(path.parent)
    except (OSError, ValueError) as error:
        log.info("%s is not kept: %s", path, error)
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)


def _make_room(place: Path) -> None:
    """Delete what was not used for longest until `MOST_BYTES` are left, and what killed writers left behind."""
    files = []
    for entry in os.scandir(place):
        if entry.name.startswith(PREFIX) and entry.name.endswith((SUFFIX, UNFINISHED)):
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                found = entry.stat(follow_symlinks=False)
                files.append((found.st_mtime, found.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    for used, size, path in sorted(files):
        abandoned = path.endswith(UNFINISHED) and time.time() - used > ABANDONED
        if abandoned or (total > MOST_BYTES and path.endswith(SUFFIX)):
            Path(path).unlink(missing_ok=True)
            total -= size

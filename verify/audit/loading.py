"""Other people's libraries: which version is installed, and one module of one without all that its package needs.

A module that steps through noise levels needs torch and little else, yet the package around it may import image tools,
networks and loggers when any part of it is asked for.  Where the package imports, it is used as it is.  Where something that
it needs is missing, the one module is read inside an empty package that only knows where its files lie; of missing
requirements the module gets stand-ins, which refuse to be called.  Afterwards the import system is as it was.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from targets import NotAvailableError


class _Absent:
    """A name of a library that is not installed: it may be mentioned, and nothing else."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self._name}.{name}")

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise NotAvailableError(f"{self._name}: a stand-in for a library that is not installed")


class _StandIn(ModuleType):
    """A module of a library that is not installed; every name in it is absent."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


def version(distribution: str, package: str) -> str | None:
    """The installed version, None where the package cannot be found."""
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def load(distribution: str, name: str, stand_ins: tuple[str, ...] = ()) -> ModuleType:
    """The module `name` (package.module) of a distribution.

    stand_ins: modules that it imports and never uses while it samples; those that cannot be found are stood in for.
    NotAvailableError: not installed, with the command that installs it; or it does not import, with the reason.
    """
    package = name.partition(".")[0]
    if version(distribution, package) is None:
        raise NotAvailableError(f"library = {distribution!r}: not installed; pip install {distribution}")
    return _loaded(distribution, name, stand_ins)


@functools.cache
def _loaded(distribution: str, name: str, stand_ins: tuple[str, ...]) -> ModuleType:
    """The whole package's module if it imports, the module alone otherwise."""
    package = name.partition(".")[0]
    before = set(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            whole = error
            for half_read in [m for m in set(sys.modules) - before if m.partition(".")[0] == package]:
                del sys.modules[half_read]
        try:
            with _alone(package, stand_ins):
                return importlib.import_module(name)
        except ImportError as error:
            raise NotAvailableError(
                f"library = {distribution!r}: {name} does not import ({whole}; by itself: {error})"
            ) from error


@contextmanager
def _alone(package: str, stand_ins: tuple[str, ...]) -> Iterator[None]:
    """Within this context `package` is an empty package with its files in place, and missing modules are stood in for."""
    spec = importlib.util.find_spec(package)
    shell = ModuleType(package)
    shell.__path__ = list((spec and spec.submodule_search_locations) or [])
    missing = [m for m in stand_ins if m.partition(".")[0] not in sys.modules and not _findable(m)]
    parts = {".".join(m.split(".")[:depth]) for m in missing for depth in range(1, m.count(".") + 2)}
    before = dict(sys.modules)
    sys.modules[package] = shell
    for part in sorted(parts):
        module = _StandIn(part)
        module.__path__ = []
        sys.modules[part] = module
    try:
        yield
    finally:
        for added in [m for m in sys.modules if m not in before and (m in parts or m.partition(".")[0] == package)]:
            del sys.modules[added]


def _findable(module: str) -> bool:
    return importlib.util.find_spec(module.partition(".")[0]) is not None

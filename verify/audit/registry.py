"""The libraries under audit: what is installed here, and every sampler that its inspection finds.

Each library has an adapter module with `version()`, the installed version or None, and `configurations()`, its samplers as
`Audited` and what cannot be driven as `Untestable`.  Nothing of a library is imported before an audit of it is asked for.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from targets import ArgumentError, NotAvailableError
from targets.arguments import one_of
from verify.audit.contract import Audited, Untestable

ADAPTERS = {
    "truerate": "own",
    "diffusers": "diffusers",
    "azula": "azula",
    "k-diffusion": "k_diffusion",
    "flow-matching": "flow_matching",
    "smalldiffusion": "smalldiffusion",
}
"""Library, as it is called where it is installed from, and its adapter."""


def adapter(library: str) -> ModuleType:
    """The adapter of a library; ArgumentError with the nearest name where there is none."""
    return importlib.import_module(f"verify.audit.{ADAPTERS[one_of('library', library, ADAPTERS)]}")


def versions() -> dict[str, str | None]:
    """Each library's installed version, None where it is not installed."""
    return {library: adapter(library).version() for library in ADAPTERS}


@cache
def found(library: str) -> tuple[Audited | Untestable, ...]:
    """Everything that inspection of one library finds, looked for once.

    NotAvailableError: the library is there, but cannot be imported.
    """
    try:
        return tuple(adapter(library).configurations())
    except NotAvailableError:
        raise
    except Exception as error:
        raise NotAvailableError(
            f"library = {library!r}: installed, but it cannot be inspected: {type(error).__name__}: {error}"
        ) from error


def names(library: str) -> set[str]:
    """Names of a library's classes, without more inspection than that takes: some of them may turn out to be no samplers."""
    quick = getattr(adapter(library), "names", None)
    return quick() if quick is not None else {item.name for item in found(library)}


def samplers(library: str | None = None, sampler: str | None = None) -> list[Audited | Untestable]:
    """Every configuration of a library (None: of all that are installed), or of one of its classes.

    Where all are asked for, a library that is there but cannot be loaded is one `Untestable` with the reason.
    ArgumentError: unknown library or class, with the nearest names.  NotAvailableError: a library that is not installed,
    with the command that installs it.
    """
    every: list[Audited | Untestable] = []
    if library is not None:
        one_of("library", library, ADAPTERS)
        if adapter(library).version() is None:
            raise NotAvailableError(f"library = {library!r}: not installed; pip install {library}")
    if sampler is not None:
        _named(library, sampler)
    if library is None:
        for name, version in versions().items():
            try:
                every += found(name) if version is not None else ()
            except NotAvailableError as reason:
                every.append(Untestable(name, "every sampler", str(reason)))
    else:
        every += found(library)
    if sampler is None:
        return every
    one_of("sampler", sampler, sorted({item.name for item in every}))
    return [item for item in every if item.name == sampler]


def _named(library: str | None, sampler: str) -> None:
    """Refuse a class that no inspection will find, before the long one of all classes."""
    if library is not None and sampler in names(library):
        return
    known: dict[str, set[str]] = {}
    for name, version in versions().items():
        try:
            known[name] = names(name) if version is not None else set()
        except NotAvailableError:
            continue
    theirs = [name for name, its in known.items() if sampler in its]
    if library is not None and theirs:
        raise ArgumentError(f"sampler = {sampler!r}: expected one of {library}'s; it is {theirs[0]}'s")
    one_of("sampler", sampler, sorted(set().union(*known.values()) if library is None else known[library]))

"""Docstrings as pages: plain text with formulas, shown as it is laid out.

Docstrings here are text for a terminal.  Markdown would run their columns together and take a doctest for a quotation, so
that on the way to the site

    a paragraph laid out in columns    becomes a block of code, as its indented neighbours are already
    a doctest                          becomes a block of Python
    what a package exports             is found under the package's name, also where a module has the same one

and the formulas of a module stand folded under the first object that the package exports from it.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

COLUMNS = re.compile(r"\S {3,}\S")
PACKAGES = ("targets", "verify", "studies", "figures")


def readable(text: str) -> str:
    """A docstring as Markdown."""
    paragraphs = re.split(r"\n[ \t]*\n", text)
    shown: list[str] = []
    for paragraph in paragraphs:
        lines = paragraph.split("\n")
        if lines[0].lstrip().startswith(">>>"):
            shown.append("```pycon\n" + paragraph + "\n```")
        elif all(line.startswith("    ") for line in lines):
            shown.append(paragraph)
        elif any(COLUMNS.search(line) for line in lines):
            shown.append("\n".join("    " + line for line in lines))
        else:
            shown.append("\n".join(_line(line) for line in lines))
    return "\n\n".join(shown)


def _line(line: str) -> str:
    """Characters that mean something to Markdown but nothing here; code spans stay."""
    parts = re.split(r"(`[^`\n]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<|])", r"\\\1", part) for part in parts)


class Docstrings(griffe.Extension):
    """Makes docstrings readable and exported names addressable once a package has been read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Of the four packages of the project."""
        if pkg.path in PACKAGES:
            modules = list(_modules(pkg))
            formulas = {module.path: module.docstring.value for module in modules if module.docstring}
            for module in modules:
                _read(module)
            for module in sorted(modules, key=lambda module: -module.path.count(".")):
                _exported(module, formulas)


def _modules(module: griffe.Module) -> Any:
    yield module
    for member in list(module.members.values()):
        if isinstance(member, griffe.Module) and not member.is_alias:
            yield from _modules(member)


def _read(item: Any) -> None:
    if item.docstring:
        item.docstring.value = readable(item.docstring.value)
    for member in item.members.values():
        if not member.is_alias and not isinstance(member, griffe.Module):
            _read(member)


def _exported(package: griffe.Module, formulas: dict[str, str]) -> None:
    """Bind every exported name to what it was imported as; show each module's formulas under its namesake or first name."""
    told: set[str] = set()
    names = [str(export) for export in package.exports or []]
    for name in sorted(names, key=lambda name: package.imports.get(name, "").split(".")[-2:-1] != [name]):
        target = _object(package, name)
        if target is None or target.path == f"{package.path}.{name}":
            continue
        package.members[name] = griffe.Alias(name, target, parent=package)
        home = target.parent
        if home is not None and home.is_module and home.path not in told and not home.is_init_module:
            told.add(home.path)
            _fold(target, home.path, formulas.get(home.path))


def _object(package: griffe.Module, name: str) -> Any:
    place = package.imports.get(name)
    if place is None or not place.startswith(package.path.split(".")[0] + "."):
        return None
    root: Any = package.modules_collection[package.path.split(".")[0]]
    for part in place.split(".")[1:]:
        root = root.members.get(part)
        if root is None or (root.is_alias and not root.resolved):
            return None
    return root.target if root.is_alias else root


def _fold(target: Any, home: str, formulas: str | None) -> None:
    if not formulas or formulas.count("\n") < 2:
        return
    file = home.replace(".", "/") + ".py"
    body = "\n".join("    " + line if line else line for line in readable(formulas).split("\n"))
    text = f'{target.docstring.value if target.docstring else ""}\n\n??? abstract "{file}"\n\n{body}\n'
    target.docstring = griffe.Docstring(text, parent=target)

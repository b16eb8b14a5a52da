"""Plain JSON documents: what may stand in one, checked before anything is built from it.

A document is one JSON object with a `format` and a `version`; all else in it is numbers, short texts, lists and objects.
A float is written in the shortest decimal form that reads back as the same float64, so that nothing is lost.  On reading, the
text is data and nothing else: sizes are bounded before anything is allocated, and numbers that are not finite, unknown or
repeated keys, and values of another type are refused with `ArgumentError`, which names the place in the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from targets.arguments import ArgumentError, one_of, refuse

VERSION = 1
"""Of the formats; a reader refuses any other."""
MOST_NUMBERS = 4_000_000
"""In one document, a number being at most 24 characters and a comma."""
MOST_CHARACTERS = 27 * MOST_NUMBERS
LARGEST = 1e150
"""Of the absolute values of numbers: their squares, and sums of those, are then finite."""
LONGEST = 2000
"""Characters of a text inside a document."""
HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can name and no file can hold."""


def write(form: str, content: dict[str, Any]) -> str:
    """The document of this format; raises `ArgumentError` where it would be too large to be read."""
    text = json.dumps({"format": form, "version": VERSION, **content}, allow_nan=False)
    if text.count(",") > MOST_NUMBERS or len(text) > MOST_CHARACTERS:
        refuse(f"numbers in the {form}", text.count(","), f"at most {MOST_NUMBERS}")
    return text


def plain(values: Any) -> list[Any]:
    """An array as nested lists of floats (or integers); raises `ArgumentError` for numbers that `read` would refuse."""
    array = np.asarray(values)
    if array.size > MOST_NUMBERS:
        refuse("numbers of one array", array.size, f"at most {MOST_NUMBERS}")
    if array.dtype.kind == "f" and not (np.abs(array) <= LARGEST).all():
        refuse("largest number", float(np.abs(array).max()), f"absolute values of at most {LARGEST:g}")
    return array.tolist()


def read(text: str, form: str) -> Document:
    """The document, whose format has to be `form`; raises `ArgumentError` for anything that is no such document."""
    if not isinstance(text, str):
        refuse("text", text, "a string of JSON")
    if len(text) > MOST_CHARACTERS or text.count(",") > MOST_NUMBERS:
        refuse("length of text", len(text), f"at most {MOST_CHARACTERS} characters and {MOST_NUMBERS} numbers")
    try:
        found = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)
    except ArgumentError:
        raise
    except RecursionError:
        refuse("nesting of text", text, "lists and objects nested some ten deep")
    except ValueError as error:
        refuse("text", text, f"valid JSON ({error})")
    document = Document("document", _object("document", found))
    document.keys(["format", "version"], [key for key in document.items if key not in ("format", "version")])
    one_of("document.format", document.text("format"), [form])
    del document.items["format"]
    version = document.items.pop("version")
    if type(version) is not int or version != VERSION:
        refuse("document.version", version, f"{VERSION}, the only version that this release reads")
    return document


def _refuse_constant(name: str) -> float:
    refuse("text", name, "finite numbers only")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found or len(key) > LONGEST:
            refuse("key of an object", key, f"every key once, of at most {LONGEST} characters")
        found[key] = value
    return found


def short_text(path: str, value: Any) -> str:
    """A text of at most `LONGEST` characters that can be written as UTF-8; raises `ArgumentError` for anything else."""
    if not isinstance(value, str) or len(value) > LONGEST or HALF.search(value):
        refuse(path, value, f"a text of at most {LONGEST} whole characters")
    return value


def _object(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(path, value, "an object")
    return value


@dataclass(frozen=True)
class Document:
    """One object of a document and its place: `path` names it in errors."""

    path: str
    items: dict[str, Any]

    def keys(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Raise unless the keys are exactly these."""
        for key in self.items:
            one_of(f"key of {self.path}", key, [*required, *optional])
        for key in required:
            if key not in self.items:
                refuse(f"keys of {self.path}", tuple(self.items), f"{key!r} too")

    def numbers(self, key: str, shape: Sequence[int | None]) -> np.ndarray:
        """A float64 array of this shape (None: any length of at least one)."""
        path, value = f"{self.path}.{key}", self.items[key]
        if not isinstance(value, list):
            refuse(path, value, "a list of numbers")
        try:
            cells = np.array(value, dtype=object)
        except ValueError:
            refuse(path, value, "lists of equal lengths")
        odd = [cell for cell in cells.ravel().tolist() if type(cell) not in (int, float)]
        if odd:
            refuse(path, odd[0], f"numbers only, in {len(shape)} equally long lists one inside another")
        if len(cells.shape) != len(shape) or any(
            have == 0 if want is None else have != want for have, want in zip(cells.shape, shape, strict=True)
        ):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            refuse(f"shape of {path}", cells.shape, f"({wanted})")
        try:
            array = cells.astype(np.float64)
        except OverflowError:
            refuse(path, value, "numbers that a float can hold")
        if not (np.abs(array) <= LARGEST).all():
            refuse(path, float(np.abs(array).max()), f"absolute values of at most {LARGEST:g}")
        return array

    def integers(self, key: str, shape: Sequence[int | None], low: int, high: int) -> np.ndarray:
        """An int64 array of this shape with low <= every entry <= high."""
        array = self.numbers(key, shape)
        bad = (array != np.floor(array)) | (array < low) | (array > high)
        if bad.any():
            refuse(f"{self.path}.{key}", float(array[bad][0]), f"integers from {low} to {high}")
        return array.astype(np.int64)

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer with low <= value <= high."""
        value = self.items[key]
        if type(value) is not int or not low <= value <= high:
            refuse(f"{self.path}.{key}", value, f"an integer from {low} to {high}")
        return value

    def real(self, key: str) -> float:
        """A finite float."""
        value = self.items[key]
        if type(value) not in (int, float) or not abs(value) <= LARGEST:
            refuse(f"{self.path}.{key}", value, f"a number of absolute value at most {LARGEST:g}")
        return float(value)

    def text(self, key: str) -> str:
        """A short text."""
        return short_text(f"{self.path}.{key}", self.items[key])

    def child(self, key: str) -> Document:
        """The object at `key`."""
        path = f"{self.path}.{key}"
        return Document(path, _object(path, self.items[key]))

    def children(self, key: str) -> list[Document]:
        """The objects of the list at `key`."""
        path, value = f"{self.path}.{key}", self.items[key]
        if not isinstance(value, list):
            refuse(path, value, "a list of objects")
        return [Document(f"{path}[{i}]", _object(f"{path}[{i}]", item)) for i, item in enumerate(value)]

"""mmse curves as plain JSON and back, to the last bit.

A curve is written as the numbers that took time to compute; all else follows from them as it did the first time.

    gaussian     distinct variances λ and how many coordinates have each            (led by a zero, so never empty)
    tabulated    edges of the panels, Chebyshev coefficients of log D on them, mmse at the top, and the analytic ends
    blurred      an inner curve, δ² and λ along its directions, and the gaussian curve of all λ
    sum          curves, each with how often it counts

What reading refuses: see documents.py, and tables that are no curve: edges that do not ascend, shapes that do not match,
numbers from which no finite curve follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from targets.arguments import one_of, refuse
from targets.curve import BlurredCurve, Curve, GaussianCurve, SumCurve
from targets.documents import Document, plain, read, write
from targets.tabulated import MAX_PANELS, Table, TabulatedCurve

FORMAT = "truerate curve"
DEEPEST = 16
"""Curves inside curves."""
OWN = (Curve.__module__, TabulatedCurve.__module__)
"""Modules of the classes that are written; not those that others derive from them."""
MOST_COUNTED = 2**40
"""How often one curve may count in a sum."""


def curve_to_json(curve: Curve, law: str) -> str:
    """The curve of the law with this fingerprint, as a JSON document.

    Raises `ArgumentError` for more numbers than are read, for numbers that no document holds, and for other kinds of curves.
    """
    return write(FORMAT, {"law": law, "curve": _content(curve)})


def curve_from_json(text: str, law: str) -> Curve:
    """The curve that `curve_to_json` wrote for this law.

    Raises `ArgumentError`, naming the place in the document, for anything else: the text is never trusted.
    """
    document = read(text, FORMAT)
    document.keys(["law", "curve"])
    one_of("document.law", document.text("law"), [law])
    with np.errstate(all="ignore"):
        return _built(document.child("curve"), 1)


def _content(curve: Curve) -> dict[str, Any]:
    match curve:
        case GaussianCurve():
            counts = plain(np.append(0.0, curve.counts))
            content = {"kind": "gaussian", "variances": plain(np.append(0.0, curve.variances)), "counts": counts}
        case TabulatedCurve():
            ends = {"head": plain(curve.head), "discrete": int(curve.discrete), "least_rate": plain(curve.least_rate)}
            arrays = {name: plain(array) for name, array in curve.table._asdict().items()}
            content = {"kind": "tabulated", "method": curve.method, **ends, **arrays}
        case BlurredCurve():
            along = {"squares": plain(curve.squares), "variances": plain(curve.variances)}
            content = {"kind": "blurred", "inner": _content(curve.inner), "within": _content(curve.within), **along}
        case SumCurve():
            content = {"kind": "sum", "parts": [{"count": n, "curve": _content(part)} for part, n in curve.parts]}
        case _:
            content = {}
    if not content or type(curve).__module__ not in OWN:
        refuse("curve", curve, "one of the curves of this package")
    return content


def _built(document: Document, depth: int) -> Curve:
    if depth > DEEPEST:
        refuse("depth of curves inside curves", depth, f"at most {DEEPEST}")
    if "kind" not in document.items:
        refuse(f"keys of {document.path}", tuple(document.items), "'kind' too")
    kind = one_of(f"{document.path}.kind", document.text("kind"), ["gaussian", "tabulated", "blurred", "sum"])
    if kind == "gaussian":
        return _gaussian(document)
    if kind == "tabulated":
        return _tabulated(document)
    if kind == "sum":
        document.keys(["kind", "parts"])
        parts = []
        for part in document.children("parts"):
            part.keys(["count", "curve"])
            parts.append((_built(part.child("curve"), depth + 1), part.integer("count", 1, MOST_COUNTED)))
        if not parts:
            refuse(f"{document.path}.parts", parts, "at least one curve")
        return SumCurve(parts)
    document.keys(["kind", "inner", "within", "squares", "variances"])
    squares = document.numbers("squares", (None,))
    if (squares < 0).any() or not squares.any():
        refuse(f"{document.path}.squares", squares.tolist(), "squared components of a vector that is not zero")
    variances = _ascending(document, "variances", (len(squares),))
    curve = BlurredCurve(_built(document.child("inner"), depth + 1), squares, variances, np.zeros(1))
    curve.within = _gaussian(document.child("within"))
    return curve


def _gaussian(document: Document) -> GaussianCurve:
    document.keys(["kind", "variances", "counts"])
    variances = _ascending(document, "variances", (None,))
    counts = document.integers("counts", (len(variances),), 0, MOST_COUNTED)
    if variances[0] != 0:
        refuse(f"{document.path}.variances[0]", float(variances[0]), "zero")
    curve = GaussianCurve(variances)
    curve.counts = counts[1:].astype(np.float64)
    return curve


def _tabulated(document: Document) -> TabulatedCurve:
    document.keys(["kind", "method", "head", "discrete", "least_rate", "edges", "log_slope", "mmse_high"])
    edges = document.numbers("edges", (None,))
    if not 2 <= len(edges) <= MAX_PANELS + 1 or not (np.diff(edges) > 0).all():
        refuse(f"{document.path}.edges", edges.tolist(), f"2 to {MAX_PANELS + 1} ascending numbers")
    log_slope = document.numbers("log_slope", (None, len(edges) - 1, None))
    mmse_high = document.numbers("mmse_high", (len(log_slope),))
    if log_slope.shape[2] < 3:
        refuse(f"{document.path}.log_slope.shape", log_slope.shape, "a degree of at least 2")
    if not (mmse_high > 0).all():
        refuse(f"{document.path}.mmse_high", float(mmse_high.min()), "numbers > 0")
    ends = {name: document.real(name) for name in ("head", "least_rate")}
    curve = TabulatedCurve.from_table(
        Table(edges, log_slope, mmse_high),
        discrete=bool(document.integer("discrete", 0, 1)),
        method=document.text("method"),
        **ends,
    )
    middles = np.exp(np.append(0.5 * (edges[1:] + edges[:-1]), edges))
    known = curve.bias, curve.mmse_rows(middles), curve.slope_rows(middles), curve.information_rows(middles)
    if not all(np.isfinite(values).all() for values in known):
        refuse(document.path, document.text("method"), "a table from which a finite curve follows")
    return curve


def _ascending(document: Document, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    values = document.numbers(key, shape)
    if values[0] < 0 or not (np.diff(values) > 0).all():
        refuse(f"{document.path}.{key}", values.tolist(), "distinct ascending numbers >= 0")
    return values

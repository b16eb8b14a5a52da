"""Laws as plain JSON and back, to the last bit.

A law is written as what it is made of, not as how it was built, because builders normalise weights and centre components in
floating point, and doing so twice may change a last digit.  With X drawn from component i with probability w_i,

    gaussian        X = mean + axes·√variances·Z                       axes orthonormal (null: the coordinates)
    discrete        X = atoms[i]
    mixture         X = centre_i + √C_i·Z, by the kind of its components:
      shared          centre_i = offset + rotation·(centres[i] lifted), C = rotation·diag(spread)·rotationᵀ
      separate        centre_i = mean + centres[i],  C_i = axes[i]·diag(variances[i])·axes[i]ᵀ
      low rank        centre_i = mean + centres[i],  C_i = noise[i] + Σ_j squares[i, j] u_ij u_ijᵀ
    product         independent factors, `blocks` of [which, how many]
    rotated, embedded, sphere, markov chain         the arguments of their classes

`lifted` puts basis·c (basis null: c itself) into the `coordinates` that vary (null: all of them), and zero into the others.

`from_json(to_json(law))` has the same float64 in every array, so that samples, densities and curves agree bit by bit on the
same machine (but for the axes of a discrete law's span, which are computed anew).  What reading refuses: see documents.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from targets.arguments import NotAvailableError, one_of, refuse
from targets.base import Target
from targets.compose import Embedded, Product, Rotated
from targets.discrete import Discrete
from targets.documents import Document, plain, read, write
from targets.finite_chain import closed_class, stationary_law
from targets.gaussian import Gaussian
from targets.markov import MarkovChain
from targets.mixture import GaussianMixture
from targets.parts import components_from, components_of, orthonormal, probabilities, spreads
from targets.sampled import POINTS
from targets.shared import Shared
from targets.sphere import Sphere

FORMAT = "truerate target"
DEEPEST = 16
"""Laws inside laws."""
WIDEST = 10_000_000
"""Dimension of a law in a document, where a few characters may stand for many coordinates."""


def to_json(law: Target) -> str:
    """The law as a JSON document; floats in the shortest form that reads back as the same float64.

    Raises `ArgumentError` for what is no law, for a copy in reduced precision, and for more numbers than `from_json` reads;
    `NotAvailableError` for a class of laws that has no such form.

    >>> from_json(to_json(Sphere(3, radius=2.0)))
    Sphere(dim=3, radius=2)
    """
    if not isinstance(law, Target):
        refuse("law", law, "a target")
    content = {"law": _law(law, 1)}
    _bound(content)
    return write(FORMAT, content)


def from_json(text: str) -> Target:
    """The law that a document of `to_json` describes, in float64 on the CPU.

    Raises `ArgumentError`, naming the place in the document, for anything else: the text is never trusted.
    """
    document = read(text, FORMAT)
    document.keys(["law"])
    _bound(document.items)
    return _read(document.child("law"), 1)


def _law(law: Target, depth: int) -> dict[str, Any]:
    if law._double is not None:
        refuse("law", law, "a law in float64: write the one of which this is a copy in reduced precision")
    if depth > DEEPEST:
        refuse("depth of laws inside laws", depth, f"at most {DEEPEST}")
    if type(law) not in WRITERS:
        known = ", ".join(kind.__name__ for kind in WRITERS)
        raise NotAvailableError(f"to_json of {law!r}: a {type(law).__name__} has no JSON form; these have: {known}")
    family, content = WRITERS[type(law)]
    refined = {} if law.points == POINTS else {"points": law.points}
    return {"family": family, **content(law, depth + 1), **refined}


def _read(document: Document, depth: int) -> Target:
    if depth > DEEPEST:
        refuse("depth of laws inside laws", depth, f"at most {DEEPEST}")
    if "family" not in document.items:
        refuse(f"keys of {document.path}", tuple(document.items), "'family' too")
    required, build = READERS[one_of(f"{document.path}.family", document.text("family"), READERS)]
    document.keys(["family", *required], ["points"])
    law = build(document, depth + 1)
    if law.dim > WIDEST:
        refuse(f"dimension of {document.path}", law.dim, f"at most {WIDEST}")
    if "points" in document.items:
        points = document.integer("points", 2, 2**24)
        if points & (points - 1):
            refuse(f"{document.path}.points", points, "a power of two")
        law.points = points
    return law


def _bound(content: dict[str, Any]) -> None:
    """Refuse laws whose stated dimensions, which no array in the text pays for, are more than `WIDEST` together."""
    total, left = 0, [content]
    while left:
        law = left.pop()
        total += law["dim"] if isinstance(law.get("dim"), int) else 0
        inside = [law.get("law"), law.get("inner"), *(f if isinstance(f := law.get("factors"), list) else ())]
        left += [item for item in inside if isinstance(item, dict)]
    if total > WIDEST:
        refuse("sum of all dim in the document", total, f"at most {WIDEST}")


# ---- each family -------------------------------------------------------------------------------------


def _gaussian_of(law: Gaussian, _: int) -> dict[str, Any]:
    axes = law.components.rotation
    return {
        "mean": numbers(law.mean),
        "variances": numbers(law.variances),
        "axes": None if axes is None else numbers(axes),
    }


def _gaussian(document: Document, _: int) -> Gaussian:
    mean = torch.from_numpy(document.numbers("mean", (None,)))
    law = Gaussian.__new__(Gaussian)
    law.dim, law.variances = len(mean), spreads(document, "variances", (len(mean),))
    axes = None if document.items["axes"] is None else orthonormal(document, "axes", (law.dim, law.dim))
    law.components = Shared(torch.ones(1, dtype=torch.float64), mean[None], law.variances, axes)
    return law


def _discrete_of(law: Discrete, _: int) -> dict[str, Any]:
    return {"atoms": numbers(law.atoms), "weights": numbers(law.weights)}


def _discrete(document: Document, _: int) -> Discrete:
    points = torch.from_numpy(document.numbers("atoms", (None, None)))
    weights = probabilities(document, "weights", len(points))
    law = Discrete.__new__(Discrete)
    law.dim = points.shape[1]
    law.atoms, place = torch.unique(points, dim=0, return_inverse=True)
    merged = torch.zeros(len(law.atoms), dtype=torch.float64).index_add(0, place, weights)
    law.components = Shared(merged, law.atoms, torch.zeros(law.dim, dtype=torch.float64))
    return law


STRUCTURES = ("full", "isotropic, shared", "isotropic", "diagonal", "shared", "low rank")


def _mixture_of(law: GaussianMixture, _: int) -> dict[str, Any]:
    return {"structure": law.structure, "components": components_of(law.components)}


def _mixture(document: Document, _: int) -> GaussianMixture:
    law = GaussianMixture.__new__(GaussianMixture)
    law.structure = one_of(f"{document.path}.structure", document.text("structure"), STRUCTURES)
    law.components = components_from(document.child("components"))
    law.dim = len(law.components.mean)
    return law


def _product_of(law: Product, depth: int) -> dict[str, Any]:
    distinct = list({id(factor): factor for factor, _ in law.blocks}.values())
    place = {id(factor): i for i, factor in enumerate(distinct)}
    return {
        "factors": [_law(factor, depth) for factor in distinct],
        "blocks": [[place[id(factor)], count] for factor, count in law.blocks],
    }


def _product(document: Document, depth: int) -> Product:
    factors = [_read(child, depth) for child in document.children("factors")]
    if not factors:
        refuse(f"{document.path}.factors", [], "at least one law")
    blocks = document.integers("blocks", (None, 2), 0, WIDEST)
    which, count = blocks.T
    if (which >= len(factors)).any() or (count < 1).any():
        refuse(f"{document.path}.blocks", blocks.tolist(), f"pairs of a factor below {len(factors)} and a count >= 1")
    law = Product.__new__(Product)
    law.blocks = [(factors[i], n) for i, n in blocks.tolist()]
    law.dim = sum(factor.dim * n for factor, n in law.blocks)
    return law


def _rotated(document: Document, depth: int) -> Rotated:
    inner = _read(document.child("inner"), depth)
    return Rotated(inner, orthonormal(document, "rotation", (inner.dim, inner.dim)).contiguous())


def _embedded(document: Document, depth: int) -> Embedded:
    inner = _read(document.child("inner"), depth)
    return Embedded(inner, document.integer("dim", inner.dim, WIDEST))


def _sphere(document: Document, _: int) -> Sphere:
    return Sphere(document.integer("dim", 1, WIDEST), document.real("radius"))


def _chain_of(law: MarkovChain, _: int) -> dict[str, Any]:
    return {"values": numbers(law.values), "transition": numbers(law.transition), "length": law.length}


def _chain(document: Document, _: int) -> MarkovChain:
    values = document.numbers("values", (None,))
    transition = probabilities(document, "transition", len(values), rows=len(values))
    if (np.diff(values) <= 0).any():
        refuse(f"{document.path}.values", values.tolist(), "strictly ascending values")
    law = MarkovChain.__new__(MarkovChain)
    law.length = law.dim = document.integer("length", 1, WIDEST)
    law.values, law.transition = torch.from_numpy(values), transition
    if len(closed_class(transition)) < len(values):
        refuse(f"{document.path}.transition", transition.tolist(), "a chain that visits every state for ever")
    law.stationary = stationary_law(transition)
    return law


def numbers(tensor: Tensor) -> list[Any]:
    """A tensor as nested lists."""
    return plain(tensor.detach().cpu().numpy())


WRITERS: dict[type[Target], tuple[str, Callable[[Any, int], dict[str, Any]]]] = {
    Gaussian: ("gaussian", _gaussian_of),
    Discrete: ("discrete", _discrete_of),
    GaussianMixture: ("gaussian mixture", _mixture_of),
    Product: ("product", _product_of),
    Rotated: ("rotated", lambda law, n: {"inner": _law(law.inner, n), "rotation": numbers(law.rotation)}),
    Embedded: ("embedded", lambda law, n: {"inner": _law(law.inner, n), "dim": law.dim}),
    Sphere: ("sphere", lambda law, _: {"dim": law.dim, "radius": law.radius}),
    MarkovChain: ("markov chain", _chain_of),
}

READERS: dict[str, tuple[tuple[str, ...], Callable[[Document, int], Target]]] = {
    "gaussian": (("mean", "variances", "axes"), _gaussian),
    "discrete": (("atoms", "weights"), _discrete),
    "gaussian mixture": (("structure", "components"), _mixture),
    "product": (("factors", "blocks"), _product),
    "rotated": (("inner", "rotation"), _rotated),
    "embedded": (("inner", "dim"), _embedded),
    "sphere": (("dim", "radius"), _sphere),
    "markov chain": (("values", "transition", "length"), _chain),
}

"""What mixtures are made of, in JSON documents: their components as arrays, checked when they are read.

plain.py says what the arrays mean.  Components are put together again from the very arrays they hold; whatever follows from
these by one formula (logs of weights, lengths, flags) is computed and not read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from targets.arguments import one_of, refuse
from targets.arguments import weights as normalised
from targets.documents import Document, plain
from targets.lowrank import LowRank
from targets.separate import Separate
from targets.shared import Shared

TOLERANCE = 1e-8
"""Of the checks on what has to fit together: orthonormal axes, centres whose mean is zero."""


def components_of(parts: Shared | Separate | LowRank) -> dict[str, Any]:
    """The arrays that the components hold, by name."""
    kind = {Shared: "shared", Separate: "separate", LowRank: "low rank"}[type(parts)]
    held = {key: getattr(parts, name) for key, name in FIELDS[kind].items()}
    return {"kind": kind} | {
        key: None if value is None else plain(value.detach().cpu().numpy()) for key, value in held.items()
    }


def components_from(document: Document) -> Shared | Separate | LowRank:
    """The components that a document holds; raises `ArgumentError` where its arrays do not fit together."""
    if "kind" not in document.items:
        refuse(f"keys of {document.path}", tuple(document.items), "'kind' too")
    kind = one_of(f"{document.path}.kind", document.text("kind"), FIELDS)
    document.keys(["kind", *FIELDS[kind]])
    mean = torch.from_numpy(document.numbers("mean", (None,)))
    count = len(document.numbers("weights", (None,)))
    weights = probabilities(document, "weights", count)
    return _READERS[kind](document, weights, mean)


FIELDS = {
    "shared": {
        "weights": "weights",
        "mean": "mean",
        "spread": "spread",
        "rotation": "rotation",
        "centres": "centres",
        "coordinates": "index",
        "basis": "basis",
    },
    "separate": {
        "weights": "weights",
        "mean": "mean",
        "centres": "centres",
        "variances": "variances",
        "axes": "axes",
    },
    "low rank": {
        "weights": "weights",
        "mean": "mean",
        "centres": "centres",
        "noise": "noise",
        "squares": "squares",
        "axes": "axes",
        "along": "along",
    },
}
"""The keys of each kind, and the attributes that they hold."""


def _shared(document: Document, weights: Tensor, mean: Tensor) -> Shared:
    parts, dim = Shared.__new__(Shared), len(mean)
    parts.weights, parts.log_weights, parts.mean = weights, weights.log(), mean
    parts.spread = spreads(document, "spread", (dim,))
    parts.isotropic = bool((parts.spread == parts.spread[0]).all())
    parts.rotation = None if document.items["rotation"] is None else orthonormal(document, "rotation", (dim, dim))
    parts.index, varying = None, dim
    if document.items["coordinates"] is not None:
        varying = len(document.items["coordinates"]) if isinstance(document.items["coordinates"], list) else 0
        parts.index = torch.from_numpy(document.integers("coordinates", (varying,), 0, dim - 1))
        if bool((parts.index.diff() <= 0).any()):
            refuse(f"{document.path}.coordinates", parts.index.tolist(), "strictly ascending coordinates")
    parts.basis, inside = None, varying
    if document.items["basis"] is not None:
        parts.basis = orthonormal(document, "basis", (varying, None)).contiguous()
        inside = parts.basis.shape[1]
        if not parts.isotropic:
            refuse(f"{document.path}.basis", None, "no basis where the variances differ: null")
    parts.centres = torch.from_numpy(document.numbers("centres", (len(weights), inside)))
    parts.offset = mean
    if parts.rotation is None and varying == 1:
        moving = torch.zeros(dim, dtype=torch.bool)
        moving[slice(None) if parts.index is None else parts.index] = True
        parts.offset = torch.where(moving, torch.zeros_like(mean), mean)
        _agree(document, "mean", weights @ parts.centres, mean[moving], parts.centres)
    else:
        _agree(document, "centres", weights @ parts.centres, torch.zeros(inside, dtype=torch.float64), parts.centres)
    untouched = parts.rotation is None and parts.basis is None and parts.index is None and parts.rank > 1
    near = bool(parts.offset.square().sum() <= 100.0 * parts.total_variance)
    parts.direct = untouched and near and parts.isotropic
    return parts


def _separate(document: Document, weights: Tensor, mean: Tensor) -> Separate:
    parts, count, dim = Separate.__new__(Separate), len(weights), len(mean)
    _centred(parts, document, weights, mean)
    parts.full = document.items["axes"] is not None
    parts.axes = orthonormal(document, "axes", (count, dim, dim)) if parts.full else None
    parts.variances = spreads(document, "variances", (count, dim if parts.full else None))
    if parts.variances.shape[1] not in (1, dim):
        refuse(f"shape of {document.path}.variances", tuple(parts.variances.shape), f"({count}, 1) or ({count}, {dim})")
    return parts


def _low_rank(document: Document, weights: Tensor, mean: Tensor) -> LowRank:
    parts, count, dim = LowRank.__new__(LowRank), len(weights), len(mean)
    _centred(parts, document, weights, mean)
    parts.noise = spreads(document, "noise", (count,))
    parts.squares = spreads(document, "squares", (count, None))
    rank = parts.squares.shape[1]
    if rank > dim:
        refuse(f"shape of {document.path}.squares", tuple(parts.squares.shape), f"at most {dim} columns")
    parts.axes = torch.from_numpy(document.numbers("axes", (count * rank, dim)))
    _check_orthonormal(f"{document.path}.axes", parts.axes.unflatten(0, (count, rank)).mT)
    parts.lengths = parts.centres.square().sum(-1)
    parts.along = torch.from_numpy(document.numbers("along", (count, rank)))
    along = (parts.axes.unflatten(0, (count, rank)) @ parts.centres[:, :, None])[:, :, 0]
    _agree(document, "along", parts.along, along, parts.centres)
    return parts


_READERS = {"shared": _shared, "separate": _separate, "low rank": _low_rank}


def _centred(parts: Separate | LowRank, document: Document, weights: Tensor, mean: Tensor) -> None:
    """What components with covariances of their own have in common: weights, and centres whose mean is zero."""
    parts.weights, parts.log_weights = weights, weights.log()
    parts.mean = parts.offset = mean
    parts.centres = torch.from_numpy(document.numbers("centres", (len(weights), len(mean))))
    scale = torch.maximum(parts.centres.abs().amax(), mean.abs().amax())
    _agree(document, "centres", weights @ parts.centres, torch.zeros_like(mean), scale)


def _agree(document: Document, key: str, found: Tensor, expected: Tensor, scale: Tensor) -> None:
    """Refuse the array at `key` where `found` is not `expected` within 1e-8 of the largest of `scale`."""
    if found.numel() == 0:
        return
    gap = float((found - expected).abs().max())
    if gap > TOLERANCE * float(scale.abs().max()):
        refuse(f"{document.path}.{key}: off by", gap, "arrays that fit together: centres are held less their mean")


def probabilities(document: Document, key: str, count: int, rows: int | None = None) -> Tensor:
    """Weights > 0 (count,), or probabilities >= 0 (rows, count), that sum to one over the last dimension.

    Weights whose sum is one to rounding are taken as they are; sums within 1e-9 of one are normalised.
    """
    values = torch.from_numpy(document.numbers(key, (count,) if rows is None else (rows, count)))
    path = f"{document.path}.{key}"
    if bool((values < 0).any()) or (rows is None and bool((values == 0).any())):
        refuse(path, float(values.min()), "positive weights" if rows is None else "non-negative probabilities")
    excess = float((values.sum(-1) - 1.0).abs().max())
    if excess <= (8 + count) * np.finfo(np.float64).eps:
        return values
    return torch.stack([normalised(path, row, count) for row in values]) if rows else normalised(path, values, count)


def spreads(document: Document, key: str, shape: tuple[int | None, ...]) -> Tensor:
    """Variances >= 0 of this shape."""
    values = torch.from_numpy(document.numbers(key, shape))
    if bool((values < 0).any()):
        refuse(f"{document.path}.{key}", float(values.min()), "non-negative variances")
    return values


def orthonormal(document: Document, key: str, shape: tuple[int | None, ...]) -> Tensor:
    """Matrices of this shape with orthonormal columns, one column after the other in memory, as eigenvectors come.

    The order in memory decides the last bit of a product.
    """
    matrices = torch.from_numpy(document.numbers(key, shape))
    _check_orthonormal(f"{document.path}.{key}", matrices)
    return matrices.mT.contiguous().mT


def _check_orthonormal(path: str, matrices: Tensor) -> None:
    if matrices.shape[-1] > matrices.shape[-2]:
        refuse(f"shape of {path}", tuple(matrices.shape), "no more columns than rows")
    identity = torch.eye(matrices.shape[-1], dtype=torch.float64)
    gap = float((matrices.mT @ matrices - identity).abs().max())
    if not gap <= TOLERANCE:
        refuse(f"{path}: |columnsᵀ columns - 1|", gap, "orthonormal columns")

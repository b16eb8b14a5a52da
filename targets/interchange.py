"""Laws that other libraries hold, as targets: torch.distributions, scipy.stats, arrays and DataFrames of atoms.

    Normal, MultivariateNormal, LowRankMultivariateNormal, Independent      N(loc, scale²), N(loc, LLᵀ)
    MixtureSameFamily of those                                              Σ_i probs_i N(loc_i, …)
    Categorical                                                             Σ_k probs_k δ(k)
    frozen scipy.stats: discrete                                            Σ_k pmf(k) δ(k)
    frozen scipy.stats: norm, multivariate_normal                           N(mean, cov)

Parameters are taken to float64 as they are; only probabilities are normalised again.  Mixtures that scikit-learn fitted are
read in real.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch import distributions as torch_laws

from targets.arguments import array, one_of, real, refuse
from targets.base import Target
from targets.discrete import Discrete
from targets.gaussian import Gaussian
from targets.mixture import GaussianMixture

MOST_ATOMS = 2**20
"""Of a discrete law."""


# ---- torch.distributions -----------------------------------------------------------------------------


def from_torch(distribution: torch_laws.Distribution) -> Target:
    """The law of a torch distribution with an empty batch shape, and an event of at most one dimension.

    Normal, MultivariateNormal, LowRankMultivariateNormal and Independent(Normal, 1) are Gaussians; MixtureSameFamily of these
    is a mixture; Categorical is discrete on 0, 1, …  Raises `ArgumentError` for any other class, and for several laws in one
    batch.

    >>> from_torch(torch_laws.Normal(1.0, 2.0))
    Gaussian(dim=1, rank=1)
    """
    if not isinstance(distribution, torch_laws.Distribution):
        refuse("distribution", distribution, "a torch.distributions.Distribution")
    batch, event = tuple(distribution.batch_shape), tuple(distribution.event_shape)
    if batch:
        refuse(
            "distribution.batch_shape",
            batch,
            "(), one law; index its parameters, or make the coordinates one event by Independent(distribution, 1)",
        )
    if len(event) > 1:
        refuse("distribution.event_shape", event, "at most one dimension; flatten the parameters first")
    if isinstance(distribution, torch_laws.MixtureSameFamily):
        return _torch_mixture(distribution)
    if isinstance(distribution, torch_laws.Categorical):
        weights = _shares("distribution.probs", distribution.probs)
        return Discrete(np.arange(float(len(weights)))[:, None], weights)
    mean, scale = _torch_normal("distribution", distribution)
    return Gaussian(mean, torch.diag(scale.square()) if scale.ndim == 1 else scale @ scale.mT)


def _torch_mixture(distribution: torch_laws.MixtureSameFamily) -> GaussianMixture:
    component = distribution.component_distribution
    weights = _shares("distribution.mixture_distribution.probs", distribution.mixture_distribution.probs)
    if isinstance(component, torch_laws.LowRankMultivariateNormal):
        own = _double(component.cov_diag)
        if bool((own == own[:, :1]).all()):
            return GaussianMixture.low_rank(weights, _double(component.loc), _double(component.cov_factor), own[:, 0])
    means, scales = _torch_normal("distribution.component_distribution", component)
    if scales.ndim == 2:
        return GaussianMixture.diagonal(weights, means, scales.square())
    return GaussianMixture(weights, means, scales @ scales.mT)


def _torch_normal(name: str, law: torch_laws.Distribution) -> tuple[Tensor, Tensor]:
    """(means (…, d), standard deviations (…, d) or square roots of the covariance (…, d, r)) of a normal."""
    scalar, base = not law.event_shape, law
    while isinstance(base, torch_laws.Independent):
        base = base.base_dist
    if isinstance(base, torch_laws.Normal):
        mean, scale = _double(base.loc), _double(base.scale)
        return (mean[..., None], scale[..., None]) if scalar else (mean, scale)
    if isinstance(base, torch_laws.MultivariateNormal):
        return _double(base.loc), _double(base.scale_tril)
    if not isinstance(base, torch_laws.LowRankMultivariateNormal):
        refuse(
            name,
            law,
            "Normal, MultivariateNormal, LowRankMultivariateNormal or Independent(Normal, 1), a MixtureSameFamily of these, "
            "or Categorical; any other law by its atoms (Discrete) or a mixture fitted to draws (from_sklearn)",
        )
    own = torch.diag_embed(_double(base.cov_diag).sqrt())
    return _double(base.loc), torch.cat([_double(base.cov_factor), own], -1)


def _double(value: Tensor) -> Tensor:
    return value.detach().cpu().to(torch.float64)


def _shares(name: str, value: Any) -> Tensor:
    """Non-negative numbers, divided by their sum."""
    shares = array(name, _double(value) if isinstance(value, Tensor) else value, (None,))
    if bool((shares < 0).any()):
        refuse(name, float(shares.min()), "non-negative weights")
    total = float(shares.sum())
    if not 0.0 < total < math.inf:
        refuse(f"sum of {name}", total, "a finite sum > 0")
    return shares / total


# ---- scipy.stats -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Support:
    """Where a discrete law of scipy.stats was cut: its points (n,), their probabilities (n,), the mass left out."""

    points: np.ndarray
    probabilities: np.ndarray
    left_out: float


def from_scipy(law: Any, tail: float = 1e-15) -> Target:
    """The law of a frozen scipy.stats distribution: discrete, `norm` or `multivariate_normal`.

    A support of more than 2^20 points is cut where at most `tail` of the mass is left out; the rest is normalised, and
    `support(law)` tells what was cut.  Raises `ArgumentError` for a law that is not frozen, is none of these, or has more
    mass than that beyond 2^20 points.

    >>> from scipy import stats
    >>> from_scipy(stats.binom(3, 0.5)).weights
    tensor([0.1250, 0.3750, 0.3750, 0.1250], dtype=torch.float64)
    """
    from scipy import stats

    if isinstance(law, type(stats.multivariate_normal(np.zeros(1)))):
        return Gaussian(np.atleast_1d(law.mean), np.atleast_2d(law.cov))
    if isinstance(getattr(law, "dist", None), type(stats.norm)):
        _check_one(law)
        return Gaussian([law.mean()], [[law.var()]])
    found = support(law, tail)
    return Discrete(found.points[:, None], found.probabilities)


def support(law: Any, tail: float = 1e-15) -> Support:
    """The points of a frozen discrete law, without those that hold at most `tail` of the mass where they are too many.

    Around the mean the window is doubled until that little is outside, and then cut from both ends.  Points at which the
    probability underflows are dropped.
    """
    from scipy import stats

    if isinstance(law, stats.rv_discrete) and hasattr(law, "xk"):
        law = law()
    dist = getattr(law, "dist", None)
    if not isinstance(dist, stats.rv_discrete):
        _refuse_law(law, dist)
    _check_one(law)
    tail = real("tail", tail, "a number strictly between 0 and 1e-9", low=0.0, high=1e-9)
    values: Any = getattr(dist, "xk", None)
    if values is not None:
        shift, left_out = float(law.support()[0]) - float(np.min(values)), 0.0
        points, mass = np.asarray(values, dtype=np.float64) + shift, np.asarray(vars(dist)["pk"], dtype=np.float64)
    else:
        points, outside = _window(law, tail)
        mass = law.pmf(points)
        points, mass, cut = _trimmed(points, mass, tail - outside) if outside > 0 else (points, mass, 0.0)
        left_out = outside + cut
    total = float(mass.sum()) + left_out
    if not abs(total - 1.0) <= 1e-9:
        refuse("sum of law.pmf", total, "a sum of 1 (within 1e-9) over integers (plus loc)")
    kept = mass > 0
    return Support(points[kept], mass[kept] / mass.sum(), left_out)


def _window(law: Any, tail: float) -> tuple[np.ndarray, float]:
    """(consecutive points, mass outside them)."""
    low, high = (float(end) for end in law.support())
    if not low <= high:
        refuse("support of law", (low, high), "a law whose parameters are valid")
    if high - low < MOST_ATOMS:
        return low + np.arange(high - low + 1.0), 0.0
    with np.errstate(all="ignore"):
        mean = float(law.mean())
    start = low if math.isfinite(low) else 0.0
    middle = start + round(min(max(mean, low), high) - start) if math.isfinite(mean) else start
    first = last = middle
    outside, half = 1.0, 8
    while outside > tail and 2 * half < MOST_ATOMS:
        half *= 2
        first, last = max(low, middle - half), min(high, middle + half)
        outside = float(law.cdf(first - 1.0)) * (first > low) + float(law.sf(last)) * (last < high)
    if outside > tail:
        refuse(
            f"law, a {law.dist.name}",
            law,
            f"at most {tail:g} of the mass beyond {MOST_ATOMS} points; it leaves {outside:.1e}",
        )
    return first + np.arange(last - first + 1.0), outside


def _trimmed(points: np.ndarray, mass: np.ndarray, allowed: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Without the points at both ends that hold at most `allowed`, half of it at each; and what they hold."""
    first = int(np.searchsorted(np.cumsum(mass), 0.5 * allowed, side="right"))
    last = len(mass) - int(np.searchsorted(np.cumsum(mass[::-1]), 0.5 * allowed, side="right"))
    return points[first:last], mass[first:last], float(mass[:first].sum() + mass[last:].sum())


def _check_one(law: Any) -> None:
    """Refuse parameters that are arrays: a batch of laws."""
    for value in (*law.args, *law.kwds.values()):
        if np.ndim(value) > 0:
            refuse("parameter of law", value, "numbers: one law and not an array of them")


def _refuse_law(law: Any, dist: Any) -> NoReturn:
    """Name what was given, and what to give instead."""
    from scipy import stats

    package, kind = type(law).__module__.partition(".")[0], type(law).__name__
    if isinstance(law, (stats.rv_discrete, type(stats.norm))):
        refuse("law", law, f"a frozen law, its parameters given: scipy.stats.{law.name}(...)")
    if isinstance(law, stats.rv_histogram) or isinstance(dist, stats.rv_histogram):
        refuse(
            "law",
            law,
            "a law whose denoiser has a closed form, which a histogram's has not; use its bin centres as atoms, "
            "Discrete(centres, masses), or a mixture fitted to the data (from_sklearn)",
        )
    if isinstance(law, torch_laws.Distribution):
        refuse("law", law, "a law of scipy.stats; of torch.distributions: from_torch(law)")
    if package == "sklearn":
        refuse("law", law, "a law of scipy.stats; a mixture fitted by scikit-learn: from_sklearn(model)")
    if package in ("numpy", "pandas") or isinstance(law, (list, Tensor)):
        refuse("law", kind, "a law of scipy.stats; atoms, one a row: from_frame(atoms)")
    wanted = "a frozen discrete law of scipy.stats, norm(...) or multivariate_normal(...)"
    if kind == "multivariate_normal_gen":
        refuse("law", law, "a frozen law, its parameters given: scipy.stats.multivariate_normal(...)")
    if package == "scipy":
        name = getattr(dist or law, "name", None) or kind.removesuffix("_gen").removesuffix("_frozen")
        wanted += (
            f"; of scipy.stats.{name} no denoiser is known in closed form: take draws of it as atoms (from_samples), "
        )
        wanted += "or a mixture fitted to them (from_sklearn)"
    refuse("law", law, wanted)


# ---- atoms -------------------------------------------------------------------------------------------


def from_frame(frame: Any, weights: Any = None) -> Discrete:
    """The law on the rows of a DataFrame or array (n, d); equal rows are merged and their weights added.

    `weights`: the name of a column, or n numbers >= 0, relative (counts will do); None: every row counts once.
    Raises `ArgumentError` for a column that is missing (suggesting the nearest), not numeric or not finite, and for weights
    that are negative or all zero.

    >>> import pandas as pd
    >>> from_frame(pd.DataFrame({"x": [0, 1, 1], "n": [2, 1, 1]}), weights="n").weights
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    import pandas as pd

    if isinstance(frame, pd.DataFrame):
        if not frame.columns.is_unique:
            refuse("frame.columns", frame.columns.tolist(), "every name once")
        if isinstance(weights, str):
            known = [name for name in frame.columns if isinstance(name, str)]
            if not known:
                refuse("weights", weights, "numbers, one a row, such as frame[...]: no column is named by a text")
            one_of("weights", weights, known)
            frame, weights = frame.drop(columns=weights), _column(frame[weights])
        if not len(frame) or not len(frame.columns):
            refuse("frame.shape", frame.shape, "at least one row, and a column besides the weights")
        if weights is not None and np.ndim(weights) == 0:
            refuse("weights", weights, f"the name of a column as text, or numbers, one a row: frame[{weights!r}]")
        points = np.stack([_column(frame[name]) for name in frame.columns], 1)
    elif isinstance(weights, str):
        refuse("weights", weights, "numbers, one a row: only a DataFrame has named columns")
    else:
        points = array("frame", frame, (None, None))
    if isinstance(weights, pd.Series) and isinstance(frame, pd.DataFrame) and not weights.index.equals(frame.index):
        refuse("weights.index", list(weights.index[:3]), "the frame's own index, in its order; or weights.to_numpy()")
    shares = torch.ones(len(points), dtype=torch.float64) if weights is None else _shares("weights", weights)
    if len(shares) != len(points):
        refuse("weights.shape", tuple(shares.shape), f"({len(points)},), one for each row")
    return Discrete(points, shares / shares.sum())


def _column(column: Any) -> np.ndarray:
    """The column's finite numbers."""
    import pandas as pd

    name = f"frame[{column.name!r}]"
    if not pd.api.types.is_numeric_dtype(column) or column.dtype.kind == "c":
        refuse(f"{name}.dtype", str(column.dtype), "a numeric column; drop it or encode it")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        refuse(f"{name}.iloc[{row}]", float(values[row]), "finite numbers only; drop such rows first")
    return values

"""Choice between shapes by prediction.

Each candidate g has one free constant, fitted where x is small,

    log c = Σ w (log v − log g) / Σ w      over the first points,      w = (value/stderr)²,

and predicts c g where x is large.  Its error is the root mean square of log v − log(c g) over the points held out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from targets import Estimate
from targets.arguments import real, refuse
from verify.rates.points import ROUNDING, Values, as_errors, points

UNDECIDED = "undecided"

CLEARLY = 2.0
"""How many times the best error the next one has to be, and the joint standard errors between their predictions."""


@dataclass(frozen=True, eq=False)
class Choice:
    """`best`: a candidate's name, or "undecided"; `errors`: rms log prediction error of each on the points held out."""

    best: str
    errors: dict[str, float]


def choose(
    x: Sequence[float] | np.ndarray,
    estimates: Sequence[Estimate] | np.ndarray,
    candidates: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    *,
    stderr: np.ndarray | None = None,
    held_out: float = 0.4,
) -> Choice:
    """Which of the shapes, fitted on the first points, predicts the last ones.

    x: strictly ascending, at least three.  candidates: by name, positive functions of x; at least two.  held_out: the part of
    the points that is predicted, rounded, so that at least one point is left to fit.
    "undecided": fewer than two points are held out; or the second best error is less than twice the best; or the rows are
    noisy or biased and the predictions of these two differ by less than two joint standard errors (of a value and of the
    fitted constant, and the bias of both) at each held-out point.  The best is best among the candidates only: its error
    says whether it predicts.
    ArgumentError: too few points, fewer than two candidates, a candidate without positive finite values at x.
    """
    places, values = points(x, estimates, stderr)
    held_out = real("held_out", held_out, "a number in (0, 1)", low=0.0, high=1.0)
    if not isinstance(candidates, Mapping) or len(candidates) < 2 or UNDECIDED in candidates:
        refuse("candidates", candidates, f"a mapping of two names or more, other than {UNDECIDED!r}, to functions of x")
    first = max(1, len(places) - round(held_out * len(places)))
    misfit = values.log - np.stack([_log(name, shape, places) for name, shape in candidates.items()])
    weight = np.ones(len(places)) if values.exact else 1.0 / as_errors(values.relative) ** 2
    share = weight[:first] / weight[:first].sum()
    missed = misfit[:, first:] - (misfit[:, :first] @ share)[:, None]
    if not missed.size:
        return Choice(UNDECIDED, dict.fromkeys(candidates, float("nan")))
    size = np.sqrt((missed**2).mean(1))
    order = np.argsort(size, kind="stable")
    apart = np.abs(missed[order[0]] - missed[order[1]])
    clear = len(places) - first >= 2 and size[order[1]] >= CLEARLY * max(size[order[0]], ROUNDING)
    told = bool((apart > _blur(values, first, share)).any())
    best = list(candidates)[order[0]] if clear and told else UNDECIDED
    return Choice(best, dict(zip(candidates, size.tolist(), strict=True)))


def _blur(values: Values, first: int, share: np.ndarray) -> np.ndarray:
    """Two standard errors of a held-out log value and the fitted constant, and their bias to first order: by point."""
    relative, bias = values.relative, values.bias / values.values
    random = np.hypot(relative[first:], np.linalg.norm(share * relative[:first]))
    return CLEARLY * random + bias[first:] + share @ bias[:first]


def _log(name: str, shape: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    if not callable(shape):
        refuse(f"candidates[{name!r}]", shape, "a function of x")
    answer = shape(x.copy())
    try:
        given = np.array(answer, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(f"candidates[{name!r}](x)", answer, "an array of the shape of x")
    if given.shape != x.shape:
        refuse(f"candidates[{name!r}](x).shape", given.shape, f"the shape of x, {x.shape}")
    bad = ~(np.isfinite(given) & (given > 0))
    if bad.any():
        refuse(f"candidates[{name!r}](x)", float(given[bad][0]), "positive finite values at every x")
    return np.log(given)

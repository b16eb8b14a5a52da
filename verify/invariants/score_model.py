"""Checks of a score model, learned or hand-written, against a law that is known.

    score      =  (α m̂(y) − y)/σ²                         Tweedie (Robbins 1956), where it has a score or log density
    ∂m̂/∂y      =  (α/σ²) Cov[X given y]                   symmetric and positive semi-definite
    E‖m̂ − X‖²  ≥  mmse(γ)                                 no function of y does better
    m̂  →  E X  as γ → 0,        m̂ − y/α  →  0  as γ → ∞

Errors are measured in units of the denoiser against the law's spread √(tr Cov X), on fixed draws of αX + σZ at nine levels.
Everything but the mmse is a statement about a function at given points, where nothing is left to chance.  The excess
E‖m̂ − X‖² − mmse is the mean of ‖m̂ − X‖² − ‖m − X‖² over the draws, m exact; it fails below −4 standard errors, by chance at
any of the nine levels with a probability below 3e-4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from targets import Level, Target
from targets.arguments import refuse
from verify.audit.contract import Denoiser
from verify.invariants.check import Broken, Check, limit, named, parametrized, run_all
from verify.invariants.denoising import DRAWS, Model, asked, gradient, jacobians
from verify.invariants.sources import untouched

POINTS = 6
"""Draws whose Jacobian is taken."""

ERRORS = 4.0
"""Standard errors below zero at which an excess loss is one no longer."""


def output(model: Model) -> None:
    """Finite answers of the shape, dtype and device of the states; for one row too; states are not written to."""
    for level, (_, y) in zip(model.levels, model.draws, strict=True):
        for states in (y, y[:1]):
            before = states.clone()
            out = model.ask(states, level)
            if (out.dtype, out.device) != (y.dtype, y.device):
                raise Broken(f"states of {y.dtype} on {y.device} in, {out.dtype} on {out.device} out")
            if not torch.equal(before, states):
                raise Broken(f"the states that it was asked about were written to (at snr {level.snr:.3g})")


def function(model: Model) -> None:
    """A function of state and level: two calls give the same, rows are apart, no global generator is advanced."""
    chosen = torch.arange(DRAWS - 1, 0, -7)
    for level, (_, y) in zip(model.levels, model.draws, strict=True):
        with untouched():
            first, again = model.ask(y, level), model.ask(y, level)
        where = f"at snr {level.snr:.3g}"
        if not torch.equal(first, again):
            raise Broken(
                f"two calls differ by up to {float((first - again).abs().max()):.3g} ({where}): is dropout left on?"
            )
        off = float((model.ask(y[chosen], level) - first[chosen]).abs().max())
        if not off <= 1e3 * torch.finfo(y.dtype).eps * float(first.abs().max() + model.spread):
            raise Broken(f"a row's answer depends on which other rows are in the batch, by up to {off:.3g} ({where})")


def exact(model: Model) -> None:
    """Within the tolerance of the law's own denoiser, root mean square."""
    for level, (_, y), best in zip(model.levels, model.draws, model.best, strict=True):
        off = _rms(model.ask(y, level) - best)
        _within(model, off, level, "it is off the law's denoiser by")


def tweedie(model: Model) -> None:
    """Its score and the gradient of its log density are (α m̂ − y)/σ²: compared as denoisers, (y + σ² score)/α."""
    for level, (_, y) in zip(model.levels, model.draws, strict=True):
        answer = model.ask(y, level)
        if model.score is not None:
            own = (y + level.sigma**2 * asked(model.score, y, level, y.shape)) / level.alpha
            _within(model, _rms(own - answer), level, "score and denoiser break Tweedie's formula by")
        if model.log_density is not None:
            own = (y + level.sigma**2 * gradient(model.log_density, y, level)) / level.alpha
            _within(
                model,
                _rms(own - answer),
                level,
                "the gradient of the log density and the denoiser break Tweedie's formula by",
            )


def jacobian(model: Model) -> None:
    """(σ²/α) ∂m̂/∂y = Cov[X given y] is symmetric and positive semi-definite, within the tolerance of its own size."""
    for level, (_, y) in zip(model.levels, model.draws, strict=True):
        matrices = level.sigma**2 / level.alpha * jacobians(model, y[:POINTS], level)
        size = torch.linalg.matrix_norm(matrices, ord=2).clamp_min(_smallest(model, level, y.dtype))
        skew = float((torch.linalg.matrix_norm(matrices - matrices.mT, ord=2) / size).max())
        if not skew <= model.tolerance:
            raise Broken(
                f"its Jacobian is not symmetric: skew part {skew:.3g} of its norm at snr {level.snr:.3g} (allowed "
                f"{model.tolerance:.3g}); it is no posterior covariance, and the score no gradient"
            )
        lowest = float((torch.linalg.eigvalsh(0.5 * (matrices + matrices.mT))[:, 0] / size).min())
        if not lowest >= -model.tolerance:
            raise Broken(
                f"its Jacobian has the eigenvalue {lowest:.3g} of its norm at snr {level.snr:.3g} (allowed "
                f"{-model.tolerance:.3g}): a posterior covariance has none below zero"
            )


def mmse(model: Model) -> None:
    """E‖m̂ − X‖² is not below the mmse by more than ERRORS standard errors."""
    for level, (x, y), best in zip(model.levels, model.draws, model.best, strict=True):
        answer = model.ask(y, level).detach()
        excess = ((answer - best) * (answer + best - 2.0 * x)).sum(-1).double()
        mean, stderr = float(excess.mean()), float(excess.std()) / DRAWS**0.5
        if not mean >= -ERRORS * stderr - 1e-12 * model.target.total_variance:
            raise Broken(
                f"E‖m̂ − X‖² is {-mean:.3g} ± {stderr:.2g} below the mmse at snr {level.snr:.3g}: no function of the state "
                "can be so good, it has seen X, or it is for another law"
            )


def limits(model: Model) -> None:
    """At the window's ends: as near to E X below, and to y/α above, as the law's own denoiser is."""
    for place, name in ((0, "E X"), (-1, "y/α")):
        level, (_, y) = model.levels[place], model.draws[place]
        goal = model.target.mean if place == 0 else y / level.alpha
        off, own = _rms(model.ask(y, level) - goal), _rms(model.best[place] - goal)
        _within(
            model,
            off - own,
            level,
            f"it is {off:.3g} from {name} where the law's own denoiser is {own:.3g}, farther by",
        )


CHECKS: dict[str, Callable[[Model], None]] = {
    "output": output,
    "function": function,
    "exact": exact,
    "tweedie": tweedie,
    "jacobian": jacobian,
    "mmse": mmse,
    "limits": limits,
}
"""Checks of every score model."""


def score_model_checks(
    denoiser: Denoiser,
    target: Target,
    *,
    process: str = "vp",
    snr: tuple[float, float] = (1e-8, 1e8),
    score: Callable[[Tensor, Level], Tensor] | None = None,
    log_density: Callable[[Tensor, Level], Tensor] | None = None,
    tolerance: float = 1e-6,
    seconds: float = 30.0,
) -> list[Check]:
    """The checks that apply to a score model; arguments as in `check_score_model`."""
    model = Model(denoiser, target, process, snr, score, log_density, tolerance)
    chosen = {name: body for name, body in CHECKS.items() if name != "tweedie" or score or log_density}
    return [Check(name, named(denoiser), partial(body, model), limit(seconds)) for name, body in chosen.items()]


def check_score_model(
    denoiser: Denoiser,
    target: Target,
    *,
    process: str = "vp",
    snr: tuple[float, float] = (1e-8, 1e8),
    score: Callable[[Tensor, Level], Tensor] | None = None,
    log_density: Callable[[Tensor, Level], Tensor] | None = None,
    tolerance: float = 1e-6,
    seconds: float = 30.0,
) -> None:
    """Holds a denoiser m̂(y, level), rows (n, dim), against the law that it is for.

    target: the law; dtype and device of the states are its.  process, snr: the levels at which it is asked.
    score, log_density: its own, (y, level) -> (n, dim) and (n,), held against m̂ by Tweedie's formula.
    tolerance: root mean square error allowed, relative to √(tr Cov X), and asymmetry and negative eigenvalues of the
    Jacobian, relative to its norm; for a network the error that one is prepared to accept.  seconds: limit on each check.

    Raises `InvariantError` with every check that failed; ArgumentError for arguments that make no sense.

    >>> from targets import get
    >>> law = get("gaussian", dim=2)
    >>> check_score_model(law.denoiser, law, score=law.score, log_density=law.log_prob)
    """
    run_all(
        score_model_checks(
            denoiser,
            target,
            process=process,
            snr=snr,
            score=score,
            log_density=log_density,
            tolerance=tolerance,
            seconds=seconds,
        )
    )


def parametrize_with_score_model_checks(models: Iterable[Denoiser], target: Target, **options: Any) -> Any:
    """A pytest mark: one test for each denoiser of `target` and check, handed over as `check`."""
    if callable(models) or isinstance(models, str):
        refuse("models", models, "a list of denoisers")
    return parametrized(check for model in models for check in score_model_checks(model, target, **options))


def _within(model: Model, off: float, level: Level, meaning: str) -> None:
    if not off <= model.tolerance * model.spread:
        raise Broken(
            f"{meaning} {off:.3g} at snr {level.snr:.3g} (root mean square; allowed {model.tolerance:.3g} of the law's "
            f"spread {model.spread:.3g})"
        )


def _smallest(model: Model, level: Level, dtype: torch.dtype) -> float:
    """A norm of Cov[X given y] below which it is as good as zero: of that of N(0, v·1), 1/(1/v + γ), or of rounding."""
    typical = 1.0 / (model.target.dim / model.target.total_variance + level.snr)
    return max(1e-3 * typical, 100.0 * torch.finfo(dtype).eps * model.target.second_moment / model.tolerance)


def _rms(rows: Tensor) -> float:
    return float(rows.detach().double().square().sum(-1).mean().sqrt())

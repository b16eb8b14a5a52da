"""Marginal KL: between the true law and the sampler's at the table's last level, the law that a user gets.

Each independent part of the target goes to a carrier that follows the law exactly, and the answer says which:

    moments   Gaussian targets, any table                    closed form
    density   laws on the line, one-step tables              quadrature, error by two resolutions
    radial    rotation-invariant laws, one-step tables       quadrature on the half line, any dimension
    flow      deterministic tables, multistep ones included  on the line quadrature; else E_q[w log w − w + 1] at points drawn
                                                             from the start law, w = p/q, with a standard error
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from targets import Estimate, Gaussian, NotAvailableError, Target
from targets.arguments import integer, one_of
from targets.ray import ray
from verify.carry.density import density, line_law
from verify.carry.flow import flow, line_flow
from verify.carry.moments import Moments, moments
from verify.carry.radial import radial
from verify.carry.space import Carried
from verify.kl.blocks import blocks
from verify.kl.frozen import check_inputs, log_remainder
from verify.oracle import ConstantBias, Exact, Oracle, ScaleError
from verify.step import STARTS, Table

NORMALISED = 1e-10
"""Largest |1 − ∫q| that is accepted."""

_KNOWN: WeakKeyDictionary[Target, dict[bytes, Estimate]] = WeakKeyDictionary()
"""By part and table: products of one factor ask for the same number at every dimension."""

SAFETY = 3.0
"""Bias in units of the difference of two resolutions: graded nodes do not improve monotonically."""

ONCE = 0.85
"""The resolution where one has to do: divergences are within 1e-9 there, on coarse grids and near atoms within 1e-6."""

Law = Moments | tuple[Carried, Carried]


def marginal(
    target: Target,
    table: Table,
    *,
    start: str = "exact",
    oracle: Oracle | None = None,
    points: int = 256,
    seed: int = 0,
) -> Estimate:
    """KL(p_K ‖ q_K) at `table.stop`, nats, total over coordinates; `points` and `seed` are for sampled flows only.

    Raises `NotAvailableError`, with the rungs that are available, where no carrier follows the law exactly, where the
    divergence is infinite, where a deterministic map folds, and where the resolution is not reached.
    """
    oracle = check_inputs(target, table, oracle)
    start, points, seed = one_of("start", start, STARTS), integer("points", points, 8), integer("seed", seed, 0)
    parts = parts_of(target, oracle)
    values = [(_part(part, table, start, own, points, seed), count) for part, count, own in parts]
    if len(values) == 1 and values[0][1] == 1:
        return values[0][0]
    return Estimate(
        float(sum(count * float(v.value) for v, count in values)),
        float(np.sqrt(sum((count * float(v.stderr)) ** 2 for v, count in values))),
        float(sum(count * abs(float(v.bias)) for v, count in values)),
        "identity, sum over independent parts: " + ", ".join(dict.fromkeys(v.method for v, _ in values)),
    )


def parts_of(target: Target, oracle: Oracle) -> list[tuple[Target, int, Oracle]]:
    """The target's independent parts with an oracle each; a perturbed oracle is not taken apart."""
    if not isinstance(oracle, Exact):
        return [(target, 1, oracle)]
    return [(part, count, Exact(part)) for part, count in blocks(target)]


def carrier(target: Target, table: Table, oracle: Oracle) -> tuple[Callable[..., Law], str] | None:
    """(what follows the law of the table's last state exactly in one dimension's worth of work, its name), else None."""
    if isinstance(target, Gaussian) and isinstance(oracle, (Exact, ConstantBias, ScaleError)):
        return moments, "moments, closed form"
    if line_law(target) is not None:
        if not table.multistep:
            return density, "density on the line, two resolutions"
        if not table.noise.any():
            return line_flow, "flow on the line, two resolutions"
    if ray(target) is not None and isinstance(oracle, Exact) and not table.multistep:
        return radial, "radial density, two resolutions"
    return None


def carried(target: Target, table: Table, start: str, oracle: Oracle) -> tuple[Law, str] | None:
    """(exact law of the last state, carrier), else None."""
    found = carrier(target, table, oracle)
    return (found[0](table, oracle, start), found[1]) if found else None


def at_one_resolution(target: Target, table: Table, start: str) -> float:
    """KL(p_K ‖ q_K) of a part that has a carrier, exact denoiser, nats: at `ONCE` only, without its error.

    For comparing many tables: `marginal` says how far to trust the chosen one.
    """
    oracle = Exact(target)
    found = carrier(target, table, oracle)
    assert found is not None
    law = moments(table, oracle, start) if found[0] is moments else found[0](table, oracle, start, (ONCE,))
    if isinstance(law, Moments):
        return gaussian_divergence(law, table.steps)[0]
    return divergence_of(resolved(law, table), table)[0]


def resolved(pair: tuple[Carried, Carried], table: Table) -> tuple[Carried, Carried]:
    """The pair, after checking that both densities integrate to one and that q vanishes nowhere that p does not."""
    for law in pair:
        missing = float(law.weight @ (np.exp(law.log_p) * (law.log_q < np.log(1e-290))))
        if missing > 1e-12:
            raise NotAvailableError(
                f"marginal KL of {table.method.name}: infinite or beyond floats, {missing:.3g} of the true mass lies where "
                "the sampler's density underflows; take more steps, or use kl.total_variation"
            )
        missed = 1.0 - float(law.weight @ np.exp(law.log_p))
        if missed > 1e-6 and abs(1.0 - float(law.weight @ np.exp(law.log_q))) <= NORMALISED:
            raise NotAvailableError(
                f"marginal KL of {table.method.name}: infinite or beyond floats, the sampler's law misses {missed:.3g} of "
                "the true mass; take more steps"
            )
        if not law.defect <= NORMALISED:
            raise NotAvailableError(
                f"marginal KL of {table.method.name}: resolution not reached, a density integrates to 1 within "
                f"{law.defect:.3g} only (allowed {NORMALISED}); stop at a lower snr, or use kl.chain"
            )
    return pair


def divergence_of(pair: tuple[Carried, Carried], table: Table) -> tuple[float, float, float]:
    """(KL at the finer resolution, 0, bias): SAFETY times the change from the coarser one, and rounding."""
    coarse, fine = (law.divergence for law in pair)
    return fine, 0.0, SAFETY * abs(fine - coarse) + 1e-15 * float(np.sqrt(table.steps * fine))


def gaussian_divergence(law: Moments, steps: int) -> tuple[float, float]:
    """(½ Σ [r − log(1 + r)] + ½ Σ Δm²/v, rounding), with 1 + r the true over the sampled variance."""
    if not (law.variance > 0).all():
        raise NotAvailableError("marginal KL: infinite, the sampler's law is singular; available: kl.wasserstein")
    excess = law.true_variance / law.variance - 1.0
    value = 0.5 * float(log_remainder(-excess).sum() + ((law.true_mean - law.mean) ** 2 / law.variance).sum())
    eps = 1e-16 * np.sqrt(steps)
    shift = np.abs(law.true_mean - law.mean) * (np.abs(law.true_mean) / law.variance)
    return value, 4.0 * eps * (float(np.abs(excess).sum()) + float(shift.sum())) + eps * value


def _part(target: Target, table: Table, start: str, oracle: Oracle, points: int, seed: int) -> Estimate:
    known = _KNOWN.setdefault(target, {}) if isinstance(oracle, Exact) else {}
    key = f"{start} {points} {seed} ".encode() + table.key
    if key not in known:
        known[key] = _computed(target, table, start, oracle, points, seed)
    return known[key]


def _computed(target: Target, table: Table, start: str, oracle: Oracle, points: int, seed: int) -> Estimate:
    found = carried(target, table, start, oracle)
    if found is None:
        if table.noise.any():
            raise NotAvailableError(f"marginal KL of {table.method.name} on {target!r}: {_without(table, oracle)}")
        return flow(table, oracle, start, points=points, seed=seed)
    law, method = found
    if isinstance(law, Moments):
        value, rounding = gaussian_divergence(law, table.steps)
        return Estimate(value, 0.0, rounding, method)
    return Estimate(*divergence_of(resolved(law, table), table), method)


def _without(table: Table, oracle: Oracle) -> str:
    """Why no carrier follows the law, and what there is instead."""
    why = (
        "its states are no Markov chain and it adds noise, so that only moments (Gaussian targets) follow it"
        if table.multistep
        else "with noise, exact on Gaussians, on the line, on rotation-invariant laws and products of those"
    )
    if not isinstance(oracle, Exact):
        why = "with noise and a perturbed oracle, exact on Gaussians (affine errors) and on the line"
    rising = table.one_evaluation and table.stochastic and bool((np.diff(table.snr) > 0).all())
    return f"{why}; available: " + ("kl.chain(reference='reverse'), particles" if rising else "particles")

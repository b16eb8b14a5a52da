"""What is measured of one configuration of one sampler.

    order          deterministic: pathwise on every law; stochastic: weak, from the exact marginal KL on the Gaussian
    kl             marginal KL on the Gaussian against denoiser evaluations, exact by linear probing
    moments        stochastic: error of mean and variance on the curved mixture, with standard errors
    agreement      largest distance to our table of the same method on the same grid, start and noise
    sizes          libraries whose options are not swept: finite states at the fewest steps, at 2, 3 and at 1,000
    rounding       distance between the library's own precision and float64, where it has tables in float32

Each run of a sampler has a time limit, and what goes wrong in one piece becomes a row and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.audit_laws import LAWS, gaussian, laws, reference
from studies.store import Row
from targets import Level, NotAvailableError
from verify.audit.contract import Audited, Denoiser, Sampler
from verify.audit.draws import Draws, seeded
from verify.audit.limits import TimeLimitError, within
from verify.audit.order import WINDOW, OrderFit, SamplerError, as_sampler, last_states, order_against, refined, startup
from verify.audit.probing import gaussian_kl, probe, weak_order
from verify.audit.reference import distance, reference_states
from verify.audit.verdict import Measured, Verdict, judge, tolerance
from verify.grid import Grid

COST = (0.02, 200.0)
"""Window in snr of what costs and agrees; orders are read on `order.WINDOW`, where their asymptotics begin early."""

STEPS = {"quick": (24, 48, 96), "full": (24, 48, 96, 192)}
"""K of the orders: multiples of three, so that methods that go in blocks of two or three steps end with a whole block."""

BUDGETS = {"quick": (8, 32), "full": (4, 8, 16, 32, 64)}
"""K of the work-precision rows."""

SIZES = {"quick": (1, 2, 3), "full": (1, 2, 3, 1000)}
"""K at which a sampler has to return finite states, whatever its order."""

SWEPT = ("diffusers",)
"""Libraries whose classes have options enough for a covering array."""

SECONDS = {"quick": 30.0, "full": 120.0}
"""Time limit of each run of a sampler."""

PARTICLES = 10_000
"""Chains behind the moments of stochastic samplers off Gaussians."""


def measure(audited: Audited, preset: str) -> list[Row]:
    """Every row of one configuration, its verdict last."""
    pieces: list[Callable[[Audited, str], list[Row]]] = [orders, work, agreement, rounding]
    if audited.library not in SWEPT:
        pieces.append(sizes)
    if audited.stochastic and preset == "full":
        pieces.append(moments)
    rows: list[Row] = []
    native = audited.native and limited(audited.native, SECONDS[preset])
    audited = replace(audited, sampler=limited(audited.sampler, SECONDS[preset]), native=native)
    for piece in pieces:
        try:
            rows += _told(piece(audited, preset))
        except SamplerError as error:
            rows.append({"quantity": "broken", "value": None, "piece": piece.__name__, "method": str(error)})
        except NotAvailableError as refusal:
            rows.append({"quantity": "refused", "value": None, "piece": piece.__name__, "method": str(refusal)})
        except Exception as error:
            said = f"fault of the audit, not of the sampler: {type(error).__name__}: {error}"
            rows.append({"quantity": "refused", "value": None, "piece": piece.__name__, "method": said})
    declared = audited.declared.order if audited.declared else None
    return [*rows, verdict(rows, declared, stochastic=audited.stochastic, preset=preset)]


def _told(rows: list[Row]) -> list[Row]:
    """The rows, if every number in them is finite."""
    for row in rows:
        for name, value in row.items():
            numbers = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, float)]
            if not np.isfinite(numbers).all():
                raise NotAvailableError(f"{row['quantity']}: {name} = {value}")
    return rows


def limited(sampler: Sampler, seconds: float) -> Sampler:
    """The sampler, stopped where a run of it takes longer; whatever it raises becomes a SamplerError that names it."""

    def run(denoiser: Denoiser, grid: Grid, start: Tensor, generator: torch.Generator) -> Tensor:
        try:
            with within(seconds):
                return sampler(denoiser, grid, start, generator)
        except (KeyboardInterrupt, NotAvailableError):
            raise
        except TimeLimitError as error:
            raise SamplerError(f"K = {grid.steps}: {error}") from error
        except BaseException as error:
            raise SamplerError(f"K = {grid.steps}: {type(error).__name__}: {error}") from error

    return run


def verdict(rows: list[Row], declared: float | None, *, stochastic: bool, preset: str) -> Row:
    """The verdict row of a configuration, from its rows of orders and agreement."""
    broken = list(dict.fromkeys(f"{row['piece']}: {row['method']}" for row in rows if row["quantity"] == "broken"))
    eased, uniform = (_measured(rows, grid) for grid in ("eased", "uniform"))
    wanted = ("anisotropic Gaussian",) if stochastic else laws(preset)
    unread = [law for law in wanted if law not in {one.law for one in eased}]
    gap = max((row["value"] for row in rows if row["quantity"] == "agreement"), default=None)
    if broken:
        judged = Verdict("fails", "; ".join(broken))
    else:
        judged = judge(declared, eased, uniform, unread=unread, gap=gap)
        if judged.kind == "not testable":
            reasons = [row["method"] for row in rows if row["quantity"] == "refused" and row["piece"] == "orders"]
            judged = Verdict(judged.kind, "; ".join(reasons) or judged.text)
    worst = min((one.order for one in eased), default=None)
    return {"quantity": "verdict", "value": worst, "verdict": judged.kind, "method": judged.text}


def _measured(rows: list[Row], grid: str) -> list[Measured]:
    found = [row for row in rows if row["quantity"] == "order" and row["grid"] == grid]
    return [Measured(row["law"], row["value"], (row["low"], row["high"]), tuple(row["local"])) for row in found]


def orders(audited: Audited, preset: str) -> list[Row]:
    """Orders on uniform and eased grids: on every law, or on the Gaussian alone for stochastic samplers."""
    rows: list[Row] = []
    steps = [k for k in STEPS[preset] if audited.least <= k <= audited.most]
    if len(steps) < 3:
        raise NotAvailableError(f"order: it draws too many variables to be probed with more than {audited.most} steps")
    for name in ("anisotropic Gaussian",) if audited.stochastic else laws(preset):
        fits: dict[str, OrderFit] = {}
        for grid in ("uniform", "eased"):
            try:
                fits[grid] = _order(audited, name, steps, eased=grid == "eased")
            except NotAvailableError as refusal:
                rows.append({"quantity": "refused", "value": None, "piece": "orders", "method": f"{name}: {refusal}"})
        rows += [{"quantity": "order", "law": name, "grid": grid, **_numbers(fit)} for grid, fit in fits.items()]
        if len(fits) == 2:
            first = startup(fits["uniform"], fits["eased"], tolerance(fits["eased"].order))
            if first is not None:
                rows.append({"quantity": "startup", "law": name, "value": first})
    return rows


def _order(audited: Audited, law: str, steps: list[int], *, eased: bool) -> OrderFit:
    shared: dict[str, Any] = {"process": audited.process, "steps": steps, "eased": eased, "single": 0.0}
    if audited.stochastic:
        return weak_order(audited.sampler, gaussian(), snr=WINDOW, **shared)
    return order_against(audited.sampler, reference(law), **shared)


def _numbers(fit: OrderFit) -> Row:
    return {
        "value": fit.order,
        "low": fit.interval[0],
        "high": fit.interval[1],
        "steps": list(fit.steps),
        "errors": fit.errors.tolist(),
        "local": fit.local.tolist(),
        "cut": fit.cut,
    }


def work(audited: Audited, preset: str) -> list[Row]:
    """Marginal KL on the Gaussian against the number of denoiser evaluations."""
    rows: list[Row] = []
    for steps in BUDGETS[preset]:
        if not audited.least <= steps <= audited.most:
            continue
        grid = refined(steps, snr=COST, process=audited.process, eased=False)
        law = probe(audited.sampler, gaussian(), grid)
        divergence = gaussian_kl(law, gaussian(), grid.levels[-1])
        rows.append(
            {
                "quantity": "kl",
                "law": "anisotropic Gaussian",
                "steps": steps,
                "evaluations": evaluations(audited, steps),
                "value": float(divergence.value),
                "stderr": float(divergence.stderr),
                "bias": float(abs(divergence.bias)),
                "method": divergence.method,
            }
        )
    return rows


def evaluations(audited: Audited, steps: int) -> int:
    """Calls of the denoiser in a run of `steps` steps."""
    calls = 0

    def counted(y: Tensor, at: Level) -> Tensor:
        nonlocal calls
        calls += 1
        return gaussian().denoiser(y, at)

    grid = refined(steps, snr=COST, process=audited.process, eased=False)
    audited.sampler(counted, grid, reference_states(gaussian(), grid, 2), torch.Generator().manual_seed(0))
    return calls


def agreement(audited: Audited, preset: str) -> list[Row]:
    """Largest distance to our table of the same method, relative to the states.

    Deterministic: last states from the same first ones.  Stochastic: mean and covariance on the Gaussian, by probing both;
    and the states under the same noise, where both draw equally often.
    """
    if audited.counterpart is None:
        return []
    ours, rows, same_draws = as_sampler(audited.counterpart), [], True
    grid = refined(max(20, audited.least), snr=COST, process=audited.process, eased=False)
    if audited.stochastic:
        theirs, known = (probe(one, gaussian(), grid) for one in (audited.sampler, ours))
        gap = max(_gap(theirs.mean, known.mean), _gap(theirs.covariance, known.covariance))
        rows.append({"quantity": "agreement", "law": "anisotropic Gaussian", "compared": "law", "value": gap})
        same_draws = theirs.variables == known.variables
    for name, law in laws(preset).items() if same_draws else ():
        start = reference_states(law, grid, 24)
        states, same = (last_states(one, law, grid, start, seed=1) for one in (audited.sampler, ours))
        rows.append({"quantity": "agreement", "law": name, "compared": "states", "value": _gap(states, same)})
    return rows


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def rounding(audited: Audited, preset: str) -> list[Row]:
    """RMS distance between the library's own precision and float64, in units of x/α: same noise, largest K.

    No row where the two draw differently (a Brownian tree natively, a path of ours in float64).
    """
    if audited.native is None:
        return []
    steps = STEPS[preset][-1]
    grid = refined(steps, snr=COST, process=audited.process, eased=False)
    start = reference_states(gaussian(), grid, 24)
    with Draws(_noise) as drawn:
        wide = last_states(audited.sampler, gaussian(), grid, start)
    with Draws(_noise) as drawn_natively:
        own = _finite(audited.native, gaussian().denoiser, grid, start)
    if drawn.count != drawn_natively.count:
        return []
    gap = distance(own.to(torch.float64), wide) / grid.levels[-1].alpha
    return [{"quantity": "rounding", "law": "anisotropic Gaussian", "steps": steps, "value": gap}]


def _noise(number: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same numbers in every precision."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device=device, dtype=dtype)


def _finite(sampler: Sampler, denoiser: Denoiser, grid: Grid, start: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        states = sampler(denoiser, grid, start.clone(), generator)
    if not torch.isfinite(states).all():
        raise SamplerError(f"K = {grid.steps}, in the library's own precision: states that are not finite")
    return states


def sizes(audited: Audited, preset: str) -> list[Row]:
    """Runs at few and at many steps: what comes back has to be finite states of the right shape."""
    for steps in SIZES[preset]:
        if audited.least <= steps <= audited.most:
            grid = refined(steps, snr=COST, process=audited.process, eased=False)
            last_states(audited.sampler, gaussian(), grid, reference_states(gaussian(), grid, 4))
    return []


def moments(audited: Audited, preset: str) -> list[Row]:
    """Errors of mean and variance on the curved mixture, with standard errors of independent chains."""
    law, steps = LAWS["curved mixture"](), STEPS[preset][-2]
    grid = refined(steps, snr=COST, process=audited.process, eased=False)
    generator = torch.Generator().manual_seed(3)
    first, last = grid.levels[0], grid.levels[-1]
    clean = law.sample(PARTICLES, generator)
    start = first.alpha * clean + first.sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    with torch.no_grad(), seeded(generator):
        states = audited.sampler(law.denoiser, grid, start, generator)[:, 0] / last.alpha
    if not torch.isfinite(states).all():
        raise SamplerError(f"K = {grid.steps}: states that are not finite")
    mean, variance = float(law.mean[0]), law.total_variance + last.sigma**2 / last.alpha**2
    centred = (states - mean).square()
    return [
        {"quantity": "moments", "law": "curved mixture", "steps": steps, "moment": name, **_mean(values, exact)}
        for name, values, exact in (("mean", states, mean), ("variance", centred, variance))
    ]


def _mean(values: Tensor, exact: float) -> Row:
    numbers = values.numpy()
    return {
        "value": float(numbers.mean() - exact),
        "stderr": float(numbers.std(ddof=1) / np.sqrt(len(numbers))),
        "exact": exact,
    }

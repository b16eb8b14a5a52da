"""Marginal-optimal grids: the K steps on a window of snr after which a sampler's last law is nearest to the true one.

    minimise  log KL(p_K ‖ q_K)  over  γ_1 < … < γ_{K−1},     γ_0 and γ_K given

The marginal KL falls like K^{-2}, and its best grid is not the path KL's.  On N(m, λ·1) both are known, with
tan θ = 1/√(γλ) and b = 1/(1 + γλ) = sin²θ:

    path KL of ddpm        log b linear in k (`Grid.optimal`)
    marginal KL of ddpm    b_{k+1}/b_k = ρ_k,  ρ_{k−1} = (1 + ρ_k²)/2;  √b = sin θ linear as K → ∞
    marginal KL of ddim    θ linear

Derivations.  A step of ddpm multiplies Y = γX + W_γ about its mean by b_k/b_{k+1} and adds variance h_k, a step of ddim
multiplies X + σZ/α about its mean by cos Δθ_k · cos θ_k/cos θ_{k+1}.  From the exact start this leaves

    ddpm    sampled/true variance = 1 − r,   r = Σ_k (b_k − b_{k+1})²/b_k / (1 − b_K)
    ddim    sampled/true standard deviation = Π_k cos Δθ_k

KL rises as either ratio falls below one, r is jointly convex in the b_k (∂r/∂b_k = 0 is the recursion), and −log cos is
convex in Δθ: each minimum is the global one.

Elsewhere the search is local, by L-BFGS from several grids.  Its variables are the logarithms of the steps in log γ, in which
Σ_k c_k Δ_k² has a Hessian near a multiple of the identity where it is least, so that iterations do not grow with K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from targets import Estimate, NotAvailableError, Target
from targets.arguments import one_of, refuse
from verify.grid import Grid
from verify.kl.blocks import blocks
from verify.kl.frozen import check_inputs
from verify.kl.marginal import at_one_resolution, carrier, marginal
from verify.oracle import Exact
from verify.step import STARTS, Table

AGREEMENT = 1e-4
"""Relative difference of two KL divergences within which their searches count as having found the same."""

RESOLVED = 1e-3
"""Largest error of a KL, relative to it, at which grids are still compared."""

JITTER = 0.5
"""Standard deviation of the logarithms of the jittered start's steps."""

ONE_SIDED, CENTRAL = 1e-4, 1e-3
"""Displacement of a level for a difference, in units of the shorter step beside it: what is lost is of first order in the
one and of second in the other, and the error of log KL at one resolution, up to 1e-7 near atoms, is divided by it."""

CANCELLED = 1e-3
"""Ratio of the KL reached to the starts' (their median) that only errors of opposite signs explain."""

REFUSED = 1e3
"""log KL of a grid that is refused, for the line search."""

Objective = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False, repr=False)
class MarginalOptimum:
    """The best grid found, its marginal KL, and the KL reached from each start (inf: its first grid was refused)."""

    grid: Grid
    value: Estimate
    starts: dict[str, float]

    @property
    def agreeing(self) -> int:
        """How many starts reached the least KL within `AGREEMENT` of it."""
        return sum(value <= min(self.starts.values()) * (1.0 + AGREEMENT) for value in self.starts.values())

    def __repr__(self) -> str:
        return f"MarginalOptimum({self.grid.steps} steps, {self.value!r}, {self.agreeing} of {len(self.starts)} starts agree)"


def marginal_optimal(
    target: Target,
    sampler: Callable[[Grid], Table],
    *,
    steps: int,
    snr: tuple[float, float],
    process: str = "vp",
    start: str = "exact",
) -> MarginalOptimum:
    """The grid of `steps` steps on snr = (low, high) that minimises `kl.marginal(target, sampler(grid), start=start)`.

    `sampler` is a builder, e.g. `samplers.ddpm`; one that stops a level early is given a level more,
    `lambda grid: samplers.jain_zhang(grid.beyond())`.  The denoiser is exact.

    The search is local and gives no certificate: `starts` and `agreeing` say what each of the starts (equal steps of log γ;
    of θ, tan θ = 1/√(γ Var X/d); of ∫√(−mmse′); jittered) reached.  `value` is `kl.marginal` of the grid returned, with its
    bias; the gradient comes from differences, and steps are within about 1e-5 of the stationary ones on smooth laws.

    Raises `ArgumentError` for a sampler that is no builder or whose table leaves the window, and `NotAvailableError` before
    work starts where the marginal KL is sampled or not available, and where it sinks to its own error or where the errors of
    steps cancel, as those of multistep methods do on Gaussians: of many grids without KL none is best.

    >>> from targets import get
    >>> from verify import samplers
    >>> found = marginal_optimal(get("gaussian"), samplers.ddim, steps=3, snr=(1.0, 100.0))
    >>> np.diff(np.arctan(1.0 / np.sqrt(0.25 * found.grid.snr))).round(6)  # equal steps of θ
    array([-0.303251, -0.303251, -0.303251])
    """
    even = Grid.log_snr(steps, snr=snr, process=process)
    start = one_of("start", start, STARTS)
    check_inputs(target, _built(sampler, even), None)
    _check_exact(target, sampler(even))
    objective = _objective(target, sampler, even, start)
    if even.steps == 1:
        return _confirmed(target, sampler, even, start, {})
    firsts = _starts(target, even)
    values = {name: objective(levels) for name, levels in firsts.items()}
    name = min(values, key=lambda name: values[name])
    _resolved(marginal(target, sampler(_grid(even, firsts[name])), start=start), target, sampler(even))
    drafts = {
        name: _descended(objective, levels, central=False)
        for name, levels in firsts.items()
        if math.isfinite(values[name])
    }
    best = min(drafts.values(), key=lambda found: found[1])[0]
    levels, _ = _descended(objective, best, central=True)
    fallen = math.exp(objective(levels) - float(np.median([values[name] for name in drafts])))
    if fallen < CANCELLED:
        raise NotAvailableError(
            f"marginal_optimal of {sampler(even).method.name} on {target!r}: the errors of its steps have opposite signs and "
            f"cancel on some grids of {even.steps} steps, where the marginal KL sinks to {fallen:.1g} of that of ordinary "
            "ones and on to zero; there is no best grid; available: kl.marginal of a grid of your choice"
        )
    reached = {name: math.exp(drafts[name][1]) if name in drafts else math.inf for name in firsts}
    return _confirmed(target, sampler, _grid(even, levels), start, reached)


# ---- what is minimised -------------------------------------------------------------------------------------------------


def _built(sampler: Callable[[Grid], Table], grid: Grid) -> Table:
    if isinstance(sampler, Table) or not callable(sampler):
        refuse("sampler", sampler, "a function from Grid to Table, e.g. samplers.ddpm or samplers.get('ddpm')")
    table = sampler(grid)
    if not isinstance(table, Table):
        refuse("sampler(grid)", table, "a table: sampler is a function from Grid to Table, e.g. samplers.ddpm")
    for place, name in ((0, "first"), (-1, "last")):
        if abs(table.snr[place] / grid.snr[place] - 1.0) > 1e-9:
            refuse(
                f"{name} snr of sampler(grid)",
                float(table.snr[place]),
                f"the window's, {grid.snr[place]:.6g}; for a method that stops a level early pass "
                "lambda grid: samplers.jain_zhang(grid.beyond())",
            )
    return table


def _check_exact(target: Target, table: Table) -> None:
    for part, _ in blocks(target):
        if carrier(part, table, Exact(part)) is None:
            raise NotAvailableError(
                f"marginal_optimal of {table.method.name} on {part!r}: the marginal KL is sampled or not available there, "
                "and grids cannot be compared; available: any table on Gaussians, one-step tables on the line and on "
                "rotation-invariant laws, deterministic tables on the line, products of those; Grid.optimal for the path KL"
            )


def _objective(target: Target, sampler: Callable[[Grid], Table], even: Grid, start: str) -> Objective:
    """log KL at levels log γ_0 … log γ_K, at one resolution; inf where the grid is refused."""
    parts = blocks(target)

    def log_divergence(levels: np.ndarray) -> float:
        if not (np.diff(levels) > 1e-12).all():
            return math.inf
        table, total = sampler(_grid(even, levels)), 0.0
        try:
            for part, count in parts:
                total += count * at_one_resolution(part, table, start)
        except NotAvailableError:
            return math.inf
        return math.log(max(total, 1e-300))

    return log_divergence


def _grid(even: Grid, levels: np.ndarray) -> Grid:
    """The grid at levels of log γ, with the ends of `even` to the last bit."""
    return Grid.from_snr(np.concatenate([even.snr[:1], np.exp(levels[1:-1]), even.snr[-1:]]), even.process)


def _resolved(value: Estimate, target: Target, table: Table) -> Estimate:
    if not float(value.error) < RESOLVED * float(value.value):
        raise NotAvailableError(
            f"marginal_optimal of {table.method.name} on {target!r}: at {table.steps} steps the marginal KL can be as low as "
            f"{float(value.value):.3g}, its own error {float(value.error):.2g}, and grids cannot be compared; take fewer "
            "steps"
        )
    return value


def _confirmed(
    target: Target, sampler: Callable[[Grid], Table], grid: Grid, start: str, reached: dict[str, float]
) -> MarginalOptimum:
    table = sampler(grid)
    value = _resolved(marginal(target, table, start=start), target, table)
    return MarginalOptimum(grid, value, reached or {"the only grid": float(value.value)})


# ---- the search --------------------------------------------------------------------------------------------------------


def _starts(target: Target, even: Grid) -> dict[str, np.ndarray]:
    """Levels of log γ at equal parts of each integral, a tenth of every part being equal in log γ; and jittered steps."""
    low, high = np.log(even.snr[[0, -1]])
    u = np.linspace(low, high, 64 * max(even.steps, 32) + 1)
    variance = (target.second_moment - float(target.mean.square().sum())) / target.dim
    integrals = {"log snr": u}
    if variance > 0:
        root = np.exp(u) * np.sqrt(np.maximum(target.curve.slope_rows(np.exp(u))[0], 0.0))
        integrals["tangent"] = -np.arctan(np.exp(-0.5 * u) / math.sqrt(variance))
        integrals["path density"] = np.concatenate([[0.0], np.cumsum(root[1:] + root[:-1])])
    found = {}
    for name, integral in integrals.items():
        rise = integral - integral[0]
        parts = 0.9 * rise / max(rise[-1], 1e-300) + 0.1 * (u - low) / (high - low)
        found[name] = np.interp(np.linspace(0.0, parts[-1], even.steps + 1), parts, u)
    shaken = np.exp(JITTER * np.random.default_rng(0).standard_normal(even.steps))
    found["jittered"] = low + (high - low) * np.append(0.0, np.cumsum(shaken)) / shaken.sum()
    return found


def _descended(objective: Objective, levels: np.ndarray, *, central: bool) -> tuple[np.ndarray, float]:
    """(levels, log KL) by L-BFGS over the logarithms z of the steps in log γ, Δ = (log γ_K − log γ_0) softmax(z).

    Drafts take one-sided differences and stop where log KL falls by less than 1e-6 of itself; `central` differences have
    an error of the second order and lead to the stationary grid.
    """
    from scipy.optimize import minimize
    from scipy.special import softmax

    low, width = levels[0], levels[-1] - levels[0]

    def with_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        share = softmax(z)
        u = low + width * np.append(0.0, np.cumsum(share))
        value = objective(u)
        if not math.isfinite(value):
            return REFUSED, np.zeros_like(z)
        gaps = (CENTRAL if central else ONE_SIDED) * np.minimum(np.diff(u)[:-1], np.diff(u)[1:])
        slope = np.zeros(len(gaps))
        for k, gap in enumerate(gaps):
            shift = gap * (np.arange(len(u)) == k + 1)
            behind, span = (objective(u - shift), 2.0 * gap) if central else (value, gap)
            slope[k] = (objective(u + shift) - behind) / span
        later = np.append(np.cumsum(np.nan_to_num(slope, posinf=0.0, neginf=0.0)[::-1])[::-1], 0.0)
        return value, width * share * (later - share @ later)

    options = {"maxcor": len(levels), "ftol": 1e-14 if central else 1e-6, "gtol": 1e-6, "maxls": 10}
    found = minimize(with_gradient, np.log(np.diff(levels) / width), jac=True, method="L-BFGS-B", options=options)
    return low + width * np.append(0.0, np.cumsum(softmax(found.x))), float(found.fun)

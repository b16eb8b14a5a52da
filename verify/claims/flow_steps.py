"""Checks on one step of flow and noise: its divergence by the kernels' densities, and how it falls with the step.

Over times a > c > b with a − c = h and c − b = h to first order, the flow's end is missed by ½(2h)²e^{a}(s′ + s) in x where a
step holds e^{t}s, the score of x, by ½(2h)²e^{a}s′ where it holds s (s the score of z = e^t x, s′ its derivative along the
flow), and the noise has variance 2h.  By A.1 the chain KL of a step against flow+noise is to first order

    h³ e^{2a} E‖s′ + s‖²   variant "score",          h³ e^{2a} E‖s′‖²   variant "z_score".

A.1: two Gaussians of one covariance.  A.2: the joint laws of the states have KL_init + Σ E KL(transition ‖ transition) by
the chain rule, and their last marginals no more.

Held over one step of the reverse SDE, score and denoiser err by O(√h), and the path KL of a step is of order h².
At high noise s′ + s all but vanishes, as x is at rest under the flow and its score is −x: "score" is the better one there.
On N(0, λ), v = λ + e^{2t} − 1, s = −ξ/√v and s′ = ξe^{2t}/v^{3/2}, so that E‖s′‖²/E‖s′ + s‖² = (e^{2t}/(λ − 1))²:
"z_score" is the better one at the times at which e^{2t} < λ − 1.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch

from targets import Estimate, Level, Target
from targets.channel import PROCESSES
from verify import kl
from verify.claims.claim import Row, at_least, at_most, from_fit, near, ratio
from verify.claims.flow_numerics import (
    MIDDLE,
    NARROW,
    SPACING,
    WIDE,
    Times,
    flow_paths,
    flowed,
    kernel_divergence,
    nodes,
    one_step,
    reached,
    score,
    score_slope,
    window,
)
from verify.claims.laws import law, plane_mixture
from verify.claims.mutate import Build
from verify.grid import Grid
from verify.rates import fit
from verify.samplers import ddpm, ei_sde, jain_zhang
from verify.step import Table

Z_SCORE: Build = partial(jain_zhang, variant="z_score")

WIDE_LAW = "N(0, 1000)"


def check_one_step(full: bool, tolerance: float, *, build: Build = jain_zhang) -> list[Row]:
    """A.1: the divergence of the two kernels, by their densities, against the formula; at given states and on average."""
    rows = []
    states = {
        "curved mixture": (law("curved_mixture"), [[-2.0], [-0.6], [0.1], [1.4], [3.1]]),
        "plane mixture": (plane_mixture(), [[-1.3, 0.4], [0.2, 0.1], [0.9, -1.2], [1.1, 1.0], [-0.3, -2.0]]),
    }
    for times in (WIDE, MIDDLE, NARROW) if full else (MIDDLE, NARROW):
        for family, (target, places) in states.items():
            start = np.array(places) * math.exp(times[0])
            fine, rough = (_quotients(target, build, times, start, accuracy) for accuracy in (1e-12, 1e-9))
            at = np.abs(fine - 1.0).argmax()
            apart = float(np.abs(fine - rough).max())
            worst = Estimate(float(fine[at]), 0.0, apart, "densities at Gauss nodes, two accuracies of the flow")
            quantity = f"KL of the two kernels ÷ formula, worst of {len(start)} states"
            rows.append(near(family, window(times), quantity, worst, 1.0, tolerance))
    for family, target in (("curved mixture", law("curved_mixture")), ("sphere, d = 3", law("sphere", dim=3))):
        table = one_step(build, MIDDLE)
        expected, rough = (
            end.mean(_formula(target, MIDDLE, begin, end.states))
            for end, begin, _ in (flow_paths(target, MIDDLE[0], MIDDLE[2], fine) for fine in (True, False))
        )
        expected = Estimate(expected, 0.0, abs(expected - rough), "integrated flow, two resolutions")
        quantity = "chain KL against flow+noise (quantile map) ÷ E formula (integrated flow)"
        measured = ratio(kl.chain(target, table, reference="flow+noise"), expected)
        rows.append(near(family, window(MIDDLE), quantity, measured, 1.0, tolerance))
    return rows


def _quotients(target: Target, build: Build, times: Times, start: np.ndarray, accuracy: float) -> np.ndarray:
    """KL of the kernels over the formula at states z: (n,)."""
    end = flowed(target, start, np.array([times[0], times[2]]), accuracy=accuracy)[1]
    return _kernels(target, one_step(build, times), times, start, end) / _formula(target, times, start, end)


def _kernels(target: Target, table: Table, times: Times, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """KL at states z: flow then noise of variance 1 − e^{-2r} about e^{-c} z_b, against the table's own kernel."""
    own = math.exp(-times[1]) * reached(target, table, times, start)
    noise = math.sqrt(-math.expm1(2.0 * (times[2] - times[1])))
    return kernel_divergence(math.exp(-times[1]) * end, noise, own, float(table.noise[0]))


def _formula(target: Target, times: Times, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """e^{-2r}‖x_half, exact − x_half‖²/(2(1 − e^{-2r})), x_half = e^H x + (e^H − 1) s(x) as published, x = e^{-a} z."""
    length, back = times[0] - times[2], times[1] - times[2]
    x = torch.from_numpy(math.exp(-times[0]) * start)
    own = target.score(x, Level(math.exp(-times[0]), math.sqrt(-math.expm1(-2.0 * times[0]))))
    half = (math.exp(length) * x + math.expm1(length) * own).numpy()
    apart = ((math.exp(-times[2]) * end - half) ** 2).sum(1)
    return math.exp(-2.0 * back) * apart / (-2.0 * math.expm1(-2.0 * back))


def check_marginal_below_chain(full: bool, tolerance: float, *, marginal_of: Build = jain_zhang) -> list[Row]:
    """A.2: marginal KL ÷ chain KL against flow+noise, from N(0, 1)."""
    families = {
        "curved mixture": law("curved_mixture"),
        "sphere, d = 3": law("sphere", dim=3),
        "sphere, d = 30": law("sphere", dim=30),
        "scale mixture, d = 3": law("scale_mixture", dim=3),
    }
    sizes = (8, 32) if full else (8,)
    places = [(family, steps) for steps in sizes for family in families] + [("curved mixture", 24)]
    rows = []
    for family, steps in places:
        grid, target = _schedule(steps), families[family]
        chain = kl.chain(target, jain_zhang(grid), reference="flow+noise", start="prior")
        marginal = kl.marginal(target, marginal_of(grid), start="prior")
        quantity = "marginal KL ÷ (KL_init + Σ E KL of transitions)"
        where = f"OU time 3 to 0.05, h = c·min(1, t), K = {steps}, prior start"
        rows.append(at_most(family, where, quantity, ratio(marginal, chain), 1.0 + tolerance))
    return rows


def _schedule(steps: int) -> Grid:
    return Grid.exponential_uniform(steps, ou_time=(3.0, 0.05)).beyond()


def check_local_error(full: bool, tolerance: float, *, build: Build = jain_zhang) -> list[Row]:
    """Slopes in 1/h of the KL of one step from OU time ½, and the constant of jain_zhang's."""
    shares = 2.0 ** -np.arange(5, 11 if full else 10)
    time, rows = 0.5, []
    for family, target in _curved().items():
        steps = [_chain(target, build, _geometric(time, c)) for c in shares]
        kinds = {
            "jain_zhang, chain KL (flow+noise)": (steps, -3.0),
            "ei_sde, path KL": ([kl.path(target, _single(ei_sde, time, c)) for c in shares], -2.0),
            "ddpm, path KL": ([kl.path(target, _single(ddpm, time, c)) for c in shares], -2.0),
        }
        span = f"OU time ½, h = {time * shares[0]:.3g} … {time * shares[-1]:.3g}"
        for name, (values, predicted) in kinds.items():
            slope = from_fit(fit(1.0 / (time * shares), values))
            rows.append(near(family, span, f"slope in 1/h of one step of {name}", slope, predicted, tolerance))
        size = time * float(shares[-1])
        predicted = size**3 * math.exp(2.0 * time) * _mean_squares(target, time)[0]
        quantity = "chain KL of one jain_zhang step ÷ h³e^2a E‖s′ + s‖²"
        rows.append(near(family, f"OU time ½, h = {size:.3g}", quantity, ratio(steps[-1], predicted), 1.0, tolerance))
    return rows


def check_variants(full: bool, tolerance: float, *, one: Build = Z_SCORE, other: Build = jain_zhang) -> list[Row]:
    """Chain KL of `one` over that of `other`: whole grids, and one short step against E‖s′‖²/E‖s′ + s‖²."""
    rows = []
    for family, target in (_curved() | {WIDE_LAW: law("gaussian", variance=1000.0, mean=0.0)}).items():
        side = at_most if family == WIDE_LAW else at_least
        for steps in (8, 32) if full else (8,):
            chains = [kl.chain(target, build(_schedule(steps)), reference="flow+noise") for build in (one, other)]
            where = f"OU time 3 to 0.05, h = c·min(1, t), K = {steps}, exact start"
            rows.append(side(family, where, "chain KL of z_score ÷ of score", ratio(*chains), 1.0))
        for time in (0.5, 1.5):
            both, own = _mean_squares(target, time)
            chains = [_chain(target, build, _geometric(time, 2.0**-9)) for build in (one, other)]
            quantity = "chain KL of z_score ÷ of score ÷ (E‖s′‖²/E‖s′ + s‖²)"
            measured = ratio(ratio(*chains), own / both)
            where = f"one step from OU time {time:g}, h = {time * 2.0**-9:.3g}"
            rows.append(near(family, where, quantity, measured, 1.0, tolerance))
    return rows


def _curved() -> dict[str, Target]:
    return {"curved mixture": law("curved_mixture"), "sphere, d = 3": law("sphere", dim=3)}


def _chain(target: Target, build: Build, times: Times) -> Estimate:
    return kl.chain(target, one_step(build, times), reference="flow+noise")


def _mean_squares(target: Target, time: float) -> tuple[float, float]:
    """(E‖s′ + s‖², E‖s′‖²) by quadrature."""
    at = nodes(target, time, SPACING[min(target.dim, 3)])
    slope = score_slope(target, at.states, time)
    return at.mean(((slope + score(target, at.states, time)) ** 2).sum(1)), at.mean((slope**2).sum(1))


def _geometric(time: float, share: float) -> Times:
    return time, time * (1.0 - share), time * (1.0 - share) ** 2


def _single(build: Build, time: float, share: float) -> Table:
    return build(Grid.from_snr(PROCESSES["vp"].snr(np.array([time, time * (1.0 - share)]))))

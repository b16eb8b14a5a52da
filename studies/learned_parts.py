"""What is measured of a learned score: its loss, the rungs, the steps to its floor, schedules, the marginal, memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from studies.dimension_scaling import numbers
from studies.learned_laws import Learner, learned
from studies.learned_prices import Price
from studies.store import Row
from targets import ArgumentError, Estimate, NotAvailableError
from verify import Grid, kl, samplers
from verify.in_use import schedule
from verify.learn import ErrorCurve, untrained
from verify.loss_curve import LossCurve
from verify.losses import read_losses
from verify.oracle import Empirical
from verify.rates import StepsToReach, steps_to_reach
from verify.step import Table

RUNGS = {"quick": (4, 8, 16, 32, 64), "full": (4, 8, 16, 32, 64, 128, 256)}
"""Steps of the rungs, each a divisor of the last: coarse grids share the levels of the finest."""
COMPARED = (4, 8, 16, 32, 64, 128)
"""Steps at which schedules are compared."""
HEURISTICS = ("linear_beta", "cosine", "karras", "log_snr", "entropic")
SHOWN = 16
"""Steps of the grids that are kept."""
MARGINAL = {1: ("ddpm", "ddim"), 64: ("ddim", "dpmpp_2m")}
"""Samplers whose marginal KL is followed, by dimension: on the line by densities, elsewhere along deterministic flows."""
MARGINAL_STEPS = {"quick": (16,), "full": (8, 16, 32)}
CLOSE = 0.25
"""Nats of the floor up to which marginals are followed: points of a sampled flow do not see laws much further apart."""
LEFT = (0.5, 0.1, 0.001)
"""Shares of the variance left at the levels up to which distances are summed: half a distance lies in its last e-folds."""
MANY = 64
"""Steps of the best grid beyond which the limit stands for them."""
FLOW_POINTS = {"quick": 32, "full": 128}
"""Points at which a flow off the line is followed."""


def curve(learner: Learner, _preset: str) -> list[Row]:
    """Loss and error by level, the log of the run, the floor, and those of the linear denoiser that training starts from."""
    target, trained = learner.target, learner.trained
    linear = learner.distance(learner.asked(untrained(target, trained.training)))
    frame = learner.evaluation.curve(learner.levels)
    columns = {"error": learner.error.measured(), "linear": linear.measured()}
    for name, found in columns.items():
        frame[name], frame[f"{name}_stderr"] = found.value, found.stderr
    frame["logsnr"] = np.log(frame.pop("snr"))
    shape = trained.network.architecture
    run = {
        "steps": trained.step,
        "batch": trained.training.batch,
        "rank": shape.rank,
        "width": shape.width,
        "blocks": shape.blocks,
        "parameters": sum(p.numel() for p in trained.network.parameters()),
    }
    levels: list[Row] = [{"quantity": "level", **row} for row in frame.to_dict("records")]  # type: ignore[dict-item]
    return [
        *levels,
        {"quantity": "log", **{str(name): column.tolist() for name, column in trained.log.items()}},
        {"quantity": "floor", **numbers(learner.error.floor())},
        {"quantity": "linear_floor", **numbers(linear.floor())},
        {"quantity": "run", **run},
    ]


def rungs(learner: Learner, preset: str) -> list[Row]:
    """Path KL by its terms and by the losses, chain KL, each beside that of the exact denoiser."""
    target, oracle, losses = learner.target, learner.oracle, learner.evaluation
    last, rows = RUNGS[preset][-1], []
    finest = Grid.log_snr(last, snr=learner.window).snr
    for steps in RUNGS[preset]:
        grid = Grid.from_snr(finest[:: last // steps])
        ddpm, score, noise_step = samplers.ddpm(grid), samplers.ei_sde(grid), samplers.jain_zhang(grid.beyond())
        frozen, drift = kl.path(target, ddpm), kl.path(target, score)
        measured = {
            ("ddpm", "path", "terms"): (kl.path(target, ddpm, oracle=oracle), frozen),
            ("ddpm", "path", "losses"): (losses.path(ddpm), frozen),
            ("ei_sde", "path", "terms"): (kl.path(target, score, oracle=oracle), drift),
            ("ei_sde", "chain", "reverse"): (kl.chain(target, score, oracle=oracle), kl.chain(target, score)),
            ("jain_zhang", "chain", "reverse"): (
                kl.chain(target, noise_step, oracle=oracle),
                kl.chain(target, noise_step),
            ),
        }
        for (sampler, rung, reference), (with_network, exact) in measured.items():
            base = {"quantity": "kl", "sampler": sampler, "rung": rung, "reference": reference, "steps": steps}
            gap = {"gap_stderr": _gap(learner, grid)} if reference == "losses" else {}
            rows.append({**base, **numbers(with_network), **_exact(exact), **gap})
    return rows


def _exact(found: Estimate) -> Row:
    """The same rung of the exact denoiser, as columns."""
    return {"exact": float(found.value), "exact_stderr": float(found.stderr), "exact_bias": float(abs(found.bias))}


def _gap(learner: Learner, grid: Grid) -> float:
    """Standard error of the difference between path KL by the losses and by its terms.

    It is ½ Σ h (ℓ − E‖m̂ − m‖² − mmse), three sums over independent draws; what else the two have of the curve cancels.
    """
    snr, weight = grid.snr[:-1], 0.5 * np.diff(grid.snr)
    moments = learner.oracle.moments(grid.alpha[:-1], grid.sigma[:-1]).square
    sums = (learner.evaluation.loss_rows(snr), moments, learner.target.curve.mmse_rows(snr))
    return math.hypot(*(float(Estimate.jackknife(rows @ weight, 0.0, "").stderr) for rows in sums))


def reach(learner: Learner, _preset: str) -> list[Row]:
    """The least K at which what freezing costs is no more than the network's floor, on uniform log snr and on the best grids.

    An error of the floor moves K* by as much in proportion, K·KL being constant for many steps, and a whole number is one off
    at most.  On the best grids more than `MANY` steps are (S²/4)/floor, the limit.
    """
    target, window, floor = learner.target, learner.window, learner.error.floor()
    level = float(floor.value)
    length = target.curve.discretisation_length(*window)
    limit = float(length.value) ** 2 / 4.0 / level
    builders: dict[tuple[str, str], Callable[[int], Table]] = {
        ("ddpm", "log_snr"): lambda steps: samplers.ddpm(Grid.log_snr(steps, snr=window)),
        ("ei_sde", "log_snr"): lambda steps: samplers.ei_sde(Grid.log_snr(steps, snr=window)),
        ("ddpm", "optimal"): lambda steps: samplers.ddpm(Grid.optimal(target, steps=steps, snr=window)),
    }
    rows = []
    for (sampler, name), build in builders.items():
        if name == "optimal" and limit > MANY:
            relative = 2.0 * limit / float(length.value)
            stderr, bias = relative * float(length.stderr), relative * float(length.bias)
            found = StepsToReach(limit, stderr, bias, extrapolated=True)
        else:
            found = steps_to_reach(lambda steps, build=build: kl.path(target, build(steps)), level)
        rows.append(
            {
                "quantity": "reach",
                "sampler": sampler,
                "schedule": name,
                "value": float(found.steps),
                "stderr": float(np.hypot(found.stderr, found.steps * floor.stderr / level)),
                "bias": float(found.bias + found.steps * floor.bias / level + (not found.extrapolated)),
                "method": "limit" if found.extrapolated else "least whole number",
            }
        )
    return rows


def schedules(learner: Learner, _preset: str) -> list[Row]:
    """Path KL of ddpm on each schedule's grid, of the exact denoiser and of the network, over the range of the log.

    loss_adaptive is read off the run's own losses, network_optimal off mmse + E‖m̂ − m‖² as measured, optimal off the mmse.
    """
    target, measured, rows = learner.target, learner.error.measured(), []
    mmse = target.mmse(learner.levels)
    known = {
        "snr": learner.levels,
        "loss": mmse.value + measured.value,
        "stderr": np.hypot(mmse.stderr, measured.stderr) + np.abs(mmse.bias),
    }
    window = tuple(np.exp(learner.trained.log.logsnr.iloc[[0, -1]]).tolist())
    curves: dict[str, LossCurve] = {}
    for name, losses in (("loss_adaptive", learner.trained.log), ("network_optimal", known)):
        try:
            curves[name] = LossCurve(read_losses(losses, prediction="x0", weighting="sum"))
        except ArgumentError as reason:
            rows.append({"quantity": "refused", "schedule": name, "method": str(reason)})
    for steps in COMPARED:
        grids = {name: schedule("optimal", curve, steps, window) for name, curve in curves.items()}
        grids |= {name: schedule(name, target, steps, window) for name in ("optimal", *HEURISTICS)}
        prices = {name: Price.of(learner, grid) for name, grid in grids.items()}
        for name, grid in grids.items():
            base = {"quantity": "schedule", "schedule": name, "steps": steps}
            rows.append({**base, **prices[name].columns(prices.get("loss_adaptive"))})
            if steps == SHOWN:
                rows.append({"quantity": "grid", "schedule": name, "steps": steps, "logsnr": np.log(grid.snr).tolist()})
    return rows


def marginals(learner: Learner, preset: str) -> list[Row]:
    """Marginal KL with the network and with the exact denoiser, stopped where the floor so far is a quarter of a nat."""
    target, rows = learner.target, []
    window = learner.window[0], learner.error.reached(CLOSE)
    for sampler in MARGINAL[target.dim]:
        for steps in MARGINAL_STEPS[preset]:
            table = samplers.get(sampler)(Grid.log_snr(steps, snr=window))
            base = {
                "sampler": sampler,
                "rung": "marginal",
                "reference": "none",
                "steps": steps,
                "stop": float(np.log(window[1])),
            }
            try:
                found = kl.marginal(target, table, oracle=learner.oracle, points=FLOW_POINTS[preset])
                exact = kl.marginal(target, table, points=FLOW_POINTS[preset])
            except NotAvailableError as reason:
                rows.append({**base, "quantity": "refused", "method": str(reason)})
                continue
            rows.append({**base, "quantity": "kl", **numbers(found), **_exact(exact)})
    return rows


def memory(folder: Path, setting: Row, place: torch.device) -> list[Row]:
    """A network trained on n points: its distance from the law's denoiser and from that of the points, in nats."""
    count = setting["points"]
    learner = learned(folder, setting, place, lambda target: _points(target, setting).model)
    points = _points(learner.target, setting)
    measured = {
        "to_law": learner.error,
        "to_points": learner.distance(learner.oracle, points),
        "apart": learner.distance(points),
    }
    rows: list[Row] = [row for left in LEFT for row in _places(learner, measured, count, left)]
    columns = {name: each.measured() for name, each in measured.items()}
    for i, snr in enumerate(learner.levels.tolist()):
        row: Row = {"quantity": "memory_level", "points": count, "logsnr": float(np.log(snr))}
        for name, each in columns.items():
            row |= {name: float(each.value[i]), f"{name}_stderr": float(each.stderr[i])}  # type: ignore[index]
        rows.append(row)
    return rows


def _places(learner: Learner, measured: dict[str, ErrorCurve], count: int, left: float) -> list[Row]:
    """Distances up to the level where this share of the variance is left, and where the network stands between the two.

    share: to_law/apart; lead: (to_points − to_law)/apart, positive where the network is nearer the law's denoiser.
    """
    levels, told = learner.levels, np.asarray(learner.target.mmse(learner.levels).value) / learner.target.total_variance
    top = float(np.exp(np.interp(-left, -told, np.log(levels))))
    every = [{name: each.floor_rows(top, n) for name, each in measured.items()} for n in (1, 2)]
    for rows in every:
        rows["share"] = rows["to_law"] / rows["apart"]
        rows["lead"] = (rows["to_points"] - rows["to_law"]) / rows["apart"]
    fine, coarse = every
    base = {"quantity": "memory", "points": count, "left": left, "top": float(np.log(top))}
    return [
        {**base, "distance": name, **numbers(Estimate.jackknife(rows, abs(coarse[name][0] - rows[0]), "same draws"))}
        for name, rows in fine.items()
    ]


def _points(target, setting: Row) -> Empirical:  # noqa: ANN001
    return Empirical(target, setting["points"], seed=setting["seed"])

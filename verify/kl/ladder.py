"""The rungs side by side: path, chain against each reference, marginal, of one table on one target.

marginal ≤ chain, whatever the reference; chain("reverse") ≤ path; chains against different references are not comparable.
The path rung is a sum of parts, each shown: what the start costs, what freezing costs, what the oracle's error costs, and
what it costs by its correlation with the state.
Stopping at γ_K < ∞ is no part of any of them and stands apart: what x_K leaves unknown of X.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table as Sheet

from targets import Estimate, Gaussian, NotAvailableError, Target
from targets.arguments import one_of
from verify.kl.chain import chain
from verify.kl.frozen import check_inputs
from verify.kl.marginal import marginal
from verify.kl.path import parts, path
from verify.oracle import Oracle
from verify.step import Table

WIDTH = 110


@dataclass(frozen=True, eq=False)
class Rung:
    """A divergence with the reference it is taken against, or why there is none."""

    name: str
    reference: str
    estimate: Estimate | None
    refusal: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Ladder:
    """`rungs` from the highest to the lowest, the additive `budget` of the path rung, and early stopping.  Print it."""

    target: Target
    table: Table
    rungs: tuple[Rung, ...]
    budget: dict[str, Estimate] = field(default_factory=dict)
    early: dict[str, Estimate] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Estimate:
        """The estimate of "path", "chain (reverse)", "chain (flow+noise)" or "marginal"; a rung that is refused raises."""
        names = {rung.name if rung.name != "chain" else f"chain ({rung.reference})": rung for rung in self.rungs}
        rung = names[one_of("rung", key, names)]
        if rung.estimate is None:
            raise NotAvailableError(f"{key}: {rung.refusal}")
        return rung.estimate

    def __repr__(self) -> str:
        sheet = Sheet(box=box.SIMPLE_HEAD, title=f"{self.table.method.name}, {self.table.steps} steps, {self.target!r}")
        sheet.add_column("rung")
        sheet.add_column("reference")
        for column in ("nats", "± stderr", "± bias"):
            sheet.add_column(column, justify="right")
        sheet.add_column("how", overflow="fold")
        for rung in self.rungs:
            sheet.add_row(rung.name, rung.reference, *_cells(rung.estimate, rung.refusal))
        for name, estimate in self.budget.items():
            sheet.add_row(f"  path: {name}", "reverse SDE", *_cells(estimate))
        for name, estimate in self.early.items():
            sheet.add_row("early stopping", name, *_cells(estimate))
        out = Console(file=StringIO(), width=WIDTH, highlight=False, force_jupyter=False, color_system=None)
        out.print(sheet)
        return out.file.getvalue().rstrip()  # type: ignore[attr-defined]


def ladder(target: Target, table: Table, *, start: str = "exact", oracle: Oracle | None = None) -> Ladder:
    """Every rung of the table on the target; one that is not available is shown with the reason instead of a number."""
    oracle = check_inputs(target, table, oracle)
    references = ("reverse", "flow+noise")
    rungs = [_rung("path", "reverse SDE", lambda: path(target, table, start=start, oracle=oracle))]
    for reference in references:
        rungs.append(
            _rung(
                "chain",
                reference,
                lambda reference=reference: chain(target, table, reference=reference, start=start, oracle=oracle),
            )
        )
    rungs.append(_rung("marginal", "none needed", lambda: marginal(target, table, start=start, oracle=oracle)))
    budget = {} if rungs[0].estimate is None else parts(target, table, start=start, oracle=oracle)
    return Ladder(target, table, tuple(rungs), budget, early_stopping(target, table))


def early_stopping(target: Target, table: Table) -> dict[str, Estimate]:
    """H(X given x_K) = H − I(γ_K) of a discrete law; otherwise W2 between x_K and X, exact on Gaussians, else a bound.

    The bound is the coupling's √((1 − α)² E‖X‖² + σ² d), both at the last level.
    """
    stop = table.stop
    try:
        entropy, known = target.entropy(), target.mutual_information(stop.snr)
    except NotAvailableError:
        pass
    else:
        left = max(float(entropy.value) - float(known.value), 0.0)
        error = float(abs(known.bias)) + float(abs(entropy.bias))
        return {"H(X given x_K)": Estimate(left, float(known.stderr), error, "entropy less mutual information")}
    if isinstance(target, Gaussian):
        variance = target.variances
        gap = (stop.alpha**2 * variance + stop.sigma**2).sqrt() - variance.sqrt()
        square = float(gap.square().sum()) + (1.0 - stop.alpha) ** 2 * float(target.mean.square().sum())
        return {"W2(x_K, X)": Estimate.exact(math.sqrt(square))}
    square = (1.0 - stop.alpha) ** 2 * target.second_moment + stop.sigma**2 * target.dim
    return {"W2(x_K, X) at most": Estimate.exact(math.sqrt(square), "coupling x_K = αX + σZ")}


def _rung(name: str, reference: str, compute: Callable[[], Estimate]) -> Rung:
    try:
        return Rung(name, reference, compute())
    except NotAvailableError as refusal:
        return Rung(name, reference, None, str(refusal))


def _cells(estimate: Estimate | None, refusal: str = "") -> tuple[str, str, str, str]:
    if estimate is None:
        return "-", "", "", refusal
    return f"{estimate.value:.6g}", f"{estimate.stderr:.1g}", f"{abs(estimate.bias):.1g}", estimate.method

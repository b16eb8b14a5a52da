"""The ledger: every claim with its verdict, its control, and the verdict that is on record."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from targets import ArgumentError, NotAvailableError
from targets.arguments import refuse
from verify.claims import (
    denoiser_bounds,
    denoiser_dimension,
    denoiser_entropy,
    denoiser_equalities,
    denoiser_latent,
    denoiser_limits,
    flow_bounds,
    flow_lemmas,
    flow_rates,
    gaussian_optima,
    other_bounds,
    questions,
)
from verify.claims.claim import Claim, Verdict, judge

MODULES = (
    denoiser_equalities,
    denoiser_bounds,
    denoiser_limits,
    denoiser_dimension,
    denoiser_entropy,
    denoiser_latent,
    flow_lemmas,
    flow_rates,
    flow_bounds,
    other_bounds,
    gaussian_optima,
    questions,
)

CLAIMS: dict[str, Claim] = {claim.id: claim for module in MODULES for claim in module.CLAIMS}

TOLD = 10
"""Ids that a message lists."""

RECORD = Path(__file__).with_name("expected.json")
"""id -> status: what the ledger said when it was last looked at."""


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.  `fault` says what is wrong with the entry itself, "" if nothing is."""

    claim: Claim
    verdict: Verdict
    control: Verdict
    contrast: Verdict | None
    seconds: float
    expected: str | None

    @property
    def fault(self) -> str:
        """Why the verdict cannot be trusted: a control that is not refuted, a contrast that is not supported."""
        if self.control.leaning != "refuted":
            return (
                f"control ({self.claim.control.what}) is {self.control.leaning}, not refuted: {self.control.evidence}"
            )
        if self.contrast is not None and self.contrast.leaning != "supported":
            return f"contrast is {self.contrast.leaning}, not supported: {self.contrast.evidence}"
        return ""

    @property
    def changed(self) -> bool:
        """The verdict is not the one on record."""
        return self.verdict.status != self.expected


def find(ids: Iterable[str]) -> list[Claim]:
    """The claims with these ids, all of them where none is given; an unknown id is refused with those near it."""
    wanted = list(ids)
    for name in wanted:
        if name not in CLAIMS:
            begin = [known for known in CLAIMS if known.startswith(name)]
            if begin:
                more = f", … ({len(begin)} of them)" if len(begin) > TOLD else ""
                refuse(
                    "claim", name, f"a whole id; so begin {', '.join(begin[:TOLD])}{more}; see python -m verify --list"
                )
            near = difflib.get_close_matches(name, CLAIMS, n=3, cutoff=0.4)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            refuse("claim", name, f"an id of python -m verify --list{hint}")
    return [CLAIMS[name] for name in wanted] or list(CLAIMS.values())


def evaluate(claim: Claim, *, full: bool = False) -> Entry:
    """Run a claim's check, its control and its contrast.  The control always takes the quick form."""
    begun = time.perf_counter()
    verdict = judge(claim.check(full, claim.tolerance), question=claim.open)
    control = judge(_run(claim, claim.control.change))
    contrast = judge(_run(claim, claim.contrast.change)) if claim.contrast else None
    return Entry(claim, verdict, control, contrast, time.perf_counter() - begun, recorded().get(claim.id))


def _run(claim: Claim, change: object) -> list:  # type: ignore[type-arg]
    try:
        return claim.check(False, claim.tolerance, **change)  # type: ignore[arg-type]
    except NotAvailableError as refusal:
        raise NotAvailableError(f"control or contrast of {claim.id}: {refusal}") from refusal


def ledger(claims: list[Claim], *, full: bool = False, done: Callable[[Entry], object] = lambda _: None) -> list[Entry]:
    """An entry a claim; `done` hears of each."""
    entries = []
    for claim in claims:
        entries.append(evaluate(claim, full=full))
        done(entries[-1])
    return entries


def recorded() -> dict[str, str]:
    """The verdicts on record."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def record(entries: list[Entry]) -> None:
    """Put these verdicts on record; those of other claims stay, those of claims that are no more go.

    Raises `ArgumentError` for an entry whose control passes or whose contrast fails.
    """
    for entry in entries:
        if entry.fault:
            raise ArgumentError(f"verdict on {entry.claim.id}: cannot be recorded while its {entry.fault}")
    found = recorded() | {entry.claim.id: entry.verdict.status for entry in entries}
    RECORD.write_text(json.dumps({name: found[name] for name in CLAIMS if name in found}, indent=2) + "\n")

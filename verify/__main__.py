"""The ledger: what the theorems claim, what was measured, and the verdict.

A claim is supported where every measured number lies in the interval that the claim allows, refuted where one lies outside
beyond its error, else undecided.  Its control, the same check on a wrong table or a wrong law, has to be refuted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from targets import ArgumentError
from verify.command import Command, Json, console, writable, write_json
from verify.progress import progress
from verify.provenance import ROOT, provenance

if TYPE_CHECKING:
    from verify.claims.claim import Claim, Verdict
    from verify.claims.ledger import Entry

DOCS = ROOT / "docs" / "claims.md"
LISTED = ("id", "source", "statement", "basis", "rung", "reference", "families", "window", "predicted", "study")
"""Fields of a claim that `--list --json` writes."""


@dataclass(frozen=True)
class Config:
    """Claims of papers on diffusion samplers, each with measured rows, a verdict and a control that must fail."""

    claims: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ID ...]", help_behavior_hint="")
    ] = ()
    """Ids of claims; all of them if none is given."""
    preset: Literal["quick", "full"] = "quick"
    """quick: at most three minutes for all; full: more points, steps and dimensions."""
    check: bool = False
    """Exit 1 if a verdict is not the one on record or a control is not refuted."""
    record: bool = False
    """Put the verdicts found on record."""
    json: Json = None
    """Write claims, verdicts, rows and provenance to this file; - is standard output, all else goes to standard error."""
    docs: bool = False
    """Write docs/claims.md; needs all claims."""
    study: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Only the claims that this study shows at length."""
    list: bool = False
    """Only list the claims, measuring nothing: id, source, statement, rung, basis."""


def main(config: Config) -> int:
    """Run the ledger as asked; the exit status."""
    from verify.claims import report  # the claims import everything that measures: not for the help text
    from verify.claims.ledger import find, record
    from verify.claims.stored import stored

    claims = find(config.claims)
    writable("json", config.json)
    if config.study:
        origin = stored(config.study)
        claims = [claim for claim in claims if claim.study == config.study]
        console.print(f"{config.study}: {origin.origin}", soft_wrap=True)
        if not claims:
            raise ArgumentError(f"study = {config.study!r}: expected a study that one of the claims asked for names")
    if config.docs and (config.claims or config.study):
        raise ArgumentError("docs = True: expected no claim or study to be named; docs/claims.md holds all of them")
    if config.list:
        for claim in claims:
            console.print(f"{claim.id}\n    {claim.source}\n    {claim.statement}\n    {claim.rung}; {claim.basis}")
        told = [{field: getattr(claim, field) for field in LISTED} for claim in claims]
        write_json(config.json, {"provenance": provenance(), "claims": told})
        return 0
    entries = _entries(claims, full=config.preset == "full")
    console.print(report.table(entries))
    if config.claims:
        for entry in entries:
            _details(entry)
    console.print(report.summary(entries))
    if config.json is not None:
        write_json(config.json, report.as_json(entries, config.preset))
    if config.docs:
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(report.as_markdown(entries, config.preset), "utf-8")
        console.print(f"wrote {DOCS}")
    if config.record:
        record(entries)
    faulty = any(entry.fault for entry in entries)
    changed = config.check and not config.record and any(entry.changed for entry in entries)
    return int(faulty or changed)


def _entries(claims: list[Claim], *, full: bool) -> list[Entry]:
    from verify.claims.ledger import ledger

    with progress("ledger", len(claims), unit="claims") as tell:
        count = iter(range(1, len(claims) + 1))
        return ledger(claims, full=full, done=lambda entry: tell(next(count), entry.claim.id))


def _details(entry: Entry) -> None:
    claim = entry.claim
    console.print(f"\n{claim.id}: {claim.statement}\n{claim.source}; {claim.basis}", soft_wrap=True)
    _rows("rows", entry.verdict)
    _rows(f"control: {claim.control.what}", entry.control)
    if claim.contrast and entry.contrast:
        _rows(f"contrast: {claim.contrast.what}", entry.contrast)


def _rows(title: str, verdict: Verdict) -> None:
    console.print(f"  {title}: {verdict.leaning}")
    for row in verdict.rows:
        error = float(row.measured.error)
        console.print(
            f"    {row.status:<10} {row.quantity} = {float(row.measured.value):.8g} ± {error:.1g}  margin {row.margin:+.3g}  "
            f"({row.family}; {row.window})",
            soft_wrap=True,
        )


COMMAND = Command(
    Config,
    "python -m verify",
    __doc__,
    (
        ("", "every claim, quick form, as a table"),
        ("denoiser/mmse-gap", "one claim, with its rows, control and contrast"),
        ("--check", "exit 1 if a verdict is not the one on record, or a control passes"),
        ("--study early_stopping", "the claims that a study shows at length"),
        ("--preset full --json ledger.json", "all of it at length, as a file"),
    ),
)

if __name__ == "__main__":
    COMMAND.run(main)

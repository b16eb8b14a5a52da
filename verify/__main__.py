"""The ledger: what the theorems claim, what was measured, and the verdict.

`python -m verify`: every claim, quick form, as a table.

`python -m verify denoiser/mmse-gap`: one claim, with its rows.

`python -m verify --check`: exit 1 if a verdict is not the one on record, or a control passes.

`python -m verify --study early_stopping`: the claims that a study shows at length, and what made its rows.

`python -m verify --preset full --docs`: regenerate docs/claims.md.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from targets import ArgumentError
from verify.claims import report
from verify.claims.claim import Claim, Verdict
from verify.claims.ledger import Entry, find, ledger, record
from verify.claims.stored import stored
from verify.provenance import ROOT

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
DOCS = ROOT / "docs" / "claims.md"


@dataclass(frozen=True)
class Config:
    """Claims of papers on diffusion samplers, each with measured rows, a verdict and a control that must fail."""

    claims: tyro.conf.Positional[tuple[str, ...]] = ()
    """Ids of claims; all of them if none is given."""
    preset: Literal["quick", "full"] = "quick"
    """quick: at most three minutes for all; full: more points, steps and dimensions."""
    check: bool = False
    """Exit 1 if a verdict is not the one on record or a control is not refuted."""
    record: bool = False
    """Put the verdicts found on record."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write claims, verdicts, rows and provenance to this file."""
    docs: bool = False
    """Write docs/claims.md; needs all claims."""
    study: str | None = None
    """Only the claims that this study shows at length."""
    list: bool = False
    """Only list the claims: id, source, statement, rung, basis."""


def main(config: Config) -> int:
    """Run the ledger as asked; the exit status."""
    claims = find(config.claims)
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
        return 0
    if config.json:
        _writable(config.json)
    entries = _entries(claims, full=config.preset == "full")
    console.print(report.table(entries))
    if config.claims:
        for entry in entries:
            _details(entry)
    console.print(report.summary(entries))
    if config.json:
        config.json.write_text(
            json.dumps(report.as_json(entries, config.preset), indent=1, allow_nan=False) + "\n", "utf-8"
        )
    if config.docs:
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(report.as_markdown(entries, config.preset), "utf-8")
        console.print(f"wrote {DOCS}")
    if config.record:
        record(entries)
    faulty = any(entry.fault for entry in entries)
    changed = config.check and not config.record and any(entry.changed for entry in entries)
    return int(faulty or changed)


def _writable(path: Path) -> None:
    """Refuse a file that cannot be written, before any work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise ArgumentError(f"json = {str(path)!r}: expected a file that can be written ({error.strerror})") from error


def _entries(claims: list[Claim], *, full: bool) -> list[Entry]:
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("claims", total=len(claims))
        return ledger(claims, full=full, done=lambda entry: bar.update(task, advance=1, description=entry.claim.id))


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


if __name__ == "__main__":
    try:
        flags = (tyro.conf.FlagCreatePairsOff,)
        sys.exit(main(tyro.cli(Config, prog="python -m verify", description=__doc__, config=flags)))
    except ArgumentError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

"""Other libraries' samplers under an exact score: does their code converge at the order that it declares?

Every sampler that an installed library offers is driven with the exact denoiser on grids of our choosing, in float64, and
its order is measured: pathwise against the exact probability flow where it is deterministic, by the exact law of its
output on a Gaussian where it is not.  As shipped, with its own tables and time steps, each class of diffusers is then run
over a covering array of its options, in which every pair of values occurs; the rows say how much of the array was run.

    python -m studies.sampler_audit --library diffusers --sampler HeunDiscreteScheduler

measures one class; without options, every library that is installed.  `--docs` measures nothing and writes docs/audit.md from
the committed rows.
"""

from __future__ import annotations

import difflib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import torch

from studies import audit_report, study
from studies.audit_measures import SWEPT, measure
from studies.store import Row
from targets import ArgumentError, NotAvailableError
from targets.arguments import integer, one_of, refuse
from verify.audit import registry
from verify.audit.contract import Audited, Untestable
from verify.audit.sweep import sweep, sweepable

NAME = "sampler_audit"

TOLD = 10
"""Names that a message lists."""


@dataclass(frozen=True)
class Config(study.Config):
    """Orders, costs and failures of the samplers of installed libraries under an exact score."""

    library: str | None = None
    """One library: truerate, diffusers, azula, k-diffusion, flow-matching or smalldiffusion; if none, all installed."""
    sampler: str | None = None
    """One class or function of the library, by its name."""
    docs: bool = False
    """Only write docs/audit.md from the committed rows of a full audit."""


@cache
def measured(library: str) -> dict[str, Audited]:
    """The samplers of a library by their labels."""
    return {item.label: item for item in registry.found(library) if isinstance(item, Audited)}


def chosen(config: Config) -> list[Audited | Untestable]:
    """What a run measures: with the preset quick each class's first configuration, unless one class is asked for."""
    items = registry.samplers(config.library, config.sampler)
    if config.preset == "full" or config.sampler is not None:
        return items
    first = {(item.library, item.name): item for item in reversed(items)}
    return [item for item in items if first[item.library, item.name] is item]


def settings(config: Config) -> list[Row]:
    """One setting a configuration, one a class whose options are swept, one for what cannot be tested."""
    versions, items = registry.versions(), chosen(config)
    shared = {"preset": config.preset}
    rows = []
    for item in items:
        one = {"library": item.library, "version": versions[item.library], "sampler": item.name, **shared}
        if isinstance(item, Untestable):
            rows.append({"family": item.name, "dim": "", "part": "listing", **one, "reason": item.reason})
        else:
            rows.append({"family": item.label, "dim": "", "part": "order", **one, "label": item.label})
    swept = {library: sweepable() for library in SWEPT if any(item.library == library for item in items)}
    classes = dict.fromkeys((one.library, one.name) for one in items if one.name in swept.get(one.library, ()))
    rows += [
        {
            "family": f"{name}, options",
            "dim": "",
            "part": "sweep",
            "library": library,
            "version": versions[library],
            "sampler": name,
            **shared,
        }
        for library, name in classes
    ]
    return rows


def compute(setting: Row, _place: torch.device) -> list[Row]:
    """The rows of one setting; whatever goes wrong in it stays in it."""
    base = {key: setting[key] for key in ("library", "version", "sampler", "part")}
    if setting["part"] == "listing":
        return [{**base, "quantity": "untestable", "value": None, "method": setting["reason"]}]
    if setting["part"] == "sweep":
        return [{**base, **row} for row in _swept(setting["library"], setting["sampler"], setting["preset"])]
    audited = measured(setting["library"])[setting["label"]]
    more = {
        "label": audited.label,
        "process": audited.process,
        "stochastic": audited.stochastic,
        "declared": audited.declared.order if audited.declared else None,
        "source": audited.declared.source if audited.declared else None,
        "counterpart": audited.counterpart is not None,
        "notes": list(audited.notes),
    }
    return [{**base, **more, **row} for row in measure(audited, setting["preset"])]


def _swept(library: str, name: str, preset: str) -> list[Row]:
    """How many configurations were planned and tried, then a row for each way to fail, at its smallest configuration."""
    (swept,) = sweep(library, [name], preset)
    long = {str(steps): share for steps, share in swept.long.items()}
    told = {"planned": swept.planned, "tried": swept.tried, "outcomes": dict(swept.counts), "long": long}
    rows: list[Row] = [{"quantity": "swept", "value": len(swept.failures), **told}]
    for one in swept.failures:
        found = {key: value for key, value in one.row.items() if key not in ("library", "name", "message")}
        rows.append({"quantity": "failure", "value": None, **found, "method": one.message})
    return rows


def near_names(library: str | None, sampler: str) -> None:
    """Refuse a sampler that no library has, or the one asked for, naming at most `TOLD` that begin so or are near.

    Raises `ArgumentError`, as for a library that there is none of.
    """
    if library is not None:
        one_of("library", library, registry.ADAPTERS)
    known: dict[str, str] = {}
    for other, version in registry.versions().items():
        with suppress(NotAvailableError):
            known |= dict.fromkeys(registry.names(other) if version is not None else (), other)
    theirs = sorted(name for name, owner in known.items() if library in (None, owner))
    if sampler in known or not theirs:
        return  # the registry says whose it is, and what is not installed
    short = sampler.lower()
    begin = [name for name in theirs if name.lower().startswith(short)]
    near = list(dict.fromkeys([*begin, *difflib.get_close_matches(sampler, theirs, n=3, cutoff=0.4)]))[:TOLD]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    whose = f"of {library}" if library else "that an installed library has"
    refuse("sampler", sampler, f"the name of one {whose}; docs/audit.md lists all{hint}")


def check(config: Config) -> None:
    """Refuse bad settings before any work."""
    integer("seed", config.seed, 0)
    if config.docs and (config.library or config.sampler or config.json):
        raise ArgumentError(
            "docs = True: expected neither --library nor --sampler nor --json; the page holds all committed rows"
        )
    if config.sampler is not None:
        near_names(config.library, config.sampler)
    registry.samplers(config.library, config.sampler)
    study.folder(config.out)


def main(config: Config) -> None:
    """Run the audit, print its tables, draw its figure, write docs/audit.md where asked."""
    check(config)
    if config.docs:
        audit_report.write()
        return

    from figures.sampler_audit import draw

    def report(rows: list[Row]) -> None:
        audit_report.report(rows, registry.versions())

    def as_json(rows: list[Row]) -> Row:
        return {"study": NAME, **audit_report.as_json(rows, registry.versions())}

    study.run(NAME, config, settings(config), compute, report, draw, as_json=as_json)


if __name__ == "__main__":
    study.command(main, Config, NAME, __doc__)

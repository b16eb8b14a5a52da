"""The page: rows and figures into one HTML file that asks the network for nothing and runs nothing that rows hold.

Text goes through the template's escaping; data for scripts is JSON in which <, > and & are written by their numbers, so that
no element can end in it.  The plotting library is kept compressed and read when the explorer first draws.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from figures.report import audit, costs, explorer, ledger, studies
from figures.report.data import FRONT, Inputs, Origin, ReportError, slug
from figures.report.numbers import brief

HERE = Path(__file__).resolve().parent
LARGEST = 8_000_000
"""Bytes of the whole file."""

SCRIPTS = ("script.js", "explorer.js")
LIBRARIES = ("jinja2", "plotly", "latex2mathml")


def page(inputs: Inputs, front: Path = FRONT) -> str:
    """The whole file.  Raises `ReportError` where a library of the extra `report` is missing, or for too large a page."""
    try:
        import latex2mathml.converter  # noqa: F401
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        needed = ", ".join(LIBRARIES)
        told = f"report: {error.name} is not installed; needs {needed}: pip install 'truerate[report]'"
        raise ReportError(told) from error
    surroundings = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    surroundings.filters["slug"] = slug
    surroundings.filters["paired"] = lambda names: [(name, name) for name in names]
    surroundings.filters["brief"] = brief
    surroundings.filters["drawn"] = Markup  # for what this package has written itself: bars, formulas
    plotting = base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
    written = surroundings.get_template("page.html.j2").render(
        **content(inputs, front),
        style=Markup((HERE / "style.css").read_text("utf-8")),
        scripts=[Markup((HERE / name).read_text("utf-8")) for name in SCRIPTS],
        plotting=plotting,
    )
    if (size := len(written.encode("utf-8", "replace"))) > LARGEST:
        raise ReportError(
            f"report: {size} bytes; at most {LARGEST}: give fewer curves in atlas.jsonl or smaller figures"
        )
    return written


def content(inputs: Inputs, front: Path = FRONT) -> dict[str, Any]:
    """What the template shows."""
    from markupsafe import Markup

    claims = ledger.claims(inputs.ledger)
    pictures = studies.figures(front)
    curves = explorer.atlas(inputs.rows["atlas"])
    if not curves["curves"]:
        raise ReportError("atlas: no row of atlas.jsonl holds a curve; make them with python -m studies.atlas")
    names = [*studies.QUESTIONS, *sorted({*inputs.origins, *pictures} - {*studies.QUESTIONS, *studies.ELSEWHERE})]
    made = inputs.ledger.get("provenance")
    return {
        "claims": claims,
        "symbols": ledger.symbols(inputs.ledger),
        "marks": ledger.MARKS,
        "counts": ledger.counts(claims),
        "sources": [
            (p, f"{'no arXiv paper' if p == 'none' else f'arXiv {p}'} ({n})") for p, n in ledger.papers(claims).items()
        ],
        "rungs": list(dict.fromkeys(claim.rung for claim in claims)),
        "preset": inputs.ledger.get("preset"),
        "made": made if isinstance(made, dict) else {},
        "version": _version(),
        "studies": [_study(name, inputs, pictures, claims) for name in names],
        "figures": {figure.name: figure for own in pictures.values() for figure in own},
        "pictures": pictures,
        "audit": audit.audit(inputs.rows["sampler_audit"]),
        "costs": costs.costs(inputs.rows["benchmarks"]),
        "origins": inputs.origins,
        "days": _days(inputs.origins.values()),
        "atlas": curves,
        "atlas_json": Markup(embedded(curves)),
    }


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element."""
    told = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        told = told.replace(character, f"\\u{ord(character):04x}")
    return told


def _study(name: str, inputs: Inputs, pictures: dict[str, Any], claims: list[ledger.Claim]) -> dict[str, Any]:
    return {
        "name": name,
        "anchor": f"study-{slug(name)}",
        "title": studies.title(name),
        "question": studies.QUESTIONS[name][1] if name in studies.QUESTIONS else "",
        "figures": pictures.get(name, []),
        "origin": inputs.origins.get(name),
        "claims": [claim for claim in claims if claim.study == name],
    }


def _days(origins: Iterable[Origin]) -> tuple[str, str]:
    """First and last day on which a row was made."""
    days = sorted(day for origin in origins for day in (origin.first, origin.last) if day)
    return (days[0], days[-1]) if days else ("", "")


def _version() -> str:
    try:
        return version("truerate")
    except PackageNotFoundError:
        return ""

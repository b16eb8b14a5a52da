"""The audit's rows as tables on the terminal, and as docs/audit.md."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from studies.audit_measures import verdict
from studies.audit_remarks import remark
from studies.store import Row, read_rows
from studies.study import console
from targets import ArgumentError
from verify.provenance import ROOT, provenance

DOCS = ROOT / "docs" / "audit.md"
BUDGET = 32
"""Denoiser evaluations of the KL column."""

MARKS = {
    "conforms": ("✓", "green"),
    "below declared order": ("✗", "red"),
    "differs": ("✗", "red"),
    "undecided": ("?", "yellow"),
    "no order declared": ("·", "default"),
    "fails": ("✗", "red"),
    "not testable": ("○", "cyan"),
}


@dataclass(frozen=True)
class Line:
    """One configuration: what was declared, what was measured."""

    library: str
    label: str
    verdict: str
    why: str
    declared: str
    source: str
    order: str
    overall: str
    kl: str
    agreement: str
    rounding: str


def lines(rows: list[Row]) -> list[Line]:
    """One line a configuration, in the order of the rows."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["part"] == "order":
            grouped.setdefault((row["library"], row["label"]), []).append(row)
    return [_line(library, label, mine) for (library, label), mine in grouped.items()]


def _line(library: str, label: str, rows: list[Row]) -> Line:
    verdict = next(row for row in rows if row["quantity"] == "verdict")
    declared = verdict["declared"]
    kept = [row for row in rows if row["quantity"] == "kl" and row["evaluations"] <= BUDGET]
    return Line(
        library,
        label,
        verdict["verdict"],
        verdict["method"],
        "–" if declared is None else f"{declared:g}",
        verdict["source"] or "",
        _worst(rows, "eased", interval=True),
        _worst(rows, "uniform", interval=False),
        f"{kept[-1]['value']:.1e} at {kept[-1]['evaluations']}" if kept else "–",
        _largest(rows, "agreement"),
        _largest(rows, "rounding"),
    )


def _worst(rows: list[Row], grid: str, *, interval: bool) -> str:
    """The lowest order over the laws."""
    found = [row for row in rows if row["quantity"] == "order" and row["grid"] == grid]
    if not found:
        return "–"
    worst = min(found, key=lambda row: row["value"])
    return f"{worst['value']:.2f}" + (f" [{worst['low']:.2f}, {worst['high']:.2f}]" if interval else "")


def _largest(rows: list[Row], quantity: str) -> str:
    found = [row["value"] for row in rows if row["quantity"] == quantity]
    return f"{max(found):.0e}" if found else "–"


def report(rows: list[Row], versions: dict[str, str | None]) -> None:
    """Tables of orders, failures and what cannot be tested."""
    measured = lines(rows)
    for library in dict.fromkeys(row["library"] for row in rows):
        console.print(f"\n[bold]{library}[/bold] {versions[library]}")
        mine = [line for line in measured if line.library == library]
        if mine:
            console.print(_table(mine))
    failures = [row for row in rows if row["quantity"] == "failure"]
    if failures:
        console.print(
            "\n[bold]failures as shipped[/bold], each at the smallest configuration that shows it; seen in so many runs"
        )
        console.print(_failures(failures))
        if len({row["sampler"] for row in rows}) == 1:
            for row in failures:
                console.print(f"\n{row['kind']}: {row['method']}", markup=False)
                console.print(row["reproduction"], markup=False, soft_wrap=True)
    untestable = [row for row in rows if row["quantity"] == "untestable"]
    for row in untestable:
        console.print(f"not testable: {row['library']} {row['sampler']}: {row['method']}", markup=False, soft_wrap=True)
    missing = [library for library, version in versions.items() if version is None]
    for library in missing:
        console.print(f"not installed: {library} (pip install {library})")
    counts = Counter(line.verdict for line in measured)
    said = [", ".join(f"{counts[word]} {word}" for word in MARKS if counts[word])] if counts else []
    said += [f"as shipped {len(failures)} ways to fail", f"not driven {len(untestable)}"]
    console.print(f"\n{'; '.join(said)}")


def _table(measured: list[Line]) -> Table:
    sheet = Table(box=box.SIMPLE_HEAD, show_edge=False)
    sheet.add_column("sampler", overflow="fold", ratio=1)
    sheet.add_column("verdict", no_wrap=True)
    for name in ("declared", "order", "with start-up", f"KL ({BUDGET} evaluations)", "to our table", "rounding"):
        sheet.add_column(name, justify="right")
    for line in measured:
        mark, colour = MARKS[line.verdict]
        cells = (line.declared, line.order, line.overall, line.kl, line.agreement, line.rounding)
        sheet.add_row(line.label, Text(f"{mark} {line.verdict}", style=colour), *cells)
        if line.verdict in ("fails", "not testable", "below declared order", "undecided"):
            sheet.add_row(Text(f"  {line.why}", style="dim"))
    return sheet


def _failures(rows: list[Row]) -> Table:
    sheet = Table(box=box.SIMPLE_HEAD, show_edge=False)
    sheet.add_column("sampler")
    sheet.add_column("kind", no_wrap=True)
    sheet.add_column("smallest configuration", overflow="fold", ratio=1)
    sheet.add_column("K", justify="right")
    sheet.add_column("seen in", justify="right")
    for row in rows:
        inside = ", ".join(f"{key}={value!r}" for key, value in row["options"].items()) or "defaults"
        sheet.add_row(row["sampler"], row["kind"], inside, str(row["steps"]), f"{row['count']} of {row['runs']}")
    return sheet


def as_json(rows: list[Row], versions: dict[str, str | None]) -> dict[str, Any]:
    """Verdicts with the numbers behind them, failures, what is not testable, versions and what made them."""
    dropped = ("key", "row", "of", "study", "setting", "provenance", "part")
    plain = [{key: value for key, value in row.items() if key not in dropped} for row in rows]
    kinds = {"verdicts": "verdict", "failures": "failure", "not_testable": "untestable"}
    numbers = [row for row in plain if row["quantity"] not in (*kinds.values(), "swept")]
    found = {name: [row for row in plain if row["quantity"] == kind] for name, kind in kinds.items()}
    return {"versions": versions, "provenance": provenance(), **found, "numbers": numbers}


def rejudged(rows: list[Row]) -> list[Row]:
    """The rows of a full audit with their verdicts read off their numbers once more."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["part"] == "order" and row["quantity"] != "verdict":
            grouped.setdefault((row["library"], row["label"]), []).append(row)

    def judged(row: Row) -> Row:
        mine = grouped.get((row["library"], row["label"]), [])
        return {**row, **verdict(mine, row["declared"], stochastic=row["stochastic"], preset="full")}

    return [judged(row) if row["quantity"] == "verdict" else row for row in rows]


def write() -> None:
    """docs/audit.md, from the committed rows."""
    from figures.sampler_audit import COMMITTED

    rows = rejudged(read_rows(COMMITTED))
    if not rows:
        raise ArgumentError(f"docs = True: expected the rows of a full audit in {COMMITTED}")
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text(markdown(rows, {row["library"]: row["version"] for row in rows}), "utf-8")
    console.print(f"wrote {DOCS}")


def markdown(rows: list[Row], versions: dict[str, str | None]) -> str:
    """The whole page."""
    measured = lines(rows)
    named = ", ".join(f"{library} {version}" for library, version in versions.items() if version)
    code = next((row["provenance"]["code"] for row in rows if "provenance" in row), "unknown")
    parts = [HEAD.format(code=code, versions=named)]
    for library in dict.fromkeys(row["library"] for row in rows):
        parts.append(f"\n## {library} {versions[library]}\n")
        mine = [line for line in measured if line.library == library]
        if mine:
            parts.append(_markdown_table(mine))
            parts += _remarks(mine, versions[library])
        parts += _untested(rows, library) + _failing(rows, library)
    return "\n".join(parts) + "\n"


def _markdown_table(measured: list[Line]) -> str:
    head = ["sampler", "verdict", "declared", "order [interval]", "with start-up", f"KL, ≤ {BUDGET} evaluations"]
    head += ["to our table", "rounding"]
    body = [
        [f"`{one.label}`", one.verdict, one.declared, one.order, one.overall, one.kl, one.agreement, one.rounding]
        for one in measured
    ]
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)])


def _remarks(measured: list[Line], version: str | None) -> list[str]:
    """Every line that does not conform, with why, and what a look by hand found."""
    out = []
    for line in measured:
        if line.verdict in ("conforms", "no order declared"):
            continue
        said = remark(line.library, line.label, version)
        out.append(
            f"- `{line.label}`: {line.verdict}. {_plain(line.why)}. Source: {_plain(line.source) or 'none'}." + said
        )
    return ["\nLines that do not conform:\n", *out] if out else []


def _untested(rows: list[Row], library: str) -> list[str]:
    mine = [row for row in rows if row["quantity"] == "untestable" and row["library"] == library]
    return ["\nNot testable:\n", *(f"- `{row['sampler']}`: {_plain(row['method'])}" for row in mine)] if mine else []


def _failing(rows: list[Row], library: str) -> list[str]:
    mine: list[dict[str, Any]] = [row for row in rows if row["quantity"] == "failure" and row["library"] == library]
    swept = [row for row in rows if row["quantity"] == "swept" and row["library"] == library]
    runs = f"{sum(row['tried'] for row in swept)} of {sum(row['planned'] for row in swept)} configurations"
    arrays = f"{len(swept)} classes over pairwise covering arrays of their options ({runs})"
    met = [max(row["long"].values(), default=0.0) for row in swept if "long" in row]
    long = f"; at their largest K they met {sum(met) / len(met):.0%} of the options' values" if met else ""
    head = f"\nAs shipped, {arrays}{long}: {len(mine)} failures.\n"
    out = [head] if swept else []
    for row in mine:
        inside = ", ".join(f"{key}={value!r}" for key, value in row["options"].items()) or "defaults"
        seen = f"{row['count']} of {row['runs']} runs"
        out.append(
            f"- `{row['sampler']}`, {row['kind']}: {inside}, K = {row['steps']} ({seen}). {_plain(row['method'])}"
        )
        code = "".join(f"  {line}\n" for line in row["reproduction"].splitlines())
        out.append(f"\n  ```python\n{code}  ```\n")
    return out


def _plain(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


HEAD = """# Other libraries' samplers under an exact score

Made by `python -m studies.sampler_audit --docs` from the rows of `--preset full`, code {code}; do not edit by hand.
Versions: {versions}.

Every sampler is driven with the exact denoiser of a law that is known in closed form, in float64, on grids of our choosing,
so that every deviation is the sampler's.  *Order* is the lowest over the laws (a curved mixture on the line, an anisotropic
Gaussian, a mixture in 64 dimensions) of the order of its states' distance to the exact probability flow; for stochastic
samplers, p where the marginal KL on the Gaussian, known exactly, falls like K^(-2p).  It is measured on grids whose first
steps are short, so that a starter of lower order does not show; *with start-up* is the order on uniform grids, where it
does.  *To our table* is the largest distance to this project's table of the same method, relative to the states.
*Rounding* is the distance between the library's own precision and float64.

A line *conforms* if on every law the order is at least the declared one less 0.05, 0.1, 0.2, 0.3 for declared orders 1, 2, 3
and more, by an interval that reaches no more than half an order below or by the last two doublings of K; if on uniform grids
it is at least min(declared, 2), less the same; and if the states are those of our table, where there is one.
"""

"""From the findings of studies.learned_score to tables, refusals and one sentence each."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table

from studies.learned_findings import (
    AGREED,
    FEWEST,
    REACHED,
    Compared,
    Floor,
    Group,
    Growth,
    Memory,
    Pricing,
    Routes,
    chosen,
    doubt,
    estimate,
    floors,
    groups,
    growths,
    memories,
    pricings,
    ratio,
    routes,
)
from studies.store import Row
from studies.study import console
from targets import Estimate

ERRORS = "±: 4 standard errors and the bias"
IDENTITY = ("product",)
"""Laws whose mmse is d times that of one factor."""
PRICED = {"value": "the exact denoiser", "network": "the network itself"}


def report(rows: list[Row]) -> None:
    """Floors, schedules and marginals as tables; refusals; then the sentences."""
    found = floors(rows)
    for sheet in (_floors(found), _schedules(pricings(rows)), _marginals(rows)):
        if sheet.row_count:
            console.print(sheet)
    for text in refusals(rows):
        console.print(text, markup=False)
    console.print()
    for sentence in sentences(rows):
        console.print(sentence, markup=False)


def sentences(rows: list[Row]) -> list[str]:
    """Two routes, floors, growth, schedules, memory, marginals: what the rows say and no more."""
    found, both = floors(rows), routes(rows)
    return [
        *([_routes(both)] if both else []),
        *(_floor(each) for each in found),
        *(_growth(each, rows) for each in growths(found)),
        *(_pricing(each) for each in pricings(rows)),
        *(_memory(each) for each in _by_points(memories(rows))),
        *_marginal(rows),
    ]


def refusals(rows: list[Row]) -> list[str]:
    """What is not available, once for each law, part and method, with its first reason."""
    kept: dict[tuple[Group, str], list[Row]] = {}
    for row in chosen(rows, quantity="refused"):
        name = row.get("sampler", row.get("schedule", row["part"]))
        kept.setdefault(((row["family"], row["dim"]), name), []).append(row)
    out = []
    for (group, name), mine in kept.items():
        steps = ", ".join(str(row["steps"]) for row in mine if "steps" in row)
        at = f", K = {steps}" if steps else ""
        out.append(f"not available: {_name(group)}, {mine[0]['part']}, {name}{at}: {mine[0]['method']}")
    return out


def _routes(found: Routes) -> str:
    family, dim, steps = found.where
    answer = "agreed" if found.agreed else "NOT agreed"
    return (
        f"path KL of ddpm by its terms and by the losses alone: {found.comparisons} comparisons of {found.networks} networks "
        f"(those of one network share draws), largest difference {found.largest:.2f} standard errors "
        f"({_name((family, dim))}, K = {steps}): {answer} (below {AGREED:g})"
    )


def _floor(found: Floor) -> str:
    return (
        f"floor, {_name(found.group)}: {_shown(found.floor)} nats, {found.side} the {_shown(found.linear)} of the "
        f"linear denoiser that training starts from ({_pair(found.ratio)} of it)"
    )


def _growth(found: Growth, rows: list[Row]) -> str:
    runs = [chosen(rows, (found.family, dim), quantity="run") for dim in found.dims]
    trained = [f"{run[0]['steps']} steps of {run[0]['batch']}" for run in runs if run]
    if len(set(trained)) > 1:
        trained = [f"trained differently: {', '.join(trained)}"]
    else:
        trained = [f"both trained for {text}" for text in trained[:1]]
    identity = ["the mmse is d times one factor's, an identity; the network's error is not"]
    notes = [*trained, *(identity if found.family in IDENTITY else [])]
    low, high = found.dims
    return (
        f"growth, {found.family}, {found.what}, d = {low:,} to {high:,}: d^a, a = {_pair((found.exponent, found.doubt))}, "
        f"consistent {found.like} (one network each; {'; '.join(notes)})"
    )


def _pricing(found: Pricing) -> str:
    worst = found.worst
    text = (
        f"loss-adaptive grid, {_name(found.group)}, path KL of {PRICED[found.column]}, K >= {FEWEST}: largest "
        f"excess over the best grid {_excess(worst)} (K = {worst.steps}): {found.within}"
    )
    beaten, tied = (_named([each for each in found.others if each.side == side]) for side in ("above", "tied"))
    names = list(dict.fromkeys(each.other for each in found.others))
    if beaten:
        text += f"; beaten by {beaten}"
    if tied:
        text += f"; not told apart from {tied}"
    clear = [name for name in names if all(each.side == "below" for each in found.others if each.other == name)]
    if clear:
        text += f"; below {', '.join(clear)} at every K"
    return text


def _named(found: list[Compared]) -> str:
    """Each schedule with the K at which it is so and the ratio there."""
    parts = []
    for name in dict.fromkeys(each.other for each in found):
        mine = [f"K = {each.steps} (×{each.ratio:.3f})" for each in found if each.other == name]
        parts.append(f"{name} at {', '.join(mine)}")
    return "; ".join(parts)


def _excess(found: Compared) -> str:
    return f"{_pair((100.0 * (found.ratio - 1.0), 100.0 * found.doubt))} %"


def _memory(found: list[Memory]) -> str:
    """One law and n: where the network stands up to each level."""
    words = {"law": "nearer the law's", "points": "nearer the points'", "neither": "as near the one as the other"}
    places = [
        f"{_shown(each.share)} until {100.0 * each.left:g}% of the variance is left "
        f"({words[each.nearer]}, by {_shown(each.lead)})"
        for each in found
    ]
    return (
        f"memory, {_name(found[0].group)}, n = {found[0].points}: ½∫E‖·‖²dγ from the network to the law's denoiser, over "
        f"that between the law's and the points': {', '.join(places)}"
    )


def _by_points(found: list[Memory]) -> list[list[Memory]]:
    keys = dict.fromkeys((each.group, each.points) for each in found)
    return [[each for each in found if (each.group, each.points) == key] for key in keys]


def _marginal(rows: list[Row]) -> list[str]:
    out, kept = [], chosen(rows, quantity="kl", rung="marginal")
    for group in groups(kept):
        mine = chosen(kept, group)
        for sampler in dict.fromkeys(row["sampler"] for row in mine):
            each = [
                f"K = {row['steps']}: {_pair(ratio(estimate(row), estimate(row, 'exact')))}"
                for row in mine
                if row["sampler"] == sampler
            ]
            out.append(f"marginal KL, {_name(group)}, {sampler}, network over exact denoiser: {', '.join(each)}")
    return out


def _floors(found: list[Floor]) -> Table:
    sheet = Table(
        box=box.SIMPLE_HEAD,
        title=f"floor of the network, nats, and the steps K* to it ({ERRORS}; *: the limit of many steps)",
    )
    sheet.add_column("law", no_wrap=True)
    for column in ("floor", "linear", "ratio", *REACHED):
        sheet.add_column(column, justify="right")
    for each in found:
        steps = [_steps(each.reached[name]) if name in each.reached else "-" for name in REACHED]
        sheet.add_row(_name(each.group), _shown(each.floor), _shown(each.linear), _pair(each.ratio), *steps)
    return sheet


def _schedules(found: list[Pricing]) -> Table:
    sheet = Table(box=box.SIMPLE_HEAD, title=f"path KL of the loss-adaptive grid over that of the best grid ({ERRORS})")
    steps = sorted({each.steps for pricing in found for each in pricing.best})
    sheet.add_column("law", no_wrap=True)
    sheet.add_column("priced by")
    for count in steps:
        sheet.add_column(f"K={count}", justify="right")
    for pricing in found:
        known = {each.steps: _pair((each.ratio, each.doubt)) for each in pricing.best}
        sheet.add_row(
            _name(pricing.group), PRICED[pricing.column].split()[1], *(known.get(count, "-") for count in steps)
        )
    return sheet


def _marginals(rows: list[Row]) -> Table:
    sheet = Table(box=box.SIMPLE_HEAD, title=f"marginal KL, nats ({ERRORS})")
    for column in ("law", "sampler", "up to log snr", "K", "network", "exact denoiser"):
        sheet.add_column(column, justify="left" if column in ("law", "sampler") else "right")
    for row in chosen(rows, quantity="kl", rung="marginal"):
        stop = f"{row['stop']:.3g}" if "stop" in row else "-"
        law = _name((row["family"], row["dim"]))
        sheet.add_row(
            law, row["sampler"], stop, str(row["steps"]), _shown(estimate(row)), _shown(estimate(row, "exact"))
        )
    return sheet


def _name(group: Group) -> str:
    return f"{group[0]}, d = {group[1]:,}"


def _shown(found: Estimate) -> str:
    return _pair((float(found.value), doubt(found)))


def _steps(found: Estimate) -> str:
    """K*, marked where it is the limit of many steps."""
    return _shown(found) + ("*" if found.method == "limit" else "")


def _pair(found: tuple[float, float]) -> str:
    """A number and its error, to the error's second digit."""
    value, error = found
    if not 1e-4 * abs(value) < error:
        return f"{value:.5g} ±{error:.1g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ±{error:.{digits}f}"

"""The report without a browser: numbers, formulas, claims, audit, benchmarks, curves and figures from rows."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import report_inputs as inputs
from report_pages import EXTRA, Parsed, folder  # noqa: F401

from figures.load import rows as load_rows
from figures.report import audit, build, costs, explorer, formulas, ledger, numbers, studies
from figures.report.data import ROWS, ReportError, origin

ROOT = Path(__file__).resolve().parent.parent


# ---- numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [{}, {"symbols": None}, {"symbols": ["K"]}, {"symbols": {}}])
def test_a_ledger_without_symbols_shows_none(document):
    assert ledger.symbols(document) == []


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (1.008123, 0.034, "1.008 ± 0.034"),
        (1.008123, 0.0, "1.0081"),
        (0.99613168, 1.05e-13, "0.99613 ± 1 × 10⁻¹³"),
        (-0.25, 0.013, "−0.250 ± 0.013"),
        (1.234e-7, 4.2e-9, "(1.234 ± 0.042) × 10⁻⁷"),
        (3.2e-300, 1e-301, "(3.20 ± 0.10) × 10⁻³⁰⁰"),
        (362112.3, 3e-6, "3.6211 × 10⁵ ± 3 × 10⁻⁶"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (0.0, 0.0, "0"),
        (12.3, 45.6, "12 ± 46"),
        (5.0, 0.0996, "5.00 ± 0.10"),
        (5e-324, 5e-324, "(4.9 ± 4.9) × 10⁻³²⁴"),
    ],
)
def test_a_value_is_shown_to_the_place_of_its_error(value, error, shown):
    assert numbers.measured(value, error) == shown


def test_intervals_in_words():
    shown = [numbers.allowed(*edges) for edges in ((0.95, 1.05), (None, 1.1), (2.0, None), (-1e-7, 1e6))]
    assert shown == ["0.95 to 1.05", "≤ 1.1", "≥ 2", "−1 × 10⁻⁷ to 1 × 10⁶"]


def places(drawn):
    band, whisker = re.findall(r'd="([^"]*)"', drawn)
    ((left, right),) = re.findall(r"^M([\d.]+) 2H([\d.]+)V12H[\d.]+z$", band)
    ((low, high),) = re.findall(r"^M([\d.]+) 7H([\d.]+)$", whisker)
    (dot,) = re.findall(r'cx="([\d.]+)"', drawn)
    return tuple(map(float, (left, right, low, dot, high)))


def test_a_bar_puts_every_interval_at_one_place():
    assert places(numbers.bar(1.0, 0.05, 0.9, 1.1)) == (32.0, 64.0, 40.0, 48.0, 56.0)
    assert places(numbers.bar(1.1, 0.0, 0.9, 1.1))[3] == 64.0  # on the edge
    assert places(numbers.bar(2.0, 0.0, 0.9, 1.1))[3] == 80.0  # ten half-widths from the centre: one more unit
    assert places(numbers.bar(-1e300, 0.0, 0.9, 1.1))[3] == 3.0
    left, right, *_, high = places(numbers.bar(1.0, 0.5, None, 2.0))
    assert (left, right, high) == (0.0, 48.0, 44.0)  # (1.5 − 2)/2 of a unit left of the bound
    left, right, low, *_ = places(numbers.bar(3.0, 0.0, 2.0, None))
    assert (left, right, low) == (48.0, 96.0, 56.0)
    assert places(numbers.bar(0.0, 0.1, 0.0, 0.0)) == pytest.approx((47.0, 49.0, 46.4, 48.0, 49.6), abs=0.05)


# ---- formulas --------------------------------------------------------------------------------------------


def test_a_formula_becomes_mathml():
    pytest.importorskip("latex2mathml", reason=EXTRA)
    told = formulas.mathml(r"\mathrm{KL} \le \tfrac12 \int_0^\infty e^{-x} dx < \sqrt{2}")
    assert told is not None
    assert told.startswith('<math display="block">')
    assert told.endswith("</math>")
    assert '<mi mathvariant="normal">KL</mi>' in told
    assert "<mo>&lt;</mo>" in told
    assert not Parsed(told).open
    assert (formulas.mathml(r"\lVert X \rVert^2") or "").count('<mo stretchy="false">‖</mo>') == 2


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{</script><img src=x onerror=alert(1)>}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(https://x)}{x}",
        r"\class{a}{x} <script>alert(1)</script> & y",
        r"\color{red\" onload=\"alert(1)}{x}",
        inputs.HOSTILE,
        r"\mathrm{&lt;script&gt;}",
    ],
)
def test_a_hostile_formula_is_text_or_nothing(latex):
    pytest.importorskip("latex2mathml", reason=EXTRA)
    told = formulas.mathml(latex)
    if told is not None:
        found = Parsed(told)
        assert {tag for tag, _ in found.tags} <= formulas.ELEMENTS
        for _, attributes in found.tags:
            assert attributes.keys() <= formulas.ATTRIBUTES
            assert all(formulas.PLAIN.fullmatch(value) for value in attributes.values())


@pytest.mark.parametrize("latex", ["", "  ", r"\frac{", "x" * 3000, "{" * 1500])
def test_what_is_no_formula_gives_none(latex):
    pytest.importorskip("latex2mathml", reason=EXTRA)
    assert formulas.mathml(latex) is None


# ---- ledger ----------------------------------------------------------------------------------------------


def test_claims_are_read_with_their_rows_worst_first():
    found = {claim.id: claim for claim in ledger.claims(inputs.ledger())}
    beta = found["beta/rate"]
    assert [line.status for line in beta.own.lines] == ["refuted", "undecided", "supported"]
    assert beta.own.counts == {"refuted": 1, "undecided": 1, "supported": 1}
    assert beta.own.lines[0].shown == "1.300 ± 0.042"  # four standard errors plus bias
    assert beta.papers == ("2508.16306",)
    assert beta.contrast is not None
    assert beta.contrast.leaning == "supported"
    assert found["delta/several"].papers == ("none",)
    assert found["gamma/question"].own.leaning == "supported"
    assert found["alpha/equality"].figures == ("step_scaling",)
    assert ledger.counts(list(found.values())) == {"supported": 2, "refuted": 1, "undecided": 1, "open": 1}
    assert ledger.papers(list(found.values())) == {"2601.21943": 3, "2508.16306": 1, "none": 1}


def test_anchors_of_like_names_differ():
    found = ledger.claims({"claims": [inputs.claim(name) for name in ("a/b", "A b", "a-b", "é", "ß")]})
    assert [claim.anchor for claim in found] == ["claim-a-b", "claim-a-b-2", "claim-a-b-3", "claim-x", "claim-x-2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": None}, r"claims\[0\]: TypeError"),
        ({"tolerance": "0.1"}, r"claims\[0\]: ValueError: '0.1' is no finite number"),
        ({"verdict": inputs.part(inputs.row(status="maybe"))}, "'maybe' is none of"),
        ({"verdict": inputs.part(inputs.row(math.inf))}, "inf is no finite number"),
        ({"control": {"what": "x"}}, "KeyError"),
    ],
)
def test_a_ledger_of_another_form_is_refused(change, said):
    with pytest.raises(ReportError, match=said):
        ledger.claims({"claims": [{**inputs.claim("a"), **change}]})


# ---- audit, benchmarks, curves -----------------------------------------------------------------------------


def test_the_audit_shows_the_lowest_order_and_the_last_kl_within_the_budget():
    told = audit.audit(inputs.audit())
    first, second = told.lines
    assert (first.order, first.overall, first.interval) == (0.99, 0.89, "0.96 to 1.02")
    assert (second.order, second.declared, second.mark, second.tone) == (1.2, 2.0, "✗", "refuted")
    assert (second.kl, second.evaluations) == (1 / 32**2, 32)
    assert told.counts == {"conforms": 1, "below declared order": 1}
    assert (told.classes, told.tried, told.planned) == (1, 30, 36)
    assert (told.failures[0].options, told.failures[0].seen) == ("clip=True", "2 of 36")
    assert told.untestable == [("diffusers", "Tokens", "its states are tokens")]


def test_the_audit_says_what_the_committed_page_says():
    path, page = ROWS / "sampler_audit.jsonl", ROOT / "docs" / "audit.md"
    told = audit.audit(list(load_rows(path)))
    pattern = r"^\| `(.+)` \| ([a-z ]+) \| (\S+) \| (\S+).*? \| (\S+) \|"
    shown = Counter(re.findall(pattern, page.read_text("utf-8"), re.M))

    def decimal(value):
        return "–" if value is None else f"{value:.2f}"

    found = Counter(
        (x.label, x.verdict, "–" if x.declared is None else f"{x.declared:g}", decimal(x.order), decimal(x.overall))
        for x in told.lines
    )
    assert found == shown
    assert len(found) > 100


def test_benchmarks_say_what_passes_its_limit():
    told = costs.costs(inputs.benchmarks())
    assert [(cost.name, cost.shown, cost.over) for cost in told] == [
        ("a denoiser[1]", "1.10", False),
        ("start", "2.50", True),
        ("path", "1.14", False),
        ("time", "1.7 × 10⁻⁴ s", False),
    ]
    assert told[2].sizes == "256, 1024"


def test_curves_come_back_from_their_compact_form():
    rows = inputs.atlas()
    told = explorer.atlas(rows)
    found = {}
    for target, sampler, schedule, rung, steps, evaluations, values, errors in told["curves"]:
        key = (
            told["targets"][target]["id"],
            told["samplers"][sampler],
            told["schedules"][schedule],
            told["rungs"][rung],
        )
        found[key] = told["steps"][steps], told["evaluations"][evaluations], values, errors
    named = {"none": "marginal", "reverse SDE": "path (reverse SDE)"}
    wanted = [row for row in rows if row["quantity"] == "kl"]
    assert len(found) == len(wanted) == len(told["curves"])
    for row in wanted:
        at, asked, values, errors = found[row["family"], row["sampler"], row["schedule"], named[row["reference"]]]
        assert (list(at), list(asked)) == (row["steps"], row["evaluations"])
        assert values == pytest.approx(row["value"], rel=5e-5)
        assert errors == pytest.approx(
            [4 * s + abs(b) for s, b in zip(row["stderr"], row["bias"], strict=True)], rel=0.05
        )
    reasons = {tuple(place): told["reasons"][reason] for *place, reason in told["refused"]}
    assert len(reasons) == 8
    assert set(reasons.values()) == {"path KL: singular to the reverse SDE's"}


@pytest.mark.parametrize(
    "change",
    [
        {"value": [1.0]},
        {"value": None},
        {"steps": [0] * 5},
        {"stderr": ["0"] * 5},
        {"value": [math.nan] * 5},
        {"value": [10**400] * 5},
    ],
)
def test_a_row_without_whole_points_is_no_curve(change):
    told = explorer.atlas([{**inputs.atlas()[0], **change}])
    assert not told["curves"]
    assert len(told["refused"]) == 1


def test_rows_of_another_form_are_passed_over():
    told = explorer.atlas(
        [{}, {"family": 3}, {"family": "a", "rung": "b", "schedule": None}, {**inputs.atlas()[0], "sampler": 7}]
    )
    assert not told["curves"]
    assert not told["refused"]


def test_json_for_a_script_cannot_end_it():
    value = {"a": [inputs.HOSTILE, 1.5, None], inputs.HOSTILE: True}
    told = build.embedded(value)
    assert not set("<>&\u2028\u2029") & set(told)
    assert json.loads(told) == value


def test_origins_tell_every_maker_once():
    rows = [{"provenance": {**inputs.MADE, "time": day}} for day in ("2026-02-03T00:00:00Z", "2026-01-02", "soon", 7)]
    found = origin("toy", [*rows, {"provenance": "none"}, {}])
    assert (found.count, found.commits, found.first, found.last) == (6, ("0123456789ab",), "2026-01-02", "2026-02-03")
    assert found.commands == ("python -m studies.toy",)


def test_large_figures_are_shown_as_their_png(folder):  # noqa: F811
    found = studies.figures(folder / "front")
    small, large = found["step_scaling"][0], found["schedules"][0]
    assert (small.file, small.width, small.height) == ("step_scaling.svg", 96, 48)
    assert small.origin == "python -m studies.step_scaling @ 0123456789ab"
    assert large.file == "schedules.png"
    assert large.address.startswith("data:image/png;base64,iVBOR")
    assert len(large.address) < 1000

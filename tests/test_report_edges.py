"""The report at its edges: marks, orders, limits, hostile formulas, rows that are missing or too many."""

import math
from xml.etree.ElementTree import fromstring

import pytest
import report_inputs as inputs
from report_pages import EXTRA, Parsed, folder  # noqa: F401
from test_report_data import places

from figures.report import audit, costs, data, explorer, formulas, ledger, numbers, studies
from figures.report.data import origin


@pytest.mark.parametrize(
    ("verdict", "mark", "tone"),
    [
        ("fails", "✗", "refuted"),
        ("below declared order", "✗", "refuted"),
        ("differs", "✗", "refuted"),
        ("undecided", "?", "undecided"),
        ("not testable", "○", "open"),
        ("no order declared", "·", "quiet"),
        ("conforms", "✓", "supported"),
        ("a word of later", "?", "undecided"),
    ],
)
def test_every_verdict_of_the_audit_has_its_mark_and_is_counted(verdict, mark, tone):
    row = {"part": "order", "library": "a", "label": "b", "quantity": "verdict", "verdict": verdict}
    told = audit.audit([row])
    assert [(line.mark, line.tone) for line in told.lines] == [(mark, tone)]
    assert told.counts == {verdict: 1}


def test_the_audit_counts_conforming_ones_first_and_names_versions_and_defaults():
    rows = [{**row, "options": {}} if row.get("quantity") == "failure" else row for row in inputs.audit()]
    told = audit.audit(rows)
    assert list(told.counts) == ["conforms", "below declared order"]
    assert told.versions == {"azula": "1.0", "diffusers": "1.0"}
    assert told.failures[0].options == "defaults"


def test_a_ratio_at_its_limit_has_reached_it():
    (cost,) = costs.costs([{"quantity": "ratio", "name": "x", "ratio": 1.5, "limit": 1.5}])
    assert not cost.over


def test_what_is_a_number_and_what_an_anchor():
    assert [data.number(value) for value in (True, "1", None, math.nan, 10**400, 2)] == [None] * 5 + [2.0]
    assert (data.slug("a" * 61), data.slug(" A_b! "), data.slug("é")) == ("a" * 60, "a-b", "x")


def test_codes_and_versions_of_torch_are_not_confused():
    found = origin("toy", [{"provenance": inputs.MADE}])
    assert (found.codes, found.torch) == (("feedfacecafe",), ("2.13.0",))


def test_points_of_a_curve_rise_and_its_law_is_named():
    """Whatever the order of the row; where a row names its target, that is the law's id and the family its name."""
    row = inputs.atlas()[0]
    turned = {name: row[name][::-1] for name in explorer.COLUMNS}
    told = explorer.atlas([{**row, **turned, "target": "CurvedMixture()"}])
    assert told["targets"] == [{"id": "CurvedMixture()", "name": "curved mixture", "dim": 1}]
    assert told["steps"] == [tuple(row["steps"])]
    assert told["curves"][0][6] == pytest.approx(row["value"], rel=5e-5)


def test_only_listed_elements_are_written_and_all_text_is_escaped():
    """Of a tree as no converter should make it."""
    tree = fromstring('<math><menclose width="1"><mi width="1&lt;" depth="2">a</mi>&lt;b&gt;</menclose></math>')
    assert "".join(formulas._written(tree)) == '<math><mi depth="2">a</mi>&lt;b&gt;</math>'


def test_upright_letters_are_joined_to_upright_ones_only():
    upright = '<mi mathvariant="normal">{}</mi>'
    tree = fromstring(f"<math><mi>x</mi>{upright.format('K')}{upright.format('L')}<mi>y</mi></math>")
    assert "".join(formulas._written(tree)) == f"<math><mi>x</mi>{upright.format('KL')}<mi>y</mi></math>"


def test_a_claim_keeps_each_field_in_its_place():
    """Rows of one verdict come with the least margin first; papers with the most claims first."""
    rows = [inputs.row(margin=margin, window=f"margin {margin}") for margin in (0.7, 0.2, 0.5)]
    entry = inputs.claim("a/b", verdict=inputs.part(*rows), fault="its control passes", expected="refuted")
    (claim,) = ledger.claims({"claims": [entry]})
    assert [line.window for line in claim.own.lines] == ["margin 0.2", "margin 0.5", "margin 0.7"]
    assert [line.margin for line in claim.own.lines] == ["0.2", "0.5", "0.7"]
    assert {line.allowed for line in claim.own.lines} == {"0.9 to 1.1"}
    assert (claim.fault, claim.expected) == ("its control passes", "refuted")
    assert (claim.rung, claim.reference, claim.window) == ("path", "reverse SDE", "K = 8")
    assert (claim.predicted, claim.tolerance, claim.study) == ("equality", 0.1, "step_scaling")
    assert (claim.control.what, claim.control.leaning) == ("noise 10% too small", "refuted")
    found = ledger.claims(inputs.ledger())
    assert list(ledger.papers(found).items()) == [("2601.21943", 3), ("2508.16306", 1), ("none", 1)]
    beta = next(claim for claim in found if claim.id == "beta/rate")
    assert beta.contrast is not None
    assert (beta.contrast.what, beta.status) == ("the other step", "refuted")
    gamma = next(claim for claim in found if claim.id == "gamma/question")
    assert (gamma.status, gamma.own.leaning) == ("open", "supported")


def test_numbers_at_the_ends_of_their_ranges():
    assert [numbers.plain(value, 2) for value in (0.0012, 0.00099, 99999.0, 12345.0)] == [
        "0.0012",
        "9.9 × 10⁻⁴",
        "1 × 10⁵",
        "12345",
    ]
    assert numbers.measured(123456.0, 100.0) == "(1.2346 ± 0.0010) × 10⁵"
    assert numbers.measured(1.0, 1e-3) == "1.0000 ± 0.0010"
    assert numbers.measured(1.0, 1e-4) == "1.0000 ± 1 × 10⁻⁴"
    assert places(numbers.bar(10.0, 0.0, 5.0, 5.0))[3] == 64.0  # no interval: its own size is the unit


def test_figures_belong_to_the_study_whose_name_theirs_begins_with(tmp_path):
    """The first has the study's caption; a large SVG without a PNG is shown as it stands; origins are read as XML."""
    head = '<svg viewBox="0 0 72 36"><dc:description>python -m x &amp;&amp; y &lt;z&gt; @ 0123</dc:description>'
    for name in ("step_scaling", "step_scaling_all", "step_scalings", "sampler_audit"):
        (tmp_path / f"{name}.svg").write_text(f"{head}</svg>", "utf-8")
    (tmp_path / "schedules.svg").write_text(f"{head}<!--{'x' * 300_000}--></svg>", "utf-8")
    found = studies.figures(tmp_path)
    assert {study: [figure.name for figure in own] for study, own in found.items()} == {
        "sampler_audit": ["sampler_audit"],
        "schedules": ["schedules"],
        "step_scaling": ["step_scaling", "step_scaling_all"],
        "step_scalings": ["step_scalings"],
    }
    captions = [figure.caption for own in found.values() for figure in own]
    told = studies.QUESTIONS
    assert captions == [
        studies.ELSEWHERE["sampler_audit"],
        told["schedules"][2],
        told["step_scaling"][2],
        "",
        "",
    ]
    assert {figure.origin for own in found.values() for figure in own} == {"python -m x && y <z> @ 0123"}
    assert found["schedules"][0].file == "schedules.svg"
    assert found["schedules"][0].address.startswith("data:image/svg+xml;base64,")

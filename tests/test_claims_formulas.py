"""The formulas of claims: LaTeX that converts, of symbols in the table of notation.py, with rung and numbers of the claim."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from latex2mathml.converter import convert

from targets import ArgumentError
from verify.claims import denoiser_entropy, report
from verify.claims.claim import Claim
from verify.claims.ledger import CLAIMS, evaluate
from verify.claims.notation import READING, SYMBOLS

WRITING = set(
    r"\frac \sqrt \left \right \lVert \rVert \lvert \rvert \lbrace \rbrace \quad \qquad \text \mathrm{d} \sum \prod \int \lim"
    r" \max \min \log \sin \tan \cos \partial \infty \to \le \ge \ne \approx \dots \top".split()
)
"""Commands that say how symbols are put together."""

BOUND = set("ijkeF")
"""Indices, Euler's number, and the index of Frobenius's norm."""

CHILDREN = {"mfrac": 2, "msup": 2, "msub": 2, "mover": 2, "munder": 2, "msubsup": 3, "munderover": 3}

ALL = [*(claim.formula for claim in CLAIMS.values()), *(latex for latex, _ in SYMBOLS)]


def faults(latex: str) -> list[str]:
    """What is wrong with a formula, nothing if it can be read by every renderer."""
    found = []
    depths = np.cumsum([0] + [1 if brace == "{" else -1 for brace in re.findall(r"[{}]", latex)])
    if depths.min() < 0 or depths[-1]:
        found.append("braces do not balance")
    sides = np.cumsum([0] + [1 if side == "left" else -1 for side in re.findall(r"\\(left|right)(?![a-z])", latex)])
    if sides.min() < 0 or sides[-1]:
        found.append("left without right")
    if re.search(r"\\(?![A-Za-z])|[$<>|&#%~*\n]|[^\x20-\x7e]|\^\^|__", latex):
        found.append("a character that Markdown or a renderer takes for something else")
    try:
        tree = ElementTree.fromstring(convert(latex))
    except Exception as error:
        return [*found, f"does not convert: {type(error).__name__}"]
    for node in tree.iter():
        kind = node.tag.split("}")[1]
        if "\\" in (node.text or ""):
            found.append(f"a command that is not known: {node.text}")
        if len(node) != CHILDREN.get(kind, len(node)):
            found.append(f"{kind} of {len(node)} parts")
    return found


def tokens(latex: str) -> set[str]:
    """Commands, upright words as wholes, and letters; running text left out."""
    latex = re.sub(r"\\text\{[^{}]*\}", r"\\text ", latex)
    return set(re.findall(r"\\(?:mathrm|mathbb)\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]", latex))


@pytest.mark.parametrize("latex", ALL)
def test_every_formula_and_symbol_converts_with_nothing_left_over(latex):
    assert faults(latex) == []


@pytest.mark.parametrize(
    ("latex", "words"),
    [
        (r"\frac{1}{2", "braces do not balance"),
        (r"a_{k}}", "braces do not balance"),
        (r"\left(a", "left without right"),
        (r"a \right) \left( b", "left without right"),
        (r"\foo x", "not known"),
        (r"\frac{1}", "mfrac of 1 parts"),
        (r"a_", "does not convert"),
        (r"\lVert a\,b\rVert", "takes for something else"),
        (r"a < b", "takes for something else"),
        (r"|a|", "takes for something else"),
        ("γ", "takes for something else"),
        ("a\nb", "takes for something else"),
    ],
)
def test_broken_formulas_are_seen(latex, words):
    assert any(words in fault for fault in faults(latex))


def test_formulas_use_the_symbols_of_the_table_and_no_others():
    known = set().union(*(tokens(latex) for latex, _ in SYMBOLS)) | WRITING | BOUND
    for claim in CLAIMS.values():
        assert tokens(claim.formula) <= known, claim.id
    assert not tokens(r"\mathrm{KL}_{\mathrm{chian}}") <= known
    assert not tokens(r"\zeta") <= known


def test_every_symbol_of_the_table_is_used_and_named_once():
    used = set().union(*(tokens(claim.formula) for claim in CLAIMS.values()))
    for latex, meaning in SYMBOLS:
        head = tokens(latex.split(" =")[0]) - WRITING
        assert head <= used, latex
        assert meaning, latex
    heads = [latex.split(" =")[0] for latex, _ in SYMBOLS]
    assert len(heads) == len(set(heads))


def test_no_two_claims_have_one_formula():
    assert len({claim.formula for claim in CLAIMS.values()}) == len(CLAIMS)


KINDS = {"path": {"path"}, "marginal": {"marg"}, "curve": set()}
REFERENCES = {"reverse chain": {"chain", "rev"}, "flow+noise": {"chain", "f+n"}}


def test_a_formula_has_the_rung_and_reference_of_its_claim():
    for claim in CLAIMS.values():
        upright = set(re.findall(r"\\mathrm\{([^{}]*)\}", claim.formula))
        kinds = upright & {"path", "chain", "marg", "rev", "f+n", "local"}
        if claim.rung == "chain":
            assert kinds == REFERENCES[claim.reference.split(",")[0]], claim.id
        elif claim.rung in KINDS:
            assert kinds == KINDS[claim.rung], claim.id
            assert ("KL" in upright) == (claim.rung != "curve"), claim.id


def test_numbers_that_a_tolerance_decides_agree_with_it():
    for name, claim in CLAIMS.items():
        if "/improves-" in name:
            assert claim.formula.endswith(r"\le -\frac{1}{2}")
            assert claim.tolerance == 0.5
        if name.startswith("open/below"):
            assert rf"\le {1.0 - claim.tolerance:g}, " in claim.formula
    assert rf"\ge {1.0 + CLAIMS['gaussian/three-optima'].tolerance:g} Q_i" in CLAIMS["gaussian/three-optima"].formula


def test_exponents_are_those_that_are_predicted():
    for name in ("jain-zhang/slope-K", "jain-zhang/slope-K-marginal", "jain-zhang/slope-K-reverse"):
        order = re.fullmatch("slope −(.) in K", CLAIMS[name].predicted)
        assert order is not None
        assert CLAIMS[name].formula.endswith(rf"{{\partial\log K}} = -{order[1]}")
    for name in ("denoiser/exponent-half", "denoiser/exponent-one", "denoiser/exponent-two"):
        order = re.match("exponent (.*) in H,", CLAIMS[name].predicted)
        assert order is not None
        assert CLAIMS[name].formula.endswith(f" = {order[1]}")


@pytest.mark.parametrize(
    ("name", "words", "part"),
    [
        ("denoiser/joint-exponents", "exponents −1 in K, 0 in d, 1 in H", r"\log K} = -1, "),
        ("denoiser/joint-exponents", "exponents −1 in K, 0 in d, 1 in H", r"\log d} = 0, "),
        ("denoiser/joint-exponents", "exponents −1 in K, 0 in d, 1 in H", r"\log H} = 1"),
        ("denoiser/score-pays-dimension", "exponent 1 in d", r"\log d} = 1 "),
        ("denoiser/rare-bit-growth", "growth by √2 when log 1/p doubles", r"\frac{Q(p^2)}{Q(p)} = \sqrt{2}"),
        ("jain-zhang/slope-c", "slope 3 in c", r"\log c} = 3, "),
        ("jain-zhang/slope-d", "every local exponent of d ≤ 2", r"(\mathrm{JZ})}{\partial\log d} \le 2"),
        ("jain-zhang/local-error", "slopes −3, −2, −2 in 1/h", r"\log h} = 3, "),
        ("jain-zhang/local-error", "slopes −3, −2, −2 in 1/h", r"\log h} = 2 "),
        ("jain-zhang/marginal-without-noise", "slope −2 in K at every overshoot", r"\log K} = -2, "),
        ("jain-zhang/noise-gives-rate", "slope −1 in K at overshoot 0", r"\log K} = -1, \qquad \rho = 0"),
        ("jain-zhang/noise-gives-reference", "slope 1 in 1/ρ", r"\log (1/\rho)} = 1"),
        (
            "jain-zhang/log-three-halves",
            "8 Δ(lim K²·KL/ℓ²)/Δℓ = n, checked where n = 1",
            r"8 \frac{Q(\delta') - Q(\delta)}",
        ),
        ("jain-zhang/log-three-halves-marginal", "8 Δ(lim K²·KL/ℓ²)/Δℓ = 1", r"8 \frac{Q(\delta') - Q(\delta)}"),
        ("intrinsic/denoiser-adapts", "exponent 0 in the ambient d", r"\log d} = 0"),
        ("intrinsic/score-pays", "exponent 1 in d", r"\log d} = 1, "),
    ],
)
def test_a_formula_predicts_what_the_words_predict(name, words, part):
    assert words in CLAIMS[name].predicted
    assert part in CLAIMS[name].formula


def test_constants_are_those_of_statements_and_checks():
    vulgar = {"½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "¼": r"\frac{1}{4}"}
    for name in ("jain-zhang/A.4-transcribed", "jain-zhang/A.4-z-score"):
        claim = CLAIMS[name]
        written = re.findall(r"([½⅓¼])H³∫", claim.statement)
        first = re.search(r"\\le (.*?) \(u_j - u_\{j\+2\}\)\^3 \\int", claim.formula)
        assert first is not None
        assert first[1] == vulgar[written[0]]
        assert all(vulgar[other] + r" \text{ in place of }" in claim.formula for other in written[1:])
    rarest, rarer = denoiser_entropy.RAREST
    assert rarer == 2 * rarest
    assert CLAIMS["denoiser/rare-bit-growth"].formula.endswith(f"p = 10^{{-{rarest}}}")


def made(**changes: object) -> Claim:
    fields = {**vars(CLAIMS["denoiser/i-mmse"]), **changes}
    return Claim(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("formula", ["", "  ", "$a$", "a $$ b"])
def test_a_claim_without_a_formula_is_refused(formula):
    with pytest.raises(ArgumentError, match=r"formula of denoiser/i-mmse.*without dollar signs"):
        made(formula=formula)


def test_the_formula_is_a_required_field():
    fields = dict(vars(CLAIMS["denoiser/i-mmse"]))
    del fields["formula"]
    with pytest.raises(TypeError, match="formula"):
        Claim(**fields)


def test_the_formula_is_in_both_forms_of_the_ledger():
    claim = CLAIMS["jain-zhang/A.9"]
    entry = evaluate(claim)
    document = report.as_json([entry], "quick")
    assert document["claims"][0]["formula"] == claim.formula
    assert document["symbols"] == dict(SYMBOLS)
    assert document["provenance"]["time"].endswith("Z")
    text = report.as_markdown([entry], "quick")
    assert f"> {claim.statement}\n\n$$\n{claim.formula}\n$$\n\n- **Verdict" in text
    table = text.split("## Symbols\n\n")[1].split("\n\n## ")[0]
    assert table.startswith(READING[0])
    assert [line.count(" | ") for line in table.splitlines() if line.startswith("| $")] == [1] * len(SYMBOLS)
    assert r"| $\gamma$ | signal-to-noise ratio" in table


def test_the_printed_formulas_are_those_of_the_claims(request):
    text = (request.config.rootpath / "docs" / "claims.md").read_text("utf-8")
    for claim in CLAIMS.values():
        assert f"> {claim.statement}\n\n$$\n{claim.formula}\n$$\n" in text, claim.id
    for latex, meaning in SYMBOLS:
        assert f"| ${latex}$ | {meaning} |" in text

"""docs/findings.md against the committed rows: every number of a table and of the prose is computed again."""

import math
import re

import findings
import pytest
from pages import DOCS, ROOT, text

TABLES = {
    "No constant times the squared entropy bounds K·KL": findings.entropy,
    "Rényi's entropy of order ½ loses by the root of a logarithm": findings.renyi,
    "One table, two slopes": findings.slopes,
    "Which rung pays the power 3/2 of log(1/δ), and which the first": findings.logarithms,
    "The marginal's K⁻² needs no noise step; its constant may": findings.noise,
    "S²/4 is reached, and a training loss is enough to reach it": findings.limits,
    "The best grid for the path is not the best for the marginal": findings.regret,
    "Which average of the score error decides": findings.averages,
    "What pays for dimension on one rung is the best on another": findings.dimension,
    "What a trained network leaves": findings.floors,
    "Samplers in use below their declared order, and failures in their options": findings.below,
}
GIVEN = {
    "What was measured": set(),
    "One table": {"256", "512", "4", "0.01"},
    "Which rung": {"4", "1e−4", "1e−5", "1e−7", "1e−8", "1e−2", "0.01", "3", "2", "1", "0"},
    "The marginal's": {"4", "0.01", "256", "2"},
    "S²/4 is": {"8", "128", "1", "10,000", "4", "256"},
    "The best grid": {"16"},
    "Which average": {"4", "0.01"},
    "An error": {"4", "0.01", "8"},
    "What pays": {"64", "4", "0.001", "10,000"},
    "What a trained": {"100", "10,000"},
    "A lemma": {"4", "2508.16306", "0", "25", "0.05"},
    "Rényi's": {"1e−24", "1e−48"},
}
"""Parameters of the settings, which are no results, by the first words of a finding."""


def sections() -> dict[str, str]:
    """Heading to body."""
    parts = re.split(r"^## (.+)$", text("findings.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(body: str) -> list[str]:
    """The lines of a section's table without its head."""
    return [line for line in body.splitlines() if line.startswith("|")][2:]


def claimed(claim: str) -> str:
    """The verdict's line of a claim in the ledger as it is written."""
    return next(line for line in text("claims.md").splitlines() if line.startswith(f"| [{claim}]"))


def measured() -> dict[str, set[str]]:
    """Numbers in prose that are results, by the first words of a finding."""
    steps, fails = findings.starred(), findings.failures()
    low, of, worst = findings.lowered()
    reached = [
        [cell.strip() for cell in line.strip("|").split("|")][4:6] for line in findings.floors() if "codebook" in line
    ]
    least, most = min(int(a) for a, _ in reached), max(int(b) for _, b in reached)
    slowest = f"{100 * max(float(row.split(' |')[2][1:]) - 1 for row in findings.limits()):.1f}"
    served = [float(row.split(" | ")[2]) for row in findings.regret()]
    growth = re.search(r"÷ √2 = ([\d.]+)", claimed("denoiser/rare-bit-growth"))
    transcribed = re.search(r"= ([\d.]+), allowed", claimed("jain-zhang/A.4-transcribed"))
    variant = re.search(r"= ([\d.]+), allowed", claimed("jain-zhang/A.4-z-score"))
    assert growth
    assert transcribed
    assert variant
    return {
        "No constant": set(findings.squares()),
        "Rényi's": {growth[1]},
        "Which rung": {f"{value:.0f}" for value in steps.values()},
        "S²/4 is": {f"{math.ceil(1e4 * findings.adaptive()) / 100:.2f}", slowest},
        "The best grid for": {f"{min(served):.1f}", f"{max(served):.1f}"},
        "An error": {str(low), str(of), f"{worst['square']:.4f}", f"{-worst['cross']:.4f}"},
        "What a trained": {str(least), str(most)},
        "Samplers in": {str(n) for n in (*fails.values(), len(list(findings.below())))},
        "A lemma": {f"{float(transcribed[1]):.1f}", variant[1]},
    }


@pytest.mark.parametrize("heading", TABLES)
def test_tables_are_what_the_rows_say(heading):
    assert table(sections()[heading]) == list(TABLES[heading]())


def test_no_table_is_left_out():
    assert {heading for heading, body in sections().items() if table(body)} == set(TABLES)


def prose(body: str) -> str:
    """What is said outside of tables, code, formulas, links and figures."""
    lines = [
        line for line in body.splitlines() if not line.startswith(("|", "!", "Again:")) and "](claims.md#" not in line
    ]
    return re.sub(r"`[^`]*`|\$[^$]*\$|\[([^\]]*)\]\([^)]*\)|R\^d|K⁻²|A\.4|e\^tx", " ", " ".join(lines))


@pytest.mark.parametrize("heading", list(sections()))
def test_numbers_in_prose_are_results_or_parameters(heading):
    found = set(re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e−\d+)?", prose(sections()[heading])))
    found = {number.rstrip(",") for number in found}
    results = next((known for start, known in measured().items() if heading.startswith(start)), set())
    given = next((known for start, known in GIVEN.items() if heading.startswith(start)), set())
    assert results <= found, f"not stated: {results - found}"
    assert found <= results | given, f"neither result nor parameter: {found - results - given}"


@pytest.mark.parametrize("heading", list(sections()))
def test_every_finding_is_whole(heading):
    body = sections()[heading]
    statement = body.strip().splitlines()[0]
    assert statement.startswith("**")
    assert statement.endswith("**")
    assert any(word in statement for word in ("path", "chain", "marginal", "rung", "local", "in law")), "no rung"
    assert "Again: `python -m " in body
    for figure in re.findall(r"\]\(\.\./(figures/front/\w+)\.png\)", body):
        assert (ROOT / f"{figure}.svg").is_file()
        assert (ROOT / f"{figure}.png").is_file()
    for claim, anchor in re.findall(r"\[([\w./-]+)\]\(claims\.md#([\w-]+)\)", body):
        assert f"## {claim}\n" in (DOCS / "claims.md").read_text(encoding="utf-8")
        assert anchor == re.sub(r"[^\w-]", "", claim.lower())


def test_a_changed_digit_is_seen():
    body = sections()["One table, two slopes"].replace("−2.01", "−2.02", 1)
    assert table(body) != list(findings.slopes())
    assert "0.0013" not in measured()["An error"]


@pytest.mark.parametrize("words", ["a quarter for each smooth direction", "an eighth for each singular one"])
def test_predictions_in_words(words):
    assert words in text("findings.md")
    lines = {line.split(" |")[0][2:]: line for line in findings.logarithms()}
    assert lines["two points"].endswith("| 0.000 | 0.250 | 0.125 | 0.000 |")  # no smooth direction, one singular
    assert lines["null direction"].endswith("| 0.250 | 0.250 | 0.125 | 0.000 |")  # one and one
    assert lines["sphere"].endswith("| 0.500 | 0.250 | 0.125 | 0.000 |")  # two and one

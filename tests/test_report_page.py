"""The page as text: refusals of what is missing, links, and nothing in it that rows could run."""

# ruff: noqa: F811  (fixtures are arguments)
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import report_inputs as inputs
from report_pages import EXTRA, Parsed, folder, made, page  # noqa: F401

from figures.report import build, data
from figures.report.__main__ import run
from figures.report.data import LEDGER, ROWS, ReportError, read, slug

ROOT = Path(__file__).resolve().parent.parent


# ---- what is missing -------------------------------------------------------------------------------------


def test_a_missing_input_is_one_line_that_names_what_makes_it(folder, tmp_path, capsys):
    def told(*arguments):
        assert run([*arguments, "--out", str(tmp_path / "out.html")]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert not (tmp_path / "out.html").exists()
        return said

    rows = str(folder / "rows")
    assert "python -m verify --preset full --json" in told("--rows", rows, "--ledger", str(tmp_path / "none.json"))
    for content in ("{", "[]", '{"claims": []}', '{"claims": [NaN]}', "[" * 100_000):
        (tmp_path / "bad.json").write_text(content)
        assert "ledger: " in told("--rows", rows, "--ledger", str(tmp_path / "bad.json"))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "python -m studies.atlas" in told("--rows", str(empty), "--ledger", str(folder / "rows" / "ledger.json"))


@pytest.mark.parametrize("name", build.LIBRARIES)
def test_a_missing_library_is_named(name, folder, monkeypatch):
    for module in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ReportError, match=rf"{name}.* is not installed.*pip install 'truerate\[report\]'"):
        build.page(read(folder / "rows"), folder / "front")


def test_sections_say_what_they_lack(page, tmp_path):
    assert "No rows of this study: python -m studies.early_stopping makes them." in page
    assert "No figure: python -m figures early_stopping draws it" in page
    bare = inputs.write(tmp_path / "bare", sampler_audit=[], benchmarks=[])
    told = made(bare)
    assert "No rows of the audit: python -m studies.sampler_audit" in told
    assert "No rows of benchmarks: make bench makes them." in told


# ---- the page --------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_page(folder, page):
    assert made(folder) == page


def test_the_page_asks_the_network_for_nothing(page):
    found = Parsed(page)
    assert not found.open
    addresses = [value for name in ("src", "href", "srcset", "action", "data", "poster") for value in found.all(name)]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "url(" not in (ROOT / "figures" / "report" / "style.css").read_text("utf-8").replace("data:", "")
    policy = next(
        attributes["content"] for tag, attributes in found.tags if tag == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; font-src data:"
    )
    assert "http:" not in policy
    assert "https:" not in policy


def test_internal_links_resolve_and_anchors_are_unique(page):
    found = Parsed(page)
    anchors = found.all("id")
    assert len(anchors) == len(set(anchors))
    for link in (address[1:] for address in found.all("href") if address.startswith("#")):
        place = re.search(r"(?:^|&)at=([^&]+)", link)
        assert (place[1] if place else link) in anchors
    for name in ("aria-controls", "aria-labelledby", "aria-describedby", "data-copy-from"):
        assert set(found.all(name)) <= set(anchors)


def test_the_page_holds_every_claim_with_formula_rows_and_provenance(page):
    found = Parsed(page)
    assert [
        value for value in found.all("id") if re.fullmatch(r"claim-[a-z-]+", value) and not value.endswith("-more")
    ] == [f"claim-{slug(claim['id'])}" for claim in inputs.ledger()["claims"]]
    assert sum(tag == "math" for tag, _ in found.tags) == 3  # two claims' and a symbol; the others cannot be converted
    assert "<dd>signal-to-noise ratio, snr</dd>" in page
    assert "no formula" not in page
    assert "python -m verify beta/rate" in page
    assert "1.300 ± 0.042" in page
    assert "Fault of the ledger." in page
    assert "made 2026-11-20" in page
    assert "commit 0123456789ab" in page.replace("<code>", "").replace("</code>", "")


def test_hostile_rows_stay_text(tmp_path, page):
    keep = ("quantity", "part", "grid", "status", "leaning")
    files = {
        "atlas": inputs.atlas(),
        "sampler_audit": inputs.audit(),
        "benchmarks": inputs.benchmarks(),
        "step_scaling": [{}] * 3,
    }
    bad = {name: inputs.poisoned(found, keep=keep) for name, found in files.items()}
    folder = inputs.write(tmp_path / "bad", inputs.poisoned(inputs.ledger(), keep=keep), **bad)
    told = made(folder)
    good, found = Parsed(page), Parsed(told)
    assert not found.open
    tags = ("script", "style", "img", "iframe", "object", "embed", "form", "base", "meta", "link", "svg")
    wanted, seen = (Counter(tag for tag, _ in each.tags if tag in tags) for each in (good, found))
    assert seen.keys() == wanted.keys()
    assert all(seen[tag] == wanted[tag] for tag in ("script", "style", "form", "meta", "link"))
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert all(address.startswith(("#", "data:")) for name in ("src", "href") for address in found.all(name))
    assert len(found.scripts) == len(good.scripts)
    assert told.count("{{7*7}}") > 100  # no template reads it either


def test_too_large_a_page_is_refused(folder, monkeypatch):
    monkeypatch.setattr(build, "LARGEST", 10_000)
    with pytest.raises(ReportError, match=r"report: \d+ bytes; at most 10000"):
        made(folder)


def test_the_committed_rows_make_a_page_of_at_most_eight_megabytes(tmp_path):
    if not (LEDGER.is_file() and (ROWS / "atlas.jsonl").is_file()):
        pytest.skip("figures/rows has no ledger.json or no atlas.jsonl")
    for name in build.LIBRARIES:
        pytest.importorskip(name, reason=EXTRA)
    assert run(["--out", str(tmp_path / "report.html")]) == 0
    written = (tmp_path / "report.html").read_text("utf-8")
    assert len(written.encode()) <= build.LARGEST
    assert not Parsed(written).open


# ---- what the command and the page say ---------------------------------------------------------------------


def test_the_command_reads_what_it_is_told_and_makes_the_folder(folder, page, tmp_path, capsys):
    out = tmp_path / "new" / "deep" / "report.html"
    assert run(["--rows", str(folder / "rows"), "--front", str(folder / "front"), "--out", str(out)]) == 0
    assert out.read_text("utf-8") == page
    assert capsys.readouterr().out.startswith(f"{out}  ")


def test_half_a_character_in_a_claim_is_no_error(tmp_path):
    """A lone surrogate, which JSON can hold and UTF-8 cannot."""
    for name in build.LIBRARIES:
        pytest.importorskip(name, reason=EXTRA)
    document = inputs.ledger()
    document["claims"][0]["statement"] = "half \ud800 of one"
    folder, out = inputs.write(tmp_path / "half", document), tmp_path / "report.html"
    assert run(["--rows", str(folder / "rows"), "--front", str(folder / "front"), "--out", str(out)]) == 0
    assert "half ? of one" in out.read_text("utf-8")


def test_a_page_of_the_largest_size_is_none_too_large(folder, page, monkeypatch):
    size = len(page.encode())
    monkeypatch.setattr(build, "LARGEST", size)
    assert made(folder) == page
    monkeypatch.setattr(build, "LARGEST", size - 1)
    with pytest.raises(ReportError, match=rf"report: {size} bytes; at most {size - 1}"):
        made(folder)


def test_the_first_and_the_last_day_of_all_rows_are_told(tmp_path):
    days = [{"quantity": "kl", "provenance": {"time": f"2026-11-{day}T10:00:00Z"}} for day in (19, 23, 21)]
    told = made(inputs.write(tmp_path / "days", step_scaling=days))
    assert "made 2026-11-19 to 2026-11-23, " in told
    assert '<td class="days">2026-11-19 to 2026-11-23</td>' in told


def test_a_study_links_the_claims_that_name_it(page):
    articles = dict(re.findall(r'<article class="study" id="study-([^"]+)"(.*?)</article>', page, re.S))
    named = {name: re.findall(r"ledger\.open=claim-([a-z-]+)", text) for name, text in articles.items()}
    assert named.pop("step-scaling") == ["alpha-equality", "beta-rate", "delta-several", "epsilon-fault"]
    assert not any(named.values())


def test_the_choice_of_a_source_counts_its_claims(page):
    choices = re.findall(r'<option value="([^"]+)">((?:arXiv|no arXiv) [^<]+)</option>', page)
    assert choices == [
        ("2601.21943", "arXiv 2601.21943 (3)"),
        ("2508.16306", "arXiv 2508.16306 (1)"),
        ("none", "no arXiv paper (1)"),
    ]


def test_an_atlas_of_refusals_alone_is_refused(tmp_path):
    refused = [row for row in inputs.atlas() if row["quantity"] == "refused"]
    with pytest.raises(ReportError, match=r"no row of atlas\.jsonl holds a curve"):
        made(inputs.write(tmp_path / "bare", atlas=refused))


def test_a_file_without_rows_is_no_source_of_rows(tmp_path):
    folder = inputs.write(tmp_path / "bare", step_scaling=[])
    assert "step_scaling" not in read(folder / "rows").origins
    assert "No rows of this study: python -m studies.step_scaling makes them." in made(folder)


def test_a_ledger_too_large_or_with_what_is_no_number_is_refused(folder, tmp_path, monkeypatch):
    file = tmp_path / "ledger.json"
    file.write_text('{"preset": Infinity, "claims": [{}]}')
    with pytest.raises(ReportError, match=r"is no JSON \(Infinity is no number\)"):
        read(folder / "rows", file)
    monkeypatch.setattr(data, "LARGEST", file.stat().st_size - 1)
    with pytest.raises(ReportError, match=r"ledger\.json has 36 bytes; at most 35 are read"):
        read(folder / "rows", file)

"""The ledger as a whole: what is on record, faults, exit codes, its three forms, stored rows, and wrong input."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from targets import ArgumentError, Estimate
from verify import __main__ as command
from verify.claims import ledger, report, stored
from verify.claims.claim import Claim, Control, at_most
from verify.claims.ledger import CLAIMS, MODULES, evaluate, find, recorded

ROOT = Path(__file__).resolve().parent.parent


def check(full, tolerance, *, value=0.5):
    return [at_most("a | law", "K = 2", "number", Estimate(value + 0.1 * full, 0.0, 0.0, "given"), 1.0 + tolerance)]


def claim(**changes):
    fields = {
        "id": "made/up",
        "source": "nobody",
        "statement": "number ≤ 1",
        "rung": "path",
        "families": ("a law",),
        "predicted": "at most one",
        "tolerance": 0.0,
        "check": check,
        "control": Control("a number too large", {"value": 2.0}),
        "basis": "our derivation",
        "window": "K = 2",
        "formula": r"Q \le 1",
        "reference": "reverse SDE",
    }
    return Claim(**{**fields, **changes})


def run(monkeypatch, claims, *arguments, record=None):
    """Exit status of the command on these claims."""
    monkeypatch.setattr(ledger, "CLAIMS", {c.id: c for c in claims})
    monkeypatch.setattr(ledger, "recorded", lambda: record or {})
    return command.main(command.tyro.cli(command.Config, args=list(arguments)))


def test_no_two_claims_share_an_id():
    ids = [c.id for module in MODULES for c in module.CLAIMS]
    assert len(ids) == len(set(ids)) == len(CLAIMS) >= 55


def test_every_verdict_is_on_record_and_only_those():
    assert list(recorded()) == list(CLAIMS)
    assert set(recorded().values()) <= {"supported", "refuted", "undecided", "open"}
    assert {name for name, status in recorded().items() if status == "open"} == {
        c.id for c in CLAIMS.values() if c.open
    }


def test_a_refuted_claim_shows_that_its_check_can_pass():
    for name, status in recorded().items():
        if status == "refuted":
            assert CLAIMS[name].contrast is not None, name


def test_every_study_that_a_claim_names_exists_with_a_figure():
    for name in {c.study for c in CLAIMS.values() if c.study}:
        assert (ROOT / "studies" / f"{name}.py").exists(), name
        assert stored.stored(name).figures, name


def test_the_printed_claims_are_those_on_record():
    """docs/claims.md is regenerated whenever a claim or a verdict changes; its numbers may differ from machine to machine."""
    text = (ROOT / "docs" / "claims.md").read_text("utf-8")
    table = dict(re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (\w+) \|", text, re.MULTILINE))
    assert table == recorded()
    for c in CLAIMS.values():
        assert f"## {c.id}\n\n> {c.statement}\n" in text
        assert f"- Source: {c.source}." in text


def test_an_entry_has_verdict_control_and_contrast():
    found = evaluate(claim(contrast=Control("a smaller one", {"value": 0.1})))
    assert (found.verdict.status, found.control.status, found.fault) == ("supported", "refuted", "")
    assert found.contrast is not None
    assert found.contrast.status == "supported"
    assert float(evaluate(claim(), full=True).verdict.deciding.measured.value) == pytest.approx(0.6)


def test_a_control_that_passes_is_a_fault(monkeypatch, capsys):
    bad = claim(control=Control("hardly changed", {"value": 0.6}))
    assert "not refuted" in evaluate(bad).fault
    assert run(monkeypatch, [bad], record={"made/up": "supported"}) == 1
    assert "fault of the ledger, made/up: control (hardly changed) is supported" in capsys.readouterr().out


def test_a_contrast_that_fails_is_a_fault():
    assert "contrast is refuted" in evaluate(claim(contrast=Control("worse", {"value": 3.0}))).fault


@pytest.mark.parametrize(
    ("record", "arguments", "status"),
    [
        ({"made/up": "supported"}, ("--check",), 0),
        ({"made/up": "refuted"}, ("--check",), 1),
        ({}, ("--check",), 1),
        ({"made/up": "refuted"}, (), 0),
    ],
)
def test_a_changed_verdict_fails_the_check(monkeypatch, capsys, record, arguments, status):
    assert run(monkeypatch, [claim()], *arguments, record=record) == status
    assert ("changed, made/up" in capsys.readouterr().out) == (record != {"made/up": "supported"})


def test_recording_keeps_other_verdicts_and_forgets_claims_that_went(monkeypatch, tmp_path):
    monkeypatch.setattr(ledger, "RECORD", tmp_path / "expected.json")
    monkeypatch.setattr(ledger, "CLAIMS", {name: claim(id=name) for name in ("a/one", "b/two")})
    (tmp_path / "expected.json").write_text('{"b/two": "refuted", "gone/away": "supported"}')
    ledger.record([evaluate(claim(id="a/one"))])
    assert json.loads((tmp_path / "expected.json").read_text()) == {"a/one": "supported", "b/two": "refuted"}


def test_a_verdict_whose_control_passes_is_not_recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(ledger, "RECORD", tmp_path / "expected.json")
    with pytest.raises(ArgumentError, match="cannot be recorded while its control"):
        ledger.record([evaluate(claim(control=Control("hardly changed", {"value": 0.6})))])
    assert not (tmp_path / "expected.json").exists()


def test_the_json_form_holds_every_row(monkeypatch, tmp_path):
    path = tmp_path / "deep" / "ledger.json"
    question = claim(id="a/question", basis="open question")
    assert run(monkeypatch, [claim(), question], "--json", str(path)) == 0
    found = json.loads(path.read_text())
    assert {"command", "commit", "code", "torch"} <= found["provenance"].keys()
    first, second = found["claims"]
    assert first["verdict"]["rows"][0] == {
        "family": "a | law",
        "window": "K = 2",
        "quantity": "number",
        "value": 0.5,
        "stderr": 0.0,
        "bias": 0.0,
        "method": "given",
        "low": None,
        "high": 1.0,
        "status": "supported",
        "margin": 0.5,
    }
    assert first["control"]["status"] == "refuted"
    assert (second["verdict"]["status"], second["verdict"]["leaning"]) == ("open", "supported")


def test_the_printed_form_escapes_what_would_break_a_table():
    text = report.as_markdown([evaluate(claim(study="schedules"))], "quick")
    assert "(a \\| law; K = 2)" in text
    assert "- Control: a number too large: refuted" in text
    assert "python -m studies.schedules" in text


def test_details_of_one_claim(monkeypatch, capsys):
    assert run(monkeypatch, [claim()], "made/up") == 0
    out = capsys.readouterr().out
    assert "control: a number too large: refuted" in out
    assert "number = 0.5 ± 0" in out


def test_the_list_computes_nothing(monkeypatch, capsys):
    def never(*_):
        raise AssertionError

    assert run(monkeypatch, [claim(check=never)], "--list") == 0
    assert "made/up\n    nobody\n    number ≤ 1\n    path; our derivation" in capsys.readouterr().out


def test_an_unknown_claim_is_answered_with_the_nearest():
    with pytest.raises(
        ArgumentError, match=r"denoiser/mmse_gap.*python -m verify --list; did you mean denoiser/mmse-gap"
    ):
        find(["denoiser/mmse_gap"])


def test_docs_of_some_claims_are_refused(monkeypatch):
    with pytest.raises(ArgumentError, match="no claim or study to be named"):
        run(monkeypatch, [claim()], "made/up", "--docs")


def put(folder, study, *lines):
    folder.mkdir(exist_ok=True)
    (folder / f"{study}.jsonl").write_text("".join(line + "\n" for line in lines))


def row(**origin):
    return json.dumps({"key": "k", "row": 0, "of": 1, "provenance": origin})


def test_rows_of_another_version_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stored, "COMMITTED", tmp_path)
    put(tmp_path, "some_study", row(command="python -m studies.some_study", commit="c" * 40, code="0ld"))
    found = stored.stored("some_study")
    assert not found.current
    assert "made by code 0ld, the present code is" in found.origin
    assert run(monkeypatch, [claim(study="some_study"), claim(id="other/one")], "--study", "some_study") == 0
    out = capsys.readouterr().out
    assert "run the command again to renew them" in out
    assert "other/one" not in out
    put(tmp_path, "some_study", row(command="x", commit="y", code=stored.code_version()))
    assert stored.stored("some_study").origin == "1 rows, x @ y"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "no rows in .*make them with python -m studies.some_study"),
        ((json.dumps({"key": "k"}),), "do not say what made them"),
        (("{torn",), "line 1: expected a row as JSON"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(monkeypatch, tmp_path, lines, words):
    monkeypatch.setattr(stored, "COMMITTED", tmp_path)
    put(tmp_path, "some_study", *lines)
    with pytest.raises(ArgumentError, match=words):
        stored.stored("some_study")


def test_a_study_without_rows_is_answered_with_those_that_have_some(monkeypatch, tmp_path):
    monkeypatch.setattr(stored, "COMMITTED", tmp_path)
    put(tmp_path, "some_study", row(command="x", commit="y", code="z"))
    with pytest.raises(ArgumentError, match=r"study = 'some_studi'.*some_study"):
        stored.stored("some_studi")
    with pytest.raises(ArgumentError, match=r"'schedules': no rows in .*make them with python -m studies.schedules"):
        stored.stored("schedules")


def test_a_study_that_shows_none_of_the_claims_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(stored, "COMMITTED", tmp_path)
    put(tmp_path, "some_study", row(command="x", commit="y", code="z"))
    with pytest.raises(ArgumentError, match="a study that one of the claims asked for names"):
        run(monkeypatch, [claim()], "--study", "some_study")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such-claim"], "error: claim = 'no/such-claim': expected an id of python -m verify --list"),
        (["--study", "no_such_study"], "error: study = 'no_such_study'"),
        (["--preset", "huge"], "quick"),
        (["denoiser/mmse-gap", "--json", "/proc/none/ledger.json"], "expected a file that can be written"),
    ],
)
def test_wrong_commands_get_one_line_and_no_traceback(arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "verify", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr

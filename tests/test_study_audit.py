"""The audit as a study: what it measures of samplers that are right, wrong, broken, and never end."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch

from figures.sampler_audit import merged
from studies import audit_laws, audit_measures, audit_report, sampler_audit
from studies.__main__ import STUDIES
from targets import ArgumentError, NotAvailableError
from verify import samplers
from verify.audit import registry
from verify.audit.contract import Audited, Declared, Untestable
from verify.audit.order import as_sampler
from verify.grid import Grid

GENERATOR = torch.Generator().manual_seed(0)


def audited(sampler, *, order=1.0, stochastic=False, **kwargs):
    return Audited("nobody", "Thing", {}, "vp", stochastic, sampler, Declared(order, "the test"), **kwargs)


def of(rows, quantity):
    return [row for row in rows if row["quantity"] == quantity]


def test_a_correct_sampler_conforms_and_a_wrong_one_does_not():
    ours = as_sampler(samplers.ddim)

    def wrong(denoiser, grid, start, generator):
        return ours(lambda y, at: 1.01 * denoiser(y, at), grid, start, generator)

    rows = audit_measures.measure(audited(ours, counterpart=samplers.ddim), "quick")
    assert rows[-1]["verdict"] == "conforms", rows[-1]
    assert max(row["value"] for row in of(rows, "agreement")) == 0.0
    assert {row["evaluations"] for row in of(rows, "kl")} == {8, 32}
    rows = audit_measures.measure(audited(wrong, counterpart=samplers.ddim), "quick")
    assert rows[-1]["verdict"] == "below declared order", rows[-1]
    assert 1e-3 < min(row["value"] for row in of(rows, "agreement")) < 0.1


def test_a_wrong_first_step_does_not_conform():
    ours = as_sampler(samplers.heun)

    def late(denoiser, grid, start, generator):
        first, second = grid.levels[:2]
        if grid.steps == 1:
            return ours(denoiser, grid, start, generator)
        return ours(denoiser, Grid.from_snr(grid.snr[1:]), start * second.sigma / first.sigma, generator)

    rows = audit_measures.measure(audited(late, order=2.0), "quick")
    assert rows[-1]["verdict"] == "below declared order", rows[-1]
    assert "uniform" in rows[-1]["method"]


def test_a_sampler_that_differs_from_our_table_does_not_conform():
    ours = as_sampler(samplers.ddim)

    def other(denoiser, grid, start, generator):
        step = 1.0 - (grid.snr[0] / grid.snr[1]) ** 0.5
        return ours(lambda y, at: (1.0 + 0.01 * step) * denoiser(y, at), grid, start, generator)

    rows = audit_measures.measure(audited(other, counterpart=samplers.ddim), "quick")
    assert rows[-1]["verdict"] == "differs", rows[-1]


def test_laws_on_which_nothing_could_be_read_leave_it_undecided():
    ours = as_sampler(samplers.ddim)

    def picky(denoiser, grid, start, generator):
        if start.shape[1] == 1:
            raise NotAvailableError("not on the line")
        return ours(denoiser, grid, start, generator)

    rows = audit_measures.measure(audited(picky), "quick")
    assert rows[-1]["verdict"] == "undecided"
    assert "curved mixture" in rows[-1]["method"]


def test_a_fault_of_the_audit_is_not_the_samplers():
    def refuses(grid):
        raise ValueError(f"our own table of {grid.steps} steps")

    rows = audit_measures.measure(audited(as_sampler(samplers.ddim), counterpart=refuses), "quick")
    assert rows[-1]["verdict"] == "conforms"
    assert "fault of the audit" in of(rows, "refused")[0]["method"]


def test_kl_rows_agree_with_the_moments_carrier():
    from verify import kl

    for name in ("heun", "ddpm", "sde_dpmpp_2m"):
        build = samplers.get(name)
        rows = audit_measures.work(audited(as_sampler(build), stochastic=name != "heun"), "quick")
        for row in rows:
            grid = audit_measures.refined(row["steps"], snr=audit_measures.COST, process="vp", eased=False)
            known = float(kl.marginal(audit_laws.gaussian(), build(grid)).value)
            assert row["value"] == pytest.approx(known, rel=1e-8)
            assert row["evaluations"] == build(grid).evaluations


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda x: x[:, :0], "shape"),
        (lambda x: x * float("nan"), "numbers are nan"),
        (lambda x: None, "NoneType"),  # noqa: ARG005
        (lambda x: 1 / 0, "ZeroDivisionError"),  # noqa: ARG005
    ],
)
def test_a_broken_sampler_fails_and_stops_nothing(fault, said):
    rows = audit_measures.measure(audited(lambda denoiser, grid, start, generator: fault(start)), "quick")  # noqa: ARG005
    assert rows[-1]["verdict"] == "fails"
    assert said in rows[-1]["method"]
    json.dumps(rows, allow_nan=False)


def test_numbers_that_are_not_finite_are_a_failure_and_not_a_row():
    ours = as_sampler(samplers.ddpm)

    def fragile(denoiser, grid, start, generator):
        states = ours(denoiser, grid, start, generator)
        return states * float("nan") if len(start) > 5000 else states

    rows = audit_measures.measure(audited(fragile, stochastic=True), "full")
    assert rows[-1]["verdict"] == "fails"
    assert "moments: K = 96: states that are not finite" in rows[-1]["method"]
    json.dumps(rows, allow_nan=False)


def test_a_sampler_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setitem(audit_measures.SECONDS, "quick", 0.1)

    def endless(denoiser, grid, start, generator):  # noqa: ARG001
        while True:
            pass

    began = time.monotonic()
    rows = audit_measures.measure(audited(endless), "quick")
    assert time.monotonic() - began < 5.0
    assert rows[-1]["verdict"] == "fails"
    assert "still running after 0.1 s" in rows[-1]["method"]


def test_moments_have_standard_errors_and_cover_the_exact_ones():
    ours = audited(as_sampler(samplers.ddpm), stochastic=True)
    for row in audit_measures.moments(ours, "quick"):  # two comparisons at 4.5 standard errors: 1 in 70,000, seed fixed
        assert row["stderr"] > 0
        assert abs(row["value"]) < 4.5 * row["stderr"] + 0.05 * row["exact"]


def test_bad_settings_are_refused_before_work(monkeypatch):
    for config, said in (
        (sampler_audit.Config(library="difusers"), "did you mean"),
        (sampler_audit.Config(library="truerate", sampler="hoin"), "heun"),
        (sampler_audit.Config(docs=True, library="azula"), "neither --library"),
    ):
        with pytest.raises(ArgumentError, match=said):
            sampler_audit.check(config)
    monkeypatch.setattr(registry.adapter("azula"), "version", lambda: None)
    with pytest.raises((ArgumentError, NotAvailableError), match="pip install azula"):
        sampler_audit.check(sampler_audit.Config(library="azula"))


def test_the_command_measures_one_sampler(tmp_path, capsys):
    config = sampler_audit.Config(library="truerate", sampler="heun", out=tmp_path)
    sampler_audit.main(config)
    said = capsys.readouterr().out
    assert "conforms" in said
    rows = [json.loads(line) for line in (tmp_path / "sampler_audit" / "rows.jsonl").read_text().splitlines()]
    assert {row["quantity"] for row in rows} >= {"order", "kl", "verdict"}
    assert "sampler_audit" in STUDIES


def test_quick_settings_hold_one_configuration_a_class():
    rows = sampler_audit.settings(sampler_audit.Config())
    orders = [(row["library"], row["sampler"]) for row in rows if row["part"] == "order"]
    assert len(orders) == len(set(orders))
    full = sampler_audit.settings(sampler_audit.Config(preset="full"))
    assert {(row["library"], row["sampler"]) for row in full} == {(row["library"], row["sampler"]) for row in rows}
    assert len(full) > len(rows)
    labels = [(row["library"], row["label"]) for row in full if row["part"] == "order"]
    assert len(labels) == len(set(labels))


def page(rows):
    return audit_report.markdown(rows, {"nobody": "1.0", "absent": None})


def test_the_page_names_versions_verdicts_reasons_and_reproductions():
    base = {"library": "nobody", "version": "1.0", "sampler": "Thing"}
    more = {"part": "order", "label": "Thing(a=1)", "declared": 2.0, "source": "its | docstring"}
    rows = [
        {**base, **more, "quantity": "order", "grid": "eased", "law": "x", "value": 1.5, "low": 1.4, "high": 1.6},
        {**base, **more, "quantity": "order", "grid": "uniform", "law": "x", "value": 1.0, "low": 0.9, "high": 1.1},
        {**base, **more, "quantity": "kl", "evaluations": 32, "value": 1e-3},
        {**base, **more, "quantity": "kl", "evaluations": 64, "value": 1e-4},
        {**base, **more, "quantity": "verdict", "value": 1.5, "verdict": "below declared order", "method": "too low"},
        {**base, "part": "sweep", "quantity": "swept", "value": 1, "planned": 50, "tried": 40},
        {
            **base,
            "part": "sweep",
            "quantity": "failure",
            "value": None,
            "kind": "exception",
            "options": {"b": "c"},
            "steps": 20,
            "count": 3,
            "runs": 40,
            "method": "IndexError",
            "reproduction": "import nobody\nnobody.run()",
        },
        {**base, "sampler": "Other", "part": "listing", "quantity": "untestable", "value": None, "method": "tokens"},
    ]
    text = page(rows)
    for said in (
        "nobody 1.0",
        "| `Thing(a=1)` | below declared order | 2 | 1.50 [1.40, 1.60] | 1.00 | 1.0e-03 at 32 |",
        "too low",
        "its \\| docstring",
        "1 classes over pairwise covering arrays of their options (40 of 50 configurations): 1 failures",
        "b='c', K = 20 (3 of 40 runs)",
        "  nobody.run()",
        "`Other`: tokens",
    ):
        assert said in text, said
    assert "absent" not in text


def test_lines_that_coincide_are_drawn_as_one():
    def points(label, values):
        return [
            {"library": "a", "label": label, "evaluations": x, "value": y} for x, y in zip((8, 16), values, strict=True)
        ]

    rows = pd.DataFrame(points("p", (1e-2, 1e-3)) + points("q", (2e-2, 1e-3)) + points("r", (1.0001e-2, 1e-3)))
    groups = merged(rows)
    assert [names for names, _, _ in groups] == [["a: p", "a: r"], ["a: q"]]
    assert np.array_equal(groups[0][1], [8.0, 16.0])


def test_untestable_classes_are_listed_with_their_reason(monkeypatch):
    monkeypatch.setattr(registry, "samplers", lambda *_: [Untestable("truerate", "Odd", "it speaks in tokens")])
    rows = sampler_audit.settings(sampler_audit.Config())
    assert rows[0]["part"] == "listing"
    out = sampler_audit.compute(rows[0], torch.device("cpu"))
    assert out[0]["method"] == "it speaks in tokens"


def test_the_committed_rows_are_of_one_run_and_of_the_page():
    from figures.sampler_audit import COMMITTED

    rows = [json.loads(line) for line in COMMITTED.read_text().splitlines()]
    origins = {tuple(row["provenance"][word] for word in ("command", "code", "commit")) for row in rows}
    assert len(origins) == 1, origins
    command, code, _ = origins.pop()
    assert command.startswith("python -m studies.sampler_audit --preset full")
    said = audit_report.DOCS.read_text("utf-8")
    assert code in said
    judged = audit_report.rejudged(rows)
    kinds = {(row["library"], row["label"]): row["verdict"] for row in judged if row["quantity"] == "verdict"}
    for (_, label), kind in kinds.items():
        assert f"| `{label}` | {kind} |" in said
    for version in {row["version"] for row in rows}:
        assert version in said

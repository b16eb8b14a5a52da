"""The entropy study: rows against closed forms and second ways, verdicts that follow the rows, controls that must fail."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch

from figures import entropy_scaling as picture
from studies import entropy_scaling, entropy_verdicts, study
from studies.store import Store, frame
from targets import ArgumentError, Discrete
from verify import kl, samplers
from verify.in_use import schedule
from verify.span import span

CPU = torch.device("cpu")
SMALL = {
    "products of bits": (1.0, 2.0, 4.0),
    "nested scales": (1.0, 2.0, 3.0),
    "rare bits": (2.0, 4.0, 8.0, 12.0),
    "heavy tails": (2.0, 3.0, 4.0, 6.0),
    "Zipf codebooks": (4.0, 8.0, 16.0),
}


def small_settings():
    config = entropy_scaling.Config()
    return [s for s in entropy_scaling.settings(config) if s["family"] in SMALL]


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy_scaling, "STEPS", {"quick": (4, 16)})
        for name, sizes in SMALL.items():
            family = dataclasses.replace(entropy_scaling.FAMILIES[name], quick=sizes)
            patch.setitem(entropy_scaling.FAMILIES, name, family)
        yield


@pytest.fixture(scope="module")
def store(_small, tmp_path_factory):
    """Every small setting, through disk."""
    out = Store(tmp_path_factory.mktemp("results"), entropy_scaling.NAME)
    study.sweep(out, small_settings(), lambda s: entropy_scaling.compute(s, CPU))
    return Store(out.path.parent.parent, entropy_scaling.NAME)


@pytest.fixture(scope="module")
def rows(store):
    return [row for setting in small_settings() for row in store.get(setting)]


def law(rows, family, size):
    (row,) = (r for r in rows if (r["family"], r["size"], r["quantity"]) == (family, size, "law"))
    return row


def verdict(rows, family, claim):
    (found,) = (v for v in entropy_verdicts.verdicts(frame(rows)) if (v.family, v.claim) == (family, claim))
    return found


def changed(rows, factors, family, column="quarter"):
    """A family's rows of laws with a column times a factor each, by size."""
    found = iter(factors)
    mine = lambda row: row["family"] == family and row["quantity"] == "law"  # noqa: E731
    out = [{**row, column: row[column] * next(found)} if mine(row) else row for row in rows]
    assert next(found, None) is None
    return out


def fair_bit():
    """S²/4 of ±1: −mmse′ = E sech⁴(γ + √γ Z) by the trapezoid rule, √ of it by Gauss–Legendre in log γ from 1e-9 to 400."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    cuts = np.linspace(math.log(1e-9), math.log(400.0), 41)
    half = 0.5 * np.diff(cuts)[:, None]
    snr = np.exp(cuts[:-1, None] + half * (1.0 + nodes))
    s = np.linspace(-30.0, 30.0, 4001)
    z = np.linspace(-12.0, 12.0, 401)
    slopes = []
    for gamma in snr.ravel():
        wide = gamma > 1.0
        at = s if wide else gamma + math.sqrt(gamma) * z
        density = np.exp(-0.5 * (at - gamma) ** 2 / gamma) / math.sqrt(2.0 * math.pi * gamma)
        slopes.append((density / np.cosh(at) ** 4).sum() * (at[1] - at[0]))
    length = 1e-9 + (half * weights * snr * np.sqrt(np.reshape(slopes, snr.shape))).sum()
    return length**2 / 4.0


# ---- rows ---------------------------------------------------------------------------------------------------------------


def test_rows_are_complete_and_json(rows):
    """A law and every schedule and K of each setting; nothing is NaN or infinite."""
    json.dumps(rows, allow_nan=False)
    for family, sizes in SMALL.items():
        for size in sizes:
            mine = [r for r in rows if (r["family"], r["size"]) == (family, size)]
            assert [r["quantity"] for r in mine] == ["law"] + ["kl"] * 10
            assert {(r["schedule"], r["steps"]) for r in mine[1:]} == {
                (name, steps) for name in entropy_scaling.SCHEDULES for steps in (4, 16)
            }
            assert all(r["identity"] == (family == "products of bits") for r in mine)


def test_products_are_multiples_of_a_bit(rows):
    """n bits: n times S²/4 of one, by a second way, n log 2, and pairs from all 2^n corners."""
    bit = fair_bit()
    for n in SMALL["products of bits"]:
        row = law(rows, "products of bits", n)
        assert row["quarter"] == pytest.approx(n * bit, rel=1e-10)
        assert row["entropy"] == row["half_entropy"] == pytest.approx(n * math.log(2.0), rel=1e-14)
        atoms = 2.0**n
        assert math.exp(row["log_pairs"]) == pytest.approx(atoms * (atoms - 1.0) / math.sqrt(atoms), rel=1e-12)
        assert row["information"] == pytest.approx(n * math.log(2.0), rel=1e-6)


def test_published_limits(rows):
    """The values that were measured before this study: nested scales, rare bits and heavy tails."""
    for family, size, shannon in (("nested scales", 3.0, 3.1), ("rare bits", 2.0, 29.0), ("rare bits", 4.0, 1.2e3)):
        row = law(rows, family, size)
        assert row["quarter"] / row["entropy"] ** 2 == pytest.approx(shannon, rel=0.03)
    for size, shannon, renyi in ((2.0, 3.7, 3.1), (4.0, 5.4, 4.2)):
        row = law(rows, "heavy tails", size)
        ratios = [row["quarter"] / row[name] ** 2 for name in ("entropy", "half_entropy")]
        np.testing.assert_allclose(ratios, [shannon, renyi], rtol=0.02)


def test_rare_bits_by_hand(rows):
    """Entropies of p in two terms, to eleven digits at p = 1e-12, where the weight 1 − p has lost four."""
    for decades in SMALL["rare bits"]:
        p, row = 10.0**-decades, law(rows, "rare bits", decades)
        assert row["entropy"] == pytest.approx(-p * math.log(p) - (1.0 - p) * math.log1p(-p), rel=1e-5)
        assert row["half_entropy"] == pytest.approx(2.0 * math.log(math.sqrt(p) + math.sqrt(1.0 - p)), rel=1e-9)


@pytest.mark.parametrize(("family", "size"), [("nested scales", 2.0), ("rare bits", 4.0), ("Zipf codebooks", 8.0)])
def test_path_kl_by_its_table(rows, family, size):
    """K·KL by ddpm's own table from the exact start, on a window found from the curve, with κ read off the levels."""
    target = entropy_scaling.FAMILIES[family].build(size, 0)
    ends = span(target)
    row = law(rows, family, size)
    assert (row["low"], row["high"]) == pytest.approx(ends, rel=1e-12)
    told = np.asarray(target.mutual_information(np.array(ends)).value) / row["information"]
    np.testing.assert_allclose([told[0], 1.0 - told[1]], 1e-3, rtol=1e-4)
    for found in (r for r in rows if (r["family"], r["size"], r["quantity"]) == (family, size, "kl")):
        grid = schedule(found["schedule"], target, found["steps"], ends)
        path = kl.path(target, samplers.ddpm(grid))
        assert found["value"] == pytest.approx(float(path.value), rel=1e-10)
        assert found["stderr"] == pytest.approx(float(path.stderr), rel=1e-6)
        kappa = max(b / a - 1.0 for a, b in itertools.pairwise(grid.snr))
        assert found["bound"] == pytest.approx(kappa * row["information"] * told[1], rel=1e-9)


def test_the_best_grid_is_least_and_nears_its_limit(rows):
    """No schedule is below the optimum; at K = 16 the optimum is within a quarter of S²/4 of the window on bits."""
    for family, sizes in SMALL.items():
        for size, steps in itertools.product(sizes, (4, 16)):
            cost = {
                r["schedule"]: r["value"]
                for r in rows
                if (r["family"], r["size"], r.get("steps")) == (family, size, steps)
            }
            assert all(value >= cost["optimal"] * (1.0 - 1e-9) for value in cost.values())
    for decades in SMALL["rare bits"]:
        row = law(rows, "rare bits", decades)
        (value,) = (
            r["value"]
            for r in rows
            if (r["family"], r["size"], r.get("schedule"), r.get("steps")) == ("rare bits", decades, "optimal", 16)
        )
        assert row["windowed"] < row["quarter"]
        assert 16.0 * value == pytest.approx(row["windowed"], rel=0.05)


def test_codebooks_follow_the_seed():
    one, other = (entropy_scaling.FAMILIES["Zipf codebooks"].build(8.0, seed) for seed in (0, 1))
    assert isinstance(one, Discrete)
    assert isinstance(other, Discrete)
    assert not torch.equal(one.atoms, other.atoms)


# ---- verdicts -----------------------------------------------------------------------------------------------------------


def test_what_the_small_rows_say(rows):
    """The known exponent, both constants refuted on rare bits and heavy tails, both bounds hold."""
    assert verdict(rows, "nested scales", "exponent").status == "supported"
    for entropy in ("entropy", "half_entropy"):
        assert verdict(rows, "nested scales", entropy).status == "supported"
        assert verdict(rows, "rare bits", entropy).status == "refuted"
        assert verdict(rows, "heavy tails", entropy).status == "refuted"
    assert verdict(rows, "rare bits", "exponent").status == "measured"
    for claim in ("pair bound", "geometric grid"):
        found = verdict(rows, "all", claim)
        assert found.status == "supported"
        assert found.margin > 1.9


def test_every_sentence_names_rung_window_and_family(rows):
    """Identities earn none; words for where S and the grids are taken."""
    found = entropy_verdicts.verdicts(frame(rows))
    assert {v.family for v in found} == {*SMALL, "all"} - {"products of bits"}
    for each in found:
        assert "path KL, reverse SDE, frozen denoiser" in each.sentence
        assert ("all γ" in each.sentence) != ("windows without the first and last thousandth" in each.sentence)
        assert each.status in each.sentence
        assert each.sentence.startswith(each.family) or each.family == "all"
        assert "tight" not in each.sentence
        assert ("our plain reading" in each.sentence) == (each.claim in entropy_verdicts.ENTROPIES)


def test_a_fair_bit_sets_the_least_constant(rows):
    row = law(rows, "products of bits", 1.0)
    assert row["quarter"] / row["entropy"] ** 2 == pytest.approx(entropy_verdicts.FAIR_BIT, rel=1e-11)


def test_mutated_rows_flip_the_verdicts(rows):
    """Controls: S²/4 of nested scales as H, that of rare bits as H_½², bounds halved below what was measured."""
    sizes = np.array(SMALL["nested scales"])
    assert verdict(changed(rows, 1.0 / sizes, "nested scales"), "nested scales", "exponent").status == "refuted"
    half = np.array([law(rows, "rare bits", n)["half_entropy"] for n in SMALL["rare bits"]])
    quarter = np.array([law(rows, "rare bits", n)["quarter"] for n in SMALL["rare bits"]])
    flat = changed(rows, 3.0 * half**2 / quarter, "rare bits")
    assert verdict(flat, "rare bits", "half_entropy").status == "supported"
    assert verdict(flat, "rare bits", "entropy").status == "refuted"
    pairs = 2.0 * math.exp(2.0 * law(rows, "heavy tails", 4.0)["log_pairs"])
    for factor, status in ((1.01, "refuted"), (0.99, "supported")):
        beyond = changed(
            rows, [1.0, 1.0, factor * pairs / law(rows, "heavy tails", 4.0)["quarter"], 1.0], "heavy tails"
        )
        found = verdict(beyond, "all", "pair bound")
        assert found.status == status
        assert found.sentence.endswith("broken by heavy tails") == (status == "refuted")
        assert "heavy tails, size 4" in found.sentence


def test_a_geometric_grid_above_its_bound_is_reported(rows):
    """Control: one K of one law, and only on the geometric grid."""
    for name, status in (("log_snr", "refuted"), ("entropic", "supported")):
        where = ("heavy tails", 4.0, name, 16)
        hit = lambda row, where=where: (row["family"], row["size"], row.get("schedule"), row.get("steps")) == where  # noqa: E731
        assert any(map(hit, rows))
        found = verdict([{**r, "bound": 0.9 * r["value"]} if hit(r) else r for r in rows], "all", "geometric grid")
        assert found.status == status
        assert found.sentence.endswith("(heavy tails, size 4, K = 16); broken by heavy tails") == (status == "refuted")


def test_costs_of_grids(rows):
    """The exponent of products is one on every schedule, their multiples of S²/4 one number, nowhere below the optimum's."""
    found = entropy_verdicts.grids(frame(rows)).set_index(["family", "schedule"])
    assert set(found.index) == set(itertools.product(SMALL, entropy_scaling.SCHEDULES))
    assert set(found.steps) == {16}
    for name in entropy_scaling.SCHEDULES:
        row = found.loc["products of bits", name]
        assert row.exponent == pytest.approx(1.0, abs=1e-9)
        assert row.least == pytest.approx(row.largest, rel=1e-9)
        for family in SMALL:
            assert found.loc[family, name].least >= found.loc[family, "optimal"].least * (1.0 - 1e-9)


def test_closure(rows):
    """I(∞) is H, to rounding where nothing is random; a curve off by a thousandth is seen."""
    said = entropy_verdicts.closure(frame(rows))
    assert float(said.split("within ")[1].split(" of H")[0]) < 2e-5
    assert float(said.split("largest |z| ")[1].split()[0]) < 4.0
    off = entropy_verdicts.closure(frame(changed(rows, [1.0, 1.001, 1.0], "nested scales", "information")))
    assert float(off.split("within ")[1].split(" of H")[0]) == pytest.approx(1e-3, rel=0.02)


# ---- the frame ----------------------------------------------------------------------------------------------------------


def test_report_and_figure(store, rows, tmp_path, monkeypatch, capsys):
    """Tables name every family and mark identities; the picture is drawn from the store alone."""
    entropy_verdicts.report(rows)
    text = capsys.readouterr().out
    for word in (*SMALL, "= products of bits", "at K = 16", "c·min(1,t)", "refuted", "supported"):
        assert word in text
    assert "…" not in text.split("exponent in H")[0]
    monkeypatch.setattr(picture.style, "RENDERED", tmp_path / "pictures")
    written = picture.draw(store.path)
    assert {path.name for path in written} == {f"{entropy_scaling.NAME}.{kind}" for kind in ("png", "svg", "pdf")}
    assert all(path.stat().st_size > 5000 for path in written)


def test_sweep_resumes(store, rows):
    """What is on disk is not computed again."""
    assert study.sweep(store, small_settings(), lambda _: pytest.fail("computed twice")) == rows


def test_settings_name_every_law_once():
    for preset in ("quick", "full"):
        found = [(s["family"], s["size"]) for s in entropy_scaling.settings(entropy_scaling.Config(preset=preset))]
        assert len(found) == len(set(found))
        assert {family for family, _ in found} == set(entropy_scaling.FAMILIES)


@pytest.mark.parametrize("seed", [-1, 0.5, True, "0"])
def test_bad_seed(seed, tmp_path):
    """Before any work: nothing is written."""
    out = tmp_path / "results"
    with pytest.raises(ArgumentError, match=r"seed = .*: expected an integer >= 0"):
        entropy_scaling.main(entropy_scaling.Config(out=out, seed=seed))
    assert not out.exists()


def test_bad_device(tmp_path):
    with pytest.raises(ArgumentError, match="device = 'gpu': expected auto, cpu or an available accelerator"):
        entropy_scaling.main(entropy_scaling.Config(out=tmp_path / "results", device="gpu"))
    assert not (tmp_path / "results").exists()

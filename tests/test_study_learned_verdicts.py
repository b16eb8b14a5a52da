"""The findings on learned scores from made-up rows: what the numbers are, and which sentence follows from which rows."""

import itertools
import math

import pytest

from studies import learned_findings as findings
from studies import learned_verdicts as verdicts

LAW = {"family": "made", "dim": 100}


def kl(steps, reference, value, gap=0.1, bias=0.0, **law):
    where = {"part": "rungs", "quantity": "kl", "sampler": "ddpm", "rung": "path", "reference": reference}
    spread = {"gap_stderr": gap} if reference == "losses" else {}
    return {**LAW, **law, **where, "steps": steps, "value": value, "stderr": 9.0, "bias": bias, "exact": 1.0, **spread}


def test_two_routes_in_standard_errors_of_their_difference():
    """z = (|10 − 11.3| − 0.1 − 0.2)/0.5 = 2; other rungs and unpaired K do not enter, nor does either one's own error."""
    rows = [
        kl(4, "terms", 10.0, bias=0.1),
        kl(4, "losses", 11.3, 0.5, 0.2),
        kl(8, "terms", 10.0),
        kl(8, "losses", 10.0),
    ]
    rows += [kl(16, "terms", 99.0), {**kl(4, "terms", 50.0), "sampler": "ei_sde"}]
    found = findings.routes(rows)
    assert found is not None
    assert (found.comparisons, found.networks, found.where) == (2, 1, ("made", 100, 4))
    assert found.largest == pytest.approx(2.0)
    assert found.agreed
    (sentence,) = verdicts.sentences(rows)
    assert "2 comparisons of 1 networks" in sentence
    assert "largest difference 2.00 standard errors (made, d = 100, K = 4): agreed" in sentence


@pytest.mark.parametrize(("apart", "answer"), [(3.99, ": agreed"), (-3.99, ": agreed"), (4.01, "NOT"), (-4.01, "NOT")])
def test_routes_that_part_are_not_agreed(apart, answer):
    """Control, on either side of 4 standard errors."""
    rows = [kl(4, "terms", 10.0), kl(4, "losses", 10.0 + 0.5 * apart, 0.5)]
    assert answer in verdicts.sentences(rows)[0]


def test_routes_in_another_law_are_not_paired():
    assert findings.routes([kl(4, "terms", 10.0), kl(4, "losses", 10.0, dim=1000)]) is None
    assert findings.routes([]) is None
    assert verdicts.sentences([]) == []


def floor_rows(value, linear, stderr=0.0, bias=0.0, reach=(10.0, 20.0, 5.0), steps=100, **law):
    base = {**LAW, **law}
    errors = {"stderr": stderr, "bias": bias}
    out = [
        {**base, "part": "curve", "quantity": "floor", "value": value, **errors},
        {**base, "part": "curve", "quantity": "linear_floor", "value": linear, **errors},
        {**base, "part": "curve", "quantity": "run", "steps": steps, "batch": 8},
    ]
    for (sampler, schedule), found in zip(findings.REACHED.values(), reach, strict=True):
        row = {
            "quantity": "reach",
            "sampler": sampler,
            "schedule": schedule,
            "value": found,
            "stderr": 0.0,
            "bias": 0.0,
        }
        out.append({**base, "part": "reach", **row})
    return out


@pytest.mark.parametrize(
    ("linear", "side"),
    [(2.0, "below"), (1.19, "below"), (1.17, "not told apart from"), (0.8, "not told apart from"), (0.78, "above")],
)
def test_floor_beside_the_linear_one(linear, side):
    """1 ± 0.03 ± 0.01: the ratio's error is ratio·(4·√(0.03² + (0.03/linear)²) + 0.01 + 0.01/linear)."""
    (found,) = findings.floors(floor_rows(1.0, linear, 0.03, 0.01))
    value, error = found.ratio
    assert value == pytest.approx(1.0 / linear)
    assert error == pytest.approx((4.0 * math.hypot(0.03, 0.03 / linear) + 0.01 + 0.01 / linear) / linear)
    assert found.side == side
    assert f"nats, {side} the" in verdicts.sentences(floor_rows(1.0, linear, 0.03, 0.01))[0]


@pytest.mark.parametrize(
    ("power", "stderr", "words"),
    [
        (1.0, 0.01, "consistent with d ("),
        (0.0, 0.01, "consistent with no growth ("),
        (0.5, 0.01, "consistent neither with no growth nor with d ("),
        (0.5, 0.5, "consistent with both no growth and d ("),
    ],
)
def test_growth_of_the_floor(power, stderr, words):
    """Relative errors s at 10² and 10⁴: the exponent's is 4·√2·s/log 100; the dimension between does not enter."""
    rows = [
        row
        for dim in (100, 1000, 10_000)
        for row in floor_rows(dim**power, 9.0, stderr * dim**power * (dim != 1000), dim=dim)
    ]
    found = findings.growths(findings.floors(rows))
    assert [each.what for each in found] == ["floor", *findings.REACHED]
    assert found[0].dims == (100, 10_000)
    assert found[0].exponent == pytest.approx(power, abs=1e-12)
    assert found[0].doubt == pytest.approx(4.0 * math.sqrt(2.0) * stderr / math.log(100.0))
    assert any(words in text for text in verdicts.sentences(rows) if text.startswith("growth, made, floor"))


def test_growth_of_steps():
    """K* = 10 ± 1 → 1000 ± 1 over two decades: exponent 1 ± (1/10 + 1/1000)/log 100."""
    rows = floor_rows(1.0, 2.0) + floor_rows(1.0, 2.0, reach=(1000.0, 20.0, 500.0), dim=10_000)
    whole = [{**row, "bias": 1.0} if row.get("schedule") == "log_snr" else row for row in rows]
    _, denoiser, score, best = findings.growths(findings.floors(whole))
    assert denoiser.exponent == best.exponent == pytest.approx(1.0)
    assert denoiser.doubt == pytest.approx((1.0 / 10.0 + 1.0 / 1000.0) / math.log(100.0))
    assert best.doubt == 0.0
    assert score.exponent == 0.0
    assert score.like == "with no growth"


def test_a_limit_is_marked_as_one(capsys):
    rows = floor_rows(1.0, 2.0)
    verdicts.report([{**row, "method": "limit"} if row.get("schedule") == "optimal" else row for row in rows])
    assert capsys.readouterr().out.count("5 ±0*") == 1


def test_what_stands_beside_a_growth():
    """Runs of different length are named, an identity is named, one dimension has no growth."""
    rows = floor_rows(1.0, 2.0) + floor_rows(1.0, 2.0, dim=1000, steps=30)
    same = floor_rows(1.0, 2.0, family="product") + floor_rows(1.0, 2.0, family="product", dim=1000)
    unlike = [text for text in verdicts.sentences(rows) if text.startswith("growth")]
    alike = [text for text in verdicts.sentences(same) if text.startswith("growth")]
    assert len(unlike) == len(alike) == 4
    assert all("trained differently: 100 steps of 8, 30 steps of 8" in text for text in unlike)
    assert all("both trained for 100 steps of 8; the mmse is d times" in text for text in alike)
    assert not any("identity" in text for text in unlike)
    assert not any("growth" in text for text in verdicts.sentences(floor_rows(1.0, 2.0)))


def grids(steps, exact, network=None, stderr=0.0, **law):
    """Rows of one K: path KL by schedule, of the exact denoiser and of the network."""
    out = []
    for name, value in exact.items():
        own = (network or exact)[name]
        known = {"value": value, "stderr": stderr * value, "bias": 0.0}
        learned = {"network": own, "network_stderr": stderr * own, "network_bias": 0.0}
        if "loss_adaptive" in exact:
            for column, values in (("ratio", exact), ("network_ratio", network or exact)):
                over = values["loss_adaptive"] / values[name]
                learned |= {column: over, f"{column}_stderr": math.sqrt(2.0) * stderr * over, f"{column}_bias": 0.0}
        base = {**LAW, **law, "part": "schedules", "quantity": "schedule", "schedule": name, "steps": steps}
        out.append({**base, **known, **learned})
    return out


EXACT = {"loss_adaptive": 1.05, "optimal": 1.0, "network_optimal": 1.04, "log_snr": 1.5, "karras": 2.0}
OWN = {"loss_adaptive": 3.0, "optimal": 3.3, "network_optimal": 2.5, "log_snr": 2.9, "karras": 4.0}


def test_each_denoiser_has_its_own_best_grid():
    exact, own = findings.pricings(grids(8, EXACT, OWN) + grids(16, EXACT, OWN))
    assert (exact.column, own.column) == ("value", "network")
    assert [each.ratio for each in exact.best] == pytest.approx([1.05, 1.05])
    assert [each.ratio for each in own.best] == pytest.approx([1.2, 1.2])
    assert {each.other for each in (*exact.others, *own.others)} == {"log_snr", "karras"}
    assert (exact.within, own.within) == ("within 10%", "not within 10%")
    first, second = verdicts.sentences(grids(8, EXACT, OWN))
    assert "path KL of the exact denoiser" in first
    assert first.endswith("within 10%; below log_snr, karras at every K")
    assert "path KL of the network itself" in second
    assert second.endswith("not within 10%; beaten by log_snr at K = 8 (×1.034); below karras at every K")


@pytest.mark.parametrize(
    ("ratio", "stderr", "within"),
    [
        (1.0999, 0.0, "within 10%"),
        (1.1001, 0.0, "not within 10%"),
        (1.05, 0.01, "not settled by the errors"),
        (1.05, 0.005, "within 10%"),
        (1.15, 0.01, "not settled by the errors"),
        (1.15, 0.005, "not within 10%"),
    ],
)
def test_ten_percent_is_ten_percent(ratio, stderr, within):
    """No rounding, and 4 standard errors of the ratio."""
    rows = grids(8, {**EXACT, "loss_adaptive": 1.0}, stderr=stderr) + grids(
        16, {**EXACT, "loss_adaptive": ratio}, stderr=stderr
    )
    found = findings.pricings(rows)[0]
    assert found.within == within
    assert (found.worst.steps, found.worst.ratio) == (16, pytest.approx(ratio))
    assert found.worst.doubt == pytest.approx(4.0 * math.sqrt(2.0) * stderr * ratio)
    assert f": {within};" in verdicts.sentences(rows)[0]


def test_refused_grids_are_not_compared():
    """Without our grid there is nothing to say; without the network's best one, the exact denoiser's path KL alone."""
    rows = grids(8, EXACT)
    assert findings.pricings([row for row in rows if row["schedule"] != "loss_adaptive"]) == []
    (exact_only,) = findings.pricings([row for row in rows if row["schedule"] != "network_optimal"])
    assert exact_only.column == "value"


def test_fewer_than_eight_steps_are_not_judged():
    bad = grids(4, {**EXACT, "loss_adaptive": 9.0})
    assert findings.pricings(bad) == []
    assert findings.pricings(bad + grids(8, EXACT))[0].within == "within 10%"


def test_beaten_tied_and_clear():
    """One K above is named with its ratio and takes the schedule off the list of those that are beaten at every K."""
    rows = grids(8, EXACT) + grids(16, {**EXACT, "log_snr": 1.0}) + grids(32, {**EXACT, "karras": 1.05})
    sentence = verdicts.sentences(rows)[0]
    assert "beaten by log_snr at K = 16 (×1.050); not told apart from karras at K = 32 (×1.000)" in sentence
    assert "at every K" not in sentence
    loose = verdicts.sentences(grids(8, EXACT, stderr=0.1))[0]
    assert "not told apart from log_snr at K = 8 (×0.700)" in loose
    assert loose.endswith("below karras at every K")
    above = verdicts.sentences(grids(8, {**EXACT, "log_snr": 1.04}, stderr=0.01))[0]
    assert "beaten" not in above
    assert "not told apart from log_snr at K = 8 (×1.010)" in above


def places(points, share, lead, left=0.001, stderr=0.0, bias=0.0):
    base = {
        **LAW,
        "part": "memory",
        "quantity": "memory",
        "points": points,
        "left": left,
        "stderr": stderr,
        "bias": bias,
    }
    return [{**base, "distance": name, "value": value} for name, value in (("share", share), ("lead", lead))]


@pytest.mark.parametrize(
    ("lead", "nearer"), [(0.51, "law"), (0.49, "neither"), (-0.49, "neither"), (-0.51, "points"), (0.0, "neither")]
)
def test_where_the_network_sits(lead, nearer):
    """Nearer by more than 4·0.1 + 0.1 of what parts the two denoisers, or not."""
    rows = places(50, 0.3, lead, stderr=0.1, bias=0.1)
    (found,) = findings.memories(rows)
    assert (found.points, found.left, found.nearer) == (50, 0.001, nearer)
    words = {"law": "(nearer the law's", "points": "(nearer the points'", "neither": "(as near the one as the other"}
    (sentence,) = verdicts.sentences(rows)
    assert [word in sentence for word in words.values()] == [name == nearer for name in words]
    assert ": 0.30 ±0.50 until 0.1% of the variance is left (" in sentence


def test_memory_is_told_in_the_order_of_n_and_level():
    """One sentence an n, its levels from the noisiest on."""
    rows = [row for n in (1000, 10) for left in (0.001, 0.5) for row in places(n, 0.1, 0.001 - left, left)]
    found = findings.memories(rows)
    assert [(each.points, each.left, each.nearer) for each in found] == [
        (10, 0.5, "points"),
        (10, 0.001, "neither"),
        (1000, 0.5, "points"),
        (1000, 0.001, "neither"),
    ]
    sentences = verdicts.sentences(rows)
    assert [text.split("n = ")[1].split(":")[0] for text in sentences] == ["10", "1000"]
    assert all(text.index("until 50%") < text.index("until 0.1%") for text in sentences)


def test_refusals_are_listed_once(capsys):
    """One line a law and sampler, with every K; brackets in a reason are no markup."""
    base = {**LAW, "part": "marginal", "quantity": "refused", "rung": "marginal", "reference": "none", "stop": 1.0}
    rows = [
        {**base, "sampler": s, "steps": k, "method": f"E_q[p/q] is 0.{k}"} for s in ("ddim", "heun") for k in (8, 16)
    ]
    other = {"part": "schedules", "quantity": "refused", "schedule": "loss_adaptive", "method": "no descent"}
    rows.append({**LAW, "dim": 7, **other})
    verdicts.report(rows)
    text = " ".join(capsys.readouterr().out.split())
    for sampler in ("ddim", "heun"):
        assert text.count(f"not available: made, d = 100, marginal, {sampler}, K = 8, 16: E_q[p/q] is 0.8") == 1
    assert "not available: made, d = 7, schedules, loss_adaptive: no descent" in text
    assert text.count("not available") == 3


def exact(value):
    return {"exact": value, "exact_stderr": 0.01 * value, "exact_bias": 0.0}


def test_marginals_beside_the_exact_denoiser(capsys):
    base = {**LAW, "part": "marginal", "quantity": "kl", "rung": "marginal", "reference": "none", "stop": 2.5}
    values = {("ddim", 8): (0.3, 0.1), ("ddim", 16): (0.2, 0.01), ("heun", 8): (0.1, 0.2)}
    rows = [
        {**base, "sampler": s, "steps": k, "value": v, "stderr": 0.01, "bias": 0.0, **exact(e)}
        for (s, k), (v, e) in values.items()
    ]
    ddim, heun = verdicts.sentences(rows)
    assert ddim.endswith("ddim, network over exact denoiser: K = 8: 3.00 ±0.42, K = 16: 20.0 ±4.1")
    assert heun.endswith("heun, network over exact denoiser: K = 8: 0.50 ±0.20")
    verdicts.report(rows)
    text = capsys.readouterr().out
    assert all(word in text for word in ("2.5", "0.300 ±0.040", "0.01000 ±0.00040"))


def test_numbers_are_shown_to_their_errors():
    shown = {(10.7116, 0.77): "10.71 ±0.77", (351.4, 25.2): "351 ±25", (1.015, 2e-13): "1.015 ±2e-13"}
    for (pair, words), sign in itertools.product(shown.items(), (1, -1)):
        assert verdicts._pair((sign * pair[0], pair[1])) == ("-" if sign < 0 else "") + words

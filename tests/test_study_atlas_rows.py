"""What the atlas says of its rows: the cheapest by hand, kinds, seeds, refusals."""

from typing import Any

from test_study_atlas import CURVED

from studies import atlas
from studies.step_verdicts import RUNGS
from targets import Product, get
from verify import Grid, samplers


def made_up(sampler, rung="marginal", reference="none", *, schedule="log_snr", slope=None, **lists: Any):
    row = {"quantity": "kl", "family": "f", "sampler": sampler, "schedule": schedule, "rung": rung}
    exact = {name: [0.0] * len(lists["value"]) for name in ("stderr", "bias")}
    return {**row, "reference": reference, "slope": slope, **exact, **lists}


def test_the_cheapest_by_hand():
    """A budget counts itself; errors are four standard errors and bias; only what all can spend is asked about."""
    rows = [
        made_up("a", steps=[4, 8], evaluations=[8, 16], value=[2.0, 3.0]),
        made_up(
            "b",
            schedule="cosine",
            steps=[8, 16],
            evaluations=[16, 32],
            value=[1.0, 0.5],
            stderr=[0.1, 0.0],
            bias=[0.1, 0.0],
        ),
    ]
    assert list(atlas.cheapest(rows)) == [
        "marginal KL within 8 evaluations: a on log_snr, K = 4: 2",
        "marginal KL within 16 evaluations: b on cosine, K = 8: 1 ± 0.5; a on log_snr, K = 4: 2",
    ]


def test_the_table_has_the_last_number_of_each_rung_on_the_common_schedule(capsys):
    rows = [made_up("s", rung, reference, value=[9.0, 1.5 + i]) for i, (rung, reference) in enumerate(RUNGS)]
    sheet = atlas._slopes("f", rows)
    assert [str(column.header).split("\n")[0] for column in sheet.columns][1:] == [rung for rung, _ in RUNGS]
    assert [next(iter(column.cells)) for column in sheet.columns] == ["s", "1.5", "2.5", "3.5", "4.5"]
    assert (
        atlas._cell(made_up("s", value=[9.0, 2.0], stderr=[0.5, 0.1], bias=[0.6, 0.7], slope=-2.0)) == "2 ±0.1  -2.00"
    )
    lists: dict[str, Any] = {"steps": [4], "evaluations": [4]}
    atlas.report([made_up("s", value=[0.125], **lists), made_up("s", schedule="cosine", value=[0.375], **lists)])
    told = capsys.readouterr().out
    table = told[: told.index("marginal KL within")] if "marginal KL within" in told else told
    assert "0.125" in table
    assert "0.375" not in table


def test_draws_of_a_sampled_marginal_and_their_seed(monkeypatch):
    """The law's own number of points with the setting's seed; elsewhere eight, of which nothing depends."""
    seen = []
    monkeypatch.setattr(atlas.kl, "marginal", lambda _target, _table, **how: seen.append(how))
    monkeypatch.setattr(atlas, "numbers", lambda found: found)
    for family in ("sphere, d = 3", CURVED):
        table = samplers.dpmpp_2m(Grid.log_snr(4, snr=(0.1, 10.0)))
        atlas._divergence(atlas.law(family), table, "marginal", "none", {"family": family, "seed": 7})
    assert seen == [{"points": 1024, "seed": 7}, {"points": 8, "seed": 7}]


def test_one_sampled_part_is_enough():
    law = Product([get("sphere", dim=100), get("two_points")])
    assert atlas.sampled(law, samplers.dpmpp_2m(Grid.log_snr(4, snr=(0.1, 10.0))))


def test_steps_of_either_preset(monkeypatch):
    """Quick up to `QUICK`, full up to the law's own most, both inclusive."""
    monkeypatch.setattr(atlas, "QUICK", 8)
    for preset, steps in (("quick", [4, 8]), ("full", [4, 8, 16, 32, 64])):
        setting = {"preset": preset, "family": CURVED, "schedule": "log_snr"}
        assert list(atlas.tables(setting, "ddpm")) == steps

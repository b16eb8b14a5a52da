"""What a measured order says of a declared one."""

from verify.audit.verdict import Measured, judge, tolerance


def test_verdicts():
    fine = Measured("a", 1.96, (1.9, 2.02))
    low = Measured("b", 1.5, (1.4, 1.6))
    vague = Measured("b", 1.5, (0.9, 2.1))
    assert judge(2, [fine]).kind == "conforms"
    assert judge(2, [fine, low]).kind == "below declared order"
    assert "1.50, interval 1.40 to 1.60 (b)" in judge(2, [fine, low]).text
    assert judge(2, [fine, vague]).kind == "undecided"
    flat = Measured("d", 0.1, (-1.5, 2.5), (1.9, 1.0, 0.1))
    rising = Measured("d", 0.1, (-1.5, 2.5), (-1.0, 0.0, 0.1))
    assert judge(2, [fine, flat]).kind == "below declared order"
    wandering = Measured("d", 3.1, (-7.0, 13.0), (7.0, 5.0, 3.1))
    assert judge(4, [wandering], [Measured("d", 2.1, (2.0, 2.2))]).kind == "undecided"
    assert judge(4, [wandering], [Measured("d", 0.2, (0.1, 0.3))]).kind == "below declared order"
    assert judge(2, [fine, rising]).kind == "undecided"
    assert judge(2, [low], [Measured("b", 1.97, (1.9, 2.05))]).kind == "conforms"
    assert judge(2, [fine], [Measured("a", 1.0, (0.9, 1.1))]).kind == "below declared order"
    assert judge(2, [fine], gap=1e-6).kind == "differs"
    assert judge(2, [fine], unread=["c"]).kind == "undecided"
    assert judge(None, [low]).kind == "no order declared"
    assert judge(2, []).kind == "not testable"
    assert judge(2, [fine, Measured("c", 2.1, (1.4, 2.9))]).kind == "undecided"
    assert judge(2, [Measured("a", 1.91, (1.9, 1.92))]).kind == "conforms"
    assert judge(2, [Measured("a", 1.89, (1.88, 1.9))]).kind == "below declared order"
    assert [tolerance(p) for p in (1, 1.5, 2, 3, 4)] == [0.05, 0.1, 0.1, 0.2, 0.3]

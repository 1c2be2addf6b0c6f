"""An event that is logged once in a while."""

from __future__ import annotations

from wire.seldom import BURST_MAX, EVENTS_KEPT, Few, Seldom


def test_an_event_is_due_again_after_its_time() -> None:
    seldom = Seldom(10)
    at_s = (0.0, 1.0, 9.9, 10.0, 15.0, 20.0)
    assert [seldom.is_due("a", each) for each in at_s] == [1, 0, 0, 1, 0, 1]
    assert seldom.is_due("b", 20.0)


def test_only_so_many_are_told_apart() -> None:
    seldom = Seldom()
    for number in range(EVENTS_KEPT + 1):
        assert seldom.is_due(number, 0.0)
    assert len(seldom._quiet) == EVENTS_KEPT
    assert seldom.is_due(0, 1.0)
    assert not seldom.is_due(EVENTS_KEPT, 1.0)


def test_the_first_of_a_period_are_due_and_the_rest_are_counted() -> None:
    few = Few(10)
    assert [few.is_due(100.0) for _ in range(BURST_MAX + 5)].count(True) == BURST_MAX
    assert few.take_missed(109.9) == 0
    # Another period may begin before anybody has asked for the count.
    assert few.is_due(110.0)
    assert [few.take_missed(at_s) for at_s in (110.0, 120.0)] == [5, 0]
    # A period begins with the first that comes in it.
    assert few.is_due(129.0)
    assert [few.is_due(138.0) for _ in range(BURST_MAX)].count(True) == BURST_MAX - 1
    assert [few.take_missed(at_s) for at_s in (138.9, 139.0, 200.0)] == [0, 1, 0]

"""An event that is logged once in a while."""

from __future__ import annotations

from wire.seldom import EVENTS_KEPT, Seldom


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

"""Reports of clerks: how long each is shown, and how many are kept."""

from __future__ import annotations

from viewservice.complaints import COMPLAINTS_MAX, GONE_S, SHOWN_S, Complaints


def test_a_report_is_shown_for_a_while() -> None:
    found = Complaints()
    found.add(1.0, 1, "A")
    assert found.counts(1.0 + SHOWN_S) == {"A": 1}
    assert found.counts(1.1 + SHOWN_S) == {}


def test_a_report_outlives_its_clerk_for_a_while() -> None:
    found = Complaints()
    found.add(0.0, 1, "A")
    found.gone(SHOWN_S - 1, 1)
    assert found.counts(SHOWN_S - 1 + GONE_S) == {"A": 1}
    assert found.counts(SHOWN_S + GONE_S) == {}


def test_a_report_that_was_over_does_not_come_back() -> None:
    found = Complaints()
    found.add(0.0, 1, "A")
    found.gone(SHOWN_S + 1, 1)
    found.gone(SHOWN_S + 1, 2)
    assert found.counts(SHOWN_S + 1) == {}


def test_the_reports_of_clerks_that_are_gone_are_bounded() -> None:
    found = Complaints()
    for link in range(COMPLAINTS_MAX + 5):
        found.add(0.0, link, "A")
        found.gone(0.0, link)
    assert found.counts(0.0) == {"A": COMPLAINTS_MAX}

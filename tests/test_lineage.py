"""Which views a view service has created, by counter and bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewservice import lineage
from viewservice.lineage import Lineage, Verdict
from wire.messages import COUNTER_MAX, counter_of, view_number

BITS = st.integers(0, 2**32 - 1)


@given(st.lists(BITS, min_size=1, max_size=20), BITS)
def test_what_was_created_is_known_and_nothing_else(drawn: list[int], other: int):
    numbers = [view_number(at, bits) for at, bits in enumerate(drawn, 1)]
    known = Lineage()
    for number in numbers:
        assert known.verdict(number) is Verdict.NEWER
        known = known.after(number)
    assert known.last == len(numbers)
    assert known.verdict(0) is Verdict.KNOWN
    for number in numbers:
        assert known.verdict(number) is Verdict.KNOWN
        if (strange := view_number(counter_of(number), other)) != number:
            assert known.verdict(strange) is Verdict.OTHER


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lineage, "VIEWS_KEPT_MAX", 3)
    known = Lineage()
    for counter in range(1, 6):
        known = known.after(view_number(counter, counter))
    verdicts = [known.verdict(view_number(n, n)) for n in range(1, 7)]
    kept = [Verdict.KNOWN] * 3
    assert verdicts == [Verdict.FORGOTTEN, Verdict.FORGOTTEN, *kept, Verdict.NEWER]


def test_a_counter_is_not_left_out():
    with pytest.raises(AssertionError):
        Lineage().after(view_number(2, 0))


@given(st.integers(0, COUNTER_MAX), BITS)
def test_a_number_holds_both(counter: int, bits: int):
    number = view_number(counter, bits)
    assert counter_of(number) == counter
    assert 0 <= number < 2**62

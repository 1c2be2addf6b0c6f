"""The log: entries by identity, weights by difference; docs/design.md, section 5."""

from __future__ import annotations

from random import Random

import pytest

from pbserver.log import ENTRY_BYTES, Log, weight
from wire.messages import Batch, Entry, OpenSession


def entry(index: int, view: int = 1, size: int = 0) -> Entry:
    return Entry(view, index, 10 * index, Batch(bytes(16), 1, index, 1, bytes(size)))


def log(*views: int) -> Log:
    """One entry of each view, from index 1."""
    made = Log()
    for at, view in enumerate(views):
        made.append(entry(at + 1, view))
    return made


def test_an_empty_log_ends_where_every_history_begins() -> None:
    empty = Log()
    assert (empty.end, empty.end_view, empty.end_stamp_ms) == (0, 0, 0)
    assert empty.view_at(0) == 0
    assert empty.view_at(1) is None


def test_an_identity_is_known_where_the_log_reaches() -> None:
    made = log(1, 1, 3)
    assert [made.view_at(index) for index in range(5)] == [0, 1, 1, 3, None]
    made.forget(2)
    assert [made.view_at(index) for index in range(5)] == [None, None, 1, 3, None]
    assert (made.base_index, made.base_view, made.base_stamp_ms) == (2, 1, 20)


def test_truncating_drops_an_entry_and_all_after_it() -> None:
    made = log(1, 1, 1, 1)
    made.truncate(3)
    assert (made.end, len(made.entries)) == (2, 2)
    made.append(entry(3, 2))
    assert made.view_at(3) == 2


def test_a_log_that_forgot_everything_goes_on_where_it_was() -> None:
    made = log(1, 2)
    made.forget(2)
    assert (made.end, made.end_view, made.end_stamp_ms) == (2, 2, 20)
    made.append(entry(3, 2))
    assert made.between(2, 3) == [entry(3, 2)]


def test_a_log_that_restarts_holds_nothing() -> None:
    made = log(1, 1)
    made.restart(7, 40, 400)
    assert (made.end, made.end_view, made.end_stamp_ms) == (40, 7, 400)
    assert made.view_at(40) == 7
    assert made.view_at(2) is None
    assert made.weight_between(40, 40) == 0


@pytest.mark.parametrize(
    ("index", "view"), [(2, 1), (4, 1), (3, 0)], ids=["repeated", "hole", "older view"]
)
def test_what_cannot_be_next_is_not_put_in(index: int, view: int) -> None:
    made = log(1, 1)
    with pytest.raises(ValueError, match=f"entry {index} .* cannot follow entry 2 "):
        made.append(entry(index, view))
    assert made.end == 2


@pytest.mark.parametrize("index", [0, 1, 5])
def test_what_is_not_held_cannot_be_had(index: int) -> None:
    made = log(1, 1, 1, 1)
    made.forget(1)
    with pytest.raises(AssertionError):
        made.entry(index)


def test_an_opening_weighs_less_than_what_a_batch_brings() -> None:
    assert weight(OpenSession(bytes(16))) == ENTRY_BYTES
    assert weight(Batch(bytes(16), 1, 1, 1, bytes(100))) == ENTRY_BYTES + 100


def test_one_entry_is_always_within_reach() -> None:
    made = Log()
    for index, size in enumerate((10, 5000, 10, 10), start=1):
        made.append(entry(index, size=size))
    assert made.reach(1, 1) == 2
    assert made.reach(2, 2 * ENTRY_BYTES + 20) == 4
    assert made.reach(2, 2 * ENTRY_BYTES + 19) == 3
    assert made.reach(0, 1 << 30) == 4


def test_a_log_is_the_list_of_its_entries_whatever_is_done_to_it() -> None:
    """Against a plain list, in a few thousand random steps."""
    for seed in range(30):
        random = Random(seed)
        made, plain, base = Log(), [], 0
        for _ in range(150):
            choice = random.randrange(5)
            end = base + len(plain)
            if choice <= 2:
                plain.append(entry(end + 1, size=random.randrange(500)))
                made.append(plain[-1])
            elif choice == 3 and plain:
                index = random.randint(base + 1, end)
                made.truncate(index)
                del plain[index - base - 1 :]
            elif choice == 4:
                upto = random.randint(base, end)
                made.forget(upto)
                del plain[: upto - base]
                base = upto
            end = base + len(plain)
            one, other = sorted((random.randint(base, end), random.randint(base, end)))
            held = plain[one - base : other - base]
            assert made.between(one, other) == held
            assert made.weight_between(one, other) == sum(
                weight(each.request) for each in held
            )
            bound = random.randrange(3000)
            if one < end:
                reach = made.reach(one, bound)
                assert one < reach <= end
                assert reach == one + 1 or made.weight_between(one, reach) <= bound
                assert reach == end or made.weight_between(one, reach + 1) > bound

"""The checker of the demo and of chaos: what it must find, and what it must not."""

from zlib import crc32

import pytest

from understudy.history import (
    DONE,
    IN_DOUBT,
    NOT_EXECUTED,
    Append,
    Read,
    Verdict,
    check,
)

# Times are in units of our own; a mark of one letter and one digit is 4 bytes.


def append(clerk, number, began, ended, length, outcome=DONE):  # noqa: PLR0917
    return Append(clerk, number, "k", began, ended, outcome, length)


def doubt(clerk, number, began, ended):
    return append(clerk, number, began, ended, 0, IN_DOUBT)


def unsent(clerk, number, began, ended):
    return append(clerk, number, began, ended, 0, NOT_EXECUTED)


def read(clerk, began, ended, value):
    return Read(clerk, "k", began, ended, len(value), crc32(value))


RIGHT = {
    "one after the other": (
        [append("a", 1, 0, 1, 4), read("b", 2, 3, b"a.1;"), append("b", 1, 4, 5, 8)],
        b"a.1;b.1;",
    ),
    "at the same time, either order": (
        [append("a", 1, 0, 5, 8), append("b", 1, 0, 5, 4)],
        b"b.1;a.1;",
    ),
    "one clerk, two outstanding": (
        [append("a", 1, 0, 5, 4), append("a", 2, 1, 5, 8)],
        b"a.1;a.2;",
    ),
    "a read during an append sees it": (
        [append("a", 1, 0, 9, 4), read("b", 1, 2, b"a.1;")],
        b"a.1;",
    ),
    "a read during an append does not see it": (
        [append("a", 1, 0, 9, 4), read("b", 1, 2, b"")],
        b"a.1;",
    ),
    "in doubt, and there": (
        [append("a", 1, 0, 1, 4), doubt("a", 2, 2, 3)],
        b"a.1;a.2;",
    ),
    "in doubt, and not there": (
        [append("a", 1, 0, 1, 4), doubt("b", 1, 0, 9)],
        b"a.1;",
    ),
    "in doubt, and long after": (
        [doubt("a", 1, 0, 1), append("b", 1, 5, 6, 4), read("b", 7, 8, b"b.1;")],
        b"b.1;a.1;",
    ),
    "not executed, and not there": (
        [append("a", 1, 0, 1, 4), unsent("a", 2, 2, 3)],
        b"a.1;",
    ),
    "ended at the moment when another began": (
        [append("a", 1, 0, 5, 4), read("b", 5, 6, b"")],
        b"a.1;",
    ),
}

WRONG = {
    "lost": ([append("a", 1, 0, 1, 4), append("a", 2, 2, 3, 8)], b"a.1;", "lost"),
    "all lost": ([append("a", 1, 0, 1, 4)], b"", "lost"),
    "twice": ([append("a", 1, 0, 1, 4)], b"a.1;a.1;", "duplicated"),
    "in doubt, and twice": (
        [append("b", 1, 0, 1, 4), doubt("a", 1, 0, 1)],
        b"b.1;a.1;a.1;",
        "duplicated",
    ),
    "not executed, but there": (
        [append("b", 1, 0, 1, 4), unsent("a", 1, 0, 1)],
        b"b.1;a.1;",
        "disorder",
    ),
    "nobody's": ([append("a", 1, 0, 1, 4)], b"a.1;c.7;", "disorder"),
    "half a mark": ([append("a", 1, 0, 1, 4)], b"a.1;c.", "disorder"),
    "out of the clerk's order": (
        [append("a", 1, 0, 5, 8), append("a", 2, 1, 5, 4)],
        b"a.2;a.1;",
        "disorder",
    ),
    "before what had ended": (
        [append("a", 1, 0, 1, 8), append("b", 1, 2, 3, 4)],
        b"b.1;a.1;",
        "disorder",
    ),
    "at another place than was said": (
        [append("a", 1, 0, 9, 4), append("b", 1, 0, 9, 4)],
        b"b.1;a.1;",
        "disorder",
    ),
    "a doubtful one before what was read before it": (
        [append("b", 1, 0, 1, 8), read("b", 2, 3, b"a.1;b.1;"), doubt("a", 1, 4, 5)],
        b"a.1;b.1;",
        "disorder",
    ),
    "own write not seen": (
        [append("a", 1, 0, 1, 4), read("a", 2, 3, b"")],
        b"a.1;",
        "reads_back",
    ),
    "another's write not seen": (
        [append("a", 1, 0, 1, 4), read("b", 2, 3, b"")],
        b"a.1;",
        "reads_back",
    ),
    "a read behind another clerk's read": (
        [append("a", 1, 0, 9, 4), read("b", 1, 2, b"a.1;"), read("c", 3, 4, b"")],
        b"a.1;",
        "reads_back",
    ),
    "a read of what never was": (
        [append("a", 1, 0, 1, 4), read("b", 2, 3, b"a.2;")],
        b"a.1;",
        "reads_back",
    ),
    "a read of half a mark": (
        [append("a", 1, 0, 9, 4), read("b", 2, 3, b"a.")],
        b"a.1;",
        "reads_back",
    ),
    "a read of what was lost again": (
        [append("a", 1, 0, 1, 4), doubt("b", 1, 0, 9), read("c", 2, 3, b"a.1;b.1;")],
        b"a.1;",
        "reads_back",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right(name):
    records, final = RIGHT[name]
    verdict = check(records, {"k": final})
    assert verdict.findings == []
    assert verdict.is_right


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    records, final, what = WRONG[name]
    verdict = check(records, {"k": final})
    counts = {
        field: getattr(verdict, field)
        for field in ("lost", "duplicated", "reads_back", "disorder")
    }
    assert counts[what] >= 1
    assert verdict.findings
    assert not verdict.is_right


def test_nothing_is_not_right():
    assert not check([], {}).is_right


def test_keys_are_apart():
    other = Append("a", 2, "other", 2, 3, DONE, 4)
    verdict = check([append("a", 1, 0, 1, 4), other], {"k": b"a.1;", "other": b"a.2;"})
    assert Verdict(acknowledged=2) == verdict


def test_a_key_that_nobody_wrote():
    verdict = check([append("a", 1, 0, 1, 4)], {"k": b"a.1;", "x": b"b.1;"})
    assert verdict.disorder == 1


BLIND = {
    "own write not seen",
    "another's write not seen",
    "before what had ended",
    "a read behind another clerk's read",
}


@pytest.mark.parametrize("name", sorted(BLIND))
def test_what_is_wrong_without_the_value_in_the_end(name):
    records, _, what = WRONG[name]
    verdict = check(records)
    assert getattr(verdict, what) >= 1
    assert not verdict.is_right


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_without_the_value_in_the_end(name):
    verdict = check(RIGHT[name][0])
    assert verdict.findings == []

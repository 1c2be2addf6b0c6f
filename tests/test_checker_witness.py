"""Answers that the log does not bear out are found, each for its own reason."""

from __future__ import annotations

import pytest

from tests.sim.checker_clerks import DONE, IN_DOUBT, Call
from tests.sim.checker_witness import contradictions
from tests.sim.model import Answer
from wire.commands import Append, Cas, Delete, Get, Put, Scan

#: Entries 1..4 were committed at 10, 20, 30 and 40.
COMMITTED = (10, 20, 30, 40)

OK = Answer(None)


def write(index: int, command: object, answer: object = OK, **changes: object) -> Call:
    """Done, and committed while it was under way."""
    at = COMMITTED[index - 1]
    call = Call("a", index, command, at - 1, at + 1, DONE, answer, index)
    return call._replace(**changes)


def read(command: object, answer: object, called: int, ended: int) -> Call:
    return Call("b", 1, command, called, ended, DONE, answer)


#: x is 1, then y is 1, then both are 2 with one entry, then x is gone.
LOG = [
    write(1, Put(b"x", b"1")),
    write(2, Append(b"y", b"1"), Answer(1)),
    write(3, Put(b"x", b"2")),
    write(3, Put(b"y", b"2"), number=4),
    write(4, Delete(b"x"), Answer(value=True), number=5),
]

X, Y = Get(b"x"), Get(b"y")
ALL = Scan(b"", None, 100)


def pairs(**found: str) -> list[tuple[bytes, bytes]]:
    return [(key.encode(), value.encode()) for key, value in found.items()]


BORNE_OUT = {
    "the first state": read(X, Answer(None), 1, 5),
    "the only one that stood": read(X, Answer(b"1"), 11, 29),
    "one that stood before, and beside the write": read(X, Answer(b"1"), 25, 35),
    "or after": read(X, Answer(b"2"), 25, 35),
    "what was gone": read(X, Answer(None), 41, 50),
    "all of one moment": read(ALL, pairs(x="1", y="1"), 15, 45),
    "all of one entry": read(ALL, pairs(x="2", y="2"), 15, 45),
    "a part": read(Scan(b"x", b"y", 100), pairs(x="2"), 31, 33),
    "the first few": read(Scan(b"", None, 1), pairs(x="2"), 31, 33),
    "in doubt, and late": write(
        4, Put(b"z", b""), outcome=IN_DOUBT, ended=11, called=9
    ),
    "a compare that failed": write(4, Cas(b"y", b"1", b"3"), Answer(value=False)),
}

BELIED = {
    "a read of what was not yet": (read(X, Answer(b"2"), 11, 29), "did not stand"),
    "a read of what was past": (read(X, Answer(b"1"), 31, 35), "did not stand"),
    "a read of what never was": (read(X, Answer(b"3"), 1, 99), "did not stand"),
    "a scan of two moments": (read(ALL, pairs(x="1", y="2"), 1, 99), "did not stand"),
    "a scan within an entry": (read(ALL, pairs(x="2", y="1"), 1, 99), "did not stand"),
    "a scan that misses one": (read(ALL, pairs(x="2"), 1, 39), "did not stand"),
    "a scan past its end": (
        read(Scan(b"x", b"y", 100), pairs(x="2", y="2"), 31, 33),
        "did not stand",
    ),
    "a scan past its limit": (
        read(Scan(b"", None, 1), pairs(x="2", y="2"), 31, 33),
        "did not stand",
    ),
    "another answer to a write": (
        write(4, Append(b"y", b"!"), Answer(1)),
        "by the log it is Answer(value=2",
    ),
    "a compare that was told yes": (
        write(4, Cas(b"y", b"1", b"3"), Answer(value=True)),
        "by the log it is Answer(value=False",
    ),
    "a write that was answered before it was committed": (
        write(4, Put(b"z", b""), ended=39, called=30),
        "was under way at 30..39, and is committed at 40",
    ),
    "a write that was committed before it was called": (
        write(4, Put(b"z", b""), called=41, ended=42),
        "was under way at 41..42, and is committed at 40",
    ),
    "in doubt, and committed before it was called": (
        write(4, Put(b"z", b""), called=41, ended=42, outcome=IN_DOUBT),
        "was under way at 41.., and is committed at 40",
    ),
}


@pytest.mark.parametrize("name", BORNE_OUT)
def test_what_the_log_bears_out(name: str) -> None:
    assert list(contradictions([*LOG, BORNE_OUT[name]], COMMITTED)) == []


@pytest.mark.parametrize("name", BELIED)
def test_what_the_log_belies(name: str) -> None:
    call, why = BELIED[name]
    (found,) = contradictions([*LOG, call], COMMITTED)
    assert why in found

"""
What clerks were told, held against what is there in the end.

Pure.  Clerks append marks that occur once in the world, and read; a value only
ever grows, so every answer says at which length of its value it took effect,
and the whole history can be checked in one pass per key:

- what was acknowledged is there, once; what is in doubt at most once; what was
  said not to be executed, never;
- one clerk's marks stand in the order in which it made them;
- what was read is how the value began, as it is in the end;
- whatever ended before another began took effect at a shorter length.

Together that is linearizability, not a sample of it: order by length is the one
order there can be (``docs/design.md``, section 2).  Times are nanoseconds of a
clock that all clerks share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from zlib import crc32

from attrs import define, field
from msgspec import Struct

DONE: Final = "done"
IN_DOUBT: Final = "in doubt"
NOT_EXECUTED: Final = "not executed"

#: Ends every mark; it occurs in no clerk's name.
_END: Final = b";"


class Append(Struct, array_like=True, tag="append", gc=False, frozen=True):
    """One append, and how it ended."""

    clerk: str
    #: 1, 2, 3, ... in the order of the clerk's calls.
    number: int
    key: str
    began_ns: int
    ended_ns: int
    outcome: str
    #: The value's length after it, if it is `DONE`.
    length: int = 0

    def mark(self) -> bytes:
        """What is appended."""
        return mark(self.clerk, self.number)


class Read(Struct, array_like=True, tag="read", gc=False, frozen=True):
    """One read that was answered."""

    clerk: str
    key: str
    began_ns: int
    ended_ns: int
    length: int
    #: CRC-32 of the value.
    crc: int


Record = Append | Read


def mark(clerk: str, number: int) -> bytes:
    """The bytes that stand for a clerk's append of that number."""
    return b"%s.%d%s" % (clerk.encode(), number, _END)


@define
class Verdict:
    """What a history amounts to."""

    acknowledged: int = 0
    #: Acknowledged, and not there.
    lost: int = 0
    #: There more often than once; surplus copies are counted.
    duplicated: int = 0
    #: Reads that are no beginning of the value, or an older one than was known.
    reads_back: int = 0
    #: There although it was said not to be executed, or nobody's; out of a
    #: clerk's order; or before what had ended when it began.
    disorder: int = 0
    reads: int = 0
    in_doubt: int = 0
    #: In words, the first ones.
    findings: list[str] = field(factory=list)

    @property
    def is_right(self) -> bool:
        """Whether every promise was kept, and anything was promised at all."""
        wrong = self.lost + self.duplicated + self.reads_back + self.disorder
        return self.acknowledged > 0 and wrong == 0

    def found(self, what: str) -> None:
        """Keep a finding, if there are not too many."""
        if len(self.findings) < 20:
            self.findings.append(what)


def check(
    records: Iterable[Record], finals: Mapping[str, bytes] | None = None
) -> Verdict:
    """Hold *records* against *finals*, the value of every key in the end.

    None: the values cannot be read any more; then only the answers are held
    against each other.
    """
    by_key: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_key[record.key].append(record)
    verdict = Verdict()
    for key, those in by_key.items():
        _count(verdict, those)
        if finals is None:
            _check_times(verdict, those, _said_places(those))
            continue
        final = finals.get(key, b"")
        _check_marks(verdict, key, those, final)
        _check_times(verdict, _credible(verdict, key, those, final), _places(final))
    for key in (finals or {}).keys() - by_key.keys():
        if finals and finals[key]:
            verdict.disorder += 1
            verdict.found(f"{key}: nobody has appended, but there is a value")
    return verdict


def _count(verdict: Verdict, records: list[Record]) -> None:
    for record in records:
        if isinstance(record, Read):
            verdict.reads += 1
        else:
            verdict.acknowledged += record.outcome == DONE
            verdict.in_doubt += record.outcome == IN_DOUBT


# -- what is there, and how often --------------------------------------------------


def _check_marks(
    verdict: Verdict, key: str, records: list[Record], final: bytes
) -> None:
    there = Counter(_marks(final))
    for record in records:
        if isinstance(record, Append):
            _check_mark(verdict, record, there.pop(record.mark(), 0))
    for strange in there:
        verdict.disorder += 1
        verdict.found(f"{key}: nobody has appended {strange!r}, but it is there")
    _check_clerks(verdict, key, final)


def _check_mark(verdict: Verdict, append: Append, count: int) -> None:
    if count == 0 and append.outcome == DONE:
        verdict.lost += 1
        verdict.found(f"lost: {append}")
    if count > 1:
        verdict.duplicated += count - 1
        verdict.found(f"there {count} times: {append}")
    if count and append.outcome == NOT_EXECUTED:
        verdict.disorder += 1
        verdict.found(f"not executed, but there: {append}")


def _check_clerks(verdict: Verdict, key: str, final: bytes) -> None:
    last: dict[bytes, int] = {}
    for each in _marks(final):
        clerk, _, number = each[:-1].rpartition(b".")
        if not number.isdigit():
            continue  # Nobody's, and found to be so above.
        if int(number) < last.get(clerk, 0):
            verdict.disorder += 1
            verdict.found(f"{key}: {each!r} comes after {clerk!r}.{last[clerk]}")
        last[clerk] = max(last.get(clerk, 0), int(number))


def _marks(value: bytes) -> Iterator[bytes]:
    """The marks in *value*, and what is left if it ends in the middle of one."""
    pieces = value.split(_END)
    for piece in pieces[:-1]:
        yield piece + _END
    if pieces[-1]:
        yield pieces[-1]


# -- in which order -------------------------------------------------------------------


def _credible(
    verdict: Verdict, key: str, records: list[Record], final: bytes
) -> list[Record]:
    """*records* without the reads of what the value never was."""
    beginnings = _checksums(final, records)
    credible = []
    for record in records:
        if isinstance(record, Read) and beginnings.get(record.length) != record.crc:
            verdict.reads_back += 1
            verdict.found(f"no beginning of the value of {key}: {record}")
        else:
            credible.append(record)
    return credible


def _check_times(
    verdict: Verdict, records: list[Record], places: Mapping[bytes, int]
) -> None:
    """Sweep through time: whatever begins takes effect after all that ended."""
    events: list[tuple[int, int, int, Record]] = []
    for record in records:
        is_done = True
        if isinstance(record, Read):
            at = record.length
        else:
            # Without a place: lost, or never executed, and found above.
            at = places.get(record.mark(), -1)
            is_done = record.outcome == DONE
        if at >= 0:
            # What ends when another begins is taken to end later: that accuses
            # nobody.
            events.append((record.began_ns, 0, at, record))
            if is_done:
                events.append((record.ended_ns, 1, at, record))
    known = 0
    for _, is_end, at, record in sorted(events, key=lambda event: event[:2]):
        if is_end:
            known = max(known, at)
        elif not isinstance(record, Read):
            _check_place(verdict, record, at, known)
        elif at < known:
            verdict.reads_back += 1
            verdict.found(f"{known} bytes were known: {record}")


def _check_place(verdict: Verdict, append: Append, at: int, known: int) -> None:
    if append.outcome == DONE and append.length != at:
        verdict.disorder += 1
        verdict.found(f"it is at {at} and not where it was said to be: {append}")
    if at - len(append.mark()) < known:
        verdict.disorder += 1
        verdict.found(f"it is at {at}, but {known} bytes were known: {append}")


def _said_places(records: list[Record]) -> dict[bytes, int]:
    """Mark -> the value's length with it, as it was said."""
    return {
        each.mark(): each.length
        for each in records
        if isinstance(each, Append) and each.outcome == DONE
    }


def _places(final: bytes) -> dict[bytes, int]:
    """Mark -> the value's length with it; of several copies, the first's."""
    places: dict[bytes, int] = {}
    at = 0
    for each in _marks(final):
        at += len(each)
        places.setdefault(each, at)
    return places


def _checksums(final: bytes, records: Iterable[Record]) -> dict[int, int]:
    """Length -> CRC-32 of the value at that length, for all that were read."""
    wanted = sorted(
        {each.length for each in records if isinstance(each, Read)} & {*_lengths(final)}
    )
    checksums: dict[int, int] = {}
    at = crc = 0
    for length in wanted:
        checksums[length] = crc = crc32(final[at:length], crc)
        at = length
    return checksums


def _lengths(final: bytes) -> Iterator[int]:
    """The lengths that the value ever had."""
    at = 0
    yield at
    for each in _marks(final):
        at += len(each)
        yield at

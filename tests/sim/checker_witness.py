"""
Does the log bear out every answer?

Pure.  The search in `tests.sim.checker` asks whether there is *some* order that
explains what clerks saw, key by key.  The service claims more: that the order
is that of its log, for all keys together, and that a read sees the state of one
moment.  So the log is replayed by the model, and each write must have been
answered as it is there, and committed between its call and its end; each read
and each scan must show, whole, a state that stood at some moment between.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.sim.checker_clerks import DONE, Call
from tests.sim.model import Answer, step
from wire.commands import READS, Scan

#: Keys and values.
Pairs = dict[bytes, bytes]


class Version(NamedTuple):
    """What stood from the entry at *index* on."""

    index: int
    pairs: Pairs


def contradictions(calls: Sequence[Call], committed: Sequence[int]) -> Iterator[str]:
    """What was answered otherwise than the log has it; nothing: all is well.

    *committed* are the moments at which the entries 1, 2, 3, ... were.
    """
    versions = [Version(0, {})]
    written = [call for call in calls if call.index is not None]
    for call in sorted(written, key=lambda call: (call.index, call.clerk, call.number)):
        yield from _replayed(call, committed, versions)
    for call in calls:
        if call.outcome == DONE and isinstance(call.command, READS):
            yield from _read(call, committed, versions)


def _replayed(
    call: Call, committed: Sequence[int], versions: list[Version]
) -> Iterator[str]:
    key, index, pairs = call.command.key, call.index, versions[-1].pairs
    assert index is not None
    what = f"call {call.number} of {call.clerk}, {call.command},"
    value, answer = step(pairs.get(key), call.command)
    is_done = call.outcome == DONE
    if is_done and answer != call.answer:
        yield f"{what} was answered {call.answer}; by the log it is {answer}"
    moment = committed[index - 1]
    if moment < call.called or (is_done and moment > (call.ended or 0)):
        span = f"{call.called}..{call.ended if is_done else ''}"
        yield f"{what} was under way at {span}, and is committed at {moment}"
    if versions[-1].index == index:
        versions.pop()
    after = {**pairs, key: value} if value is not None else _without(pairs, key)
    versions.append(Version(index, after))


def _without(pairs: Pairs, key: bytes) -> Pairs:
    return {each: value for each, value in pairs.items() if each != key}


def _read(
    call: Call, committed: Sequence[int], versions: Sequence[Version]
) -> Iterator[str]:
    assert call.ended is not None
    first, last = (bisect_right(committed, at) for at in (call.called, call.ended))
    low, high = (bisect_right(versions, at, key=_index) for at in (first, last))
    stood = [_shown(call, version.pairs) for version in versions[low - 1 : high]]
    if call.answer not in stood:
        yield (
            f"read {call.number} of {call.clerk}, {call.command}, saw {call.answer},"
            f" which did not stand at any moment between; there were {stood}"
        )


def _index(version: Version) -> int:
    return version.index


def _shown(call: Call, pairs: Pairs) -> object:
    """What a read shows of such a state."""
    command = call.command
    if not isinstance(command, Scan):
        return Answer(pairs.get(command.key))
    keys = sorted(key for key in pairs if key >= command.start)
    if command.end is not None:
        keys = [key for key in keys if key < command.end]
    return [(key, pairs[key]) for key in keys[: command.limit]]

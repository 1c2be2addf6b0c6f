"""
Was every clerk told the truth?

Pure.  Looks at what clerks called and how it ended, and at what the service
holds in the end: nothing twice, nothing that was said not to have happened,
nothing lost, and each clerk's writes in the order in which it called them
(docs/design.md, section 2, S3 and S6).  Every appended suffix names its clerk
and its call, so that a value tells its own story.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tests.sim.checker import Operation
from tests.sim.model import Answer
from wire.commands import READS, Append, Get, Scan

#: How a call ended.
DONE: Final = "done"
NOT_EXECUTED: Final = "not executed"
IN_DOUBT: Final = "in doubt"
#: It had not ended when the run did.
OPEN: Final = "open"

#: Keys that nobody does anything to but append and read.
APPENDED: Final = b"a"


class Call(NamedTuple):
    """One call of one clerk."""

    clerk: str
    #: 1, 2, 3, ... in the order of this clerk's calls.
    number: int
    command: Any
    #: Moments: numbers of events, all different.
    called: int
    ended: int | None
    outcome: str
    #: What came back, if it is done: an `Answer`, of a scan a list of pairs.
    answer: Any = None
    #: The index of the entry with it, if the log has it.
    index: int | None = None


def suffix(clerk: str, number: int) -> bytes:
    """What that call appends."""
    return f"{clerk}.{number};".encode()


def tokens(value: bytes) -> list[tuple[str, int]]:
    """The calls that made up a value, in order."""
    found = []
    for token in value.decode().split(";")[:-1]:
        clerk, _, number = token.partition(".")
        found.append((clerk, int(number)))
    return found


def histories(
    calls: Iterable[Call], keys: Sequence[bytes]
) -> dict[bytes, list[Operation]]:
    """What happened to each key.  A scan is a read of every key in its range;
    what was not executed, and reads without an answer, are no part of it."""
    found: dict[bytes, list[Operation]] = {key: [] for key in keys}
    for call in calls:
        is_done = call.outcome == DONE
        if call.outcome == NOT_EXECUTED or (
            not is_done and isinstance(call.command, READS)
        ):
            continue
        ended = call.ended if is_done else None
        if not isinstance(call.command, Scan):
            key = call.command.key
            found[key].append(
                Operation(
                    *(call.clerk, call.command, call.called, ended),
                    *(call.answer, call.index),
                )
            )
            continue
        seen = dict(call.answer)
        for key in keys:
            if call.command.start <= key < (call.command.end or b"\xff"):
                answer = Answer(seen.get(key))
                operation = Operation(call.clerk, Get(key), call.called, ended, answer)
                found[key].append(operation)
    return found


def lies(calls: Sequence[Call], values: Mapping[bytes, bytes | None]) -> list[str]:
    """What is wrong with what was appended; empty: nothing.

    *values* are what the service holds in the end.
    """
    found: list[str] = []
    appends: dict[bytes, dict[tuple[str, int], Call]] = defaultdict(dict)
    for call in calls:
        if isinstance(call.command, Append) and call.command.key.startswith(APPENDED):
            appends[call.command.key][call.clerk, call.number] = call
    for key, value in sorted(values.items()):
        if key.startswith(APPENDED):
            found += _appended(key, tokens(value or b""), appends[key])
    return found


def _appended(
    key: bytes, held: list[tuple[str, int]], calls: Mapping[tuple[str, int], Call]
) -> list[str]:
    found = []
    name = key.decode()
    last: dict[str, int] = defaultdict(int)
    seen = set()
    for token in held:
        clerk, number = token
        what = f"{name}: call {number} of {clerk}"
        if token not in calls:
            found.append(f"{what} is there, and was never made")
        elif token in seen:
            found.append(f"{what} was executed twice")
        elif calls[token].outcome == NOT_EXECUTED:
            found.append(f"{what} was executed, and {clerk} was told it was not")
        elif number < last[clerk]:
            found.append(f"{what} came after its call {last[clerk]}")
        seen.add(token)
        last[clerk] = max(last[clerk], number)
    for token, call in calls.items():
        if call.outcome == DONE and token not in seen:
            found.append(f"{name}: call {token[1]} of {token[0]} was done, and is gone")
    return found


def blind_reads(calls: Sequence[Call]) -> list[str]:
    """Reads that missed a write which the same clerk had called before, done
    or not by then (docs/design.md, section 7); empty: none."""
    found: list[str] = []
    written: dict[tuple[str, bytes], list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: (call.clerk, call.number)):
        command = call.command
        if isinstance(command, Append) and command.key.startswith(APPENDED):
            written[call.clerk, command.key].append(call)
        elif call.outcome != DONE:
            continue
        elif isinstance(command, Get) and command.key.startswith(APPENDED):
            seen = set(tokens(call.answer.value or b""))
            found += [
                f"{command.key.decode()}: read {call.number} of {call.clerk}"
                f" does not see its write {write.number}"
                for write in written[call.clerk, command.key]
                if write.outcome == DONE and (call.clerk, write.number) not in seen
            ]
    return found


def misled(calls: Sequence[Call]) -> list[str]:
    """What the log has against what clerks were told: writes that are in it in
    another order than they were called in, done ones that are not in it, and
    others that were said not to be; empty: nothing."""
    found: list[str] = []
    last: dict[str, int] = defaultdict(int)
    for call in sorted(calls, key=lambda call: (call.clerk, call.number)):
        what = f"call {call.number} of {call.clerk}"
        if call.index is None:
            if call.outcome == DONE and not isinstance(call.command, READS):
                found.append(f"{what} was done, and the log does not have it")
            continue
        if call.outcome == NOT_EXECUTED:
            found.append(f"{what} is executed at {call.index}, and was said not to be")
        if call.index < last[call.clerk]:
            found.append(
                f"{what} is executed at {call.index}, after {last[call.clerk]}"
            )
        last[call.clerk] = max(last[call.clerk], call.index)
    return found

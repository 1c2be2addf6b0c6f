"""
What each command of the store does to its pairs, and what it answers.

Pure.  Every operation takes the pairs, its command and *fit*, the most bytes
that its answer may have (at least `ANSWER_BYTES_SURE`), and returns its answer
encoded.  What is answered with a `Failed` has changed nothing.  Every text of a
failure is written here: a library's wording may differ from one replica's
version to the next one's, and answers may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from pbserver.pairs import Pairs, Value
from wire.commands import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEY_BYTES_MAX,
    MALFORMED,
    NOT_A_NUMBER,
    NOT_A_READ,
    SCAN_LIMIT_MAX,
    TOO_LARGE,
    VALUE_BYTES_MAX,
    Append,
    Cas,
    Command,
    Delete,
    Failed,
    Get,
    Incr,
    Ok,
    Put,
    Scan,
)

#: No answer is longer, but those that carry values: of a get and of a scan.
ANSWER_BYTES_SURE: Final = 128

#: What stands around a value, around a list of pairs, and around the two parts
#: of a pair, at most.
AROUND_BYTES: Final = 16

_encode: Final = msgspec.msgpack.Encoder().encode


def failed(code: str, text: str) -> bytes:
    """That answer, encoded."""
    return _encode(Failed(code, text))


_DONE: Final = _encode(Ok(None))
_YES: Final = _encode(Ok(value=True))
_NO: Final = _encode(Ok(value=False))
_NO_COMMAND: Final = failed(MALFORMED, "this is no command of the store")
_NO_READ: Final = failed(NOT_A_READ, "a query only reads; send a batch to change")
_NO_ROOM: Final = failed(
    TOO_LARGE, "the answer to the batch is full; ask for this in a batch of its own"
)
_NO_NUMBER: Final = failed(
    NOT_A_NUMBER, "the value is no decimal number of at most 64 bits with sign"
)
_OUT_OF_RANGE: Final = failed(
    NOT_A_NUMBER, "the sum would be no number of at most 64 bits with sign"
)


def number(value: Value) -> int | None:
    """The number that a value is: what ``b"%d"`` would write, and nothing else
    (no plus, no leading zero, no minus zero, no space, no underscore), within
    64 bits with sign.  None if it is none; an empty value is none."""
    if len(value) > 20:
        return None
    try:
        found = int(value)
    except ValueError:
        return None
    canonical = b"%d" % found == value and COUNTER_MIN <= found <= COUNTER_MAX
    return found if canonical else None


def _long_key(key: bytes) -> bytes:
    return failed(
        TOO_LARGE, f"a key may have {KEY_BYTES_MAX} bytes; this one has {len(key)}"
    )


def _set(pairs: Pairs, key: bytes, value: bytes, answer: bytes) -> bytes:
    if len(key) > KEY_BYTES_MAX:
        return _long_key(key)
    if len(value) > VALUE_BYTES_MAX:
        return _long_value(len(value))
    pairs.put(key, value)
    return answer


def _long_value(length: int) -> bytes:
    return failed(
        TOO_LARGE, f"a value may have {VALUE_BYTES_MAX} bytes; this would be {length}"
    )


def _get(pairs: Pairs, command: Get, fit: int) -> bytes:
    if len(command.key) > KEY_BYTES_MAX:
        return _long_key(command.key)
    value = pairs.get(command.key)
    if value is None:
        return _DONE
    if len(value) + AROUND_BYTES > fit:
        return _NO_ROOM
    return _encode(Ok(value))


def _put(pairs: Pairs, command: Put, _fit: int) -> bytes:
    return _set(pairs, command.key, command.value, _DONE)


def _append(pairs: Pairs, command: Append, _fit: int) -> bytes:
    if len(command.key) > KEY_BYTES_MAX:
        return _long_key(command.key)
    length = len(pairs.get(command.key) or b"") + len(command.suffix)
    if length > VALUE_BYTES_MAX:
        return _long_value(length)
    return _encode(Ok(pairs.append(command.key, command.suffix)))


def _delete(pairs: Pairs, command: Delete, _fit: int) -> bytes:
    if len(command.key) > KEY_BYTES_MAX:
        return _long_key(command.key)
    return _YES if pairs.delete(command.key) else _NO


def _cas(pairs: Pairs, command: Cas, _fit: int) -> bytes:
    # What is too large is so whatever the comparison would say.
    fits = len(command.key) <= KEY_BYTES_MAX and len(command.value) <= VALUE_BYTES_MAX
    if fits and pairs.get(command.key) != command.expected:
        return _NO
    return _set(pairs, command.key, command.value, _YES)


def _incr(pairs: Pairs, command: Incr, _fit: int) -> bytes:
    if len(command.key) > KEY_BYTES_MAX:
        return _long_key(command.key)
    value = pairs.get(command.key)
    before = 0 if value is None else number(value)
    if before is None:
        return _NO_NUMBER
    after = before + command.by
    if not COUNTER_MIN <= after <= COUNTER_MAX:
        return _OUT_OF_RANGE
    pairs.put(command.key, b"%d" % after)
    return _encode(Ok(after))


def _scan(pairs: Pairs, command: Scan, fit: int) -> bytes:
    limit = min(command.limit, SCAN_LIMIT_MAX)
    room = fit - AROUND_BYTES
    found: list[tuple[bytes, Value]] = []
    for key, value in pairs.items(command.start, command.end):
        room -= len(key) + len(value) + AROUND_BYTES
        if room < 0:
            if not found:
                return _NO_ROOM  # an empty list would mean: no such keys
            break
        found.append((key, value))
        if len(found) == limit:
            break
    return _encode(Ok(found))


def _nothing(_pairs: Pairs, _command: None, _fit: int) -> bytes:
    return _NO_COMMAND


def _refuse(_pairs: Pairs, _command: Command, _fit: int) -> bytes:
    return _NO_READ


Operation = Callable[[Pairs, Any, int], bytes]
Operations = dict[type[Command | None], Operation]

#: What to do in a batch, by the type of command; None stands for nonsense.
WRITES: Final[Operations] = {
    Get: _get,
    Put: _put,
    Append: _append,
    Delete: _delete,
    Cas: _cas,
    Incr: _incr,
    Scan: _scan,
    type(None): _nothing,
}

#: What to do in a query.
READS: Final[Operations] = {
    **dict.fromkeys((Put, Append, Delete, Cas, Incr), _refuse),
    Get: _get,
    Scan: _scan,
    type(None): _nothing,
}

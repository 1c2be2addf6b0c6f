"""
What each command of the store does to its pairs, and what it answers.

Pure.  Every operation takes the pairs, its command and the budget of its body,
of which it pays what it costs beyond the price of any command, and returns its
answer encoded, which is no longer than the budget allows (`Budget.fit`); only a
get and a scan may need more than `ANSWER_BYTES_SURE`, which they take from it
(`Budget.carried`).  What is answered with a `Failed` has changed nothing.
Every text of a failure is written here: a library's wording may differ from one
replica's version to the next one's, and answers may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from pbserver.budget import (
    COPIED_BYTES_FREE,
    FREED_BYTES_FREE,
    LONG_KEY_BYTES,
    Budget,
)
from pbserver.pairs import Pairs, Value
from wire.commands import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEY_BYTES_MAX,
    MALFORMED,
    NOT_A_NUMBER,
    NOT_A_READ,
    OVER_BUDGET,
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
#: The answer to every command that comes when the budget is used up.
_NO_WORK: Final = failed(
    OVER_BUDGET,
    "the commands before this one use up what one body may cost; send it in another",
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


def _long_key(key: bytes, budget: Budget) -> bytes | None:
    """Pay for a long key; the answer if it is too long."""
    if len(key) <= KEY_BYTES_MAX:
        budget.long_key(len(key))
        return None
    return failed(
        TOO_LARGE, f"a key may have {KEY_BYTES_MAX} bytes; this one has {len(key)}"
    )


def _set(
    pairs: Pairs, key: bytes, value: bytes, answer: bytes, budget: Budget
) -> bytes:
    if len(key) > LONG_KEY_BYTES and (refused := _long_key(key, budget)):
        return refused
    if len(value) > VALUE_BYTES_MAX:
        return _long_value(len(value))
    old = pairs.put(key, value)
    if old is not None and len(old) > FREED_BYTES_FREE:
        budget.freed(len(old))
    return answer


def _long_value(length: int) -> bytes:
    return failed(
        TOO_LARGE, f"a value may have {VALUE_BYTES_MAX} bytes; this would be {length}"
    )


def _get(pairs: Pairs, command: Get, budget: Budget) -> bytes:
    key = command.key
    if len(key) > LONG_KEY_BYTES and (refused := _long_key(key, budget)):
        return refused
    value = pairs.get(key)
    if value is None:
        return _DONE
    if len(value) + AROUND_BYTES > budget.fit:
        return _NO_ROOM
    return budget.carried(_encode(Ok(value)))


def _put(pairs: Pairs, command: Put, budget: Budget) -> bytes:
    key, value = command.key, command.value
    if len(key) > LONG_KEY_BYTES or len(value) > FREED_BYTES_FREE or pairs.long_values:
        return _set(pairs, key, value, _DONE, budget)
    pairs.put_short(key, value)
    return _DONE


def _append(pairs: Pairs, command: Append, budget: Budget) -> bytes:
    key = command.key
    if len(key) > LONG_KEY_BYTES and (refused := _long_key(key, budget)):
        return refused
    before = len(pairs.get(key) or b"")
    length = before + len(command.suffix)
    if length > VALUE_BYTES_MAX:
        return _long_value(length)
    if before > COPIED_BYTES_FREE:
        budget.copied(key, before)
    return _encode(Ok(pairs.append(key, command.suffix)))


def _delete(pairs: Pairs, command: Delete, budget: Budget) -> bytes:
    key = command.key
    if len(key) > LONG_KEY_BYTES and (refused := _long_key(key, budget)):
        return refused
    old = pairs.delete(key)
    if old is None:
        return _NO
    if len(old) > FREED_BYTES_FREE:
        budget.freed(len(old))
    return _YES


def _cas(pairs: Pairs, command: Cas, budget: Budget) -> bytes:
    # What is too large is so whatever the comparison would say.
    fits = len(command.key) <= KEY_BYTES_MAX and len(command.value) <= VALUE_BYTES_MAX
    if fits and pairs.get(command.key) != command.expected:
        if len(command.key) > LONG_KEY_BYTES:
            budget.long_key(len(command.key))
        return _NO
    return _set(pairs, command.key, command.value, _YES, budget)


def _incr(pairs: Pairs, command: Incr, budget: Budget) -> bytes:
    key = command.key
    if len(key) > LONG_KEY_BYTES and (refused := _long_key(key, budget)):
        return refused
    value = pairs.get(key)
    before = 0 if value is None else number(value)
    if before is None:
        return _NO_NUMBER
    after = before + command.by
    if not COUNTER_MIN <= after <= COUNTER_MAX:
        return _OUT_OF_RANGE
    pairs.put(key, b"%d" % after)
    return _encode(Ok(after))


def _scan(pairs: Pairs, command: Scan, budget: Budget) -> bytes:
    # Its ends are not kept to the bound of a key, so they are paid for here.
    bound = max(len(command.start), len(command.end or b""))
    if bound > LONG_KEY_BYTES:
        budget.long_key(bound)
    limit = min(command.limit, SCAN_LIMIT_MAX, budget.pairs())
    room = budget.fit - AROUND_BYTES
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
    budget.found(len(found))
    return budget.carried(_encode(Ok(found)))


def _nothing(_pairs: Pairs, _command: None, _budget: Budget) -> bytes:
    return _NO_COMMAND


def _refuse(_pairs: Pairs, _command: Command, _budget: Budget) -> bytes:
    return _NO_READ


Operation = Callable[[Pairs, Any, Budget], bytes]
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


def answers(
    operations: Operations,
    pairs: Pairs,
    commands: Sequence[Command | None],
    budget: Budget,
) -> list[bytes]:
    """Do all the commands of a body, in order -> the answer of each."""
    budget.commands = remaining = iter(commands)
    # Most commands are short puts.  What `_put` does with them is done here without
    # its call, until there is a long value: only other commands can bring one.
    quick = Put if operations is WRITES and not pairs.long_values else None
    found: list[bytes] = []
    add, put_short = found.append, pairs.put_short
    for command in remaining:
        if type(command) is quick:
            key, value = command.key, command.value
            if len(key) + len(value) <= LONG_KEY_BYTES:
                put_short(key, value)
                add(_DONE)
                continue
        add(operations[type(command)](pairs, command, budget))
        if pairs.long_values:
            quick = None
    if budget.work < 0:
        found += [_NO_WORK] * (len(commands) - len(found))
    return found

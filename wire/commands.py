"""
The store's commands and answers, which clerk and store both speak.

Pure: values only.  A body is a msgpack array of commands, and its answer an
array of the same length, command by command: `Ok` with a value, or `Failed`
with a code.  To everything between clerk and machine both are opaque bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

#: Bounds in bytes; what is over them is answered with `TOO_LARGE`.
KEY_BYTES_MAX: Final = 64 * 1024
VALUE_BYTES_MAX: Final = 8 * 1024 * 1024

#: A scan returns at most this many pairs, whatever its limit says.
SCAN_LIMIT_MAX: Final = 10_000

#: A body with more commands is refused as a whole, by one single answer.  It is as
#: many as a clerk sends together, and bounds what no price can: how many leaves of
#: the store one body splits, joins or copies (`pbserver.pairs`).
COMMANDS_MAX: Final = 1024

#: The budget of one body, in units of work of about a nanosecond; see
#: `pbserver.budget` for the prices.  A command that comes when it is used up is
#: answered with `OVER_BUDGET`.
WORK_MAX: Final = 8 * 1024 * 1024

#: Counters are signed 64 bit.
COUNTER_MIN: Final = -(2**63)
COUNTER_MAX: Final = 2**63 - 1


class Command(
    Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True
):
    """One operation on the store.

    Surplus fields are refused: skipping over one would recurse as deeply as it
    is nested, which succeeds or not depending on the stack of the process, and
    two replicas must not differ.
    """


class Get(Command, frozen=True, tag=0):
    """-> the value, or None if there is no such key."""

    key: bytes


class Put(Command, frozen=True, tag=1):
    """-> None."""

    key: bytes
    value: bytes


class Append(Command, frozen=True, tag=2):
    """Append to the value, an absent key counting as empty -> the new length."""

    key: bytes
    suffix: bytes


class Delete(Command, frozen=True, tag=3):
    """-> whether the key was there."""

    key: bytes


class Cas(Command, frozen=True, tag=4):
    """Compare and set -> whether the value was *expected* (None: the key was
    absent) and is now *value*."""

    key: bytes
    expected: bytes | None
    value: bytes


class Incr(Command, frozen=True, tag=5):
    """Add to a decimal ASCII number, an absent key counting as 0 -> the new
    number.  What is there but is no signed 64-bit number, or would leave that
    range, is `NOT_A_NUMBER`."""

    key: bytes
    by: int = 1


class Scan(Command, frozen=True, tag=6):
    """Pairs with start <= key < end (None: to the last), in order of keys
    -> at most *limit* pairs [key, value], and fewer if they would not fit into
    one answer or into the body's budget; ask again from the last key + b"\\x00"."""

    start: bytes
    end: bytes | None
    limit: Annotated[int, Meta(ge=1)]


AnyCommand = Get | Put | Append | Delete | Cas | Incr | Scan

#: Commands that change nothing, and so may be asked as a query.
READS: Final = (Get, Scan)


class Ok(Struct, frozen=True, array_like=True, tag=0, gc=False):
    """The command was executed."""

    value: Any


class Failed(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The command changed nothing, unless the code is one of `DOUBTFUL`."""

    code: str
    text: str


AnyAnswer = Ok | Failed

#: Codes of `Failed`.
NOT_A_NUMBER: Final = "not a number"
TOO_LARGE: Final = "too large"
MALFORMED: Final = "malformed"
NOT_A_READ: Final = "not a read"
#: The commands before this one have used up the budget of their body.  Alone in
#: a body it will be executed.
OVER_BUDGET: Final = "over budget"
#: Only from machines that are written one command at a time: the command was
#: executed, but its answer cannot be told; or it stopped half-way.
ANSWER_LOST: Final = "answer lost"
RAISED: Final = "raised"

#: The codes that do not mean: nothing was changed.
DOUBTFUL: Final = (ANSWER_LOST, RAISED)

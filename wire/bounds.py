"""
The bound of every field of every message, and of every frame.

Pure.  The law here is that a stranger decides the value of a field and never
its size: each field has a bound, defined in this file and checked by msgspec
while it decodes (``docs/protocol.md``, "Bounds").  What this code sends is
shortened where it is made (`shortened`), so it never exceeds what the receiver
accepts.

Lengths of text are in characters, of byte strings in bytes, of arrays in items.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import inspect

#: The longest frame's payload, in bytes, on any connection.
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024

#: The longest frame before the Hello of that direction is there, that one included.
HELLO_BYTES_MAX: Final = 4096

#: The greatest integer in a message; only an incarnation may have 64 bits.
INTEGER_MAX: Final = 2**63 - 1

#: The greatest index and stamp that one message alone can bring.  A receiver goes
#: on counting from there, and what it counts must still fit into a message.
POSITION_MAX: Final = 2**62 - 1

#: A counter of 30 bits and, above it, 32 random bits.
VIEW_NUMBER_MAX: Final = 2**62 - 1

#: A checksum: CRC-32.
CHECKSUM_MAX: Final = 2**32 - 1

CLUSTER_BYTES: Final = 16
SESSION_BYTES: Final = 16
DIGEST_BYTES_MAX: Final = 64

NAME_MAX: Final = 128
#: ``tcp:``, a host name of 254 characters, and a port.
ADDRESS_MAX: Final = 272
MACHINE_MAX: Final = 256
ROLE_MAX: Final = 32
#: A word for programs: the reason of a Goodbye, the code of a Wait or a Cause.
CODE_MAX: Final = 64
#: The text of a Wait, and of a Goodbye, which must fit into `HELLO_BYTES_MAX`.
TEXT_MAX: Final = 1024
GOODBYE_TEXT_MAX: Final = 900
EVIDENCE_MAX: Final = 512
TIME_MAX: Final = 64

#: The backups of a view, and all members of one.
BACKUPS_MAX: Final = 16
MEMBERS_MAX: Final = BACKUPS_MAX + 1
#: The recoveries with a loss that a view descends from: the newest of them.
RECOVERIES_MAX: Final = 64
#: The causes of a change: each member that goes, and each that comes or changes.
CAUSES_MAX: Final = 2 * MEMBERS_MAX

#: The entries of one Forward.
ENTRIES_MAX: Final = 16_384

PING_INTERVAL_MS_MAX: Final = 60_000
DEAD_PINGS_MAX: Final = 1000


def shortened(text: str, length_max: int) -> str:
    """*text*, or as much of its beginning as fits, with an ellipsis."""
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def longest(kind: Any) -> int:
    """The length of the longest encoding of a message, or of any other type, in
    bytes.  Raises ValueError if some part of it has no bound."""
    return _longest(inspect.type_info(kind), getattr(kind, "__name__", str(kind)))


def frame_bytes_max(kinds: tuple[Any, ...]) -> int:
    """The longest frame on a connection that carries messages of these *kinds*: a
    power of two, which leaves room for the fields that later versions append."""
    bound = max(HELLO_BYTES_MAX, *map(longest, kinds))
    return min(1 << (bound - 1).bit_length(), FRAME_BYTES_MAX)


#: The head of any msgpack string, array or integer, at most.
_HEAD: Final = 5
_INTEGER: Final = 9
_CHARACTER: Final = 4


def _longest(info: inspect.Type, where: str) -> int:
    match info:
        case inspect.NoneType() | inspect.BoolType():
            return 1
        case inspect.IntType(ge=int()):
            return _INTEGER
        case inspect.StrType(max_length=int(length)):
            return _HEAD + _CHARACTER * length
        case inspect.BytesType(max_length=int(length)):
            return _HEAD + length
        case inspect.VarTupleType(item_type=item, max_length=int(length)):
            return _HEAD + length * _longest(item, where)
        case inspect.UnionType(types=types):
            return max(_longest(each, where) for each in types)
        case inspect.StructType(cls=cls, fields=fields):
            name = cls.__name__
            return (
                _HEAD
                + _INTEGER
                + sum(_longest(each.type, f"{name}.{each.name}") for each in fields)
            )
    raise ValueError(f"{where} has no bound: {info}")

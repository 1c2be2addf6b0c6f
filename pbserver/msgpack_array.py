"""
What a client sends: one msgpack array, of commands or of anything.

Pure.  A machine must answer *any* bytes, and every replica must answer the
same.  So nothing here recurses: how deep a recursion may go depends on the
stack of the process, and that differs between replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from wire.commands import COMMANDS_MAX

#: How many items, nested ones included, `split` looks at before it gives up:
#: 8 ms at most, and 32 for each of the commands that a clerk sends together.
ITEMS_MAX: Final = 32 * COMMANDS_MAX

#: The text of the refusal.
TOO_MANY_ITEMS: Final = f"a body may have {ITEMS_MAX} items; this one has more"

#: A command nested deeper than this makes no sense.
DEPTH_MAX: Final = 64

#: First byte of a msgpack item -> (bytes of its length field, bytes after
#: that, items inside).  Where there is a length field, it counts the bytes
#: (*items* 0), the items (1) or the pairs (2) that follow.
_Shape = tuple[int, int, int]


def _shapes() -> list[_Shape | None]:
    shapes: list[_Shape | None] = [(0, 0, 0)] * 256
    for n in range(16):
        shapes[0x80 | n] = (0, 0, 2 * n)
        shapes[0x90 | n] = (0, 0, n)
    for n in range(32):
        shapes[0xA0 | n] = (0, n, 0)
    shapes[0xC1] = None  # the one byte that begins nothing
    for first, width in ((0xC4, 1), (0xC5, 2), (0xC6, 4)):
        shapes[first] = (width, 0, 0)  # bytes
    for first, width in ((0xC7, 1), (0xC8, 2), (0xC9, 4)):
        shapes[first] = (width, 1, 0)  # extensions: one byte of type
    for first, width in ((0xCA, 4), (0xCB, 8)):
        shapes[first] = (0, width, 0)  # floats
    for power in range(4):
        shapes[0xCC + power] = shapes[0xD0 + power] = (0, 1 << power, 0)  # ints
    for power in range(5):
        shapes[0xD4 + power] = (0, 1 + (1 << power), 0)  # fixed extensions
    for first, width in ((0xD9, 1), (0xDA, 2), (0xDB, 4)):
        shapes[first] = (width, 0, 0)  # text
    for first, width in ((0xDC, 2), (0xDD, 4)):
        shapes[first] = (width, 0, 1)  # arrays
    for first, width in ((0xDE, 2), (0xDF, 4)):
        shapes[first] = (width, 0, 2)  # maps
    return shapes


_SHAPES: Final = _shapes()

#: First byte of an item that is no more than itself and bytes of a fixed number
#: -> how long it is; 0 for any other.
_SCALARS: Final = tuple(
    1 + shape[1] if shape is not None and not shape[0] and not shape[2] else 0
    for shape in _SHAPES
)


class TooMany(Enum):
    """A body that has too many items."""

    ITEMS = TOO_MANY_ITEMS


TOO_MANY: Final = TooMany.ITEMS

#: Made once: most bodies have few commands.
_SHORT_HEADERS: Final = tuple(bytes((0x90 | count,)) for count in range(16))


def header(count: int) -> bytes:
    """How a msgpack array of *count* items begins."""
    if count < 16:
        return _SHORT_HEADERS[count]
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def join(items: Sequence[bytes]) -> bytes:
    """A msgpack array of items that are encoded already."""
    return header(len(items)) + b"".join(items)


def count(body: bytes) -> int | None:
    """How many commands a body says it has; None if it is no array."""
    first = body[0] if body else 0
    if 0x90 <= first <= 0x9F:
        return first & 0x0F
    if first in (0xDC, 0xDD) and len(body) >= (end := 3 if first == 0xDC else 5):
        return int.from_bytes(body[1:end], "big")
    return None


def split(body: bytes) -> list[bytes | None] | TooMany | None:
    """The commands of a body, each as it came and perhaps nonsense inside; in
    place of one that is nested deeper than `DEPTH_MAX`, None.

    `TOO_MANY` for a body that has more than `ITEMS_MAX` items; None for one that
    is no array, is cut off, or goes on behind its end.
    """
    commands = count(body)
    end = len(body)
    if commands is None or commands > end:
        return None
    at = {0xDC: 3, 0xDD: 5}.get(body[0], 1)
    found: list[bytes | None] = []
    room = ITEMS_MAX - commands
    for _ in range(commands):
        start = at
        #: How many items are still to come on the innermost level that is open,
        #: and on each around it.
        left = 1
        around: list[int] = []
        deepest = 0
        while left or around:
            if not left:
                left = around.pop()
                continue
            if at >= end:
                return None
            left -= 1
            if size := _SCALARS[body[at]]:
                at += size  # perhaps past the end, which the end will show
                continue
            at, items = _enter(body, at)
            if items > end - at:
                return None  # Every item takes a byte; or this begins none.
            if items:
                room -= items
                if room < 0:
                    return TOO_MANY
                around.append(left)
                left = items
                deepest = max(deepest, len(around))
        found.append(body[start:at] if deepest < DEPTH_MAX else None)
    return found if at == end else None


def _enter(body: bytes, at: int) -> tuple[int, int]:
    """Where the item at *at* ends, or its first item begins; how many items are
    inside.  More than can be if no item begins so."""
    if (shape := _SHAPES[body[at]]) is None:
        return at, len(body) + 1
    width, size, items = shape
    at += 1
    if width:
        length = int.from_bytes(body[at : at + width], "big")
        at += width
        if items:
            items *= length
        else:
            size += length
    return at + size, items

"""
What a client sends: one msgpack array, of commands or of anything.

Pure.  A machine must answer *any* bytes, and every replica must answer the
same.  So nothing here recurses: how deep a recursion may go depends on the
stack of the process, and that differs between replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wire.commands import COMMANDS_MAX

#: How many items, nested ones included, `split` looks at before it gives up:
#: 0.1 s at most, and far more than any command that makes sense needs.
ITEMS_MAX: Final = 16 * COMMANDS_MAX

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


def split(body: bytes) -> list[bytes | None] | None:
    """The commands of a body, each as it came and perhaps nonsense inside; in
    place of one that is nested deeper than `DEPTH_MAX`, None.

    None for a body that is no array, is cut off, goes on behind its end, or
    has more than `ITEMS_MAX` items.
    """
    commands = count(body)
    if commands is None:
        return None
    at = {0xDC: 3, 0xDD: 5}.get(body[0], 1)
    found: list[bytes | None] = []
    looked = 0
    for _ in range(commands):
        start = at
        #: How many items are still to come, at each level that is open.
        levels = [1]
        deepest = 1
        while levels:
            if not levels[-1]:
                levels.pop()
                continue
            levels[-1] -= 1
            looked += 1
            if at >= len(body) or looked > ITEMS_MAX:
                return None
            if (shape := _SHAPES[body[at]]) is None:
                return None
            width, size, items = shape
            at += 1
            if width:
                length = int.from_bytes(body[at : at + width], "big")
                at += width
                if items:
                    items *= length
                else:
                    size += length
            at += size  # perhaps past the end, which the end will show
            if items:
                levels.append(items)
                deepest = max(deepest, len(levels))
        found.append(body[start:at] if deepest <= DEPTH_MAX else None)
    return found if at == len(body) else None

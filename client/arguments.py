"""
What callers pass in, turned into encoded commands.

Pure.  What makes no sense is told to the caller at once, by TypeError or
ValueError; what is over a limit by `TooLarge`.  Nothing of it is ever sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from client.calls import COMMAND_BYTES_MAX
from client.errors import TooLarge
from wire.addresses import normal_address
from wire.commands import (
    COUNTER_MAX,
    COUNTER_MIN,
    KEY_BYTES_MAX,
    SCAN_LIMIT_MAX,
    VALUE_BYTES_MAX,
    Scan,
)
from wire.messages import WINDOW_MAX

#: A key or a value: bytes, or text that stands for its UTF-8.
Octets = bytes | str

_encode = msgspec.msgpack.Encoder().encode


def encode_command(command: Any) -> bytes:
    """The bytes of any msgpack-able command.

    Raises TypeError or ValueError for what msgpack cannot say, TooLarge over
    the limit.
    """
    try:
        encoded = _encode(command)
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"this command cannot be encoded: {error}") from error
    if len(encoded) > COMMAND_BYTES_MAX:
        raise TooLarge(
            f"the command has {len(encoded)} bytes; the limit is {COMMAND_BYTES_MAX}"
        )
    return encoded


def as_key(key: Octets, what: str = "key") -> bytes:
    """*key* as bytes, within the limit for keys."""
    return _as_bytes(key, what, KEY_BYTES_MAX)


def as_value(value: Octets, what: str = "value") -> bytes:
    """*value* as bytes, within the limit for values."""
    return _as_bytes(value, what, VALUE_BYTES_MAX)


def _as_bytes(octets: Octets, what: str, bytes_max: int) -> bytes:
    if type(octets) is not bytes:
        if isinstance(octets, str):
            octets = octets.encode()
        elif isinstance(octets, bytes):
            octets = bytes(octets)
        else:
            raise TypeError(
                f"a {what} is bytes or str, not {type(octets).__name__}: {octets!r:.80}"
            )
    if len(octets) > bytes_max:
        raise TooLarge(f"the {what} has {len(octets)} bytes; the limit is {bytes_max}")
    return octets


def as_step(by: int) -> int:
    """What to add to a counter."""
    if type(by) is not int:
        raise TypeError(f"a counter grows by an int, not {type(by).__name__}: {by!r}")
    if not COUNTER_MIN <= by <= COUNTER_MAX:
        raise ValueError(f"counters are signed 64 bit; {by} is not")
    return by


def as_scan(
    prefix: Octets | None, start: Octets | None, end: Octets | None, limit: int
) -> Scan:
    """Which pairs to scan: those under a prefix, or a range, or all."""
    if prefix is not None and (start is not None or end is not None):
        raise ValueError("scan by prefix, or by start and end, not by both")
    if type(limit) is not int:
        raise TypeError(f"a limit is an int, not {type(limit).__name__}: {limit!r}")
    if not 1 <= limit <= SCAN_LIMIT_MAX:
        raise ValueError(f"a scan's limit is 1 to {SCAN_LIMIT_MAX}, not {limit}")
    if prefix is not None:
        first = as_key(prefix, "prefix")
        return Scan(first, _after_prefix(first), limit)
    first = b"" if start is None else as_key(start, "start")
    return Scan(first, None if end is None else as_key(end, "end"), limit)


def _after_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that begin with *prefix*; None: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def as_timeout_ms(timeout: float | None) -> int | None:
    """Seconds as whole milliseconds, rounded up; None: for ever."""
    if timeout is None or timeout == math.inf:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"a timeout is a number of seconds, not {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"a timeout is 0 or more seconds, not {timeout}")
    return math.ceil(timeout * 1000)


def as_window(window: int) -> int:
    """How many batches may be outstanding."""
    if type(window) is not int:
        raise TypeError(f"a window is an int, not {type(window).__name__}: {window!r}")
    if not 1 <= window <= WINDOW_MAX:
        raise ValueError(f"a window is from 1 to {WINDOW_MAX}, not {window}")
    return window


def as_addresses(views: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses of the view service, one or several."""
    if isinstance(views, bytes) or not isinstance(views, Sequence):
        raise TypeError(
            "the view service's address is a str, tcp:HOST:PORT, or several of them "
            f"in a sequence, not {type(views).__name__}: {views!r:.80}"
        )
    addresses = (views,) if isinstance(views, str) else tuple(views)
    if not addresses:
        raise ValueError("no address of the view service was given")
    return tuple(map(normal_address, addresses))

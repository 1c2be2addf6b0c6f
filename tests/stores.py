"""Asking a store in few words, and a model of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import strategies as st

from pbserver.store import Store
from wire.commands import (
    COMMANDS_MAX,
    KEY_BYTES_MAX,
    NOT_A_NUMBER,
    SCAN_LIMIT_MAX,
    VALUE_BYTES_MAX,
    AnyAnswer,
    Append,
    Cas,
    Command,
    Delete,
    Get,
    Incr,
    Ok,
    Put,
    Scan,
)

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.Decoder(list[AnyAnswer]).decode

LONG_KEY = bytes(KEY_BYTES_MAX + 1)
LONG_VALUE = bytes(VALUE_BYTES_MAX + 1)


def outcomes(answers: bytes) -> list[Any]:
    """Values of what was done, codes of what was not."""
    return [a.value if isinstance(a, Ok) else a.code for a in decode(answers)]


def do(store: Store, *commands: Command) -> list[Any]:
    return outcomes(store.apply(encode(commands), 0))


def do_all(store: Store, commands: Iterable[Command]) -> list[Any]:
    """The same in as many bodies as they need."""
    commands = list(commands)
    parts = range(0, len(commands), COMMANDS_MAX)
    return [each for at in parts for each in do(store, *commands[at:][:COMMANDS_MAX])]


def ask(store: Store, *commands: Command) -> list[Any]:
    return outcomes(store.query(encode(commands)))


def everything(store: Store) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    start = b""
    while pairs := ask(store, Scan(start, None, SCAN_LIMIT_MAX))[0]:
        found.update(map(tuple, pairs))
        start = pairs[-1][0] + b"\x00"
    return found


def pieces(store: Store, bytes_max: int = 1024) -> list[bytes]:
    cut = store.cut()
    try:
        return list(iter(lambda: cut.take(bytes_max), b""))
    finally:
        cut.close()


def loaded(parts: Iterable[bytes]) -> Store:
    store = Store()
    for part in parts:
        store.load(part)
    return store


def filled(count: int, value: bytes = b"") -> Store:
    store = Store()
    for first in range(0, count, 1000):
        numbers = range(first, min(first + 1000, count))
        # Multiplying by an odd number shuffles what 16 bits can count.
        do(store, *(Put(b"%05d" % (n * 40503 % 65536), value) for n in numbers))
    return store


class Model:
    """The store as one dict, in as few words as possible."""

    def __init__(self) -> None:
        self.pairs: dict[bytes, bytes] = {}

    def do(self, command: Command) -> Any:
        pairs = self.pairs
        match command:
            case Get(key):
                return pairs.get(key)
            case Put(key, value):
                pairs[key] = value
                return None
            case Append(key, suffix):
                pairs[key] = pairs.get(key, b"") + suffix
                return len(pairs[key])
            case Delete(key):
                return pairs.pop(key, None) is not None
            case Cas(key, expected, value):
                if same := pairs.get(key) == expected:
                    pairs[key] = value
                return same
            case Incr(key, by):
                try:
                    number = int(pairs.get(key, b"0"))
                except ValueError:
                    return NOT_A_NUMBER
                if key in pairs and b"%d" % number != pairs[key]:
                    return NOT_A_NUMBER
                if not -(2**63) <= number + by < 2**63:
                    return NOT_A_NUMBER
                pairs[key] = b"%d" % (number + by)
                return number + by
            case Scan(start, end, limit):
                keys = [k for k in sorted(pairs) if k >= start]
                keys = [k for k in keys if end is None or k < end]
                return [[k, pairs[k]] for k in keys[:limit]]
        raise AssertionError(command)


COMMAND_KEYS = st.sampled_from([b"", b"a", b"ab", b"b", b"\x00", b"\xff"])
COMMAND_VALUES = st.sampled_from([b"", b"1", b"-7", b"x", bytes(5000)])
ANY_COMMAND = st.one_of(
    st.builds(Get, COMMAND_KEYS),
    st.builds(Put, COMMAND_KEYS, COMMAND_VALUES),
    st.builds(Append, COMMAND_KEYS, COMMAND_VALUES),
    st.builds(Delete, COMMAND_KEYS),
    st.builds(Cas, COMMAND_KEYS, st.none() | COMMAND_VALUES, COMMAND_VALUES),
    st.builds(Incr, COMMAND_KEYS, st.integers(-3, 3)),
    st.builds(Scan, COMMAND_KEYS, st.none() | COMMAND_KEYS, st.integers(1, 5)),
)

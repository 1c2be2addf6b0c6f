"""The key/value machine answers any bytes, and alike everywhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbserver.store import Store
from tests.stores import (
    ANY_COMMAND,
    ask,
    decode,
    do,
    encode,
    everything,
    outcomes,
)
from wire.commands import (
    COMMANDS_MAX,
    MALFORMED,
    NOT_A_READ,
    TOO_LARGE,
    Append,
    Cas,
    Delete,
    Get,
    Incr,
    Put,
    Scan,
)

# -- any bytes -----------------------------------------------------------------

DEEP = b"\x91" * 900 + b"\xc0"

BODIES: dict[str, tuple[bytes, list[Any]]] = {
    "no commands": (b"\x90", []),
    "nothing": (b"", [MALFORMED]),
    "no array": (b"\xc0", [MALFORMED]),
    "a map": (encode({b"k": 1}), [MALFORMED]),
    "cut off": (encode([Put(b"k", b"v")])[:-1], [MALFORMED]),
    "cut off in its header": (b"\xdc\x00", [MALFORMED]),
    "cut off in a length": (b"\x91\xc6\x00", [MALFORMED]),
    "goes on behind its end": (encode([Put(b"k", b"v")]) + b"\xc0", [MALFORMED]),
    "a byte that begins nothing": (b"\x92\x92\x00\xc4\x00\xc1", [MALFORMED]),
    "four thousand million commands": (b"\xdd\xff\xff\xff\xff", [MALFORMED]),
    "one nonsense among sense": (
        encode([[1, b"k", b"v"], [1, b"k"], [0, b"k"]]),
        [None, MALFORMED, b"v"],
    ),
    "unknown tag": (encode([[99, b"k"], [0, b"k"]]), [MALFORMED, None]),
    "text for bytes": (encode([[1, "k", b"v"], [0, b"k"]]), [MALFORMED, None]),
    "surplus fields": (encode([[0, b"k", b"v"], [0, b"k"]]), [MALFORMED, None]),
    "surplus fields, deeply nested": (
        b"\x92\x93\x00\xc4\x01k" + DEEP + encode(Get(b"k")),
        [MALFORMED, None],
    ),
    "deep nonsense": (b"\x92" + DEEP + encode(Get(b"k")), [MALFORMED, None]),
    "deeper than any stack": (b"\x91" * 200_000 + b"\xc0", [MALFORMED]),
    "an array with a long header": (
        b"\xdd\x00\x00\x00\x01" + encode(Get(b"k")),
        [None],
    ),
    "scan without end of the limit": (encode([[6, b"", None, 0]]), [MALFORMED]),
    "by is no number": (encode([[5, b"k", 1.0], [5, b"k"]]), [MALFORMED, 1]),
    "every kind of item": (
        encode([1, -1, 2**40, -(2**40), 1.5, "a", "a" * 40, "a" * 300, "a" * 70000])
        .replace(b"\x99", b"\xdc\x00\x13", 1)
        + encode(bytes(300)) + encode(bytes(70000)) + encode({1: [2]})
        + encode(list(range(20))) + encode(dict.fromkeys(range(20)))
        + b"\xd4\x01a" + b"\xd8\x01" + bytes(16) + b"\xc7\x02\x01ab"
        + b"\xca\x00\x00\x00\x00" + encode(Get(b"k")),
        [MALFORMED] * 18 + [None],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_body(body: bytes, expected: list[Any]) -> None:
    assert expected == outcomes(Store().apply(body, 0))


def test_too_many_commands_are_refused_as_one() -> None:
    store = Store()
    assert do(store, *[Put(b"a", b"")] * COMMANDS_MAX) == [None] * COMMANDS_MAX
    many = encode([Put(b"k", b"")] * (COMMANDS_MAX + 1))
    assert outcomes(store.apply(many, 0)) == [TOO_LARGE]
    assert outcomes(store.query(many)) == [TOO_LARGE]
    assert outcomes(store.apply(b"\xdd\x00\x01\x00\x00" + bytes(65536), 0)) == [
        TOO_LARGE
    ]
    assert everything(store) == {b"a": b""}


def test_nonsense_of_endless_detail_is_refused_as_one() -> None:
    body = b"\x91\xdd\x00\x10\x00\x00" + b"\xc0" * (1 << 20)
    assert outcomes(Store().apply(body, 0)) == [MALFORMED]


@pytest.mark.parametrize("depth", [0, 300, 800])
def test_the_depth_of_the_stack_changes_no_answer(depth: int) -> None:
    def deeper(levels: int) -> list[bytes]:
        if levels:
            return deeper(levels - 1)
        store = Store()
        return [store.apply(body, 0) for body, _ in BODIES.values()]

    assert deeper(0) == deeper(depth)


def test_a_query_changes_nothing() -> None:
    store = Store()
    do(store, Put(b"k", b"1"))
    before = store.digest()
    writes = [
        *(Put(b"k", b"2"), Append(b"k", b"2"), Delete(b"k")),
        *(Cas(b"k", b"1", b"2"), Incr(b"k")),
    ]
    assert ask(store, *writes, Get(b"k")) == [NOT_A_READ] * 5 + [b"1"]
    assert outcomes(store.query(encode([Put(b"k", b"2"), 7, Get(b"k")]))) == [
        NOT_A_READ,
        MALFORMED,
        b"1",
    ]
    assert before == store.digest()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
    | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.binary(max_size=64))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    for prefix in (b"", b"\x92", b"\x91\x93\x01"):
        answers = Store().apply(prefix + body, 0)
        assert len(decode(answers)) <= 15 or body[:1] >= b"\x90"
        assert answers == Store().apply(prefix + body, 1)
        Store().query(prefix + body)


@given(st.lists(ANY_COMMAND.map(msgspec.to_builtins) | PLAIN, max_size=6))
def test_nonsense_leaves_its_neighbours_alone(items: list[Any]) -> None:
    body = b"".join(encode(item) for item in items)
    answers = outcomes(Store().apply(bytes((0x90 | len(items),)) + body, 0))
    assert len(items) == len(answers)
    kinds = (Get, Put, Append, Delete, Cas, Incr, Scan)
    decoder = msgspec.msgpack.Decoder(Get | Put | Append | Delete | Cas | Incr | Scan)
    alone = Store()
    for item, answer in zip(items, answers, strict=True):
        try:
            command = decoder.decode(encode(item))
        except msgspec.DecodeError:
            assert answer == MALFORMED
        else:
            assert isinstance(command, kinds)
            assert [answer] == do(alone, command)


@given(st.data())
def test_a_damaged_body_gets_the_same_answer_everywhere(data: st.DataObject) -> None:
    body = bytearray(encode(data.draw(st.lists(ANY_COMMAND, max_size=5))))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    one, other = Store(), Store()
    assert one.apply(bytes(body), 0) == other.apply(bytes(body), 5)
    assert one.digest() == other.digest()

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
    OVER_BUDGET,
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
    "deeper than any stack": (b"\x91" * 200_000 + b"\xc0", [OVER_BUDGET]),
    "an array with a long header": (
        b"\xdd\x00\x00\x00\x01" + encode(Get(b"k")),
        [None],
    ),
    "scan without end of the limit": (encode([[6, b"", None, 0]]), [MALFORMED]),
    "by is no number": (encode([[5, b"k", 1.0], [5, b"k"]]), [MALFORMED, 1]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_body(body: bytes, expected: list[Any]) -> None:
    assert expected == outcomes(Store().apply(body, 0))


#: One of each first byte of msgpack, or of each kind of them.
KINDS = [
    *map(encode, (0, 127, 128, 2**8, 2**16, 2**32, -1, -32, -33, -(2**8), -(2**16))),
    *map(encode, (-(2**32), None, False, True, 1.5, "", "a" * 31, "a" * 32)),
    *map(encode, ("a" * 256, "a" * 65536, b"", bytes(256), bytes(65536), {}, {1: 2})),
    *map(
        encode, (dict.fromkeys(range(15)), dict.fromkeys(range(16)), [], [[]], [1] * 16)
    ),
    *(b"\xca" + bytes(4), b"\xdd" + bytes(3) + b"\x01\x07", b"\xde\x00\x01\x07\x07"),
    b"\xdf" + bytes(3) + b"\x01\x07\x07",
    *(bytes((0xD4 + power, 1)) + bytes(1 << power) for power in range(5)),
    *(b"\xc7\x02\x01ab", b"\xc8\x00\x02\x01ab", b"\xc9" + bytes(3) + b"\x02\x01ab"),
]


@pytest.mark.parametrize("item", KINDS, ids=[f"{item[0]:x}" for item in KINDS])
def test_every_kind_of_item_is_passed_over(item: bytes) -> None:
    body = b"\x93" + item + encode(Put(b"k", b"v")) + encode(Get(b"k"))
    assert outcomes(Store().apply(body, 0)) == [MALFORMED, None, b"v"]
    nested = b"\x92\x93" + item * 3 + encode(Get(b"k"))
    assert outcomes(Store().apply(nested, 0)) == [MALFORMED, None]
    for end in range(1, len(item)) if len(item) < 40 else (1, 2, 4, len(item) - 1):
        assert outcomes(Store().apply(b"\x91" + item[:end], 0)) == [MALFORMED]


def test_the_kinds_are_all_kinds() -> None:
    def kind(first: int) -> int:
        small = {0x80: 0x8F, 0x90: 0x9F, 0xA0: 0xBF, 0x00: 0x7F, 0xE0: 0xFF}
        return next((low for low, high in small.items() if low <= first <= high), first)

    assert {kind(item[0]) for item in KINDS} == set(map(kind, range(256))) - {0xC1}


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
    body = b"\x92\xc0\xdd\x00\x10\x00\x00" + b"\xc0" * (1 << 20)
    assert outcomes(Store().apply(body, 0)) == [OVER_BUDGET]
    # What claims more items than it has bytes is no body.
    assert outcomes(Store().apply(body[:-1], 0)) == [MALFORMED]


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

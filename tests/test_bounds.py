"""Every field of every message has a bound, and what is over it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from pbserver.limits import Limits
from pbserver.log import ENTRY_BYTES
from tests.documents import code, read, section, table
from wire import messages
from wire.bounds import (
    ENTRIES_MAX,
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    frame_bytes_max,
    longest,
    shortened,
)
from wire.codec import Decoder, ProtocolError, encode
from wire.messages import (
    BODY_BYTES_MAX,
    SAYS,
    SERVER,
    VERSION,
    Batch,
    BatchAnswer,
    Goodbye,
    Hello,
    Member,
    Message,
    QueryAnswer,
    View,
)

PAGE = read("docs/protocol.md")
STRUCTS = {
    name: kind
    for name, kind in vars(messages).items()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
}
KINDS = sorted(
    {Hello, *(kind for said in SAYS.values() for kind in said)},
    key=lambda kind: kind.__name__,
)
FIELDS = [
    (f"{name}.{field.name}", field.type)
    for name, kind in STRUCTS.items()
    for field in inspect.type_info(kind).fields
]


def words(info: inspect.Type) -> Iterator[str]:
    """The bound of a field as docs/protocol.md has it."""
    match info:
        case inspect.IntType(ge=low, le=None):
            yield f"{low} to 2^64 - 1"
        case inspect.IntType(ge=low, le=high) if high + 1 & high == 0 and high > 2**20:
            yield f"{low} to 2^{high.bit_length()} - 1"
        case inspect.IntType(ge=low, le=high):
            yield f"{low} to {high}"
        case inspect.StrType(min_length=low, max_length=high):
            yield f"{low or 0} to {high} characters"
        case inspect.BytesType(min_length=low, max_length=high):
            yield f"{low or 0} to {high} bytes"
        case inspect.VarTupleType(item_type=item, max_length=high):
            yield f"0 to {high} items"
            yield from words(item)
        case inspect.UnionType(types=types):
            for each in types:
                yield from words(each)


def test_every_field_has_a_bound() -> None:
    for kind in STRUCTS.values():
        assert longest(kind) > 0
    assert len(FIELDS) > 80


@pytest.mark.parametrize(
    "kind", [int, str, bytes, tuple[int, ...], list[int], dict[str, int], float, Any]
)
def test_a_field_without_one_is_found(kind: Any) -> None:
    lax = msgspec.defstruct("Lax", [("name", messages.Name), ("field", kind)])
    with pytest.raises(ValueError, match=r"Lax\.field has no bound"):
        longest(lax)


# -- what is over a bound is refused ------------------------------------------------


def typical(info: inspect.Type) -> Any:
    """A value within the bounds, as msgpack has it."""
    match info:
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return False
        case inspect.IntType(ge=low):
            return low
        case inspect.StrType(min_length=low):
            return "x" * (low or 0)
        case inspect.BytesType(min_length=low):
            return b"x" * (low or 0)
        case inspect.VarTupleType():
            return []
        case inspect.UnionType(types=types):
            return typical(types[-1])
        case inspect.StructType(tag=tag, fields=fields):
            rest = [typical(field.type) for field in fields]
            return rest if tag is None else [tag, *rest]
    raise AssertionError(info)


def beyond(info: inspect.Type) -> Iterator[Any]:  # noqa: C901
    """Values that are just out of bounds, in whatever part of it."""
    match info:
        case inspect.IntType(ge=low, le=high):
            yield low - 1
            yield 2**64 if high is None else high + 1
        case inspect.StrType(min_length=low, max_length=high):
            yield "x" * (high + 1)
            if low:
                yield "x" * (low - 1)
        case inspect.BytesType(min_length=low, max_length=high):
            if high < FRAME_BYTES_MAX:
                yield b"x" * (high + 1)
            if low:
                yield b"x" * (low - 1)
        case inspect.VarTupleType(item_type=item, max_length=high):
            yield [typical(item)] * (high + 1)
            yield from ([each] for each in beyond(item))
        case inspect.UnionType(types=types):
            for each in types:
                yield from beyond(each)
        case inspect.StructType(tag=tag, fields=fields):
            head = [] if tag is None else [tag]
            rest = [typical(field.type) for field in fields]
            for at, field in enumerate(fields):
                for value in beyond(field.type):
                    yield [*head, *rest[:at], value, *rest[at + 1 :]]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_over_a_bound_is_not_decoded(kind: type[Message]) -> None:
    decoder, info = msgspec.msgpack.Decoder(kind), inspect.type_info(kind)
    fine = msgspec.msgpack.encode(typical(info))
    if kind not in {messages.Attach, messages.Redirect, messages.ViewIs}:
        assert isinstance(decoder.decode(fine), kind)
    for value in beyond(info):
        try:
            data = msgspec.msgpack.encode(value)
        except OverflowError:
            continue  # Past 64 bits there is no msgpack.
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(data)


# -- how long frames can be ----------------------------------------------------------


def greatest(info: inspect.Type) -> Any:
    """The value with the longest encoding, with few items in arrays."""
    match info:
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return True
        case inspect.IntType(le=high):
            return 2**64 - 1 if high is None else high
        case inspect.StrType(max_length=high):
            return "\U0001f600" * high
        case inspect.BytesType(max_length=high):
            return b"x" * high
        case inspect.VarTupleType(item_type=item, max_length=high):
            return [greatest(item)] * high
        case inspect.UnionType(types=types):
            values = [greatest(each) for each in types]
            return max(values, key=lambda value: len(msgspec.msgpack.encode(value)))
        case inspect.StructType(tag=tag, fields=fields):
            rest = [greatest(field.type) for field in fields]
            return rest if tag is None else [tag, *rest]
    raise AssertionError(info)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if longest(kind) < 2 * FRAME_BYTES_MAX],
    ids=lambda kind: kind.__name__,
)
def test_no_encoding_is_longer(kind: type[Message]) -> None:
    length = len(msgspec.msgpack.encode(greatest(inspect.type_info(kind))))
    assert 0.8 * longest(kind) - 64 < length <= longest(kind)


def test_what_comes_before_a_hello_is_short() -> None:
    assert longest(Hello) <= HELLO_BYTES_MAX
    assert longest(Goodbye) <= HELLO_BYTES_MAX


def test_a_body_fits_into_a_frame_with_all_around_it() -> None:
    body = bytes(BODY_BYTES_MAX)
    whole = (2**63 - 1,) * 3
    for message in (
        Batch(bytes(16), *whole, body),
        BatchAnswer(2**63 - 1, body),
        QueryAnswer(2**63 - 1, body),
    ):
        assert len(encode(message)) < FRAME_BYTES_MAX


def test_a_forward_is_sent_no_more_entries_than_it_may_have() -> None:
    assert Limits().forward_bytes_max // ENTRY_BYTES <= ENTRIES_MAX


@pytest.mark.parametrize("pair", sorted(SAYS), ids=" -> ".join)
def test_a_frame_is_as_long_as_its_speaker_needs(pair: tuple[str, str]) -> None:
    speaker, listener = pair
    limit = frame_bytes_max(SAYS[pair])
    decoder = Decoder(speaker, listener)
    role = {"primary": SERVER, "backup": SERVER}.get(speaker, speaker)
    decoder.feed(encode(Hello(VERSION, role)))
    assert decoder.feed(limit.to_bytes(4, "big")) == []
    decoder.close()
    with pytest.raises(ProtocolError, match=f"over {limit}"):
        decoder.feed((limit + 1).to_bytes(4, "big"))


def test_the_limit_holds_for_whole_frames_too() -> None:
    decoder = Decoder(messages.CLERK, messages.VIEW_SERVICE)
    decoder.feed(encode(Hello(VERSION, messages.CLERK)))
    for data in (encode(StatusLike(bytes(5000))), encode(StatusLike(bytes(5000))) * 2):
        with pytest.raises(ProtocolError, match="over 4096"):
            decoder.feed(data)


class StatusLike(Message, frozen=True, tag=13):
    """A Status with a field that no version has."""

    more: bytes


def test_what_is_too_long_is_shortened() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


# -- views are well-formed -------------------------------------------------------------

A, B, C = (Member(name, 1, "tcp:h:1") for name in "ABC")
ILL_FORMED = {
    "no primary": (1, None),
    "backups and no primary": (0, None, (A,)),
    "holders and no primary": (0, None, (), ("A",)),
    "founding and no primary": (0, None, (), (), True),
    "a primary before the first view": (0, A),
    "no counter": (messages.COUNTER_MAX + 1, A),
    "a name twice": (2, A, (B, B)),
    "the primary as its backup": (2, A, (B, A)),
    "a holder that is no backup": (2, A, (B,), ("C",)),
    "the primary as holder": (2, A, (B,), ("A",)),
    "a holder twice": (2, A, (B, C), ("B", "B")),
    "a founding view with backups": (2, A, (B,), (), True),
}


@pytest.mark.parametrize("fields", ILL_FORMED.values(), ids=ILL_FORMED)
def test_an_ill_formed_view_is_refused(fields: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="view"):
        View(*fields)
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=View)


# -- docs/protocol.md ------------------------------------------------------------


def test_the_bounds_are_told() -> None:
    found: dict[str, list[str]] = {}
    for name, info in FIELDS:
        for each in dict.fromkeys(words(info)):
            found.setdefault(each, []).append(name)
    told = {row[0]: code(row[1]) for row in table(section(PAGE, "Bounds"))}
    assert found == told


def test_the_longest_frames_are_told() -> None:
    expected = {" -> ".join(pair): frame_bytes_max(SAYS[pair]) for pair in SAYS}
    told: dict[str, int] = {}
    for pairs, length in table(section(PAGE, "The longest frames")):
        for pair in pairs.split(";"):
            told[pair.strip()] = int(length.replace(" ", ""))
    assert expected == told

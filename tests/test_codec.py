"""Frames and messages: what is understood, and what is refused, by name."""

from __future__ import annotations

import struct
import sys

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from wire import messages
from wire.bounds import FRAME_BYTES_MAX, HELLO_BYTES_MAX
from wire.codec import MAPPED_BYTES_MIN, Decoder, ProtocolError, encode, parts
from wire.messages import (
    BACKUP,
    CLERK,
    COUNTER_MAX,
    GOODBYES,
    NO_SESSION,
    OBSERVER,
    PRIMARY,
    SAYS,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Batch,
    BatchAnswer,
    Forward,
    Goodbye,
    Hello,
    Member,
    Message,
    Ping,
    Query,
    Status,
    View,
    Watch,
    view_number,
)


def anything(info: inspect.Type) -> st.SearchStrategy:
    """All values of a type, within the bounds that the messages state."""
    match info:
        case inspect.CustomType() | inspect.AnyType():
            raise AssertionError(f"no message may have a field of type {info}")
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(info.ge, 2**64 - 1 if info.le is None else info.le)
        case inspect.StrType() if info.pattern is not None:
            return st.from_regex(info.pattern, fullmatch=True)
        case inspect.StrType():
            return st.text(min_size=info.min_length or 0, max_size=info.max_length)
        case inspect.BytesType():
            low, high = info.min_length or 0, info.max_length
            return st.binary(min_size=low, max_size=high)
        case inspect.VarTupleType():
            return st.lists(anything(info.item_type), max_size=3).map(tuple)
        case inspect.UnionType():
            return st.one_of([anything(kind) for kind in info.types])
        case inspect.StructType(cls=messages.View):
            return views()
        case inspect.StructType():
            fields = {field.name: anything(field.type) for field in info.fields}
            return st.builds(info.cls, **fields)
    raise AssertionError(f"unknown type {info}")


@st.composite
def views(draw: st.DrawFn) -> View:
    """Those that are well-formed."""
    fields = {field.name: field.type for field in inspect.type_info(View).fields}
    found = draw(
        st.lists(anything(inspect.type_info(Member)), max_size=4, unique_by=_name)
    )
    if not found:
        return View(recoveries=draw(anything(fields["recoveries"])))
    primary, *backups = found
    counter, bits = draw(st.integers(1, COUNTER_MAX)), draw(st.integers(0, 2**32 - 1))
    holders = [member.name for member in backups if draw(st.booleans())]
    return View(
        view_number(counter, bits),
        primary,
        tuple(backups),
        tuple(draw(st.permutations(holders))),
        not backups and draw(st.booleans()),
        draw(anything(fields["recoveries"])),
    )


def _name(member: Member) -> str:
    return member.name


MESSAGES = sorted(
    {kind for said in SAYS.values() for kind in said}, key=lambda kind: kind.__name__
)
OF_EACH = {kind: anything(inspect.type_info(kind)) for kind in [Hello, *MESSAGES]}

# pytest-twisted wraps a hypothesis test once more for each parameter of pytest's,
# and falls over the second one; so hypothesis draws the pair too.
PAIRS = sorted(SAYS)


def hello(speaker: str) -> Hello:
    role = SERVER if speaker in {PRIMARY, BACKUP} else speaker
    return Hello(VERSION, role)


def raw(*fields: object) -> bytes:
    """A frame of just these fields, whatever they mean."""
    payload = msgspec.msgpack.encode(fields)
    return struct.pack(">I", len(payload)) + payload


# -- what is understood -------------------------------------------------------------


def test_every_message_is_said_by_somebody():
    tagged = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type)
        and issubclass(kind, Message)
        and kind.__struct_config__.tag is not None
    }
    assert tagged == {Hello, *MESSAGES}


def test_tags_are_unique():
    tags = [kind.__struct_config__.tag for kind in [Hello, *MESSAGES]]
    assert len(set(tags)) == len(tags)


@given(st.sampled_from(PAIRS), st.data())
@settings(max_examples=300, deadline=None)
def test_round_trip(pair, data):
    speaker, listener = pair
    kinds = SAYS[pair]
    said = [hello(speaker)]
    said += data.draw(st.lists(st.one_of([OF_EACH[kind] for kind in kinds])))
    stream = b"".join(encode(message) for message in said)
    cuts = data.draw(st.lists(st.integers(0, len(stream))).map(sorted))
    decoder = Decoder(speaker, listener)
    heard: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard += decoder.feed(stream[start:end])
    assert said == heard
    assert not decoder.rest


@given(OF_EACH[Hello])
@settings(deadline=None)
def test_a_hello_may_say_anything(said):
    said = msgspec.structs.replace(
        said,
        version=max(VERSION, said.version),
        oldest=min(VERSION, said.oldest),
        role=CLERK,
        cluster=said.cluster[:1] * 16,
        number=said.number if said.cluster else 0,
    )
    assert [said] == Decoder(CLERK, SERVER).feed(encode(said))


def test_byte_by_byte():
    said = [hello(CLERK), Watch(), Status()]
    decoder = Decoder(CLERK, VIEW_SERVICE)
    stream = b"".join(encode(message) for message in said)
    heard = [decoder.feed(stream[at : at + 1]) for at in range(len(stream))]
    assert said == [message for each in heard for message in each]


def test_the_longest_frame_passes():
    overhead = len(encode(BatchAnswer(1, bytes(2**24 - 100)))) - (2**24 - 100)
    body = bytes(FRAME_BYTES_MAX - overhead + 4)
    decoder = Decoder(SERVER, CLERK)
    decoder.feed(encode(hello(SERVER)))
    frame = encode(BatchAnswer(1, body))
    assert len(frame) == FRAME_BYTES_MAX + 4
    assert [BatchAnswer(1, body)] == decoder.feed(frame)


def test_a_great_frame_leaves_nothing_behind():
    decoder = Decoder(SERVER, CLERK)
    stream = encode(hello(SERVER)) + encode(BatchAnswer(1, bytes(2**23))) * 3
    lengths, kept, heard = [], [], []
    for at in range(0, len(stream), 65536):
        heard += decoder.feed(stream[at : at + 65536])
        lengths.append(decoder.unfinished_bytes)
        kept.append(sys.getsizeof(decoder.rest))
    assert heard[1:] == [BatchAnswer(1, bytes(2**23))] * 3
    assert max(lengths) < 2**24
    assert max(kept) < MAPPED_BYTES_MIN
    assert lengths[-1] == 0
    assert decoder._long is None


@given(st.lists(st.integers(0, 600_000), max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_long_frames_and_short_ones_however_they_are_cut(sizes, data):
    said = [hello(SERVER)] + [BatchAnswer(1, bytes(size)) for size in sizes]
    stream = b"".join(map(encode, said))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    decoder = Decoder(SERVER, CLERK)
    heard = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard += decoder.feed(stream[start:end])
        arrived = sum(len(encode(message)) for message in heard)
        assert decoder.unfinished_bytes == end - arrived
    assert said == heard


def test_a_long_frame_that_makes_no_sense():
    decoder = Decoder(SERVER, CLERK)
    decoder.feed(encode(hello(SERVER)) + (2**20).to_bytes(4, "big"))
    with pytest.raises(ProtocolError):
        decoder.feed(bytes(2**20))
    decoder.close()
    assert not decoder.rest


def test_inside_a_frame():
    decoder = Decoder(CLERK, SERVER)
    frame = encode(hello(CLERK))
    decoder.feed(frame[:-1])
    assert decoder.rest
    decoder.feed(frame[-1:])
    assert not decoder.rest


def test_a_caller_who_is_not_known_beforehand_says_what_it_is():
    for role, message in {
        CLERK: Query(1, NO_SESSION, 0, b""),
        SERVER: Forward(1, 1, 0, 0),
        OBSERVER: messages.DigestAt(3),
    }.items():
        said = [Hello(VERSION, role), message]
        stream = b"".join(encode(each) for each in said)
        assert said == Decoder(None, SERVER).feed(stream)


def test_who_has_no_room_may_say_only_goodbye():
    full = Goodbye("full", "there are 3 connections already")
    assert [full] == Decoder(SERVER, CLERK).feed(encode(full))


# -- what is refused ------------------------------------------------------------------

BATCH = Batch(b"s" * 16, 1, 1, 1, b"")
DEEP = b"\x91" * 3000
MEMBER = ["s1", 1, "tcp:127.0.0.1:7401"]


def refusal_of(decoder: Decoder, data: bytes) -> ProtocolError | None:
    try:
        decoder.feed(data)
    except ProtocolError as error:
        return error
    return None


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


#: What a clerk sends to a server -> the reason and some of the text.
REFUSED = {
    "4 GiB announced": (b"\xff\xff\xff\xff", "too long", "4294967295"),
    "one byte too long": (
        struct.pack(">I", HELLO_BYTES_MAX + 1),
        "too long",
        "4097 bytes is over 4096, which is the limit for a clerk before a Hello",
    ),
    "an HTTP request": (b"GET / HTTP/1.1\r\n\r\n", "too long", "1195725856"),
    "an empty frame": (b"\0\0\0\0", "protocol", "truncated"),
    "no msgpack": (framed(b"\xc1"), "protocol", "invalid opcode"),
    "no array": (framed(b"\x01"), "protocol", "array"),
    "something after the message": (
        framed(msgspec.msgpack.encode([1, VERSION, CLERK]) + b"\0"),
        "protocol",
        "trailing",
    ),
    "no Hello first": (encode(BATCH), "protocol", "clerk may not say"),
    "an old version": (raw(1, 1, CLERK), "version", "version 1 is not spoken"),
    "later versions only": (
        raw(1, 9, CLERK, b"", 0, None, "", 0, 0, VERSION + 1, "and more"),
        "version",
        f"version {VERSION + 1} to 9 is not spoken here",
    ),
    "a view and no cluster": (raw(1, VERSION, CLERK, b"", 1), "protocol", "no cluster"),
    "a counter past its bits": (
        raw(1, VERSION, CLERK, b"c" * 16, 2**62),
        "protocol",
        "<=",
    ),
    "an unknown version, strange fields": (
        raw(1, 9, {"who": None}, [], 1.5),
        "version",
        "version 9 is not spoken",
    ),
    "an unknown version, nothing else": (raw(1, 0), "version", "version 0"),
    "a huge version": (raw(1, 2**64 - 1), "version", str(2**64 - 1)),
    "a version that is no number": (raw(1, "1", CLERK), "protocol", "int"),
    "a Hello of nobody": (raw(1, VERSION), "protocol", "length"),
    "another role": (raw(1, VERSION, OBSERVER), "role", "'observer'"),
    "a role that nobody has": (raw(1, VERSION, "king"), "role", "'king'"),
    "a negative number": (raw(1, VERSION, CLERK, b"", -1), "protocol", ">= 0"),
    "text that is no UTF-8": (framed(b"\x93\x01\x02\xa1\xff"), "protocol", "utf-8"),
    "depth without end": (
        framed(b"\x9a\x01\x02\xa5clerk\xc4\0\0\xc0\xa0\0\0" + DEEP + b"\x01"),
        "protocol",
        "recursion",
    ),
}

#: The same after a proper Hello.
REFUSED_LATER = {
    "Hello twice": (encode(hello(CLERK)), "protocol", "Invalid value 1"),
    "an unknown tag": (raw(99), "protocol", "Invalid value 99"),
    "a tag that is no number": (raw("Batch"), "protocol", "`str`"),
    "another's message": (encode(Forward(1, 1, 0, 0)), "protocol", "Invalid value 22"),
    "an answer": (encode(BatchAnswer(1, b"")), "protocol", "Invalid value 35"),
    "a message to another": (raw(10, 1, MEMBER, 1), "protocol", "Invalid value 10"),
    "too few fields": (raw(32, b"s" * 16, 1), "protocol", "length"),
    "sequence 0": (raw(32, b"s" * 16, 1, 0, 1, b""), "protocol", ">= 1"),
    "past 63 bits": (raw(32, b"s" * 16, 2**63, 1, 1, b""), "protocol", "<="),
    "a short session": (raw(32, b"s" * 15, 1, 1, 1, b""), "protocol", "length"),
    "one byte too long": (
        struct.pack(">I", FRAME_BYTES_MAX + 1),
        "too long",
        "16777217 bytes is over 16777216, which is the limit for a clerk",
    ),
    "a body of text": (raw(32, b"s" * 16, 1, 1, 1, "b"), "protocol", "bytes"),
    "4 GiB announced": (b"\xff\xff\xff\xff", "too long", "4294967295"),
    "4 GiB announced inside": (
        framed(b"\x96\x20\xc4\x10" + b"s" * 16 + b"\1\1\1\xc6\xff\xff\xff\xff"),
        "protocol",
        "length <= 16777216",
    ),
    "15 MiB announced inside": (
        framed(b"\x96\x20\xc4\x10" + b"s" * 16 + b"\1\1\1\xc6\0\xf0\0\0"),
        "protocol",
        "truncated",
    ),
}


@pytest.mark.parametrize(
    ("data", "reason", "words"), REFUSED.values(), ids=REFUSED.keys()
)
def test_refused_at_first(data, reason, words):
    with pytest.raises(ProtocolError) as refused:
        Decoder(CLERK, SERVER).feed(data)
    assert reason == refused.value.reason
    assert words in refused.value.text


@pytest.mark.parametrize(
    ("data", "reason", "words"), REFUSED_LATER.values(), ids=REFUSED_LATER.keys()
)
def test_refused_later(data, reason, words):
    decoder = Decoder(None, SERVER)
    decoder.feed(encode(hello(CLERK)))
    with pytest.raises(ProtocolError) as refused:
        decoder.feed(data)
    assert reason == refused.value.reason
    assert words in refused.value.text
    assert "clerk" in refused.value.text or reason == "too long"


@given(st.sampled_from(PAIRS), st.data())
@settings(max_examples=300, deadline=None)
def test_nobody_says_what_is_not_theirs_to_say(pair, data):
    speaker, listener = pair
    others = [kind for kind in MESSAGES if kind not in SAYS[pair]]
    frame = encode(data.draw(st.one_of([OF_EACH[kind] for kind in others])))
    decoder = Decoder(speaker, listener)
    decoder.feed(encode(hello(speaker)))
    with pytest.raises(ProtocolError, match=f"an? {speaker} may not say") as refused:
        decoder.feed(frame)
    assert refused.value.reason == "protocol"


def test_a_view_service_where_a_server_was_called():
    """A dialler that reaches the wrong port learns it from the Hello."""
    with pytest.raises(ProtocolError, match="'server' is expected there") as refused:
        Decoder(SERVER, CLERK).feed(encode(hello(VIEW_SERVICE)))
    assert refused.value.reason == "role"


def test_a_role_without_business_here():
    """A view service calls nobody; who could pass for one could depose a primary."""
    for listener in VIEW_SERVICE, SERVER:
        with pytest.raises(ProtocolError, match="the role 'view service'") as no:
            Decoder(None, listener).feed(encode(hello(VIEW_SERVICE)))
        assert no.value.reason == "role"


def test_texts_about_an_observer_are_english():
    decoder = Decoder(None, SERVER)
    decoder.feed(encode(hello(OBSERVER)))
    with pytest.raises(ProtocolError, match="an observer may not say this"):
        decoder.feed(encode(Watch()))
    decoder = Decoder(OBSERVER, SERVER)
    decoder.feed(encode(hello(OBSERVER)))
    with pytest.raises(ProtocolError, match="the limit for an observer"):
        decoder.feed(b"\xff\xff\xff\xff")
    with pytest.raises(ProtocolError, match="the other end has the role 'observer'"):
        Decoder(CLERK, SERVER).feed(encode(hello(OBSERVER)))


def test_the_length_alone_is_enough_to_refuse():
    """Nothing is kept for a frame that is over the limit."""
    decoder = Decoder(CLERK, SERVER)
    assert decoder.feed(b"\xff\xff\xff") == []
    with pytest.raises(ProtocolError, match="over 4096"):
        decoder.feed(b"\xff")


def test_what_came_with_the_offence_is_dropped_with_it():
    decoder = Decoder(CLERK, SERVER)
    with pytest.raises(ProtocolError):
        decoder.feed(encode(hello(CLERK)) + encode(BATCH) + raw(99))


@given(st.binary(), st.booleans())
@settings(max_examples=300, deadline=None)
@example(b"\xff\xff\xff\xff", False)
def test_garbage_is_a_protocol_error_or_waits_for_more(data, introduced):
    decoder = Decoder(CLERK, SERVER)
    if introduced:
        decoder.feed(encode(hello(CLERK)))
    for each in data, framed(data):
        refusal = refusal_of(decoder, each)
        assert refusal is None or (refusal.reason in GOODBYES and refusal.text)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_message_is_a_protocol_error_or_another_message(data):
    kind = data.draw(st.sampled_from(SAYS[PRIMARY, BACKUP]))
    frame = bytearray(encode(data.draw(OF_EACH[kind])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(frame) - 1))
        frame[at] = data.draw(st.integers(0, 255))
    decoder = Decoder(PRIMARY, BACKUP)
    decoder.feed(encode(hello(PRIMARY)))
    refusal = refusal_of(decoder, bytes(frame))
    assert refusal is None or refusal.reason == "protocol"


# -- our own mistakes ----------------------------------------------------------------


def test_what_does_not_fit_is_not_encoded():
    with pytest.raises(ValueError, match=r"a BatchAnswer of \d+ bytes does not fit"):
        encode(BatchAnswer(1, bytes(FRAME_BYTES_MAX)))


def test_a_decoder_for_nobody():
    with pytest.raises(ValueError, match="a clerk has nothing to say to a backup"):
        Decoder(CLERK, BACKUP)
    with pytest.raises(ValueError, match="a clerk is called by nobody"):
        Decoder(None, CLERK)


def test_of_two_servers_the_dialler_is_primary():
    assert parts(SERVER, SERVER) == (PRIMARY, BACKUP)
    assert parts(CLERK, SERVER) == (CLERK, SERVER)
    assert parts(PRIMARY, BACKUP) == (PRIMARY, BACKUP)


def test_a_ping_is_not_a_message_between_servers():
    assert Ping not in SAYS[PRIMARY, BACKUP]

"""What docs/protocol.md says of messages and bytes is what the code does."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import msgspec
import pytest

from tests.documents import blocks, code, read, section, table
from viewservice import status
from viewservice.refusals import Refusal
from viewservice.roster import Roster
from viewservice.views import Views
from wire import messages
from wire.codec import Decoder, ProtocolError, encode
from wire.messages import (
    BACKUP,
    GOODBYES,
    PRIMARY,
    SAYS,
    SERVER,
    VERSION,
    Goodbye,
    Hello,
    Member,
    Message,
    Ping,
    Report,
    Wait,
)

PAGE = read("docs/protocol.md")
KINDS = {Hello, Goodbye, *(kind for said in SAYS.values() for kind in said)}
TAGS = {kind.__struct_config__.tag: kind for kind in KINDS}
STRUCTS = {
    name: kind
    for name, kind in vars(messages).items()
    if isinstance(kind, type) and issubclass(kind, Message)
}
HEX = re.compile(r"[0-9a-f ]+")
ANY = "any -> any"


def said_by(kind: type[Message]) -> set[str]:
    """Who says it to whom: ``server -> view service``."""
    if kind in {Hello, Goodbye}:
        return {ANY}
    return {f"{who} -> {whom}" for (who, whom), said in SAYS.items() if kind in said}


def construct(text: str) -> Any:
    """The value that *text* stands for: messages, and plain constants."""
    return _value(ast.parse(text.strip(), mode="eval").body)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(ast.Name(name), [], keywords):
            return STRUCTS[name](**{each.arg: _value(each.value) for each in keywords})
        case ast.Tuple(parts):
            return tuple(_value(part) for part in parts)
        case _:
            return ast.literal_eval(node)


class Vector:
    """One message in words and in bytes."""

    def __init__(self, block: str) -> None:
        lines = block.splitlines()
        first_hex = next(i for i, line in enumerate(lines) if HEX.fullmatch(line))
        self.speaker, self.listener = lines[0].split(" -> ")
        self.words = "\n".join(lines[1:first_hex])
        self.frame = bytes.fromhex("".join(lines[first_hex:]))

    def decode(self) -> Message:
        decoder = Decoder(self.speaker, self.listener)
        (hello,) = decoder.feed(self.hello())
        if not self.frame_is_hello():
            (hello,) = decoder.feed(self.frame)
        return hello

    def frame_is_hello(self) -> bool:
        return self.words.startswith("Hello(")

    def hello(self) -> bytes:
        if self.frame_is_hello():
            return self.frame
        role = SERVER if self.speaker in {PRIMARY, BACKUP} else self.speaker
        return encode(Hello(VERSION, role))


VECTORS = [Vector(block) for block in blocks(PAGE, "vector")]


# -- the table of messages ----------------------------------------------------


ROWS = {code(row[1])[0]: row for row in table(section(PAGE, "Every message"))}


def test_every_message_has_its_row_in_order_of_tags() -> None:
    assert [TAGS[tag].__name__ for tag in sorted(TAGS)] == list(ROWS)


@pytest.mark.parametrize(
    "kind", [TAGS[tag] for tag in sorted(TAGS)], ids=lambda kind: kind.__name__
)
def test_row(kind: type[Message]) -> None:
    tag, _, fields, who, *_ = ROWS[kind.__name__]
    assert str(kind.__struct_config__.tag) == tag
    assert list(kind.__struct_fields__) == code(fields)
    assert said_by(kind) == {each.strip() for each in who.split(";")}


def test_what_is_inside_of_messages_is_told_too() -> None:
    rows = table(section(PAGE, "Inside of messages"))
    told = {code(row[0])[0]: code(row[1]) for row in rows}
    inside = {
        name: list(kind.__struct_fields__)
        for name, kind in STRUCTS.items()
        if kind not in KINDS and kind is not Message
    }
    assert inside == told


def test_every_reason_for_a_goodbye_is_told() -> None:
    rows = table(section(PAGE, "Goodbye"))
    assert list(GOODBYES) == [code(row[0])[0] for row in rows]


# -- the vectors --------------------------------------------------------------


def test_every_message_has_a_vector() -> None:
    assert {kind.__name__ for kind in KINDS} == {
        type(construct(vector.words)).__name__ for vector in VECTORS
    }


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.words[:30])
def test_vector(vector: Vector) -> None:
    expected = construct(vector.words)
    assert expected == vector.decode()
    assert vector.frame.hex(" ") == encode(expected).hex(" ")


REFUSED = [line.split(" : ") for line in blocks(PAGE, "refused")[0].splitlines()]


@pytest.mark.parametrize(
    ("who", "frame", "reason"), REFUSED, ids=lambda cell: str(cell)[:30]
)
def test_what_is_refused(who: str, frame: str, reason: str) -> None:
    speaker, listener = who.split(" -> ")
    decoder = Decoder(None if speaker == "anybody" else speaker, listener)
    if speaker != "anybody":
        role = SERVER if speaker in {PRIMARY, BACKUP} else speaker
        decoder.feed(encode(Hello(VERSION, role)))
    with pytest.raises(ProtocolError) as raised:
        decoder.feed(bytes.fromhex(frame))
    assert reason == raised.value.reason


# -- status -------------------------------------------------------------------


def shape(value: Any) -> Any:
    """The keys of a document, whatever their values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(inner) for inner in value[:1]]
    return None


def test_status_has_the_shape_that_is_told() -> None:
    views = Views(b"c" * 16, Roster(3, 0), backups_max=2)
    report = Report(7, 8, Wait(("s2",), "transfer", "to be brought up"), 4096)
    for incarnation, name in enumerate(("s1", "s2")):
        member = Member(name, incarnation, f"tcp:{name}:1")
        views.ping(incarnation, Ping(1, member, 0, report=report))
    views.ping(0, Ping(2, Member("s1", 0, "tcp:s1:1"), 1, report=report))
    views.ping(0, Ping(3, Member("s1", 0, "tcp:s1:1"), 2, ("s2",), report=report))
    gone = Goodbye("cluster", "s9 belongs to another")
    refused = [Refusal(0.0, Member("s9", 9, "tcp:s9:1"), gone, "10.0.0.9")]
    reports = {"s1": report, "s2": report}
    real = json.loads(status.document(views, reports, 100, refused))
    told = json.loads(blocks(section(PAGE, "Status"), "json")[0])
    assert shape(told) == shape(real)


# -- the walks through the code -----------------------------------------------


LINK = re.compile(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)")


@pytest.mark.parametrize(("name", "path"), sorted(set(LINK.findall(PAGE))))
def test_a_function_that_is_named_is_where_the_link_leads(name: str, path: str) -> None:
    tree = ast.parse(read(path))
    classes: dict[str, list[ast.stmt]] = {"": tree.body}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node.body
    owner, _, function = name.rpartition(".")
    found = {
        node.name
        for node in classes.get(owner, [])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    assert function in found


def test_the_words_of_a_vector_are_not_evaluated() -> None:
    with pytest.raises((ValueError, KeyError)):
        construct("__import__('os')")
    assert msgspec.structs.asdict(construct("Watch()")) == {}

"""Machines written one command at a time, and how a machine is found by name."""

from __future__ import annotations

import collections
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.locks import Locks
from pbserver import simple_machine
from pbserver.loading import NoMachine, machine_factory
from pbserver.simple_machine import BatchAdapter, Refused, SimpleMachine, plain
from pbserver.store import Store
from wire.commands import (
    ANSWER_LOST,
    COMMANDS_MAX,
    MALFORMED,
    RAISED,
    TOO_LARGE,
    AnyAnswer,
    Failed,
    Ok,
)
from wire.messages import BODY_BYTES_MAX

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.Decoder(list[AnyAnswer]).decode


class Tape:
    """Remembers every command, and answers with whatever the test wants."""

    def __init__(self) -> None:
        self.state: list[Any] = []

    def apply_one(self, command: Any, stamp_ms: int) -> Any:
        self.state.append([command, stamp_ms])
        return self.query_one(command)

    def query_one(self, command: Any) -> Any:
        match command:
            case "set":
                return {b"a", b"b"}
            case "object":
                return object()
            case "half":
                return "\ud800"
            case "huge":
                return 2**64
            case "divide":
                return 1 / 0
            case "refuse":
                raise Refused("no", "because")
            case "refuse at length":
                raise Refused("é" * 999, "\ud800é" * 999)
            case "assert":
                raise AssertionError
            case ["bytes", count]:
                return bytes(count)
            case "named":
                return collections.namedtuple("Pair", "a b")(1, {2: 3})  # noqa: PYI024
        return command

    def dump(self) -> Any:
        return self.state

    def restore(self, state: Any) -> None:
        self.state = list(state)


def outcomes(answers: bytes) -> list[Any]:
    return [a.value if isinstance(a, Ok) else a.code for a in decode(answers)]


def do(machine: SimpleMachine, *commands: Any, stamp_ms: int = 0) -> list[Any]:
    return outcomes(machine.apply(encode(commands), stamp_ms))


def moved(
    machine: SimpleMachine, into: BatchAdapter, bytes_max: int = 7
) -> SimpleMachine:
    cut = machine.cut()
    other = SimpleMachine(into)
    for piece in iter(lambda: cut.take(bytes_max), b""):
        other.load(piece)
    other.finish()
    cut.close()
    return other


# -- commands and answers ------------------------------------------------------

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.binary(max_size=3), inner)
    ),
    max_leaves=8,
)


@given(st.lists(PLAIN, max_size=5), st.integers(0, 2**62))
def test_plain_commands_go_in_and_plain_answers_come_out(
    commands: list[Any], stamp_ms: int
) -> None:
    machine = SimpleMachine(Tape())
    words = [c if not isinstance(c, str) else f"said {c}" for c in commands]
    assert do(machine, *words, stamp_ms=stamp_ms) == words
    assert machine.machine.dump() == [[word, stamp_ms] for word in words]
    assert outcomes(machine.query(encode(words))) == words
    assert len(machine.machine.dump()) == len(words)


ANSWERS: dict[str, tuple[Any, AnyAnswer]] = {
    "a named tuple with a dict": ("named", Ok([1, {2: 3}])),
    "refused": ("refuse", Failed("no", "because")),
    "a set": ("set", Failed(ANSWER_LOST, "executed, but a set is no plain value")),
    "an object": (
        "object",
        Failed(ANSWER_LOST, "executed, but an object is no plain value"),
    ),
    "half a character": (
        "half",
        Failed(ANSWER_LOST, "executed, but half a character is no plain value"),
    ),
    "a huge number": (
        "huge",
        Failed(ANSWER_LOST, "executed, but a number past 64 bits is no plain value"),
    ),
}


@pytest.mark.parametrize(("command", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_answer(command: Any, answer: AnyAnswer) -> None:
    machine = SimpleMachine(Tape())
    assert decode(machine.apply(encode(["a", command, "b"]), 0)) == [
        Ok("a"),
        answer,
        Ok("b"),
    ]


def test_an_exception_is_an_answer_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = SimpleMachine(Tape())
    with caplog.at_level(logging.ERROR):
        answers = decode(machine.apply(encode(["a", "divide", "divide", "b"]), 0))
    assert [Ok("a"), Ok("b")] == [answers[0], answers[3]]
    assert answers[1] == answers[2]
    assert isinstance(answers[1], Failed)
    assert answers[1].code == RAISED
    assert re.fullmatch(r"ZeroDivisionError at test_single\.py:\d+", answers[1].text)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None


def test_an_assertion_of_an_author_is_an_answer_like_any_other() -> None:
    # It fails alike on every replica; to stop at it would stop one after the other.
    body = SimpleMachine(Tape()).apply(encode(["assert"]), 0)
    assert decode(body)[0].code == RAISED  # type: ignore[union-attr]


def test_a_refusal_is_shortened() -> None:
    machine = SimpleMachine(Tape())
    body = machine.apply(encode(["refuse at length"]), 0)
    assert 400 < len(body) <= simple_machine.ANSWER_BYTES_SURE
    assert decode(body)[0].code == "é" * (simple_machine.CODE_BYTES_MAX // 2)  # type: ignore[union-attr]


def test_answers_that_do_not_fit_are_lost_and_said_to_be() -> None:
    machine = SimpleMachine(Tape())
    commands = [["bytes", 10_000_000], ["bytes", 10_000_000], ["bytes", 5_000_000], "x"]
    answers = machine.query(encode(commands))
    assert len(answers) <= BODY_BYTES_MAX
    assert outcomes(answers) == [bytes(10_000_000), ANSWER_LOST, bytes(5_000_000), "x"]


def test_the_fullest_answers_fit() -> None:
    machine = SimpleMachine(Tape())
    commands = [["bytes", BODY_BYTES_MAX // 3]] * 2 + ["refuse at length"] * 9000
    assert len(machine.query(encode(commands))) <= BODY_BYTES_MAX
    many = [["bytes", BODY_BYTES_MAX // COMMANDS_MAX]] * COMMANDS_MAX
    assert 0.9 * BODY_BYTES_MAX < len(machine.query(encode(many))) <= BODY_BYTES_MAX


BODIES: dict[str, tuple[bytes, list[Any]]] = {
    "no array": (b"\xc0", [MALFORMED]),
    "nothing": (b"", [MALFORMED]),
    "no commands": (b"\x90", []),
    "cut off": (b"\x92\x01", [MALFORMED]),
    "text that is no text": (b"\x92\xa1\xff\x07", [MALFORMED, 7]),
    "a key without a hash": (b"\x92\x81\x80\x01\x07", [MALFORMED, 7]),
    "too deep": (b"\x92" + b"\x91" * 65 + b"\xc0\x07", [MALFORMED, 7]),
    "too many": (encode([1] * (COMMANDS_MAX + 1)), [TOO_LARGE]),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_body(body: bytes, expected: list[Any]) -> None:
    assert outcomes(SimpleMachine(Tape()).apply(body, 0)) == expected


@given(st.binary(max_size=64))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    for prefix in (b"", b"\x92"):
        one, other = SimpleMachine(Tape()), SimpleMachine(Tape())
        assert one.apply(prefix + body, 0) == other.apply(prefix + body, 0)
        decode(one.query(prefix + body))


@pytest.mark.parametrize("value", [{1, 2}, bytearray(b"x"), 2**64, "\udfff", [[set()]]])
def test_what_is_not_plain(value: Any) -> None:
    with pytest.raises(TypeError, match="is no plain value"):
        plain({"key": [value]})


# -- moving the state ----------------------------------------------------------


@given(st.lists(PLAIN, max_size=5), st.integers(1, 40))
def test_a_moved_machine_is_equal_and_goes_on_alike(
    commands: list[Any], bytes_max: int
) -> None:
    machine = SimpleMachine(Tape())
    do(machine, *commands)
    other = moved(machine, Tape(), bytes_max)
    assert machine.digest() == other.digest()
    assert do(machine, "more") == do(other, "more")
    assert machine.digest() == other.digest()
    do(machine, "more")
    assert machine.digest() != other.digest()


def test_a_cut_is_of_its_moment() -> None:
    machine = SimpleMachine(Tape())
    do(machine, 1)
    digest = machine.digest()
    cut = machine.cut()
    with pytest.raises(ValueError, match="open already"):
        machine.cut()
    do(machine, 2)
    other = SimpleMachine(Tape())
    other.load(cut.take(1000))
    other.finish()
    assert other.digest() == digest
    assert cut.take(1000) == b""
    cut.close()
    cut.close()
    assert machine.cut().take(1000) != b""


def test_a_dump_that_is_not_plain_cannot_be_cut() -> None:
    machine = SimpleMachine(Tape())
    machine.machine.restore([{1}])
    with pytest.raises(TypeError, match="a set is no plain value"):
        machine.cut()


def test_the_order_of_a_dict_is_no_part_of_the_digest() -> None:
    one, other = SimpleMachine(Tape()), SimpleMachine(Tape())
    one.machine.restore([{b"a": 1, b"b": [2, (3,)]}])
    other.machine.restore([{b"b": [2, [3]], b"a": 1}])
    assert one.digest() == other.digest()
    other.machine.restore([[b"b", [2, [3]], b"a", 1]])
    assert one.digest() != other.digest()


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        (bytes(7) + b"\x01" + b"\xc1", "Tape.restore refuses the state of 1 bytes"),
        (bytes(7) + b"\x01" + b"\x07", "TypeError: 'int' object is not iterable"),
        (bytes(7) + b"\x01" + b"\x90\x90", "2 bytes came of a state of 1"),
        (bytes(8), "restore refuses the state of 0"),
    ],
)
def test_what_is_no_piece_is_refused(chunk: bytes, text: str) -> None:
    machine = SimpleMachine(Tape())
    with pytest.raises(ValueError, match=text):  # noqa: PT012 - one or the other
        machine.load(chunk)
        machine.finish()


# -- the example ---------------------------------------------------------------


def test_locks_are_granted_held_and_run_out() -> None:
    machine = SimpleMachine(Locks())
    assert do(machine, ["acquire", "p", "ann", 100]) == [1]
    assert do(machine, ["acquire", "p", "bob", 100], stamp_ms=99) == ["held"]
    assert outcomes(machine.query(encode([["owner", "p"], ["owner", "q"]]))) == [
        "ann",
        None,
    ]
    other = moved(machine, Locks())
    assert do(other, ["acquire", "p", "bob", 100], stamp_ms=100) == [2]
    assert do(other, ["release", "p", "ann"], stamp_ms=101) == [False]
    assert do(other, ["release", "p", "bob"], ["owner", "p"]) == [True, None]
    nonsense = [["acquire", "p", "ann", 2**63], ["steal"], 7, ["owner", 1]]
    assert do(machine, *nonsense) == ["unknown"] * 4
    assert other.machine.dump() == [2, {}]


# -- finding a machine by its name ---------------------------------------------


def test_the_store_is_found_and_made_anew_each_time() -> None:
    factory = machine_factory("pbserver.store:Store")
    assert isinstance(factory(), Store)
    assert factory() is not factory()


def test_a_machine_of_one_command_at_a_time_is_wrapped() -> None:
    machine = machine_factory("examples.locks:Locks")()
    assert isinstance(machine, SimpleMachine)
    assert isinstance(machine.machine, Locks)


MODULE = """
from pbserver.machine import StateMachine
from pbserver.store import Store
class Nothing: ...
class Half:
    def apply(self, body, stamp_ms): ...
    def cut(self): ...
    digest = None
class HalfOne:
    def apply_one(self, command, stamp_ms): ...
class Inner:
    Store = Store
def asks(name): ...
def fails(): raise OSError("no disk")
word = "text"
"""

NAMES = {
    "no colon": ("store", "'store' names no machine; write package.module:factory"),
    "no attribute": ("mine:", "names no machine"),
    "no module": ("nowhere.at.all:Store", "there is no module 'nowhere'; looked in /"),
    "no inner module": ("pbserver.stores:Store", "is no module 'pbserver.stores'"),
    "relative": (".store:Store", "cannot be imported: TypeError"),
    "module misses one": ("broken:X", "broken cannot be imported: No module named"),
    "module fails": ("failing:X", "failing cannot be imported: ZeroDivisionError: div"),
    "module exits": ("exiting:X", "exiting cannot be imported: SystemExit: 3"),
    "syntax": ("syntax:X", "syntax cannot be imported: SyntaxError: .*syntax.py"),
    "attribute missing": ("mine:Sore", "mine has no 'Sore'; a machine in it is Store$"),
    "inner attribute": ("mine:Inner.Sore", "no 'Sore'; a machine in it is Store$"),
    "nothing like it": ("mine:Half.Sore", "Half has no 'Sore'$"),
    "no function": ("mine:word", "word is no function and no class but str 'text'"),
    "needs arguments": ("mine:asks", "without arguments raised TypeError: asks()"),
    "raises": ("mine:fails", "without arguments raised OSError: no disk"),
    "lacks methods": ("mine:Half", "is a Half, .* it has no query, load, digest$"),
    "lacks all": ("mine:Nothing", "neither apply_one, .* nor apply, .*digest"),
    "lacks a few": ("mine:HalfOne", "HalfOne, .* has no query_one, dump, restore$"),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "mine": MODULE,
        "broken": "import gone.entirely",
        "failing": "1 / 0",
        "exiting": "import sys; sys.exit(3)",
        "syntax": "def",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for name in ("mine", "broken", "failing", "exiting", "syntax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("name", "text"), NAMES.values(), ids=NAMES)
def test_what_is_wrong_with_a_name_is_said(name: str, text: str) -> None:
    with pytest.raises(NoMachine, match=text) as caught:
        machine_factory(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.usefixtures("here")
def test_a_path_inside_a_module_is_found() -> None:
    assert isinstance(machine_factory("mine:Inner.Store")(), Store)


def test_the_current_directory_is_importable(here: Path) -> None:
    program = (
        f"import sys; sys.path[:] = set(sys.path) - {{'', {str(here)!r}}}\n"
        "from pbserver.loading import machine_factory\n"
        "print(type(machine_factory('mine:Store')()).__name__)"
    )
    root = Path(simple_machine.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=here,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "Store\n"

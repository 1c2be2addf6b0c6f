"""
Machines that are written one command at a time.

`SimpleMachine` turns an object with four small methods into a state machine that can
be replicated (docs/design.md, section 9): it takes batches apart, decodes each
command into plain values (None, bool, int, float, str, bytes, list, dict),
encodes the answers, and moves the state.  ``twistd pbserver --machine`` does
the wrapping by itself for a class that has `apply_one`.

Answers have the form of the store's: `Ok` with what `apply_one` returned, or
`Failed`.  An exception answers that one command and the server lives on:
every replica runs the same code on the same state, so all of them raise it
alike, and stopping would stop them all.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from attrs import define, field

from pbserver import msgpack_array
from wire.commands import (
    ANSWER_LOST,
    COMMANDS_MAX,
    MALFORMED,
    OVER_BUDGET,
    RAISED,
    TOO_LARGE,
    Failed,
    Ok,
)
from wire.messages import BODY_BYTES_MAX

#: No failure is longer, and there is room for one for each command of a batch.
ANSWER_BYTES_SURE: Final = 512

#: What is kept of a refusal, in bytes of UTF-8.
CODE_BYTES_MAX: Final = 64
TEXT_BYTES_MAX: Final = 384

#: The assumed cost of a command, in units of `pbserver.budget`: that of this file.
#: The cost of the wrapped machine is not known.
COMMAND_WORK: Final = 8 * 1024

_LENGTH_BYTES: Final = 8

_encode: Final = msgspec.msgpack.Encoder().encode
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_log: Final = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 (an outcome)
    """Raised by a machine: the command is answered with `Failed(code, text)`.

    The machine must not have changed anything by then.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@runtime_checkable
class BatchAdapter(Protocol):
    """What the author of a machine writes.  It must be deterministic, see
    `pbserver.machine`."""

    def apply_one(self, command: Any, stamp_ms: int) -> Any:
        """Execute one command -> its answer, a plain value.  *command* is what
        the client sent, whatever that is; *stamp_ms* is the log's own clock in
        milliseconds, which never goes back and starts at an arbitrary value: the
        difference of two stamps is a duration, such as a lease.  It is not the
        time of day; a command that needs the date must contain it."""

    def query_one(self, command: Any) -> Any:
        """Answer one command that only reads.  Changes nothing."""

    def dump(self) -> Any:
        """The whole state as one plain value; equal states, equal values.

        Whatever a later answer depends on must be in it: another server becomes
        equal by `restore` of this value alone.  It is encoded before the next
        command comes, so it need be no copy.
        """

    def restore(self, state: Any) -> None:
        """Become what was dumped (tuples have become lists).  Raises any
        exception if it makes no sense."""


@define(eq=False)
class SimpleMachine:
    """A state machine around `BatchAdapter`.

    A cut and a digest dump and encode everything at once, and the server does
    nothing else meanwhile.  So the state should be what takes much less than the
    dead time: a million numbers or a hundred thousand small records take 0.1 to 0.4 s.
    `restore` runs in a thread and has no such bound.
    """

    machine: BatchAdapter

    #: What the last body has cost, in units of `pbserver.budget`.
    spent: int = field(default=0, init=False)
    _cut: SimpleMachineCut | None = field(default=None, init=False)
    #: What has been loaded so far of a state that is not complete yet.
    _loading: bytearray = field(factory=bytearray, init=False)
    #: Where exceptions came from that have been logged: each place once, so
    #: that no client can fill a disk.
    _logged: set[str] = field(factory=set, init=False)

    def apply(self, body: bytes, stamp_ms: int) -> bytes:
        """Execute a batch -> the array of its answers."""
        return self._answers(body, lambda one: self.machine.apply_one(one, stamp_ms))

    def query(self, body: bytes) -> bytes:
        """The same for commands that only read."""
        return self._answers(body, self.machine.query_one)

    def cut(self) -> SimpleMachineCut:
        """The state at this moment.  ValueError while another cut is open;
        TypeError if the dump is no plain value."""
        if self._cut is not None and self._cut.is_open:
            raise ValueError("a cut is open already; close it first")
        state = _encode(plain(self.machine.dump()))
        self._cut = SimpleMachineCut(len(state).to_bytes(_LENGTH_BYTES, "big") + state)
        return self._cut

    def load(self, chunk: bytes) -> None:
        """Take in the next piece of a cut.  ValueError if it makes no sense."""
        self._loading += chunk
        length, have = self._loaded()
        if not chunk or (have > length and len(self._loading) >= _LENGTH_BYTES):
            raise ValueError(f"{have} bytes came of a state of {length}")

    def finish(self) -> None:
        """Restore the machine from what was loaded.  ValueError if that makes no
        sense."""
        length, have = self._loaded()
        if have != length:
            raise ValueError(f"{have} bytes came of a state of {length}")
        try:
            self.machine.restore(
                msgspec.msgpack.decode(memoryview(self._loading)[_LENGTH_BYTES:])
            )
        except Exception as error:
            raise ValueError(
                f"{type(self.machine).__name__}.restore refuses the state of"
                f" {length} bytes: {type(error).__name__}: {error}"
            ) from error
        self._loading = bytearray()

    def _loaded(self) -> tuple[int, int]:
        """How long the state is, and how much of it has come, in bytes."""
        length = int.from_bytes(self._loading[:_LENGTH_BYTES], "big")
        return length, len(self._loading) - _LENGTH_BYTES

    def digest(self) -> bytes:
        """16 bytes, equal for equal dumps (dicts in whatever order).  A pass."""
        state = _canonical(plain(self.machine.dump()))
        return hashlib.blake2b(_encode(state), digest_size=16).digest()

    def _answers(self, body: bytes, do: Callable[[Any], Any]) -> bytes:
        self.spent = len(body)
        if (msgpack_array.count(body) or 0) > COMMANDS_MAX:
            text = f"a batch may have {COMMANDS_MAX} commands; this one has more"
            return _encode([Failed(TOO_LARGE, text)])
        if (items := msgpack_array.split(body)) is None:
            return _encode([Failed(MALFORMED, "the body is no array of commands")])
        if isinstance(items, msgpack_array.TooMany):
            return _encode([Failed(OVER_BUDGET, items.value)])
        room = BODY_BYTES_MAX - 16 - ANSWER_BYTES_SURE * len(items)
        answers: list[bytes] = []
        for item in items:
            fit = room + ANSWER_BYTES_SURE
            answer = self._answer(item, do)
            if len(answer) > fit:
                text = f"executed, but {len(answer)} bytes do not fit into {fit}"
                answer = _encode(Failed(ANSWER_LOST, text))
            if len(answer) > ANSWER_BYTES_SURE:
                room = fit - len(answer)
            answers.append(answer)
        joined = msgpack_array.join(answers)
        self.spent += COMMAND_WORK * len(items) + len(joined)
        return joined

    def _answer(self, item: bytes | None, do: Callable[[Any], Any]) -> bytes:
        try:
            command = msgspec.msgpack.decode(item or b"")
        except (ValueError, TypeError):  # TypeError: a key without a hash
            return _encode(Failed(MALFORMED, "this decodes to no plain value"))
        try:
            value = do(command)
        except Refused as refusal:
            code = _shortened(str(refusal.code), CODE_BYTES_MAX)
            return _encode(Failed(code, _shortened(str(refusal.text), TEXT_BYTES_MAX)))
        except (MemoryError, RecursionError):
            # This process alone is in need: that may not be answered as if every
            # replica did the same.
            raise
        except Exception as error:  # noqa: BLE001
            return _encode(Failed(RAISED, self._place(error)))
        try:
            return _encode(Ok(plain(value)))
        except TypeError as error:
            return _encode(Failed(ANSWER_LOST, f"executed, but {error}"))

    def _place(self, error: Exception) -> str:
        """What was raised where, in words that are the same on every replica:
        no message (it may show an address in memory) and no path."""
        traceback = error.__traceback__
        while traceback and traceback.tb_frame.f_code.co_filename == __file__:
            traceback = traceback.tb_next
        place = ""
        if traceback is not None:  # the author's own frame
            name = traceback.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
            place = f" at {name[-64:]}:{traceback.tb_lineno}"
        text = type(error).__name__[:64] + place
        if text not in self._logged and len(self._logged) < 1000:
            self._logged.add(text)
            _log.error("a command raised %s", text, exc_info=error)
        return text


@define(eq=False)
class SimpleMachineCut:
    """The encoded state of one moment; see `pbserver.machine.Cut`."""

    _state: bytes
    is_open: bool = field(default=True, init=False)
    _at: int = field(default=0, init=False)

    def take(self, bytes_max: int) -> bytes:
        """The next piece."""
        piece = self._state[self._at : self._at + bytes_max]
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Free what was kept.  Closing twice is closing once."""
        self.is_open = False
        self._state = b""


def plain(value: Any) -> Any:
    """The value itself if it is plain all through.  TypeError if not: a set,
    for one, has another order in every process."""
    if value is None or type(value) in (bool, float, bytes):
        return value
    if type(value) is int:
        if not -(2**63) <= value < 2**64:
            raise TypeError("a number past 64 bits is no plain value")
    elif type(value) is str:
        if not value.isascii() and _LONE_SURROGATE.search(value):
            raise TypeError("half a character is no plain value")
    elif isinstance(value, (list, tuple)):
        for part in value:
            plain(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            plain(key)
            plain(part)
    else:
        name = type(value).__name__[:64]
        a = "an" if name[0] in "aeioAEIO" else "a"
        raise TypeError(f"{a} {name} is no plain value")
    return value


def _shortened(text: str, bytes_max: int) -> str:
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")


def _canonical(value: Any) -> Any:
    """The same with the pairs of every dict sorted."""
    if isinstance(value, dict):
        pairs = ((_encode(key), _canonical(part)) for key, part in value.items())
        return ["dict", sorted(pairs, key=lambda pair: pair[0])]
    if isinstance(value, (list, tuple)):
        return ["list", *map(_canonical, value)]
    return value

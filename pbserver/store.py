"""
The key/value store: the state machine that is replicated by default.

Pure.  The law: whatever bytes come as a body, the answer is an array, and it
depends on nothing but the bodies so far.  A command that makes no sense, is
too large, or whose answer would not fit beside the others, gets a `Failed` of
its own and leaves its neighbours alone.

What the commands mean is in `wire.commands`, what they do in
`pbserver.operations`; docs/design.md, section 9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from attrs import define, field

from pbserver import bodies
from pbserver.operations import (
    ANSWER_BYTES_SURE,
    AROUND_BYTES,
    READS,
    WRITES,
    Operations,
    failed,
)
from pbserver.pairs import Pairs, PairsCut
from wire.commands import (
    COMMANDS_MAX,
    KEY_BYTES_MAX,
    MALFORMED,
    TOO_LARGE,
    VALUE_BYTES_MAX,
    AnyCommand,
)
from wire.messages import BODY_BYTES_MAX

#: Pairs in one piece of a cut: of small ones it is not the bytes that cost.
PIECE_PAIRS_MAX: Final = 4096

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(list[AnyCommand]).decode
_decode_command = msgspec.msgpack.Decoder(AnyCommand).decode
_decode_piece = msgspec.msgpack.Decoder(list[bytes]).decode

_NO_BODY: Final = bodies.join([failed(MALFORMED, "the body is no array of commands")])
_TOO_MANY: Final = bodies.join(
    [failed(TOO_LARGE, f"a batch may have {COMMANDS_MAX} commands; this one has more")]
)


@define(eq=False)
class Store:
    """Keys and values, both bytes, in order of keys."""

    _pairs: Pairs = field(factory=Pairs)

    # -- the state machine, see `pbserver.machine` --------------------------------

    def apply(self, body: bytes, stamp_ms: int) -> bytes:  # noqa: ARG002
        """Execute a batch -> the array of its answers.  Time plays no part."""
        return self._answers(body, WRITES)

    def query(self, body: bytes) -> bytes:
        """The same for commands that only read; the others are refused."""
        return self._answers(body, READS)

    def cut(self) -> StoreCut:
        """The pairs at this moment, in order of keys.  ValueError while another
        cut is open."""
        return StoreCut(self._pairs.cut())

    def load(self, chunk: bytes) -> None:
        """Take in the next piece of a cut.  ValueError if it is none, or does
        not follow what was loaded so far; the store is useless then."""
        try:
            piece = _decode_piece(chunk)
        except msgspec.DecodeError as error:
            raise ValueError(f"a piece of {len(chunk)} bytes: {error}") from error
        if not piece or len(piece) % 2:
            raise ValueError(f"{len(piece)} keys and values make no pairs")
        last = self._pairs.last()
        for at in range(0, len(piece), 2):
            key, value = piece[at], piece[at + 1]
            if len(key) > KEY_BYTES_MAX or len(value) > VALUE_BYTES_MAX:
                raise ValueError(f"a pair of {len(key)} and {len(value)} bytes")
            if last is not None and key <= last:
                raise ValueError(f"key {key[:64]!r} comes after {last[:64]!r}")
            self._pairs.put(key, value)
            last = key

    def digest(self) -> bytes:
        """16 bytes, equal for equal pairs whatever happened before.  A pass."""
        digest = hashlib.blake2b(digest_size=16)
        for leaf in self._pairs.leaves():
            # How pairs are spread over leaves is history and not state, so the
            # array's own header is left out.  The items delimit themselves.
            digest.update(_encode(leaf)[len(bodies.header(len(leaf))) :])
        return digest.digest()

    def __len__(self) -> int:
        """The number of keys."""
        return self._pairs.count

    # -- answering --------------------------------------------------------------------

    def _answers(self, body: bytes, operations: Operations) -> bytes:
        # Only a long body can hold too many; they are not worth decoding.
        if len(body) > COMMANDS_MAX and (bodies.count(body) or 0) > COMMANDS_MAX:
            return _TOO_MANY
        commands: Sequence[AnyCommand | None] | None
        try:
            commands = _decode_body(body)
        except ValueError:  # every error of msgspec is one
            if (commands := _salvage(body)) is None:
                return _NO_BODY

        pairs = self._pairs
        answers: list[bytes] = []
        #: How long the next answer may be: what all the others are sure of is theirs.
        fit = BODY_BYTES_MAX - AROUND_BYTES - ANSWER_BYTES_SURE * (len(commands) - 1)
        for command in commands:
            answer = operations[type(command)](pairs, command, fit)
            if len(answer) > ANSWER_BYTES_SURE:
                fit -= len(answer) - ANSWER_BYTES_SURE
            answers.append(answer)
        return bodies.join(answers)


@define(eq=False)
class StoreCut:
    """The pairs of a store at one moment; see `pbserver.machine.Cut`."""

    _pairs: PairsCut

    def take(self, bytes_max: int) -> bytes:
        """The next piece: a msgpack array of key, value, key, value, ..."""
        taken = self._pairs.take(bytes_max, PIECE_PAIRS_MAX)
        return _encode(taken) if taken else b""

    def close(self) -> None:
        """Free what was kept.  Closing twice is closing once."""
        self._pairs.close()


def _salvage(body: bytes) -> list[AnyCommand | None] | None:
    """The commands of a body one by one, None for each that makes no sense;
    None if it is no array at all."""
    if (items := bodies.split(body)) is None:
        return None
    return [_command(item) for item in items]


def _command(item: bytes | None) -> AnyCommand | None:
    if item is None:
        return None
    try:
        command: AnyCommand = _decode_command(item)
    except ValueError:
        return None
    return command

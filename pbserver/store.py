"""
The key/value store: the state machine that is replicated by default.

Pure.  The law: whatever bytes come as a body, the answer is an array, and it
depends on nothing but the bodies so far.  A command that makes no sense, is
too large, comes when the body's budget is used up, or whose answer would not fit
beside the others, gets a `Failed` of its own and leaves its neighbours alone.

What the commands mean is in `wire.commands`, what they do in
`pbserver.operations`; docs/design.md, section 9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from attrs import define, field

from pbserver import msgpack_array
from pbserver.budget import (
    ANSWER_BYTES_SURE,
    BROKEN_WORK,
    COMMAND_WORK,
    MOVED_WORK,
    Budget,
)
from pbserver.operations import (
    AROUND_BYTES,
    READS,
    WRITES,
    Operations,
    answers,
    failed,
)
from pbserver.pairs import Pairs, PairsCut
from wire.commands import (
    COMMANDS_MAX,
    KEY_BYTES_MAX,
    MALFORMED,
    OVER_BUDGET,
    TOO_LARGE,
    VALUE_BYTES_MAX,
    WORK_MAX,
    AnyCommand,
)
from wire.messages import BODY_BYTES_MAX

#: Pairs in one piece of a cut: of small ones it is not the bytes that cost.
PIECE_PAIRS_MAX: Final = 4096

#: The bytes for the answers of a body, and `ANSWER_BYTES_SURE` more: the share of
#: the answer that comes next is subtracted with those of the others.
_FIT: Final = BODY_BYTES_MAX - AROUND_BYTES + ANSWER_BYTES_SURE

#: The same for a body of one command, and what such a one has left.
_FIT_OF_ONE: Final = _FIT - ANSWER_BYTES_SURE
_WORK_OF_ONE: Final = WORK_MAX - COMMAND_WORK
_ONE: Final = msgpack_array.header(1)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(list[AnyCommand]).decode
_decode_command = msgspec.msgpack.Decoder(AnyCommand).decode
_decode_piece = msgspec.msgpack.Decoder(list[bytes]).decode

_NO_BODY: Final = msgpack_array.join(
    [failed(MALFORMED, "the body is no array of commands")]
)
_TOO_MANY: Final = msgpack_array.join(
    [failed(TOO_LARGE, f"a batch may have {COMMANDS_MAX} commands; this one has more")]
)
_TOO_NESTED: Final = msgpack_array.join(
    [failed(OVER_BUDGET, msgpack_array.TOO_MANY_ITEMS)]
)


@define(eq=False)
class Store:
    """Keys and values, both bytes, in order of keys."""

    #: What the last body has cost, in units of `pbserver.budget`.
    spent: int = field(default=0, init=False)
    _pairs: Pairs = field(factory=Pairs)
    _budget: Budget = field(factory=Budget, init=False)

    # -- the state machine, see `pbserver.machine` --------------------------------

    def apply(self, body: bytes, stamp_ms: int) -> bytes:  # noqa: ARG002
        """Execute a batch -> the array of its answers.  Time plays no part."""
        return self._answers(body, WRITES)

    def query(self, body: bytes) -> bytes:
        """The same for commands that only read; the others are refused."""
        return self._answers(body, READS)

    def cut(self) -> StoreCut:
        """The pairs at this moment, in order of keys."""
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
        self._pairs.moved = 0  # no body did that

    def digest(self) -> bytes:
        """16 bytes, equal for equal pairs whatever happened before.  A pass."""
        cut = self.digest_cut()
        while (digest := cut.step(bytes_max=1 << 20)) is None:
            pass
        return digest

    def digest_cut(self) -> StoreDigest:
        """The same, computed piece by piece while the store goes on."""
        return StoreDigest(self._pairs.cut())

    def shed(self) -> bool:
        """Free some of the pairs -> whether there are more.  The store is useless
        then."""
        return self._pairs.shed(PIECE_PAIRS_MAX)

    def __len__(self) -> int:
        """The number of keys."""
        return self._pairs.count

    # -- answering --------------------------------------------------------------------

    def _answers(self, body: bytes, operations: Operations) -> bytes:
        # Only a long body can hold too many; they are not worth decoding.
        if len(body) > COMMANDS_MAX and (msgpack_array.count(body) or 0) > COMMANDS_MAX:
            self.spent = len(body)
            return _TOO_MANY
        commands: Sequence[AnyCommand | None] | None
        try:
            commands = _decode_body(body)
        except ValueError:  # every error of msgspec is one
            self.spent = BROKEN_WORK
            if (items := msgpack_array.split(body)) is None:
                return _NO_BODY
            if isinstance(items, msgpack_array.TooMany):
                return _TOO_NESTED
            commands = [_command(item) for item in items]

        pairs, budget = self._pairs, self._budget
        budget.copied_keys = None
        count = len(commands)
        if count == 1:
            # Most bodies: what the budget itself costs is saved here.
            budget.fit, budget.work = _FIT_OF_ONE, _WORK_OF_ONE
            command = commands[0]
            joined = _ONE + operations[type(command)](pairs, command, budget)
            self.spent = WORK_MAX - budget.work + len(body) + len(joined)
            if pairs.moved:
                self._count_moved()
            return joined
        # `ANSWER_BYTES_SURE` are reserved for each of the other answers.
        budget.fit = _FIT - ANSWER_BYTES_SURE * count
        budget.work = WORK_MAX - COMMAND_WORK * count
        joined = msgpack_array.join(answers(operations, pairs, commands, budget))
        self.spent = WORK_MAX - budget.work + len(body) + len(joined)
        if pairs.moved:
            self._count_moved()
        return joined

    def _count_moved(self) -> None:
        """Add what leaves have cost: it decides what fits into a turn, not what
        is answered, so replicas may differ in it."""
        self.spent += MOVED_WORK * self._pairs.moved
        self._pairs.moved = 0


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


@define(eq=False)
class StoreDigest:
    """The digest of the pairs at one moment; see `pbserver.machine.DigestCut`."""

    _pairs: PairsCut
    _digest: hashlib.blake2b = field(
        factory=lambda: hashlib.blake2b(digest_size=16), init=False
    )

    def step(self, bytes_max: int) -> bytes | None:
        """Compute on -> the digest when no pairs are left."""
        count = 0
        while count < 2 * PIECE_PAIRS_MAX and bytes_max > 0:
            taken = self._pairs.take_leaf(bytes_max)
            if not taken:
                self.close()
                return self._digest.digest()
            # How pairs are spread over pieces is no part of the state, so the
            # array's own header is left out.  The items delimit themselves.
            encoded = _encode(taken)
            self._digest.update(encoded[len(msgpack_array.header(len(taken))) :])
            bytes_max -= len(encoded)
            count += len(taken)
        return None

    def close(self) -> None:
        """Free what was kept.  Closing twice is closing once."""
        self._pairs.close()


def _command(item: bytes | None) -> AnyCommand | None:
    if item is None:
        return None
    try:
        command: AnyCommand = _decode_command(item)
    except ValueError:
        return None
    return command

"""
Messages and bytes: what a frame is, and which frames are understood.

Pure: bytes in, messages out.  A frame is a 4-byte big-endian length and that
many bytes of msgpack, one message of `wire.messages`.  The law here is that
nothing passes which is not in that module's table: a frame that is too long,
does not decode, or may not be said by that speaker raises `ProtocolError`, and
its connection ends (``docs/design.md``, section 8).  Nothing is ever unpickled
or evaluated.

How long a frame may be follows from the bounds of the messages that its speaker
may send (`wire.bounds`); before its Hello that is `HELLO_BYTES_MAX`.

The first frame must be a `Hello`.  Its first field is the newest version that
the sender speaks, and later versions only append fields to it; so a range of
versions is compared, and refused by name, whatever the version is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from mmap import mmap
from struct import Struct as Layout
from typing import Any, Final, Union

import msgspec
from msgspec.msgpack import Decoder as PayloadDecoder
from msgspec.msgpack import Encoder as PayloadEncoder

from wire.bounds import (
    CLUSTER_BYTES,
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    frame_bytes_max,
)
from wire.messages import (
    BACKUP,
    CLERK,
    OBSERVER,
    OLDEST_VERSION,
    PRIMARY,
    SAYS,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Message,
    counter_of,
    spoken_version,
)


class ProtocolError(Exception):
    """The peer broke the protocol; its connection ends.

    *reason* is one of `wire.messages.GOODBYES`, *text* says it with the values.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.text = text

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}"


class _Opening(msgspec.Struct, array_like=True, tag=1):
    """The part of a Hello that every version has."""

    version: int


#: A frame longer than this that does not come at once is put together in a map of
#: its own.  Unlike a heap that other objects share, it goes back to the system as
#: a whole when it is closed; and it need not grow.
MAPPED_BYTES_MIN: Final = 256 * 1024

_LENGTH: Final = Layout(">I")
_pack_length: Final = _LENGTH.pack
_unpack_length: Final = _LENGTH.unpack_from
_encode: Final = PayloadEncoder().encode
#: Who dials, and who is dialled.  A view service calls nobody, and so nobody can
#: come and speak as one.
_CALLERS: Final = frozenset({SERVER, CLERK, OBSERVER})
_CALLED: Final = frozenset({SERVER, VIEW_SERVICE})
#: Who has no place for us may say so without introducing himself.
_OPENING: Final = PayloadDecoder(_Opening | Goodbye)
_HELLO: Final = PayloadDecoder(Hello)
#: What msgspec raises for bytes that make no sense, however they are made.
_NONSENSE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(message: Message) -> bytes:
    """The frame of *message*.

    Raises ValueError if it is over the limit: the receiver would end the
    connection, and whoever sent it would only send it again.
    """
    # Encoding into a kept buffer was measured to be no faster, and only bytes
    # can be handed to every transport.
    payload = _encode(message)
    length = len(payload)
    if length > FRAME_BYTES_MAX:
        raise ValueError(
            f"a {type(message).__name__} of {length} bytes "
            f"does not fit into a frame of {FRAME_BYTES_MAX}"
        )
    return _pack_length(length) + payload


def parts(dialler_role: str, listener_role: str) -> tuple[str, str]:
    """The keys of `wire.messages.SAYS` for the two ends of a connection: of two
    servers, the dialler speaks as primary and the listener as backup."""
    if dialler_role == listener_role == SERVER:
        return PRIMARY, BACKUP
    return dialler_role, listener_role


@functools.cache
def _decoder(speaker: str, listener: str) -> tuple[Callable[[Any], Message], int]:
    """How to decode what *speaker* sends to *listener*, and the longest frame.
    Made once per pair and process, since making one costs a millisecond."""
    kinds = SAYS[speaker, listener]
    decoder: PayloadDecoder[Any] = PayloadDecoder(Union[kinds])  # noqa: UP007
    return decoder.decode, frame_bytes_max(kinds)


class Decoder:
    """One connection's incoming half: bytes as they arrive -> messages.

    *speaker* and *listener* are keys of `wire.messages.SAYS`.  With None for
    *speaker* anyone may call who may speak to *listener*, and the role in the
    Hello decides what may follow it.
    """

    __slots__ = (
        *("_decode", "_filled", "_limit", "_listener", "_quick_limit"),
        *("_long", "_speaker", "rest"),
    )

    def __init__(self, speaker: str | None, listener: str) -> None:
        if speaker is None:
            if listener not in _CALLED:
                raise ValueError(f"a {listener} is called by nobody")
        elif (speaker, listener) not in SAYS:
            raise ValueError(f"a {speaker} has nothing to say to a {listener}")
        self._speaker = speaker
        self._listener = listener
        #: None before the Hello.  Not a bound method of this object: it would be
        #: a reference cycle, and keep what `rest` holds when the connection ends.
        self._decode: Callable[[Any], Message] | None = None
        #: The longest frame with its length, in bytes.
        self._limit = 4 + HELLO_BYTES_MAX
        #: The same after the Hello, and 0 before it.
        self._quick_limit = 0
        #: The beginning of a frame whose end has not arrived, if there is one; of a
        #: long one only its length is here.
        self.rest = bytearray()
        #: The payload of a long frame, and how much of it has arrived.
        self._long: mmap | None = None
        self._filled = 0

    @property
    def unfinished_bytes(self) -> int:
        """How much is here of a frame whose end has not arrived."""
        return len(self.rest) + self._filled

    @property
    def longest_bytes(self) -> int:
        """The longest frame that may come now, with its length."""
        return self._limit

    def close(self) -> None:
        """Free what is here of an unfinished frame; nothing more is fed."""
        self.rest = bytearray()
        self._end_long()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with *data*, the next bytes.

        Raises ProtocolError as soon as a frame's length shows that it is over
        the limit, or when it is complete and not understood.  What was complete
        before it is dropped with it, as if the connection had broken earlier.
        """
        try:
            # Nearly always it is one whole frame: 0.2 us less than the loop.
            if not self.rest and (
                self._quick_limit >= len(data) == 4 + int.from_bytes(data[:4], "big")
            ):
                return [self._decode(data[4:])]  # type: ignore[misc]
            return self._feed(data)
        except _NONSENSE as error:
            raise ProtocolError(
                "protocol", f"{self._who()} may not say this: {error}"
            ) from error

    def _feed(self, data: bytes) -> list[Message]:
        messages: list[Message] = []
        if (long := self._long) is not None:
            filled = min(self._filled + len(data), len(long))
            used = filled - self._filled
            long[self._filled : filled] = data[:used]
            self._filled = filled
            if filled < len(long):
                return messages
            assert self._decode is not None, "nothing is long before a Hello"
            messages.append(self._decode(long))
            self._end_long()
            self.rest.clear()
            data = data[used:]
        # Mostly the data holds whole frames, and nothing is kept.
        pending: Any = data
        if self.rest:
            self.rest += data
            pending = self.rest
        at, end = 0, len(pending)
        while end - at >= 4:
            stop = at + 4 + _unpack_length(pending, at)[0]
            if stop - at > self._limit:
                raise self._too_long(stop - at - 4)
            if stop > end:
                if stop - at > MAPPED_BYTES_MIN:
                    self._begin_long(pending, at, stop)
                    return messages
                break
            decode = self._decode or self._decode_first
            messages.append(decode(pending[at + 4 : stop]))
            at = stop
        if pending is self.rest:
            del self.rest[:at]
        elif at < end:
            self.rest += pending[at:]
        return messages

    def _begin_long(self, pending: Any, at: int, stop: int) -> None:
        try:
            long = mmap(-1, stop - at - 4)
        except OSError as error:
            text = f"there is no memory for a frame of {stop - at - 4} bytes: {error}"
            raise ProtocolError("full", text) from error
        self._long = long
        arrived = bytes(pending[at + 4 :])
        self._filled = len(arrived)
        long[: self._filled] = arrived
        self.rest = bytearray(pending[at : at + 4])

    def _end_long(self) -> None:
        if self._long is not None:
            self._long.close()
            self._long, self._filled = None, 0

    def _decode_first(self, payload: bytes) -> Message:
        opening = _OPENING.decode(payload)
        if isinstance(opening, Goodbye):
            return opening
        if opening.version < OLDEST_VERSION:
            raise _no_version(str(opening.version))
        try:
            hello: Hello = _HELLO.decode(payload)
        except _NONSENSE:
            if opening.version > VERSION:
                raise _no_version(str(opening.version)) from None
            raise
        if not spoken_version(hello):
            raise _no_version(f"{hello.oldest} to {hello.version}")
        if hello.number and not hello.cluster:
            raise ProtocolError(
                "protocol",
                f"a Hello names view {counter_of(hello.number)}, and no cluster",
            )
        if len(hello.cluster) not in {0, CLUSTER_BYTES}:
            raise ProtocolError(
                "protocol",
                f"a cluster has {CLUSTER_BYTES} bytes, not {len(hello.cluster)}",
            )
        self._decode, longest = _decoder(*self._parts(hello.role))
        self._limit = self._quick_limit = 4 + longest
        return hello

    def _parts(self, role: str) -> tuple[str, str]:
        """Who speaks to whom once the speaker has said what it is."""
        if self._speaker is None:
            if role not in _CALLERS:
                raise ProtocolError("role", f"the role {role!r} has no business here")
            pair = parts(role, self._listener)
        else:
            pair = self._speaker, self._listener
        expected = SERVER if pair[0] in {PRIMARY, BACKUP} else pair[0]
        if role != expected:
            raise ProtocolError(
                "role",
                f"the other end has the role {role!r}; {expected!r} is expected there",
            )
        self._speaker = pair[0]
        return pair

    def _too_long(self, length: int) -> ProtocolError:
        when = " before a Hello" if self._decode is None else ""
        return ProtocolError(
            "too long",
            f"a frame of {length} bytes is over {self._limit - 4}, which is the "
            f"limit for {self._who()}{when}",
        )

    def _who(self) -> str:
        """The speaker, with its article."""
        who = self._speaker or "caller"
        return f"{'an' if who[0] in 'aeiou' else 'a'} {who}"


def _no_version(theirs: str) -> ProtocolError:
    ours = f"{OLDEST_VERSION} to {VERSION}"
    if OLDEST_VERSION == VERSION:
        ours = str(VERSION)
    return ProtocolError(
        "version",
        f"version {theirs} is not spoken here, version {ours} is; "
        "upgrade the older end",
    )

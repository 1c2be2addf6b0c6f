"""
A snapshot on its way from a primary to a newcomer.

Pure.  A transfer is one exact cut, taken while the primary goes on, sent in
numbered parts of which few are unconfirmed, and installed whole or not at all.
It lives on one connection: a broken link starts it again, with a new cut.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from attrs import define, field

from pbserver.limits import Limits
from pbserver.machine import Cut
from pbserver.sessions import Sessions, SessionsCut
from wire.messages import END_PART, MACHINE_PART, SESSIONS_PART, SnapshotPart


@define
class Outgoing:
    """The primary's end."""

    view: int
    index: int
    stamp_ms: int
    chain: int
    sessions: SessionsCut
    machine: Cut

    #: The number of the next part, and how many are confirmed.
    part: int = field(default=0, init=False)
    confirmed: int = field(default=0, init=False)
    crc: int = field(default=0, init=False)
    kind: int = field(default=SESSIONS_PART, init=False)
    #: Has the end been sent?
    ended: bool = field(default=False, init=False)
    bytes_sent: int = field(default=0, init=False)

    @classmethod
    def of(cls, state: Sessions) -> Outgoing:
        """Cut *state* as it is now."""
        return cls(
            state.view,
            state.index,
            state.stamp_ms,
            state.chain,
            state.cut(),
            state.machine.cut(),
        )

    def next_part(self, view_number: int, limits: Limits) -> SnapshotPart | None:
        """What to send next; None while enough is on its way."""
        if self.ended or self.part - self.confirmed >= limits.parts_unconfirmed_max:
            return None
        body = self._take(limits.part_bytes)
        self.crc = crc32(body, self.crc)
        self.bytes_sent += len(body)
        part = SnapshotPart(
            view_number,
            self.part,
            self.view,
            self.index,
            self.stamp_ms,
            self.chain,
            self.kind,
            self.crc,
            body,
        )
        self.part += 1
        self.ended = self.kind == END_PART
        return part

    def _take(self, bytes_max: int) -> bytes:
        if self.kind == SESSIONS_PART:
            if body := self.sessions.take(bytes_max):
                return body
            self.kind = MACHINE_PART
        if body := self.machine.take(bytes_max):
            return body
        self.kind = END_PART
        return b""

    def confirm(self, part: int) -> bool:
        """A part has arrived -> whether everything has."""
        if part < self.part:
            self.confirmed = max(self.confirmed, part + 1)
        return self.ended and self.confirmed == self.part

    def close(self) -> None:
        """Free what the cut keeps."""
        self.machine.close()


class CannotLoad(ValueError):  # noqa: N818 (it says what is so)
    """The state machine raised when it was given the state of another replica."""


@define(eq=False)
class Job:
    """A long step that can be done in a thread: until it is done, nothing else
    uses the objects that it works on."""

    _do: Callable[[], None]

    def run(self) -> CannotLoad | None:
        """Do it -> why it failed, or None."""
        try:
            self._do()
        except Exception as error:  # noqa: BLE001 - an author's code raises anything
            return CannotLoad(f"the state machine cannot load it: {error!r}")
        return None


@define
class Incoming:
    """The newcomer's end: a state that grows beside the one in use."""

    state: Sessions
    #: What is to be done when everything has come, before the state can be used;
    #: None while something is missing, and for a machine that needs nothing.
    job: Job | None = field(default=None, init=False)
    next_part: int = field(default=0, init=False)
    crc: int = field(default=0, init=False)

    def load(self, part: SnapshotPart) -> bool:
        """Take in the next part -> whether everything has come.

        ValueError: the part is not the next one, or not what was sent.
        """
        if part.part != self.next_part:
            raise ValueError(f"part {part.part} came, {self.next_part} was due")
        self.crc = crc32(part.body, self.crc)
        if part.crc != self.crc:
            raise ValueError(f"the checksum of part {part.part} does not fit")
        self.next_part += 1
        if part.kind == SESSIONS_PART:
            self.state.load(part.body)
        elif part.kind == MACHINE_PART:
            try:
                self.state.machine.load(part.body)
            except Exception as error:
                raise CannotLoad(
                    f"the state machine cannot load it: {error!r}"
                ) from error
        else:
            state = self.state
            state.check_whole()
            state.view, state.index = part.entry_view, part.index
            state.stamp_ms, state.chain = part.stamp_ms, part.chain
            if (finish := getattr(state.machine, "finish", None)) is not None:
                self.job = Job(finish)
            return True
        return False

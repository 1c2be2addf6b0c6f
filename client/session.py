"""
One session: its numbers, and the batches that wait for their answers.

Pure.  The laws here: a batch that was sent once never changes its number or
its bytes; no number is left out; the numbers of what is outstanding span fewer
than `WINDOW_MAX` (``docs/design.md``, section 6).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from attrs import define, field
from msgspec import Struct

from client.bodies import Ended, split
from client.calls import Commands
from client.errors import InDoubt, TooLarge
from wire.messages import EVICTED, WINDOW_MAX, Batch, CloseSession, OpenSession

#: No further batch is sent while so much is unanswered: less than a link may
#: have unsent, or the clerk would be cut off, send all of it again, and so on.
OUTSTANDING_BYTES_MAX: Final = 32 * 1024 * 1024


class Sent(Struct, frozen=True, gc=False):
    """A batch that was sent and is not answered."""

    message: Batch
    #: The calls in it, in order.
    calls: tuple[int, ...]
    #: Whether only one copy of it was ever sent, on one connection.
    is_only_copy: bool = True


@define(eq=False)
class Session:
    """The clerk's side of a session that is open, or about to be."""

    id: bytes

    #: The index of the entry that opened it; None until the server has said it.
    opened_index: int | None = field(default=None, init=False)

    #: The number that the next batch gets.
    next: int = field(default=1, init=False)

    #: By number, in order.
    outstanding: dict[int, Sent] = field(factory=dict, init=False)

    #: The length of all their bodies.
    outstanding_bytes: int = field(default=0, init=False)

    @property
    def last(self) -> int:
        """The number of the last batch that was sent; 0: none was."""
        return self.next - 1

    def opening(self) -> OpenSession:
        """What opens it; saying it again changes nothing."""
        return OpenSession(self.id)

    def opened(self, opened_index: int) -> None:
        """The session is open; *opened_index* is the index of the entry that opened it.

        Only the first one counts: batches carry it, and the server considers those
        with another one part of another session.
        """
        if self.opened_index is None:
            self.opened_index = opened_index

    def closing(self) -> CloseSession | None:
        """What ends it, if it ever stood."""
        return (
            None
            if self.opened_index is None
            else CloseSession(self.id, self.opened_index)
        )

    def has_room(self, window: int) -> bool:
        """Whether another batch may be sent."""
        first_unanswered = next(iter(self.outstanding), self.next)
        return (
            self.opened_index is not None
            and len(self.outstanding) < window
            and self.outstanding_bytes < OUTSTANDING_BYTES_MAX
            and self.next - first_unanswered < WINDOW_MAX
        )

    def batch(self, calls: tuple[int, ...], body: bytes) -> Batch:
        """The next batch, which counts as sent from here on."""
        assert self.opened_index is not None, "a batch needs its session's opened_index"
        first_unanswered = next(iter(self.outstanding), self.next)
        message = Batch(self.id, self.opened_index, self.next, first_unanswered, body)
        self.outstanding[self.next] = Sent(message, calls)
        self.outstanding_bytes += len(body)
        self.next += 1
        return message

    def again(self) -> list[Batch]:
        """All that is unanswered, in order, for a new connection."""
        for sequence, sent in self.outstanding.items():
            if sent.is_only_copy:
                self.outstanding[sequence] = Sent(sent.message, sent.calls, False)
        return [sent.message for sent in self.outstanding.values()]

    def answered(self, sequence: int) -> tuple[int, ...] | None:
        """The calls of a batch that has its answer; None: it had one before."""
        sent = self.outstanding.pop(sequence, None)
        if sent is None:
            return None
        self.outstanding_bytes -= len(sent.message.body)
        return sent.calls

    def first_call(self) -> int | None:
        """The first call that is unanswered; None: none is."""
        return next((sent.calls[0] for sent in self.outstanding.values()), None)

    def has(self, write: int) -> bool:
        """Whether that call is in one of the batches outstanding."""
        return any(
            sent.calls[0] <= write <= sent.calls[-1] and write in sent.calls
            for sent in self.outstanding.values()
        )

    def calls(self) -> list[int]:
        """The calls in them, in order."""
        return [number for sent in self.outstanding.values() for number in sent.calls]

    def refused(self, sequence: int, reason: str) -> tuple[Ended, Commands]:
        """Batch *sequence* will not be executed any more, and with it this
        session is at its end -> the calls that end so, and those that can be
        said again in a new one.

        If it was the only copy it was never executed, and so neither was
        anything after it: batches are executed in order.  In doubt is only what
        may have been executed before.  No number is used again, since a server
        could still hold copies of what was sent under it.
        """
        batch = self.outstanding[sequence]
        before = [sent for n, sent in self.outstanding.items() if n < sequence]
        after = [sent for n, sent in self.outstanding.items() if n > sequence]
        ended: Ended = []
        doubtful, again = before, after
        if not batch.is_only_copy:
            doubtful, again = [*before, batch, *after], []
        elif reason == EVICTED:
            again = [batch, *after]
        else:
            text = "the service takes no batch of that length"
            ended = [(number, TooLarge(text)) for number in batch.calls]
        text = "its session was evicted before its answer came"
        ended += [(n, InDoubt(text)) for sent in doubtful for n in sent.calls]
        commands: Commands = {}
        for sent in again:
            commands |= zip(sent.calls, split(sent.message.body), strict=True)
        return ended, commands

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> Session:
        """Another one that goes its own way from here."""
        twin = Session(self.id)
        twin.opened_index, twin.next = self.opened_index, self.next
        twin.outstanding = self.outstanding.copy()
        twin.outstanding_bytes = self.outstanding_bytes
        return twin

    def fingerprint(self) -> Hashable:
        """Equal for those that behave equally."""
        return self.id, self.opened_index, self.next, tuple(self.outstanding.values())

"""
What only a server that is surely still primary may answer.

Pure.  Two kinds of questions wait here: reads, and batches of sessions that are
unknown (of which "evicted" may only be said when that is certain).  The moment
of either has come when all that was logged before it is committed, and everyone
in the commit rule has echoed a round that was sent after it came: then nobody
had taken over when it came, and what is applied here holds everything that was
answered before (docs/design.md, sections 5 and 6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from attrs import define, field

from pbserver.outbox import Link
from wire.messages import Batch, Query

#: What a question is taken to weigh beside its body.
QUESTION_BYTES: Final = 256

#: How many batches of unknown sessions are looked at in one turn, 1 ms.
STRANGERS_MAX: Final = 1024


class RoundWaiter(NamedTuple):
    """Who asks what, and when it may be answered."""

    link: Link
    asked: Query | Batch
    #: The end of the log when it came, and the first round after that.
    end: int
    round: int


@define
class RoundWaiters:
    """All that wait, in the order in which they came."""

    _reads: deque[RoundWaiter] = field(factory=deque, init=False)
    #: Reads whose moment has come, but not yet the batch that they come after;
    #: and how far all was committed when they were tried.
    _early: list[RoundWaiter] = field(factory=list, init=False)
    _early_commit: int = field(default=0, init=False)
    _strangers: deque[RoundWaiter] = field(factory=deque, init=False)
    #: The links that were lost, until their questions are looked for: once a
    #: turn, however many were lost in it.
    lost: set[Link] = field(factory=set, init=False)
    #: The weight of them all.
    bytes: int = field(default=0, init=False)

    def __bool__(self) -> bool:
        return self.bytes > 0

    def add(self, question: RoundWaiter) -> None:
        """Somebody has asked."""
        self.bytes += _weight(question)
        if type(question.asked) is Query:
            self._reads.append(question)
        else:
            self._strangers.append(question)

    def take_reads(self, commit: int, echoed: int) -> Iterator[RoundWaiter]:
        """The reads to try now, one by one; whoever has enough leaves the rest."""
        reads = self._reads
        if self._early and commit != self._early_commit:
            reads.extendleft(reversed(self._early))
            self._early.clear()
        self._early_commit = commit
        while reads and reads[0].end <= commit and reads[0].round <= echoed:
            question = reads.popleft()
            self.bytes -= _weight(question)
            yield question

    def too_early(self, question: RoundWaiter) -> None:
        """A read's session lacks a batch yet: try again after a commit."""
        self.bytes += _weight(question)
        self._early.append(question)

    def take_unknown_sessions(self) -> list[RoundWaiter]:
        """The first batches, to look at again; `put_back` those that must wait."""
        strangers = self._strangers
        count = min(len(strangers), STRANGERS_MAX)
        due = [strangers.popleft() for _ in range(count)]
        for question in due:
            self.bytes -= _weight(question)
        return due

    def put_back(self, waiting: list[RoundWaiter]) -> None:
        """These of the batches that were taken wait on, before all others."""
        self._strangers.extendleft(reversed(waiting))
        self.bytes += sum(map(_weight, waiting))

    @property
    def has_unknown_sessions(self) -> bool:
        """Does any batch of an unknown session wait?"""
        return bool(self._strangers)

    def link_lost(self, link: Link) -> None:
        """Nobody listens there any more."""
        if self.bytes:
            self.lost.add(link)

    def forget_lost(self) -> None:
        """Forget what was asked on links that were lost; once a turn."""
        lost, self.lost = self.lost, set()
        for waiting in (self._reads, self._early, self._strangers):
            gone = [each for each in waiting if each.link in lost]
            if gone:
                kept = [each for each in waiting if each.link not in lost]
                waiting.clear()
                waiting.extend(kept)
                self.bytes -= sum(map(_weight, gone))

    def askers(self) -> list[Link]:
        """Everybody who waits."""
        waiting = (*self._reads, *self._early, *self._strangers)
        return [question.link for question in waiting]


def _weight(question: RoundWaiter) -> int:
    return QUESTION_BYTES + len(question.asked.body)

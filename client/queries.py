"""
The queries that wait for their answers.

Pure.  The law here: a read is answered only after every write that was called
before it (``docs/design.md``, section 6).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from attrs import define, field

from client.bodies import join
from client.calls import Commands
from wire.messages import Query

#: How many queries are outstanding at most: answers may be 16 MiB long each, and
#: a server that has more than a dozen of those unsent cuts the connection.
QUERIES_MAX: Final = 8


@define(eq=False)
class Queries:
    """What was asked on this connection to the primary, or on the last."""

    #: What each of them asked, by its number.
    outstanding: dict[int, Commands] = field(factory=dict, init=False)

    #: Answers to some of them that may have missed a write.
    _early: dict[int, bytes] = field(factory=dict, init=False)

    #: The number of the last one; no two have the same.
    _last: int = field(default=0, init=False)

    def has_room(self, window: int) -> bool:
        """Whether another query may be sent."""
        return len(self.outstanding) < min(window, QUERIES_MAX)

    def ask(self, reads: Commands, session: bytes, after: int) -> Query:
        """The next query, which counts as sent from here on."""
        self._last += 1
        self.outstanding[self._last] = reads
        return Query(self._last, session, after, join(reads.values()))

    def answered(self, query: int, body: bytes) -> None:
        """An answer came; a query that has none outstanding had it before."""
        if query in self.outstanding:
            self._early[query] = body

    def take_answers(self, write: int | None) -> list[tuple[Commands, bytes]]:
        """Reads and the answers to them, but none to a read called after
        *write*, the first one that was sent and has no answer.

        A query is answered without the batch that it comes after if the session
        is gone.  Then that batch is refused next, and both are said again.
        """
        if not self._early:
            return []
        ripe = [
            query
            for query in self._early
            if write is None or max(self.outstanding[query]) < write
        ]
        return [(self.outstanding.pop(n), self._early.pop(n)) for n in ripe]

    def take_back(self) -> Commands:
        """All reads that are unanswered, in order, to be asked anew."""
        asked, self.outstanding, self._early = self.outstanding, {}, {}
        return {number: c for reads in asked.values() for number, c in reads.items()}

    def has(self, read: int) -> bool:
        """Whether that call is in one of them."""
        return any(read in reads for reads in self.outstanding.values())

    def calls(self) -> list[int]:
        """The calls in them, in order."""
        return [number for reads in self.outstanding.values() for number in reads]

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> Queries:
        """Another one that goes its own way from here."""
        twin = Queries()
        twin.outstanding, twin._early = self.outstanding.copy(), self._early.copy()
        twin._last = self._last
        return twin

    def fingerprint(self) -> Hashable:
        """Equal for those that behave equally."""
        asked = tuple((n, tuple(reads)) for n, reads in self.outstanding.items())
        return asked, tuple(self._early.items()), self._last

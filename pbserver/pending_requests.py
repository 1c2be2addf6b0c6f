"""
Who waits for which entry, and which batches the uncommitted tail holds.

Pure.  A clerk's batch is executed at most once because `Sessions` says so when
it is applied.  The door spares the log the batches that are in its tail
already: a clerk that asks again is added to those who wait, and is answered
with the first execution's answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from pbserver.outbox import Link
from wire.messages import Batch, Entry


@define
class PendingRequests:
    """What a primary knows of the part of its log that is not yet applied."""

    #: (session, opened_index) -> the indexes of its batches in the tail, in order.
    #: The first is that of the batch that the applied table expects next.
    _tails: dict[tuple[bytes, int], list[int]] = field(factory=dict, init=False)
    #: index -> who is answered when the entry there is applied.
    _asked: dict[int, list[Link]] = field(factory=dict, init=False)

    @classmethod
    def of_tail(cls, entries: Iterable[Entry]) -> PendingRequests:
        """The door of a primary that inherits these entries; nobody waits."""
        door = cls()
        for entry in entries:
            batch = entry.request
            if type(batch) is Batch:
                key = (batch.session, batch.opened_index)
                door._tails.setdefault(key, []).append(entry.index)
        return door

    def tail(self, session: bytes, opened_index: int) -> Sequence[int]:
        """The indexes at which the tail holds batches of that session."""
        return self._tails.get((session, opened_index), ())

    def log(self, batch: Batch, index: int, link: Link) -> None:
        """The batch was logged at *index*, and *link* waits for its answer."""
        self._tails.setdefault((batch.session, batch.opened_index), []).append(index)
        self._asked[index] = [link]

    def ask(self, index: int, link: Link) -> None:
        """*link*, too, waits for the answer of the entry at *index*."""
        links = self._asked.setdefault(index, [])
        if link not in links:
            links.append(link)

    def applied(self, entry: Entry) -> Sequence[Link]:
        """The entry has left the tail -> who waits for its answer."""
        request = entry.request
        if type(request) is Batch:
            key = (request.session, request.opened_index)
            tail = self._tails[key]
            assert tail[0] == entry.index, (tail[0], entry.index)
            if len(tail) == 1:
                del self._tails[key]
            else:
                del tail[0]
        return self._asked.pop(entry.index, ())

    def askers(self) -> Iterator[Link]:
        """Everybody who waits."""
        for links in self._asked.values():
            yield from links

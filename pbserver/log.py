"""
The log: entries in order, and the oldest of them forgotten.

Pure.  An entry's identity is (view, index).  Two logs that hold the same
identity are equal up to it; every rule about what a backup keeps, replaces or
still lacks is built on that one sentence (docs/design.md, section 5).

The log does not know what is committed.  Its owner never drops an entry that
is not applied, and never replaces one that is.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from attrs import define, field

from wire.messages import Batch, Entry, Request, counter_of

#: What an entry is taken to weigh beside its body: the objects around it.
ENTRY_BYTES: Final = 320


def is_later(view: int, before: int) -> bool:
    """Whether *view* came after another view, *before*."""
    return counter_of(view) > counter_of(before)


def _misplaced(entry: Entry, after: int, view: int, stamp_ms: int) -> ValueError:
    return ValueError(
        f"entry {entry.index} of view {counter_of(entry.view)} at {entry.stamp_ms} ms "
        f"cannot follow entry {after} of view {counter_of(view)} at {stamp_ms} ms"
    )


def weight(request: Request) -> int:
    """How many bytes a request is taken to occupy in a log and on the wire."""
    return ENTRY_BYTES + (len(request.body) if type(request) is Batch else 0)


@define
class Log:
    """Entries ``base_index + 1 .. end``, and the identity of the one before."""

    #: The identity and the stamp of the last entry that is no longer held;
    #: (0, 0) at 0 ms is the beginning of every history.
    base_view: int = 0
    base_index: int = 0
    base_stamp_ms: int = 0

    entries: list[Entry] = field(factory=list, init=False)
    #: The identity and the stamp of the last entry; while none is held, those of
    #: the one before.  Kept, since every entry asks for them.
    end: int = field(init=False)
    end_view: int = field(init=False)
    end_stamp_ms: int = field(init=False)

    #: For each entry, the weight of everything up to and with it since this
    #: log began: the difference of two is the weight of what lies between.
    _weights: list[int] = field(factory=list, init=False)
    _base_weight: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        """Nothing is held yet."""
        self._find_end()

    @property
    def weight(self) -> int:
        """The weight of all entries that are held, in bytes."""
        return self._weights[-1] - self._base_weight if self._weights else 0

    def view_at(self, index: int) -> int | None:
        """The view of the entry at *index*, which with the index is its
        identity; None where this log cannot tell."""
        at = index - self.base_index
        if at == 0:
            return self.base_view
        if 0 < at <= len(self.entries):
            return self.entries[at - 1].view
        return None

    def stamp_at(self, index: int) -> int | None:
        """The stamp of the entry at *index*; None where this log cannot tell."""
        if self.view_at(index) is None:
            return None
        at = index - self.base_index
        return self.entries[at - 1].stamp_ms if at else self.base_stamp_ms

    def entry(self, index: int) -> Entry:
        """The entry at *index*, which must be held."""
        assert self.base_index < index <= self.end, (self.base_index, index, self.end)
        return self.entries[index - self.base_index - 1]

    def between(self, after: int, upto: int) -> list[Entry]:
        """The entries after + 1 .. upto, all of which must be held."""
        assert self.base_index <= after <= upto <= self.end
        return self.entries[after - self.base_index : upto - self.base_index]

    def weight_between(self, after: int, upto: int) -> int:
        """The weight of the entries after + 1 .. upto, in bytes."""
        return 0 if after == upto else self._weight_to(upto) - self._weight_to(after)

    def reach(self, after: int, bytes_max: int) -> int:
        """The last index such that the entries after it weigh at most
        *bytes_max*; one entry is always within reach."""
        limit = self._weight_to(after) + bytes_max
        if after < self.end and self._weights[-1] <= limit:
            return self.end
        upto = self.base_index + bisect_right(self._weights, limit)
        return min(max(upto, after + 1), self.end)

    def append(self, entry: Entry) -> None:
        """Add an entry at the end.  ValueError if it cannot follow what is there:
        an index is left out, or its view or its stamp goes back."""
        index, view, stamp_ms = entry.index, entry.view, entry.stamp_ms
        if (
            index != self.end + 1
            or stamp_ms < self.end_stamp_ms
            or (view != self.end_view and not is_later(view, self.end_view))
        ):
            raise _misplaced(entry, self.end, self.end_view, self.end_stamp_ms)
        self.end, self.end_view, self.end_stamp_ms = index, view, stamp_ms
        self.entries.append(entry)
        weights, request = self._weights, entry.request
        before = weights[-1] if weights else self._base_weight
        # As `weight` does, without its call.
        length = len(request.body) if type(request) is Batch else 0
        weights.append(before + ENTRY_BYTES + length)

    def check_place(self, entry: Entry) -> None:
        """ValueError if *entry* cannot take the place of the one at its index, which
        is held, because of the one before it."""
        before = entry.index - 1
        view, stamp_ms = self.view_at(before), self.stamp_at(before)
        assert view is not None
        assert stamp_ms is not None
        if entry.stamp_ms < stamp_ms or (
            entry.view != view and not is_later(entry.view, view)
        ):
            raise _misplaced(entry, before, view, stamp_ms)

    def truncate(self, index: int) -> None:
        """Drop the entry at *index* and all after it."""
        assert self.base_index < index, (self.base_index, index)
        del self.entries[index - self.base_index - 1 :]
        del self._weights[index - self.base_index - 1 :]
        self._find_end()

    def forget(self, upto: int) -> None:
        """Drop the entries up to and with *upto*, from the front."""
        assert self.base_index <= upto <= self.end, (self.base_index, upto, self.end)
        if upto == self.base_index:
            return
        last = self.entry(upto)
        count = upto - self.base_index
        self._base_weight = self._weights[count - 1]
        del self.entries[:count]
        del self._weights[:count]
        self.base_view, self.base_index = last.view, last.index
        self.base_stamp_ms = last.stamp_ms

    def restart(self, view: int, index: int, stamp_ms: int) -> None:
        """Hold nothing, and begin after the entry with that identity.  What
        `entries` was until then is the caller's."""
        self.entries = []
        self._weights.clear()
        self._base_weight = 0
        self.base_view, self.base_index, self.base_stamp_ms = view, index, stamp_ms
        self._find_end()

    def _find_end(self) -> None:
        self.end = self.base_index + len(self.entries)
        if self.entries:
            last = self.entries[-1]
            self.end_view, self.end_stamp_ms = last.view, last.stamp_ms
        else:
            self.end_view, self.end_stamp_ms = self.base_view, self.base_stamp_ms

    def _weight_to(self, index: int) -> int:
        at = index - self.base_index
        assert 0 <= at <= len(self.entries), (self.base_index, index, self.end)
        return self._weights[at - 1] if at else self._base_weight

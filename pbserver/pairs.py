"""
Keys and values, in order of keys, with exact cuts taken out at leisure.

Pure.  The pairs lie in *leaves*: ordinary dicts of at most 84 pairs each,
every leaf holding one range of keys, the ranges in order.  Inside a leaf there
is no order; a scan sorts the leaf.  So every operation costs a search among the
leaves and, at worst, work on the pairs of two leaves, however many there are:
0.5 us for the search with a million pairs, 2 us to copy a leaf that a cut needs,
8 us to sort one, 17 us to split one.  Keys in mixed order are the worst case:
those that were put in order are sorted in a fifth of the time.

What was not taken: one dict, which is faster by that search, but stops for a
second when it grows past 5.6 million keys (and hashes are not in any order);
beside it a sorted list of keys, which costs every new key a microsecond, and
every garbage collection 30 ms per million keys, while dicts of bytes are passed
over; or sorting when a scan asks for it, which is a second per million keys.

The law of this file: a leaf that an open cut still needs is never changed in
place.  It is replaced by a copy first (once), and the cut keeps the old one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from attrs import define, field

from pbserver.budget import FREED_BYTES_FREE

#: More pairs than this, and a leaf is split in two.  A dict of 84 fits a
#: table of 128 slots, and the 42 that a split leaves fit one of 64: this wastes
#: the least.  Every put of a body may split a leaf, and every scan may sort two:
#: with leaves of 170 a body would take twice as long.  With leaves of 42, a store
#: of millions of pairs would have too many of them: opening a cut and inserting a
#: fence cost a pass over their list.
LEAF_PAIRS_MAX: Final = 84

#: Fewer than this, and a leaf joins a neighbour if both together fill no
#: more than half a leaf.  Apart enough from the half that a split leaves, so
#: that deleting and putting the same keys does not split and join for ever.
LEAF_PAIRS_MIN: Final = LEAF_PAIRS_MAX // 4

#: A leaf whose keys are longer together is split, too: to sort keys that begin
#: alike costs their lengths.  Only a key longer than `WIDE_KEY_BYTES` is looked
#: at, so what short keys add to a leaf is bounded by their number.
LEAF_KEY_BYTES_MAX: Final = 16 * 1024
WIDE_KEY_BYTES: Final = 256

#: A value that grew to more than this by appending is kept as a bytearray, so
#: that the next append does not copy it all.
GROWN_BYTES_MIN: Final = 4096

Value = bytes | bytearray
Leaf = dict[bytes, Value]


@define(eq=False)
class Pairs:
    """An ordered map from bytes to bytes."""

    #: The number of pairs.
    count: int = 0
    #: How many pairs were moved or copied with their leaf since this was last set
    #: to zero.  It depends on the leaves, so no answer may depend on it.
    moved: int = 0
    #: How many values are longer than `FREED_BYTES_FREE`.
    long_values: int = 0

    _leaves: list[Leaf] = field(factory=lambda: [{}])
    #: ``_fences[i]``: every key below it lies in leaf i or before, every other
    #: in leaf i + 1 or after.  One fewer than leaves.
    _fences: list[bytes] = field(factory=list)

    #: How many open cuts have yet to take out a leaf, by the leaf's identity
    #: (they keep it alive, so no identity is used twice); empty while none is open.
    _needed: dict[int, int] = field(factory=dict, init=False)
    _cuts: list[PairsCut] = field(factory=list, init=False)
    #: Keys that grew since the last cut was made: their bytearrays are no cut's.
    _grown: set[bytes] = field(factory=set, init=False)

    # -- one key -----------------------------------------------------------------

    def get(self, key: bytes) -> Value | None:
        """The value; None if there is no such key.  Valid until the next change."""
        return self._leaves[bisect_right(self._fences, key)].get(key)

    def put(self, key: bytes, value: Value) -> Value | None:
        """Set the value -> the one that was there."""
        at = bisect_right(self._fences, key)
        leaf = self._leaves[at]
        if self._needed and id(leaf) in self._needed:
            leaf = self._own(at)
        before = leaf.get(key)
        leaf[key] = value
        if len(value) > FREED_BYTES_FREE:
            self.long_values += 1
        if before is None:
            self._added(at, key)
        elif len(before) > FREED_BYTES_FREE:
            self.long_values -= 1
        return before

    def put_short(self, key: bytes, value: bytes) -> None:
        """The same without a look at the value that was there: while no value is
        long, and this one is none."""
        at = bisect_right(self._fences, key)
        leaf = self._leaves[at]
        if self._needed and id(leaf) in self._needed:
            leaf = self._own(at)
        before = len(leaf)
        leaf[key] = value
        if len(leaf) != before:
            self._added(at, key)

    def append(self, key: bytes, suffix: bytes) -> int:
        """Append to the value, an absent key counting as empty -> its length."""
        value = self.get(key)
        if type(value) is bytearray and (not self._cuts or key in self._grown):
            before = len(value)
            value += suffix
            if before <= FREED_BYTES_FREE < len(value):
                self.long_values += 1
            return len(value)
        if value is None:
            grown: Value = suffix
        elif len(value) + len(suffix) <= GROWN_BYTES_MIN:
            grown = value + suffix
        else:
            grown = bytearray(value)
            grown += suffix
            if self._cuts:
                self._grown.add(key)
        self.put(key, grown)
        return len(grown)

    def delete(self, key: bytes) -> Value | None:
        """Forget the key -> the value that was there."""
        at = bisect_right(self._fences, key)
        leaf = self._leaves[at]
        if key not in leaf:
            return None
        if self._needed and id(leaf) in self._needed:
            leaf = self._own(at)
        value = leaf.pop(key)
        self.count -= 1
        if len(value) > FREED_BYTES_FREE:
            self.long_values -= 1
        if len(leaf) < LEAF_PAIRS_MIN and self._fences:
            self._join(at)
        return value

    # -- in order -----------------------------------------------------------------

    def items(
        self, start: bytes = b"", end: bytes | None = None
    ) -> Iterator[tuple[bytes, Value]]:
        """Pairs with start <= key < end, in order.  Valid until the next change."""
        first = bisect_right(self._fences, start)
        for at in range(first, len(self._leaves)):
            leaf = self._leaves[at]
            keys = sorted(leaf)
            if at == first:
                del keys[: bisect_left(keys, start)]
            if end is not None and keys and keys[-1] >= end:
                del keys[bisect_left(keys, end) :]
                yield from zip(keys, map(leaf.__getitem__, keys), strict=True)
                return
            yield from zip(keys, map(leaf.__getitem__, keys), strict=True)

    def last(self) -> bytes | None:
        """The greatest key."""
        # Only a lonely leaf may be empty: others have joined a neighbour.
        return max(self._leaves[-1], default=None)

    # -- cuts -------------------------------------------------------------------

    def cut(self) -> PairsCut:
        """Everything as it is now, to be taken out while changes go on.  Costs
        a list of the leaves.  Several cuts may be open."""
        if self._cuts:
            needed = self._needed
            for leaf in self._leaves:
                needed[id(leaf)] = needed.get(id(leaf), 0) + 1
        else:
            self._needed = dict.fromkeys(map(id, self._leaves), 1)
        cut = PairsCut(self, self._leaves[::-1])
        self._cuts.append(cut)
        self._grown.clear()
        return cut

    def release(self, leaf: Leaf) -> None:
        """A cut has taken this leaf out."""
        needed, name = self._needed, id(leaf)
        if needed[name] > 1:
            needed[name] -= 1
        else:
            del needed[name]

    def closed(self, cut: PairsCut, left: list[Leaf]) -> None:
        """That cut is closed, and had these leaves still to take out."""
        self._cuts.remove(cut)
        if self._cuts:
            for leaf in left:
                self.release(leaf)
        else:
            self._needed.clear()
            self._grown.clear()

    def shed(self, pairs_max: int) -> bool:
        """Free about that many pairs -> whether there are more.  What is left is
        no map any more."""
        while pairs_max > 0 and self._leaves:
            pairs_max -= len(self._leaves.pop()) + 1
        return bool(self._leaves)

    # -- leaves -------------------------------------------------------------------

    def _own(self, at: int) -> Leaf:
        """Leave this leaf to the cut, and go on with a copy."""
        leaf = self._leaves[at] = self._leaves[at].copy()
        self.moved += len(leaf)
        return leaf

    def _added(self, at: int, key: bytes) -> None:
        """The leaf there has a new key."""
        self.count += 1
        leaf = self._leaves[at]
        if len(leaf) > LEAF_PAIRS_MAX or (
            len(key) > WIDE_KEY_BYTES and _width(leaf) > LEAF_KEY_BYTES_MAX
        ):
            self._split(at, key)

    def _split(self, at: int, newest: bytes) -> None:
        leaf = self._leaves[at]
        if len(leaf) < 2:
            return
        self.moved += len(leaf)
        keys = sorted(leaf)
        half = len(keys) // 2
        if at == len(self._fences) and keys[-1] == newest:
            # Keys that come in order leave full leaves behind.
            half = len(keys) - 1
        self._leaves[at : at + 1] = [
            {key: leaf[key] for key in keys[:half]},
            {key: leaf[key] for key in keys[half:]},
        ]
        self._fences.insert(at, keys[half])

    def _join(self, at: int) -> None:
        # With either neighbour.  If only the left one were tried, keys that are
        # deleted from the last one down would leave a row of leaves of one pair,
        # and a scan pays for pairs, not for leaves.
        if not (at and self._join_two(at - 1)) and at < len(self._fences):
            self._join_two(at)

    def _join_two(self, left: int) -> bool:
        one, other = self._leaves[left : left + 2]
        if one and other:
            if len(one) + len(other) > LEAF_PAIRS_MAX // 2 or (
                _width(one) + _width(other) > LEAF_KEY_BYTES_MAX // 2
            ):
                return False
            joined = one | other
            self.moved += len(joined)
        else:
            joined = one or other
        self._leaves[left : left + 2] = [joined]
        del self._fences[left]
        return True


def _width(leaf: Leaf) -> int:
    """How long its keys are together."""
    return sum(map(len, leaf))


@define(eq=False)
class PairsCut:
    """Pairs as they were at one moment."""

    _pairs: Pairs
    #: The leaves that are still to be taken out, the next one last.
    _waiting: list[Leaf]
    #: The leaf that is being taken out, and its keys to come, the next one last.
    _leaf: Leaf | None = field(default=None, init=False)
    _keys: list[bytes] = field(factory=list, init=False)
    _is_open: bool = field(default=True, init=False)

    def take(self, bytes_max: int, pairs_max: int) -> list[Value]:
        """The next pairs in order, as key, value, key, value, ...; at least one
        as long as there are any, and not much more than *bytes_max*."""
        taken: list[Value] = []
        room = bytes_max
        for _ in range(pairs_max):
            if not self._keys and not self._next_leaf():
                break
            key = self._keys[-1]
            assert self._leaf is not None
            value = self._leaf[key]
            # Five bytes at most to say how long each of the two is.
            room -= len(key) + len(value) + 10
            if room < 0 and taken:
                break
            taken.append(key)
            taken.append(value)
            self._keys.pop()
        if not self._keys:
            self._release()
        return taken

    def take_leaf(self, bytes_max: int) -> list[Value]:
        """The same as `take`, faster: all that is left of a leaf at once if its
        values together are no longer than *bytes_max*."""
        if not self._keys and not self._next_leaf():
            return []
        leaf = self._leaf
        assert leaf is not None
        if sum(map(len, leaf.values())) > bytes_max:
            return self.take(bytes_max, len(leaf))
        taken = [part for key in reversed(self._keys) for part in (key, leaf[key])]
        self._keys = []
        self._release()
        return taken

    def close(self) -> None:
        """Free what was kept.  Closing twice is closing once."""
        if not self._is_open:
            return
        self._is_open = False
        left = self._waiting if self._leaf is None else [*self._waiting, self._leaf]
        self._waiting, self._leaf, self._keys = [], None, []
        self._pairs.closed(self, left)

    def _next_leaf(self) -> bool:
        self._release()
        while self._waiting and not self._keys:
            self._leaf = self._waiting.pop()
            self._keys = sorted(self._leaf, reverse=True)
            if not self._keys:
                self._release()
        return bool(self._keys)

    def _release(self) -> None:
        if self._leaf is not None:
            self._pairs.release(self._leaf)
            self._leaf = None

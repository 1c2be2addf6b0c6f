"""
Which views a view service has created.

Pure: a value.  A view is named by its counter and 32 random bits
(``docs/protocol.md``, "The identity of a view").  The bits of every counter are
kept, so that a number that a server shows is known, or proves that this state
is older than the cluster (``docs/design.md``, section 4, rule 14).
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

from msgspec import Meta, Struct

from wire.messages import COUNTER_BITS, ViewNumber, counter_of

#: Counters whose bits are kept, 4 bytes each.  A server that shows a lower one
#: cannot be told from one of another history, and starts again without data.
VIEWS_KEPT_MAX: Final = 65_536

_WIDTH: Final = 4


class Verdict(enum.Enum):
    """How the number of a view compares with the views that were created here."""

    #: It has created that view, or the number is 0.
    KNOWN = "known"
    #: The counter is above all of its own.
    NEWER = "newer"
    #: It has created another view with that counter.
    OTHER = "other"
    #: The bits of that counter are not kept any more.
    FORGOTTEN = "forgotten"


class Lineage(Struct, frozen=True, gc=False):
    """The bits of views with the counters *first*, *first* + 1, ..."""

    first: Annotated[int, Meta(ge=1)] = 1
    bits: Annotated[bytes, Meta(max_length=_WIDTH * VIEWS_KEPT_MAX)] = b""

    @property
    def last(self) -> int:
        """The greatest counter; 0 before the first view."""
        return self.first + len(self.bits) // _WIDTH - 1

    def after(self, number: ViewNumber) -> Lineage:
        """The same with the next view, whose counter is `last` + 1."""
        assert counter_of(number) == self.last + 1, (number, self.last)
        bits = self.bits + (number >> COUNTER_BITS).to_bytes(_WIDTH, "big")
        over = max(0, len(bits) // _WIDTH - VIEWS_KEPT_MAX)
        return Lineage(self.first + over, bits[_WIDTH * over :])

    def verdict(self, number: ViewNumber) -> Verdict:
        """Whether this view service has created the view of that number."""
        counter = counter_of(number)
        if number == 0:
            return Verdict.KNOWN
        if counter > self.last:
            return Verdict.NEWER
        if counter < self.first:
            return Verdict.FORGOTTEN
        at = _WIDTH * (counter - self.first)
        bits = int.from_bytes(self.bits[at : at + _WIDTH], "big")
        return Verdict.KNOWN if bits == number >> COUNTER_BITS else Verdict.OTHER

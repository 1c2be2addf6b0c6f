"""
How long a server that keeps losing its place waits for the next one.

Pure: a value.  A server that is lost and recruited again and again costs
everybody a view change and a transfer each time.  So each loss within a short
time lengthens the wait, whatever the cause (``docs/design.md``, section 4,
rule 15): a process that crashes in a loop, a link that comes and goes, a host
that stands still for most of each second.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

#: Losses that cost no wait: a restart by hand, and another one, are no flapping.
FREE_LOSSES_MAX: Final = 2

#: The first wait, in dead times; each further loss doubles it, this many times:
#: with the usual settings 4 s, 8 s, and about four minutes in the end.
WAIT_DEADS: Final = 8
DOUBLINGS_MAX: Final = 6


class Damping(Struct, frozen=True, gc=False):
    """The losses that still count against a server."""

    #: How many.
    losses: int = 0
    #: Ticks since the last one, or since one of them was forgiven.
    quiet: int = 0

    def wait_ticks(self, dead_pings: int) -> int:
        """How many ticks after the last loss it may be recruited again."""
        over = self.losses - FREE_LOSSES_MAX
        if over <= 0:
            return 0
        return WAIT_DEADS * dead_pings << min(over - 1, DOUBLINGS_MAX)

    def is_waiting(self, dead_pings: int) -> bool:
        """Whether it may not be recruited yet."""
        return self.quiet < self.wait_ticks(dead_pings)

    def lost(self, *, unreachable: bool) -> Damping:
        """It has lost its place once more.  One that could not be *unreachable*
        waits at once: it would only be found unreachable again."""
        least = FREE_LOSSES_MAX + 1 if unreachable else 1
        most = FREE_LOSSES_MAX + 1 + DOUBLINGS_MAX
        return Damping(min(most, max(least, self.losses + 1)))

    def ticked(self, dead_pings: int) -> Damping:
        """A tick has passed.  After its wait, and as long again but at least the
        shortest wait, one loss is forgiven."""
        if not self.losses:
            return self
        quiet = self.quiet + 1
        wait = self.wait_ticks(dead_pings)
        if quiet >= wait + max(wait, WAIT_DEADS * dead_pings):
            forgiven = Damping(self.losses - 1)
            if not forgiven.losses:
                return NO_LOSS
            return Damping(forgiven.losses, forgiven.wait_ticks(dead_pings))
        return Damping(self.losses, quiet)


#: Of a server that has not lost a place for long.
NO_LOSS: Final = Damping()

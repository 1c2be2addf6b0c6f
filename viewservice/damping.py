"""
How long a server that keeps losing its place waits for the next one.

Pure: a value.  Each time that a server is lost and recruited again, the cluster
pays for a view change and a transfer.  So each loss within a short
time lengthens the wait, whatever the cause (``docs/design.md``, section 4,
rule 15): a process that crashes in a loop, an unstable link, a host that is
paused for most of each second.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

#: Losses after which there is no wait: two restarts by hand are not flapping.
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
        """The server has lost its place again.  If it was *unreachable*, it waits
        after the first loss: it would only be found unreachable again."""
        least = FREE_LOSSES_MAX + 1 if unreachable else 1
        most = FREE_LOSSES_MAX + 1 + DOUBLINGS_MAX
        return Damping(min(most, max(least, self.losses + 1)))

    def ticked(self, dead_pings: int) -> Damping:
        """A tick has passed.  One loss is forgiven when the wait is over, and after
        that the same time again, at least the shortest wait, has passed."""
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


#: The value of a server without recent losses.
NO_LOSS: Final = Damping()

"""
Whether this process makes progress with its own work, as a counter for its pings.

Pure.  A server that pings and does nothing else would keep its place for ever.
So a ping carries a counter that grows with every interval in which the process
kept up, and the view service treats a primary as dead whose counter stands still
for the dead time (docs/design.md, section 4).

The counter is about this process alone.  What it waits for from others (a backup
that has to accept, the view service that has to acknowledge, a caller that has
to read its answers) does not count: a primary that waits for a paused backup is
healthy, and to replace it would not help.

In one interval the counter grows by one, unless

- the tick that ends the interval is late by more than half of the dead time:
  whatever the process did, its callers could not reach it meanwhile;
- or something was read from callers before the interval began, and the turn in
  which it is logged, answered or refused has not come since;
- or there was work that waited for nothing but its turn (entries to apply, reads
  to answer, a digest) when the interval began and still is, and none of it was
  done meanwhile.

If nothing is asked, the counter grows with every tick that is on time.
"""

from __future__ import annotations

from attrs import define, field


@define
class Progress:
    """What a server's pings carry as `progress`."""

    #: 0 is for senders that do not count.
    count: int = field(default=1, init=False)

    #: As of the last tick.
    _was_unhandled: bool = field(default=False, init=False)
    _was_behind: bool = field(default=False, init=False)
    _turns: int = field(default=0, init=False)
    _work: int = field(default=0, init=False)

    def tick(
        self, late_share: float, *, unhandled: bool, turns: int, behind: bool, work: int
    ) -> None:
        """An interval has passed.

        *late_share* is how late the tick is, as a share of the dead time.
        *unhandled*: something was read, and its turn has not ended yet; *turns* is
        how many have.  *behind*: there is work that waits for its turn; *work* is
        how much was ever done, in any unit.
        """
        is_stuck = unhandled and self._was_unhandled and turns == self._turns
        is_idle = behind and self._was_behind and work == self._work
        if late_share <= 0.5 and not is_stuck and not is_idle:
            self.count += 1
        self._was_unhandled, self._turns = unhandled, turns
        self._was_behind, self._work = behind, work

"""
Looking again for a moment, instead of sleeping at once.

Thin.  A process that sleeps is not awake at once when its event comes: on a virtual
machine that takes longer than all that there is to do for one operation.  So whoever
has waited only a moment looks again and again for as long as such a moment lasts, and
lets other processes go first each time; whoever has waited longer sleeps.  One long
wait for each stretch of short ones is all that is looked for in vain.

With one operation at a time it more than doubled how many there were in a second
(docs/design.md, section 11).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

Events = list[tuple[int, int]]
#: Seconds at most (-1: for ever), and events at most -> file and what is up with it.
Poll = Callable[[float, int], Events]

#: What is a moment, in microseconds, for a daemon that is not told otherwise.
SPIN_US: Final = 100
#: More than this is no moment.
SPIN_US_MAX: Final = 10_000


def spinning(
    poll: Poll,
    spin_us: int,
    clock: Callable[[], float] = time.perf_counter,
    give_way: Callable[[], object] = os.sched_yield,
) -> Poll:
    """*poll*, but while waits are shorter than *spin_us* microseconds, it does not
    sleep; 0: it always sleeps.  Timers may be late by as much."""
    if spin_us == 0:
        return poll
    spin_s = spin_us / 1e6
    waited_s = spin_s

    def wait(timeout_s: float, events_max: int) -> Events:
        nonlocal waited_s
        if timeout_s == 0:
            return poll(0, events_max)
        begun_s = clock()
        events: Events = []
        if waited_s < spin_s:
            while not (events := poll(0, events_max)) and clock() - begun_s < spin_s:
                give_way()
        events = events or poll(timeout_s, events_max)
        waited_s = clock() - begun_s
        return events

    return wait

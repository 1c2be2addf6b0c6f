"""
Ticks: one per interval, and never for time in which nobody listened.

A process that was stopped, swapped out or kept busy finds a late tick and full
sockets when it goes on.  What waits in the sockets is read first, a late tick
counts once, and missed ones are not made up: the view service's own pause is
nobody's death (``docs/design.md``, section 4, rule 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wire.fail_stop import guard

#: Intervals that a tick must be late by to tell of a pause in which callers may
#: have given up their connections.
PAUSE_INTERVALS: Final = 2.0

#: Turns of the reactor that a late tick waits: in the first, what came on old
#: connections is read and new ones are accepted; in the second, new ones are
#: read.
READING_TURNS: Final = 2


class Ticker:
    """Calls *tick* every *interval_s* seconds, and *paused* with the seconds
    before a tick that came much too late."""

    def __init__(
        self,
        interval_s: float,
        tick: Callable[[], None],
        paused: Callable[[float], None],
        reactor: IReactorTime,
    ) -> None:
        self._interval_s = interval_s
        self._tick = tick
        self._paused = paused
        self._reactor = reactor
        self._due_s = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """The first tick comes after one interval."""
        self._next(self._reactor.seconds() + self._interval_s)

    def stop(self) -> None:
        """No more ticks."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _next(self, due_s: float) -> None:
        self._due_s = due_s
        wait_s = max(0.0, due_s - self._reactor.seconds())
        self._call = self._reactor.callLater(wait_s, self._fire)

    @guard
    def _fire(self) -> None:
        self._call = None
        late_s = self._reactor.seconds() - self._due_s
        if late_s < self._interval_s / 2:
            # From the time when it was due: so lateness does not add up.
            self._next(self._due_s + self._interval_s)
            self._tick()
            return
        if late_s >= PAUSE_INTERVALS * self._interval_s:
            self._paused(late_s)
        self._read_first(READING_TURNS)

    @guard
    def _read_first(self, turns: int) -> None:
        if turns:
            self._call = self._reactor.callLater(0, self._read_first, turns - 1)
            return
        self._next(self._reactor.seconds() + self._interval_s)
        self._tick()

"""
What is logged once in a while, however often it happens.

Pure.  Callers can cause the same event as often as they like, and a log that they
fill hides everything else.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from attrs import define, field

#: How many events of one kind are logged in a period, where each is another event.
BURST_MAX: Final = 32

#: How many events are told apart; the one that was logged first is forgotten.
EVENTS_KEPT: Final = 1024


@define
class Seldom:
    """Which events were logged lately.  Times are seconds of one clock."""

    every_s: float = 60.0
    #: Event -> until when it is not logged again.
    _quiet: dict[Hashable, float] = field(factory=dict, init=False)

    def is_due(self, event: Hashable, now_s: float) -> bool:
        """Whether to log that *event* now; then it is not due again for a while."""
        if now_s < self._quiet.get(event, now_s):
            return False
        self._quiet.pop(event, None)
        self._quiet[event] = now_s + self.every_s
        if len(self._quiet) > EVENTS_KEPT:
            del self._quiet[next(iter(self._quiet))]
        return True


@define
class Few:
    """How many events of one kind were logged lately, where no two need be alike:
    the first ones of each period are logged, and the rest are counted."""

    every_s: float = 60.0
    #: When the period began, and what came in it.
    _since_s: float = field(default=0.0, init=False)
    _count: int = field(default=0, init=False)
    #: How many were not logged in the periods before.
    _missed: int = field(default=0, init=False)

    def is_due(self, now_s: float) -> bool:
        """Whether to log the event that has come now."""
        self._turn_over(now_s)
        if not self._count:
            self._since_s = now_s
        self._count += 1
        return self._count <= BURST_MAX

    def take_missed(self, now_s: float) -> int:
        """How many were not logged in the periods that are over; 0 from then on."""
        self._turn_over(now_s)
        missed, self._missed = self._missed, 0
        return missed

    def _turn_over(self, now_s: float) -> None:
        if now_s - self._since_s >= self.every_s:
            self._missed += max(0, self._count - BURST_MAX)
            self._count = 0

"""
What is logged once in a while, however often it happens.

Pure.  Callers can cause the same event as often as they like, and a log that they
fill hides everything else.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from attrs import define, field

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

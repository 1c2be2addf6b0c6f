"""
Virtual time: what is to happen, in order.

Whole microseconds, so that no rounding can differ; what is due at the same
moment happens in the order in which it was put down.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

MS = 1000
S = 1000 * MS


class Agenda:
    """Everything that is still to happen."""

    def __init__(self) -> None:
        self.now_us = 0
        #: How much has happened.
        self.events = 0
        #: Called after everything that happens, if anybody looks on.
        self.after: Callable[[], None] | None = None
        self._put = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def later(self, delay_us: int, what: Callable[[], None]) -> None:
        """Do *what* after so many microseconds."""
        self._put += 1
        heapq.heappush(self._due, (self.now_us + max(0, delay_us), self._put, what))

    def step(self) -> bool:
        """Let the next thing happen -> False: there is nothing more."""
        if not self._due:
            return False
        at_us, _, what = heapq.heappop(self._due)
        assert at_us >= self.now_us
        self.now_us = at_us
        self.events += 1
        what()
        if self.after is not None:
            self.after()
        return True

    def run(self, until_us: int) -> None:
        """Let everything happen that is due by then."""
        while self._due and self._due[0][0] <= until_us:
            self.step()
        self.now_us = max(self.now_us, until_us)

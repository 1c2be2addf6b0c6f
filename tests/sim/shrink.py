"""
From a world that goes wrong to the least of it that still does.

A world with forty faults and two hundred calls explains nothing.  What breaks
the same rule with three faults and six calls usually explains itself.  The
faults are cut down by delta debugging (Zeller and Hildebrandt), then misfortune
is ended earlier, then clerks and calls are left out, the first and the last, and
all that again until nothing more can go.  What remains need not be the least
there is, but each part of it was tried without.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import evolve

from tests.sim.agenda import MS
from tests.sim.excerpt import Excerpt
from tests.sim.run import Result, run

#: Misfortune is not ended more exactly than that.
EXACT_US = 10 * MS


def shrink(found: Result, excerpt: Excerpt, seconds: float) -> tuple[Excerpt, Result]:
    """The least of *excerpt*, which ended as *found*, that breaks the same rule
    -> it, and how it ends.  After *seconds*: the least by then."""
    return _Shrinking(found, excerpt, time.monotonic() + seconds).least()


class _Shrinking:
    def __init__(self, found: Result, excerpt: Excerpt, end_s: float) -> None:
        assert found.violation is not None
        self._rule = found.violation.rule
        self._end_s = end_s
        self._excerpt = excerpt
        self._result = found
        self._note(excerpt, found)

    def least(self) -> tuple[Excerpt, Result]:
        before = None
        while before != self._excerpt and not self._is_late():
            before = self._excerpt
            self._fewer_faults()
            self._end_earlier()
            self._fewer_clerks()
            self._begin_later()
            self._fewer_calls()
        return self._excerpt, self._result

    def _is_late(self) -> bool:
        return time.monotonic() >= self._end_s

    def _fails(self, **parts: object) -> bool:
        """Does it still break the rule with that part of it changed?"""
        if self._is_late():
            return False
        excerpt = evolve(self._excerpt, **parts)
        result = run(self._result.seed, excerpt=excerpt)
        if result.violation is None or result.violation.rule != self._rule:
            return False
        self._note(excerpt, result)
        return True

    def _note(self, excerpt: Excerpt, result: Result) -> None:
        # What is not among those that struck is left out by saying so.
        only = tuple(fault.name for fault in result.struck)
        self._excerpt, self._result = evolve(excerpt, only=only), result

    # -- what can go ----------------------------------------------------------

    def _fewer_faults(self) -> None:
        parts = 1
        while (names := self._excerpt.only) and not self._is_late():
            size = -(-len(names) // parts)
            for begin in range(0, len(names), size):
                if self._fails(only=names[:begin] + names[begin + size :]):
                    parts = max(1, parts - 1)
                    break
            else:
                if size == 1:
                    return
                parts = min(len(names), 2 * parts)

    def _end_earlier(self) -> None:
        def until(steps: int) -> bool:
            return self._fails(until_us=steps * EXACT_US)

        _least(0, self._result.until_us // EXACT_US, until)

    def _begin_later(self) -> None:
        end = self._result.until_us // EXACT_US

        def until_the_end(steps: int) -> bool:
            return self._fails(from_us=(end - steps) * EXACT_US)

        _least(0, end - self._excerpt.from_us // EXACT_US, until_the_end)

    def _fewer_clerks(self) -> None:
        for count in range(1, self._result.clerks):
            if self._fails(clerks=count):
                return

    def _fewer_calls(self) -> None:
        _least(0, self._result.calls, lambda count: self._fails(calls=count))


def _least(low: int, high: int, fails: Callable[[int], bool]) -> None:
    """Look for the least number from *low* up that *fails*; *high* is known to.
    Small ones are tried first, in strides that double: they are quickly lived,
    and what fails with many calls may not with half of them, and again with few."""
    stride = 1
    while low + stride <= high:
        if fails(low + stride - 1):
            high = low + stride - 1
            break
        low += stride
        stride *= 2
    while low < high:
        middle = (low + high) // 2
        if fails(middle):
            high = middle
        else:
            low = middle + 1

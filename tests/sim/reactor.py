"""
A reactor for one simulated process: its clock, its timers and its sockets.

To the real shells this is the reactor.  What they schedule for "the end of this
turn" happens together and in order, at once or a little later, since other work
of the process may come first.  What is due after a while is due by the process's
clock, as with Twisted: who sets the clock, sets the timers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTCP, IReactorTime
from zope.interface import implementer

from tests.sim.agenda import S
from tests.sim.sockets import Connector, Port

if TYPE_CHECKING:
    from tests.sim.process import Process

#: How long the rest of a turn takes; one of them.
TURN_US: Final = (0, 0, 0, 200, 1000)

#: Clocks are rounded, and nothing may be due before its time.
ROUNDING_US: Final = 2


@implementer(IDelayedCall)
class Timer:
    """Something that is to be done, once, when the process's clock says so."""

    __slots__ = ("_is_cancelled", "_what", "due_us")

    def __init__(self, what: Callable[[], object], due_us: int) -> None:
        self._what: Callable[[], object] | None = what
        self._is_cancelled = False
        self.due_us = due_us

    def active(self) -> bool:
        """Is it still to be done?"""
        return self._what is not None

    def getTime(self) -> float:
        """When, by the process's clock."""
        return self.due_us / S

    def cancel(self) -> None:
        """Do not."""
        if self._what is None:
            raise AlreadyCancelled if self._is_cancelled else AlreadyCalled
        self._what, self._is_cancelled = None, True

    def fire(self) -> None:
        """It is time."""
        if self._what is not None:
            what, self._what = self._what, None
            what()


@implementer(IReactorTime, IReactorTCP)
class Reactor:
    """What a process sees of the world."""

    def __init__(self, process: Process) -> None:
        self._process = process
        #: What is to be done when this turn has ended.
        self._next: list[Timer] = []
        #: What is to be done later, and perhaps some of what was cancelled.
        self._timers: dict[Timer, None] = {}

    def seconds(self) -> float:
        """The process's own clock."""
        return self._process.now_us() / S

    def callLater(
        self, delay_s: float, what: Callable[..., object], *args: Any, **kwargs: Any
    ) -> Timer:
        """Do that after so many seconds of the process's clock."""
        if args or kwargs:
            what = functools.partial(what, *args, **kwargs)
        now_us = self._process.now_us()
        if delay_s > 0:
            timer = Timer(what, now_us + math.ceil(delay_s * S) + ROUNDING_US)
            self._timers[timer] = None
            self._await(timer)
            return timer
        timer = Timer(what, now_us)
        self._next.append(timer)
        if len(self._next) == 1:
            turn_us = self._process.random.choice(TURN_US)
            self._process.later(turn_us, self._turn)
        return timer

    def clock_changed(self) -> None:
        """The process's clock says something else now; what is due by it is due."""
        for timer in sorted(self._timers, key=lambda timer: timer.due_us):
            if timer.active():
                self._await(timer)
            else:
                del self._timers[timer]

    def _await(self, timer: Timer) -> None:
        delay_us = max(0, timer.due_us - self._process.now_us())
        self._process.later(delay_us, functools.partial(self._came, timer))

    def _came(self, timer: Timer) -> None:
        if timer not in self._timers:
            return
        if timer.active() and self._process.now_us() < timer.due_us - ROUNDING_US:
            self._await(timer)  # The clock was set back, or stood still.
            return
        del self._timers[timer]
        timer.fire()

    def _turn(self) -> None:
        timers, self._next = self._next, []
        for timer in timers:
            timer.fire()

    def listenTCP(
        self,
        port: int,
        factory: Any,
        **_: object,
    ) -> Port:
        """Be called at that port."""
        return self._process.world.network.listen(self._process, port, factory)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        **_: object,
    ) -> Connector:
        """Call somebody, for as long as it takes."""
        connector = Connector(self._process, host, port, factory)
        connector.connect()
        return connector

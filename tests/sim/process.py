"""
A process: what is common to servers, clerks and the view service.

It handles one thing at a time, has timers and a clock of its own, may stand
still for a while (what comes meanwhile waits, its clock goes on), and may end
at any moment, which takes its memory and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from tests.sim.agenda import MS, S
from tests.sim.chronicle import Violation
from tests.sim.reactor import Reactor
from tests.sim.sockets import End
from wire.messages import Message

if TYPE_CHECKING:
    from tests.sim.world import World

#: How long a process may take to stop in order: a peer that does not close its
#: end costs `wire.link.LINGER_S`, and nothing takes longer.
STOPPING_US: Final = 3 * S

#: Whoever does something right now, and on whose behalf, the last one first.
_acting: Final[list[Process]] = []


def _logged(event: LogEvent) -> None:
    if _acting:
        _acting[-1].logged(event)


globalLogPublisher.addObserver(_logged)


class Gone(BaseException):
    """The process is no more, in the middle of what it did.  No exception that
    the shells may catch: nothing of theirs runs after it."""


class Process:
    """Its name is its host's name, too."""

    #: What an observer is told that it is, one of `tests.sim.observer.KINDS`.
    kind: ClassVar[str]

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = self.host = name
        self.is_alive = True
        self.is_paused = False
        #: What has come while it stood still.
        self._waiting: list[Callable[[], None]] = []
        #: Its own, whatever others do; another one in each life.
        self.random = random = world.random_of(name)
        #: How fast its clock runs, in thousandths, and where it began.
        self.rate = random.randint(1000 - world.drift, 1000 + world.drift)
        self._clock_us = random.randrange(10**9)
        #: What it had counted when its speed changed last, and when that was.
        self._base_us = self._since_us = 0
        #: When it began to stand still together with its process, if it did.
        self._froze_us: int | None = None
        #: When it last went on after standing still; long ago, if it never did.
        self.woke_us = -S
        self.reactor = Reactor(self)
        #: What it did that it must not, found out where nothing can be raised.
        self.broken: Violation | None = None

    def now_ms(self) -> int:
        """A clock, its own; monotonic but for jumps."""
        return self.now_us() // MS

    def now_us(self) -> int:
        """The same, finer."""
        passed_us = self.world.agenda.now_us - self._since_us
        return self._clock_us + self._base_us + passed_us * self.rate // 1000

    def jump(self, by_us: int) -> None:
        """Its clock jumps, and what is due by it is due."""
        self._clock_us += by_us
        self.reactor.clock_changed()

    def run_at(self, rate: int) -> None:
        """Its clock runs at another speed from now on."""
        self._base_us = self.now_us() - self._clock_us
        self._since_us, self.rate = self.world.agenda.now_us, rate
        self.reactor.clock_changed()

    # -- doing things ---------------------------------------------------------

    def soon(self, what: Callable[[], None]) -> None:
        """Do that now; or on waking up; or, if it has ended, never."""
        if not self.is_alive:
            return
        if self.is_paused:
            self._waiting.append(what)
            return
        _acting.append(self)
        try:
            self.world.turn(self, what)
        except Gone:
            assert not self.is_alive
        finally:
            _acting.pop()
        if self.broken is not None:
            raise self.broken
        self.turned()

    def later(self, delay_us: int, what: Callable[[], None]) -> None:
        """A timer of this process, by its own clock's speed."""
        self.world.agenda.later(delay_us * 1000 // self.rate, lambda: self.soon(what))

    def pause(self, *, frozen: bool = False) -> None:
        """Stand still; if *frozen*, the clock, too."""
        if frozen and not self.is_paused:
            self._froze_us = self.world.agenda.now_us
        self.is_paused = True

    def wake(self) -> None:
        """Go on: read what has come, in any order that connections allow."""
        if not self.is_paused or not self.is_alive:
            return
        self.is_paused = False
        self.woke_us = self.world.agenda.now_us
        if self._froze_us is not None:
            self._since_us += self.world.agenda.now_us - self._froze_us
            self._froze_us = None
        waiting, self._waiting = self._waiting, []
        for what in waiting:
            self.soon(what)

    def end(self) -> None:
        """The process is gone; what is remembered of it elsewhere is not."""
        self.is_alive = False
        self._waiting.clear()
        network = self.world.network
        for port in [each for each in network.ports.values() if each.process is self]:
            network.close(port)
        late_us = self.world.misfortune.lateness_us()
        for end in [each for each in network.ends.values() if each.process is self]:
            network.tear(end, late_us)
            end.is_gone = True
            network.ends.pop(end.id, None)

    def shut_down(
        self,
        service: Service,
        done: Callable[[], None],
        within_us: int = STOPPING_US,
    ) -> None:
        """Stop *service* as twistd does, which must not take longer; then *done*."""

        def be_gone() -> None:
            text = f"{self.name} cannot stop"
            self.world.require(False, "everything ends", text)

        stopped: Deferred[None] = service.stopService()
        stopped.addCallback(lambda _: done())
        stopped.addErrback(lambda failure: self.breaks(failure.value))
        self.later(within_us, be_gone)

    # -- who looks on ---------------------------------------------------------

    def said(self, end: End, message: Message) -> None:
        """It sends *message*."""
        self.world.said(end, message)

    def heard(self, end: End, message: Message) -> None:
        """It is about to read *message*."""
        self.world.heard(end, message)

    def turned(self) -> None:
        """It has done one thing."""

    def logged(self, event: LogEvent) -> None:
        """It has something to say to whoever operates it.  What none of our own
        may ever log is a violation: that a rule broke (an exception may have been
        caught by whatever called it), or that the other end spoke nonsense."""
        if (failure := event.get("log_failure")) is not None:
            self.breaks(failure.value)
        words = event.get("words")
        if words is None:
            return
        if words.startswith("link.broken") and "reason='silent'" not in words:
            # At whatever level: a process that dials logs its reason elsewhere.
            self.broken = Violation("protocol", f"{self.name}: {words}")
        if event["log_level"] < LogLevel.info:
            return
        self.world.note(f"{self.name}: {words}")
        if words.startswith("invariant.broken"):
            self.broken = Violation("assertion", f"{self.name}: {words}")

    def breaks(self, error: BaseException) -> None:
        """An exception was caught that means a violation."""
        if isinstance(error, Violation):
            self.broken = error
        else:
            self.broken = Violation("assertion", f"{self.name}: {error!r}")

"""
A process: what is common to servers, clerks and the view service.

It handles one thing at a time, has timers and a clock of its own, may stand
still for a while (what comes meanwhile waits, its clock goes on), and may end
at any moment, which takes its memory and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.sim.agenda import MS, S
from tests.sim.network import End, Owner
from wire.codec import Decoder, parts
from wire.messages import Goodbye, Hello, Message

if TYPE_CHECKING:
    from tests.sim.world import World

#: As in `wire.dialler`.
SETTLED_US: Final = 1 * S
FIRST_DELAY_US: Final = 20 * MS


class Process:
    """Its name is its host's name, too."""

    #: A key of `wire.messages.SAYS`.
    role = ""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = self.host = name
        self.is_alive = True
        self.is_paused = False
        #: What has come while it stood still.
        self._waiting: list[Callable[[], None]] = []
        #: How fast its clock runs, in thousandths, and where it began.
        self.rate = world.random.randint(1000 - world.drift, 1000 + world.drift)
        self._clock_us = world.random.randrange(10**9)

    def now_ms(self) -> int:
        """A monotonic clock, its own."""
        return (self._clock_us + self.world.agenda.now_us * self.rate // 1000) // MS

    def jump(self, forward_us: int) -> None:
        """Its clock jumps ahead."""
        self._clock_us += forward_us

    # -- doing things ---------------------------------------------------------

    def soon(self, what: Callable[[], None]) -> None:
        """Do that now; or on waking up; or, if it has ended, never."""
        if not self.is_alive:
            return
        if self.is_paused:
            self._waiting.append(what)
            return
        self.world.turn(self, what)

    def later(self, delay_us: int, what: Callable[[], None]) -> None:
        """A timer of this process, by its own clock's speed."""
        self.world.agenda.later(delay_us * 1000 // self.rate, lambda: self.soon(what))

    def pause(self) -> None:
        """Stand still."""
        self.is_paused = True

    def wake(self) -> None:
        """Go on: read what has come, in any order that connections allow."""
        if not self.is_paused or not self.is_alive:
            return
        self.is_paused = False
        waiting, self._waiting = self._waiting, []
        for what in waiting:
            self.soon(what)

    def end(self) -> None:
        """The process is gone; what is remembered of it elsewhere is not."""
        self.is_alive = False
        self._waiting.clear()
        network = self.world.network
        if network.listeners.get(self.host) is self:
            del network.listeners[self.host]
        late_us = self.world.misfortune.lateness_us()
        for end in [each for each in network.ends.values() if each.process is self]:
            network.tear(end, late_us)
            end.is_gone = True
            network.ends.pop(end.id, None)

    # -- connections ----------------------------------------------------------

    def decoder(self) -> Decoder:
        """For a caller, whoever it is."""
        return Decoder(None, self.role)

    def hello(self) -> Hello:
        """What to say first."""
        raise NotImplementedError

    def link_opened(self, link: End) -> Goodbye | None:
        """Somebody called."""
        raise NotImplementedError

    def received(self, link: End, message: Message) -> None:
        """A caller said something."""
        raise NotImplementedError

    def link_closed(self, link: End, reason: str) -> None:
        """A caller is gone."""
        raise NotImplementedError


class Line:
    """A standing connection, dialled again and again; see `wire.dialler`."""

    def __init__(
        self,
        process: Process,
        owner: Owner,
        listener_role: str,
        address: str,
        delay_max_us: int = 1 * S,
    ) -> None:
        self.process = process
        self.owner = owner
        self.address = address
        self._says, self._hears = parts(process.role, listener_role)
        self._delay_max_us = delay_max_us
        self._failures = 0
        self._end: End | None = None
        self._runs = False
        #: Of several attempts that are under way, the one that counts.
        self._attempt = 0
        self._dials_at_once = False

    @property
    def link(self) -> End | None:
        """The end that is open, or None."""
        end = self._end
        return end if end is not None and end.is_open and not end.is_ending else None

    def start(self) -> None:
        """Dial, and never give up."""
        if not self._runs:
            self._runs = True
            self._dial()

    def stop(self) -> None:
        """Say goodbye, and dial no more."""
        self._runs = False
        self._attempt += 1
        if self._end is not None:
            self._end.goodbye("stopping", "this connection is needed no more")

    def redial(self) -> None:
        """Drop what is there and dial at once."""
        if self._end is not None:
            self._dials_at_once = True
            self._end.abort()

    def _dial(self) -> None:
        if not self._runs:
            return
        self._attempt += 1
        self.process.world.network.dial(
            self.process,
            self.owner,
            self.address,
            Decoder(self._hears, self._says),
            functools.partial(self._dialled, self._attempt),
        )

    def _dialled(self, attempt: int, end: End | None) -> None:
        if end is None:
            if attempt == self._attempt:
                self._again()
        elif attempt != self._attempt:
            end.abort()
        else:
            self._end = end
            end.on_end = self._ended
            self.process.later(SETTLED_US, functools.partial(self._settle, end))

    def _settle(self, end: End) -> None:
        if end.is_open:
            self._failures = 0

    def _ended(self, end: End) -> None:
        if self._end is end:
            self._end = None
            self._again()

    def _again(self) -> None:
        if not self._runs:
            return
        delay_us = min(FIRST_DELAY_US << min(self._failures, 16), self._delay_max_us)
        self._failures += 1
        if self._dials_at_once:
            self._dials_at_once, delay_us = False, 0
        half = delay_us // 2
        self.process.later(
            half + self.process.world.random.randint(0, half), self._dial
        )

"""
A server process: the real service, and somebody who looks on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred

from pbserver.departure import STOP_S_MAX
from pbserver.limits import Limits
from pbserver.primary import Primary
from pbserver.service import ServerService, Settings
from pbserver.sessions import Answer, Sessions
from pbserver.store import Store
from tests.sim.agenda import MS, S
from tests.sim.process import STOPPING_US, Process
from tests.sim.sockets import End
from tests.sim.views import addresses
from wire.addresses import format_address
from wire.messages import Entry, Member, Message

if TYPE_CHECKING:
    from tests.sim.world import World

PORT: Final = 7401

#: How long what is done in a thread may take.
LONG_US: Final = 600 * MS

T = TypeVar("T")

#: Why a server stops that was told to.
LEAVING: Final = "stopping"

#: How long that may take, by a clock that may run slow.
LEAVING_US: Final = int(STOP_S_MAX * 1.4 * S) + STOPPING_US


class WatchedSessions(Sessions):
    """The real thing, with somebody who looks on."""

    server: ServerProcess

    def apply(self, entry: Entry) -> Answer | None:
        answer = super().apply(entry)
        self.server.world.chronicle.applied(self.server, self, entry, answer)
        return answer


class SlowStore(Store):
    """A store of which the last step of loading is done in a thread."""

    is_whole = True

    def load(self, chunk: bytes) -> None:
        self.is_whole = False
        super().load(chunk)

    def finish(self) -> None:
        self.is_whole = True

    def apply(self, body: bytes, stamp_ms: int) -> bytes:
        assert self.is_whole
        return super().apply(body, stamp_ms)


class ServerProcess(Process):
    """One incarnation of one server."""

    kind = "server"

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        views = addresses(self)
        self.has_one_address = len(views) == 1
        settings = Settings(
            name,
            f"tcp:{PORT}",
            views,
            self._fresh,
            limits=Limits(**world.limits),
        )
        self._service = ServerService(
            settings, self.reactor, self.random, self._fails, do_long=self._do_long
        )
        self.replica = self._service.replica
        self.history = self.replica.history
        self.incarnation = self.replica.me.incarnation
        address = format_address(world.network.ip(name), PORT)
        self.member = Member(name, self.incarnation, address)
        self._state = self.history.state
        self.stopped = ""
        self.soon(self._service.startService)

    def _fresh(self) -> Sessions:
        machine = SlowStore() if self.world.settings.finishes else Store()
        sessions = WatchedSessions(machine, **self.world.session_limits)
        sessions.server = self
        return sessions

    def _do_long(self, do: Callable[[], T]) -> Deferred[T]:
        """What a thread would do: it is done after a while."""
        done: Deferred[T] = Deferred()
        delay_us = self.random.randrange(LONG_US)
        self.later(delay_us, lambda: done.callback(do()))
        return done

    def is_leading(self) -> bool:
        """Does it believe itself to be primary?"""
        return isinstance(self.replica.role, Primary)

    @property
    def reads_clerks(self) -> bool:
        """Whether what clerks send is read."""
        return self._service._accepting

    @property
    def is_flushed(self) -> bool:
        """Has it said what there was to say, and looked at what follows?"""
        return not self._service._flush_due

    # -- stopping -------------------------------------------------------------

    def leave(self) -> None:
        """Stop as an operator stops it: say so to everybody, then end."""
        if not self.stopped:
            self.world.note(f"{self.name} leaves")
            self.stopped = LEAVING
            self.soon(self._shut_down)

    def _fails(self, text: str) -> None:
        """Stop as `wire.daemon.fail` stops a process: in order, at its own wish."""
        reason = text.removeprefix(f"server {self.name} stops: ")
        self.world.require(
            not reason.startswith("diverged"), "same answers", f"{self.name} {reason}"
        )
        if not self.stopped:
            self.stopped = reason
            self.reactor.callLater(0, self._shut_down)

    def _shut_down(self) -> None:
        within_us = LEAVING_US if self.stopped == LEAVING else STOPPING_US
        self.shut_down(self._service, self._ended, within_us)

    def _ended(self) -> None:
        self.end()
        self.world.stopped(self, self.stopped)

    # -- who looks on -----------------------------------------------------------

    def said(self, end: End, message: Message) -> None:
        self.world.chronicle.saying(self, end, message)
        super().said(end, message)

    def turned(self) -> None:
        if not self.is_alive:
            return
        if self.history.state is not self._state:
            self._state = self.history.state
            self.world.chronicle.installed(self, self._state)
        self.world.chronicle.turned(self)

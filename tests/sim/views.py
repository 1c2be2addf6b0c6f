"""
The view service's process: the real rules, and a disk that outlives it.

Remembered before told: what changed is written before anything is sent, and a
crash may come between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.sim.agenda import MS
from tests.sim.network import End
from tests.sim.process import Process
from viewservice.memory import Memory
from viewservice.roster import Roster
from viewservice.views import Views
from wire.messages import (
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Message,
    Ping,
    Watch,
)

if TYPE_CHECKING:
    from tests.sim.world import World


class ViewsProcess(Process):
    """One life of the view service."""

    role = VIEW_SERVICE

    def __init__(self, world: World) -> None:
        super().__init__(world, "views")
        settings = world.settings
        roster = Roster(settings.dead_pings)
        options = {"backups_max": settings.backups, "strict": settings.strict}
        if world.disk:
            memory = msgspec.msgpack.decode(world.disk, type=Memory)
            self.views = Views.recalled(memory, roster, **options)
        else:
            cluster = world.random.randbytes(16)
            self.views = Views(cluster, roster, **options)
        self._memory = self.views.memory()
        #: Everybody who is connected, and who of them hears of new views.
        self._servers: dict[int, End] = {}
        self._watchers: dict[int, End] = {}
        #: The view as it was last pushed, and whose ping was asked for.
        self._view = self.views.view
        self._asked: set[int] = set()
        self._due_ms = 0
        world.network.listeners["views"] = self
        self._await_tick()

    def hello(self) -> Hello:
        views, settings = self.views, self.world.settings
        return Hello(
            *(VERSION, VIEW_SERVICE, views.cluster if views.view.number else b""),
            views.view.number,
            ping_interval_ms=settings.interval_us // MS,
            dead_pings=settings.dead_pings,
        )

    def link_opened(self, link: End) -> Goodbye | None:
        refusal = self.views.greeted(link.hello)
        if self._remember() and refusal is None and link.hello.role == SERVER:
            self._servers[link.id] = link
        return refusal

    def received(self, link: End, message: Message) -> None:
        if isinstance(message, Watch):
            self._watchers[link.id] = link
            link.send(self.views.view_is())
            return
        assert isinstance(message, Ping)
        self.world.chronicle.pinged(message)
        answer = self.views.ping(link.id, message)
        if not isinstance(answer, Goodbye):
            self._follow(link, message.serial)
        elif self._remember():
            link.goodbye(answer.reason, answer.text)

    def link_closed(self, link: End, reason: str) -> None:  # noqa: ARG002
        self._watchers.pop(link.id, None)
        if self._servers.pop(link.id, None) is not None:
            self.views.disconnected(link.id)
            self._follow()

    def _follow(self, asker: End | None = None, serial: int = 0) -> None:
        """Remember what has changed, then tell it."""
        if not self._remember():
            return
        if asker is not None:
            asker.send(self.views.view_is(serial))
        due = {server.link for server in self.views.due()}
        if self.views.view is not self._view:
            self._view = self.views.view
            for link in (*self._servers.values(), *self._watchers.values()):
                if link is not asker:
                    link.send(self.views.view_is())
        else:
            for number in sorted(due - self._asked):
                if number in self._servers:
                    self._servers[number].send(self.views.view_is())
        self._asked = due

    def _fire(self) -> None:
        late_ms = self.now_ms() - self._due_ms
        interval_ms = self.world.settings.interval_us // MS
        if late_ms < interval_ms / 2:
            self._tick()
            return
        if late_ms >= 2 * interval_ms:
            self.views.paused()
        # What waits is read first; it came before this turn.
        self.later(0, self._tick)

    def _tick(self) -> None:
        self._await_tick()
        self.views.tick()
        self._follow()

    def _await_tick(self) -> None:
        interval_us = self.world.settings.interval_us
        self._due_ms = self.now_ms() + interval_us // MS
        self.later(interval_us, self._fire)

    def _remember(self) -> bool:
        """Write down what has changed -> False: the process ended right then."""
        memory = self.views.memory()
        self.world.chronicle.views(self.views)
        if memory == self._memory:
            return True
        self._memory = memory
        self.world.disk = msgspec.msgpack.encode(memory)
        if self.world.misfortune.strikes("views crash after writing"):
            self.world.crash_views()
            return False
        return True

"""
A server process: the real replica, in the shell that the real service is.

What `pbserver.service`, its pinger and its peers do with sockets is said again
here for the simulated network, and nothing is decided here that is not decided
there.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from pbserver.limits import Limits
from pbserver.primary import Primary
from pbserver.replica import Replica
from pbserver.sessions import Answer, Sessions
from pbserver.store import Store
from tests.sim.agenda import MS
from tests.sim.network import End
from tests.sim.process import Line, Process
from wire.messages import (
    CLERK,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Entry,
    Goodbye,
    Hello,
    Member,
    Message,
    Ping,
    ViewIs,
)

if TYPE_CHECKING:
    from tests.sim.world import World

VIEWS_ADDRESS: Final = "tcp:views:7400"
MACHINE: Final = "pbserver.store:Store"
NAME_PATIENCE: Final = 2
#: Why a server stops that was told to.
LEAVING: Final = "stopping"
#: How long it then waits for what it said to be read.
LEAVING_US: Final = 20 * MS
FATAL: Final = frozenset({"superseded", "version", "role", "machine", "protocol"})


class WatchedSessions(Sessions):
    """The real thing, with somebody who looks on."""

    server: ServerProcess

    def apply(self, entry: Entry) -> Answer | None:
        answer = super().apply(entry)
        self.server.world.chronicle.applied(self.server, self, entry, answer)
        return answer


class ServerProcess(Process):
    """One incarnation of one server."""

    role = SERVER

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.incarnation = world.random.getrandbits(64)
        self.member = Member(name, self.incarnation, f"tcp:{name}:7401")
        self.cluster = b""
        self.replica = Replica(self.member, self._fresh, Limits(**world.limits))
        self.history = self.replica.history
        self._state = self.history.state
        #: Everybody who asks.
        self._clerks: dict[End, None] = {}
        self._accepting = True
        self._flush_due = False
        self._view = self.replica.view
        self._pinger = _Pinger(self)
        self._peers: dict[Member, Line] = {}
        self.stopped = ""
        world.network.listeners[name] = self
        self._pinger.line.start()

    def _fresh(self) -> Sessions:
        sessions = WatchedSessions(Store(), **self.world.session_limits)
        sessions.server = self
        return sessions

    def leave(self) -> None:
        """Stop as an operator stops it: say so to everybody, then end."""
        self._pinger.ping(leaving=True)
        self.world.note(f"{self.name} leaves")
        network = self.world.network
        network.listeners.pop(self.host, None)
        for line in (self._pinger.line, *self._peers.values()):
            line.stop()
        for end in [each for each in network.ends.values() if each.process is self]:
            end.goodbye("stopping", "this server is stopping")
        self.later(LEAVING_US, functools.partial(self.stop, LEAVING))

    def stop(self, reason: str) -> None:
        """End the process, for that reason."""
        self.stopped = reason
        self.world.stopped(self, reason)
        self.end()

    def is_leading(self) -> bool:
        """Does it believe itself to be primary?"""
        return isinstance(self.replica.role, Primary)

    # -- an owner of links ----------------------------------------------------

    def hello(self) -> Hello:
        number = self.replica.view.number
        return Hello(VERSION, SERVER, self.cluster, number, self.member, MACHINE)

    def refusal(self, hello: Hello) -> Goodbye | None:
        """Why a caller has no business here, if so."""
        if hello.cluster and self.cluster and hello.cluster != self.cluster:
            return Goodbye("cluster", f"this is {self.cluster.hex()}")
        return None

    def link_opened(self, link: End) -> Goodbye | None:
        refusal = self.refusal(link.hello)
        if refusal is None and link.hello.role == CLERK:
            self._clerks[link] = None
            if not self._accepting:
                link.pause()
        return refusal

    def received(self, link: End, message: Message) -> None:
        self.changed()
        self.replica.receive(link, link.hello.member, message)

    def link_closed(self, link: End, reason: str) -> None:  # noqa: ARG002
        self._clerks.pop(link, None)
        self.replica.link_lost(link)
        self.changed()

    # -- once per turn --------------------------------------------------------

    def changed(self) -> None:
        """Flush when this turn of the reactor has told all."""
        if not self._flush_due:
            self._flush_due = True
            self.replica.clock(self.now_ms())
            self.later(self.world.random.choice((0, 0, 0, 200, 1000)), self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        replica = self.replica
        touched: dict[End, None] = {}
        for link, message in replica.flush():
            assert isinstance(link, End)
            self.world.chronicle.saying(self, link, message)
            if type(message) is Goodbye:
                link.goodbye(message.reason, message.text)
            else:
                link.queue(message)
                touched[link] = None
        for link in touched:
            link.flush()
        if replica.view is not self._view:
            self._view = replica.view
            self._follow()
        if replica.accepting != self._accepting:
            self._accepting = replica.accepting
            for link in self._clerks:
                if self._accepting:
                    link.resume()
                else:
                    link.pause()
        if self.history.state is not self._state:
            self._state = self.history.state
            self.world.chronicle.installed(self, self._state)
        self.world.chronicle.turned(self)
        if replica.diverged is not None:
            self.stop(f"diverged: {replica.diverged}")
        elif replica.take_news():
            self._pinger.ping()

    def _follow(self) -> None:
        """Be connected to the replica's peers, and to nobody else."""
        wanted = self.replica.peers
        for member in [each for each in self._peers if each not in wanted]:
            self._peers.pop(member).stop()
        for member in wanted:
            if member not in self._peers:
                peer = _Peer(self, member)
                line = Line(self, peer, SERVER, member.address, 250 * MS)
                self._peers[member] = line
                line.start()


class _Peer:
    """The owner of the connection to one backup."""

    def __init__(self, server: ServerProcess, member: Member) -> None:
        self._server = server
        self._member = member

    def hello(self) -> Hello:
        return self._server.hello()

    def link_opened(self, link: End) -> Goodbye | None:
        if not self._member.is_same_copy(link.hello.member):
            return Goodbye("member", "another copy of the data answers there")
        if (refusal := self._server.refusal(link.hello)) is not None:
            return refusal
        self._server.changed()
        self._server.replica.link_made(self._member, link)
        return None

    def received(self, link: End, message: Message) -> None:
        self._server.received(link, message)

    def link_closed(self, link: End, reason: str) -> None:  # noqa: ARG002
        self._server.replica.link_lost(link)
        self._server.changed()


class _Pinger:
    """The owner of the connection to the view service."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.line = Line(server, self, VIEW_SERVICE, VIEWS_ADDRESS, 500 * MS)
        self._serial = 0
        self._interval_us = 0
        self._heard_ms = 0
        self._name_in_use_since_ms: int | None = None

    def ping(self, *, leaving: bool = False) -> None:
        """Tell the view service what this server knows, now."""
        if (link := self.line.link) is None:
            return
        replica = self._server.replica
        self._serial += 1
        link.send(
            Ping(
                *(self._serial, self._server.member, replica.view.number),
                *(replica.synced, replica.unreachable, replica.report, leaving),
            )
        )

    def hello(self) -> Hello:
        return self._server.hello()

    def link_opened(self, link: End) -> Goodbye | None:
        if self._is_other_cluster(link.hello.cluster):
            return Goodbye("cluster", f"this is {self._server.cluster.hex()}")
        self._serial = 0
        self._heard_ms = self._server.now_ms()
        self._server.replica.dead_pings = max(3, link.hello.dead_pings)
        if not self._interval_us:
            self._interval_us = max(1, link.hello.ping_interval_ms) * MS
            self._server.later(self._interval_us, self._tick)
        self.ping()
        return None

    def received(self, link: End, message: Message) -> None:
        assert isinstance(message, ViewIs)
        if self._is_other_cluster(message.cluster):
            link.goodbye("cluster", f"this is {self._server.cluster.hex()}")
            return
        server = self._server
        server.cluster = message.cluster
        self._heard_ms = server.now_ms()
        self._name_in_use_since_ms = None
        server.changed()
        server.replica.on_view(message.view, acknowledged=message.acknowledged)
        if message.answers == 0:
            self.ping()

    def link_closed(self, link: End, reason: str) -> None:  # noqa: ARG002
        farewell = link.farewell
        if farewell is None:
            return
        if farewell.reason in FATAL:
            self._server.stop(f"{farewell.reason}: {farewell.text}")
        elif farewell.reason == "name in use":
            now_ms = self._server.now_ms()
            since_ms = self._name_in_use_since_ms
            if since_ms is None:
                since_ms = self._name_in_use_since_ms = now_ms
            if now_ms - since_ms > NAME_PATIENCE * self._dead_ms:
                self._server.stop(f"name in use: {farewell.text}")

    @property
    def _dead_ms(self) -> int:
        return self._server.replica.dead_pings * self._interval_us // MS

    def _is_other_cluster(self, cluster: bytes) -> bool:
        return bool(cluster and self._server.cluster) and (
            cluster != self._server.cluster
        )

    def _tick(self) -> None:
        server = self._server
        server.later(self._interval_us, self._tick)
        server.changed()
        server.replica.clock(server.now_ms())
        server.replica.tick()
        if self.line.link and server.now_ms() - self._heard_ms > self._dead_ms:
            self._heard_ms = server.now_ms()
            self.line.redial()
        else:
            self.ping()

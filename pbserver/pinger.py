"""
The standing connection to the view service: pings out, views in.

Twisted, and thin: what a ping says comes from the replica, what an answer means
goes to it.  An unasked-for view is answered by a ping, so that a change which
waits for this server's ping waits a round trip and not an interval
(docs/design.md, section 4).

A ping goes out at the end of a turn, after the work that it reports.  A process
whose turns do not end does not ping, and is found dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall

from pbserver.departure import Registration
from pbserver.progress import Progress
from pbserver.replica import Replica
from wire.fail_stop import guard
from wire.links import Dialler, Link
from wire.logs import get_logger
from wire.margin import REDIAL_S, margin_ticks
from wire.messages import (
    SERVER,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Member,
    Message,
    Ping,
    ViewIs,
)
from wire.survey import Survey

#: A server that finds its name in use tries again for so many times the time
#: in which a dead holder of the name would be found out.
NAME_PATIENCE: Final = 2.0
#: After this many seconds without a view service that has accepted this server,
#: the log says what to do.
UNREACHABLE_S: Final = 10.0

#: Farewells after which there is no use in calling again.
FATAL: Final = frozenset({"superseded", "version", "role", "machine"})

_log = get_logger("pbserver.pinger")


class Server(Protocol):
    """What a pinger needs of the server that it pings for."""

    replica: Replica
    cluster: bytes

    def hello(self) -> Hello:
        """What to say first."""

    def member(self) -> Member:
        """Who this server is, and the address that it publishes."""

    def connects_from(self, near: str) -> None:
        """*near* is this host's address on the way to the view service."""

    def view_service_at(self, far: str) -> None:
        """The view service has answered at that address."""

    #: How many turns have ended.
    turns: int

    def changed(self) -> None:
        """The replica was told something."""

    @property
    def is_flush_due(self) -> bool:
        """Has the replica received input in a turn that has not ended?"""

    def stop(self, reason: str) -> None:
        """End the process, for that reason."""


class Pinger:
    """Pings, ticks, and hands over the views that come back."""

    def __init__(
        self, server: Server, addresses: Sequence[str], reactor: Any, random: Random
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._dialler = Dialler(
            self,
            SERVER,
            VIEW_SERVICE,
            addresses,
            reactor,
            random,
            delay_max_s=REDIAL_S,
        )
        self._interval = LoopingCall(guard(self._tick))
        self._interval.clock = reactor
        self._interval_s = 0.0
        self._serial = 0
        #: Is a ping to go out when this turn ends?
        self.is_due = False
        self._progress = Progress()
        #: When the last interval ended.
        self._ticked_s = 0.0
        #: When the last ping that has an answer was answered, or the link made.
        self._heard_s = 0.0
        self._name_in_use_since_s: float | None = None
        self._addresses = tuple(addresses)
        self._survey = Survey(addresses, reactor, random, self._surveyed)
        #: Runs while no view service has accepted this server.
        self._missing: IDelayedCall | None = None
        #: Does each ping say that this server is leaving?
        self._leaving = False
        #: The serial of the first one on this connection that did.
        self._left: int | None = None
        #: Was it answered, on this connection or an earlier one?
        self.is_left = False
        self._view_service_stopped = False
        #: The newest view of which it was said that it is acknowledged.
        self._acknowledged = 0
        #: Until then the view service that this server is connected to may be in
        #: its margin: it began to listen before it answered, and has not been seen
        #: to create a view.
        self._margin_ends_s = 0.0

    @property
    def interval_s(self) -> float:
        """The ping interval in seconds; 0 until the view service was reached."""
        return self._interval_s

    @property
    def registration(self) -> Registration:
        """How the connection to the view service stands."""
        if self._dialler.link is not None:
            return Registration.CONNECTED
        stopped = self._view_service_stopped
        return Registration.STOPPED if stopped else Registration.LOST

    @property
    def is_acknowledged(self) -> bool:
        """Has the view service said that the newest view is acknowledged?"""
        return self._acknowledged == self._server.replica.view.number

    @property
    def is_in_margin(self) -> bool:
        """May the view service be in its margin, in which it creates no view?"""
        return bool(self._reactor.seconds() < self._margin_ends_s)

    def start(self) -> None:
        """Dial the view service, for ever."""
        self._missing = self._reactor.callLater(UNREACHABLE_S, self._missed)
        self._dialler.start()

    def stop(self) -> Deferred[None]:
        """Say that this server is leaving, and stop."""
        self._leaving = True
        self.send()
        if self._interval.running:
            self._interval.stop()
        self._found()
        stopping = DeferredList([self._survey.stop(), self._dialler.stop()])
        return stopping.addCallback(lambda _: None)

    def leave(self, *, leaving: bool) -> None:
        """Ping as leaving from now on, or take that back.  The view service replaces
        a server that is leaving as if it were dead."""
        if leaving != self._leaving:
            self._leaving, self._left, self.is_left = leaving, None, False
            self.ping()

    def ping(self) -> None:
        """Tell the view service what this server knows, at the end of this turn."""
        self.is_due = True
        self._server.changed()

    def send(self) -> None:
        """Tell it now."""
        self.is_due = False
        link = self._dialler.link
        if link is None:
            return
        replica = self._server.replica
        self._serial += 1
        if self._leaving and self._left is None:
            self._left = self._serial
        link.send(
            Ping(
                self._serial,
                self._server.member(),
                replica.view.number,
                replica.synced,
                replica.unreachable,
                replica.report,
                self._leaving,
                self._progress.count,
            )
        )

    # -- an owner of links ---------------------------------------------------

    def hello(self) -> Hello:
        """What to say first, on the connection that was just made."""
        self._server.connects_from(self._dialler.near_host)
        return self._server.hello()

    def link_opened(self, link: Link) -> Goodbye | None:
        """The view service has answered."""
        hello = link.hello
        if self._is_other_cluster(hello.cluster):
            return self._other_cluster(link, hello.cluster)
        self._found()
        self._server.view_service_at(link.far_host)
        self._serial, self._left = 0, None
        self._view_service_stopped = False
        self._heard_s = self._reactor.seconds()
        self._server.replica.dead_pings = max(3, hello.dead_pings)
        interval_ms = max(1, hello.ping_interval_ms)
        interval_s = interval_ms / 1000
        margin_s = margin_ticks(interval_ms, hello.dead_pings) * interval_s
        self._margin_ends_s = self._heard_s + margin_s
        if interval_s != self._interval_s or not self._interval.running:
            self._interval_s = interval_s
            if self._interval.running:
                self._interval.stop()
            self._ticked_s = self._reactor.seconds()
            self._interval.start(interval_s, now=False)
        self.ping()
        return None

    def received(self, link: Link, message: Message) -> None:
        """A view has come, asked for or not."""
        if not isinstance(message, ViewIs):
            return
        refusal: Goodbye | None
        if self._is_other_cluster(message.cluster):
            refusal = self._other_cluster(link, message.cluster)
            link.goodbye(refusal.reason, refusal.text)
            return
        if message.view.number > 0:
            # Before the first view it may be one that has lost its memory, and
            # nothing belongs to its cluster yet.
            self._server.cluster = message.cluster
            self._survey.begin(self._dialler.address)
        self._heard_s = self._reactor.seconds()
        if message.view.number != link.hello.number:
            self._margin_ends_s = 0.0
        self._name_in_use_since_s = None
        replica = self._server.replica
        refusal = replica.on_view(message.view, acknowledged=message.acknowledged)
        if message.acknowledged:
            self._acknowledged = message.view.number
        self._server.changed()
        if refusal is not None:
            # Its next Hello shows the view that this server is in.
            link.goodbye(refusal.reason, refusal.text)
            return
        if self._left is not None and message.answers >= self._left:
            self.is_left = True
        if message.answers == 0:
            self.ping()

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        """The view service is gone, or has sent us away."""
        if self._interval.running:
            self._missing = self._reactor.callLater(UNREACHABLE_S, self._missed)
        farewell = link.farewell
        if farewell is None:
            return
        self._view_service_stopped = farewell.reason == "stopping"
        if farewell.reason in FATAL:
            self._server.stop(f"{farewell.reason}: {farewell.text}")
        elif farewell.reason == "name in use":
            now_s = self._reactor.seconds()
            if self._name_in_use_since_s is None:
                self._name_in_use_since_s = now_s
            dead_s = self._server.replica.dead_pings * self._interval_s
            if now_s - self._name_in_use_since_s > NAME_PATIENCE * dead_s:
                self._server.stop(f"name in use: {farewell.text}")

    # -- time ----------------------------------------------------------------

    def _tick(self) -> None:
        replica, now_s = self._server.replica, self._reactor.seconds()
        replica.clock(int(now_s * 1000))
        replica.tick()
        late_s = now_s - self._ticked_s - self._interval_s
        self._ticked_s = now_s
        self._progress.tick(
            late_s / (replica.dead_pings * self._interval_s),
            unhandled=self._server.is_flush_due,
            turns=self._server.turns,
            behind=replica.is_behind,
            work=replica.work,
        )
        silent_s = now_s - self._heard_s
        if self._dialler.link and silent_s > replica.dead_pings * self._interval_s:
            _log.warning("view_service.silent", silent_s=round(silent_s, 3))
            self._heard_s = self._reactor.seconds()
            self._dialler.redial()
        else:
            self.ping()
        self._server.changed()

    def _found(self) -> None:
        if self._missing is not None:
            self._missing.cancel()
            self._missing = None

    def _missed(self) -> None:
        self._missing = None
        where = " or ".join(self._addresses)
        _log.warning(
            "view_service.missing",
            addresses=list(self._addresses),
            text=f"no view service at {where} has accepted this server for "
            f"{UNREACHABLE_S:g} s. If it has moved, make one of these addresses lead "
            "to it again, by its name's address or a forwarded port: other --views "
            "need a restart, which empties this server",
        )

    def _surveyed(self, address: str, cluster: bytes) -> None:
        """What is at another address of --views."""
        if self._is_other_cluster(cluster):
            ours = self._server.cluster.hex()
            _log.warning(
                "views.mixed",
                address=address,
                cluster=cluster.hex(),
                text=f"--views has addresses of two clusters: {address} is of "
                f"{cluster.hex()}, and this server is of {ours}; give every server and "
                "clerk addresses of one cluster only",
            )

    def _is_other_cluster(self, cluster: bytes) -> bool:
        return bool(cluster and self._server.cluster) and (
            cluster != self._server.cluster
        )

    def _other_cluster(self, link: Link, cluster: bytes) -> Goodbye:
        ours = self._server.cluster
        text = (
            f"the view service at {link.peer} is of cluster {cluster.hex()}, this"
            f" server is of {ours.hex()}; restart the server if it is to join that one"
        )
        if len(self._addresses) > 1:
            text += ", and give it --views of one cluster only"
        return Goodbye("cluster", text)

"""
The view service's process: sockets, ticks and the state file.

Twisted, and thin.  Every ping goes to `Views.ping`, every interval to
`Views.tick`; what follows from it is first remembered, then told: to whoever
asked, to every server, to whoever watches (``docs/design.md``, section 4).  No
rule about views is here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from viewservice import reach, status
from viewservice.complaints import Complaints
from viewservice.memory import Memory
from viewservice.options import DEFAULT_STATE, Options, Settings
from viewservice.refusals import Refusals
from viewservice.roster import Roster
from viewservice.state_file import StateError, StateFile, Storage, Volatile
from viewservice.ticker import Ticker
from viewservice.views import Views
from wire.codec import ProtocolError
from wire.daemon import begin, failing, places, turn_end
from wire.fail_stop import guard
from wire.links import Link, Listener
from wire.logs import Logged, get_logger, heed_sigusr1, lines_for
from wire.messages import (
    CLERK,
    OBSERVER,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Member,
    Message,
    Ping,
    Report,
    Status,
    StatusIs,
    Unreachable,
    View,
    Watch,
    counter_of,
)
from wire.seldom import Few

#: How `status` calls a caller that is no server, by its role.
_WHO: Final = {CLERK: "a clerk", OBSERVER: "an observer"}

_log = get_logger("viewservice.service")


class ViewService(Logged, Service):
    """A running view service; the owner of all links to it.

    It remembers in *storage*; *fail* is called with the reason when this process
    cannot go on; *now* is the time of day, which people are told and nothing
    depends on.
    """

    #: All rules, and all that is known; from `startService` on.
    views: Views

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        reactor: Any,
        random: Random,
        fail: Callable[[str], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._reactor = reactor
        self._random = random
        self._end = fail
        self._now = now
        self._listener = Listener(self, VIEW_SERVICE, reactor, places=settings.places)
        self._ticker = Ticker(
            settings.ping_interval_ms / 1000, self._tick, self._paused, reactor
        )
        #: The endpoint that it got, once it has one.
        self.endpoint = ""
        #: Every server's connection by `Link.id`, and whoever watches.
        self._servers: dict[int, Link] = {}
        self._watchers: dict[Link, None] = {}
        #: Links that have asked for the view, or for the status, in this turn.
        self._view_askers: dict[Link, None] = {}
        self._status_askers: dict[Link, None] = {}
        #: Links that have sent a ping in this turn, and the newest of those that came
        #: after it.
        self._pinged: dict[Link, Ping | None] = {}
        self._is_end_due = False
        self._at_turn_end = turn_end(reactor)
        #: Clerks and observers that are connected.
        self._others: dict[Link, None] = {}
        #: What each server last told of itself.
        self._reports: dict[str, Report] = {}
        #: Who was turned away.
        self._refusals = Refusals()
        #: Which servers clerks cannot reach.
        self._complaints = Complaints()
        #: What was told to servers and to the log.
        self._view = View()
        self._acknowledged = False
        self._lost = ""
        self._alive: set[str] = set()
        #: What the log was told of servers that were never in a view.
        self._passing = Few()
        #: What was last remembered.
        self._remembered: Memory | None = None
        #: Links whose next ping makes a view, and who have been asked for it.
        self._asked: set[int] = set()
        #: What was decided could not be remembered, so it must not be told.
        self._failed = False

    # -- starting and stopping ------------------------------------------------------

    def startService(self) -> None:
        """Remember, then listen."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            self._storage.open()
            self.views = self._recall()
            self._storage.save(self.views.memory())
        except StateError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"cannot write {self._storage.path}: {error.strerror}")
        else:
            self._view = self.views.view
            self._acknowledged = self.views.acknowledged
            self._alive = set(self.views.servers)
            listening = self._listener.listen(self._settings.listen)
            listening.addCallbacks(self._listening, self._not_listening)

    def _recall(self) -> Views:
        settings = self._settings
        roster = Roster(settings.dead_pings)
        limits: dict[str, Any] = {
            "backups_max": settings.backups_max,
            "strict": settings.strict,
            "margin_ticks": settings.margin_ticks,
        }
        if settings.new_cluster:
            aside = self._storage.set_aside(self._now())
            if aside is not None:
                _log.warning("state.set_aside", path=str(aside))
        else:
            memory = self._storage.load()
            if memory is not None:
                return Views.recalled(memory, roster, **limits)
        cluster = self._random.randbytes(16)
        return Views(cluster, roster, new_cluster=settings.new_cluster, **limits)

    def _listening(self, endpoint: str) -> None:
        self.endpoint = endpoint
        view = self.views.view
        _log.info(
            "listening",
            endpoint=endpoint,
            cluster=self.views.cluster.hex(),
            number=view.counter,
            primary=view.primary and view.primary.name,
            state=self._storage.path and str(self._storage.path),
        )
        self._ticker.start()

    def _not_listening(self, failure: Failure) -> None:
        listen = self._settings.listen
        self._fail(f"cannot listen on {listen}: {failure.getErrorMessage()}")

    def _fail(self, text: str) -> None:
        self._failed = True
        self._ticker.stop()
        self._end(text)

    def stopService(self) -> Deferred[None]:
        """Say Goodbye to all, and let go of the state file."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._ticker.stop()
        closed = self._listener.close("the view service is stopping")
        return closed.addCallback(lambda _: self._storage.close())

    # -- an owner of links ----------------------------------------------------------

    def hello(self) -> Hello:
        """What to say first.  The cluster is named only once there is something
        that belongs to it: before, this may be one that has lost its memory,
        and nobody should keep its name."""
        views = self.views
        return Hello(
            VERSION,
            VIEW_SERVICE,
            views.cluster if views.view.number else b"",
            views.view.number,
            ping_interval_ms=self._settings.ping_interval_ms,
            dead_pings=self._settings.dead_pings,
        )

    def link_opened(self, link: Link) -> Goodbye | None:
        """Somebody calls."""
        refusal = self.views.greeted(link.hello)
        if not self._remember():
            return Goodbye("stopping", "the view service cannot write its state")
        if refusal is not None:
            self._refuse(link, link.hello.member, refusal)
        elif link.hello.role == SERVER:
            self._servers[link.id] = link
        else:
            self._others[link] = None
        return refusal

    def _refuse(self, link: Link, member: Member | None, goodbye: Goodbye) -> None:
        now_s = self._reactor.seconds()
        self._refusals.add(now_s, member, goodbye, link.far_host)

    def received(self, link: Link, message: Message) -> None:
        """A message has come; what may come is in `wire.messages.SAYS`."""
        if self._failed:
            return
        if isinstance(message, Ping):
            self._check(link, message)
            if link in self._pinged:
                # The newest says all that those before it said.
                self._pinged[link] = message
            else:
                self._pinged[link] = None
                self._await_end()
                self._on_ping(link, message)
        elif isinstance(message, Watch):
            self._watchers[link] = None
            self._ask(self._view_askers, link)
        elif isinstance(message, Unreachable):
            now_s = self._reactor.seconds()
            if message.name not in self.views.servers:
                return
            if self._complaints.add(now_s, link.id, message.name):
                _log.warning("clerks.cut_off", name=message.name, clerk=link.peer)
        elif isinstance(message, Status):
            self._ask(self._status_askers, link)

    def _ask(self, askers: dict[Link, None], link: Link) -> None:
        """Answer when this turn ends: once for each link, and with one document for
        all, however often they have asked in it."""
        self._await_end()
        askers[link] = None

    def _await_end(self) -> None:
        if not self._is_end_due:
            self._is_end_due = True
            self._at_turn_end(self._end_turn)

    @guard
    def _end_turn(self) -> None:
        """Take in and answer what has waited for all that came in this turn."""
        self._is_end_due = False
        pinged, self._pinged = self._pinged, {}
        for link, ping in pinged.items():
            if ping is not None and not self._failed:
                self._on_ping(link, ping)
        view_askers, status_askers = [*self._view_askers], [*self._status_askers]
        self._view_askers.clear()
        self._status_askers.clear()
        if self._failed:
            return
        view_is = self.views.view_is()
        for link in view_askers:
            link.send(view_is)
        if status_askers:
            document = StatusIs(self._document())
            for link in status_askers:
                link.send(document)

    def _document(self) -> bytes:
        servers = {
            name: reach.caller(name, link.far_host, link.near_host)
            for name, server in self.views.servers.items()
            if (link := self._servers.get(server.link)) is not None
        }
        others = tuple(
            reach.caller(_WHO[link.hello.role], link.far_host, link.near_host)
            for link in self._others
        )
        now_s = self._reactor.seconds()
        return status.document(
            self.views,
            self._reports,
            self._settings.ping_interval_ms,
            self._refusals.lately(now_s),
            reach.Callers(servers, others),
            complaints=self._complaints.counts(now_s),
        )

    def link_closed(self, link: Link, reason: str) -> None:
        """A caller is gone."""
        if (ping := self._pinged.pop(link, None)) is not None and not self._failed:
            self._on_ping(link, ping)
        self._watchers.pop(link, None)
        self._complaints.gone(self._reactor.seconds(), link.id)
        self._others.pop(link, None)
        if self._servers.pop(link.id, None) is not None:
            _log.debug("server.disconnected", peer=link.peer, reason=reason)
            farewell = link.farewell
            stopped = farewell is not None and farewell.reason == "stopping"
            self.views.disconnected(link.id, stopped=stopped)
            self._follow()

    def _on_ping(self, link: Link, ping: Ping) -> None:
        bits = self._random.getrandbits(32)
        answer = self.views.ping(link.id, ping, bits, link.hello.machine)
        if isinstance(answer, Goodbye):
            if self._remember():
                self._refuse(link, ping.member, answer)
                link.goodbye(answer.reason, answer.text)
            return
        # Any process can say that it is a server.
        link.is_patient = not self.views.roster.has_served(ping.member)
        self._refusals.drop(ping.member)
        self._reports[ping.member.name] = ping.report
        self._tell_life(ping.member.name)
        self._follow(link, ping.serial)

    def _check(self, link: Link, ping: Ping) -> None:
        """A connection speaks for one server, at an address that can be dialled, and
        of views of the cluster that it has named."""
        member, cluster = link.hello.member, link.hello.cluster
        if ping.member != member:
            # Each change would be persisted; a server that has moved reconnects.
            raise ProtocolError(
                "protocol",
                f"a ping of {ping.member.name} at {ping.member.address}, which its "
                "Hello did not name",
            )
        if not cluster and not self.views.knows(ping.number):
            raise ProtocolError(
                "protocol",
                f"a ping names view {counter_of(ping.number)}, which is not known "
                "here, and its Hello names no cluster",
            )

    # -- time -------------------------------------------------------------------------

    def _tick(self) -> None:
        self.views.tick()
        for name in (*self._alive.difference(self.views.servers), *self.views.servers):
            self._tell_life(name)
        if count := self._passing.take_missed(self._reactor.seconds()):
            text = "of servers that were never in a view; status shows who is here"
            _log.warning("servers.unlogged", count=count, text=text)
        self._follow()

    def _paused(self, late_s: float) -> None:
        _log.warning("tick.delayed", late_ms=round(late_s * 1000))
        self.views.paused()

    # -- what follows from any news -------------------------------------------------

    def _follow(self, asker: Link | None = None, serial: int = 0) -> None:
        """Remember what has changed; then tell whoever asked, and all servers,
        and all who watch; or ask those for a ping whose ping is now needed."""
        moved = self.views.view.number != self._view.number
        if moved:
            self.views.stamp(self._now().isoformat(timespec="milliseconds"))
        if not self._remember():
            return
        self._tell_log()
        if asker is not None:
            asker.send(self.views.view_is(serial))
        due = [server.link for server in self.views.due()]
        if moved:
            push = self.views.view_is()
            for link in (*self._servers.values(), *self._watchers):
                if link is not asker:
                    link.send(push)
        else:
            for number in due:
                if number not in self._asked and number in self._servers:
                    self._servers[number].send(self.views.view_is())
        self._asked = set(due)

    def _remember(self) -> bool:
        """Have on disk what has changed; False if that is not possible, and then
        nothing may be told any more."""
        if self._failed:
            return False
        memory = self.views.memory()
        if memory is not self._remembered:
            try:
                self._storage.save(memory)
            except OSError as error:
                self._fail(f"cannot write {self._storage.path}: {error.strerror}")
                return False
            self._remembered = memory
        if self.views.lost and not self._lost:
            _log.critical("memory.lost", text=self.views.lost)
        self._lost = self.views.lost
        return True

    def _tell_life(self, name: str) -> None:
        """Log it if that server has come or gone."""
        server = self.views.servers.get(name)
        is_alive = server is not None and not server.is_dead(self._settings.dead_pings)
        if is_alive == (name in self._alive):
            return
        # A process that never serves can take ever new names.
        served = server is not None and server.served
        is_told = served or self._passing.is_due(self._reactor.seconds())
        if server is not None and is_alive:
            self._alive.add(name)
            if is_told:
                member = server.member
                incarnation = f"{member.incarnation:016x}"
                at = member.address
                _log.info("server.found", name=name, incarnation=incarnation, at=at)
            return
        self._alive.remove(name)
        if is_told:
            code, evidence = server.evidence() if server else ("forgotten", "")
            _log.warning("server.died", name=name, code=code, evidence=evidence)
        if server is None:
            self._reports.pop(name, None)

    def _tell_log(self) -> None:
        views = self.views
        if views.view is not self._view:
            self._view, self._acknowledged = views.view, False
            change = views.history[-1]
            _log.info(
                "view.made",
                cluster=views.cluster.hex(),
                number=change.number,
                id=f"{views.view.number:016x}",
                primary=change.primary,
                backups=list(change.backups),
                causes=[f"{c.server}: {c.code} ({c.evidence})" for c in change.causes],
            )
        if views.acknowledged and not self._acknowledged:
            self._acknowledged = True
            _log.info("view.acknowledged", number=views.view.counter)


def makeService(options: Options) -> ViewService:
    """What ``twistd viewservice`` runs."""
    from twisted.internet import reactor  # noqa: PLC0415 -- importing installs it

    begin(reactor)
    state = None if options["volatile"] else options["state"] or DEFAULT_STATE
    settings = Settings(
        listen=options["listen"],
        ping_interval_ms=options["ping-interval-ms"],
        dead_pings=options["dead-pings"],
        backups_max=options["backups"],
        strict=options["ack-gate"] == "strict",
        new_cluster=bool(options["new-cluster"]),
        places=places(options["connections"], options["connections-per-address"]),
    )
    storage = Volatile() if state is None else StateFile(state)
    end = failing(reactor, options)
    service = ViewService(settings, storage, reactor, SystemRandom(), end)
    service.lines = lines_for(options)
    heed_sigusr1(reactor, service.lines)
    return service


__all__ = ["Options", "Settings", "ViewService", "makeService"]

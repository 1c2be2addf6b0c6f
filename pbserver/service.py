"""
The server's process: options, sockets, and what the replica has returned.

Twisted, and thin.  Every message goes to `Replica.receive`; once per reactor
turn `Replica.flush` says what is to be sent, and then this compares what the
replica wants (connections, pauses, pings) with what there is.  No rule of the
protocol is here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any, cast

from attrs import field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.python import usage

from pbserver import departure
from pbserver.advert import Advert, family_fault
from pbserver.backup import Backup
from pbserver.departure import Act, Departure, Standing
from pbserver.limits import Limits
from pbserver.loading import NoMachine, machine_factory
from pbserver.peers import Peers
from pbserver.pinger import Pinger
from pbserver.replica import Replica
from pbserver.sessions import Sessions
from pbserver.thread import in_thread
from pbserver.transfer import Job
from wire.addresses import normal_address
from wire.bounds import MACHINE_MAX, NAME_MAX
from wire.busy_poll import SPIN_US, SPIN_US_MAX
from wire.daemon import (
    CONNECTIONS_LIMIT,
    DaemonOptions,
    begin,
    check_endpoint,
    failing,
    on_next_stop,
    places,
    turn_end,
    whole_number,
)
from wire.fail_stop import guard
from wire.links import Link, Listener
from wire.listener import CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX, Places
from wire.logs import Logged, get_logger, heed_sigusr1, lines_for
from wire.messages import (
    CLERK,
    SERVER,
    VERSION,
    Goodbye,
    Hello,
    Member,
    Message,
    View,
)
from wire.seldom import Seldom

DEFAULT_VIEWS = "tcp:127.0.0.1:7400"
DEFAULT_MACHINE = "pbserver.store:Store"

ADVERTISE = (
    "where others reach it, tcp:HOST:PORT [default: where it listens; for a wildcard,"
    " this host's address on the way to the view service, and the port]"
)

PER_ADDRESS = "how many connections of each role are accepted from one address"
#: While it stops, a server checks this often whether it may end, in seconds.  A
#: shorter wait is not logged.
DEPARTURE_S = 0.1

SPINNING = "microseconds to look again before sleeping, if events come faster"

_log = get_logger("pbserver.service")


#: Whole numbers, and the least and the most that each may be.
_RANGES = {
    "connections": (1, CONNECTIONS_LIMIT),
    "connections-per-address": (1, CONNECTIONS_LIMIT),
    "spin-us": (0, SPIN_US_MAX),
}


class Options(DaemonOptions):
    """What an operator types after ``twistd pbserver``."""

    daemon = "pbserver"
    synopsis = "--name NAME --listen ENDPOINT [--views ADDRESS]... [options]"
    longdesc = (
        "One server of a replicated service. It finds its part (primary, backup,"
        " idle) by asking the view service. Its state is in memory only."
    )
    optFlags = [["verbose", None, "log every ignored message, too"]]  # noqa: RUF012
    optParameters = [  # noqa: RUF012 - as Twisted reads it
        ["name", "n", None, "the server's stable name, such as s1; one server each"],
        ["listen", "l", None, "where to listen, such as tcp:7401:interface=127.0.0.1"],
        ["advertise", "a", None, ADVERTISE],
        ["machine", "m", DEFAULT_MACHINE, "the state machine, package.module:factory"],
        ["connections", None, CONNECTIONS_MAX, "how many clerks may be connected"],
        ["connections-per-address", None, CONNECTIONS_PER_PEER_MAX, PER_ADDRESS],
        ["spin-us", None, SPIN_US, SPINNING],
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["views"] = []

    def opt_views(self, address: str) -> None:
        """the view service, repeatable [default: tcp:127.0.0.1:7400]"""
        self["views"].append(_address("--views", address))

    def postOptions(self) -> None:
        """Check what was typed, before anything is begun."""
        for option in ("name", "listen"):
            if not self[option]:
                raise usage.UsageError(f"--{option} is needed; see --help")
        name = self["name"]
        if len(name) > NAME_MAX or not name.isprintable() or name != name.strip():
            raise usage.UsageError(
                f"--name: {name!r} is no name; at most {NAME_MAX} printable characters"
                " are"
            )
        if len(self["machine"]) > MACHINE_MAX:
            raise usage.UsageError(
                f"--machine: {self['machine']!r} has more than {MACHINE_MAX} characters"
            )
        check_endpoint("--listen", self["listen"])
        for option, (least, most) in _RANGES.items():
            self[option] = whole_number(option, str(self[option]), least, most)
        if self["advertise"] is not None:
            self["advertise"] = _address("--advertise", self["advertise"])
            if text := family_fault(self["listen"], self["advertise"]):
                raise usage.UsageError(f"--advertise: {text}")
        self["views"] = self["views"] or [DEFAULT_VIEWS]


def _address(option: str, text: str) -> str:
    try:
        return normal_address(text)
    except ValueError as error:
        raise usage.UsageError(f"{option}: {error}") from None


#: Does that, which takes long and does not raise -> what it returns.
DoLong = Callable[[Callable[[], ValueError | None]], "Deferred[ValueError | None]"]


@frozen
class Settings:
    """What a server is told at its start."""

    name: str
    listen: str
    views: tuple[str, ...]
    #: Makes the state before the first entry.
    fresh: Callable[[], Sessions]
    machine: str = DEFAULT_MACHINE
    advertise: str | None = None
    limits: Limits = field(factory=Limits)
    places: Places = field(factory=Places)


class ServerService(Logged, Service):
    """A running server; an owner of the links that others make to it.

    *fail* is called with the reason when this process cannot go on.  While the
    service stops, *on_next_stop* is given what to call if it is told to stop again.
    *do_long* does what takes long without keeping the reactor, in a thread unless
    another way is given.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        random: Random,
        fail: Callable[[str], None],
        *,
        on_next_stop: Callable[[Callable[[], None]], None] = lambda _: None,
        do_long: DoLong | None = None,
    ) -> None:
        self._do_long = do_long or functools.partial(in_thread, reactor)
        self._settings = settings
        self._reactor = reactor
        self._end = fail
        self._on_next_stop = on_next_stop
        #: Learned from the view service, kept for this process's life.
        self.cluster = b""
        self._incarnation = random.getrandbits(64)
        self._advert = Advert(settings.advertise)
        self._is_doubt_told = False
        #: Observers can ask for a digest, and so for its error, as often as they like.
        self._faults_logged = Seldom()
        self.replica = Replica(
            Member(settings.name, self._incarnation, ""),
            settings.fresh,
            settings.limits,
        )
        self._listener = Listener(self, SERVER, reactor, places=settings.places)
        self._pinger = Pinger(self, settings.views, reactor, random)
        self._peers = Peers(self, reactor, random)
        #: Everybody who asks: paused while the replica takes nothing.
        self._clerks: dict[Link, None] = {}
        self._accepting = True
        self._flush_due = False
        self.turns = 0
        self._at_turn_end = turn_end(reactor)
        #: The view as it was last told to the log.
        self._view = View()
        #: This process cannot go on, so it must not wait when it stops.
        self._has_failed = False
        #: A stop that has begun, what ends the wait, and what was logged of it.
        self._departure: Departure | None = None
        self._departed: Deferred[None] | None = None
        self._told_awaited = ""

    # -- starting and stopping -----------------------------------------------

    def startService(self) -> None:
        """Listen, then call the view service."""
        super().startService()  # type: ignore[no-untyped-call]
        listening = self._listener.listen(self._settings.listen)
        listening.addCallbacks(self._listening, self._not_listening)

    def _listening(self, endpoint: str) -> None:
        _log.info(
            "listening",
            endpoint=endpoint,
            name=self._settings.name,
            incarnation=f"{self._incarnation:016x}",
            machine=self._settings.machine,
        )
        try:
            self._advert.listening(endpoint)
        except ValueError:
            text = f"{endpoint} is no address for others; say --advertise"
            self._fail(text)
            return
        self._pinger.start()

    def _not_listening(self, failure: Any) -> None:
        listen = self._settings.listen
        self._fail(f"cannot listen on {listen}: {failure.getErrorMessage()}")

    def stopService(self) -> Deferred[None]:
        """Continue to serve until this server may end (`pbserver.departure`), then
        close.  The view service is informed, so it need not detect it."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        self._departure = Departure(self._reactor.seconds())
        departed: Deferred[None] = Deferred()
        self._departed = departed
        self._on_next_stop(self._hurry)
        looking = LoopingCall(guard(self._depart))
        looking.clock = self._reactor
        looking.start(DEPARTURE_S)
        await departed
        looking.stop()
        closing: list[Deferred[Any]] = [
            self._pinger.stop(),
            self._peers.stop(),
            self._listener.close("this server is stopping"),
        ]
        await DeferredList(closing)

    def _hurry(self) -> None:
        """A second signal: end at once."""
        if self._departed is not None and self._departure is not None:
            _log.warning("stop.hurried", awaited=departure.awaited(self._standing()))
            self._departure.is_urgent = True
            self._depart()

    def _depart(self) -> None:
        """Go, or do what is needed before."""
        if self._departed is None or self._departure is None:
            return
        pinger, now_s = self._pinger, self._reactor.seconds()
        standing = self._standing()
        step = self._departure.step(
            now_s, standing, pinger.interval_s, self.replica.dead_pings
        )
        if step.act is Act.GO or self._has_failed:
            if step.abandons:
                text = departure.lost(standing)
                _log.critical("data.abandoned", entries=standing.entries, text=text)
            departed, self._departed = self._departed, None
            departed.callback(None)
            return
        if now_s - self._departure.since_s >= DEPARTURE_S:
            self._tell_awaited(standing)
        pinger.leave(leaving=step.act is Act.OFFER)

    def _standing(self) -> Standing:
        return departure.standing_of(
            self.replica,
            self._peers.stopped,
            self._pinger.registration,
            is_confirmed=self._pinger.is_left,
            is_in_margin=self._pinger.is_in_margin,
            is_acknowledged=self._pinger.is_acknowledged,
        )

    def _tell_awaited(self, standing: Standing) -> None:
        awaited = departure.awaited(standing)
        if awaited == self._told_awaited:
            return
        self._told_awaited = awaited
        _log.warning(
            "stop.delayed",
            awaited=awaited,
            entries=standing.entries,
            verified={each.name: each.verified for each in standing.backups},
            transfer_bytes=self.replica.report.transfer_bytes,
            seconds_max=departure.STOP_S_MAX,
            text="SIGTERM or SIGINT once more ends it at once",
        )

    def stop(self, reason: str) -> None:
        """This server must not go on."""
        self._fail(f"server {self._settings.name} stops: {reason}")

    def _fail(self, text: str) -> None:
        self._has_failed = True
        self._end(text)
        self._depart()

    # -- who this is ---------------------------------------------------------

    def member(self) -> Member:
        """Who this server is, and the address that it publishes."""
        address = self._advert.address
        return Member(self._settings.name, self._incarnation, address)

    def hello(self) -> Hello:
        """What to say first, to anybody."""
        return Hello(
            VERSION,
            SERVER,
            self.cluster,
            self.replica.view.number,
            self.member(),
            self._settings.machine,
        )

    def connects_from(self, near: str) -> None:
        """*near* is this host's address on the way to the view service."""
        self._advert.near = near

    def view_service_at(self, far: str) -> None:
        """The view service has answered at that address."""
        self._advert.far = far
        self._doubt_address()

    def _doubt_address(self) -> None:
        """Warn, once, if others cannot connect to what this server publishes."""
        if self._is_doubt_told:
            return
        if text := self._advert.doubt(self._view.members()):
            self._is_doubt_told = True
            _log.warning("address.doubted", address=self._advert.address, text=text)

    def refusal(self, hello: Hello) -> Goodbye | None:
        """Why whoever says this has no business here, if so."""
        if hello.cluster and self.cluster and hello.cluster != self.cluster:
            text = f"this is cluster {self.cluster.hex()}, not {hello.cluster.hex()}"
            return Goodbye("cluster", text)
        machine = self._settings.machine
        if hello.role == SERVER and hello.machine != machine:
            text = f"{machine} is replicated here, not {hello.machine or 'nothing'}"
            return Goodbye("machine", text)
        return None

    # -- an owner of links ---------------------------------------------------

    def link_opened(self, link: Link) -> Goodbye | None:
        """A clerk, an observer or a primary has called."""
        hello = link.hello
        refusal = self.refusal(hello)
        if hello.role == SERVER and not (self.cluster and hello.cluster):
            # A primary has a view and knows its cluster.  A view is adopted only
            # from within this server's own cluster, which the view service names.
            ours = self.cluster.hex() or "not known yet"
            text = f"the cluster here is {ours}, the caller's {hello.cluster.hex()!r}"
            refusal = Goodbye("cluster", text)
        if refusal is None and hello.role == SERVER and hello.member is not None:
            self.replica.called(hello.member)
        if refusal is None and hello.role == CLERK:
            self._clerks[link] = None
            if not self._accepting:
                link.pause()
        return refusal

    def received(self, link: Link, message: Message) -> None:
        """A message has come, from whoever it may come from."""
        if not self._flush_due:
            self.changed()
        self.replica.receive(link, link.hello.member, message)

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        """A caller is gone."""
        self._clerks.pop(link, None)
        self.replica.link_lost(link)

    # -- once per turn -------------------------------------------------------

    def changed(self) -> None:
        """The replica is being told something: look at it when this turn of the
        reactor has told all."""
        if not self._flush_due:
            self._flush_due = True
            self.replica.clock(int(self._reactor.seconds() * 1000))
            self._at_turn_end(self._flush)

    @guard
    def _flush(self) -> None:
        self._flush_due = False
        self.turns += 1
        replica = self.replica
        for messages in replica.flush():
            if messages:
                self._send(messages)
        for link, message, reason in replica.take_ignored():
            _log.debug(
                "message.ignored",
                message=type(message).__name__,
                peer=getattr(link, "peer", "?"),
                reason=reason,
            )
        if replica.faults:
            self._tell_faults(replica.faults)
        if replica.view.number != self._view.number:
            self._adopted(replica.view)
        if replica.is_behind:
            # Not at once: others are read from in between.
            self._reactor.callLater(0, self.changed)
        if replica.accepting != self._accepting:
            self._accept(accepting=replica.accepting)
        if isinstance(replica.role, Backup):
            self._look_after_backup()
        is_news = replica.take_news()
        if is_news and replica.synced:
            _log.info("backups.synced", names=list(replica.synced))
        if is_news or self._pinger.is_due:
            self._pinger.send()
        if self._departed is not None:
            self._depart()

    def _tell_faults(self, faults: list[str]) -> None:
        now_s, machine = self._reactor.seconds(), self._settings.machine
        for text in dict.fromkeys(faults):
            if self._faults_logged.is_due(text, now_s):
                _log.error("machine.failed", machine=machine, text=text)
        faults.clear()

    def _look_after_backup(self) -> None:
        if self.replica.diverged is not None:
            self._part(self.replica.diverged)
        if (text := self.replica.unable) is not None:
            self.stop(text)
        if (job := self.replica.take_job()) is not None:
            self._do_long(job.run).addCallback(self._finished, job)

    @guard
    def _finished(self, error: ValueError | None, job: Job) -> None:
        self.replica.finished(job, error)
        self.changed()

    @property
    def is_flush_due(self) -> bool:
        """Has the replica received input in a turn that has not ended?"""
        return self._flush_due

    def _send(self, messages: list[tuple[object, Message]]) -> None:
        """One write to each connection, however much there is to say on it."""
        if len(messages) == 1 and type(messages[0][1]) is not Goodbye:
            # Of most turns, and quickly done.
            link, message = cast("tuple[Link, Message]", messages[0])
            link.send(message)
            return
        #: What is held back of each connection: mostly it is all that there is, and
        #: need not be queued.  None: that was not all.
        held: dict[Link, Message | None] = {}
        for link, message in cast("list[tuple[Link, Message]]", messages):
            if link not in held and type(message) is not Goodbye:
                held[link] = message
                continue
            if (first := held.get(link)) is not None:
                link.queue(first)
            held[link] = None
            if type(message) is Goodbye:
                link.goodbye(message.reason, message.text)
            else:
                link.queue(message)
        for link, only in held.items():
            if only is None:
                link.flush()
            else:
                link.send(only)

    def _accept(self, *, accepting: bool) -> None:
        """Read from clerks, or do not."""
        self._accepting = accepting
        for link in self._clerks:
            if accepting:
                link.resume()
            else:
                link.pause()
        _log.debug("clerks.resumed" if accepting else "clerks.paused")

    def _part(self, text: str) -> None:
        """This copy differs from its primary's, and must never answer for it."""
        role = self.replica.role
        if isinstance(role, Backup) and isinstance(role.link, Link):
            role.link.goodbye("diverged", text)
        self.stop(f"diverged: {text}")

    def _adopted(self, view: View) -> None:
        self._view = view
        primary = view.primary
        role = self.replica.role
        _log.info(
            "view.adopted",
            cluster=self.cluster.hex(),
            number=view.counter,
            id=f"{view.number:016x}",
            primary=primary and primary.name,
            backups=[member.name for member in view.backups],
            holders=list(view.holders),
            role=type(role).__name__.lower() if role else "idle",
            commit=self.replica.history.commit,
            log=self.replica.history.log.end,
        )
        self._doubt_address()
        self._peers.look_up(view.members())
        self._peers.follow(self.replica.peers)


def makeService(options: Options) -> ServerService:
    """What ``twistd pbserver`` runs."""
    from twisted.internet import reactor  # noqa: PLC0415 - the only place that may

    try:
        factory = machine_factory(options["machine"])
    except NoMachine as error:
        sys.exit(f"twistd pbserver: --machine: {error}")
    begin(reactor, options["spin-us"])
    settings = Settings(
        options["name"],
        options["listen"],
        tuple(options["views"]),
        lambda: Sessions(factory()),
        options["machine"],
        options["advertise"],
        places=places(options["connections"], options["connections-per-address"]),
    )
    end = failing(reactor, options)
    service = ServerService(
        settings,
        reactor,
        SystemRandom(),
        end,
        on_next_stop=functools.partial(on_next_stop, reactor),
    )
    service.lines = lines_for(options, is_verbose=bool(options["verbose"]))
    heed_sigusr1(reactor, service.lines)
    return service

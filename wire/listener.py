"""
Being called: one listening port, and a limit to how many may call.

One port per process serves every role; what a caller is, its Hello says.  The law
here is that callers of one role never take the places of another: clerks cannot
keep out servers or `status`, and neither can callers that send no Hello at all.
Where a role has no place left, the caller that has been silent for longest gives
up its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Port

from wire.addresses import format_address
from wire.codec import Decoder, ProtocolError
from wire.link import Link, Owner
from wire.logs import get_logger
from wire.messages import CLERK, OBSERVER, SERVER, Goodbye
from wire.seldom import Seldom

#: How many clerks may be connected, and how many callers of each role from one
#: address.
CONNECTIONS_MAX: Final = 4096
CONNECTIONS_PER_PEER_MAX: Final = 1024

#: The same for the other roles: more than the servers that a view service knows,
#: and enough for every person who looks.
SERVER_CONNECTIONS_MAX: Final = 1024
OBSERVER_CONNECTIONS_MAX: Final = 256

#: How many callers may be connected that have not sent their Hello.  One more
#: takes the place of the oldest: an honest caller sends it with its first bytes.
STRANGERS_MAX: Final = 1024

#: A caller that was silent for so long, in seconds, gives up its place to a new one
#: if its role has none left.  It may come back, and is then not the most silent.
IDLE_S: Final = 2.0
#: And no more often than this, in seconds, in one role: a process that has lost its
#: place connects again at once, and would otherwise take the next one, and so on.
REPLACED_EVERY_S: Final = 0.1

#: The most that all callers together may leave in unfinished frames, in bytes;
#: past it the oldest of these frames ends its connection, if more than the second
#: figure is here of it.
UNFINISHED_BYTES_ALL_MAX: Final = 128 * 1024 * 1024
UNFINISHED_BYTES_FAIR: Final = 16 * 1024

#: The log has one line in so many seconds about a role that has no place left.
FILLED_EVERY_S: Final = 60.0

#: How many may wait to be taken in, unless the endpoint says ``backlog=``.  All
#: clerks call in the same moment after a failover, and whoever finds no room is
#: silent for a second before the kernel tries again.
BACKLOG: Final = 4096

#: How many of them are taken in at a time, about 0.1 ms each.
ACCEPTS_MAX: Final = 16

#: How many callers may at one time be told that there is no room; any more are
#: closed without a word.
REFUSED_MAX: Final = 64

#: The most that may wait to be sent to all callers together, in bytes; past it
#: those who leave much unread are aborted as they are sent more.
UNSENT_BYTES_ALL_MAX: Final = 512 * 1024 * 1024

_log = get_logger("wire.listener")


@frozen
class Places:
    """How many callers of each kind a listener takes."""

    clerks: int = CONNECTIONS_MAX
    #: Of each role.
    per_address: int = CONNECTIONS_PER_PEER_MAX
    servers: int = SERVER_CONNECTIONS_MAX
    observers: int = OBSERVER_CONNECTIONS_MAX
    strangers: int = STRANGERS_MAX

    def within(self, callers_max: int) -> Places:
        """As many of each kind, or fewer, so that there are *callers_max* in all:
        servers and strangers have a quarter each then, observers a sixteenth, and
        clerks the rest."""
        servers = max(1, min(self.servers, callers_max // 4))
        strangers = max(1, min(self.strangers, callers_max // 4))
        observers = max(1, min(self.observers, callers_max // 16))
        rest = max(1, callers_max - servers - strangers - observers)
        clerks = min(self.clerks, rest)
        return Places(clerks, self.per_address, servers, observers, strangers)


class Listener(ServerFactory):
    """Takes calls for an owner whose role is *role*."""

    noisy = False

    def __init__(
        self,
        owner: Owner,
        role: str,
        reactor: IReactorTime,
        *,
        hello_s: float = 5.0,
        places: Places | None = None,
    ) -> None:
        self._owner = owner
        self._role = role
        self._reactor = reactor
        self._hello_s = hello_s
        places = Places() if places is None else places
        self._places = {
            SERVER: places.servers,
            CLERK: places.clerks,
            OBSERVER: places.observers,
        }
        self._strangers_max = places.strangers
        self._per_peer_max = places.per_address
        self._ports: list[IListeningPort] = []
        #: Callers that have not sent their Hello -> their host, oldest first.
        self._strangers: dict[Link, str] = {}
        #: Role -> the callers that have a place -> their host.
        self._callers: dict[str, dict[Link, str]] = {role: {} for role in self._places}
        #: How many places a role has taken from one host.
        self._per_peer: dict[tuple[str, str], int] = {}
        #: Callers that have no place, until they are gone.
        self._refused: set[Link] = set()
        #: When the log was last told that a role is full.
        self._filled = Seldom(FILLED_EVERY_S)
        #: Which hosts broke the protocol lately, as the log was told.
        self._broken = Seldom()
        #: When a caller of a role last took the place of another.
        self._replaced_s: dict[str, float] = {}
        #: Callers that hold a frame whose end has not arrived -> how much of it,
        #: the oldest frame first; and the sum.
        self._unfinished: dict[Link, int] = {}
        self._unfinished_bytes = 0
        self._empty: Deferred[None] | None = None

    def listen(self, endpoint: str) -> Deferred[str]:
        """Listen on *endpoint*, any server endpoint string -> the endpoint it
        got, ``tcp:HOST:PORT``.  May be called for several.

        Fails with ValueError if the string makes no sense, and with
        `twisted.internet.error.CannotListenError` if the port is not to be had.
        """
        listening = maybeDeferred(self._listen, endpoint)
        return listening.addCallback(self._listening)

    def _listen(self, endpoint: str) -> Deferred[IListeningPort]:
        listening: Deferred[IListeningPort]
        if endpoint.startswith(("tcp:", "tcp6:")) and ":backlog=" not in endpoint:
            endpoint = f"{endpoint}:backlog={BACKLOG}"
        listening = serverFromString(self._reactor, endpoint).listen(self)
        return listening

    def _listening(self, port: IListeningPort) -> str:
        self._ports.append(port)
        if isinstance(port, Port):
            _bound_accepts(port)
        address = port.getHost()
        if isinstance(address, IPv4Address | IPv6Address):
            return format_address(address.host, address.port)
        return str(address)

    def close(self, text: str = "this process is stopping") -> Deferred[None]:
        """Take no more calls and say Goodbye to all; fires when all are gone."""
        ports, self._ports = self._ports, []
        stopped = [Deferred.fromCoroutine(_stop_listening(port)) for port in ports]
        for link in list(self._links()):
            link.goodbye("stopping", text)
        if not self._is_empty():
            if self._empty is None:
                self._empty = Deferred()
            gone: Deferred[None] = Deferred()
            self._empty.addCallback(lambda _: gone.callback(None))
            stopped.append(gone)
        done = DeferredList(stopped, fireOnOneErrback=True, consumeErrors=True)
        return done.addCallback(lambda _: None)

    # -- what Twisted and the links call ---------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> Link:
        """A link for a caller."""
        if len(self._strangers) >= self._strangers_max:
            self._tell_filled("stranger", "", self._strangers_max)
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            self._dismiss(oldest, f"{self._strangers_max} callers have sent no Hello")
        link = Link(
            self._owner,
            self,
            Decoder(None, self._role),
            self._reactor,
            dialled=False,
            hello_s=self._hello_s,
            tell_broken=self._tell_broken,
        )
        link.factory = self
        self._strangers[link] = getattr(addr, "host", str(addr))
        return link

    def admit(self, link: Link) -> Goodbye | None:
        """A caller has sent its Hello: it gets a place of its role, or none."""
        role, host = link.hello.role, self._strangers.pop(link)
        callers, key = self._callers[role], (role, host)
        have, places = self._per_peer.get(key, 0), self._places[role]
        rivals: list[Link] = []
        text = ""
        if have >= self._per_peer_max:
            rivals = [each for each, at in callers.items() if at == host]
            text = f"there are {have} connections of {role}s from {host} already"
        elif len(callers) >= places:
            rivals = list(callers)
            text = f"there are {places} connections of {role}s already"
        if text:
            self._tell_filled(role, host, len(rivals))
            now_s = self._reactor.seconds()
            idlest = min(rivals, key=lambda each: each.heard_s, default=None)
            if (
                idlest is None
                or now_s - idlest.heard_s < IDLE_S
                or now_s - self._replaced_s.get(role, 0.0) < REPLACED_EVERY_S
            ):
                self._dismiss(link, text)
                return Goodbye("full", text)
            self._replaced_s[role] = now_s
            self._leave(idlest)
            self._dismiss(idlest, f"{text}, and this one was silent for longest")
        link.is_patient = role != SERVER
        callers[link] = host
        self._per_peer[key] = self._per_peer.get(key, 0) + 1
        return None

    def _dismiss(self, link: Link, text: str) -> None:
        """A caller has no place, or has it no more."""
        is_crowd = len(self._refused) >= REFUSED_MAX
        self._refused.add(link)
        if is_crowd:
            link.abort()
        else:
            link.goodbye("full", text)

    def _leave(self, link: Link) -> None:
        """Take away a caller's place."""
        role = link.hello.role
        key = role, self._callers[role].pop(link)
        self._per_peer[key] -= 1
        if not self._per_peer[key]:
            del self._per_peer[key]

    def _tell_filled(self, role: str, host: str, count: int) -> None:
        # Not for each caller: they may be many, and try again.
        now_s = self._reactor.seconds()
        if self._filled.is_due(role, now_s):
            text = f"there are {count} connections of {role}s already"
            _log.warning("listener.filled", peer=host, text=text)

    def _tell_broken(self, link: Link, error: ProtocolError) -> None:
        # Once a minute for each host and reason: a caller can call at once again.
        event = link.far_host, error.reason
        is_due = self._broken.is_due(event, self._reactor.seconds())
        log = _log.warning if is_due else _log.debug
        log("link.broken", peer=link.peer, reason=error.reason, text=error.text)

    def unfinished(self, link: Link, length: int, *, is_new: bool) -> None:
        """A caller holds so much of a frame; if all hold too much, the one that
        has held it for longest loses its connection."""
        if is_new:
            self._unfinished_bytes -= self._unfinished.pop(link, 0)
        if length:
            self._unfinished_bytes += length - self._unfinished.get(link, 0)
            self._unfinished[link] = length
        while self._unfinished_bytes > UNFINISHED_BYTES_ALL_MAX:
            held = self._unfinished
            large = (each for each in held if held[each] > UNFINISHED_BYTES_FAIR)
            oldest = next(large, None) or next(iter(held))
            text = (
                f"{self._unfinished_bytes} bytes of unfinished frames are here, and "
                f"this one, of which {held[oldest]} are, was begun first"
            )
            self._tell_broken(oldest, ProtocolError("full", text))
            # It is taken out of `_unfinished` by that.
            oldest.goodbye("full", text)

    def _links(self) -> Iterable[Link]:
        """All callers that may send something."""
        yield from self._strangers
        for callers in self._callers.values():
            yield from callers

    def _is_empty(self) -> bool:
        return not (
            self._strangers or self._refused or any(map(len, self._callers.values()))
        )

    def opened(self, link: Link) -> None:
        """A link has opened."""

    def is_choking(self) -> bool:
        """Do all callers together leave too much unread?"""
        return sum(link.unsent_bytes for link in self._links()) > UNSENT_BYTES_ALL_MAX

    def closed(self, link: Link, reason: str) -> None:
        """A link is gone."""
        _log.debug("link.closed", peer=link.peer, reason=reason)
        if link in self._refused:
            self._refused.remove(link)
        elif link in self._strangers:
            del self._strangers[link]
        else:
            self._leave(link)
        if self._empty is not None and self._is_empty():
            empty, self._empty = self._empty, None
            empty.callback(None)


def _bound_accepts(port: Any) -> None:
    """Have *port* take in `ACCEPTS_MAX` callers at a time; Twisted takes in twenty
    more each time as long as there are more, and nothing else happens meanwhile."""
    read = port.doRead

    def read_few() -> Any:
        port.numberAccepts = min(port.numberAccepts, ACCEPTS_MAX)
        return read()

    port.doRead = read_few


async def _stop_listening(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping

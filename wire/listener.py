"""
Being called: one listening port, and a limit to how many may call.

One port per process serves every role; what a caller is, its Hello says.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.protocol import ServerFactory

from wire.addresses import format_address
from wire.codec import Decoder
from wire.link import Link, Owner
from wire.logs import get_logger
from wire.messages import Goodbye

#: How many callers there may be, and how many from one address.
CONNECTIONS_MAX: Final = 4096
CONNECTIONS_PER_PEER_MAX: Final = 1024

#: How many may wait to be taken in, unless the endpoint says ``backlog=``.  All
#: clerks call in the same moment after a failover, and whoever finds no room is
#: silent for a second before the kernel tries again.
BACKLOG: Final = 4096

#: How many callers may at one time be told that there is no room; any more are
#: closed without a word.
REFUSED_MAX: Final = 64

#: The most that may wait to be sent to all callers together, in bytes; past it
#: those who leave much unread are aborted as they are sent more.
UNSENT_BYTES_ALL_MAX: Final = 512 * 1024 * 1024

_log = get_logger("wire.listener")


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
        connections_max: int = CONNECTIONS_MAX,
        connections_per_peer_max: int = CONNECTIONS_PER_PEER_MAX,
    ) -> None:
        self._owner = owner
        self._role = role
        self._reactor = reactor
        self._hello_s = hello_s
        self._connections_max = connections_max
        self._connections_per_peer_max = connections_per_peer_max
        self._ports: list[IListeningPort] = []
        #: Every caller that was let in -> its host, and how many each host has.
        self._links: dict[Link, str] = {}
        self._per_peer: dict[str, int] = {}
        #: Those who are being told that there is no room.
        self._refused: set[Link] = set()
        self._is_full = False
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
        address = port.getHost()
        if isinstance(address, IPv4Address | IPv6Address):
            return format_address(address.host, address.port)
        return str(address)

    def close(self, text: str = "this process is stopping") -> Deferred[None]:
        """Take no more calls and say Goodbye to all; fires when all are gone."""
        ports, self._ports = self._ports, []
        stopped = [Deferred.fromCoroutine(_stop_listening(port)) for port in ports]
        for link in list(self._links):
            link.goodbye("stopping", text)
        if self._links or self._refused:
            if self._empty is None:
                self._empty = Deferred()
            gone: Deferred[None] = Deferred()
            self._empty.addCallback(lambda _: gone.callback(None))
            stopped.append(gone)
        done = DeferredList(stopped, fireOnOneErrback=True, consumeErrors=True)
        return done.addCallback(lambda _: None)

    # -- what Twisted and the links call ---------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        """A link for a caller, or None to close it without a word."""
        host = getattr(addr, "host", str(addr))
        refusal = self._refusal(host)
        if refusal is None:
            self._is_full = False
        elif len(self._refused) >= REFUSED_MAX:
            return None
        link = Link(
            self._owner,
            self,
            Decoder(None, self._role),
            self._reactor,
            dialled=False,
            hello_s=self._hello_s,
            refusal=refusal,
        )
        link.factory = self
        if refusal is None:
            self._links[link] = host
            self._per_peer[host] = self._per_peer.get(host, 0) + 1
        else:
            self._refused.add(link)
        return link

    def _refusal(self, host: str) -> Goodbye | None:
        if len(self._links) >= self._connections_max:
            text = f"there are {len(self._links)} connections already"
        elif self._per_peer.get(host, 0) >= self._connections_per_peer_max:
            text = f"there are {self._per_peer[host]} connections from {host} already"
        else:
            return None
        if not self._is_full:
            # Once, not for each caller: they may be many, and try again.
            self._is_full = True
            _log.warning("listener.filled", peer=host, text=text)
        return Goodbye("full", text)

    def opened(self, link: Link) -> None:
        """A link has opened."""

    def is_choking(self) -> bool:
        """Do all callers together leave too much unread?"""
        return sum(link.unsent_bytes for link in self._links) > UNSENT_BYTES_ALL_MAX

    def closed(self, link: Link, reason: str) -> None:
        """A link is gone."""
        _log.debug("link.closed", peer=link.peer, reason=reason)
        if link in self._refused:
            self._refused.remove(link)
        else:
            host = self._links.pop(link)
            self._per_peer[host] -= 1
            if not self._per_peer[host]:
                del self._per_peer[host]
        if not self._links and not self._refused and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)


async def _stop_listening(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping

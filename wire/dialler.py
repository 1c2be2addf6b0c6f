"""
Calling: one standing connection, made again whenever it is lost.

`ClientService` does the reconnecting; here is when it tries (almost at once,
then later and later, with jitter), where (several addresses in turn), and what
the log says of it: a line when the connection is there, a line when it is not,
a line when an attempt fails in a way that was not told yet, and none for each
attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, NoReturn

from twisted.application.internet import ClientService
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.addresses import parse_address
from wire.codec import Decoder, parts
from wire.link import Link, Owner
from wire.logs import get_logger

#: A link that has lived for so long was no failed attempt, whatever ends it.
SETTLED_S: Final = 1.0

#: How long the next address of a name waits for the one before it.
NEXT_ADDRESS_S: Final = 0.05

_log = get_logger("wire.dialler")


@implementer(IStreamClientEndpoint)
class Dialler(Factory):
    """Keeps one connection from an owner of role *role* to whoever of role
    *listener_role* answers at one of *addresses*.

    Raises ValueError for an address that is not ``tcp:HOST:PORT``.
    """

    noisy = False

    def __init__(  # noqa: PLR0917 -- who, what, whom, where, and two sources
        self,
        owner: Owner,
        role: str,
        listener_role: str,
        addresses: Sequence[str],
        reactor: IReactorTime,
        random: Random,
        *,
        first_delay_s: float = 0.02,
        delay_max_s: float = 1.0,
        connect_timeout_s: float = 1.0,
        hello_s: float = 5.0,
    ) -> None:
        if isinstance(addresses, str) or not addresses:
            raise ValueError(f"one address or more are needed, not {addresses!r}")
        for address in addresses:
            parse_address(address)
        self._owner = owner
        self._says, self._hears = parts(role, listener_role)
        self._addresses = tuple(addresses)
        self._reactor = reactor
        self._random = random
        self._first_delay_s = first_delay_s
        self._delay_max_s = delay_max_s
        self._connect_timeout_s = connect_timeout_s
        self._hello_s = hello_s
        self._service = ClientService(self, self, self._next_delay_s, reactor)
        #: The connection that is there, open or not.
        self._connection: Link | None = None
        self._turn = 0
        #: Attempts in a row of which none has given a link that settled.
        self._failures = 0
        self._is_waiting = False
        self._dials_at_once = False
        #: Runs while a link is open that has not lived for `SETTLED_S`.
        self._settling: IDelayedCall | None = None
        self._is_settled = False
        self._stopping: Deferred[None] | None = None
        #: Has a link opened and not lived long, and none settled since?
        self._is_flapping = False
        #: Does the log say that there is a link?
        self._is_told_made = False
        #: What the log was told of each address since a link has settled.
        self._told: dict[str, str] = {}

    @property
    def address(self) -> str:
        """The address of the connection that is there, or the next to dial."""
        return self._addresses[self._turn]

    @property
    def link(self) -> Link | None:
        """The link that is open, or None."""
        link = self._connection
        return link if link is not None and link.is_open else None

    def start(self) -> None:
        """Dial, and never give up."""
        if not self._service.running:
            self._service.startService()

    def stop(self) -> Deferred[None]:
        """Say Goodbye and dial no more; fires when the connection is gone.
        After that it may be started again."""
        if self._connection is None:
            return self._stop_service()
        if self._stopping is None:
            self._stopping = Deferred()
        stopped: Deferred[None] = Deferred()
        self._stopping.addCallback(lambda _: stopped.callback(None))
        self._connection.goodbye("stopping", "this connection is needed no more")
        return stopped

    def redial(self) -> None:
        """Drop the connection that is there and dial the next address at once:
        whoever does not answer there may not be the one to ask again.  An attempt
        that is under way goes on; before `start` and after `stop`, nothing."""
        if not self._service.running or self._stopping is not None:
            return
        if self._connection is not None:
            self._dials_at_once = True
            self._connection.abort()
        elif self._is_waiting:
            self._stop_service()
            self._service.startService()

    def _stop_service(self) -> Deferred[None]:
        return maybeDeferred(self._service.stopService)

    # -- what Twisted calls ---------------------------------------------------------

    def connect(
        self,
        protocolFactory: IProtocolFactory,  # noqa: N803 -- as the interface has it
    ) -> Deferred[IProtocol]:
        """Dial the address whose turn it is; `ClientService` calls this."""
        self._is_waiting = False
        host, port = parse_address(self.address)
        endpoint = _endpoint(self._reactor, host, port)
        connecting: Deferred[IProtocol] = endpoint.connect(protocolFactory)
        # The endpoint's own limit would begin after the name is resolved.
        connecting.addTimeout(self._connect_timeout_s, self._reactor, _timed_out)
        return connecting.addErrback(self._not_connected)

    def _not_connected(self, failure: Failure) -> Failure:
        if self._service.running:
            self._failed(failure.getErrorMessage())
        return failure

    def _next_delay_s(self, _: int) -> float:
        # ClientService counts from the last connection, but one that is made
        # and refused each time must not be made fifty times a second.
        self._is_waiting = True
        if self._dials_at_once:
            self._dials_at_once = False
            return 0.0
        rounds = self._failures // len(self._addresses)
        self._failures += 1
        delay_s = min(self._first_delay_s * 2.0 ** min(rounds, 30), self._delay_max_s)
        return delay_s * (0.5 + self._random.random() / 2)

    def buildProtocol(self, addr: IAddress | None) -> Link:  # noqa: ARG002
        """The link of a connection that was just made."""
        link = Link(
            self._owner,
            self,
            Decoder(self._hears, self._says),
            self._reactor,
            dialled=True,
            hello_s=self._hello_s,
        )
        self._connection = link
        return link

    # -- what the link calls --------------------------------------------------------

    def opened(self, link: Link) -> None:
        """The other end has said Hello."""
        self._settling = self._reactor.callLater(SETTLED_S, self._settled)
        if not self._is_flapping:
            self._tell_made(link)

    def _settled(self) -> None:
        self._settling = None
        self._is_settled = True
        self._failures = 0
        self._is_flapping = False
        self._told.clear()
        if self.link is not None and not self._is_told_made:
            self._tell_made(self.link)

    def is_choking(self) -> bool:
        """It has one link, and that has a bound of its own."""
        return False

    def closed(self, link: Link, reason: str) -> None:
        """The connection is gone."""
        if self._connection is not link:
            return  # Another was made at the same moment, and is the one in use.
        self._connection = None
        if self._is_told_made:
            self._is_told_made = False
            self._told[self.address] = reason
            log = _log.warning if self._stopping is None else _log.debug
            log("link.lost", address=self.address, reason=reason)
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
            self._is_flapping = True
        if not self._is_settled and self._stopping is None:
            self._failed(reason)
        elif self._dials_at_once:
            self._take_next()
        self._is_settled = False
        if self._stopping is not None:
            stopping, self._stopping = self._stopping, None
            self._stop_service().chainDeferred(stopping)

    def _failed(self, reason: str) -> None:
        if self._told.get(self.address) != reason:
            self._told[self.address] = reason
            _log.warning("dial.failed", address=self.address, reason=reason)
        self._take_next()

    def _take_next(self) -> None:
        self._turn = (self._turn + 1) % len(self._addresses)

    def _tell_made(self, link: Link) -> None:
        self._is_told_made = True
        _log.info("link.made", address=self.address, peer=link.peer)


def _endpoint(reactor: IReactorTime, host: str, port: int) -> IStreamClientEndpoint:
    # The endpoint for names also takes numbers, but it looks for a further
    # address to try only after a delay: a refusal would take 0.3 s to be noticed.
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port)
    return HostnameEndpoint(reactor, host, port, attemptDelay=NEXT_ADDRESS_S)


def _timed_out(_: object, timeout_s: float) -> NoReturn:
    raise TimeoutError(f"no connection within {timeout_s:g} s")

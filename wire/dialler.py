"""
Calling: one standing connection, made again whenever it is lost.

`ClientService` does the reconnecting; here is when it tries (almost at once,
then later and later, with jitter), where (several addresses in turn), and what
the log says of it: a line when the connection is there, a line when it is not,
a line when an attempt fails in a way that was not told yet, and none for each
attempt.

Looking a name up has no part in the time of a connection.  IP addresses that a
name is known to have are dialled at once, with a lookup beside them; only a name
that nothing is known of is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NoReturn

from twisted.application.internet import ClientService
from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
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

from wire.addresses import as_ip, parse_address
from wire.codec import Decoder, parts
from wire.link import Link, Owner
from wire.logs import get_logger
from wire.messages import Hello
from wire.names import Names, names_of
from wire.race import ConnectFailed, Race

#: A link that has lived for so long was no failed attempt, whatever ends it.
SETTLED_S: Final = 1.0

#: How long a connection to one IP address may take.
CONNECT_S: Final = 1.0

#: How long the other end may take to say Hello: one dead time once that is known,
#: and at least `HELLO_LEAST_S`.  Until then it is `HELLO_S`, or, if there is another
#: address to try, `HELLO_LEAST_S`, and twice as long with each round.
HELLO_S: Final = 5.0
HELLO_LEAST_S: Final = 0.5

#: How long a lookup is waited for if there is another address to try; if there is
#: none, ``lookup.delayed`` is logged then, and the wait continues.
LOOKUP_S: Final = 1.0

_log = get_logger("wire.dialler")


@implementer(IStreamClientEndpoint)
class Dialler(Factory):
    """Keeps one connection from an owner of role *role* to whoever of role
    *listener_role* answers at one of *addresses*.

    *failed* is called with address and reason when an attempt fails or waits for
    a name, and when the connection is lost, before the owner's `link_closed`; not
    after `stop` or `redial`, which end it on purpose.

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
        connect_timeout_s: float = CONNECT_S,
        hello_s: float = HELLO_S,
        failed: Callable[[str, str], None] | None = None,
        names: Names | None = None,
        is_quiet: bool = False,
    ) -> None:
        if isinstance(addresses, str) or not addresses:
            raise ValueError(f"one address or more are needed, not {addresses!r}")
        for address in addresses:
            parse_address(address)
        self._owner = owner
        self._report_failure = failed
        self._says, self._hears = parts(role, listener_role)
        self._addresses = tuple(addresses)
        self._reactor = reactor
        self._random = random
        self._first_delay_s = first_delay_s
        self._delay_max_s = delay_max_s
        self._connect_timeout_s = connect_timeout_s
        self._hello_s = hello_s
        #: Is nothing of this logged?
        self._is_quiet = is_quiet
        self._names = names_of(reactor) if names is None else names
        #: The IP address of the connection that is there, if it was dialled by
        #: a name, and the name and the port.
        self._ip: tuple[str, int, str] | None = None
        #: What the last Hello says: how much silence means death, seconds.
        self._dead_s = 0.0
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

    @property
    def near_host(self) -> str:
        """This host's address on the connection that is there, open or not."""
        return "" if self._connection is None else self._connection.near_host

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
        self._ip = None
        host, port = parse_address(self.address)
        if as_ip(host) is not None:
            connecting = self._dial(host, port, protocolFactory)
        else:
            by_name = self._dial_name(host, port, protocolFactory)
            connecting = Deferred.fromCoroutine(by_name)
        return connecting.addErrback(self._not_connected)

    def _dial(
        self, ip: str, port: int, factory: IProtocolFactory
    ) -> Deferred[IProtocol]:
        connecting: Deferred[IProtocol]
        connecting = _endpoint(self._reactor, ip, port).connect(factory)
        connecting.addTimeout(self._connect_timeout_s, self._reactor, _timed_out)
        return connecting

    async def _dial_name(
        self, host: str, port: int, factory: IProtocolFactory
    ) -> IProtocol:
        race = Race(lambda ip: self._dial(ip, port, factory), self._reactor)
        refresh: Deferred[tuple[str, ...]] | None = None
        if self._names.known(host, port):
            # What is found in time is dialled in this attempt, too.
            refresh = self._names.lookup(host)
            refresh.addCallbacks(race.add, lambda _: None)
        else:
            await self._look_up(host)
        race.add(self._names.known(host, port))
        try:
            protocol = await race.over
        except ConnectFailed as error:
            trouble = self._names.trouble(host)
            raise ConnectFailed(f"{error}; {trouble}" if trouble else error) from error
        finally:
            if refresh is not None:
                refresh.cancel()
        self._ip = host, port, race.winner
        return protocol

    async def _look_up(self, host: str) -> None:
        """Wait until something is known of *host*; not for long, if there is
        another address to try."""
        lookup = self._names.lookup(host)
        text = f"the name {host} is being looked up, and there is no answer yet"
        late: IDelayedCall | None = None
        if len(self._addresses) > 1:
            lookup.addTimeout(LOOKUP_S, self._reactor, _timed_out_with(text))
        else:
            late = self._reactor.callLater(LOOKUP_S, self._lookup_delayed, text)
        try:
            await lookup
        finally:
            if late is not None and late.active():
                late.cancel()

    def _not_connected(self, failure: Failure) -> Failure:
        if self._service.running:
            self._report(failure.getErrorMessage())
            self._failed(failure.getErrorMessage())
        return failure

    def _next_delay_s(self, _: int) -> float:
        # ClientService counts from the last connection, but one that is made
        # and refused each time must not be made fifty times a second.
        self._is_waiting = True
        if self._dials_at_once:
            self._dials_at_once = False
            return 0.0
        rounds = min(self._rounds(), 30)
        self._failures += 1
        delay_s = min(self._first_delay_s * 2.0**rounds, self._delay_max_s)
        return delay_s * (0.5 + self._random.random() / 2)

    def _rounds(self) -> int:
        """How often all addresses were tried since a link has settled."""
        return self._failures // len(self._addresses)

    def buildProtocol(self, addr: IAddress | None) -> Link:  # noqa: ARG002
        """The link of a connection that was just made."""
        link = Link(
            self._owner,
            self,
            Decoder(self._hears, self._says),
            self._reactor,
            dialled=True,
            hello_s=self._hello_patience_s(),
        )
        self._connection = link
        return link

    def _hello_patience_s(self) -> float:
        patience_s = self._dead_s
        if not patience_s:
            if len(self._addresses) == 1:
                host, port = parse_address(self.address)
                if len(self._names.known(host, port)) < 2:
                    return self._hello_s
            patience_s = HELLO_LEAST_S * 2.0 ** min(self._rounds(), 30)
        return min(max(HELLO_LEAST_S, patience_s), self._hello_s)

    # -- what the link calls --------------------------------------------------------

    def admit(self, link: Link) -> None:
        """There is room for what was dialled."""

    def unfinished(self, link: Link, length: int, *, is_new: bool) -> None:
        """It has one link, and a frame has a bound of its own."""

    def opened(self, link: Link) -> None:
        """The other end has said Hello."""
        hello: Hello = link.hello
        self._dead_s = hello.dead_pings * hello.ping_interval_ms / 1000
        if self._ip is not None:
            self._names.worked(*self._ip)
        self._settling = self._reactor.callLater(SETTLED_S, self._settled)
        if not self._is_flapping and not self._is_quiet:
            self._tell_made(link)

    def _settled(self) -> None:
        self._settling = None
        self._is_settled = True
        self._failures = 0
        self._is_flapping = False
        self._told.clear()
        if self.link is not None and not self._is_told_made and not self._is_quiet:
            self._tell_made(self.link)

    def is_choking(self) -> bool:
        """It has one link, and that has a bound of its own."""
        return False

    def closed(self, link: Link, reason: str) -> None:
        """The connection is gone."""
        if self._connection is not link:
            return  # Another was made at the same moment, and is the one in use.
        self._connection = None
        self._report(reason)
        if self._ip is not None and (not self._is_settled or self._dials_at_once):
            self._names.useless(*self._ip)
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

    def _report(self, reason: str) -> None:
        is_meant = self._stopping is not None or self._dials_at_once
        if self._report_failure is not None and not is_meant:
            self._report_failure(self.address, reason)

    def _failed(self, reason: str) -> None:
        if self._is_news(reason):
            _log.warning("dial.failed", address=self.address, reason=reason)
        self._take_next()

    def _is_news(self, reason: str) -> bool:
        """Whether the log lacks why the address is of no use; from now on it
        has it."""
        if self._is_quiet or self._told.get(self.address) == reason:
            return False
        self._told[self.address] = reason
        return True

    def _lookup_delayed(self, reason: str) -> None:
        """The lookup takes long, and there is no other address to try."""
        self._report(reason)
        if self._is_news(reason):
            _log.warning("lookup.delayed", address=self.address, reason=reason)

    def _take_next(self) -> None:
        self._turn = (self._turn + 1) % len(self._addresses)

    def _tell_made(self, link: Link) -> None:
        self._is_told_made = True
        _log.info("link.made", address=self.address, peer=link.peer)


def _endpoint(reactor: IReactorTime, ip: str, port: int) -> IStreamClientEndpoint:
    if isIPv6Address(ip):
        return TCP6ClientEndpoint(reactor, ip, port)
    return TCP4ClientEndpoint(reactor, ip, port)


def _timed_out(_: object, timeout_s: float) -> NoReturn:
    raise TimeoutError(f"no connection within {timeout_s:g} s")


def _timed_out_with(text: str) -> Callable[[object, float], NoReturn]:
    def timed_out(_: object, timeout_s: float) -> NoReturn:  # noqa: ARG001
        raise TimeoutError(text)

    return timed_out

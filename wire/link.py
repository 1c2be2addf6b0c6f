"""
One connection: frames in, frames out, and how it ends.

The only Twisted Protocol of this project; both ends of every connection are a
`Link`, and what differs is who owns it.  The law here is that a connection can
harm nothing but itself: what is not spoken ends it with one log line and a
`Goodbye`, what is not read by the other end is bounded, and what never says
Hello is closed (``docs/design.md``, section 8).  An `Owner` sees a link only
after the Hello of the other end has come and is understood.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import typing
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.addresses import parse_address
from wire.bounds import FRAME_BYTES_MAX, GOODBYE_TEXT_MAX, shortened
from wire.codec import Decoder, ProtocolError, encode
from wire.fail_stop import broken, guard
from wire.logs import get_logger
from wire.messages import (
    SERVER,
    SINCE,
    Goodbye,
    Hello,
    Message,
    spoken_version,
)

#: How long an end that has said Goodbye waits for the other to close, seconds.
LINGER_S: Final = 2.0
#: The same for the end that called: whoever stops calling wants to be done.
LINGER_DIALLED_S: Final = 0.25

#: A wait for a Hello that ends so much too late, in seconds, did so because this
#: process stood still; the other end is given that time again.
LATE_S: Final = 0.25

#: The most that may wait to be sent on one link, in bytes; past it the link is
#: aborted.  A clerk's default window of eight answers of the greatest size must
#: fit, or it would be cut off, ask again, and be cut off again.
UNSENT_BYTES_MAX: Final = 12 * FRAME_BYTES_MAX

#: With nothing unsent the kernel asks after 30 s, three times; with something
#: unsent it waits 60 s, where it would by itself go on for a quarter of an hour.
_TCP_OPTIONS: Final = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}

#: With so little unsent a link is nobody's burden, whatever others have.
UNSENT_BYTES_FAIR: Final = 1024 * 1024

_log = get_logger("wire.link")
_ids = itertools.count(1)


class Owner(typing.Protocol):
    """Whoever the connections are for: a service, a clerk.

    The callbacks may use the link at once.  An AssertionError out of one ends
    the process, a `ProtocolError` ends that link with a Goodbye.
    """

    def hello(self) -> Hello:
        """What to say first; asked anew for each connection."""

    def link_opened(self, link: Link) -> Goodbye | None:
        """The Hello of the other end came, and its version and role fit.
        Return a Goodbye to refuse it; then nothing more is heard of it."""

    def received(self, link: Link, message: Message) -> None:
        """One message, later than Hello and none but those that may be said."""

    def link_closed(self, link: Link, reason: str) -> None:
        """The link is gone, *reason* says why, for logs.  Called once for each
        link that was opened and not refused."""


class Origin(typing.Protocol):
    """Where links come from: a listener or a dialler, which keeps count."""

    def admit(self, link: Link) -> Goodbye | None:
        """The Hello of the other end is there, in `Link.hello`, and none was sent
        in reply.  Return a Goodbye if there is no room for it; then neither
        `opened` nor the owner's `link_opened` follows."""

    def opened(self, link: Link) -> None:
        """Called before the owner's `link_opened`."""

    def unfinished(self, link: Link, length: int, *, is_new: bool) -> None:
        """The link now holds *length* bytes of a frame whose end has not arrived;
        *is_new*: of another frame than before."""

    def is_choking(self) -> bool:
        """Do all its links together have too much unsent?"""

    def closed(self, link: Link, reason: str) -> None:
        """Called for each link, also for one that never opened, before the
        owner's `link_closed`."""


#: Logs how the other end of a link broke the protocol.
TellBroken: TypeAlias = "Callable[[Link, ProtocolError], None]"


@implementer(IPushProducer)
@functools.total_ordering
class Link(Protocol):
    """A connection to another process, from its first byte to its last.

    Links are ordered by age: the newer one is greater.
    """

    transport: Any
    #: The Hello of the other end; there is none before `Owner.link_opened`.
    hello: Hello
    #: The Goodbye of the other end, if one came.
    farewell: Goodbye | None = None
    #: ``127.0.0.1:40312``, for logs.
    peer: str = "?"
    #: Do others come first when there is no time for all in a turn?  Of a caller
    #: on which no place in a view depends.
    is_patient: bool = False
    #: Messages of later versions than the other end speaks; they are not sent.
    _unspoken: frozenset[type[Message]] = frozenset()

    def __init__(
        self,
        owner: Owner,
        origin: Origin,
        decoder: Decoder,
        reactor: IReactorTime,
        *,
        dialled: bool,
        hello_s: float,
        tell_broken: TellBroken | None = None,
    ) -> None:
        self.id: int = next(_ids)
        self.dialled = dialled
        self._owner = owner
        self._origin = origin
        self._decoder = decoder
        self._reactor = reactor
        self._hello_s = hello_s
        self._tell_broken = tell_broken or _tell_broken
        #: When it must have come, by the reactor's clock.
        self._hello_due_s = 0.0
        #: When the other end last sent something, by the reactor's clock.
        self.heard_s: float = reactor.seconds()
        #: How much its origin knows to be unfinished.
        self._unfinished = 0
        #: The transport, while it is a plain socket and messages may be sent.
        self._socket: Connection | None = None
        self._queued: list[bytes] = []
        self._queued_bytes = 0
        #: Has the owner taken this link?
        self._is_open = False
        #: Is nothing more sent or taken?  It never becomes False again.
        self._is_ending = False
        self._is_paused_by_owner = False
        self._is_clogged = False
        #: Ends the wait for the Hello, and later for the other end to close.
        self._timer: IDelayedCall | None = None
        self._why = ""

    @property
    def is_open(self) -> bool:
        """Whether what is sent now is still sent."""
        return self._is_open and not self._is_ending

    @property
    def near_host(self) -> str:
        """The IP address of this end; "" where there is none."""
        return str(getattr(self.transport.getHost(), "host", ""))

    @property
    def far_host(self) -> str:
        """The IP address of the other end; "" where there is none."""
        return str(getattr(self.transport.getPeer(), "host", ""))

    def __lt__(self, other: Link) -> bool:
        return self.id < other.id

    def __repr__(self) -> str:
        return f"<Link {self.id} {'to' if self.dialled else 'from'} {self.peer}>"

    # -- sending ----------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Encode and write now.  Does nothing on a link that is ending, or if the
        other end speaks a version that lacks this message.

        Raises ValueError if the message does not fit into a frame.
        """
        if self._queued:
            self.queue(message)
            self.flush()
        elif not self._is_ending and not (
            self._unspoken and type(message) in self._unspoken
        ):
            self._write(encode(message))

    def queue(self, message: Message) -> None:
        """Encode; it goes out with the next `flush`, in one write with all that
        was queued before it.  Raises ValueError like `send`."""
        if not self._is_ending and not (
            self._unspoken and type(message) in self._unspoken
        ):
            data = encode(message)
            self._queued.append(data)
            self._queued_bytes += len(data)
            if self._queued_bytes > FRAME_BYTES_MAX:
                # Its bounds are looked at when something is written.
                self.flush()

    def flush(self) -> None:
        """Write what was queued."""
        if self._queued:
            data = b"".join(self._queued)
            self._queued.clear()
            self._queued_bytes = 0
            self._write(data)

    def _write(self, data: bytes) -> None:
        # Twisted's `write` costs two epoll calls and a turn of the reactor for
        # each answer; a socket with nothing waiting can take it right away.
        plain = self._socket
        if plain is None:
            self.transport.write(data)
            return
        if not plain._tempDataLen and not plain.dataBuffer:
            try:
                sent = plain.socket.send(data)
            except OSError:
                # Full, or broken; the reactor finds out which, and closes.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        plain.write(data)
        unsent = self.unsent_bytes
        if unsent > UNSENT_BYTES_MAX or (
            unsent > UNSENT_BYTES_FAIR and self._origin.is_choking()
        ):
            why = f"does not read: {self.unsent_bytes} bytes are unsent"
            _log.warning("link.aborted", peer=self.peer, reason=why)
            self._abort(why)

    @property
    def unsent_bytes(self) -> int:
        """How much waits for the other end to read; 0 where nobody can tell."""
        plain = self._socket
        if plain is None:
            return 0
        return len(plain.dataBuffer) - plain.offset + plain._tempDataLen

    # -- ending -----------------------------------------------------------------

    def goodbye(self, reason: str, text: str) -> None:
        """Say Goodbye and close.  *reason* is one of `wire.messages.GOODBYES`.

        What was queued goes out before it.  `Owner.link_closed` follows when
        the other end has closed too, or after a little while.
        """
        if self._is_ending:
            return
        # The other end tells its own log, once; here it may try for ever.
        _log.debug("goodbye.said", peer=self.peer, reason=reason, text=text)
        self._goodbye(reason, text)

    def _goodbye(self, reason: str, text: str) -> None:
        self._why = f"said goodbye: {reason}: {text}"
        self.queue(Goodbye(reason, shortened(text, GOODBYE_TEXT_MAX)))
        self.flush()
        # To close a socket with something unread in it resets the connection,
        # and the other end may never see the Goodbye.  So only our direction is
        # closed, and what still comes is read and dropped.
        plain = self._end()
        if plain is None:
            self.transport.loseConnection()
        else:
            plain.loseWriteConnection()
            plain.resumeProducing()

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        self._abort("aborted")

    def _abort(self, why: str) -> None:
        self._why = self._why or why
        self._end()
        self.transport.abortConnection()

    def _end(self) -> Connection | None:
        """Send and take nothing more; the plain socket, if there is one."""
        plain, self._socket = self._socket, None
        self._queued.clear()
        self._stop_timer()
        self._drop_unfinished()
        if not self._is_ending:
            self._is_ending = True
            # A transport with a paused producer would wait for it for ever.
            self.transport.unregisterProducer()
            linger_s = LINGER_DIALLED_S if self.dialled else LINGER_S
            self._timer = self._reactor.callLater(linger_s, self._lingered)
        return plain

    def _drop_unfinished(self) -> None:
        self._decoder.close()
        if self._unfinished:
            self._unfinished = 0
            self._origin.unfinished(self, 0, is_new=True)

    def _lingered(self) -> None:
        self._timer = None
        self.transport.abortConnection()

    # -- back-pressure ------------------------------------------------------------

    def pause(self) -> None:
        """Read nothing more from the other end until `resume`.  What was read
        already, 64 KiB at most or one frame, is still delivered."""
        if not self._is_paused_by_owner and not self._is_ending:
            self._is_paused_by_owner = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        if self._is_paused_by_owner and not self._is_ending:
            self._is_paused_by_owner = False
            if not self._is_clogged:
                self.transport.resumeProducing()

    def pauseProducing(self) -> None:
        """The other end does not read fast enough: ask for no more to answer.

        Only the end that was called does so.  If both did, each could wait for
        the other to read first; and the caller bounds what it asks for.
        """
        if not self.dialled:
            self._is_clogged = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """All was sent."""
        if self._is_clogged:
            self._is_clogged = False
            if not self._is_paused_by_owner:
                self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # -- what Twisted calls ---------------------------------------------------------

    @guard
    def connectionMade(self) -> None:
        """Introduce ourselves, if we are the one who calls."""
        address = self.transport.getPeer()
        if isinstance(address, IPv4Address | IPv6Address):
            self.peer = f"{address.host}:{address.port}"
            if ITCPTransport.providedBy(self.transport):
                _tune(self.transport)
        else:
            self.peer = str(address)
        if isinstance(self.transport, Connection) and not self.transport.TLS:
            self._socket = self.transport
            self._bound_reads()
        self.transport.registerProducer(self, True)
        self._wait_for_hello(self._hello_s)
        if self.dialled:
            self._write(encode(self._owner.hello()))

    def dataReceived(self, data: bytes) -> None:
        """Take in what came."""
        if self._is_ending:
            return
        self.heard_s = self._reactor.seconds()
        try:
            messages = self._decoder.feed(data)
            for message in messages:
                if not self._is_open:
                    self._take_first(message)
                elif type(message) is Goodbye:
                    self._take_farewell(message)
                else:
                    self._owner.received(self, message)
                if self._is_ending:
                    return
            if self._decoder.rest or self._unfinished:
                self._unfinished = unfinished = self._decoder.unfinished_bytes
                self._origin.unfinished(self, unfinished, is_new=bool(messages))
        except ProtocolError as error:
            self._break(error)
        except Exception as error:
            # As `guard` does, without a call for each read.
            broken(error)
            raise

    @guard
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over, for whatever reason."""
        self._is_ending = True
        self._socket = None
        self._queued.clear()
        self._stop_timer()
        why = self._why or self._describe(reason)
        self._drop_unfinished()
        self._origin.closed(self, why)
        if self._is_open:
            self._is_open = False
            self._owner.link_closed(self, why)

    # -- how a connection begins and breaks ---------------------------------------

    def _take_first(self, message: Message) -> None:
        if isinstance(message, Goodbye):
            self._take_farewell(message)
            return
        assert isinstance(message, Hello), "the decoder lets nothing else be first"
        self._stop_timer()
        if message.member is not None:
            _check_address(message.member.address)
        elif message.role == SERVER:
            raise ProtocolError("protocol", "a server must say who it is")
        self.hello = message
        self._bound_reads()
        if (refusal := self._origin.admit(self)) is not None:
            self.goodbye(refusal.reason, refusal.text)
            return
        version = spoken_version(message)
        self._unspoken = frozenset(kind for kind in SINCE if SINCE[kind] > version)
        if not self.dialled:
            self._write(encode(self._owner.hello()))
        self._is_open = True
        self._origin.opened(self)
        refusal = self._owner.link_opened(self)
        if refusal is not None:
            self._is_open = False
            self.goodbye(refusal.reason, refusal.text)

    def _wait_for_hello(self, seconds: float) -> None:
        self._hello_due_s = self._reactor.seconds() + seconds
        self._timer = self._reactor.callLater(seconds, self._silent)

    def _bound_reads(self) -> None:
        """Read no more at a time than the longest frame has: of short messages
        only so many are decoded without a look at the time."""
        if self._socket is not None:
            longest = self._decoder.longest_bytes
            self._socket.bufferSize = min(Connection.bufferSize, longest)

    def _take_farewell(self, farewell: Goodbye) -> None:
        self.farewell = farewell
        self._why = f"goodbye: {farewell.reason}: {farewell.text}"
        self._end()
        self.transport.loseConnection()

    def _silent(self) -> None:
        late_s = self._reactor.seconds() - self._hello_due_s
        self._timer = None
        if late_s > LATE_S:
            # This process stood still, and what was said meanwhile is still unread.
            self._wait_for_hello(min(late_s, self._hello_s))
            return
        text = f"no Hello within {self._hello_s:g} s"
        self._break(ProtocolError("silent", text))

    @guard
    def _break(self, error: ProtocolError) -> None:
        if self._is_ending:
            return
        self._tell_broken(self, error)
        if error.reason == "version" and not self.dialled:
            # Its first field tells the other end which version is spoken here.
            self._write(encode(self._owner.hello()))
        self._goodbye(error.reason, error.text)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _describe(self, reason: Failure) -> str:
        inside = " in the middle of a frame" if self._decoder.rest else ""
        if reason.check(ConnectionDone):
            return f"connection closed{inside}"
        return f"connection lost{inside}: {reason.getErrorMessage()}"


def _tell_broken(link: Link, error: ProtocolError) -> None:
    # The dialler logs why it lost a link, once for each reason; and it would be
    # here for each attempt.
    log = _log.debug if link.dialled else _log.warning
    log("link.broken", peer=link.peer, reason=error.reason, text=error.text)


def _check_address(address: str) -> None:
    try:
        parse_address(address)
    except ValueError as error:
        raise ProtocolError("protocol", str(error)) from error


def _tune(transport: Any) -> None:
    """Send small frames at once, and notice within about a minute when the
    machine at the other end has vanished, whether something is unsent or not."""
    # A connection that is gone already can refuse to be set; it will be told.
    with contextlib.suppress(OSError):
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        for name, value in _TCP_OPTIONS.items():
            option = getattr(socket, name, None)  # Not every system has all of them.
            if option is not None:
                transport.getHandle().setsockopt(socket.IPPROTO_TCP, option, value)

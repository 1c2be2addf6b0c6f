"""
Sockets: what a process has in its hands of a connection, of a port that it
listens on, and of an attempt to call somebody.

They are to the real listeners, diallers and links what Twisted's are.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Union

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    UserError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IConnector, IListeningPort, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wire.messages import SAYS, Hello, Message

if TYPE_CHECKING:
    from tests.sim.network import Network
    from tests.sim.process import Process

#: Everything that can be said, whoever says it.
_ALL: Final = {Hello, *(kind for kinds in SAYS.values() for kind in kinds)}
_decode = msgspec.msgpack.Decoder(Union[tuple(_ALL)]).decode  # noqa: UP007
_length = struct.Struct(">I").unpack_from

#: How a connection can be over.
FAILURES: Final = {
    "connection closed": Failure(ConnectionDone()),
    "connection lost": Failure(ConnectionLost()),
}


def frames(data: bytes) -> Iterator[tuple[int, Message]]:
    """The messages of one write, and where each ends."""
    at = 0
    while at < len(data):
        end = at + 4 + _length(data, at)[0]
        yield end, _decode(data[at + 4 : end])
        at = end


@implementer(ITransport)
class End:
    """One end of a connection: the socket to whoever sits there."""

    other: End

    def __init__(
        self, network: Network, process: Process, port: int, *, dialled: bool
    ) -> None:
        self.id = network.next_id()
        self.is_dialled = dialled
        self.network = network
        self.process = process
        #: A `wire.link.Link`, perhaps in wrappings, once the process has it.
        self.protocol: Any = None
        self._address = IPv4Address("TCP", network.ip(process.host), port)
        #: Is nothing more sent, and is nothing more read?
        self.is_ending = False
        self.is_aborted = False
        self.is_gone = False
        #: Broken, whether or not its process knows by now.
        self.is_torn = False
        #: How much longer than others' things take that are sent from here.
        self.lag_us = 0
        #: Until the process has it, and whenever its owner reads nothing.
        self.is_paused = True
        #: What is on its way to this end, and when it can be there; None is
        #: the end of the stream.
        self.flight: deque[tuple[int, bytes | None]] = deque()
        self.is_due = False
        #: What has arrived and is not read, since the owner reads nothing.
        self.unread: list[bytes | None] = []
        #: How much was ever sent from here; how much read; and what was sent to
        #: here and is not read, with where it ends.
        self._sent_bytes = self._read_bytes = 0
        self._coming: deque[tuple[int, Message]] = deque()
        #: Who is asked to wait while too much of what was sent is not read.
        self._producer: Any = None
        self.is_clogged = False

    def __repr__(self) -> str:
        return f"{self.process.name}#{self.id}"

    # -- what a link calls ----------------------------------------------------

    def getHost(self) -> IPv4Address:
        """The address of this end."""
        return self._address

    def getPeer(self) -> IPv4Address:
        """The address of the other end."""
        return self.other._address

    def write(self, data: bytes) -> None:
        """Send that."""
        if self.is_ending or self.is_gone:
            return
        for end, message in frames(data):
            self.process.said(self, message)
            self.other._coming.append((self._sent_bytes + end, message))
        self._sent_bytes += len(data)
        self.network.carry(self, data)
        if self._producer is not None and not self.is_clogged and self._is_full(1):
            self.is_clogged = True
            self._producer.pauseProducing()

    def _is_full(self, parts: int) -> bool:
        """Is one of so many parts of what may be unread on its way?"""
        unread_bytes = self._sent_bytes - self.other._read_bytes
        return unread_bytes * parts > self.network.unread_bytes_max

    def drained(self) -> None:
        """The other end has read; perhaps enough."""
        if self.is_clogged and not self._is_full(2):
            self.is_clogged = False
            if self._producer is not None:
                self._producer.resumeProducing()

    def loseConnection(self) -> None:
        """Send nothing more, read on, and close when the other end does."""
        if not self.is_ending:
            self.is_ending = True
            self.network.carry(self, None)
            self.resumeProducing()

    def abortConnection(self) -> None:
        """Close, whatever is on its way."""
        if not self.is_aborted:
            self.is_ending = self.is_aborted = True
            self.process.reactor.callLater(0, self._abort)

    def _abort(self) -> None:
        self.network.tear(self, 0)
        self.gone("connection lost")

    def registerProducer(self, producer: object, streaming: bool) -> None:  # noqa: ARG002
        """Ask that one to wait."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Ask nobody any more."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Read nothing more."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        if self.is_paused:
            self.is_paused = False
            self.process.later(0, self._read_on)

    def _read_on(self) -> None:
        while self.unread and not self.is_paused and not self.is_gone:
            self._read(self.unread.pop(0))

    # -- what the network calls -----------------------------------------------

    def begin(self, protocol: Any) -> None:
        """The process has the connection, and somebody who sees to it."""
        self.protocol = protocol
        self.is_paused = False
        protocol.makeConnection(self)
        self._read_on()

    def read(self, data: bytes | None) -> None:
        """These bytes have come, or the stream is at its end."""
        if self.is_paused or self.unread:
            self.unread.append(data)
        elif not self.is_gone:
            self._read(data)

    def _read(self, data: bytes | None) -> None:
        if self.is_aborted:
            return
        if data is None:
            self.network.carry(self, None)
            self.gone("connection closed")
            return
        self._read_bytes += len(data)
        coming = self._coming
        while coming and coming[0][0] <= self._read_bytes:
            self.process.heard(self, coming.popleft()[1])
        if self.other.is_clogged:
            self.network.acknowledge(self)
        self.protocol.dataReceived(data)

    def gone(self, reason: str) -> None:
        """The connection is over at this end."""
        if self.is_gone:
            return
        self.is_gone = self.is_ending = True
        self.flight.clear()
        self.network.ends.pop(self.id, None)
        if self._producer is not None:
            self._producer.stopProducing()
        if self.protocol is not None:
            self.protocol.connectionLost(FAILURES[reason])


@implementer(IListeningPort)
class Port:
    """Where a process can be called."""

    def __init__(self, process: Process, number: int, factory: Any) -> None:
        self.process = process
        self.number = number
        self.factory = factory
        self._address = IPv4Address(
            "TCP", process.world.network.ip(process.host), number
        )

    def getHost(self) -> IPv4Address:
        """Its address."""
        return self._address

    def stopListening(self) -> None:
        """Be called no more."""
        self.process.world.network.close(self)

    def accept(self, end: End) -> None:
        """Somebody calls."""
        protocol = None
        if self.process.world.network.ports.get(self._key) is self:
            protocol = self.factory.buildProtocol(end.getPeer())
        if protocol is None:
            end.abortConnection()
        else:
            end.begin(protocol)

    @property
    def _key(self) -> tuple[str, int]:
        return self._address.host, self.number


@implementer(IConnector)
class Connector:
    """An attempt to call somebody."""

    def __init__(self, process: Process, host: str, port: int, factory: Any) -> None:
        self._process = process
        self._address = IPv4Address("TCP", host, port)
        self._factory = factory
        self._is_over = False

    def getDestination(self) -> IPv4Address:
        """Whom."""
        return self._address

    def connect(self) -> None:
        """Try."""
        self._factory.doStart()
        self._factory.startedConnecting(self)
        network = self._process.world.network
        network.dial(self._process, self._address, self._connected)

    def stopConnecting(self) -> None:
        """Try no more."""
        self._fail(UserError())

    def _fail(self, error: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self._factory.clientConnectionFailed(self, Failure(error))

    def _connected(self, end: End | None) -> None:
        if end is None:
            self._fail(Refused())
        elif self._is_over:
            end.abortConnection()
        else:
            self._is_over = True
            end.begin(self._factory.buildProtocol(self._address))

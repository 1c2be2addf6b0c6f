"""
The least that two Twisted processes can do for a put: no log, no session, no view,
no store.  The first takes batches from clerks, passes on what came in a turn of the
reactor to the second, and answers when that has sent back a byte.

    python -m bench.programs.bare PORT [BESIDE]

Without BESIDE, the port of the other, it is the second one.  What it reaches is a
limit for whatever does more on the same reactor.  Frames are taken apart by hand,
and an answer goes straight to the socket, since nothing waits there.  The loop over
events is that of the servers, which look again before they sleep.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import msgspec
from twisted.internet import reactor as the_reactor
from twisted.internet.protocol import ClientFactory, Factory, Protocol

from wire.busy_poll import SPIN_US
from wire.codec import encode
from wire.daemon import install_fast_epoll_loop, turn_end
from wire.messages import SERVER, VERSION, Hello, Member, SessionClosed, SessionOpened

reactor: Any = the_reactor
install_fast_epoll_loop(reactor, SPIN_US)
at_turn_end = turn_end(reactor)

_HELLO, _OPEN, _CLOSE, _BATCH = 1, 30, 31, 32
_DECODE = msgspec.msgpack.Decoder().decode
_DONE = b"\x92\x00\xc0"


class Second(Protocol):
    """Says for each message that it came."""

    def __init__(self) -> None:
        self._rest = b""

    def connectionMade(self) -> None:
        begin(self)

    def dataReceived(self, data: bytes) -> None:
        frames, self._rest = split(self._rest + data)
        if frames:
            send(self, b"." * len(frames))


class Beside(Protocol):
    """The first one's connection to the second."""

    def __init__(self) -> None:
        #: Who is to be answered what: of this turn, and of those on their way.
        self.turn: list[tuple[Clerk, bytes]] = []
        self._told: list[list[tuple[Clerk, bytes]]] = []
        self._bodies: list[bytes] = []

    def connectionMade(self) -> None:
        begin(self)

    def take(self, clerk: Clerk, answer: bytes, body: bytes) -> None:
        if not self.turn:
            at_turn_end(self._flush)
        self.turn.append((clerk, answer))
        self._bodies.append(body)

    def _flush(self) -> None:
        self._told.append(self.turn)
        data = b"".join(self._bodies)
        self.turn, self._bodies = [], []
        send(self, len(data).to_bytes(4, "big") + data)

    def dataReceived(self, data: bytes) -> None:
        by_clerk: dict[Clerk, list[bytes]] = {}
        for turn in self._told[: len(data)]:
            for clerk, answer in turn:
                by_clerk.setdefault(clerk, []).append(answer)
        del self._told[: len(data)]
        for clerk, answers in by_clerk.items():
            send(clerk, b"".join(answers))


class Clerk(Protocol):
    """The first one's connection to a clerk."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        self._rest = b""

    def connectionMade(self) -> None:
        begin(self)

    def dataReceived(self, data: bytes) -> None:
        frames, self._rest = split(self._rest + data)
        for frame in frames:
            tag, *fields = _DECODE(frame)
            if tag == _BATCH:
                sequence, body = fields[2], fields[4]
                self._beside.take(self, answer(sequence, body), body)
            elif tag == _HELLO:
                member = Member("bare", 1, "tcp:127.0.0.1:1")
                send(self, encode(Hello(VERSION, SERVER, member=member)))
            elif tag == _OPEN:
                send(self, encode(SessionOpened(fields[0], 1)))
            elif tag == _CLOSE:
                send(self, encode(SessionClosed(fields[0])))
            else:
                raise ValueError(f"message {tag} is none of a put")


def begin(protocol: Protocol) -> None:
    transport: Any = protocol.transport
    transport.setTcpNoDelay(True)


def send(protocol: Protocol, data: bytes) -> None:
    """Straight to the socket; what it does not take goes the common way."""
    transport: Any = protocol.transport
    if transport.dataBuffer or transport._tempDataLen:
        transport.write(data)
    elif rest := data[transport.socket.send(data) :]:
        transport.write(rest)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole frames, and the rest."""
    frames, at = [], 0
    while len(data) - at >= 4:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        frames.append(data[at + 4 : end])
        at = end
    return frames, data[at:]


def answer(sequence: int, body: bytes) -> bytes:
    """A BatchAnswer: every put was done."""
    many = body[0] == 0xDC
    head = body[:3] if many else body[:1]
    count = int.from_bytes(body[1:3], "big") if many else body[0] & 15
    done = head + _DONE * count
    size = b"\xc5" + len(done).to_bytes(2, "big")
    payload = b"\x93\x23\xcf" + sequence.to_bytes(8, "big") + size + done
    return len(payload).to_bytes(4, "big") + payload


def main() -> None:
    port, *beside = map(int, sys.argv[1:])
    if not beside:
        reactor.listenTCP(port, Factory.forProtocol(Second), interface="127.0.0.1")
    else:
        other = Beside()
        clerks = Factory.forProtocol(partial(Clerk, other))
        to_second = ClientFactory.forProtocol(lambda: other)
        reactor.connectTCP("127.0.0.1", beside[0], to_second)
        reactor.listenTCP(port, clerks, interface="127.0.0.1", backlog=1000)
    reactor.run()


if __name__ == "__main__":
    main()

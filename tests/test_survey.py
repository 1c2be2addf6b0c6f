"""Of which cluster each further address of a view service is."""

from __future__ import annotations

from random import Random

from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.recorder import said
from wire.codec import encode
from wire.messages import (
    OBSERVER,
    VERSION,
    VIEW_SERVICE,
    Goodbye,
    Hello,
)
from wire.survey import SURVEY_S, Survey

ADDRESSES = tuple(f"tcp:10.0.0.{number}:7400" for number in (1, 2, 3))
OURS, OTHER = b"o" * 16, b"x" * 16


class World:
    """A survey and the network, played by hand."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.met: list[tuple[str, bytes]] = []
        self.survey = Survey(ADDRESSES, self.reactor, Random(1), self._met)

    def _met(self, address: str, cluster: bytes) -> None:
        self.met.append((address, cluster))

    @property
    def dialled(self) -> list[str]:
        return [f"tcp:{host}:{port}" for host, port, *_ in self.reactor.tcpClients]

    def answer(self, at: int, cluster: bytes) -> StringTransport:
        protocol = self.reactor.tcpClients[at][2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(encode(Hello(VERSION, VIEW_SERVICE, cluster)))
        protocol.connectionLost(Failure(ConnectionDone()))
        return transport


def test_each_other_address_is_asked_once() -> None:
    world = World()
    world.survey.begin(ADDRESSES[1])
    world.survey.begin(ADDRESSES[0])
    assert world.dialled == [ADDRESSES[0], ADDRESSES[2]]
    first = world.answer(0, OURS)
    world.answer(1, OTHER)
    assert world.met == [(ADDRESSES[0], OURS), (ADDRESSES[2], OTHER)]
    hello, goodbye = said(first, OBSERVER, VIEW_SERVICE)
    assert hello == Hello(VERSION, OBSERVER)
    assert isinstance(goodbye, Goodbye)
    world.reactor.advance(SURVEY_S)
    world.reactor.advance(100)
    assert len(world.dialled) == 2
    assert world.reactor.getDelayedCalls() == []


def test_one_that_belongs_to_no_cluster_yet_is_nobody() -> None:
    world = World()
    world.survey.begin(ADDRESSES[0])
    world.answer(0, b"")
    assert world.met == []


def test_one_that_does_not_answer_is_given_up_without_a_line_in_the_log() -> None:
    world = World()
    with capturedLogs() as captured:
        world.survey.begin(ADDRESSES[0])
        while world.reactor.seconds() < 2 * SURVEY_S:
            for *_, factory, _, _ in world.reactor.tcpClients:
                factory.clientConnectionFailed(None, Failure(Refused()))
            world.reactor.tcpClients.clear()
            world.reactor.advance(0.1)
    ours = [each for each in captured if each["log_namespace"].startswith("wire")]
    assert ours == []
    assert world.reactor.getDelayedCalls() == []


def test_stop_ends_it() -> None:
    world = World()
    world.survey.begin(ADDRESSES[0])
    stopped: list[object] = []
    world.survey.stop().addCallback(stopped.append)
    for *_, factory, _, _ in world.reactor.tcpClients:
        factory.clientConnectionFailed(None, Failure(Refused()))
    assert stopped == [None]
    assert world.reactor.getDelayedCalls() == []


def test_stop_of_what_was_never_begun() -> None:
    stopped: list[object] = []
    World().survey.stop().addCallback(stopped.append)
    assert stopped == [None]

"""A server's connection to its view service, in memory: what its log says."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from pbserver.pinger import UNREACHABLE_S
from pbserver.service import ServerService, Settings
from pbserver.sessions import Sessions
from pbserver.store import Store
from tests.recorder import said
from tests.test_names import Resolver
from wire.codec import encode
from wire.messages import (
    OBSERVER,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Hello,
    Member,
    Message,
    Ping,
    View,
    ViewIs,
)

ONE, TWO = "tcp:10.9.0.1:7400", "tcp:10.9.0.2:7400"
OURS, OTHER = b"o" * 16, b"x" * 16


class World:
    """A server, and the network played by hand."""

    def __init__(
        self, *views: str, near: str = "10.9.0.5", listen: str = "tcp:7401"
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.near = near
        settings = Settings("s1", listen, views or (ONE,), lambda: Sessions(Store()))
        self.failures: list[str] = []
        self.service = ServerService(
            settings, self.reactor, Random(1), self.failures.append
        )
        self.service.startService()

    def answer(
        self, cluster: bytes = OURS, at: int = -1, far: str = "10.9.0.1"
    ) -> StringTransport:
        """The view service there takes the call."""
        self.protocol = self.reactor.tcpClients[at][2].buildProtocol(None)
        self.transport = StringTransport()
        self.transport.hostAddr = self._address(self.near)
        self.transport.peerAddr = self._address(far)
        self.protocol.makeConnection(self.transport)
        self.say(
            Hello(
                *(VERSION, VIEW_SERVICE, cluster, 1),
                ping_interval_ms=100,
                dead_pings=5,
            )
        )
        return self.transport

    @staticmethod
    def _address(host: str) -> IPv4Address:
        return IPv4Address("TCP", host, 5)

    def say(self, message: Message) -> None:
        self.protocol.dataReceived(encode(message))
        self.reactor.advance(0)

    def view(self, *members: Member) -> None:
        primary, *backups = members
        self.say(ViewIs(1, OURS, View(1, primary, tuple(backups)), False))

    def refuse(self) -> None:
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(Refused()))

    def wait(self, seconds: float) -> None:
        """So long; whatever is dialled refuses."""
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end:
            dials = len(self.reactor.tcpClients)
            self.reactor.advance(0.05)
            if len(self.reactor.tcpClients) > dials:
                self.refuse()


@pytest.fixture
def log() -> Iterator[Any]:
    """Event -> the values of each time that it was logged."""
    with capturedLogs() as captured:

        def of(name: str) -> list[dict[str, Any]]:
            return [
                event["understudy_values"]
                for event in captured
                if event.get("understudy_event") == name
            ]

        yield of


# -- what is published ------------------------------------------------------------


def test_the_first_hello_has_the_address_that_is_published() -> None:
    world = World()
    transport = world.answer()
    hello, ping = said(transport, SERVER, VIEW_SERVICE)
    assert isinstance(hello, Hello)
    assert isinstance(ping, Ping)
    assert hello.member == ping.member
    # Where a port in memory listens is no wildcard, and so it is published.
    assert hello.member == world.service.member()
    world.service._advert.listens_on = "tcp:0.0.0.0:7401"
    assert world.service.member().address == "tcp:10.9.0.5:7401"


def test_an_address_that_others_cannot_use_is_told_once(log: Any) -> None:
    world = World("tcp:127.0.0.1:7400", near="127.0.0.1")
    world.service._advert.listens_on = "tcp:0.0.0.0:7401"
    world.answer(far="127.0.0.1")
    me = world.service.member()
    assert me.address == "tcp:127.0.0.1:7401"
    world.view(me)
    assert log("address.doubted") == []
    there = Member("s2", 2, "tcp:10.9.0.2:7401")
    world.say(ViewIs(2, OURS, View(2, me, (there,)), False))
    other = Member("s3", 3, "tcp:10.9.0.3:7401")
    world.say(ViewIs(3, OURS, View(3, me, (other,)), False))
    [told] = log("address.doubted")
    assert told["address"] == me.address
    assert "s2 at 10.9.0.2" in told["text"]


def test_a_view_service_elsewhere_is_evidence_enough(log: Any) -> None:
    world = World()
    world.service._advert.listens_on = "tcp:127.0.0.1:7401"
    world.answer()
    [told] = log("address.doubted")
    assert "the view service at 10.9.0.1" in told["text"]


def test_the_names_of_all_members_are_looked_up_in_advance() -> None:
    world = World()
    resolver = Resolver()
    world.service._peers._names = resolver.names
    world.answer()
    odd = [Member(f"s{n}", n, at) for n, at in enumerate(["nonsense", "tcp:0:1"], 5)]
    named = [Member(f"s{n}", n, f"tcp:host-{n % 5}:7401") for n in (2, 3, 7)]
    world.view(Member("s4", 4, "tcp:10.9.0.4:7401"), *named, *odd)
    assert resolver.asked == ["host-2", "host-3"]
    resolver.answer("host-2")
    resolver.answer("host-3", "10.9.0.3")


# -- a view service that is not there ------------------------------------------------


def test_a_view_service_that_is_missing_is_told_once_with_what_to_do(log: Any) -> None:
    world = World(ONE, TWO)
    world.refuse()
    world.wait(UNREACHABLE_S - 0.2)
    assert log("view_service.missing") == []
    world.wait(3 * UNREACHABLE_S)
    [told] = log("view_service.missing")
    assert told["addresses"] == [ONE, TWO]
    assert "restart, which empties this server" in told["text"]


def test_one_that_is_lost_is_missed_again(log: Any) -> None:
    world = World()
    world.answer()
    world.wait(1)
    world.protocol.connectionLost(Failure(ConnectionDone()))
    world.wait(UNREACHABLE_S + 1)
    assert len(log("view_service.missing")) == 1


def test_one_that_is_there_is_not_missed(log: Any) -> None:
    world = World()
    world.answer()
    for serial in range(1, 200):
        world.reactor.advance(0.1)
        world.say(ViewIs(serial, b"", View(), False))
    assert log("view_service.missing") == []
    stopping = world.service.stopService()
    world.protocol.connectionLost(Failure(ConnectionDone()))
    assert stopping.called
    assert world.reactor.getDelayedCalls() == []


# -- two clusters in one list --------------------------------------------------------


@pytest.mark.parametrize("found", [OURS, OTHER])
def test_addresses_of_two_clusters_are_told(log: Any, found: bytes) -> None:
    world = World(ONE, TWO)
    world.answer()
    world.view(world.service.member())
    assert [host for host, *_ in world.reactor.tcpClients] == ["10.9.0.1", "10.9.0.2"]
    ours = world.protocol
    transport = world.answer(found)
    hello = said(transport, OBSERVER, VIEW_SERVICE)[0]
    assert isinstance(hello, Hello)
    assert hello.role == OBSERVER
    told = log("views.mixed")
    assert len(told) == (found == OTHER)
    for each in told:
        assert each["address"] == TWO
        assert OTHER.hex() in each["text"]
        assert OURS.hex() in each["text"]
    assert not ours.transport.disconnecting, "it goes on with its own"

"""Being called: ports, limits, and closing."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.recorder import Recorder, said
from wire.codec import encode
from wire.listener import REFUSED_MAX, Listener
from wire.messages import CLERK, SERVER, VERSION, Goodbye, Hello

HELLO = encode(Hello(VERSION, CLERK))


class Door:
    """A listener, called from addresses by hand."""

    def __init__(self, **limits: int) -> None:
        self.owner = Recorder(Hello(VERSION, SERVER))
        self.reactor = MemoryReactorClock()
        self.listener = Listener(self.owner, SERVER, self.reactor, **limits)

    def call(self, host: str = "10.0.0.1"):
        """The link that takes the call, or None; it has heard the caller's Hello."""
        address = IPv4Address("TCP", host, 4711)
        link = self.listener.buildProtocol(address)
        if link is not None:
            link.makeConnection(StringTransport(peerAddress=address))
            link.dataReceived(HELLO)
        return link


def hang_up(link) -> None:
    link.connectionLost(Failure(ConnectionDone()))


def farewell(link) -> Goodbye:
    return said(link.transport, SERVER, CLERK)[-1]


def test_so_many_and_no_more():
    door = Door(connections_max=3)
    links = [door.call() for _ in range(3)]
    assert all(link.is_open for link in links)
    refused = door.call()
    assert Goodbye("full", "there are 3 connections already") == farewell(refused)
    assert len(door.owner.links) == 3
    hang_up(refused)
    hang_up(links[1])
    assert door.call().is_open


def test_so_many_from_one_address_and_no_more():
    door = Door(connections_per_peer_max=2)
    links = [door.call("10.0.0.1"), door.call("10.0.0.1")]
    refused = door.call("10.0.0.1")
    expected = Goodbye("full", "there are 2 connections from 10.0.0.1 already")
    assert expected == farewell(refused)
    assert door.call("10.0.0.2").is_open
    hang_up(links[0])
    assert door.call("10.0.0.1").is_open


def test_those_who_are_refused_take_nobodys_place():
    door = Door(connections_max=10, connections_per_peer_max=1)
    links = [door.call("10.0.0.1") for _ in range(30)]
    assert links[0].is_open
    for host in range(2, 11):
        assert door.call(f"10.0.0.{host}").is_open
    assert farewell(door.call("10.0.0.11")).reason == "full"


def test_too_many_refused_are_closed_without_a_word():
    door = Door(connections_max=0)
    refused = [door.call() for _ in range(REFUSED_MAX)]
    assert all(farewell(link).reason == "full" for link in refused)
    assert door.call() is None
    hang_up(refused[0])
    assert door.call() is not None


def test_the_log_says_once_that_it_is_full():
    door = Door(connections_max=1)
    with capturedLogs() as logs:
        link = door.call()
        for _ in range(5):
            door.call()
        hang_up(link)
        link = door.call()
        door.call()
    names = [event["understudy_event"] for event in logs]
    assert names.count("listener.filled") == 2


def test_closing_says_goodbye_to_all_and_waits_for_them():
    door = Door(connections_max=2)
    links = [door.call() for _ in range(3)]
    closed: list[str] = []
    door.listener.close().addCallback(lambda _: closed.append("closed"))
    assert [farewell(link).reason for link in links] == ["stopping", "stopping", "full"]
    for link in links:
        assert closed == []
        hang_up(link)
    assert closed == ["closed"]


def test_closing_waits_for_those_who_are_refused_too():
    door = Door(connections_max=0)
    link = door.call()
    closed: list[str] = []
    door.listener.close().addCallback(lambda _: closed.append("closed"))
    assert closed == []
    hang_up(link)
    assert closed == ["closed"]


def test_nothing_is_kept_of_those_who_have_gone():
    door = Door(connections_max=5)
    links = [door.call(f"10.0.0.{host}") for host in range(10)]
    for link in links:
        hang_up(link)
    listener = door.listener
    assert [
        len(listener._links),
        len(listener._refused),
        len(listener._per_peer),
    ] == [0, 0, 0]


def test_closing_with_nobody_there():
    closed: list[str] = []
    door = Door()
    door.listener.close().addCallback(lambda _: closed.append("closed"))
    assert closed == ["closed"]


def test_what_it_got_is_told():
    door = Door()
    got: list[str] = []
    door.listener.listen("tcp:7400:interface=127.0.0.1").addCallback(got.append)
    assert got[0].startswith("tcp:")
    assert door.reactor.tcpServers[0][0] == 7400
    assert door.reactor.tcpServers[0][3] == "127.0.0.1"


@pytest.mark.parametrize("endpoint", ["", "7400", "nonsense:1", "tcp:seven"])
def test_an_endpoint_that_makes_no_sense(endpoint):
    failures: list[Failure] = []
    Door().listener.listen(endpoint).addErrback(failures.append)
    assert failures


def test_a_port_that_is_not_to_be_had():
    door = Door()
    error = CannotListenError("127.0.0.1", 7400, OSError("in use"))

    def listen_tcp(*_: object, **__: object) -> None:
        raise error

    door.reactor.listenTCP = listen_tcp
    failures: list[Failure] = []
    door.listener.listen("tcp:7400").addErrback(failures.append)
    assert failures[0].value is error


def test_each_connection_asks_anew_what_to_say():
    door = Door()
    door.call()
    door.owner.greeting = Hello(VERSION, SERVER, b"c" * 16, 7)
    assert said(door.call().transport, SERVER, CLERK)[0].number == 7


def test_the_time_to_say_hello():
    owner, clock = Recorder(Hello(VERSION, SERVER)), Clock()
    listener = Listener(owner, SERVER, clock, hello_s=2.0)
    link = listener.buildProtocol(IPv4Address("TCP", "10.0.0.1", 4711))
    link.makeConnection(StringTransport())
    clock.advance(2)
    assert Goodbye("silent", "no Hello within 2 s") == farewell(link)

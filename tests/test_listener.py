"""Being called: ports, limits, and closing."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure

from tests.recorder import Recorder, said
from viewservice.roster import SERVERS_MAX
from wire import listener
from wire.bounds import HELLO_BYTES_MAX
from wire.codec import encode
from wire.listener import (
    CONNECTIONS_MAX,
    IDLE_S,
    OBSERVER_CONNECTIONS_MAX,
    REFUSED_MAX,
    REPLACED_EVERY_S,
    SERVER_CONNECTIONS_MAX,
    STRANGERS_MAX,
    UNFINISHED_BYTES_ALL_MAX,
    UNFINISHED_BYTES_FAIR,
    Listener,
    Places,
)
from wire.messages import (
    CLERK,
    NO_SESSION,
    OBSERVER,
    SERVER,
    VERSION,
    Goodbye,
    Hello,
    Member,
    Query,
)

CLERKS_HELLO = Hello(VERSION, CLERK)
OBSERVERS_HELLO = Hello(VERSION, OBSERVER)
MEMBER = Member("s1", 7, "tcp:10.0.0.1:7401")
SERVERS_HELLO = Hello(VERSION, SERVER, member=MEMBER)


class Transport(StringTransport):
    """Remembers that it was aborted."""

    is_aborted = False

    def abortConnection(self) -> None:
        self.is_aborted = True


class PendingRequests:
    """A listener, called from addresses by hand."""

    def __init__(self, **limits: int) -> None:
        self.owner = Recorder(Hello(VERSION, SERVER))
        self.reactor = MemoryReactorClock()
        places = Places(**limits)
        self.listener = Listener(self.owner, SERVER, self.reactor, places=places)

    def connect(self, host: str = "10.0.0.1"):
        """The link of a caller that has not sent anything."""
        address = IPv4Address("TCP", host, 4711)
        link = self.listener.buildProtocol(address)
        link.makeConnection(Transport(peerAddress=address))
        return link

    def call(self, host: str = "10.0.0.1", hello: Hello = CLERKS_HELLO):
        """The link that takes the call; it has got the caller's Hello."""
        link = self.connect(host)
        link.dataReceived(encode(hello))
        return link

    @property
    def kept(self) -> dict[str, object]:
        """What the listener remembers of callers."""
        return {
            name: value
            for name, value in vars(self.listener).items()
            if name in {"_strangers", "_refused", "_per_peer", "_unfinished"} and value
        } | {role: each for role, each in self.listener._callers.items() if each}


def hang_up(link) -> None:
    link.connectionLost(Failure(ConnectionDone()))


def farewell(link) -> Goodbye:
    return said(link.transport, SERVER, CLERK)[-1]


def is_dismissed(link) -> bool:
    """Whether a caller has lost its place."""
    return not link.is_open and farewell(link).reason == "full"


# -- places ---------------------------------------------------------------------


def test_so_many_and_no_more():
    door = PendingRequests(clerks=3)
    links = [door.call() for _ in range(3)]
    assert all(link.is_open for link in links)
    refused = door.call()
    expected = Goodbye("full", "there are 3 connections of clerks already")
    assert [expected] == said(refused.transport, SERVER, CLERK)
    assert len(door.owner.links) == 3
    hang_up(refused)
    hang_up(links[1])
    assert door.call().is_open


def test_so_many_from_one_address_and_no_more():
    door = PendingRequests(per_address=2)
    links = [door.call("10.0.0.1"), door.call("10.0.0.1")]
    refused = door.call("10.0.0.1")
    text = "there are 2 connections of clerks from 10.0.0.1 already"
    assert Goodbye("full", text) == farewell(refused)
    assert door.call("10.0.0.2").is_open
    hang_up(links[0])
    assert door.call("10.0.0.1").is_open


def test_clerks_take_no_place_of_servers_and_observers():
    door = PendingRequests(clerks=3, per_address=2)
    for _ in range(5):
        door.call()
    for hello in (SERVERS_HELLO, OBSERVERS_HELLO):
        assert door.call(hello=hello).is_open
        assert door.call(hello=hello).is_open
        assert is_dismissed(door.call(hello=hello))
        assert door.call("10.0.0.2", hello=hello).is_open


def test_servers_and_observers_take_no_place_of_clerks():
    door = PendingRequests(clerks=2)
    for hello in (SERVERS_HELLO, OBSERVERS_HELLO):
        assert door.call(hello=hello).is_open
    links = [door.call() for _ in range(3)]
    assert [is_dismissed(link) for link in links] == [False, False, True]


@pytest.mark.parametrize(
    ("hello", "places"),
    [
        (SERVERS_HELLO, SERVER_CONNECTIONS_MAX),
        (OBSERVERS_HELLO, OBSERVER_CONNECTIONS_MAX),
    ],
    ids=["servers", "observers"],
)
def test_the_other_roles_have_a_limit_too(hello, places):
    door = PendingRequests(per_address=10)
    for number in range(places):
        assert door.call(f"10.0.{number // 10}.1", hello).is_open
    assert is_dismissed(door.call("10.9.9.9", hello))
    assert door.call("10.9.9.9").is_open


def test_there_is_room_for_every_server_that_a_view_service_knows():
    assert SERVER_CONNECTIONS_MAX > SERVERS_MAX


@pytest.mark.parametrize("callers", [4, 16, 32, 128, 896, 4096, 100_000])
def test_all_kinds_have_places_within_a_limit(callers):
    found = Places().within(callers)
    kinds = (found.clerks, found.servers, found.observers, found.strangers)
    assert sum(kinds) <= callers
    assert min(kinds) >= 1
    assert found.clerks >= min(4096, callers // 4)
    assert (found == Places()) == (callers > 4096 + 2048 + 256)


def test_strangers_have_as_many_places_as_they_are_given():
    door = PendingRequests(strangers=2)
    links = [door.connect() for _ in range(3)]
    assert [link.transport.disconnecting for link in links] == [True, False, False]


def test_clerks_and_observers_are_patient_and_servers_are_not():
    door = PendingRequests()
    assert not door.connect().is_patient
    assert door.call(hello=CLERKS_HELLO).is_patient
    assert door.call(hello=OBSERVERS_HELLO).is_patient
    assert not door.call(hello=SERVERS_HELLO).is_patient


def test_the_most_silent_gives_up_its_place():
    door = PendingRequests(clerks=3)
    links = [door.call() for _ in range(3)]
    door.reactor.advance(IDLE_S)
    links[0].dataReceived(encode(Query(1, NO_SESSION, 0, b"")))
    door.reactor.advance(0.1)
    links[1].dataReceived(encode(Query(1, NO_SESSION, 0, b"")))
    fresh = door.call()
    assert fresh.is_open
    assert [is_dismissed(link) for link in links] == [False, False, True]
    assert is_dismissed(door.call())
    door.reactor.advance(IDLE_S - 0.1)
    assert door.call().is_open
    assert [is_dismissed(link) for link in links] == [True, False, True]


def test_of_one_address_its_own_most_silent_gives_up_its_place():
    door = PendingRequests(per_address=2)
    other = door.call("10.0.0.9")
    links = [door.call() for _ in range(2)]
    door.reactor.advance(IDLE_S)
    assert door.call().is_open
    assert [is_dismissed(link) for link in (other, *links)] == [False, True, False]


def test_whoever_was_dismissed_has_no_place_any_more():
    door = PendingRequests(clerks=1)
    first = door.call()
    for _ in range(3):
        door.reactor.advance(IDLE_S)
        assert door.call().is_open
    hang_up(first)
    assert sum(door.listener._per_peer.values()) == 1
    assert [len(each) for each in door.listener._callers.values()] == [0, 1, 0]


def test_places_change_hands_no_faster_than_callers_can_settle():
    door = PendingRequests(clerks=5)
    links = [door.call() for _ in range(5)]
    door.reactor.advance(IDLE_S)
    assert [door.call().is_open for _ in range(3)] == [True, False, False]
    door.reactor.advance(REPLACED_EVERY_S)
    assert [door.call().is_open for _ in range(3)] == [True, False, False]
    assert [is_dismissed(link) for link in links] == [True, True, False, False, False]
    assert door.call(hello=OBSERVERS_HELLO).is_open


# -- before Hello ----------------------------------------------------------------


def test_callers_without_a_hello_take_no_places():
    door = PendingRequests(clerks=2, per_address=1)
    silent = [door.connect() for _ in range(50)]
    assert door.call().is_open
    assert not any(link.transport.disconnecting for link in silent)


def test_of_callers_without_a_hello_the_oldest_goes():
    door = PendingRequests()
    links = [door.connect() for _ in range(STRANGERS_MAX)]
    assert not links[0].transport.disconnecting
    assert door.call().is_open
    assert is_dismissed(links[0])
    assert not links[1].transport.disconnecting


def test_nothing_long_is_kept_before_a_hello():
    door = PendingRequests()
    link = door.connect()
    link.dataReceived((HELLO_BYTES_MAX + 1).to_bytes(4, "big"))
    assert farewell(link).reason == "too long"


# -- unfinished frames -------------------------------------------------------------


def begin(link, length: int = 1 << 20) -> None:
    """So much of a frame that is longer."""
    link.dataReceived((2 * length).to_bytes(4, "big") + bytes(length - 4))


@pytest.fixture
def tight(monkeypatch) -> PendingRequests:
    """Three unfinished frames of 1 MiB are too many."""
    monkeypatch.setattr(listener, "UNFINISHED_BYTES_ALL_MAX", 5 << 19)
    return PendingRequests()


def test_all_unfinished_frames_together_have_a_bound(tight):
    links = [tight.call(f"10.0.0.{number}") for number in range(4)]
    begin(links[0], 1000)  # Little; it harms nobody.
    for link in links[1:]:
        begin(link)
    assert [is_dismissed(link) for link in links] == [False, True, False, False]
    assert links[1]._decoder.unfinished_bytes == 0
    assert tight.listener._unfinished_bytes == (2 << 20) + 1000


def test_the_one_that_makes_progress_stays(tight):
    frame = encode(Query(1, NO_SESSION, 0, bytes(1 << 20)))
    links = [tight.call() for _ in range(3)]
    links[0].dataReceived(frame[:-1])
    links[1].dataReceived(frame[:-1])
    links[0].dataReceived(frame[-1:] + frame[:-1])
    links[2].dataReceived(frame[:-1])
    assert [is_dismissed(link) for link in links] == [False, True, False]


def test_a_frame_too_many_is_its_own_if_there_is_no_other(tight):
    link = tight.call()
    begin(link, 4 << 20)
    assert is_dismissed(link)
    assert tight.listener._unfinished_bytes == 0


def test_many_little_frames_go_too_when_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(listener, "UNFINISHED_BYTES_ALL_MAX", 2500)
    door = PendingRequests()
    links = [door.call() for _ in range(3)]
    for link in links:
        begin(link, 1000)
    assert [is_dismissed(link) for link in links] == [True, False, False]


def test_the_figures_leave_a_frame_to_blame():
    callers = CONNECTIONS_MAX + SERVER_CONNECTIONS_MAX + OBSERVER_CONNECTIONS_MAX
    small = callers * UNFINISHED_BYTES_FAIR + STRANGERS_MAX * HELLO_BYTES_MAX
    assert small < UNFINISHED_BYTES_ALL_MAX


# -- refusing, closing ---------------------------------------------------------------


def test_those_who_are_refused_take_nobodys_place():
    door = PendingRequests(clerks=10, per_address=1)
    links = [door.call("10.0.0.1") for _ in range(30)]
    assert links[0].is_open
    for host in range(2, 11):
        assert door.call(f"10.0.0.{host}").is_open
    assert farewell(door.call("10.0.0.11")).reason == "full"


def test_too_many_refused_are_closed_without_a_word():
    door = PendingRequests(clerks=0)
    refused = [door.call() for _ in range(REFUSED_MAX)]
    assert all(farewell(link).reason == "full" for link in refused)
    crowd = door.call()
    assert crowd.transport.is_aborted
    assert crowd.transport.value() == b""
    hang_up(crowd)
    hang_up(refused[0])
    assert farewell(door.call()).reason == "full"


def test_the_log_says_once_a_minute_that_it_is_full():
    door = PendingRequests(clerks=1)
    with capturedLogs() as logs:
        link = door.call()
        for _ in range(5):
            door.call()
        hang_up(link)
        door.call()
        door.call()
        door.reactor.advance(60)
        door.call()
    names = [event["understudy_event"] for event in logs]
    assert names.count("listener.filled") == 2


def test_a13_a_host_that_breaks_the_protocol_does_not_fill_the_log():
    door = PendingRequests()
    with capturedLogs() as logs:
        for _ in range(50):
            door.connect().dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        door.call().dataReceived(encode(Hello(VERSION, CLERK)))
        door.reactor.advance(60)
        door.connect().dataReceived(b"GET / HTTP/1.0\r\n\r\n")
    broken = [each for each in logs if each["understudy_event"] == "link.broken"]
    loud = [each for each in broken if each["log_level"] == LogLevel.warn]
    told = [each["understudy_values"]["reason"] for each in loud]
    assert told == ["too long", "protocol", "too long"]
    assert len(broken) == 52


def test_closing_says_goodbye_to_all_and_waits_for_them():
    door = PendingRequests(clerks=2)
    links = [door.call() for _ in range(3)]
    closed: list[str] = []
    door.listener.close().addCallback(lambda _: closed.append("closed"))
    assert [farewell(link).reason for link in links] == ["stopping", "stopping", "full"]
    for link in links:
        assert closed == []
        hang_up(link)
    assert closed == ["closed"]


def test_closing_waits_for_those_who_are_refused_too():
    door = PendingRequests(clerks=0)
    link = door.call()
    closed: list[str] = []
    door.listener.close().addCallback(lambda _: closed.append("closed"))
    assert closed == []
    hang_up(link)
    assert closed == ["closed"]


def test_nothing_is_kept_of_those_who_have_gone():
    door = PendingRequests(clerks=5)
    links = [door.call(f"10.0.0.{host}") for host in range(10)]
    links += [door.call(hello=SERVERS_HELLO), door.connect()]
    begin(links[0])
    assert set(door.kept) == {
        *("_strangers", "_refused", "_per_peer", "_unfinished"),
        *(CLERK, SERVER),
    }
    for link in links:
        hang_up(link)
    assert door.kept == {}
    assert door.listener._unfinished_bytes == 0


def test_closing_with_nobody_there():
    closed: list[str] = []
    door = PendingRequests()
    door.listener.close().addCallback(lambda _: closed.append("closed"))
    assert closed == ["closed"]


def test_what_it_got_is_told():
    door = PendingRequests()
    got: list[str] = []
    door.listener.listen("tcp:7400:interface=127.0.0.1").addCallback(got.append)
    assert got[0].startswith("tcp:")
    assert door.reactor.tcpServers[0][0] == 7400
    assert door.reactor.tcpServers[0][3] == "127.0.0.1"


@pytest.mark.parametrize("endpoint", ["", "7400", "nonsense:1", "tcp:seven"])
def test_an_endpoint_that_makes_no_sense(endpoint):
    failures: list[Failure] = []
    PendingRequests().listener.listen(endpoint).addErrback(failures.append)
    assert failures


def test_a_port_that_is_not_to_be_had():
    door = PendingRequests()
    error = CannotListenError("127.0.0.1", 7400, OSError("in use"))

    def listen_tcp(*_: object, **__: object) -> None:
        raise error

    door.reactor.listenTCP = listen_tcp
    failures: list[Failure] = []
    door.listener.listen("tcp:7400").addErrback(failures.append)
    assert failures[0].value is error


def test_each_connection_asks_anew_what_to_say():
    door = PendingRequests()
    door.call()
    door.owner.greeting = Hello(VERSION, SERVER, b"c" * 16, 7)
    assert said(door.call().transport, SERVER, CLERK)[0].number == 7


def test_the_time_to_say_hello():
    owner, clock = Recorder(Hello(VERSION, SERVER)), Clock()
    door = Listener(owner, SERVER, clock, hello_s=2.0)
    link = door.buildProtocol(IPv4Address("TCP", "10.0.0.1", 4711))
    link.makeConnection(StringTransport())
    clock.advance(2)
    assert Goodbye("silent", "no Hello within 2 s") == farewell(link)
